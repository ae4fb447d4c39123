//! Settings of rules: what makes no sense is refused, and the sentence names the setting.

use vitals_core::rules::alerts::{self, AlertConfig};
use vitals_core::rules::health::{HealthConfig, Step};
use vitals_core::rules::iqr::IqrConfig;
use vitals_core::rules::sla::SlaConfig;
use vitals_core::rules::thresholds::{self, EvaluationWindow, MOST_BREACHES, Operator, Threshold};
use vitals_core::series::MetricKind;
use vitals_core::verdict::Severity;

/// Whether a check refuses, with a sentence that begins with `name`; `None` is accepted.
fn expect(checked: &Result<(), String>, name: Option<&str>) {
    match (checked, name) {
        (Ok(()), None) => {}
        (Err(said), Some(name)) => assert!(said.contains(name), "{said:?} does not name {name}"),
        _ => panic!("{checked:?}, expected {name:?}"),
    }
}

#[test]
fn steps_of_the_health_score_have_a_limit_and_deduct_0_to_100() {
    type Field = fn(&mut HealthConfig) -> &mut Step;
    let fields: [(&str, Field); 7] = [
        ("cpu_critical", |c| &mut c.cpu_critical),
        ("cpu_degraded", |c| &mut c.cpu_degraded),
        ("memory_critical", |c| &mut c.memory_critical),
        ("memory_degraded", |c| &mut c.memory_degraded),
        ("latency_degraded", |c| &mut c.latency_degraded),
        ("errors_critical", |c| &mut c.errors_critical),
        ("errors_degraded", |c| &mut c.errors_degraded),
    ];
    for (name, field) in fields {
        for (over, minus, is_good) in [
            (50.0, 0.0, true),
            (50.0, 100.0, true),
            (-1.0, 10.0, true),
            (50.0, -0.1, false),
            (50.0, 100.1, false),
            (50.0, f64::NAN, false),
            (f64::NAN, 10.0, false),
            (f64::INFINITY, 10.0, false),
        ] {
            let mut config = HealthConfig::default();
            *field(&mut config) = Step { over, minus };
            expect(&config.check(), (!is_good).then_some(name));
        }
    }
}

#[test]
fn the_default_memory_is_a_number_above_0() {
    for (default_memory_mb, is_good) in
        [(0.5, true), (0.0, false), (-1.0, false), (f64::NAN, false), (f64::INFINITY, false)]
    {
        let config = HealthConfig { default_memory_mb, ..HealthConfig::default() };
        expect(&config.check(), (!is_good).then_some("default_memory_mb"));
    }
}

#[test]
fn windows_of_outliers_hold_2_to_10_000_values() {
    let config = |window, min_values, factor| IqrConfig { window, min_values, factor, ..IqrConfig::default() };
    for (config, name) in [
        (config(2, 2, 1.5), None),
        (config(10_000, 10_000, 1.5), None),
        (config(10, 10, 0.0), None),
        (config(1, 1, 1.5), Some("window")),
        (config(10_001, 10, 1.5), Some("window")),
        (config(10, 1, 1.5), Some("min_values")),
        (config(10, 11, 1.5), Some("min_values")),
        (config(10, 10, -0.1), Some("factor")),
        (config(10, 10, f64::NAN), Some("factor")),
        (config(10, 10, f64::INFINITY), Some("factor")),
    ] {
        expect(&config.check(), name);
    }
}

#[test]
fn burn_rate_factors_are_numbers_above_0() {
    type Field = fn(&mut SlaConfig) -> &mut f64;
    let fields: [(&str, Field); 3] = [
        ("hour_factor", |c| &mut c.hour_factor),
        ("six_hours_factor", |c| &mut c.six_hours_factor),
        ("three_days_factor", |c| &mut c.three_days_factor),
    ];
    for (name, field) in fields {
        for (factor, is_good) in [(0.1, true), (0.0, false), (-1.0, false), (f64::NAN, false), (f64::INFINITY, false)] {
            let mut config = SlaConfig::default();
            *field(&mut config) = factor;
            expect(&config.check(), (!is_good).then_some(name));
        }
    }
}

#[test]
fn bounds_of_a_threshold_are_in_the_order_of_its_operator() {
    use Operator::{Equal, GreaterThan, LessThan, NotEqual};
    for (operator, warning, critical, name) in [
        (GreaterThan, 80.0, 95.0, None),
        (GreaterThan, 80.0, 80.0, None),
        (GreaterThan, 80.0, 79.9, Some("must not be below")),
        (LessThan, 20.0, 10.0, None),
        (LessThan, 20.0, 20.0, None),
        (LessThan, 20.0, 20.1, Some("must not be above")),
        (Equal, 1.0, 2.0, None),
        (Equal, 2.0, 1.0, None),
        (NotEqual, 1.0, 1.0, None),
        (NotEqual, 1.0, 2.0, Some("must be the same as")),
        (GreaterThan, f64::NEG_INFINITY, 1.0, Some("warning_threshold")),
        (GreaterThan, 1.0, f64::INFINITY, Some("critical_threshold")),
    ] {
        let mut threshold = Threshold::new(MetricKind::Custom, warning, critical);
        threshold.threshold_operator = operator;
        expect(&threshold.check(), name);
    }
    for (breaches, is_good) in [(0, false), (1, true), (MOST_BREACHES, true), (MOST_BREACHES + 1, false)] {
        let mut threshold = Threshold::new(MetricKind::Custom, 1.0, 2.0);
        threshold.consecutive_breaches = breaches;
        expect(&threshold.check(), (!is_good).then_some("consecutive_breaches"));
    }
}

#[test]
fn one_threshold_judges_a_kind() {
    let of = |kind| Threshold::new(kind, 1.0, 2.0);
    expect(&thresholds::check_all(&[of(MetricKind::CpuUsage), of(MetricKind::DiskUsage)]), None);
    let twice = [of(MetricKind::CpuUsage), of(MetricKind::DiskUsage), of(MetricKind::CpuUsage)];
    expect(&thresholds::check_all(&twice), Some("metric_type cpu_usage is there twice"));
    expect(
        &thresholds::check_all(&[of(MetricKind::CpuUsage), Threshold::new(MetricKind::DiskUsage, 2.0, 1.0)]),
        Some("disk_usage"),
    );
}

#[test]
fn what_a_threshold_leaves_out_has_the_contracts_default() {
    let text = r#"{"metric_type": "cpu_usage", "warning_threshold": 80.0, "critical_threshold": 95.0}"#;
    let read: Threshold = serde_json::from_str(text).unwrap();
    assert_eq!(read, Threshold::new(MetricKind::CpuUsage, 80.0, 95.0));
    assert_eq!(read.evaluation_window, EvaluationWindow::seconds(300));
    assert_eq!(
        (read.consecutive_breaches, read.auto_resolve, read.threshold_operator),
        (1, true, Operator::GreaterThan)
    );
    let kinds: Vec<_> = Threshold::defaults()
        .iter()
        .map(|t| (t.metric_type.name(), t.warning_threshold, t.critical_threshold))
        .collect();
    let expect = [
        ("cpu_usage", 80.0, 95.0),
        ("memory_usage", 85.0, 95.0),
        ("disk_usage", 85.0, 95.0),
        ("response_time", 2_000.0, 5_000.0),
    ];
    assert_eq!(kinds, expect);
}

#[test]
fn every_unit_of_a_window_is_read_and_the_largest_that_divides_it_is_written() {
    let window = |text: &str| EvaluationWindow::try_from(text.to_owned());
    for (text, nanos, written) in [
        ("1ms", 1_000_000, "1ms"),
        ("1000ms", 1_000_000_000, "1s"),
        ("1500ms", 1_500_000_000, "1500ms"),
        ("61s", 61_000_000_000, "61s"),
        ("60s", 60_000_000_000, "1m"),
        ("90m", 5_400_000_000_000, "90m"),
        ("48h", 172_800_000_000_000, "2d"),
        ("25h", 90_000_000_000_000, "25h"),
        ("106751d", 9_223_286_400_000_000_000, "106751d"),
    ] {
        let window = window(text).unwrap();
        assert_eq!((window.nanos(), String::from(window).as_str()), (nanos, written), "{text}");
    }
    for text in ["", "s", "0s", "-1s", "1", "1 s", "1S", "1w", "1.5h", "106752d", "99999999999999999999s"] {
        assert!(
            window(text).is_err_and(|said| said.to_string().contains(&format!("{text:?} is no length of time"))),
            "{text}"
        );
    }
}

#[test]
fn alert_types_are_known_and_entered_once() {
    let of = |alert_type: &str| AlertConfig::new(alert_type, Severity::Warning);
    for name in ["*", "availability", "health", "cpu_usage", "custom"] {
        expect(&alerts::check_all(&[of(name)]), None);
    }
    for name in ["", "cpu", "Health", "threshold:cpu_usage"] {
        expect(&alerts::check_all(&[of(name)]), Some("alert_type"));
    }
    expect(&alerts::check_all(&[of("*"), of("health"), of("*")]), Some("alert_type \"*\" is there twice"));
    // Ten years at most.
    for (minutes, is_good) in [(0, false), (1, true), (5_256_000, true), (5_256_001, false)] {
        let delay = AlertConfig { escalation_delay_minutes: minutes, ..of("*") };
        expect(&alerts::check_all(&[delay]), (!is_good).then_some("escalation_delay_minutes"));
        let window = AlertConfig { suppression_window_minutes: minutes, ..of("*") };
        expect(&alerts::check_all(&[window]), (!is_good).then_some("suppression_window_minutes"));
    }
}

#[test]
fn what_an_alert_configuration_leaves_out_has_the_contracts_default() {
    let read: AlertConfig = serde_json::from_str(r#"{"alert_type": "health", "severity": "warning"}"#).unwrap();
    assert_eq!(read, AlertConfig::new("health", Severity::Warning));
    assert_eq!(
        (read.escalation_delay_minutes, read.suppression_window_minutes, read.suppress_duplicates),
        (15, 60, true)
    );
    assert!(read.notification_channels.is_empty());
}
