//! The contract of the store. Each implementation passes one conformance suite.

use crate::alert_command::AlertCommand;
use crate::audit::{AuditEntry, AuditQuery};
use crate::availability::Interval;
use crate::columns::Columns;
use crate::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use crate::live_agents::StandingChange;
use crate::maintenance::PersonWindow;
use crate::rules::alerts::type_of;
use crate::series::{AgentDesc, SeriesDesc};
use crate::verdict::{Alert, AlertSeries, Notice, Severity, Verdict, VerdictBody};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the server refused.
    #[error("the store cannot be used: {0}")]
    Io(String),
    /// What is there cannot be read.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The question asks for more than one answer may hold.
    #[error("the answer would hold more than {limit} points; ask for a shorter range or a longer step")]
    TooMuch {
        /// Most points in one answer.
        limit: usize,
    },
}

/// An agent that was retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredAgent {
    /// The agent.
    pub agent: AgentId,
    /// Its series.
    pub series: Vec<SeriesId>,
}

/// A maintenance window over a part of the past that only the store remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastMaintenance {
    /// The agent.
    pub agent: AgentId,
    /// Inclusive.
    pub start: UnixNanos,
    /// Exclusive.
    pub end: UnixNanos,
}

/// What evaluation adds to the store. Samples are sorted by (series, time).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvaluationOutput {
    /// Descriptions not stored before (agents also when they changed).
    pub agents: Vec<Arc<AgentDesc>>,
    /// Descriptions not stored before.
    pub series: Vec<Arc<SeriesDesc>>,
    /// Samples, received and derived.
    pub samples: Vec<Arc<Columns>>,
    /// Verdicts.
    pub verdicts: Vec<Verdict>,
    /// Sessions and outages that ended, or whose end moved; the key is (agent, start).
    pub intervals: Vec<(AgentId, Interval)>,
    /// Alerts, new or changed; the key is the id.
    pub alerts: Vec<Alert>,
    /// Actions of people on alerts that evaluation no longer holds. The store applies each, in order, to the alert if it has
    /// it ([`AlertCommand::apply`]), and ignores other ids.
    pub alert_commands: Vec<AlertCommand>,
    /// Maintenance of agents that evaluation no longer follows. The store applies [`planned_over`] to the agent's
    /// intervals.
    ///
    /// [`planned_over`]: crate::availability::planned_over
    pub maintenance: Vec<PastMaintenance>,
    /// Maintenance windows that people set, as they are now. Each partition writes each; of two states of one window the
    /// store keeps the one that was changed last.
    pub windows: Vec<PersonWindow>,
    /// Agents that were retired. The store forgets what it has of them, what comes in this output included: descriptions,
    /// verdicts, intervals, alerts. Their samples are out of reach, and deleted when their time has come.
    pub retired: Vec<RetiredAgent>,
    /// Who did what; the key is the id.
    pub audit: Vec<AuditEntry>,
    /// What someone should hear of alerts; not kept.
    pub notices: Vec<Notice>,
    /// Agents that stand otherwise than before; not kept.
    pub standings: Vec<StandingChange>,
}

/// Where a partition can resume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is in the store: on replay nothing up to here is written again.
    pub stored: Position,
    /// `state` includes everything up to here (never past `stored`): replay starts behind it.
    pub included: Position,
    /// Plugin state, as evaluation made it. `None` in [`Store::seal`] keeps the earlier one and its `included`.
    pub state: Option<Vec<u8>>,
    /// Liveness, open alerts, last times of series: as of `stored`.
    pub liveness: Vec<u8>,
}

/// All descriptions of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// Every agent.
    pub agents: Vec<Arc<AgentDesc>>,
    /// Every series.
    pub series: Vec<Arc<SeriesDesc>>,
    /// Agents that were retired: what is described of them later was under way when they were.
    pub retired: Vec<AgentId>,
    /// How many numbers of agents and of series were given out to those that are retired by now, or before theirs: they are
    /// never given out again.
    pub given_out: (u32, u32),
}

/// How values within one step become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The arithmetic mean.
    Mean,
    /// How many.
    Count,
    /// The latest.
    Last,
    /// The 95th percentile, nearest rank.
    P95,
}

/// A question for samples of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleQuery {
    /// The series.
    pub series: SeriesId,
    /// From here, inclusive.
    pub start: UnixNanos,
    /// To here, exclusive.
    pub end: UnixNanos,
    /// Step in nanoseconds and what to make of the values in one; `None` gives the samples themselves.
    /// Steps are aligned to `start`; empty ones are left out; a point's time is its step's start.
    /// NaN is left out of every aggregation but `Last` and `Count`.
    pub step: Option<(i64, Aggregation)>,
    /// Most points in the answer.
    pub limit: usize,
}

/// A question for verdicts, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of these agents; `None` is all of the tenant.
    pub agents: Option<Vec<AgentId>>,
    /// `health`, `outlier` or `sla`; `None` is all.
    pub kind: Option<&'static str>,
    /// From here, inclusive.
    pub start: UnixNanos,
    /// To here, exclusive.
    pub end: UnixNanos,
    /// Only by this plugin; `None` is all.
    pub plugin: Option<String>,
    /// Only outliers of these series; `None` is all verdicts.
    pub series: Option<HashSet<SeriesId>>,
    /// Only those behind this one.
    pub after: Option<VerdictKey>,
    /// At most so many.
    pub limit: usize,
}

/// What tells verdicts apart, in the order in which they are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerdictKey {
    /// The time of the data judged, the newest first.
    pub time: Reverse<UnixNanos>,
    /// The agent.
    pub agent: AgentId,
    /// `health`, `outlier` or `sla`.
    pub kind: String,
    /// The plugin's name.
    pub plugin: String,
    /// The series of an outlier.
    pub series: Option<SeriesId>,
}

impl VerdictKey {
    /// The key of `verdict`.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        let series = match &verdict.body {
            VerdictBody::Outlier(outlier) => Some(outlier.series),
            VerdictBody::Health(_) | VerdictBody::Sla(_) => None,
        };
        Self {
            time: Reverse(verdict.time),
            agent: verdict.agent,
            kind: verdict.body.kind().to_owned(),
            plugin: verdict.evidence.plugin.clone(),
            series,
        }
    }
}

impl VerdictQuery {
    /// All of a tenant.
    #[must_use]
    pub fn of(tenant: TenantId) -> Self {
        let (start, end) = (UnixNanos(i64::MIN), UnixNanos(i64::MAX));
        Self {
            tenant,
            agents: None,
            kind: None,
            start,
            end,
            plugin: None,
            series: None,
            after: None,
            limit: usize::MAX,
        }
    }

    /// Whether this verdict of the tenant's wanted agents is asked for.
    #[must_use]
    pub fn fits(&self, verdict: &Verdict) -> bool {
        let is_of = |series: &HashSet<SeriesId>| match &verdict.body {
            VerdictBody::Outlier(outlier) => series.contains(&outlier.series),
            VerdictBody::Health(_) | VerdictBody::Sla(_) => false,
        };
        (self.start..self.end).contains(&verdict.time)
            && self.kind.is_none_or(|kind| kind == verdict.body.kind())
            && self.plugin.as_ref().is_none_or(|plugin| *plugin == verdict.evidence.plugin)
            && self.series.as_ref().is_none_or(is_of)
            && self.after.as_ref().is_none_or(|after| VerdictKey::of(verdict) > *after)
    }
}

/// A question for alerts, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of these agents; `None` is all of the tenant.
    pub agents: Option<Vec<AgentId>>,
    /// Only those that are resolved, or only those that are not; `None` is all.
    pub resolved: Option<bool>,
    /// Begun at or after.
    pub start: UnixNanos,
    /// Begun before.
    pub end: UnixNanos,
    /// Only those that are acknowledged, or only those that are not; `None` is all.
    pub acknowledged: Option<bool>,
    /// Only those at least so severe.
    pub severity: Option<Severity>,
    /// Only of this type: see [`type_of`].
    pub alert_type: Option<String>,
    /// Only those that a value of this metric raised.
    pub metric: Option<String>,
    /// Only those that a value of this series raised; its agent is among `agents`.
    pub series: Option<AlertSeries>,
    /// Only those behind this one.
    pub after: Option<AlertKey>,
    /// At most so many.
    pub limit: usize,
}

/// What tells alerts apart, in the order in which they are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertKey {
    /// When it began, the newest first.
    pub started: Reverse<UnixNanos>,
    /// Its id.
    pub id: String,
}

impl AlertKey {
    /// The key of `alert`.
    #[must_use]
    pub fn of(alert: &Alert) -> Self {
        Self { started: Reverse(alert.started), id: alert.id.clone() }
    }
}

impl AlertQuery {
    /// All of a tenant.
    #[must_use]
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            agents: None,
            resolved: None,
            start: UnixNanos(i64::MIN),
            end: UnixNanos(i64::MAX),
            acknowledged: None,
            severity: None,
            alert_type: None,
            metric: None,
            series: None,
            after: None,
            limit: usize::MAX,
        }
    }

    /// Whether this alert of the tenant's wanted agents is asked for.
    #[must_use]
    pub fn fits(&self, alert: &Alert) -> bool {
        // An alert names the attributes that the series behind its value have in common.
        let is_of = |wanted: &AlertSeries, series: &AlertSeries| {
            series.metric == wanted.metric && series.attributes.iter().all(|pair| wanted.attributes.contains(pair))
        };
        let series = alert.series.as_ref();
        (self.start..self.end).contains(&alert.started)
            && self.resolved.is_none_or(|resolved| resolved == alert.resolved.is_some())
            && self.acknowledged.is_none_or(|acknowledged| acknowledged == alert.acknowledged.is_some())
            && self.severity.is_none_or(|least| alert.severity >= least)
            && self.alert_type.as_ref().is_none_or(|wanted| wanted == type_of(&alert.source))
            && self.metric.as_ref().is_none_or(|metric| series.is_some_and(|series| series.metric == *metric))
            && self.series.as_ref().is_none_or(|wanted| series.is_some_and(|series| is_of(wanted, series)))
            && self.after.as_ref().is_none_or(|after| AlertKey::of(alert) > *after)
    }
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Samples on disk, duplicates included.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Samples in memory, not yet on disk.
    pub pending: u64,
}

/// What a store has still to send to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Samples that wait.
    pub samples: u64,
    /// Bytes that wait, on disk.
    pub bytes: u64,
    /// When the oldest of it was sealed.
    pub since: Option<UnixNanos>,
    /// Why nothing can be sent now, if it cannot.
    pub trouble: Option<String>,
    /// Lines that the server refused for good, since the start.
    pub refused: u64,
    /// Why it refused the last ones.
    pub refusal: Option<String>,
}

/// The store.
///
/// What was written can be read at once, and becomes durable with the next [`Store::seal`] of its
/// partition, all of it or none. The same series and time is one sample, the same agent, kind, time, plugin and
/// (for outliers) series one verdict: the first one written wins. All samples of one series, and all that
/// belongs to one agent, is written to one partition.
pub trait Store: Send + Sync {
    /// All descriptions.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn catalogue(&self) -> Result<Catalogue, StoreError>;
    /// Where a partition can resume; the default when it was never sealed.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, StoreError>;
    /// The `stored` position of a partition's checkpoint. Reads the disk, but neither state nor liveness.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn stored(&self, partition: Partition) -> Result<Position, StoreError>;
    /// Takes what evaluation made. Does no I/O.
    fn write(&self, partition: Partition, output: EvaluationOutput);
    /// Makes everything written to this partition so far durable, together with `checkpoint`, in the
    /// background; `done` is called after that. Blocks while the partition's previous seal is under way,
    /// which bounds memory. A seal that fails is tried again until it succeeds.
    fn seal(&self, partition: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>);
    /// The samples of a series, by time.
    ///
    /// # Errors
    /// When the store cannot be read, or the answer would pass the query's limit.
    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError>;
    /// Verdicts, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError>;
    /// The intervals of an agent that overlap the range, by start. The last one may be open.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError>;
    /// Alerts, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError>;
    /// One alert of a tenant, found by its id without reading others.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError>;
    /// The maintenance windows that people set for a tenant, in any order; those that are over are there for as long as
    /// intervals are.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError>;
    /// Hands the entries of the audit log that a question asks for to `visit`, the latest first, until that says false.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn audit(&self, query: &AuditQuery, visit: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError>;
    /// Deletes what is older than the configured retention, and merges small blocks.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn maintain(&self, now: UnixNanos) -> Result<(), StoreError>;
    /// What is held.
    fn stats(&self) -> StoreStats;
    /// What waits to be sent; `None` of a store that sends nothing.
    fn outbox(&self) -> Option<OutboxStats> {
        None
    }
    /// Why nothing can be made durable now: the last seal failed and none has succeeded since, or the store's thread has
    /// ended. The store tries again by itself. `None` while it works.
    fn trouble(&self) -> Option<String>;
    /// Announces that [`Store::close`] comes soon: from now on a seal that fails is given up after a few tries, and its `done` is
    /// dropped, so that nobody waits for a disk that does not recover. What it held is in the log.
    fn stopping(&self);
    /// Waits for seals under way and stops.
    fn close(&self);
}
