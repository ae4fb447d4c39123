//! Both ports over real sockets.

mod bombs;
mod grpc;
mod http;
mod limits;

use super::{Accepted, Committing, ExportHandler, ReceiveConfig, serve_grpc, serve_http};
use crate::auth::Auth;
use crate::net::{ByteBudget, Permit, Refusal, Workers};
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
    answer: Result<Accepted, Refusal>,
    bodies: Mutex<Vec<Bytes>>,
    permits: Mutex<Vec<Permit>>,
    keep_permits: bool,
    ready: std::sync::atomic::AtomicBool,
}

impl ExportHandler for Decoding {
    fn ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn ingest(&self, _: Caller, _: SocketAddr, body: Bytes, permit: Permit) -> Result<Committing, Refusal> {
        ExportMetricsServiceRequest::decode(body.clone()).map_err(|e| Refusal::Malformed(e.to_string()))?;
        self.bodies.lock().push(body);
        if self.keep_permits {
            self.permits.lock().push(permit);
        }
        let answer = self.answer.clone();
        Ok(Box::pin(async { answer }))
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
    let workers = Workers::with_threads(2, 1).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut ports = Vec::new();
    for grpc in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap());
        let (config, budget, workers, ingest, auth, mut stopped) =
            (config.clone(), budget.clone(), workers.clone(), ingest.clone(), auth.clone(), stopped.clone());
        tokio::spawn(async move {
            let shutdown = async move { drop(stopped.wait_for(|s| *s).await) };
            if grpc {
                serve_grpc(listener, &config, budget, workers, ingest, auth, shutdown).await;
            } else {
                serve_http(listener, &config, budget, workers, ingest, auth, shutdown).await;
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

/// A zstd frame of one raw block that asks for a window of `1 << log` bytes.
fn zstd_frame(log: u8, content: &[u8]) -> Vec<u8> {
    let head = u32::try_from(content.len() << 3 | 1).unwrap().to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3][..], &head[..3], content].concat()
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

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

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
    let path = ::http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let codec = tonic_prost_codec();
    let status =
        logs.unary(tonic::Request::new(ExportMetricsServiceRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("only metrics"), "{}", status.message());
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
