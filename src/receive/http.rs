//! OTLP/HTTP: `POST /v1/metrics`, protobuf or JSON.

use super::body::{Limits, drain};
use super::compression::Encoding;
use super::decode::{Arrived, Decoder, Form};
use super::{Accepted, ExportHandler, ReceiveConfig, count, foreign, permitted};
use crate::auth::Auth;
use crate::net::{
    ByteBudget, HostCheck, MOST_HEAD_BYTES, Refusal, RequestHandler, Workers, head_bytes, waits_for_continue,
};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message as _;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::{Layer as _, Service as _};
use tower_http::cors::CorsLayer;
use vitals_core::caller::Caller;

/// The media type of a request, which its answer has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MediaType {
    Protobuf,
    Json,
}

impl MediaType {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        let name = value.split(|b| *b == b';').next()?.trim_ascii();
        if name.eq_ignore_ascii_case(b"application/x-protobuf") {
            Some(Self::Protobuf)
        } else if name.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// The service on the HTTP port.
pub struct Http<H> {
    decoder: Decoder<H>,
    auth: Option<Arc<Auth>>,
    budget: Arc<ByteBudget>,
    limits: Limits,
    cors: Option<CorsLayer>,
    hosts: HostCheck,
}

/// The outcome of a request.
struct Outcome {
    result: Result<Accepted, Refusal>,
    /// Whether the body was begun to be read, so that a client that waits for `100 Continue` was told to send it.
    body_begun: bool,
}

impl Outcome {
    /// A request that is refused by its head.
    fn refused(refusal: Refusal) -> Self {
        Self { result: Err(refusal), body_begun: false }
    }
}

impl<H: ExportHandler> Http<H> {
    /// A service with the limits of `config`.
    pub fn new(
        config: &ReceiveConfig,
        address: Option<SocketAddr>,
        budget: Arc<ByteBudget>,
        workers: Arc<Workers>,
        handler: Arc<H>,
        auth: Option<Arc<Auth>>,
    ) -> Self {
        let (limits, cors) = (Limits::new(config), config.cors.layer("receive.cors"));
        let hosts = HostCheck::new(address, &config.allowed_hosts);
        Self { decoder: Decoder::new(handler, workers, limits), auth, budget, limits, cors, hosts }
    }

    async fn metrics(&self, peer: SocketAddr, head: &Parts, body: &mut Incoming) -> Outcome {
        let (caller, media, encodings) = match self.admitted(head) {
            Ok(admitted) => admitted,
            Err(refusal) => return Outcome::refused(refusal),
        };
        let mut permit = self.budget.permit_of(peer.ip());
        let result = match self.limits.read(body, 0, &mut permit).await {
            Ok(body) => {
                let form = Form { encodings, json: media == MediaType::Json };
                self.decoder.take(Arrived { caller, peer, form, body, permit }).await
            }
            Err(refusal) => {
                // Refusal by its length alone when nothing was counted yet.
                let body_begun = !matches!(refusal, Refusal::BodyTooLarge { .. }) || permit.bytes() > 0;
                return Outcome { result: Err(refusal), body_begun };
            }
        };
        Outcome { result, body_begun: true }
    }

    /// Reads the head of a request: who sends it, and what its body is.
    fn admitted(&self, head: &Parts) -> Result<(Caller, MediaType, Vec<Encoding>), Refusal> {
        if let Some(refusal) = foreign(&self.hosts, self.auth.as_deref(), head) {
            return Err(refusal);
        }
        if head.method != Method::POST {
            return Err(Refusal::MethodNotAllowed("use POST"));
        }
        let token = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = permitted(self.auth.as_deref(), token)?;
        let media = MediaType::of(&head.headers).ok_or_else(|| {
            Refusal::UnsupportedMediaType(if is_grpc(&head.headers) {
                "this port takes OTLP/HTTP, application/x-protobuf or application/json; gRPC goes to the other port (receive.grpc), \
                 and gRPC-Web is not taken"
            } else {
                "content-type must be application/x-protobuf or application/json"
            })
        })?;
        let encodings = Encoding::all(head.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes))
            .ok_or(Refusal::UnsupportedMediaType("content-encoding must be gzip, zstd or identity"))?;
        Ok((caller, media, encodings))
    }

    async fn answered(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // Answers are in the request's form; protobuf when it cannot be told.
        let media = MediaType::of(request.headers()).unwrap_or(MediaType::Protobuf);
        let (head, mut body) = request.into_parts();
        let outcome = match head.uri.path() {
            // The server of both HTTP versions has a bound on its buffer only, which may be exceeded before it is looked at.
            _ if head.version < Version::HTTP_2 && head_bytes(&head) > MOST_HEAD_BYTES => {
                Outcome::refused(Refusal::HeadTooLarge)
            }
            "/v1/metrics" => self.metrics(peer, &head, &mut body).await,
            "/v1/traces" | "/v1/logs" | "/v1development/profiles" => {
                let message = "only metrics are taken here; send them to /v1/metrics";
                Outcome::refused(Refusal::UnsupportedSignal(message))
            }
            _ => Outcome::refused(Refusal::NotFound("there is only POST /v1/metrics here".to_owned())),
        };
        count("http", outcome.result.as_ref().err());
        let refusal = match outcome.result {
            Ok(accepted) => return respond(StatusCode::OK, media, success(media, &accepted)),
            Err(refusal) => refusal,
        };
        let mut response = refused(media, &refusal);
        if outcome.body_begun || !waits_for_continue(&head.headers) {
            drain(&mut body).await;
        } else if head.version < Version::HTTP_2 {
            // The client has not sent the body and need not: on a connection that stays, nobody could tell it from the next request.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl<H: ExportHandler> RequestHandler for Http<H> {
    type Body = Full<Bytes>;

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(cors) = &self.cors else { return self.answered(peer, request).await };
        let plain = tower::service_fn(|request| async { Ok::<_, Infallible>(self.answered(peer, request).await) });
        match cors.layer(plain).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn respond(status: StatusCode, media: MediaType, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media.content_type());
    response
}

fn refused(media: MediaType, refusal: &Refusal) -> Response<Full<Bytes>> {
    let body = match media {
        MediaType::Protobuf => refusal.otlp_protobuf(),
        MediaType::Json => refusal.otlp_json(),
    };
    let mut response = respond(refusal.status(), media, body);
    let headers = response.headers_mut();
    if let Some(delay) = refusal.retry_after() {
        // Whole seconds, at least one.
        let seconds = delay.as_millis().div_ceil(1000).max(1);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            headers.insert(RETRY_AFTER, value);
        }
    }
    match refusal.status() {
        StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            drop(headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")));
        }
        _ => {}
    }
    response
}

/// The message that tells the sender what was taken.
pub fn response(accepted: &Accepted) -> ExportMetricsServiceResponse {
    let partial_success = (accepted.rejected > 0 || !accepted.reason.is_empty()).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
        error_message: accepted.reason.clone(),
    });
    ExportMetricsServiceResponse { partial_success }
}

fn success(media: MediaType, accepted: &Accepted) -> Vec<u8> {
    let message = response(accepted);
    match (media, message.partial_success) {
        (MediaType::Protobuf, partial_success) => ExportMetricsServiceResponse { partial_success }.encode_to_vec(),
        (MediaType::Json, None) => b"{}".to_vec(),
        // 64-bit integers are strings in protobuf's JSON.
        (MediaType::Json, Some(partial)) => serde_json::json!({ "partialSuccess": {
            "rejectedDataPoints": partial.rejected_data_points.to_string(),
            "errorMessage": partial.error_message,
        }})
        .to_string()
        .into_bytes(),
    }
}
