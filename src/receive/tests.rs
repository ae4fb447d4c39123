//! Both ports over real sockets.

use super::{Accepted, ExportHandler, ReceiveConfig, serve_grpc, serve_http};
use crate::auth::Auth;
use crate::net::ByteBudget;
use crate::net::Refusal;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use parking_lot::Mutex;
use prost::Message as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use vitals_core::caller::Caller;
use vitals_core::log::LogError;

/// Answers what it is told, after a strict decoder looked at the bytes.
struct Decoding {
    answer: Result<Accepted, Refusal>,
    bodies: Mutex<Vec<Bytes>>,
    permits: Mutex<Vec<Box<dyn Send>>>,
    keep_permits: bool,
    ready: std::sync::atomic::AtomicBool,
}

impl ExportHandler for Decoding {
    fn ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn ingest(&self, _: Caller, _: SocketAddr, body: Bytes, permit: Box<dyn Send>) -> Result<Accepted, Refusal> {
        ExportMetricsServiceRequest::decode(body.clone()).map_err(|e| Refusal::Malformed(e.to_string()))?;
        self.bodies.lock().push(body);
        if self.keep_permits {
            self.permits.lock().push(permit);
        }
        self.answer.clone()
    }
}

struct Ports {
    http: SocketAddr,
    grpc: SocketAddr,
    ingest: Arc<Decoding>,
    budget: Arc<ByteBudget>,
    stop: Option<tokio::sync::watch::Sender<bool>>,
}

async fn start_with(
    config: ReceiveConfig,
    answer: Result<Accepted, Refusal>,
    auth: Option<Arc<Auth>>,
    keep_permits: bool,
) -> Ports {
    let ingest = Arc::new(Decoding {
        answer,
        bodies: Mutex::default(),
        permits: Mutex::default(),
        keep_permits,
        ready: true.into(),
    });
    let budget = ByteBudget::new(config.max_in_flight_bytes);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut ports = Vec::new();
    for grpc in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap());
        let (config, budget, ingest, auth, mut stopped) =
            (config.clone(), budget.clone(), ingest.clone(), auth.clone(), stopped.clone());
        tokio::spawn(async move {
            let shutdown = async move { drop(stopped.wait_for(|s| *s).await) };
            if grpc {
                serve_grpc(listener, &config, budget, ingest, auth, shutdown).await;
            } else {
                serve_http(listener, &config, budget, ingest, auth, shutdown).await;
            }
        });
    }
    Ports { http: ports[0], grpc: ports[1], ingest, budget, stop: Some(stop) }
}

async fn start(config: ReceiveConfig) -> Ports {
    start_with(config, Ok(Accepted::default()), None, false).await
}

fn small() -> ReceiveConfig {
    ReceiveConfig { max_message_bytes: 100_000, ..ReceiveConfig::default() }
}

fn request(size: usize) -> ExportMetricsServiceRequest {
    let group = ResourceMetrics { schema_url: "x".repeat(size), ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Answered {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Bytes,
}

async fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answered {
    let mut request = reqwest::Client::new().post(format!("http://{to}{path}")).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    Answered {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
    }
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn http_takes_both_forms_and_all_encodings() {
    let ports = start(small()).await;
    let message = request(50).encode_to_vec();
    for (encoding, body) in
        [("identity", message.clone()), ("gzip", gzip(&message)), ("zstd", zstd::encode_all(&message[..], 1).unwrap())]
    {
        let answered = post(ports.http, "/v1/metrics", &[PROTOBUF, ("content-encoding", encoding)], body).await;
        assert_eq!(answered.status, 200, "{encoding}");
        assert_eq!(answered.headers["content-type"], "application/x-protobuf");
        assert_eq!(
            ExportMetricsServiceResponse::decode(answered.body).unwrap(),
            ExportMetricsServiceResponse::default()
        );
    }
    let json = r#"{"resourceMetrics":[{"schemaUrl":"s"}]}"#;
    let answered = post(ports.http, "/v1/metrics", &[JSON], json).await;
    assert_eq!((answered.status, &answered.body[..]), (200, &b"{}"[..]));
    assert_eq!(answered.headers["content-type"], "application/json");
    let bodies = ports.ingest.bodies.lock().clone();
    assert_eq!(bodies.len(), 4);
    assert!(bodies[..3].iter().all(|body| *body == message));
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn http_says_what_was_wrong() {
    let ports = start(small()).await;
    let bomb = vec![0_u8; 5_000_000];
    let message = request(50).encode_to_vec();
    let zip = ("content-encoding", "gzip");
    let zstandard = ("content-encoding", "zstd");
    let invalid_utf8 = [0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe];
    type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16, i32);
    let cases: [Case; 11] = [
        ("truncated", vec![PROTOBUF], message[..message.len() - 1].to_vec(), 400, 3),
        ("not UTF-8", vec![PROTOBUF], invalid_utf8.to_vec(), 400, 3),
        ("cut gzip", vec![PROTOBUF, zip], gzip(&message)[..20].to_vec(), 400, 3),
        ("not gzip", vec![PROTOBUF, zip], message.clone(), 400, 3),
        ("not zstd", vec![PROTOBUF, zstandard], message.clone(), 400, 3),
        ("gzip bomb", vec![PROTOBUF, zip], gzip(&bomb), 413, 8),
        ("zstd bomb", vec![PROTOBUF, zstandard], zstd::encode_all(&bomb[..], 1).unwrap(), 413, 8),
        ("too large", vec![PROTOBUF], request(200_000).encode_to_vec(), 413, 8),
        ("no content type", Vec::new(), message.clone(), 415, 3),
        ("wrong content type", vec![("content-type", "text/plain")], message.clone(), 415, 3),
        ("wrong compression", vec![PROTOBUF, ("content-encoding", "br")], message.clone(), 415, 3),
    ];
    for (name, headers, body, status, code) in cases {
        let answered = post(ports.http, "/v1/metrics", &headers, body).await;
        assert_eq!(answered.status, status, "{name}");
        assert_eq!(answered.headers["content-type"], "application/x-protobuf", "{name}");
        let message = tonic_code(&answered.body);
        assert_eq!(message.0, code, "{name}");
        assert!(!message.1.is_empty(), "{name}");
    }
    let answered = post(ports.http, "/v1/metrics", &[JSON], "{").await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!((answered.status, &json["code"]), (400, &3.into()));
    assert!(ports.ingest.bodies.lock().is_empty());
    assert_eq!(ports.budget.used(), 0, "refused requests give their bytes back");
}

/// A sender that reads nothing before it has sent all would see a reset, and no reason, if the connection ended first.
#[tokio::test]
async fn a_refusal_waits_for_the_rest_of_the_body() {
    let ports = start(small()).await;
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let body = vec![b'x'; 8 << 20];
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        let head = format!(
            "POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for part in body.chunks(2 << 20) {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}

/// Code and message of a `google.rpc.Status`.
fn tonic_code(body: &[u8]) -> (i32, String) {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    let status = Status::decode(body).unwrap();
    (status.code, status.message)
}

#[tokio::test]
async fn other_signals_paths_and_methods() {
    let ports = start(small()).await;
    for path in ["/v1/traces", "/v1/logs", "/", "/v1/metrics/"] {
        assert_eq!(post(ports.http, path, &[PROTOBUF], "").await.status, 404, "{path}");
    }
    let got = reqwest::get(format!("http://{}/v1/metrics", ports.http)).await.unwrap();
    assert_eq!(got.status(), 405);
    assert_eq!(got.headers()["allow"], "POST");
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", ports.grpc)).unwrap().connect().await.unwrap();
    let mut logs = tonic::client::Grpc::new(channel);
    logs.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let codec = tonic_prost_codec();
    let status =
        logs.unary(tonic::Request::new(ExportMetricsServiceRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("only metrics"), "{}", status.message());
}

#[tokio::test]
async fn partial_success_and_refusals_in_both_forms() {
    let rejected = Accepted { rejected: 3, reason: "3 points without a time".into() };
    let ports = start_with(small(), Ok(rejected), None, false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    let partial = ExportMetricsServiceResponse::decode(answered.body).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (3, "3 points without a time"));
    let answered = post(ports.http, "/v1/metrics", &[JSON], "{}").await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "3");
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let response = client.export(request(1)).await.unwrap().into_inner();
    assert_eq!(response.partial_success.unwrap().rejected_data_points, 3);

    let overloaded = Refusal::Overloaded { retry_after: Duration::from_millis(2500) };
    let ports = start_with(small(), Err(overloaded), None, false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    assert_eq!((answered.status, &answered.headers["retry-after"]), (429, &"3".parse().unwrap()));
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));

    let ports =
        start_with(small(), Err(Refusal::LogUnavailable(LogError::Io("the disk is full".into()))), None, false).await;
    assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], "").await.status, 503);
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    assert_eq!(client.export(request(1)).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn grpc_with_every_compression_on_one_connection() {
    let ports = start(small()).await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", ports.grpc)).unwrap().connect().await.unwrap();
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = MetricsServiceClient::new(channel.clone());
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        for _ in 0..20 {
            client.export(request(500)).await.unwrap();
        }
    }
    let bodies = ports.ingest.bodies.lock().clone();
    assert_eq!(bodies.len(), 60);
    assert!(bodies.iter().all(|body| *body == request(500).encode_to_vec()));
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn grpc_says_what_was_wrong() {
    let ports = start(small()).await;
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(200_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{}", status.message());
    let mut zipped = client.clone().send_compressed(CompressionEncoding::Gzip);
    let status = zipped.export(request(5_000_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "a bomb: {}", status.message());
    // Raw frames: a message that ends early, one that is not gzip, one that is not UTF-8.
    let with_length = |flag: u8, len: u32, bytes: &[u8]| [&[flag][..], &len.to_be_bytes(), bytes].concat();
    for (name, encoding, body, code) in [
        ("truncated frame", "identity", with_length(0, 100, b"x"), "3"),
        ("truncated message", "identity", with_length(0, 2, &[0x0a, 0x05]), "3"),
        ("not gzip", "gzip", with_length(1, 4, b"nope"), "3"),
        ("not UTF-8", "identity", with_length(0, 6, &[0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe]), "3"),
        ("wrong compression", "br", with_length(1, 4, b"nope"), "12"),
        ("nothing", "identity", Vec::new(), "3"),
    ] {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let url = format!("http://{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", ports.grpc);
        let request = client.post(url).header("content-type", "application/grpc").header("grpc-encoding", encoding);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.headers()["grpc-status"], code, "{name}: {:?}", response.headers());
    }
    client.export(request(1)).await.unwrap();
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let auth = Arc::new(Auth::from_secret(b"a secret of thirty-two bytes or more").unwrap());
    let ports = start_with(small(), Ok(Accepted::default()), Some(auth), false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    assert_eq!((answered.status, &answered.headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF, ("authorization", "Bearer nonsense")], "").await;
    assert_eq!(answered.status, 401);
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    assert_eq!(client.export(request(1)).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(ports.ingest.bodies.lock().is_empty());
}

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let config = ReceiveConfig { max_in_flight_bytes: 25_000, ..small() };
    let ports = start_with(config, Ok(Accepted::default()), None, true).await;
    let body = request(10_000).encode_to_vec();
    for _ in 0..2 {
        assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], body.clone()).await.status, 200);
    }
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], body.clone()).await;
    assert_eq!((answered.status, &answered.headers["retry-after"]), (429, &"1".parse().unwrap()));
    let zipped = post(ports.http, "/v1/metrics", &[PROTOBUF, ("content-encoding", "gzip")], gzip(&body)).await;
    assert_eq!(zipped.status, 429);
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(10_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));
    // What is evaluated gives its bytes back.
    ports.ingest.permits.lock().clear();
    assert_eq!(ports.budget.used(), 0);
    assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], body).await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let config = ReceiveConfig { header_timeout_seconds: 1, body_timeout_seconds: 1, ..small() };
    let ports = start(config).await;
    let mut head = TcpStream::connect(ports.http).await.unwrap();
    head.write_all(b"POST /v1/metrics HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut body = TcpStream::connect(ports.http).await.unwrap();
    let start =
        b"POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nabc";
    body.write_all(start).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), body.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    text.clear();
    let _ = tokio::time::timeout(Duration::from_secs(5), head.read_to_string(&mut text)).await.unwrap();
}

#[tokio::test]
async fn many_requests_on_one_connection_and_a_graceful_end() {
    let mut ports = start(small()).await;
    let mut stream = TcpStream::connect(ports.http).await.unwrap();
    let one = b"POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    for _ in 0..10 {
        stream.write_all(one).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"{}") {
            let mut part = [0; 1024];
            let n = stream.read(&mut part).await.unwrap();
            assert!(n > 0);
            seen.extend_from_slice(&part[..n]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
    }
    assert!(ports.stop.take().is_some_and(|stop| stop.send(true).is_ok()));
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0);
    assert!(TcpStream::connect(ports.http).await.is_err());
}

/// Sends text as it is over one connection and gives what comes back until the other side is silent or done.
async fn raw(to: SocketAddr, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut seen = Vec::new();
    for part in parts {
        stream.write_all(part).await.unwrap();
        let mut some = [0; 4096];
        while let Ok(Ok(n @ 1..)) = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut some)).await {
            seen.extend_from_slice(&some[..n]);
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// A zstd frame of one raw block that asks for a window of `1 << log` bytes.
fn zstd_frame(log: u8, content: &[u8]) -> Vec<u8> {
    let head = u32::try_from(content.len() << 3 | 1).unwrap().to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3][..], &head[..3], content].concat()
}

fn framed(flag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Status, and what the headers or trailers say of gRPC's.
async fn call(to: SocketAddr, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, reqwest::header::HeaderMap) {
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{to}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
    let mut request = client.post(url).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.headers().clone())
}

#[tokio::test]
async fn encodings_as_http_has_them() {
    let ports = start(small()).await;
    let message = request(50).encode_to_vec();
    let zipped = gzip(&message);
    let twice = zstd::encode_all(&zipped[..], 1).unwrap();
    let (head, tail) = message.split_at(20);
    type Case<'a> = (&'a str, &'a [&'a str], Vec<u8>, u16);
    let cases: [Case<'_>; 19] = [
        ("x-gzip", &["x-gzip"], zipped.clone(), 200),
        ("upper case", &["GZIP"], zipped.clone(), 200),
        ("a list", &["identity, gzip"], zipped.clone(), 200),
        ("a list with nothing in it", &["gzip, ,"], zipped.clone(), 200),
        ("two lines", &["identity", "gzip"], zipped.clone(), 200),
        ("two encodings in a list", &["gzip, zstd"], twice.clone(), 200),
        ("two encodings in lines", &["gzip", "zstd"], twice.clone(), 200),
        ("two encodings in the wrong order", &["zstd, gzip"], twice, 400),
        ("one that is not known, last", &["gzip", "br"], zipped.clone(), 415),
        ("too many", &["gzip, gzip, gzip, gzip"], zipped.clone(), 415),
        ("gzip in two members", &["gzip"], [gzip(head), gzip(tail)].concat(), 200),
        ("zstd in two frames", &["zstd"], [zstd_frame(17, head), zstd_frame(17, tail)].concat(), 200),
        ("garbage behind gzip", &["gzip"], [&zipped[..], b"x"].concat(), 400),
        ("garbage behind zstd", &["zstd"], [&zstd_frame(17, &message)[..], b"xyz"].concat(), 400),
        ("zstd cut off before it begins", &["zstd"], Vec::new(), 400),
        ("gzip cut off before it begins", &["gzip"], Vec::new(), 400),
        ("a zstd window of 8 MiB", &["zstd"], zstd_frame(23, &message), 200),
        ("a zstd window of 128 MiB", &["zstd"], zstd_frame(27, &message), 200),
        ("a zstd window of 256 MiB", &["zstd"], zstd_frame(28, &message), 400),
    ];
    let mut taken = 0;
    for (name, encodings, body, status) in &cases {
        let mut headers = vec![PROTOBUF];
        headers.extend(encodings.iter().map(|encoding| ("content-encoding", *encoding)));
        let answered = post(ports.http, "/v1/metrics", &headers, body.clone()).await;
        assert_eq!(answered.status, *status, "{name}: {:?}", tonic_code(&answered.body));
        taken += usize::from(*status == 200);
        if *status == 415 {
            assert_eq!(answered.headers["accept-encoding"], "gzip, zstd", "{name}");
        }
    }
    // gRPC takes one of them, the same way.
    for (name, encodings, body, status) in
        cases.iter().filter(|(_, encodings, ..)| matches!(encodings, &["gzip" | "zstd"]))
    {
        let (_, headers) = call(ports.grpc, &[("grpc-encoding", encodings[0])], framed(1, body)).await;
        let refused = headers.get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
        assert_eq!(refused.as_deref(), (*status != 200).then_some("3"), "{name}");
        taken += usize::from(*status == 200);
    }
    let bodies = ports.ingest.bodies.lock().clone();
    assert_eq!(bodies.len(), taken);
    assert!(bodies.iter().all(|body| *body == message), "every member is read");
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_not_taken() {
    let ports = start(small()).await;
    let begin = "POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for rest in ["transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "content-length: 3\r\n\r\n{}"] {
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(format!("{begin}{rest}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{rest}: {answer}");
    }
    let answer =
        raw(ports.http, &[format!("{begin}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "whole: {answer}");
    assert_eq!(ports.ingest.bodies.lock().len(), 1);
}

#[tokio::test]
async fn a_unary_call_has_one_message() {
    let ports = start(small()).await;
    let message = request(50).encode_to_vec();
    let one = framed(0, &message);
    for (name, headers, body, code) in [
        ("two messages", vec![], [&one[..], &one].concat(), "12"),
        ("an empty one behind", vec![], [&one[..], &framed(0, b"")].concat(), "12"),
        ("an empty one before", vec![], [&framed(0, b"")[..], &one].concat(), "12"),
        ("half a head behind", vec![], [&one[..], &[0, 0]].concat(), "12"),
        ("compressed, and nobody says how", vec![], framed(1, &gzip(&message)), "13"),
        ("compressed as identity", vec![("grpc-encoding", "identity")], framed(1, &message), "13"),
        ("a flag that does not exist", vec![], framed(2, &message), "13"),
        ("nothing", vec![], Vec::new(), "3"),
        ("half a head", vec![], vec![0, 0], "3"),
    ] {
        let (status, headers) = call(ports.grpc, &headers, body).await;
        assert_eq!((status, &headers["grpc-status"]), (200, &code.parse().unwrap()), "{name}");
        assert!(!headers["grpc-message"].is_empty(), "{name}");
    }
    assert!(ports.ingest.bodies.lock().is_empty(), "nothing of them is taken");
    assert_eq!(ports.budget.used(), 0);
    // Not compressed although a compression is agreed on: each message says for itself.
    let (_, headers) = call(ports.grpc, &[("grpc-encoding", "gzip")], one).await;
    assert_eq!(headers.get("grpc-status"), None, "success is in the trailers");
    assert_eq!(*ports.ingest.bodies.lock(), [Bytes::from(message)]);
}

#[tokio::test]
async fn who_waits_for_continue_gets_the_final_answer_without_a_body() {
    let config = ReceiveConfig { body_timeout_seconds: 1, ..small() };
    let ports = start(config).await;
    let head =
        |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{more}\r\n");
    let json = "content-type: application/json\r\n";
    for (path, more, status) in [
        ("/wrong", format!("{json}content-length: 2\r\n"), 404),
        ("/v1/traces", format!("{json}transfer-encoding: chunked\r\n"), 404),
        ("/v1/metrics", "content-type: text/plain\r\ncontent-length: 2\r\n".to_owned(), 415),
        ("/v1/metrics", format!("{json}content-length: 200000\r\n"), 413),
    ] {
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(head(path, &more).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{path}");
        assert!(begun.elapsed() < Duration::from_millis(900), "{path}");
        // A client that sends the body all the same reads its answer to the end, and is not reset.
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.to_lowercase().contains("connection: close"), "{path}: {rest}");
    }
    // To the right place it is told to go on.
    let whole =
        raw(ports.http, &[head("/v1/metrics", &format!("{json}content-length: 2\r\n")).as_bytes(), b"{}"]).await;
    assert!(whole.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{whole}");
}

#[tokio::test]
async fn heads_are_large_and_bounded() {
    let ports = start(small()).await;
    let body = framed(0, b"");
    let long = "m".repeat(20 * 1024);
    assert_eq!(call(ports.grpc, &[("x-metadata", &long)], body.clone()).await.1.get("grpc-status"), None);
    let answered = post(ports.http, "/v1/metrics", &[JSON, ("x-long", &long)], "{}").await;
    assert_eq!(answered.status, 200);
    let names: Vec<String> = (0..900).map(|at| format!("x-{at}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(JSON);
    assert_eq!(post(ports.http, "/v1/metrics", &many, "{}").await.status, 200);
    many.pop();
    assert_eq!(call(ports.grpc, &many, body.clone()).await.1.get("grpc-status"), None);
    // Beyond the bounds it is said.
    let names: Vec<String> = (0..1_100).map(|at| format!("x-{at}")).collect();
    let mut more: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    more.push(JSON);
    assert_eq!(post(ports.http, "/v1/metrics", &more, "{}").await.status, 431);
    let longer = "m".repeat(160 * 1024);
    assert_eq!(post(ports.http, "/v1/metrics", &[JSON, ("x-long", &longer)], "{}").await.status, 431);
    assert_eq!(call(ports.grpc, &[("x-metadata", &longer)], body).await.0, 431);
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_in_http() {
    let ports = start(small()).await;
    let url = format!("http://{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", ports.grpc);
    for (method, content, status, told) in [
        ("POST", Some("application/grpc-web"), 415, "gRPC-Web is not taken here"),
        ("POST", Some("application/grpc-web-text+proto"), 415, "gRPC-Web is not taken here"),
        ("POST", Some("application/grpc+json"), 415, "gRPC with protobuf"),
        ("POST", Some("application/x-protobuf"), 415, "OTLP/HTTP goes to the other port"),
        ("POST", None, 415, "OTLP/HTTP goes to the other port"),
        ("GET", None, 405, "POST only"),
        ("OPTIONS", None, 405, "POST only"),
    ] {
        for http2 in [false, true] {
            let mut client = reqwest::Client::builder();
            if http2 {
                client = client.http2_prior_knowledge();
            }
            let mut request = client.build().unwrap().request(method.parse().unwrap(), &url);
            if let Some(content) = content {
                request = request.header("content-type", content);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {content:?}");
            assert_eq!(response.headers().get("allow").is_some(), status == 405, "{method} {content:?}");
            assert!(response.text().await.unwrap().contains(told), "{method} {content:?}");
        }
    }
    let web = post(ports.http, "/v1/metrics", &[("content-type", "application/grpc-web+proto")], "").await;
    assert_eq!(web.status, 415);
    assert!(tonic_code(&web.body).1.contains("gRPC-Web is not taken"));
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let answer = reqwest::Client::new()
            .request(method.parse().unwrap(), format!("http://{}/v1/metrics", ports.http))
            .send()
            .await
            .unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()), "{method}");
    }
    assert!(ports.ingest.bodies.lock().is_empty());
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send() {
    let auth = Arc::new(Auth::from_secret(b"a secret of thirty-two bytes or more").unwrap());
    let cors = crate::net::CorsConfig {
        allowed_origins: vec!["https://app.example.com".into(), "http://localhost:3000".into()],
        allowed_headers: vec!["x-api-key".into()],
        ..Default::default()
    };
    let with_cors = start_with(ReceiveConfig { cors, ..small() }, Ok(Accepted::default()), Some(auth), false).await;
    let without = start(small()).await;
    let ask = |to: SocketAddr, method: &'static str, origin: &'static str| async move {
        reqwest::Client::new()
            .request(method.parse().unwrap(), format!("http://{to}/v1/metrics"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .header("content-type", "application/json")
            .body(if method == "POST" { "{}" } else { "" })
            .send()
            .await
            .unwrap()
    };
    let preflight = ask(with_cors.http, "OPTIONS", "http://localhost:3000").await;
    assert!(preflight.status().is_success(), "without a token: {}", preflight.status());
    assert_eq!(preflight.headers()["access-control-allow-origin"], "http://localhost:3000");
    let headers = preflight.headers()["access-control-allow-headers"].to_str().unwrap();
    for name in ["authorization", "content-type", "content-encoding", "x-correlation-id", "x-api-key", "traceparent"] {
        assert!(headers.split(',').any(|one| one.trim() == name), "{name}: {headers}");
    }
    assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert_eq!(preflight.headers()["access-control-max-age"], "600");
    // An error is marked too, or the page could not read it.
    let refused = ask(with_cors.http, "POST", "https://app.example.com").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(refused.headers()["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    assert!(refused.headers()["vary"].to_str().unwrap().contains("origin"));
    for method in ["OPTIONS", "POST"] {
        let other = ask(with_cors.http, method, "https://evil.example").await;
        assert_eq!(other.headers().get("access-control-allow-origin"), None, "{method}");
        assert!(other.headers()["vary"].to_str().unwrap().contains("origin"), "{method}");
    }
    let off = ask(without.http, "OPTIONS", "https://app.example.com").await;
    assert_eq!((off.status().as_u16(), off.headers().get("access-control-allow-origin")), (405, None));
}

#[tokio::test]
async fn health_follows_the_service() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let auth = Arc::new(Auth::from_secret(b"a secret of thirty-two bytes or more").unwrap());
    let mut ports = start_with(small(), Ok(Accepted::default()), Some(auth), false).await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", ports.grpc)).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "opentelemetry.proto.collector.metrics.v1.MetricsService"] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}, without a token");
    }
    assert_eq!(client.check(of("other")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = client.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    for (ready, expect) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        ports.ingest.ready.store(ready, std::sync::atomic::Ordering::Relaxed);
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
            let status = next.expect("it is told").unwrap().unwrap().status();
            if status == expect {
                break;
            }
        }
        assert_eq!(client.check(of("")).await.unwrap().into_inner().status(), expect);
    }
    // A watch does not hold the service up when it stops.
    let begun = std::time::Instant::now();
    assert!(ports.stop.take().is_some_and(|stop| stop.send(true).is_ok()));
    let mut last = None;
    while let Ok(Some(answer)) = watch.message().await {
        last = Some(answer.status());
    }
    assert!(last.is_none_or(|status| status == ServingStatus::NotServing));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn points_that_json_cannot_say_are_in_the_answer() {
    let rejected = Accepted { rejected: 3, reason: "3 points without a time".into() };
    let ports = start_with(small(), Ok(rejected), None, false).await;
    let body = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [
        {"asInt": 1}, {"asDouble": "x"}]}}]}]}]}"#;
    let answered = post(ports.http, "/v1/metrics", &[JSON], body).await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!((answered.status, &json["partialSuccess"]["rejectedDataPoints"]), (200, &"4".into()));
    let expect = "1 points of metric \"m\": dataPoints.asDouble is \"x\", not a double; 3 points without a time";
    assert_eq!(json["partialSuccess"]["errorMessage"], expect);
    // Many bytes out of few characters count as what they become.
    let zeros = "0,".repeat(40_000);
    let point = format!(r#"{{"bucketCounts": [{zeros}0]}}"#);
    let large = format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"histogram": {{"dataPoints": [{point}]}}}}]}}]}}]}}"#
    );
    assert!(large.len() < 100_000);
    assert_eq!(post(ports.http, "/v1/metrics", &[JSON], large).await.status, 413);
    assert_eq!(ports.budget.used(), 0);
}

/// A codec for any pair of prost messages, as generated clients have it.
fn tonic_prost_codec()
-> impl tonic::codec::Codec<Encode = ExportMetricsServiceRequest, Decode = ExportMetricsServiceResponse> {
    struct Plain;
    struct Out;
    struct In;
    impl tonic::codec::Codec for Plain {
        type Encode = ExportMetricsServiceRequest;
        type Decode = ExportMetricsServiceResponse;
        type Encoder = Out;
        type Decoder = In;
        fn encoder(&mut self) -> Out {
            Out
        }
        fn decoder(&mut self) -> In {
            In
        }
    }
    impl tonic::codec::Encoder for Out {
        type Item = ExportMetricsServiceRequest;
        type Error = tonic::Status;
        fn encode(&mut self, item: Self::Item, out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
            item.encode(out).map_err(|e| tonic::Status::internal(e.to_string()))
        }
    }
    impl tonic::codec::Decoder for In {
        type Item = ExportMetricsServiceResponse;
        type Error = tonic::Status;
        fn decode(&mut self, source: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Self::Item>, tonic::Status> {
            ExportMetricsServiceResponse::decode(source).map(Some).map_err(|e| tonic::Status::internal(e.to_string()))
        }
    }
    Plain
}
