//! What is known, as lists: agents, series, samples, verdicts, alerts, plugins; and the service's own health.

use super::check::Problem;
use super::error::{ApiError, CommonErrors, ErrorBody};
use super::insight::{HOUR, Standing, liveness_name};
use super::time::{Time, parse_duration};
use super::wire::{
    AgentItem, AgentList, AlertInfo, AlertList, PluginList, Probe, SampleList, SamplePoint, SeriesItem, SeriesList,
    ServiceHealth, VerdictItem, VerdictList,
};
use super::{PathVariable, Query, Reader, none_wrong};
use crate::expose::Rest;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use vitals_core::caller::Caller;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::seam::{Aggregation, AlertQuery, SampleQuery, VerdictQuery};
use vitals_core::series::{Origin, SeriesDesc, Shape};
use vitals_core::verdict::{Verdict, VerdictBody};

const DEFAULT_POINTS: u32 = 10_000;
const MOST_POINTS: u32 = 100_000;
const DEFAULT_LISTED: u32 = 100;
const MOST_LISTED: u32 = 10_000;

/// How the service is
#[utoipa::path(
    get, path = "/api/v1/telemetry/health", tag = "telemetry", security(("token" = [])),
    responses((status = 200, body = ServiceHealth), CommonErrors)
)]
pub async fn service_health(State(rest): State<Arc<Rest>>, _reader: Reader) -> Json<ServiceHealth> {
    let status = (rest.status)();
    Json(ServiceHealth {
        service: env!("CARGO_PKG_NAME").to_owned(),
        status: if status.ready { "healthy" } else { "unhealthy" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timestamp: Time(rest.now()),
        database_status: status.database_status,
        processing_queue_status: status.processing_queue_status,
        queued_records: status.queued,
    })
}

/// Live and ready, for probes
#[utoipa::path(
    get, path = "/health", tag = "operations",
    responses(
        (status = 200, body = Probe, description = "takes requests"),
        (status = 503, body = Probe, description = "lives, does not take requests")
    )
)]
pub async fn probe(State(rest): State<Arc<Rest>>) -> Response {
    let ready = (rest.status)().ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Probe { live: true, ready })).into_response()
}

/// The service's own metrics
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, body = String, content_type = "text/plain", description = "Prometheus text"))
)]
pub async fn metrics(State(rest): State<Arc<Rest>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (rest.metrics)()).into_response()
}

/// Agents and systems
#[utoipa::path(
    get, path = "/api/v1/telemetry/agents", tag = "query", security(("token" = [])),
    responses((status = 200, body = AgentList), CommonErrors)
)]
pub async fn agents(State(rest): State<Arc<Rest>>, Reader(caller): Reader) -> Result<Json<AgentList>, ApiError> {
    let agents = rest
        .agents(&caller)
        .into_iter()
        .map(|agent| {
            let standing = Standing::glance(&rest, &agent);
            AgentItem {
                agent_id: agent.key.clone(),
                agent_name: agent.profile.name.clone(),
                agent_version: agent.profile.version.clone(),
                environment: agent.profile.environment.clone(),
                geographic_location: agent.profile.location.clone(),
                availability_zone: agent.profile.zone.clone(),
                first_seen: Time(agent.first_seen),
                last_evidence: standing.live.as_ref().map(|live| Time(live.last_evidence)),
                liveness: standing.live.as_ref().map(|live| liveness_name(live.liveness).to_owned()),
                health: standing.health,
                health_score: standing.judged.as_ref().map(|_| standing.score),
                series: rest.registry.series_of(agent.id).len(),
            }
        })
        .collect();
    Ok(Json(AgentList { agents }))
}

/// Series of an agent or system
#[utoipa::path(
    get, path = "/api/v1/telemetry/series", tag = "query", security(("token" = [])),
    params(("agent" = String, Query, description = "the agent's or system's id")),
    responses(
        (status = 200, body = SeriesList),
        (status = 404, body = ErrorBody, description = "no telemetry for the agent"),
        CommonErrors
    )
)]
pub async fn series(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<SeriesList>, ApiError> {
    let Some(key) = query.get("agent") else {
        return Err(ApiError::Invalid(vec![Problem::new("missing", ["query", "agent"], "Field required", None)]));
    };
    let agent = rest.agent(&caller, key)?;
    let series = rest.registry.series_of(agent.id).iter().map(|series| series_item(series, &agent.key)).collect();
    Ok(Json(SeriesList { series }))
}

fn series_item(series: &SeriesDesc, agent_id: &str) -> SeriesItem {
    let spec = &series.spec;
    let (origin, plugin) = match &spec.origin {
        Origin::Otlp => ("otlp", None),
        Origin::Rest => ("rest", None),
        Origin::Derived { plugin, .. } => ("derived", Some(plugin.clone())),
    };
    let shape = match spec.shape {
        Shape::Gauge => "gauge",
        Shape::Cumulative { .. } => "cumulative",
        Shape::Delta { .. } => "delta",
    };
    SeriesItem {
        series_id: series.id.0,
        agent_id: agent_id.to_owned(),
        metric_name: spec.metric.clone(),
        metric_type: spec.kind.name().to_owned(),
        unit: spec.unit.clone(),
        shape: shape.to_owned(),
        part: spec.part.to_string(),
        origin: origin.to_owned(),
        plugin,
        scope: spec.scope.clone(),
        attributes: spec.attributes.iter().cloned().collect(),
        resource: spec.resource.iter().cloned().collect(),
    }
}

fn aggregation(name: &str) -> Option<Aggregation> {
    Some(match name {
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "mean" => Aggregation::Mean,
        "count" => Aggregation::Count,
        "last" => Aggregation::Last,
        "p95" => Aggregation::P95,
        _ => return None,
    })
}

/// `start` (an hour before `end`) and `end` (now); the range must not be empty.
fn range(query: &Query, now: UnixNanos, back: i64, problems: &mut Vec<Problem>) -> (UnixNanos, UnixNanos) {
    let end = query.time("end", problems).unwrap_or(now);
    let start = query.time("start", problems).unwrap_or(end.plus(-back));
    if start >= end {
        problems.push(Problem::new("value_error", ["query", "end"], "end should be after start", None));
    }
    (start, end)
}

/// Samples of a series, or aggregates over steps
#[utoipa::path(
    get, path = "/api/v1/telemetry/series/{id}/samples", tag = "query", security(("token" = [])),
    params(
        ("id" = u32, Path, description = "the series' number"),
        ("start" = Option<String>, Query, description = "RFC 3339, inclusive; an hour before `end`"),
        ("end" = Option<String>, Query, description = "RFC 3339, exclusive; now"),
        ("step" = Option<String>, Query, description = "`30s`, `5m`, `1h`; the samples themselves without it"),
        ("aggregation" = Option<String>, Query, description = "`min`, `max`, `mean` (default), `count`, `last`, `p95`"),
        ("limit" = Option<u32>, Query, description = "most points, 1..=100000, 10000 by default"),
    ),
    responses(
        (status = 200, body = SampleList),
        (status = 404, body = ErrorBody, description = "no such series"),
        CommonErrors
    )
)]
pub async fn samples(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
    query: Query,
) -> Result<Json<SampleList>, ApiError> {
    let missing = || ApiError::NotFound(format!("there is no series {id}"));
    let series = id.parse().ok().and_then(|id| rest.registry.series(SeriesId(id))).ok_or_else(missing)?;
    let owner = rest.registry.agent(series.agent).ok_or_else(missing)?;
    if owner.tenant != caller.tenant {
        return Err(missing());
    }
    super::touchable(&caller, &owner.key)?;
    let mut problems = Vec::new();
    let (start, end) = range(&query, rest.now(), HOUR, &mut problems);
    let limit = query.whole("limit", 1..=MOST_POINTS, &mut problems).unwrap_or(DEFAULT_POINTS);
    let expect = "Input should be a duration such as 30s, 5m or 1h";
    let step = query.parsed("step", &mut problems, "value_error", expect, parse_duration);
    let expect = "Input should be one of: min, max, mean, count, last, p95";
    let how = query.parsed("aggregation", &mut problems, "enum", expect, aggregation);
    if how.is_some() && step.is_none() && query.get("step").is_none() {
        let msg = "an aggregation needs a step";
        problems.push(Problem::new("missing", ["query", "step"], msg, None));
    }
    none_wrong(problems)?;
    let step = step.map(|step| (step, how.unwrap_or(Aggregation::Mean)));
    let question = SampleQuery { series: series.id, start, end, step, limit: limit as usize };
    let points = rest.ask(move |rest| rest.store.samples(&question)).await?;
    Ok(Json(SampleList {
        series_id: series.id.0,
        start: Time(start),
        end: Time(end),
        step_seconds: step.map(|(nanos, _)| super::time::minutes(nanos) * 60.0),
        aggregation: step.map(|_| query.get("aggregation").unwrap_or("mean").to_owned()),
        samples: points
            .into_iter()
            .map(|(time, value)| SamplePoint { time: Time(time), value: value.is_finite().then_some(value) })
            .collect(),
    }))
}

/// Which agents a list is about: one, or all that the token may touch (`None` when that is the whole tenant).
fn about(rest: &Rest, caller: &Caller, query: &Query) -> Result<Option<Vec<AgentId>>, ApiError> {
    match query.get("agent") {
        Some(key) => Ok(Some(vec![rest.agent(caller, key)?.id])),
        None if caller.agents.is_none() => Ok(None),
        None => Ok(Some(rest.agents(caller).iter().map(|agent| agent.id).collect())),
    }
}

/// Verdicts, newest first
#[utoipa::path(
    get, path = "/api/v1/telemetry/verdicts", tag = "query", security(("token" = [])),
    params(
        ("agent" = Option<String>, Query, description = "only of this agent"),
        ("kind" = Option<String>, Query, description = "`health`, `outlier` or `sla`"),
        ("start" = Option<String>, Query, description = "RFC 3339, inclusive; a day before `end`"),
        ("end" = Option<String>, Query, description = "RFC 3339, exclusive; now"),
        ("limit" = Option<u32>, Query, description = "most verdicts, 1..=10000, 100 by default"),
    ),
    responses(
        (status = 200, body = VerdictList),
        (status = 404, body = ErrorBody, description = "no telemetry for the agent"),
        CommonErrors
    )
)]
pub async fn verdicts(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<VerdictList>, ApiError> {
    let mut problems = Vec::new();
    // Up to and including this moment.
    let (start, end) = range(&query, rest.now().plus(1), 24 * HOUR, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let kind = query.parsed("kind", &mut problems, "enum", "Input should be one of: health, outlier, sla", |kind| {
        ["health", "outlier", "sla"].into_iter().find(|name| *name == kind)
    });
    none_wrong(problems)?;
    let agents = about(&rest, &caller, &query)?;
    let question = VerdictQuery { tenant: caller.tenant.clone(), agents, kind, start, end, limit: limit as usize };
    let verdicts = rest
        .ask(move |rest| {
            let found = rest.store.verdicts(&question)?;
            Ok(found.iter().filter_map(|verdict| verdict_item(rest, verdict)).collect())
        })
        .await?;
    Ok(Json(VerdictList { verdicts }))
}

fn verdict_item(rest: &Rest, verdict: &Verdict) -> Option<VerdictItem> {
    let agent = rest.registry.agent(verdict.agent)?;
    let mut body = match &verdict.body {
        VerdictBody::Health(health) => json!(health),
        VerdictBody::Outlier(outlier) => json!(outlier),
        VerdictBody::Sla(report) => json!(report),
    };
    if let VerdictBody::Outlier(outlier) = &verdict.body
        && let Some(series) = rest.registry.series(outlier.series)
    {
        body["metric_name"] = Value::from(series.spec.metric.as_str());
    }
    Some(VerdictItem {
        agent_id: agent.key.clone(),
        time: Time(verdict.time),
        kind: verdict.body.kind().to_owned(),
        body,
        evidence: json!(*verdict.evidence),
    })
}

/// Alerts, newest first
#[utoipa::path(
    get, path = "/api/v1/telemetry/alerts", tag = "query", security(("token" = [])),
    params(
        ("agent" = Option<String>, Query, description = "only of this agent"),
        ("open" = Option<bool>, Query, description = "only those not resolved"),
        ("start" = Option<String>, Query, description = "begun at or after, RFC 3339; from the first"),
        ("end" = Option<String>, Query, description = "begun before, RFC 3339; to the last"),
        ("limit" = Option<u32>, Query, description = "most alerts, 1..=10000, 100 by default"),
    ),
    responses(
        (status = 200, body = AlertList),
        (status = 404, body = ErrorBody, description = "no telemetry for the agent"),
        CommonErrors
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
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let open = query.parsed("open", &mut problems, "bool_parsing", "Input should be true or false", |text| {
        text.parse::<bool>().ok()
    });
    none_wrong(problems)?;
    let agents = about(&rest, &caller, &query)?;
    let question = AlertQuery {
        tenant: caller.tenant.clone(),
        agents,
        open_only: open.unwrap_or(false),
        start,
        end,
        limit: limit as usize,
    };
    let alerts = rest
        .ask(move |rest| {
            let found = rest.store.alerts(&question)?;
            let key = |agent| rest.registry.agent(agent).map(|agent| agent.key.clone());
            Ok(found.iter().map(|alert| AlertInfo::of(alert, key(alert.agent))).collect())
        })
        .await?;
    Ok(Json(AlertList { alerts }))
}

/// Plugins, with how they do
#[utoipa::path(
    get, path = "/api/v1/telemetry/plugins", tag = "operations", security(("token" = [])),
    responses((status = 200, body = PluginList), CommonErrors)
)]
pub async fn plugins(State(rest): State<Arc<Rest>>, _reader: Reader) -> Json<PluginList> {
    Json(PluginList { plugins: (rest.plugins)() })
}
