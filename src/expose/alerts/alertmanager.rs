//! Prometheus Alertmanager: what is open, told again and again.
//!
//! An Alertmanager knows an alert by its labels and takes it for over at `endsAt`. So everything that is open is sent again
//! with an end in the future, and what is over with its end. A severity that changed is another alert to it: the one
//! before is ended. All of that is idempotent, so nothing needs to be remembered over a restart: what ended while nobody could be
//! told is over for it at the end that it was told last.
//!
//! Source: the API's `POST /api/v2/alerts`, and Prometheus' own notifier, whose end lies four times its interval ahead.

use super::agent_of;
use super::post::{self, Post};
use crate::clock::{now, rfc3339};
use crate::expose::otlp::send::Failed;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use vitals_core::ids::UnixNanos;
use vitals_core::registry::Registry;
use vitals_core::rules::alerts::type_of;
use vitals_core::verdict::{Alert, Event, Notice};

/// An open alert is sent with an end so many repetitions ahead.
const AHEAD: u32 = 4;

pub(super) struct Alertmanager {
    post: Post,
    registry: Arc<Registry>,
    repeat: Duration,
    /// By id.
    open: BTreeMap<String, Alert>,
    /// What is over and not accepted yet, with its end.
    over: VecDeque<(Alert, UnixNanos)>,
    most_over: usize,
}

impl Alertmanager {
    pub(super) fn new(post: Post, registry: Arc<Registry>, repeat: Duration, most_over: usize) -> Self {
        Self { post, registry, repeat, open: BTreeMap::new(), over: VecDeque::new(), most_over }
    }

    /// Sends what comes, and what is open, until nothing comes any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Notice>, mut closed: watch::Receiver<bool>) {
        let mut failures = 0;
        let mut next = Instant::now() + self.repeat;
        loop {
            tokio::select! {
                notice = waiting.recv() => {
                    let Some(first) = notice else { break };
                    self.fold(first);
                    while let Ok(next) = waiting.try_recv() {
                        self.fold(next);
                    }
                    post::queued(&self.post.channel, waiting.len());
                    // While it does not answer, the next attempt is when it is due.
                    if failures > 0 {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(next) => {}
                _ = closed.wait_for(|closed| *closed), if !*closed.borrow() => continue,
            }
            next = Instant::now()
                + match self.flush().await {
                    Ok(()) => {
                        failures = 0;
                        self.repeat
                    }
                    Err((reason, after)) => {
                        failures += 1;
                        self.post.again(failures, "what is open", &reason);
                        // Later than that it would take what is open for over.
                        self.post.backoff.pause(failures, after).min(self.repeat * (AHEAD - 1))
                    }
                };
        }
        if !self.over.is_empty()
            && let Err((reason, _)) = self.flush().await
        {
            post::dead(&self.post.channel, self.over.len(), &reason);
        }
    }

    /// Takes what happened to an alert.
    fn fold(&mut self, notice: Notice) {
        let (alert, at) = (notice.alert, now());
        let before = self.open.remove(&alert.id);
        if let Some(before) = before.filter(|before| before.severity != alert.severity) {
            self.end(before, at);
        }
        match (notice.event, alert.resolved) {
            (Event::Resolved, Some(ended)) => self.end(alert, ended.min(at)),
            _ => drop(self.open.insert(alert.id.clone(), alert)),
        }
    }

    fn end(&mut self, alert: Alert, at: UnixNanos) {
        if self.over.len() >= self.most_over {
            self.over.pop_front();
            post::dead(&self.post.channel, 1, "too many that are over wait for an answer");
        }
        self.over.push_back((alert, at));
    }

    /// One attempt with all that is to be said; why and when to try again.
    async fn flush(&mut self) -> Result<(), (String, Option<Duration>)> {
        if self.open.is_empty() && self.over.is_empty() {
            return Ok(());
        }
        let at = now();
        let ahead = i64::try_from((self.repeat * AHEAD).as_nanos()).unwrap_or(i64::MAX);
        let over = self.over.iter().map(|(alert, ended)| self.alert(alert, *ended, at));
        let alerts: Vec<Value> =
            over.chain(self.open.values().map(|alert| self.alert(alert, at.plus(ahead), at))).collect();
        let count = alerts.len();
        match self.post.attempt(HeaderMap::new(), Bytes::from(Value::Array(alerts).to_string())).await {
            Ok(()) => {
                self.over.clear();
                Ok(())
            }
            Err(Failed::Refused(reason)) => {
                // Said again it would be refused again; what is open is said again all the same, later.
                self.over.clear();
                post::dead(&self.post.channel, count, &reason);
                Ok(())
            }
            Err(Failed::Retry { reason, after }) => Err((reason, after)),
        }
    }

    /// An alert as the API has it. A heartbeat's clock may be ahead of ours: nothing begins in the future.
    fn alert(&self, alert: &Alert, ends: UnixNanos, at: UnixNanos) -> Value {
        let (kind, agent, starts) = (type_of(&alert.source), agent_of(&self.registry, alert), alert.started.min(at));
        let mut annotations = json!({
            "summary": format!("{kind} on {agent}: {}", alert.severity.name()),
            "description": alert.message,
        });
        if let Some((by, _)) = &alert.acknowledged {
            annotations["acknowledged_by"] = json!(by);
        }
        json!({
            "labels": {
                "alertname": kind,
                "severity": alert.severity.name(),
                "agent": agent,
                "tenant": alert.tenant.0,
                "source": alert.source,
                // Two series of one agent may breach the same threshold.
                "alert_id": alert.id,
            },
            "annotations": annotations,
            "startsAt": rfc3339(starts),
            "endsAt": rfc3339(ends.max(starts)),
        })
    }
}
