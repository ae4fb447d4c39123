//! `POST /heartbeat`: an agent's sign of life, with its measurements.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::body::json_body;
use crate::expose::rest::components;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::current_health::CurrentHealth;
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, TokenErrors};
use crate::expose::rest::extract::Writer;
use crate::expose::rest::lookup::touchable;
use crate::expose::rest::shapes::{Health, Id, NOTHING_AGAINST};
use crate::expose::rest::time::{Time, ahead_of_clock, milliseconds_since, nanos_of_seconds};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Instant;
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Caller;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, Partition, UnixNanos};
use vitals_core::record::{Heartbeat, Measurements, Record};
use vitals_core::rules::quality::heartbeat_quality;
use vitals_core::series::{AgentProfile, Attributes, Origin, Part, Scope, SeriesSpec, Shape};

const MILLISECOND: i64 = 1_000_000;

/// Longer intervals than ten years are taken for ten years.
const LONGEST_INTERVAL_MS: f64 = 3.2e11;

#[derive(OpenApi)]
#[openapi(paths(heartbeat))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(heartbeat), document: Operation::openapi, examples: EXAMPLES };

/// A sign of life with measurements.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct HeartbeatRequest {
    /// Who beats.
    pub agent_info: AgentInfo,
    /// What the agent says of its health.
    pub health_status: Health,
    /// When; at most ten minutes old.
    pub timestamp: Time,
    /// CPU in use.
    #[schema(minimum = 0, maximum = 100)]
    pub cpu_usage_percent: Option<f64>,
    /// Memory in use.
    #[schema(minimum = 0)]
    pub memory_usage_mb: Option<f64>,
    /// Fullest file system.
    #[schema(minimum = 0, maximum = 100)]
    pub disk_usage_percent: Option<f64>,
    /// Network latency.
    #[schema(minimum = 0)]
    pub network_latency_ms: Option<f64>,
    /// Bandwidth in use.
    #[schema(minimum = 0)]
    pub bandwidth_usage_mbps: Option<f64>,
    /// Packets lost.
    #[schema(minimum = 0, maximum = 100)]
    pub packet_loss_percent: Option<f64>,
    /// Open connections.
    #[schema(value_type = Option<u64>)]
    pub active_connections: Option<f64>,
    /// Requests since the last heartbeat.
    #[schema(value_type = Option<u64>)]
    pub request_count: Option<f64>,
    /// Failed requests since the last heartbeat.
    #[schema(value_type = Option<u64>)]
    pub error_count: Option<f64>,
    /// Time to answer.
    #[schema(minimum = 0)]
    pub response_time_ms: Option<f64>,
    /// Anything else that the agent says; accepted, not kept.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub status_details: Map<String, Value>,
    /// The interval at which the agent means to beat.
    #[serde(default = "heartbeat_interval")]
    #[schema(value_type = u64, minimum = 1000, default = 30000)]
    pub heartbeat_interval_ms: f64,
}

fn heartbeat_interval() -> f64 {
    30_000.0
}

/// Who beats.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AgentInfo {
    /// Its id.
    #[schema(value_type = Id)]
    pub agent_id: String,
    /// A name for people.
    pub agent_name: Option<String>,
    /// Its version.
    #[schema(example = "1.4.2")]
    pub agent_version: String,
    /// Its environment.
    #[schema(example = "production")]
    pub environment: String,
    /// Where it is.
    pub geographic_location: Option<String>,
    /// Its zone.
    pub availability_zone: Option<String>,
}

static CONTRACT: Contract<HeartbeatRequest> = Contract::new();

/// What a heartbeat led to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HeartbeatResponse {
    /// Whether it was taken.
    pub success: bool,
    /// A fresh id for it.
    pub heartbeat_id: String,
    /// Who beat.
    pub agent_id: String,
    /// From its arrival to this answer.
    #[schema(minimum = 0)]
    pub processing_time_ms: f64,
    /// Share of the optional fields that were there, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub data_quality_score: f64,
    /// How the agent is now, by its measurements and by what it reports; the same as `health` in the list of agents.
    pub calculated_health: Health,
    /// What it reports of itself.
    pub reported_status: Health,
    /// 0..=100; 100 with an unknown health, from which nothing is deducted.
    /// 0..=100; 100 when `calculated_health` is `unknown`, as nothing speaks against the agent.
    #[schema(minimum = 0, maximum = 100)]
    pub health_score: f64,
    /// When the next one is expected.
    pub next_expected_heartbeat: Time,
    /// After how long a silence the agent counts as offline.
    pub adaptive_timeout_ms: i64,
    /// Alerts of thresholds that it raised; one on the agent's health is in the list of alerts.
    pub alerts_generated: Vec<AlertInfo>,
    /// Advice that a person can act on.
    pub recommendations: Vec<String>,
    /// When this answer was made.
    pub timestamp: Time,
    /// One sentence.
    pub message: String,
}

/// Send a heartbeat
#[utoipa::path(
    post, path = "/api/v1/telemetry/heartbeat", tag = "telemetry", security(("token" = [])),
    request_body = HeartbeatRequest,
    responses(
        (status = 201, body = HeartbeatResponse, description = "durable and judged"),
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn heartbeat(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    request: Request,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let body = json_body(request).await?;
    let beat = PreparedHeartbeat::prepare(&rest, &caller, body.value, &["body".into()], body.length)?;
    let outcome = rest.submitter.submit(beat.partition, beat.record, beat.bytes).await?;
    let answered = rest.now();
    let live = outcome.live.or_else(|| rest.live_agents.get(beat.agent));
    let current_health = live.map(|live| CurrentHealth::of_live(live, answered));
    let health =
        outcome.health.or_else(|| current_health.as_ref().and_then(|current_health| current_health.judged.clone()));
    let alerts: Vec<AlertInfo> = outcome.alerts.iter().map(|alert| AlertInfo::of(alert, &beat.key)).collect();
    let message = match alerts.len() {
        0 => "heartbeat processed".to_owned(),
        1 => format!("heartbeat processed, one alert raised: {}", alerts[0].message),
        count => format!("heartbeat processed, {count} alerts raised"),
    };
    let timeout = outcome.adaptive_timeout.unwrap_or(beat.interval.saturating_mul(3));
    let response = HeartbeatResponse {
        success: true,
        heartbeat_id: uuid::Uuid::new_v4().to_string(),
        agent_id: beat.key,
        processing_time_ms: milliseconds_since(begun),
        data_quality_score: beat.quality,
        calculated_health: current_health.as_ref().map_or(Health::Unknown, |current_health| current_health.health),
        reported_status: beat.reported,
        health_score: current_health.as_ref().map_or(NOTHING_AGAINST, CurrentHealth::score_as_number),
        next_expected_heartbeat: Time(outcome.next_expected.unwrap_or(beat.timestamp.plus(beat.interval))),
        adaptive_timeout_ms: timeout / MILLISECOND,
        alerts_generated: alerts,
        recommendations: health.map(|health| health.recommendations).unwrap_or_default(),
        timestamp: Time(answered),
        message,
    };
    Ok((StatusCode::CREATED, Json(response)).into_response())
}

/// A heartbeat that fits the contract, ready to be submitted.
pub struct PreparedHeartbeat {
    pub key: String,
    pub agent: AgentId,
    pub partition: Partition,
    pub record: Record,
    pub bytes: usize,
    pub timestamp: UnixNanos,
    pub interval: i64,
    pub reported: Health,
    pub quality: f64,
}

impl PreparedHeartbeat {
    /// Checks a heartbeat at `loc` of the body, which counts as `bytes` in flight, and makes its record.
    pub fn prepare(
        rest: &Rest,
        caller: &Caller,
        mut value: Value,
        loc: &[Value],
        bytes: usize,
    ) -> Result<Self, ApiError> {
        if let Value::Object(fields) = &mut value {
            fields.entry("heartbeat_interval_ms").or_insert_with(|| rest.config.heartbeat_interval_ms.into());
        }
        let input = value.get("timestamp").cloned();
        let request: HeartbeatRequest = CONTRACT.read(value, loc).map_err(ApiError::Invalid)?;
        let now = rest.now();
        check_age(rest, request.timestamp.0, now, input.as_ref(), loc)?;
        let info = &request.agent_info;
        touchable(caller, &info.agent_id)?;
        let profile = AgentProfile {
            name: info.agent_name.clone(),
            version: Some(info.agent_version.clone()),
            environment: Some(info.environment.clone()),
            location: info.geographic_location.clone(),
            zone: info.availability_zone.clone(),
        };
        let agent = rest.registry.intern_agent(&caller.tenant, &info.agent_id, now, &profile)?;
        let measurements = measurements_of(&request);
        let columns = columns_of(rest, caller, agent, request.timestamp.0, &measurements)?;
        let interval = nanos_of_ms(request.heartbeat_interval_ms);
        let record = Record::Heartbeat(Heartbeat {
            tenant: caller.tenant.clone(),
            agent,
            received_at: now,
            timestamp: request.timestamp.0,
            reported: request.health_status.into(),
            interval,
            measurements,
            columns,
        });
        Ok(Self {
            key: request.agent_info.agent_id,
            agent,
            partition: Partition::of(agent, rest.partitions),
            record,
            bytes,
            timestamp: request.timestamp.0,
            interval,
            reported: request.health_status,
            quality: heartbeat_quality(&measurements, &profile),
        })
    }
}

/// A heartbeat says how an agent is now.
fn check_age(
    rest: &Rest,
    timestamp: UnixNanos,
    now: UnixNanos,
    input: Option<&Value>,
    loc: &[Value],
) -> Result<(), ApiError> {
    let (oldest, newest) = (rest.config.heartbeat_max_age_seconds, rest.config.heartbeat_max_ahead_seconds);
    let age = now.since(timestamp);
    let msg = if age > nanos_of_seconds(oldest) {
        format!("Input should be at most {oldest} seconds old")
    } else if age < -nanos_of_seconds(newest) {
        ahead_of_clock(newest)
    } else {
        return Ok(());
    };
    let location = loc.iter().cloned().chain(["timestamp".into()]);
    Err(ApiError::Invalid(vec![Problem::new("value_error", location, msg, input)]))
}

#[allow(clippy::cast_possible_truncation)]
fn nanos_of_ms(milliseconds: f64) -> i64 {
    (milliseconds.clamp(0.0, LONGEST_INTERVAL_MS) * MILLISECOND as f64) as i64
}

macro_rules! measurements_of {
    ($($(#[$doc:meta])* $field:ident {
        column: $column:tt,
        $(judged: $judged:ident,)?
        $(sent: $name:ident, $($series:tt)*)?
    })*) => {
        fn measurements_of(request: &HeartbeatRequest) -> Measurements {
            Measurements { $($($field: request.$name,)?)* ..Measurements::default() }
        }
    };
}
vitals_core::each_measurement!(measurements_of!);

/// The measurements of a heartbeat as rows of series of their own.
fn columns_of(
    rest: &Rest,
    caller: &Caller,
    agent: AgentId,
    time: UnixNanos,
    measurements: &Measurements,
) -> Result<Columns, ApiError> {
    let (resource, scope) = (Arc::<Attributes>::default(), Scope::named(components::HEARTBEAT));
    let (specs, values): (Vec<SeriesSpec>, Vec<f64>) = Measurements::HEARTBEAT
        .iter()
        .filter_map(|field| {
            let value = (field.value)(measurements)?;
            let spec = SeriesSpec {
                metric: field.name.to_owned(),
                unit: field.unit.to_owned(),
                kind: field.kind,
                shape: Shape::Gauge,
                part: Part::Value,
                integer: field.is_integer,
                factor: 1.0,
                origin: Origin::Rest,
                scope: scope.clone(),
                attributes: Attributes::default(),
                resource: resource.clone(),
            };
            Some((spec, value))
        })
        .unzip();
    let mut columns = Columns::default();
    for (id, value) in rest.registry.intern_series(&caller.tenant, agent, specs).into_iter().zip(values) {
        columns.push(id?, time, value);
    }
    Ok(columns)
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {
    "agent_info": {
      "agent_id": "web-1",
      "agent_name": "Web server 1",
      "agent_version": "1.4.2",
      "environment": "production",
      "geographic_location": "eu-central",
      "availability_zone": "eu-central-1a"
    },
    "health_status": "healthy",
    "timestamp": "2026-03-01T11:59:58Z",
    "cpu_usage_percent": 97,
    "memory_usage_mb": 2048,
    "disk_usage_percent": 61,
    "response_time_ms": 120,
    "request_count": 900,
    "error_count": 3,
    "heartbeat_interval_ms": 30000
  },
  "201": {
    "success": true,
    "heartbeat_id": "8ffcc8c9-550d-440e-93d4-d1e8814b3b74",
    "agent_id": "web-1",
    "processing_time_ms": 0.812,
    "data_quality_score": 0.667,
    "calculated_health": "critical",
    "reported_status": "healthy",
    "health_score": 70,
    "next_expected_heartbeat": "2026-03-01T12:00:28Z",
    "adaptive_timeout_ms": 126666,
    "alerts_generated": [
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
    "recommendations": ["CPU is at 97.0 %: find the busiest process, spread its load or add CPUs."],
    "timestamp": "2026-03-01T11:59:58.218Z",
    "message": "heartbeat processed, one alert raised: cpu_usage is 97.0 %, critical from 95.0 %"
  }
}"#;
