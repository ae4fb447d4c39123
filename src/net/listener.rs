//! The accept loop of all listeners: a limit on connections, and an end that lets requests under way finish.
//!
//! Who may connect is decided in `admission`, how long a connection may take in `connection`: a limit that is added there
//! holds for OTLP/gRPC, OTLP/HTTP and REST alike.

use super::admission::{Admission, Place};
use super::connection::{Connection, ConnectionFailure, ConnectionServer};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use parking_lot::Mutex;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

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
    /// Most connections at a time, at least one; a further one takes the place of one that is idle, or waits.
    pub max_connections: usize,
    /// Most connections of one peer address; 0 is no limit.
    pub max_connections_per_peer: usize,
    /// The longest time for the first byte of a connection to arrive.
    pub first_byte_timeout: Duration,
    /// The longest time for the head of a request to arrive; also how long an HTTP/1 connection may be idle.
    pub head_timeout: Duration,
    /// How long a connection may have no request under way.
    pub idle_timeout: Duration,
    /// How long a connection may live, about; requests under way finish.
    pub max_age: Duration,
    /// How long a client may read nothing of what it is sent.
    pub write_timeout: Duration,
    /// The longest time for open connections to finish once the service stops.
    pub shutdown_grace: Duration,
}

/// A connection's share of those that may be open. Each request has it among its extensions.
#[derive(Clone)]
pub struct ConnectionSlot(Arc<Mutex<Option<Place>>>);

impl ConnectionSlot {
    fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(Some(place))))
    }

    /// Gives the share to other connections: what follows on this one has a bound of its own.
    pub fn leave(&self) {
        drop(self.0.lock().take());
    }

    /// Whether the share was given to others.
    pub(super) fn is_left(&self) -> bool {
        self.0.lock().is_none()
    }
}

/// Answers the requests of one listener.
pub trait RequestHandler: Send + Sync + 'static {
    /// The body of the answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static;

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
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, handler, stopping) = (server.clone(), handler.clone(), stopping.clone());
        tokio::spawn(async move {
            let (id, activity) = (place.id, place.activity.clone());
            let slot = ConnectionSlot::new(place);
            Connection { id, stream, peer, activity, stopping, slot: slot.clone() }.serve(&server, handler).await;
            slot.leave();
        });
    }
    drop(listener);
    stop.send_replace(true);
    if tokio::time::timeout(limits.shutdown_grace, admission.all_closed()).await.is_err() {
        tracing::warn!("connections were still open when the service stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    /// Answers everything, and keeps what it hears of connections.
    struct Greeter {
        failures: Mutex<Vec<ConnectionFailure>>,
        /// How many requests for `/wait` came.
        waiting: watch::Sender<usize>,
        go_on: watch::Sender<bool>,
    }

    impl Default for Greeter {
        fn default() -> Self {
            Self { failures: Mutex::default(), waiting: watch::Sender::new(0), go_on: watch::Sender::new(false) }
        }
    }

    impl RequestHandler for Greeter {
        type Body = Full<Bytes>;

        async fn answer(&self, _: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
            if request.uri().path() == "/wait" {
                self.waiting.send_modify(|waiting| *waiting += 1);
                drop(self.go_on.subscribe().wait_for(|go_on| *go_on).await);
            }
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

    /// Limits that no test comes to.
    fn patient(protocols: Protocols) -> ListenerLimits {
        let long = Duration::from_secs(3_600);
        ListenerLimits {
            protocols,
            max_connections: 10,
            max_connections_per_peer: 0,
            first_byte_timeout: long,
            head_timeout: long,
            idle_timeout: long,
            max_age: long,
            write_timeout: long,
            shutdown_grace: Duration::from_secs(60),
        }
    }

    async fn start(limits: ListenerLimits) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, handler) = (listener.local_addr().unwrap(), Arc::new(Greeter::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serve(listener, limits, handler.clone(), async { drop(stopped.await) }));
        Running { address, handler, stop, ended }
    }

    /// Reads until the other side closes.
    async fn closed(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
        drop(end.expect("the connection is closed"));
    }

    /// A connection with a request under way: its answer waits for `Greeter::go_on`.
    async fn busy(running: &Running) -> TcpStream {
        let before = *running.handler.waiting.borrow();
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        running.handler.waiting.subscribe().wait_for(|waiting| *waiting > before).await.unwrap();
        stream
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
            let running = start(ListenerLimits { max_connections: 1, ..patient(protocols) }).await;
            let first = busy(&running).await;
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
            let running = start(patient(protocols)).await;
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
            let running = start(ListenerLimits { head_timeout: Duration::from_secs(1), ..patient(protocols) }).await;
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

    #[tokio::test]
    async fn a_full_listener_closes_the_connection_that_is_idle_for_the_longest_time() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(ListenerLimits { max_connections: 3, ..patient(protocols) }).await;
            let mut waits = busy(&running).await;
            // Silent from its first byte on.
            let mut silent = TcpStream::connect(running.address).await.unwrap();
            let mut idle = connected(&running).await;
            let _third = connected(&running).await;
            closed(&mut silent).await;
            let _fourth = connected(&running).await;
            closed(&mut idle).await;
            running.handler.go_on.send_replace(true);
            assert_eq!(greeted(&mut waits).await, "HTTP/1.1 200", "{protocols:?}: a busy one is never closed");
        }
    }

    #[tokio::test]
    async fn a_peer_has_a_limit_of_its_own() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(ListenerLimits { max_connections_per_peer: 2, ..patient(protocols) }).await;
            let mut waits = busy(&running).await;
            let mut idle = connected(&running).await;
            // An idle one of the same peer makes room.
            let mut second = busy(&running).await;
            closed(&mut idle).await;
            // With all of them busy a further one is closed.
            closed(&mut TcpStream::connect(running.address).await.unwrap()).await;
            running.handler.go_on.send_replace(true);
            assert_eq!(greeted(&mut waits).await, "HTTP/1.1 200", "{protocols:?}");
            assert_eq!(greeted(&mut second).await, "HTTP/1.1 200", "{protocols:?}");
        }
    }

    #[tokio::test]
    async fn silent_connections_are_closed() {
        let short = Duration::from_secs(1);
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(ListenerLimits { first_byte_timeout: short, ..patient(protocols) }).await;
            closed(&mut TcpStream::connect(running.address).await.unwrap()).await;
            while running.handler.failures.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(*running.handler.failures.lock(), [ConnectionFailure::Slow], "{protocols:?}");

            let running = start(ListenerLimits { idle_timeout: short, ..patient(protocols) }).await;
            closed(&mut connected(&running).await).await;
            assert!(running.handler.failures.lock().is_empty(), "{protocols:?}: an idle end is no failure");
        }
        // The preface of HTTP/2 begins, and the rest never comes.
        let running = start(ListenerLimits { head_timeout: short, ..patient(BOTH) }).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"PRI * HT").await.unwrap();
        closed(&mut stream).await;
    }

    #[tokio::test]
    async fn an_http2_connection_that_only_answers_pings_is_closed() {
        let short = Duration::from_secs(1);
        let protocols = Protocols::Http1And2 { max_streams: 10, keepalive: short };
        for limits in [
            ListenerLimits { idle_timeout: short * 3, ..patient(protocols) },
            ListenerLimits { max_age: short * 3, ..patient(protocols) },
        ] {
            let running = start(limits).await;
            let stream = TcpStream::connect(running.address).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut requests, connection) =
                hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(executor, io).await.unwrap();
            // The client's side of the connection answers pings by itself.
            let connection = tokio::spawn(connection);
            let request = Request::get("http://x/").body(Full::default()).unwrap();
            assert_eq!(requests.send_request(request).await.unwrap().status(), 200);
            drop(tokio::time::timeout(Duration::from_secs(60), connection).await.expect("the connection is closed"));
            drop(requests);
        }
    }

    #[tokio::test]
    async fn requests_under_way_outlive_the_age_of_their_connection() {
        for protocols in [Protocols::Http1, BOTH] {
            let running = start(ListenerLimits { max_age: Duration::from_secs(1), ..patient(protocols) }).await;
            let mut waits = busy(&running).await;
            let mut idle = connected(&running).await;
            closed(&mut idle).await;
            running.handler.go_on.send_replace(true);
            assert_eq!(greeted(&mut waits).await, "HTTP/1.1 200", "{protocols:?}");
            closed(&mut waits).await;
        }
    }
}
