//! `POST /alerts/{id}/acknowledge`: acknowledges an alert.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::error::{AnyErrors, ApiError, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::{PathVariable, Writer};
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use std::sync::Arc;
use utoipa::OpenApi;
use vitals_core::ids::Partition;
use vitals_core::record::Record;

#[derive(OpenApi)]
#[openapi(paths(acknowledge))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(acknowledge), document: Operation::openapi, examples: EXAMPLES };

/// Acknowledge an alert
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/acknowledge", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    responses(
        (status = 200, body = AlertInfo, description = "acknowledged, now or before"),
        (status = 429, body = ErrorBody, description = "too much is in flight; with `Retry-After`"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn acknowledge(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    PathVariable(id): PathVariable,
) -> Result<Json<AlertInfo>, ApiError> {
    let (tenant, wanted) = (caller.tenant.clone(), id.clone());
    let found = rest.ask(move |rest| rest.store.alert(&tenant, &wanted)).await?;
    let missing = || ApiError::not_found(format!("there is no alert {id}"));
    let mut alert = found.ok_or_else(missing)?;
    // An id says nothing of whose it is, and the answer must not either.
    let agent = rest.registry.agent(alert.agent).filter(|agent| caller.may_touch(&agent.key)).ok_or_else(missing)?;
    if alert.acknowledged.is_none() {
        let by = caller.subject.clone().unwrap_or_else(|| "anonymous".to_owned());
        let at = rest.now();
        let record = Record::Acknowledge { alert: id, agent: agent.id, by: by.clone(), at };
        rest.submitter.submit(Partition::of(agent.id, rest.partitions), record, size_of::<Record>()).await?;
        alert.acknowledged = Some((by, at));
    }
    Ok(Json(AlertInfo::of(&alert, &agent.key)))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
    "severity": "critical",
    "message": "cpu_usage is 97.0 %, critical from 95.0 % (cpu_usage_percent)",
    "source": "web-1",
    "alert_type": "cpu_usage",
    "timestamp": "2026-03-01T11:59:58Z",
    "state": "acknowledged",
    "resolved": false,
    "agent_id": "web-1",
    "metric_name": "cpu_usage_percent",
    "attributes": {},
    "acknowledged_by": "ops",
    "acknowledged_at": "2026-03-01T12:00:00.231Z"
  }
}"#;
