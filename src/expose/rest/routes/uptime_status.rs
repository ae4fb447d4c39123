//! `GET /uptime-status/{agent_id}`: the availability of an agent.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::availability::{Availability, Period};
use crate::expose::rest::components::components;
use crate::expose::rest::csv::{Cell, Format, Table};
use crate::expose::rest::current_health::{CurrentHealth, HealthAssessment, assessment};
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{PathVariable, Query, Reader};
use crate::expose::rest::failure_patterns::FailurePattern;
use crate::expose::rest::lookup::check_id;
use crate::expose::rest::ranges::{HoursParams, hours};
use crate::expose::rest::shapes::Id;
use crate::expose::rest::time::{HOUR, Time, minutes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::rules::quality::heartbeat_quality;

#[derive(OpenApi)]
#[openapi(paths(uptime_status))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(uptime_status), document: Operation::openapi, examples: EXAMPLES };

/// Availability of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UptimeStatusResponse {
    /// The agent.
    pub agent_id: String,
    /// The window's length.
    #[schema(minimum = 1)]
    pub calculation_period_hours: u32,
    /// The window's end.
    pub calculated_at: Time,
    /// Its health now.
    pub health_assessment: HealthAssessment,
    /// Percent of the known time that it was up; 100 when nothing is known: then `confidence_level` is 0 and
    /// `sla_compliance` null.
    #[schema(minimum = 0, maximum = 100)]
    pub uptime_percentage: f64,
    /// Time up.
    #[schema(minimum = 0)]
    pub total_uptime_minutes: f64,
    /// Time down.
    #[schema(minimum = 0)]
    pub total_downtime_minutes: f64,
    /// When it was up, oldest first.
    pub uptime_sessions: Vec<Period>,
    /// When it was down, or in maintenance, which counts neither as up nor as down; oldest first.
    pub downtime_periods: Vec<Period>,
    /// The objective, percent.
    pub sla_target: Option<f64>,
    /// Whether the window meets it; null when nothing is known.
    pub sla_compliance: Option<bool>,
    /// `low`, `medium`, `high`, `breached`; null when nothing is known of the objective's period.
    pub sla_breach_risk: Option<String>,
    /// `improving`, `stable`, `declining`; null when a half of the window is unknown.
    pub availability_trend: Option<String>,
    /// Mean length of the closed outages; null when there was none.
    pub mttr_minutes: Option<f64>,
    /// Time up by number of outages; null when there was none.
    pub mtbf_hours: Option<f64>,
    /// Recurring times and periods, flapping, locations failing together.
    pub failure_patterns: Vec<FailurePattern>,
    /// Advice that a person can act on.
    pub health_recommendations: Vec<String>,
    /// Share of the fields of a heartbeat that the agent sends, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub data_quality_score: f64,
    /// Share of the window that is known, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence_level: f64,
}

/// Availability of an agent
#[utoipa::path(
    get, path = "/api/v1/telemetry/uptime-status/{agent_id}", tag = "telemetry", security(("token" = [])),
    params(("agent_id" = Id, Path, description = "the agent", example = "web-1"), HoursParams,
        ("format" = Option<Format>, Query, description = "`csv` for a file with a line for each; else what `Accept` prefers, and JSON"),
    ),
    responses(
        (status = 200, content((UptimeStatusResponse = "application/json"), (String = "text/csv")), description = "the window up to now; in CSV its sessions and outages"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn uptime_status(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
    query: Query,
) -> Result<Response, ApiError> {
    check_id(&id, "agent_id")?;
    let hours = hours(&query)?;
    let mut problems = Vec::new();
    let format = Format::of(&query, &mut problems);
    none_wrong(problems)?;
    let agent = rest.agent(&caller, &id)?;
    let now = rest.now();
    let response = rest
        .query_store(move |rest| {
            let current_health = CurrentHealth::of(rest, &agent, now);
            let range = (now.plus(-i64::from(hours) * HOUR), now);
            let availability = Availability::of(rest, &caller, &agent, &current_health, range, now)?;
            let parts = components(rest, &agent, &current_health, now, true)?;
            let health_assessment = assessment(&current_health, &availability, &parts);
            let patterns = availability.patterns(agent.profile.location.as_deref());
            let summary = &availability.summary;
            Ok(UptimeStatusResponse {
                agent_id: agent.key.clone(),
                calculation_period_hours: hours,
                calculated_at: Time(now),
                health_assessment,
                uptime_percentage: availability.percent(),
                total_uptime_minutes: minutes(summary.tally.up),
                total_downtime_minutes: minutes(summary.tally.down),
                uptime_sessions: availability.sessions(),
                downtime_periods: availability.downtime(),
                sla_target: Some(availability.target),
                sla_compliance: availability.compliant(),
                sla_breach_risk: availability.risk(),
                availability_trend: summary.trend.map(|trend| trend.name().to_owned()),
                mttr_minutes: availability.mttr_minutes(),
                mtbf_hours: availability.mtbf_hours(),
                health_recommendations: availability.advice(&current_health, &patterns),
                failure_patterns: patterns,
                data_quality_score: heartbeat_quality(&current_health.measurements(), &agent.profile),
                confidence_level: summary.confidence,
            })
        })
        .await?;
    format.answer(response, "uptime", None, lines)
}

/// The sessions and outages of a window, by their beginning.
fn lines(response: &UptimeStatusResponse, table: &mut Table) {
    table.line(["agent_id", "state", "start", "end", "duration_minutes", "began_at"].map(Cell::from));
    let mut periods: Vec<&Period> = response.uptime_sessions.iter().chain(&response.downtime_periods).collect();
    periods.sort_by_key(|period| period.start);
    for period in periods {
        table.line([
            (&response.agent_id).into(),
            period.state.name().into(),
            period.start.into(),
            period.end.into(),
            period.duration_minutes.into(),
            period.began_at.into(),
        ]);
    }
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "csv": "agent_id,state,start,end,duration_minutes,began_at\r\nweb-1,up,2026-01-05T11:59:58.217Z,,0.03,2026-01-05T11:59:58.217Z\r\n",
  "200": {
    "agent_id": "web-1",
    "calculation_period_hours": 24,
    "calculated_at": "2026-03-01T12:00:00.222Z",
    "health_assessment": {
      "overall_health": "critical",
      "health_score": 70,
      "reported_status": "healthy",
      "uptime_percentage": 78.641,
      "last_check": "2026-03-01T11:59:58.217Z",
      "components": {
        "cpu": "critical",
        "disk": "healthy",
        "error_rate": "healthy",
        "memory": "healthy",
        "response_time": "healthy"
      }
    },
    "uptime_percentage": 78.641,
    "total_uptime_minutes": 7.5,
    "total_downtime_minutes": 2.037,
    "uptime_sessions": [
      {
        "start": "2026-03-01T11:50:28Z",
        "end": "2026-03-01T11:54:28Z",
        "duration_minutes": 4,
        "state": "up",
        "began_at": "2026-03-01T11:50:28Z"
      },
      {
        "start": "2026-03-01T11:56:28Z",
        "end": "2026-03-01T11:59:58Z",
        "duration_minutes": 3.5,
        "state": "up",
        "began_at": "2026-03-01T11:56:28Z"
      }
    ],
    "downtime_periods": [
      {
        "start": "2026-03-01T11:54:28Z",
        "end": "2026-03-01T11:56:28Z",
        "duration_minutes": 2,
        "state": "silent",
        "cause": "silent",
        "began_at": "2026-03-01T11:54:28Z"
      },
      {
        "start": "2026-03-01T11:59:58Z",
        "end": null,
        "duration_minutes": 0.037,
        "state": "unhealthy",
        "cause": "unhealthy",
        "began_at": "2026-03-01T11:59:58Z"
      }
    ],
    "sla_target": 99.9,
    "sla_compliance": false,
    "sla_breach_risk": "breached",
    "availability_trend": null,
    "mttr_minutes": 2,
    "mtbf_hours": 0.062,
    "failure_patterns": [],
    "health_recommendations": [
      "CPU is at 97.0 %: find the busiest process, spread its load or add CPUs.",
      "Uptime is 78.64 %, but only 10 min are known: look again when there is more to judge by."
    ],
    "data_quality_score": 0.667,
    "confidence_level": 0.007
  }
}"#;
