//! From evidence of life to intervals, one agent at a time.
//!
//! The tracker remembers the last beats by their arrival, so that no clock but ours decides what was an outage, and works
//! out the recent part of the timeline from them anew whenever something may have changed. What it hands out
//! are the differences to what it handed out before, so that it can take an outage back: beats that were buffered
//! arrive together and show that a silence was none ([`Clock`]), and so do gaps that turn out to be the interval
//! of an agent that declares none ([`super::rhythm`]). Until such an interval is learned, silence is waited for up to
//! [`Timing::learning`]. What is older than the remembered beats is settled; of that only [`super::planned_over`] changes
//! anything.

mod timeline;

use super::clock::{Clock, HeartbeatOrder, Own};
use super::{Interval, State, rhythm};
use crate::ids::UnixNanos;
use crate::live_agents::Liveness;
use crate::rules::timeout::{TimeoutRules, adaptive_timeout};
use serde::{Deserialize, Serialize};

/// Beats before the first one whose interval may still be revised; they feed its timeout.
const HISTORY: usize = 10;
/// Most beats remembered.
const REMEMBERED: usize = 22;

/// How evidence is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The adaptive timeout's constants.
    pub timeout: TimeoutRules,
    /// The interval of an agent that declares none, until it is learned; nanoseconds.
    pub default_interval: i64,
    /// The shortest interval that is learned; nanoseconds.
    pub least_interval: i64,
    /// Evidence within this time counts as one beat, or within half of a declared interval; nanoseconds.
    pub burst: i64,
    /// How long an agent that declares no interval may be silent before its interval is learned; nanoseconds.
    pub learning: i64,
    /// How long an agent that reported maintenance may be silent before it counts as down; nanoseconds.
    pub planned_silence: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            timeout: TimeoutRules::default(),
            default_interval: 60 * UnixNanos::SECOND,
            least_interval: 5 * UnixNanos::SECOND,
            burst: UnixNanos::SECOND,
            learning: 2 * 3_600 * UnixNanos::SECOND,
            planned_silence: 4 * 3_600 * UnixNanos::SECOND,
        }
    }
}

/// One piece of evidence of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What the agent's clock says, of a heartbeat.
    pub own: Option<Own>,
    /// The declared interval, nanoseconds; `None` when nothing is declared.
    pub interval: Option<i64>,
    /// [`State::Up`], [`State::Unhealthy`] or [`State::Maintenance`]; `None` says nothing, so that the last word holds.
    pub says: Option<State>,
}

impl Beat {
    /// An export: it says that the agent is alive, and nothing else.
    pub const EXPORT: Self = Self { own: None, interval: None, says: None };
}

/// A beat that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// Its arrival; of one that was buffered, when it was made.
    at: UnixNanos,
    /// The latest arrival of evidence that goes with it: the rest of a burst, one that was repeated.
    heard: UnixNanos,
    interval: Option<i64>,
    says: Option<State>,
    /// One of the drain under way, whose place may still move.
    drained: bool,
    /// The adaptive timeout after a heartbeat, by the heartbeats up to then; nanoseconds.
    timeout: Option<i64>,
}

/// The availability of one agent, beat by beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    /// By time, no two at the same.
    beats: Vec<Taken>,
    clock: Clock,
    /// Whether beats before the remembered ones were forgotten.
    trimmed: bool,
    /// What held before the first remembered beat.
    said: State,
    /// The interval declared before the first remembered beat.
    declared: Option<i64>,
    /// The adaptive timeout before the first remembered beat, if heartbeats had made one.
    paced: Option<i64>,
    /// The latest arrival of anything.
    heard: UnixNanos,
    /// Where the settled part ends: the piece that was running then.
    base: Option<(UnixNanos, Option<State>)>,
    /// Maintenance windows.
    windows: Vec<(UnixNanos, UnixNanos)>,
    /// Times at which nobody listened.
    blind: Vec<(UnixNanos, UnixNanos)>,
    /// The unsettled part as last handed out.
    published: Vec<Interval>,
    liveness: Liveness,
    /// Nothing changes by itself before this.
    due: UnixNanos,
}

/// Gaps between beats, in order of time.
struct Gaps {
    all: [i64; rhythm::MOST],
    count: usize,
}

impl std::ops::Deref for Gaps {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.all[..self.count]
    }
}

/// The end of what does not end.
const FOREVER: UnixNanos = UnixNanos(i64::MAX);

impl Tracker {
    /// An agent first heard of at `received`, with its first beat. What changed is added to `changes`.
    #[must_use]
    pub fn new(beat: Beat, received: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) -> Self {
        let mut tracker = Self {
            beats: Vec::with_capacity(1),
            clock: Clock::default(),
            trimmed: false,
            said: State::Up,
            declared: None,
            paced: None,
            heard: received,
            base: None,
            windows: Vec::new(),
            blind: Vec::new(),
            published: Vec::new(),
            liveness: Liveness::OnTime,
            due: FOREVER,
        };
        tracker.beat(beat, received, timing, changes);
        tracker
    }

    /// How a heartbeat that arrives at `received` stands to those before.
    #[must_use]
    pub fn judge(&self, own: Own, received: UnixNanos, interval: i64) -> HeartbeatOrder {
        self.clock.judge(own, received, interval, |time| self.is_missing(time, interval))
    }

    /// Whether a heartbeat is ahead of its arrival, and the first to be so; see [`Clock::is_ahead_alone`].
    #[must_use]
    pub fn is_ahead_alone(&self, own: UnixNanos, received: UnixNanos, bound: i64) -> bool {
        self.clock.is_ahead_alone(own, received, bound)
    }

    /// Takes a beat that arrived at `received`. Intervals that changed are added to `changes`; an empty one
    /// takes back what was said of its start.
    pub fn beat(&mut self, beat: Beat, received: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        let interval = beat.interval.unwrap_or(timing.default_interval);
        let standing = beat.own.map_or(HeartbeatOrder::Newest, |own| self.judge(own, received, interval));
        self.heard = self.heard.max(received);
        let mut quiet = match standing {
            HeartbeatOrder::Newest if self.beats.last().is_none_or(|last| received > last.at) => {
                self.append(beat, received, timing)
            }
            HeartbeatOrder::Newest => self.insert(beat, received),
            HeartbeatOrder::Repeated | HeartbeatOrder::Late => self.contact(received, interval, timing),
        };
        if let Some(own) = beat.own {
            let is_proven = self.clock.take(own, received, interval, standing, beat.says);
            if !self.clock.is_draining() {
                self.beats.iter_mut().for_each(|beat| beat.drained = false);
            }
            if standing != HeartbeatOrder::Repeated {
                self.pace(received, interval, timing);
            }
            if is_proven {
                quiet &= self.place_drained(interval, timing);
            }
        }
        if !quiet {
            self.publish(self.heard, timing, changes);
        }
        // More of a drain may belong before what is there of it.
        if !self.clock.is_draining() {
            self.settle(timing);
        }
        self.refresh(self.heard, timing);
    }

    /// An export's newest point was `ahead` nanoseconds ahead of its arrival; 0 when it was not.
    pub fn exported(&mut self, ahead: i64) {
        self.clock.exported(ahead);
    }

    /// How far the agent's clock is off: see [`Clock::skew`].
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        self.clock.skew()
    }

    /// Whether beats are missing around `time`, of those that are remembered.
    fn is_missing(&self, time: UnixNanos, interval: i64) -> bool {
        let next = self.beats.partition_point(|beat| beat.at <= time);
        let (Some(before), Some(after)) = (next.checked_sub(1).map(|at| self.beats[at]), self.beats.get(next)) else {
            return false;
        };
        time > before.heard && after.at.since(before.heard) > interval.saturating_add(interval / 2)
    }

    /// Adds the newest beat; whether the timeline goes on as it was.
    fn append(&mut self, beat: Beat, received: UnixNanos, timing: &Timing) -> bool {
        let taken = Taken {
            at: received,
            heard: received,
            interval: beat.interval,
            says: beat.says,
            drained: false,
            timeout: None,
        };
        let Some(last) = self.beats.len().checked_sub(1) else {
            self.beats.push(taken);
            return false;
        };
        let known = self.beats[last];
        let is_news = beat.says.is_some_and(|says| says != self.says(last))
            || beat.interval.is_some_and(|interval| self.declared_at(last) != Some(interval));
        let burst = beat.interval.map_or(timing.burst, |interval| timing.burst.min(interval / 2));
        if !is_news && received.since(known.at) < burst {
            self.beats[last].heard = known.heard.max(received);
            return self.open_state() == Some(self.says(last));
        }
        let calm = self.windows.is_empty()
            && self.blind.is_empty()
            && received.since(known.heard) <= self.timeout(last, timing)
            // One gap more may show that an outage was none.
            && (self.declared_at(last).is_some() || self.published.iter().all(|i| i.state != State::Silent));
        self.beats.push(taken);
        calm && self.open_state() == Some(self.says(last + 1))
    }

    /// Adds a beat that the log has behind a later one; whether nothing changed.
    fn insert(&mut self, beat: Beat, received: UnixNanos) -> bool {
        match self.beats.binary_search_by_key(&received, |b| b.at) {
            Ok(at) => {
                let known = &mut self.beats[at];
                let before = *known;
                // Of the same moment, the later word holds.
                known.says = beat.says.or(known.says);
                known.interval = beat.interval.or(known.interval);
                *known == before
            }
            Err(at) if at <= self.first() && self.trimmed => true,
            Err(at) => {
                let (interval, says) = (beat.interval, beat.says);
                self.beats
                    .insert(at, Taken { at: received, heard: received, interval, says, drained: false, timeout: None });
                false
            }
        }
    }

    /// Evidence that the agent is alive now, and of nothing else; whether the timeline goes on as it was. It is a beat when
    /// one was due.
    fn contact(&mut self, received: UnixNanos, interval: i64, timing: &Timing) -> bool {
        let Some(last) = self.beats.len().checked_sub(1) else { return true };
        let known = self.beats[last];
        if received <= known.heard {
            return true;
        }
        let is_in_time = received.since(known.heard) <= self.timeout(last, timing);
        if received.since(known.at) >= interval / 2 || !is_in_time {
            self.beats.push(Taken {
                at: received,
                heard: received,
                interval: None,
                says: None,
                drained: false,
                timeout: None,
            });
        } else {
            self.beats[last].heard = received;
        }
        is_in_time && self.windows.is_empty() && self.blind.is_empty() && self.open_state() == Some(self.says(last))
    }

    /// Works out the adaptive timeout after the heartbeat that arrived at `received`.
    fn pace(&mut self, received: UnixNanos, interval: i64, timing: &Timing) {
        let made = self.clock.made();
        let timeout = adaptive_timeout(&made, interval.max(1), &timing.timeout);
        let next = self.beats.partition_point(|beat| beat.at <= received);
        if let Some(beat) = next.checked_sub(1).and_then(|at| self.beats.get_mut(at)) {
            beat.timeout = Some(timeout);
        }
    }

    /// Puts the heartbeats of the drain under way where they were made, as far as a silence is there that they show to
    /// have been none, or right before what is known; whether nothing changed. They never add a silence.
    fn place_drained(&mut self, interval: i64, timing: &Timing) -> bool {
        let first = self.first();
        let before = self.beats.len();
        let mut at = 0;
        self.beats.retain(|beat| {
            at += 1;
            at <= first || !beat.drained
        });
        let mut quiet = self.beats.len() == before;
        let silences: Vec<_> = (1..self.beats.len())
            .map(|next| (next - 1, self.beats[next - 1].heard, self.beats[next].at))
            .filter(|&(at, heard, next)| next.since(heard) > self.timeout(at, timing))
            .collect();
        // A drain without a silence before it: as far as one heartbeat leads to the next.
        let reach = adaptive_timeout(&[UnixNanos(0), UnixNanos(0)], interval, &timing.timeout);
        for (made, says) in self.clock.drained() {
            let next = self.beats.partition_point(|beat| beat.at < made);
            let fits = match self.beats.get(next) {
                Some(known) if known.at == made => false,
                Some(oldest) if next == 0 => !self.trimmed && oldest.at.since(made) <= reach,
                _ => next > first && silences.iter().any(|&(_, heard, next)| heard < made && made < next),
            };
            if fits {
                let taken =
                    Taken { at: made, heard: made, interval: Some(interval), says, drained: true, timeout: None };
                self.beats.insert(next, taken);
                quiet = false;
            }
        }
        quiet
    }

    /// A maintenance window from `start` to `end`.
    pub fn maintain(
        &mut self,
        start: UnixNanos,
        end: UnixNanos,
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        if end > start && !self.windows.contains(&(start, end)) {
            self.windows.push((start, end));
            self.windows.sort_unstable();
            self.publish(now, timing, changes);
            self.refresh(now, timing);
        }
    }

    /// A maintenance window is taken back: what is left of it after `now` is none any more.
    pub fn cut_short(
        &mut self,
        start: UnixNanos,
        end: UnixNanos,
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        let before = self.windows.len();
        self.windows.retain(|window| *window != (start, end));
        if self.windows.len() == before {
            return;
        }
        if start < now {
            self.windows.push((start, end.min(now)));
            self.windows.sort_unstable();
        }
        self.publish(now, timing, changes);
        self.refresh(now, timing);
    }

    /// Nobody listened from `from` to `until`: silence then proves nothing.
    pub fn was_blind(&mut self, from: UnixNanos, until: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        if until > from {
            self.blind.push((from, until));
            self.blind.sort_unstable();
            self.publish(until, timing, changes);
            self.refresh(until, timing);
        }
    }

    /// Whether a call of [`Tracker::tick`] could change anything.
    #[must_use]
    pub fn is_due(&self, now: UnixNanos) -> bool {
        now > self.due
    }

    /// Time has come to `now`. Returns the liveness if it changed.
    pub fn tick(&mut self, now: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) -> Option<Liveness> {
        if !self.is_due(now) {
            return None;
        }
        let before = self.liveness;
        self.publish(now, timing, changes);
        self.refresh(now, timing);
        (self.liveness != before).then_some(self.liveness)
    }

    /// Whether the agent is heard of, as of the last call.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.liveness
    }

    /// The last evidence of life: its arrival.
    #[must_use]
    pub fn last_contact(&self) -> UnixNanos {
        self.heard
    }

    /// The interval at which evidence is expected now, nanoseconds.
    #[must_use]
    pub fn interval(&self, timing: &Timing) -> i64 {
        self.beats.len().checked_sub(1).map_or(timing.default_interval, |last| self.interval_at(last, timing))
    }

    /// The adaptive timeout now, nanoseconds.
    #[must_use]
    pub fn adaptive_timeout(&self, timing: &Timing) -> i64 {
        match self.beats.len().checked_sub(1) {
            Some(last) => self.timeout(last, timing),
            None => adaptive_timeout(&[], timing.default_interval, &timing.timeout),
        }
    }

    /// From when on the timeline may still change by itself; everything before is settled.
    #[must_use]
    pub fn unsettled_from(&self) -> UnixNanos {
        match self.base {
            Some((start, _)) => start,
            None => self.beats.first().map_or(self.heard, |beat| beat.at),
        }
    }

    /// The interval that lasts; `None` while the present is unknown.
    #[must_use]
    pub fn running(&self) -> Option<Interval> {
        self.published.last().filter(|last| last.end.is_none()).copied()
    }

    fn open_state(&self) -> Option<State> {
        self.running().map(|running| running.state)
    }

    /// The first beat whose interval may still be revised.
    fn first(&self) -> usize {
        if self.trimmed { HISTORY } else { 0 }
    }

    /// What holds after the beat `at`: the last word.
    fn says(&self, at: usize) -> State {
        self.beats[..=at].iter().rev().find_map(|beat| beat.says).unwrap_or(self.said)
    }

    /// The interval declared last up to the beat `at`.
    fn declared_at(&self, at: usize) -> Option<i64> {
        self.beats[..=at].iter().rev().find_map(|beat| beat.interval).or(self.declared)
    }

    fn interval_at(&self, at: usize, timing: &Timing) -> i64 {
        let declared = self.declared_at(at);
        let learned = || {
            let gaps = self.gaps(at);
            // Until one is learned, the longest gap so far is the best guess.
            rhythm::interval(&gaps).or_else(|| gaps.iter().copied().max()).map(|gap| gap.max(timing.least_interval))
        };
        declared.or_else(learned).unwrap_or(timing.default_interval).max(1)
    }

    /// The remembered gaps up to the beat `at`.
    fn gaps(&self, at: usize) -> Gaps {
        let mut gaps = Gaps { all: [0; rhythm::MOST], count: 0 };
        let from = at.saturating_sub(rhythm::MOST);
        for pair in self.beats[from..=at].windows(2) {
            gaps.all[gaps.count] = pair[1].at.since(pair[0].at);
            gaps.count += 1;
        }
        gaps
    }

    /// Whether the interval of the beat `at` is still to be learned.
    fn is_learning(&self, at: usize) -> bool {
        self.declared_at(at).is_none() && rhythm::interval(&self.gaps(at)).is_none()
    }

    /// The adaptive timeout after the beat `at`.
    fn timeout(&self, at: usize, timing: &Timing) -> i64 {
        let from = (at + 1).saturating_sub(timing.timeout.beats.max(2));
        let mut times = [UnixNanos(0); REMEMBERED + 1];
        let recent = &self.beats[from..=at];
        for (time, beat) in times.iter_mut().zip(recent) {
            *time = beat.at;
        }
        let adaptive = |interval| adaptive_timeout(&times[..recent.len().min(times.len())], interval, &timing.timeout);
        if let Some(interval) = self.declared_at(at) {
            let paced = self.beats[..=at].iter().rev().find_map(|beat| beat.timeout).or(self.paced);
            return paced.unwrap_or_else(|| adaptive(interval.max(1)));
        }
        let gaps = self.gaps(at);
        match rhythm::interval(&gaps) {
            Some(interval) => {
                adaptive(interval.max(timing.least_interval)).max(rhythm::doubt(&gaps).min(timing.learning))
            }
            None => timing.learning.max(adaptive_timeout(&[], timing.default_interval, &timing.timeout)),
        }
    }

    /// Works out the liveness at `now`, and when it can next change by itself.
    fn refresh(&mut self, now: UnixNanos, timing: &Timing) {
        let Some(last) = self.beats.len().checked_sub(1) else { return };
        let contact = self.last_contact();
        // Nothing is overdue of which nobody knows when it is due.
        let due = if self.is_learning(last) { self.timeout(last, timing) } else { self.interval_at(last, timing) };
        let late = contact.plus(due);
        let state = self.open_state();
        self.liveness = match state {
            Some(State::Maintenance) => Liveness::Maintenance,
            Some(State::Silent) => Liveness::Offline,
            _ if now > late => Liveness::Late,
            _ => Liveness::OnTime,
        };
        let mut due = FOREVER;
        if self.liveness == Liveness::OnTime {
            due = late;
        } else if state != Some(State::Silent) {
            let heard = self.blind.iter().map(|&(_, until)| until).max().map_or(contact, |until| until.max(contact));
            due = heard.plus(self.timeout(last, timing));
            if self.says(last) == State::Maintenance {
                due = due.max(contact.plus(timing.planned_silence));
            }
        }
        for &(start, end) in &self.windows {
            for edge in [start, end] {
                if edge > now {
                    due = due.min(edge.plus(-1));
                }
            }
        }
        self.due = due;
    }
}
