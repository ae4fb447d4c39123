//! OTLP/gRPC: `MetricsService/Export`, a unary call whose one message is read as bytes and handed on as it came; and the
//! health of the service.
//!
//! The framing is read here and not by `tonic`: that reads only the first member of a gzip stream, and passes over messages
//! behind the first, both with OK.

use super::body::Limits;
use super::compression::Encoding;
use super::decode::{Arrived, Decoder, Form};
use super::http::response;
use super::{Accepted, ExportHandler, ReceiveConfig, count, foreign, permitted};
use crate::auth::Auth;
use crate::net::{ByteBudget, HostCheck, Refusal, RequestHandler, Workers};
use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message as _;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const HEALTH: &str = "/grpc.health.v1.Health/";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// A frame's flag and length.
const FRAME_HEAD: usize = 5;

/// The service on the gRPC port.
pub struct Grpc<H> {
    decoder: Decoder<H>,
    auth: Option<Arc<Auth>>,
    budget: Arc<ByteBudget>,
    limits: Limits,
    health: HealthServer<HealthService>,
    hosts: HostCheck,
}

impl<H: ExportHandler> Grpc<H> {
    /// A service with the limits of `config`.
    pub fn new(
        config: &ReceiveConfig,
        address: Option<SocketAddr>,
        budget: Arc<ByteBudget>,
        workers: Arc<Workers>,
        handler: Arc<H>,
        auth: Option<Arc<Auth>>,
        health: HealthReporter,
    ) -> Self {
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        let (limits, hosts) = (Limits::new(config), HostCheck::new(address, &config.allowed_hosts));
        Self { decoder: Decoder::new(handler, workers, limits), auth, budget, limits, health, hosts }
    }

    async fn export(&self, peer: SocketAddr, request: Request<Incoming>) -> Result<Accepted, Refusal> {
        let (head, mut body) = request.into_parts();
        // A browser speaks HTTP/2 over TLS only; what clients of gRPC call a host need not be one.
        if let (true, Some(refusal)) =
            (head.version < Version::HTTP_2, foreign(&self.hosts, self.auth.as_deref(), &head))
        {
            return Err(refusal);
        }
        let token = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = permitted(self.auth.as_deref(), token)?;
        let encoding = encoding(&head.headers)?;
        let mut permit = self.budget.permit_of(peer.ip());
        let body = self.limits.read(&mut body, FRAME_HEAD, &mut permit).await?;
        let (encoding, body) = message(encoding, &body)?;
        let form = Form { encodings: vec![encoding], json: false };
        self.decoder.take(Arrived { caller, peer, form, body, permit }).await
    }

    async fn health(&self, request: Request<Incoming>) -> Response<Body> {
        let mut health = self.health.clone();
        // For the request to arrive; a watch answers at once and goes on.
        match tokio::time::timeout(self.limits.timeout(), health.call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => tonic::Status::deadline_exceeded("the message did not arrive in time").into_http(),
        }
    }
}

/// The one message of a unary call, and its compression.
fn message(encoding: Encoding, body: &Bytes) -> Result<(Encoding, Bytes), Refusal> {
    let malformed = |message: &str| Refusal::Malformed(message.to_owned());
    if body.is_empty() {
        return Err(malformed("the call has no message"));
    }
    let Some(&[flag, a, b, c, d]) = body.first_chunk::<FRAME_HEAD>() else {
        return Err(malformed("the message ends inside its head"));
    };
    let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let sent = body.len() - FRAME_HEAD;
    if len > sent {
        return Err(malformed("the message ends before the length that it gives"));
    }
    if len < sent {
        return Err(Refusal::SeveralMessages);
    }
    let message = body.slice(FRAME_HEAD..);
    match flag {
        0 => Ok((Encoding::None, message)),
        1 if encoding == Encoding::None => {
            let message = "the message is flagged as compressed, and there is no grpc-encoding";
            Err(Refusal::InvalidFrame(message.to_owned()))
        }
        1 => Ok((encoding, message)),
        other => Err(Refusal::InvalidFrame(format!("the message has the invalid compression flag {other}"))),
    }
}

/// The compression of messages that are flagged as compressed.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(name) = headers.get(ENCODING) else { return Ok(Encoding::None) };
    let unknown = Refusal::UnsupportedCompression("grpc-encoding must be gzip, zstd or identity");
    Encoding::named(name.as_bytes()).ok_or(unknown)
}

/// The refusal of a request that is not gRPC, which is answered in plain HTTP.
fn not_grpc(method: &Method, headers: &HeaderMap) -> Option<Refusal> {
    let content = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let name = content.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if name.starts_with(b"application/grpc-web") {
        // A preflight has no content type; it is told of the method below.
        let message = "gRPC-Web is not taken here: a page can send OTLP/HTTP to the other port (receive.http)";
        return Some(Refusal::UnsupportedMediaType(message));
    }
    if method != Method::POST {
        return Some(Refusal::MethodNotAllowed("this port takes gRPC, which is POST only"));
    }
    if name == b"application/grpc" || name == b"application/grpc+proto" {
        return None;
    }
    let message =
        "this port takes gRPC with protobuf (application/grpc); OTLP/HTTP goes to the other port (receive.http)";
    Some(Refusal::UnsupportedMediaType(message))
}

fn in_plain_http(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(refusal.to_string()))));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if refusal.status() == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn success(accepted: &Accepted) -> Response<Body> {
    let message = response(accepted);
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + len);
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

impl<H: ExportHandler> RequestHandler for Grpc<H> {
    type Body = Body;

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        if let Some(refusal) = not_grpc(request.method(), request.headers()) {
            count("grpc", Some(&refusal));
            return in_plain_http(&refusal);
        }
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return self.health(request).await;
        }
        let result = match path {
            EXPORT => self.export(peer, request).await,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
                let message =
                    "only metrics are taken here; leave this endpoint out of the pipelines for traces and logs";
                Err(Refusal::UnsupportedSignal(message))
            }
            _ => {
                let message = "there is only MetricsService/Export here, and grpc.health.v1.Health";
                Err(Refusal::UnsupportedSignal(message))
            }
        };
        count("grpc", result.as_ref().err());
        let mut response =
            result.map_or_else(|refusal| refusal.grpc_status().into_http(), |accepted| success(&accepted));
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
        response
    }
}
