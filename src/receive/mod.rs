//! OTLP over gRPC and HTTP: bytes in, an answer out.
//!
//! - `server`: the accept loop with its limits
//! - `http`, `grpc`: the two protocols
//! - `health`: the health service on the gRPC port
//! - `body`: reading a body within the limits
//! - `compression`: decompressing with a bound
//! - `json`: OTLP/JSON to wire bytes
//! - `status`: how failures are said
//!
//! Nothing here looks into a request: its bytes, as protobuf and decompressed, go to an [`ExportHandler`].

mod body;
mod compression;
mod grpc;
mod health;
mod http;
mod json;
mod server;
mod status;
#[cfg(test)]
mod tests;

use self::status::Failure;
use crate::auth::Auth;
use crate::web::{Budget, CorsConfig};
use ::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::Code;
use vitals_core::caller::{Caller, Scope};

/// `[receive]`
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiveConfig {
    /// Address of OTLP/gRPC.
    pub grpc: String,
    /// Address of OTLP/HTTP.
    pub http: String,
    /// Allows addresses other than loopback without authentication.
    pub insecure: bool,
    /// Largest request after decompression.
    pub max_message_bytes: usize,
    /// Bytes of requests in the process at once, of both ports together; past that requests are refused.
    pub max_in_flight_bytes: usize,
    /// Most connections of each port; more wait to be accepted.
    pub max_connections: usize,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// How long a client may take to send a request's head; also how long an HTTP/1 connection may be idle.
    pub header_timeout_seconds: u64,
    /// How long a client may take to send a request's body.
    pub body_timeout_seconds: u64,
    /// How often an HTTP/2 connection is asked whether it is still there.
    pub keepalive_seconds: u64,
    /// Which pages of other origins may send to OTLP/HTTP.
    pub cors: CorsConfig,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self {
            grpc: "127.0.0.1:4317".to_owned(),
            http: "127.0.0.1:4318".to_owned(),
            insecure: false,
            max_message_bytes: 64 << 20,
            max_in_flight_bytes: 256 << 20,
            max_connections: 1024,
            max_streams_per_connection: 128,
            header_timeout_seconds: 90,
            body_timeout_seconds: 30,
            keepalive_seconds: 60,
            cors: CorsConfig::default(),
        }
    }
}

/// What became of a request that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Points not taken.
    pub rejected: u64,
    /// Why; with none rejected, a warning.
    pub reason: String,
}

/// Why nothing of a request was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not an OTLP request.
    #[error("{0}")]
    Malformed(String),
    /// There is more to do than can be done.
    #[error("more arrives than can be processed; try again in {} s", retry_after.as_secs_f64())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk, or something else that is needed, does not work now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Malformed(_) => Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message),
            Refused::Overloaded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, message)
            },
            Refused::Unavailable(_) => Self {
                retry_after: Some(Duration::from_secs(5)),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
            },
        }
    }
}

/// Where requests go.
pub trait ExportHandler: Send + Sync + 'static {
    /// Takes the protobuf bytes of an `ExportMetricsServiceRequest`. The answer leaves when this is done;
    /// `permit` is the request's share of the bytes in flight, to be dropped when it is evaluated.
    fn ingest(
        &self,
        caller: Caller,
        peer: SocketAddr,
        body: Bytes,
        permit: Box<dyn Send>,
    ) -> impl Future<Output = Result<Accepted, Refused>> + Send;

    /// Whether requests are taken now. May look at the disk.
    fn ready(&self) -> bool;
}

/// Serves OTLP/gRPC until `shutdown` is done. `budget` is shared by both ports; without `auth` every caller is anonymous.
pub async fn serve_grpc<I: ExportHandler>(
    listener: TcpListener,
    config: &ReceiveConfig,
    budget: Arc<Budget>,
    ingest: Arc<I>,
    auth: Option<Arc<Auth>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let health = health::Health::new(&ingest).await;
    let service = Arc::new(grpc::Rpc::new(config, budget, ingest.clone(), auth, health.reporter()));
    let (ended, ending) = tokio::sync::oneshot::channel::<()>();
    // Watchers are let go first: their streams would keep connections open.
    let following = health.follow(ingest, async {
        shutdown.await;
    });
    let following = async {
        following.await;
        drop(ended);
    };
    let serving = server::serve(listener, config, service, async { drop(ending.await) });
    tokio::join!(following, serving);
}

/// Serves OTLP/HTTP until `shutdown` is done. `budget` is shared by both ports; without `auth` every caller is anonymous.
pub async fn serve_http<I: ExportHandler>(
    listener: TcpListener,
    config: &ReceiveConfig,
    budget: Arc<Budget>,
    ingest: Arc<I>,
    auth: Option<Arc<Auth>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let service = Arc::new(http::Http::new(config, budget, ingest, auth));
    server::serve(listener, config, service, shutdown).await;
}

/// Who calls, if they may write.
fn permitted(auth: Option<&Auth>, authorization: Option<&str>) -> Result<Caller, Failure> {
    let Some(auth) = auth else { return Ok(Caller::anonymous()) };
    let caller = auth
        .caller(authorization)
        .map_err(|denied| Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, denied.to_string()))?;
    if caller.may(Scope::Write) {
        Ok(caller)
    } else {
        let message = "the token lacks the scope telemetry:write";
        Err(Failure::new(StatusCode::FORBIDDEN, Code::PermissionDenied, message))
    }
}

fn counted(protocol: &'static str, failure: Option<&Failure>) {
    let outcome = match failure.map(|f| f.http.as_u16()) {
        None => "ok",
        Some(400 | 408) => "malformed",
        Some(401 | 403) => "unauthorized",
        Some(413 | 431) => "too_large",
        Some(405 | 415) => "unsupported",
        Some(429 | 503) => "overloaded",
        Some(_) => "other",
    };
    metrics::counter!("vitals_receive_requests_total", "protocol" => protocol, "outcome" => outcome).increment(1);
}
