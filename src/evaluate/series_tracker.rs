//! Which rows are new: what a series has shown so far, and the running totals of delta series and counters.
//!
//! A row is judged when its time is past everything of its series so far, in order of arrival; the rows of one record
//! count as if they had come in order of time. So what is judged does not hang on how records were put together into
//! batches, and a replay judges the same rows.

use super::agent_gauges::Gauges;
use super::histograms::{BucketRow, Histograms, SavedHistogram};
use super::sort;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::measurement_role;
use vitals_core::registry::Registry;
use vitals_core::rules::streams::{Ahead, Counted, Counter, Gaps, Increment, Known};
use vitals_core::series::{Origin, SeriesDesc, Shape};

/// No vital, or none yet.
pub(super) const NO_GAUGE: u32 = u32::MAX;

/// Nothing derived yet.
pub(super) const NO_CHILDREN: u32 = u32::MAX;

/// What a row of a series is good for.
pub(super) mod flag {
    /// The series' description has been looked up.
    pub const KNOWN: u16 = 1;
    /// A running total that never falls.
    pub const COUNTER: u16 = 2;
    /// Values are increments.
    pub const DELTA: u16 = 8;
    /// The plugins have been told of it.
    pub const OPEN: u16 = 16;
    /// Received as a REST metric of a kind that has thresholds.
    pub const WATCH: u16 = 32;
    /// A bucket of a delta histogram.
    pub const BUCKET: u16 = 64;
}

/// One series, 48 bytes: a row costs one cache line.
#[derive(Clone, Copy)]
pub(super) struct SeriesState {
    /// The latest time; `i64::MIN` before the first row.
    pub(super) last: i64,
    /// Of a counter what it says; of a delta series the last increment, where counting began and, as `offset`, the
    /// running total; of others the last value.
    pub(super) count: Counter,
    pub(super) agent: AgentId,
    /// Where its value goes among the agents' vitals.
    pub(super) gauge: u32,
    /// Where the series derived from it are listed.
    pub(super) children: u32,
    pub(super) flags: u16,
    /// The record that it was last seen in, by a number that comes round.
    stamp: u16,
}

const _: () = assert!(size_of::<SeriesState>() == 48);

const NEW: SeriesState = SeriesState {
    last: i64::MIN,
    count: Counter::NEW,
    agent: AgentId(u32::MAX),
    gauge: NO_GAUGE,
    children: NO_CHILDREN,
    flags: 0,
    stamp: 0,
};

/// The rows of one record.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) rows: &'a Columns,
    pub(super) starts: &'a Starts,
    /// Rows after this are ahead of their time.
    pub(super) present: i64,
}

/// What rows become.
pub(super) struct Kept<'a> {
    /// To be stored and judged.
    pub(super) fresh: &'a mut Columns,
    /// For each fresh row its value to those who judge: counters have their resets made good.
    pub(super) totals: &'a mut Vec<f64>,
    /// To be stored only.
    pub(super) unjudged: &'a mut Columns,
}

impl Kept<'_> {
    #[inline]
    fn fresh(&mut self, id: u32, time: i64, value: f64, total: f64) {
        self.fresh.push(SeriesId(id), UnixNanos(time), value);
        self.totals.push(total);
    }

    fn unjudged(&mut self, id: u32, time: i64, value: f64) {
        self.unjudged.push(SeriesId(id), UnixNanos(time), value);
    }
}

/// One row.
#[derive(Clone, Copy)]
struct Row {
    id: u32,
    start: i64,
    time: i64,
    value: f64,
}

/// What became of the rows of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) fresh: u64,
    /// The same series and time again.
    pub(super) duplicate: u64,
    /// Of those, with another value, which is dropped.
    pub(super) conflict: u64,
    /// Before the latest of their series.
    pub(super) late: u64,
    /// Late increments that are dropped, since nobody knows whether they were counted.
    pub(super) untold: u64,
    /// Ahead of their arrival.
    pub(super) ahead: u64,
    pub(super) unknown: u64,
}

impl RowCounts {
    pub(super) fn count(&self) {
        for (name, rows) in [
            ("vitals_rows_judged_total", self.fresh),
            ("vitals_rows_duplicate_total", self.duplicate),
            ("vitals_rows_conflicting_total", self.conflict),
            ("vitals_rows_late_total", self.late),
            ("vitals_increments_dropped_total", self.untold),
            ("vitals_rows_ahead_total", self.ahead),
            ("vitals_rows_unknown_series_total", self.unknown),
        ] {
            if rows > 0 {
                metrics::counter!(name).increment(rows);
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        self.late += other.late;
        self.untold += other.untold;
        self.ahead += other.ahead;
        self.unknown += other.unknown;
    }

    fn again(&mut self, value: f64, before: f64) {
        self.duplicate += 1;
        if value.to_bits() != before.to_bits() && value.is_finite() && before.is_finite() {
            self.conflict += 1;
        }
    }
}

/// All series of a shard, by id.
pub(super) struct SeriesTracker {
    pub(super) series: Vec<SeriesState>,
    pub(super) gauges: Gauges,
    /// Rows of REST metrics that the last record had ahead of their time.
    pub(super) reported_ahead: Vec<(SeriesId, f64)>,
    registry: Arc<Registry>,
    histograms: Histograms,
    gaps: Gaps,
    ahead: Ahead,
    buckets: Vec<BucketRow>,
    stamp: u16,
}

impl SeriesTracker {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self {
            series: Vec::new(),
            gauges: Gauges::default(),
            reported_ahead: Vec::new(),
            registry,
            histograms: Histograms::default(),
            gaps: Gaps::default(),
            ahead: Ahead::default(),
            buckets: Vec::new(),
            stamp: 0,
        }
    }

    /// Sorts the rows of a record out.
    pub(super) fn select_new_rows(&mut self, arrived: Arrived<'_>, kept: &mut Kept<'_>) -> RowCounts {
        self.reported_ahead.clear();
        if self.disordered(arrived.rows) {
            let (rows, starts) = sort::fully_with(arrived.rows, arrived.starts);
            return self.sift_in_order(Arrived { rows: &rows, starts: &starts, ..arrived }, kept);
        }
        self.sift_in_order(arrived, kept)
    }

    /// Whether a series may stand in the record more than once, with times that fall.
    fn disordered(&mut self, rows: &Columns) -> bool {
        if rows.times.is_sorted() || rows.series.is_sorted_by(|a, b| a < b) {
            return false;
        }
        self.stamp = self.stamp.wrapping_add(1);
        rows.series.iter().any(|&id| {
            let Some(state) = self.known(id) else { return false };
            std::mem::replace(&mut self.series[state].stamp, self.stamp) == self.stamp
        })
    }

    /// Where the state of a series is.
    #[inline]
    fn known(&mut self, id: u32) -> Option<usize> {
        let known = self.series.get(id as usize).is_some_and(|s| s.flags != 0) || self.learn(SeriesId(id));
        known.then_some(id as usize)
    }

    fn sift_in_order(&mut self, arrived: Arrived<'_>, kept: &mut Kept<'_>) -> RowCounts {
        let mut counts = RowCounts::default();
        let Columns { series, times, values } = arrived.rows;
        for (from, to, start) in arrived.starts.runs(series.len()) {
            for ((&id, &time), &value) in series[from..to].iter().zip(&times[from..to]).zip(&values[from..to]) {
                let Some(at) = self.known(id) else {
                    counts.unknown += 1;
                    continue;
                };
                let state = &mut self.series[at];
                let row = Row { id, start, time, value };
                if time > arrived.present || state.flags & flag::DELTA != 0 {
                    self.special(row, arrived.present, kept, &mut counts);
                } else if time > state.last {
                    if state.flags & flag::WATCH != 0 && self.ahead.had(id.into(), time) {
                        counts.duplicate += 1;
                        continue;
                    }
                    let total = state.follow(row);
                    kept.fresh(id, time, value, total);
                    counts.fresh += 1;
                } else if time == state.last {
                    counts.again(value, state.count.raw);
                } else {
                    counts.late += 1;
                    kept.unjudged(id, time, value);
                }
            }
        }
        if !self.buckets.is_empty() {
            self.select_new_buckets(arrived.present, kept, &mut counts);
        }
        counts
    }

    /// A row that is ahead, or an increment.
    fn special(&mut self, row: Row, present: i64, kept: &mut Kept<'_>, counts: &mut RowCounts) {
        let Row { id, start, time, value } = row;
        let flags = self.series[id as usize].flags;
        if flags & flag::BUCKET != 0
            && let Some((stream, bound)) = self.histograms.of(id)
        {
            self.buckets.push(BucketRow { stream, bound, start, time, value });
        } else if flags & flag::DELTA != 0 {
            self.increment(row, present, kept, counts);
        } else {
            counts.ahead += 1;
            if flags & flag::WATCH != 0 && self.ahead.take(id.into(), time) == Increment::Next {
                self.reported_ahead.push((SeriesId(id), value));
            }
            kept.unjudged(id, time, value);
        }
    }

    /// An increment that is not a bucket's.
    fn increment(&mut self, row: Row, present: i64, kept: &mut Kept<'_>, counts: &mut RowCounts) {
        let Row { id, start, time, value } = row;
        let state = &mut self.series[id as usize];
        let stream = u64::from(id);
        if time > present {
            counts.ahead += 1;
            match self.ahead.take(stream, time) {
                Increment::Again => counts.duplicate += 1,
                Increment::Untold => counts.untold += 1,
                Increment::Next | Increment::Late => kept.unjudged(id, time, state.accumulate(value)),
            }
            return;
        }
        if self.ahead.had(stream, time) {
            counts.duplicate += 1;
            return;
        }
        let mut counted = Counted { begin: state.count.start, last: state.last };
        let before = state.count.raw;
        match self.gaps.take(stream, &mut counted, start, time) {
            Increment::Next => {
                let total = state.accumulate(value);
                kept.fresh(id, time, total, total);
                counts.fresh += 1;
            }
            // It shows from the next point on: the total at its own time is not known any more.
            Increment::Late => {
                state.accumulate(value);
                state.count.raw = before;
                counts.late += 1;
            }
            Increment::Again if time == state.last => counts.again(value, before),
            Increment::Again => counts.duplicate += 1,
            Increment::Untold => {
                counts.late += 1;
                counts.untold += 1;
            }
        }
        (state.count.start, state.last) = (counted.begin, counted.last);
    }

    /// The rows of delta histograms' buckets, point by point.
    fn select_new_buckets(&mut self, present: i64, kept: &mut Kept<'_>, counts: &mut RowCounts) {
        let mut rows = std::mem::take(&mut self.buckets);
        rows.sort_by(|a, b| (a.stream, a.time).cmp(&(b.stream, b.time)).then(a.bound.total_cmp(&b.bound)));
        for point in rows.chunk_by(|a, b| (a.stream, a.time) == (b.stream, b.time)) {
            let BucketRow { stream, start, time, .. } = point[0];
            let number = HISTOGRAM | u64::from(stream);
            let count = point.len() as u64;
            let ahead = time > present;
            let counted = &mut self.histograms.all[stream as usize].counted;
            let is = match ahead {
                true => self.ahead.take(number, time),
                false if self.ahead.had(number, time) => Increment::Again,
                false => self.gaps.take(number, counted, start, time),
            };
            counts.ahead += if ahead { count } else { 0 };
            match is {
                Increment::Again => counts.duplicate += count,
                Increment::Untold => counts.untold += count,
                Increment::Next | Increment::Late => {}
            }
            let newest = counted.last;
            let late = !ahead && matches!(is, Increment::Late | Increment::Untold);
            counts.late += if late { count } else { 0 };
            if matches!(is, Increment::Again | Increment::Untold) {
                continue;
            }
            self.histograms.add(stream, point, &mut self.series, |id, total, state| {
                if ahead {
                    kept.unjudged(id, time, total);
                } else {
                    state.last = newest;
                    if !late {
                        kept.fresh(id, time, total, total);
                        counts.fresh += 1;
                    }
                }
            });
        }
        rows.clear();
        self.buckets = rows;
    }

    /// Takes a derived row; whether it is new.
    pub(super) fn advance(&mut self, id: SeriesId, time: i64) -> bool {
        if self.series.get(id.0 as usize).is_none_or(|s| s.flags == 0) && !self.learn(id) {
            return false;
        }
        let state = &mut self.series[id.0 as usize];
        let new = time > state.last;
        state.last = state.last.max(time);
        new
    }

    /// The agent of the first of some rows, once a row of its series was taken.
    pub(super) fn agent_of_first_row(&self, rows: &Columns) -> Option<AgentId> {
        rows.series.first().and_then(|&id| self.series.get(id as usize)).map(|state| state.agent)
    }

    /// Notes that the plugins are told of a series; whether they were not before.
    pub(super) fn mark_open(&mut self, id: SeriesId) -> bool {
        let Some(state) = self.series.get_mut(id.0 as usize) else { return false };
        let is_new = state.flags & flag::OPEN == 0;
        state.flags |= flag::OPEN;
        is_new
    }

    /// Notes that the plugins know nothing of a series any more.
    pub(super) fn mark_closed(&mut self, id: SeriesId) {
        if let Some(state) = self.series.get_mut(id.0 as usize) {
            state.flags &= !flag::OPEN;
        }
    }

    /// Forgets a series that is retired.
    pub(super) fn forget(&mut self, id: SeriesId) {
        if let Some(state) = self.series.get_mut(id.0 as usize) {
            *state = NEW;
        }
    }

    #[cold]
    fn learn(&mut self, id: SeriesId) -> bool {
        let Some(desc) = self.registry.series(id).filter(|desc| self.registry.is_current(desc.agent)) else {
            return false;
        };
        let at = id.0 as usize;
        if self.series.len() <= at {
            self.series.resize(at + 1, NEW);
        }
        let gauge = measurement_role::role(&desc.spec).map_or(NO_GAUGE, |role| self.gauges.open(&desc, role));
        let bucket = if self.histograms.join(&desc) { flag::BUCKET } else { 0 };
        let state = &mut self.series[at];
        state.flags |= flags(&desc) | bucket;
        state.agent = desc.agent;
        state.gauge = gauge;
        true
    }

    /// Writes down what a restart needs.
    pub(super) fn save(&self, base: i64) -> SavedSeriesTracker {
        let mut saved = SavedSeriesTracker { base, ..SavedSeriesTracker::default() };
        let (mut before, mut counter, mut start) = (0_u32, 0_u32, 0_i64);
        for (state, id) in self.series.iter().zip(0_u32..) {
            let Counter { raw, offset, .. } = state.count;
            if state.last != i64::MIN {
                saved.last.push((id - before, base.wrapping_sub(state.last)));
                before = id;
                if state.counts() || state.flags & flag::DELTA != 0 {
                    saved.counters.push((id - counter, raw, state.count.start.wrapping_sub(start)));
                    (counter, start) = (id, state.count.start);
                }
            }
            if offset.to_bits() != 0 {
                saved.offsets.push((id, offset));
            }
        }
        saved.gauges = self.gauges.save();
        saved.histograms = self.histograms.save();
        saved.gaps = self.named(self.gaps.save());
        saved.ahead = self.named(self.ahead.save());
        saved
    }

    /// With the numbers of streams that hold over a restart: a histogram's is that of one of its series.
    fn named<T>(&self, all: Vec<(u64, T)>) -> Vec<(u64, T)> {
        let name = |number: u64| match number & HISTOGRAM {
            0 => Some(number),
            _ => Some(HISTOGRAM | u64::from(self.histograms.name(number as u32)?)),
        };
        all.into_iter().filter_map(|(number, of)| Some((name(number)?, of))).collect()
    }

    /// What [`SeriesTracker::named`] named.
    fn numbered<T>(histograms: &Histograms, all: Vec<(u64, T)>) -> Vec<(u64, T)> {
        let number = |name: u64| match name & HISTOGRAM {
            0 => Some(name),
            _ => Some(HISTOGRAM | u64::from(histograms.of(name as u32)?.0)),
        };
        all.into_iter().filter_map(|(name, of)| Some((number(name)?, of))).collect()
    }

    /// Puts back what [`SeriesTracker::save`] gave. Everything else is forgotten, but for which series the plugins know.
    pub(super) fn restore(&mut self, saved: &SavedSeriesTracker) {
        for state in &mut self.series {
            state.last = i64::MIN;
            state.count = Counter::NEW;
        }
        self.gauges.forget();
        self.histograms.forget();
        let mut id = 0_u32;
        for &(gap, ago) in &saved.last {
            id = id.saturating_add(gap);
            if let Some(at) = self.known(id) {
                self.series[at].last = saved.base.wrapping_sub(ago);
            }
        }
        let (mut id, mut start) = (0_u32, 0_i64);
        for &(gap, raw, step) in &saved.counters {
            (id, start) = (id.saturating_add(gap), start.wrapping_add(step));
            if let Some(state) = self.series.get_mut(id as usize) {
                (state.count.raw, state.count.start) = (raw, start);
            }
        }
        for &(id, offset) in &saved.offsets {
            if let Some(at) = self.known(id) {
                self.series[at].count.offset = offset;
            }
        }
        for &id in saved.histograms.iter().flat_map(|one| &one.members) {
            let _ = self.known(id);
        }
        self.histograms.restore(&saved.histograms);
        self.gaps.restore(Self::numbered(&self.histograms, saved.gaps.clone()));
        self.ahead.restore(Self::numbered(&self.histograms, saved.ahead.clone()));
        let series = &self.series;
        self.gauges.restore(&saved.gauges, |id| series.get(id.0 as usize).map(|state| state.gauge));
    }
}

/// Marks the number of a histogram among those of streams; others have their series'.
const HISTOGRAM: u64 = 1 << 32;

impl SeriesState {
    /// Whether it is a cumulative counter.
    #[inline]
    fn counts(&self) -> bool {
        self.flags & (flag::COUNTER | flag::DELTA) == flag::COUNTER
    }

    /// Takes the next value of a series that is none of increments; what it is to those who judge.
    #[inline]
    fn follow(&mut self, row: Row) -> f64 {
        let total = if self.counts() {
            self.count.step(self.last, row.start, row.time, row.value)
        } else {
            self.count.raw = row.value;
            row.value
        };
        self.last = row.time;
        total
    }

    /// Adds an increment; the total so far. What is no number adds nothing.
    fn accumulate(&mut self, increment: f64) -> f64 {
        if increment.is_finite() {
            self.count.offset += increment;
        }
        self.count.raw = increment;
        self.count.offset
    }
}

fn flags(desc: &SeriesDesc) -> u16 {
    let mut flags = flag::KNOWN;
    flags |= match desc.spec.shape {
        // A total that goes up and down is a level (memory in use, queue length).
        Shape::Gauge | Shape::Cumulative { monotonic: false } => 0,
        Shape::Cumulative { monotonic: true } => flag::COUNTER,
        Shape::Delta { monotonic: true } => flag::DELTA | flag::COUNTER,
        Shape::Delta { monotonic: false } => flag::DELTA,
    };
    if desc.spec.origin == Origin::Rest {
        flags |= flag::WATCH;
    }
    flags
}

/// [`SeriesTracker`], written down.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct SavedSeriesTracker {
    base: i64,
    /// Gap to the id before, and how long before `base` its latest time is: both small, so few bytes.
    last: Vec<(u32, i64)>,
    /// Gap to the id before, last value as sent, and the start less that of the one before.
    counters: Vec<(u32, f64, i64)>,
    /// What is 0 is left out.
    offsets: Vec<(u32, f64)>,
    gauges: Vec<super::agent_gauges::SavedGauge>,
    histograms: Vec<SavedHistogram>,
    gaps: Vec<(u64, Known)>,
    ahead: Vec<(u64, Vec<i64>)>,
}
