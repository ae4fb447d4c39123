//! `GET /stream`: the live stream by Server-Sent Events.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertSeverity;
use crate::expose::rest::error::{
    AnyErrors, ApiError, ErrorBody, MissingError, ParameterErrors, TokenErrors, none_wrong,
};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::stream::{Client, Filter, Kind, Opening, Refusal, Token, Wanted};
use crate::net::{self, ConnectionSlot};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;
use utoipa::OpenApi;
use vitals_core::caller::Caller;
use vitals_core::ids::SeriesId;
use vitals_core::verdict::Severity;

/// Most series that one stream follows.
const MOST_SERIES: usize = 200;
/// Most patterns of agents, and the longest of them in characters.
const MOST_GLOBS: usize = 64;
const LONGEST_GLOB: usize = 256;
/// After how many seconds a client that was refused should try again.
const RETRY_AFTER: &str = "60";

#[derive(OpenApi)]
#[openapi(paths(events))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(events), document: Operation::openapi, examples: EXAMPLES };

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
    slot: Option<Extension<ConnectionSlot>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let opening = opening(&rest, caller, &query, &headers)?;
    let client = match Client::open(&rest.streams, opening) {
        Ok(client) => client,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    if let Some(Extension(slot)) = slot {
        slot.leave();
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

pub(super) fn refused(refusal: &Refusal) -> Response {
    let detail = refusal.to_string();
    let mut response = (StatusCode::TOO_MANY_REQUESTS, axum::Json(ErrorBody { detail })).into_response();
    // Thousands that are refused must not hold connections of others while they are idle.
    let fixed = [(header::CONNECTION, "close"), (header::RETRY_AFTER, RETRY_AFTER)];
    response.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// What the client asks for, within what its token allows.
pub(super) fn opening(
    rest: &Arc<Rest>,
    caller: Caller,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Opening, ApiError> {
    let wanted = wanted(rest, &caller, query)?;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let lifetime = rest.auth.lifetime(authorization.as_deref()).map_err(net::Refusal::from)?;
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
            return Err(ApiError::not_found(format!("there is no series {}", id.0)));
        }
    }
    Ok(Wanted { agents, kinds: kinds.unwrap_or_else(|| Kind::STATES.to_vec()), series, severity })
}

/// The items of a list with commas between.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": "retry: 2000\nid: 1772366400000006\nevent: end\ndata: {\"id\":1772366400000006,\"event\":\"end\",\"reason\":\"shutdown\"}\n\n"
}"#;
