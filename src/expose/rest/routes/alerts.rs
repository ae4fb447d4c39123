//! `GET /alerts`: alerts, newest first.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::{AlertInfo, AlertState};
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::ranges::not_empty;
use crate::expose::rest::shapes::Id;
use crate::expose::rest::time::Time;
use crate::expose::rest::{DEFAULT_LISTED, MOST_LISTED};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::ids::UnixNanos;
use vitals_core::store::AlertQuery;

/// Most open alerts that are searched for those in a state.
const MOST_ALERTS: usize = 100_000;

#[derive(OpenApi)]
#[openapi(paths(alerts))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(alerts), document: Operation::openapi, examples: EXAMPLES };

/// Alerts, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// The alerts.
    pub alerts: Vec<AlertInfo>,
}

/// Alerts, newest first
#[utoipa::path(
    get, path = "/api/v1/telemetry/alerts", tag = "query", security(("token" = [])),
    params(
        ("agent" = Option<Id>, Query, description = "only of this agent"),
        ("state" = Option<AlertState>, Query, description = "only those in this state"),
        ("open" = Option<bool>, Query, description = "only those not resolved, acknowledged or not"),
        ("start" = Option<Time>, Query, description = "begun at or after; from the first"),
        ("end" = Option<Time>, Query, description = "begun before; to the last"),
        ("limit" = Option<u32>, Query, description = "most alerts; 100 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = AlertList, description = "newest first"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn alerts(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<AlertList>, ApiError> {
    let mut problems = Vec::new();
    let start = query.time("start", &mut problems).unwrap_or(UnixNanos(i64::MIN));
    let end = query.time("end", &mut problems).unwrap_or(UnixNanos(i64::MAX));
    not_empty(start, end, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let state = query.named::<AlertState>("state", &mut problems);
    let open = query.parsed("open", &mut problems, "bool_parsing", "Input should be true or false", |text| {
        text.parse::<bool>().ok()
    });
    none_wrong(problems)?;
    let agents = rest.agents_asked_for(&caller, &query)?;
    let question = AlertQuery {
        tenant: caller.tenant.clone(),
        agents,
        resolved: if open == Some(true) { Some(false) } else { state.map(|state| state == AlertState::Resolved) },
        start,
        end,
        // Whether an open one was acknowledged is looked at here, so nothing may be cut off before.
        limit: match state {
            None | Some(AlertState::Resolved) => limit as usize,
            Some(_) => MOST_ALERTS,
        },
    };
    let alerts = rest
        .ask(move |rest| {
            let found = rest.store.alerts(&question)?;
            let alerts =
                found.iter().filter_map(|alert| Some(AlertInfo::of(alert, &rest.registry.agent(alert.agent)?.key)));
            Ok(alerts.filter(|alert| state.is_none_or(|state| alert.state == state)).take(limit as usize).collect())
        })
        .await?;
    Ok(Json(AlertList { alerts }))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "alerts": [
      {
        "alert_id": "837cbd8a3c9cc18c471aa598b82302d7",
        "severity": "warning",
        "message": "cpu_usage is 86.5 %, warning from 80.0 % (cpu.total)",
        "source": "db-1",
        "alert_type": "cpu_usage",
        "timestamp": "2026-03-01T11:59:58Z",
        "state": "open",
        "resolved": false,
        "agent_id": "db-1",
        "metric_name": "cpu.total",
        "attributes": {}
      },
      {
        "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
        "severity": "critical",
        "message": "cpu_usage is 97.0 %, critical from 95.0 %",
        "source": "web-1",
        "alert_type": "cpu_usage",
        "timestamp": "2026-03-01T11:59:58Z",
        "state": "open",
        "resolved": false,
        "agent_id": "web-1",
        "metric_name": "cpu_usage_percent",
        "attributes": {}
      }
    ]
  }
}"#;
