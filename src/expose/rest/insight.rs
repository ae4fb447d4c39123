//! What can be said of an agent from the board and the store: its availability, its trends, how it fails.
//!
//! Everything here asks the store and may block.

use super::components::{Grid, HEARTBEAT, bounds};
use super::current_health::CurrentHealth;
use super::time::{HOUR, Time, minutes};
use super::wire::{Direction, FailurePattern, Health, HealthAssessment, NOTHING_AGAINST, Period, SeriesTrend};
use crate::expose::Rest;
use std::collections::{BTreeMap, BTreeSet};
use vitals_core::availability::{AvailabilitySummary, Interval, Outage, State, Tally, summary};
use vitals_core::caller::Caller;
use vitals_core::ids::UnixNanos;
use vitals_core::live_agents::Liveness;
use vitals_core::rules::sla::{self, SlaConfig, Windows};
use vitals_core::series::{AgentDesc, MetricKind, Origin, Part, SeriesDesc, Shape};
use vitals_core::store::{Aggregation, SampleQuery, StoreError, VerdictQuery};
use vitals_core::verdict::{SlaVerdict, VerdictBody};

pub const DAY: i64 = 24 * HOUR;
/// Most series of one agent whose trends are looked at.
const MOST_SERIES: usize = 24;
/// Points that a trend is fitted to.
const TREND_POINTS: i64 = 60;
/// A fitted change below this share of the mean counts as none.
const STABLE_CHANGE: f64 = 0.05;
/// Most other agents of a location that are compared.
const MOST_PEERS: usize = 200;
/// Outages of one location that begin within this time of each other are taken for one cause.
const TOGETHER: i64 = 60 * UnixNanos::SECOND;
/// So many outages within an hour are flapping.
const FLAPPING: usize = 3;
/// So many outages with the same time from one to the next are a pattern.
const PERIODIC: usize = 4;
/// By so much of their mean the times may differ.
const REGULAR: f64 = 0.1;
/// Less known time than this is too little to judge an agent by.
const LEAST_KNOWN: i64 = HOUR;
/// So many outages at the same hour on different days are a pattern, if they are at least half of all.
const RECURRING: usize = 3;

/// How a target is, in one look.
pub fn assessment(
    current_health: &CurrentHealth,
    availability: &Availability,
    parts: &BTreeMap<String, Health>,
) -> HealthAssessment {
    HealthAssessment {
        overall_health: current_health.health,
        health_score: current_health.score_as_number(),
        uptime_percentage: availability.percent(),
        last_check: Time(current_health.last_check),
        components: parts.clone(),
        reported_status: current_health.reported(),
    }
}

/// A name for a series that tells it from the agent's others.
pub fn label(series: &SeriesDesc) -> String {
    let spec = &series.spec;
    let mut name = spec.metric.clone();
    if spec.part != Part::Value {
        name += &format!(" {}", spec.part);
    }
    if !spec.attributes.is_empty() {
        let pairs: Vec<String> = spec.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        name += &format!("{{{}}}", pairs.join(","));
    }
    if spec.origin == Origin::Rest && !spec.scope.name.is_empty() && spec.scope.name != HEARTBEAT {
        name = format!("{}/{name}", spec.scope.name);
    }
    name
}

/// A straight line through samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Change in an hour.
    pub per_hour: f64,
    /// The line's value at the end of the range.
    pub at_end: f64,
    /// The mean of the values.
    pub mean: f64,
    /// The line's change over the range.
    pub change: f64,
}

impl Line {
    /// The least-squares line; `None` for fewer than three points or times.
    #[allow(clippy::cast_precision_loss)]
    pub fn fit(points: &[(UnixNanos, f64)], end: UnixNanos) -> Option<Self> {
        let points: Vec<(f64, f64)> = points
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|&(time, value)| (time.since(end) as f64 / HOUR as f64, value))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x / count, sy + y / count));
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            (above + (x - mean_x) * (y - mean_y), below + (x - mean_x) * (x - mean_x))
        });
        if below <= 0.0 {
            return None;
        }
        let per_hour = above / below;
        let span = points[points.len() - 1].0 - points[0].0;
        let line = Self { per_hour, at_end: mean_y - per_hour * mean_x, mean: mean_y, change: per_hour * span };
        // Values near the end of what a number can hold have sums beyond it.
        [line.per_hour, line.at_end, line.mean, line.change].iter().all(|part| part.is_finite()).then_some(line)
    }

    /// Where it goes.
    pub fn direction(&self) -> Direction {
        if self.change.abs() <= (STABLE_CHANGE * self.mean.abs()).max(f64::EPSILON) {
            Direction::Stable
        } else if self.change > 0.0 {
            Direction::Increasing
        } else {
            Direction::Decreasing
        }
    }

    /// Hours until the line reaches `bound`; 0 when it is there, `None` when it does not get there.
    pub fn hours_to(&self, bound: f64) -> Option<f64> {
        if self.at_end >= bound {
            Some(0.0)
        } else {
            let hours = (bound - self.at_end) / self.per_hour;
            (self.direction() == Direction::Increasing && hours.is_finite()).then_some(hours)
        }
    }
}

/// Trends of an agent's most telling series: typed ones first.
pub fn trends(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
    predict: bool,
) -> Result<BTreeMap<String, SeriesTrend>, StoreError> {
    let mut series = rest.registry.series_of(agent.id);
    series.retain(|series| {
        let rises_only = matches!(series.spec.shape, Shape::Cumulative { monotonic: true } | Shape::Delta { .. });
        !rises_only && series.spec.part == Part::Value
    });
    series.sort_by_key(|series| (series.spec.kind == MetricKind::Custom, series.id));
    let mut found = BTreeMap::new();
    for series in series.iter().take(MOST_SERIES) {
        let grid = Grid::of(rest, series, start, end, TREND_POINTS)?;
        let means = Means { points: &grid.ask(rest, series, Aggregation::Mean)?, step: grid.step(), end: grid.end() };
        if let Some(trend) = trend(rest, series, &means, end, predict)? {
            found.insert(label(series), trend);
        }
    }
    Ok(found)
}

/// A series' mean in each step that has values.
pub struct Means<'a> {
    /// The start of the step, and the mean.
    pub points: &'a [(UnixNanos, f64)],
    pub step: i64,
    /// The end of what was asked for, which may cut the last step.
    pub end: UnixNanos,
}

impl Means<'_> {
    fn end_of(&self, start: UnixNanos) -> UnixNanos {
        start.plus(self.step).min(self.end)
    }

    /// Each mean at the middle of its step: at its start, the line would lie half a step early.
    fn centred(&self) -> Vec<(UnixNanos, f64)> {
        let middle = |start: UnixNanos| start.plus(self.end_of(start).since(start) / 2);
        self.points.iter().map(|&(start, mean)| (middle(start), mean)).collect()
    }

    /// The last value itself.
    fn last(&self, rest: &Rest, series: &SeriesDesc) -> Result<Option<f64>, StoreError> {
        let Some(&(start, _)) = self.points.last() else { return Ok(None) };
        let (end, step) = (self.end_of(start), Some((self.step, Aggregation::Last)));
        let found = rest.store.samples(&SampleQuery { series: series.id, start, end, step, limit: 1 })?;
        Ok(found.last().map(|&(_, value)| value).filter(|value| value.is_finite()))
    }
}

/// The trend of a series through its means, at `end`; none if they are too few for a line.
pub fn trend(
    rest: &Rest,
    series: &SeriesDesc,
    means: &Means<'_>,
    end: UnixNanos,
    predict: bool,
) -> Result<Option<SeriesTrend>, StoreError> {
    let Some(line) = Line::fit(&means.centred(), end) else { return Ok(None) };
    let bounds = bounds(&rest.config.thresholds, series);
    let hours_to = |at: usize| predict.then(|| line.hours_to(bounds?[at]));
    Ok(Some(SeriesTrend {
        metric_type: series.spec.kind.name().to_owned(),
        unit: series.spec.unit.clone(),
        slope_per_hour: line.per_hour,
        direction: line.direction(),
        mean: line.mean,
        last: means.last(rest, series)?,
        points: means.points.len(),
        hours_to_warning: hours_to(0),
        hours_to_critical: hours_to(1),
    }))
}

/// Availability over a window, and the objective over its own period.
pub struct Availability {
    pub summary: AvailabilitySummary,
    /// The objective in force, percent.
    pub target: f64,
    /// The last report against it; `None` when nobody reports.
    pub sla: Option<SlaVerdict>,
    /// Where advice on the availability begins: the health scorer's limits, if the built-in one is in force.
    advise: Option<[f64; 3]>,
    pub peers: Vec<(String, Vec<Outage>)>,
}

impl Availability {
    /// `current_health` carries the SLA plugin's report. Before the first one the same rule is applied here with the same settings,
    /// unless the operator has another plugin for it.
    pub fn of(
        rest: &Rest,
        caller: &Caller,
        agent: &AgentDesc,
        current_health: &CurrentHealth,
        (start, end): (UnixNanos, UnixNanos),
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let period = i64::from(rest.config.sla_period_days) * DAY;
        let intervals = rest.store.intervals(agent.id, start.min(now.plus(-period)), now)?;
        let reported = current_health.live.as_ref().and_then(|live| live.sla.clone());
        let target = rest.config.sla_target;
        let sla = match (reported, &rest.config.sla) {
            (Some(report), _) => Some(report),
            (None, Some(rule)) => objective(rule, &intervals, target, period, now),
            (None, None) => last_report(rest, agent)?,
        };
        let summary = summary(&intervals, start, end, now);
        let mut peers = Vec::new();
        if !summary.outages.is_empty() && agent.profile.location.is_some() {
            let mut others = rest.agents(caller);
            others.retain(|other| other.id != agent.id && other.profile.location == agent.profile.location);
            for other in others.into_iter().take(MOST_PEERS) {
                let theirs = rest.store.intervals(other.id, start, now)?;
                let outages = vitals_core::availability::summary(&theirs, start, end, now).outages;
                peers.push((other.key.clone(), outages));
            }
        }
        Ok(Self { summary, target, sla, advise: rest.config.advise_uptime_percent, peers })
    }

    /// Percent of the known time that was up; [`NOTHING_AGAINST`] when nothing is known.
    pub fn percent(&self) -> f64 {
        self.summary.tally.percent().unwrap_or(NOTHING_AGAINST)
    }

    /// Whether the window meets the objective.
    pub fn compliant(&self) -> Option<bool> {
        self.summary.tally.percent().map(|percent| percent >= self.target)
    }

    /// The risk of missing the objective; none when nothing is known of its period.
    pub fn risk(&self) -> Option<String> {
        let known = self.sla.as_ref().filter(|report| !report.availability.is_nan());
        known.map(|report| report.risk.name().to_owned())
    }

    pub fn mttr_minutes(&self) -> Option<f64> {
        self.summary.mttr.map(|seconds| seconds / 60.0)
    }

    pub fn mtbf_hours(&self) -> Option<f64> {
        self.summary.mtbf.map(|seconds| seconds / 3_600.0)
    }

    pub fn sessions(&self) -> Vec<Period> {
        self.summary.sessions.iter().map(|session| self.period(session)).collect()
    }

    pub fn downtime(&self) -> Vec<Period> {
        self.summary.downtime.iter().map(|interval| self.period(interval)).collect()
    }

    fn period(&self, interval: &Interval) -> Period {
        let (start, end) = (self.summary.start, self.summary.end);
        Period {
            start: Time(interval.start.max(start)),
            end: interval.end.map(|over| Time(over.min(end))),
            duration_minutes: minutes(interval.overlap(start, end)),
            state: interval.state.into(),
            cause: (interval.state != State::Up).then(|| interval.state.into()),
            began_at: Time(interval.start),
        }
    }

    /// How the agent fails.
    pub fn patterns(&self, location: Option<&str>) -> Vec<FailurePattern> {
        let outages = &self.summary.outages;
        recurring_hour(outages)
            .into_iter()
            .chain(recurring_period(outages))
            .chain(flapping(outages))
            .chain(together(outages, &self.peers, location))
            .collect()
    }

    /// Advice on availability, beside what the health scorer advises.
    pub fn advice(&self, current_health: &CurrentHealth, patterns: &[FailurePattern]) -> Vec<String> {
        let mut advice =
            current_health.judged.as_ref().map(|health| health.recommendations.clone()).unwrap_or_default();
        // The health scorer speaks of the availability too, if it is bad.
        if !advice.iter().any(|text| text.starts_with("Available")) {
            advice.extend(self.uptime_advice());
        }
        match current_health.live.as_ref().map(|live| live.liveness) {
            Some(Liveness::Late) => {
                advice.push("The next heartbeat is overdue: check the network path and the agent's load.".to_owned());
            }
            Some(Liveness::Offline) => {
                advice.push(
                    "The agent is silent: check that its host and process run and reach this service.".to_owned(),
                );
            }
            _ => {}
        }
        advice.extend(patterns.iter().map(|pattern| pattern.recommendation().to_owned()));
        advice
    }

    /// What the uptime of the window asks for, in proportion to how long the agent was down.
    fn uptime_advice(&self) -> Option<String> {
        let tally = &self.summary.tally;
        let percent = tally.percent()?;
        let [watch, act, urgent] = self.advise?;
        if percent >= watch {
            return None;
        }
        let (down, known) = (minutes(tally.down), minutes(tally.counted()));
        if tally.counted() < LEAST_KNOWN {
            return Some(format!(
                "Uptime is {percent:.2} %, but only {known:.0} min are known: look again when there is more to judge by."
            ));
        }
        let what = match percent {
            p if p < urgent => "check its host, its restarts and its deployment now",
            p if p < act => "look at the downtime periods and at what they have in common",
            _ => "review restarts and alerts around the downtime periods",
        };
        Some(format!("Uptime is {percent:.2} %, {down:.0} min down of {known:.0}: {what}."))
    }
}

/// The last report of an SLA evaluator that was kept.
fn last_report(rest: &Rest, agent: &AgentDesc) -> Result<Option<SlaVerdict>, StoreError> {
    let query = VerdictQuery {
        tenant: agent.tenant.clone(),
        agents: Some(vec![agent.id]),
        kind: Some("sla"),
        start: UnixNanos(i64::MIN),
        end: UnixNanos(i64::MAX),
        limit: 1,
    };
    let last = rest.store.verdicts(&query)?.into_iter().next();
    Ok(last.and_then(|verdict| if let VerdictBody::Sla(report) = verdict.body { Some(report) } else { None }))
}

/// The objective's report from intervals, by the rule that the built-in plugin applies; none when nothing is known.
#[allow(clippy::cast_precision_loss)]
fn objective(rule: &SlaConfig, intervals: &[Interval], target: f64, period: i64, now: UnixNanos) -> Option<SlaVerdict> {
    let over = |length: i64| {
        let tally = Tally::of(intervals, now.plus(-length), now);
        let seconds = |nanos: i64| nanos as f64 / UnixNanos::SECOND as f64;
        (seconds(tally.counted()), seconds(tally.down))
    };
    let windows =
        Windows { period: over(period), hour: over(HOUR), six_hours: over(6 * HOUR), three_days: over(3 * DAY) };
    (windows.period.0 > 0.0).then(|| sla::evaluate(rule, target, &windows))
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

    const MINUTE: i64 = HOUR / 60;

    fn outage(start: i64) -> Outage {
        Outage { start: UnixNanos(start), end: Some(UnixNanos(start + HOUR / 60)), cause: State::Silent }
    }

    #[test]
    fn lines() {
        let points: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0 + hour as f64)).collect();
        let line = Line::fit(&points, UnixNanos(9 * HOUR)).unwrap();
        assert!((line.per_hour - 1.0).abs() < 1e-9 && (line.at_end - 59.0).abs() < 1e-9, "{line:?}");
        assert_eq!(line.direction(), Direction::Increasing);
        assert!((line.hours_to(80.0).unwrap() - 21.0).abs() < 1e-6);
        assert_eq!(line.hours_to(59.0), Some(0.0));
        let flat: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0)).collect();
        let line = Line::fit(&flat, UnixNanos(9 * HOUR)).unwrap();
        assert_eq!((line.direction(), line.hours_to(80.0)), (Direction::Stable, None));
        assert_eq!(Line::fit(&flat[..2], UnixNanos(0)), None);
        assert_eq!(Line::fit(&[flat[0], flat[0], flat[0]], UnixNanos(0)), None);
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
