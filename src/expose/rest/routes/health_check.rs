//! `POST /health-check`: assesses an agent or system.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::availability::{Availability, DAY, Period};
use crate::expose::rest::body::message;
use crate::expose::rest::capacity::{CapacityForecast, capacity_advice, capacity_forecasts};
use crate::expose::rest::components::components;
use crate::expose::rest::contract::Contract;
use crate::expose::rest::current_health::{CurrentHealth, HealthAssessment, assessment};
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, MissingError, TokenErrors};
use crate::expose::rest::extract::Reader;
use crate::expose::rest::failure_patterns::FailurePattern;
use crate::expose::rest::ranges::range_of;
use crate::expose::rest::shapes::{Health, Id, TimeRange, yes};
use crate::expose::rest::time::{Time, iso_duration};
use crate::expose::rest::trends::{SeriesTrend, trends};
use axum::Json;
use axum::extract::{Request, State};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(paths(health_check))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(health_check), document: Operation::openapi, examples: EXAMPLES };

/// What to assess.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct HealthCheckRequest {
    /// An agent's or system's id.
    #[schema(value_type = Id)]
    pub target_id: String,
    /// `agent` or `system`; both are looked up alike.
    pub target_type: String,
    /// How deep to look.
    #[serde(default)]
    #[schema(default = "full")]
    pub assessment_type: Assessment,
    /// Over which time, at most 8,760 hours; the last 24 hours if absent.
    pub time_range: Option<TimeRange>,
    /// Only these components; all if empty.
    #[serde(default)]
    pub components: Vec<String>,
    /// Whether to list sessions, trends and patterns.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub include_historical: bool,
}

/// How deep an assessment looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Assessment {
    /// Health, availability, components, trends and failure patterns.
    #[default]
    Full,
    /// Health and availability.
    Quick,
    /// Those, and the components.
    Component,
    /// The same as `quick`.
    Basic,
    /// The same as `full`.
    Comprehensive,
    /// `full`, the time to the thresholds, and until disks and memory are full.
    Predictive,
}

static CONTRACT: Contract<HealthCheckRequest> = Contract::new();

/// An assessment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthStatusResponse {
    /// The target.
    pub target_id: String,
    /// A fresh id.
    pub assessment_id: String,
    /// When it was made.
    pub assessment_completed_at: Time,
    /// The health.
    pub health_assessment: HealthAssessment,
    /// Percent of the known time that the target was up; 100 when nothing is known: then `confidence_level` is 0.
    #[schema(minimum = 0, maximum = 100)]
    pub uptime_percentage: f64,
    /// Time down, ISO 8601.
    #[schema(example = "PT5M")]
    pub downtime_duration: String,
    /// When it was up, oldest first.
    pub uptime_sessions: Vec<Period>,
    /// How many milliseconds its clock is ahead of the server's, negative when behind; null when unknown.
    pub clock_skew_ms: Option<i64>,
    /// The objective, percent.
    pub sla_target: Option<f64>,
    /// Whether the range meets it; null when nothing is known.
    pub sla_compliance: Option<bool>,
    /// `low`, `medium`, `high`, `breached`; null when nothing is known of the objective's period.
    pub sla_breach_risk: Option<String>,
    /// By series.
    pub performance_trends: BTreeMap<String, SeriesTrend>,
    /// `predictive` only: what is in use of each file system and of memory, and when they are full.
    pub capacity_forecasts: BTreeMap<String, CapacityForecast>,
    /// Recurring times and periods, flapping, locations failing together.
    pub failure_patterns: Vec<FailurePattern>,
    /// Advice that a person can act on.
    pub health_recommendations: Vec<String>,
    /// What to plan, and when.
    pub maintenance_suggestions: Vec<String>,
    /// Share of the range that is known, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence_level: f64,
}

/// The parts that a type of assessment looks at.
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
/// `comprehensive` at trends and failure patterns, `predictive` the time to the thresholds and until disks and memory are full.
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
    let request: HealthCheckRequest = message(request, &CONTRACT).await?;
    let agent = rest.agent(&caller, &request.target_id)?;
    let now = rest.now();
    let (start, end) = match &request.time_range {
        Some(range) => range_of(range)?,
        None => (now.plus(-DAY), now),
    };
    let depth = Depth::of(&request);
    let response = rest
        .query_store(move |rest| {
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
            let capacity =
                if depth.forecast { capacity_forecasts(rest, &agent, end.min(now))? } else { BTreeMap::new() };
            let mut health_recommendations = availability.advice(&current_health, &patterns);
            health_recommendations.extend(capacity_advice(&capacity));
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
                capacity_forecasts: capacity,
                health_recommendations,
                failure_patterns: patterns,
                confidence_level: availability.summary.confidence,
            })
        })
        .await?;
    Ok(Json(response))
}

/// Suggests what to plan: components that are not well, trends that end at a threshold, times at which it keeps failing.
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

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {"target_id": "web-1", "target_type": "agent", "assessment_type": "predictive"},
  "200": {
    "target_id": "web-1",
    "assessment_id": "91f98d05-88b0-4635-a309-9486a3ffc6ad",
    "assessment_completed_at": "2026-03-01T12:00:00.225Z",
    "health_assessment": {
      "overall_health": "critical",
      "health_score": 70,
      "reported_status": "healthy",
      "uptime_percentage": 78.64,
      "last_check": "2026-03-01T11:59:58.217Z",
      "components": {
        "cpu": "critical",
        "disk": "healthy",
        "error_rate": "healthy",
        "memory": "healthy",
        "response_time": "healthy"
      }
    },
    "uptime_percentage": 78.64,
    "downtime_duration": "PT2M2S",
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
    "clock_skew_ms": -3,
    "sla_target": 99.9,
    "sla_compliance": false,
    "sla_breach_risk": "breached",
    "performance_trends": {
      "cpu_usage_percent": {
        "metric_type": "cpu_usage",
        "unit": "%",
        "slope_per_hour": 193.789,
        "direction": "increasing",
        "mean": 52.6,
        "last": 97,
        "points": 15,
        "hours_to_warning": 0.054,
        "hours_to_critical": 0.132
      },
      "disk_usage_percent": {
        "metric_type": "disk_usage",
        "unit": "%",
        "slope_per_hour": 0,
        "direction": "stable",
        "mean": 61,
        "last": 61,
        "points": 15,
        "hours_to_warning": null,
        "hours_to_critical": null
      }
    },
    "capacity_forecasts": {
      "/var": {
        "component": "disk",
        "percent": 61,
        "hours_to_full": {"earliest": 78.2, "likely": 96.5, "latest": 119.7}
      },
      "memory": {"component": "memory", "percent": 40.2, "hours_to_full": null}
    },
    "failure_patterns": [],
    "health_recommendations": [
      "CPU is at 97.0 %: find the busiest process, spread its load or add CPUs.",
      "Uptime is 78.64 %, but only 10 min are known: look again when there is more to judge by.",
      "/var is full in 3 to 5 days (61 % now): free space or add capacity before that."
    ],
    "maintenance_suggestions": [
      "cpu is critical: relieve it or add capacity now.",
      "cpu_usage_percent reaches its critical threshold in about 0 h: act before that."
    ],
    "confidence_level": 0.007
  }
}"#;
