//! `GET /uptime-status/{agent_id}` and `GET /uptime-summary/{target_id}`.

use super::components::{components, uptime_by_component};
use super::current_health::CurrentHealth;
use super::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors};
use super::insight::{Availability, assessment};
use super::time::HOUR;
use super::time::{Time, iso_duration, minutes};
use super::wire::{DayUptime, HoursParams, Id, TimeRange, UptimeStatusResponse, UptimeSummaryResponse};
use super::{PathVariable, Query, Reader, check_id, none_wrong};
use crate::expose::Rest;
use axum::Json;
use axum::extract::State;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::rules::quality::heartbeat_quality;

/// The longest range that is looked at, a year.
pub const MOST_HOURS: u32 = 8_760;
const DEFAULT_HOURS: u32 = 24;

fn hours(query: &Query) -> Result<u32, ApiError> {
    let mut problems = Vec::new();
    let hours = query.whole("time_range_hours", 1..=MOST_HOURS, &mut problems);
    none_wrong(problems)?;
    Ok(hours.unwrap_or(DEFAULT_HOURS))
}

/// Availability of an agent
#[utoipa::path(
    get, path = "/api/v1/telemetry/uptime-status/{agent_id}", operation_id = "uptime_status", tag = "telemetry", security(("token" = [])),
    params(("agent_id" = Id, Path, description = "the agent", example = "web-1"), HoursParams),
    responses(
        (status = 200, body = UptimeStatusResponse, description = "the window up to now"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn status(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
    query: Query,
) -> Result<Json<UptimeStatusResponse>, ApiError> {
    check_id(&id, "agent_id")?;
    let hours = hours(&query)?;
    let agent = rest.agent(&caller, &id)?;
    let now = rest.now();
    let response = rest
        .ask(move |rest| {
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
    Ok(Json(response))
}

/// Availability day by day, with its incidents
#[utoipa::path(
    get, path = "/api/v1/telemetry/uptime-summary/{target_id}", operation_id = "uptime_summary", tag = "telemetry", security(("token" = [])),
    params(("target_id" = Id, Path, description = "the agent or system", example = "web-1"), HoursParams),
    responses(
        (status = 200, body = UptimeSummaryResponse, description = "the window up to now"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn summary(
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
