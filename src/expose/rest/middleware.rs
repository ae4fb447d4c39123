//! What goes around every route: an id for the request, its span and metrics, and its time limit.

use super::error::ApiError;
use super::router;
use crate::expose::Rest;
use crate::net::{CORRELATION, HostCheck, Refusal, waits_for_continue};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// The longest correlation id of a client that is kept, in bytes.
const LONGEST_CORRELATION_ID: usize = 128;

/// Most characters of a host that are told.
const MOST_TOLD: usize = 100;

/// Gives every request an id, which its span and its answer carry, and answers 500 when its handler panics.
pub async fn correlate(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request
        .headers()
        .get(&CORRELATION)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_usable_id(id))
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let waits = waits_for_continue(request.headers());
    let method = request.method().clone();
    let route = router::label_of(request.uri().path());
    let span = tracing::info_span!("rest", correlation_id = %id, %method, route);
    let mut response = async {
        let inner = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = inner.unwrap_or_else(|_| {
            tracing::error!("a handler panicked");
            ApiError::from(Refusal::Internal).into_response()
        });
        let status = response.status().as_u16();
        tracing::debug!(status, duration_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3, "answered");
        response
    }
    .instrument(span)
    .await;
    let status = response.status().as_u16().to_string();
    metrics::counter!("vitals_rest_requests_total", "route" => route, "status" => status).increment(1);
    metrics::histogram!("vitals_rest_request_seconds", "route" => route).record(begun.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(CORRELATION, value);
    }
    if waits && response.status().is_client_error() {
        // Most of these are made without the body, which the client then does not send: on a connection that stays, nobody
        // could tell it from the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether a client's correlation id can be kept: it goes into logs and headers.
fn is_usable_id(id: &str) -> bool {
    (1..=LONGEST_CORRELATION_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

/// Refuses to tell the metrics, for which no token is asked, to a page that lets its own name point at this machine.
pub async fn check_host(State(hosts): State<HostCheck>, request: Request, next: Next) -> Response {
    if router::label_of(request.uri().path()) == "metrics" && !hosts.admits(request.uri(), request.headers()) {
        let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = named.chars().take(MOST_TOLD).collect();
        return ApiError::from(Refusal::ForeignHost(named, "expose.allowed_hosts")).into_response();
    }
    next.run(request).await
}

/// Adds the headers that keep a browser from guessing, framing or keeping an answer, where the route has none of its own.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // The documentation is made of files that load each other; everything else loads nothing.
    let is_data = headers.get(header::CONTENT_TYPE).is_none_or(|media| {
        let media = media.as_bytes();
        media.starts_with(b"application/json") || media.starts_with(b"text/plain") || media.starts_with(b"text/event")
    });
    let policy = if is_data { "default-src 'none'; frame-ancestors 'none'" } else { "frame-ancestors 'none'" };
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Ends a request that takes too long.
pub async fn limit_time(State(rest): State<Arc<Rest>>, request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(rest.config.request_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::from(Refusal::RequestTimeout).into_response(),
    }
}
