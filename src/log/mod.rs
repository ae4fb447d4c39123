//! The durable log that an acknowledgement waits for.
//!
//! - `codec`: a record as bytes, and back
//! - `committer`: the thread that commits what is queued, a group at a time
//! - [`LogFile`], [`SqliteLog`]: the log in one SQLite file, open and started

mod codec;
mod committer;
#[cfg(test)]
mod conformance;
mod sqlite;
#[cfg(test)]
mod tests;

pub use sqlite::{LogFile, SqliteLog};

use serde::{Deserialize, Serialize};

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The record is on the disk: it survives a power cut.
    #[default]
    Fsync,
    /// The record is with the operating system: it survives a crash of this process, and is lost in a power
    /// cut or a crash of the machine.
    Os,
}

/// The section `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What an acknowledgement waits for: `fsync` or `os`.
    pub durability: Durability,
    /// Most bytes of records held for evaluation; past it appends are refused until the log is cut.
    pub max_bytes: u64,
    /// How many partitions, and so evaluation threads. 0 is one a core. Fixed when the log is made.
    pub partitions: u32,
    /// About how many bytes of records one transaction holds at most.
    pub max_transaction_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { durability: Durability::Fsync, max_bytes: 8 << 30, partitions: 0, max_transaction_bytes: 8 << 20 }
    }
}
