//! Both ports over real sockets.

use super::{Accepted, Budget, Ingest, ReceiveConfig, Refused, serve_grpc, serve_http};
use crate::auth::Auth;
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

/// Answers what it is told, after a strict decoder looked at the bytes.
struct Decoding {
    answer: Result<Accepted, Refused>,
    bodies: Mutex<Vec<Bytes>>,
    permits: Mutex<Vec<Box<dyn Send>>>,
    keep_permits: bool,
}

impl Ingest for Decoding {
    async fn ingest(&self, _: Caller, _: SocketAddr, body: Bytes, permit: Box<dyn Send>) -> Result<Accepted, Refused> {
        ExportMetricsServiceRequest::decode(body.clone()).map_err(|e| Refused::Malformed(e.to_string()))?;
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
    budget: Arc<Budget>,
    stop: Option<tokio::sync::watch::Sender<bool>>,
}

async fn start_with(
    config: ReceiveConfig,
    answer: Result<Accepted, Refused>,
    auth: Option<Arc<Auth>>,
    keep_permits: bool,
) -> Ports {
    let ingest = Arc::new(Decoding { answer, bodies: Mutex::default(), permits: Mutex::default(), keep_permits });
    let budget = Budget::new(config.max_in_flight_bytes);
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

#[test]
fn only_loopback_without_tokens() {
    for (address, allowed) in [
        ("127.0.0.1:4317", true),
        ("[::1]:4317", true),
        ("localhost:4317", true),
        ("0.0.0.0:4317", false),
        ("10.1.2.3:4317", false),
        ("example.com:4317", false),
    ] {
        let config = ReceiveConfig { grpc: address.to_owned(), ..ReceiveConfig::default() };
        assert_eq!(config.check(false).is_ok(), allowed, "{address}");
        assert!(config.check(true).is_ok());
        assert!(ReceiveConfig { insecure: true, ..config }.check(false).is_ok());
    }
}

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

    let overloaded = Refused::Overloaded { retry_after: Duration::from_millis(2500) };
    let ports = start_with(small(), Err(overloaded), None, false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    assert_eq!((answered.status, &answered.headers["retry-after"]), (429, &"3".parse().unwrap()));
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));

    let ports = start_with(small(), Err(Refused::Unavailable("the disk is full".into())), None, false).await;
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
    let framed = |flag: u8, len: u32, bytes: &[u8]| [&[flag][..], &len.to_be_bytes(), bytes].concat();
    for (name, encoding, body, code) in [
        ("truncated frame", "identity", framed(0, 100, b"x"), "3"),
        ("truncated message", "identity", framed(0, 2, &[0x0a, 0x05]), "3"),
        ("not gzip", "gzip", framed(1, 4, b"nope"), "3"),
        ("not UTF-8", "identity", framed(0, 6, &[0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe]), "3"),
        ("wrong compression", "br", framed(1, 4, b"nope"), "12"),
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
