//! The live stream of the whole service: what is sent in comes out of it, and a restart is told.

use crate::service::{Client, eventually, local, start};
use serde_json::{Value, json};
use std::time::Duration;
use vitals::pipeline::Service;

/// Longest that anything here may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of Server-Sent Events.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(client: &Client, query: &str, last: Option<u64>) -> Self {
        let mut request = client.http.get(format!("{}/stream{query}", client.base)).bearer_auth(&client.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next message.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let data = message.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
                let message = serde_json::from_str(data).expect("JSON");
                self.text = rest.to_owned();
                return message;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("news");
            let chunk = chunk.expect("the connection holds").expect("the stream lives");
            self.text += std::str::from_utf8(&chunk).expect("UTF-8");
        }
    }

    /// The next message that `check` picks.
    async fn find(&mut self, check: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await;
            if check(&message) {
                return message;
            }
        }
    }
}

fn beat(id: &str, cpu: f64) -> Value {
    json!({
        "agent_info": {"agent_id": id, "agent_version": "1", "environment": "test"},
        "health_status": "healthy", "timestamp": jiff::Timestamp::now().to_string(), "cpu_usage_percent": cpu,
    })
}

async fn act(service: &Service, client: &Client) -> u64 {
    let mut events = Events::open(client, "", None).await;
    let mut other = Events::open(&Client::of(service, Some("other"), None), "", None).await;
    let mut scoped = Events::open(&Client::of(service, None, Some(&["db-*"])), "", None).await;
    for (id, cpu) in [("web-1", 12.0), ("db-1", 12.0), ("web-1", 97.0)] {
        assert_eq!(client.post("/heartbeat", &beat(id, cpu)).await.0, 201);
    }
    let appeared = events.find(|one| one["event"] == "liveness").await;
    assert_eq!(
        (&appeared["agent_id"], &appeared["change"], &appeared["health"]),
        (&json!("web-1"), &json!("appeared"), &json!("healthy")),
        "{appeared}"
    );
    let changed = events.find(|one| one["event"] == "liveness" && one["change"] == "changed").await;
    assert_eq!((&changed["health"], &changed["health_before"]), (&json!("critical"), &json!("healthy")), "{changed}");
    assert!(changed["reasons"][0].as_str().expect("a reason").contains("97"), "{changed}");
    let raised = events.find(|one| one["event"] == "alert" && one["change"] == "raised").await;
    assert_eq!(raised["agent_id"], "web-1");
    let alert = raised["alert"]["alert_id"].as_str().expect("an id");
    assert_eq!(client.post(&format!("/alerts/{alert}/acknowledge"), &Value::Null).await.0, 200);
    let seen = events.find(|one| one["event"] == "alert" && one["change"] == "acknowledged").await;
    assert_eq!((&seen["alert"]["alert_id"], &seen["alert"]["acknowledged_by"]), (&json!(alert), &json!("test")));
    // Who may touch others only heard of nothing else, and another tenant of nothing at all.
    assert_eq!(client.post("/heartbeat", &beat("db-1", 98.0)).await.0, 201);
    loop {
        let message = scoped.next().await;
        assert!(message["agent_id"].is_null() || message["agent_id"] == "db-1", "{message}");
        if message["event"] == "alert" {
            break;
        }
    }
    let theirs = Client::of(service, Some("other"), None);
    assert_eq!(theirs.post("/heartbeat", &beat("theirs", 1.0)).await.0, 201);
    let first = other.find(|one| one["event"] != "hello" && one["event"] != "heartbeat").await;
    assert_eq!(first["agent_id"], "theirs");
    seen["id"].as_u64().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_heard_and_a_restart_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let last = act(&service, &client).await;
    let mut open = Events::open(&client, "", None).await;
    open.next().await;
    let stops = tokio::spawn(service.stop());
    assert_eq!(open.find(|one| one["event"] == "end").await["reason"], "shutdown");
    stops.await.expect("it stops");

    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let mut events = Events::open(&client, "", Some(last)).await;
    let gap = events.find(|one| one["event"] == "gap").await;
    assert_eq!((&gap["reason"], &gap["skipped"]), (&json!("restarted"), &Value::Null));
    assert_eq!(client.post("/heartbeat", &beat("web-1", 12.0)).await.0, 201);
    let message = events.find(|one| one["event"] == "liveness").await;
    assert!(message["id"].as_u64() > Some(last), "{message}");
    // What stands as before the restart is no news of one that appeared.
    assert_eq!((&message["change"], &message["health_before"]), (&json!("changed"), &json!("critical")), "{message}");
    service.stop().await;
}

/// Many clients hear everything, in the same order, while one of them does not read.
#[tokio::test(flavor = "multi_thread")]
async fn many_clients_hear_the_same() {
    let data = tempfile::tempdir().expect("a folder");
    let mut config = local();
    config.expose.max_connections = 8;
    config.expose.stream.max_streams = 300;
    let service = Service::start(config, data.path()).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    let _deaf = Events::open(&client, "", None).await;
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(Events::open(&client, "?kind=liveness", None).await);
    }
    for at in 0..20 {
        assert_eq!(client.post("/heartbeat", &beat(&format!("a-{at}"), 5.0)).await.0, 201);
    }
    let mut order: Option<Vec<Value>> = None;
    for events in &mut all {
        let mut ids = Vec::new();
        while ids.len() < 20 {
            let message = events.find(|one| one["event"] == "liveness").await;
            ids.push(message["id"].clone());
        }
        assert_eq!(*order.get_or_insert_with(|| ids.clone()), ids);
    }
    drop(all);
    let (status, _) = eventually(async || client.get("/agents").await, |(status, _)| *status == 200).await;
    assert_eq!(status, 200);
    service.stop().await;
}
