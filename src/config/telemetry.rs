//! The section `[telemetry]`: what operators of IntelliBrowse set, in its own shape (`TelemetryConfig`).
//!
//! It is the only place for these settings. They belong to several stages; [`Config`](super::Config) hands each its part.

use serde::{Deserialize, Serialize};
use vitals_core::rules::alerts::AlertConfig;
use vitals_core::rules::thresholds::Threshold;

/// Intervals, retention, thresholds and alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The interval of a heartbeat that names none, milliseconds.
    pub default_heartbeat_interval_ms: u64,
    /// The interval of an agent that only sends metrics, until it is learned from its exports, milliseconds.
    pub default_metrics_interval_ms: u64,
    /// How long verdicts are kept, days.
    pub heartbeat_retention_days: u32,
    /// How long samples are kept, days.
    pub metrics_retention_days: u32,
    /// How long sessions, outages and resolved alerts are kept, days.
    pub snapshot_retention_days: u32,
    /// Most heartbeats in one batch.
    pub batch_size: usize,
    /// What REST received must be durable and evaluated within this time, milliseconds.
    pub processing_timeout_ms: u64,
    /// Which values raise alerts.
    pub default_thresholds: Vec<Threshold>,
    /// Who hears of alerts.
    pub alert_configs: Vec<AlertConfig>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            default_heartbeat_interval_ms: 30_000,
            default_metrics_interval_ms: 60_000,
            heartbeat_retention_days: 30,
            metrics_retention_days: 90,
            snapshot_retention_days: 365,
            batch_size: 1_000,
            processing_timeout_ms: 5_000,
            default_thresholds: Threshold::defaults(),
            alert_configs: Vec::new(),
        }
    }
}

impl TelemetryConfig {
    /// The numbers with the least that the contract allows.
    pub(super) fn least(&self) -> [(&'static str, u64, u64); 7] {
        [
            ("telemetry.default_heartbeat_interval_ms", self.default_heartbeat_interval_ms, 1_000),
            ("telemetry.default_metrics_interval_ms", self.default_metrics_interval_ms, 1_000),
            ("telemetry.heartbeat_retention_days", self.heartbeat_retention_days.into(), 1),
            ("telemetry.metrics_retention_days", self.metrics_retention_days.into(), 1),
            ("telemetry.snapshot_retention_days", self.snapshot_retention_days.into(), 1),
            ("telemetry.batch_size", self.batch_size as u64, 1),
            ("telemetry.processing_timeout_ms", self.processing_timeout_ms, 1_000),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use vitals_core::series::MetricKind;
    use vitals_core::verdict::Severity;

    /// The contract's shape of `name`.
    fn schema(name: &str) -> Value {
        let path = format!("{}/tests/data/contract/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// `value` has the fields of the shape and no others, and its defaults.
    fn fits(name: &str, value: &Value) {
        let schema = schema(name);
        let properties = schema["properties"].as_object().unwrap();
        let names: BTreeSet<_> = value.as_object().unwrap().keys().collect();
        assert_eq!(names, properties.keys().collect(), "{name}");
        for (key, property) in properties {
            if let Some(default) = property.get("default") {
                assert_eq!(&value[key], default, "{name}.{key}");
            }
        }
    }

    #[test]
    fn the_shapes_and_defaults_are_the_contracts() {
        fits("TelemetryConfig", &serde_json::to_value(TelemetryConfig::default()).unwrap());
        let threshold = Threshold::new(MetricKind::CpuUsage, 1.0, 2.0);
        fits("ThresholdConfig", &serde_json::to_value(&threshold).unwrap());
        let alert = AlertConfig::new("*", Severity::Info);
        fits("AlertConfig", &serde_json::to_value(&alert).unwrap());
        // What may be left out has the same defaults when it is read.
        let read = json!({"metric_type": "cpu_usage", "warning_threshold": 1.0, "critical_threshold": 2.0});
        assert_eq!(serde_json::from_value::<Threshold>(read).unwrap(), threshold);
        let read = json!({"alert_type": "*", "severity": "info"});
        assert_eq!(serde_json::from_value::<AlertConfig>(read).unwrap(), alert);
        let kinds = &schema("ThresholdConfig")["$defs"]["MetricType"]["enum"];
        assert_eq!(*kinds, json!(MetricKind::ALL.map(MetricKind::name)));
    }

    #[test]
    fn the_least_values_are_the_contracts() {
        let shape = schema("TelemetryConfig");
        for (name, _, least) in TelemetryConfig::default().least() {
            let key = name.strip_prefix("telemetry.").unwrap();
            assert_eq!(shape["properties"][key]["minimum"], least, "{key}");
        }
    }
}
