//! One request to a channel, and whether to try it again.

use super::config::{ChannelConfig, ChannelError};
use crate::expose::otlp::send::{Backoff, Failed, chain, retry_after};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// A channel's client.
pub(super) struct Post {
    pub(super) channel: String,
    pub(super) backoff: Backoff,
    /// How long one message is tried again.
    pub(super) give_up: Duration,
    /// How long one attempt may take.
    pub(super) timeout: Duration,
    client: reqwest::Client,
    url: reqwest::Url,
}

impl Post {
    pub(super) fn new(channel: &ChannelConfig, backoff: Backoff) -> Result<Self, ChannelError> {
        let timeout = Duration::from_secs(channel.timeout_seconds);
        let client = reqwest::Client::builder()
            .timeout(timeout)
            // Whoever answers at the configured address must not choose where alerts go.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("vitals/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ChannelError::Url { name: channel.name.clone(), reason: chain(&error) })?;
        Ok(Self {
            channel: channel.name.clone(),
            backoff,
            give_up: Duration::from_secs(channel.retry_seconds),
            timeout,
            client,
            url: channel.target()?,
        })
    }

    /// One attempt to send a JSON body.
    pub(super) async fn attempt(&self, headers: HeaderMap, body: Bytes) -> Result<(), Failed> {
        let request = self.client.post(self.url.clone()).headers(headers);
        let request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        // Without the address: it may hold a password or a token.
        let network = |error: reqwest::Error| Failed::Retry { reason: chain(&error.without_url()), after: None };
        let answer = request.send().await.map_err(network)?;
        let status = answer.status();
        if status.is_success() {
            metrics::counter!("vitals_alerts_sent_total", "channel" => self.channel.clone()).increment(1);
            return Ok(());
        }
        let reason = format!("the receiver answered {status}");
        if may_retry(status) {
            return Err(Failed::Retry { reason, after: retry_after(answer.headers()) });
        }
        Err(Failed::Refused(reason))
    }

    /// An attempt to send `what` failed and will be repeated; `failures` of them so far.
    pub(super) fn again(&self, failures: u32, what: &str, reason: &str) {
        metrics::counter!("vitals_alerts_retries_total", "channel" => self.channel.clone()).increment(1);
        if failures == 1 {
            tracing::warn!(channel = self.channel, what, reason, "a notification was not taken; trying again");
        } else {
            tracing::debug!(channel = self.channel, what, reason, failures, "a notification was not taken again");
        }
    }
}

/// What may succeed later: the receiver is overloaded or broken. Anything else says no to the message, or to us.
fn may_retry(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Notifications that were given up.
pub(super) fn dead(channel: &str, count: usize, reason: &str) {
    metrics::counter!("vitals_alerts_dead_total", "channel" => channel.to_owned()).increment(count as u64);
    tracing::error!(channel, count, reason, "notifications of alerts were given up");
}

/// How many notifications wait.
#[allow(clippy::cast_precision_loss)]
pub(super) fn queued(channel: &str, count: usize) {
    metrics::gauge!("vitals_alerts_queued", "channel" => channel.to_owned()).set(count as f64);
}
