//! The whole service in this process: real sockets in, REST out, a restart between.

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vitals::auth::TokenRequest;
use vitals::config::Config;
use vitals::pipeline::Service;

/// Longest that anything here may take to show.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn start(data: &Path) -> Service {
    let mut config = local();
    config.evaluate.sla_seconds = 1;
    Service::start(config, data).await.expect("the service starts")
}

/// The defaults, on ports that are free.
pub(crate) fn local() -> Config {
    let mut config = Config::default();
    for address in [&mut config.receive.grpc, &mut config.receive.http, &mut config.expose.rest] {
        "127.0.0.1:0".clone_into(address);
    }
    config
}

pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos())
        .expect("before 2554")
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// One gauge of the host `host`, with these (time, value) points.
pub(crate) fn gauge(host: &str, name: &str, points: &[(u64, f64)]) -> ExportMetricsServiceRequest {
    let data_points = points
        .iter()
        .map(|&(time_unix_nano, value)| NumberDataPoint {
            time_unix_nano,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        })
        .collect();
    let metric = Metric {
        name: name.to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: vec![text("host.name", host)], ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

/// A client of the REST API.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn of(service: &Service, tenant: Option<&str>, agents: Option<&[&str]>) -> Self {
        let token = service
            .auth()
            .issue(TokenRequest {
                subject: "test".to_owned(),
                email: "test@example.com".to_owned(),
                tenant: tenant.map(str::to_owned),
                agents: agents.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
                ttl: Duration::from_secs(600),
                scope: None,
            })
            .expect("a key of our own signs");
        let base = format!("http://{}/api/v1/telemetry", service.addresses().rest);
        Self { http: reqwest::Client::new(), base, token }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        answer(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        answer(request).await
    }

    /// The values of an agent's only series of `metric`, by time.
    pub(crate) async fn values(&self, agent: &str, metric: &str) -> Vec<f64> {
        let (status, list) = self.get(&format!("/series?agent={agent}")).await;
        if status != 200 {
            return Vec::new();
        }
        let all = list["series"].as_array().expect("a list");
        let Some(series) = all.iter().find(|series| series["metric_name"] == metric && series["part"] == "value")
        else {
            return Vec::new();
        };
        let end = jiff::Timestamp::now() + Duration::from_secs(60);
        let start = end - Duration::from_secs(7200);
        let (status, found) =
            self.get(&format!("/series/{}/samples?start={start}&end={end}", series["series_id"])).await;
        assert_eq!(status, 200, "{found}");
        let points = found["samples"].as_array().expect("a list");
        points.iter().map(|point| point["value"].as_f64().expect("a number")).collect()
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

/// Asks again until `check` is content with what `ask` finds.
pub(crate) async fn eventually<T: std::fmt::Debug>(ask: impl AsyncFn() -> T, check: impl Fn(&T) -> bool) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let found = ask().await;
        if check(&found) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn export_http(
    service: &Service,
    request: &ExportMetricsServiceRequest,
) -> ExportMetricsServiceResponse {
    let response = reqwest::Client::new()
        .post(format!("http://{}/v1/metrics", service.addresses().http))
        .header("content-type", "application/x-protobuf")
        .body(request.encode_to_vec())
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    ExportMetricsServiceResponse::decode(response.bytes().await.expect("a body")).expect("an OTLP response")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_judged_and_survives_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let began = now() - 60_000_000_000;
    let at = |second: u64| began + second * 1_000_000_000;

    // Over HTTP, then over gRPC: one series. The last value is far outside of what came before.
    let quiet: Vec<_> = (0..20_u32).map(|i| (at(u64::from(i)), 10.0 + f64::from(i % 3))).collect();
    export_http(&service, &gauge("web-1", "queue.length", &quiet)).await;
    let mut grpc =
        MetricsServiceClient::connect(format!("http://{}", service.addresses().grpc)).await.expect("a connection");
    grpc.export(gauge("web-1", "queue.length", &[(at(30), 500.0)])).await.expect("taken");
    // A client's retry changes nothing.
    grpc.export(gauge("web-1", "queue.length", &[(at(30), 500.0)])).await.expect("taken");
    export_http(&service, &gauge("web-1", "system.cpu.utilization", &[(at(31), 0.97)])).await;

    let values = eventually(async || client.values("web-1", "queue.length").await, |found| found.len() >= 21).await;
    assert_eq!(values.len(), 21);
    assert_eq!(values[20], 500.0);
    let outliers =
        eventually(async || client.get("/verdicts?kind=outlier").await, |(_, found)| found.to_string().contains("500"))
            .await;
    assert!(outliers.1.to_string().contains("iqr-outlier"), "{outliers:?}");

    // A heartbeat is answered with its verdict.
    let beat = json!({
        "agent_info": {"agent_id": "api-1", "agent_version": "1.0", "environment": "test"},
        "health_status": "healthy",
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": 97.0,
    });
    let (status, verdict) = client.post("/heartbeat", &beat).await;
    assert_eq!(status, 201, "{verdict}");
    assert_eq!(verdict["health_score"], 70.0, "{verdict}");
    assert_eq!(verdict["calculated_health"], "critical");
    assert_eq!(verdict["alerts_generated"][0]["severity"], "critical");

    service.stop().await;
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    assert_eq!(client.values("web-1", "queue.length").await, values);
    let (status, uptime) = client.get("/uptime-status/api-1").await;
    assert_eq!(status, 200, "{uptime}");
    assert_eq!(uptime["agent_id"], "api-1");
    // What the plugin knew before the restart, it knows after it; and 600 is the same incident still, one million another.
    export_http(&service, &gauge("web-1", "queue.length", &[(at(40), 600.0), (at(41), 1e6)])).await;
    let (_, found) = eventually(
        async || client.get("/verdicts?kind=outlier").await,
        |(_, found)| found.to_string().contains("1000000.0"),
    )
    .await;
    assert!(!found.to_string().contains("600.0"), "{found}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_point_costs_nothing_else() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let time = now() - 1_000_000_000;
    let points = [(0, 1.0), (time, 2.0), (10_413_792_000_000_000_000, 3.0)];
    let response = export_http(&service, &gauge("web-1", "some.metric", &points)).await;
    let partial = response.partial_success.expect("two points were refused");
    assert_eq!(partial.rejected_data_points, 2, "{}", partial.error_message);
    assert!(!partial.error_message.is_empty());
    let values = eventually(async || client.values("web-1", "some.metric").await, |found| !found.is_empty()).await;
    assert_eq!(values, [2.0]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_and_an_agent_scope_are_walls() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    export_http(&service, &gauge("web-1", "some.metric", &[(now(), 1.0)])).await;
    let own = Client::of(&service, None, None);
    eventually(async || own.values("web-1", "some.metric").await, |found| found == &[1.0]).await;
    let narrow = Client::of(&service, None, Some(&["db-*"]));
    assert_eq!(narrow.get("/uptime-status/web-1").await.0, 403);
    assert!(!narrow.get("/agents").await.1.to_string().contains("web-1"));
    let other = Client::of(&service, Some("other"), None);
    assert_eq!(other.get("/uptime-status/web-1").await.0, 404);
    assert!(!other.get("/agents").await.1.to_string().contains("web-1"));
    assert!(other.values("web-1", "some.metric").await.is_empty());
    service.stop().await;
}

fn heartbeat(id: &str, cpu: f64) -> Value {
    json!({
        "agent_info": {
            "agent_id": id, "agent_version": "1.0", "environment": format!("env-{id}"), "geographic_location": "eu",
        },
        "health_status": "healthy",
        "timestamp": jiff::Timestamp::now().to_string(),
        "heartbeat_interval_ms": 60_000,
        "cpu_usage_percent": cpu,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_open_then_acknowledged_then_resolved() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let listed = async |state: &str| {
        let (status, answer) = client.get(&format!("/alerts?state={state}")).await;
        assert_eq!(status, 200, "{answer}");
        let alerts = answer["alerts"].as_array().expect("a list").iter();
        alerts.map(|alert| alert["alert_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let (_, answer) = client.post("/heartbeat", &heartbeat("web-1", 94.0)).await;
    let alert = answer["alerts_generated"][0]["alert_id"].as_str().expect("an alert").to_owned();
    assert_eq!((listed("open").await, listed("acknowledged").await), (vec![alert.clone()], vec![]));

    let (status, answer) = client.post(&format!("/alerts/{alert}/acknowledge"), &Value::Null).await;
    assert_eq!((status, &answer["state"], &answer["acknowledged_by"]), (200, &json!("acknowledged"), &json!("test")));
    let at = answer["acknowledged_at"].clone();
    assert_eq!((listed("open").await, listed("acknowledged").await), (vec![], vec![alert.clone()]));
    // Who was first stays.
    let (status, answer) = client.post(&format!("/alerts/{alert}/acknowledge"), &Value::Null).await;
    assert_eq!((status, &answer["acknowledged_at"]), (200, &at));
    assert_eq!(client.post("/alerts/none/acknowledge", &Value::Null).await.0, 404);

    assert_eq!(client.post("/heartbeat", &heartbeat("web-1", 10.0)).await.0, 201);
    let resolved = eventually(async || listed("resolved").await, |found| !found.is_empty()).await;
    assert_eq!((resolved, listed("acknowledged").await), (vec![alert.clone()], vec![]));
    let (_, answer) = client.get("/alerts?open=true").await;
    assert_eq!(answer["alerts"], json!([]));
    // The states survive.
    service.stop().await;
    let service = start(data.path()).await;
    let (_, answer) = Client::of(&service, None, None).get("/alerts?state=resolved").await;
    let found = &answer["alerts"][0];
    assert_eq!((&found["alert_id"], &found["acknowledged_by"]), (&json!(alert), &json!("test")));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_window_counts_neither_as_up_nor_as_down() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    assert_eq!(client.post("/heartbeat", &heartbeat("web-1", 10.0)).await.0, 201);
    let window = |id: &str| {
        json!({
            "agent_id": id,
            "start_time": jiff::Timestamp::now().to_string(),
            "end_time": (jiff::Timestamp::now() + Duration::from_secs(3600)).to_string(),
        })
    };
    assert_eq!(client.post("/maintenance", &window("nobody")).await.0, 201, "it may be seen later");
    let (status, answer) = client.post("/maintenance", &window("web-1")).await;
    assert_eq!((status, &answer["agent_id"]), (201, &json!("web-1")), "{answer}");
    let uptime = async || client.get("/uptime-status/web-1").await.1;
    let has = |answer: &Value| answer["downtime_periods"][0]["state"] == "maintenance";
    let answer = eventually(uptime, has).await;
    assert_eq!(answer["health_assessment"]["overall_health"], "maintenance", "{answer}");
    assert_eq!((&answer["total_downtime_minutes"], &answer["uptime_percentage"]), (&json!(0.0), &json!(100.0)));
    let (_, list) = client.get("/agents?status=maintenance").await;
    assert_eq!((&list["total"], &list["agents"][0]["liveness"]), (&json!(1), &json!("maintenance")), "{list}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_listed_by_filter_and_page() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    for (id, cpu) in [("c", 10.0), ("a", 97.0), ("b", 10.0)] {
        assert_eq!(client.post("/heartbeat", &heartbeat(id, cpu)).await.0, 201);
    }
    for (query, ids, next) in [
        ("", &["a", "b", "c"][..], Value::Null),
        ("?status=critical", &["a"], Value::Null),
        ("?environment=env-b", &["b"], Value::Null),
        ("?location=eu&status=healthy", &["b", "c"], Value::Null),
        ("?location=us", &[], Value::Null),
        ("?limit=2", &["a", "b"], json!("b")),
        ("?limit=2&after=b", &["c"], Value::Null),
    ] {
        let (status, list) = client.get(&format!("/agents{query}")).await;
        let agents = list["agents"].as_array().expect("a list").iter();
        let found: Vec<&str> = agents.map(|agent| agent["agent_id"].as_str().expect("an id")).collect();
        assert_eq!((status, &found[..], &list["next"]), (200, ids, &next), "{query}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_is_late_then_offline_until_the_return() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let mut beat = heartbeat("web-1", 10.0);
    beat["heartbeat_interval_ms"] = json!(1_000);
    assert_eq!(client.post("/heartbeat", &beat).await.0, 201);
    let liveness = async || client.get("/agents").await.1["agents"][0]["liveness"].clone();
    eventually(liveness, |found| found == "late").await;
    eventually(liveness, |found| found == "offline").await;
    let alerts = async |state: &str| client.get(&format!("/alerts?state={state}")).await.1["alerts"].clone();
    let open = eventually(async || alerts("open").await, |found| found != &json!([])).await;
    assert_eq!(open.as_array().map(Vec::len), Some(1), "{open}");
    let (_, list) = client.get("/agents?status=offline").await;
    assert_eq!(list["total"], 1);
    beat["timestamp"] = jiff::Timestamp::now().to_string().into();
    assert_eq!(client.post("/heartbeat", &beat).await.0, 201);
    let resolved = eventually(async || alerts("resolved").await, |found| found != &json!([])).await;
    assert_eq!(resolved[0]["alert_id"], open[0]["alert_id"]);
    let (_, uptime) = client.get("/uptime-status/web-1").await;
    let causes: Vec<_> =
        uptime["downtime_periods"].as_array().expect("a list").iter().map(|one| &one["cause"]).collect();
    assert_eq!(causes, ["silent"], "{uptime}");
    assert!(uptime["mttr_minutes"].as_f64() > Some(0.0), "{uptime}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_counted() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let address = service.addresses().rest;
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET no-path HTTP/9\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    let metrics = async || {
        let answer = reqwest::get(format!("http://{address}/metrics")).await.expect("an answer");
        answer.text().await.expect("text")
    };
    eventually(metrics, |text| text.contains("vitals_rest_connections_failed_total{reason=\"malformed\"}")).await;
    service.stop().await;
}
