//! Names and texts as the REST contract, alerts and stored records have them.

use serde::Serialize;
use std::fmt::Debug;
use vitals_core::availability::{State, Trend};
use vitals_core::ids::{NameFlaw, TenantId, is_hidden, mended_name, name_flaw, with_digest};
use vitals_core::series::{MetricKind, Part, Scope, Shape};
use vitals_core::verdict::{
    AgentHealth, AlertSeries, Event, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, VerdictBody,
};

/// Each value with its name: what people read and what is stored are the same word.
fn agree<T: Serialize + Debug + Copy>(values: &[T], name: impl Fn(T) -> &'static str, expect: &[&str]) {
    assert_eq!(values.iter().map(|value| name(*value)).collect::<Vec<_>>(), expect);
    for value in values {
        assert_eq!(serde_json::to_value(value).unwrap(), name(*value), "{value:?}");
    }
}

#[test]
fn every_value_has_the_contracts_name() {
    agree(
        &MetricKind::ALL,
        MetricKind::name,
        &[
            "cpu_usage",
            "memory_usage",
            "disk_usage",
            "disk_io",
            "network_io",
            "response_time",
            "throughput",
            "error_rate",
            "uptime",
            "custom",
        ],
    );
    {
        use HealthStatus::{Critical, Degraded, Healthy, Maintenance, Offline, Unknown};
        agree(
            &[Healthy, Degraded, Critical, Unknown, Offline, Maintenance],
            HealthStatus::name,
            &["healthy", "degraded", "critical", "unknown", "offline", "maintenance"],
        );
    }
    {
        use Severity::{Critical, Emergency, Error, Info, Warning};
        agree(
            &[Info, Warning, Error, Critical, Emergency],
            Severity::name,
            &["info", "warning", "error", "critical", "emergency"],
        );
    }
    agree(&[Risk::Low, Risk::Medium, Risk::High, Risk::Breached], Risk::name, &["low", "medium", "high", "breached"]);
    {
        use Event::{Acknowledged, Escalated, Raised, Resolved, StillOpen, Suppressed, Worsened};
        agree(
            &[Raised, Worsened, Escalated, Acknowledged, Resolved, StillOpen, Suppressed],
            Event::name,
            &["raised", "worsened", "escalated", "acknowledged", "resolved", "standing", "suppressed"],
        );
    }
    agree(
        &[State::Up, State::Silent, State::Unhealthy, State::Maintenance],
        State::name,
        &["up", "silent", "unhealthy", "maintenance"],
    );
    agree(&[Trend::Improving, Trend::Stable, Trend::Declining], Trend::name, &["improving", "stable", "declining"]);
}

#[test]
fn a_verdict_is_of_one_kind() {
    let health =
        AgentHealth { score: 1.0, status: HealthStatus::Critical, reasons: Vec::new(), recommendations: Vec::new() };
    let outlier = OutlierVerdict {
        series: vitals_core::ids::SeriesId(1),
        value: 1.0,
        lower: 0.0,
        upper: 0.5,
        score: 1.0,
        window: 9,
    };
    let sla = SlaVerdict { target: 99.0, availability: 100.0, budget_left: 1.0, burn: [0.0; 3], risk: Risk::Low };
    for (body, kind) in [
        (VerdictBody::Health(health), "health"),
        (VerdictBody::Outlier(outlier), "outlier"),
        (VerdictBody::Sla(sla), "sla"),
    ] {
        assert_eq!(body.kind(), kind);
    }
}

#[test]
fn parts_of_a_point_are_named() {
    for (part, name) in [
        (Part::Value, "value"),
        (Part::Count, "count"),
        (Part::Sum, "sum"),
        (Part::Min, "min"),
        (Part::Max, "max"),
        (Part::Bucket(0.5), "le=0.5"),
        (Part::Quantile(0.95), "quantile=0.95"),
    ] {
        assert_eq!(part.to_string(), name);
    }
}

#[test]
fn no_two_shapes_are_hashed_as_the_same() {
    let shapes = [
        Shape::Gauge,
        Shape::Cumulative { monotonic: false },
        Shape::Cumulative { monotonic: true },
        Shape::Delta { monotonic: false },
        Shape::Delta { monotonic: true },
    ];
    let distinct: std::collections::BTreeSet<[u8; 2]> = shapes.iter().map(|shape| shape.bytes()).collect();
    assert_eq!(distinct.len(), shapes.len());
}

#[test]
fn a_tenant_is_its_name() {
    assert_eq!(TenantId::from("acme").to_string(), "acme");
    assert_eq!(TenantId::default_tenant().to_string(), "default");
    assert_eq!(Scope::named("otelcol").name, "otelcol");
}

#[test]
fn characters_that_change_how_a_text_is_shown_are_hidden() {
    for c in [
        '\0', '\n', '\u{7f}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}',
        '\u{2069}',
    ] {
        assert!(is_hidden(c), "{c:?}");
    }
    // What is seen or only separates, among it the joiners that some scripts need.
    for c in [
        'a', ' ', '\u{a0}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2010}', '\u{202f}', '\u{2065}', '\u{206a}',
        '\u{feff}',
    ] {
        assert!(!is_hidden(c), "{c:?}");
    }
}

#[test]
fn white_space_without_width_counts_as_white_space() {
    for space in [' ', '\u{200b}', '\u{2060}', '\u{feff}', '\u{3000}'] {
        assert_eq!(name_flaw(&format!("{space}a")), Some(NameFlaw::Edge), "{space:?}");
        assert_eq!(name_flaw(&format!("a{space}b")), None, "{space:?}");
        assert_eq!(name_flaw(&space.to_string()), Some(NameFlaw::Blank), "{space:?}");
        assert_eq!(mended_name(&format!("{space}a{space}")).as_deref(), Some("a"), "{space:?}");
    }
    assert_eq!(name_flaw("."), Some(NameFlaw::Dots));
    assert_eq!(name_flaw("..."), None);
}

#[test]
fn a_name_with_a_digest_keeps_its_start() {
    assert_eq!(with_digest("web\t1", 0xAB), "web\u{FFFD}1-00000000000000ab");
    let long = with_digest(&"ä".repeat(300), u64::MAX);
    assert_eq!(long, format!("{}-ffffffffffffffff", "ä".repeat(83)));
}

#[test]
fn a_file_system_is_called_by_device_and_mount_point_only_when_both_are_known() {
    for (attributes, expect) in [
        (&[("device", "/dev/sda1"), ("mountpoint", "/")][..], "/dev/sda1 on /"),
        (&[("mountpoint", "/")][..], "m{mountpoint=/}"),
        (&[("device", "/dev/sda1"), ("type", "ext4")][..], "m{device=/dev/sda1, type=ext4}"),
    ] {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(AlertSeries { metric: "m".to_owned(), attributes }.to_string(), expect);
    }
    let exact = AlertSeries { metric: "é".repeat(200), attributes: Vec::new() };
    assert_eq!(exact.to_string(), "é".repeat(200));
    let longer = AlertSeries { metric: "é".repeat(201), attributes: Vec::new() };
    assert_eq!(longer.to_string(), format!("{}...", "é".repeat(200)));
}
