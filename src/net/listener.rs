//! The accept loop of all listeners: a limit on connections, and an end that lets requests under way finish.
//!
//! Who may connect is decided in `Admission`, how long a connection may take in `connection`: a limit that is added there
//! holds for OTLP/gRPC, OTLP/HTTP and REST alike.

use super::connection::{Connection, ConnectionFailure, ConnectionServer};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long to wait after a connection could not be accepted: the process is out of file descriptors, most likely, and
/// trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The versions of HTTP that a listener speaks.
#[derive(Clone, Copy, Debug)]
pub enum Protocols {
    /// HTTP/1 only: a connection is one request at a time.
    Http1,
    /// HTTP/1, and HTTP/2 with prior knowledge.
    Http1And2 {
        /// Most requests at once on one HTTP/2 connection.
        max_streams: u32,
        /// How often an HTTP/2 connection is asked whether it is still there.
        keepalive: Duration,
    },
}

/// The limits of one listener on its connections.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// The versions of HTTP.
    pub protocols: Protocols,
    /// Most connections at a time, at least one; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take to send a request's head; also how long an HTTP/1 connection may be idle.
    pub head_timeout: Duration,
    /// How long open connections may take to finish once the service stops.
    pub shutdown_grace: Duration,
}

/// Answers the requests of one listener.
pub trait RequestHandler: Send + Sync + 'static {
    /// The body of the answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers `request`, which came from `peer`.
    fn answer(&self, peer: SocketAddr, request: Request<Incoming>)
    -> impl Future<Output = Response<Self::Body>> + Send;

    /// Hears of a connection that ended without an answer of ours.
    fn connection_failed(&self, _: ConnectionFailure) {}
}

/// Serves the connections of `listener` until `shutdown` resolves, then lets requests under way finish, for a while.
pub async fn serve<H: RequestHandler>(
    listener: TcpListener,
    limits: ListenerLimits,
    handler: Arc<H>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let admission = Admission::new(&limits);
    let server = Arc::new(ConnectionServer::new(&limits));
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = admission.next(&listener) => accepted,
        };
        let (stream, peer, admitted) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, handler, stopping) = (server.clone(), handler.clone(), stopping.clone());
        tokio::spawn(async move {
            Connection { stream, peer, stopping }.serve(&server, handler).await;
            drop(admitted);
        });
    }
    drop(listener);
    stop.send_replace(true);
    if tokio::time::timeout(limits.shutdown_grace, admission.all_closed()).await.is_err() {
        tracing::warn!("connections were still open when the service stopped");
    }
}

/// Decides which connections are accepted.
struct Admission {
    slots: Arc<Semaphore>,
    max_connections: u32,
}

impl Admission {
    fn new(limits: &ListenerLimits) -> Self {
        let max_connections =
            u32::try_from(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { slots: Arc::new(Semaphore::new(max_connections as usize)), max_connections }
    }

    /// The next connection, its peer, and its share of the connections that may be open.
    async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        // A slot first: past the limit, connections wait in the kernel's queue. The semaphore is never closed.
        let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, slot))
    }

    /// Resolves when no connection is open.
    async fn all_closed(&self) {
        // An error means that the semaphore is closed, which nobody does.
        let _ = self.slots.acquire_many(self.max_connections).await;
    }
}
