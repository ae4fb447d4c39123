//! A batch of samples, by columns.

use crate::ids::{SeriesId, UnixNanos};
use serde::{Deserialize, Serialize};

/// Samples as three columns of equal length; row `i` is (`series[i]`, `times[i]`, `values[i]`).
///
/// In the log rows come in order of arrival; what evaluation hands on is sorted by (series, time).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// The series of each row (a `SeriesId`'s number).
    pub series: Vec<u32>,
    /// Nanoseconds since the Unix epoch.
    pub times: Vec<i64>,
    /// The values; NaN and infinities are possible.
    pub values: Vec<f64>,
}

impl Columns {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, series: SeriesId, time: UnixNanos, value: f64) {
        self.series.push(series.0);
        self.times.push(time.0);
        self.values.push(value);
    }

    /// Adds all rows of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.series.extend_from_slice(&other.series);
        self.times.extend_from_slice(&other.times);
        self.values.extend_from_slice(&other.values);
    }

    /// Removes every row, keeping the memory.
    pub fn clear(&mut self) {
        self.series.clear();
        self.times.clear();
        self.values.clear();
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = (SeriesId, UnixNanos, f64)> + '_ {
        self.series.iter().zip(&self.times).zip(&self.values).map(|((&s, &t), &v)| (SeriesId(s), UnixNanos(t), v))
    }
}

/// When the values of rows began to be counted (`start_time_unix_nano`), as runs of rows with the same start: most
/// requests have one or two. A row before the first run has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Row at which each run begins, rising.
    pub rows: Vec<u32>,
    /// The start of each run; 0 is unknown.
    pub times: Vec<i64>,
}

impl Starts {
    /// Notes the start of the next row, `row`. Rows that nobody asks the start of (gauges) need not be noted.
    #[inline]
    pub fn note(&mut self, row: usize, start: UnixNanos) {
        if self.times.last().copied().unwrap_or(0) != start.0 {
            self.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            self.times.push(start.0);
        }
    }

    /// The runs of `len` rows: from, to (exclusive) and start.
    pub fn runs(&self, len: usize) -> impl Iterator<Item = (usize, usize, i64)> + '_ {
        let from = std::iter::once(0).chain(self.rows.iter().map(|&row| row as usize));
        let to = self.rows.iter().map(|&row| row as usize).chain(std::iter::once(len));
        let times = std::iter::once(0).chain(self.times.iter().copied());
        from.zip(to).zip(times).map(move |((from, to), time)| (from.min(len), to.min(len), time))
    }

    /// The start of each of `len` rows.
    #[must_use]
    pub fn each(&self, len: usize) -> Vec<i64> {
        let mut all = Vec::with_capacity(len);
        for (_, to, time) in self.runs(len) {
            all.resize(to.max(all.len()), time);
        }
        all
    }

    /// Those of the rows that are kept.
    #[must_use]
    pub fn retained(&self, keep: &[bool]) -> Self {
        let mut kept = Self::default();
        let starts = self.each(keep.len()).into_iter().zip(keep).filter(|(_, keep)| **keep);
        for (row, (start, _)) in starts.enumerate() {
            kept.note(row, UnixNanos(start));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_runs() {
        let mut starts = Starts::default();
        let all = [0, 0, 5, 5, 5, 0, 7, 5];
        for (row, &start) in all.iter().enumerate() {
            starts.note(row, UnixNanos(start));
        }
        assert_eq!(starts.rows, [2, 5, 6, 7]);
        assert_eq!(starts.each(8), all);
        assert_eq!(starts.each(10)[7..], [5, 5, 5]);
        assert_eq!(starts.each(3), all[..3]);
        assert_eq!(Starts::default().each(2), [0, 0]);
        let keep = [true, false, true, false, true, false, true, true];
        assert_eq!(starts.retained(&keep).each(5), [0, 5, 5, 7, 5]);
    }
}
