//! The contract of the log. Each implementation passes one conformance suite.

use crate::ids::{Partition, Position};
use crate::record::{Delivery, Record, Ticket};

/// Called once with where the record stands, when it is durable.
pub type Done = Box<dyn FnOnce(Result<Position, LogError>) + Send>;

/// Where the log sends what it has committed, in order of position within a partition. Called on the
/// log's own thread; must not block.
pub type Deliver = Box<dyn FnMut(Partition, Delivery) + Send>;

/// Why a record is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error("the log cannot write: {0}")]
    Io(String),
    /// The log's size cap is reached.
    #[error("the log holds {held} bytes, its limit is {limit}")]
    Full {
        /// Bytes held.
        held: u64,
        /// The cap.
        limit: u64,
    },
    /// What is on disk cannot be read.
    #[error("the log is damaged at partition {partition} position {position}: {reason}")]
    Damaged {
        /// Which partition.
        partition: u32,
        /// Which position.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The service is stopping.
    #[error("the log is closed")]
    Closed,
}

/// The log: append to a partition, read from a position, cut behind what nobody needs.
///
/// Appends to one partition get rising positions in the order of the calls. `done` is called after the
/// record is durable as configured; a failed append leaves no trace and is delivered to nobody, except
/// that [`Record::Describe`] is tried again before anything that is appended later, and its `done` is called
/// when that succeeds, or with [`LogError::Closed`]. Descriptions are taken past the size cap too. After `done`,
/// and in order, the record goes to the log's [`Deliver`].
///
/// `done` and [`Deliver`] run on the log's own thread: neither may call [`Log::cut`] or [`Log::close`], which
/// wait for that thread.
pub trait Log: Send + Sync {
    /// How many partitions there are. Fixed when the log is made.
    fn partitions(&self) -> u32;
    /// Queues a record. Never blocks.
    fn append(&self, partition: Partition, record: Record, ticket: Ticket, done: Done);
    /// The records after `after`, oldest first, about `bytes` of them (at least one if there is any).
    ///
    /// # Errors
    /// When the disk cannot be read or holds something else.
    fn read(&self, partition: Partition, after: Position, bytes: usize) -> Result<Vec<(Position, Record)>, LogError>;
    /// The last position of a partition; 0 when nothing was ever appended. Survives [`Log::cut`].
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn last(&self, partition: Partition) -> Result<Position, LogError>;
    /// Forgets the records up to and including `through`.
    ///
    /// # Errors
    /// When the disk refuses.
    fn cut(&self, partition: Partition, through: Position) -> Result<(), LogError>;
    /// Never gives positions up to and including `through` again: for a log that was lost or replaced beside a
    /// store that is further. A log that is there already stays as it is. Asked before anything is appended.
    ///
    /// # Errors
    /// When the disk refuses.
    fn skip(&self, partition: Partition, through: Position) -> Result<(), LogError>;
    /// What is held.
    fn stats(&self) -> LogStats;
    /// Why nothing can be committed now: the last commit failed and none has succeeded since, or the log's thread has ended.
    /// The log tries again by itself. `None` while it works.
    fn trouble(&self) -> Option<String>;
    /// Commits what is queued and stops taking more.
    fn close(&self);
}

/// What the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes of records on disk.
    pub bytes: u64,
    /// Records on disk.
    pub records: u64,
    /// Group commits since start.
    pub commits: u64,
    /// Records queued, not yet committed.
    pub queued: u64,
}
