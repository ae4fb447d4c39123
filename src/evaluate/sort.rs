//! Rows into the order of (series, time).

use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::UnixNanos;

/// Puts rows that come in order of time within each series into the order of their series. The memory of
/// the keys is kept between calls.
#[derive(Default)]
pub(super) struct Sorter {
    keys: Vec<u64>,
    swap: Vec<u64>,
}

/// Bits of one radix pass: 2,048 counters stay in the first-level cache.
const BITS: u32 = 11;

impl Sorter {
    /// `rows`, stably sorted by series.
    pub(super) fn by_series(&mut self, rows: &Columns) -> Columns {
        if rows.series.is_sorted() {
            return rows.clone();
        }
        self.order(&rows.series);
        self.picked(rows)
    }

    /// `rows` and a column beside them, stably sorted by series.
    pub(super) fn both_by_series(&mut self, rows: &Columns, beside: &[f64]) -> (Columns, Vec<f64>) {
        if rows.series.is_sorted() {
            return (rows.clone(), beside.to_vec());
        }
        self.order(&rows.series);
        #[allow(clippy::cast_possible_truncation)] // the row is the key's lower half
        let picked = self.keys.iter().map(|&key| beside[key as u32 as usize]).collect();
        (self.picked(rows), picked)
    }

    fn picked(&self, rows: &Columns) -> Columns {
        let mut out = Columns {
            series: Vec::with_capacity(rows.len()),
            times: Vec::with_capacity(rows.len()),
            values: Vec::with_capacity(rows.len()),
        };
        #[allow(clippy::cast_possible_truncation)] // the two halves of the key
        for &key in &self.keys {
            let row = key as u32 as usize;
            out.series.push((key >> 32) as u32);
            out.times.push(rows.times[row]);
            out.values.push(rows.values[row]);
        }
        out
    }

    fn order(&mut self, series: &[u32]) {
        self.keys.clear();
        self.keys.extend(series.iter().zip(0_u64..).map(|(&series, row)| (u64::from(series) << 32) | row));
        let most = series.iter().copied().max().unwrap_or(0);
        self.radix(u32::BITS - most.leading_zeros());
    }

    /// Least significant digit first, over the `bits` of the series that are in use.
    fn radix(&mut self, bits: u32) {
        self.swap.resize(self.keys.len(), 0);
        let mut shift = 32;
        while shift < 32 + bits {
            let digit = |key: u64| (key >> shift) as usize & ((1 << BITS) - 1);
            let mut ends = [0_usize; 1 << BITS];
            for &key in &self.keys {
                ends[digit(key)] += 1;
            }
            let mut at = 0;
            for end in &mut ends {
                at += std::mem::replace(end, at);
            }
            for &key in &self.keys {
                let place = &mut ends[digit(key)];
                self.swap[*place] = key;
                *place += 1;
            }
            std::mem::swap(&mut self.keys, &mut self.swap);
            shift += BITS;
        }
    }
}

/// Puts rows into the order of (series, time), for the few that do not come in order of time.
pub(super) fn fully(rows: &Columns) -> Columns {
    in_order(rows, &order(rows))
}

/// As [`fully`], with the rows' starts.
pub(super) fn fully_with(rows: &Columns, starts: &Starts) -> (Columns, Starts) {
    let order = order(rows);
    let each = starts.each(rows.len());
    let mut sorted = Starts::default();
    order.iter().enumerate().for_each(|(row, &from)| sorted.note(row, UnixNanos(each[from])));
    (in_order(rows, &order), sorted)
}

fn order(rows: &Columns) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| (rows.series[row], rows.times[row]));
    order
}

fn in_order(rows: &Columns, order: &[usize]) -> Columns {
    Columns {
        series: order.iter().map(|&row| rows.series[row]).collect(),
        times: order.iter().map(|&row| rows.times[row]).collect(),
        values: order.iter().map(|&row| rows.values[row]).collect(),
    }
}

/// Two sorted batches as one, into `out`.
pub(super) fn merge(a: &Columns, b: &Columns, out: &mut Columns) {
    out.clear();
    let (mut i, mut j) = (0, 0);
    let mut take = |from: &Columns, row: usize| {
        out.series.push(from.series[row]);
        out.times.push(from.times[row]);
        out.values.push(from.values[row]);
    };
    while i < a.len() || j < b.len() {
        let left = j >= b.len() || (i < a.len() && (a.series[i], a.times[i]) <= (b.series[j], b.times[j]));
        if left {
            take(a, i);
            i += 1;
        } else {
            take(b, j);
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_stably(series in prop::collection::vec(prop_oneof![0_u32..4, 0_u32..5_000_000, Just(u32::MAX)], 0..200)) {
            let rows = Columns {
                times: (0..).take(series.len()).collect(),
                values: vec![0.0; series.len()],
                series,
            };
            prop_assert_eq!(Sorter::default().by_series(&rows), fully(&rows));
            let beside: Vec<f64> = (0..rows.len()).map(|row| row as f64).collect();
            let (sorted, apply_changes) = Sorter::default().both_by_series(&rows, &beside);
            // The times number the rows.
            prop_assert_eq!(apply_changes, sorted.times.iter().map(|&row| row as f64).collect::<Vec<_>>());
            let mut starts = Starts::default();
            (0..rows.len()).for_each(|row| starts.note(row, UnixNanos(row as i64 / 3)));
            let (sorted, starts) = fully_with(&rows, &starts);
            prop_assert_eq!(starts.each(sorted.len()), sorted.times.iter().map(|row| row / 3).collect::<Vec<_>>());
        }

        #[test]
        fn merges(a in prop::collection::vec((0_u32..9, 0_i64..9), 0..30), b in prop::collection::vec((0_u32..9, 0_i64..9), 0..30)) {
            let columns = |rows: &[(u32, i64)]| fully(&Columns {
                series: rows.iter().map(|r| r.0).collect(),
                times: rows.iter().map(|r| r.1).collect(),
                values: vec![0.0; rows.len()],
            });
            let (a, b) = (columns(&a), columns(&b));
            let mut all = a.clone();
            all.extend(&b);
            let mut merged = Columns::default();
            merge(&a, &b, &mut merged);
            prop_assert_eq!(merged, fully(&all));
        }
    }
}
