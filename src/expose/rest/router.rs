//! The paths of the listener, and what goes around them.

use super::body::BodyBudget;
use super::compression::compress;
use super::docs;
use super::error::ApiError;
use super::middleware::{check_host, correlate, limit_time, protect};
use super::routes::ROUTES;
use crate::expose::{Rest, page};
use crate::net::{HostCheck, Refusal};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use std::net::SocketAddr;
use std::sync::Arc;

/// The path below which the routes of the contract are.
const API: &str = "/api/v1/telemetry/";

/// Makes the router of a stage that listens at `address`. `bodies` is shared by the routers that follow each other as settings change.
pub fn router(rest: Arc<Rest>, address: Option<SocketAddr>, bodies: BodyBudget) -> Router {
    let hosts = HostCheck::new(address, &rest.config.allowed_hosts);
    let (cors, prefix) = (rest.config.cors.layer("expose.cors"), rest.config.prefix.clone());
    let routes = api_routes()
        .merge(docs::routes(rest.config.page))
        .merge(page::routes(&rest))
        .fallback(|| async { ApiError::not_found("there is no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::from(Refusal::MethodNotAllowed("the route does not take this method"))
        })
        .layer(axum::Extension(bodies))
        .layer(from_fn_with_state(rest.clone(), page::admit))
        .layer(from_fn(compress))
        .layer(from_fn_with_state(rest.clone(), limit_time))
        .layer(from_fn_with_state(hosts, check_host))
        .layer(from_fn(correlate))
        .layer(from_fn(protect))
        .with_state(rest);
    let routes = match cors {
        // Around all the rest: errors are marked too, and a preflight needs no token.
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    if prefix.is_empty() {
        return routes;
    }
    // For a proxy that leaves the prefix on, and for one that takes it off.
    Router::new().nest_service(&prefix, routes.clone()).fallback_service(routes)
}

/// The routes of the API, each with and without a slash at its end.
fn api_routes() -> Router<Arc<Rest>> {
    docs::paths().zip(ROUTES).fold(Router::new(), |router, (path, route)| {
        let methods = (route.methods)();
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    })
}

/// The label of a path in metrics and logs: never an id, so that there are few of them.
pub fn label_of(path: &str) -> &'static str {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path.strip_prefix(API) {
        Some(rest) => {
            let wanted = first_segment(rest);
            docs::paths()
                .filter_map(|known| known.strip_prefix(API))
                .map(first_segment)
                .find(|known| *known == wanted)
                .unwrap_or("other")
        }
        None => match path {
            "/health" => "probe",
            "/metrics" => "metrics",
            _ => "other",
        },
    }
}

fn first_segment(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::label_of;

    #[test]
    fn labels_have_no_ids() {
        for (path, label) in [
            ("/api/v1/telemetry/heartbeat", "heartbeat"),
            ("/api/v1/telemetry/heartbeat/", "heartbeat"),
            ("/api/v1/telemetry/alerts/a-1/acknowledge", "alerts"),
            ("/api/v1/telemetry/uptime-status/web-1", "uptime-status"),
            ("/api/v1/telemetry/health", "health"),
            ("/api/v1/telemetry/nothing", "other"),
            ("/api/v1/telemetry/", "other"),
            ("/api/v1/telemetry", "other"),
            ("/health", "probe"),
            ("/metrics/", "metrics"),
            ("/docs/", "other"),
            ("/", "other"),
        ] {
            assert_eq!(label_of(path), label, "{path}");
        }
    }
}
