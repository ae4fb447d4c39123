//! Which rows are new: what a series has shown so far, and the running totals of delta series.
//!
//! A row is judged when its time is past everything of its series so far, in order of arrival. So what
//! is judged does not hang on how records were put together into batches, and a replay judges the same rows.

use super::vitals::Gauges;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId};
use vitals_core::registry::Registry;
use vitals_core::series::{MetricKind, Origin, SeriesDesc, Shape};
use vitals_core::vitals;

/// No vital, or none yet.
pub(super) const NO_GAUGE: u32 = u32::MAX;

/// Nothing derived yet.
pub(super) const NO_CHILDREN: u32 = u32::MAX;

/// What a row of a series is good for.
pub(super) mod flag {
    /// The series' description has been looked up.
    pub const KNOWN: u8 = 1;
    /// Rows go to the derivers.
    pub const DERIVE: u8 = 2;
    /// Rows go to the outlier detectors.
    pub const DETECT: u8 = 4;
    /// Values are increments.
    pub const DELTA: u8 = 8;
    /// The plugins have been told of it.
    pub const OPEN: u8 = 16;
    /// Received as a REST metric of a kind that has thresholds.
    pub const WATCH: u8 = 32;
}

/// One series, 32 bytes: a row costs one cache line.
#[derive(Clone, Copy)]
pub(super) struct SeriesState {
    /// The latest time; `i64::MIN` before the first row.
    pub(super) last: i64,
    /// The running total of a delta series.
    total: f64,
    pub(super) agent: AgentId,
    /// Where its value goes among the agents' vitals.
    pub(super) gauge: u32,
    /// Where the series derived from it are listed.
    pub(super) children: u32,
    pub(super) flags: u8,
}

const NEW: SeriesState = SeriesState {
    last: i64::MIN,
    total: 0.0,
    agent: AgentId(u32::MAX),
    gauge: NO_GAUGE,
    children: NO_CHILDREN,
    flags: 0,
};

/// What became of the rows of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sifted {
    pub(super) fresh: u64,
    pub(super) duplicate: u64,
    pub(super) late: u64,
    pub(super) unknown: u64,
}

impl Sifted {
    pub(super) fn count(&self) {
        if self.fresh > 0 {
            metrics::counter!("vitals_rows_judged_total").increment(self.fresh);
        }
        if self.duplicate > 0 {
            metrics::counter!("vitals_rows_duplicate_total").increment(self.duplicate);
        }
        if self.late > 0 {
            metrics::counter!("vitals_rows_late_total").increment(self.late);
        }
        if self.unknown > 0 {
            metrics::counter!("vitals_rows_unknown_series_total").increment(self.unknown);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.unknown += other.unknown;
    }
}

/// All series of a shard, by id.
pub(super) struct Intake {
    pub(super) series: Vec<SeriesState>,
    pub(super) gauges: Gauges,
    registry: Arc<Registry>,
}

impl Intake {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { series: Vec::new(), gauges: Gauges::default(), registry }
    }

    /// Sorts the rows of a record out: new ones to `fresh`, those before the latest of their series to `late`.
    pub(super) fn sift(&mut self, rows: &Columns, fresh: &mut Columns, late: &mut Columns) -> Sifted {
        let mut sifted = Sifted::default();
        for ((&id, &time), &value) in rows.series.iter().zip(&rows.times).zip(&rows.values) {
            let known = self.series.get(id as usize).is_some_and(|s| s.flags != 0) || self.learn(SeriesId(id));
            if !known {
                sifted.unknown += 1;
                continue;
            }
            let state = &mut self.series[id as usize];
            if time > state.last {
                state.last = time;
                let value = if state.flags & flag::DELTA == 0 { value } else { state.accumulate(value) };
                fresh.series.push(id);
                fresh.times.push(time);
                fresh.values.push(value);
                sifted.fresh += 1;
            } else if time == state.last {
                sifted.duplicate += 1;
            } else {
                sifted.late += 1;
                // The total at that time is not known any more.
                if state.flags & flag::DELTA == 0 {
                    late.series.push(id);
                    late.times.push(time);
                    late.values.push(value);
                }
            }
        }
        sifted
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

    #[cold]
    fn learn(&mut self, id: SeriesId) -> bool {
        let Some(desc) = self.registry.series(id) else { return false };
        let at = id.0 as usize;
        if self.series.len() <= at {
            self.series.resize(at + 1, NEW);
        }
        let gauge = vitals::role(&desc.spec).map_or(NO_GAUGE, |role| self.gauges.open(&desc, role));
        let state = &mut self.series[at];
        state.flags |= flags(&desc);
        state.agent = desc.agent;
        state.gauge = gauge;
        true
    }

    /// Writes down what a restart needs.
    pub(super) fn save(&self, base: i64) -> SavedIntake {
        let mut saved = SavedIntake { base, ..SavedIntake::default() };
        let mut before = 0_u32;
        for (state, id) in self.series.iter().zip(0_u32..) {
            if state.last == i64::MIN {
                continue;
            }
            saved.last.push((id - before, base.wrapping_sub(state.last)));
            before = id;
            if state.flags & flag::DELTA != 0 {
                saved.totals.push((id, state.total));
            }
        }
        saved.gauges = self.gauges.save();
        saved
    }

    /// Puts back what [`Intake::save`] gave. Everything else is forgotten, but for which series the plugins know.
    pub(super) fn restore(&mut self, saved: &SavedIntake) {
        for state in &mut self.series {
            state.last = i64::MIN;
            state.total = 0.0;
        }
        self.gauges.forget();
        let mut id = 0_u32;
        for &(gap, ago) in &saved.last {
            id = id.saturating_add(gap);
            if self.series.get(id as usize).is_some_and(|s| s.flags != 0) || self.learn(SeriesId(id)) {
                self.series[id as usize].last = saved.base.wrapping_sub(ago);
            }
        }
        for &(id, total) in &saved.totals {
            if let Some(state) = self.series.get_mut(id as usize) {
                state.total = total;
            }
        }
        let series = &self.series;
        self.gauges.restore(&saved.gauges, |id| series.get(id.0 as usize).map(|state| state.gauge));
    }
}

impl SeriesState {
    /// Adds an increment; the total so far. What is no number adds nothing.
    fn accumulate(&mut self, increment: f64) -> f64 {
        if increment.is_finite() {
            self.total += increment;
        }
        self.total
    }
}

fn flags(desc: &SeriesDesc) -> u8 {
    let mut flags = flag::KNOWN;
    flags |= match desc.spec.shape {
        Shape::Gauge => flag::DETECT,
        Shape::Cumulative { monotonic: true } => flag::DERIVE,
        // A total that goes up and down is a level (memory in use, queue length).
        Shape::Cumulative { monotonic: false } => flag::DETECT,
        Shape::Delta { monotonic: true } => flag::DELTA | flag::DERIVE,
        Shape::Delta { monotonic: false } => flag::DELTA | flag::DETECT,
    };
    if desc.spec.kind == MetricKind::Uptime {
        // It only ever rises: every value would be an outlier after a restart, none before.
        flags &= !flag::DETECT;
    }
    if desc.spec.origin == Origin::Rest {
        flags |= flag::WATCH;
    }
    flags
}

/// [`Intake`], written down.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct SavedIntake {
    base: i64,
    /// Gap to the id before, and how long before `base` its latest time is: both small, so few bytes.
    last: Vec<(u32, i64)>,
    totals: Vec<(u32, f64)>,
    gauges: Vec<super::vitals::SavedGauge>,
}
