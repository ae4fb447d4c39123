//! Samples, verdicts, sessions and alerts.
//!
//! - [`EmbeddedStore`]: the store in one SQLite file, put together from
//! - `tail`: what is written and not yet on disk
//! - `sorted`: rows by (series, time), each once
//! - `block`: sorted rows as compressed bytes, and back
//! - `schema`: the tables
//! - `seal`: the thread that makes tails durable
//! - `read`: questions, answered from the file and the tails together
//! - `maintain`: merging of small blocks, and retention

mod block;
#[cfg(test)]
mod conformance;
mod embedded;
mod maintain;
mod read;
mod schema;
mod seal;
mod sorted;
mod tail;
#[cfg(test)]
mod tests;

pub use embedded::EmbeddedStore;

use serde::{Deserialize, Serialize};

/// Which store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One SQLite file in the data folder.
    #[default]
    Embedded,
}

/// The section `[store]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// Samples are deleted when the day (UTC) that they fall in is older than this; from
    /// `telemetry.metrics_retention_days`.
    #[serde(skip)]
    pub sample_retention_days: u32,
    /// Verdicts older than this are deleted; from
    /// `telemetry.heartbeat_retention_days`.
    #[serde(skip)]
    pub verdict_retention_days: u32,
    /// Sessions, outages and resolved alerts that ended longer ago than this are deleted; from
    /// `telemetry.snapshot_retention_days`.
    #[serde(skip)]
    pub session_retention_days: u32,
    /// About how many samples a compressed block holds at most. Larger ones take fewer bytes and longer to read.
    pub block_samples: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            sample_retention_days: 90,
            verdict_retention_days: 30,
            session_retention_days: 365,
            block_samples: 16 * 1024,
        }
    }
}
