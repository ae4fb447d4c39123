//! Failure patterns: outages that recur at an hour, recur with a period, flap, or are shared by a location.

use super::availability::DAY;
use super::time::{HOUR, Time};
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;
use vitals_core::availability::Outage;
use vitals_core::ids::UnixNanos;

/// Outages of one location that begin within this time of each other are taken for one cause.
const TOGETHER: i64 = 60 * UnixNanos::SECOND;

/// So many outages within an hour are flapping.
const FLAPPING: usize = 3;

/// So many outages with the same time from one to the next are a pattern.
const PERIODIC: usize = 4;

/// By so much of their mean the times may differ.
const REGULAR: f64 = 0.1;

/// So many outages at the same hour on different days are a pattern, if they are at least half of all.
const RECURRING: usize = 3;

/// How an agent keeps failing.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FailurePattern {
    /// Outages keep beginning at the same time of day.
    RecurringHour {
        /// The hour (UTC) at which they begin at the earliest.
        hour_utc: i64,
        /// The earliest time of day (UTC).
        from: String,
        /// The latest one.
        to: String,
        /// On how many days.
        days: usize,
        /// How many outages.
        outages: usize,
        /// What to do.
        recommendation: String,
    },
    /// Outages keep beginning after the same time.
    RecurringPeriod {
        /// The mean time from one beginning to the next.
        period_minutes: f64,
        /// How many outages.
        outages: usize,
        /// What to do.
        recommendation: String,
    },
    /// Many outages within an hour.
    Flapping {
        /// How many.
        outages: usize,
        /// The beginning of the first.
        start: Time,
        /// The beginning of the last.
        end: Time,
        /// What to do.
        recommendation: String,
    },
    /// An outage that began together with those of other agents at the same place: a partition, probably.
    Location {
        /// The place.
        location: String,
        /// When it began.
        start: Time,
        /// The others.
        agents: Vec<String>,
        /// What to do.
        recommendation: String,
    },
}

impl FailurePattern {
    /// What to do about it.
    #[must_use]
    pub fn recommendation(&self) -> &str {
        match self {
            Self::RecurringHour { recommendation, .. }
            | Self::RecurringPeriod { recommendation, .. }
            | Self::Flapping { recommendation, .. }
            | Self::Location { recommendation, .. } => recommendation,
        }
    }
}

/// The patterns of `outages`; `peers` are the outages of the other agents at the same `location`.
pub fn patterns(outages: &[Outage], peers: &[(String, Vec<Outage>)], location: Option<&str>) -> Vec<FailurePattern> {
    recurring_hour(outages)
        .into_iter()
        .chain(recurring_period(outages))
        .chain(flapping(outages))
        .chain(together(outages, peers, location))
        .collect()
}

/// The time of day (UTC) at which outages keep beginning: the hour, wherever it starts, with the most days.
fn recurring_hour(outages: &[Outage]) -> Option<FailurePattern> {
    let of_day = |outage: &Outage| outage.start.0.rem_euclid(DAY);
    let after = |from: i64, outage: &Outage| (of_day(outage) - from).rem_euclid(DAY);
    let candidates = outages.iter().map(|first| {
        let from = of_day(first);
        let within: Vec<&Outage> = outages.iter().filter(|one| after(from, one) < HOUR).collect();
        let days: BTreeSet<i64> = within.iter().map(|one| (one.start.0 - from).div_euclid(DAY)).collect();
        (days.len(), from, within)
    });
    let (days, from, within) = candidates.max_by_key(|(days, ..)| *days)?;
    if days < RECURRING || 2 * days < outages.len() {
        return None;
    }
    let last = within.iter().map(|one| after(from, one)).max().unwrap_or(0);
    let clock = |of_day: i64| {
        let minute = of_day.rem_euclid(DAY) / (60 * UnixNanos::SECOND);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    let (from_text, to_text) = (clock(from), clock(from + last));
    Some(FailurePattern::RecurringHour {
        hour_utc: from / HOUR,
        days,
        outages: within.len(),
        recommendation: format!(
            "Outages keep beginning between {from_text} and {to_text} UTC: check what is scheduled then."
        ),
        from: from_text,
        to: to_text,
    })
}

/// Outages that begin one after the other at the same distance; a day is [`recurring_hour`]'s.
#[allow(clippy::cast_precision_loss)]
fn recurring_period(outages: &[Outage]) -> Option<FailurePattern> {
    if outages.len() < PERIODIC {
        return None;
    }
    let gaps: Vec<f64> = outages.windows(2).map(|pair| pair[1].start.since(pair[0].start) as f64).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let off = gaps.iter().map(|gap| (gap - mean).abs()).fold(0.0, f64::max);
    let daily = (mean - DAY as f64).abs() <= REGULAR * DAY as f64;
    if mean <= 0.0 || off > REGULAR * mean || daily {
        return None;
    }
    let period_minutes = mean / (60 * UnixNanos::SECOND) as f64;
    Some(FailurePattern::RecurringPeriod {
        period_minutes,
        outages: outages.len(),
        recommendation: format!(
            "Outages keep beginning about every {period_minutes:.0} min: look for a job, a leak or a limit with that period."
        ),
    })
}

/// The densest hour, if it is flapping.
fn flapping(outages: &[Outage]) -> Option<FailurePattern> {
    let mut densest: &[Outage] = &[];
    let mut from = 0;
    for to in 0..outages.len() {
        while outages[to].start.since(outages[from].start) > HOUR {
            from += 1;
        }
        if to + 1 - from > densest.len() {
            densest = &outages[from..=to];
        }
    }
    (densest.len() >= FLAPPING).then(|| FailurePattern::Flapping {
        outages: densest.len(),
        start: Time(densest[0].start),
        end: Time(densest[densest.len() - 1].start),
        recommendation: "The agent goes up and down within an hour: check for restart loops and an unstable network."
            .to_owned(),
    })
}

/// Outages that began together with those of others at the same location.
fn together(outages: &[Outage], peers: &[(String, Vec<Outage>)], location: Option<&str>) -> Vec<FailurePattern> {
    let Some(location) = location else { return Vec::new() };
    outages
        .iter()
        .filter_map(|outage| {
            let others: Vec<String> = peers
                .iter()
                .filter(|(_, theirs)| theirs.iter().any(|other| other.start.since(outage.start).abs() <= TOGETHER))
                .map(|(key, _)| key.clone())
                .collect();
            // With one other agent, both must fail; with many, at least two others and half of them.
            let many = others.len() >= 2 && 2 * others.len() >= peers.len() || peers.len() == 1 && others.len() == 1;
            many.then(|| FailurePattern::Location {
                location: location.to_owned(),
                start: Time(outage.start),
                agents: others,
                recommendation: "Agents of one location failed together: suspect its network or power, not the agents."
                    .to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitals_core::availability::State;

    const MINUTE: i64 = HOUR / 60;

    fn outage(start: i64) -> Outage {
        Outage { start: UnixNanos(start), end: Some(UnixNanos(start + HOUR / 60)), cause: State::Silent }
    }

    #[test]
    fn recurring_times_of_day() {
        let check = |starts: &[i64], expect: Option<(i64, &str, &str, usize, usize)>| {
            let outages: Vec<Outage> = starts.iter().map(|&minute| outage(minute * MINUTE)).collect();
            let found = recurring_hour(&outages).map(|pattern| match pattern {
                FailurePattern::RecurringHour { hour_utc, from, to, days, outages, .. } => {
                    (hour_utc, from, to, days, outages)
                }
                other => panic!("{other:?}"),
            });
            let expect = expect.map(|(hour, from, to, days, all)| (hour, from.to_owned(), to.to_owned(), days, all));
            assert_eq!(found, expect, "{starts:?}");
        };
        let day = 24 * 60;
        check(&[180, day + 180, 2 * day + 185, 3 * day + 180], Some((3, "03:00", "03:05", 4, 4)));
        // Across the hour, and across midnight.
        check(&[178, day + 182, 2 * day + 179], Some((2, "02:58", "03:02", 3, 3)));
        check(&[day - 2, 2 * day + 3, 3 * day - 1], Some((23, "23:58", "00:03", 3, 3)));
        // Too few days, or lost among others.
        check(&[180, day + 180], None);
        check(&[180, 190, 200], None);
        check(&[180, 400, 700, day + 180, day + 400, 2 * day + 180, 2 * day + 900], None);
    }

    #[test]
    fn other_patterns() {
        let every = |gap: i64, count: i64| (0..count).map(|at| outage(at * gap)).collect::<Vec<_>>();
        let period = |outages: &[Outage]| match recurring_period(outages) {
            Some(FailurePattern::RecurringPeriod { period_minutes, .. }) => Some(period_minutes),
            _ => None,
        };
        assert_eq!(period(&every(6 * HOUR, 4)), Some(360.0));
        assert_eq!(period(&every(6 * HOUR, 3)), None);
        assert_eq!(period(&every(DAY, 5)), None, "a day is a time of day");
        assert_eq!(period(&[outage(0), outage(HOUR), outage(5 * HOUR), outage(6 * HOUR)]), None);
        let often = every(HOUR / 4, 5);
        assert!(matches!(flapping(&often), Some(FailurePattern::Flapping { outages: 5, .. })));
        assert!(flapping(&every(DAY, 4)).is_none() && recurring_hour(&often).is_none());
        let daily: Vec<Outage> = (0..4).map(|day| outage(day * DAY + 3 * HOUR)).collect();
        let peers =
            vec![("b".to_owned(), vec![outage(3 * HOUR + HOUR / 120)]), ("c".to_owned(), vec![outage(3 * HOUR)])];
        let found = together(&daily, &peers, Some("eu"));
        assert!(matches!(&found[..], [FailurePattern::Location { agents, .. }] if agents == &["b", "c"]), "{found:?}");
        assert!(together(&daily, &peers[..0], Some("eu")).is_empty() && together(&daily, &peers, None).is_empty());
    }
}
