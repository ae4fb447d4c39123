//! `vitals`: OTLP metrics and heartbeats in, typed health out.
//!
//! The modules are listed in the order in which data flows:
//!
//! - [`receive`]: OTLP over gRPC and HTTP; bytes in, an answer out
//! - [`normalize`]: the walk over the wire bytes; columns and rejections
//! - [`log`]: the durable log that an acknowledgement waits for
//! - [`evaluate`]: shards that run the plugins, liveness and alerts
//! - [`store`]: samples, verdicts, sessions, alerts
//! - [`expose`]: REST, OTLP export, probes
//!
//! Beside the path:
//!
//! - [`pipeline`]: the only module that wires the stages together
//! - [`config`]: the configuration file, whose sections are the stages' own
//! - [`reload`]: new settings without a restart
//! - [`auth`]: who asks, from their token
//! - [`net`]: what all listeners share: connections, limits, refusals
//! - [`clock`], [`file_lock`]: the time, and the lock on a file of the data folder
//! - [`commands`]: what a user types

// In the order of the tour; the blank lines keep the formatter from sorting them.
pub mod receive;

pub mod normalize;

pub mod log;

pub mod evaluate;

pub mod store;

pub mod expose;

pub mod auth;
pub mod clock;
pub mod commands;
pub mod config;
pub mod file_lock;
pub mod net;
pub mod pipeline;
pub mod reload;
#[cfg(test)]
mod testing;
