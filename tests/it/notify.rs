//! From a heartbeat to a webhook, through the whole service.

use crate::service::{Client, eventually};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use vitals::config::Config;
use vitals::pipeline::Service;

/// What a receiver got: the id and the body of each message.
type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver of webhooks; its address.
async fn receiver(got: Got) -> std::net::SocketAddr {
    answering(got, Arc::new(AtomicU16::new(200))).await
}

/// A receiver that answers with `status`; 503 comes with an hour to wait.
async fn answering(got: Got, status: Arc<AtomicU16>) -> std::net::SocketAddr {
    let receive = move |headers: HeaderMap, body: String| {
        let id = headers["webhook-id"].to_str().unwrap_or_default().to_owned();
        got.lock().expect("nobody panicked").push((id, serde_json::from_str(&body).expect("JSON")));
        let status = StatusCode::from_u16(status.load(Ordering::Relaxed)).expect("a status");
        async move { (status, [("retry-after", "3600")]) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(receive)).await });
    address
}

async fn beat(client: &Client, status: &str, cpu: f64) {
    let beat = json!({
        "agent_info": {"agent_id": "web-1", "agent_version": "1.0", "environment": "test"},
        "health_status": status,
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": cpu,
    });
    let (code, answer) = client.post("/heartbeat", &beat).await;
    assert_eq!(code, 201, "{answer}");
}

/// A configuration that tells `hook` of CPU.
fn settings(hook: std::net::SocketAddr, secret: &Path) -> String {
    format!(
        "[receive]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n[expose]\nrest = \"127.0.0.1:0\"\n\
         [[telemetry.alert_configs]]\nalert_type = \"cpu_usage\"\nseverity = \"warning\"\n\
         notification_channels = [\"hook\"]\n\
         [[channels]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://{hook}/\"\nsecret_file = {secret:?}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_stop_is_told_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (got, status) = (Got::default(), Arc::new(AtomicU16::new(503)));
    let hook = answering(got.clone(), status.clone()).await;
    let (file, secret) = (folder.path().join("vitals.toml"), folder.path().join("secret"));
    fs::write(&secret, "a secret of thirty-two characters").expect("written");
    fs::write(&file, settings(hook, &secret)).expect("written");
    let start = async || {
        let config = Config::load(Some(&file)).expect("a configuration");
        Service::start(config, &folder.path().join("data")).await.expect("the service starts")
    };
    let ids = || -> Vec<String> { got.lock().expect("nobody panicked").iter().map(|(id, _)| id.clone()).collect() };

    let service = start().await;
    let client = Client::of(&service, None, None);
    beat(&client, "healthy", 97.0).await;
    eventually(async || ids(), |ids| ids.len() == 1).await;
    beat(&client, "healthy", 10.0).await;
    service.stop().await;
    assert_eq!(ids().len(), 1, "the end of an alert never overtakes its beginning");
    status.store(200, Ordering::Relaxed);
    let service = start().await;
    let told = eventually(async || ids(), |ids| ids.len() == 3).await;
    service.stop().await;
    assert_eq!(told[0], told[1]);
    assert!(told[1].contains("-raised-") && told[2].contains("-resolved-"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_over_a_restart_too_and_so_is_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let got = Got::default();
    let hook = receiver(got.clone()).await;
    let (file, secret) = (folder.path().join("vitals.toml"), folder.path().join("secret"));
    fs::write(&secret, "a secret of thirty-two characters").expect("written");
    let text = settings(hook, &secret);
    fs::write(&file, text).expect("written");
    let start = async || {
        let config = Config::load(Some(&file)).expect("a configuration");
        Service::start(config, &folder.path().join("data")).await.expect("the service starts")
    };
    let told = || -> Vec<(String, String)> {
        let text = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let got = got.lock().expect("nobody panicked");
        got.iter().map(|(_, body)| (text(body, "event"), text(body, "severity"))).collect()
    };

    let service = start().await;
    let client = Client::of(&service, None, None);
    // In maintenance, as the agent says of itself, nobody is told.
    beat(&client, "maintenance", 97.0).await;
    beat(&client, "healthy", 85.0).await;
    eventually(async || told(), |told| !told.is_empty()).await;
    service.stop().await;

    let service = start().await;
    let client = Client::of(&service, None, None);
    beat(&client, "healthy", 97.0).await;
    beat(&client, "healthy", 10.0).await;
    eventually(async || told(), |told| told.len() >= 3).await;
    service.stop().await;
    let expect = [("raised", "warning"), ("worsened", "critical"), ("resolved", "critical")];
    assert_eq!(told(), expect.map(|(event, severity)| (event.to_owned(), severity.to_owned())));
    let got = got.lock().expect("nobody panicked");
    assert!(
        got.iter().all(|(_, body)| body["agent"] == "web-1" && body["alert_id"] == got[0].1["alert_id"]),
        "{got:?}"
    );
    let names = |of: &Value| of.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let documented: Value = serde_json::from_str(&crate::docs::block("docs/alerts.md", "json")).expect("JSON");
    assert_eq!(names(&got[0].1), names(&documented), "docs/alerts.md shows the fields of a message");
}
