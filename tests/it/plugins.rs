//! The embedded plugins in WebAssembly do what the rules say, and keep their state.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use vitals::evaluate::host::{HostError, PluginConfig, PluginKind, PluginLimits, PluginSet, PluginState};
use vitals::evaluate::native::NativePlugins;
use vitals::evaluate::tenant_plugins::{AgentView, Derived, Findings, SlaView, TenantPlugins};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::record::Measurements;
use vitals_core::registry::{Quota, Registry};
use vitals_core::rules::seasonal;
use vitals_core::series::{MetricKind, Origin, Part, SeriesDesc, SeriesSpec, Shape};
use vitals_core::verdict::OutlierVerdict;

/// Compiled plugins, kept between the tests and their runs.
pub fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")
}

pub fn load(configs: &[PluginConfig]) -> Result<PluginSet, HostError> {
    // These tests call plugins without a pause, on machines of any speed.
    let limits = PluginLimits {
        deadline_ms: 20_000,
        start_deadline_ms: 20_000,
        cpu_percent: 1e9,
        total_cpu_percent: 1e9,
        ..PluginLimits::default()
    };
    PluginSet::load(&limits, None, configs, Some(&cache_dir()))
}

pub fn tenant() -> TenantId {
    TenantId::default_tenant()
}

/// A registry that knows nobody.
pub fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(Quota::default()))
}

pub fn desc(id: u32, shape: Shape, part: Part) -> Arc<SeriesDesc> {
    Arc::new(SeriesDesc {
        id: SeriesId(id),
        agent: AgentId(id % 7),
        spec: SeriesSpec {
            metric: format!("metric.{id}"),
            unit: "By".to_owned(),
            kind: MetricKind::Custom,
            shape,
            part,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: vec![("key".to_owned(), "value".to_owned())].into(),
            resource: Arc::default(),
        },
    })
}

/// A small random generator (SplitMix64): the same rows each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn float(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const SERIES: u32 = 60;

/// Ids far apart, so that they are not their own numbers.
fn id(i: u32) -> u32 {
    i * 37 + 5
}

fn series() -> Vec<Arc<SeriesDesc>> {
    let counter = Shape::Cumulative { monotonic: true };
    let shapes = [
        (Shape::Gauge, Part::Value),
        (counter, Part::Value),
        (counter, Part::Count),
        (counter, Part::Sum),
        (counter, Part::Bucket(0.5)),
        (Shape::Cumulative { monotonic: false }, Part::Value),
    ];
    (0..SERIES).zip(shapes.into_iter().cycle()).map(|(i, (shape, part))| desc(id(i), shape, part)).collect()
}

/// Batch `n`: a few rows of some series, with spikes, resets, NaN and infinities.
fn batch(random: &mut Random, n: i64) -> Columns {
    let mut batch = Columns::default();
    for i in 0..SERIES {
        for k in 0..random.next() % 4 {
            let time = UnixNanos((n * 4 + k as i64) * 10 * UnixNanos::SECOND);
            let value = match random.next() % 40 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => 1e6,
                3 => -3.0,
                _ => (random.float() * 100.0).round() + n as f64,
            };
            batch.push(SeriesId(id(i)), time, value);
        }
    }
    batch
}

type Rates = Vec<(SeriesId, String, String, UnixNanos, f64)>;

/// What was found, without who found it.
fn seen(
    derived: Vec<Derived>,
    findings: Vec<Findings>,
) -> (Rates, Vec<Vec<(usize, vitals_core::verdict::OutlierVerdict)>>) {
    let rates = derived
        .into_iter()
        .flat_map(|derived| {
            let series = derived.series;
            derived.rows.into_iter().map(move |(at, time, value)| {
                let of = &series[at as usize];
                (of.from, of.metric.clone(), of.unit.clone(), time, value)
            })
        })
        .collect();
    (rates, findings.into_iter().map(|found| found.rows).collect())
}

#[test]
fn wasm_and_native_agree_and_state_survives() {
    let set = load(&[]).unwrap();
    let mut wasm = set.instances(&tenant(), &registry());
    let mut native: Box<dyn TenantPlugins> = Box::new(NativePlugins::default());
    let mut random = Random(7);
    let (mut outliers, mut rates) = (0, 0);
    for n in 0..120 {
        if n == 0 || n == 60 {
            if n == 60 {
                // Both end and begin anew from what they saved.
                let (wasm_state, native_state) = (wasm.snapshot(), native.snapshot());
                wasm = set.instances(&tenant(), &registry());
                native = Box::new(NativePlugins::default());
                wasm.restore(&wasm_state);
                native.restore(&native_state);
            }
            series().iter().rev().for_each(|desc| (wasm.open(desc), native.open(desc)).0);
        }
        let batch = batch(&mut random, n);
        let from_wasm = seen(wasm.derive(&batch), wasm.detect(&batch));
        let from_native = seen(native.derive(&batch), native.detect(&batch));
        outliers += from_wasm.1.iter().map(Vec::len).sum::<usize>();
        rates += from_wasm.0.len();
        assert_eq!(from_wasm, from_native, "batch {n}");
    }
    assert!(outliers > 100 && rates > 1000, "{outliers} outliers, {rates} rates");
    assert!(set.list().iter().all(|plugin| plugin.failures == 0 && plugin.state == PluginState::Ok));
}

/// Three weeks of `count` series, five minutes apart: noise and a day's rise and fall, then a shift, a spike and a standstill.
fn weeks(count: u32) -> Vec<(u32, i64, f64)> {
    let mut random = Random(23);
    let mut rows = Vec::new();
    for i in 0..21 * 288_i64 {
        for series in 0..count {
            let day = i as f64 / 288.0;
            let usual = 50.0 + 10.0 * (day * std::f64::consts::TAU).sin() + 8.0 * (random.float() - 0.5);
            let value = match series % 4 {
                0 if day > 14.0 => usual + 60.0,
                1 if i == 4000 => 500.0,
                2 if day > 16.0 => 50.0,
                _ => usual,
            };
            rows.push((id(series), i * 300 * UnixNanos::SECOND, value));
        }
    }
    rows
}

/// What `seasonal-outlier` finds in `rows`, given in batches of `rows_a_batch`, with `restarts` among them.
fn incidents(
    make: &dyn Fn() -> Box<dyn TenantPlugins>,
    rows: &[(u32, i64, f64)],
    rows_a_batch: usize,
    restarts: &[usize],
) -> Vec<(i64, OutlierVerdict)> {
    let mut plugins = make();
    let open = |plugins: &mut dyn TenantPlugins| {
        (0..4).for_each(|series| plugins.open(&desc(id(series), Shape::Gauge, Part::Value)));
    };
    open(plugins.as_mut());
    let mut found = Vec::new();
    for (number, rows) in rows.chunks(rows_a_batch).enumerate() {
        if restarts.contains(&number) {
            let state = plugins.snapshot();
            plugins = make();
            plugins.restore(&state);
            open(plugins.as_mut());
        }
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| (row.0, row.1));
        let mut batch = Columns::default();
        rows.iter().for_each(|&(series, time, value)| batch.push(SeriesId(series), UnixNanos(time), value));
        let findings = plugins.detect(&batch).into_iter().filter(|found| found.evidence.plugin == seasonal::PLUGIN);
        found.extend(findings.flat_map(|found| found.rows).map(|(row, outlier)| (rows[row].1, outlier)));
    }
    found.sort_by_key(|(time, outlier)| (outlier.series, *time));
    found
}

#[test]
fn incidents_are_the_same_in_wasm_native_after_restarts_and_however_batches_are_cut() {
    let set = load(&[]).unwrap();
    let wasm = || -> Box<dyn TenantPlugins> { set.instances(&tenant(), &registry()) };
    let native = || -> Box<dyn TenantPlugins> { Box::new(NativePlugins::default()) };
    let rows = weeks(4);
    let expected = incidents(&native, &rows, 4, &[]);
    let shown = |series: u32, from: i64| {
        let of = |(time, found): &&(i64, OutlierVerdict)| found.series.0 == id(series) && *time >= from;
        expected.iter().filter(of).count()
    };
    let step = 300 * UnixNanos::SECOND;
    assert!(
        shown(0, 14 * 288 * step) > 0 && shown(1, 4000 * step) > 0 && shown(2, 16 * 288 * step) > 0,
        "{expected:?}"
    );
    assert!(expected.len() < 20, "{expected:?}");
    for (rows_a_batch, restarts) in [(400, &[][..]), (1000, &[3, 4, 17]), (4096, &[2])] {
        let found = incidents(&wasm, &rows, rows_a_batch, restarts);
        assert_eq!(found, expected, "{rows_a_batch} rows a batch, restarts {restarts:?}");
    }
    assert!(set.list().iter().all(|plugin| plugin.failures == 0), "{:?}", set.list());
}

/// Twenty rows of each series: gauges 5 and 9 stand still, counters 6 and 10 go up.
fn a_past(plugins: &mut dyn TenantPlugins) {
    for n in 0..20_i32 {
        let time = UnixNanos(i64::from(n) * UnixNanos::SECOND);
        let (mut gauges, mut counters) = (Columns::default(), Columns::default());
        [5, 9].into_iter().for_each(|id| gauges.push(SeriesId(id), time, 1.0));
        [6, 10].into_iter().for_each(|id| counters.push(SeriesId(id), time, f64::from(n)));
        plugins.derive(&counters);
        plugins.detect(&gauges);
    }
}

fn open_four(plugins: &mut dyn TenantPlugins) {
    let counter = Shape::Cumulative { monotonic: true };
    for (id, shape) in [(5, Shape::Gauge), (6, counter), (9, Shape::Gauge), (10, counter)] {
        plugins.open(&desc(id, shape, Part::Value));
    }
}

/// What is found at second `second`: (series, window) of outliers, and the series that have a rate.
fn at_second(plugins: &mut dyn TenantPlugins, second: i64, value: f64) -> (Vec<(u32, u32)>, Vec<u32>) {
    let time = UnixNanos(second * UnixNanos::SECOND);
    let (mut gauges, mut counters) = (Columns::default(), Columns::default());
    [5, 9].into_iter().for_each(|id| gauges.push(SeriesId(id), time, value));
    [6, 10].into_iter().for_each(|id| counters.push(SeriesId(id), time, 100.0));
    let (rates, found) = seen(plugins.derive(&counters), plugins.detect(&gauges));
    let found = found.into_iter().flatten().map(|(_, outlier)| (outlier.series.0, outlier.window));
    (found.collect(), rates.into_iter().map(|(from, ..)| from.0).collect())
}

#[test]
fn a_closed_series_comes_back_without_a_past() {
    let set = load(&[]).unwrap();
    let wasm = || -> Box<dyn TenantPlugins> { set.instances(&tenant(), &registry()) };
    let native = || -> Box<dyn TenantPlugins> { Box::new(NativePlugins::default()) };
    let makers: [&dyn Fn() -> Box<dyn TenantPlugins>; 2] = [&wasm, &native];
    for (name, make) in ["wasm", "native"].into_iter().zip(makers) {
        let restarted = |plugins: &mut dyn TenantPlugins| {
            let mut again = make();
            again.restore(&plugins.snapshot());
            again
        };
        for (before, after) in [(false, false), (true, false), (false, true), (true, true)] {
            let how = format!("{name}, restart before {before}, after {after}");
            let mut plugins = make();
            open_four(plugins.as_mut());
            a_past(plugins.as_mut());
            let size = plugins.snapshot().len();
            if before {
                plugins = restarted(plugins.as_mut());
            }
            plugins.close(&[SeriesId(5), SeriesId(6), SeriesId(77)]);
            if after {
                plugins = restarted(plugins.as_mut());
            }
            if !before {
                assert!(plugins.snapshot().len() < size, "{how}");
            }
            open_four(plugins.as_mut());
            // Too few values for a verdict, none for a rate; of the others all are there.
            assert_eq!(at_second(plugins.as_mut(), 20, 50.0), (vec![(9, 20)], vec![10]), "{how}");
            for second in 21..35 {
                at_second(plugins.as_mut(), second, 1.0);
            }
            assert_eq!(at_second(plugins.as_mut(), 35, 70.0), (vec![(5, 15), (9, 35)], vec![6, 10]), "{how}");
        }
    }
    assert!(set.list().iter().all(|plugin| plugin.failures == 0), "{:?}", set.list());
}

#[test]
fn wasm_and_native_agree_on_agents() {
    let set = load(&[]).unwrap();
    let (mut wasm, mut native) = (set.instances(&tenant(), &registry()), NativePlugins::default());
    let mut random = Random(11);
    let mut maybe = |most: f64| {
        let (present, share) = (random.next().is_multiple_of(2), random.float());
        present.then_some(share * most)
    };
    let views: Vec<AgentView> = (0..500)
        .map(|i| AgentView {
            // Some agents have several rows, each of which is judged for itself.
            agent: AgentId(i % 400),
            time: UnixNanos(i64::from(i)),
            measurements: Measurements {
                cpu_percent: maybe(100.0),
                memory_mb: maybe(9000.0),
                memory_percent: maybe(100.0),
                disk_percent: maybe(100.0),
                latency_ms: maybe(2000.0),
                bandwidth_mbps: maybe(100.0),
                packet_loss_percent: maybe(100.0),
                connections: maybe(100.0),
                requests: maybe(100.0),
                errors: maybe(20.0),
                error_percent: maybe(20.0),
                response_ms: maybe(2000.0),
            },
            uptime_percent: maybe(100.0),
        })
        .collect();
    let bare = |found: Vec<(Arc<vitals_core::verdict::Evidence>, usize, vitals_core::verdict::AgentHealth)>| {
        found.into_iter().map(|(_, row, health)| (row, health)).collect::<Vec<_>>()
    };
    assert_eq!(bare(wasm.assess(&views)), bare(native.assess(&views)));
    let mut window = |seconds: f64| (seconds, seconds * random.float() * 0.02);
    let views: Vec<SlaView> = (0..500)
        .map(|i| SlaView {
            agent: AgentId(i),
            target: 99.0,
            period: window(2_592_000.0),
            hour: window(if i % 5 == 0 { 0.0 } else { 3600.0 }),
            six_hours: window(21_600.0),
            three_days: window(259_200.0),
        })
        .collect();
    // Compared as text: NaN is not equal to itself.
    let text = |found: Vec<(Arc<vitals_core::verdict::Evidence>, AgentId, vitals_core::verdict::SlaVerdict)>| {
        found.into_iter().map(|(_, agent, report)| format!("{agent:?} {report:?}")).collect::<Vec<_>>()
    };
    assert_eq!(text(wasm.report(&views)), text(native.report(&views)));
}

#[test]
fn every_verdict_names_its_plugin() {
    let set = load(&[]).unwrap();
    let mut plugins = set.instances(&tenant(), &registry());
    plugins.open(&desc(1, Shape::Gauge, Part::Value));
    let mut batch = Columns::default();
    (0..20).for_each(|i| batch.push(SeriesId(1), UnixNanos(i * UnixNanos::SECOND), 1.0));
    batch.push(SeriesId(1), UnixNanos(20 * UnixNanos::SECOND), 50.0);
    // Nobody told of series 2: its rows are left out, the others keep their places.
    batch.push(SeriesId(2), UnixNanos(0), 1.0);
    let found = plugins.detect(&batch);
    assert_eq!(
        found[0].rows.iter().map(|row| (row.0, row.1.series, row.1.value)).collect::<Vec<_>>(),
        [(20, SeriesId(1), 50.0)]
    );
    let info = set.list().into_iter().find(|plugin| plugin.kind == Some(PluginKind::OutlierDetector)).unwrap();
    let evidence = &found[0].evidence;
    assert_eq!((&evidence.plugin, &evidence.digest, &evidence.config), (&info.name, &info.digest, &info.config));
    assert_eq!((info.name.as_str(), info.digest.len(), info.config.len()), ("iqr-outlier", 64, 64));
}

#[test]
fn configuration_reaches_the_plugin() {
    let config = |json: &str| PluginConfig {
        name: "iqr-outlier".to_owned(),
        config: serde_json::from_str(json).unwrap(),
        ..PluginConfig::default()
    };
    let set = load(&[config(r#"{"min_values": 3}"#)]).unwrap();
    let mut plugins = set.instances(&tenant(), &registry());
    plugins.open(&desc(1, Shape::Gauge, Part::Value));
    let mut batch = Columns::default();
    [1.0, 1.0, 1.0, 2.0].into_iter().zip(0..).for_each(|(v, t)| batch.push(SeriesId(1), UnixNanos(t), v));
    assert_eq!(plugins.detect(&batch)[0].rows.len(), 1);

    for (json, word) in [(r#"{"min_value": 3}"#, "min_value"), (r#"{"window": 1}"#, "window is 1")] {
        let error = load(&[config(json)]).err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
    }
    let unknown = PluginConfig { name: "nobody".to_owned(), ..PluginConfig::default() };
    assert!(matches!(load(&[unknown]), Err(HostError::Unknown { .. })));
    let off = PluginConfig { name: "sla".to_owned(), disabled: true, ..PluginConfig::default() };
    assert_eq!(load(&[off]).unwrap().list().len(), 4);
}

#[test]
fn what_is_not_a_plugin_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.wasm");
    let check = || PluginSet::check(&file, "{}", &PluginLimits::default());
    assert!(matches!(check(), Err(HostError::Read { .. })));
    std::fs::write(&file, "no component").unwrap();
    assert!(matches!(check(), Err(HostError::Compile { .. })));
    std::fs::write(&file, wat::parse_str("(component)").unwrap()).unwrap();
    assert!(matches!(check(), Err(HostError::NoWorld { .. })));
}
