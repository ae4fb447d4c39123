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
    /// Bytes of one row in memory.
    pub const ROW_BYTES: usize = 20;

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
