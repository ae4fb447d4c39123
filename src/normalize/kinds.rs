//! The rules table: from semantic-convention names to typed kinds with their units.

use hashbrown::HashMap;
use serde::Deserialize;
use vitals_core::measurement_role;
use vitals_core::rules::units::is_percent;
use vitals_core::series::{MetricKind, Part, SeriesSpec};

/// The table that is built in.
pub const BUILT_IN: &str = include_str!("semconv.toml");

/// Why a rules table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It cannot be read.
    #[error("the rules table {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a rules table.
    #[error("the rules table {path} is not valid: {source}")]
    Invalid {
        /// The file.
        path: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A rule of `normalize.agent_identity` cannot be read.
    #[error("the rule {rule:?} of normalize.agent_identity is not valid: {why}")]
    Identity {
        /// The rule.
        rule: String,
        /// Why.
        why: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    metric: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Metric names that the rule is for.
    names: Vec<String>,
    /// Received units that it is for; any when empty. `%` stands for its other spellings too.
    #[serde(default)]
    received: Vec<String>,
    /// What the name of the instrumentation scope must contain; anything when absent.
    scope: Option<String>,
    kind: MetricKind,
    /// The unit after multiplying; as received when absent.
    unit: Option<String>,
    #[serde(default = "one")]
    factor: f64,
    /// States (`state`, `cpu.mode`, ...) that have the kind; `""` is none. Others are custom. All when empty.
    #[serde(default)]
    states: Vec<String>,
}

fn one() -> f64 {
    1.0
}

/// The rules by metric name.
pub struct Rules {
    by_name: HashMap<String, Vec<Rule>>,
    /// Bit n: some rule with a factor has a name of n bytes (longer ones count as 63).
    scaled_lengths: u64,
}

impl Rules {
    /// `tables` in order of precedence; a rule of an earlier one wins.
    ///
    /// # Errors
    /// When one is not a rules table; each comes with its name.
    pub fn new(tables: &[(&str, &str)]) -> Result<Self, RulesError> {
        let mut by_name: HashMap<String, Vec<Rule>> = HashMap::new();
        let mut scaled_lengths = 0;
        for (path, text) in tables {
            let file: File = toml::from_str(text)
                .map_err(|source| RulesError::Invalid { path: (*path).to_owned(), source: Box::new(source) })?;
            for rule in file.metric {
                for name in &rule.names {
                    if rule.factor.to_bits() != 1.0_f64.to_bits() {
                        scaled_lengths |= length_bit(name);
                    }
                    by_name.entry(name.clone()).or_default().push(rule.clone());
                }
            }
        }
        Ok(Self { by_name, scaled_lengths })
    }

    fn find(&self, metric: &str, unit: &str, scope: &str) -> Option<&Rule> {
        let rules = self.by_name.get(metric)?;
        rules.iter().find(|rule| {
            (rule.received.is_empty() || rule.received.iter().any(|r| r == unit || (r == "%" && is_percent(unit))))
                && rule.scope.as_deref().is_none_or(|part| scope.contains(part))
        })
    }

    /// What the values of a metric are multiplied by; `scope` is the instrumentation scope's name. The same for all its
    /// series, so that the walk asks once.
    pub fn factor(&self, metric: &str, unit: &str, scope: &str) -> f64 {
        if self.scaled_lengths & length_bit(metric) == 0 {
            return 1.0;
        }
        self.find(metric, unit, scope).map_or(1.0, |rule| rule.factor)
    }

    /// Fills in kind, unit and factor of a series as received. Counts, sums and buckets of a
    /// distribution stay as they came: only single values and quantiles are of the typed kind.
    pub fn apply(&self, spec: &mut SeriesSpec) {
        if !matches!(spec.part, Part::Value | Part::Quantile(_)) {
            return;
        }
        let Some(rule) = self.find(&spec.metric, &spec.unit, measurement_role::scope_name(spec)) else { return };
        let state = measurement_role::state(spec).unwrap_or("");
        if rule.states.is_empty() || rule.states.iter().any(|s| s == state) {
            spec.kind = rule.kind;
        }
        spec.factor = rule.factor;
        if let Some(unit) = &rule.unit {
            unit.clone_into(&mut spec.unit);
        }
    }
}

fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vitals_core::series::{Origin, Scope, Shape};

    fn applied(metric: &str, unit: &str, scope: &str, state: Option<&str>, part: Part) -> SeriesSpec {
        let mut spec = SeriesSpec {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            kind: MetricKind::Custom,
            shape: Shape::Gauge,
            part,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Scope::named(scope),
            attributes: state.map(|s| ("state".to_owned(), s.to_owned())).into_iter().collect(),
            resource: Arc::default(),
        };
        let rules = Rules::new(&[("built in", BUILT_IN)]).unwrap();
        rules.apply(&mut spec);
        assert_eq!(
            spec.factor.to_bits(),
            match part {
                Part::Value | Part::Quantile(_) => rules.factor(metric, unit, scope),
                _ => 1.0,
            }
            .to_bits()
        );
        spec
    }

    #[test]
    fn the_built_in_table() {
        use MetricKind as K;
        for (metric, unit, state, part, kind, to, factor) in [
            ("system.cpu.utilization", "1", None, Part::Value, K::CpuUsage, "%", 100.0),
            ("system.cpu.utilization", "1", Some("idle"), Part::Value, K::Custom, "%", 100.0),
            ("system.memory.utilization", "1", Some("used"), Part::Value, K::MemoryUsage, "%", 100.0),
            ("system.memory.utilization", "1", Some("free"), Part::Value, K::Custom, "%", 100.0),
            ("system.memory.usage", "By", Some("used"), Part::Value, K::MemoryUsage, "By", 1.0),
            ("system.filesystem.utilization", "1", None, Part::Value, K::DiskUsage, "%", 100.0),
            ("system.network.io", "By", None, Part::Value, K::NetworkIo, "By", 1.0),
            ("http.server.request.duration", "s", None, Part::Quantile(0.95), K::ResponseTime, "ms", 1000.0),
            ("http.server.request.duration", "s", None, Part::Sum, K::Custom, "s", 1.0),
            ("http.server.duration", "ms", None, Part::Quantile(0.5), K::ResponseTime, "ms", 1.0),
            ("my.own", "1", None, Part::Value, K::Custom, "1", 1.0),
        ] {
            let spec = applied(metric, unit, "", state, part);
            assert_eq!((spec.kind, spec.unit.as_str()), (kind, to), "{metric} {state:?}");
            assert_eq!(spec.factor.to_bits(), f64::to_bits(factor), "{metric}");
        }
    }

    /// Names whose unit does not tell the scale: what the senders of the world mean by them.
    #[test]
    fn the_scale_is_that_of_the_sender() {
        use MetricKind as K;
        let docker = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/dockerstatsreceiver";
        let kubelet = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kubeletstatsreceiver";
        for (metric, unit, scope, state, kind, to, factor) in [
            ("process.memory.utilization", "1", "hostmetricsreceiver", None, K::MemoryUsage, "%", 1.0),
            ("process.cpu.utilization", "1", "hostmetricsreceiver", Some("user"), K::Custom, "%", 100.0),
            ("process.cpu.utilization", "%", "any", None, K::CpuUsage, "%", 1.0),
            ("process.runtime.cpython.cpu.utilization", "1", "any", None, K::CpuUsage, "%", 100.0),
            ("container.cpu.utilization", "1", docker, None, K::CpuUsage, "%", 1.0),
            ("container.cpu.utilization", "%", "any", None, K::CpuUsage, "%", 1.0),
            ("container.cpu.utilization", "1", kubelet, None, K::Custom, "{cpu}", 1.0),
            ("k8s.node.cpu.utilization", "1", kubelet, None, K::Custom, "{cpu}", 1.0),
            ("k8s.pod.cpu.utilization", "1", kubelet, None, K::Custom, "{cpu}", 1.0),
            ("k8s.pod.cpu.node.utilization", "1", kubelet, None, K::CpuUsage, "%", 100.0),
            ("k8s.pod.cpu_limit_utilization", "1", kubelet, None, K::CpuUsage, "%", 100.0),
            ("k8s.pod.cpu_request_utilization", "1", kubelet, None, K::Custom, "1", 1.0),
            ("container.memory.percent", "1", docker, None, K::MemoryUsage, "%", 1.0),
            ("system.memory.utilization", "%", "any", Some("used"), K::MemoryUsage, "%", 1.0),
            ("system.cpu.utilization", "%", "any", None, K::CpuUsage, "%", 1.0),
            ("system.cpu.utilization", "percent", "any", None, K::CpuUsage, "%", 1.0),
            ("error_rate", "percent", "any", None, K::ErrorRate, "%", 1.0),
            ("system.filesystem.utilization", "%", "any", None, K::DiskUsage, "%", 1.0),
            ("system.filesystem.inodes.usage", "{inodes}", "any", Some("used"), K::Custom, "{inodes}", 1.0),
            ("system.paging.utilization", "1", "any", Some("used"), K::Custom, "1", 1.0),
            ("system.cpu.load_average.1m", "{thread}", "any", None, K::Custom, "{thread}", 1.0),
        ] {
            let spec = applied(metric, unit, scope, state, Part::Value);
            assert_eq!((spec.kind, spec.unit.as_str()), (kind, to), "{metric} {unit} {scope}");
            assert_eq!(spec.factor.to_bits(), f64::to_bits(factor), "{metric} {unit} {scope}");
        }
    }
}
