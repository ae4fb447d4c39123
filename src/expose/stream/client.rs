//! One client's way through its tenant's events.

use super::event::{Event, Message};
use super::filter::Filter;
use super::hub::{Channel, Following, Hub, Place, Refusal};
use super::ring::Found;
use crate::expose::rest::time::Time;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use vitals_core::ids::{TenantId, UnixNanos};

/// Events looked at with the ring locked, and of those taken.
const SCAN: usize = 1_024;
const TAKE: usize = 64;
/// After how many milliseconds a browser comes back.
const COME_BACK: u32 = 2_000;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The token's time is over.
    TokenExpired,
    /// The token is not taken any more.
    TokenRefused,
    /// The service stops.
    Shutdown,
}

impl End {
    /// Its name in `event: end`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::TokenRefused => "token_refused",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The token behind a stream.
pub struct Token {
    /// How long it is valid from now on.
    pub lifetime: Duration,
    /// Whether it is still taken.
    pub check: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What opens a stream.
pub struct Opening {
    /// Whose events.
    pub tenant: TenantId,
    /// Which of them.
    pub filter: Filter,
    /// The id of the last event that the client has seen, as it says it.
    pub last_event_id: Option<String>,
    /// By what right.
    pub token: Token,
    /// The time.
    pub clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
}

/// One client. Holds positions and no events: being slow costs nobody anything.
pub struct Client {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    filter: Filter,
    token: Token,
    clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
    position: u64,
    samples_position: u64,
    queue: VecDeque<Message>,
    expires: Instant,
    /// When the next heartbeat is sent, and the token looked at.
    beat: Instant,
    ended: Option<End>,
    _following: Following,
    _place: Place,
}

impl Client {
    /// Opens a stream.
    ///
    /// # Errors
    /// When there are too many.
    pub fn open(hub: &Arc<Hub>, opening: Opening) -> Result<Self, Refusal> {
        let Opening { tenant, filter, last_event_id, token, clock } = opening;
        let place = hub.take_place(&tenant)?;
        let channel = hub.channel(&tenant);
        let following = hub.follow(&channel, filter.series())?;
        let samples_position = channel.samples.read().last_id();
        let (position, gap) = resume(hub, &channel, last_event_id.as_deref());
        let now = Instant::now();
        let mut client = Self {
            hub: hub.clone(),
            channel,
            filter,
            clock,
            position,
            samples_position,
            queue: VecDeque::new(),
            expires: now + token.lifetime,
            token,
            beat: now + hub.config().heartbeat(),
            ended: None,
            _following: following,
            _place: place,
        };
        client.greet(gap);
        Ok(client)
    }

    fn greet(&mut self, gap: Option<Gap>) {
        let hello = json!({
            "time": Time((self.clock)()).to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "heartbeat_seconds": self.hub.config().heartbeat().as_secs(),
        });
        let hello = Message::of(Some(self.position), "hello", &hello);
        self.queue.push_back(hello.behind(&format!("retry: {COME_BACK}\n")));
        if let Some(gap) = gap {
            self.position = gap.then;
            self.queue.push_back(Message::of(Some(gap.then), "gap", &gap.body()));
        }
    }

    /// Why it ended, once it did.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        self.ended
    }

    /// The next message; waits for one. `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Message> {
        let channel = self.channel.clone();
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Some(message);
            }
            if self.ended.is_some() {
                return None;
            }
            // Before the rings are looked at, so that nothing slips in between.
            let woken = channel.wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            if self.on_time() {
                continue;
            }
            self.look();
            if !self.queue.is_empty() {
                continue;
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(self.beat.min(self.expires)) => {}
            }
        }
    }

    /// Does what time asks for; whether there is now something to send.
    fn on_time(&mut self) -> bool {
        let now = Instant::now();
        if self.hub.is_closing() {
            self.end(End::Shutdown);
        } else if now >= self.expires {
            self.end(End::TokenExpired);
        } else if now >= self.beat {
            self.on_beat(now);
        } else {
            return false;
        }
        true
    }

    fn end(&mut self, why: End) {
        self.ended = Some(why);
        self.queue.push_back(Message::of(Some(self.position), "end", &json!({"reason": why.name()})));
    }

    /// Says that the stream lives, and moves the position to resume from over what the filter left out.
    fn on_beat(&mut self, now: Instant) {
        if !(self.token.check)() {
            self.end(End::TokenRefused);
            return;
        }
        self.beat = now + self.hub.config().heartbeat();
        let body = json!({"time": Time((self.clock)()).to_string()});
        self.queue.push_back(Message::of(Some(self.position), "heartbeat", &body).behind(": heartbeat\n"));
    }

    /// Takes what is new.
    fn look(&mut self) {
        loop {
            let found = {
                let (ring, filter) = (self.channel.events.read(), &mut self.filter);
                ring.read(self.position, SCAN, TAKE, |event| filter.takes(event))
            };
            let before = self.position;
            self.take(&found, false);
            self.position = found.position;
            if !self.queue.is_empty() || found.position == before {
                break;
            }
        }
        if self.filter.series().is_empty() {
            return;
        }
        loop {
            let found = {
                let (ring, filter) = (self.channel.samples.read(), &mut self.filter);
                ring.read(self.samples_position, SCAN, TAKE, |event| filter.takes(event))
            };
            let before = self.samples_position;
            self.take(&found, true);
            self.samples_position = found.position;
            if !self.queue.is_empty() || found.position == before {
                break;
            }
        }
    }

    fn take(&mut self, found: &Found, samples: bool) {
        if found.skipped > 0 {
            metrics::counter!("vitals_stream_events_skipped_total").increment(found.skipped);
            let at = if samples { self.samples_position } else { self.position } + found.skipped;
            let gap = Gap { skipped: Some(found.skipped), reason: "slow", then: at };
            let mut body = gap.body();
            if samples {
                body["of"] = "samples".into();
            }
            self.queue.push_back(Message::of((!samples).then_some(at), "gap", &body));
        }
        self.queue.extend(found.events.iter().map(|event: &Arc<Event>| event.message().clone()));
    }
}

/// Events that a client does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// How many; `None` when nobody knows.
    skipped: Option<u64>,
    reason: &'static str,
    /// The position behind it.
    then: u64,
}

impl Gap {
    fn body(self) -> Value {
        json!({"skipped": self.skipped, "reason": self.reason})
    }
}

/// Where a client begins, and what it has missed.
fn resume(hub: &Hub, channel: &Channel, last: Option<&str>) -> (u64, Option<Gap>) {
    let ring = channel.events.read();
    let Some(last) = last else { return (ring.last_id(), None) };
    let unknown = |reason, then| Some(Gap { skipped: None, reason, then });
    match last.trim().parse::<u64>() {
        Ok(id) if id > ring.last_id() => (ring.last_id(), unknown("unknown_id", ring.last_id())),
        Ok(id) if id < hub.start() => (ring.first_id() - 1, unknown("restarted", ring.first_id() - 1)),
        Ok(id) if id + 1 < ring.first_id() => {
            let then = ring.first_id() - 1;
            (id, Some(Gap { skipped: Some(then - id), reason: "too_old", then }))
        }
        Ok(id) => (id, None),
        Err(_) => (ring.last_id(), unknown("unknown_id", ring.last_id())),
    }
}
