//! `GET /uptime-summary/{target_id}`: the availability of an agent or system day by day.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::availability::Availability;
use crate::expose::rest::component_uptime::uptime_by_component;
use crate::expose::rest::current_health::CurrentHealth;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::{PathVariable, Query, Reader};
use crate::expose::rest::lookup::check_id;
use crate::expose::rest::ranges::{HoursParams, hours};
use crate::expose::rest::shapes::{Id, TimeRange};
use crate::expose::rest::time::{HOUR, Time, iso_duration, minutes};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(paths(uptime_summary))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(uptime_summary), document: Operation::openapi, examples: EXAMPLES };

/// Availability over a longer time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UptimeSummaryResponse {
    /// The target.
    pub target_id: String,
    /// The window.
    pub summary_period: TimeRange,
    /// When this was made.
    pub generated_at: Time,
    /// Percent of the known time that the target was up; 100 when nothing is known: then `confidence_level` is 0.
    #[schema(minimum = 0, maximum = 100)]
    pub overall_uptime_percentage: f64,
    /// Time up, ISO 8601.
    #[schema(example = "P1DT2H")]
    pub total_uptime_duration: String,
    /// Time down, ISO 8601.
    #[schema(example = "PT5M")]
    pub total_downtime_duration: String,
    /// By day (UTC), oldest first.
    pub daily_uptime: Vec<DayUptime>,
    /// By component: percent of its measured time that was not critical.
    pub uptime_by_component: BTreeMap<String, f64>,
    /// Outages that touch the window.
    pub total_incidents: usize,
    /// Outages by cause.
    pub incident_breakdown: BTreeMap<String, u64>,
    /// Mean length of the closed outages; null when there was none.
    pub mttr_minutes: Option<f64>,
    /// Time up by number of outages; null when there was none.
    pub mtbf_hours: Option<f64>,
    /// Objectives by name.
    pub sla_targets: BTreeMap<String, f64>,
    /// Whether they are met, by name; unknown ones are left out.
    pub sla_compliance: BTreeMap<String, bool>,
    /// Share of the window that is known, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence_level: f64,
}

/// One day (UTC).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DayUptime {
    /// Which.
    #[schema(format = Date, example = "2026-03-01")]
    pub date: String,
    /// Percent of its known time; null when nothing is known.
    pub uptime_percentage: Option<f64>,
    /// Time up.
    pub uptime_minutes: f64,
    /// Time down.
    pub downtime_minutes: f64,
}

/// Availability day by day, with its incidents
#[utoipa::path(
    get, path = "/api/v1/telemetry/uptime-summary/{target_id}", tag = "telemetry", security(("token" = [])),
    params(("target_id" = Id, Path, description = "the agent or system", example = "web-1"), HoursParams),
    responses(
        (status = 200, body = UptimeSummaryResponse, description = "the window up to now"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn uptime_summary(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
    query: Query,
) -> Result<Json<UptimeSummaryResponse>, ApiError> {
    check_id(&id, "target_id")?;
    let hours = hours(&query)?;
    let agent = rest.agent(&caller, &id)?;
    let now = rest.now();
    let response = rest
        .ask(move |rest| {
            let start = now.plus(-i64::from(hours) * HOUR);
            let current_health = CurrentHealth::of(rest, &agent, now);
            let availability = Availability::of(rest, &caller, &agent, &current_health, (start, now), now)?;
            let summary = &availability.summary;
            let mut breakdown = BTreeMap::new();
            for outage in &summary.outages {
                *breakdown.entry(outage.cause.name().to_owned()).or_insert(0) += 1;
            }
            let daily = summary.days.iter().map(|day| DayUptime {
                date: Time(day.date).to_string().chars().take_while(|&c| c != 'T').collect(),
                uptime_percentage: day.tally.percent(),
                uptime_minutes: minutes(day.tally.up),
                downtime_minutes: minutes(day.tally.down),
            });
            let objective = "availability".to_owned();
            Ok(UptimeSummaryResponse {
                target_id: agent.key.clone(),
                summary_period: TimeRange { start_time: Time(start), end_time: Time(now), timezone: "UTC".to_owned() },
                generated_at: Time(now),
                confidence_level: summary.confidence,
                overall_uptime_percentage: availability.percent(),
                total_uptime_duration: iso_duration(summary.tally.up),
                total_downtime_duration: iso_duration(summary.tally.down),
                daily_uptime: daily.collect(),
                uptime_by_component: uptime_by_component(rest, &agent, start, now)?,
                total_incidents: summary.outages.len(),
                incident_breakdown: breakdown,
                mttr_minutes: availability.mttr_minutes(),
                mtbf_hours: availability.mtbf_hours(),
                sla_targets: [(objective.clone(), availability.target)].into(),
                sla_compliance: availability.compliant().map(|met| (objective, met)).into_iter().collect(),
            })
        })
        .await?;
    Ok(Json(response))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "target_id": "web-1",
    "summary_period": {"start_time": "2026-02-28T12:00:00.223Z", "end_time": "2026-03-01T12:00:00.223Z", "timezone": "UTC"},
    "generated_at": "2026-03-01T12:00:00.223Z",
    "overall_uptime_percentage": 78.641,
    "total_uptime_duration": "PT7M30S",
    "total_downtime_duration": "PT2M2S",
    "daily_uptime": [
      {"date": "2026-02-28", "uptime_percentage": null, "uptime_minutes": 0, "downtime_minutes": 0},
      {"date": "2026-03-01", "uptime_percentage": 78.641, "uptime_minutes": 7.5, "downtime_minutes": 2.037}
    ],
    "uptime_by_component": {"cpu": 93.333, "disk": 100, "memory": 100, "response_time": 100},
    "total_incidents": 2,
    "incident_breakdown": {"silent": 1, "unhealthy": 1},
    "mttr_minutes": 2,
    "mtbf_hours": 0.062,
    "sla_targets": {"availability": 99.9},
    "sla_compliance": {"availability": false},
    "confidence_level": 0.007
  }
}"#;
