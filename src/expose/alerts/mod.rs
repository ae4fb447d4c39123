//! Notifications of alerts, to Alertmanager and webhooks.
//!
//! - [`config`](ChannelConfig): the `[[channels]]`
//! - `signature`: how a webhook's receiver knows who sent it

mod config;
mod signature;

pub use config::{ChannelConfig, ChannelError, ChannelKind, check_all};
