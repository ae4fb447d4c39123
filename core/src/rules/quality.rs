//! Data quality scores, 0..=1.
//!
//! Source: IntelliBrowse's ingestion; every constant is in [`QualityRules`].

use crate::ids::UnixNanos;
use crate::record::Measurements;
use crate::series::{AgentProfile, MetricKind};
use serde::{Deserialize, Serialize};

/// The constants of the data quality scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualityRules {
    /// Taken off for CPU outside 0..=100 percent.
    pub cpu_out_of_range: f64,
    /// Taken off for negative memory.
    pub negative_memory: f64,
    /// Taken off for a metric whose own time is old.
    pub old: f64,
    /// From what age a metric is old, seconds.
    pub old_seconds: i64,
}

impl Default for QualityRules {
    fn default() -> Self {
        Self { cpu_out_of_range: 0.5, negative_memory: 0.3, old: 0.2, old_seconds: 3_600 }
    }
}

/// The share of a heartbeat's optional fields that are there: its measurements, and where the agent is.
#[must_use]
pub fn heartbeat_quality(measurements: &Measurements, profile: &AgentProfile) -> f64 {
    let measured = Measurements::HEARTBEAT.iter().map(|field| (field.value)(measurements).is_some());
    let present = measured.chain([profile.location.is_some(), profile.zone.is_some()]);
    let (count, all) =
        present.fold((0_u32, 0_u32), |(count, all), is_present| (count + u32::from(is_present), all + 1));
    f64::from(count) / f64::from(all)
}

/// The quality of one metric value; `own_time` is the time that the metric itself carries, if it does.
#[must_use]
pub fn metric_quality(
    kind: MetricKind,
    value: f64,
    own_time: Option<UnixNanos>,
    now: UnixNanos,
    rules: &QualityRules,
) -> f64 {
    let mut minus = 0.0;
    if kind == MetricKind::CpuUsage && !(0.0..=100.0).contains(&value) {
        minus += rules.cpu_out_of_range;
    }
    if kind == MetricKind::MemoryUsage && value < 0.0 {
        minus += rules.negative_memory;
    }
    if own_time.is_some_and(|time| now.since(time) > rules.old_seconds * UnixNanos::SECOND) {
        minus += rules.old;
    }
    // 1 - 0.3 - 0.2 is 0.49999999999999994 otherwise.
    ((1.0 - minus) * 1e9).round().clamp(0.0, 1e9) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_as_good_as_it_is_complete() {
        let mut measurements = Measurements::default();
        let mut profile = AgentProfile::default();
        assert_eq!(heartbeat_quality(&measurements, &profile), 0.0);
        measurements.cpu_percent = Some(1.0);
        measurements.memory_mb = Some(1.0);
        profile.zone = Some("a".into());
        assert_eq!(heartbeat_quality(&measurements, &profile), 0.25);
        // What is derived from other fields is no field of its own.
        measurements.memory_percent = Some(1.0);
        measurements.error_percent = Some(1.0);
        assert_eq!(heartbeat_quality(&measurements, &profile), 0.25);
    }

    #[test]
    fn a_metric_loses_for_what_cannot_be() {
        let now = UnixNanos(10_000 * UnixNanos::SECOND);
        let ago = |seconds: i64| Some(now.plus(-seconds * UnixNanos::SECOND));
        for (kind, value, time, expect) in [
            (MetricKind::CpuUsage, 0.0, None, 1.0),
            (MetricKind::CpuUsage, 100.0, None, 1.0),
            (MetricKind::CpuUsage, 100.1, None, 0.5),
            (MetricKind::CpuUsage, -0.1, ago(3_601), 0.3),
            (MetricKind::CpuUsage, f64::NAN, None, 0.5),
            (MetricKind::MemoryUsage, -1.0, None, 0.7),
            (MetricKind::MemoryUsage, 0.0, ago(3_600), 1.0),
            (MetricKind::Custom, -1.0, ago(3_601), 0.8),
            (MetricKind::MemoryUsage, -1.0, ago(3_601), 0.5),
        ] {
            let score = metric_quality(kind, value, time, now, &QualityRules::default());
            assert_eq!(score, expect, "{kind:?} {value} {time:?}");
        }
    }
}
