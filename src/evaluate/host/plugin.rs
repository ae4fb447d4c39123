//! A plugin with its configuration, and what operators see of it.

use super::abi::{Manifest, Selector};
use super::component::{Compiled, PluginKind, hex};
use super::config::PluginConfig;
use super::selection::Selection;
use super::settings::Settings;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
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
    /// Findings, scores, reports and derived samples of it that were taken since then.
    pub verdicts: u64,
    /// What of its answers and of what it printed was not taken since then, because it was too much: findings, derived series, bytes.
    pub dropped_outputs: u64,
    /// Rows that were not shown to it since then, because it was over its budget of CPU or quarantined.
    pub skipped_rows: u64,
    /// CPU time of its calls since then, seconds.
    pub cpu_seconds: f64,
    /// Memory of its instances now, bytes.
    pub memory_bytes: u64,
    /// Why it last lost its turn.
    pub last_error: Option<String>,
    /// The version of the form of its state.
    pub state_version: u32,
    /// The seconds between two ticks; 0 is none.
    pub interval_seconds: u32,
    /// The keys of the agents that it asks for; empty is all.
    pub agents: Vec<String>,
    /// The series that it asks for; empty is all.
    pub selects: Vec<Selector>,
    /// JSON Schema of its configuration.
    pub config_schema: serde_json::Value,
}

/// What is counted of a plugin over all its instances.
#[derive(Default)]
pub(super) struct Stats {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) quarantined: u64,
    /// Instances whose last turn was lost.
    pub(super) stale: u64,
    pub(super) verdicts: u64,
    pub(super) dropped_outputs: u64,
    pub(super) skipped_rows: u64,
    pub(super) cpu: Duration,
    pub(super) last_error: Option<String>,
}

/// One plugin with its configuration.
pub(super) struct Plugin {
    pub(super) compiled: Compiled,
    pub(super) settings: Settings,
    pub(super) manifest: Manifest,
    pub(super) selection: Selection,
    schema: serde_json::Value,
    /// The number that its state belongs to.
    pub(super) state_generation: u32,
    pub(super) evidence: Arc<Evidence>,
    source: String,
    pub(super) stats: Mutex<Stats>,
}

impl Plugin {
    /// `manifest` is what the plugin said of itself with these `settings`.
    pub(super) fn new(
        compiled: Compiled,
        manifest: Manifest,
        schema: serde_json::Value,
        settings: Settings,
        config: &PluginConfig,
        source: String,
    ) -> Self {
        let evidence = Arc::new(Evidence {
            plugin: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: compiled.digest.clone(),
            config: hex(&Sha256::digest(settings.evidence())),
        });
        let selection = Selection::new(&manifest, config);
        let state_generation = config.state_generation;
        let stats = Mutex::default();
        Self { compiled, settings, manifest, selection, schema, state_generation, evidence, source, stats }
    }

    /// Counts what was taken of an answer.
    pub(super) fn count_taken(&self, output: &'static str, count: usize) {
        self.stats.lock().verdicts += count as u64;
        let name = self.evidence.plugin.clone();
        metrics::counter!("vitals_plugin_outputs_total", "plugin" => name, "output" => output).increment(count as u64);
    }

    /// Counts what was not taken because it was too much.
    pub(super) fn count_dropped(&self, output: &'static str, count: usize) {
        if count == 0 {
            return;
        }
        self.stats.lock().dropped_outputs += count as u64;
        let name = self.evidence.plugin.clone();
        metrics::counter!("vitals_plugin_outputs_dropped_total", "plugin" => name, "output" => output)
            .increment(count as u64);
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
            verdicts: stats.verdicts,
            dropped_outputs: stats.dropped_outputs,
            skipped_rows: stats.skipped_rows,
            cpu_seconds: stats.cpu.as_secs_f64(),
            memory_bytes: self.compiled.memory.0.used_by(self.compiled.memory.1) as u64,
            last_error: stats.last_error.clone(),
            state_version: self.manifest.state_version,
            interval_seconds: self.manifest.interval_seconds,
            agents: self.manifest.agents.clone(),
            selects: self.manifest.selects.clone(),
            config_schema: self.schema.clone(),
        }
    }
}
