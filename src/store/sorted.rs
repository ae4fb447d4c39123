//! Rows by (series, time), each once.

use hashbrown::HashMap;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Range;
use vitals_core::columns::Columns;
use vitals_core::ids::UnixNanos;

const DAY: i64 = 86_400 * UnixNanos::SECOND;

/// The day (UTC, counted from the epoch) that `time` falls in.
pub(super) fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// The rows of one series: a range of the columns beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SortedRun {
    pub(super) series: u32,
    pub(super) rows: Range<usize>,
}

/// Rows sorted by (series, time); no two of one series have the same time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sorted {
    pub(super) runs: Vec<SortedRun>,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
}

impl Sorted {
    /// All rows of `chunks`; of those with equal series and time the first one stays.
    ///
    /// A counting sort by series, because chunks come one after the other in time: within a series the rows
    /// are then in order already, but for the odd late one.
    pub(super) fn from_chunks<C: Borrow<Columns>>(chunks: &[C]) -> Self {
        let rows: usize = chunks.iter().map(|chunk| chunk.borrow().len()).sum();
        let all = || chunks.iter().flat_map(|chunk| chunk.borrow().series.iter().copied());
        let Some((low, high)) = all().fold(None, |bounds: Option<(u32, u32)>, s| match bounds {
            None => Some((s, s)),
            Some((low, high)) => Some((low.min(s), high.max(s))),
        }) else {
            return Self::default();
        };
        let span = (high - low) as usize + 1;
        if span <= (rows * 4).max(1 << 16) {
            return place(chunks, rows, span, |s| (s - low) as usize, |at| low + at as u32);
        }
        let mut ids: Vec<u32> = all().collect();
        ids.sort_unstable();
        ids.dedup();
        let slots: HashMap<u32, usize> = ids.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        place(chunks, rows, ids.len(), |s| slots[&s], |at| ids[at])
    }

    /// Adds rows of a series, which must come behind all rows that are there.
    fn push(&mut self, series: u32, times: &[i64], values: &[f64]) {
        let from = self.times.len();
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values);
        self.runs.push(SortedRun { series, rows: from..self.times.len() });
    }

    /// The same rows, apart by day.
    pub(super) fn by_day(self) -> Vec<(i64, Self)> {
        let bounds = self.times.iter().fold((i64::MAX, i64::MIN), |(low, high), &t| (low.min(t), high.max(t)));
        if self.times.is_empty() {
            return Vec::new();
        }
        if day_of(bounds.0) == day_of(bounds.1) {
            return vec![(day_of(bounds.0), self)];
        }
        let mut days: BTreeMap<i64, Self> = BTreeMap::new();
        for SortedRun { series, rows } in &self.runs {
            let mut from = rows.start;
            while from < rows.end {
                let day = day_of(self.times[from]);
                let to = from + self.times[from..rows.end].partition_point(|&t| day_of(t) == day);
                days.entry(day).or_default().push(*series, &self.times[from..to], &self.values[from..to]);
                from = to;
            }
        }
        days.into_iter().collect()
    }

    /// Cuts into ranges of series ids, each with about `most` rows at most, unless one series has more.
    pub(super) fn lanes(&self, most: usize) -> Vec<(Lane, Range<usize>)> {
        let mut lanes = Vec::new();
        if let (Some(first), Some(last)) = (self.runs.first(), self.runs.last()) {
            self.cut(Lane::around(first.series, last.series), 0..self.runs.len(), most, &mut lanes);
        }
        lanes
    }

    fn cut(&self, lane: Lane, runs: Range<usize>, most: usize, lanes: &mut Vec<(Lane, Range<usize>)>) {
        if runs.is_empty() {
            return;
        }
        let rows = self.runs[runs.end - 1].rows.end - self.runs[runs.start].rows.start;
        match lane.halves() {
            Some((left, right)) if rows > most => {
                let middle = runs.start + self.runs[runs.clone()].partition_point(|run| run.series <= left.last);
                self.cut(left, runs.start..middle, most, lanes);
                self.cut(right, middle..runs.end, most, lanes);
            }
            _ => lanes.push((lane, runs)),
        }
    }
}

/// A range of series ids whose length is a power of two and whose start is a multiple of it. Two lanes are
/// apart, or one holds the other: so blocks written at different times can be merged lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Lane {
    /// The smallest lane that holds both.
    pub(super) fn around(a: u32, b: u32) -> Self {
        let below = u32::MAX.checked_shr((a ^ b).leading_zeros()).unwrap_or(0);
        Self { first: a & !below, last: a | below }
    }

    pub(super) fn halves(self) -> Option<(Self, Self)> {
        if self.first == self.last {
            return None;
        }
        let middle = self.first + (self.last - self.first) / 2;
        Some((Self { first: self.first, last: middle }, Self { first: middle + 1, last: self.last }))
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The first ids of all lanes that hold `series`.
    pub(super) fn firsts(series: u32) -> Vec<u32> {
        let mut firsts: Vec<u32> = (0..=32).map(|bits| series & u32::MAX.checked_shl(bits).unwrap_or(0)).collect();
        firsts.dedup();
        firsts
    }
}

fn place<C: Borrow<Columns>>(
    chunks: &[C],
    rows: usize,
    slots: usize,
    slot: impl Fn(u32) -> usize,
    id: impl Fn(usize) -> u32,
) -> Sorted {
    let mut ends = vec![0_usize; slots];
    for chunk in chunks {
        for &series in &chunk.borrow().series {
            ends[slot(series)] += 1;
        }
    }
    let mut at = 0;
    for end in &mut ends {
        at += std::mem::replace(end, at);
    }
    let (mut times, mut values) = (vec![0; rows], vec![0.0; rows]);
    for chunk in chunks {
        let Columns { series, times: from_times, values: from_values } = chunk.borrow();
        for ((&series, &time), &value) in series.iter().zip(from_times).zip(from_values) {
            let at = &mut ends[slot(series)];
            times[*at] = time;
            values[*at] = value;
            *at += 1;
        }
    }
    let mut sorted = Sorted { runs: Vec::new(), times, values };
    let (mut from, mut kept) = (0, 0);
    for (at, &end) in ends.iter().enumerate() {
        if from < end {
            let rows = sorted.settle(from..end, kept);
            kept = rows.end;
            sorted.runs.push(SortedRun { series: id(at), rows });
        }
        from = end;
    }
    sorted.times.truncate(kept);
    sorted.values.truncate(kept);
    sorted
}

impl Sorted {
    /// Brings one series' rows in order, each time once, and moves them to `to`, at or before their place.
    fn settle(&mut self, rows: Range<usize>, to: usize) -> Range<usize> {
        if self.times[rows.clone()].is_sorted_by(|a, b| a < b) {
            let len = rows.len();
            if rows.start != to {
                self.times.copy_within(rows.clone(), to);
                self.values.copy_within(rows, to);
            }
            return to..to + len;
        }
        let mut pairs: Vec<(i64, f64)> = rows.map(|at| (self.times[at], self.values[at])).collect();
        // Stable: of equal times the one written first stays first.
        pairs.sort_by_key(|pair| pair.0);
        pairs.dedup_by_key(|pair| pair.0);
        for (at, &(time, value)) in pairs.iter().enumerate() {
            self.times[to + at] = time;
            self.values[to + at] = value;
        }
        to..to + pairs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(chunks: &[Columns]) -> BTreeMap<(u32, i64), u64> {
        let mut rows = BTreeMap::new();
        for (series, time, value) in chunks.iter().flat_map(Columns::rows) {
            rows.entry((series.0, time.0)).or_insert(value.to_bits());
        }
        rows
    }

    fn rows(sorted: &Sorted) -> Vec<((u32, i64), u64)> {
        let mut out = Vec::new();
        for run in &sorted.runs {
            assert!(!run.rows.is_empty());
            out.extend(run.rows.clone().map(|at| ((run.series, sorted.times[at]), sorted.values[at].to_bits())));
        }
        out
    }

    proptest! {
        #[test]
        fn sorted_rows_are_those_of_a_map(
            chunks in proptest::collection::vec(
                proptest::collection::vec((prop_oneof![0_u32..6, any::<u32>()], prop_oneof![0_i64..8, any::<i64>()], any::<f64>()), 0..20),
                0..5
            ),
            most in 1_usize..20,
        ) {
            let chunks: Vec<Columns> = chunks.into_iter().map(|rows| {
                let mut columns = Columns::default();
                for (series, time, value) in rows {
                    columns.series.push(series);
                    columns.times.push(time);
                    columns.values.push(value);
                }
                columns
            }).collect();
            let sorted = Sorted::from_chunks(&chunks);
            let expect: Vec<_> = model(&chunks).into_iter().collect();
            prop_assert_eq!(&rows(&sorted), &expect);

            let lanes = sorted.lanes(most);
            let mut next = 0;
            for (lane, runs) in &lanes {
                prop_assert_eq!(runs.start, next);
                next = runs.end;
                prop_assert!(sorted.runs[runs.clone()].iter().all(|run| lane.first <= run.series && run.series <= lane.last));
                prop_assert_eq!(Lane::around(lane.first, lane.last), *lane, "aligned");
                for run in &sorted.runs[runs.clone()] {
                    prop_assert!(Lane::firsts(run.series).contains(&lane.first));
                }
            }
            prop_assert_eq!(next, sorted.runs.len());

            let days = sorted.clone().by_day();
            let mut apart: Vec<_> = days.iter().flat_map(|(day, sorted)| {
                assert!(sorted.times.iter().all(|&t| day_of(t) == *day));
                rows(sorted)
            }).collect();
            apart.sort_by_key(|row| row.0);
            prop_assert_eq!(apart, expect);
        }
    }

    #[test]
    fn lanes_nest() {
        assert_eq!(Lane::around(0, u32::MAX), Lane { first: 0, last: u32::MAX });
        assert_eq!(Lane::around(7, 7), Lane { first: 7, last: 7 });
        assert_eq!(Lane::around(5, 6), Lane { first: 4, last: 7 });
        assert_eq!(Lane::firsts(6), [6, 4, 0]);
        assert_eq!(Lane::firsts(0), [0]);
    }
}
