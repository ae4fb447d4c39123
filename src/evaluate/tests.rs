//! Shards against plugins, a store and a log that live in memory.

use super::config::EvaluateConfig;
use super::maintenance::MaintenanceWindow;
use super::run::replay;
use super::shard::{Shard, ShardContext};
use super::tenant_plugins::{AgentView, Derived, DerivedSeries, Findings, SlaView, TenantPlugins};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use vitals_core::availability::{Interval, State, merged, planned_over};
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{LiveAgents, Liveness};
use vitals_core::log::{Done, Log, LogError, LogStats};
use vitals_core::record::{Delivery, Heartbeat, Measurements, Outcome, Record, Samples, Ticket};
use vitals_core::registry::{Quota, Registry};
use vitals_core::rules::alerts::AlertConfig;
use vitals_core::rules::seasonal;
use vitals_core::rules::thresholds::Threshold;
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, SeriesDesc, SeriesSpec, Shape};
use vitals_core::store::{
    AlertQuery, Catalogue, Checkpoint, EvaluationOutput, SampleQuery, Store, StoreError, StoreStats, VerdictQuery,
};
use vitals_core::verdict::{
    AgentHealth, Alert, Event, Evidence, HealthStatus, Notice, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict,
    VerdictBody,
};

mod streams;

/// A value at which an incident begins.
const INCIDENT: f64 = 77_777.0;
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
}

#[derive(Default)]
struct Fake(Memory, Vec<SeriesId>);

fn evidence(plugin: &str) -> Arc<Evidence> {
    Arc::new(Evidence { plugin: plugin.into(), version: "1".into(), digest: String::new(), config: String::new() })
}

impl TenantPlugins for Fake {
    fn open(&mut self, series: &Arc<SeriesDesc>) {
        assert!(!self.1.contains(&series.id), "opened twice");
        self.1.push(series.id);
    }

    fn close(&mut self, series: &[SeriesId]) {
        self.1.retain(|id| !series.contains(id));
        self.0.counters.retain(|id, _| !series.contains(&SeriesId(*id)));
        self.0.seen.retain(|id, _| !series.contains(&SeriesId(*id)));
    }

    fn derive(&mut self, batch: &Columns) -> Vec<Derived> {
        let mut series: Vec<DerivedSeries> = Vec::new();
        let mut rows = Vec::new();
        for (id, time, value) in batch.rows() {
            assert!(self.1.contains(&id), "not opened");
            let Some((then, before)) = self.0.counters.insert(id.0, (time.0, value)) else { continue };
            if series.last().is_none_or(|s| s.from != id) {
                series.push(DerivedSeries { from: id, metric: format!("rate{}", id.0), unit: "1/s".into() });
            }
            #[allow(clippy::cast_precision_loss)]
            let rate = (value - before) / ((time.0 - then) as f64 / S as f64);
            rows.push((u32::try_from(series.len() - 1).unwrap(), time, rate));
        }
        vec![Derived { evidence: evidence("rate"), series, rows }]
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        let keys: Vec<_> = batch.rows().map(|(s, t, _)| (s, t)).collect();
        assert!(keys.is_sorted());
        let mut rows = Vec::new();
        for (row, (series, _, value)) in batch.rows().enumerate() {
            assert!(self.1.contains(&series), "not opened");
            let seen = self.0.seen.entry(series.0).or_default();
            *seen += 1;
            if value >= 1_000.0 {
                let outlier = OutlierVerdict { series, value, lower: 0.0, upper: 999.0, score: 1.0, window: *seen };
                rows.push((row, outlier));
            }
        }
        let incident = |(_, outlier): &&(usize, OutlierVerdict)| outlier.value == INCIDENT;
        let incidents = rows.iter().filter(incident).cloned().collect();
        let incidents = Findings { evidence: evidence(seasonal::PLUGIN), rows: incidents };
        vec![Findings { evidence: evidence("outlier"), rows }, incidents]
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
        serde_json::to_vec(&self.0).unwrap()
    }

    fn restore(&mut self, state: &[u8]) {
        self.0 = serde_json::from_slice(state).unwrap();
    }
}

/// What a store holds, and what of it would survive.
#[derive(Clone, Default)]
struct Held {
    agents: BTreeMap<AgentId, Arc<vitals_core::series::AgentDesc>>,
    series: BTreeMap<SeriesId, Arc<SeriesDesc>>,
    samples: BTreeMap<(SeriesId, UnixNanos), f64>,
    verdicts: Vec<Verdict>,
    intervals: BTreeMap<(AgentId, UnixNanos), Interval>,
    alerts: BTreeMap<String, Alert>,
    checkpoint: Checkpoint,
}

/// What a question to the store while records are evaluated ends in: it would wait for the disk.
const READ: &str = "evaluation reads the store";

#[derive(Default)]
struct MemoryStore {
    now: Mutex<Held>,
    durable: Mutex<Held>,
}

impl Store for MemoryStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let held = self.durable.lock().unwrap();
        Ok(Catalogue {
            agents: held.agents.values().cloned().collect(),
            series: held.series.values().cloned().collect(),
        })
    }

    fn checkpoint(&self, _: Partition) -> Result<Checkpoint, StoreError> {
        Ok(self.durable.lock().unwrap().checkpoint.clone())
    }

    fn stored(&self, _: Partition) -> Result<Position, StoreError> {
        panic!("{READ}");
    }

    fn write(&self, _: Partition, output: EvaluationOutput) {
        let mut held = self.now.lock().unwrap();
        held.agents.extend(output.agents.into_iter().map(|a| (a.id, a)));
        held.series.extend(output.series.into_iter().map(|s| (s.id, s)));
        for columns in output.samples {
            let keys: Vec<_> = columns.rows().map(|(s, t, _)| (s, t)).collect();
            assert!(keys.is_sorted());
            for (series, time, value) in columns.rows() {
                held.samples.entry((series, time)).or_insert(value);
            }
        }
        held.verdicts.extend(output.verdicts);
        held.intervals.extend(output.intervals.into_iter().map(|(agent, i)| ((agent, i.start), i)));
        held.alerts.extend(output.alerts.into_iter().map(|a| (a.id.clone(), a)));
        for window in output.maintenance {
            let known: Vec<_> =
                held.intervals.iter().filter(|((a, _), _)| *a == window.agent).map(|(_, i)| *i).collect();
            let changes = planned_over(&known, window.start, window.end);
            held.intervals.extend(changes.into_iter().map(|i| ((window.agent, i.start), i)));
        }
        for one in output.acknowledged {
            held.alerts.get_mut(&one.alert).map(|alert| one.apply(alert));
        }
    }

    fn seal(&self, _: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        let mut held = self.now.lock().unwrap();
        let state = checkpoint.state.clone().or_else(|| held.checkpoint.state.clone());
        held.checkpoint = Checkpoint { state, ..checkpoint };
        *self.durable.lock().unwrap() = held.clone();
        drop(held);
        done();
    }

    fn samples(&self, _: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        panic!("{READ}");
    }

    fn verdicts(&self, _: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        panic!("{READ}");
    }

    fn intervals(&self, _: AgentId, _: UnixNanos, _: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        panic!("{READ}");
    }

    fn alerts(&self, _: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        panic!("{READ}");
    }

    fn alert(&self, _: &TenantId, _: &str) -> Result<Option<Alert>, StoreError> {
        panic!("{READ}");
    }

    fn maintain(&self, _: UnixNanos) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn stopping(&self) {}

    fn close(&self) {}
}

#[derive(Default)]
struct MemoryLog(Mutex<Vec<Record>>);

impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        1
    }

    fn append(&self, _: Partition, record: Record, _: Ticket, done: Done) {
        let mut records = self.0.lock().unwrap();
        records.push(record);
        let position = Position(records.len() as u64);
        drop(records);
        done(Ok(position));
    }

    /// Few at a time, so that a replay reads often.
    fn read(&self, _: Partition, after: Position, _: usize) -> Result<Vec<(Position, Record)>, LogError> {
        let records = self.0.lock().unwrap();
        let positions = (1..).map(Position);
        Ok(positions.zip(records.iter().cloned()).filter(|(p, _)| *p > after).take(3).collect())
    }

    fn last(&self, _: Partition) -> Result<Position, LogError> {
        Ok(Position(self.0.lock().unwrap().len() as u64))
    }

    fn cut(&self, _: Partition, _: Position) -> Result<(), LogError> {
        Ok(())
    }

    fn skip(&self, _: Partition, through: Position) -> Result<(), LogError> {
        self.0.lock().unwrap().resize(through.0 as usize, Record::Describe { agents: vec![], series: vec![] });
        Ok(())
    }

    fn stats(&self) -> LogStats {
        LogStats::default()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn close(&self) {}
}

struct World {
    registry: Arc<Registry>,
    store: Arc<MemoryStore>,
    live_agents: Arc<LiveAgents>,
    notices: Arc<Mutex<Vec<Notice>>>,
    shard: Shard,
}

/// Everything that is at least a warning is told.
fn config() -> EvaluateConfig {
    EvaluateConfig { alerts: vec![AlertConfig::new("*", Severity::Warning)], ..EvaluateConfig::default() }
}

impl World {
    /// A shard on what `durable` kept, brought up to date with the log's records.
    fn start(records: &[Record], durable: Held) -> Self {
        Self::with(config(), records, durable)
    }

    fn with(config: EvaluateConfig, records: &[Record], durable: Held) -> Self {
        let registry = Arc::new(Registry::new(Quota::default()));
        durable.agents.values().for_each(|a| registry.restore_agent(a.clone()));
        durable.series.values().for_each(|s| registry.restore_series(s.clone()));
        for record in records {
            if let Record::Describe { agents, series } = record {
                agents.iter().for_each(|a| registry.restore_agent(a.clone()));
                series.iter().for_each(|s| registry.restore_series(s.clone()));
            }
        }
        let checkpoint = durable.checkpoint.clone();
        let store = Arc::new(MemoryStore { now: Mutex::new(durable.clone()), durable: Mutex::new(durable) });
        let (live_agents, notices) = (Arc::new(LiveAgents::default()), Arc::<Mutex<Vec<Notice>>>::default());
        let context = ShardContext {
            plugins: Arc::new(|_| Box::new(Fake::default())),
            registry: registry.clone(),
            store: store.clone(),
            live_agents: live_agents.clone(),
            observe: {
                let notices = notices.clone();
                Arc::new(move |output| notices.lock().unwrap().extend(output.notices.iter().cloned()))
            },
        };
        let mut shard = Shard::new(HOME, Arc::new(config), context);
        let log = MemoryLog(Mutex::new(records.to_vec()));
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

    fn held(&self) -> Held {
        self.store.now.lock().unwrap().clone()
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

/// A maintenance window of the agent that sends heartbeats.
fn planned(start: i64, end: i64, set: i64) -> Record {
    Record::Maintenance { agent: AgentId(1), start: at(start), end: at(end), by: "ops".into(), at: at(set) }
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

#[test]
fn duplicates_are_dropped_and_late_rows_are_stored_unjudged() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(samples(10, &[(0, 10, 1.0), (0, 10, 2.0), (0, 8, 2_000.0), (9, 1, 1.0)]));
    world.take(samples(11, &[(0, 9, 4_000.0), (0, 10, 3.0), (0, 11, 5_000.0)]));
    let expect =
        [(8, 2_000.0), (9, 4_000.0), (10, 1.0), (11, 5_000.0)].map(|(at, value)| (("gauge".into(), at), value));
    assert_eq!(world.samples(), BTreeMap::from(expect));
    assert_eq!(world.outliers(), [("gauge".into(), 8, 1), ("gauge".into(), 11, 3)]);
}

#[test]
fn deltas_become_totals_and_totals_become_rates() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(samples(10, &[(2, 10, 5.0), (1, 10, 100.0)]));
    world.take(samples(10, &[(2, 10, 5.0)]));
    world.take(samples(20, &[(2, 20, 7.0), (1, 20, 150.0), (2, 30, f64::NAN)]));
    world.take(samples(21, &[(2, 15, 9.0)]));
    let samples = world.samples();
    let of = |name: &str| -> Vec<_> { samples.iter().filter(|(k, _)| k.0 == name).map(|(k, v)| (k.1, *v)).collect() };
    assert_eq!(of("delta"), [(10, 5.0), (20, 12.0), (30, 12.0)]);
    assert_eq!(of("rate1"), [(20, 5.0)]);
    assert_eq!(of("rate2"), [(20, 0.7), (30, 0.0)]);
    let derived = world.held().series.values().find(|s| s.spec.metric == "rate1").unwrap().clone();
    assert_eq!(derived.spec.origin, Origin::Derived { plugin: "rate".into(), from: SeriesId(1) });
    assert_eq!((derived.agent, derived.spec.kind), (AgentId(0), MetricKind::Custom));
}

#[test]
fn a_heartbeat_is_answered_and_a_retry_changes_nothing() {
    let mut world = World::start(&[describe()], Held::default());
    let outcome = world.take(heartbeat(0, 97.0)).unwrap();
    assert_eq!(outcome.health.unwrap().status, HealthStatus::Critical);
    assert_eq!((outcome.breaches.len(), outcome.breaches[0].series), (1, None));
    assert_eq!(outcome.breaches[0].message, "cpu_usage is 97.0 %, critical from 95.0 %");
    let alerts: Vec<_> = outcome.alerts.iter().map(|alert| (alert.source.as_str(), alert.severity)).collect();
    // What the contract counts as raised by a heartbeat; the alert on its health is listed.
    assert_eq!(alerts, [("threshold:cpu_usage", Severity::Critical)]);
    let named = outcome.alerts[0].series.clone().unwrap();
    assert_eq!((named.metric.as_str(), named.attributes.len()), ("cpu_usage_percent", 0));
    assert_eq!((outcome.next_expected, outcome.adaptive_timeout), (Some(at(30)), Some(90 * S)));
    let before = world.held();
    let again = world.take(heartbeat(0, 97.0)).unwrap();
    assert_eq!((again.breaches.len(), again.alerts.len()), (1, 0));
    let after = world.held();
    assert_eq!((before.samples, before.verdicts, before.alerts), (after.samples, after.verdicts, after.alerts));
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!((live.liveness, live.measurements.cpu_percent), (Liveness::OnTime, Some(97.0)));

    let calm = world.take(heartbeat(30, 10.0)).unwrap();
    assert!(calm.breaches.is_empty());
    let held = world.held();
    // Nor does one that comes after newer ones.
    world.take(heartbeat(0, 97.0));
    let after = world.held();
    assert_eq!((&held.verdicts, &held.alerts, &held.intervals), (&after.verdicts, &after.alerts, &after.intervals));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().measurements.cpu_percent, Some(10.0));
    let times: Vec<_> = held.alerts.values().map(|alert| (alert.started, alert.resolved)).collect();
    assert_eq!(times, [(at(0), Some(at(30))), (at(0), Some(at(30)))]);
    // Critical was downtime.
    let states: Vec<_> = held.intervals.values().map(|i| (i.start, i.end, i.state)).collect();
    assert_eq!(states, [(at(0), Some(at(30)), State::Unhealthy), (at(30), None, State::Up)]);
}

#[test]
fn silence_is_late_then_offline_with_one_alert_until_the_return() {
    let mut world = World::start(&[describe()], Held::default());
    for second in [0, 30, 60] {
        world.take(heartbeat(second, 10.0));
    }
    let liveness = |world: &World| world.live_agents.get(AgentId(1)).unwrap().liveness;
    world.shard.tick(at(91));
    assert_eq!(liveness(&world), Liveness::Late);
    assert!(world.held().alerts.is_empty());
    for second in 92..200 {
        world.shard.tick(at(second));
    }
    assert_eq!(liveness(&world), Liveness::Offline);
    let held = world.held();
    let alert = held.alerts.values().next().unwrap().clone();
    assert_eq!((held.alerts.len(), alert.source.as_str(), alert.started), (1, "availability", at(90)));
    assert!(alert.message.starts_with("db has been silent since 1970-01-12T"), "{}", alert.message);
    world.take(Record::Acknowledge { alert: alert.id.clone(), agent: AgentId(1), by: "ops".into(), at: at(150) });

    world.take(heartbeat(200, 10.0));
    assert_eq!(liveness(&world), Liveness::OnTime);
    let held = world.held();
    assert_eq!(held.alerts.len(), 1);
    let closed = &held.alerts[&alert.id];
    assert_eq!((closed.resolved, &closed.acknowledged), (Some(at(200)), &Some(("ops".into(), at(150)))));
    let line: Vec<Interval> = merged(&held.intervals.values().copied().collect::<Vec<_>>());
    assert_eq!(line.iter().map(|i| i.state).collect::<Vec<_>>(), [State::Up, State::Silent, State::Up]);
    // The report noticed.
    for second in 201..215 {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().sla.unwrap().risk, Risk::Breached);
}

#[test]
fn otlp_vitals_raise_alerts_and_verdicts_only_when_they_change() {
    let mut world = World::start(&[describe()], Held::default());
    for (second, cpu) in [(0, 50.0), (10, 50.0), (20, 97.0), (30, 97.0), (40, 50.0)] {
        world.take(samples(second, &[(3, second, cpu)]));
    }
    let held = world.held();
    let times: Vec<_> = held.verdicts.iter().map(|v| v.time).collect();
    assert_eq!(times, [at(0), at(20), at(40)]);
    let mut alerts: Vec<_> = held.alerts.values().map(|a| (a.source.as_str(), a.started, a.resolved)).collect();
    alerts.sort();
    assert_eq!(alerts, [("health", at(20), Some(at(40))), ("threshold:cpu_usage", at(20), Some(at(40)))]);
}

#[test]
fn rest_metrics_are_answered_with_breaches_alerts_and_outliers() {
    let mut world = World::start(&[describe()], Held::default());
    let Record::Samples(mut metric) = samples(0, &[(4, 0, 5_000.0)]) else { unreachable!() };
    metric.alive.clear();
    let outcome = world.take(Record::Samples(metric)).unwrap();
    assert_eq!((outcome.breaches.len(), outcome.alerts.len(), outcome.outliers.len()), (1, 1, 1));
    // Others report on it: it is not alive for that.
    assert_eq!(world.live_agents.get(AgentId(1)), None);
}

#[test]
fn incidents_are_verdicts_and_no_answer_about_a_value() {
    let mut world = World::start(&[describe()], Held::default());
    let outcome = world.take(reported(0, &[(4, 0, INCIDENT)])).unwrap();
    assert_eq!(outcome.outliers.len(), 1, "{:?}", outcome.outliers);
    let held = world.held();
    let outliers = held.verdicts.iter().filter(|verdict| matches!(verdict.body, VerdictBody::Outlier(_)));
    let plugins: Vec<&str> = outliers.map(|verdict| verdict.evidence.plugin.as_str()).collect();
    assert_eq!(plugins, ["outlier", seasonal::PLUGIN]);
}

/// A REST metric of `db`'s CPU.
fn reported(received: i64, rows: &[(u32, i64, f64)]) -> Record {
    let Record::Samples(mut metric) = samples(received, rows) else { unreachable!() };
    metric.alive.clear();
    Record::Samples(metric)
}

#[test]
fn what_only_others_report_on_is_judged_by_the_scorers_too() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(reported(0, &[(4, 0, 97.0)]));
    let observed = world.live_agents.observed(AgentId(1)).unwrap();
    assert_eq!((observed.health.status, observed.time), (HealthStatus::Critical, at(0)));
    assert_eq!(observed.measurements.cpu_percent, Some(97.0));
    let verdicts = world.held().verdicts;
    assert_eq!((verdicts[0].agent, verdicts[0].evidence.plugin.as_str()), (AgentId(1), "health"));
    assert!(world.held().alerts.values().all(|alert| alert.source == "threshold:cpu_usage"));
    // Over a restart, and with the next value.
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(5));
    assert_eq!(world.live_agents.observed(AgentId(1)), Some(observed));
    world.take(reported(10, &[(4, 10, 20.0)]));
    assert_eq!(world.live_agents.observed(AgentId(1)).unwrap().health.score, 80.0);
    // Once it shows life itself, what it says counts.
    world.take(heartbeat(20, 50.0));
    world.take(reported(30, &[(4, 30, 97.0)]));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().health.unwrap().score, 50.0);
}

#[test]
fn idle_plugins_are_put_away_with_their_state() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(samples(0, &[(0, 0, 1.0), (1, 0, 1.0)]));
    world.shard.tick(at(5_000));
    world.shard.tick(at(5_001));
    world.take(samples(6_000, &[(0, 6_000, 2_000.0)]));
    assert_eq!(world.outliers(), [("gauge".into(), 6_000, 2)]);
}

/// Agents are forgotten after ten minutes.
fn forgetful() -> EvaluateConfig {
    EvaluateConfig { forget_seconds: 600, ..config() }
}

/// Agent 0 (a gauge and a counter) falls silent at second 3 and comes back at 800; of agent 1 something comes all the time.
fn a_silence() -> Vec<Record> {
    let mut records = vec![describe()];
    records.extend((0..4).map(|second| {
        let count = second as f64;
        samples(second, &[(0, second, 1.0), (1, second, count)])
    }));
    records.extend((1..5).map(|step| reported(step * 180, &[(4, step * 180, 20.0)])));
    records.push(samples(800, &[(0, 800, 2_000.0), (1, 800, 5_000.0)]));
    records.push(reported(801, &[(4, 801, 1_001.0)]));
    records.push(samples(810, &[(0, 810, 3_000.0), (1, 810, 5_100.0)]));
    records
}

/// What the plugins found of [`a_silence`]: of agent 0 with a past that began at 800, of agent 1 with all of its own.
fn found_after_a_silence(world: &World, how: &str) {
    let rate = |second: i64| world.samples().get(&("rate1".to_owned(), second)).copied();
    let expect = [("gauge".to_owned(), 800, 1), ("gauge".to_owned(), 810, 2), ("load".to_owned(), 801, 5)];
    assert_eq!(world.outliers(), expect, "{how}");
    assert_eq!([rate(3), rate(800), rate(810)], [Some(1.0), None, Some(10.0)], "{how}");
}

#[test]
fn a_forgotten_agent_comes_back_without_a_past() {
    let story = a_silence();
    for (how, idle, second) in [("ticks", 10_000, true), ("no ticks", 10_000, false), ("put away", 60, true)] {
        let config = EvaluateConfig { idle_seconds: idle, ..forgetful() };
        let mut world = World::with(config, &story[..1], Held::default());
        for record in &story[1..] {
            let last = world.shard.latest_arrival().0 / S - 1_000_000;
            world.take(record.clone());
            let until = world.shard.latest_arrival().0 / S - 1_000_000;
            if second && last > 0 {
                world.ticks(last..=until - 1);
            }
        }
        found_after_a_silence(&world, how);
    }
    // All in one batch.
    let mut world = World::with(forgetful(), &story[..1], Held::default());
    let delivery = |(record, n): (&Record, u64)| {
        let (position, ticket) = (Position(n), Ticket::default());
        Delivery { position, record: record.clone(), ticket }
    };
    world.shard.take(&mut story[1..].iter().zip(2..).map(delivery).collect());
    found_after_a_silence(&world, "one batch");
}

#[test]
fn a_forgotten_agent_is_gone_from_the_plugins_state() {
    let story = a_silence();
    let snapshot = |world: &mut World| {
        world.checkpoint(true);
        let durable = world.store.durable.lock().unwrap().clone();
        let state: super::state::PluginState = super::state::read(&durable.checkpoint.state.unwrap()).unwrap();
        serde_json::from_slice::<Memory>(&state.tenants[0].1).unwrap()
    };
    for idle in [10_000, 60] {
        let config = EvaluateConfig { idle_seconds: idle, ..forgetful() };
        let mut world = World::with(config, &story[..1], Held::default());
        story[1..9].iter().for_each(|record| drop(world.take(record.clone())));
        world.shard.tick(at(602));
        let before = snapshot(&mut world);
        assert!(before.counters.contains_key(&1) && before.seen.contains_key(&0), "{idle}");
        // Its derived series is its own too.
        assert_eq!(before.seen.len(), 3, "{idle}");
        world.shard.tick(at(604));
        let after = snapshot(&mut world);
        assert_eq!((after.counters.len(), after.seen), (0, [(4, 4)].into()), "{idle}");
    }
}

#[test]
fn a_forgotten_agent_stays_forgotten_over_a_crash() {
    let story = a_silence();
    for crash in 1..=story.len() {
        for (state_every, seal_every) in [(usize::MAX, usize::MAX), (5, 2), (7, 3), (1, 1), (usize::MAX, 2)] {
            for ticks in [false, true] {
                let mut world = World::with(forgetful(), &story[..1], Held::default());
                for (n, record) in story[1..crash].iter().enumerate() {
                    world.take(record.clone());
                    if ticks {
                        let seen = world.shard.latest_arrival();
                        world.shard.tick(seen);
                    }
                    if n % seal_every == seal_every - 1 {
                        world.checkpoint(n % state_every == state_every - 1);
                    }
                }
                let durable = world.store.durable.lock().unwrap().clone();
                let again = World::with(forgetful(), &story, durable);
                let how = format!("crash after {crash}, state every {state_every}, seal every {seal_every}, {ticks}");
                found_after_a_silence(&again, &how);
            }
        }
    }
}

fn story() -> Vec<Record> {
    let mut records = vec![describe()];
    for step in 0..12_i64 {
        let second = step * 10;
        let wave = if step % 4 == 3 { 2_000.0 } else { 5.0 };
        #[allow(clippy::cast_precision_loss)]
        let total = (step * step) as f64 * 1_000.0;
        // Started again in the middle, and falls a little later on.
        let (start, total) = if step < 6 { (-100, total) } else { (55, total - f64::from(step == 9) * 9_000.0) };
        let mut rows = vec![(1, start, second, total), (0, NO_START, second, wave), (3, NO_START, second, 50.0)];
        if step % 4 != 2 {
            rows.push((2, second - 10, second, 400.0));
        }
        records.push(started(second, &rows));
        // The increment that was left out comes late, twice; and the two before, newest first.
        if step % 4 == 3 {
            let late = [
                (2, second - 10, second, 400.0),
                (2, second - 20, second - 10, 7.0),
                (2, second - 30, second - 20, 9.0),
            ];
            records.extend([started(second + 1, &late), started(second + 3, &late[1..])]);
        }
        // Buckets that move, and a clock that is ahead.
        let (low, high) = [(5, 7), (6, 7), (5, 6)][step as usize % 3];
        records.push(started(second, &[(low, second - 10, second, 1.0), (high, second - 10, second, 3.0)]));
        if step % 5 == 3 {
            let ahead = second / 100 * 100 + 5_000;
            let rows = [(0, NO_START, ahead, 9_000.0), (2, ahead - 10, ahead, 30.0), (6, ahead - 10, ahead, 2.0)];
            records.extend([started(second + 1, &rows), started(second + 2, &rows)]);
        }
        if step % 3 == 1 {
            // A retry of the same, and something late.
            records.push(samples(second + 1, &[(0, second, wave), (2, second, 400.0), (0, second - 5, 3_000.0)]));
        }
        records.push(heartbeat(second + 2, if step % 5 == 2 { 97.0 } else { 20.0 }));
        // Two values of one series in one request, the newest first of all, then better ones in the next.
        if step % 4 == 1 {
            records.push(samples(second + 3, &[(0, second + 3, 5.0), (3, second + 2, 97.0), (3, second + 3, 50.0)]));
            records.push(samples(second + 4, &[(3, second + 4, 99.0)]));
            records.push(samples(second + 5, &[(3, second + 5, 50.0)]));
        }
        // The same agent by heartbeat and by OTLP, and what it says of itself.
        if step % 4 == 2 {
            let reported = if step == 6 { HealthStatus::Maintenance } else { HealthStatus::Critical };
            records.push(reporting(0, second + 3, 98.0, reported));
            records.push(samples(second + 4, &[(3, second + 4, 96.0)]));
            records.push(reporting(0, second + 5, 97.0, HealthStatus::Healthy));
            records.push(reporting(0, second + 6, 30.0, HealthStatus::Healthy));
            records.push(samples(second + 7, &[(3, second + 7, 96.0)]));
        }
    }
    // Long enough after for the availability to be known, and to be another one from record to record.
    for step in 0..12_i64 {
        let second = 4_000 + step * 20;
        records.push(reporting(0, second, if step % 3 == 1 { 97.0 } else { 30.0 }, HealthStatus::Healthy));
        records.push(samples(second + 5, &[(3, second + 5, if step % 2 == 1 { 96.0 } else { 40.0 })]));
        records.push(heartbeat(second + 6, 20.0));
    }
    records
}

/// All that a story leaves: nothing may be missing, nothing there twice.
#[allow(clippy::type_complexity)]
fn left(
    world: &World,
) -> (BTreeMap<(String, i64), f64>, Vec<(String, i64, u32)>, Vec<String>, Vec<String>, Vec<String>) {
    let held = world.held();
    let mut health: Vec<String> = held
        .verdicts
        .iter()
        .filter_map(|v| match &v.body {
            VerdictBody::Health(h) => Some(format!("{:?} {:?} {h:?}", v.agent, v.time)),
            _ => None,
        })
        .collect();
    health.sort();
    let intervals = held
        .intervals
        .iter()
        .filter(|(_, i)| i.end != Some(i.start))
        .map(|(key, i)| format!("{key:?} {i:?}"))
        .collect();
    let alerts = held.alerts.values().map(|a| format!("{a:?}")).collect();
    (world.samples(), world.outliers(), health, intervals, alerts)
}

#[test]
fn a_crash_anywhere_loses_nothing_and_judges_nothing_twice() {
    let story = story();
    let mut straight = World::start(&[], Held::default());
    for record in &story {
        if let Record::Describe { agents, series } = record {
            agents.iter().for_each(|a| straight.registry.restore_agent(a.clone()));
            series.iter().for_each(|s| straight.registry.restore_series(s.clone()));
        }
        straight.take(record.clone());
    }
    let expect = left(&straight);
    let mut expect_told = straight.told();
    expect_told.sort();
    assert!(expect_told.iter().any(|told| told.contains("suppressed")), "{expect_told:?}");
    assert!(expect.1.len() > 7 && expect.2.len() > 4 && expect.4.len() > 1, "{expect:?}");

    for crash in 0..=story.len() {
        for (state_every, seal_every) in [(usize::MAX, usize::MAX), (5, 2), (7, 3), (1, 1), (usize::MAX, 2)] {
            // Up to the crash with checkpoints, then again from what was durable.
            let mut world = World::start(&story[..1], Held::default());
            for (n, record) in story[1..crash.max(1)].iter().enumerate() {
                world.take(record.clone());
                if n % seal_every == seal_every - 1 {
                    world.checkpoint(n % state_every == state_every - 1);
                }
            }
            let durable = world.store.durable.lock().unwrap().clone();
            let again = World::start(&story, durable);
            // What the replay tells again is told with the same times, so that a receiver knows it.
            let mut told = world.told();
            told.extend(again.told().into_iter().filter(|told| !told.contains("standing")));
            told.sort();
            told.dedup();
            assert_eq!(told, expect_told, "crash after {crash}");
            assert_eq!(left(&again), expect, "crash after {crash}, state every {state_every}, seal every {seal_every}");
        }
    }
}

/// A story taken in batches of these lengths, over and over.
fn in_batches(story: &[Record], lengths: &[usize]) -> World {
    let mut world = World::start(&story[..1], Held::default());
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
        world.shard.take(&mut batch);
    }
    world
}

#[test]
fn batches_do_not_matter() {
    let story = story();
    let one_by_one = in_batches(&story, &[1]);
    let (expect, mut expect_told) = (left(&one_by_one), one_by_one.told());
    expect_told.sort();
    let health = |source: &str| expect_told.iter().filter(|told| told.contains(source)).count();
    assert!(health("health raised") > 2 && health("cpu_usage raised") > 2, "{expect_told:?}");
    assert!(expect.2.iter().any(|verdict| verdict.contains("Some(")), "the availability is known in the end");
    for lengths in [&[2][..], &[3], &[5], &[7, 1], &[1, 4, 2], &[usize::MAX]] {
        let world = in_batches(&story, lengths);
        assert_eq!(left(&world), expect, "{lengths:?}");
        let mut told = world.told();
        told.sort();
        assert_eq!(told, expect_told, "{lengths:?}");
        let live = |world: &World| [AgentId(0), AgentId(1)].map(|agent| world.live_agents.get(agent));
        assert_eq!(live(&world), live(&one_by_one), "{lengths:?}");
    }
}

#[test]
fn each_value_of_a_request_is_judged() {
    let mut world = World::start(&[describe()], Held::default());
    // The newest first: they are judged in order of time.
    world.take(samples(20, &[(3, 12, 50.0), (3, 11, 97.0), (3, 10, 40.0)]));
    world.take(samples(30, &[(3, 21, 97.0), (0, 22, 1.0), (3, 22, 50.0)]));
    let mut alerts: Vec<_> = world.held().alerts.values().map(|a| (a.source.clone(), a.started, a.resolved)).collect();
    alerts.sort();
    let of = |source: &str| [(11, 12), (21, 22)].map(|(from, to)| (source.to_owned(), at(from), Some(at(to))));
    assert_eq!(alerts, [of("health"), of("threshold:cpu_usage")].concat());
    let verdicts: Vec<_> = world.held().verdicts.iter().map(|v| v.time).collect();
    assert_eq!(verdicts, [at(10), at(11), at(12), at(21), at(22)]);
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

#[test]
fn a_measurement_counts_once_however_many_others_come_beside_it() {
    let memory = ("memory", MetricKind::MemoryUsage, "%", &[][..]);
    let thresholds = vec![Threshold { consecutive_breaches: 3, ..Threshold::new(MetricKind::CpuUsage, 80.0, 95.0) }];
    let three = EvaluateConfig { thresholds, ..config() };
    let mut world = World::with(three, &[describe_more(&[memory])], Held::default());
    // One scrape has several times; of the three here one is of the CPU.
    world.take(samples(10, &[(3, 10, 97.0), (5, 11, 50.0), (5, 12, 50.0)]));
    world.take(samples(20, &[(3, 20, 97.0), (5, 21, 50.0), (5, 22, 50.0)]));
    let breaches = |world: &World| world.held().alerts.values().filter(|a| a.source != "health").count();
    assert_eq!(breaches(&world), 0);
    world.take(samples(30, &[(3, 30, 97.0)]));
    assert_eq!(breaches(&world), 1);
}

#[test]
fn an_alert_names_its_series() {
    let disk = |device, mountpoint| [("device", device), ("mountpoint", mountpoint)];
    let (root, var) = (disk("/dev/sda1", "/"), disk("/dev/sdb1", "/var"));
    let all = describe_more(&[
        ("disk", MetricKind::DiskUsage, "%", &root),
        ("disk", MetricKind::DiskUsage, "%", &var),
        ("latency", MetricKind::ResponseTime, "ms", &[("route", "/slow")]),
        ("latency", MetricKind::ResponseTime, "ms", &[("route", "/fast")]),
    ]);
    let mut world = World::with(config(), &[all], Held::default());
    world.take(samples(10, &[(5, 10, 50.0), (6, 10, 97.0), (7, 10, 9_000.0), (8, 10, 1.0)]));
    let of = |world: &World, source: &str| {
        let alert = world.held().alerts.values().find(|a| a.source == source).cloned().unwrap();
        let series = alert.series.unwrap();
        (alert.message, series.metric, series.attributes.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
    };
    let (message, metric, attributes) = of(&world, "threshold:disk_usage");
    assert_eq!(message, "disk_usage is 97.0 %, critical from 95.0 % (/dev/sdb1 on /var)");
    assert_eq!((metric.as_str(), attributes), ("disk", vec!["/dev/sdb1".to_owned(), "/var".to_owned()]));
    let (message, ..) = of(&world, "threshold:response_time");
    assert_eq!(message, "response_time is 9000.0 ms, critical from 5000.0 ms (latency{route=/slow})");
    // Another one is the fullest now: the alert is about that one, and nobody is told again.
    let told = world.told().len();
    world.take(samples(20, &[(5, 20, 99.0), (6, 20, 10.0)]));
    let (message, _, attributes) = of(&world, "threshold:disk_usage");
    assert_eq!(message, "disk_usage is 99.0 %, critical from 95.0 % (/dev/sda1 on /)");
    assert_eq!((attributes[1].as_str(), world.told().len()), ("/", told));
}

#[test]
fn what_an_agent_says_of_itself_is_kept_and_limits_its_health() {
    let mut world = World::start(&[describe()], Held::default());
    let outcome = world.take(reporting(1, 0, 5.0, HealthStatus::Critical)).unwrap();
    let health = outcome.health.unwrap();
    assert_eq!((health.status, health.score), (HealthStatus::Degraded, 80.0));
    assert!(health.reasons.iter().any(|reason| reason.contains("reports critical")), "{health:?}");
    let held = world.held();
    let alerts: Vec<_> = held.alerts.values().map(|alert| (alert.source.as_str(), alert.severity)).collect();
    assert_eq!(alerts, [("health", Severity::Error)]);
    assert_eq!(outcome.live.unwrap().reported, Some(HealthStatus::Critical));
    // Kept over a restart.
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(1));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().reported, Some(HealthStatus::Critical));
    // Judged critical it is worse, and better again.
    let severity = |world: &World| world.held().alerts.values().find(|a| a.source == "health").unwrap().severity;
    world.take(reporting(1, 30, 99.0, HealthStatus::Critical));
    assert_eq!(severity(&world), Severity::Critical);
    world.take(reporting(1, 60, 5.0, HealthStatus::Offline));
    assert_eq!(severity(&world), Severity::Error);
    let outcome = world.take(reporting(1, 90, 5.0, HealthStatus::Degraded)).unwrap();
    assert_eq!(outcome.health.unwrap().status, HealthStatus::Healthy, "what it says otherwise is shown only");
    let health: Vec<_> =
        world.held().alerts.values().filter(|a| a.source == "health").map(|a| (a.started, a.resolved)).collect();
    assert_eq!(health, [(at(0), Some(at(90)))]);
    // It holds for what else is known of the agent, until it says something else.
    world.take(reporting(0, 100, 5.0, HealthStatus::Offline));
    world.take(samples(101, &[(3, 101, 5.0)]));
    let live = world.live_agents.get(AgentId(0)).unwrap();
    assert_eq!(live.health.unwrap().status, HealthStatus::Degraded);
    // In maintenance nobody is told.
    let told = world.told().len();
    world.take(reporting(0, 130, 5.0, HealthStatus::Maintenance));
    world.take(planned(110, 600, 600));
    world.take(reporting(1, 120, 99.0, HealthStatus::Critical));
    let new: Vec<_> = world.told().split_off(told).into_iter().filter(|told| told.contains("raised")).collect();
    assert_eq!(new, Vec::<String>::new());
}

#[test]
fn an_alert_on_silence_ends_at_the_return_also_if_this_service_was_away_meanwhile() {
    let mut world = World::start(&[describe()], Held::default());
    for second in [0, 30, 60] {
        world.take(heartbeat(second, 10.0));
    }
    world.ticks(61..=300);
    assert!(world.held().alerts.values().all(|a| a.source == "availability" && a.resolved.is_none()));
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(1_000));
    world.ticks(1_001..=1_500);
    world.take(heartbeat(1_500, 10.0));
    let ends: Vec<_> = world.held().alerts.values().map(|a| a.resolved).collect();
    assert_eq!(ends, [Some(at(1_500))]);
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let checkpoint = Checkpoint { liveness: vec![9, 9], ..Checkpoint::default() };
    let world = World::start(&[], Held::default());
    let mut shard = world.shard;
    assert_eq!(shard.resume(&checkpoint), Err(super::StateError::Format(9)));
}

#[test]
fn the_threads_replay_evaluate_and_stop_with_everything_durable() {
    let story = story();
    let (first, rest) = story.split_at(9);
    let registry = Arc::new(Registry::new(Quota::default()));
    let (store, live_agents) = (Arc::new(MemoryStore::default()), Arc::new(LiveAgents::default()));
    let log = Arc::new(MemoryLog(Mutex::new(first.to_vec())));
    let (send, input) = crossbeam_channel::unbounded();
    let (events, last) = (Arc::new(Mutex::new(Vec::new())), story.len() as u64);
    let evaluator = super::Evaluator::start(
        // The records are decades older than the clock of this machine, by which the threads go.
        &EvaluateConfig { forget_seconds: u64::MAX, ..EvaluateConfig::default() },
        Arc::new(|_| Box::new(Fake::default())),
        registry.clone(),
        log.clone(),
        store.clone(),
        live_agents,
        vec![input],
        {
            let events = events.clone();
            Arc::new(move |_: &Arc<EvaluationOutput>| events.lock().unwrap().push("observed"))
        },
        {
            let (events, store) = (events.clone(), store.clone());
            Arc::new(move || {
                let sealed = store.durable.lock().unwrap().checkpoint.stored == Position(last);
                events.lock().unwrap().push(if sealed { "settled late" } else { "settled" });
            })
        },
    )
    .unwrap();
    for (record, n) in rest.iter().zip(10..) {
        log.0.lock().unwrap().push(record.clone());
        let delivery = Delivery { position: Position(n), record: record.clone(), ticket: Ticket::default() };
        send.send(delivery).unwrap();
    }
    evaluator.stop();
    let durable = store.durable.lock().unwrap().clone();
    assert_eq!(durable.checkpoint.stored, Position(story.len() as u64));
    // What was observed is settled before the checkpoint behind which it is not made again.
    assert_eq!(events.lock().unwrap().last(), Some(&"settled"));
    assert_eq!(durable.checkpoint.included, durable.checkpoint.stored);
    let straight = World::start(&story, Held::default());
    assert_eq!(durable.samples.len(), straight.held().samples.len());
}

#[test]
fn a_log_that_was_lost_goes_on_behind_the_store() {
    let store = Arc::new(MemoryStore::default());
    let start = |log: Arc<MemoryLog>| {
        super::Evaluator::start(
            &EvaluateConfig::default(),
            Arc::new(|_| Box::new(Fake::default())),
            Arc::new(Registry::new(Quota::default())),
            log,
            store.clone(),
            Arc::new(LiveAgents::default()),
            vec![crossbeam_channel::never()],
            Arc::new(|_| {}),
            Arc::new(|| {}),
        )
    };
    let story = story();
    start(Arc::new(MemoryLog(Mutex::new(story.clone())))).unwrap().stop();
    let empty = Arc::new(MemoryLog::default());
    start(empty.clone()).unwrap().stop();
    assert_eq!(empty.last(Partition(0)), Ok(Position(story.len() as u64)), "a new record is taken for no old one");
}

fn minutes(minutes: i64) -> i64 {
    minutes * 60
}

#[test]
fn an_alert_that_nobody_acknowledges_is_escalated_once() {
    let mut world = World::start(&[describe()], Held::default());
    for minute in 0..60 {
        world.take(samples(minutes(minute), &[(3, minutes(minute), 85.0)]));
        world.shard.tick(at(minutes(minute)));
    }
    let told: Vec<_> = world.told().into_iter().filter(|told| told.contains("cpu_usage")).collect();
    assert_eq!(told, ["0 threshold:cpu_usage raised warning", "900 threshold:cpu_usage escalated error"]);
    let alert = world.held().alerts.values().find(|a| a.source == "threshold:cpu_usage").cloned().unwrap();
    assert_eq!((alert.severity, alert.resolved), (Severity::Error, None));
}

/// A window from second 100 to 400 on the agent `db`.
fn window(second: impl Fn(i64) -> String) -> MaintenanceWindow {
    MaintenanceWindow {
        agents: vec!["d*".into()],
        tenant: None,
        start: Some(second(100)),
        end: Some(second(400)),
        days: Vec::new(),
        from: None,
        to: None,
    }
}

fn rfc3339(second: i64) -> String {
    jiff::Timestamp::from_second(1_000_000 + second).unwrap().to_string()
}

fn line(world: &World) -> Vec<(i64, Option<i64>, State)> {
    let second = |time: UnixNanos| time.0 / S - 1_000_000;
    let all: Vec<_> = world.held().intervals.values().copied().collect();
    merged(&all).into_iter().map(|i| (second(i.start), i.end.map(second), i.state)).collect()
}

#[test]
fn a_configured_window_is_neither_up_nor_down_and_raises_nothing() {
    let planned = EvaluateConfig { maintenance: vec![window(rfc3339)], ..config() };
    let mut world = World::with(planned, &[describe()], Held::default());
    world.take(heartbeat(30, 10.0));
    world.ticks(31..=60);
    world.take(heartbeat(60, 10.0));
    world.ticks(61..=90);
    world.take(heartbeat(90, 10.0));
    world.ticks(91..=110);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    let breach = world.take(heartbeat(120, 97.0)).unwrap();
    assert_eq!((breach.breaches.len(), breach.alerts.len()), (1, 0), "said, but no alert");
    world.ticks(121..=399);
    assert!(world.held().alerts.is_empty());
    world.take(heartbeat(395, 10.0));
    world.take(heartbeat(425, 10.0));
    world.ticks(425..=430);
    let expect = [(30, Some(100), State::Up), (100, Some(400), State::Maintenance), (400, None, State::Up)];
    assert_eq!(line(&world), expect);
    assert!(world.held().alerts.is_empty());
}

#[test]
fn a_window_that_is_taken_out_of_the_configuration_ends() {
    let planned = EvaluateConfig { maintenance: vec![window(rfc3339)], ..config() };
    let mut world = World::with(planned, &[describe()], Held::default());
    world.take(heartbeat(90, 10.0));
    world.ticks(91..=150);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    world.shard.reload(Arc::new(config()), false);
    world.take(heartbeat(180, 10.0));
    world.ticks(181..=190);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::OnTime);
    let expect = [(90, Some(100), State::Up), (100, Some(150), State::Maintenance), (150, None, State::Up)];
    assert_eq!(line(&world), expect);
}

#[test]
fn a_window_set_before_an_agent_is_first_seen_is_kept_for_it() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(planned(0, 600, 600));
    // Also over a restart.
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let mut world = World::start(&[describe()], durable);
    world.take(heartbeat(10, 97.0));
    world.ticks(11..=500);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    assert!(world.held().alerts.is_empty());
    world.ticks(501..=900);
    let alerts: Vec<_> = world.held().alerts.values().map(|a| (a.source.clone(), a.started)).collect();
    assert_eq!(alerts, [("availability".to_owned(), at(600))], "silent once the window is over");
}

#[test]
fn new_thresholds_hold_from_the_next_value_and_alerts_without_one_are_over() {
    let mut world = World::start(&[describe()], Held::default());
    assert_eq!(world.take(heartbeat(0, 85.0)).unwrap().alerts.len(), 1);
    let none = EvaluateConfig { thresholds: Vec::new(), ..config() };
    world.shard.reload(Arc::new(none), false);
    let alert = world.held().alerts.values().next().unwrap().clone();
    assert_eq!((alert.severity, alert.resolved.is_some()), (Severity::Warning, true));
    assert!(world.take(heartbeat(30, 99.0)).unwrap().alerts.is_empty());
    let low = EvaluateConfig { thresholds: vec![Threshold::new(MetricKind::CpuUsage, 5.0, 10.0)], ..config() };
    world.shard.reload(Arc::new(low), false);
    assert_eq!(world.take(heartbeat(60, 20.0)).unwrap().alerts[0].severity, Severity::Critical);
}

#[test]
fn new_plugins_take_over_the_state() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(samples(0, &[(0, 0, 1.0)]));
    world.take(samples(1, &[(0, 1, 1.0)]));
    world.shard.reload(Arc::new(config()), true);
    world.take(samples(2, &[(0, 2, 2_000.0)]));
    assert_eq!(world.outliers(), [("gauge".into(), 2, 3)]);
}

#[test]
fn what_is_open_is_said_again_after_a_restart_and_a_reload() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(heartbeat(0, 97.0));
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let mut again = World::start(&[describe()], durable);
    assert!(again.told().is_empty());
    again.shard.resume_after_pause(at(10));
    again.shard.reload(Arc::new(config()), false);
    let events: Vec<_> = again.notices.lock().unwrap().iter().map(|n| n.event).collect();
    // One on the CPU and one on the health, at either.
    assert_eq!(events, [Event::StillOpen; 4]);
}

/// A heartbeat with its own time and its arrival.
fn heartbeat_by_clock(own: i64, received: i64, cpu: f64) -> Record {
    let Record::Heartbeat(mut heartbeat) = heartbeat(own, cpu) else { unreachable!() };
    heartbeat.received_at = at(received);
    Record::Heartbeat(heartbeat)
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

#[test]
fn one_heartbeat_ahead_of_its_arrival_holds_nothing_up() {
    let mut world = World::start(&[describe()], Held::default());
    let raised = world.take(heartbeat_by_clock(540, 0, 97.0)).unwrap();
    assert_eq!((raised.alerts.len(), raised.next_expected), (1, Some(at(570))), "as the contract has it");
    let calm = world.take(heartbeat_by_clock(1, 1, 10.0)).unwrap();
    assert_eq!(calm.health.map(|health| health.status), Some(HealthStatus::Healthy));
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!(live.measurements.cpu_percent, Some(10.0));
    assert_eq!(live.health.map(|health| health.status), Some(HealthStatus::Healthy));
    assert_eq!(alerts_of(&world, "threshold:cpu_usage"), [(0, Some(1))]);
    assert_eq!(alerts_of(&world, "health"), [], "one heartbeat from the future proves nothing");
    assert!(world.held().verdicts.iter().all(|verdict| verdict.time <= at(1)), "no verdict is of the future");
    // Nor the escalation of an alert.
    world.take(heartbeat_by_clock(602, 2, 97.0));
    assert_eq!(alerts_of(&world, "health"), []);
    world.take(heartbeat_by_clock(603, 3, 97.0));
    assert_eq!(alerts_of(&world, "health"), [(3, None)], "the second one confirms it");
    world.ticks(3..=minutes(15) + 3);
    assert!(world.told().iter().any(|told| told.contains("cpu_usage raised emergency")), "{:?}", world.told());
}

#[test]
fn a_clock_set_back_makes_no_outage_and_its_heartbeats_count() {
    for declared in [1, 30] {
        let mut world = World::start(&[describe()], Held::default());
        for second in 0..12 {
            let own = if second < 6 { second } else { second - 300 };
            #[allow(clippy::cast_precision_loss)]
            let Record::Heartbeat(mut beat) = heartbeat_by_clock(own, second, 50.0 + second as f64) else {
                unreachable!()
            };
            beat.interval = declared * S;
            world.take(Record::Heartbeat(beat));
        }
        assert_eq!(line(&world), [(0, None, State::Up)]);
        let live = world.live_agents.get(AgentId(1)).unwrap();
        assert_eq!(live.measurements.cpu_percent, Some(61.0), "the newest");
        assert_eq!((live.last_evidence, live.clock_skew), (at(11), Some(-300 * S)));
    }
}

#[test]
fn what_was_buffered_is_history_and_the_newest_stays() {
    let mut world = World::start(&[describe()], Held::default());
    (0..4).for_each(|n| drop(world.take(heartbeat(n * 30, 10.0))));
    world.ticks(90..=400);
    assert_eq!(alerts_of(&world, "availability"), [(120, None)]);
    // The newest first, then what was buffered.
    world.take(heartbeat_by_clock(400, 400, 20.0));
    for own in [370, 340, 310, 280, 250, 220, 190, 160, 130, 120] {
        world.take(heartbeat_by_clock(own, 400, 97.0));
    }
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!((live.measurements.cpu_percent, live.last_evidence), (Some(20.0), at(400)));
    assert!(alerts_of(&world, "threshold:cpu_usage").is_empty(), "it is over");
    assert!(line(&world).iter().all(|(.., state)| *state != State::Silent), "{:?}", line(&world));
}

#[test]
fn how_far_a_clock_is_off_is_known_of_exporters_that_are_ahead() {
    let mut world = World::start(&[describe()], Held::default());
    world.take(samples(0, &[(0, -30, 1.0)]));
    assert_eq!(world.live_agents.get(AgentId(0)).unwrap().clock_skew, None, "an old point proves nothing");
    for second in [10, 20, 30] {
        world.take(samples(second, &[(0, second, 1.0), (1, second + 90, 1.0)]));
    }
    world.ticks(31..=32);
    assert_eq!(world.live_agents.get(AgentId(0)).unwrap().clock_skew, Some(90 * S));
}

#[test]
fn the_clock_of_one_agent_says_nothing_of_another_in_the_same_request() {
    let mut world = World::start(&[describe()], Held::default());
    for second in [10, 20, 30] {
        let rows = [(0, second + 40, 1.0), (4, second + 90, 1.0), (1, second + 20, 1.0), (3, second - 5, 1.0)];
        let Record::Samples(mut both) = samples(second, &rows) else { unreachable!() };
        both.alive = vec![AgentId(0), AgentId(1)];
        world.take(Record::Samples(both));
    }
    let skew = |agent| world.live_agents.get(AgentId(agent)).unwrap().clock_skew;
    assert_eq!((skew(0), skew(1)), (Some(40 * S), Some(90 * S)));
}

/// Exports of agent 0 at these seconds with ticks in between, and a restart behind every third.
fn exporting(seconds: &[i64]) -> World {
    let mut world = World::start(&[describe()], Held::default());
    let mut last = seconds[0];
    for (n, &second) in seconds.iter().enumerate() {
        world.ticks(last + 1..=second);
        world.take(samples(second, &[(0, second, 1.0)]));
        if n % 3 == 2 {
            world.checkpoint(true);
            let durable = world.store.durable.lock().unwrap().clone();
            world = World::start(&[describe()], durable);
            world.shard.resume_after_pause(at(second + 1));
        }
        last = second;
    }
    world
}

#[test]
fn exports_each_few_minutes_raise_nothing_before_their_interval_is_learned() {
    for interval in [minutes(2), minutes(5), minutes(15), minutes(60)] {
        let seconds: Vec<i64> = (0..8).map(|n| n * interval + n % 3 * interval / 20).collect();
        let mut world = exporting(&seconds);
        assert!(world.held().alerts.is_empty(), "{interval}: {:?}", world.held().alerts);
        assert!(line(&world).iter().all(|(.., state)| *state == State::Up), "{interval}: {:?}", line(&world));
        let last = seconds[7];
        world.ticks(last + 1..=last + 3 * interval);
        assert_eq!(world.live_agents.get(AgentId(0)).unwrap().liveness, Liveness::Offline, "{interval}");
        assert_eq!(alerts_of(&world, "availability").len(), 1, "{interval}");
    }
}

#[test]
fn an_outage_that_was_the_interval_is_taken_back_with_its_alert() {
    let seconds: Vec<i64> = (0..30).map(|n| n * 10).chain((1..9).map(|n| 290 + n * 300)).collect();
    let world = exporting(&seconds);
    let alerts = alerts_of(&world, "availability");
    assert!(!alerts.is_empty() && alerts.iter().all(|(_, resolved)| resolved.is_some()), "{alerts:?}");
    assert!(line(&world).iter().all(|(.., state)| *state == State::Up), "{:?}", line(&world));
}

/// Beats of agent 1 each 30 seconds up to `until`, but for an outage from second 300 to 900.
fn with_an_outage(until: i64) -> World {
    let mut world = World::start(&[describe()], Held::default());
    for second in (0..=until).step_by(30) {
        if !(300..900).contains(&second) {
            world.take(heartbeat(second, 10.0));
        }
        world.ticks(second..=second + 29);
    }
    assert_eq!(line(&world), [(0, Some(300), State::Up), (300, Some(900), State::Silent), (900, None, State::Up)]);
    world
}

#[test]
fn a_window_in_the_past_changes_the_past() {
    use State::{Maintenance as M, Silent as D, Up as U};
    // The outage is among the beats that are remembered, or far behind them.
    for until in [960, 9_000] {
        for (start, end, expect) in [
            (300, 900, &[(0, Some(300), U), (300, Some(900), M), (900, None, U)][..]),
            (100, 930, &[(0, Some(100), U), (100, Some(930), M), (930, None, U)]),
            (
                400,
                500,
                &[(0, Some(300), U), (300, Some(400), D), (400, Some(500), M), (500, Some(900), D), (900, None, U)],
            ),
            // Nothing is known of the time before the first beat.
            (-500, 600, &[(0, Some(600), M), (600, Some(900), D), (900, None, U)]),
        ] {
            let mut world = with_an_outage(until);
            world.take(planned(start, end, end));
            assert_eq!(line(&world), expect, "{until} {start} {end}");
            // It stays so, over a restart and with what comes.
            world.checkpoint(true);
            let durable = world.store.durable.lock().unwrap().clone();
            let mut world = World::start(&[describe()], durable);
            (1..40).for_each(|n| drop(world.take(heartbeat(until + n * 30, 10.0))));
            assert_eq!(line(&world), expect, "{until} {start} {end}");
        }
    }
    // So does the objective's report.
    let mut world = with_an_outage(9_000);
    let report = |world: &World| world.live_agents.get(AgentId(1)).unwrap().sla.unwrap();
    assert_eq!(report(&world).risk, Risk::Breached);
    world.take(planned(200, 700, 700));
    world.take(planned(600, 1_000, 1_000));
    world.ticks(9_030..=9_060);
    assert_eq!((report(&world).risk, report(&world).availability), (Risk::Low, 100.0));
}

#[test]
fn a_window_over_the_beginning_of_an_outage_ends_its_alert() {
    let mut world = World::start(&[describe()], Held::default());
    (0..4).for_each(|n| drop(world.take(heartbeat(n * 30, 10.0))));
    world.ticks(90..=2_000);
    assert_eq!(alerts_of(&world, "availability"), [(120, None)]);
    world.take(planned(60, 1_000, 1_000));
    assert_eq!(alerts_of(&world, "availability"), [(120, Some(120)), (1_000, None)]);
    let expect = [(0, Some(60), State::Up), (60, Some(1_000), State::Maintenance), (1_000, None, State::Silent)];
    assert_eq!(line(&world), expect);
    // Over all of it: there was no outage.
    world.take(planned(60, 3_000, 3_000));
    assert_eq!(alerts_of(&world, "availability"), [(120, Some(120)), (1_000, Some(1_000))]);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
}

#[test]
fn a_configured_window_that_was_over_before_the_start_changes_the_past() {
    let mut world = with_an_outage(3_000);
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let once = |from: i64, to: i64| MaintenanceWindow {
        start: Some(rfc3339(from)),
        end: Some(rfc3339(to)),
        ..window(rfc3339)
    };
    let month = 31 * 86_400;
    let planned = EvaluateConfig { maintenance: vec![once(250, 950), once(-month, 100)], ..config() };
    let mut world = World::with(planned, &[describe()], durable);
    world.shard.resume_after_pause(at(3_100));
    world.take(heartbeat(3_110, 10.0));
    let line = line(&world);
    let expect = [(0, Some(250), State::Up), (250, Some(950), State::Maintenance), (950, Some(3_029), State::Up)];
    assert_eq!(line[..3], expect, "and what began before the period changes nothing: {line:?}");
}

#[test]
fn a_window_in_the_past_of_an_agent_that_was_forgotten_changes_what_is_stored() {
    let mut world = with_an_outage(3_000);
    let gone = minutes(31 * 24 * 60);
    for second in (3_030..gone).step_by(50_000).chain([gone, gone + 1]) {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)), None);
    world.take(planned(300, 900, gone));
    assert!(line(&world).contains(&(300, Some(900), State::Maintenance)), "{:?}", line(&world));
    // One that never beat has no past.
    let mut world = World::start(&[describe()], Held::default());
    world.ticks(0..=1_000);
    world.take(planned(300, 900, 900));
    assert!(world.held().intervals.is_empty());
}

#[test]
fn a_window_of_an_agent_that_was_forgotten_is_the_same_in_a_replay_and_reads_nothing() {
    let mut world = with_an_outage(3_000);
    let gone = minutes(31 * 24 * 60);
    for second in (3_030..gone).step_by(50_000).chain([gone, gone + 1]) {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)), None);
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    // Nobody sends anything meanwhile: a replay does not know how late it was.
    world.shard.tick(at(gone + 300));
    let set = planned(gone + 100, gone + 500, gone + 300);
    world.take(set.clone());
    let expect = world.held().intervals;
    assert!(line(&world).contains(&(gone + 100, Some(gone + 300), State::Maintenance)), "{:?}", line(&world));
    let nothing = Record::Describe { agents: vec![], series: vec![] };
    let mut records = vec![nothing; usize::try_from(durable.checkpoint.stored.0).unwrap()];
    records.push(set);
    for kept in [durable, world.held()] {
        assert_eq!(World::start(&records, kept).held().intervals, expect);
    }
}

#[test]
fn an_alert_that_is_over_is_acknowledged_without_reading_and_the_same_in_a_replay() {
    let mut records = vec![describe(), heartbeat(0, 97.0)];
    records.extend((1..10).map(|n| heartbeat(30 * n, 10.0)));
    let mut world = World::start(&records, Held::default());
    world.checkpoint(true);
    let durable = world.store.durable.lock().unwrap().clone();
    let alert = world.held().alerts.into_values().find(|alert| alert.resolved.is_some()).unwrap();
    for (by, second) in [("ops", 300), ("dev", 310)] {
        let by = by.to_owned();
        let record = Record::Acknowledge { alert: alert.id.clone(), agent: alert.agent, by, at: at(second) };
        world.take(record.clone());
        records.push(record);
    }
    let expect = Alert { acknowledged: Some(("ops".into(), at(300))), ..alert };
    assert_eq!(world.held().alerts[&expect.id], expect);
    for kept in [Held::default(), durable, world.held()] {
        assert_eq!(World::start(&records, kept).held().alerts[&expect.id], expect);
    }
}
