//! `POST /health-check`.

use super::check::{self, Problem};
use super::components::components;
use super::current_health::CurrentHealth;
use super::error::{AnyErrors, ApiError, BodyErrors, MissingError, TokenErrors};
use super::insight::{Availability, DAY, assessment, trends};
use super::time::{HOUR, Time, iso_duration};
use super::uptime::MOST_HOURS;
use super::wire::{
    Assessment, FailurePattern, Health, HealthCheckRequest, HealthStatusResponse, SeriesTrend, TimeRange,
};
use super::{Reader, message};
use crate::expose::Rest;
use axum::Json;
use axum::extract::{Request, State};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;

/// The range of a request, which must neither be empty nor longer than a year.
pub fn range_of(range: &TimeRange) -> Result<(UnixNanos, UnixNanos), ApiError> {
    let (start, end) = (range.start_time.0, range.end_time.0);
    let msg = if start >= end {
        "end_time should be after start_time".to_owned()
    } else if i128::from(end.0) - i128::from(start.0) > i128::from(MOST_HOURS) * i128::from(HOUR) {
        format!("end_time should be at most {MOST_HOURS} hours after start_time")
    } else {
        return Ok((start, end));
    };
    let input = Value::from(range.end_time.to_string());
    Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "time_range", "end_time"], msg, Some(&input))]))
}

/// What a type of assessment looks at.
#[derive(Clone, Copy)]
struct Depth {
    components: bool,
    trends: bool,
    forecast: bool,
    patterns: bool,
}

impl Depth {
    fn of(request: &HealthCheckRequest) -> Self {
        let historical = request.include_historical;
        let (components, deep, forecast) = match request.assessment_type {
            Assessment::Quick | Assessment::Basic => (false, false, false),
            Assessment::Component => (true, false, false),
            Assessment::Predictive => (true, true, true),
            Assessment::Full | Assessment::Comprehensive => (true, true, false),
        };
        Self { components, trends: deep && (historical || forecast), forecast, patterns: deep && historical }
    }
}

/// Assess an agent or system
///
/// `quick` and `basic` look at the health and the availability, `component` at all components, `full` and
/// `comprehensive` at trends and failure patterns, `predictive` the time to the thresholds.
#[utoipa::path(
    post, path = "/api/v1/telemetry/health-check", tag = "telemetry", security(("token" = [])),
    request_body = HealthCheckRequest,
    responses(
        (status = 200, body = HealthStatusResponse, description = "the assessment"),
        MissingError,
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn health_check(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    request: Request,
) -> Result<Json<HealthStatusResponse>, ApiError> {
    let request: HealthCheckRequest = message(request, check::HEALTH_CHECK).await?;
    let agent = rest.agent(&caller, &request.target_id)?;
    let now = rest.now();
    let (start, end) = match &request.time_range {
        Some(range) => range_of(range)?,
        None => (now.plus(-DAY), now),
    };
    let depth = Depth::of(&request);
    let response = rest
        .ask(move |rest| {
            let current_health = CurrentHealth::of(rest, &agent, now);
            let availability = Availability::of(rest, &caller, &agent, &current_health, (start, end), now)?;
            // What nobody has judged is known by its components alone.
            let deep = depth.components || !request.components.is_empty() || current_health.judged.is_none();
            let mut parts = components(rest, &agent, &current_health, now, deep)?;
            if !request.components.is_empty() {
                // What was asked for and is not measured is unknown, not missing.
                let health = |name: &String| parts.get(name).copied().unwrap_or(Health::Unknown);
                parts = request.components.iter().map(|name| (name.clone(), health(name))).collect();
            }
            let health_assessment = assessment(&current_health, &availability, &parts);
            let trends =
                if depth.trends { trends(rest, &agent, start, end.min(now), depth.forecast)? } else { BTreeMap::new() };
            let patterns =
                if depth.patterns { availability.patterns(agent.profile.location.as_deref()) } else { Vec::new() };
            Ok(HealthStatusResponse {
                target_id: agent.key.clone(),
                assessment_id: uuid::Uuid::new_v4().to_string(),
                assessment_completed_at: Time(rest.now()),
                health_assessment,
                uptime_percentage: availability.percent(),
                downtime_duration: iso_duration(availability.summary.tally.down),
                uptime_sessions: if request.include_historical { availability.sessions() } else { Vec::new() },
                clock_skew_ms: current_health.clock_skew_ms(),
                sla_target: Some(availability.target),
                sla_compliance: availability.compliant(),
                sla_breach_risk: availability.risk(),
                maintenance_suggestions: suggestions(&parts, &trends, &patterns),
                performance_trends: trends,
                health_recommendations: availability.advice(&current_health, &patterns),
                failure_patterns: patterns,
                confidence_level: availability.summary.confidence,
            })
        })
        .await?;
    Ok(Json(response))
}

/// What to plan: components that are not well, trends that end at a threshold, times at which it keeps failing.
fn suggestions(
    parts: &BTreeMap<String, Health>,
    trends: &BTreeMap<String, SeriesTrend>,
    patterns: &[FailurePattern],
) -> Vec<String> {
    let mut plans = Vec::new();
    for (name, health) in parts {
        match health {
            Health::Critical => plans.push(format!("{name} is critical: relieve it or add capacity now.")),
            Health::Degraded => plans.push(format!("{name} is degraded: plan capacity for it.")),
            _ => {}
        }
    }
    for (name, trend) in trends {
        match trend.hours_to_critical.flatten() {
            Some(hours) if hours > 0.0 => {
                plans.push(format!("{name} reaches its critical threshold in about {hours:.0} h: act before that."));
            }
            Some(_) => plans.push(format!("{name} is past its critical threshold.")),
            None => {}
        }
    }
    for pattern in patterns {
        if let FailurePattern::RecurringHour { from, to, .. } = pattern {
            plans.push(format!("Move what runs between {from} and {to} UTC, or plan a maintenance window for it."));
        }
    }
    plans
}
