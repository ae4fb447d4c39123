//! The plugin contract, as plugins see it: what is selected, time and chance, agents, ticks, derived series. The guests are the
//! examples in `examples/plugins` and those in `plugins/hostile`.

use crate::hostile::{file, guests, limits};
use crate::plugins::{cache_dir, desc, registry, tenant};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vitals::evaluate::host::{AgentSettings, HostError, PluginConfig, PluginSet, SeriesOrigin, Shape as Form};
use vitals::evaluate::tenant_plugins::{AgentView, TenantPlugins};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::record::Measurements;
use vitals_core::registry::Registry;
use vitals_core::series::{AgentDesc, AgentProfile, Part, SeriesDesc, Shape};
use vitals_core::verdict::OutlierVerdict;

const SECOND: i64 = UnixNanos::SECOND;

fn example(name: &str) -> PathBuf {
    guests().join(format!("../{name}.wasm"))
}

fn config(name: &str, path: PathBuf, config: serde_json::Value) -> PluginConfig {
    let config = config.as_object().cloned().unwrap_or_default();
    PluginConfig { name: name.to_owned(), path: Some(path), config, ..PluginConfig::default() }
}

fn set(configs: &[PluginConfig]) -> PluginSet {
    PluginSet::load(&limits(), None, configs, Some(&cache_dir())).unwrap_or_else(|error| panic!("{error}"))
}

fn rows(rows: &[(u32, i64, f64)]) -> Columns {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| (row.0, row.1));
    let mut batch = Columns::default();
    rows.iter().for_each(|&(series, second, value)| batch.push(SeriesId(series), UnixNanos(second * SECOND), value));
    batch
}

/// A series of a metric, of an agent.
fn series(id: u32, agent: u32, metric: &str) -> Arc<SeriesDesc> {
    let mut desc = desc(id, Shape::Gauge, Part::Value).as_ref().clone();
    desc.agent = AgentId(agent);
    metric.clone_into(&mut desc.spec.metric);
    Arc::new(desc)
}

/// A registry that knows agents by number and key.
fn registry_of(agents: &[(u32, &str)]) -> Arc<Registry> {
    let registry = registry();
    for &(id, key) in agents {
        registry.restore_agent(Arc::new(AgentDesc {
            id: AgentId(id),
            tenant: tenant(),
            key: key.to_owned(),
            first_seen: UnixNanos(0),
            profile: AgentProfile::default(),
        }));
    }
    registry
}

fn no_failures(set: &PluginSet) {
    assert!(set.list().iter().all(|plugin| plugin.failures == 0), "{:?}", set.list());
}

#[test]
fn a_plugin_is_shown_what_it_selects_and_what_the_operator_leaves_of_it() {
    let ratio = |config: PluginConfig| PluginConfig { metrics: vec!["app.*".to_owned()], ..config };
    let given = json!({ "part": "app.used", "whole": "app.size" });
    let set = set(&[ratio(config("ratio", example("ratio"), given))]);
    let info = set.list().into_iter().find(|plugin| plugin.name == "ratio").unwrap();
    assert_eq!(info.selects[0].metrics, ["app.used", "app.size"]);
    assert_eq!(info.config_schema["properties"]["part"]["type"], "string");
    let rate = set.list().into_iter().find(|plugin| plugin.name == "rate").unwrap();
    assert_eq!(rate.selects[0].shapes, [Form::Counter]);
    assert!(rate.selects[0].origins.is_empty() || rate.selects[0].origins == [SeriesOrigin::Reported]);
    let calls = |set: &PluginSet| {
        let calls = set.list().into_iter().map(|plugin| (plugin.name, plugin.calls));
        calls.collect::<BTreeMap<_, _>>()
    };
    let mut plugins = set.instances(&tenant(), &registry());
    [series(1, 0, "other"), series(2, 0, "app.used"), series(3, 0, "app.size")]
        .iter()
        .for_each(|one| plugins.open(one));
    // A gauge of another metric: neither the ratio nor the rate is called, both detectors are.
    plugins.derive(&rows(&[(1, 0, 1.0)]));
    plugins.detect(&rows(&[(1, 0, 1.0)]));
    let after = calls(&set);
    assert_eq!((after["ratio"], after["rate"], after["iqr-outlier"], after["seasonal-outlier"]), (0, 0, 1, 1));
    let derived = plugins.derive(&rows(&[(1, 10, 1.0), (2, 10, 3.0), (3, 10, 4.0)]));
    assert_eq!(derived.len(), 1);
    assert_eq!(calls(&set)["ratio"], 1);
    no_failures(&set);
    // The operator narrows: of the two metrics nothing is left.
    let narrowed =
        PluginConfig { metrics: vec!["other".to_owned()], ..ratio(config("ratio", example("ratio"), json!({}))) };
    let set = self::set(&[PluginConfig { metrics: vec!["other".to_owned()], ..narrowed }]);
    let mut plugins = set.instances(&tenant(), &registry());
    [series(2, 0, "app.pool.used"), series(3, 0, "other")].iter().for_each(|one| plugins.open(one));
    plugins.derive(&rows(&[(2, 10, 3.0), (3, 10, 3.0)]));
    assert_eq!(calls(&set)["ratio"], 0);
}

#[test]
fn agents_are_narrowed_for_series_and_for_scores() {
    let registry = registry_of(&[(1, "web-1"), (2, "db-1")]);
    let only_web = |name: &str| PluginConfig {
        name: name.to_owned(),
        agents: vec!["web-*".to_owned()],
        ..PluginConfig::default()
    };
    let set = set(&[only_web("iqr-outlier"), only_web("health-score")]);
    let mut plugins = set.instances(&tenant(), &registry);
    [series(1, 1, "m"), series(2, 2, "m")].iter().for_each(|one| plugins.open(one));
    for second in 0..30 {
        plugins.detect(&rows(&[(1, second, 1.0), (2, second, 1.0)]));
    }
    let found = plugins.detect(&rows(&[(1, 30, 90.0), (2, 30, 90.0)]));
    let of = |found: &vitals::evaluate::tenant_plugins::Findings| found.evidence.plugin == "iqr-outlier";
    let found: Vec<_> = found.iter().filter(|found| of(found)).flat_map(|found| found.rows.clone()).collect();
    assert_eq!(found.iter().map(|(row, found)| (*row, found.series.0)).collect::<Vec<_>>(), [(0, 1)]);
    let view = |agent: u32| AgentView {
        agent: AgentId(agent),
        time: UnixNanos(0),
        measurements: Measurements { cpu_percent: Some(99.0), ..Measurements::default() },
        uptime_percent: None,
    };
    let scores = plugins.assess(&[view(2), view(1), view(2)]);
    assert_eq!(scores.iter().map(|(_, row, _)| *row).collect::<Vec<_>>(), [1]);
    no_failures(&set);
}

#[test]
fn settings_of_some_agents_are_theirs() {
    let registry = registry_of(&[(1, "web-1"), (2, "db-1")]);
    let step = json!({ "over": 10.0, "minus": 40.0 });
    let group = AgentSettings {
        agents: vec!["db-*".to_owned()],
        config: json!({ "cpu_degraded": step }).as_object().cloned().unwrap(),
    };
    let config = PluginConfig { name: "health-score".to_owned(), per_agent: vec![group], ..PluginConfig::default() };
    let set = set(&[config]);
    let view = |agent: u32| AgentView {
        agent: AgentId(agent),
        time: UnixNanos(0),
        measurements: Measurements { cpu_percent: Some(50.0), ..Measurements::default() },
        uptime_percent: None,
    };
    let scores = set.instances(&tenant(), &registry).assess(&[view(1), view(2)]);
    assert_eq!(scores.iter().map(|(_, _, health)| health.score).collect::<Vec<_>>(), [100.0, 60.0]);
    no_failures(&set);
}

#[test]
fn a_configuration_that_does_not_fit_the_schema_is_refused() {
    let wrong = |config: PluginConfig| match PluginSet::load(&limits(), None, &[config], Some(&cache_dir())) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it is taken"),
    };
    let error = wrong(config("ratio", example("ratio"), json!({ "prat": "x" })));
    assert!(error.contains("prat"), "{error}");
    let error = wrong(config("forecast", example("forecast"), json!({ "window": "many" })));
    assert!(error.contains("/window"), "{error}");
    // What the schema cannot say, the plugin does.
    let error = wrong(config("forecast", example("forecast"), json!({ "window": 1 })));
    assert!(error.contains("must be 2 to 1000"), "{error}");
    let group =
        AgentSettings { agents: vec!["*".to_owned()], config: json!({ "window": 3 }).as_object().cloned().unwrap() };
    let error = wrong(PluginConfig { per_agent: vec![group], ..config("forecast", example("forecast"), json!({})) });
    assert!(error.contains("window cannot be set for some agents"), "{error}");
    let info = PluginSet::check(&example("silence"), "{}", &limits()).unwrap();
    assert_eq!(info.config_schema["properties"]["after_seconds"]["x-per-agent"], true);
    assert_eq!(info.interval_seconds, 10);
}

#[test]
fn a_plugin_of_another_version_is_refused_by_naming_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.wasm");
    for (version, is_known) in [("0.1.0", false), ("0.3.0", false), ("1.2.0", false), ("0.2.7", true)] {
        let component = format!(
            r#"(component (instance $empty)
                (export "vitals:plugin/lifecycle@{version}" (instance $empty))
                (export "vitals:plugin/detecting@{version}" (instance $empty)))"#
        );
        std::fs::write(&file, wat::parse_str(component).unwrap()).unwrap();
        let error = PluginSet::check(&file, "{}", &limits()).unwrap_err();
        assert_eq!(!matches!(error, HostError::Version { .. }), is_known, "{error}");
        if !is_known {
            assert!(error.to_string().contains(version) && error.to_string().contains("0.2.0"), "{error}");
        }
    }
}

/// What `clock-and-chance` finds in `rows`, whose batches end where `cuts` say, with a restart after the first. Time goes on with
/// the second of the rows, in steps of ten.
fn clock_and_chance(
    set: &PluginSet,
    all: &[(u32, i64, f64)],
    cuts: &[usize],
    open: &[u32],
) -> Vec<(i64, OutlierVerdict)> {
    let mut plugins = set.instances(&tenant(), &registry());
    let open_all = |plugins: &mut dyn TenantPlugins| open.iter().for_each(|&id| plugins.open(&series(id, id, "m")));
    plugins.advance(UnixNanos(0));
    open_all(plugins.as_mut());
    let mut found = Vec::new();
    let mut from = 0;
    for (n, &to) in cuts.iter().chain([&all.len()]).enumerate() {
        for step in all[from..to].chunk_by(|one, other| one.1 / 10 == other.1 / 10) {
            plugins.advance(UnixNanos(step[0].1 / 10 * 10 * SECOND));
            let batch = rows(step);
            for findings in
                plugins.detect(&batch).into_iter().filter(|found| found.evidence.plugin == "clock-and-chance")
            {
                found.extend(findings.rows.into_iter().map(|(row, outlier)| (batch.times[row], outlier)));
            }
        }
        from = to;
        if n == 0 {
            let state = plugins.snapshot();
            plugins = set.instances(&tenant(), &registry());
            plugins.restore(&state);
            plugins.advance(UnixNanos(all[to - 1].1 / 10 * 10 * SECOND));
            open_all(plugins.as_mut());
        }
    }
    found.sort_by_key(|(time, found)| (found.series, *time));
    found
}

#[test]
fn a_replay_has_the_same_time_and_the_same_chance() {
    let set = set(&[crate::hostile::config("clock-and-chance")]);
    let all: Vec<(u32, i64, f64)> = (0..60).flat_map(|second| [(5, second, 1.0), (9, second, 2.0)]).collect();
    let found = clock_and_chance(&set, &all, &[40], &[5, 9]);
    assert_eq!(found.len(), 120);
    // Cut otherwise, restarted elsewhere, with other numbers, and later on the machine's clock.
    std::thread::sleep(std::time::Duration::from_millis(20));
    for (cuts, open) in [(&[1, 7, 30, 31][..], [9, 5]), (&[119], [9, 5]), (&[60, 61], [5, 9])] {
        assert!(clock_and_chance(&set, &all, cuts, &open) == found, "{cuts:?} {open:?}");
    }
    // Time is told, in steps, and chance is one.
    for (time, outlier) in &found {
        assert_eq!(outlier.lower, (time / SECOND / 10 * 10) as f64);
    }
    let distinct = |of: fn(&OutlierVerdict) -> u64| {
        let all: std::collections::BTreeSet<u64> = found.iter().map(|(_, found)| of(found)).collect();
        all.len()
    };
    assert!(distinct(|found| found.score.to_bits()) >= 6 && distinct(|found| u64::from(found.window)) == 120);
    // Another tenant has another one.
    let mut other = set.instances(&"other".into(), &registry());
    other.advance(UnixNanos(0));
    other.open(&series(5, 5, "m"));
    let other = other.detect(&rows(&[(5, 0, 1.0)]));
    let other = &other.iter().find(|found| found.evidence.plugin == "clock-and-chance").unwrap().rows[0].1;
    assert_ne!((other.window, other.score), (found[0].1.window, found[0].1.score));
    no_failures(&set);
}

/// Where the test's log goes.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// All ticks until `second`; what `silence` found at which second.
fn ticks(plugins: &mut dyn TenantPlugins, second: i64) -> Vec<(i64, u32)> {
    let mut found = Vec::new();
    while let Some(due) = plugins.next_tick().filter(|due| due.0 <= second * SECOND) {
        for findings in plugins.tick_detectors(due) {
            assert_eq!(findings.evidence.plugin, "silence");
            found.extend(findings.found.iter().map(|found| (due.0 / SECOND, found.series.0)));
        }
    }
    plugins.advance(UnixNanos(second * SECOND));
    found
}

#[test]
fn silence_is_found_without_data_and_told_in_the_log() {
    let registry = registry_of(&[(1, "web-1"), (2, "db-1")]);
    [series(11, 1, "queue"), series(12, 2, "queue")].into_iter().for_each(|one| registry.restore_series(one));
    let group = AgentSettings {
        agents: vec!["db-*".to_owned()],
        config: json!({ "after_seconds": 100 }).as_object().cloned().unwrap(),
    };
    let config = PluginConfig { per_agent: vec![group], ..config("silence", example("silence"), json!({})) };
    let set = set(&[config]);
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut plugins = set.instances(&tenant(), &registry);
        assert!(plugins.wants_ticks());
        plugins.advance(UnixNanos(0));
        for id in [11, 12] {
            plugins.open(&registry.series(SeriesId(id)).unwrap());
        }
        plugins.detect(&rows(&[(11, 3, 1.0), (12, 3, 1.0)]));
        assert_eq!(ticks(plugins.as_mut(), 60), []);
        // A restart: nothing comes of the series after it, and still its silence is found, once.
        let state = plugins.snapshot();
        let mut plugins = set.instances(&tenant(), &registry);
        plugins.restore(&state);
        plugins.advance(UnixNanos(60 * SECOND));
        assert_eq!(ticks(plugins.as_mut(), 90), [(70, 11)]);
        // Ticks that nobody could tell in time are told one by one.
        assert_eq!(ticks(plugins.as_mut(), 500), [(110, 12)]);
        plugins.close(&[SeriesId(11)]);
        plugins.close_agents(&[AgentId(1)]);
        no_failures(&set);
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        assert!(text.contains("WARN") && text.contains("queue of web-1 is silent"), "{text}");
        assert!(text.contains("plugin=\"silence\"") && text.contains("web-1 is gone"), "{text}");
    });
}

#[test]
fn a_closed_agent_is_closed_in_a_state_that_was_put_away() {
    let registry = registry_of(&[(1, "web-1")]);
    let set = set(&[config("silence", example("silence"), json!({}))]);
    registry.restore_series(series(11, 1, "queue"));
    let mut plugins = set.instances(&tenant(), &registry);
    plugins.advance(UnixNanos(0));
    plugins.open(&series(11, 1, "queue"));
    plugins.detect(&rows(&[(11, 3, 1.0)]));
    let state = plugins.snapshot();
    let mut plugins = set.instances(&tenant(), &registry);
    plugins.restore(&state);
    plugins.close(&[SeriesId(11)]);
    plugins.close_agents(&[AgentId(1)]);
    let state = plugins.snapshot();
    let mut plugins = set.instances(&tenant(), &registry);
    plugins.restore(&state);
    plugins.advance(UnixNanos(10 * SECOND));
    assert_eq!(ticks(plugins.as_mut(), 500), []);
    no_failures(&set);
}

#[test]
fn a_ratio_has_two_sources_and_a_forecast_its_own_time() {
    let set = set(&[
        config("ratio", example("ratio"), json!({ "part": "used", "whole": "size" })),
        config("forecast", example("forecast"), json!({ "metrics": ["used"], "ahead_seconds": 100 })),
    ]);
    let mut plugins = set.instances(&tenant(), &registry());
    plugins.advance(UnixNanos(0));
    [series(1, 0, "used"), series(2, 0, "size"), series(3, 1, "used")].iter().for_each(|one| plugins.open(one));
    let derived = plugins.derive(&rows(&[(1, 5, 10.0), (2, 5, 40.0), (3, 5, 1.0), (1, 15, 20.0), (2, 15, 40.0)]));
    let [ratio] = &derived[..] else { panic!("{derived:?}") };
    assert_eq!((ratio.series[0].from, &ratio.series[0].also[..]), (SeriesId(1), &[SeriesId(2)][..]));
    assert_eq!((ratio.series[0].metric.as_str(), ratio.series[0].unit.as_str()), ("used.ratio", "1"));
    assert_eq!(ratio.rows, [(0, UnixNanos(5 * SECOND), 0.25), (0, UnixNanos(15 * SECOND), 0.5)]);
    // The line through (5 s, 10) and (15 s, 20), 100 seconds after the tick at 60 s.
    let mut made = Vec::new();
    while let Some(due) = plugins.next_tick().filter(|due| due.0 <= 60 * SECOND) {
        made.extend((0..plugins.derivers()).filter_map(|deriver| plugins.tick_deriver(deriver, due)));
    }
    let [forecast] = &made[..] else { panic!("{made:?}") };
    assert_eq!(forecast.series[0].metric, "used.forecast");
    let (_, time, value) = forecast.rows[0];
    assert_eq!(time, UnixNanos(60 * SECOND));
    assert!((value - 165.0).abs() < 1e-6, "{value}");
    no_failures(&set);
}

#[test]
fn examples_load_without_a_configuration() {
    let paths = ["ratio", "forecast", "silence"].map(example);
    for path in paths {
        assert!(PluginSet::check(Path::new(&path), "{}", &limits()).is_ok(), "{}", path.display());
    }
    assert!(file("clock-and-chance").exists());
}

#[test]
fn check_shows_what_a_plugin_says_of_itself() {
    let vitals = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_vitals")).args(args).output().unwrap();
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let (silence, ratio) = (example("silence"), example("ratio"));
    let (silence, ratio) = (silence.to_str().unwrap(), ratio.to_str().unwrap());
    let (good, text) = vitals(&["plugin", "check", silence]);
    assert!(good, "{text}");
    for part in ["every 10 s", "\"after_seconds\"", "\"x-per-agent\": true", "series         all", "state version  1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (good, text) = vitals(&["plugin", "check", ratio, "--with", r#"{"part": "a"}"#]);
    assert!(
        good && text.contains(r#"metrics ["a","app.pool.size"]"#) && text.contains("without data   never"),
        "{text}"
    );
    let (good, text) = vitals(&["plugin", "check", ratio, "--with", r#"{"prat": "a"}"#]);
    assert!(!good && text.contains("prat"), "{text}");
}
