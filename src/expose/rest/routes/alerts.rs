//! `GET /alerts`: alerts, newest first.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::{AlertInfo, AlertSeverity, AlertState};
use crate::expose::rest::csv::{Cell, Format, Table};
use crate::expose::rest::cursor;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::ranges::not_empty;
use crate::expose::rest::shapes::{Cursor, Id};
use crate::expose::rest::time::Time;
use crate::expose::rest::{DEFAULT_LISTED, MOST_LISTED};
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::ids::UnixNanos;
use vitals_core::store::{AlertKey, AlertQuery};
use vitals_core::verdict::{AlertSeries, Severity};

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
    /// What `after` must be for the next page; null on the last one.
    pub next: Option<String>,
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
        ("severity" = Option<AlertSeverity>, Query, description = "only those at least so severe"),
        ("type" = Option<String>, Query, description = "only of this `alert_type`"),
        ("metric" = Option<String>, Query, description = "only those that a value of this metric raised"),
        ("series" = Option<u32>, Query, description = "only those that a value of this series raised"),
        ("after" = Option<Cursor>, Query, description = "only those behind this one: the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "most alerts; 100 by default", minimum = 1, maximum = 10_000),
        ("format" = Option<Format>, Query, description = "`csv` for a file with a line for each; else what `Accept` prefers, and JSON"),
    ),
    responses(
        (status = 200, content((AlertList = "application/json"), (String = "text/csv")), description = "newest first; in CSV the next page is in `Link`"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn alerts(State(rest): State<Arc<Rest>>, Reader(caller): Reader, query: Query) -> Result<Response, ApiError> {
    let mut problems = Vec::new();
    let start = query.time("start", &mut problems).unwrap_or(UnixNanos(i64::MIN));
    let end = query.time("end", &mut problems).unwrap_or(UnixNanos(i64::MAX));
    not_empty(start, end, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let state = query.named::<AlertState>("state", &mut problems);
    let open = query.parsed("open", &mut problems, "bool_parsing", "Input should be true or false", |text| {
        text.parse::<bool>().ok()
    });
    let severity = query.named::<AlertSeverity>("severity", &mut problems).map(Severity::from);
    let after = cursor::alert_after(&query, &mut problems);
    let format = Format::of(&query, &mut problems);
    none_wrong(problems)?;
    let mut agents = rest.agents_asked_for(&caller, &query)?;
    let series = query.get("series").map(|id| rest.series(&caller, id)).transpose()?;
    if let Some(series) = &series {
        agents.get_or_insert_with(|| vec![series.agent]).retain(|agent| *agent == series.agent);
    }
    let question = AlertQuery {
        agents,
        resolved: if open == Some(true) { Some(false) } else { state.map(|state| state == AlertState::Resolved) },
        start,
        end,
        acknowledged: state
            .filter(|state| *state != AlertState::Resolved)
            .map(|state| state == AlertState::Acknowledged),
        severity,
        alert_type: query.get("type").map(str::to_owned),
        metric: query.get("metric").map(str::to_owned),
        series: series.map(|series| AlertSeries {
            metric: series.spec.metric.clone(),
            attributes: series.spec.attributes.iter().cloned().collect(),
        }),
        after,
        // One more says whether there is a next page.
        limit: limit as usize + 1,
        ..AlertQuery::of(caller.tenant.clone())
    };
    let list = rest
        .query_store(move |rest| {
            let mut found = rest.store.alerts(&question)?;
            let is_more = found.len() > limit as usize;
            found.truncate(limit as usize);
            let next = found.last().filter(|_| is_more).map(|last| cursor::of_alert(&AlertKey::of(last)));
            let alerts =
                found.iter().filter_map(|alert| Some(AlertInfo::of(alert, &rest.registry.agent(alert.agent)?.key)));
            Ok(AlertList { alerts: alerts.collect(), next })
        })
        .await?;
    let next = list.next.clone();
    format.answer(list, "alerts", next.as_deref(), |list, table| {
        table.line(COLUMNS.map(Cell::from));
        list.alerts.iter().for_each(|one| line(one, table));
    })
}

/// The columns of an alert in CSV.
const COLUMNS: [&str; 20] = [
    "alert_id",
    "agent_id",
    "alert_type",
    "severity",
    "state",
    "message",
    "timestamp",
    "resolved_at",
    "duration_seconds",
    "metric_name",
    "attributes",
    "acknowledged_by",
    "acknowledged_at",
    "acknowledge_comment",
    "closed_by",
    "close_comment",
    "silenced_by",
    "silenced_at",
    "silenced_until",
    "silence_comment",
];

fn line(alert: &AlertInfo, table: &mut Table) {
    let attributes = alert
        .attributes
        .as_ref()
        .map(|pairs| pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "));
    table.line([
        (&alert.alert_id).into(),
        (&alert.agent_id).into(),
        (&alert.alert_type).into(),
        Severity::from(alert.severity).name().into(),
        alert.state.name().into(),
        (&alert.message).into(),
        alert.timestamp.into(),
        alert.resolved_at.into(),
        alert.duration_seconds.into(),
        alert.metric_name.as_ref().into(),
        attributes.as_ref().into(),
        alert.acknowledged_by.as_ref().into(),
        alert.acknowledged_at.into(),
        alert.acknowledge_comment.as_ref().into(),
        alert.closed_by.as_ref().into(),
        alert.close_comment.as_ref().into(),
        alert.silenced_by.as_ref().into(),
        alert.silenced_at.into(),
        alert.silenced_until.into(),
        alert.silence_comment.as_ref().into(),
    ]);
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "csv": "alert_id,agent_id,alert_type,severity,state,message,timestamp\r\n837cbd8a3c9cc18c471aa598b82302d7,db-1,cpu_usage,warning,open,\"cpu_usage is 86.5 %, warning from 80.0 %\",2026-01-05T11:59:58Z\r\n",
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
    ],
    "next": null
  }
}"#;
