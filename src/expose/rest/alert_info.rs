//! The JSON shape of an alert.

use super::time::{Time, seconds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use vitals_core::alert_command::Handling;
use vitals_core::rules::alerts::type_of;
use vitals_core::verdict::{Alert, Severity};

/// An alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertInfo {
    /// Its id.
    pub alert_id: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// One sentence.
    pub message: String,
    /// The id of its agent or system.
    pub source: String,
    /// What raised it: `availability`, `health`, or the typed kind whose threshold was breached, as in `alert_configs`.
    pub alert_type: String,
    /// When it began.
    pub timestamp: Time,
    /// Where it stands.
    pub state: AlertState,
    /// Whether it is over.
    pub resolved: bool,
    /// When it ended: not when that was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    /// How long it lasted, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub duration_seconds: Option<f64>,
    /// Its agent or system, as `source`.
    pub agent_id: String,
    /// The metric whose value breached a threshold; not there for other alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<String>,
    /// The attributes of the series that breached, e.g. which disk; those in common if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Who acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Time>,
    /// Why it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledge_comment: Option<String>,
    /// Who closed it, at `resolved_at`; not there when it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// Why it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_comment: Option<String>,
    /// Who silenced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
    /// When it was silenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_at: Option<Time>,
    /// Nobody is notified of it before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Time>,
    /// Why it was silenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence_comment: Option<String>,
}

impl AlertInfo {
    /// The wire shape of `alert`, whose agent is known as `agent_id`.
    #[must_use]
    pub fn of(alert: &Alert, agent_id: &str) -> Self {
        let Handling { acknowledged_because, closed, silence } = &alert.handling;
        // Taken back, it ended when it began.
        let ended = alert.resolved.map(|ended| ended.max(alert.started));
        Self {
            alert_id: alert.id.clone(),
            severity: alert.severity.into(),
            message: alert.message.clone(),
            source: agent_id.to_owned(),
            alert_type: type_of(&alert.source).to_owned(),
            timestamp: Time(alert.started),
            state: match (alert.resolved, &alert.acknowledged) {
                (Some(_), _) => AlertState::Resolved,
                (None, Some(_)) => AlertState::Acknowledged,
                (None, None) => AlertState::Open,
            },
            resolved: alert.resolved.is_some(),
            resolved_at: ended.map(Time),
            duration_seconds: ended.map(|ended| seconds(ended.since(alert.started))),
            agent_id: agent_id.to_owned(),
            metric_name: alert.series.as_ref().map(|series| series.metric.clone()),
            attributes: alert.series.as_ref().map(|series| series.attributes.iter().cloned().collect()),
            acknowledged_by: alert.acknowledged.as_ref().map(|(by, _)| by.clone()),
            acknowledged_at: alert.acknowledged.as_ref().map(|&(_, at)| Time(at)),
            acknowledge_comment: acknowledged_because.clone(),
            closed_by: closed.as_ref().map(|act| act.by.clone()),
            close_comment: closed.as_ref().and_then(|act| act.comment.clone()),
            silenced_by: silence.as_ref().map(|silence| silence.set.by.clone()),
            silenced_at: silence.as_ref().map(|silence| Time(silence.set.at)),
            silenced_until: silence.as_ref().map(|silence| Time(silence.until)),
            silence_comment: silence.as_ref().and_then(|silence| silence.set.comment.clone()),
        }
    }
}

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
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

impl From<AlertSeverity> for Severity {
    fn from(severity: AlertSeverity) -> Self {
        match severity {
            AlertSeverity::Info => Self::Info,
            AlertSeverity::Warning => Self::Warning,
            AlertSeverity::Error => Self::Error,
            AlertSeverity::Critical => Self::Critical,
            AlertSeverity::Emergency => Self::Emergency,
        }
    }
}

impl From<Severity> for AlertSeverity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Critical => Self::Critical,
            Severity::Emergency => Self::Emergency,
        }
    }
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nobody has seen to it.
    Open,
    /// Someone sees to it.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}
