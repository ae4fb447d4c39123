//! Each plugin, as native code and as a WebAssembly component: 10,000 series, batches of 8,192 rows. The figure that counts is
//! elements (rows or agents) a second.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::path::Path;
use std::sync::Arc;
use vitals::evaluate::host::{PluginConfig, PluginLimits, PluginSet};
use vitals::evaluate::native::NativePlugins;
use vitals::evaluate::tenant_plugins::{AgentView, SlaView, TenantPlugins};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::record::Measurements;
use vitals_core::registry::{Quota, Registry};
use vitals_core::rules::iqr::{self, Detector, IqrConfig};
use vitals_core::rules::seasonal::{self, SeasonalConfig, SeasonalDetector};
use vitals_core::series::{MetricKind, Origin, Part, SeriesDesc, SeriesSpec, Shape};

const SERIES: u32 = 10_000;
const ROWS: u32 = 8192;

/// Plugins are called without a pause here: with a budget of CPU their rows would be skipped, and cost nothing.
fn limits() -> PluginLimits {
    PluginLimits { cpu_percent: f64::MAX, total_cpu_percent: f64::MAX, ..PluginLimits::default() }
}

fn desc(id: u32, shape: Shape) -> Arc<SeriesDesc> {
    Arc::new(SeriesDesc {
        id: SeriesId(id),
        agent: AgentId(id / 20),
        spec: SeriesSpec {
            metric: "bench.metric".to_owned(),
            unit: "1".to_owned(),
            kind: MetricKind::Custom,
            shape,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: vec![("index".to_owned(), id.to_string())].into(),
            resource: Arc::default(),
        },
    })
}

/// Rows that go round the series, ten seconds a round, values that wobble, and rise by `rise` each round.
struct Rows {
    next: u64,
    rise: f64,
}

impl Rows {
    fn batch(&mut self) -> Columns {
        let mut rows: Vec<(u32, i64, f64)> = (0..u64::from(ROWS))
            .map(|i| {
                let n = self.next + i;
                let (round, series) = (n / u64::from(SERIES), n % u64::from(SERIES));
                let wobble = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as f64;
                (series as u32, round as i64 * 10 * UnixNanos::SECOND, round as f64 * self.rise + wobble)
            })
            .collect();
        self.next += u64::from(ROWS);
        rows.sort_by_key(|row| (row.0, row.1));
        let mut batch = Columns::default();
        rows.into_iter().for_each(|(series, time, value)| batch.push(SeriesId(series), UnixNanos(time), value));
        batch
    }
}

/// Native and in WebAssembly.
fn both(set: &PluginSet, shape: Shape) -> [(&'static str, Box<dyn TenantPlugins>); 2] {
    let tenant = TenantId::default_tenant();
    let mut both: [(_, Box<dyn TenantPlugins>); 2] = [
        ("native", Box::new(NativePlugins::default())),
        ("wasm", set.instances(&tenant, &Arc::new(Registry::new(Quota::default())))),
    ];
    for (_, plugins) in &mut both {
        (0..SERIES).for_each(|id| plugins.open(&desc(id, shape)));
    }
    both
}

/// Each detector alone. Its rule is called for each row of a batch natively; in WebAssembly the other detector is left out.
fn detectors(c: &mut Criterion, cache: &Path) {
    let mut iqr = Detector::new(IqrConfig::default());
    let mut seasonal = SeasonalDetector::new(SeasonalConfig::default());
    type Native<'a> = Box<dyn FnMut(u32, i64, f64) -> bool + 'a>;
    // Full windows first; and a past of an hour, in which there is nothing to find for the detector of incidents.
    let detectors: [(&str, &str, u32, f64, Native<'_>); 2] = [
        (
            iqr::PLUGIN,
            seasonal::PLUGIN,
            110,
            2000.0,
            Box::new(|series, time, value| iqr.judge(series, time, value).is_some()),
        ),
        (
            seasonal::PLUGIN,
            iqr::PLUGIN,
            360,
            0.0,
            Box::new(|series, time, value| seasonal.judge(series, time, value).is_some()),
        ),
    ];
    for (name, other, rounds, rise, mut native) in detectors {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(u64::from(ROWS)));
        let mut judge = |batch: &Columns| batch.rows().filter(|row| native(row.0.0, row.1.0, row.2)).count();
        let mut rows = Rows { next: 0, rise };
        (0..SERIES * rounds / ROWS).for_each(|_| assert!(judge(&rows.batch()) <= ROWS as usize));
        group.bench_function("native", |b| {
            b.iter_batched(|| rows.batch(), |batch| judge(&batch), BatchSize::PerIteration);
        });
        let without = PluginConfig { name: other.to_owned(), disabled: true, ..PluginConfig::default() };
        let set = PluginSet::load(&limits(), None, &[without], Some(cache)).expect("it starts");
        let mut plugins = set.instances(&TenantId::default_tenant(), &Arc::new(Registry::new(Quota::default())));
        (0..SERIES).for_each(|id| plugins.open(&desc(id, Shape::Gauge)));
        let mut rows = Rows { next: 0, rise };
        (0..SERIES * rounds / ROWS).for_each(|_| drop(plugins.detect(&rows.batch())));
        group.bench_function("wasm", |b| {
            b.iter_batched(|| rows.batch(), |batch| plugins.detect(&batch), BatchSize::PerIteration);
        });
        assert!(set.list().iter().all(|plugin| plugin.failures == 0), "{:?}", set.list());
    }
}

fn samples(c: &mut Criterion, set: &PluginSet) {
    for (name, mut plugins) in both(set, Shape::Cumulative { monotonic: true }) {
        let mut group = c.benchmark_group("rate");
        group.throughput(Throughput::Elements(u64::from(ROWS)));
        let mut rows = Rows { next: 0, rise: 2000.0 };
        (0..4).for_each(|_| drop(plugins.derive(&rows.batch())));
        group.bench_function(name, |b| {
            b.iter_batched(|| rows.batch(), |batch| plugins.derive(&batch), BatchSize::PerIteration);
        });
    }
}

fn agents(c: &mut Criterion, set: &PluginSet) {
    let views: Vec<AgentView> = (0..ROWS)
        .map(|i| AgentView {
            agent: AgentId(i),
            time: UnixNanos(0),
            // One agent in ten has something to complain of.
            measurements: Measurements {
                cpu_percent: Some(if i % 10 == 0 { 97.0 } else { 40.0 }),
                memory_percent: Some(50.0),
                latency_ms: Some(20.0),
                ..Measurements::default()
            },
            uptime_percent: Some(100.0),
        })
        .collect();
    let window = |seconds: f64| (seconds, seconds / 5000.0);
    let objectives: Vec<SlaView> = (0..ROWS)
        .map(|i| SlaView {
            agent: AgentId(i),
            target: 99.9,
            period: window(2_592_000.0),
            hour: window(3600.0),
            six_hours: window(21_600.0),
            three_days: window(259_200.0),
        })
        .collect();
    for (name, mut plugins) in both(set, Shape::Gauge) {
        let mut group = c.benchmark_group("health-score");
        group.throughput(Throughput::Elements(u64::from(ROWS)));
        group.bench_function(name, |b| b.iter(|| plugins.assess(&views)));
        group.finish();
        let mut group = c.benchmark_group("sla");
        group.throughput(Throughput::Elements(u64::from(ROWS)));
        group.bench_function(name, |b| b.iter(|| plugins.report(&objectives)));
    }
}

fn plugins(c: &mut Criterion) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let set = PluginSet::load(&limits(), None, &[], Some(cache.path())).expect("the embedded plugins start");
    detectors(c, cache.path());
    samples(c, &set);
    agents(c, &set);
    assert!(set.list().iter().all(|plugin| plugin.failures == 0), "{:?}", set.list());
}

criterion_group!(benches, plugins);
criterion_main!(benches);
