//! The contract of the store. Each implementation passes one conformance suite.

use crate::availability::Interval;
use crate::columns::Columns;
use crate::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use crate::series::{AgentDesc, SeriesDesc};
use crate::verdict::{Alert, Notice, Verdict};
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

/// A person has seen an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The alert's id.
    pub alert: String,
    /// The token's subject.
    pub by: String,
    /// When.
    pub at: UnixNanos,
}

impl Acknowledgement {
    /// Marks `alert`, unless someone acknowledged it before; whether that changed it.
    pub fn apply(&self, alert: &mut Alert) -> bool {
        let is_first = alert.acknowledged.is_none();
        alert.acknowledged.get_or_insert_with(|| (self.by.clone(), self.at));
        is_first
    }
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
    /// Acknowledgements of alerts that evaluation no longer holds. The store marks each alert that it has and that
    /// nobody acknowledged before, and ignores other ids.
    pub acknowledged: Vec<Acknowledgement>,
    /// Maintenance of agents that evaluation no longer follows. The store applies [`planned_over`] to the agent's
    /// intervals.
    ///
    /// [`planned_over`]: crate::availability::planned_over
    pub maintenance: Vec<PastMaintenance>,
    /// What someone should hear of alerts; not kept.
    pub notices: Vec<Notice>,
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
    /// At most so many.
    pub limit: usize,
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
    /// At most so many.
    pub limit: usize,
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
