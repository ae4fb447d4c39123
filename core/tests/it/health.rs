//! The health score at its limits, and its advice.

use vitals_core::record::Measurements;
use vitals_core::rules::health::{HealthConfig, error_percent, memory_percent, score};

fn advice(config: &HealthConfig, measurements: &Measurements, uptime: Option<f64>) -> Vec<String> {
    score(config, measurements, uptime).recommendations
}

#[test]
fn failed_requests_are_as_reported_else_from_the_counts() {
    let of =
        |error_percent, requests, errors| Measurements { error_percent, requests, errors, ..Measurements::default() };
    for (measurements, expect) in [
        (of(Some(2.5), Some(100.0), Some(50.0)), Some(2.5)),
        (of(None, Some(200.0), Some(50.0)), Some(25.0)),
        (of(Some(f64::NAN), Some(200.0), Some(50.0)), Some(25.0)),
        (of(Some(f64::INFINITY), None, None), None),
        (of(None, Some(200.0), None), None),
        (of(None, None, Some(50.0)), None),
        (of(None, Some(0.0), Some(0.0)), None),
        (of(None, Some(f64::NAN), Some(1.0)), None),
    ] {
        assert_eq!(error_percent(&measurements), expect, "{measurements:?}");
    }
}

#[test]
fn memory_is_as_reported_else_a_share_of_the_default_machine() {
    let config = HealthConfig { default_memory_mb: 4_000.0, ..HealthConfig::default() };
    let of = |memory_percent, memory_mb| Measurements { memory_percent, memory_mb, ..Measurements::default() };
    for (measurements, expect) in [
        (of(Some(30.0), Some(4_000.0)), Some(30.0)),
        (of(None, Some(1_000.0)), Some(25.0)),
        (of(Some(f64::NAN), Some(1_000.0)), Some(25.0)),
        (of(None, Some(f64::INFINITY)), None),
        (of(None, None), None),
    ] {
        assert_eq!(memory_percent(&config, &measurements), expect, "{measurements:?}");
    }
}

#[test]
fn advice_begins_above_its_limit() {
    type Set = fn(&mut Measurements, f64);
    let fields: [(f64, Set); 5] = [
        (80.0, |v, x| v.cpu_percent = Some(x)),
        (85.0, |v, x| v.memory_percent = Some(x)),
        (85.0, |v, x| v.disk_percent = Some(x)),
        (1_000.0, |v, x| v.response_ms = Some(x)),
        (5.0, |v, x| v.error_percent = Some(x)),
    ];
    for (limit, set) in fields {
        for (value, count) in [(limit - 1.0, 0), (limit, 0), (limit + 0.5, 1), (f64::NAN, 0), (f64::INFINITY, 0)] {
            let mut measurements = Measurements::default();
            set(&mut measurements, value);
            let found = advice(&HealthConfig::default(), &measurements, None);
            assert_eq!(found.len(), count, "{value} of {limit}: {found:?}");
        }
    }
}

#[test]
fn advice_on_availability_is_the_most_urgent_one() {
    for (uptime, begins) in [
        (100.0, None),
        (99.0, None),
        (98.99, Some("Available 98.99 % of the last 24 h: look into")),
        (95.0, Some("Available 95.00 % of the last 24 h: look into")),
        (94.99, Some("Available 94.99 % of the last 24 h: find the cause")),
        (90.0, Some("Available 90.00 % of the last 24 h: find the cause")),
        (89.99, Some("Available only 89.99 % of the last 24 h")),
        (0.0, Some("Available only 0.00 % of the last 24 h")),
        (f64::NAN, None),
    ] {
        let found = advice(&HealthConfig::default(), &Measurements::default(), Some(uptime));
        assert_eq!(found.len(), usize::from(begins.is_some()), "{uptime}: {found:?}");
        assert!(found.first().is_none_or(|said| said.starts_with(begins.unwrap_or_default())), "{uptime}: {found:?}");
    }
}

#[test]
fn an_amount_of_memory_is_advised_on_for_machines_of_the_default_size() {
    let config = HealthConfig { default_memory_mb: 100.0, advise_memory_mb: 50.0, ..HealthConfig::default() };
    for (percent, mb, expect) in [
        // The total is not known.
        (None, 60.0, Some("60 MB of memory")),
        (None, 50.0, None),
        (Some(60.0), 60.0, Some("60 MB of memory")),
        // A machine of up to a hundredth more is one of the default size.
        (Some(100.0), 101.0, Some("101 MB of memory")),
        (Some(100.0), 101.5, Some("100.0 % of memory")),
        (Some(30.0), 60.0, None),
        // A smaller machine.
        (Some(90.0), 45.0, Some("90.0 % of memory")),
    ] {
        let measurements = Measurements { memory_percent: percent, memory_mb: Some(mb), ..Measurements::default() };
        let found = advice(&config, &measurements, None);
        assert_eq!(found.len(), usize::from(expect.is_some()), "{percent:?} {mb}: {found:?}");
        assert!(
            found.first().is_none_or(|said| said.starts_with(expect.unwrap_or_default())),
            "{percent:?} {mb}: {found:?}"
        );
    }
}
