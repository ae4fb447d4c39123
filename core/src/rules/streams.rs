//! How the points of one stream follow one another: what a value adds to a counter whose resets are made good, and
//! which increments of a delta stream have been counted (OpenTelemetry metrics data model, "Resets and Gaps",
//! "Overlap", "Cumulative Streams: handling unknown start time").
//!
//! All times are nanoseconds since the Unix epoch. A start of 0 is unknown, and so is one after its point.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

/// No start time.
pub const UNKNOWN: i64 = 0;

/// What senders round start times by: a gap of up to this is none.
const ROUNDING: i64 = 1_000_000;

/// How far the start times of one start lie apart: a boot time that is computed from the uptime jitters by a second.
const JITTER: i64 = 2_000_000_000;

/// How much a true restart may seem to lie before the last point, because clocks and start times are rounded.
const IMPRECISE: i64 = 5_000_000_000;

/// Most gaps that are remembered of a stream, and most times of points that were ahead.
const MOST: usize = 16;

/// A cumulative counter with its resets made good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counter {
    /// The last value as it was sent; NaN before the first.
    pub raw: f64,
    /// The start time of that value.
    pub start: i64,
    /// What was counted before its last reset.
    pub offset: f64,
}

impl Counter {
    /// Before the first value.
    pub const NEW: Self = Self { raw: f64::NAN, start: UNKNOWN, offset: 0.0 };

    /// Takes the `value` of `time`, counted since `start`; `last` is the time of the value before. Returns the total with
    /// all resets made good, which never falls. NaN for what is no count (negative, infinite, NaN) and changes nothing.
    ///
    /// A start at or after `last` is a reset, whatever the value. A start that moved to within [`IMPRECISE`] before
    /// `last` is one if the value fell. Any other start in time that was counted is the same start (corrected, jittering,
    /// moved by a suspend): the sender corrected its value, and nothing was counted meanwhile. Where a start is unknown,
    /// a value that fell was reset.
    #[inline]
    pub fn step(&mut self, last: i64, start: i64, time: i64, value: f64) -> f64 {
        if !value.is_finite() || value < 0.0 {
            return f64::NAN;
        }
        let start = known(start, time);
        if self.raw.is_nan() {
            *self = Self { raw: value, start, offset: 0.0 };
            return value;
        }
        if start != self.start || value < self.raw {
            self.correct(last, start, time, value);
        }
        self.raw = value;
        value + self.offset
    }

    fn correct(&mut self, last: i64, start: i64, time: i64, value: f64) {
        let total = self.raw + self.offset;
        // A start at the point's own time only says that the true one is not known.
        let tells = start != UNKNOWN && start < time;
        let before = std::mem::replace(&mut self.start, start);
        let is_reset = if start != before && tells && start >= last {
            true
        } else if start == UNKNOWN || before == UNKNOWN {
            value < self.raw
        } else {
            value < self.raw && start.saturating_sub(before) > JITTER && start >= last.saturating_sub(IMPRECISE)
        };
        if is_reset {
            self.offset = total;
        } else if value < self.raw {
            self.offset = total - value;
            // Rounding must not make it fall: that would be a reset to whoever reads it.
            for _ in 0..4 {
                if value + self.offset >= total {
                    break;
                }
                self.offset += total.next_up() - total;
            }
        }
    }
}

#[inline]
fn known(start: i64, time: i64) -> i64 {
    if start > UNKNOWN && start <= time { start } else { UNKNOWN }
}

/// The time of a delta stream that has been counted: (`begin`, `last`] but for its gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Where the first point began; `i64::MIN` when it did not say.
    pub begin: i64,
    /// The latest point; `i64::MIN` before the first.
    pub last: i64,
}

impl Counted {
    /// Nothing.
    pub const NOTHING: Self = Self { begin: i64::MIN, last: i64::MIN };
}

/// What an increment is to what has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increment {
    /// The newest of its stream.
    Next,
    /// Late, and of a time that was not counted: it is to be added.
    Late,
    /// Of a time that was counted already.
    Again,
    /// Late, and it cannot be known whether it was counted.
    Untold,
}

/// The time between points that was not counted, of all streams that have such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(HashMap<u64, Known>);

/// The gaps of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// (from, to], oldest first.
    between: Vec<(i64, i64)>,
    /// Up to here gaps were forgotten.
    forgotten: i64,
}

impl Gaps {
    /// What the increment of (`start`, `time`] is, and that it is counted from now on.
    #[inline]
    pub fn take(&mut self, stream: u64, counted: &mut Counted, start: i64, time: i64) -> Increment {
        let start = known(start, time);
        if time <= counted.last {
            return self.late(stream, counted, start, time);
        }
        // A point without duration is an instant.
        let from = start.min(time - 1);
        if counted.last == i64::MIN {
            counted.begin = if start == UNKNOWN { i64::MIN } else { from };
        } else if start != UNKNOWN && from != counted.last {
            self.jumped(stream, counted.last, from);
        }
        counted.last = time;
        Increment::Next
    }

    fn jumped(&mut self, stream: u64, last: i64, from: i64) {
        if from > last {
            self.open(stream, last, from);
        } else if let Some(known) = self.0.get_mut(&stream) {
            // It covers what was missing.
            known.between.iter_mut().for_each(|gap| gap.1 = gap.1.min(from));
            known.between.retain(|gap| gap.0 < gap.1);
        }
    }

    fn open(&mut self, stream: u64, from: i64, to: i64) {
        if to.saturating_sub(from) <= ROUNDING {
            return;
        }
        let known = self.0.entry(stream).or_insert_with(|| Known { between: Vec::new(), forgotten: i64::MIN });
        let at = known.between.partition_point(|gap| gap.0 < from);
        known.between.insert(at, (from, to));
        if known.between.len() > MOST {
            known.forgotten = known.forgotten.max(known.between.remove(0).1);
        }
    }

    #[cold]
    fn late(&mut self, stream: u64, counted: &mut Counted, start: i64, time: i64) -> Increment {
        if time == counted.last {
            return Increment::Again;
        }
        if start == UNKNOWN {
            return Increment::Untold;
        }
        let from = start.min(time - 1);
        if time <= counted.begin {
            self.open(stream, time, counted.begin);
            counted.begin = from;
            return Increment::Late;
        }
        let Some(known) = self.0.get_mut(&stream) else { return Increment::Again };
        let within = |gap: &(i64, i64)| time > gap.0 && time <= gap.1 && from >= gap.0 - ROUNDING;
        let Some(at) = known.between.iter().position(within) else {
            let partly = known.between.iter().any(|gap| from < gap.1 && time > gap.0);
            return if partly || time <= known.forgotten { Increment::Untold } else { Increment::Again };
        };
        let gap = known.between.remove(at);
        self.open(stream, gap.0, from);
        self.open(stream, time, gap.1);
        if self.0.get(&stream).is_some_and(|known| known.between.is_empty() && known.forgotten == i64::MIN) {
            self.0.remove(&stream);
        }
        Increment::Late
    }

    /// All streams that have gaps, by their numbers.
    #[must_use]
    pub fn save(&self) -> Vec<(u64, Known)> {
        saved(&self.0)
    }

    /// Puts back what [`Gaps::save`] gave, and forgets everything else.
    pub fn restore(&mut self, saved: impl IntoIterator<Item = (u64, Known)>) {
        self.0 = saved.into_iter().collect();
    }
}

/// Points that came ahead of their time, so that none is taken again when it is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead(HashMap<u64, Vec<i64>>);

impl Ahead {
    /// Takes a point that is ahead.
    pub fn take(&mut self, stream: u64, time: i64) -> Increment {
        let times = self.0.entry(stream).or_default();
        match times.binary_search(&time) {
            Ok(_) => Increment::Again,
            Err(0) if times.len() >= MOST => Increment::Untold,
            Err(at) => {
                times.insert(at, time);
                if times.len() > MOST {
                    times.remove(0);
                }
                Increment::Next
            }
        }
    }

    /// Whether a point that is not ahead (any more) was taken when it was. Forgets a stream whose time has come.
    #[inline]
    pub fn had(&mut self, stream: u64, time: i64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(times) = self.0.get(&stream) else { return false };
        if times.last().is_none_or(|&last| last < time) {
            self.0.remove(&stream);
            return false;
        }
        times.contains(&time)
    }

    /// All streams that have some, by their numbers.
    #[must_use]
    pub fn save(&self) -> Vec<(u64, Vec<i64>)> {
        saved(&self.0)
    }

    /// Puts back what [`Ahead::save`] gave, and forgets everything else.
    pub fn restore(&mut self, saved: impl IntoIterator<Item = (u64, Vec<i64>)>) {
        self.0 = saved.into_iter().collect();
    }
}

fn saved<T: Clone>(map: &HashMap<u64, T>) -> Vec<(u64, T)> {
    let mut all: Vec<_> = map.iter().map(|(&stream, of)| (stream, of.clone())).collect();
    all.sort_unstable_by_key(|(stream, _)| *stream);
    all
}

#[cfg(test)]
mod tests;
