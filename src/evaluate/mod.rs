//! Judging: records in, verdicts out.
//!
//! One thread a partition. A shard takes what the log has committed, sorts out what is new, shows it to the
//! tenant's plugins, follows who is alive, raises and resolves alerts, and writes everything to the store.
//!
//! - [`config`](EvaluateConfig): the `[evaluate]` section
//! - `run`: the threads, the clock, checkpoints, the replay at the start
//! - `shard`: one partition, plain and synchronous
//! - `intake`: which rows are new; running totals of delta series, counters with their resets made good
//! - `histograms`: running totals of the buckets of delta histograms
//! - `sort`: rows into the order of (series, time)
//! - `vitals`: from series to an agent's CPU, memory, disk, errors
//! - `heard`: when each agent was last heard of, and whose series the plugins forget
//! - `agents`: availability, health and alerts of each agent
//! - `state`: what a checkpoint keeps
//! - `told`: lines of the log about alerts, acknowledgements and windows
//! - [`MaintenanceWindow`]: planned windows of the configuration
//! - [`judges`]: what a shard asks of the plugins
//! - [`native`]: the same rules without WebAssembly, for comparison
//! - [`host`]: the plugins, as WebAssembly components

mod agents;
mod config;
mod heard;
mod histograms;
pub mod host;
mod intake;
pub mod judges;
mod maintenance;
pub mod native;
mod run;
mod shard;
mod sort;
mod state;
#[cfg(test)]
mod tests;
mod told;
mod vitals;

pub use config::{EvaluateConfig, LivenessConfig, Objective};
pub use maintenance::MaintenanceWindow;
pub use run::{Evaluator, StartError};
pub use shard::{MakeJudges, Observe, Settle};
pub use state::StateError;
