//! Judging: records in, verdicts out.
//!
//! One thread a partition. A shard takes what the log has committed, sorts out what is new, shows it to the
//! tenant's plugins, follows who is alive, raises and resolves alerts, and writes everything to the store.
//!
//! - [`config`](EvaluateConfig): the `[evaluate]` section
//! - `run`: the threads, the clock, checkpoints, the replay at the start
//! - `shard`: one partition, plain and synchronous
//! - `series_tracker`: which rows are new; running totals of delta series, counters with their resets made good
//! - `histograms`: running totals of the buckets of delta histograms
//! - `sort`: rows into the order of (series, time)
//! - `agent_gauges`: from series to an agent's CPU, memory, disk, errors
//! - `last_heard`: when each agent was last heard of, and whose series the plugins forget
//! - `agents`: availability, health and alerts of each agent
//! - `state`: what a checkpoint keeps
//! - `alert_log`: lines of the log about alerts, acknowledgements and windows
//! - [`MaintenanceWindow`]: planned windows of the configuration
//! - [`tenant_plugins`]: what a shard asks of the plugins
//! - [`native`]: the same rules without WebAssembly, for comparison
//! - [`host`]: the plugins, as WebAssembly components

mod agent_gauges;
mod agents;
mod alert_log;
mod config;
mod histograms;
pub mod host;
mod last_heard;
mod maintenance;
pub mod native;
mod run;
mod series_tracker;
mod shard;
mod sort;
mod state;
pub mod tenant_plugins;
#[cfg(test)]
mod tests;

pub use config::{EvaluateConfig, LivenessConfig, Objective};
pub use maintenance::MaintenanceWindow;
pub use run::{Evaluator, StartError};
pub use shard::{Observe, PluginFactory, Settle};
pub use state::StateError;
