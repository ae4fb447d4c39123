//! The adaptive timeout: how long an agent may be silent before it counts as offline.
//!
//! Source: IntelliBrowse's heartbeat processor; every constant is in [`TimeoutRules`].

use crate::ids::UnixNanos;
use serde::{Deserialize, Serialize};

/// The constants of the adaptive timeout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutRules {
    /// How many of the last beats are looked at.
    pub beats: usize,
    /// Times the interval, while there are fewer than two beats.
    pub first: f64,
    /// Sample standard deviations above the mean gap.
    pub deviations: f64,
    /// Least timeout, times the interval.
    pub least: f64,
    /// Greatest timeout, times the interval.
    pub most: f64,
}

impl Default for TimeoutRules {
    fn default() -> Self {
        Self { beats: 10, first: 3.0, deviations: 2.0, least: 2.0, most: 5.0 }
    }
}

/// The timeout in nanoseconds after the last of `beats` (in order of time), of an agent that means to beat
/// each `interval` nanoseconds: mean plus deviations of the last gaps, within bounds.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn adaptive_timeout(beats: &[UnixNanos], interval: i64, rules: &TimeoutRules) -> i64 {
    let recent = &beats[beats.len().saturating_sub(rules.beats.max(2))..];
    let interval = interval as f64;
    if recent.len() < 2 {
        return (rules.first * interval) as i64;
    }
    let gaps = || recent.windows(2).map(|pair| pair[1].since(pair[0]) as f64);
    let count = (recent.len() - 1) as f64;
    let mean = gaps().sum::<f64>() / count;
    let deviation =
        if count < 2.0 { 0.0 } else { (gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt() };
    let most = (rules.most * interval).max(rules.least * interval);
    (mean + rules.deviations * deviation).clamp(rules.least * interval, most) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_gaps_within_two_and_five_intervals() {
        for (beats, interval, expect) in [
            (&[][..], 30, 90),
            (&[0][..], 30, 90),
            // One gap has no deviation: the mean alone, lifted to two intervals.
            (&[0, 30][..], 30, 60),
            (&[0, 70][..], 30, 70),
            (&[0, 60][..], 30, 60),
            (&[0, 150][..], 30, 150),
            (&[0, 151][..], 30, 150),
            // Gaps 20, 40: mean 30, sample standard deviation 14.142: 58.28, lifted to 60.
            (&[0, 20, 60][..], 30, 60),
            // Gaps 20, 80: mean 50, deviation 42.426: 134.85.
            (&[0, 20, 100][..], 30, 134),
            // Ten beats count: the gap of 900 before them does not.
            (&[0, 900, 930, 960, 990, 1020, 1050, 1080, 1110, 1140, 1170][..], 30, 60),
            (&[0, 900, 930, 960, 990, 1020, 1050, 1080, 1110, 1140][..], 30, 150),
        ] {
            let beats: Vec<UnixNanos> = beats.iter().map(|s| UnixNanos(s * UnixNanos::SECOND)).collect();
            let timeout = adaptive_timeout(&beats, interval * UnixNanos::SECOND, &TimeoutRules::default());
            assert_eq!(timeout / UnixNanos::SECOND, expect, "{beats:?}");
        }
    }
}
