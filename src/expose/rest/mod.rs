//! The REST API: the routes of the contract, and those that make what is known queryable.
//!
//! - [`wire`]: the JSON shapes; [`check`]: what is wrong with a request; [`error`]: everything that is not a success
//! - `prefix`: the path under which clients see it, behind a proxy
//! - `ingest`: heartbeats, system metrics, batches, maintenance windows, acknowledgements
//! - `uptime`, `assess`, `dashboard`, `query`: answers made from the store and the board, by way of `standing`, `insight`
//!   and `components`
//! - [`docs`]: the OpenAPI document

mod assess;
pub mod check;
mod components;
mod dashboard;
pub mod docs;
pub mod error;
mod ingest;
mod insight;
pub mod prefix;
mod query;
mod standing;
pub mod time;
mod uptime;
pub mod wire;

#[cfg(test)]
mod tests;

pub use prefix::is_sane as is_sane_prefix;

use self::error::ApiError;
use super::{Rest, ServiceStatus, page};
use crate::auth::Denied;
use crate::web::{Budget, CORRELATION, Lingering, MOST_HEAD_BYTES, MOST_HEADERS, Permit, waits_for_continue};
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use check::Problem;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::RwLock;
use serde_json::Value;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::Time;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;
use vitals_core::caller::{Caller, Scope};
use vitals_core::ids::UnixNanos;
use vitals_core::seam::StoreError;
use vitals_core::series::AgentDesc;

/// Most bytes of a body.
pub const LARGEST_BODY: usize = 10 * 1024 * 1024;
/// Most heartbeats of a batch, unless configured.
pub const MOST_HEARTBEATS: usize = 1_000;
/// Most metric points of a request.
pub const MOST_POINTS: usize = 5_000;

/// A client's own correlation id is kept up to this length.
const LONGEST_CORRELATION: usize = 128;

/// Every route, with what goes around them. `bodies` is shared by the routers that follow each other as settings change.
fn router(rest: Arc<Rest>, bodies: Arc<Budget>) -> Router {
    let telemetry = [
        ("/heartbeat", post(ingest::heartbeat)),
        ("/system-metrics", post(ingest::system_metrics)),
        ("/batch", post(ingest::batch)),
        ("/maintenance", post(ingest::maintenance)),
        ("/uptime-status/{agent_id}", get(uptime::status)),
        ("/uptime-summary/{target_id}", get(uptime::summary)),
        ("/health-check", post(assess::health_check)),
        ("/dashboard", post(dashboard::dashboard)),
        ("/health", get(query::service_health)),
        ("/agents", get(query::agents)),
        ("/series", get(query::series)),
        ("/series/{id}/samples", get(query::samples)),
        ("/verdicts", get(query::verdicts)),
        ("/plugins", get(query::plugins)),
        ("/alerts", get(query::alerts)),
        ("/alerts/{id}/acknowledge", post(ingest::acknowledge)),
    ];
    let (cors, prefix) = (rest.config.cors.layer("expose.cors"), rest.config.prefix.clone());
    let others = [("/health", get(query::probe)), ("/metrics", get(query::metrics))];
    let routes = with_routes(Router::new().nest("/api/v1/telemetry", with_routes(Router::new(), telemetry)), others)
        .merge(docs::routes(rest.config.page))
        .merge(page::routes(&rest))
        .fallback(|| async { ApiError::NotFound("there is no such route".to_owned()) })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(axum::Extension(BodyBudget(bodies)))
        .layer(from_fn_with_state(rest.clone(), page::admit))
        .layer(from_fn_with_state(rest.clone(), bounded))
        .layer(from_fn(correlated))
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

/// Adds routes, each with and without a slash at its end.
fn with_routes(
    router: Router<Arc<Rest>>,
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<Arc<Rest>>)>,
) -> Router<Arc<Rest>> {
    routes
        .into_iter()
        .fold(router, |router, (path, methods)| router.route(path, methods.clone()).route(&format!("{path}/"), methods))
}

/// Answers connections of `listener` until `shutdown` resolves, then finishes what is under way. Requests see the room
/// that is current when they come.
///
/// # Errors
/// Never in the middle of service: a connection that cannot be accepted is logged and the next one awaited.
pub async fn serve(
    listener: TcpListener,
    mut rest: watch::Receiver<Arc<Rest>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let first = rest.borrow_and_update().clone();
    let config = first.config.clone();
    // One over all reloads: a body that is held by a request of before counts against the requests after it.
    let bodies = Budget::new(config.max_body_bytes);
    let current = Arc::new(RwLock::new(router(first, bodies.clone())));
    let mut server = http1::Builder::new();
    // Also bounds how long a connection may stay idle: the next head must come within it.
    server
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_seconds))
        .max_buf_size(MOST_HEAD_BYTES)
        .max_header_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS);
    let places = Arc::new(Semaphore::new(config.max_connections));
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // A place first: beyond the limit, connections wait in the kernel's queue.
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            () = &mut shutdown => break,
            Ok(()) = rest.changed() => {
                let rest = rest.borrow_and_update().clone();
                bodies.set_limit(rest.config.max_body_bytes);
                *current.write() = router(rest, bodies.clone());
                continue;
            }
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely; at once again would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let current = current.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let service = TowerToHyperService::new(current.read().clone());
            async move { service.call(request).await }
        });
        let connection = server.serve_connection(TokioIo::new(Lingering::new(stream)), service);
        let mut stopping = stopping.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            let told = async {
                // An error means that the loop is gone, which is the same.
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = told => None,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // What is no request gets its answer from hyper, and none of ours.
                let reason = match &error {
                    error if error.is_timeout() => "slow",
                    error if error.is_parse() => "malformed",
                    _ => "broken",
                };
                metrics::counter!("vitals_rest_connections_failed_total", "reason" => reason).increment(1);
                tracing::debug!(%error, reason, "a connection ended early");
            }
        });
    }
    drop(listener);
    stop.send_replace(true);
    let all = u32::try_from(config.max_connections).unwrap_or(u32::MAX);
    let patience = Duration::from_secs(config.shutdown_seconds);
    if tokio::time::timeout(patience, places.acquire_many(all)).await.is_err() {
        tracing::warn!("connections were still open at shutdown");
    }
    Ok(())
}

/// Gives every request an id, a span with it, and an answer with it, whatever happens inside.
async fn correlated(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request
        .headers()
        .get(&CORRELATION)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let waits = waits_for_continue(request.headers());
    let method = request.method().clone();
    let route = route_of(request.uri().path());
    let span = tracing::info_span!("rest", correlation_id = %id, %method, route);
    let mut response = async {
        let inner = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = inner.unwrap_or_else(|_| {
            tracing::error!("a handler panicked");
            ApiError::Internal.into_response()
        });
        let status = response.status().as_u16();
        tracing::debug!(status, took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3, "answered");
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

/// The route's name for metrics and logs: never an id, so that there are few of them.
fn route_of(path: &str) -> &'static str {
    let Some(rest) = path.strip_prefix("/api/v1/telemetry/") else {
        return match path.strip_suffix('/').unwrap_or(path) {
            "/health" => "probe",
            "/metrics" => "metrics",
            _ => "other",
        };
    };
    let name = rest.split('/').next().unwrap_or_default();
    const NAMES: [&str; 14] = [
        "heartbeat",
        "system-metrics",
        "batch",
        "maintenance",
        "uptime-status",
        "uptime-summary",
        "health-check",
        "dashboard",
        "health",
        "agents",
        "series",
        "verdicts",
        "plugins",
        "alerts",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("other")
}

fn is_sane(id: &str) -> bool {
    (1..=LONGEST_CORRELATION).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte))
}

/// Ends a request that takes too long.
async fn bounded(State(rest): State<Arc<Rest>>, request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(rest.config.request_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Timeout.into_response(),
    }
}

/// A caller with `telemetry:read`.
struct Reader(Caller);
/// A caller with `telemetry:write`.
struct Writer(Caller);

fn caller(rest: &Rest, headers: &HeaderMap, scope: Scope, name: &str) -> Result<Caller, ApiError> {
    let header = match headers.get(header::AUTHORIZATION) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| Denied::NotBearer)?),
    };
    let caller = rest.auth.caller(header)?;
    if caller.may(scope) { Ok(caller) } else { Err(ApiError::Forbidden(format!("the token lacks the scope {name}"))) }
}

impl FromRequestParts<Arc<Rest>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let caller = caller(rest, &parts.headers, Scope::Read, "telemetry:read")?;
        pairs(parts)?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<Rest>> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let caller = caller(rest, &parts.headers, Scope::Write, "telemetry:write")?;
        pairs(parts)?;
        Ok(Self(caller))
    }
}

/// The one variable of a path, decoded.
struct PathVariable(String);

impl FromRequestParts<Arc<Rest>> for PathVariable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, rest).await;
        path.map(|axum::extract::Path(text)| Self(text)).map_err(|_| {
            ApiError::Invalid(vec![Problem::new("string_unicode", ["path"], "Input should be UTF-8", None)])
        })
    }
}

/// Anyone, on a route that asks for no token.
struct Anyone;

impl FromRequestParts<Arc<Rest>> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Rest>) -> Result<Self, ApiError> {
        pairs(parts).map(|_| Self)
    }
}

/// The parameters behind `?`. A name that the document does not give to the route is refused, and so is one that comes twice:
/// a filter that is misspelt and ignored gives a wrong answer.
fn pairs(parts: &Parts) -> Result<Vec<(String, String)>, ApiError> {
    let Ok(axum::extract::Query(pairs)) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
    else {
        return Err(ApiError::Invalid(vec![Problem::new("string_unicode", ["query"], "Input should be UTF-8", None)]));
    };
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let known = docs::parameters(path.strip_suffix('/').unwrap_or(path));
    let problem = |(at, (name, value)): (usize, &(String, String))| {
        let (kind, msg) = if !known.contains(&name.as_str()) {
            ("extra_forbidden", format!("The route has no such parameter; it has: {}", listed(known)))
        } else if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
            ("value_error", "The parameter should be given once".to_owned())
        } else {
            return None;
        };
        let name: String = name.chars().take(LONGEST_PARAMETER).collect();
        Some(Problem::new(kind, ["query", &name], msg, Some(&value.as_str().into())))
    };
    let problems: Vec<Problem> = pairs.iter().enumerate().filter_map(problem).take(check::MOST_PROBLEMS).collect();
    none_wrong(problems)?;
    Ok(pairs)
}

/// So much of an unknown parameter's name is sent back, in characters.
const LONGEST_PARAMETER: usize = 100;

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The parameters behind `?`, each once.
struct Query(Vec<(String, String)>);

impl FromRequestParts<Arc<Rest>> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Rest>) -> Result<Self, ApiError> {
        pairs(parts).map(Self)
    }
}

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter read by `parse`; what it cannot read is one more problem.
    fn parsed<T>(
        &self,
        name: &str,
        problems: &mut Vec<Problem>,
        kind: &str,
        expect: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.get(name)?;
        let value = parse(text);
        if value.is_none() {
            problems.push(Problem::new(kind, ["query", name], expect, Some(&text.into())));
        }
        value
    }

    /// One of the names of an enumeration.
    fn named<T: serde::de::DeserializeOwned>(&self, name: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let text = self.get(name)?;
        let value = T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text));
        value
            .map_err(|error| {
                let msg = format!("Input should be another name: {error}");
                problems.push(Problem::new("enum", ["query", name], msg, Some(&text.into())));
            })
            .ok()
    }

    /// A whole number within bounds.
    fn whole(&self, name: &str, bounds: std::ops::RangeInclusive<u32>, problems: &mut Vec<Problem>) -> Option<u32> {
        let text = self.get(name)?;
        let input = Value::from(text);
        let place = ["query", name];
        let (least, most) = (*bounds.start(), *bounds.end());
        match text.parse::<i64>() {
            Err(_) => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                problems.push(Problem::new("int_parsing", place, msg, Some(&input)));
            }
            Ok(number) if number < i64::from(least) => {
                let msg = format!("Input should be greater than or equal to {least}");
                problems.push(Problem::new("greater_than_equal", place, msg, Some(&input)));
            }
            Ok(number) if number > i64::from(most) => {
                let msg = format!("Input should be less than or equal to {most}");
                problems.push(Problem::new("less_than_equal", place, msg, Some(&input)));
            }
            Ok(number) => return u32::try_from(number).ok(),
        }
        None
    }

    /// A time; a `+` that was not escaped came as a space.
    fn time(&self, name: &str, problems: &mut Vec<Problem>) -> Option<UnixNanos> {
        let expect = "Input should be a valid RFC 3339 time";
        self.parsed(name, problems, "datetime_parsing", expect, |text| {
            Time::parse(text).or_else(|| Time::parse(&text.replace(' ', "+"))).map(|time| time.0)
        })
    }
}

fn none_wrong(problems: Vec<Problem>) -> Result<(), ApiError> {
    if problems.is_empty() { Ok(()) } else { Err(ApiError::Invalid(problems)) }
}

/// Bytes of bodies that may be held at a time. They are held until the answer is made.
#[derive(Clone)]
struct BodyBudget(Arc<Budget>);

/// When to come back if there is no room for a body.
const ROOM_RETRY: Duration = Duration::from_secs(1);

/// A body with its place.
struct Held {
    bytes: Bytes,
    _place: Option<Permit>,
}

/// The whole body, within the limits.
async fn body(request: Request<Body>) -> Result<Held, ApiError> {
    let headers = request.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::Encoding);
    }
    if headers.get(header::CONTENT_TYPE).is_some_and(|media| !is_json(media)) {
        let msg = "The body should be JSON: send `Content-Type: application/json`";
        return Err(ApiError::Invalid(vec![Problem::new("json_invalid", ["body"], msg, None)]));
    }
    let too_large = || ApiError::TooLarge(format!("the body is larger than {LARGEST_BODY} bytes"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST_BODY) {
        return Err(too_large());
    }
    // A body that does not say how long it is may be as long as one can be.
    let length = announced.unwrap_or(LARGEST_BODY);
    let full = || ApiError::Intake(super::IntakeError::Overloaded { retry_after: ROOM_RETRY });
    let mut place = request.extensions().get::<BodyBudget>().map(|BodyBudget(budget)| budget.permit());
    if place.as_mut().is_some_and(|place| !place.reserve(length)) {
        return Err(full());
    }
    let bytes = axum::body::to_bytes(request.into_body(), LARGEST_BODY).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(cause) = source {
            if cause.is::<http_body_util::LengthLimitError>() {
                return too_large();
            }
            source = cause.source();
        }
        // The client went away or stalled; nobody reads this, but the log tells it from a bug.
        ApiError::SlowBody
    })?;
    Ok(Held { bytes, _place: place })
}

/// Whether a `Content-Type` says JSON, in whatever dialect.
fn is_json(media: &HeaderValue) -> bool {
    let essence = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// JSON longer than this is read on a thread that may block.
const LONG_JSON: usize = 64 * 1024;

/// A JSON body.
struct Parsed {
    value: Value,
    length: usize,
    /// Kept until the answer is made.
    _place: Option<Permit>,
}

/// The JSON body.
async fn json_body(request: Request<Body>) -> Result<Parsed, ApiError> {
    let Held { bytes, _place } = body(request).await?;
    let length = bytes.len();
    let value = if length > LONG_JSON { blocking(move || check::json(&bytes)).await? } else { check::json(&bytes) };
    Ok(Parsed { value: value.map_err(ApiError::Invalid)?, length, _place })
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|error| {
        tracing::error!(%error, "work on a blocking thread panicked");
        ApiError::Internal
    })
}

/// The message in the JSON body.
async fn message<T: serde::de::DeserializeOwned>(
    request: Request<Body>,
    fields: &'static [check::Field],
) -> Result<T, ApiError> {
    let parsed = json_body(request).await?;
    check::message(parsed.value, fields, &["body".into()]).map_err(ApiError::Invalid)
}

impl Rest {
    fn now(&self) -> UnixNanos {
        (self.clock)()
    }

    /// The agent `key` for a caller: 403 when the token may not touch it (whether or not it exists), 404 when it
    /// does not exist in the caller's tenant.
    fn agent(&self, caller: &Caller, key: &str) -> Result<Arc<AgentDesc>, ApiError> {
        touchable(caller, key)?;
        self.registry
            .agent_by_key(&caller.tenant, key)
            .ok_or_else(|| ApiError::NotFound(format!("there is no telemetry for {key}")))
    }

    /// All agents of the caller's tenant that the token may touch.
    fn agents(&self, caller: &Caller) -> Vec<Arc<AgentDesc>> {
        let mut agents = self.registry.agents_of(&caller.tenant);
        agents.retain(|agent| caller.may_touch(&agent.key));
        agents
    }

    /// How the service is, asked on a thread that may block: log and store look at the disk.
    async fn status(&self) -> Result<ServiceStatus, ApiError> {
        let status = self.status.clone();
        blocking(move || status()).await
    }

    /// Asks the store on a thread that may block.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let rest = self.clone();
        blocking(move || question(&rest)).await?.map_err(ApiError::from)
    }
}

fn touchable(caller: &Caller, key: &str) -> Result<(), ApiError> {
    if caller.may_touch(key) { Ok(()) } else { Err(ApiError::Forbidden(format!("the token may not touch {key}"))) }
}

/// The id of a target, from the path.
fn check_id(id: &str, name: &str) -> Result<(), ApiError> {
    let problems = check::id(&id.into(), &["path".into(), name.into()]);
    none_wrong(problems)
}

/// Milliseconds since `begun`.
fn took(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// A response with 201 or 202.
fn with_status(status: StatusCode, body: impl serde::Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}
