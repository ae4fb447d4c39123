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
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// Answers connections of `listener` until `shutdown` resolves, then finishes what is under way. Requests see the stage
/// that is current when they come.
///
/// # Errors
/// Never: a connection that cannot be accepted is logged, and the next one awaited.
pub async fn serve(
    listener: TcpListener,
    mut rest: watch::Receiver<Arc<Rest>>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let first = rest.borrow_and_update().clone();
    let limits = listener_limits(&first.config);
    // One over all reloads: a body that is held by a request of before counts against the requests after it.
    let bodies = ByteBudget::new(first.config.max_body_bytes);
    let routes = Arc::new(CurrentRouter(RwLock::new(router(first, BodyBudget(bodies.clone())))));
    let reloads = async {
        while rest.changed().await.is_ok() {
            let rest = rest.borrow_and_update().clone();
            bodies.set_limit(rest.config.max_body_bytes);
            *routes.0.write() = router(rest, BodyBudget(bodies.clone()));
        }
        // Nobody changes anything any more.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = net::serve(listener, limits, routes.clone(), shutdown) => {}
        () = reloads => {}
    }
    Ok(())
}

fn listener_limits(config: &ExposeConfig) -> ListenerLimits {
    ListenerLimits {
        protocols: Protocols::Http1,
        max_connections: config.max_connections,
        head_timeout: Duration::from_secs(config.header_seconds),
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
