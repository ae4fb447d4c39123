//! What judging yields, with its evidence.

use crate::alert_command::Handling;
use crate::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// An agent's health (the contract's `HealthStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// Works, but worse than it should.
    Degraded,
    /// Close to failing, or failing.
    Critical,
    /// Not enough is known.
    Unknown,
    /// No evidence of life within the adaptive timeout.
    Offline,
    /// Planned.
    Maintenance,
}

impl HealthStatus {
    /// The contract's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
            Self::Offline => "offline",
            Self::Maintenance => "maintenance",
        }
    }
}

/// How bad an alert is (the contract's `AlertSeverity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it in office hours.
    Warning,
    /// Something does not work.
    Error,
    /// Someone should act now.
    Critical,
    /// Everyone should.
    Emergency,
}

impl Severity {
    /// The contract's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

/// Who judged, so that a verdict can be traced and repeated.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evidence {
    /// The plugin's name; `vitals` for the host's own rules.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its component, hex; empty for the host's own rules.
    pub digest: String,
    /// SHA-256 of its configuration, hex.
    pub config: String,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose agent.
    pub tenant: TenantId,
    /// The agent judged.
    pub agent: AgentId,
    /// The time of the data judged.
    pub time: UnixNanos,
    /// Who judged.
    pub evidence: Arc<Evidence>,
    /// What was found.
    pub body: VerdictBody,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VerdictBody {
    /// A health score.
    Health(AgentHealth),
    /// An outlier.
    Outlier(OutlierVerdict),
    /// An SLA report.
    Sla(SlaVerdict),
}

impl VerdictBody {
    /// `health`, `outlier` or `sla`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Health(_) => "health",
            Self::Outlier(_) => "outlier",
            Self::Sla(_) => "sla",
        }
    }
}

/// A health score with what led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// 0..=100; 100 is best.
    pub score: f64,
    /// The status that goes with it.
    pub status: HealthStatus,
    /// One sentence for each deduction, e.g. `CPU 97.0 % > 95 %: -30`.
    pub reasons: Vec<String>,
    /// Advice that a person can act on.
    pub recommendations: Vec<String>,
}

/// A value outside its series' bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlierVerdict {
    /// The series.
    pub series: SeriesId,
    /// The value.
    pub value: f64,
    /// The lower bound at the time.
    pub lower: f64,
    /// The upper bound at the time.
    pub upper: f64,
    /// How far outside, 0 or more and finite; what it means is the plugin's. That of `iqr-outlier` is the distance to the nearer
    /// bound over the interquartile range.
    pub score: f64,
    /// How many earlier values the bounds are made of.
    pub window: u32,
}

/// How an agent stands against its objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaVerdict {
    /// The objective, percent.
    pub target: f64,
    /// Availability over the objective's period, percent of the known time; NaN when nothing is known.
    pub availability: f64,
    /// Share of the error budget left: 1 untouched, 0 used up, negative overspent.
    pub budget_left: f64,
    /// Burn rates over 1 h, 6 h and 3 d: 1 uses the budget up exactly at the period's end. NaN is unknown.
    pub burn: [f64; 3],
    /// `low`, `medium`, `high` or `breached`.
    pub risk: Risk,
}

/// The risk of missing an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// No burn rate is over its factor.
    Low,
    /// The slow burn rate is.
    Medium,
    /// A fast one is.
    High,
    /// The budget is gone.
    Breached,
}

impl Risk {
    /// The contract's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Breached => "breached",
        }
    }
}

/// An alert. Its id is made of agent, source and start, so that a replay raises the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Hex, 32 characters.
    pub id: String,
    /// Whose agent.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What raised it: `threshold:cpu_usage`, `availability`, `health`, `outliers:` and the policy's name.
    pub source: String,
    /// The series whose value breached a threshold; `None` for alerts on health and availability.
    pub series: Option<AlertSeries>,
    /// When it began.
    pub started: UnixNanos,
    /// When it ended; `None` while it is open.
    pub resolved: Option<UnixNanos>,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<(String, UnixNanos)>,
    /// What else people did to it.
    pub handling: Handling,
}

/// The series that an alert is about, by its identity, because its number means nothing outside of this service. Where a
/// value is made of several series (one a core, one a state), it holds the attributes that they have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSeries {
    /// The metric's name.
    pub metric: String,
    /// The attributes, by key.
    pub attributes: Vec<(String, String)>,
}

/// Keys of the device of a file system, in several versions of the semantic conventions.
const DEVICE: [&str; 2] = ["device", "system.device"];
/// Keys of where a file system is mounted.
const MOUNTPOINT: [&str; 2] = ["mountpoint", "system.filesystem.mountpoint"];
/// Longest name of a series in a message, characters.
const LONGEST_NAME: usize = 200;

impl AlertSeries {
    fn attribute(&self, keys: [&str; 2]) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for AlertSeries {
    /// For people: `/dev/sda1 on /var`, else `metric` or `metric{key=value, key=value}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.attribute(DEVICE), self.attribute(MOUNTPOINT)) {
            (Some(device), Some(mountpoint)) => format!("{device} on {mountpoint}"),
            _ if self.attributes.is_empty() => self.metric.clone(),
            _ => {
                let pairs: Vec<String> = self.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{}{{{}}}", self.metric, pairs.join(", "))
            }
        };
        match name.char_indices().nth(LONGEST_NAME) {
            Some((end, _)) => write!(f, "{}...", &name[..end]),
            None => f.write_str(&name),
        }
    }
}

/// What is told of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It is open. Always the first that is told of an alert.
    Raised,
    /// It became more severe by itself.
    Worsened,
    /// It became more severe because nobody acknowledged it.
    Escalated,
    /// A person has seen it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// It was notified before and is open still: for receivers that forget what is not repeated.
    #[serde(rename = "standing")]
    StillOpen,
    /// It was not notified because another one was just before.
    Suppressed,
    /// Nobody sees to it after all.
    Unacknowledged,
}

impl Event {
    /// In lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worsened => "worsened",
            Self::Escalated => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::StillOpen => "standing",
            Self::Suppressed => "suppressed",
            Self::Unacknowledged => "unacknowledged",
        }
    }
}

/// Something that someone should hear. A replay makes the same ones again, with the same times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened.
    pub event: Event,
    /// When.
    pub at: UnixNanos,
    /// The alert after it.
    pub alert: Alert,
    /// Names of the channels.
    pub channels: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_named_for_people() {
        let long = "x".repeat(300);
        for (metric, attributes, expect) in [
            ("load", &[][..], "load".to_owned()),
            (
                "disk",
                &[("device", "/dev/sda1"), ("mountpoint", "/var"), ("type", "ext4")],
                "/dev/sda1 on /var".to_owned(),
            ),
            ("disk", &[("system.device", "nvme0"), ("system.filesystem.mountpoint", "/")], "nvme0 on /".to_owned()),
            ("disk", &[("device", "/dev/sda1")], "disk{device=/dev/sda1}".to_owned()),
            ("http", &[("method", "GET"), ("route", "/x")], "http{method=GET, route=/x}".to_owned()),
            (&long, &[], format!("{}...", "x".repeat(200))),
        ] {
            let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(AlertSeries { metric: metric.to_owned(), attributes }.to_string(), expect);
        }
    }
}
