//! `GET /agents/{agent_id}`: everything that is known now of one agent or system.

use super::Route;
use super::agents::AgentItem;
use crate::expose::Rest;
use crate::expose::rest::current_health::CurrentHealth;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::{Operator, PathVariable, Reader};
use crate::expose::rest::lookup::check_id;
use crate::expose::rest::shapes::Id;
use crate::expose::rest::time::{Time, seconds};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::ids::Partition;
use vitals_core::record::{Measurements, Record};
use vitals_core::series::AgentDesc;

#[derive(OpenApi)]
#[openapi(paths(agent, retire_agent))]
struct Operation;

/// The route.
pub const ROUTE: Route =
    Route { methods: || get(agent).delete(retire_agent), document: Operation::openapi, examples: EXAMPLES };

/// One agent or system: the fields that the list of agents has, and why its health is as it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentDetail {
    /// What the list of agents says of it.
    #[serde(flatten)]
    pub agent: AgentItem,
    /// When the answer was made; `health` and `health_score` are as of then.
    pub calculated_at: Time,
    /// Why its health is as it is, one sentence each; empty when nothing speaks against it.
    pub reasons: Vec<String>,
    /// Advice that a person can act on.
    pub recommendations: Vec<String>,
    /// When data of it last arrived; for one that was never judged, when it was first seen.
    pub last_data: Time,
    /// How often it is expected to show life, seconds; null for a system, which shows none.
    pub expected_interval_seconds: Option<f64>,
    /// How long it may be silent before it counts as offline, seconds; null for a system.
    pub timeout_seconds: Option<f64>,
    /// Its series, derived ones included.
    pub series_count: usize,
    /// Most series that it may have (`quota.series_per_agent`); points of more are rejected.
    pub series_limit: usize,
    /// The latest measurements, each null that is not known.
    pub latest_measurements: LatestMeasurements,
}

/// The latest measurements that the health score is made of.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LatestMeasurements {
    /// CPU in use, percent.
    pub cpu_usage_percent: Option<f64>,
    /// Memory in use, megabytes of 10^6 bytes.
    pub memory_usage_mb: Option<f64>,
    /// Memory in use, percent.
    pub memory_usage_percent: Option<f64>,
    /// The fullest file system, percent.
    pub disk_usage_percent: Option<f64>,
    /// Network latency, milliseconds.
    pub network_latency_ms: Option<f64>,
    /// Bandwidth in use, megabits a second.
    pub bandwidth_usage_mbps: Option<f64>,
    /// Packets lost, percent.
    pub packet_loss_percent: Option<f64>,
    /// Open connections.
    pub active_connections: Option<f64>,
    /// Requests since the last heartbeat.
    pub request_count: Option<f64>,
    /// Failed requests since the last heartbeat.
    pub error_count: Option<f64>,
    /// Share of requests that failed, percent.
    pub error_rate_percent: Option<f64>,
    /// Time to answer, milliseconds.
    pub response_time_ms: Option<f64>,
}

impl From<Measurements> for LatestMeasurements {
    fn from(measured: Measurements) -> Self {
        Self {
            cpu_usage_percent: measured.cpu_percent,
            memory_usage_mb: measured.memory_mb,
            memory_usage_percent: measured.memory_percent,
            disk_usage_percent: measured.disk_percent,
            network_latency_ms: measured.latency_ms,
            bandwidth_usage_mbps: measured.bandwidth_mbps,
            packet_loss_percent: measured.packet_loss_percent,
            active_connections: measured.connections,
            request_count: measured.requests,
            error_count: measured.errors,
            error_rate_percent: measured.error_percent,
            response_time_ms: measured.response_ms,
        }
    }
}

/// One agent or system
#[utoipa::path(
    get, path = "/api/v1/telemetry/agents/{agent_id}", tag = "query", security(("token" = [])),
    params(("agent_id" = Id, Path, description = "the agent's or system's id", example = "web-1")),
    responses(
        (status = 200, body = AgentDetail, description = "as it is now"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn agent(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
) -> Result<Json<AgentDetail>, ApiError> {
    check_id(&id, "agent_id")?;
    let agent = rest.agent(&caller, &id)?;
    Ok(Json(detail(&rest, &agent)))
}

/// An agent or system that was retired.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RetiredAgent {
    /// Its id, under which another one may come.
    pub agent_id: String,
    /// How many series were forgotten with it.
    pub series: usize,
    /// Who retired it.
    pub retired_by: String,
    /// When.
    pub retired_at: Time,
}

/// Retire an agent or system
#[utoipa::path(
    delete, path = "/api/v1/telemetry/agents/{agent_id}", tag = "operations", security(("token" = [])),
    params(("agent_id" = Id, Path, description = "the agent's or system's id", example = "db-1")),
    responses(
        (
            status = 200, body = RetiredAgent,
            description = "forgotten with its series, verdicts, alerts, sessions and the plugins' state; its open alerts are over; \
                           who comes under this id from now on is new"
        ),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn retire_agent(
    State(rest): State<Arc<Rest>>,
    Operator(caller): Operator,
    PathVariable(id): PathVariable,
) -> Result<Json<RetiredAgent>, ApiError> {
    check_id(&id, "agent_id")?;
    let agent = rest.agent(&caller, &id)?;
    let (by, at, series) = (caller.name(), rest.now(), rest.registry.series_of(agent.id).len());
    let record = Record::Retire { agent: agent.id, by: by.clone(), at };
    rest.submitter.submit(Partition::of(agent.id, rest.partitions), record, size_of::<Record>()).await?;
    Ok(Json(RetiredAgent { agent_id: id, series, retired_by: by, retired_at: Time(at) }))
}

fn detail(rest: &Rest, agent: &AgentDesc) -> AgentDetail {
    let now = rest.now();
    let current_health = CurrentHealth::of(rest, agent, now);
    let judged = current_health.judged.as_ref();
    let (reasons, measurements) = match &current_health.live {
        Some(live) => (live.reasons(), live.measurements),
        // A system shows no life: it is judged by what is measured of it.
        None => (
            judged.map(|judged| judged.reasons.clone()).unwrap_or_default(),
            rest.live_agents.observed(agent.id).map(|observed| observed.measurements).unwrap_or_default(),
        ),
    };
    let live = current_health.live.as_ref();
    let series = rest.registry.series_use(agent.id);
    AgentDetail {
        agent: AgentItem::of(rest, agent, &current_health),
        calculated_at: Time(now),
        reasons,
        recommendations: judged.map(|judged| judged.recommendations.clone()).unwrap_or_default(),
        last_data: Time(current_health.last_check),
        expected_interval_seconds: live.map(|live| seconds(live.interval)),
        timeout_seconds: live.map(|live| seconds(live.timeout)),
        series_count: series.series,
        series_limit: series.limit,
        latest_measurements: measurements.into(),
    }
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "delete": {
    "200": {"agent_id": "db-1", "series": 4, "retired_by": "ops", "retired_at": "2026-03-01T12:00:00.231Z"}
  },
  "get": {"200": {
    "agent_id": "web-1",
    "agent_name": "Web server 1",
    "agent_version": "1.4.2",
    "environment": "production",
    "geographic_location": "eu-central",
    "availability_zone": "eu-central-1a",
    "first_seen": "2026-03-01T11:59:58.176Z",
    "last_evidence": "2026-03-01T11:59:58.217Z",
    "liveness": "on_time",
    "clock_skew_ms": -3,
    "health": "critical",
    "health_score": 70,
    "reported_status": "healthy",
    "series": 6,
    "calculated_at": "2026-03-01T12:00:00.222Z",
    "reasons": ["CPU 97.0 % > 95 %: -30"],
    "recommendations": ["CPU is at 97.0 %: find the busiest process, spread its load or add CPUs."],
    "last_data": "2026-03-01T11:59:58.217Z",
    "expected_interval_seconds": 60,
    "timeout_seconds": 180,
    "series_count": 42,
    "series_limit": 100000,
    "latest_measurements": {
      "cpu_usage_percent": 97,
      "memory_usage_mb": 2048,
      "memory_usage_percent": 25,
      "disk_usage_percent": 40,
      "network_latency_ms": null,
      "bandwidth_usage_mbps": null,
      "packet_loss_percent": null,
      "active_connections": null,
      "request_count": null,
      "error_count": null,
      "error_rate_percent": null,
      "response_time_ms": 120
    }
  }}
}"#;
