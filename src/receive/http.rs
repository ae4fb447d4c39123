//! OTLP/HTTP: `POST /v1/metrics`, protobuf or JSON.

use super::budget::{Budget, Permit};
use super::compression::{CompressionError, Encoding};
use super::json::otlp_json;
use super::server::Answer;
use super::status::Failure;
use super::{Accepted, Ingest, ReceiveConfig, counted, permitted};
use crate::auth::Auth;
use bytes::{Bytes, BytesMut};
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// Bytes of a refused body that are thrown away before the answer: a whole message of the default limit, and some.
const DRAIN_BYTES: usize = 80 << 20;
/// For how long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What a body is written in, and so its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
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
pub struct Http<I> {
    ingest: Arc<I>,
    auth: Option<Arc<Auth>>,
    budget: Arc<Budget>,
    max_message: usize,
    timeout: Duration,
}

impl<I: Ingest> Http<I> {
    /// With the limits of `config`.
    pub fn new(config: &ReceiveConfig, budget: Arc<Budget>, ingest: Arc<I>, auth: Option<Arc<Auth>>) -> Self {
        Self {
            ingest,
            auth,
            budget,
            max_message: config.max_message_bytes,
            timeout: Duration::from_secs(config.body_timeout_seconds.max(1)),
        }
    }

    async fn metrics(&self, peer: SocketAddr, head: &Parts, body: &mut Incoming) -> Result<Accepted, Failure> {
        if head.method != Method::POST {
            return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "use POST"));
        }
        let headers = &head.headers;
        let token = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = permitted(self.auth.as_deref(), token)?;
        let unsupported =
            |message: &str| Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message);
        let form = Form::of(headers)
            .ok_or_else(|| unsupported("content-type must be application/x-protobuf or application/json"))?;
        let encoding = headers.get(CONTENT_ENCODING).map_or(Some(Encoding::None), |v| Encoding::named(v.as_bytes()));
        let encoding = encoding.ok_or_else(|| unsupported("content-encoding must be gzip, zstd or none"))?;
        let mut permit = self.budget.permit();
        let body =
            tokio::time::timeout(self.timeout, self.read(headers, body, &mut permit)).await.map_err(|_| {
                Failure::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, "the body did not arrive in time")
            })??;
        let body = match encoding {
            Encoding::None => body,
            _ => self.decompress(encoding, &body, &mut permit)?,
        };
        let body = match form {
            Form::Protobuf => body,
            Form::Json => {
                let bytes = otlp_json(&body)
                    .map_err(|e| Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, e.to_string()))?;
                Bytes::from(bytes)
            }
        };
        permit.shrink(body.len());
        Ok(self.ingest.ingest(caller, peer, body, Box::new(permit)).await?)
    }

    fn too_large(&self) -> Failure {
        let message = format!("the request is larger than {} bytes; send smaller batches", self.max_message);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
    }

    /// The body's bytes, each counted against the budget before the next is read.
    async fn read(&self, headers: &HeaderMap, body: &mut Incoming, permit: &mut Permit) -> Result<Bytes, Failure> {
        let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|len| len > self.max_message as u64) {
            return Err(self.too_large());
        }
        let broken = |e: hyper::Error| {
            Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, format!("the body cannot be read: {e}"))
        };
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let total = first.len() + more.len() + data.len();
            if total > self.max_message {
                return Err(self.too_large());
            }
            if !permit.reserve(total) {
                return Err(overloaded());
            }
            if first.is_empty() && more.is_empty() {
                // Most bodies come in one piece and are not copied.
                first = data;
                continue;
            }
            if more.is_empty() {
                let left = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(self.max_message);
                more.reserve(total + left.min(4 << 20));
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        Ok(if more.is_empty() { first } else { more.freeze() })
    }

    fn decompress(&self, encoding: Encoding, body: &[u8], permit: &mut Permit) -> Result<Bytes, Failure> {
        let bytes = encoding.decompress(body, self.max_message).map_err(|e| match e {
            CompressionError::TooLarge { .. } => self.too_large(),
            CompressionError::Invalid { .. } => {
                Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, e.to_string())
            }
        })?;
        if !permit.reserve(bytes.len()) {
            return Err(overloaded());
        }
        Ok(Bytes::from(bytes))
    }
}

/// The refusal when the bytes in flight are used up.
pub fn overloaded() -> Failure {
    Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::ResourceExhausted,
            "too many bytes are in flight; try again later",
        )
    }
}

impl<I: Ingest> Answer for Http<I> {
    type Body = Full<Bytes>;

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // Answers are in the request's form; protobuf when it cannot be told.
        let form = Form::of(request.headers()).unwrap_or(Form::Protobuf);
        let (head, mut body) = request.into_parts();
        let result = match head.uri.path() {
            "/v1/metrics" => self.metrics(peer, &head, &mut body).await,
            "/v1/traces" | "/v1/logs" | "/v1development/profiles" => Err(Failure::new(
                StatusCode::NOT_FOUND,
                Code::Unimplemented,
                "only metrics are taken here; send them to /v1/metrics",
            )),
            _ => Err(Failure::new(StatusCode::NOT_FOUND, Code::NotFound, "there is only POST /v1/metrics here")),
        };
        counted("http", result.as_ref().err());
        match result {
            Ok(accepted) => respond(StatusCode::OK, form, success(form, &accepted)),
            Err(failure) => {
                // Nobody waits here when time ran out already; the outcome changes nothing.
                let _ = tokio::time::timeout(DRAIN_TIME, drain(&mut body)).await;
                refusal(form, &failure)
            }
        }
    }
}

/// Throws away what a refused sender still sends: closing a socket with unread bytes resets it, and the reset can overtake the
/// refusal, so that the sender would try the same again.
async fn drain(body: &mut Incoming) {
    let mut left = DRAIN_BYTES;
    while left > 0 {
        let Some(Ok(frame)) = body.frame().await else { return };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

fn respond(status: StatusCode, form: Form, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, form.content_type());
    response
}

fn refusal(form: Form, failure: &Failure) -> Response<Full<Bytes>> {
    let body = match form {
        Form::Protobuf => failure.protobuf(),
        Form::Json => failure.json(),
    };
    let mut response = respond(failure.http, form, body);
    let headers = response.headers_mut();
    if let Some(delay) = failure.retry_after {
        // Whole seconds, at least one.
        let seconds = delay.as_millis().div_ceil(1000).max(1);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            headers.insert(RETRY_AFTER, value);
        }
    }
    match failure.http {
        StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
        _ => {}
    }
    response
}

/// The message that says what was taken.
pub fn response(accepted: &Accepted) -> ExportMetricsServiceResponse {
    let partial_success = (accepted.rejected > 0 || !accepted.reason.is_empty()).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
        error_message: accepted.reason.clone(),
    });
    ExportMetricsServiceResponse { partial_success }
}

fn success(form: Form, accepted: &Accepted) -> Vec<u8> {
    let message = response(accepted);
    match (form, message.partial_success) {
        (Form::Protobuf, partial_success) => ExportMetricsServiceResponse { partial_success }.encode_to_vec(),
        (Form::Json, None) => b"{}".to_vec(),
        // 64-bit integers are strings in protobuf's JSON.
        (Form::Json, Some(partial)) => serde_json::json!({ "partialSuccess": {
            "rejectedDataPoints": partial.rejected_data_points.to_string(),
            "errorMessage": partial.error_message,
        }})
        .to_string()
        .into_bytes(),
    }
}
