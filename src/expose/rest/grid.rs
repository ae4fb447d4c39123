//! A grid of time steps over a window, for asking the store about each step of a series.

use crate::expose::Rest;
use vitals_core::ids::UnixNanos;
use vitals_core::series::SeriesDesc;
use vitals_core::store::{Aggregation, SampleQuery, StoreError};

/// Steps over a window, or over the part of it in which a series has anything.
pub struct Grid {
    start: UnixNanos,
    end: UnixNanos,
    step: i64,
}

impl Grid {
    /// About `steps` steps for `series`.
    pub fn of(
        rest: &Rest,
        series: &SeriesDesc,
        start: UnixNanos,
        end: UnixNanos,
        steps: i64,
    ) -> Result<Self, StoreError> {
        let wide = Self::new(start, end, steps);
        let points = wide.ask(rest, series, Aggregation::Count)?;
        Ok(match (points.first(), points.last()) {
            (Some(&(first, _)), Some(&(last, _))) if last.since(first) < end.since(start) / 2 => {
                Self::new(first, last.plus(wide.step).min(end), steps)
            }
            _ => wide,
        })
    }

    fn new(start: UnixNanos, end: UnixNanos, steps: i64) -> Self {
        Self { start, end, step: (end.since(start) / steps).max(UnixNanos::SECOND) }
    }

    /// The length of a step.
    pub fn step(&self) -> i64 {
        self.step
    }

    /// The end, which may cut the last step.
    pub fn end(&self) -> UnixNanos {
        self.end
    }

    /// What is made of the series' values in each step that has any.
    pub fn ask(&self, rest: &Rest, series: &SeriesDesc, how: Aggregation) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let limit = usize::try_from(self.end.since(self.start) / self.step + 2).unwrap_or(usize::MAX);
        let (start, end) = (self.start, self.end);
        rest.store.samples(&SampleQuery { series: series.id, start, end, step: Some((self.step, how)), limit })
    }
}
