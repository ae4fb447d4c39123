//! Scores of outliers, burn rates at their factors, timeouts by their constants, and sentences with their units.

use vitals_core::ids::UnixNanos;
use vitals_core::rules::iqr::{Detector, IqrConfig};
use vitals_core::rules::sla::{SlaConfig, Windows, evaluate};
use vitals_core::rules::thresholds::Threshold;
use vitals_core::rules::timeout::{TimeoutRules, adaptive_timeout};
use vitals_core::series::MetricKind;
use vitals_core::verdict::{Risk, Severity};

const S: i64 = UnixNanos::SECOND;

#[test]
fn a_score_is_the_distance_to_the_nearer_bound_in_interquartile_ranges() {
    // Of 1 to 10 the quartiles are 2.75 and 8.25, the bounds -5.5 and 16.5.
    for (value, expect) in
        [(22.0, Some(1.0)), (-11.0, Some(1.0)), (-16.5, Some(2.0)), (19.25, Some(0.5)), (16.5, None), (-5.5, None)]
    {
        let mut detector = Detector::new(IqrConfig::default());
        for (past, time) in (1..=10).zip(0..) {
            assert_eq!(detector.judge(0, time * S, f64::from(past)), None);
        }
        assert_eq!(detector.judge(0, 10 * S, value).map(|outlier| outlier.score), expect, "{value}");
    }
}

#[test]
fn series_that_were_closed_are_not_written_down() {
    let mut detector = Detector::new(IqrConfig::default());
    detector.judge(0, 0, 1.0);
    detector.close(0);
    assert_eq!(detector.snapshot(), Detector::new(IqrConfig::default()).snapshot());
    // Nor are the numbers before the first series that is there.
    let mut alone = Detector::new(IqrConfig::default());
    alone.judge(3, 0, 1.0);
    let written = alone.snapshot();
    alone.judge(1, 0, 1.0);
    alone.close(1);
    assert_eq!(alone.snapshot(), written);
}

#[test]
fn a_window_has_room_for_as_many_values_as_are_configured() {
    for window in [2, 7, 8, 9, 16, 17, 1_000] {
        let config = IqrConfig { window, min_values: 2, ..IqrConfig::default() };
        let mut detector = Detector::new(config);
        for time in 0..2_500 {
            detector.judge(0, time * S, f64::from(u32::try_from(time % 10).unwrap()));
        }
        assert_eq!(
            detector.judge(0, 2_500 * S, 1e9).map(|outlier| outlier.window),
            Some(u32::try_from(window).unwrap())
        );
    }
}

#[test]
fn a_burn_rate_at_its_factor_is_no_risk_yet() {
    let config = SlaConfig { hour_factor: 2.0, six_hours_factor: 2.0, three_days_factor: 2.0 };
    // Half of the time may be down: a burn rate is twice the share of downtime.
    let none = (100.0, 0.0);
    let at = (100.0, 100.0);
    for (hour, six_hours, three_days) in [(at, none, none), (none, at, none), (none, none, at)] {
        let windows = Windows { period: none, hour, six_hours, three_days };
        assert_eq!(evaluate(&config, 50.0, &windows).risk, Risk::Low);
        let lower = SlaConfig { hour_factor: 1.9, six_hours_factor: 1.9, three_days_factor: 1.9 };
        assert_ne!(evaluate(&lower, 50.0, &windows).risk, Risk::Low);
    }
}

#[test]
fn the_timeout_is_the_mean_and_two_deviations_within_its_bounds() {
    let timeout = |beats: &[i64], rules: &TimeoutRules| {
        let beats: Vec<_> = beats.iter().map(|second| UnixNanos(second * S)).collect();
        adaptive_timeout(&beats, 10 * S, rules) / (S / 1_000)
    };
    let wide = TimeoutRules { least: 0.1, most: 100.0, ..TimeoutRules::default() };
    // Gaps of 10, 20 and 30 seconds: mean 20, sample standard deviation 10.
    assert_eq!(timeout(&[0, 10, 30, 60], &wide), 40_000);
    // Gaps of 10, 10, 10 and 30: mean 15, deviation 10.
    assert_eq!(timeout(&[0, 10, 20, 30, 60], &wide), 35_000);
    assert_eq!(timeout(&[0, 10, 30, 60], &TimeoutRules { deviations: 1.0, ..wide }), 30_000);
    // Where the bounds are the wrong way round the least one holds.
    for (least, most) in [(4.0, 1.0), (4.0, 4.0)] {
        assert_eq!(timeout(&[0, 10, 20], &TimeoutRules { least, most, ..wide }), 40_000, "{least} {most}");
    }
}

#[test]
fn a_breach_is_said_with_the_unit_of_its_kind() {
    for (kind, sentence) in [
        (MetricKind::CpuUsage, "cpu_usage is 9.0 %, warning from 8.0 %"),
        (MetricKind::MemoryUsage, "memory_usage is 9.0 %, warning from 8.0 %"),
        (MetricKind::DiskUsage, "disk_usage is 9.0 %, warning from 8.0 %"),
        (MetricKind::ErrorRate, "error_rate is 9.0 %, warning from 8.0 %"),
        (MetricKind::ResponseTime, "response_time is 9.0 ms, warning from 8.0 ms"),
        (MetricKind::Custom, "custom is 9.0, warning from 8.0"),
    ] {
        assert_eq!(Threshold::new(kind, 8.0, 10.0).sentence(9.0, Severity::Warning), sentence);
    }
}
