//! What can be said of an agent from the board and the store: how it stands, its components, its trends, how it fails.
//!
//! Everything here asks the store and may block.

use super::time::{Time, minutes};
use super::wire::Health;
use crate::expose::{Rest, Thresholds};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vitals_core::availability::{AvailabilitySummary, Interval, Outage, State, Tally, summary};
use vitals_core::board::{AgentLive, Liveness};
use vitals_core::caller::Caller;
use vitals_core::ids::UnixNanos;
use vitals_core::record::Vitals;
use vitals_core::rules::sla::{self, SlaConfig, Windows};
use vitals_core::seam::{Aggregation, SampleQuery, StoreError, VerdictQuery};
use vitals_core::series::{AgentDesc, MetricKind, Origin, Part, SeriesDesc, Shape};
use vitals_core::verdict::{AgentHealth, SlaVerdict, VerdictBody};

pub const HOUR: i64 = 3_600 * UnixNanos::SECOND;
pub const DAY: i64 = 24 * HOUR;
/// The period of the availability objective.
const PERIOD: i64 = 30 * DAY;
/// How far back the last value of a component is looked for.
const RECENT: i64 = HOUR;
/// Most series that are looked at for one agent's components or trends.
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
/// So many outages at the same hour on different days are a pattern, if they are at least half of all.
const RECURRING: usize = 3;

/// How an agent stands now.
pub struct Standing {
    pub live: Option<AgentLive>,
    pub judged: Option<AgentHealth>,
    pub health: Health,
    pub score: f64,
    pub last_check: UnixNanos,
}

impl Standing {
    /// From the board alone, for lists of many agents.
    pub fn glance(rest: &Rest, agent: &AgentDesc) -> Self {
        let live = rest.board.get(agent.id);
        let judged = live.as_ref().and_then(|live| live.health.clone());
        let last_check = live.as_ref().map_or(agent.first_seen, |live| live.last_evidence);
        let liveness = live.as_ref().map(|live| live.liveness);
        Self::from_parts(live, judged, liveness, last_check)
    }

    /// From the board; what it does not know, from the last verdict and the open interval.
    pub fn of(rest: &Rest, agent: &AgentDesc, now: UnixNanos) -> Result<Self, StoreError> {
        let live = rest.board.get(agent.id);
        let mut last_check = live.as_ref().map_or(agent.first_seen, |live| live.last_evidence);
        let mut judged = live.as_ref().and_then(|live| live.health.clone());
        if judged.is_none() {
            let query = VerdictQuery {
                tenant: agent.tenant.clone(),
                agents: Some(vec![agent.id]),
                kind: Some("health"),
                start: UnixNanos(i64::MIN),
                end: UnixNanos(i64::MAX),
                limit: 1,
            };
            for verdict in rest.store.verdicts(&query)? {
                if let VerdictBody::Health(health) = verdict.body {
                    last_check = last_check.max(verdict.time);
                    judged = Some(health);
                }
            }
        }
        let liveness = match &live {
            Some(live) => Some(live.liveness),
            None => open_state(&rest.store.intervals(agent.id, now.plus(-HOUR), now)?),
        };
        Ok(Self::from_parts(live, judged, liveness, last_check))
    }

    fn from_parts(
        live: Option<AgentLive>,
        judged: Option<AgentHealth>,
        liveness: Option<Liveness>,
        last_check: UnixNanos,
    ) -> Self {
        let health = match liveness {
            Some(Liveness::Offline) => Health::Offline,
            Some(Liveness::Maintenance) => Health::Maintenance,
            _ => judged.as_ref().map_or(Health::Unknown, |health| health.status.into()),
        };
        // What is offline serves nobody, whatever it measured last.
        let score = match (health, &judged) {
            (Health::Offline, _) | (_, None) => 0.0,
            (_, Some(judged)) => judged.score.clamp(0.0, 100.0),
        };
        Self { live, judged, health, score, last_check }
    }

    pub fn vitals(&self) -> Vitals {
        self.live.as_ref().map(|live| live.vitals).unwrap_or_default()
    }
}

fn open_state(intervals: &[Interval]) -> Option<Liveness> {
    let last = intervals.last().filter(|last| last.end.is_none())?;
    match last.state {
        State::Silent => Some(Liveness::Offline),
        State::Maintenance => Some(Liveness::Maintenance),
        State::Up | State::Unhealthy => None,
    }
}

/// The name of a liveness.
pub fn liveness_name(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::OnTime => "on_time",
        Liveness::Late => "late",
        Liveness::Offline => "offline",
        Liveness::Maintenance => "maintenance",
    }
}

/// The contract's status for an uptime.
pub fn uptime_health(percent: f64) -> Health {
    match percent {
        p if p >= 99.0 => Health::Healthy,
        p if p >= 95.0 => Health::Degraded,
        p if p >= 80.0 => Health::Critical,
        _ => Health::Offline,
    }
}

/// The health of each component that is measured: the agent's vitals, and the typed REST metrics by their component.
pub fn components(
    rest: &Rest,
    agent: &AgentDesc,
    standing: &Standing,
    now: UnixNanos,
) -> Result<BTreeMap<String, Health>, StoreError> {
    let limits = &rest.config.thresholds;
    let vitals = standing.vitals();
    let memory = vitals.memory_percent.or_else(|| vitals.memory_mb.map(|used| 100.0 * used / limits.memory_total_mb));
    let errors = vitals.error_percent.or_else(|| {
        let requests = vitals.requests.filter(|requests| *requests > 0.0)?;
        Some(100.0 * vitals.errors? / requests)
    });
    let mut found = BTreeMap::new();
    for (name, value, bounds) in [
        ("cpu", vitals.cpu_percent, limits.cpu),
        ("memory", memory, limits.memory),
        ("disk", vitals.disk_percent, limits.disk),
        ("network", vitals.latency_ms, limits.latency_ms),
        ("network", vitals.packet_loss_percent, limits.packet_loss),
        ("response_time", vitals.response_ms, limits.response_ms),
        ("error_rate", errors, limits.error_rate),
    ] {
        if let Some(value) = value {
            worsen(&mut found, name, grade(value, bounds));
        }
    }
    for series in component_series(rest, agent) {
        let Some(bounds) = bounds(limits, &series) else { continue };
        let query = SampleQuery {
            series: series.id,
            start: now.plus(-RECENT),
            end: now.plus(1),
            step: Some((RECENT + 1, Aggregation::Last)),
            limit: 2,
        };
        if let Some(&(_, value)) = rest.store.samples(&query)?.last() {
            worsen(&mut found, component_of(&series), grade(value, bounds));
        }
    }
    Ok(found)
}

fn worsen(found: &mut BTreeMap<String, Health>, name: &str, health: Health) {
    let entry = found.entry(name.to_owned()).or_insert(health);
    // Healthy < degraded < critical.
    *entry = (*entry).max(health);
}

fn grade(value: f64, [degraded, critical]: [f64; 2]) -> Health {
    if value >= critical {
        Health::Critical
    } else if value >= degraded {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

/// Typed metrics that came over REST: what an OTLP metric means to its agent is decided where its vitals are made.
fn component_series(rest: &Rest, agent: &AgentDesc) -> Vec<Arc<SeriesDesc>> {
    let mut all = rest.registry.series_of(agent.id);
    all.retain(|series| series.spec.origin == Origin::Rest && series.spec.scope != "heartbeat");
    all.retain(|series| kind_name(series.spec.kind).is_some());
    all.truncate(MOST_SERIES);
    all
}

fn component_of(series: &SeriesDesc) -> &str {
    match series.spec.scope.as_str() {
        "" | "heartbeat" => kind_name(series.spec.kind).unwrap_or("custom"),
        component => component,
    }
}

fn kind_name(kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::CpuUsage => Some("cpu"),
        MetricKind::MemoryUsage => Some("memory"),
        MetricKind::DiskUsage => Some("disk"),
        MetricKind::ResponseTime => Some("response_time"),
        MetricKind::ErrorRate => Some("error_rate"),
        _ => None,
    }
}

/// The bounds of a series; none for kinds without, and for amounts where percentages are judged.
fn bounds(limits: &Thresholds, series: &SeriesDesc) -> Option<[f64; 2]> {
    let percent = series.spec.unit == "%";
    match series.spec.kind {
        MetricKind::CpuUsage => Some(limits.cpu),
        MetricKind::MemoryUsage if percent => Some(limits.memory),
        MetricKind::DiskUsage if percent => Some(limits.disk),
        MetricKind::ResponseTime => Some(limits.response_ms),
        MetricKind::ErrorRate => Some(limits.error_rate),
        _ => None,
    }
}

/// By component: percent of its measured steps that were not critical.
pub fn uptime_by_component(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
) -> Result<BTreeMap<String, f64>, StoreError> {
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut series = rest.registry.series_of(agent.id);
    series.retain(|series| series.spec.origin == Origin::Rest && kind_name(series.spec.kind).is_some());
    for series in series.iter().take(MOST_SERIES) {
        let Some([_, critical]) = bounds(&rest.config.thresholds, series) else { continue };
        for (_, value) in rest.store.samples(&stepped(series, start, end, 288))? {
            let (good, all) = counts.entry(component_of(series).to_owned()).or_default();
            *all += 1.0;
            if value < critical {
                *good += 1.0;
            }
        }
    }
    Ok(counts.into_iter().map(|(name, (good, all))| (name, 100.0 * good / all)).collect())
}

/// Means over about `points` steps.
pub fn stepped(series: &SeriesDesc, start: UnixNanos, end: UnixNanos, points: i64) -> SampleQuery {
    let step = (end.since(start) / points.max(1)).max(UnixNanos::SECOND);
    let limit = usize::try_from(end.since(start) / step + 2).unwrap_or(usize::MAX);
    SampleQuery { series: series.id, start, end, step: Some((step, Aggregation::Mean)), limit }
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
    if spec.origin == Origin::Rest && !spec.scope.is_empty() && spec.scope != "heartbeat" {
        name = format!("{}/{name}", spec.scope);
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
        (line.per_hour.is_finite() && line.at_end.is_finite()).then_some(line)
    }

    /// `increasing`, `decreasing` or `stable`.
    pub fn direction(&self) -> &'static str {
        if self.change.abs() <= (STABLE_CHANGE * self.mean.abs()).max(f64::EPSILON) {
            "stable"
        } else if self.change > 0.0 {
            "increasing"
        } else {
            "decreasing"
        }
    }

    /// Hours until the line reaches `bound`; 0 when it is there, `None` when it does not get there.
    pub fn hours_to(&self, bound: f64) -> Option<f64> {
        if self.at_end >= bound {
            Some(0.0)
        } else {
            (self.direction() == "increasing").then(|| (bound - self.at_end) / self.per_hour)
        }
    }
}

/// Trends of an agent's most telling series: typed gauges first.
pub fn trends(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
    predict: bool,
) -> Result<BTreeMap<String, Value>, StoreError> {
    let mut series = rest.registry.series_of(agent.id);
    series.retain(|series| series.spec.shape == Shape::Gauge && series.spec.part == Part::Value);
    series.sort_by_key(|series| (series.spec.kind == MetricKind::Custom, series.id));
    let mut found = BTreeMap::new();
    for series in series.iter().take(MOST_SERIES) {
        let points = rest.store.samples(&stepped(series, start, end, TREND_POINTS))?;
        if let Some(trend) = trend(rest, series, &points, end, predict) {
            found.insert(label(series), trend);
        }
    }
    Ok(found)
}

/// The trend of a series through its points.
pub fn trend(
    rest: &Rest,
    series: &SeriesDesc,
    points: &[(UnixNanos, f64)],
    end: UnixNanos,
    predict: bool,
) -> Option<Value> {
    let line = Line::fit(points, end)?;
    let mut trend = json!({
        "metric_type": series.spec.kind.name(),
        "unit": series.spec.unit,
        "slope_per_hour": line.per_hour,
        "direction": line.direction(),
        "mean": line.mean,
        "last": points.last().map(|&(_, value)| value),
        "points": points.len(),
    });
    if predict && let Some([degraded, critical]) = bounds(&rest.config.thresholds, series) {
        trend["hours_to_warning"] = line.hours_to(degraded).into();
        trend["hours_to_critical"] = line.hours_to(critical).into();
    }
    Some(trend)
}

/// Availability over a window, and the objective over its own period.
pub struct Availability {
    pub summary: AvailabilitySummary,
    pub sla: SlaVerdict,
    pub peers: Vec<(String, Vec<Outage>)>,
}

impl Availability {
    /// `standing` carries the SLA plugin's report; without one the same rule is applied here.
    pub fn of(
        rest: &Rest,
        caller: &Caller,
        agent: &AgentDesc,
        standing: &Standing,
        (start, end): (UnixNanos, UnixNanos),
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let intervals = rest.store.intervals(agent.id, start.min(now.plus(-PERIOD)), now)?;
        let reported = standing.live.as_ref().and_then(|live| live.sla.clone());
        let sla = reported.unwrap_or_else(|| objective(&intervals, rest.config.sla_target, now));
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
        Ok(Self { summary, sla, peers })
    }

    /// Percent of the known time that was up; 0 when nothing is known.
    pub fn percent(&self) -> f64 {
        self.summary.tally.percent().unwrap_or(0.0)
    }

    /// Whether the window meets the objective.
    pub fn compliant(&self) -> Option<bool> {
        self.summary.tally.percent().map(|percent| percent >= self.sla.target)
    }

    pub fn mttr_minutes(&self) -> Option<f64> {
        self.summary.mttr.map(|seconds| seconds / 60.0)
    }

    pub fn mtbf_hours(&self) -> Option<f64> {
        self.summary.mtbf.map(|seconds| seconds / 3_600.0)
    }

    pub fn sessions(&self) -> Vec<Value> {
        self.summary.sessions.iter().map(|session| interval_json(session, self.summary.end)).collect()
    }

    pub fn downtime(&self) -> Vec<Value> {
        self.summary.downtime.iter().map(|period| interval_json(period, self.summary.end)).collect()
    }

    /// How the agent fails.
    pub fn patterns(&self, location: Option<&str>) -> Vec<Value> {
        let outages = &self.summary.outages;
        recurring(outages)
            .into_iter()
            .chain(flapping(outages))
            .chain(together(outages, &self.peers, location))
            .collect()
    }

    /// Advice on availability, beside what the health scorer advises.
    pub fn advice(&self, standing: &Standing, patterns: &[Value]) -> Vec<String> {
        let mut advice = standing.judged.as_ref().map(|health| health.recommendations.clone()).unwrap_or_default();
        let named = advice.iter().any(|text| {
            let text = text.to_lowercase();
            text.contains("uptime") || text.contains("availability")
        });
        if let Some(percent) = self.summary.tally.percent().filter(|_| !named) {
            let text = match percent {
                p if p < 90.0 => Some("fails for hours: check its host, its restarts and its deployment now"),
                p if p < 95.0 => Some("fails often: look at the downtime periods and at what they have in common"),
                p if p < 99.0 => Some("fails sometimes: review restarts and alerts around the downtime periods"),
                _ => None,
            };
            advice.extend(text.map(|text| format!("Uptime is {percent:.2} %; the agent {text}.")));
        }
        if standing.live.as_ref().is_some_and(|live| live.liveness == Liveness::Late) {
            advice.push("The next heartbeat is overdue: check the network path and the agent's load.".to_owned());
        }
        for pattern in patterns {
            if let Some(text) = pattern["recommendation"].as_str() {
                advice.push(text.to_owned());
            }
        }
        advice
    }
}

/// The objective's report from intervals, by the rule that the built-in plugin applies.
#[allow(clippy::cast_precision_loss)]
fn objective(intervals: &[Interval], target: f64, now: UnixNanos) -> SlaVerdict {
    let over = |length: i64| {
        let tally = Tally::of(intervals, now.plus(-length), now);
        let seconds = |nanos: i64| nanos as f64 / UnixNanos::SECOND as f64;
        (seconds(tally.counted()), seconds(tally.down))
    };
    let windows =
        Windows { period: over(PERIOD), hour: over(HOUR), six_hours: over(6 * HOUR), three_days: over(3 * DAY) };
    sla::evaluate(&SlaConfig::default(), target, &windows)
}

fn interval_json(interval: &Interval, until: UnixNanos) -> Value {
    let length = interval.end.unwrap_or(until).since(interval.start);
    let mut value = json!({
        "start": Time(interval.start).to_string(),
        "end": interval.end.map(|end| Time(end).to_string()),
        "duration_minutes": minutes(length),
        "state": interval.state.name(),
    });
    if interval.state != State::Up {
        value["cause"] = interval.state.name().into();
    }
    value
}

/// The hour of the day (UTC) at which outages keep beginning.
fn recurring(outages: &[Outage]) -> Option<Value> {
    let mut by_hour: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for outage in outages {
        let hour = outage.start.0.rem_euclid(DAY) / HOUR;
        by_hour.entry(hour).or_default().insert(outage.start.0.div_euclid(DAY));
    }
    let (hour, days) = by_hour.into_iter().max_by_key(|(_, days)| days.len())?;
    (days.len() >= RECURRING && 2 * days.len() >= outages.len()).then(|| {
        json!({
            "type": "recurring_hour",
            "hour_utc": hour,
            "days": days.len(),
            "outages": outages.len(),
            "recommendation": format!(
                "Outages keep beginning between {hour:02}:00 and {:02}:00 UTC: check what is scheduled then.",
                (hour + 1) % 24
            ),
        })
    })
}

/// The densest hour, if it is flapping.
fn flapping(outages: &[Outage]) -> Option<Value> {
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
    (densest.len() >= FLAPPING).then(|| {
        json!({
            "type": "flapping",
            "outages": densest.len(),
            "start": Time(densest[0].start).to_string(),
            "end": Time(densest[densest.len() - 1].start).to_string(),
            "recommendation": "The agent goes up and down within an hour: check for restart loops and an unstable network.",
        })
    })
}

/// Outages that began together with those of others at the same location.
fn together(outages: &[Outage], peers: &[(String, Vec<Outage>)], location: Option<&str>) -> Vec<Value> {
    outages
        .iter()
        .filter_map(|outage| {
            let others: Vec<&str> = peers
                .iter()
                .filter(|(_, theirs)| theirs.iter().any(|other| other.start.since(outage.start).abs() <= TOGETHER))
                .map(|(key, _)| key.as_str())
                .collect();
            // With one other agent, both must fail; with many, at least two others and half of them.
            let many = others.len() >= 2 && 2 * others.len() >= peers.len() || peers.len() == 1 && others.len() == 1;
            many.then(|| {
                json!({
                    "type": "location",
                    "location": location,
                    "start": Time(outage.start).to_string(),
                    "agents": others,
                    "recommendation": "Agents of one location failed together: suspect its network or power, not the agents.",
                })
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(start: i64) -> Outage {
        Outage { start: UnixNanos(start), end: Some(UnixNanos(start + HOUR / 60)), cause: State::Silent }
    }

    #[test]
    fn lines() {
        let points: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0 + hour as f64)).collect();
        let line = Line::fit(&points, UnixNanos(9 * HOUR)).unwrap();
        assert!((line.per_hour - 1.0).abs() < 1e-9 && (line.at_end - 59.0).abs() < 1e-9, "{line:?}");
        assert_eq!(line.direction(), "increasing");
        assert!((line.hours_to(80.0).unwrap() - 21.0).abs() < 1e-6);
        assert_eq!(line.hours_to(59.0), Some(0.0));
        let flat: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0)).collect();
        let line = Line::fit(&flat, UnixNanos(9 * HOUR)).unwrap();
        assert_eq!((line.direction(), line.hours_to(80.0)), ("stable", None));
        assert_eq!(Line::fit(&flat[..2], UnixNanos(0)), None);
        assert_eq!(Line::fit(&[flat[0], flat[0], flat[0]], UnixNanos(0)), None);
    }

    #[test]
    fn patterns() {
        let daily: Vec<Outage> = (0..4).map(|day| outage(day * DAY + 3 * HOUR)).collect();
        let pattern = recurring(&daily).unwrap();
        assert_eq!((&pattern["hour_utc"], &pattern["days"]), (&json!(3), &json!(4)));
        assert!(recurring(&daily[..2]).is_none() && flapping(&daily).is_none());
        let often: Vec<Outage> = (0..5).map(|at| outage(at * HOUR / 4)).collect();
        assert_eq!(flapping(&often).unwrap()["outages"], 5);
        assert!(recurring(&often).is_none());
        let peers =
            vec![("b".to_owned(), vec![outage(3 * HOUR + HOUR / 120)]), ("c".to_owned(), vec![outage(3 * HOUR)])];
        let found = together(&daily, &peers, Some("eu"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["agents"], json!(["b", "c"]));
        assert!(together(&daily, &peers[..0], Some("eu")).is_empty());
    }
}
