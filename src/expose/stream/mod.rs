//! The live stream: what evaluation makes, sent to clients as it is made.
//!
//! - `event`: one message, serialised once for all clients
//! - `ring`: a tenant's newest events, which clients read each at its own pace
//! - `filter`: what a client wants and may see
//! - `produce`: events of what evaluation gives to its observers
//! - `hub`: all tenants, the places for clients, and what wakes them
//! - `client`: one client's position, its heartbeats, and its end
//!
//! How it is sent, by SSE or WebSocket, is a matter of the REST room (`rest/stream.rs`).

mod client;
mod event;
mod filter;
mod hub;
mod produce;
mod ring;

#[cfg(test)]
mod tests;

pub use client::{Client, End, Opening, Token};
pub use event::{Kind, Message};
pub use filter::{Filter, Wanted, is_within};
pub use hub::{Hub, Refusal};

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Fewest bytes of events that are kept.
const LEAST_BYTES: usize = 64 * 1024;

/// The live stream's bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// Most streams at a time; more are refused.
    pub max_streams: usize,
    /// Bytes of events kept for clients that are slow or come back, of all tenants.
    pub buffer_bytes: usize,
    /// Something is sent at least this often, seconds.
    pub heartbeat_seconds: u64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { max_streams: 1024, buffer_bytes: 32 * 1024 * 1024, heartbeat_seconds: 15 }
    }
}

impl StreamConfig {
    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds.max(1))
    }

    /// Whether the settings can be used.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.buffer_bytes < LEAST_BYTES {
            return Err(format!("expose.stream.buffer_bytes is {}, must be at least {LEAST_BYTES}", self.buffer_bytes));
        }
        if !(1..=300).contains(&self.heartbeat_seconds) {
            return Err(format!("expose.stream.heartbeat_seconds is {}, must be 1 to 300", self.heartbeat_seconds));
        }
        Ok(())
    }
}
