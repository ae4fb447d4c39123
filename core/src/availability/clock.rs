//! What an agent's own clock is worth: which of its heartbeats is the newest, and how far its clock is off.
//!
//! A heartbeat carries the agent's own time, and has an arrival in our time. Liveness goes by arrival alone: a clock
//! that is wrong, drifts or jumps neither makes an outage nor hides one. The own time answers what arrival cannot
//! ([`Clock::judge`]):
//!
//! 1. **Repeated**: the same own time with the same content as one of the last [`REMEMBERED`] heartbeats. A sender
//!    tried again; it is evidence of life and changes nothing else.
//! 2. **Newest**, when the own time goes forward; when it stands still and the content is another (a clock that stands);
//!    or when the heartbeat before was ahead of its own arrival, which proves that clock wrong, and this one is not
//!    behind its arrival.
//! 3. The own time goes back. Either the clock was set back, or this heartbeat was held up on its way (buffered while
//!    offline, overtaken). Taken for a clock that was set back, so **newest**, when
//!    - the own time goes along with the arrivals since the last heartbeat, whatever that was: a clock that runs; or
//!    - it arrives when the next heartbeat was due (half an interval or more after the last), and no heartbeat is missing
//!      at the time that it claims by the clock as it was before.
//!
//!    Otherwise it is **late**: evidence of life now, but what it measured is older than what is known.
//!
//! So a clock set back costs at most one heartbeat's measurements, and only of an agent that beats faster than it
//! declares.
//!
//! Heartbeats that were buffered and arrive together ([`Clock::take`]) say when they were made: within such a drain own
//! times are far apart and arrivals are not, which no clock does. What they prove about the past is at most that a
//! silence was none ([`super::Tracker`]).
//!
//! The skew is own time minus arrival: the median of the last [`MEASURED`] heartbeats that were not late, so that one
//! jump or one slow delivery does not show. The way through the network makes it too small by its length. An export says
//! less: its newest point is normally up to one interval old, so that only a point ahead of its arrival proves anything.
//! For an agent that sends no heartbeats the skew is known only when it is ahead.

use super::State;
use crate::ids::UnixNanos;
use serde::{Deserialize, Serialize};

/// Heartbeats remembered, by which one that is repeated is recognised.
const REMEMBERED: usize = 20;
/// Heartbeats or exports of which the skew is the median.
const MEASURED: usize = 9;
/// Own times are this exact at best; nanoseconds.
const EXACT: i64 = 2 * UnixNanos::SECOND;
/// Heartbeats that arrive within this time of each other were waiting together; nanoseconds.
const TOGETHER: i64 = UnixNanos::SECOND / 10;
/// In a drain own times are at least this many times as far apart as arrivals.
const DRAINS: i64 = 4;
/// Heartbeats of one drain whose places are worked out.
const DRAINED: usize = 64;

/// The time under which a sample is judged: its own, but never after its arrival, so that a clock that is ahead holds up
/// no window, no alert and no later sample.
#[must_use]
pub fn judged_time(own: UnixNanos, received: UnixNanos) -> UnixNanos {
    own.min(received)
}

/// How a heartbeat stands to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeartbeatOrder {
    /// The agent's present state.
    Newest,
    /// One that was taken before.
    Repeated,
    /// Older than what is known.
    Late,
}

/// One heartbeat, as its clock has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// The heartbeat's own time.
    pub time: UnixNanos,
    /// A hash of everything else that it says.
    pub content: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    own: UnixNanos,
    received: UnixNanos,
    content: u64,
    late: bool,
    /// When it was made, in our time: its arrival, unless it came in a drain.
    made: UnixNanos,
}

impl Seen {
    fn offset(&self) -> i64 {
        self.own.since(self.received)
    }
}

/// Heartbeats that waited together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Drain {
    /// What the clock was off before the first of them; `None` when they are the agent's first.
    before: Option<i64>,
    /// Own time, and what it says.
    members: Vec<(UnixNanos, Option<State>)>,
    /// The arrival of the member with the latest own time, and that time.
    anchor: (UnixNanos, UnixNanos),
    /// Whether two of them arrived at once.
    together: bool,
}

/// The clock of one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The last heartbeats, in order of arrival.
    seen: Vec<Seen>,
    /// The newest, by [`Clock::judge`].
    newest: Option<Seen>,
    drain: Drain,
    /// How far the newest points of the last exports were ahead of their arrival; 0 for one that was not.
    exports: Vec<i64>,
}

impl Clock {
    /// How a heartbeat that arrived at `received` stands, of an agent that beats each `interval` nanoseconds. `missing`
    /// says whether no evidence is known around a time, though there should be.
    #[must_use]
    pub fn judge(
        &self,
        own: Own,
        received: UnixNanos,
        interval: i64,
        missing: impl FnOnce(UnixNanos) -> bool,
    ) -> HeartbeatOrder {
        if self.seen.iter().any(|seen| seen.own == own.time && seen.content == own.content) {
            return HeartbeatOrder::Repeated;
        }
        let (Some(newest), Some(last)) = (self.newest, self.seen.last()) else { return HeartbeatOrder::Newest };
        let offset = own.time.since(received);
        if own.time >= newest.own || (newest.offset() > EXACT && offset >= -EXACT) {
            return HeartbeatOrder::Newest;
        }
        let (ran, passed) = (own.time.since(last.own), received.since(last.received).max(0));
        let runs = ran > 0 && ran <= passed.saturating_mul(2);
        let is_due = passed >= interval / 2;
        let claimed = received.plus(offset.saturating_sub(newest.offset()));
        if runs || (is_due && !missing(claimed)) { HeartbeatOrder::Newest } else { HeartbeatOrder::Late }
    }

    /// Whether a heartbeat is more than `bound` nanoseconds ahead of its arrival and the one before was not: that says
    /// nothing yet of the agent's clock, and little of the heartbeat.
    #[must_use]
    pub fn is_ahead_alone(&self, own: UnixNanos, received: UnixNanos, bound: i64) -> bool {
        own.since(received) > bound && self.seen.last().is_none_or(|last| last.offset() <= bound)
    }

    /// Takes a heartbeat that was judged to be `standing`. Whether it belongs to a drain that is proven, so that
    /// [`Clock::drained`] has something to say.
    pub fn take(
        &mut self,
        own: Own,
        received: UnixNanos,
        interval: i64,
        standing: HeartbeatOrder,
        says: Option<State>,
    ) -> bool {
        if standing == HeartbeatOrder::Repeated {
            return false;
        }
        let drains = self.seen.last().is_some_and(|last| {
            let (ran, passed) = (own.time.since(last.own).saturating_abs(), received.since(last.received).max(0));
            passed < interval / 4 && ran >= interval / 2 && ran / DRAINS >= passed
        });
        if drains {
            let passed = self.seen.last().map_or(0, |last| received.since(last.received));
            self.drain.together |= passed <= TOGETHER;
            if self.drain.members.len() == DRAINED {
                // Those stay where they are.
                self.drain.members.clear();
            }
        } else {
            let before = self.newest.map(|newest| newest.offset());
            self.drain = Drain { before, anchor: (received, own.time), ..Drain::default() };
        }
        self.drain.members.push((own.time, says));
        if own.time >= self.drain.anchor.1 {
            self.drain.anchor = (received, own.time);
        }
        let late = standing == HeartbeatOrder::Late;
        let seen = Seen { own: own.time, received, content: own.content, late, made: received };
        if self.seen.len() == REMEMBERED {
            self.seen.remove(0);
        }
        self.seen.push(seen);
        if standing == HeartbeatOrder::Newest {
            self.newest = Some(seen);
        }
        if drains {
            let offset = self.offset();
            let members = self.seen.len().saturating_sub(self.drain.members.len());
            for seen in &mut self.seen[members..] {
                seen.made = seen.own.plus(offset.saturating_neg()).min(seen.received);
            }
        }
        drains && (self.drain.together || self.drain.members.len() > 2)
    }

    /// Whether the last heartbeat belongs to a drain of several, whose places [`Clock::drained`] tells.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.members.len() > 1
    }

    /// How far the clock is ahead while the drain is under way.
    fn offset(&self) -> i64 {
        let (received, own) = self.drain.anchor;
        match self.drain.before {
            // Nothing arrives before it is made: the clock is ahead by no less than this.
            Some(before) if before <= EXACT => before.max(own.since(received)),
            _ => own.since(received),
        }
    }

    /// When the last heartbeats were made, in our time and in order.
    #[must_use]
    pub fn made(&self) -> Vec<UnixNanos> {
        let mut made: Vec<_> = self.seen.iter().map(|seen| seen.made).collect();
        made.sort_unstable();
        made
    }

    /// When the heartbeats of the drain under way were made, in our time, latest first, and what they say; without the
    /// latest of them, which counts from its arrival.
    pub fn drained(&self) -> impl Iterator<Item = (UnixNanos, Option<State>)> + use<> {
        let own = self.drain.anchor.1;
        let offset = self.offset();
        let mut members: Vec<_> = self.drain.members.iter().filter(|(made, _)| *made < own).copied().collect();
        members.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        members.into_iter().map(move |(made, says)| (made.plus(offset.saturating_neg()), says))
    }

    /// The newest point of an export was `ahead` nanoseconds ahead of its arrival; 0 when it was not.
    pub fn exported(&mut self, ahead: i64) {
        if ahead <= 0 && self.exports.is_empty() {
            return;
        }
        if self.exports.len() == MEASURED {
            self.exports.remove(0);
        }
        self.exports.push(ahead.max(0));
        if self.exports.iter().all(|ahead| *ahead == 0) {
            self.exports.clear();
        }
    }

    /// How far the agent's clock is ahead of ours, nanoseconds, negative when it is behind; `None` when nothing tells.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        let measured = self.seen.iter().rev().filter(|seen| !seen.late).take(MEASURED).map(Seen::offset).collect();
        median(measured).or_else(|| median(self.exports.clone()).filter(|ahead| *ahead > 0))
    }

    /// The time under which a heartbeat is judged: its own while that is at most `bound` nanoseconds before its arrival,
    /// else its arrival, because then the clock is off, or the way was long.
    #[must_use]
    pub fn judged_time(own: UnixNanos, received: UnixNanos, bound: i64) -> UnixNanos {
        let judged = judged_time(own, received);
        if received.since(judged) > bound { received } else { judged }
    }
}

/// The lower one of the two in the middle of an even number.
fn median(mut all: Vec<i64>) -> Option<i64> {
    all.sort_unstable();
    all.len().checked_sub(1).map(|last| all[last / 2])
}
