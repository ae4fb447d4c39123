//! Notifications of alerts, to Alertmanager and webhooks.
//!
//! - [`config`](ChannelConfig): the `[[channels]]`
//! - [`Notifier`]: hands what evaluation announces to the channels
//! - `webhook`: one signed message a notification
//! - `alertmanager`: what is open, told again and again
//! - `post`: one request, and whether to try again
//! - `signature`: how a webhook's receiver knows who sent it
//!
//! Nothing here holds up evaluation: queues are bounded, and what does not fit is given up and counted.
//!
//! What a restart does: evaluation announces anew what is open and was notified, which brings an Alertmanager up to date. A webhook
//! gets each notification at least once, unless the process dies while it waits to be sent; what evaluation repeats after
//! a crash has the same `webhook-id`, by which a receiver knows it.

mod alertmanager;
mod config;
mod post;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

pub use config::{ChannelConfig, ChannelError, ChannelKind, check_all};

use super::otlp::Observer;
use super::otlp::send::Backoff;
use super::rest::time::Time;
use alertmanager::Alertmanager;
use parking_lot::RwLock;
use post::Post;
use serde_json::{Map, Value, json};
use signature::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vitals_core::ids::UnixNanos;
use vitals_core::registry::Registry;
use vitals_core::seam::Output;
use vitals_core::verdict::{Alert, Event, Notice};
use webhook::Webhook;

/// Hands notices to their channels, each of which sends on its own.
pub struct Notifier {
    registry: Arc<Registry>,
    backoff: Backoff,
    lines: RwLock<BTreeMap<String, Line>>,
}

/// What waits for a channel.
struct Waiting {
    notice: Notice,
    since: Instant,
}

/// One channel at work.
struct Line {
    config: ChannelConfig,
    secret: Option<Secret>,
    queue: mpsc::Sender<Waiting>,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Starts sending on the current tokio runtime.
    ///
    /// # Errors
    /// When a channel cannot be used. One that does not answer is no error: it is tried again.
    pub fn start(channels: &[ChannelConfig], registry: Arc<Registry>) -> Result<Arc<Self>, ChannelError> {
        Self::start_with(channels, registry, Backoff::default())
    }

    fn start_with(
        channels: &[ChannelConfig],
        registry: Arc<Registry>,
        backoff: Backoff,
    ) -> Result<Arc<Self>, ChannelError> {
        let notifier = Self { registry, backoff, lines: RwLock::default() };
        notifier.reload(channels)?;
        Ok(Arc::new(notifier))
    }

    /// Uses these channels from now on. Those that did not change go on; what waits for one that is gone gets one attempt.
    /// To be called on the tokio runtime.
    ///
    /// # Errors
    /// When a channel cannot be used; then nothing changes.
    pub fn reload(&self, channels: &[ChannelConfig]) -> Result<(), ChannelError> {
        check_all(channels)?;
        let secret = |channel: &ChannelConfig| match channel.kind {
            ChannelKind::Webhook => channel.secret().map(Some),
            ChannelKind::Alertmanager => Ok(None),
        };
        let secrets: Vec<_> = channels.iter().map(secret).collect::<Result<_, _>>()?;
        let mut lines = self.lines.write();
        let mut before = std::mem::take(&mut *lines);
        for (channel, secret) in channels.iter().zip(secrets) {
            let line = match before.remove(&channel.name) {
                Some(line) if line.config == *channel && line.secret == secret => line,
                gone => {
                    if let Some(line) = gone {
                        line.close();
                    }
                    self.open(channel, secret)?
                }
            };
            lines.insert(channel.name.clone(), line);
        }
        before.into_values().for_each(|line| drop(line.close()));
        Ok(())
    }

    fn open(&self, channel: &ChannelConfig, secret: Option<Secret>) -> Result<Line, ChannelError> {
        let (queue, waiting) = mpsc::channel(channel.queue);
        let (closing, closed) = watch::channel(false);
        let post = Post::new(channel, self.backoff)?;
        let registry = self.registry.clone();
        let task = match &secret {
            Some(secret) => {
                let webhook = Webhook { post, secret: secret.clone(), registry };
                tokio::spawn(webhook.run(waiting, closed))
            }
            None => {
                let repeat = Duration::from_secs(channel.repeat_seconds);
                tokio::spawn(Alertmanager::new(post, registry, repeat, channel.queue).run(waiting, closed))
            }
        };
        tracing::info!(channel = channel.name, kind = ?channel.kind, "notifying of alerts");
        Ok(Line { config: channel.clone(), secret, queue, closing, task })
    }

    /// What evaluation calls with everything it makes. Never blocks on the network.
    #[must_use]
    pub fn observer(self: &Arc<Self>) -> Observer {
        let notifier = self.clone();
        Arc::new(move |output: &Arc<Output>| notifier.observe(output))
    }

    fn observe(&self, output: &Output) {
        if output.notices.is_empty() {
            return;
        }
        let lines = self.lines.read();
        for notice in output.notices.iter().filter(|notice| notice.event != Event::Suppressed) {
            for line in notice.channels.iter().filter_map(|name| lines.get(name)) {
                line.push(notice);
            }
        }
    }

    /// Gives what waits one attempt each, and stops.
    pub async fn stop(&self) {
        let lines = std::mem::take(&mut *self.lines.write());
        let ending: Vec<_> = lines.into_iter().map(|(name, line)| (name, line.close())).collect();
        for (name, (patience, mut task)) in ending {
            if tokio::time::timeout(patience, &mut task).await.is_err() {
                task.abort();
                tracing::warn!(channel = name, "a channel did not take everything before the stop");
            }
        }
    }
}

impl Line {
    fn push(&self, notice: &Notice) {
        if notice.event == Event::Standing && self.config.kind == ChannelKind::Webhook {
            return;
        }
        let name = &self.config.name;
        if self.queue.try_send(Waiting { notice: notice.clone(), since: Instant::now() }).is_err() {
            post::dead(name, 1, "its queue is full");
        }
        post::queued(name, self.queue.max_capacity() - self.queue.capacity());
    }

    /// Takes no more; how long an attempt may take, and what ends when all is sent.
    fn close(self) -> (Duration, JoinHandle<()>) {
        // Fails only when the task is gone.
        let _ = self.closing.send(true);
        (Duration::from_secs(self.config.timeout_seconds), self.task)
    }
}

fn now() -> UnixNanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn rfc3339(time: UnixNanos) -> String {
    Time(time).to_string()
}

/// The name of an alert's agent.
fn agent_of(registry: &Registry, alert: &Alert) -> String {
    registry.agent(alert.agent).map_or_else(|| alert.agent.0.to_string(), |agent| agent.key.clone())
}

/// A notice as JSON: the contract's `AlertInfo`, and what it leaves out.
fn message(registry: &Registry, notice: &Notice) -> Value {
    let alert = &notice.alert;
    let state = match (alert.resolved, &alert.acknowledged) {
        (Some(_), _) => "resolved",
        (None, Some(_)) => "acknowledged",
        (None, None) => "open",
    };
    let mut fields = Map::new();
    for (key, value) in [
        ("event", json!(notice.event.name())),
        ("alert_id", json!(alert.id)),
        ("severity", json!(alert.severity.name())),
        ("message", json!(alert.message)),
        ("source", json!(alert.source)),
        ("timestamp", json!(rfc3339(alert.started))),
        ("metric_name", json!(alert.series.as_ref().map(|series| &series.metric))),
        (
            "attributes",
            json!(alert.series.as_ref().map(|series| series.attributes.iter().cloned().collect::<BTreeMap<_, _>>())),
        ),
        ("resolved", json!(alert.resolved.is_some())),
        ("state", json!(state)),
        ("agent", json!(agent_of(registry, alert))),
        ("tenant", json!(alert.tenant.0)),
        ("resolved_at", json!(alert.resolved.map(rfc3339))),
        ("acknowledged_by", json!(alert.acknowledged.as_ref().map(|(by, _)| by))),
        ("acknowledged_at", json!(alert.acknowledged.as_ref().map(|(_, at)| rfc3339(*at)))),
    ] {
        fields.insert(key.to_owned(), value);
    }
    fields.into()
}
