//! From evidence of life to sessions and outages.

use crate::ids::UnixNanos;
use crate::rules::percent::percent;
use serde::{Deserialize, Serialize};

mod clock;
mod rhythm;
#[cfg(test)]
mod tests;
mod tracker;

pub use clock::{Clock, HeartbeatOrder, Own, judged_time};
pub use tracker::{Beat, Timing, Tracker};

/// What an agent was during an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Alive and not critical.
    Up,
    /// Silent past its adaptive timeout, dated from the first missed beat.
    Silent,
    /// Alive, with a health that was critical.
    Unhealthy,
    /// Planned; neither up nor down.
    Maintenance,
}

impl State {
    /// `up`, `silent`, `unhealthy` or `maintenance`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Unhealthy => "unhealthy",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether it counts as downtime.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Silent | Self::Unhealthy)
    }
}

/// A stretch of time in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Inclusive.
    pub start: UnixNanos,
    /// Exclusive; `None` while it lasts.
    pub end: Option<UnixNanos>,
    /// The state.
    pub state: State,
}

impl Interval {
    /// The part within `start..end` in nanoseconds; an open interval lasts until `end`.
    #[must_use]
    pub fn overlap(&self, start: UnixNanos, end: UnixNanos) -> i64 {
        let from = self.start.max(start);
        let to = self.end.unwrap_or(end).min(end);
        to.since(from).max(0)
    }
}

/// Nanoseconds spent in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Up.
    pub up: i64,
    /// Down, silent or unhealthy.
    pub down: i64,
    /// In maintenance: neither up nor down.
    pub maintenance: i64,
}

impl Tally {
    /// Adds up what `intervals` say of `start..end`. Open intervals last until `end`, so `end` must not lie in
    /// the future.
    #[must_use]
    pub fn of(intervals: &[Interval], start: UnixNanos, end: UnixNanos) -> Self {
        let mut tally = Self::default();
        for interval in intervals {
            let part = interval.overlap(start, end);
            match interval.state {
                State::Up => tally.up += part,
                State::Silent | State::Unhealthy => tally.down += part,
                State::Maintenance => tally.maintenance += part,
            }
        }
        tally
    }

    /// The denominator of availability: up and down.
    #[must_use]
    pub fn counted(&self) -> i64 {
        self.up + self.down
    }

    /// All that is known: up, down and maintenance.
    #[must_use]
    pub fn known(&self) -> i64 {
        self.up + self.down + self.maintenance
    }

    /// Percent of the counted time that was up, 0..=100; `None` when nothing is known.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn percent(&self) -> Option<f64> {
        percent(self.up as f64, self.counted() as f64)
    }
}

/// A run of downtime, whatever its causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Its true start, which may lie before the window.
    pub start: UnixNanos,
    /// Its end; `None` while it lasts.
    pub end: Option<UnixNanos>,
    /// What it began with: [`State::Silent`] or [`State::Unhealthy`].
    pub cause: State,
}

/// How availability moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// The second half of the window is better.
    Improving,
    /// The halves differ by less than [`STABLE_WITHIN`].
    Stable,
    /// The second half is worse.
    Declining,
}

impl Trend {
    /// `improving`, `stable` or `declining`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Improving => "improving",
            Self::Stable => "stable",
            Self::Declining => "declining",
        }
    }
}

/// Halves of a window that differ by less than this many percentage points count as the same.
pub const STABLE_WITHIN: f64 = 0.1;

/// One day (UTC) of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Its midnight.
    pub date: UnixNanos,
    /// The part of it that lies in the window.
    pub tally: Tally,
}

/// What a window says of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AvailabilitySummary {
    /// The window's start.
    pub start: UnixNanos,
    /// The window's end, never after now.
    pub end: UnixNanos,
    /// Time in each state.
    pub tally: Tally,
    /// Sessions of being up that touch the window, oldest first, with their true starts and ends.
    pub sessions: Vec<Interval>,
    /// Down and maintenance intervals that touch the window, oldest first, with their true starts and ends.
    pub downtime: Vec<Interval>,
    /// Outages that touch the window, oldest first.
    pub outages: Vec<Outage>,
    /// Mean length of the closed outages, seconds; `None` when there was none.
    pub mttr: Option<f64>,
    /// Up time by number of outages, seconds; `None` when there was none.
    pub mtbf: Option<f64>,
    /// `None` when one half knows nothing.
    pub trend: Option<Trend>,
    /// Day by day (UTC), oldest first.
    pub days: Vec<Day>,
    /// Share of the window that is known, 0..=1.
    pub confidence: f64,
}

const DAY: i64 = 86_400 * UnixNanos::SECOND;

/// Sorts by start, drops what is empty, and joins neighbours of one state.
#[must_use]
pub fn merged(intervals: &[Interval]) -> Vec<Interval> {
    let mut sorted: Vec<Interval> =
        intervals.iter().filter(|i| i.end.is_none_or(|end| end > i.start)).copied().collect();
    sorted.sort_by_key(|i| i.start);
    let mut out: Vec<Interval> = Vec::with_capacity(sorted.len());
    for next in sorted {
        match out.last_mut() {
            Some(last) if last.state == next.state && last.end == Some(next.start) => last.end = next.end,
            _ => out.push(next),
        }
    }
    out
}

/// What changes when `start..end` becomes maintenance after the fact: intervals that replace what has the same start. What
/// is unknown stays so.
#[must_use]
pub fn planned_over(intervals: &[Interval], start: UnixNanos, end: UnixNanos) -> Vec<Interval> {
    let mut changes = Vec::new();
    for known in intervals.iter().filter(|i| i.state != State::Maintenance && i.end.is_none_or(|to| to > i.start)) {
        let from = known.start.max(start);
        let to = known.end.map_or(end, |known_end| known_end.min(end));
        if from >= to {
            continue;
        }
        if known.start < from {
            changes.push(Interval { end: Some(from), ..*known });
        }
        changes.push(Interval { start: from, end: Some(to), state: State::Maintenance });
        if known.end.is_none_or(|known_end| to < known_end) {
            changes.push(Interval { start: to, ..*known });
        }
    }
    changes
}

/// What `intervals` (in any order, empty ones allowed) say of the window `start..end`; nothing after `now` counts.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn summary(intervals: &[Interval], start: UnixNanos, end: UnixNanos, now: UnixNanos) -> AvailabilitySummary {
    let end = end.min(now).max(start);
    let touching: Vec<Interval> = merged(intervals).into_iter().filter(|i| i.overlap(start, end) > 0).collect();
    let tally = Tally::of(&touching, start, end);
    let outages = outages(&touching);
    let closed: Vec<f64> =
        outages.iter().filter_map(|o| Some(o.end?.since(o.start) as f64 / UnixNanos::SECOND as f64)).collect();
    let window = end.since(start);
    AvailabilitySummary {
        start,
        end,
        tally,
        mttr: (!closed.is_empty()).then(|| closed.iter().sum::<f64>() / closed.len() as f64),
        mtbf: (!outages.is_empty()).then(|| tally.up as f64 / UnixNanos::SECOND as f64 / outages.len() as f64),
        trend: trend(&touching, start, end),
        days: days(&touching, start, end),
        confidence: if window > 0 { (tally.known() as f64 / window as f64).clamp(0.0, 1.0) } else { 0.0 },
        sessions: touching.iter().filter(|i| i.state == State::Up).copied().collect(),
        downtime: touching.iter().filter(|i| i.state != State::Up).copied().collect(),
        outages,
    }
}

/// Runs of downtime without a gap between them.
fn outages(intervals: &[Interval]) -> Vec<Outage> {
    let mut out: Vec<Outage> = Vec::new();
    for interval in intervals.iter().filter(|i| i.state.is_down()) {
        match out.last_mut() {
            Some(last) if last.end == Some(interval.start) => last.end = interval.end,
            _ => out.push(Outage { start: interval.start, end: interval.end, cause: interval.state }),
        }
    }
    out
}

fn trend(intervals: &[Interval], start: UnixNanos, end: UnixNanos) -> Option<Trend> {
    let middle = start.plus(end.since(start) / 2);
    // An interval that is open lasts past the middle, so the first half must see it cut there.
    let before = Tally::of(intervals, start, middle).percent()?;
    let after = Tally::of(intervals, middle, end).percent()?;
    Some(if (after - before).abs() < STABLE_WITHIN {
        Trend::Stable
    } else if after > before {
        Trend::Improving
    } else {
        Trend::Declining
    })
}

fn days(intervals: &[Interval], start: UnixNanos, end: UnixNanos) -> Vec<Day> {
    let mut out = Vec::new();
    let mut date = UnixNanos(start.0.div_euclid(DAY) * DAY);
    while date < end {
        let next = date.plus(DAY);
        out.push(Day { date, tally: Tally::of(intervals, date.max(start), next.min(end)) });
        if next <= date {
            break;
        }
        date = next;
    }
    out
}
