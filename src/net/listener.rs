//! The accept loop of all listeners: a limit on connections, and an end that lets requests under way finish.
//!
//! Who may connect is decided in `Admission`, how long a connection may take in `connection`: a limit that is added there
//! holds for OTLP/gRPC, OTLP/HTTP and REST alike.

use super::connection::{Connection, ConnectionFailure, ConnectionServer};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use parking_lot::Mutex;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The pause after a connection could not be accepted: the process is out of file descriptors, most likely, and
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
        /// The time between pings of an HTTP/2 connection.
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
    /// The longest time for the head of a request to arrive; also how long an HTTP/1 connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may read nothing of what it is sent.
    pub write_timeout: Duration,
    /// The longest time for open connections to finish once the service stops.
    pub shutdown_grace: Duration,
}

/// A connection's share of those that may be open. Each request has it among its extensions.
#[derive(Clone)]
pub struct ConnectionSlot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl ConnectionSlot {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Gives the share to other connections: what follows on this one has a bound of its own.
    pub fn leave(&self) {
        drop(self.0.lock().take());
    }
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
            let slot = ConnectionSlot::new(admitted);
            Connection { stream, peer, stopping, slot: slot.clone() }.serve(&server, handler).await;
            slot.leave();
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    /// Answers everything, and keeps what it hears of connections.
    #[derive(Default)]
    struct Greeter {
        failures: Mutex<Vec<ConnectionFailure>>,
    }

    impl RequestHandler for Greeter {
        type Body = Full<Bytes>;

        async fn answer(&self, _: SocketAddr, _: Request<Incoming>) -> Response<Full<Bytes>> {
            Response::new(Full::new(Bytes::from_static(b"hello")))
        }

        fn connection_failed(&self, failure: ConnectionFailure) {
            self.failures.lock().push(failure);
        }
    }

    struct Running {
        address: SocketAddr,
        handler: Arc<Greeter>,
        stop: oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<()>,
    }

    async fn start(protocols: Protocols, max_connections: usize, head_timeout: Duration) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, handler) = (listener.local_addr().unwrap(), Arc::new(Greeter::default()));
        let shutdown_grace = Duration::from_secs(60);
        let write_timeout = Duration::from_secs(60);
        let limits = ListenerLimits { protocols, max_connections, head_timeout, write_timeout, shutdown_grace };
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serve(listener, limits, handler.clone(), async { drop(stopped.await) }));
        Running { address, handler, stop, ended }
    }

    const BOTH: Protocols = Protocols::Http1And2 { max_streams: 10, keepalive: Duration::from_secs(60) };

    async fn greeted(stream: &mut TcpStream) -> String {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection that was answered once, and stays open.
    async fn connected(running: &Running) -> TcpStream {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(greeted(&mut stream).await, "HTTP/1.1 200");
        stream
    }

    #[tokio::test]
    async fn connections_past_the_limit_wait_for_another_to_end() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(protocols, 1, Duration::from_secs(60)).await;
            let first = connected(&running).await;
            let mut second = TcpStream::connect(running.address).await.unwrap();
            second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(200), greeted(&mut second)).await;
            assert!(early.is_err(), "{protocols:?}: answered past the limit");
            drop(first);
            assert_eq!(greeted(&mut second).await, "HTTP/1.1 200", "{protocols:?}");
        }
    }

    #[tokio::test]
    async fn idle_connections_end_with_the_service() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(protocols, 10, Duration::from_secs(60)).await;
            let mut idle = connected(&running).await;
            running.stop.send(()).unwrap();
            // Were the connection not told, this would last for the grace or the head's timeout.
            tokio::time::timeout(Duration::from_secs(30), running.ended).await.expect("it ends").unwrap();
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_told_with_its_reason() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(protocols, 10, Duration::from_secs(1)).await;
            for (sent, failure) in
                [(&b"GET / HT"[..], ConnectionFailure::Slow), (b"what is this\r\n\r\n", ConnectionFailure::Malformed)]
            {
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                stream.write_all(sent).await.unwrap();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                while running.handler.failures.lock().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                assert_eq!(running.handler.failures.lock().drain(..).collect::<Vec<_>>(), [failure], "{protocols:?}");
            }
        }
    }
}
