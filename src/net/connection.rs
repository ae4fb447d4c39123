//! One connection: the protocol, its time limits, and its end.

use super::head::{MOST_HEAD_BYTES, MOST_HEADERS};
use super::lingering::Lingering;
use super::listener::{ListenerLimits, Protocols, RequestHandler};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The least time for a head: with none, no request could be read.
const SHORTEST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an HTTP/2 client may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2's windows for one stream and for a connection, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Why a connection ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// A head did not arrive in time.
    Slow,
    /// What arrived is not HTTP; hyper answers that, if anybody does.
    Malformed,
    /// The client or the network broke it off.
    Broken,
}

impl ConnectionFailure {
    /// The name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Malformed => "malformed",
            Self::Broken => "broken",
        }
    }

    fn of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_timeout() => Self::Slow,
            Some(error) if error.is_parse() => Self::Malformed,
            _ => Self::Broken,
        }
    }
}

/// The protocol of a listener's connections, with its limits.
pub struct ConnectionServer(Protocol);

enum Protocol {
    Http1(http1::Builder),
    Http1And2(auto::Builder<TokioExecutor>),
}

impl ConnectionServer {
    /// A server of connections with `limits`.
    pub fn new(limits: &ListenerLimits) -> Self {
        let head_timeout = limits.head_timeout.max(SHORTEST_HEAD_TIMEOUT);
        Self(match limits.protocols {
            Protocols::Http1 => Protocol::Http1(http1_only(head_timeout)),
            Protocols::Http1And2 { max_streams, keepalive } => {
                Protocol::Http1And2(http1_and_2(head_timeout, max_streams, keepalive))
            }
        })
    }
}

fn http1_only(head_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The timeout also bounds how long a connection may be idle: the next head must arrive within it.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MOST_HEAD_BYTES)
        .max_header_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS);
    builder
}

fn http1_and_2(head_timeout: Duration, max_streams: u32, keepalive: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        .max_header_list_size(u32::try_from(MOST_HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(keepalive.max(Duration::from_secs(1)))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// A connection that was accepted.
pub struct Connection {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// Becomes true when the service stops.
    pub stopping: watch::Receiver<bool>,
}

impl Connection {
    /// Answers the requests of the connection until it ends.
    pub async fn serve<H: RequestHandler>(self, server: &ConnectionServer, handler: Arc<H>) {
        let Self { stream, peer, stopping } = self;
        // Answers are small and nobody should wait for them to fill a packet.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY not set");
        }
        let io = TokioIo::new(Lingering::new(stream));
        let answering = handler.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = answering.clone();
            async move { Ok::<_, Infallible>(handler.answer(peer, request).await) }
        });
        let ended = match &server.0 {
            Protocol::Http1(builder) => drive(builder.serve_connection(io, service), stopping).await,
            Protocol::Http1And2(builder) => drive(builder.serve_connection(io, service), stopping).await,
        };
        if let Err(error) = ended {
            let failure = ConnectionFailure::of(error.as_ref());
            tracing::debug!(%peer, error, reason = failure.name(), "a connection ended early");
            handler.connection_failed(failure);
        }
    }
}

/// Runs `connection` to its end; once the service stops, no further request is read from it.
async fn drive<C>(
    connection: C,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    C: GracefulConnection,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let stopped = async {
        // An error means that the accept loop is gone, which is the same.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(Into::into)
}
