//! A plugin with its configuration, and what operators see of it.

use super::component::{Compiled, PluginKind, hex};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use vitals_core::verdict::Evidence;

/// Whether a plugin is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// It is.
    Ok,
    /// At least one tenant's instance failed too often and is left alone for a while; its last verdicts are stale.
    Quarantined,
    /// It cannot be used: its file cannot be read or is no plugin, or it does not start with its configuration. It is tried
    /// again when the service starts or reads its configuration again.
    Refused,
}

/// A plugin, as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// What it does; `None` when the component of a refused plugin is not known.
    pub kind: Option<PluginKind>,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// SHA-256 of its configuration, hex.
    pub config: String,
    /// `embedded`, or the file.
    pub source: String,
    /// Whether it is called.
    pub state: PluginState,
    /// Whether its last verdicts may be out of date: it lost its last turn, or is quarantined.
    pub stale: bool,
    /// Batches given to it since the start of the service.
    pub calls: u64,
    /// Turns that it lost since then.
    pub failures: u64,
    /// Instances in quarantine now.
    pub quarantined: u64,
    /// Why it last lost its turn.
    pub last_error: Option<String>,
}

/// What is counted of a plugin over all its instances.
#[derive(Default)]
pub(super) struct Stats {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) quarantined: u64,
    /// Instances whose last turn was lost.
    pub(super) stale: u64,
    pub(super) last_error: Option<String>,
}

/// One plugin with its configuration.
pub(super) struct Plugin {
    pub(super) compiled: Compiled,
    /// JSON.
    pub(super) config: String,
    pub(super) evidence: Arc<Evidence>,
    source: String,
    pub(super) stats: Mutex<Stats>,
}

impl Plugin {
    pub(super) fn new(compiled: Compiled, config: String, source: String) -> Self {
        let evidence = Arc::new(Evidence {
            plugin: compiled.name.clone().unwrap_or_default(),
            version: compiled.version.clone(),
            digest: compiled.digest.clone(),
            config: hex(&Sha256::digest(&config)),
        });
        Self { compiled, config, evidence, source, stats: Mutex::default() }
    }

    pub(super) fn info(&self) -> PluginInfo {
        let stats = self.stats.lock();
        PluginInfo {
            name: self.evidence.plugin.clone(),
            kind: Some(self.compiled.kind),
            version: self.evidence.version.clone(),
            digest: self.evidence.digest.clone(),
            config: self.evidence.config.clone(),
            source: self.source.clone(),
            state: if stats.quarantined > 0 { PluginState::Quarantined } else { PluginState::Ok },
            stale: stats.stale > 0,
            calls: stats.calls,
            failures: stats.failures,
            quarantined: stats.quarantined,
            last_error: stats.last_error.clone(),
        }
    }
}
