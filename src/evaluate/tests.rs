//! Shards against plugins, a store and a log that live in memory.

use super::config::EvaluateConfig;
use super::maintenance::MaintenanceWindow;
use super::run::{register, replay};
use super::shard::{Shard, ShardContext};
use super::tenant_plugins::{AgentView, Derived, DerivedSeries, Findings, SlaView, TenantPlugins, TickFindings};
use crate::testing::{Contents, MemoryLog, MemoryStore};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::availability::{Interval, State, merged};
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{LiveAgents, Liveness};
use vitals_core::log::Log;
use vitals_core::maintenance::PersonWindow;
use vitals_core::record::{Delivery, Heartbeat, Measurements, Outcome, Record, Samples, Ticket};
use vitals_core::registry::{Quota, Registry};
use vitals_core::rules::alerts::AlertConfig;
use vitals_core::rules::outlier_alerts::OutlierAlertPolicy;
use vitals_core::rules::thresholds::Threshold;
use vitals_core::rules::{iqr, seasonal};
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, SeriesDesc, SeriesSpec, Shape};
use vitals_core::store::{Catalogue, Checkpoint, EvaluationOutput, Store, VerdictKey};
use vitals_core::verdict::{
    AgentHealth, Alert, Event, Evidence, HealthStatus, Notice, OutlierVerdict, Risk, Severity, SlaVerdict, VerdictBody,
};

mod alerts;
mod clocks;
mod forgetting;
mod heartbeats;
mod maintenance;
mod outlier_alerts;
mod plugin_clock;
mod recovery;
mod retiring;
mod rows;
mod streams;

/// A value at which an incident begins.
const INCIDENT: f64 = 77_777.0;
/// What is this much or more is an outlier by the values just before it, too, with a score of so many times this.
const FAR_OUTSIDE: f64 = 1e6;

const S: i64 = UnixNanos::SECOND;

const HOME: Partition = Partition(0);

fn at(seconds: i64) -> UnixNanos {
    UnixNanos((1_000_000 + seconds) * S)
}

/// Plugins whose every answer depends on their whole past, so that a row too many or too few shows.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    counters: BTreeMap<u32, (i64, f64)>,
    seen: BTreeMap<u32, u32>,
    ticked: Option<i64>,
}

#[derive(Default)]
struct Fake {
    memory: Memory,
    open: Vec<SeriesId>,
    /// Counters among them.
    counters: Vec<SeriesId>,
    clock: UnixNanos,
    /// Whether it asks to be called without data, every 30 seconds.
    wants_ticks: bool,
}

fn evidence(plugin: &str) -> Arc<Evidence> {
    Arc::new(Evidence { plugin: plugin.into(), version: "1".into(), digest: String::new(), config: String::new() })
}

impl TenantPlugins for Fake {
    fn open(&mut self, series: &Arc<SeriesDesc>) {
        assert!(!self.open.contains(&series.id), "opened twice");
        self.open.push(series.id);
        if matches!(series.spec.shape, Shape::Cumulative { monotonic: true } | Shape::Delta { monotonic: true }) {
            self.counters.push(series.id);
        }
    }

    fn close(&mut self, series: &[SeriesId]) {
        self.open.retain(|id| !series.contains(id));
        self.counters.retain(|id| !series.contains(id));
        self.memory.counters.retain(|id, _| !series.contains(&SeriesId(*id)));
        self.memory.seen.retain(|id, _| !series.contains(&SeriesId(*id)));
    }

    fn derive_with(&mut self, _: usize, batch: &Columns) -> Option<Derived> {
        let mut series: Vec<DerivedSeries> = Vec::new();
        let mut rows = Vec::new();
        for (id, time, value) in batch.rows() {
            assert!(self.open.contains(&id), "not opened");
            if !self.counters.contains(&id) {
                continue;
            }
            let Some((then, before)) = self.memory.counters.insert(id.0, (time.0, value)) else { continue };
            if series.last().is_none_or(|s| s.from != id) {
                series.push(DerivedSeries {
                    from: id,
                    also: Vec::new(),
                    metric: format!("rate{}", id.0),
                    unit: "1/s".into(),
                });
            }
            #[allow(clippy::cast_precision_loss)]
            let rate = (value - before) / ((time.0 - then) as f64 / S as f64);
            rows.push((u32::try_from(series.len() - 1).unwrap(), time, rate));
        }
        Some(Derived { evidence: evidence("rate"), series, rows })
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        let keys: Vec<_> = batch.rows().map(|(s, t, _)| (s, t)).collect();
        assert!(keys.is_sorted());
        let mut rows = Vec::new();
        // What time it was must not hang on the batch.
        let score = if self.wants_ticks { vitals_core::time::seconds(self.clock.0) } else { 1.0 };
        for (row, (series, _, value)) in batch.rows().enumerate() {
            assert!(self.open.contains(&series), "not opened");
            if self.counters.contains(&series) {
                continue;
            }
            let seen = self.memory.seen.entry(series.0).or_default();
            *seen += 1;
            if value >= 1_000.0 {
                let outlier = OutlierVerdict { series, value, lower: 0.0, upper: 999.0, score, window: *seen };
                rows.push((row, outlier));
            }
        }
        let incident = |(_, outlier): &&(usize, OutlierVerdict)| outlier.value == INCIDENT;
        let incidents = rows.iter().filter(incident).cloned().collect();
        let incidents = Findings { evidence: evidence(seasonal::PLUGIN), rows: incidents };
        let far_outside = |(row, outlier): &(usize, OutlierVerdict)| {
            let score = outlier.value / FAR_OUTSIDE;
            (score >= 1.0).then(|| (*row, OutlierVerdict { score, ..outlier.clone() }))
        };
        let each_value = rows.iter().filter_map(far_outside).collect();
        let each_value = Findings { evidence: evidence(iqr::PLUGIN), rows: each_value };
        vec![Findings { evidence: evidence("outlier"), rows }, incidents, each_value]
    }

    fn wants_ticks(&self) -> bool {
        self.wants_ticks
    }

    fn advance(&mut self, now: UnixNanos) {
        self.clock = now;
        self.memory.ticked.get_or_insert(now.0);
    }

    fn next_tick(&self) -> Option<UnixNanos> {
        let told = self.memory.ticked.filter(|_| self.wants_ticks)?;
        Some(UnixNanos((told.div_euclid(30 * S) + 1) * 30 * S))
    }

    /// What it has seen so far.
    fn tick_detectors(&mut self, now: UnixNanos) -> Vec<TickFindings> {
        assert_eq!(self.next_tick(), Some(now));
        self.memory.ticked = Some(now.0);
        let found = self.memory.seen.iter().map(|(&series, &window)| {
            let series = SeriesId(series);
            OutlierVerdict { series, value: f64::NAN, lower: 0.0, upper: 1.0, score: 0.0, window }
        });
        vec![TickFindings { evidence: evidence("ticks"), found: found.collect() }]
    }

    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
        let health = |view: &AgentView| {
            let cpu = view.measurements.cpu_percent.unwrap_or_default();
            let status = if cpu > 95.0 { HealthStatus::Critical } else { HealthStatus::Healthy };
            // What the scorer is shown beside the measurements must not hang on the batch either.
            let reasons = vec![format!("{:?}", view.uptime_percent)];
            AgentHealth { score: 100.0 - cpu, status, reasons, recommendations: Vec::new() }
        };
        views.iter().enumerate().map(|(row, view)| (evidence("health"), row, health(view))).collect()
    }

    fn report(&mut self, views: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)> {
        let report = |view: &SlaView| {
            let (known, down) = view.period;
            let availability = 100.0 * (known - down) / known;
            let risk = if down > 0.0 { Risk::Breached } else { Risk::Low };
            SlaVerdict { target: view.target, availability, budget_left: 1.0, burn: [0.0; 3], risk }
        };
        views.iter().map(|view| (evidence("sla"), view.agent, report(view))).collect()
    }

    fn snapshot(&mut self) -> Vec<u8> {
        serde_json::to_vec(&self.memory).unwrap()
    }

    fn restore(&mut self, state: &[u8]) {
        self.memory = serde_json::from_slice(state).unwrap();
    }
}

struct World {
    registry: Arc<Registry>,
    store: Arc<MemoryStore>,
    live_agents: Arc<LiveAgents>,
    notices: Arc<Mutex<Vec<Notice>>>,
    shard: Shard,
}

/// Everything that is at least a warning is told, incidents in two series of an agent within ten minutes among it.
fn config() -> EvaluateConfig {
    let together = OutlierAlertPolicy {
        name: "together".into(),
        plugin: seasonal::PLUGIN.into(),
        least_score: 1.0,
        metric_types: Vec::new(),
        series: 2,
        within_seconds: 600,
        quiet_seconds: 20,
        severity: Severity::Warning,
    };
    EvaluateConfig {
        alerts: vec![AlertConfig::new("*", Severity::Warning)],
        outlier_alerts: vec![together],
        ..EvaluateConfig::default()
    }
}

impl World {
    /// A shard on what `durable` kept, brought up to date with the log's records.
    fn start(records: &[Record], durable: Contents) -> Self {
        Self::with(config(), records, durable)
    }

    fn with(config: EvaluateConfig, records: &[Record], durable: Contents) -> Self {
        Self::with_plugins(config, Arc::new(|_| Box::new(Fake::default())), records, durable)
    }

    fn with_plugins(
        config: EvaluateConfig,
        plugins: super::PluginFactory,
        records: &[Record],
        durable: Contents,
    ) -> Self {
        let registry = Arc::new(Registry::new(Quota::default()));
        registry.restore(Catalogue {
            agents: durable.agents.values().cloned().collect(),
            series: durable.series.values().cloned().collect(),
            ..durable.retired_agents()
        });
        let mut retired = HashSet::new();
        for record in records.iter().skip(durable.checkpoint(HOME).stored.0 as usize) {
            register(record.clone(), &registry, &mut retired);
        }
        let checkpoint = durable.checkpoint(HOME);
        let store = Arc::new(MemoryStore::write_only(durable));
        let (live_agents, notices) = (Arc::new(LiveAgents::default()), Arc::<Mutex<Vec<Notice>>>::default());
        let context = ShardContext {
            plugins,
            registry: registry.clone(),
            store: store.clone(),
            live_agents: live_agents.clone(),
            observe: {
                let notices = notices.clone();
                Arc::new(move |output| notices.lock().unwrap().extend(output.notices.iter().cloned()))
            },
        };
        let mut shard = Shard::new(HOME, Arc::new(config), context);
        let log = MemoryLog::holding(records);
        replay(&mut shard, HOME, &checkpoint, &log).unwrap();
        Self { registry, store, live_agents, notices, shard }
    }

    fn take(&mut self, record: Record) -> Option<Outcome> {
        let position = Position(self.shard.position().0 + 1);
        let heard = Arc::new(Mutex::new(None));
        let place = heard.clone();
        let reply: Box<dyn FnOnce(Outcome) + Send> = Box::new(move |o| *place.lock().unwrap() = Some(o));
        let ticket = Ticket { permit: None, reply: Some(reply) };
        self.shard.take(&mut vec![Delivery { position, record, ticket }]);
        heard.lock().unwrap().take()
    }

    /// Takes the records that follow the first one of a story, in batches of these lengths, over and over.
    fn take_in_batches(mut self, story: &[Record], lengths: &[usize]) -> Self {
        let mut deliveries = story[1..].iter().zip(2..).map(|(record, n)| Delivery {
            position: Position(n),
            record: record.clone(),
            ticket: Ticket::default(),
        });
        for length in lengths.iter().cycle() {
            let mut batch: Vec<Delivery> = deliveries.by_ref().take(*length).collect();
            if batch.is_empty() {
                break;
            }
            self.shard.take(&mut batch);
        }
        self
    }

    fn checkpoint(&mut self, with_state: bool) {
        let checkpoint = self.shard.checkpoint(with_state);
        self.store.seal(HOME, checkpoint, Box::new(|| {}));
    }

    /// What was told, as `second source event severity`.
    fn told(&self) -> Vec<String> {
        let show = |n: &Notice| {
            let second = n.at.0 / S - 1_000_000;
            format!("{second} {} {} {}", n.alert.source, n.event.name(), n.alert.severity.name())
        };
        self.notices.lock().unwrap().iter().map(show).collect()
    }

    /// Ticks each second.
    fn ticks(&mut self, seconds: std::ops::RangeInclusive<i64>) {
        seconds.for_each(|second| self.shard.tick(at(second)));
    }

    fn held(&self) -> Contents {
        self.store.contents()
    }

    /// Samples by metric name, so that ids do not matter.
    fn samples(&self) -> BTreeMap<(String, i64), f64> {
        let name = |id: &SeriesId| {
            let spec = self.registry.series(*id).unwrap().spec.clone();
            if let Part::Bucket(bound) = spec.part { format!("{} le {bound}", spec.metric) } else { spec.metric }
        };
        self.held().samples.iter().map(|((s, t), v)| ((name(s), t.0 / S - 1_000_000), *v)).collect()
    }

    /// Outliers as (metric, second, rows seen).
    fn outliers(&self) -> Vec<(String, i64, u32)> {
        let mut all: Vec<_> = self
            .held()
            .verdicts
            .iter()
            .filter_map(|v| match &v.body {
                VerdictBody::Outlier(o) => {
                    let name = self.registry.series(o.series).unwrap().spec.metric.clone();
                    Some((name, v.time.0 / S - 1_000_000, o.window))
                }
                _ => None,
            })
            .collect();
        all.sort();
        all
    }
}

fn spec(metric: &str, shape: Shape, kind: MetricKind, origin: Origin) -> SeriesSpec {
    SeriesSpec {
        metric: metric.into(),
        unit: if kind == MetricKind::CpuUsage { "%".into() } else { String::new() },
        kind,
        shape,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin,
        scope: Arc::default(),
        attributes: Attributes::default(),
        resource: Arc::default(),
    }
}

/// Series 0 a gauge, 1 a counter, 2 deltas, 3 CPU percent (all of agent 0, OTLP); 4 CPU percent by REST (agent 1); 5 to 7
/// the buckets of a delta histogram of agent 0, up to 1, 2 and 4.
fn describe() -> Record {
    let registry = Registry::new(Quota::default());
    let tenant = TenantId::default_tenant();
    let agent = |key| registry.intern_agent(&tenant, key, at(0), &AgentProfile::default()).unwrap();
    let (web, db) = (agent("web"), agent("db"));
    let total = Shape::Cumulative { monotonic: true };
    let delta = Shape::Delta { monotonic: true };
    registry.intern_series(
        &tenant,
        web,
        vec![
            spec("gauge", Shape::Gauge, MetricKind::Custom, Origin::Otlp),
            spec("counter", total, MetricKind::Custom, Origin::Otlp),
            spec("delta", delta, MetricKind::Custom, Origin::Otlp),
            spec("cpu", Shape::Gauge, MetricKind::CpuUsage, Origin::Otlp),
        ],
    );
    registry.intern_series(&tenant, db, vec![spec("load", Shape::Gauge, MetricKind::CpuUsage, Origin::Rest)]);
    let bucket =
        |bound| SeriesSpec { part: Part::Bucket(bound), ..spec("latency", delta, MetricKind::Custom, Origin::Otlp) };
    registry.intern_series(&tenant, web, [1.0, 2.0, 4.0].map(bucket).to_vec());
    Record::Describe {
        agents: registry.agents_of(&tenant),
        series: (0..8).map(|id| registry.series(SeriesId(id)).unwrap()).collect(),
    }
}

fn samples(received: i64, rows: &[(u32, i64, f64)]) -> Record {
    let mut columns = Columns::default();
    for &(series, time, value) in rows {
        columns.push(SeriesId(series), at(time), value);
    }
    let (alive, starts) = (vec![AgentId(0)], Starts::default());
    Record::Samples(Samples { tenant: TenantId::default_tenant(), received_at: at(received), alive, columns, starts })
}

/// A start that is not known.
const NO_START: i64 = i64::MIN;

/// Samples as (series, start, time, value).
fn started(received: i64, rows: &[(u32, i64, i64, f64)]) -> Record {
    let without: Vec<_> = rows.iter().map(|&(series, _, time, value)| (series, time, value)).collect();
    let Record::Samples(mut record) = samples(received, &without) else { unreachable!() };
    for (row, &(_, start, ..)) in rows.iter().enumerate() {
        record.starts.note(row, if start == NO_START { UnixNanos(0) } else { at(start) });
    }
    Record::Samples(record)
}

/// What a person does to an alert.
fn on_alert(alert: &Alert, action: AlertAction, by: &str, second: i64) -> Record {
    let (by, comment) = (by.to_owned(), None);
    Record::Alert(AlertCommand { alert: alert.id.clone(), agent: alert.agent, action, by, at: at(second), comment })
}

/// A maintenance window of these agents.
fn person_window(agents: &str, (start, end): (i64, i64), set: i64) -> PersonWindow {
    let (agents, times) = (vec![agents.to_owned()], (at(start), at(end)));
    PersonWindow {
        id: PersonWindow::id_of(&TenantId::default_tenant(), &agents, times, None),
        tenant: TenantId::default_tenant(),
        agents,
        start: at(start),
        end: at(end),
        time_zone: None,
        reason: None,
        by: "ops".into(),
        created: at(set),
        changed_by: None,
        changed: at(set),
        cancelled: false,
    }
}

/// A maintenance window of the agent that sends heartbeats.
fn planned(start: i64, end: i64, set: i64) -> Record {
    Record::Maintenance(person_window("db", (start, end), set))
}

fn heartbeat(time: i64, cpu: f64) -> Record {
    reporting(1, time, cpu, HealthStatus::Healthy)
}

/// A heartbeat of an agent that says of itself how it is.
fn reporting(agent: u32, time: i64, cpu: f64, reported: HealthStatus) -> Record {
    let measurements = Measurements { cpu_percent: Some(cpu), ..Measurements::default() };
    let mut columns = Columns::default();
    if agent == 1 {
        columns.push(SeriesId(4), at(time), cpu);
    }
    Record::Heartbeat(Heartbeat {
        tenant: TenantId::default_tenant(),
        agent: AgentId(agent),
        received_at: at(time),
        timestamp: at(time),
        reported,
        interval: 30 * S,
        measurements,
        columns,
    })
}

/// A REST metric of `db`'s CPU.
fn reported(received: i64, rows: &[(u32, i64, f64)]) -> Record {
    let Record::Samples(mut metric) = samples(received, rows) else { unreachable!() };
    metric.alive.clear();
    Record::Samples(metric)
}

/// Metric, kind, unit, attributes.
type More<'a> = (&'a str, MetricKind, &'a str, &'a [(&'a str, &'a str)]);

/// `describe`, with more series of agent 0 from number 5 on.
fn describe_more(more: &[More<'_>]) -> Record {
    let Record::Describe { agents, mut series } = describe() else { unreachable!() };
    for (id, (metric, kind, unit, attributes)) in (5..).zip(more) {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let spec =
            SeriesSpec { unit: (*unit).to_owned(), attributes, ..spec(metric, Shape::Gauge, *kind, Origin::Otlp) };
        series.push(Arc::new(SeriesDesc { id: SeriesId(id), agent: AgentId(0), spec }));
    }
    Record::Describe { agents, series }
}

/// The alerts of a source as (start, end).
fn alerts_of(world: &World, source: &str) -> Vec<(i64, Option<i64>)> {
    let second = |time: UnixNanos| time.0 / S - 1_000_000;
    let held = world.held();
    let mut found: Vec<_> = held
        .alerts
        .values()
        .filter(|alert| alert.source == source)
        .map(|alert| (second(alert.started), alert.resolved.map(second)))
        .collect();
    found.sort_unstable();
    found
}

fn minutes(minutes: i64) -> i64 {
    minutes * 60
}

fn line(world: &World) -> Vec<(i64, Option<i64>, State)> {
    let second = |time: UnixNanos| time.0 / S - 1_000_000;
    let all: Vec<_> = world.held().intervals.values().copied().collect();
    merged(&all).into_iter().map(|i| (second(i.start), i.end.map(second), i.state)).collect()
}
