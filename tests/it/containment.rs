//! A plugin that misbehaves over many calls, or at the start, hurts neither the service nor the other plugins.

use crate::hostile::{Stage, config, limits};
use crate::plugins::{desc, load, registry, tenant};
use crate::service::{Client, eventually, export_http, gauge, local, now};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vitals::auth::TokenRequest;
use vitals::commands::serve::until_stopped;
use vitals::config::Config;
use vitals::evaluate::host::{PluginConfig, PluginLimits, PluginState};
use vitals::pipeline::Service;
use vitals::workers;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, TenantId, UnixNanos};
use vitals_core::series::{Part, Shape};

/// A heartbeat of `agent` that measures a good CPU.
fn heartbeat(agent: &str) -> Value {
    json!({
        "agent_info": {"agent_id": agent, "agent_version": "1.0", "environment": "test"},
        "health_status": "healthy",
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": 10.0,
    })
}

/// A client that may see everything.
fn operator(service: &Service) -> Client {
    let token = service.auth().issue(TokenRequest {
        subject: "operator".to_owned(),
        email: "operator@example.com".to_owned(),
        tenant: None,
        agents: None,
        ttl: Duration::from_secs(600),
        scope: Some("telemetry:read telemetry:write admin".to_owned()),
    });
    Client { token: token.expect("a key of our own signs"), ..Client::of(service, None, None) }
}

/// What `GET /health` answers, without a token.
async fn health(service: &Service) -> (u16, Value) {
    let url = format!("http://{}/health", service.addresses().rest);
    crate::service::answer(reqwest::Client::new().get(url)).await
}

/// The names and states in a list of plugins, without those that are in order.
fn in_trouble(list: &Value) -> Vec<(String, String)> {
    let text = |plugin: &Value, field: &str| plugin[field].as_str().unwrap_or_default().to_owned();
    let all = list["plugins"].as_array().cloned().unwrap_or_default();
    let named = all.iter().map(|plugin| (text(plugin, "name"), text(plugin, "state")));
    named.filter(|(_, state)| state != "ok").collect()
}

/// Settings with three plugins that cannot be used: one spins in `configure`, one has no file, one is a text file.
fn with_unusable_plugins(folder: &Path) -> Config {
    std::fs::write(folder.join("text.wasm"), "no component").expect("written");
    let of = |name: &str, path: &str| PluginConfig {
        name: name.to_owned(),
        path: Some(folder.join(path)),
        ..PluginConfig::default()
    };
    let mut settings = local();
    settings.plugin_limits.start_deadline_ms = 2_000;
    settings.plugins = vec![config("spin-configure"), of("missing", "missing.wasm"), of("text", "text.wasm")];
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_starts_without_the_plugins_that_cannot_be_used_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = with_unusable_plugins(folder.path());
    let service = Service::start(settings.clone(), &folder.path().join("data")).await.expect("the service starts");
    let client = operator(&service);
    let expect = ["missing", "spin-configure", "text"].map(|name| (name.to_owned(), "refused".to_owned()));
    let (status, probe) = health(&service).await;
    let mut named = in_trouble(&probe);
    named.sort();
    assert_eq!((status, &probe["ready"], named), (200, &json!(true), expect.to_vec()), "{probe}");
    let (_, list) = client.get("/plugins").await;
    let all = list["plugins"].as_array().expect("a list");
    for (name, why) in [
        ("missing", "missing.wasm cannot be read"),
        ("spin-configure", "took longer than 2000 ms of CPU time"),
        ("text", "text.wasm is not a WebAssembly component"),
    ] {
        let plugin = all.iter().find(|plugin| plugin["name"] == name).expect("listed");
        let error = plugin["last_error"].as_str().unwrap_or_default();
        assert!(error.contains(why) && plugin["state"] == "refused", "{plugin}");
    }
    let (status, answer) = client.post("/heartbeat", &heartbeat("web-1")).await;
    assert_eq!((status, &answer["calculated_health"]), (201, &json!("healthy")), "the others judge: {answer}");

    // A configuration that is read again is refused when a plugin of it cannot be used, and changes nothing.
    let mut other = settings.clone();
    other.evaluate.objective.target = 95.0;
    other.plugins.truncate(2);
    let refused = service.reload(other, false).await.expect_err("a plugin cannot be used").to_string();
    assert!(refused.contains("missing.wasm cannot be read") && refused.contains("spin_configure"), "{refused}");
    assert_eq!(in_trouble(&client.get("/plugins").await.1).len(), 3);
    // Without them it is taken, and nobody is refused any more.
    let good = Config { plugins: Vec::new(), ..settings };
    service.reload(good, false).await.expect("it is in force");
    let (_, probe) = eventually(async || health(&service).await, |(_, probe)| probe["plugins"].is_null()).await;
    assert_eq!(probe, json!({"live": true, "ready": true}));
    service.stop().await;
}

#[test]
fn who_fails_every_other_time_is_quarantined() {
    let limits = PluginLimits { failures: 3, failure_turns: 10, quarantine_seconds: 3600, ..limits() };
    let mut stage = Stage::new("trap-sometimes", &limits);
    for turn in 0..3 {
        stage.value = f64::from(2 * turn);
        assert_eq!(stage.turn(), 1, "{:?}", stage.info());
        stage.value += 1.0;
        assert_eq!(stage.turn(), 0);
    }
    let info = stage.info();
    assert_eq!((info.calls, info.failures, info.quarantined, info.state), (6, 3, 1, PluginState::Quarantined));
    // It is left alone, also with rows that it would have taken.
    stage.value = 6.0;
    assert_eq!((stage.turn(), stage.info().calls), (0, 6));
}

/// Settings of the guest `state`.
fn state_guest(json: &str, state_generation: u32) -> PluginConfig {
    PluginConfig { config: serde_json::from_str(json).expect("JSON"), state_generation, ..config("state") }
}

/// The state that the guest `state` has restored from `saved`, by its findings; `None` when it finds nothing.
fn restored(stage: &mut Stage, saved: &[u8]) -> Option<u32> {
    stage.plugins = stage.set.instances(&tenant(), &registry());
    stage.plugins.restore(saved);
    stage.plugins.open(&desc(3, Shape::Cumulative { monotonic: true }, Part::Value));
    let mut batch = Columns::default();
    batch.push(SeriesId(3), UnixNanos(0), 0.0);
    let findings = stage.plugins.detect(&batch);
    let own = findings.into_iter().find(|found| found.evidence.plugin == "state")?;
    own.rows.first().map(|(_, outlier)| outlier.window)
}

#[test]
fn no_failure_of_a_snapshot_deletes_the_last_good_state() {
    let limits = PluginLimits { start_deadline_ms: 1_000, state_mb: 4, ..limits() };
    for (mode, why) in [(1.0, "state is larger than"), (2.0, "trapped"), (3.0, "longer than 1000 ms")] {
        let mut stage = Stage::new("state", &limits);
        stage.value = 0.0;
        assert_eq!(stage.turn(), 1);
        stage.plugins.snapshot();
        stage.value = mode;
        assert_eq!(stage.turn(), 1);
        let saved = stage.plugins.snapshot();
        let error = stage.info().last_error.expect("an error");
        assert!(error.contains(why), "{error}");
        assert!(saved.len() < 64 << 10, "{} bytes are kept", saved.len());
        assert_eq!(restored(&mut stage, &saved), Some(7), "{why}");
    }
}

#[test]
fn no_failure_of_a_restore_deletes_the_state_and_the_operator_may_drop_it() {
    let limits = PluginLimits { start_deadline_ms: 1_000, quarantine_seconds: 3600, ..limits() };
    let mut good = Stage { value: 0.0, ..Stage::configured(state_guest("{}", 0), &limits) };
    assert_eq!(good.turn(), 1);
    let mut saved = good.plugins.snapshot();
    for (settings, why) in [(r#"{"spin": true}"#, "longer than 1000 ms"), (r#"{"trap": true}"#, "trapped")] {
        let mut stage = Stage::configured(state_guest(settings, 0), &limits);
        assert_eq!(restored(&mut stage, &saved), None);
        let info = stage.info();
        // At once: each more attempt would take as long.
        assert_eq!((info.failures, info.quarantined), (1, 1));
        assert!(info.last_error.expect("an error").contains(why));
        saved = stage.plugins.snapshot();
        assert_eq!(restored(&mut good, &saved), Some(7), "{why}");
    }
    // Also while the plugin is not there.
    let mut others = load(&[]).expect("they start").instances(&tenant(), &registry());
    others.restore(&saved);
    saved = others.snapshot();
    assert_eq!(restored(&mut good, &saved), Some(7));
    // The operator says so: by another generation, or by switching the plugin off.
    let mut anew = Stage::configured(state_guest("{}", 1), &limits);
    assert_eq!(restored(&mut anew, &saved), Some(0));
    let off = PluginConfig { name: "state".to_owned(), path: good_path(), disabled: true, ..PluginConfig::default() };
    let mut others = load(&[off]).expect("they start").instances(&tenant(), &registry());
    others.restore(&saved);
    assert_eq!(restored(&mut good, &others.snapshot()), Some(0));
}

/// The file of the guest `state`.
fn good_path() -> Option<PathBuf> {
    config("state").path
}

#[test]
fn all_plugins_together_have_so_much_memory_and_one_cannot_take_it_all() {
    let limits = PluginLimits { total_memory_mb: 64, memory_mb: 48, quarantine_seconds: 3600, ..limits() };
    let mut stage = Stage::new("hoard", &limits);
    let mut others = ["a", "b", "c"].map(|name| stage.set.instances(&TenantId::from(name), &registry()));
    let series = desc(3, Shape::Cumulative { monotonic: true }, Part::Value);
    let mut batch = Columns::default();
    (0..20).for_each(|row| batch.push(SeriesId(3), UnixNanos(row), 1.0));
    for plugins in &mut others {
        plugins.open(&series);
        plugins.detect(&batch);
    }
    let info = stage.info();
    assert!(info.memory_bytes < 64 << 20, "{info:?}");
    let error = info.last_error.expect("an error");
    assert!(error.contains("all plugins together may have 67108864"), "{error}");
    // The others have what is kept for them.
    stage.turn();
    assert!(stage.set.list().iter().all(|plugin| plugin.name == "hoard" || plugin.failures == 0));
    drop(others);
    drop(stage.plugins);
    assert!(stage.set.list().iter().all(|plugin| plugin.memory_bytes == 0));
}

#[test]
fn who_takes_more_cpu_than_its_budget_is_skipped_and_then_quarantined() {
    let limits = PluginLimits { cpu_percent: 5.0, quarantine_seconds: 3600, ..limits() };
    let mut stage = Stage::new("burn", &limits);
    let mut turns = 0;
    while stage.info().quarantined == 0 {
        stage.turn();
        turns += 1;
        assert!(turns < 1_000_000, "{:?}", stage.info());
    }
    let info = stage.info();
    let error = info.last_error.clone().expect("an error");
    assert!(error.contains("of a CPU, its budget is 5 %"), "{error}");
    assert!(info.skipped_rows > 0 && info.cpu_seconds > 0.05 && info.failures == 2, "{info:?}");
    let others: Vec<_> = stage.set.list().into_iter().filter(|plugin| plugin.name != "burn").collect();
    assert!(others.iter().all(|plugin| (plugin.failures, plugin.skipped_rows) == (0, 0)), "{others:?}");
    let calls = |name: &str| stage.set.list().iter().find(|plugin| plugin.name == name).map(|plugin| plugin.calls);
    assert_eq!(calls("rate"), Some(turns), "the others were called each time");
    assert!(info.calls < turns, "it was not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_makes_the_service_not_ready_and_then_ends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(local(), folder.path()).await.expect("the service starts");
    assert_eq!(health(&service).await.0, 200);
    let dies = service.workers().within(|| workers::spawn("doomed", || panic!("on purpose")));
    assert!(dies.expect("a thread").join().is_err());
    let (status, probe) = health(&service).await;
    let reason = "the worker doomed ended in a panic: on purpose";
    assert_eq!((status, &probe["ready"], &probe["reason"]), (503, &json!(false), &json!(reason)), "{probe}");
    let error = until_stopped(service, None).await.expect_err("it died").to_string();
    assert_eq!(error, format!("the service stopped because {reason}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_live_instances_is_bounded_and_all_tenants_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = local();
    settings.log.partitions = 1;
    settings.plugin_limits.live_instances = 12;
    let service = Service::start(settings, folder.path()).await.expect("the service starts");
    for round in 0..2 {
        for tenant in 0..20 {
            let client = Client::of(&service, Some(&format!("tenant-{tenant}")), None);
            let (status, answer) = client.post("/heartbeat", &heartbeat("web-1")).await;
            assert_eq!((status, &answer["calculated_health"]), (201, &json!("healthy")), "{round}, {tenant}: {answer}");
        }
    }
    let metrics = reqwest::get(format!("http://{}/metrics", service.addresses().rest)).await.expect("an answer");
    let text = metrics.text().await.expect("text");
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    assert!(value("vitals_plugin_evictions_total").is_some_and(|evictions| evictions >= 20.0), "{text}");
    let list = operator(&service).get("/plugins").await.1;
    let scorer = list["plugins"].as_array().expect("a list").iter().find(|plugin| plugin["name"] == "health-score");
    // An instance has a megabyte or two.
    let bytes = scorer.and_then(|plugin| plugin["memory_bytes"].as_u64()).expect("a number");
    assert!(bytes < 13 * (2 << 20), "{bytes}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_heartbeats_nor_a_stop_nor_a_restart_wait_for_a_plugin_that_burns_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = local();
    settings.plugins = vec![config("burn")];
    settings.plugin_limits.quarantine_seconds = 3600;
    for round in 0..2 {
        let service = Service::start(settings.clone(), folder.path()).await.expect("the service starts");
        let client = operator(&service);
        let burns = async || {
            export_http(&service, &gauge("web-1", "load", &[(now(), 1.0)])).await;
            let (status, answer) = client.post("/heartbeat", &heartbeat("web-1")).await;
            assert_eq!((status, &answer["calculated_health"]), (201, &json!("healthy")), "{round}: {answer}");
            let (_, list) = client.get("/plugins").await;
            list["plugins"].as_array().cloned().unwrap_or_default()
        };
        let of = |list: &[Value]| list.iter().find(|plugin| plugin["name"] == "burn").cloned().unwrap_or_default();
        let list = eventually(burns, |list| of(list)["quarantined"] == 1).await;
        let (error, skipped) = (of(&list)["last_error"].clone(), &of(&list)["skipped_rows"]);
        assert!(error.as_str().is_some_and(|error| error.contains("CPU")), "{error}, {skipped} rows skipped");
        let others = list.iter().filter(|plugin| plugin["name"] != "burn");
        assert!(others.clone().count() == 5 && others.clone().all(|plugin| plugin["failures"] == 0), "{list:?}");
        service.stop().await;
    }
}
