//! The REST API: the routes of the contract, and those that make what is known queryable.
//!
//! A request passes these, in this order:
//!
//! - `server`: the listener, over [`crate::net`]; `router`: the paths; `middleware`: correlation id, time limit
//! - `extract`: the caller and the parameters; `body`: the body; `contract`: what is wrong with it
//! - `routes`: one file a route, with its shapes, its handler and its examples
//! - `error`: everything that is not a success; [`docs`]: the OpenAPI document, made from the routes
//!
//! Answers are made from what evaluation keeps in memory and from the store, by way of `current_health`, `availability`,
//! `failure_patterns`, `trends`, `components` and `component_uptime`. `shapes` has what several routes write.

mod accept;
pub(super) mod alert_info;
pub(super) mod asyncapi;
mod availability;
mod body;
mod capacity;
mod component_uptime;
mod components;
mod compression;
mod contract;
mod csv;
pub(super) mod current_health;
mod cursor;
pub mod docs;
pub mod error;
mod extract;
mod failure_patterns;
mod grid;
mod lookup;
mod metric_series;
mod middleware;
pub mod prefix;
mod problem;
mod ranges;
mod router;
mod routes;
mod server;
pub(super) mod shapes;
pub mod time;
mod trends;

#[cfg(test)]
mod tests;

pub use body::LARGEST_BODY;
pub use prefix::is_valid_prefix;
pub use server::serve;

/// Most heartbeats of a batch, unless configured.
pub const MOST_HEARTBEATS: usize = 1_000;
/// Most metric points of a request.
const MOST_POINTS: usize = 5_000;
/// How many items a list has, unless asked for another number.
const DEFAULT_LISTED: u32 = 100;
/// Most items of a list.
const MOST_LISTED: u32 = 10_000;
