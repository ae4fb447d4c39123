//! `/maintenance/{id}`: one maintenance window, changed or called off.

use super::Route;
use super::maintenance::{
    Asked, CONTRACT, MaintenanceRequest, MaintenanceWindow, WindowState, own_windows, put as put_window,
};
use crate::expose::Rest;
use crate::expose::rest::body::message;
use crate::expose::rest::error::{
    AnyErrors, ApiError, BodyErrors, ConflictError, MissingError, ParameterErrors, TokenErrors,
};
use crate::expose::rest::extract::{Operator, PathVariable, Reader};
use axum::Json;
use axum::extract::{Request, State};
use axum::routing::get;
use std::sync::Arc;
use utoipa::OpenApi;
use vitals_core::caller::Caller;
use vitals_core::maintenance::PersonWindow;

#[derive(OpenApi)]
#[openapi(paths(maintenance_window, change_maintenance, cancel_maintenance))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route {
    methods: || get(maintenance_window).put(change_maintenance).delete(cancel_maintenance),
    document: Operation::openapi,
    examples: EXAMPLES,
};

async fn find(rest: &Arc<Rest>, caller: &Caller, id: &str) -> Result<PersonWindow, ApiError> {
    let found = own_windows(rest, caller).await?.into_iter().find(|window| window.id == id);
    found.ok_or_else(|| ApiError::not_found(format!("there is no maintenance window {id}")))
}

/// One maintenance window
#[utoipa::path(
    get, path = "/api/v1/telemetry/maintenance/{id}", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the window's id")),
    responses(
        (status = 200, body = MaintenanceWindow, description = "as it is now"),
        MissingError, TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn maintenance_window(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
) -> Result<Json<MaintenanceWindow>, ApiError> {
    let window = find(&rest, &caller, &id).await?;
    Ok(Json(MaintenanceWindow::of(&window, rest.now())))
}

/// Change a maintenance window
#[utoipa::path(
    put, path = "/api/v1/telemetry/maintenance/{id}", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the window's id")),
    request_body = MaintenanceRequest,
    responses(
        (
            status = 200, body = MaintenanceWindow,
            description = "as asked for; of one that is under way only the end and the reason can change"
        ),
        ConflictError, MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn change_maintenance(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<MaintenanceWindow>, ApiError> {
    let request: MaintenanceRequest = message(request, &CONTRACT).await?;
    let window = find(&rest, &caller, &id).await?;
    let Asked { agents, start, end, time_zone, reason } = Asked::read(&rest, &caller, request)?;
    let now = rest.now();
    let conflict = |detail: &str| Err(ApiError::Conflict(detail.to_owned()));
    match WindowState::of(&window, now) {
        WindowState::Over => return conflict("the window is over: what is past stays"),
        WindowState::Active if (start, &agents) != (window.start, &window.agents) => {
            return conflict("the window is under way: its start and its agents stay; end it, and plan another one");
        }
        WindowState::Cancelled if window.start <= now => {
            return conflict("the window had begun when it was called off: plan another one");
        }
        WindowState::Active | WindowState::Planned | WindowState::Cancelled => {}
    }
    let changed = PersonWindow {
        agents,
        start,
        // What is past stays maintenance.
        end: end.max(now.min(window.end)),
        time_zone,
        reason,
        changed_by: Some(caller.name()),
        changed: now.max(window.changed.plus(1)),
        cancelled: false,
        ..window
    };
    Ok(Json(put_window(&rest, changed, "changed").await?))
}

/// Call a maintenance window off
#[utoipa::path(
    delete, path = "/api/v1/telemetry/maintenance/{id}", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the window's id")),
    responses(
        (status = 200, body = MaintenanceWindow, description = "called off; what had passed of it stays maintenance"),
        ConflictError, MissingError, TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn cancel_maintenance(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
) -> Result<Json<MaintenanceWindow>, ApiError> {
    let window = find(&rest, &caller, &id).await?;
    let now = rest.now();
    match WindowState::of(&window, now) {
        WindowState::Cancelled => return Ok(Json(MaintenanceWindow::of(&window, now))),
        WindowState::Over => return Err(ApiError::Conflict("the window is over: what is past stays".to_owned())),
        WindowState::Active | WindowState::Planned => {}
    }
    let cancelled = PersonWindow {
        changed_by: Some(caller.name()),
        changed: now.max(window.changed.plus(1)),
        cancelled: true,
        ..window
    };
    Ok(Json(put_window(&rest, cancelled, "cancelled").await?))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {
    "agents": ["web-*", "db-1"],
    "start_time": "2026-03-01T15:00:00Z",
    "end_time": "2026-03-01T17:00:00Z",
    "reason": "new kernel, takes longer"
  },
  "200": {
    "window_id": "8a02bb8ac0c23b3a4b4f6d2d0f1c1b5e",
    "agents": ["db-1", "web-*"],
    "start_time": "2026-03-01T15:00:00Z",
    "end_time": "2026-03-01T17:00:00Z",
    "time_zone": null,
    "reason": "new kernel, takes longer",
    "by": "ops",
    "created_at": "2026-03-01T12:00:00.231Z",
    "changed_by": "ops",
    "changed_at": "2026-03-01T12:00:01.002Z",
    "state": "planned"
  }
}"#;
