//! When the verdicts of outlier detectors become an alert of their agent.
//!
//! A policy says which verdicts count and how many series of one agent must have one within a time. Then one alert is
//! open for the agent and policy; verdicts that follow belong to it, and it is over when none came for a while.

use crate::ids::{SeriesId, UnixNanos};
use crate::series::MetricKind;
use crate::verdict::Severity;
use serde::{Deserialize, Serialize};

/// Longest times of a policy: 30 days.
const MOST_SECONDS: u32 = 2_592_000;
/// Most series that a policy may wait for.
const MOST_SERIES: u32 = 1_000;

/// From which verdicts on an alert is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutlierAlertPolicy {
    /// Its name, which alerts have in their source; lower-case letters, digits and hyphens.
    pub name: String,
    /// The detector.
    pub plugin: String,
    /// Lower scores do not count.
    #[serde(default)]
    pub least_score: f64,
    /// Only series of these kinds count; of all if empty.
    #[serde(default)]
    pub metric_types: Vec<MetricKind>,
    /// How many series of an agent must have a verdict, 1 to 1,000,
    #[serde(default = "one")]
    pub series: u32,
    /// and within which time, seconds of the data's own time.
    #[serde(default = "ten_minutes")]
    pub within_seconds: u32,
    /// The alert is over when nothing more was found for this long, seconds of arrival.
    #[serde(default = "one_hour")]
    pub quiet_seconds: u32,
    /// How bad it is.
    #[serde(default = "warning")]
    pub severity: Severity,
}

fn one() -> u32 {
    1
}

fn ten_minutes() -> u32 {
    600
}

fn one_hour() -> u32 {
    3_600
}

fn warning() -> Severity {
    Severity::Warning
}

impl OutlierAlertPolicy {
    /// Whether a verdict counts.
    #[must_use]
    pub fn counts(&self, plugin: &str, score: f64, kind: MetricKind) -> bool {
        self.plugin == plugin
            && score >= self.least_score
            && (self.metric_types.is_empty() || self.metric_types.contains(&kind))
    }

    fn check(&self) -> Result<(), String> {
        let Self { name, least_score, series, .. } = self;
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&name.len()) || !name.chars().all(is_allowed) {
            return Err(format!("name is {name:?}, must be 1 to 64 lower-case letters, digits and hyphens"));
        }
        if self.plugin.is_empty() {
            return Err(format!("plugin of {name} is empty, must name an outlier detector such as seasonal-outlier"));
        }
        if !(least_score.is_finite() && *least_score >= 0.0) {
            return Err(format!("least_score of {name} is {least_score}, must be a number of 0 or more"));
        }
        if !(1..=MOST_SERIES).contains(series) {
            return Err(format!("series of {name} is {series}, must be 1 to {MOST_SERIES}"));
        }
        for (key, seconds) in [("within_seconds", self.within_seconds), ("quiet_seconds", self.quiet_seconds)] {
            if !(1..=MOST_SECONDS).contains(&seconds) {
                return Err(format!("{key} of {name} is {seconds}, must be 1 to {MOST_SECONDS}"));
            }
        }
        Ok(())
    }
}

/// Says what is wrong with a table of policies, if anything.
///
/// # Errors
/// One sentence for the operator.
pub fn check_all(policies: &[OutlierAlertPolicy]) -> Result<(), String> {
    for (at, policy) in policies.iter().enumerate() {
        policy.check()?;
        if policies[..at].iter().any(|other| other.name == policy.name) {
            return Err(format!("name {:?} is there twice", policy.name));
        }
    }
    Ok(())
}

/// What a verdict does to the alert of an agent and policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStep {
    /// Nothing to tell.
    None,
    /// It is open from now on; of so many series.
    Raise(usize),
    /// It is about so many series now.
    Grow(usize),
}

/// The verdicts of one agent that count for one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountedOutliers {
    /// The newest of each series: its time and its score. While an alert is open, all that belong to it.
    series: Vec<(SeriesId, UnixNanos, f64)>,
    /// The arrival of the last one while an alert is open.
    open: Option<UnixNanos>,
}

impl CountedOutliers {
    /// Takes a verdict that counts, whose data has `time` and came at `arrived`; an alert that was over by then has to be ended
    /// before, with [`CountedOutliers::over_at`] and [`CountedOutliers::end`].
    pub fn take(
        &mut self,
        policy: &OutlierAlertPolicy,
        (series, score): (SeriesId, f64),
        time: UnixNanos,
        arrived: UnixNanos,
    ) -> AlertStep {
        let before = self.series.len();
        if self.open.is_none() {
            let within = i64::from(policy.within_seconds) * UnixNanos::SECOND;
            self.series.retain(|(_, other, _)| time.since(*other) <= within && other.since(time) <= within);
        }
        match self.series.iter_mut().find(|(known, ..)| *known == series) {
            Some(known) => *known = (series, known.1.max(time), known.2.max(score)),
            None => self.series.push((series, time, score)),
        }
        let count = self.series.len();
        if let Some(last) = &mut self.open {
            *last = arrived.max(*last);
            return if count > before { AlertStep::Grow(count) } else { AlertStep::None };
        }
        if count < policy.series as usize {
            return AlertStep::None;
        }
        self.open = Some(arrived);
        AlertStep::Raise(count)
    }

    /// Whether this series has the highest score of all.
    #[must_use]
    pub fn is_strangest(&self, series: SeriesId) -> bool {
        self.series.iter().max_by(|one, other| one.2.total_cmp(&other.2)).is_some_and(|(most, ..)| *most == series)
    }

    /// When the open alert is over, if nothing comes until then.
    #[must_use]
    pub fn over_at(&self, policy: &OutlierAlertPolicy) -> Option<UnixNanos> {
        self.open.map(|last| last.plus(i64::from(policy.quiet_seconds) * UnixNanos::SECOND))
    }

    /// The alert is over.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> OutlierAlertPolicy {
        OutlierAlertPolicy {
            name: "together".to_owned(),
            plugin: "seasonal-outlier".to_owned(),
            least_score: 30.0,
            metric_types: Vec::new(),
            series: 3,
            within_seconds: 600,
            quiet_seconds: 3_600,
            severity: Severity::Warning,
        }
    }

    fn at(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * UnixNanos::SECOND)
    }

    /// The steps of verdicts as (series, second).
    fn steps(policy: &OutlierAlertPolicy, verdicts: &[(u32, i64)]) -> Vec<AlertStep> {
        let mut counted = CountedOutliers::default();
        let take = |&(series, second): &(u32, i64)| {
            if counted.over_at(policy).is_some_and(|over| over <= at(second)) {
                counted.end();
            }
            counted.take(policy, (SeriesId(series), 40.0), at(second), at(second))
        };
        verdicts.iter().map(take).collect()
    }

    #[test]
    fn what_counts() {
        let of_cpu = OutlierAlertPolicy { metric_types: vec![MetricKind::CpuUsage], ..policy() };
        for (policy, plugin, score, kind, expect) in [
            (policy(), "seasonal-outlier", 30.0, MetricKind::Custom, true),
            (policy(), "seasonal-outlier", 29.9, MetricKind::Custom, false),
            (policy(), "iqr-outlier", 30.0, MetricKind::Custom, false),
            (of_cpu.clone(), "seasonal-outlier", 30.0, MetricKind::Custom, false),
            (of_cpu, "seasonal-outlier", 30.0, MetricKind::CpuUsage, true),
        ] {
            assert_eq!(policy.counts(plugin, score, kind), expect, "{plugin} {score} {kind:?}");
        }
    }

    #[test]
    fn an_alert_is_of_series_within_a_time() {
        use AlertStep::{Grow, None, Raise};
        for (verdicts, expect) in [
            // Three series within ten minutes, in any order of their times.
            (&[(1, 0), (2, 300), (3, 600)][..], &[None, None, Raise(3)][..]),
            (&[(1, 600), (2, 300), (3, 0)], &[None, None, Raise(3)]),
            (&[(1, 0), (2, 300), (3, 601)], &[None, None, None]),
            // One series again and again is one.
            (&[(1, 0), (1, 10), (1, 20), (2, 30)], &[None, None, None, None]),
            // What follows belongs to it; a fourth series makes it larger, hours later too, while there was no hour of quiet.
            (&[(1, 0), (2, 1), (3, 2), (1, 3_000), (4, 6_000)], &[None, None, Raise(3), None, Grow(4)]),
            // After an hour of quiet it counts anew.
            (
                &[(1, 0), (2, 1), (3, 2), (1, 3_602), (2, 3_603), (4, 3_604)],
                &[None, None, Raise(3), None, None, Raise(3)],
            ),
        ] {
            assert_eq!(steps(&policy(), verdicts), expect, "{verdicts:?}");
        }
        let alone = OutlierAlertPolicy { series: 1, ..policy() };
        assert_eq!(steps(&alone, &[(1, 0), (1, 5), (2, 6)]), [Raise(1), None, Grow(2)]);
    }

    #[test]
    fn the_strangest_is_the_one_with_the_highest_score() {
        let mut counted = CountedOutliers::default();
        for (series, score) in [(1, 40.0), (2, 90.0), (3, 50.0), (2, 30.0)] {
            counted.take(&policy(), (SeriesId(series), score), at(0), at(0));
        }
        assert_eq!([1, 2, 3].map(|series| counted.is_strangest(SeriesId(series))), [false, true, false]);
    }

    #[test]
    fn impossible_policies_are_named() {
        assert_eq!(check_all(&[policy(), OutlierAlertPolicy { name: "other".to_owned(), ..policy() }]), Ok(()));
        for (bad, word) in [
            (OutlierAlertPolicy { name: "Not this".to_owned(), ..policy() }, "name"),
            (OutlierAlertPolicy { plugin: String::new(), ..policy() }, "plugin"),
            (OutlierAlertPolicy { least_score: f64::NAN, ..policy() }, "least_score"),
            (OutlierAlertPolicy { series: 0, ..policy() }, "series"),
            (OutlierAlertPolicy { within_seconds: 0, ..policy() }, "within_seconds"),
            (OutlierAlertPolicy { quiet_seconds: u32::MAX, ..policy() }, "quiet_seconds"),
        ] {
            assert!(check_all(&[bad]).expect_err(word).contains(word));
        }
        assert!(check_all(&[policy(), policy()]).expect_err("twice").contains("twice"));
    }
}
