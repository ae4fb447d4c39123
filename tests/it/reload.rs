//! New settings in a running service: the file is written anew, the effect seen over REST.

use crate::service::{Client, eventually};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use vitals::config::Config;
use vitals::pipeline::Service;
use vitals::reload::follow;

const PORTS: &str = "[receive]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n[expose]\nrest = \"127.0.0.1:0\"\n";

fn threshold(warning: u32, critical: u32) -> String {
    format!(
        "[[telemetry.default_thresholds]]\nmetric_type = \"cpu_usage\"\nwarning_threshold = {warning}\n\
         critical_threshold = {critical}\n"
    )
}

/// What a heartbeat of `agent` with this CPU is answered.
async fn beat(client: &Client, agent: &str, cpu: f64) -> Value {
    let beat = json!({
        "agent_info": {"agent_id": agent, "agent_version": "1.0", "environment": "test"},
        "health_status": "healthy",
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": cpu,
    });
    let (status, answer) = client.post("/heartbeat", &beat).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// The breaches of a CPU at 50 %.
async fn breaches(client: &Client) -> Value {
    let metrics = json!({
        "system_id": "host-1",
        "collection_method": "agent",
        "timestamp": jiff::Timestamp::now().to_string(),
        "environment": "test",
        "metrics": [{"metric_name": "cpu", "metric_type": "cpu_usage", "value": 50.0, "unit": "%"}],
    });
    let (status, answer) = client.post("/system-metrics", &metrics).await;
    assert_eq!(status, 201, "{answer}");
    answer["threshold_messages"].clone()
}

/// A line of `GET /metrics`.
async fn metric(service: &Service, name: &str) -> Option<String> {
    let url = format!("http://{}/metrics", service.addresses().rest);
    let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// The built-in health scorer in a list of plugins.
fn health_scorer(plugins: &Value) -> Value {
    let all = plugins["plugins"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|plugin| plugin["name"] == "health-score").expect("it is built in")
}

/// In how many seconds the next heartbeat is expected, by the answer to one.
fn next_beat_in(answer: &Value) -> f64 {
    let next = answer["next_expected_heartbeat"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    next.expect("a time").duration_since(jiff::Timestamp::now()).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_in_force_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vitals.toml");
    fs::write(&file, PORTS).expect("written");
    let config = Config::load(Some(&file)).expect("a configuration");
    let service = Service::start(config, &folder.path().join("data")).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    let write = |text: String| fs::write(&file, format!("{PORTS}{text}")).expect("written");
    let is = |liveness: &'static str| move |agent: &Value| agent["agent_id"] == "db-1" && agent["liveness"] == liveness;
    let changes = async {
        assert_eq!(breaches(&client).await, json!([]));
        assert_eq!(beat(&client, "web-1", 50.0).await["calculated_health"], "healthy");
        let (_, before) = client.get("/plugins").await;

        // Thresholds, the objective, a plugin's settings, a maintenance window.
        let rest = "[telemetry]\nbatch_size = 1\ndefault_heartbeat_interval_ms = 5000\n[evaluate.objective]\ntarget = 95.5\n\
            [[plugins]]\nname = \"health-score\"\nconfig = { cpu_degraded = { over = 30.0, minus = 15.0 } }\n\
            [[maintenance]]\nagents = [\"db-*\"]\nfrom = \"00:00\"\nto = \"00:00\"\n";
        write(format!("{rest}{}", threshold(40, 60)));
        let found = eventually(async || breaches(&client).await, |found| *found != json!([])).await;
        assert_eq!(found, json!(["cpu_usage is 50.0 %, warning from 40.0 %"]));
        let (_, uptime) =
            eventually(async || client.get("/uptime-status/web-1").await, |(_, uptime)| uptime["sla_target"] == 95.5)
                .await;
        assert_eq!(uptime["sla_target"], 95.5);
        let (_, health) = client.post("/health-check", &json!({"target_id": "web-1", "target_type": "agent"})).await;
        assert_eq!(health["health_assessment"]["components"]["cpu"], "degraded", "{health}");
        // A system is judged by the plugin with its settings, not by a rule of REST's own.
        let (_, system) = client.post("/health-check", &json!({"target_id": "host-1", "target_type": "system"})).await;
        let assessed = &system["health_assessment"];
        assert_eq!(
            (&assessed["overall_health"], &assessed["health_score"]),
            (&json!("degraded"), &json!(85.0)),
            "{system}"
        );
        let (_, after) = client.get("/plugins").await;
        assert_ne!(health_scorer(&before)["config"], health_scorer(&after)["config"]);
        assert_eq!(beat(&client, "web-1", 50.0).await["calculated_health"], "degraded");
        // An interval that the heartbeat does not name, and how many of them one request may hold.
        let ahead = next_beat_in(&beat(&client, "db-1", 10.0).await);
        assert!((3.0..=5.0).contains(&ahead), "{ahead}");
        let two = json!({
            "batch_id": "b", "batch_timestamp": jiff::Timestamp::now().to_string(), "source_system": "s",
            "heartbeats": [{}, {}],
        });
        assert_eq!(client.post("/batch", &two).await.0, 413);
        eventually(
            async || client.get("/agents").await.1,
            |agents| agents["agents"].as_array().is_some_and(|all| all.iter().any(is("maintenance"))),
        )
        .await;

        // A bad file changes nothing, and is told.
        write(format!("{rest}{}", threshold(90, 60)));
        eventually(async || metric(&service, "vitals_config_refused").await, |refused| refused.as_deref() == Some("1"))
            .await;
        assert_eq!(breaches(&client).await, found);

        // What was taken out again is gone.
        write(threshold(40, 45));
        eventually(async || breaches(&client).await, |found| found.to_string().contains("critical from 45.0")).await;
        let answer = beat(&client, "web-1", 50.0).await;
        assert_eq!(answer["calculated_health"], "healthy", "the plugin has its own defaults again");
        beat(&client, "db-1", 10.0).await;
        eventually(
            async || client.get("/agents").await.1,
            |agents| agents["agents"].as_array().is_some_and(|all| all.iter().any(is("on_time"))),
        )
        .await;
        assert_eq!(metric(&service, "vitals_config_refused").await.as_deref(), Some("0"));
    };
    tokio::select! {
        () = changes => {}
        () = follow(&service, Some(&file)) => {}
    }
    service.stop().await;
}

/// What a client and an operator see of the settings in force.
async fn seen(service: &Service, client: &Client, channel: &str) -> Value {
    // More than once: a shard may take an order after the record that came with it.
    let mut breaches_seen = Vec::new();
    for _ in 0..3 {
        breaches_seen.push(breaches(client).await);
    }
    beat(client, "web-1", 50.0).await;
    let (_, uptime) = client.get("/uptime-status/web-1").await;
    let (_, plugins) = client.get("/plugins").await;
    let plugins = plugins["plugins"].as_array().cloned().unwrap_or_default();
    let two = json!({
        "batch_id": "b", "batch_timestamp": jiff::Timestamp::now().to_string(), "source_system": "s",
        "heartbeats": [{}, {}],
    });
    let page = client.http.get(format!("{}/health", client.base)).header("origin", "https://app.example.com");
    let page = page.send().await.expect("an answer");
    json!({
        "breaches": breaches_seen,
        "target": uptime["sla_target"],
        "plugins": plugins.iter().map(|plugin| plugin["config"].clone()).collect::<Vec<_>>(),
        "batch": client.post("/batch", &two).await.0,
        "cors": page.headers().contains_key("access-control-allow-origin"),
        "channel": metric(service, &format!("vitals_alerts_queued{{channel=\"{channel}\"}}")).await,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_which_one_part_cannot_be_used_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vitals.toml");
    let secret = folder.path().join("secret");
    fs::write(&secret, "a secret of thirty-two characters").expect("written");
    let read = |text: &str| {
        fs::write(&file, text).expect("written");
        Config::read(Some(&file)).expect("every value has its type")
    };
    let service = Service::start(read(PORTS), &folder.path().join("data")).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    let hook = |name: &str, secret: &str| {
        format!(
            "[[channels]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nsecret_file = {secret:?}\n"
        )
    };
    // A change of each kind.
    let good = |expose: &str, target: &str, score: &str| {
        format!(
            "{PORTS}{expose}\n[expose.cors]\nallowed_origins = [\"https://app.example.com\"]\n\
             [telemetry]\nbatch_size = 1\n[evaluate.objective]\ntarget = {target}\n{}\
             [[plugins]]\nname = \"health-score\"\nconfig = {{ {score} = {{ over = 30.0, minus = 15.0 }} }}\n{}",
            threshold(40, 60),
            hook("taken-over-as-a-whole", secret.to_str().expect("UTF-8")),
        )
    };
    let whole = good("", "95.5", "cpu_degraded");
    let missing = |name: &str| hook(name, folder.path().join(name).to_str().expect("UTF-8"));
    let before = seen(&service, &client, "taken-over-as-a-whole").await;
    for (bad, named) in [
        (format!("{whole}{}{}", missing("first"), missing("second")), vec!["\"first\"", "\"second\""]),
        (good("", "95.5", "no_such_rule"), vec!["no_such_rule"]),
        (good("", "101.0", "cpu_degraded"), vec!["evaluate.objective.target"]),
        (good("prefix = \"no path\"", "95.5", "cpu_degraded"), vec!["expose.prefix"]),
        (good("max_body_bytes = 1", "95.5", "cpu_degraded"), vec!["expose.max_body_bytes"]),
        (whole.replace("https://app.example.com", "app.example.com"), vec!["expose.cors.allowed_origins"]),
        (format!("{whole}{}", threshold(90, 60)), vec!["cpu_usage"]),
        // Each thing that is wrong is named, whichever part it is in.
        (
            format!("{}{}", good("prefix = \"no path\"", "101.0", "no_such_rule"), missing("third")),
            vec!["expose.prefix", "evaluate.objective.target", "no_such_rule", "\"third\""],
        ),
    ] {
        let error = service.reload(read(&bad), false).await.expect_err("it cannot be used").to_string();
        for name in named {
            assert!(error.contains(name), "{name} is not named in: {error}");
        }
        assert_eq!(seen(&service, &client, "taken-over-as-a-whole").await, before, "{error}");
    }

    // The same without what was bad is in force, in every part.
    let reloaded = service.reload(read(&whole), false).await.expect("it can be used");
    assert_eq!(reloaded.needs_restart, Vec::<String>::new());
    eventually(async || breaches(&client).await, |found| *found != json!([])).await;
    let after = seen(&service, &client, "taken-over-as-a-whole").await;
    for (part, was) in before.as_object().expect("an object") {
        assert_ne!(after[part], *was, "{part}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_effect_at_the_next_start_does_not_in_one_stage_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vitals.toml");
    let read = |text: &str| {
        fs::write(&file, text).expect("written");
        Config::load(Some(&file)).expect("a configuration")
    };
    let service = Service::start(read(PORTS), &folder.path().join("data")).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    let kept = format!("{PORTS}[telemetry]\nmetrics_retention_days = 1\n");
    let reloaded = service.reload(read(&kept), false).await.expect("it can be used");
    assert_eq!(reloaded.needs_restart, ["telemetry.metrics_retention_days"]);
    // The store still keeps samples for 90 days, so REST takes them.
    let old = jiff::Timestamp::now() - Duration::from_secs(5 * 86_400);
    let metrics = json!({
        "system_id": "host-1",
        "collection_method": "agent",
        "timestamp": old.to_string(),
        "environment": "test",
        "metrics": [{"metric_name": "cpu", "metric_type": "cpu_usage", "value": 50.0, "unit": "%",
                     "timestamp": old.to_string()}],
    });
    let (status, answer) = client.post("/system-metrics", &metrics).await;
    assert_eq!(status, 201, "{answer}");
    service.stop().await;
}
