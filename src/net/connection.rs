//! One connection: the protocol, its time limits, and its end.

use super::activity::{Activity, AnswerBody};
use super::head::{MOST_HEAD_BYTES, MOST_HEADERS};
use super::lingering::Lingering;
use super::listener::{ConnectionSlot, ListenerLimits, Protocols, RequestHandler};
use super::stalled::WriteStall;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// The least time for a head: with none, no request could be read.
const SHORTEST_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// The least time for a write: with none, no answer could be sent.
const SHORTEST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// The least for each of the other times of a connection.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection without requests may take to close in order.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// How long requests under way may go on when their connection is to be closed.
const REQUESTS_GRACE: Duration = Duration::from_secs(30);
/// The longest time for an HTTP/2 client to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2's windows for one stream and for a connection, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A reason for which a connection ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// The first byte or a head did not arrive in time.
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
        if error.is::<Late>() {
            return Self::Slow;
        }
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_timeout() => Self::Slow,
            Some(error) if error.is_parse() => Self::Malformed,
            _ => Self::Broken,
        }
    }
}

/// The protocol of a listener's connections, with its limits.
pub struct ConnectionServer {
    protocol: Protocol,
    write_timeout: Duration,
    first_byte_timeout: Duration,
    head_timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
}

enum Protocol {
    Http1(http1::Builder),
    Http1And2(auto::Builder<TokioExecutor>),
}

impl ConnectionServer {
    /// A server of connections with `limits`.
    pub fn new(limits: &ListenerLimits) -> Self {
        let head_timeout = limits.head_timeout.max(SHORTEST_HEAD_TIMEOUT);
        let protocol = match limits.protocols {
            Protocols::Http1 => Protocol::Http1(http1_only(head_timeout)),
            Protocols::Http1And2 { max_streams, keepalive } => {
                Protocol::Http1And2(http1_and_2(head_timeout, max_streams, keepalive))
            }
        };
        Self {
            protocol,
            write_timeout: limits.write_timeout.max(SHORTEST_WRITE_TIMEOUT),
            first_byte_timeout: limits.first_byte_timeout.max(SHORTEST_TIMEOUT),
            head_timeout,
            idle_timeout: limits.idle_timeout.max(SHORTEST_TIMEOUT),
            max_age: limits.max_age.max(SHORTEST_TIMEOUT),
        }
    }

    /// The age at which connection `id` is closed: up to a tenth more than the limit, so that connections that were opened
    /// together are not all opened again together.
    fn age_of(&self, id: u64) -> Duration {
        self.max_age + self.max_age / 100 * u32::try_from(id % 11).unwrap_or(0)
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
    /// Its number among those of its listener.
    pub id: u64,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub activity: Arc<Activity>,
    /// Becomes true when the service stops.
    pub stopping: watch::Receiver<bool>,
    pub slot: ConnectionSlot,
}

impl Connection {
    /// Answers the requests of the connection until it ends.
    pub async fn serve<H: RequestHandler>(self, server: &ConnectionServer, handler: Arc<H>) {
        let (peer, answered) = (self.peer, handler.clone());
        if let Err(error) = self.run(server, handler).await {
            let failure = ConnectionFailure::of(error.as_ref());
            tracing::debug!(%peer, error, reason = failure.name(), "a connection ended early");
            answered.connection_failed(failure);
        }
    }

    async fn run<H: RequestHandler>(self, server: &ConnectionServer, handler: Arc<H>) -> Ended {
        let Self { id, stream, peer, activity, mut stopping, slot } = self;
        let accepted = Instant::now();
        let mut first = [0];
        tokio::select! {
            begun = timeout(server.first_byte_timeout, stream.peek(&mut first)) => match begun {
                Err(_) => return Err(Late.into()),
                // It was closed before it began.
                Ok(Ok(0)) => return Ok(()),
                Ok(begun) => drop(begun?),
            },
            () = activity.told_to_close() => return Ok(()),
            // An error means that the accept loop is gone, which is a stop too.
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        }
        // Answers are small and nobody should wait for them to fill a packet.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY not set");
        }
        let io = TokioIo::new(WriteStall::new(Lingering::new(stream), server.write_timeout));
        let (requests, left) = (activity.clone(), slot.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let under_way = requests.request();
            request.extensions_mut().insert(slot.clone());
            let handler = handler.clone();
            async move {
                let response = handler.answer(peer, request).await;
                Ok::<_, Infallible>(response.map(|body| AnswerBody::new(body, under_way)))
            }
        });
        let watched = Watched { server, activity, slot: left, oldest: accepted + server.age_of(id), stopping };
        match &server.protocol {
            Protocol::Http1(builder) => {
                let connection = builder.serve_connection(io, service).with_upgrades();
                watched.drive(connection, |connection| connection.graceful_shutdown()).await
            }
            Protocol::Http1And2(builder) => {
                let connection = builder.serve_connection(io, service);
                watched.drive(connection, |connection| connection.graceful_shutdown()).await
            }
        }
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The error of a connection whose first byte or first request did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("no request arrived in time")]
struct Late;

/// A reason for which this side ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The service stops.
    Stopping,
    /// No first request arrived in time.
    Late,
    /// It has no request for too long.
    Idle,
    /// Another connection needs its place.
    Shed,
    /// It has lived for long enough.
    Aged,
}

/// What decides when this side ends a connection.
struct Watched<'s> {
    server: &'s ConnectionServer,
    activity: Arc<Activity>,
    slot: ConnectionSlot,
    oldest: Instant,
    stopping: watch::Receiver<bool>,
}

impl Watched<'_> {
    /// Runs `connection` to its end. When this side ends it, `finish` lets it read no further request.
    async fn drive<C, E>(mut self, connection: C, finish: impl FnOnce(Pin<&mut C>)) -> Ended
    where
        C: Future<Output = Result<(), E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut connection = pin!(connection);
        let end = tokio::select! {
            ended = connection.as_mut() => return ended.map_err(Into::into),
            end = self.end() => end,
        };
        finish(connection.as_mut());
        let closing_time = match end {
            End::Stopping => return connection.await.map_err(Into::into),
            // What tells the client that nothing is lost is written if it can be, and nobody waits for it.
            End::Shed => Duration::ZERO,
            End::Late | End::Idle | End::Aged => CLOSING_GRACE,
        };
        let latest = Instant::now() + REQUESTS_GRACE;
        let mut ended = timeout(closing_time, connection.as_mut()).await;
        // Requests under way go on for a while; an answer without an end that has left its place, for as long as it likes.
        while ended.is_err() && self.activity.idle_since().is_none() && (Instant::now() < latest || self.slot.is_left())
        {
            ended = timeout(CLOSING_GRACE, connection.as_mut()).await;
        }
        match (end, ended) {
            // It ended by its own fault, and was waiting for the client to read the answer.
            (End::Late, Ok(Err(error))) => match error.into() {
                error if ConnectionFailure::of(error.as_ref()) == ConnectionFailure::Malformed => Err(error),
                _ => Err(Late.into()),
            },
            (End::Late, _) => Err(Late.into()),
            (_, Ok(Err(error))) if self.activity.idle_since().is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Resolves when this side should end the connection.
    async fn end(&mut self) -> End {
        loop {
            let now = Instant::now();
            let due = match self.activity.idle_since() {
                Some(idle) if idle.served => (idle.since + self.server.idle_timeout, End::Idle),
                Some(idle) => (idle.since + self.server.head_timeout, End::Late),
                None => (now + self.server.idle_timeout, End::Idle),
            };
            let (at, end) = if due.0 < self.oldest { due } else { (self.oldest, End::Aged) };
            if now >= at {
                return end;
            }
            // A request may begin and end meanwhile, and another of the times hold then: it is looked at again before each.
            let again = now + self.server.idle_timeout.min(self.server.head_timeout);
            tokio::select! {
                // An error means that the accept loop is gone, which is a stop too.
                _ = self.stopping.wait_for(|stop| *stop) => return End::Stopping,
                () = self.activity.told_to_close() => return End::Shed,
                () = sleep_until(at.min(again)) => {}
            }
        }
    }
}
