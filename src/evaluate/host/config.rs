//! Limits, and which plugins there are.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What one instance of a plugin may use, and what happens when it fails.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// CPU time for one call, milliseconds, beside what its rows may take.
    pub deadline_ms: u64,
    /// CPU time that each row of a call may take, microseconds: it prolongs the deadline and does not count for the budgets.
    pub row_micros: u64,
    /// CPU time to start and take a configuration, and again to restore a state, milliseconds.
    pub start_deadline_ms: u64,
    /// The share of a CPU that a plugin may have for a tenant on an evaluation thread, percent.
    pub cpu_percent: f64,
    /// The share that all plugins may have together on an evaluation thread, percent. Over it those wait that have more than
    /// their fair part.
    pub total_cpu_percent: f64,
    /// Over which time these shares are measured, milliseconds.
    pub cpu_window_ms: u64,
    /// Memory, megabytes, for each tenant and evaluation thread. The state of `seasonal-outlier` takes 4 KB a series, and up to
    /// three times as much while a snapshot is taken.
    pub memory_mb: usize,
    /// Memory of all instances together, megabytes. Half of it is divided among the plugins, the rest is for who comes first.
    pub total_memory_mb: usize,
    /// Live instances of all plugins, tenants and evaluation threads; those of the tenant that was used longest ago are put away
    /// with their state.
    pub live_instances: usize,
    /// A plugin's state, megabytes before compression, for each tenant and evaluation thread.
    pub state_mb: usize,
    /// How much larger a state may be for each series that the plugin was told of, bytes.
    pub state_bytes_per_series: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// What it may print during one call, bytes.
    pub log_bytes: usize,
    /// What of that goes to the log of the service, bytes a second, for each plugin and tenant; more is counted only.
    pub log_bytes_per_second: usize,
    /// How many series a metric deriver may make from one series, whatever restarts.
    pub outputs_per_series: usize,
    /// How many series a metric deriver may make for a tenant on an evaluation thread, whatever restarts.
    pub derived_series: usize,
    /// How many findings of a detector are taken, a second, for each tenant and evaluation thread; more are counted only. What is
    /// not used may be used within ten seconds.
    pub findings_per_second: usize,
    /// Bytes of reasons and recommendations of one score; more are cut off and counted.
    pub reason_bytes: usize,
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
            deadline_ms: 100,
            row_micros: 2,
            start_deadline_ms: 1000,
            cpu_percent: 10.0,
            total_cpu_percent: 30.0,
            cpu_window_ms: 1000,
            memory_mb: 512,
            total_memory_mb: 4096,
            live_instances: 8192,
            state_mb: 16,
            state_bytes_per_series: 8192,
            table_elements: 65_536,
            log_bytes: 65_536,
            log_bytes_per_second: 4096,
            outputs_per_series: 16,
            derived_series: 100_000,
            findings_per_second: 1000,
            reason_bytes: 2048,
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
    /// A number that a plugin's state belongs to. With another one the plugin starts without its past, and the state that was
    /// kept is dropped at the next snapshot.
    pub state_generation: u32,
    /// What is given to it; its schema says what it understands.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Only agents with one of these keys are shown to it; `*` stands for any characters, empty is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Only metrics of these names are shown to it, if it is a deriver or a detector; `*` stands for any characters, empty is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// What is given to it for some agents in place of what `config` says. Where several fit, the later one counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_agent: Vec<AgentSettings>,
}

/// What is given to a plugin for some agents.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// The agents' keys; `*` stands for any characters.
    pub agents: Vec<String>,
    /// Properties that the plugin's schema marks with `x-per-agent`.
    pub config: serde_json::Map<String, serde_json::Value>,
}
