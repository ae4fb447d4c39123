//! Verdicts to metrics.
//!
//! | metric | kind, unit | attributes besides the evidence |
//! |---|---|---|
//! | `vitals.health.score` | gauge, `1`, 0..=100 | |
//! | `vitals.health.status` | gauge, 1 for the status that holds, 0 for the others | `vitals.health.status` |
//! | `vitals.outlier` | gauge, `1`: distance outside the bounds over the interquartile range | the series |
//! | `vitals.outlier.value` | gauge, the series' unit | the series |
//! | `vitals.outlier.bound` | gauge, the series' unit | the series, `vitals.bound` = `lower`, `upper` |
//! | `vitals.outlier.count` | cumulative sum, `{outlier}` | the series |
//! | `vitals.availability` | gauge, `%` | |
//! | `vitals.sla.error_budget.remaining` | gauge, `1`: 1 untouched, 0 used up, negative overspent | |
//! | `vitals.sla.burn_rate` | gauge, `1` | `vitals.window` = `1h`, `6h`, `3d` |
//! | `vitals.alert.active` | gauge, 1 while it is open, then 0 once | `vitals.alert.severity`, `.source`, `.id` |
//!
//! A point carries the time of the data that was judged; an agent that is not judged again is not sent again, so a
//! verdict never looks fresher than it is. Open alerts are sent at every interval.

use super::resources::{Group, Kind, Resources, Title, request, text};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point::Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::registry::Registry;
use vitals_core::series::Part;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, SlaVerdict, Verdict, VerdictBody,
};

const STATUSES: [HealthStatus; 6] = [
    HealthStatus::Healthy,
    HealthStatus::Degraded,
    HealthStatus::Critical,
    HealthStatus::Unknown,
    HealthStatus::Offline,
    HealthStatus::Maintenance,
];

/// The windows of [`SlaVerdict::burn`].
const WINDOWS: [&str; 3] = ["1h", "6h", "3d"];

/// The latest of one kind of verdict, by what was judged and by whom.
type Latest<Of, T> = BTreeMap<(Of, String), Judged<T>>;

struct Judged<T> {
    time: UnixNanos,
    agent: AgentId,
    evidence: Arc<Evidence>,
    body: T,
}

/// What was judged since the last request.
pub struct Verdicts {
    since: UnixNanos,
    resources: Resources,
    health: Latest<AgentId, AgentHealth>,
    sla: Latest<AgentId, SlaVerdict>,
    outliers: Latest<SeriesId, OutlierVerdict>,
    /// Never emptied: the counts are cumulative since `since`.
    counts: HashMap<(SeriesId, String), u64>,
    alerts: BTreeMap<String, Alert>,
}

impl Verdicts {
    /// Nothing judged yet; counts begin at `since`.
    pub fn new(since: UnixNanos) -> Self {
        Self {
            since,
            resources: Resources::default(),
            health: BTreeMap::new(),
            sla: BTreeMap::new(),
            outliers: BTreeMap::new(),
            counts: HashMap::new(),
            alerts: BTreeMap::new(),
        }
    }

    /// Adds what evaluation made.
    pub fn fold(&mut self, output: &EvaluationOutput) {
        self.resources.refresh(output);
        for verdict in &output.verdicts {
            let plugin = verdict.evidence.plugin.clone();
            match &verdict.body {
                VerdictBody::Health(health) => keep(&mut self.health, (verdict.agent, plugin), verdict, health),
                VerdictBody::Sla(sla) => keep(&mut self.sla, (verdict.agent, plugin), verdict, sla),
                VerdictBody::Outlier(outlier) => {
                    *self.counts.entry((outlier.series, plugin.clone())).or_default() += 1;
                    keep(&mut self.outliers, (outlier.series, plugin), verdict, outlier);
                }
            }
        }
        for alert in &output.alerts {
            self.alerts.insert(alert.id.clone(), alert.clone());
        }
    }

    /// The request with everything judged since the last one, and every open alert as of `now`.
    pub fn take(&mut self, registry: &Registry, now: UnixNanos) -> ExportMetricsServiceRequest {
        let mut groups = Groups { registry, resources: &mut self.resources, by_agent: BTreeMap::new() };
        for judged in std::mem::take(&mut self.health).values() {
            health(groups.of(judged.agent), judged);
        }
        for ((series, plugin), judged) in std::mem::take(&mut self.outliers) {
            let count = self.counts.get(&(series, plugin)).copied().unwrap_or(1);
            let described = describe(series, registry);
            outlier(groups.of(judged.agent), &judged, described, count, self.since);
        }
        for judged in std::mem::take(&mut self.sla).values() {
            sla(groups.of(judged.agent), judged);
        }
        for active in self.alerts.values() {
            alert(groups.of(active.agent), active, now);
        }
        let request = request(groups.by_agent.into_values());
        self.alerts.retain(|_, alert| alert.resolved.is_none());
        request
    }
}

/// Keeps the newest; verdicts of one agent come from one shard, but a replay may repeat older ones.
fn keep<Of: Ord, T: Clone>(latest: &mut Latest<Of, T>, key: (Of, String), verdict: &Verdict, body: &T) {
    if latest.get(&key).is_none_or(|earlier| earlier.time <= verdict.time) {
        let judged =
            Judged { time: verdict.time, agent: verdict.agent, evidence: verdict.evidence.clone(), body: body.clone() };
        latest.insert(key, judged);
    }
}

/// The groups of a request, one an agent.
struct Groups<'a> {
    registry: &'a Registry,
    resources: &'a mut Resources,
    by_agent: BTreeMap<AgentId, Group>,
}

impl Groups<'_> {
    fn of(&mut self, agent: AgentId) -> &mut Group {
        let (resources, registry) = (&mut *self.resources, self.registry);
        self.by_agent.entry(agent).or_insert_with(|| {
            Group::new((*resources.of(agent, registry)).clone(), "vitals", env!("CARGO_PKG_VERSION"))
        })
    }
}

fn gauge<'a>(name: &'a str, unit: &'a str, description: &'a str) -> Title<'a> {
    Title { name, unit, description, kind: Kind::Gauge }
}

fn point(time: UnixNanos, attributes: Vec<KeyValue>, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        time_unix_nano: u64::try_from(time.0).unwrap_or(0),
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Who judged, as attributes of a point.
fn evidence(evidence: &Evidence) -> Vec<KeyValue> {
    vec![
        text("vitals.plugin.name", evidence.plugin.as_str()),
        text("vitals.plugin.version", evidence.version.as_str()),
        text("vitals.plugin.digest", evidence.digest.as_str()),
        text("vitals.plugin.config", evidence.config.as_str()),
    ]
}

fn with(base: &[KeyValue], more: KeyValue) -> Vec<KeyValue> {
    let mut all = base.to_vec();
    all.push(more);
    all
}

fn health(group: &mut Group, judged: &Judged<AgentHealth>) {
    let base = evidence(&judged.evidence);
    group.points(&gauge("vitals.health.score", "1", "Health of the agent, 100 is best")).push(point(
        judged.time,
        base.clone(),
        judged.body.score,
    ));
    let states = group.points(&gauge("vitals.health.status", "1", "1 for the status that holds, 0 for the others"));
    for status in STATUSES {
        let holds = f64::from(u8::from(status == judged.body.status));
        states.push(point(judged.time, with(&base, text("vitals.health.status", status.name())), holds));
    }
}

fn sla(group: &mut Group, judged: &Judged<SlaVerdict>) {
    let base = evidence(&judged.evidence);
    let report = &judged.body;
    // NaN says that nothing is known, which a missing point says better.
    if !report.availability.is_nan() {
        group.points(&gauge("vitals.availability", "%", "Share of the known time that the agent was up")).push(point(
            judged.time,
            base.clone(),
            report.availability,
        ));
    }
    if !report.budget_left.is_nan() {
        let title = gauge(
            "vitals.sla.error_budget.remaining",
            "1",
            "Share of the error budget left; negative when it is overspent",
        );
        group.points(&title).push(point(judged.time, base.clone(), report.budget_left));
    }
    let title = gauge("vitals.sla.burn_rate", "1", "1 uses the error budget up exactly at the period's end");
    for (window, burn) in WINDOWS.iter().zip(report.burn) {
        if !burn.is_nan() {
            let attributes = with(&base, text("vitals.window", *window));
            group.points(&title).push(point(judged.time, attributes, burn));
        }
    }
}

/// The unit and the identity of a series, as attributes of a verdict on it.
fn describe(series: SeriesId, registry: &Registry) -> (String, Vec<KeyValue>) {
    let Some(desc) = registry.series(series) else {
        return (String::new(), Vec::new());
    };
    let mut attributes: Vec<KeyValue> =
        desc.spec.attributes.iter().map(|(key, value)| text(key, value.as_str())).collect();
    attributes.push(text("vitals.metric", desc.spec.metric.as_str()));
    if desc.spec.part != Part::Value {
        attributes.push(text("vitals.part", desc.spec.part.to_string()));
    }
    (desc.spec.unit.clone(), attributes)
}

fn outlier(
    group: &mut Group,
    judged: &Judged<OutlierVerdict>,
    (unit, mut base): (String, Vec<KeyValue>),
    count: u64,
    since: UnixNanos,
) {
    base.extend(evidence(&judged.evidence));
    let (time, found) = (judged.time, &judged.body);
    group
        .points(&gauge("vitals.outlier", "1", "Distance outside the bounds over the interquartile range"))
        .push(point(time, base.clone(), found.score));
    group.points(&gauge("vitals.outlier.value", &unit, "The value outside its bounds")).push(point(
        time,
        base.clone(),
        found.value,
    ));
    let bounds = group.points(&gauge("vitals.outlier.bound", &unit, "The bounds at the time"));
    for (name, bound) in [("lower", found.lower), ("upper", found.upper)] {
        bounds.push(point(time, with(&base, text("vitals.bound", name)), bound));
    }
    let title = Title {
        name: "vitals.outlier.count",
        unit: "{outlier}",
        description: "Outliers found since the exporter started",
        kind: Kind::Sum { monotonic: true },
    };
    group.points(&title).push(NumberDataPoint {
        start_time_unix_nano: u64::try_from(since.0).unwrap_or(0),
        value: Some(Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))),
        ..point(time, base, 0.0)
    });
}

fn alert(group: &mut Group, alert: &Alert, now: UnixNanos) {
    let attributes = vec![
        text("vitals.alert.severity", alert.severity.name()),
        text("vitals.alert.source", alert.source.as_str()),
        text("vitals.alert.id", alert.id.as_str()),
    ];
    let (time, active) = match alert.resolved {
        Some(end) => (end, 0.0),
        None => (now, 1.0),
    };
    group.points(&gauge("vitals.alert.active", "1", "1 while the alert is open")).push(point(time, attributes, active));
}
