//! `POST /maintenance`: plans a maintenance window.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::body::message;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, MissingError, TokenErrors};
use crate::expose::rest::extract::Writer;
use crate::expose::rest::shapes::Id;
use crate::expose::rest::time::{Time, nanos_of_seconds};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::ids::Partition;
use vitals_core::record::Record;

#[derive(OpenApi)]
#[openapi(paths(maintenance))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(maintenance), document: Operation::openapi, examples: EXAMPLES };

/// A planned maintenance window.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceWindow {
    /// The agent.
    #[schema(value_type = Id)]
    pub agent_id: String,
    /// From when.
    pub start_time: Time,
    /// Until when.
    pub end_time: Time,
}

static CONTRACT: Contract<MaintenanceWindow> = Contract::new();

/// Plan a maintenance window
#[utoipa::path(
    post, path = "/api/v1/telemetry/maintenance", tag = "operations", security(("token" = [])),
    request_body = MaintenanceWindow,
    responses(
        (
            status = 201, body = MaintenanceWindow,
            description = "neither up nor down in this window, also as far as it lies in the past"
        ),
        MissingError,
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn maintenance(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    request: Request,
) -> Result<Response, ApiError> {
    let window: MaintenanceWindow = message(request, &CONTRACT).await?;
    if window.end_time <= window.start_time {
        let msg = "end_time should be after start_time";
        let input = Value::from(window.end_time.to_string());
        return Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "end_time"], msg, Some(&input))]));
    }
    let agent = rest.agent(&caller, &window.agent_id)?.id;
    let days = rest.config.sla_period_days;
    if window.start_time.0 < rest.now().plus(-nanos_of_seconds(u64::from(days) * 86_400)) {
        // What is older is settled: nothing that a window could change is kept of it.
        let msg = format!("start_time should be at most {days} days ago, the objective's period");
        let input = Value::from(window.start_time.to_string());
        return Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "start_time"], msg, Some(&input))]));
    }
    let by = caller.subject.clone().unwrap_or_else(|| "anonymous".to_owned());
    let (start, end) = (window.start_time.0, window.end_time.0);
    let record = Record::Maintenance { agent, start, end, by, at: rest.now() };
    rest.submitter.submit(Partition::of(agent, rest.partitions), record, size_of::<Record>()).await?;
    Ok((StatusCode::CREATED, Json(window)).into_response())
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {"agent_id": "web-1", "start_time": "2026-03-01T15:00:00Z", "end_time": "2026-03-01T16:00:00Z"},
  "201": {"agent_id": "web-1", "start_time": "2026-03-01T15:00:00Z", "end_time": "2026-03-01T16:00:00Z"}
}"#;
