//! `GET /ws`: the live stream by WebSocket.

use super::Route;
use super::stream::{opening, refused};
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertSeverity;
use crate::expose::rest::error::{AnyErrors, ApiError, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::stream::{Client, End};
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::time::Duration;
use utoipa::OpenApi;

/// Longest message that is taken from a client; what it says is ignored.
const LONGEST_MESSAGE: usize = 4 * 1024;
/// A client that takes no message for this long is too slow to be served.
const PATIENCE: Duration = Duration::from_secs(60);
/// The token's time is over, or it is not taken any more: 4401 of those left to applications, after the status 401.
const TOKEN_ENDED: u16 = 4401;

#[derive(OpenApi)]
#[openapi(paths(ws))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(ws), document: Operation::openapi, examples: EXAMPLES };

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

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "426": {"detail": "this route speaks WebSocket: send `Upgrade: websocket`, or use /api/v1/telemetry/stream"}
}"#;
