//! `GET /stream` and `GET /ws`: the live stream by Server-Sent Events and by WebSocket.

use super::error::{AnyErrors, ApiError, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use super::wire::AlertSeverity;
use super::{Query, Reader, none_wrong};
use crate::expose::Rest;
use crate::expose::stream::{Client, End, Filter, Kind, Opening, Refusal, Token, Wanted};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use vitals_core::caller::Caller;
use vitals_core::ids::SeriesId;
use vitals_core::verdict::Severity;

/// Most series that one stream follows.
const MOST_SERIES: usize = 200;
/// Most patterns of agents, and the longest of them in characters.
const MOST_GLOBS: usize = 64;
const LONGEST_GLOB: usize = 256;
/// Longest message that is taken from a client; what it says is ignored.
const LONGEST_MESSAGE: usize = 4 * 1024;
/// A WebSocket client that takes no message for this long is too slow to be served.
const PATIENCE: Duration = Duration::from_secs(60);
/// The token's time is over, or it is not taken any more: 4401 of those left to applications, after the status 401.
const TOKEN_ENDED: u16 = 4401;

/// A connection's place among those of ordinary requests.
#[derive(Clone)]
pub struct ConnectionPlace(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl ConnectionPlace {
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Leaves it to others: a stream has a place of its own.
    fn leave(&self) {
        drop(self.0.lock().take());
    }
}

/// Events as they happen, by Server-Sent Events
///
/// What the messages hold is in `/asyncapi.json`. `Last-Event-ID` resumes; what cannot be resumed is said in `event: gap`. Something
/// is sent each 15 seconds. A client that is slow loses events, and is told how many.
#[utoipa::path(
    get, path = "/api/v1/telemetry/stream", operation_id = "stream", tag = "stream", security(("token" = [])),
    params(
        ("agent" = Option<String>, Query, description = "only of these agents: glob patterns, with commas between", example = "web-*"),
        ("kind" = Option<String>, Query, description = "only these, with commas between: `liveness`, `health`, `outlier`, `sla`, `alert`, `maintenance`"),
        ("severity" = Option<AlertSeverity>, Query, description = "only alerts at least as bad as this"),
        ("series" = Option<String>, Query, description = "also samples of these series: their numbers, at most 200, with commas between"),
        ("last_event_id" = Option<String>, Query, description = "for clients that cannot send the header `Last-Event-ID`, which comes first"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "messages, until the token ends or the service stops"),
        (status = 429, body = ErrorBody, description = "there are too many streams; with `Retry-After`"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn events(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
    place: Option<Extension<ConnectionPlace>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let opening = opening(&rest, caller, &query, &headers)?;
    let client = match Client::open(&rest.streams, opening) {
        Ok(client) => client,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if let Some(Extension(place)) = place {
        place.leave();
    }
    let messages = stream::unfold(client, |mut client| async move {
        let message = client.next().await?;
        Some((Ok::<_, Infallible>(message.frame()), client))
    });
    let mut response = Body::from_stream(messages).into_response();
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // The connection has left its place: it serves nothing else.
        (header::CONNECTION, "close"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    response.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(response)
}

/// Events as they happen, by WebSocket
///
/// The same messages as of `/stream`, one a text message. What the client says is ignored. Closed with 4401 when the token ends, 1001
/// when the service stops, 1013 when the client is too slow.
#[utoipa::path(
    get, path = "/api/v1/telemetry/ws", operation_id = "ws", tag = "stream", security(("token" = [])),
    params(
        ("agent" = Option<String>, Query, description = "only of these agents: glob patterns, with commas between", example = "web-*"),
        ("kind" = Option<String>, Query, description = "only these, with commas between: `liveness`, `health`, `outlier`, `sla`, `alert`, `maintenance`"),
        ("severity" = Option<AlertSeverity>, Query, description = "only alerts at least as bad as this"),
        ("series" = Option<String>, Query, description = "also samples of these series: their numbers, at most 200, with commas between"),
        ("last_event_id" = Option<String>, Query, description = "the `id` of the last message that was taken"),
    ),
    responses(
        (status = 101, description = "messages follow"),
        (status = 426, body = ErrorBody, description = "the request does not ask for a WebSocket"),
        (status = 429, body = ErrorBody, description = "there are too many streams; with `Retry-After`"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn ws(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let opening = opening(&rest, caller, &query, &headers)?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE),
        Err(_) => return Ok(not_a_websocket()),
    };
    match Client::open(&rest.streams, opening) {
        Ok(client) => {
            let every = Duration::from_secs(rest.config.stream.heartbeat_seconds.max(1));
            Ok(upgrade.on_upgrade(move |socket| talk(socket, client, every)))
        }
        Err(refusal) => Ok(refused(&refusal)),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = ApiError::Quota(refusal.to_string()).into_response();
    // Thousands that are refused must not hold connections of others while they are idle.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn not_a_websocket() -> Response {
    let detail = "this route speaks WebSocket: send `Upgrade: websocket`, or use /api/v1/telemetry/stream".to_owned();
    let mut response = (StatusCode::UPGRADE_REQUIRED, axum::Json(ErrorBody { detail })).into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Sends messages until the stream is over or the client is gone.
async fn talk(mut socket: WebSocket, mut client: Client, every: Duration) {
    let mut ping = tokio::time::interval(every);
    ping.reset();
    let close = loop {
        let message = tokio::select! {
            message = client.next() => match message.map(|message| Utf8Bytes::try_from(message.json())) {
                Some(Ok(text)) => Message::Text(text),
                Some(Err(error)) => {
                    tracing::error!(%error, "a message of the stream is no UTF-8");
                    continue;
                }
                None => break client.ended().map_or(close_code::AWAY, |end| match end {
                    End::TokenExpired | End::TokenRefused => TOKEN_ENDED,
                    End::Shutdown => close_code::AWAY,
                }),
            },
            said = socket.recv() => match said {
                // What it says is ignored; pings are answered on the way.
                Some(Ok(Message::Close(_))) | None => return,
                Some(Ok(_)) => continue,
                Some(Err(_)) => break close_code::POLICY,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        match tokio::time::timeout(PATIENCE, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => break close_code::AGAIN,
        }
    };
    let reason = client.ended().map_or("", End::name);
    let close = Message::Close(Some(CloseFrame { code: close, reason: Utf8Bytes::from_static(reason) }));
    // Whether it hears it is its own affair.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(close)).await;
}

/// What the client asks for, within what its token allows.
fn opening(rest: &Arc<Rest>, caller: Caller, query: &Query, headers: &HeaderMap) -> Result<Opening, ApiError> {
    let wanted = wanted(rest, &caller, query)?;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let lifetime = rest.auth.lifetime(authorization.as_deref())?;
    let auth = rest.auth.clone();
    let check = Box::new(move || auth.caller(authorization.as_deref()).is_ok());
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    Ok(Opening {
        tenant: caller.tenant.clone(),
        filter: Filter::new(wanted, &caller),
        // A browser may send an empty one before it has any.
        last_event_id: last.or_else(|| query.get("last_event_id")).filter(|id| !id.is_empty()).map(str::to_owned),
        token: Token { lifetime, check },
        clock: rest.clock.clone(),
    })
}

fn wanted(rest: &Rest, caller: &Caller, query: &Query) -> Result<Wanted, ApiError> {
    let mut problems = Vec::new();
    let expect = format!("Input should be 1 to {MOST_GLOBS} glob patterns of at most {LONGEST_GLOB} characters");
    let agents = query.parsed("agent", &mut problems, "value_error", &expect, |text| {
        let globs: Vec<String> = listed(text).map(str::to_owned).collect();
        let is_sane = (1..=MOST_GLOBS).contains(&globs.len())
            && globs.iter().all(|glob| (1..=LONGEST_GLOB).contains(&glob.chars().count()));
        is_sane.then_some(globs)
    });
    let names = Kind::STATES.map(Kind::name).join(", ");
    let expect = format!("Input should be some of {names}, with commas between");
    let kinds = query.parsed("kind", &mut problems, "enum", &expect, |text| listed(text).map(Kind::named).collect());
    let expect = format!("Input should be 1 to {MOST_SERIES} numbers of series, with commas between");
    let series = query.parsed("series", &mut problems, "value_error", &expect, |text| {
        let ids: Option<Vec<SeriesId>> = listed(text).map(|id| id.parse().ok().map(SeriesId)).collect();
        ids.filter(|ids| (1..=MOST_SERIES).contains(&ids.len()))
    });
    let severity = query.named::<Severity>("severity", &mut problems);
    none_wrong(problems)?;
    let mut series = series.unwrap_or_default();
    series.sort_unstable();
    series.dedup();
    for &id in &series {
        // A number says nothing of whose it is, and the answer must not either.
        let owner = rest.registry.series(id).and_then(|series| rest.registry.agent(series.agent));
        if owner.is_none_or(|owner| owner.tenant != caller.tenant || !caller.may_touch(&owner.key)) {
            return Err(ApiError::NotFound(format!("there is no series {}", id.0)));
        }
    }
    Ok(Wanted { agents, kinds: kinds.unwrap_or_else(|| Kind::STATES.to_vec()), series, severity })
}

/// The items of a list with commas between.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}
