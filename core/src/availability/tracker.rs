//! From evidence of life to intervals, one agent at a time.
//!
//! The tracker remembers the last beats in order of their own time, whatever order they arrived in, and works
//! out the recent part of the timeline from them anew whenever something may have changed. What it hands out
//! are the differences to what it handed out before: a beat that arrives late takes back an outage that was
//! none. What is older than the remembered beats is settled and never changes.

use super::{Interval, State};
use crate::board::Liveness;
use crate::ids::UnixNanos;
use crate::rules::timeout::{TimeoutRules, adaptive_timeout};
use serde::{Deserialize, Serialize};

/// Beats before the first one whose interval may still be revised; they feed its timeout.
const HISTORY: usize = 10;
/// Most beats remembered.
const REMEMBERED: usize = 22;
/// Fewest gaps from which an interval is learned.
const LEARN_FROM: usize = 3;

/// How evidence is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The adaptive timeout's constants.
    pub timeout: TimeoutRules,
    /// The interval of an agent that declares none, until it is learned; nanoseconds.
    pub default_interval: i64,
    /// The shortest interval that is learned; nanoseconds.
    pub least_interval: i64,
    /// Evidence of an agent that declares no interval counts as one beat within this time; nanoseconds.
    pub burst: i64,
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
            planned_silence: 4 * 3_600 * UnixNanos::SECOND,
        }
    }
}

/// One piece of evidence of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The evidence's own time; never after its arrival.
    pub at: UnixNanos,
    /// The declared interval, nanoseconds; `None` when nothing is declared.
    pub interval: Option<i64>,
    /// [`State::Up`], [`State::Unhealthy`] or [`State::Maintenance`]; `None` says nothing, so that the last word holds.
    pub says: Option<State>,
}

/// The availability of one agent, beat by beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    /// By time, no two at the same.
    beats: Vec<Beat>,
    /// Whether beats before the remembered ones were forgotten.
    trimmed: bool,
    /// What held before the first remembered beat.
    said: State,
    /// The interval declared before the first remembered beat.
    declared: Option<i64>,
    /// The latest arrival of anything: an agent whose clock is slow is alive all the same.
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

/// A part of the timeline; `None` is unknown.
#[derive(Clone, Copy)]
struct Piece {
    start: UnixNanos,
    end: UnixNanos,
    state: Option<State>,
}

const FOREVER: UnixNanos = UnixNanos(i64::MAX);

impl Tracker {
    /// An agent first heard of at `received`, with its first beat. What changed is added to `changes`.
    #[must_use]
    pub fn new(beat: Beat, received: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) -> Self {
        let mut tracker = Self {
            beats: Vec::with_capacity(1),
            trimmed: false,
            said: State::Up,
            declared: None,
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

    /// Takes a beat that arrived at `received`. Intervals that changed are added to `changes`; an empty one
    /// takes back what was said of its start.
    pub fn beat(&mut self, beat: Beat, received: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        let beat = Beat { at: beat.at.min(received), ..beat };
        self.heard = self.heard.max(received);
        let in_order = self.beats.last().is_none_or(|last| beat.at > last.at);
        let quiet = if in_order { self.append(beat, timing) } else { self.insert(beat) };
        if !quiet {
            self.publish(self.heard, timing, changes);
        }
        self.settle(timing);
        self.refresh(self.heard, timing);
    }

    /// Adds the newest beat; whether the timeline goes on as it was.
    fn append(&mut self, beat: Beat, timing: &Timing) -> bool {
        let Some(last) = self.beats.len().checked_sub(1) else {
            self.beats.push(beat);
            return false;
        };
        let gap = beat.at.since(self.beats[last].at);
        if beat.interval.is_none() && beat.says.is_none() && gap < timing.burst {
            // Same burst: only `heard` moved.
            return self.open_state() == Some(self.says(last));
        }
        let calm = self.windows.is_empty() && self.blind.is_empty() && gap <= self.timeout(last, timing);
        self.beats.push(beat);
        calm && self.open_state() == Some(self.says(last + 1))
    }

    /// Adds a beat among the others; whether nothing changed.
    fn insert(&mut self, beat: Beat) -> bool {
        match self.beats.binary_search_by_key(&beat.at, |b| b.at) {
            Ok(at) => {
                let known = &mut self.beats[at];
                if known.says.is_some() || beat.says.is_none() {
                    return true;
                }
                known.says = beat.says;
                known.interval = known.interval.or(beat.interval);
                false
            }
            Err(at) if at <= self.first() && self.trimmed => true,
            Err(at) => {
                self.beats.insert(at, beat);
                false
            }
        }
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
        self.beats.last().map_or(self.heard, |beat| beat.at.max(self.heard))
    }

    /// The newest beat's own time.
    #[must_use]
    pub fn last_beat(&self) -> UnixNanos {
        self.beats.last().map_or(self.heard, |beat| beat.at)
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

    fn interval_at(&self, at: usize, timing: &Timing) -> i64 {
        let declared = self.beats[..=at].iter().rev().find_map(|beat| beat.interval).or(self.declared);
        declared.unwrap_or_else(|| self.learned(at, timing)).max(1)
    }

    /// The mean of the last gaps without the longest, which may have been an outage.
    fn learned(&self, at: usize, timing: &Timing) -> i64 {
        let from = (at + 1).saturating_sub(timing.timeout.beats.max(2));
        let recent = &self.beats[from..=at];
        let gaps = recent.len() - 1;
        if gaps < LEARN_FROM {
            return timing.default_interval;
        }
        let longest = recent.windows(2).map(|pair| pair[1].at.since(pair[0].at)).max().unwrap_or(0);
        let others = recent[gaps].at.since(recent[0].at).saturating_sub(longest);
        (others / i64::try_from(gaps - 1).unwrap_or(1).max(1)).max(timing.least_interval)
    }

    /// The adaptive timeout after the beat `at`.
    fn timeout(&self, at: usize, timing: &Timing) -> i64 {
        let from = (at + 1).saturating_sub(timing.timeout.beats.max(2));
        let mut times = [UnixNanos(0); REMEMBERED + 1];
        let recent = &self.beats[from..=at];
        for (time, beat) in times.iter_mut().zip(recent) {
            *time = beat.at;
        }
        adaptive_timeout(&times[..recent.len()], self.interval_at(at, timing), &timing.timeout)
    }

    /// Whether there is, after `contact`, a stretch longer than `timeout` in which someone listened in vain.
    fn in_vain(&self, contact: UnixNanos, end: UnixNanos, timeout: i64) -> bool {
        let mut from = contact;
        for &(blind, until) in &self.blind {
            if until <= contact || blind >= end {
                continue;
            }
            if blind.since(from) > timeout {
                return true;
            }
            from = from.max(until);
        }
        end.since(from) > timeout
    }

    /// The pieces between the beat `at` and the next one, or `now`.
    fn segment(&self, at: usize, now: UnixNanos, timing: &Timing, out: &mut Vec<Piece>) {
        let start = self.beats[at].at;
        let next = self.beats.get(at + 1).map(|beat| beat.at);
        // After the last beat the arrival counts: its own time may be off.
        let contact = if next.is_none() { self.last_contact() } else { start };
        let end = next.unwrap_or(now);
        let says = self.says(at);
        let from = out.len();
        out.push(Piece { start, end: next.unwrap_or(FOREVER), state: Some(says) });
        let timeout = self.timeout(at, timing);
        if end.since(contact) <= timeout {
            return;
        }
        if self.in_vain(contact, end, timeout) {
            let planned = if says == State::Maintenance { timing.planned_silence } else { 0 };
            let missed = contact.plus(self.interval_at(at, timing).max(planned));
            if missed <= end {
                overlay(out, from, missed, next.unwrap_or(FOREVER), Some(State::Silent));
            }
        }
        for &(blind, until) in &self.blind {
            overlay(out, from, blind.max(contact), until.min(end), None);
        }
    }

    /// The unsettled part of the timeline up to the beat `last`, maintenance windows laid over it.
    fn pieces(&self, last: usize, now: UnixNanos, timing: &Timing) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let first = self.first();
        if let (Some((start, state)), Some(beat)) = (self.base, self.beats.get(first)) {
            pieces.push(Piece { start, end: beat.at, state });
        }
        for at in first..=last {
            self.segment(at, now, timing, &mut pieces);
        }
        for &(start, end) in &self.windows {
            if start <= now {
                overlay(&mut pieces, 0, start, if end > now { FOREVER } else { end }, Some(State::Maintenance));
            }
        }
        pieces
    }

    /// Works out the unsettled part and adds the differences to `changes`.
    fn publish(&mut self, now: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        let Some(last) = self.beats.len().checked_sub(1) else { return };
        let fresh = intervals(&self.pieces(last, now, timing));
        for old in &self.published {
            if !fresh.iter().any(|new| new.start == old.start) {
                changes.push(Interval { end: Some(old.start), ..*old });
            }
        }
        changes.extend(fresh.iter().filter(|new| !self.published.contains(new)));
        self.published = fresh;
    }

    /// Forgets the oldest beats beyond what is remembered.
    fn settle(&mut self, timing: &Timing) {
        while self.beats.len() > REMEMBERED {
            let boundary = self.beats[HISTORY + 1].at;
            let pieces = self.pieces(HISTORY, boundary, timing);
            // Only what runs up to the boundary can go on; everything before has been handed out.
            let state = pieces.iter().rev().find(|p| p.start < boundary).map(|p| p.state);
            if let Some(state) = state {
                let run = pieces.iter().rev().skip_while(|p| p.start >= boundary).take_while(|p| p.state == state);
                self.base = run.last().map(|p| (p.start, state));
            }
            if let Some((start, _)) = self.base {
                self.published.retain(|i| i.end.is_none_or(|end| end > start));
            }
            let oldest = self.beats.remove(0);
            self.said = oldest.says.unwrap_or(self.said);
            self.declared = oldest.interval.or(self.declared);
            self.trimmed = true;
            self.windows.retain(|&(_, end)| end > boundary);
            self.blind.retain(|&(_, until)| until > boundary);
        }
    }

    /// Works out the liveness at `now`, and when it can next change by itself.
    fn refresh(&mut self, now: UnixNanos, timing: &Timing) {
        let Some(last) = self.beats.len().checked_sub(1) else { return };
        let contact = self.last_contact();
        let interval = self.interval_at(last, timing);
        let late = contact.plus(interval);
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

/// Replaces what `pieces[from..]` say of `start..end`, as far as they say anything.
fn overlay(pieces: &mut Vec<Piece>, from: usize, start: UnixNanos, end: UnixNanos, state: Option<State>) {
    if end <= start {
        return;
    }
    let tail = pieces.split_off(from);
    for piece in tail {
        let (cut, rest) = (start.max(piece.start), end.min(piece.end));
        if cut >= rest {
            pieces.push(piece);
            continue;
        }
        if piece.start < cut {
            pieces.push(Piece { end: cut, ..piece });
        }
        pieces.push(Piece { start: cut, end: rest, state });
        if rest < piece.end {
            pieces.push(Piece { start: rest, ..piece });
        }
    }
}

/// Joins neighbours of one state and leaves out what is unknown or empty.
fn intervals(pieces: &[Piece]) -> Vec<Interval> {
    let mut out: Vec<Interval> = Vec::new();
    for piece in pieces.iter().filter(|p| p.end > p.start) {
        let Some(state) = piece.state else { continue };
        let end = (piece.end != FOREVER).then_some(piece.end);
        match out.last_mut() {
            Some(last) if last.state == state && last.end == Some(piece.start) => last.end = end,
            _ => out.push(Interval { start: piece.start, end, state }),
        }
    }
    out
}
