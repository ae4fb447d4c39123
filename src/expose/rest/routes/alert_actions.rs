//! What a person does to one alert: acknowledge it or take that back, close it, silence it for a time.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::body::optional_message;
use crate::expose::rest::contract::Contract;
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, ConflictError, MissingError, TokenErrors};
use crate::expose::rest::extract::{Operator, PathVariable};
use crate::expose::rest::shapes::Name;
use axum::Json;
use axum::extract::{Request, State};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::caller::Caller;
use vitals_core::ids::{Partition, UnixNanos};
use vitals_core::record::Record;

const MINUTE: i64 = 60 * UnixNanos::SECOND;

/// Why something is done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// Why, in the person's words.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub comment: Option<String>,
}

/// For how long an alert is silent, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SilenceRequest {
    /// So many minutes from now, at most 30 days; one hour unless said.
    #[serde(default = "hour")]
    #[schema(value_type = u32, minimum = 1, maximum = 43_200, default = 60)]
    pub duration_minutes: f64,
    /// Why, in the person's words.
    #[serde(default)]
    #[schema(value_type = Option<Name>)]
    pub comment: Option<String>,
}

fn hour() -> f64 {
    60.0
}

impl Default for SilenceRequest {
    fn default() -> Self {
        Self { duration_minutes: hour(), comment: None }
    }
}

static REASON: Contract<Reason> = Contract::new();
static SILENCE: Contract<SilenceRequest> = Contract::new();

/// Makes a route of one of the actions.
macro_rules! action_route {
    ($route:ident, $operation:ident, $handler:ident, $examples:ident) => {
        #[derive(OpenApi)]
        #[openapi(paths($handler))]
        struct $operation;

        /// The route.
        pub const $route: Route =
            Route { methods: || post($handler), document: $operation::openapi, examples: $examples };
    };
}

action_route!(ACKNOWLEDGE, AcknowledgeOperation, acknowledge, ACKNOWLEDGE_EXAMPLES);
action_route!(UNACKNOWLEDGE, UnacknowledgeOperation, unacknowledge, UNACKNOWLEDGE_EXAMPLES);
action_route!(SILENCE_ROUTE, SilenceOperation, silence_alert, SILENCE_EXAMPLES);
action_route!(UNSILENCE, UnsilenceOperation, unsilence_alert, UNSILENCE_EXAMPLES);
action_route!(CLOSE, CloseOperation, close_alert, CLOSE_EXAMPLES);

/// Acknowledge an alert
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/acknowledge", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    request_body = Option<Reason>,
    responses(
        (status = 200, body = AlertInfo, description = "acknowledged, now or before"),
        MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn acknowledge(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    act_for_a_reason(&rest, &caller, id, AlertAction::Acknowledge, request).await
}

/// Take an acknowledgement back
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/unacknowledge", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    request_body = Option<Reason>,
    responses(
        (status = 200, body = AlertInfo, description = "nobody sees to it; an open one escalates when its delay is over again"),
        MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn unacknowledge(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    act_for_a_reason(&rest, &caller, id, AlertAction::Unacknowledge, request).await
}

/// Silence an alert for a time
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/silence", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    request_body = Option<SilenceRequest>,
    responses(
        (
            status = 200, body = AlertInfo,
            description = "nobody is notified of it, and it does not escalate, until `silenced_until`; its end is notified"
        ),
        ConflictError, MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn silence_alert(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    let SilenceRequest { duration_minutes, comment } = optional_message(request, &SILENCE).await?;
    // A whole number within its bounds, as the contract has it.
    let until = rest.now().plus(duration_minutes as i64 * MINUTE);
    act(&rest, &caller, id, AlertAction::Silence { until }, comment).await
}

/// End the silence of an alert
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/unsilence", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    request_body = Option<Reason>,
    responses(
        (status = 200, body = AlertInfo, description = "not silent; what it has become meanwhile is notified"),
        MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn unsilence_alert(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    act_for_a_reason(&rest, &caller, id, AlertAction::Unsilence, request).await
}

/// Close an alert
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/close", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    request_body = Option<Reason>,
    responses(
        (
            status = 200, body = AlertInfo,
            description = "over, now or before; while its cause lasts, another one is raised only if it gets worse"
        ),
        MissingError, TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn close_alert(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    act_for_a_reason(&rest, &caller, id, AlertAction::Close, request).await
}

/// As [`act`], with the comment of a request that brings nothing else.
async fn act_for_a_reason(
    rest: &Arc<Rest>,
    caller: &Caller,
    id: String,
    action: AlertAction,
    request: Request,
) -> Result<Json<AlertInfo>, ApiError> {
    let Reason { comment } = optional_message(request, &REASON).await?;
    act(rest, caller, id, action, comment).await
}

/// Has evaluation do `action`; the alert after it.
async fn act(
    rest: &Arc<Rest>,
    caller: &Caller,
    id: String,
    action: AlertAction,
    comment: Option<String>,
) -> Result<Json<AlertInfo>, ApiError> {
    let read = |tenant, id: String| rest.query_store(move |rest| rest.store.alert(&tenant, &id));
    let missing = || ApiError::not_found(format!("there is no alert {id}"));
    let alert = read(caller.tenant.clone(), id.clone()).await?.ok_or_else(missing)?;
    // An id says nothing of whose it is, and the answer must not either.
    let agent = rest.registry.agent(alert.agent).filter(|agent| caller.may_touch(&agent.key)).ok_or_else(missing)?;
    if alert.resolved.is_some() && matches!(action, AlertAction::Silence { .. }) {
        return Err(ApiError::Conflict("the alert is over: there is nothing to silence".to_owned()));
    }
    let (by, at) = (caller.name(), rest.now());
    let command = AlertCommand { alert: id.clone(), agent: agent.id, action, by, at, comment };
    if !command.apply(&mut alert.clone()) {
        return Ok(Json(AlertInfo::of(&alert, &agent.key)));
    }
    let partition = Partition::of(agent.id, rest.partitions);
    let outcome = rest.submitter.submit(partition, Record::Alert(command), size_of::<AlertCommand>()).await?;
    let alert = match outcome.alert {
        Some(alert) => alert,
        None => {
            // It is over, so only the store changed, and no one else tells the streams.
            let changed = read(caller.tenant.clone(), id.clone()).await?.ok_or_else(missing)?;
            if changed != alert {
                rest.streams.alert_changed(&changed, action.done(), at);
            }
            changed
        }
    };
    Ok(Json(AlertInfo::of(&alert, &agent.key)))
}

const ACKNOWLEDGE_EXAMPLES: &str = r#"{
  "request": {"comment": "looking at it"},
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
    "acknowledged_at": "2026-03-01T12:00:00.231Z",
    "acknowledge_comment": "looking at it"
  }
}"#;

const UNACKNOWLEDGE_EXAMPLES: &str = r#"{
  "request": {"comment": "not mine after all"},
  "200": {
    "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
    "severity": "critical",
    "message": "cpu_usage is 97.0 %, critical from 95.0 % (cpu_usage_percent)",
    "source": "web-1",
    "alert_type": "cpu_usage",
    "timestamp": "2026-03-01T11:59:58Z",
    "state": "open",
    "resolved": false,
    "agent_id": "web-1",
    "metric_name": "cpu_usage_percent",
    "attributes": {}
  }
}"#;

const SILENCE_EXAMPLES: &str = r#"{
  "request": {"duration_minutes": 120, "comment": "a batch job until noon"},
  "200": {
    "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
    "severity": "critical",
    "message": "cpu_usage is 97.0 %, critical from 95.0 % (cpu_usage_percent)",
    "source": "web-1",
    "alert_type": "cpu_usage",
    "timestamp": "2026-03-01T11:59:58Z",
    "state": "open",
    "resolved": false,
    "agent_id": "web-1",
    "metric_name": "cpu_usage_percent",
    "attributes": {},
    "silenced_by": "ops",
    "silenced_at": "2026-03-01T12:00:00.231Z",
    "silenced_until": "2026-03-01T14:00:00.231Z",
    "silence_comment": "a batch job until noon"
  }
}"#;

const UNSILENCE_EXAMPLES: &str = r#"{
  "request": {},
  "200": {
    "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
    "severity": "critical",
    "message": "cpu_usage is 97.0 %, critical from 95.0 % (cpu_usage_percent)",
    "source": "web-1",
    "alert_type": "cpu_usage",
    "timestamp": "2026-03-01T11:59:58Z",
    "state": "open",
    "resolved": false,
    "agent_id": "web-1",
    "metric_name": "cpu_usage_percent",
    "attributes": {}
  }
}"#;

const CLOSE_EXAMPLES: &str = r#"{
  "request": {"comment": "the job was stopped"},
  "200": {
    "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
    "severity": "critical",
    "message": "cpu_usage is 97.0 %, critical from 95.0 % (cpu_usage_percent)",
    "source": "web-1",
    "alert_type": "cpu_usage",
    "timestamp": "2026-03-01T11:59:58Z",
    "state": "resolved",
    "resolved": true,
    "resolved_at": "2026-03-01T12:00:00.231Z",
    "duration_seconds": 2.231,
    "agent_id": "web-1",
    "metric_name": "cpu_usage_percent",
    "attributes": {},
    "closed_by": "ops",
    "close_comment": "the job was stopped"
  }
}"#;
