//! Rates of counters: the increase since the last value over the time since then.
//!
//! Counters come with their resets made good ([`super::streams`]), so they never fall. Should one fall nevertheless (where
//! this is used without that rule), it was reset in between and has counted from 0 since: the increase is the value itself
//! (the convention of Prometheus).

use super::pack::{MAX_SERIES, Reader, StateError, Writer};
use serde::{Deserialize, Serialize};

/// The rule's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateConfig {
    /// Values further apart than this give no rate, seconds.
    pub max_gap_seconds: u32,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self { max_gap_seconds: 86_400 }
    }
}

/// The last value of many counters, by small dense numbers.
#[derive(Debug)]
pub struct Rates {
    config: RateConfig,
    last: Vec<Option<(i64, f64)>>,
}

impl Rates {
    /// Counters without a past.
    #[must_use]
    pub fn new(config: RateConfig) -> Self {
        Self { config, last: Vec::new() }
    }

    /// Increase a second since the counter's last value. `None` for the first value, after too long a gap, for a time that
    /// does not rise, and for NaN, infinities and negative values, which are not kept either.
    #[inline]
    pub fn step(&mut self, series: u32, time: i64, value: f64) -> Option<f64> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        let at = series as usize;
        if at >= self.last.len() {
            self.last.resize(at + 1, None);
        }
        let last = &mut self.last[at];
        let Some((then, before)) = *last else {
            *last = Some((time, value));
            return None;
        };
        let nanos = time.saturating_sub(then);
        if nanos <= 0 {
            return None;
        }
        *last = Some((time, value));
        if nanos > i64::from(self.config.max_gap_seconds) * 1_000_000_000 {
            return None;
        }
        let increase = if value >= before { value - before } else { value };
        #[allow(clippy::cast_precision_loss)] // a day of nanoseconds is below 2^53
        let rate = increase / (nanos as f64 / 1e9);
        rate.is_finite().then_some(rate)
    }

    /// Forgets a counter.
    pub fn close(&mut self, series: u32) {
        if let Some(last) = self.last.get_mut(series as usize) {
            *last = None;
        }
    }

    /// The last values, written down.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::new(FORMAT);
        let mut earlier = 0_i64;
        for (number, last) in self.last.iter().enumerate() {
            let Some((time, value)) = *last else { continue };
            out.unsigned(number as u64);
            out.signed(time.wrapping_sub(earlier));
            out.float(value);
            earlier = time;
        }
        out.finish()
    }

    /// Counters with the past that [`Rates::snapshot`] wrote down.
    ///
    /// # Errors
    /// When `state` is not such a snapshot.
    pub fn restore(config: RateConfig, state: &[u8]) -> Result<Self, StateError> {
        let mut rates = Self::new(config);
        if state.is_empty() {
            return Ok(rates);
        }
        let mut reader = Reader::new(state, FORMAT)?;
        let mut earlier = 0_i64;
        while !reader.is_done() {
            let number = reader.below(MAX_SERIES, "series number")?;
            let time = earlier.wrapping_add(reader.signed()?);
            let value = reader.float()?;
            if !value.is_finite() {
                return Err(StateError::Impossible("value"));
            }
            if number >= rates.last.len() {
                rates.last.resize(number + 1, None);
            }
            rates.last[number] = Some((time, value));
            earlier = time;
        }
        Ok(rates)
    }
}

const FORMAT: u8 = 1;

/// The unit of the rate of something counted in `unit` (UCUM): `By` gives `By/s`, `1` and nothing give `1/s`, and seconds
/// a second are the plain number `1`.
#[must_use]
pub fn unit_of_rate(unit: &str) -> String {
    match unit {
        "" | "1" => "1/s".to_owned(),
        "s" => "1".to_owned(),
        other => format!("{other}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{RateConfig, Rates, unit_of_rate};

    const S: i64 = 1_000_000_000;

    #[test]
    fn rates() {
        let day = 86_400;
        for (name, rows, expect) in [
            ("first value", vec![(0, 5.0)], None),
            ("steady", vec![(0, 5.0), (10, 25.0)], Some(2.0)),
            ("no change", vec![(0, 5.0), (10, 5.0)], Some(0.0)),
            ("reset counts from zero", vec![(0, 100.0), (10, 30.0)], Some(3.0)),
            ("reset to zero", vec![(0, 100.0), (10, 0.0)], Some(0.0)),
            ("after a reset", vec![(0, 100.0), (10, 0.0), (20, 10.0)], Some(1.0)),
            ("NaN is passed over", vec![(0, 5.0), (5, f64::NAN), (10, 25.0)], Some(2.0)),
            ("infinity is passed over", vec![(0, 5.0), (5, f64::INFINITY), (10, 25.0)], Some(2.0)),
            ("NaN has no rate", vec![(0, 5.0), (5, f64::NAN)], None),
            ("a counter is never negative", vec![(0, 5.0), (5, -1.0)], None),
            ("the same time again", vec![(10, 5.0), (10, 25.0)], None),
            ("time goes back", vec![(10, 5.0), (5, 25.0)], None),
            ("gap of a day", vec![(0, 0.0), (day, 86_400.0)], Some(1.0)),
            ("gap too long", vec![(0, 0.0), (day + 1, 86_400.0)], None),
        ] {
            let mut rates = Rates::new(RateConfig::default());
            let mut found = None;
            for (time, value) in rows {
                found = rates.step(1, time * S, value);
                rates = Rates::restore(RateConfig::default(), &rates.snapshot()).expect("its own snapshot");
            }
            assert_eq!(found, expect, "{name}");
        }
    }

    #[test]
    fn closing_forgets() {
        let mut rates = Rates::new(RateConfig::default());
        rates.step(0, 0, 1.0);
        rates.close(0);
        rates.close(7);
        assert_eq!(rates.step(0, S, 2.0), None);
    }

    #[test]
    fn units() {
        for (unit, expect) in [("By", "By/s"), ("1", "1/s"), ("", "1/s"), ("s", "1"), ("{requests}", "{requests}/s")] {
            assert_eq!(unit_of_rate(unit), expect);
        }
    }

    #[test]
    fn damaged_states_are_refused() {
        assert!(Rates::restore(RateConfig::default(), &[9]).is_err());
        assert!(Rates::restore(RateConfig::default(), &[1, 0, 2]).is_err());
    }
}
