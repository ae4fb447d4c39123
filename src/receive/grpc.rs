//! OTLP/gRPC: `MetricsService/Export`, with a codec that hands over the bytes as they came.

use super::budget::{Budget, Permit};
use super::http::{overloaded, response};
use super::server::Answer;
use super::status::Failure;
use super::{Ingest, ReceiveConfig, counted, permitted};
use crate::auth::Auth;
use bytes::{Buf as _, Bytes};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use parking_lot::Mutex;
use prost::Message as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use vitals_core::caller::Caller;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// What a request has reserved so far; handed on with its bytes.
type Meter = Arc<Mutex<Option<Permit>>>;

/// Hands over request bytes, encodes responses.
struct RawCodec {
    meter: Meter,
}

impl Codec for RawCodec {
    type Encode = ExportMetricsServiceResponse;
    type Decode = Bytes;
    type Encoder = RawEncoder;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder { meter: self.meter.clone() }
    }
}

struct RawEncoder;

impl Encoder for RawEncoder {
    type Item = ExportMetricsServiceResponse;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|e| Status::internal(e.to_string()))
    }
}

struct RawDecoder {
    meter: Meter,
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = source.remaining();
        if !self.meter.lock().as_mut().is_none_or(|permit| permit.reserve(len)) {
            return Err(overloaded().grpc());
        }
        Ok(Some(source.copy_to_bytes(len)))
    }
}

/// A request body that is counted against the budget as it arrives.
struct Metered {
    body: Incoming,
    received: usize,
    meter: Meter,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
            None => return Poll::Ready(None),
        };
        self.received += frame.data_ref().map_or(0, Bytes::len);
        let received = self.received;
        if self.meter.lock().as_mut().is_none_or(|permit| permit.reserve(received)) {
            Poll::Ready(Some(Ok(frame)))
        } else {
            Poll::Ready(Some(Err(overloaded().grpc().into())))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One call of `Export`.
struct Export<I> {
    ingest: Arc<I>,
    caller: Caller,
    peer: SocketAddr,
    meter: Meter,
    /// Whether the message arrived whole.
    reached: Arc<AtomicBool>,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl<I: Ingest> UnaryService<Bytes> for Export<I> {
    type Response = ExportMetricsServiceResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        self.reached.store(true, Ordering::Relaxed);
        let permit = self.meter.lock().take();
        let (ingest, caller, peer, failure) =
            (self.ingest.clone(), self.caller.clone(), self.peer, self.failure.clone());
        Box::pin(async move {
            let body = request.into_inner();
            let mut permit = permit;
            if let Some(permit) = &mut permit {
                permit.shrink(body.len());
            }
            match ingest.ingest(caller, peer, body, Box::new(permit)).await {
                Ok(accepted) => Ok(tonic::Response::new(response(&accepted))),
                Err(refused) => {
                    let refused = Failure::from(refused);
                    let status = refused.grpc();
                    *failure.lock() = Some(refused);
                    Err(status)
                }
            }
        })
    }
}

/// The service on the gRPC port.
pub struct Rpc<I> {
    ingest: Arc<I>,
    auth: Option<Arc<Auth>>,
    budget: Arc<Budget>,
    max_message: usize,
    timeout: Duration,
}

impl<I: Ingest> Rpc<I> {
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

    async fn export(
        &self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<tonic::body::Body>, Failure> {
        let token = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let caller = permitted(self.auth.as_deref(), token)?;
        let meter: Meter = Arc::new(Mutex::new(Some(self.budget.permit())));
        let reached = Arc::new(AtomicBool::new(false));
        let failure = Arc::new(Mutex::new(None));
        let export = Export {
            ingest: self.ingest.clone(),
            caller,
            peer,
            meter: meter.clone(),
            reached: reached.clone(),
            failure: failure.clone(),
        };
        let request = request.map(|body| Metered { body, received: 0, meter: meter.clone() });
        let mut both = EnabledCompressionEncodings::default();
        both.enable(CompressionEncoding::Gzip);
        both.enable(CompressionEncoding::Zstd);
        let mut grpc = Grpc::new(RawCodec { meter })
            .apply_compression_config(both, both)
            .apply_max_message_size_config(Some(self.max_message), None);
        let mut call = std::pin::pin!(grpc.unary(export, request));
        // The timeout is for the message to arrive; evaluation is not cut off.
        let response = match tokio::time::timeout(self.timeout, &mut call).await {
            Ok(response) => response,
            Err(_) if reached.load(Ordering::Relaxed) => call.await,
            Err(_) => {
                let message = "the message did not arrive in time";
                return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, message));
            }
        };
        if let Some(failure) = failure.lock().take() {
            return Err(failure);
        }
        match Status::from_header_map(response.headers()) {
            Some(status) if !reached.load(Ordering::Relaxed) => Err(self.unreadable(&status)),
            _ => Ok(response),
        }
    }

    /// A message that never got to us whole, in the codes that OTLP clients act on.
    fn unreadable(&self, status: &Status) -> Failure {
        let message = status.message();
        let overloaded = overloaded();
        match status.code() {
            Code::ResourceExhausted if message == overloaded.message => overloaded,
            Code::OutOfRange | Code::ResourceExhausted => Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::ResourceExhausted,
                format!("the message is larger than {} bytes; send smaller batches", self.max_message),
            ),
            Code::Unimplemented => Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, message),
            _ => Failure::new(
                StatusCode::BAD_REQUEST,
                Code::InvalidArgument,
                format!("the message cannot be read: {message}"),
            ),
        }
    }
}

impl<I: Ingest> Answer for Rpc<I> {
    type Body = tonic::body::Body;

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<tonic::body::Body> {
        let content = request.headers().get(http::header::CONTENT_TYPE).map(|v| v.as_bytes());
        if !content.is_some_and(|c| c.starts_with(b"application/grpc")) {
            counted("grpc", Some(&Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "")));
            let mut response = Response::new(tonic::body::Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let result = match request.uri().path() {
            EXPORT => self.export(peer, request).await,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Err(Failure::new(
                StatusCode::NOT_FOUND,
                Code::Unimplemented,
                "only metrics are taken here; leave this endpoint out of the pipelines for traces and logs",
            )),
            _ => Err(Failure::new(
                StatusCode::NOT_FOUND,
                Code::Unimplemented,
                "there is only MetricsService/Export here",
            )),
        };
        counted("grpc", result.as_ref().err());
        result.unwrap_or_else(|failure| failure.grpc().into_http())
    }
}
