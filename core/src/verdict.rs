//! What judging yields, with its evidence.

use crate::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use serde::{Deserialize, Serialize};
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
    /// How far outside: distance to the nearer bound over the interquartile range; infinite when that is 0.
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
    /// What raised it: `threshold:cpu_usage`, `availability`, `health`.
    pub source: String,
    /// When it began.
    pub started: UnixNanos,
    /// When it ended; `None` while it is open.
    pub resolved: Option<UnixNanos>,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<(String, UnixNanos)>,
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
    Standing,
    /// It was not notified because another one was just before.
    Suppressed,
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
            Self::Standing => "standing",
            Self::Suppressed => "suppressed",
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
