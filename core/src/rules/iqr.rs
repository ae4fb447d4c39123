//! Outliers by the interquartile range (Tukey's fences), over a sliding window of each series' own past.
//!
//! Quartiles by the "exclusive" method: in the sorted values `x[1..=n]` the quartile `p` stands at position
//! `p * (n + 1)`, clamped to `1..=n`, between two values by linear interpolation (NIST/SEMATECH e-Handbook of
//! Statistical Methods, 7.2.6.2). A value outside `[Q1 - factor * IQR, Q3 + factor * IQR]` is an outlier.

use super::pack::{MAX_SERIES, Reader, StateError, Writer};
use serde::{Deserialize, Serialize};

/// The name of the plugin that has this rule. Each of its findings answers whether a value of a request is an outlier; which of
/// them stand as verdicts is decided by [`super::incidents`].
pub const PLUGIN: &str = "iqr-outlier";

/// Greatest score, for a value that is out of all proportion to those before it.
pub const MOST_SCORE: f64 = 1e9;
/// The interquartile range counts as at least this share of the values' magnitude, so that a series that stood still has scores.
const LEAST_RANGE: f64 = 1e-6;

/// The rule's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IqrConfig {
    /// How many earlier values of the series are looked at, at most; 2 to 10,000.
    pub window: usize,
    /// How old they may be when a value is judged, seconds.
    pub max_age_seconds: u32,
    /// With fewer earlier values there is no verdict; 2 to `window`.
    pub min_values: usize,
    /// How many interquartile ranges beyond the quartiles the bounds lie.
    pub factor: f64,
}

impl Default for IqrConfig {
    fn default() -> Self {
        Self { window: 100, max_age_seconds: 86_400, min_values: 10, factor: 1.5 }
    }
}

impl IqrConfig {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        if !(2..=10_000).contains(&self.window) {
            return Err(format!("window is {}, must be 2 to 10000", self.window));
        }
        if !(2..=self.window).contains(&self.min_values) {
            return Err(format!("min_values is {}, must be 2 to window ({})", self.min_values, self.window));
        }
        if !(self.factor.is_finite() && self.factor >= 0.0) {
            return Err(format!("factor is {}, must be a number of 0 or more", self.factor));
        }
        Ok(())
    }
}

/// A value outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Distance to the nearer bound over the interquartile range, which counts as at least a millionth of the largest of its ends
    /// and the value; above 0 and at most [`MOST_SCORE`].
    pub score: f64,
    /// How many earlier values the bounds are made of.
    pub window: u32,
}

/// The windows of many series, by small dense numbers.
#[derive(Debug)]
pub struct Detector {
    config: IqrConfig,
    windows: Vec<SampleWindow>,
}

impl Detector {
    /// A detector without a past. `config` must have passed [`IqrConfig::check`].
    #[must_use]
    pub fn new(config: IqrConfig) -> Self {
        Self { config, windows: Vec::new() }
    }

    /// Judges `value` by the series' past, then makes it part of it. NaN and infinities are neither judged nor kept.
    #[inline]
    pub fn judge(&mut self, series: u32, time: i64, value: f64) -> Option<Outlier> {
        if !value.is_finite() {
            return None;
        }
        let at = series as usize;
        if at >= self.windows.len() {
            self.windows.resize_with(at + 1, SampleWindow::default);
        }
        let window = &mut self.windows[at];
        window.forget_before(time.saturating_sub(i64::from(self.config.max_age_seconds) * 1_000_000_000));
        let verdict = window.judge(&self.config, value);
        window.push(self.config.window, time, value);
        verdict
    }

    /// Forgets a series.
    pub fn close(&mut self, series: u32) {
        if let Some(window) = self.windows.get_mut(series as usize) {
            *window = SampleWindow::default();
        }
    }

    /// The windows, written down.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::new(FORMAT);
        for (number, window) in self.windows.iter().enumerate().filter(|(_, w)| w.len > 0) {
            out.unsigned(number as u64);
            out.unsigned(window.len as u64);
            // Times are close to regular: the change of the step is small.
            let (mut last, mut step) = (0_i64, 0_i64);
            for (time, _) in window.rows() {
                let next = time.wrapping_sub(last);
                out.signed(next.wrapping_sub(step));
                (last, step) = (time, next);
            }
            window.rows().for_each(|(_, value)| out.float(value));
        }
        out.finish()
    }

    /// A detector with the past that [`Detector::snapshot`] wrote down; of a longer window than the configured the
    /// newest values are kept.
    ///
    /// # Errors
    /// When `state` is not such a snapshot.
    pub fn restore(config: IqrConfig, state: &[u8]) -> Result<Self, StateError> {
        let mut detector = Self::new(config);
        if state.is_empty() {
            return Ok(detector);
        }
        let mut reader = Reader::new(state, FORMAT)?;
        let mut times = Vec::new();
        while !reader.is_done() {
            let number = reader.below(MAX_SERIES, "series number")?;
            let len = reader.below(10_001, "window length")?;
            times.clear();
            let (mut last, mut step) = (0_i64, 0_i64);
            for _ in 0..len {
                step = step.wrapping_add(reader.signed()?);
                last = last.wrapping_add(step);
                times.push(last);
            }
            if number >= detector.windows.len() {
                detector.windows.resize_with(number + 1, SampleWindow::default);
            }
            for &time in &times {
                let value = reader.float()?;
                if !value.is_finite() {
                    return Err(StateError::Impossible("value"));
                }
                detector.windows[number].push(config.window, time, value);
            }
        }
        Ok(detector)
    }
}

const FORMAT: u8 = 1;

/// The last values of one series: a ring in order of time, and the ring's slots in order of value.
#[derive(Debug, Default)]
struct SampleWindow {
    times: Vec<i64>,
    values: Vec<f64>,
    /// Slots by value; equal values by age, oldest first, so that the oldest value of all is the first of its equals.
    order: Vec<u16>,
    /// The slot of the oldest value.
    head: usize,
    len: usize,
}

impl SampleWindow {
    fn rows(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        (0..self.len).map(|i| {
            let slot = self.slot(i);
            (self.times[slot], self.values[slot])
        })
    }

    /// The slot of the `i`-th oldest value, `i` up to the ring's size.
    fn slot(&self, i: usize) -> usize {
        let slot = self.head + i;
        if slot >= self.values.len() { slot - self.values.len() } else { slot }
    }

    fn forget_before(&mut self, time: i64) {
        while self.len > 0 && self.times[self.head] < time {
            let at = self.place_of_oldest();
            self.order.remove(at);
            self.drop_oldest();
        }
    }

    fn place_of_oldest(&self) -> usize {
        let oldest = self.values[self.head];
        self.order.partition_point(|&slot| self.values[slot as usize] < oldest)
    }

    fn drop_oldest(&mut self) {
        self.head = self.slot(1);
        self.len -= 1;
    }

    fn push(&mut self, most: usize, time: i64, value: f64) {
        let to = self.order.partition_point(|&slot| self.values[slot as usize] <= value);
        if self.len >= most {
            // The newest takes the place of the oldest, in the ring and in the order: one move of what lies between.
            let from = self.place_of_oldest();
            let slot = self.order[from];
            if from < to {
                self.order.copy_within(from + 1..to, from);
                self.order[to - 1] = slot;
            } else {
                self.order.copy_within(to..from, to + 1);
                self.order[to] = slot;
            }
            self.times[self.head] = time;
            self.values[self.head] = value;
            self.head = self.slot(1);
            return;
        }
        if self.len == self.values.len() {
            self.grow(most);
        }
        let slot = self.slot(self.len);
        self.times[slot] = time;
        self.values[slot] = value;
        self.order.insert(to, u16::try_from(slot).unwrap_or(u16::MAX));
        self.len += 1;
    }

    /// Twice the room, up to `most`: a series that is rarely seen costs little.
    fn grow(&mut self, most: usize) {
        let (old, room) = (self.values.len(), (self.values.len() * 2).clamp(8, most.max(8)).min(most));
        self.times.rotate_left(self.head);
        self.values.rotate_left(self.head);
        for slot in &mut self.order {
            let moved = usize::from(*slot) + old - self.head;
            *slot = u16::try_from(if moved >= old { moved - old } else { moved }).unwrap_or(u16::MAX);
        }
        self.head = 0;
        self.times.reserve_exact(room - old);
        self.values.reserve_exact(room - old);
        self.order.reserve_exact(room - self.order.len());
        self.times.resize(room, 0);
        self.values.resize(room, 0.0);
    }

    fn judge(&self, config: &IqrConfig, value: f64) -> Option<Outlier> {
        if self.len < config.min_values {
            return None;
        }
        let (q1, q3) = (self.quartile(0.25), self.quartile(0.75));
        let iqr = q3 - q1;
        let (lower, upper) = (q1 - config.factor * iqr, q3 + config.factor * iqr);
        let distance = if value < lower {
            lower - value
        } else if value > upper {
            value - upper
        } else {
            return None;
        };
        let magnitude = q1.abs().max(q3.abs()).max(value.abs());
        let score = (distance / iqr.max(LEAST_RANGE * magnitude)).min(MOST_SCORE);
        Some(Outlier { lower, upper, score, window: u32::try_from(self.len).unwrap_or(u32::MAX) })
    }

    /// The quartile `p`; the window must not be empty.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positions are 1..=10,000
    fn quartile(&self, p: f64) -> f64 {
        let position = (p * (self.len + 1) as f64).clamp(1.0, self.len as f64);
        let (below, share) = (position as usize, position.fract());
        let at = |i: usize| self.values[self.order[i - 1] as usize];
        let low = at(below);
        if share == 0.0 { low } else { low + share * (at(below + 1) - low) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Detector, IqrConfig, MOST_SCORE, Outlier};
    use proptest::prelude::*;

    const S: i64 = 1_000_000_000;

    /// Judges the last of `values`, a second apart.
    fn last(values: &[f64]) -> Option<Outlier> {
        let mut detector = Detector::new(IqrConfig::default());
        values.iter().zip(0..).fold(None, |_, (&v, t)| detector.judge(0, t * S, v))
    }

    #[test]
    fn fewer_than_ten_earlier_values_give_no_verdict() {
        let mut values: Vec<f64> = (0..9).map(f64::from).collect();
        values.push(1e9);
        assert_eq!(last(&values), None);
        values.insert(0, 0.0);
        assert!(last(&values).is_some());
    }

    #[test]
    fn quartiles_are_exclusive() {
        // 1..=10: Q1 at 2.75, Q3 at 8.25; bounds 2.75 - 8.25 and 8.25 + 8.25.
        let past: Vec<f64> = (1..=10).map(f64::from).collect();
        for (value, expect) in [(-5.5, None), (16.5, None), (16.6, Some(16.5)), (-5.6, Some(-5.5))] {
            let found = last(&[past.as_slice(), &[value]].concat());
            let bound = found.map(|o| if value > o.upper { o.upper } else { o.lower });
            assert_eq!(bound, expect, "{value}");
        }
        let found = last(&[past.as_slice(), &[22.0]].concat()).expect("an outlier");
        assert_eq!((found.lower, found.upper, found.score, found.window), (-5.5, 16.5, 1.0, 10));
    }

    #[test]
    fn a_constant_series_judges_any_change() {
        let mut values = vec![5.0; 20];
        assert_eq!(last(&values), None);
        values.push(5.1);
        assert_eq!(last(&values).map(|o| (o.lower, o.upper)), Some((5.0, 5.0)));
    }

    #[test]
    fn scores_are_finite_where_the_values_before_were_all_the_same() {
        for (past, value, least, most) in [
            (5.0, 5.1, 1e4, 1e5),
            (5.0, 10.0, 1e5, 1e6),
            // The last bit of a number is nothing.
            (42.0, 42.0_f64.next_up(), 1e-12, 1e-8),
            (0.0, 1.0, 1e5, 1e7),
            (0.0, f64::from_bits(1), 1.0, MOST_SCORE),
            (-f64::MAX, f64::MAX, 1e5, MOST_SCORE),
            (1e-300, f64::MAX, 1e5, MOST_SCORE),
        ] {
            let mut values = vec![past; 20];
            values.push(value);
            let score = last(&values).expect("an outlier").score;
            assert!(score.is_finite() && (least..=most).contains(&score), "{value} after {past}: {score}");
        }
    }

    #[test]
    fn the_window_ends_after_24_hours() {
        let day = 86_400 * S;
        for (time, expect) in [(day, true), (day + 1, false)] {
            let mut detector = Detector::new(IqrConfig::default());
            // Ten values at time 0: they count at exactly 24 h, and no longer.
            (0..10).for_each(|i| assert_eq!(detector.judge(3, 0, f64::from(i)), None));
            assert_eq!(detector.judge(3, time, 1e6).is_some(), expect, "{time}");
        }
    }

    #[test]
    fn only_the_last_hundred_count() {
        let mut values: Vec<f64> = vec![1e6; 50];
        values.extend((0..100).map(f64::from));
        values.push(1e6);
        assert_eq!(last(&values).map(|o| o.window), Some(100));
    }

    #[test]
    fn nan_and_infinities_are_neither_judged_nor_kept() {
        let mut values: Vec<f64> = (0..9).map(f64::from).collect();
        values.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9]);
        assert_eq!(last(&values), None);
    }

    #[test]
    fn values_at_the_ends_of_the_range_do_no_harm() {
        let mut values: Vec<f64> = [f64::MAX, f64::MIN].into_iter().cycle().take(40).collect();
        values.push(0.0);
        assert_eq!(last(&values), None);
    }

    #[test]
    fn closing_forgets() {
        let mut detector = Detector::new(IqrConfig::default());
        (0..20).for_each(|i| assert_eq!(detector.judge(1, i * S, 1.0), None));
        detector.close(1);
        detector.close(99);
        assert_eq!(detector.judge(1, 20 * S, 1e9), None);
    }

    #[test]
    fn impossible_configurations_are_named() {
        let good = IqrConfig::default();
        for (bad, word) in [
            (IqrConfig { window: 1, ..good }, "window"),
            (IqrConfig { min_values: 101, ..good }, "min_values"),
            (IqrConfig { factor: f64::NAN, ..good }, "factor"),
        ] {
            assert!(bad.check().expect_err("bad").contains(word));
        }
        assert_eq!(good.check(), Ok(()));
    }

    /// The rule as the definition puts it: sort the window anew for each value.
    fn plain(config: &IqrConfig, past: &[(i64, f64)], time: i64, value: f64) -> Option<(f64, f64)> {
        let recent: Vec<_> = past.iter().filter(|p| p.0 >= time - i64::from(config.max_age_seconds) * S).collect();
        let mut sorted: Vec<f64> = recent.iter().rev().take(config.window).map(|p| p.1).collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        if n < config.min_values {
            return None;
        }
        let quartile = |p: f64| {
            let h = (p * (n as f64 + 1.0)).clamp(1.0, n as f64);
            let low = sorted[h as usize - 1];
            let high = sorted[(h as usize).min(n - 1)];
            low + h.fract() * (high - low)
        };
        let (q1, q3) = (quartile(0.25), quartile(0.75));
        let (lower, upper) = (q1 - config.factor * (q3 - q1), q3 + config.factor * (q3 - q1));
        (value < lower || value > upper).then_some((lower, upper))
    }

    proptest! {
        #[test]
        fn any_values_give_finite_scores(values in prop::collection::vec(any::<f64>(), 0..60)) {
            let mut detector = Detector::new(IqrConfig::default());
            for (&value, time) in values.iter().zip(0..) {
                if let Some(found) = detector.judge(0, time * S, value) {
                    prop_assert!(found.score > 0.0 && found.score <= MOST_SCORE, "{:?}", found);
                }
            }
        }

        #[test]
        fn the_sliding_window_is_the_definition(
            window in 2_usize..40, rows in prop::collection::vec((0_i64..30, -20_i32..20), 0..300), cut in 0_usize..300,
        ) {
            let config = IqrConfig { window, max_age_seconds: 200, min_values: 2.min(window), factor: 1.5 };
            let mut detector = Detector::new(config);
            let (mut past, mut time) = (Vec::new(), 0);
            for (i, (step, value)) in rows.into_iter().enumerate() {
                if i == cut {
                    detector = Detector::restore(config, &detector.snapshot()).expect("its own snapshot");
                }
                time += step * S;
                let value = f64::from(value) / 4.0;
                let expect = plain(&config, &past, time, value);
                let found = detector.judge(2, time, value);
                prop_assert!(found.is_none_or(|o| o.score > 0.0 && o.score <= MOST_SCORE));
                prop_assert_eq!(found.map(|o| (o.lower, o.upper)), expect);
                past.push((time, value));
            }
        }

        #[test]
        fn no_bytes_make_restoring_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut state = vec![1];
            state.extend(bytes.iter().map(|b| b & 0x0F));
            let _ = Detector::restore(IqrConfig::default(), &bytes);
            let _ = Detector::restore(IqrConfig::default(), &state);
        }
    }
}
