//! Incidents among the findings of a detector that judges each value for itself: which finding begins one.
//!
//! The finding that begins an incident is followed by a silence, which grows with the time since the first finding of its
//! series; only a finding with a score much greater than that of the beginning breaks it. After the silence a finding must
//! be greater than what is usual among the findings of its series, the more so the more incidents it had of late, so that
//! the tail of noise, or a series that is strange by nature, soon begins no more of them.

use super::math::decay;
use crate::ids::{SeriesId, UnixNanos};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// After an incident, silence for this share of the time since the first finding of the series, within bounds.
const SILENCE_SHARE: f64 = 0.1;
const LEAST_SILENCE: f64 = 3_600.0;
const MOST_SILENCE: f64 = 86_400.0;
/// What scores so many times as much as the beginning of the incident before breaks its silence.
const BREAKTHROUGH: f64 = 10.0;
/// A beginning scores at least this many times the usual score of its series' findings,
const OVER_USUAL: f64 = 2.0;
/// and for each recent incident so many times more.
const OVER_USUAL_FOR_EACH_INCIDENT: f64 = 2.0;
/// An incident is recent for about so long.
const RECENT: f64 = 604_800.0;
/// A lower score never begins an incident: the last bits of a number.
const LEAST_SCORE: f64 = 1e-3;
/// The usual score is a mean of about so many findings.
const USUAL_FINDINGS: f64 = 100.0;
/// One finding counts for at most so many times the usual score in it.
const MOST_OF_USUAL: f64 = 10.0;
/// Findings before that bound is applied.
const LEAST_FINDINGS: f64 = 3.0;

/// What the findings of one series say so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct SeriesFindings {
    first: UnixNanos,
    /// Up to [`USUAL_FINDINGS`].
    count: f64,
    usual_score: f64,
    /// When the last incident began; `None` before the first one.
    begun: Option<UnixNanos>,
    score: f64,
    /// How many incidents there were of late, when the last one began.
    recent: f64,
}

/// The findings of many series, each by its number. Takes room only for series that had a finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IncidentGrouper {
    series: BTreeMap<SeriesId, SeriesFindings>,
}

impl IncidentGrouper {
    /// Takes the next finding of a series; whether it begins an incident. A score that is no number counts as 0.
    pub fn begins(&mut self, series: SeriesId, time: UnixNanos, score: f64) -> bool {
        let score = if score.is_nan() { 0.0 } else { score.clamp(0.0, f64::MAX) };
        let new = SeriesFindings { first: time, count: 0.0, usual_score: 0.0, begun: None, score: 0.0, recent: 0.0 };
        self.series.entry(series).or_insert(new).begins(time, score)
    }

    /// Forgets a series.
    pub fn close(&mut self, series: SeriesId) {
        self.series.remove(&series);
    }
}

fn seconds(from: UnixNanos, to: UnixNanos) -> f64 {
    (to.since(from) as f64 / UnixNanos::SECOND as f64).max(0.0)
}

impl SeriesFindings {
    fn begins(&mut self, time: UnixNanos, score: f64) -> bool {
        let since = self.begun.map_or(f64::INFINITY, |begun| seconds(begun, time));
        let recent = if since.is_finite() { self.recent * decay(since / RECENT) } else { 0.0 };
        let least = OVER_USUAL * (1.0 + OVER_USUAL_FOR_EACH_INCIDENT * recent) * self.usual_score;
        self.learn(score);
        let silence = (SILENCE_SHARE * seconds(self.first, time)).clamp(LEAST_SILENCE, MOST_SILENCE);
        let is_silent = since < silence && score <= BREAKTHROUGH * self.score;
        if score < least.max(LEAST_SCORE) || is_silent {
            return false;
        }
        (self.begun, self.score, self.recent) = (Some(time), score, recent + 1.0);
        true
    }

    fn learn(&mut self, score: f64) {
        let is_bounded = self.count > LEAST_FINDINGS && self.usual_score > 0.0;
        let learned = if is_bounded { score.min(MOST_OF_USUAL * self.usual_score) } else { score };
        self.count = (self.count + 1.0).min(USUAL_FINDINGS);
        self.usual_score += (learned - self.usual_score) / self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::IncidentGrouper;
    use crate::ids::{SeriesId, UnixNanos};
    use crate::rules::iqr::{Detector, IqrConfig};
    use proptest::prelude::*;

    const A: SeriesId = SeriesId(7);
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> UnixNanos {
        UnixNanos((1_700_000_000 + seconds) * UnixNanos::SECOND)
    }

    /// The times of the findings that begin an incident.
    fn begun(findings: &[(i64, f64)]) -> Vec<i64> {
        let mut grouper = IncidentGrouper::default();
        let begins = findings.iter().filter(|&&(time, score)| grouper.begins(A, at(time), score));
        begins.map(|&(time, _)| time).collect()
    }

    #[test]
    fn findings_that_go_on_are_one_incident() {
        let findings: Vec<_> = (0..50).map(|i| (i * MINUTE, 5.0 + (i % 3) as f64)).collect();
        assert_eq!(begun(&findings), [0]);
    }

    #[test]
    fn something_much_stranger_breaks_the_silence() {
        assert_eq!(begun(&[(0, 1.0), (MINUTE, 9.9), (2 * MINUTE, 200.0)]), [0, 2 * MINUTE]);
    }

    #[test]
    fn the_silence_grows_with_the_history_up_to_a_day() {
        // A finding as strange as ever comes so long after the last beginning; everything between is small.
        for (history, silence) in [(0, HOUR), (20 * HOUR, 2 * HOUR), (5 * DAY, 12 * HOUR), (60 * DAY, DAY)] {
            for (after, expect) in [(silence * 8 / 10, false), (silence * 13 / 10, true)] {
                let mut findings: Vec<_> = (0..100).map(|i| (i * history / 100, 0.01)).collect();
                findings.push((history, 20.0));
                findings.push((history + after, 20.0));
                assert_eq!(begun(&findings).contains(&(history + after)), expect, "{after} after {history}");
            }
        }
    }

    #[test]
    fn each_recent_incident_raises_what_the_next_must_score() {
        let every_two_days = |scores: &[f64]| {
            let findings: Vec<_> = scores.iter().zip(0..).map(|(&score, i)| (i * 2 * DAY, score)).collect();
            begun(&findings).len()
        };
        // Strange by nature, always alike: news once.
        assert_eq!(every_two_days(&[3.0; 30]), 1);
        assert_eq!(every_two_days(&[0.1, 0.1, 0.1, 3.0]), 2);
        // After months of nothing it is news again.
        assert_eq!(begun(&[(0, 3.0), (90 * DAY, 6.1)]), [0, 90 * DAY]);
        assert_eq!(begun(&[(0, 3.0), (2 * DAY, 6.1)]), [0]);
    }

    #[test]
    fn the_last_bits_of_a_number_begin_nothing() {
        assert_eq!(begun(&[(0, 1e-9), (DAY, 1e-9), (2 * DAY, 1.0)]), [2 * DAY]);
    }

    #[test]
    fn impossible_scores_and_times_do_no_harm() {
        let mut grouper = IncidentGrouper::default();
        for (time, score) in [(i64::MAX, f64::INFINITY), (i64::MIN, f64::NAN), (0, -1.0), (5, f64::MAX)] {
            grouper.begins(A, UnixNanos(time), score);
        }
        let text = serde_json::to_string(&grouper).expect("numbers");
        // JSON has no infinity and no NaN: they would not come back.
        assert_eq!(serde_json::from_str::<IncidentGrouper>(&text).expect("finite numbers"), grouper);
    }

    #[test]
    fn a_closed_series_comes_back_without_a_past() {
        let mut grouper = IncidentGrouper::default();
        assert!(grouper.begins(A, at(0), 3.0) && grouper.begins(SeriesId(8), at(0), 3.0));
        assert!(!grouper.begins(A, at(1), 3.0));
        grouper.close(A);
        grouper.close(SeriesId(99));
        assert!(grouper.begins(A, at(2), 3.0));
        assert!(!grouper.begins(SeriesId(8), at(2), 3.0));
    }

    /// SplitMix64, as a normal number.
    fn normal(state: &mut u64) -> f64 {
        let mut uniform = || {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-17
        };
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    }

    #[test]
    fn noise_has_many_outliers_and_few_incidents() {
        type Noise = fn(f64) -> f64;
        let noises: [(&str, Noise); 2] = [("Gaussian", |x| 50.0 + 5.0 * x), ("lognormal", |x| (0.5 * x).exp())];
        for (step, days) in [(10, 14), (60, 28), (300, 28), (3_600, 84)] {
            for (name, noise) in noises {
                let (series, mut outliers, mut incidents) = (3, 0, 0);
                for number in 0..series {
                    let (mut detector, mut grouper) = (Detector::new(IqrConfig::default()), IncidentGrouper::default());
                    let mut seed = 1_000 * u64::from(number) + 7;
                    for i in 0..days * DAY / step {
                        let Some(found) = detector.judge(0, at(i * step).0, noise(normal(&mut seed))) else { continue };
                        outliers += 1;
                        incidents += usize::from(grouper.begins(SeriesId(number), at(i * step), found.score));
                    }
                }
                let weeks = f64::from(series) * days as f64 / 7.0;
                let a_week = incidents as f64 / weeks;
                assert!(outliers as f64 / weeks > 2.0, "{name} every {step} s: {outliers} outliers in {weeks} weeks");
                assert!(a_week <= 3.0, "{name} every {step} s: {a_week} incidents a series and week");
            }
        }
    }

    proptest! {
        #[test]
        fn a_restart_anywhere_changes_nothing(
            findings in prop::collection::vec((0_u32..3, 0_i64..90_000, 0.0..50.0_f64), 0..200), cut in 0_usize..200,
        ) {
            let (mut whole, mut restarted, mut time) = (IncidentGrouper::default(), IncidentGrouper::default(), 0);
            for (i, (series, step, score)) in findings.into_iter().enumerate() {
                if i == cut {
                    let saved = serde_json::to_vec(&restarted).expect("numbers");
                    restarted = serde_json::from_slice(&saved).expect("its own");
                }
                time += step;
                let expect = whole.begins(SeriesId(series), at(time), score);
                prop_assert_eq!(restarted.begins(SeriesId(series), at(time), score), expect);
            }
        }
    }
}
