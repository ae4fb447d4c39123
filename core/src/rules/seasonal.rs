//! Strange values of a series, by its whole past: causal, one value at a time, in a fixed room for each series.
//!
//! A value's score is the sum of the surprises (-ln of the chance) of six things: the value itself, its fast and its slow
//! level, what is left of it after the usual value of its hour of the week or day, the size of the last errors, the mean of
//! the hour that ended, and how long the value has not changed. Chances of the first four come from the tail of each series'
//! own largest deviations ([`tail`]), so that no distribution is assumed. The sum is an index of strangeness, not a chance:
//! its parts are not independent.
//!
//! A finding is the beginning of an incident. It is followed by a silence that grows with the age of the series, which only
//! something much stranger breaks, and each incident raises the threshold for a while, so that a series that is strange by
//! nature falls silent: `alarms_per_series_week` sets how fast that is forgotten.

mod history;
mod hours;
mod tail;

use super::pack::{MAX_SERIES, Reader, StateError, Writer};
use history::History;
use serde::{Deserialize, Serialize};

/// The name of the plugin that has this rule. Its findings begin incidents, and are no answer to whether a value of a request
/// is an outlier, which the window of the values just before decides.
pub const PLUGIN: &str = "seasonal-outlier";

/// What an operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeasonalConfig {
    /// How many findings of a series a week are tolerable where nothing is wrong; 0.01 to 100.
    pub alarms_per_series_week: f64,
}

impl Default for SeasonalConfig {
    fn default() -> Self {
        Self { alarms_per_series_week: 1.0 }
    }
}

impl SeasonalConfig {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        if (0.01..=100.0).contains(&self.alarms_per_series_week) {
            return Ok(());
        }
        Err(format!("alarms_per_series_week is {}, must be 0.01 to 100", self.alarms_per_series_week))
    }
}

/// The beginning of an incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Incident {
    /// The lower end of what is expected at the time.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// How strange, comparable over series whatever their steps; finite, and about 23 where it is just enough.
    pub score: f64,
    /// How many earlier values it was judged by.
    pub values: u32,
}

/// The past of many series, by small dense numbers.
#[derive(Debug)]
pub struct SeasonalDetector {
    config: SeasonalConfig,
    series: Vec<Option<Box<History>>>,
}

impl SeasonalDetector {
    /// A detector without a past. `config` must have passed [`SeasonalConfig::check`].
    #[must_use]
    pub fn new(config: SeasonalConfig) -> Self {
        Self { config, series: Vec::new() }
    }

    /// Judges `value` by the series' past, then makes it part of it. NaN and infinities are neither judged nor kept.
    pub fn judge(&mut self, series: u32, time: i64, value: f64) -> Option<Incident> {
        if !value.is_finite() {
            return None;
        }
        let at = series as usize;
        if at >= self.series.len() {
            self.series.resize_with(at + 1, || None);
        }
        let history = self.series[at].get_or_insert_with(|| Box::new(History::NEW));
        let strange = history.judge(time, value, self.config.alarms_per_series_week)?;
        Some(Incident { lower: strange.lower, upper: strange.upper, score: strange.score, values: strange.values })
    }

    /// Forgets a series.
    pub fn close(&mut self, series: u32) {
        if let Some(history) = self.series.get_mut(series as usize) {
            *history = None;
        }
    }

    /// The past of all series, written down.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Writer::new(FORMAT);
        for (number, history) in self.series.iter().enumerate() {
            if let Some(history) = history.as_ref().filter(|history| !history.is_new()) {
                out.unsigned(number as u64);
                history.write(&mut out);
            }
        }
        out.finish()
    }

    /// A detector with the past that [`SeasonalDetector::snapshot`] wrote down.
    ///
    /// # Errors
    /// When `state` is not such a snapshot.
    pub fn restore(config: SeasonalConfig, state: &[u8]) -> Result<Self, StateError> {
        let mut detector = Self::new(config);
        if state.is_empty() {
            return Ok(detector);
        }
        let mut reader = Reader::new(state, FORMAT)?;
        while !reader.is_done() {
            let number = reader.below(MAX_SERIES, "series number")?;
            let history = History::read(&mut reader)?;
            if number >= detector.series.len() {
                detector.series.resize_with(number + 1, || None);
            }
            detector.series[number] = Some(Box::new(history));
        }
        Ok(detector)
    }
}

const FORMAT: u8 = 1;

/// Bytes of the past of one series in memory.
pub const BYTES_PER_SERIES: usize = size_of::<History>();

#[cfg(test)]
mod situations;
#[cfg(test)]
mod tests;
