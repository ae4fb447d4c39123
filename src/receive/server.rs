//! Our own accept loop: a limit on connections, timeouts, keep-alive and a graceful end.

use super::ReceiveConfig;
use crate::web::{Lingering, MOST_HEAD_BYTES, MOST_HEADERS};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How long open connections may take to finish once the service stops.
const GRACE: Duration = Duration::from_secs(10);

/// Answers one request.
pub trait Answer: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// The answer to `request` of `peer`.
    fn answer(&self, peer: SocketAddr, request: Request<Incoming>)
    -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Serves until `shutdown` is done; then lets what is under way finish, for a while.
pub async fn serve<A: Answer>(
    listener: TcpListener,
    config: &ReceiveConfig,
    answer: Arc<A>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let builder = Arc::new(builder(config));
    let most = config.max_connections.max(1);
    let places = Arc::new(Semaphore::new(most));
    let (stop, stopped) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // Past the limit new connections wait in the system's queue.
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: give some time to close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (answer, builder, stopped) = (answer.clone(), builder.clone(), stopped.clone());
        tokio::spawn(async move {
            connection(stream, peer, &builder, answer, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = stop.send(true);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    if tokio::time::timeout(GRACE, places.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still open when the service stopped");
    }
}

fn builder(config: &ReceiveConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds.max(1)))
        .max_buf_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_streams_per_connection)
        .max_header_list_size(u32::try_from(MOST_HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(config.keepalive_seconds.max(1)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn connection<A: Answer>(
    stream: TcpStream,
    peer: SocketAddr,
    builder: &Builder<TokioExecutor>,
    answer: Arc<A>,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small and nobody should wait for them to fill a packet.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = answer.clone();
        async move { Ok::<_, Infallible>(answer.answer(peer, request).await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(Lingering::new(stream)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection ended early");
    }
}
