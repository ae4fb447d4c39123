//! The REST listener, whose requests see the settings that are in force when they arrive.

use super::body::BodyBudget;
use super::router::router;
use crate::expose::{ExposeConfig, Rest};
use crate::net::{self, ByteBudget, ConnectionFailure, ListenerLimits, Protocols, RequestHandler};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::RwLock;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// Answers connections of `listener` until `shutdown` resolves, then finishes what is under way. Requests see the stage
/// that is current when they come. `max_connections` holds instead of the configured number.
pub async fn serve(
    listener: TcpListener,
    max_connections: usize,
    mut rest: watch::Receiver<Arc<Rest>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let first = rest.borrow_and_update().clone();
    let limits = ListenerLimits { max_connections, ..listener_limits(&first.config) };
    let streams = first.streams.clone();
    let shutdown = async {
        shutdown.await;
        streams.close();
    };
    // One over all reloads: a body that is held by a request of before counts against the requests after it.
    let bodies = ByteBudget::new(first.config.max_body_bytes);
    let address = listener.local_addr().ok();
    let routes = Arc::new(CurrentRouter(RwLock::new(router(first, address, BodyBudget(bodies.clone())))));
    let reloads = async {
        while rest.changed().await.is_ok() {
            let rest = rest.borrow_and_update().clone();
            bodies.set_limit(rest.config.max_body_bytes);
            *routes.0.write() = router(rest, address, BodyBudget(bodies.clone()));
        }
        // Nobody changes anything any more.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = net::serve(listener, limits, routes.clone(), shutdown) => {}
        () = reloads => {}
    }
    if tokio::time::timeout(limits.shutdown_grace, streams.idle()).await.is_err() {
        tracing::warn!("streams were still open when the service stopped");
    }
}

fn listener_limits(config: &ExposeConfig) -> ListenerLimits {
    ListenerLimits {
        protocols: Protocols::Http1,
        max_connections: config.max_connections,
        max_connections_per_peer: config.max_connections_per_peer,
        first_byte_timeout: Duration::from_secs(config.first_byte_seconds),
        idle_timeout: Duration::from_secs(config.header_seconds),
        max_age: Duration::from_secs(config.max_connection_age_seconds),
        head_timeout: Duration::from_secs(config.header_seconds),
        write_timeout: Duration::from_secs(config.write_seconds),
        shutdown_grace: Duration::from_secs(config.shutdown_seconds),
    }
}

/// The routes with the settings in force.
struct CurrentRouter(RwLock<Router>);

impl RequestHandler for CurrentRouter {
    type Body = Body;

    async fn answer(&self, _: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let router = self.0.read().clone();
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn connection_failed(&self, failure: ConnectionFailure) {
        // A request that hyper answers itself is in no metric of the routes.
        metrics::counter!("vitals_rest_connections_failed_total", "reason" => failure.name()).increment(1);
    }
}
