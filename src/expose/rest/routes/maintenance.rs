//! `/maintenance`: maintenance windows, listed and planned.

use super::Route;
use crate::clock::time_zone;
use crate::expose::Rest;
use crate::expose::rest::body::message;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::error::{
    AnyErrors, ApiError, BodyErrors, ConflictError, ParameterErrors, TokenErrors, none_wrong,
};
use crate::expose::rest::extract::{Operator, Query, Reader};
use crate::expose::rest::shapes::{Id, MetricName, Name};
use crate::expose::rest::time::{Time, nanos_of_seconds};
use crate::expose::stream::is_within;
use crate::net::Refusal;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Caller;
use vitals_core::ids::{Partition, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::record::Record;

/// Most glob patterns of one window.
const MOST_PATTERNS: usize = 100;
/// Most windows of a tenant that are not over: each agent that is new is held against all of them.
const MOST_WINDOWS: usize = 1_000;

#[derive(OpenApi)]
#[openapi(paths(windows, maintenance))]
struct Operation;

/// The route.
pub const ROUTE: Route =
    Route { methods: || get(windows).post(maintenance), document: Operation::openapi, examples: EXAMPLES };

/// A maintenance window that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceRequest {
    /// The one agent that is meant; or say `agents`. It need not be known yet.
    #[serde(default)]
    #[schema(value_type = Option<Id>)]
    pub agent_id: Option<String>,
    /// Glob patterns (`*`, `?`) of the ids of agents, of those that are known and of those that will be; at most 100.
    #[serde(default)]
    #[schema(value_type = Vec<MetricName>)]
    pub agents: Vec<String>,
    /// From when.
    #[schema(value_type = Time)]
    pub start_time: String,
    /// Until when.
    #[schema(value_type = Time)]
    pub end_time: String,
    /// The IANA name of a time zone, such as `Europe/Berlin`: times without an offset are of it, and not of UTC.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub time_zone: Option<String>,
    /// Why, in the person's words.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub reason: Option<String>,
}

/// A maintenance window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MaintenanceWindow {
    /// Its id.
    pub window_id: String,
    /// The agent, where one was named and no pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Glob patterns of the ids of its agents.
    pub agents: Vec<String>,
    /// From when.
    pub start_time: Time,
    /// Until when.
    pub end_time: Time,
    /// The zone in which its times were given.
    pub time_zone: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who planned it.
    pub by: String,
    /// When it was planned.
    pub created_at: Time,
    /// Who changed it last.
    pub changed_by: Option<String>,
    /// When it was changed last; null when nobody did.
    pub changed_at: Option<Time>,
    /// Where it stands.
    pub state: WindowState,
}

/// Where a maintenance window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowState {
    /// It has not begun.
    Planned,
    /// It is under way.
    Active,
    /// It is over.
    Over,
    /// It was called off; what had passed of it stays maintenance.
    Cancelled,
}

impl WindowState {
    /// The state of `window` at `now`.
    pub fn of(window: &PersonWindow, now: UnixNanos) -> Self {
        match window {
            one if one.cancelled => Self::Cancelled,
            one if one.end <= now => Self::Over,
            one if one.start <= now => Self::Active,
            _ => Self::Planned,
        }
    }
}

impl MaintenanceWindow {
    /// The wire shape of `window` at `now`.
    pub fn of(window: &PersonWindow, now: UnixNanos) -> Self {
        let agent = window.agents.first().filter(|one| window.agents.len() == 1 && !one.contains(['*', '?']));
        Self {
            window_id: window.id.clone(),
            agent_id: agent.cloned(),
            agents: window.agents.clone(),
            start_time: Time(window.start),
            end_time: Time(window.end),
            time_zone: window.time_zone.clone(),
            reason: window.reason.clone(),
            by: window.by.clone(),
            created_at: Time(window.created),
            changed_by: window.changed_by.clone(),
            changed_at: window.changed_by.as_ref().map(|_| Time(window.changed)),
            state: WindowState::of(window, now),
        }
    }
}

/// Maintenance windows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WindowList {
    /// Those that the token covers, the latest begin first.
    pub windows: Vec<MaintenanceWindow>,
}

/// A change of a window, as the stream tells it.
#[derive(Serialize)]
struct WindowMessage<'a> {
    time: Time,
    change: &'a str,
    window: &'a MaintenanceWindow,
}

pub static CONTRACT: Contract<MaintenanceRequest> = Contract::new();

/// Maintenance windows, the latest begin first
#[utoipa::path(
    get, path = "/api/v1/telemetry/maintenance", tag = "operations", security(("token" = [])),
    params(
        ("state" = Option<WindowState>, Query, description = "only those in this state"),
        ("agent" = Option<Id>, Query, description = "only those that cover this agent, known or not"),
    ),
    responses(
        (status = 200, body = WindowList, description = "windows that were set here; those of the configuration are there"),
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn windows(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<WindowList>, ApiError> {
    let mut problems = Vec::new();
    let state = query.named::<WindowState>("state", &mut problems);
    let (now, agent) = (rest.now(), query.id("agent", &mut problems));
    none_wrong(problems)?;
    let mut found = own_windows(&rest, &caller).await?;
    found.retain(|window| {
        state.is_none_or(|state| WindowState::of(window, now) == state)
            && agent.is_none_or(|agent| window.covers(&caller.tenant, agent))
    });
    found.sort_by(|a, b| (b.start, &a.id).cmp(&(a.start, &b.id)));
    Ok(Json(WindowList { windows: found.iter().map(|window| MaintenanceWindow::of(window, now)).collect() }))
}

/// Plan a maintenance window
#[utoipa::path(
    post, path = "/api/v1/telemetry/maintenance", tag = "operations", security(("token" = [])),
    request_body = MaintenanceRequest,
    responses(
        (
            status = 201, body = MaintenanceWindow,
            description = "neither up nor down in this window, also as far as it lies in the past; the same one sent again is one window"
        ),
        ConflictError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn maintenance(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&rest, &caller, message(request, &CONTRACT).await?)?;
    let now = rest.now();
    let known = own_windows(&rest, &caller).await?;
    let times = (asked.start, asked.end);
    let same = PersonWindow::id_of(&caller.tenant, &asked.agents, times, None);
    let id = match known.iter().find(|window| window.id == same) {
        Some(window) if !window.cancelled && window.agents == asked.agents && (window.start, window.end) == times => {
            return Ok((StatusCode::CREATED, Json(MaintenanceWindow::of(window, now))).into_response());
        }
        // It became another one: this is a new one.
        Some(_) => PersonWindow::id_of(&caller.tenant, &asked.agents, times, Some(now)),
        None => same,
    };
    if known.iter().filter(|window| !window.cancelled && window.end > now).count() >= MOST_WINDOWS {
        let detail =
            format!("there are {MOST_WINDOWS} windows that are not over: cancel some, or name agents by patterns");
        return Err(ApiError::Conflict(detail));
    }
    let Asked { agents, start, end, time_zone, reason } = asked;
    let window = PersonWindow {
        id,
        tenant: caller.tenant.clone(),
        agents,
        start,
        end,
        time_zone,
        reason,
        by: caller.name(),
        created: now,
        changed_by: None,
        changed: now,
        cancelled: false,
    };
    let answer = put(&rest, window, "planned").await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// The windows of the caller's tenant of which all agents are within the token.
pub async fn own_windows(rest: &Arc<Rest>, caller: &Caller) -> Result<Vec<PersonWindow>, ApiError> {
    let tenant = caller.tenant.clone();
    let mut found = rest.query_store(move |rest| rest.store.windows(&tenant)).await?;
    found.retain(|window| not_covered(caller, &window.agents).is_none());
    Ok(found)
}

/// The first pattern of agents that the token does not cover.
fn not_covered<'a>(caller: &Caller, agents: &'a [String]) -> Option<&'a String> {
    let globs = caller.agents.as_ref()?;
    agents.iter().find(|pattern| !globs.iter().any(|glob| is_within(pattern, glob)))
}

/// Has every partition know a window as it is now, and tells the streams.
pub async fn put(rest: &Rest, window: PersonWindow, change: &str) -> Result<MaintenanceWindow, ApiError> {
    let bytes = size_of::<PersonWindow>() + window.agents.iter().map(String::len).sum::<usize>();
    // The agents that it covers may be in any partition.
    let submitted: Vec<_> = (0..rest.partitions)
        .map(|partition| rest.submitter.submit(Partition(partition), Record::Maintenance(window.clone()), bytes))
        .collect();
    for done in submitted {
        done.await?;
    }
    let shown = MaintenanceWindow::of(&window, window.changed);
    let body = WindowMessage { time: Time(window.changed), change, window: &shown };
    rest.streams.maintenance_changed(&window.tenant, &window.agents, &body);
    Ok(shown)
}

/// What a request asks for, understood.
pub struct Asked {
    pub agents: Vec<String>,
    pub start: UnixNanos,
    pub end: UnixNanos,
    pub time_zone: Option<String>,
    pub reason: Option<String>,
}

impl Asked {
    /// Reads a request of `caller`.
    pub fn read(rest: &Rest, caller: &Caller, request: MaintenanceRequest) -> Result<Self, ApiError> {
        let wrong = |field: &str, msg: String, input: &str| {
            ApiError::Invalid(vec![Problem::new("value_error", ["body", field], msg, Some(&Value::from(input)))])
        };
        let zone = match &request.time_zone {
            None => None,
            Some(name) => Some(time_zone(name).map_err(|msg| wrong("time_zone", msg, name))?),
        };
        let time = |field: &str, text: &str| {
            Time::in_zone(text, zone.as_ref())
                .map(|time| time.0)
                .ok_or_else(|| wrong(field, "Input should be a valid RFC 3339 time".to_owned(), text))
        };
        let (start, end) = (time("start_time", &request.start_time)?, time("end_time", &request.end_time)?);
        if end <= start {
            return Err(wrong("end_time", "end_time should be after start_time".to_owned(), &Time(end).to_string()));
        }
        let days = rest.config.sla_period_days;
        if start < rest.now().plus(-nanos_of_seconds(u64::from(days) * 86_400)) {
            // What is older is settled: nothing that a window could change is kept of it.
            let msg = format!("start_time should be at most {days} days ago, the objective's period");
            return Err(wrong("start_time", msg, &Time(start).to_string()));
        }
        let mut agents: Vec<String> = request.agents.into_iter().chain(request.agent_id).collect();
        agents.sort_unstable();
        agents.dedup();
        if !(1..=MOST_PATTERNS).contains(&agents.len()) {
            let msg = format!("agents should have 1 to {MOST_PATTERNS} patterns, or agent_id should name one agent");
            return Err(wrong("agents", msg, &agents.len().to_string()));
        }
        if let Some(pattern) = not_covered(caller, &agents) {
            return Err(Refusal::AgentForbidden(pattern.clone()).into());
        }
        Ok(Self { agents, start, end, time_zone: request.time_zone, reason: request.reason })
    }
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "get": {
    "200": {
      "windows": [
        {
          "window_id": "8a02bb8ac0c23b3a4b4f6d2d0f1c1b5e",
          "agents": ["db-1", "web-*"],
          "start_time": "2026-03-01T15:00:00Z",
          "end_time": "2026-03-01T16:00:00Z",
          "time_zone": "Europe/Berlin",
          "reason": "new kernel",
          "by": "ops",
          "created_at": "2026-03-01T12:00:00.231Z",
          "changed_by": null,
          "changed_at": null,
          "state": "planned"
        }
      ]
    }
  },
  "post": {
    "request": {
      "agents": ["web-*", "db-1"],
      "start_time": "2026-03-01T15:00:00Z",
      "end_time": "2026-03-01T16:00:00Z",
      "time_zone": "Europe/Berlin",
      "reason": "new kernel"
    },
    "201": {
      "window_id": "8a02bb8ac0c23b3a4b4f6d2d0f1c1b5e",
      "agents": ["db-1", "web-*"],
      "start_time": "2026-03-01T15:00:00Z",
      "end_time": "2026-03-01T16:00:00Z",
      "time_zone": "Europe/Berlin",
      "reason": "new kernel",
      "by": "ops",
      "created_at": "2026-03-01T12:00:00.231Z",
      "changed_by": null,
      "changed_at": null,
      "state": "planned"
    }
  }
}"#;
