//! One signed JSON message a notification, as Standard Webhooks has it.

use super::outbox::{Kept, Outbox};
use super::post::{self, Post};
use super::schedule::{Attempt, Schedule};
use super::signature::Secret;
use crate::clock::now_seconds;
use crate::expose::otlp::send::Failed;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Where messages go and how, as long as the settings do not change.
pub(super) struct Endpoint {
    pub(super) post: Post,
    pub(super) secret: Secret,
    /// Requests under way at once, at most.
    pub(super) most: usize,
}

/// A notification that waits.
#[derive(Clone)]
pub(super) struct Message {
    id: Arc<str>,
    body: Bytes,
    /// Tried for `retry_seconds` from here on.
    since: Instant,
}

impl Message {
    fn new(kept: Kept) -> (String, Self) {
        (kept.alert, Self { id: kept.id.into(), body: kept.message.into(), since: Instant::now() })
    }
}

/// The ids of what waits for one channel, and of what does not any more.
#[derive(Clone)]
pub(super) struct Waiting {
    channel: Arc<str>,
    ids: Arc<Mutex<Ids>>,
    outbox: Arc<Outbox>,
}

#[derive(Default)]
struct Ids {
    waiting: HashSet<String>,
    /// What was delivered or given up, in this run or an earlier one, while a replay may make it again.
    done: Option<HashSet<String>>,
}

impl Waiting {
    /// With what an earlier run had delivered, until [`Waiting::caught_up`].
    pub(super) fn new(channel: &str, outbox: Arc<Outbox>, done: HashSet<String>) -> Self {
        let ids = Ids { waiting: HashSet::new(), done: Some(done) };
        Self { channel: channel.into(), ids: Arc::new(Mutex::new(ids)), outbox }
    }

    pub(super) fn count(&self) -> usize {
        self.ids.lock().waiting.len()
    }

    /// Adds what an earlier run kept.
    pub(super) fn restore(&self, id: &str) {
        self.ids.lock().waiting.insert(id.to_owned());
    }

    /// From here on nothing is made a second time.
    pub(super) fn caught_up(&self) {
        self.ids.lock().done = None;
    }

    /// Adds one, unless it was there before or there is no room for it among `most`.
    pub(super) fn add(&self, kept: &Kept, most: usize) -> bool {
        let mut ids = self.ids.lock();
        if ids.waiting.contains(&kept.id) || ids.done.as_ref().is_some_and(|done| done.contains(&kept.id)) {
            return false;
        }
        if ids.waiting.len() >= most {
            post::dead(&self.channel, 1, "its queue is full");
            return false;
        }
        ids.waiting.insert(kept.id.clone());
        post::queued(&self.channel, ids.waiting.len());
        drop(ids);
        self.outbox.keep(&self.channel, kept.clone());
        true
    }

    /// One does not wait any more.
    fn done(&self, id: &str) {
        let mut ids = self.ids.lock();
        ids.waiting.remove(id);
        if let Some(done) = &mut ids.done {
            done.insert(id.to_owned());
        }
        post::queued(&self.channel, ids.waiting.len());
        drop(ids);
        self.outbox.done(&self.channel, id.to_owned());
    }
}

/// One channel's task.
pub(super) struct Webhook {
    pub(super) endpoint: watch::Receiver<Arc<Endpoint>>,
    pub(super) waiting: Waiting,
}

/// What became of an attempt.
struct Ended {
    alert: String,
    message: Message,
    failures: u32,
    result: Result<(), Failed>,
}

impl Webhook {
    /// Sends what comes until `closed`. Then what was never tried gets one attempt; the rest stays in the outbox.
    pub(super) async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<Kept>, mut closed: watch::Receiver<bool>) {
        let mut schedule = Schedule::new();
        let mut under_way = JoinSet::new();
        let (mut ending, mut changes) = (false, true);
        loop {
            while let Ok(kept) = incoming.try_recv() {
                let (alert, message) = Message::new(kept);
                schedule.add(alert, message);
            }
            let endpoint = self.endpoint.borrow_and_update().clone();
            while let Some(attempt) = schedule.next(Instant::now().into_std(), endpoint.most, ending) {
                under_way.spawn(send(endpoint.clone(), attempt));
            }
            if ending && schedule.is_idle() {
                return;
            }
            let next = schedule.next_repeat(endpoint.most).filter(|_| !ending).map(Instant::from_std);
            tokio::select! {
                kept = incoming.recv(), if !ending => match kept {
                    Some(kept) => {
                        let (alert, message) = Message::new(kept);
                        schedule.add(alert, message);
                    }
                    None => ending = true,
                },
                Some(ended) = under_way.join_next() => match ended {
                    Ok(ended) => self.ended(ended, &endpoint, &mut schedule),
                    // A request that panicked would leave its place taken: nothing of ours does.
                    Err(error) => tracing::error!(channel = &*self.waiting.channel, %error, "a request ended badly"),
                },
                () = sleep_until(next), if next.is_some() => {}
                changed = self.endpoint.changed(), if changes => match changed {
                    Ok(()) => schedule.hurry(Instant::now().into_std()),
                    Err(_) => changes = false,
                },
                // Also when the sender is gone.
                _ = closed.wait_for(|closed| *closed), if !ending => ending = true,
            }
        }
    }

    fn ended(&self, ended: Ended, endpoint: &Endpoint, schedule: &mut Schedule<String, Message>) {
        let Ended { alert, message, failures, result } = ended;
        let now = Instant::now();
        let (reason, after) = match result {
            Ok(()) => {
                schedule.taken(&alert);
                return self.waiting.done(&message.id);
            }
            Err(Failed::Retry { reason, after }) => (reason, after),
            Err(Failed::Refused(reason)) => {
                schedule.given_up(&alert);
                post::dead(&self.waiting.channel, 1, &reason);
                return self.waiting.done(&message.id);
            }
        };
        let post = &endpoint.post;
        let pause = post.backoff.pause(failures + 1, after);
        let Some(pause) = within(message.since.elapsed(), pause, post.give_up, post.timeout) else {
            schedule.given_up(&alert);
            post::dead(&self.waiting.channel, 1, &format!("{reason} ({} attempts)", failures + 1));
            return self.waiting.done(&message.id);
        };
        post.again(failures + 1, &message.id, &reason);
        schedule.again(&alert, now.into_std(), (now + pause).into_std(), post.backoff.first / 10);
    }
}

/// The pause before the next attempt, when `passed` of `give_up` has passed: what was asked for, but the last attempt is made
/// before the time ends, with time for an answer. `None` after that.
fn within(passed: Duration, pause: Duration, give_up: Duration, timeout: Duration) -> Option<Duration> {
    let last = give_up.saturating_sub(timeout.min(give_up / 10));
    last.checked_sub(passed).filter(|left| !left.is_zero()).map(|left| pause.min(left))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn send(endpoint: Arc<Endpoint>, attempt: Attempt<String, Message>) -> Ended {
    let Attempt { alert, item: message, failures } = attempt;
    let headers = headers(&endpoint.secret, &message.id, &message.body);
    let result = endpoint.post.attempt(headers, message.body.clone()).await;
    Ended { alert, message, failures, result }
}

/// The headers of one attempt: each is signed anew, with its own time.
fn headers(secret: &Secret, id: &str, body: &[u8]) -> HeaderMap {
    let seconds = now_seconds();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", secret.sign(id, seconds, body)),
    ] {
        // Hexadecimal, digits and base64: always a header's value.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_is_made_before_the_time_ends() {
        let seconds = Duration::from_secs;
        for (passed, pause, expect) in
            [(0, 30, Some(30)), (0, 7_200, Some(3_590)), (3_589, 30, Some(1)), (3_590, 1, None), (4_000, 1, None)]
        {
            let found = within(seconds(passed), seconds(pause), seconds(3_600), seconds(10));
            assert_eq!(found, expect.map(seconds), "{passed} {pause}");
        }
        // A short time is not used up by the margin.
        assert_eq!(within(seconds(0), seconds(7_200), seconds(10), seconds(10)), Some(seconds(9)));
        assert_eq!(within(seconds(0), seconds(1), seconds(0), seconds(10)), None);
    }
}
