//! `GET /agents`: the known agents and systems.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::MOST_LISTED;
use crate::expose::rest::current_health::{CurrentHealth, liveness_name};
use crate::expose::rest::error::{AnyErrors, ApiError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::shapes::Health;
use crate::expose::rest::time::Time;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::series::AgentDesc;

const DEFAULT_AGENTS: u32 = 1_000;

#[derive(OpenApi)]
#[openapi(paths(agents))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(agents), document: Operation::openapi, examples: EXAMPLES };

/// Agents, by id.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentList {
    /// Those that the token may touch and that were asked for.
    pub agents: Vec<AgentItem>,
    /// How many there are on all pages.
    pub total: usize,
    /// What `after` must be for the next page; null on the last one.
    pub next: Option<String>,
}

/// A known agent or system.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentItem {
    /// Its id.
    pub agent_id: String,
    /// A name for people.
    pub agent_name: Option<String>,
    /// Its version.
    pub agent_version: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Where it is.
    pub geographic_location: Option<String>,
    /// Its zone.
    pub availability_zone: Option<String>,
    /// When it was first seen.
    pub first_seen: Time,
    /// The last evidence of life; null when there was none since the start.
    pub last_evidence: Option<Time>,
    /// `on_time`, `late`, `offline` or `maintenance`; null when unknown.
    pub liveness: Option<String>,
    /// How many milliseconds its clock is ahead of the server's, negative when behind; null when unknown. Exports tell
    /// it only when they are ahead.
    pub clock_skew_ms: Option<i64>,
    /// Its health now.
    pub health: Health,
    /// 0..=100; null while it is unknown.
    pub health_score: Option<f64>,
    /// What it said of its health in its last heartbeat; null for one that sends none.
    pub reported_status: Option<Health>,
    /// How many series it has.
    pub series: usize,
}

impl AgentItem {
    /// What the list says of `agent`, whose health now is `current_health`.
    pub fn of(rest: &Rest, agent: &AgentDesc, current_health: &CurrentHealth) -> Self {
        Self {
            agent_id: agent.key.clone(),
            agent_name: agent.profile.name.clone(),
            agent_version: agent.profile.version.clone(),
            environment: agent.profile.environment.clone(),
            geographic_location: agent.profile.location.clone(),
            availability_zone: agent.profile.zone.clone(),
            first_seen: Time(agent.first_seen),
            last_evidence: current_health.live.as_ref().map(|live| Time(live.last_evidence)),
            liveness: current_health.live.as_ref().map(|live| liveness_name(live.liveness).to_owned()),
            clock_skew_ms: current_health.clock_skew_ms(),
            health: current_health.health,
            health_score: current_health.score,
            reported_status: current_health.reported(),
            series: rest.registry.series_use(agent.id).series,
        }
    }
}

/// Agents and systems
#[utoipa::path(
    get, path = "/api/v1/telemetry/agents", tag = "query", security(("token" = [])),
    params(
        ("environment" = Option<String>, Query, description = "only those of this environment", example = "production"),
        ("location" = Option<String>, Query, description = "only those at this geographic location"),
        ("status" = Option<Health>, Query, description = "only those of this health"),
        ("after" = Option<String>, Query, description = "only those behind this id: the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "most agents; 1000 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = AgentList, description = "by id"),
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn agents(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<AgentList>, ApiError> {
    let mut problems = Vec::new();
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_AGENTS) as usize;
    let health = query.named::<Health>("status", &mut problems);
    none_wrong(problems)?;
    let fits =
        |name: &str, value: &Option<String>| query.get(name).is_none_or(|wanted| value.as_deref() == Some(wanted));
    let mut found = rest.agents(&caller);
    found.retain(|agent| {
        fits("environment", &agent.profile.environment)
            && fits("location", &agent.profile.location)
            && health.is_none_or(|health| CurrentHealth::now(&rest, agent).health == health)
    });
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let total = found.len();
    found.retain(|agent| query.get("after").is_none_or(|after| agent.key.as_str() > after));
    let next = (found.len() > limit).then(|| found[limit - 1].key.clone());
    found.truncate(limit);
    let agents = found
        .into_iter()
        .map(|agent| {
            let current_health = CurrentHealth::now(&rest, &agent);
            AgentItem::of(&rest, &agent, &current_health)
        })
        .collect();
    Ok(Json(AgentList { agents, total, next }))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "agents": [
      {
        "agent_id": "db-1",
        "agent_name": "orders-db",
        "agent_version": null,
        "environment": "production",
        "geographic_location": "eu-central",
        "availability_zone": null,
        "first_seen": "2026-03-01T11:59:58.195Z",
        "last_evidence": null,
        "liveness": null,
        "clock_skew_ms": null,
        "health": "degraded",
        "health_score": 85,
        "reported_status": null,
        "series": 4
      },
      {
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
        "series": 6
      },
      {
        "agent_id": "web-2",
        "agent_name": "Web server 1",
        "agent_version": "1.4.2",
        "environment": "production",
        "geographic_location": "eu-central",
        "availability_zone": "eu-central-1a",
        "first_seen": "2026-03-01T11:59:58.220Z",
        "last_evidence": "2026-03-01T11:59:58.220Z",
        "liveness": "on_time",
        "clock_skew_ms": -3,
        "health": "healthy",
        "health_score": 100,
        "reported_status": "healthy",
        "series": 6
      }
    ],
    "total": 3,
    "next": null
  }
}"#;
