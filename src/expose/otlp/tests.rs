//! The requests as they leave, and what happens when the receiver refuses.

use super::send::{Backoff, RetryInfo, RpcDetail, RpcDuration, RpcStatus};
use super::{Compression, ExportConfig, Exporter, Forward, Protocol, Verdicts};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use parking_lot::Mutex;
use prost::Message;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};
use vitals_core::alert_command::Handling;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::registry::{Quota, Registry};
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesSpec, Shape};
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

const NOON: UnixNanos = UnixNanos(1_767_268_800_000_000_000);

/// A registry with two agents: `web-1` over OTLP with three series, `job` over REST with none.
fn registry() -> (Arc<Registry>, AgentId, AgentId, Vec<SeriesId>) {
    let registry = Registry::new(Quota::default());
    let tenant = TenantId::default_tenant();
    let profile =
        AgentProfile { version: Some("1.4.0".into()), location: Some("eu".into()), ..AgentProfile::default() };
    let web = registry.intern_agent(&tenant, "web-1", NOON, &profile).unwrap();
    let job = registry.intern_agent(&tenant, "job", NOON, &AgentProfile::default()).unwrap();
    let resource: Arc<Attributes> = Arc::new(
        vec![
            ("host.name".to_owned(), "a".to_owned()),
            ("process.pid".to_owned(), "7".to_owned()),
            ("service.name".to_owned(), "web".to_owned()),
        ]
        .into(),
    );
    let spec = |metric: &str, unit: &str, shape, part, integer| SeriesSpec {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        kind: MetricKind::Custom,
        shape,
        part,
        integer,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Scope::named("lib"),
        attributes: vec![("route".to_owned(), "/".to_owned())].into(),
        resource: resource.clone(),
    };
    let specs = vec![
        spec("queue", "{item}", Shape::Gauge, Part::Value, false),
        spec("requests", "{request}", Shape::Cumulative { monotonic: true }, Part::Value, true),
        spec("duration", "s", Shape::Cumulative { monotonic: true }, Part::Bucket(0.5), true),
    ];
    let mut series: Vec<SeriesId> =
        registry.intern_series(&tenant, web, specs).into_iter().map(Result::unwrap).collect();
    let mut derived = spec("queue.rate", "{item}/s", Shape::Gauge, Part::Value, false);
    derived.origin = Origin::Derived { plugin: "rate".to_owned(), from: series[0] };
    series.push(registry.intern_series(&tenant, web, vec![derived]).remove(0).unwrap());
    (Arc::new(registry), web, job, series)
}

#[test]
fn attributes_keep_their_types() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let pairs = vec![
        pair("a", r#"["x",1,2,"NaN",null,"AP8=",{"k":true}]"#),
        pair("b", "true"),
        pair("d", "0.5"),
        pair("e", ""),
        pair("i", "1"),
        pair("n", "-Infinity"),
        pair("s", "1"),
        pair("w", "not a number"),
        pair("y", "AP8="),
    ];
    let typed = super::resources::typed(&Attributes::new(pairs, "[siddey{b}]bdeidsiy", 0));
    let value = |key: &str| typed.iter().find(|one| one.key == key).unwrap().value.clone().unwrap().value;
    let any = |value| AnyValue { value };
    assert_eq!(value("b"), Some(Value::BoolValue(true)));
    assert_eq!(value("d"), Some(Value::DoubleValue(0.5)));
    assert_eq!(value("e"), None);
    assert_eq!(value("i"), Some(Value::IntValue(1)));
    assert_eq!(value("n"), Some(Value::DoubleValue(f64::NEG_INFINITY)));
    assert_eq!(value("s"), Some(Value::StringValue("1".into())));
    assert_eq!(
        value("w"),
        Some(Value::StringValue("not a number".into())),
        "what does not fit its type is sent as text"
    );
    assert_eq!(value("y"), Some(Value::BytesValue(vec![0, 255])));
    let Some(Value::ArrayValue(array)) = value("a") else { panic!("{:?}", value("a")) };
    assert_eq!(
        array.values[..3],
        [any(Some(Value::StringValue("x".into()))), any(Some(Value::IntValue(1))), any(Some(Value::DoubleValue(2.0))),]
    );
    assert!(matches!(array.values[3].value, Some(Value::DoubleValue(nan)) if nan.is_nan()));
    assert_eq!(array.values[4..6], [any(None), any(Some(Value::BytesValue(vec![0, 255])))]);
    assert!(matches!(&array.values[6].value, Some(Value::KvlistValue(map)) if map.values[0].key == "k"));
}

#[test]
fn streams_of_two_scopes_leave_as_two() {
    let registry = Registry::new(Quota::default());
    let tenant = TenantId::default_tenant();
    let agent = registry.intern_agent(&tenant, "a", NOON, &AgentProfile::default()).unwrap();
    let spec = |version: &str, types: &str| SeriesSpec {
        metric: "m".to_owned(),
        unit: String::new(),
        kind: MetricKind::Custom,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Arc::new(Scope {
            name: "lib".to_owned(),
            version: version.to_owned(),
            attributes: Attributes::new(vec![("k".to_owned(), "1".to_owned())], types, 0),
        }),
        attributes: Attributes::default(),
        resource: Arc::default(),
    };
    let specs = vec![spec("1", "s"), spec("2", "s"), spec("2", "i")];
    let ids: Vec<SeriesId> = registry.intern_series(&tenant, agent, specs).into_iter().map(Result::unwrap).collect();
    let mut forward = super::forward::Forward::default();
    let mut columns = Columns::default();
    ids.iter().for_each(|id| columns.push(*id, NOON, 1.0));
    forward.fold(&columns);
    let sent = forward.take(&registry);
    let mut scopes: Vec<String> =
        sent.resource_metrics.iter().flat_map(|r| &r.scope_metrics).map(|s| format!("{:?}", s.scope)).collect();
    scopes.sort();
    scopes.dedup();
    assert_eq!(scopes.len(), 3, "{scopes:?}");
    assert!(scopes[0].contains("version: \"1\""), "{scopes:?}");
}

fn evidence(plugin: &str) -> Arc<Evidence> {
    Arc::new(Evidence {
        plugin: plugin.to_owned(),
        version: "0.1.0".to_owned(),
        digest: "aa".to_owned(),
        config: "bb".to_owned(),
    })
}

fn verdict(agent: AgentId, seconds: i64, plugin: &str, body: VerdictBody) -> Verdict {
    Verdict {
        tenant: TenantId::default_tenant(),
        agent,
        time: NOON.plus(seconds * UnixNanos::SECOND),
        evidence: evidence(plugin),
        body,
    }
}

fn health(score: f64, status: HealthStatus) -> VerdictBody {
    VerdictBody::Health(AgentHealth { score, status, reasons: Vec::new(), recommendations: Vec::new() })
}

/// One of everything, some of it twice.
fn output(web: AgentId, job: AgentId, series: SeriesId) -> EvaluationOutput {
    let outlier =
        |value| VerdictBody::Outlier(OutlierVerdict { series, value, lower: 1.0, upper: 9.0, score: 4.5, window: 100 });
    let alert = |id: &str, resolved| Alert {
        id: id.to_owned(),
        tenant: TenantId::default_tenant(),
        agent: job,
        severity: Severity::Critical,
        message: "gone".to_owned(),
        source: "availability".to_owned(),
        series: None,
        started: NOON,
        resolved,
        acknowledged: None,
        handling: Handling::default(),
    };
    let sla = |availability, hour| {
        VerdictBody::Sla(SlaVerdict {
            target: 99.9,
            availability,
            budget_left: 0.25,
            burn: [hour, 2.0, f64::NAN],
            risk: Risk::Medium,
        })
    };
    EvaluationOutput {
        verdicts: vec![
            verdict(web, 1, "health-score", health(100.0, HealthStatus::Healthy)),
            verdict(web, 2, "health-score", health(70.0, HealthStatus::Critical)),
            verdict(web, 3, "iqr-outlier", outlier(20.0)),
            verdict(web, 4, "iqr-outlier", outlier(45.0)),
            verdict(web, 5, "sla", sla(99.95, 1.5)),
            verdict(job, 5, "sla", sla(f64::NAN, f64::NAN)),
        ],
        alerts: vec![alert("a1", None), alert("a2", Some(NOON.plus(UnixNanos::SECOND)))],
        ..EvaluationOutput::default()
    }
}

/// Compares with the golden file; `VITALS_BLESS=1` writes it instead.
fn check(name: &str, request: &ExportMetricsServiceRequest) {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let found = serde_json::to_string_pretty(request).unwrap().replace(&version, "\"version\": \"VERSION\"") + "\n";
    if std::env::var_os("VITALS_BLESS").is_some() {
        std::fs::create_dir_all(format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"))).unwrap();
        std::fs::write(&path, &found).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expect, "{path} differs (VITALS_BLESS=1 writes it):\n{found}");
}

#[test]
fn verdicts_as_they_leave() {
    let (registry, web, job, series) = registry();
    let mut verdicts = Verdicts::new(NOON);
    verdicts.fold(&output(web, job, series[0]));
    let later = NOON.plus(10 * UnixNanos::SECOND);
    check("export-verdicts", &verdicts.take(&registry, later));

    // What was said is not said again, except that an alert is still open.
    let again = verdicts.take(&registry, later.plus(10 * UnixNanos::SECOND));
    let text = serde_json::to_string(&again).unwrap();
    assert_eq!(text.matches("vitals.alert.active").count(), 1, "{text}");
    assert_eq!(text.matches("\"a1\"").count(), 1, "{text}");
    assert_eq!(text.matches("\"timeUnixNano\"").count(), 1, "{text}");

    // Counts go on from where they were.
    verdicts.fold(&output(web, job, series[0]));
    let third = serde_json::to_string(&verdicts.take(&registry, later)).unwrap();
    assert!(third.contains("{\"asInt\":\"4\"}") || third.contains("\"asInt\":\"4\""), "{third}");
}

#[test]
fn samples_as_they_leave() {
    let (registry, _, _, series) = registry();
    let mut columns = Columns::default();
    for (at, &series) in series.iter().enumerate() {
        for step in 0..2_i32 {
            let time = NOON.plus(i64::from(step) * UnixNanos::SECOND);
            columns.push(series, time, f64::from(step) + 0.5 * f64::from(u8::from(at == 0)));
        }
    }
    let mut forward = Forward::default();
    forward.fold(&columns);
    check("export-samples", &forward.take(&registry));
    assert!(forward.take(&registry).resource_metrics.is_empty());
}

/// A receiver that answers as it is told, then accepts.
#[derive(Clone, Default)]
struct Receiver {
    script: Arc<Mutex<VecDeque<Result<ExportMetricsServiceResponse, Status>>>>,
    attempts: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        assert_eq!(request.metadata().get("x-key").map(|v| v.as_bytes()), Some(&b"secret"[..]));
        self.attempts.lock().push(request.into_inner());
        let answer = self.script.lock().pop_front();
        answer.unwrap_or_else(|| Ok(ExportMetricsServiceResponse::default())).map(Response::new)
    }
}

impl Receiver {
    /// Serves on a port of its own; gives the endpoint.
    async fn listen(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let service = MetricsServiceServer::new(self.clone())
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(address));
        format!("http://{address}")
    }

    async fn until(&self, attempts: usize) {
        for _ in 0..1000 {
            if self.attempts.lock().len() >= attempts {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} attempts", self.attempts.lock().len());
    }
}

fn config(endpoint: String) -> ExportConfig {
    ExportConfig {
        endpoint: Some(endpoint),
        headers: [("x-key".to_owned(), "secret".to_owned())].into(),
        interval_seconds: 1,
        ..ExportConfig::default()
    }
}

const SOON: Backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_millis(20) };

#[tokio::test]
async fn refused_then_accepted() {
    let receiver = Receiver::default();
    let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: 0, nanos: 100_000_000 }) };
    let details = RpcStatus {
        code: Code::ResourceExhausted as i32,
        message: String::new(),
        details: vec![RpcDetail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
    };
    let full = Status::with_details(Code::ResourceExhausted, "full", details.encode_to_vec().into());
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 1,
            error_message: "one too many".to_owned(),
        }),
    };
    receiver.script.lock().extend([Err(Status::unavailable("not yet")), Err(full), Ok(partial)]);

    let (registry, web, job, series) = registry();
    let exporter = Exporter::start_with(&config(receiver.listen().await), registry, SOON).unwrap().unwrap();
    let begun = std::time::Instant::now();
    exporter.observer()(&Arc::new(output(web, job, series[0])));
    receiver.until(3).await;
    assert!(begun.elapsed() > Duration::from_millis(1100), "the receiver's delay was not respected");
    exporter.stop().await;

    let attempts = receiver.attempts.lock();
    assert_eq!(attempts[0], attempts[1]);
    assert_eq!(attempts[1], attempts[2]);
    // A partial success is never sent again: what follows is the open alert alone.
    for later in &attempts[3..] {
        assert_eq!(later.resource_metrics.len(), 1);
    }
}

#[tokio::test]
async fn a_pause_longer_than_the_time_to_retry_is_cut_short() {
    let receiver = Receiver::default();
    let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: i64::MAX, nanos: 0 }) };
    let details = RpcStatus {
        code: Code::ResourceExhausted as i32,
        message: String::new(),
        details: vec![RpcDetail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
    };
    let full = Status::with_details(Code::ResourceExhausted, "full", details.encode_to_vec().into());
    receiver.script.lock().push_back(Err(full));
    let (registry, web, job, series) = registry();
    let config = ExportConfig { retry_seconds: 2, ..config(receiver.listen().await) };
    let exporter = Exporter::start_with(&config, registry, SOON).unwrap().unwrap();
    exporter.observer()(&Arc::new(output(web, job, series[0])));
    receiver.until(2).await;
    exporter.stop().await;
    let attempts = receiver.attempts.lock();
    assert_eq!(attempts[0], attempts[1], "a request was given up after its first attempt");
}

#[tokio::test]
async fn refused_for_good() {
    let receiver = Receiver::default();
    receiver.script.lock().push_back(Err(Status::invalid_argument("no")));
    let (registry, web, job, series) = registry();
    let observed = Arc::new(output(web, job, series[0]));
    let exporter = Exporter::start_with(&config(receiver.listen().await), registry, SOON).unwrap().unwrap();
    exporter.observer()(&observed);
    receiver.until(1).await;
    exporter.observer()(&observed);
    exporter.stop().await;
    let attempts = receiver.attempts.lock();
    assert!(attempts.len() >= 2);
    assert_ne!(attempts[0], attempts[1], "an invalid request was sent again");
}

#[tokio::test]
async fn stopping_does_not_wait_for_an_endpoint_that_is_gone() {
    let (registry, web, job, series) = registry();
    let exporter = Exporter::start(&config("http://127.0.0.1:9".to_owned()), registry).unwrap().unwrap();
    exporter.observer()(&Arc::new(output(web, job, series[0])));
    tokio::time::timeout(Duration::from_secs(15), exporter.stop()).await.expect("stopping hangs");
}

#[tokio::test]
async fn what_cannot_be_sent_to_is_said_at_start() {
    let (registry, ..) = registry();
    assert!(Exporter::start(&ExportConfig::default(), registry.clone()).unwrap().is_none());
    for endpoint in ["localhost:4317", "ftp://host", "http://"] {
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let config = ExportConfig { protocol, compression: Compression::None, ..config(endpoint.to_owned()) };
            let error = Exporter::start(&config, registry.clone()).err().expect(endpoint);
            assert!(error.to_string().contains(endpoint), "{error}");
        }
    }
    let mut wrong = config("http://host".to_owned());
    wrong.headers.insert("bad name".to_owned(), String::new());
    assert!(Exporter::start(&wrong, registry).err().is_some_and(|e| e.to_string().contains("bad name")));
}

#[test]
fn headers_are_not_shown() {
    let shown = format!("{:?}", config("http://host".to_owned()));
    assert!(shown.contains("x-key") && !shown.contains("secret"), "{shown}");
}
