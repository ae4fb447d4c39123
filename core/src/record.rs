//! What the log keeps and evaluation consumes.

use crate::alert_command::AlertCommand;
use crate::audit::AuditEntry;
use crate::columns::{Columns, Starts};
use crate::ids::{AgentId, Position, SeriesId, TenantId, UnixNanos};
use crate::live_agents::LiveAgent;
use crate::maintenance::PersonWindow;
use crate::series::{AgentDesc, SeriesDesc};
use crate::verdict::{AgentHealth, Alert, HealthStatus, OutlierVerdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub use crate::measurements::{HeartbeatField, Measurements};

/// One entry of a partition of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// Descriptions, always before the first record that uses them.
    Describe {
        /// New agents, or agents whose profile changed.
        agents: Vec<Arc<AgentDesc>>,
        /// New series.
        series: Vec<Arc<SeriesDesc>>,
    },
    /// The samples of one request that fall into this partition.
    Samples(Samples),
    /// One REST heartbeat.
    Heartbeat(Heartbeat),
    /// A planned maintenance window as it is from now on, set by REST. Every partition gets it.
    Maintenance(PersonWindow),
    /// Something that was done to the service itself, for the audit log; its id is given when it is evaluated.
    Audit(AuditEntry),
    /// An agent or system is retired by REST: everything that is known of it is forgotten, and under its id comes a new one.
    Retire {
        /// The agent.
        agent: AgentId,
        /// The token's subject.
        by: String,
        /// When.
        at: UnixNanos,
    },
    /// What a person did to an alert by REST.
    Alert(AlertCommand),
}

/// Samples of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Whose they are.
    pub tenant: TenantId,
    /// When they arrived.
    pub received_at: UnixNanos,
    /// The agents that showed life by sending this.
    pub alive: Vec<AgentId>,
    /// The rows, in order of arrival.
    pub columns: Columns,
    /// Since when the rows' values were counted, of counters and delta series.
    pub starts: Starts,
}

/// A heartbeat, validated. `None` is a field that the agent left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who beats.
    pub agent: AgentId,
    /// When it arrived.
    pub received_at: UnixNanos,
    /// The heartbeat's own time.
    pub timestamp: UnixNanos,
    /// What the agent says of its health.
    pub reported: HealthStatus,
    /// The interval at which it means to beat, in nanoseconds.
    pub interval: i64,
    /// What it measured.
    pub measurements: Measurements,
    /// The same numbers as series of the agent (at `timestamp`), so that they can be queried and judged.
    pub columns: Columns,
}

/// A threshold that a value breaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The series of the value; `None` for a field of a heartbeat.
    pub series: Option<SeriesId>,
    /// One sentence.
    pub message: String,
}

/// What evaluation answers to the sender of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The agent's health after this record; `None` when no health scorer answered.
    pub health: Option<AgentHealth>,
    /// How the agent of a heartbeat is after it, as the board shows it.
    pub live: Option<LiveAgent>,
    /// Findings among this record's own rows.
    pub outliers: Vec<OutlierVerdict>,
    /// Alerts of thresholds that this record raised.
    pub alerts: Vec<Alert>,
    /// The alert as it is after a person's action on it; `None` when evaluation does not hold it any more.
    pub alert: Option<Alert>,
    /// Thresholds breached by this record's own rows.
    pub breaches: Vec<Breach>,
    /// When the next evidence of life is expected.
    pub next_expected: Option<UnixNanos>,
    /// The agent's adaptive timeout, nanoseconds.
    pub adaptive_timeout: Option<i64>,
}

/// What travels with a record, in memory only.
#[derive(Default)]
pub struct Ticket {
    /// Bytes in flight, given back when this is dropped (after evaluation).
    pub permit: Option<Box<dyn Send>>,
    /// Called with the outcome once the record is evaluated.
    pub reply: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

/// A committed record on its way to evaluation.
pub struct Delivery {
    /// Where it stands in its partition.
    pub position: Position,
    /// The record.
    pub record: Record,
    /// What travels with it.
    pub ticket: Ticket,
}
