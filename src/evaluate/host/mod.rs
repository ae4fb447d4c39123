//! The host of the plugins: WebAssembly components that judge what evaluation shows them, and can hurt only themselves.
//!
//! - [`config`]: limits, and which plugins there are
//! - [`set`]: all plugins of a service, compiled once
//! - `refused`: plugins that cannot be used
//! - [`tenant`]: one tenant's instances on one shard; implements [`TenantPlugins`](super::tenant_plugins::TenantPlugins)
//! - `plugin`: one plugin with its configuration
//! - `component`: one compiled plugin
//! - `running`: one instance and its calls
//! - `cpu_time`, `memory_pool`: what instances use of the machine
//! - `guest`: what an instance can reach, which is nothing, and its limits
//! - `ground`: what stands in for the clock and the entropy of the machine
//! - `plugin_log`: the log that plugins write to
//! - `settings`, `selection`: a plugin's configuration, and which agents and series it is shown
//! - `trap`: what can be said of a trap
//! - `abi`: the contract's types on this side
//! - `call_columns`: what plugins are shown of agents and objectives, by columns
//! - `answers`: what is checked before an answer is believed
//!
//! The contract is `wit/vitals.wit`.

mod abi;
mod answers;
mod call_columns;
mod component;
pub mod config;
mod cpu_time;
pub mod error;
mod ground;
mod guest;
mod memory_pool;
mod plugin;
mod plugin_log;
mod refused;
mod running;
mod selection;
pub mod set;
mod settings;
mod tenant;
mod trap;

pub use abi::{Part, Selector, SeriesOrigin, Shape};
pub use component::PluginKind;
pub use config::{AgentSettings, PluginConfig, PluginLimits};
pub use error::{Failure, HostError};
pub use plugin::{PluginInfo, PluginState};
pub use set::PluginSet;
