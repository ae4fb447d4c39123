//! OTLP/gRPC: `MetricsService/Export`, a unary call whose one message is read as bytes and handed on as it came; and the
//! health of the service.
//!
//! The framing is read here and not by `tonic`: that reads only the first member of a gzip stream, and passes over messages
//! behind the first, both with OK.

use super::body::Limits;
use super::compression::Encoding;
use super::http::response;
use super::server::Answer;
use super::status::Failure;
use super::{Accepted, ExportHandler, ReceiveConfig, counted, permitted};
use crate::auth::Auth;
use crate::web::{Budget, Permit};
use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message as _;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::Code;
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
const HEAD: usize = 5;

/// The service on the gRPC port.
pub struct Rpc<I> {
    ingest: Arc<I>,
    auth: Option<Arc<Auth>>,
    budget: Arc<Budget>,
    limits: Limits,
    health: HealthServer<HealthService>,
}

impl<I: ExportHandler> Rpc<I> {
    /// With the limits of `config`.
    pub fn new(
        config: &ReceiveConfig,
        budget: Arc<Budget>,
        ingest: Arc<I>,
        auth: Option<Arc<Auth>>,
        health: HealthReporter,
    ) -> Self {
        let health = HealthServer::new(HealthService::from_health_reporter(health));
        Self { ingest, auth, budget, limits: Limits::new(config), health }
    }

    async fn export(&self, peer: SocketAddr, request: Request<Incoming>) -> Result<Accepted, Failure> {
        let (head, mut body) = request.into_parts();
        let token = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = permitted(self.auth.as_deref(), token)?;
        let encoding = encoding(&head.headers)?;
        let mut permit = self.budget.permit();
        let body = self.limits.read(&mut body, HEAD, &mut permit).await?;
        let message = self.message(encoding, body, &mut permit)?;
        permit.shrink(message.len());
        Ok(self.ingest.ingest(caller, peer, message, Box::new(permit)).await?)
    }

    /// The one message of a unary call.
    fn message(&self, encoding: Encoding, body: Bytes, permit: &mut Permit) -> Result<Bytes, Failure> {
        let malformed = |message: &str| Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message);
        let protocol = |message: &str| Failure::new(StatusCode::BAD_REQUEST, Code::Internal, message);
        if body.is_empty() {
            return Err(malformed("the call has no message"));
        }
        let Some(&[flag, a, b, c, d]) = body.first_chunk::<HEAD>() else {
            return Err(malformed("the message ends inside its head"));
        };
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let sent = body.len() - HEAD;
        if len > sent {
            return Err(malformed("the message ends before the length that it gives"));
        }
        if len < sent {
            // The statuses of gRPC have this code for a call with another number of messages than its method takes.
            let message = "there is more than one message in a unary call; nothing was taken, send one message a call";
            return Err(Failure::new(StatusCode::BAD_REQUEST, Code::Unimplemented, message));
        }
        let message = body.slice(HEAD..);
        match flag {
            0 => Ok(message),
            1 if encoding == Encoding::None => {
                Err(protocol("the message is flagged as compressed, and there is no grpc-encoding"))
            }
            1 => self.limits.decompress(encoding, message, permit),
            other => Err(protocol(&format!("the message has the invalid compression flag {other}"))),
        }
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

/// How messages that are flagged so are compressed.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let Some(name) = headers.get(ENCODING) else { return Ok(Encoding::None) };
    Encoding::named(name.as_bytes()).ok_or_else(|| {
        let message = "grpc-encoding must be gzip, zstd or identity";
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, message)
    })
}

/// What a client must be told in HTTP because it does not speak gRPC.
fn not_grpc(method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let content = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let name = content.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if name.starts_with(b"application/grpc-web") {
        // Of a preflight there is no content type; it is told of the method below.
        let message = "gRPC-Web is not taken here: a page can send OTLP/HTTP to the other port (receive.http)";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    if method != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "this port takes gRPC, which is POST only"));
    }
    if name == b"application/grpc" || name == b"application/grpc+proto" {
        return None;
    }
    let message =
        "this port takes gRPC with protobuf (application/grpc); OTLP/HTTP goes to the other port (receive.http)";
    Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

fn in_http(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(message.as_bytes()))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn success(accepted: &Accepted) -> Response<Body> {
    let message = response(accepted);
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEAD + len);
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

impl<I: ExportHandler> Answer for Rpc<I> {
    type Body = Body;

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        if let Some((status, message)) = not_grpc(request.method(), request.headers()) {
            counted("grpc", Some(&Failure::new(status, Code::Unimplemented, message)));
            return in_http(status, message);
        }
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return self.health(request).await;
        }
        let unimplemented = |message: &str| Err(Failure::new(StatusCode::NOT_FOUND, Code::Unimplemented, message));
        let result = match path {
            EXPORT => self.export(peer, request).await,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => unimplemented(
                "only metrics are taken here; leave this endpoint out of the pipelines for traces and logs",
            ),
            _ => unimplemented("there is only MetricsService/Export here, and grpc.health.v1.Health"),
        };
        counted("grpc", result.as_ref().err());
        let mut response = result.map_or_else(|failure| failure.grpc().into_http(), |accepted| success(&accepted));
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
        response
    }
}
