//! Limits, and which plugins there are.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What one instance of a plugin may use, and what happens when it fails.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Time for one call, milliseconds of wall clock. A batch of 8,192 rows takes a few.
    pub deadline_ms: u64,
    /// Time to start, take a configuration and restore a state, milliseconds.
    pub start_deadline_ms: u64,
    /// Memory, megabytes, for each tenant and evaluation thread. The state of `seasonal-outlier` takes 4 KB a series, and up to
    /// three times as much while a snapshot is taken.
    pub memory_mb: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// What it may print during one call, bytes.
    pub log_bytes: usize,
    /// How many series a metric deriver may make from one series.
    pub outputs_per_series: usize,
    /// After so many failures among its last `failure_turns` turns the plugin is quarantined.
    pub failures: u32,
    /// How many turns are looked at, at most 64. A quarantined plugin is trusted again after as many good turns.
    pub failure_turns: u32,
    /// For how long at first, seconds; doubled each time that it fails again at once.
    pub quarantine_seconds: u64,
    /// For how long at most, seconds.
    pub quarantine_max_seconds: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            deadline_ms: 1000,
            start_deadline_ms: 10_000,
            memory_mb: 512,
            table_elements: 65_536,
            log_bytes: 65_536,
            outputs_per_series: 16,
            failures: 3,
            failure_turns: 20,
            quarantine_seconds: 10,
            quarantine_max_seconds: 3600,
        }
    }
}

/// One plugin: an embedded one, configured anew, or one more.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// Its name, as it says itself.
    pub name: String,
    /// The component's file; absent for an embedded plugin, and for one in the plugin folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `true` leaves the plugin out.
    pub disabled: bool,
    /// What is given to it; its own documentation says what it understands.
    pub config: serde_json::Map<String, serde_json::Value>,
}
