//! Receives OTLP over gRPC and HTTP: bytes in, an answer out.
//!
//! - `http`, `grpc`: the two protocols
//! - `health`: the health service on the gRPC port
//! - `body`: reads a body within the limits
//! - `decode`: decompression and JSON, on threads of their own
//! - `compression`: decompresses with a bound
//! - `json`: turns OTLP/JSON into wire bytes
//!
//! Nothing here looks into a request: its bytes, as protobuf and decompressed, go to an [`ExportHandler`]. Connections, their
//! limits and refusals are those of all listeners, in [`crate::net`].

mod body;
mod compression;
mod decode;
mod grpc;
mod health;
mod http;
mod json;
#[cfg(test)]
mod tests;

use crate::auth::Auth;
use crate::net::{self, ByteBudget, CorsConfig, HostCheck, ListenerLimits, Permit, Protocols, Refusal, Workers};
use ::http::header::HOST;
use ::http::request::Parts;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use vitals_core::caller::{Caller, Scope};

/// Most characters of a host that are told.
const MOST_TOLD: usize = 100;
/// How long a client may read nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time for open connections to finish once the service stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The settings of both OTLP listeners, `[receive]`.
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
    /// Most connections of each port; a further one takes the place of one that is idle, or waits.
    pub max_connections: usize,
    /// Most connections of each port from one peer address; 0 is no limit.
    pub max_connections_per_peer: usize,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// The longest time for the first byte of a connection to arrive.
    pub first_byte_timeout_seconds: u64,
    /// The longest time for the head of a request to arrive; also how long an HTTP/1 connection may be idle.
    pub header_timeout_seconds: u64,
    /// The longest time for the body of a request to arrive.
    pub body_timeout_seconds: u64,
    /// How long a connection may have no request under way, also one that answers pings.
    pub idle_timeout_seconds: u64,
    /// How long a connection may live; requests under way finish.
    pub max_connection_age_seconds: u64,
    /// The time between pings of an HTTP/2 connection.
    pub keepalive_seconds: u64,
    /// Names by which a listener on loopback may be asked, beside addresses and `localhost`, when it asks for no token.
    pub allowed_hosts: Vec<String>,
    /// Which pages of other origins may send to OTLP/HTTP.
    pub cors: CorsConfig,
}

impl ReceiveConfig {
    fn listener_limits(&self) -> ListenerLimits {
        ListenerLimits {
            protocols: Protocols::Http1And2 {
                max_streams: self.max_streams_per_connection,
                keepalive: Duration::from_secs(self.keepalive_seconds),
            },
            max_connections: self.max_connections,
            max_connections_per_peer: self.max_connections_per_peer,
            first_byte_timeout: Duration::from_secs(self.first_byte_timeout_seconds),
            idle_timeout: Duration::from_secs(self.idle_timeout_seconds),
            max_age: Duration::from_secs(self.max_connection_age_seconds),
            head_timeout: Duration::from_secs(self.header_timeout_seconds),
            write_timeout: WRITE_TIMEOUT,
            shutdown_grace: SHUTDOWN_GRACE,
        }
    }
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
            max_connections_per_peer: 256,
            first_byte_timeout_seconds: 10,
            idle_timeout_seconds: 300,
            max_connection_age_seconds: 3_600,
            max_streams_per_connection: 128,
            header_timeout_seconds: 90,
            body_timeout_seconds: 30,
            keepalive_seconds: 60,
            allowed_hosts: Vec::new(),
            cors: CorsConfig::default(),
        }
    }
}

/// The outcome of a request that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Points not taken.
    pub rejected: u64,
    /// Why; with none rejected, a warning.
    pub reason: String,
}

/// Waits until a request is durable.
pub type Committing = Pin<Box<dyn Future<Output = Result<Accepted, Refusal>> + Send>>;

/// Takes the requests that were received.
pub trait ExportHandler: Send + Sync + 'static {
    /// Takes the protobuf bytes of an `ExportMetricsServiceRequest`, on a thread that may work for long. The answer leaves when
    /// what is given back is done; `permit` is the request's share of the bytes in flight, to be dropped when it is evaluated.
    ///
    /// # Errors
    /// When nothing of the request is taken.
    fn ingest(&self, caller: Caller, peer: SocketAddr, body: Bytes, permit: Permit) -> Result<Committing, Refusal>;

    /// Whether requests are taken now. May look at the disk.
    fn ready(&self) -> bool;
}

/// Serves OTLP/gRPC until `shutdown` is done. `budget` is shared by both ports; without `auth` every caller is anonymous.
pub async fn serve_grpc<H: ExportHandler>(
    listener: TcpListener,
    config: &ReceiveConfig,
    budget: Arc<ByteBudget>,
    workers: Arc<Workers>,
    handler: Arc<H>,
    auth: Option<Arc<Auth>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let health = health::Health::new(&handler).await;
    let service = Arc::new(grpc::Grpc::new(
        config,
        listener.local_addr().ok(),
        budget,
        workers,
        handler.clone(),
        auth,
        health.reporter(),
    ));
    let (ended, ending) = tokio::sync::oneshot::channel::<()>();
    // Watchers are let go first: their streams would keep connections open.
    let following = health.follow(handler, async {
        shutdown.await;
    });
    let following = async {
        following.await;
        drop(ended);
    };
    let serving = net::serve(listener, config.listener_limits(), service, async { drop(ending.await) });
    tokio::join!(following, serving);
}

/// Serves OTLP/HTTP until `shutdown` is done. `budget` is shared by both ports; without `auth` every caller is anonymous.
pub async fn serve_http<H: ExportHandler>(
    listener: TcpListener,
    config: &ReceiveConfig,
    budget: Arc<ByteBudget>,
    workers: Arc<Workers>,
    handler: Arc<H>,
    auth: Option<Arc<Auth>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let service = Arc::new(http::Http::new(config, listener.local_addr().ok(), budget, workers, handler, auth));
    net::serve(listener, config.listener_limits(), service, shutdown).await;
}

/// The caller of a request, who must be allowed to write.
fn permitted(auth: Option<&Auth>, authorization: Option<&str>) -> Result<Caller, Refusal> {
    let Some(auth) = auth else { return Ok(Caller::anonymous()) };
    let caller = auth.caller(authorization)?;
    if caller.may(Scope::Write) { Ok(caller) } else { Err(Refusal::MissingScope(Scope::Write)) }
}

/// The refusal of a request for another host than `hosts` has, where no token tells who sends it.
fn foreign(hosts: &HostCheck, auth: Option<&Auth>, head: &Parts) -> Option<Refusal> {
    if auth.is_some() || hosts.admits(&head.uri, &head.headers) {
        return None;
    }
    let named = head.headers.get(HOST).and_then(|value| value.to_str().ok()).or_else(|| head.uri.host());
    Some(Refusal::ForeignHost(named.unwrap_or_default().chars().take(MOST_TOLD).collect(), "receive.allowed_hosts"))
}

/// Counts a request by protocol and outcome.
fn count(protocol: &'static str, refusal: Option<&Refusal>) {
    let outcome = match refusal.map(|refusal| refusal.status().as_u16()) {
        None => "ok",
        Some(400 | 408) => "malformed",
        Some(401 | 403 | 421) => "unauthorized",
        Some(413 | 431) => "too_large",
        Some(405 | 415) => "unsupported",
        Some(429 | 503) => "overloaded",
        Some(_) => "other",
    };
    metrics::counter!("vitals_receive_requests_total", "protocol" => protocol, "outcome" => outcome).increment(1);
}
