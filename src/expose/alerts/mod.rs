//! Notifications of alerts, to Alertmanager and webhooks.
//!
//! - [`config`](ChannelConfig): the `[[channels]]`
//! - [`Notifier`]: hands what evaluation announces to the channels
//! - `webhook`: one signed message a notification; `schedule`: which is next, and when one is tried again
//! - `alertmanager`: what is open, told again and again
//! - `outbox`: what waits for a webhook, on the disk
//! - `post`: one request, and whether to try again
//! - `signature`: how a webhook's receiver knows who sent it
//!
//! Nothing here holds up evaluation: queues are bounded, and what does not fit is given up and counted.
//!
//! What a restart does: evaluation announces anew what is open and was notified, which brings an Alertmanager up to date. A webhook
//! gets each notification at least once: what waits is in the outbox, or is made again by the replay of the log. What was
//! delivered and made again is known by its id, here and (if the process died in between) by the receiver.

mod alertmanager;
mod config;
mod outbox;
mod post;
mod schedule;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

pub use config::{ChannelConfig, ChannelError, ChannelKind, problems, unusable};

use super::otlp::Observer;
use super::otlp::send::Backoff;
use crate::clock::rfc3339;
use crate::workers;
use alertmanager::Alertmanager;
use outbox::{Kept, Left, Outbox};
use parking_lot::RwLock;
use post::Post;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vitals_core::registry::Registry;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{Alert, Event, Notice};
use webhook::{Endpoint, Waiting, Webhook};

/// Hands notices to their channels, each of which sends on its own.
pub struct Notifier {
    registry: Arc<Registry>,
    backoff: Backoff,
    outbox: Arc<Outbox>,
    lines: RwLock<BTreeMap<String, Line>>,
    /// Whether a replay may make again what was made before.
    replaying: AtomicBool,
}

/// One channel at work.
struct Line {
    config: ChannelConfig,
    sink: Sink,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

enum Sink {
    Alertmanager(mpsc::Sender<Notice>),
    Webhook(Hook),
}

struct Hook {
    queue: mpsc::UnboundedSender<Kept>,
    waiting: Waiting,
    endpoint: watch::Sender<Arc<Endpoint>>,
}

/// What a channel needs, found to be usable.
enum Ready {
    Alertmanager(Post),
    Webhook(Endpoint),
}

/// Channels that can be used, ready to be put in force.
#[derive(Default)]
pub struct PreparedChannels(Vec<(ChannelConfig, Ready)>);

impl Notifier {
    /// Starts sending on the current tokio runtime, beginning with what an earlier run left in the folder `data`. Without a
    /// folder, what waits is lost with the process.
    ///
    /// # Errors
    /// When a channel cannot be used. One that does not answer is no error: it is tried again.
    pub fn start(
        channels: &[ChannelConfig],
        registry: Arc<Registry>,
        data: Option<&Path>,
    ) -> Result<Arc<Self>, ChannelError> {
        Self::start_with(channels, registry, data, Backoff::default())
    }

    fn start_with(
        channels: &[ChannelConfig],
        registry: Arc<Registry>,
        data: Option<&Path>,
        backoff: Backoff,
    ) -> Result<Arc<Self>, ChannelError> {
        let (outbox, left) = data.map_or_else(|| (Outbox::in_memory(), HashMap::new()), Outbox::open);
        let (outbox, replaying) = (Arc::new(outbox), AtomicBool::new(true));
        let notifier = Self { registry, backoff, outbox, lines: RwLock::default(), replaying };
        // One of them is enough here: the service names all before it starts.
        let prepared = notifier.prepare(channels).map_err(|mut errors| errors.remove(0))?;
        notifier.apply(prepared, left);
        Ok(Arc::new(notifier))
    }

    /// Makes all that these channels need, with their secrets read, and changes nothing yet.
    ///
    /// # Errors
    /// All that is wrong with them; at least one thing.
    pub fn prepare(&self, channels: &[ChannelConfig]) -> Result<PreparedChannels, Vec<ChannelError>> {
        let mut errors = problems(channels);
        let mut prepared = Vec::new();
        if errors.is_empty() {
            for channel in channels {
                match self.ready(channel) {
                    Ok(ready) => prepared.push((channel.clone(), ready)),
                    Err(error) => errors.push(error),
                }
            }
        } else {
            // A channel that is wrong as it is written has no client, but may have a secret.
            errors.extend(unusable(channels));
        }
        if errors.is_empty() { Ok(PreparedChannels(prepared)) } else { Err(errors) }
    }

    /// Uses these channels from now on. What waits for one that is still there is sent as it is set now; what waits for one
    /// that is gone is given up. To be called on the tokio runtime.
    pub fn reload(&self, channels: PreparedChannels) {
        self.apply(channels, HashMap::new());
    }

    fn apply(&self, channels: PreparedChannels, mut left: HashMap<String, Left>) {
        let mut lines = self.lines.write();
        let mut before = std::mem::take(&mut *lines);
        for (channel, ready) in channels.0 {
            let left = left.remove(&channel.name).unwrap_or_default();
            let line = match (before.remove(&channel.name), ready) {
                (Some(line), Ready::Webhook(endpoint)) if line.config.kind == channel.kind => {
                    line.changed(&channel, endpoint)
                }
                (Some(line), Ready::Alertmanager(_)) if line.config == channel => line,
                (gone, ready) => {
                    gone.into_iter().for_each(|line| self.gone(line));
                    self.open(&channel, ready, left)
                }
            };
            lines.insert(channel.name, line);
        }
        before.into_values().for_each(|line| self.gone(line));
        left.into_iter().for_each(|(name, left)| self.give_up(&name, left.waiting.len()));
    }

    fn ready(&self, channel: &ChannelConfig) -> Result<Ready, ChannelError> {
        let post = Post::new(channel, self.backoff)?;
        Ok(match channel.kind {
            ChannelKind::Alertmanager => Ready::Alertmanager(post),
            ChannelKind::Webhook => {
                Ready::Webhook(Endpoint { post, secret: channel.secret()?, most: channel.requests_in_flight })
            }
        })
    }

    fn open(&self, channel: &ChannelConfig, ready: Ready, left: Left) -> Line {
        let (closing, closed) = watch::channel(false);
        let (sink, task) = match ready {
            Ready::Webhook(endpoint) => {
                let (queue, incoming) = mpsc::unbounded_channel();
                let (endpoint, settings) = watch::channel(Arc::new(endpoint));
                let waiting = Waiting::new(&channel.name, self.outbox.clone(), left.done);
                if !self.replaying.load(Ordering::Acquire) {
                    waiting.caught_up();
                }
                if !left.waiting.is_empty() {
                    let count = left.waiting.len();
                    tracing::info!(channel = channel.name, count, "sending what waited at the end of the last run");
                }
                for kept in left.waiting {
                    waiting.restore(&kept.id);
                    // The task that takes it is started below.
                    let _ = queue.send(kept);
                }
                post::queued(&channel.name, waiting.count());
                let task = workers::spawn_task(
                    "notifications",
                    Webhook { endpoint: settings, waiting: waiting.clone() }.run(incoming, closed),
                );
                (Sink::Webhook(Hook { queue, waiting, endpoint }), task)
            }
            Ready::Alertmanager(post) => {
                self.give_up(&channel.name, left.waiting.len());
                let (queue, waiting) = mpsc::channel(channel.queue);
                let repeat = Duration::from_secs(channel.repeat_seconds);
                let manager = Alertmanager::new(post, self.registry.clone(), repeat, channel.queue);
                (Sink::Alertmanager(queue), workers::spawn_task("notifications", manager.run(waiting, closed)))
            }
        };
        tracing::info!(channel = channel.name, kind = channel.kind.name(), "notifying of alerts");
        Line { config: channel.clone(), sink, closing, task }
    }

    /// A channel is not configured any more, or is another kind now.
    fn gone(&self, line: Line) {
        match &line.sink {
            Sink::Webhook(hook) => {
                line.task.abort();
                self.give_up(&line.config.name, hook.waiting.count());
                post::queued(&line.config.name, 0);
            }
            // It sends what it has, and ends.
            Sink::Alertmanager(_) => drop(line.close()),
        }
    }

    /// Nobody sends what waits for this channel.
    fn give_up(&self, channel: &str, count: usize) {
        if count > 0 {
            post::dead(channel, count, "no webhook of this name is configured any more");
        }
        self.outbox.forget(channel);
    }

    /// What evaluation calls with everything it makes. Never blocks on the network.
    #[must_use]
    pub fn observer(self: &Arc<Self>) -> Observer {
        let notifier = self.clone();
        Arc::new(move |output: &Arc<EvaluationOutput>| notifier.observe(output))
    }

    fn observe(&self, output: &EvaluationOutput) {
        if output.notices.is_empty() {
            return;
        }
        let lines = self.lines.read();
        for notice in output.notices.iter().filter(|notice| notice.event != Event::Suppressed) {
            for line in notice.channels.iter().filter_map(|name| lines.get(name)) {
                self.push(line, notice);
            }
        }
    }

    fn push(&self, line: &Line, notice: &Notice) {
        let name = &line.config.name;
        match &line.sink {
            Sink::Alertmanager(queue) => {
                if queue.try_send(notice.clone()).is_err() {
                    post::dead(name, 1, "its queue is full");
                }
                post::queued(name, queue.max_capacity() - queue.capacity());
            }
            Sink::Webhook(_) if notice.event == Event::StillOpen => {}
            Sink::Webhook(hook) => {
                // The same after a replay, so that a receiver knows what it has.
                let id = format!("{}-{}-{}", notice.alert.id, notice.event.name(), notice.at.0);
                let message = message(&self.registry, notice).to_string();
                let kept = Kept { id, alert: notice.alert.id.clone(), message };
                if hook.waiting.add(&kept, line.config.queue) {
                    // Fails only when the task is gone; then the next start sends it.
                    let _ = hook.queue.send(kept);
                }
            }
        }
    }

    /// Returns when what was observed would survive the process, or the disk has failed. Blocks.
    pub fn settle(&self) {
        self.outbox.settle();
    }

    /// The log was replayed: from here on nothing is made a second time.
    pub fn caught_up(&self) {
        let lines = self.lines.write();
        self.replaying.store(false, Ordering::Release);
        for line in lines.values() {
            if let Sink::Webhook(hook) = &line.sink {
                hook.waiting.caught_up();
            }
        }
    }

    /// Gives what was never tried one attempt, and stops. What is left is sent after the next start.
    pub async fn stop(&self) {
        let begun = Instant::now();
        let lines = std::mem::take(&mut *self.lines.write());
        let mut kept = Vec::new();
        let mut ending = Vec::new();
        for (name, line) in lines {
            if let Sink::Webhook(hook) = &line.sink {
                kept.push((name.clone(), hook.waiting.clone()));
            }
            ending.push((name, line.close()));
        }
        for (name, (grace_period, mut task)) in ending {
            if tokio::time::timeout_at(begun + grace_period, &mut task).await.is_err() {
                task.abort();
                tracing::warn!(channel = name, "a channel did not take everything before the stop");
            }
        }
        let outbox = self.outbox.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || outbox.close()).await {
            tracing::error!(%error, "the outbox of notifications was not closed");
        }
        for (name, waiting) in kept.into_iter().filter(|(_, waiting)| waiting.count() > 0) {
            let count = waiting.count();
            if self.outbox.is_durable() {
                tracing::info!(channel = name, count, "notifications wait for the next start");
            } else {
                post::dead(&name, count, "the service stops, and they could not be kept on the disk");
            }
        }
    }
}

impl Line {
    /// The same channel with other settings. What waits is tried with them.
    fn changed(mut self, config: &ChannelConfig, new: Endpoint) -> Self {
        if let Sink::Webhook(hook) = &self.sink {
            let same = self.config == *config && hook.endpoint.borrow().secret == new.secret;
            if !same {
                hook.endpoint.send_replace(Arc::new(new));
            }
        }
        self.config = config.clone();
        self
    }

    /// Takes no more; how long an attempt may take, and what ends when all is sent.
    fn close(self) -> (Duration, JoinHandle<()>) {
        // Fails only when the task is gone.
        let _ = self.closing.send(true);
        (Duration::from_secs(self.config.timeout_seconds), self.task)
    }
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
        ("acknowledge_comment", json!(alert.handling.acknowledged_because)),
        ("closed_by", json!(alert.handling.closed.as_ref().map(|act| &act.by))),
        ("close_comment", json!(alert.handling.closed.as_ref().map(|act| &act.comment))),
    ] {
        fields.insert(key.to_owned(), value);
    }
    fields.into()
}
