//! The health score: 100, less a deduction for each measurement that is too high; the worst status wins.
//!
//! The constants are those of the REST contract ("Health score of a heartbeat", "Recommendations").

use crate::record::Measurements;
use crate::rules::percent::percent;
use crate::verdict::{AgentHealth, HealthStatus};
use serde::{Deserialize, Serialize};

/// What is deducted above a limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Above this (not at it).
    pub over: f64,
    /// Points deducted.
    pub minus: f64,
}

/// The rule's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// CPU, percent: critical.
    pub cpu_critical: Step,
    /// CPU, percent: degraded.
    pub cpu_degraded: Step,
    /// Memory, percent: critical.
    pub memory_critical: Step,
    /// Memory, percent: degraded.
    pub memory_degraded: Step,
    /// Network latency, milliseconds: degraded.
    pub latency_degraded: Step,
    /// Failed requests, percent: critical.
    pub errors_critical: Step,
    /// Failed requests, percent: degraded.
    pub errors_degraded: Step,
    /// The memory of an agent that tells only how much is in use, megabytes.
    pub default_memory_mb: f64,
    /// Advice on CPU above this, percent.
    pub advise_cpu_percent: f64,
    /// Advice on memory above this, megabytes.
    pub advise_memory_mb: f64,
    /// Advice on memory above this, percent.
    pub advise_memory_percent: f64,
    /// Advice on the fullest file system above this, percent.
    pub advise_disk_percent: f64,
    /// Advice on the time to answer above this, milliseconds.
    pub advise_response_ms: f64,
    /// Advice on failed requests above this, percent.
    pub advise_error_percent: f64,
    /// Advice on availability below each of these, percent; the most urgent one is given.
    pub advise_uptime_percent: [f64; 3],
}

impl Default for HealthConfig {
    fn default() -> Self {
        let step = |over, minus| Step { over, minus };
        Self {
            cpu_critical: step(95.0, 30.0),
            cpu_degraded: step(80.0, 15.0),
            memory_critical: step(95.0, 25.0),
            memory_degraded: step(85.0, 10.0),
            latency_degraded: step(1000.0, 20.0),
            errors_critical: step(10.0, 25.0),
            errors_degraded: step(5.0, 10.0),
            default_memory_mb: 8192.0,
            advise_cpu_percent: 80.0,
            advise_memory_mb: 6000.0,
            advise_memory_percent: 85.0,
            advise_disk_percent: 85.0,
            advise_response_ms: 1000.0,
            advise_error_percent: 5.0,
            advise_uptime_percent: [99.0, 95.0, 90.0],
        }
    }
}

impl HealthConfig {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        for (name, step) in [
            ("cpu_critical", self.cpu_critical),
            ("cpu_degraded", self.cpu_degraded),
            ("memory_critical", self.memory_critical),
            ("memory_degraded", self.memory_degraded),
            ("latency_degraded", self.latency_degraded),
            ("errors_critical", self.errors_critical),
            ("errors_degraded", self.errors_degraded),
        ] {
            if !step.over.is_finite() || !(0.0..=100.0).contains(&step.minus) {
                return Err(format!("{name} must have a number `over` and a `minus` of 0 to 100"));
            }
        }
        if !(self.default_memory_mb.is_finite() && self.default_memory_mb > 0.0) {
            return Err(format!("default_memory_mb is {}, must be above 0", self.default_memory_mb));
        }
        Ok(())
    }
}

/// Failed requests, percent: as reported, else from the counts; `None` without requests.
#[must_use]
pub fn error_percent(measurements: &Measurements) -> Option<f64> {
    present(measurements.error_percent).or_else(|| {
        let (requests, errors) = (present(measurements.requests)?, present(measurements.errors)?);
        percent(errors, requests)
    })
}

/// Memory in use, percent: as reported, else of [`HealthConfig::default_memory_mb`].
#[must_use]
pub fn memory_percent(config: &HealthConfig, measurements: &Measurements) -> Option<f64> {
    present(measurements.memory_percent).or_else(|| percent(present(measurements.memory_mb)?, config.default_memory_mb))
}

/// The score of an agent, with its reasons and with advice. `uptime_percent` is its availability over the last 24 h.
#[must_use]
pub fn score(config: &HealthConfig, measurements: &Measurements, uptime_percent: Option<f64>) -> AgentHealth {
    let mut tally = Tally { score: 100.0, status: HealthStatus::Healthy, reasons: Vec::new() };
    let errors = error_percent(measurements);
    tally.deduct("CPU", " %", present(measurements.cpu_percent), Some(config.cpu_critical), config.cpu_degraded);
    let memory = memory_percent(config, measurements);
    tally.deduct("memory", " %", memory, Some(config.memory_critical), config.memory_degraded);
    tally.deduct("network latency", " ms", present(measurements.latency_ms), None, config.latency_degraded);
    tally.deduct("error rate", " %", errors, Some(config.errors_critical), config.errors_degraded);
    AgentHealth {
        score: tally.score.max(0.0),
        status: tally.status,
        reasons: tally.reasons,
        recommendations: advice(config, measurements, errors, uptime_percent),
    }
}

/// Whether what an agent says of itself speaks against it.
#[must_use]
pub fn is_bad(reported: HealthStatus) -> bool {
    matches!(reported, HealthStatus::Critical | HealthStatus::Offline)
}

/// A judged health beside what the agent says of itself: one that reports critical or offline is at most degraded, with a
/// score of at most `most`. Anything else that it says changes nothing: measurements say more.
#[must_use]
pub fn beside_report(mut health: AgentHealth, reported: Option<HealthStatus>, most: f64) -> AgentHealth {
    let Some(reported) = reported.filter(|reported| is_bad(*reported)) else { return health };
    if health.status != HealthStatus::Critical {
        health.status = HealthStatus::Degraded;
    }
    health.score = health.score.min(most);
    let name = reported.name();
    health.reasons.push(format!("the agent reports {name}: a score of at most {most}"));
    health.recommendations.push(format!("The agent reports {name}: read its own log and what else it says of itself."));
    health
}

struct Tally {
    score: f64,
    status: HealthStatus,
    reasons: Vec<String>,
}

impl Tally {
    fn deduct(&mut self, what: &str, unit: &str, value: Option<f64>, critical: Option<Step>, degraded: Step) {
        let Some(value) = value else { return };
        let (step, status) = match critical {
            Some(step) if value > step.over => (step, HealthStatus::Critical),
            _ if value > degraded.over => (degraded, HealthStatus::Degraded),
            _ => return,
        };
        self.score -= step.minus;
        if self.status != HealthStatus::Critical {
            self.status = status;
        }
        self.reasons.push(format!("{what} {value:.1}{unit} > {}{unit}: -{}", step.over, step.minus));
    }
}

fn advice(config: &HealthConfig, measurements: &Measurements, errors: Option<f64>, uptime: Option<f64>) -> Vec<String> {
    let mut out = Vec::new();
    let over = |value: Option<f64>, limit: f64| present(value).filter(|&v| v > limit);
    if let Some(cpu) = over(measurements.cpu_percent, config.advise_cpu_percent) {
        out.push(format!("CPU is at {cpu:.1} %: find the busiest process, spread its load or add CPUs."));
    }
    // The amount is meant for a machine of the default size: 7 GB of 64 are few.
    let is_larger = |mb: f64| {
        present(measurements.memory_percent)
            .is_some_and(|percent| 100.0 * mb > percent * config.default_memory_mb * 1.01)
    };
    let amount = measurements.memory_mb.filter(|&mb| !is_larger(mb));
    if let Some(mb) = over(amount, config.advise_memory_mb) {
        out.push(format!("{mb:.0} MB of memory are in use: look for a leak, lower cache sizes or add memory."));
    } else if let Some(percent) = over(measurements.memory_percent, config.advise_memory_percent) {
        out.push(format!("{percent:.1} % of memory are in use: look for a leak, lower cache sizes or add memory."));
    }
    if let Some(disk) = over(measurements.disk_percent, config.advise_disk_percent) {
        out.push(format!("A file system is {disk:.1} % full: delete or move old data, or enlarge it."));
    }
    if let Some(ms) = over(measurements.response_ms, config.advise_response_ms) {
        out.push(format!("Answers take {ms:.0} ms: look at slow queries, lock waits and downstream services."));
    }
    if let Some(percent) = over(errors, config.advise_error_percent) {
        out.push(format!("{percent:.1} % of requests fail: read the error logs and compare with the last change."));
    }
    if let Some(percent) = present(uptime) {
        let [watch, act, urgent] = config.advise_uptime_percent;
        if percent < urgent {
            out.push(format!("Available only {percent:.2} % of the last 24 h: treat as an incident and fail over."));
        } else if percent < act {
            out.push(format!("Available {percent:.2} % of the last 24 h: find the cause of the outages now."));
        } else if percent < watch {
            out.push(format!("Available {percent:.2} % of the last 24 h: look into the latest outages."));
        }
    }
    out
}

fn present(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{HealthConfig, Step, beside_report, score};
    use crate::record::Measurements;
    use crate::verdict::AgentHealth;
    use crate::verdict::HealthStatus::{self, Critical, Degraded, Healthy, Maintenance, Offline, Unknown};

    type Case = (&'static str, fn(&mut Measurements), f64, HealthStatus);

    #[test]
    fn scores() {
        let cases: [Case; 22] = [
            ("nothing known", |_| (), 100.0, Healthy),
            ("cpu at 80", |v| v.cpu_percent = Some(80.0), 100.0, Healthy),
            ("cpu above 80", |v| v.cpu_percent = Some(80.1), 85.0, Degraded),
            ("cpu at 95", |v| v.cpu_percent = Some(95.0), 85.0, Degraded),
            ("cpu above 95", |v| v.cpu_percent = Some(95.1), 70.0, Critical),
            ("memory at 85 %", |v| v.memory_percent = Some(85.0), 100.0, Healthy),
            ("memory above 85 %", |v| v.memory_percent = Some(85.1), 90.0, Degraded),
            ("memory above 95 %", |v| v.memory_percent = Some(95.1), 75.0, Critical),
            ("memory of 8192 MB", |v| v.memory_mb = Some(7000.0), 90.0, Degraded),
            (
                "memory of a known total",
                |v| (v.memory_mb, v.memory_percent) = (Some(7000.0), Some(40.0)),
                100.0,
                Healthy,
            ),
            ("latency at 1000", |v| v.latency_ms = Some(1000.0), 100.0, Healthy),
            ("latency above 1000", |v| v.latency_ms = Some(1000.1), 80.0, Degraded),
            ("errors at 5 %", |v| (v.requests, v.errors) = (Some(100.0), Some(5.0)), 100.0, Healthy),
            ("errors above 5 %", |v| (v.requests, v.errors) = (Some(100.0), Some(6.0)), 90.0, Degraded),
            ("errors at 10 %", |v| (v.requests, v.errors) = (Some(100.0), Some(10.0)), 90.0, Degraded),
            ("errors above 10 %", |v| (v.requests, v.errors) = (Some(100.0), Some(11.0)), 75.0, Critical),
            ("no requests", |v| (v.requests, v.errors) = (Some(0.0), Some(11.0)), 100.0, Healthy),
            ("errors as reported", |v| v.error_percent = Some(11.0), 75.0, Critical),
            ("NaN is absent", |v| v.cpu_percent = Some(f64::NAN), 100.0, Healthy),
            ("the worst wins", |v| (v.cpu_percent, v.latency_ms) = (Some(99.0), Some(2000.0)), 50.0, Critical),
            ("disk deducts nothing", |v| v.disk_percent = Some(99.0), 100.0, Healthy),
            (
                "everything",
                |v| {
                    (v.cpu_percent, v.memory_percent, v.latency_ms, v.error_percent) =
                        (Some(99.0), Some(99.0), Some(2e3), Some(50.0))
                },
                0.0,
                Critical,
            ),
        ];
        for (name, set, points, status) in cases {
            let mut measurements = Measurements::default();
            set(&mut measurements);
            let health = score(&HealthConfig::default(), &measurements, None);
            assert_eq!((health.score, health.status), (points, status), "{name}");
            assert_eq!(health.reasons.is_empty(), status == Healthy, "{name}");
        }
    }

    #[test]
    fn what_an_agent_says_of_itself_limits_its_health() {
        for (judged, points, reported, expect) in [
            (Healthy, 100.0, None, (Healthy, 100.0)),
            (Healthy, 100.0, Some(Healthy), (Healthy, 100.0)),
            (Healthy, 100.0, Some(Degraded), (Healthy, 100.0)),
            (Healthy, 100.0, Some(Unknown), (Healthy, 100.0)),
            (Healthy, 100.0, Some(Maintenance), (Healthy, 100.0)),
            (Healthy, 100.0, Some(Critical), (Degraded, 80.0)),
            (Healthy, 100.0, Some(Offline), (Degraded, 80.0)),
            (Unknown, 100.0, Some(Critical), (Degraded, 80.0)),
            (Degraded, 65.0, Some(Critical), (Degraded, 65.0)),
            (Critical, 70.0, Some(Offline), (Critical, 70.0)),
            // A plugin may call a high score critical; what the agent says makes nothing better.
            (Critical, 90.0, Some(Critical), (Critical, 80.0)),
            (Critical, 70.0, Some(Healthy), (Critical, 70.0)),
        ] {
            let health =
                AgentHealth { score: points, status: judged, reasons: Vec::new(), recommendations: Vec::new() };
            let limited = beside_report(health, reported, 80.0);
            assert_eq!((limited.status, limited.score), expect, "{judged:?} {points} {reported:?}");
            let says_so = limited.reasons.iter().any(|reason| reason.contains("the agent reports"));
            assert_eq!(says_so, matches!(reported, Some(Critical | Offline)), "{judged:?} {reported:?}");
        }
    }

    #[test]
    fn the_score_stops_at_zero() {
        let config = HealthConfig { cpu_critical: Step { over: 10.0, minus: 100.0 }, ..HealthConfig::default() };
        let measurements =
            Measurements { cpu_percent: Some(50.0), latency_ms: Some(5000.0), ..Measurements::default() };
        assert_eq!(score(&config, &measurements, None).score, 0.0);
    }

    #[test]
    fn reasons_name_the_number_and_the_limit() {
        let measurements = Measurements { cpu_percent: Some(97.0), ..Measurements::default() };
        assert_eq!(score(&HealthConfig::default(), &measurements, None).reasons, ["CPU 97.0 % > 95 %: -30"]);
    }

    #[test]
    fn advice() {
        type Case<'a> = (fn(&mut Measurements), Option<f64>, &'a [&'a str]);
        let cases: [Case; 15] = [
            (|_| (), None, &[]),
            (|v| v.cpu_percent = Some(80.0), None, &[]),
            (|v| v.cpu_percent = Some(81.0), None, &["CPU is at 81.0 %"]),
            (|v| v.memory_mb = Some(6000.0), None, &[]),
            (|v| v.memory_mb = Some(6001.0), None, &["6001 MB of memory"]),
            (|v| v.memory_percent = Some(86.0), None, &["86.0 % of memory"]),
            (|v| (v.memory_mb, v.memory_percent) = (Some(7000.0), Some(11.0)), None, &[]),
            (
                |v| (v.memory_mb, v.memory_percent) = (Some(7000.0), Some(100.0 * 7000.0 / 8192.0)),
                None,
                &["7000 MB of memory"],
            ),
            (|v| v.response_ms = Some(1001.0), None, &["Answers take 1001 ms"]),
            (|v| v.error_percent = Some(5.1), None, &["5.1 % of requests fail"]),
            (|v| v.disk_percent = Some(90.0), None, &["A file system is 90.0 % full"]),
            (|_| (), Some(99.0), &[]),
            (|_| (), Some(98.9), &["Available 98.90 %"]),
            (|_| (), Some(94.0), &["Available 94.00 %"]),
            (|_| (), Some(89.0), &["Available only 89.00 %"]),
        ];
        for (set, uptime, expect) in cases {
            let mut measurements = Measurements::default();
            set(&mut measurements);
            let found = score(&HealthConfig::default(), &measurements, uptime).recommendations;
            assert_eq!(found.len(), expect.len(), "{found:?}");
            found.iter().zip(expect).for_each(|(f, e)| assert!(f.starts_with(e), "{f} / {e}"));
        }
    }

    #[test]
    fn impossible_configurations_are_named() {
        let bad = HealthConfig { default_memory_mb: 0.0, ..HealthConfig::default() };
        assert!(bad.check().expect_err("bad").contains("default_memory_mb"));
        assert_eq!(HealthConfig::default().check(), Ok(()));
    }
}
