//! A plugin that misbehaves over many calls, or at the start, hurts neither the service nor the other plugins.

use crate::hostile::{Stage, config, limits};
use crate::service::{Client, eventually, local};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use vitals::auth::TokenRequest;
use vitals::config::Config;
use vitals::evaluate::host::{PluginConfig, PluginLimits, PluginState};
use vitals::pipeline::Service;

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
        ("spin-configure", "took longer than 2000 ms"),
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
