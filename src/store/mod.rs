//! Samples, verdicts, sessions and alerts.
//!
//! - [`EmbeddedStore`]: the store in one SQLite file, put together from
//! - `tail`: what is written and not yet on disk
//! - `sorted`: rows by (series, time), each once
//! - `block`: sorted rows as compressed bytes, and back
//! - `schema`: the tables
//! - `writer`, `readers`: the connections to them
//! - `shared`: what the threads share
//! - `seal`: the thread that makes tails durable
//! - `read`: questions, answered from the file and the tails together
//! - `maintain`, `upkeep`: merging of small blocks and retention, and when that happens
//! - `outbox`, `unsent`: what a store elsewhere has still to get
//! - [`influx`]: samples and verdicts in InfluxDB, with the embedded store as its front

mod block;
#[cfg(test)]
mod conformance;
mod embedded;
pub mod influx;
mod maintain;
mod outbox;
mod read;
mod read_people;
mod readers;
mod schema;
mod seal;
mod shared;
mod sorted;
mod tail;
#[cfg(test)]
mod tests;
mod unsent;
mod upkeep;
mod writer;

pub use embedded::EmbeddedStore;
pub use influx::{InfluxConfig, InfluxStore};
pub use upkeep::maintain_regularly;

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use vitals_core::store::{Store, StoreError};

/// Which store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One SQLite file in the data folder.
    #[default]
    Embedded,
    /// Samples and verdicts in InfluxDB 2, the rest in the data folder.
    InfluxDb,
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
    /// The server, for `kind = "influxdb"`.
    pub influxdb: InfluxConfig,
}

impl StoreConfig {
    /// Whether the settings can be used.
    ///
    /// # Errors
    /// The first one that cannot, with what to write instead.
    pub fn check(&self) -> Result<(), String> {
        match self.kind {
            StoreKind::Embedded => Ok(()),
            StoreKind::InfluxDb => self.influxdb.check(),
        }
    }
}

/// Opens the configured store, its file at `path`.
///
/// # Errors
/// When the file or the settings cannot be used.
pub fn open(path: &Path, config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match config.kind {
        StoreKind::Embedded => Arc::new(EmbeddedStore::open(path, config)?),
        StoreKind::InfluxDb => Arc::new(InfluxStore::open(path, config)?),
    })
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            sample_retention_days: 90,
            verdict_retention_days: 30,
            session_retention_days: 365,
            block_samples: 16 * 1024,
            influxdb: InfluxConfig::default(),
        }
    }
}
