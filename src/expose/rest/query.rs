//! What is known, as lists: agents, series, samples, verdicts, alerts, plugins; and the service's own health.

use super::check::Problem;
use super::current_health::{CurrentHealth, liveness_name};
use super::error::{AnyErrors, ApiError, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use super::time::HOUR;
use super::time::{Time, parse_duration};
use super::wire::{
    AgentItem, AgentList, AggregationName, AlertInfo, AlertList, AlertState, AttributeTypes, Health, Id, PluginList,
    Probe, SampleList, SamplePoint, SeriesItem, SeriesList, ServiceHealth, Span, VerdictItem, VerdictKind, VerdictList,
    Waiting,
};
use super::{Anyone, PathVariable, Query, Reader, blocking, none_wrong};
use crate::expose::Rest;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::caller::{Caller, Scope};
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::series::{Attributes, Origin, SeriesDesc, Shape};
use vitals_core::store::{Aggregation, AlertQuery, SampleQuery, VerdictQuery};
use vitals_core::verdict::{Verdict, VerdictBody};

const DEFAULT_POINTS: u32 = 10_000;
const MOST_POINTS: u32 = 100_000;
const DEFAULT_LISTED: u32 = 100;
/// What the host says of a plugin that comes from the data of every tenant.
const OF_ALL_TENANTS: [&str; 4] = ["calls", "failures", "quarantined", "last_error"];
/// Most open alerts that are searched for those in a state.
const MOST_ALERTS: usize = 100_000;
const DEFAULT_AGENTS: u32 = 1_000;
const MOST_LISTED: u32 = 10_000;

/// How the service is
#[utoipa::path(
    get, path = "/api/v1/telemetry/health", operation_id = "service_health", tag = "telemetry", security(("token" = [])),
    responses((status = 200, body = ServiceHealth, description = "true at this moment"), TokenErrors, ParameterErrors, AnyErrors)
)]
pub async fn service_health(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
) -> Result<Json<ServiceHealth>, ApiError> {
    let status = rest.status().await?;
    Ok(Json(ServiceHealth {
        service: env!("CARGO_PKG_NAME").to_owned(),
        status: if status.ready { "healthy" } else { "unhealthy" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timestamp: Time(rest.now()),
        database_status: status.database_status,
        processing_queue_status: status.processing_queue_status,
        queued_records: caller.may(Scope::Admin).then_some(status.queued),
    }))
}

/// Live and ready, for probes
#[utoipa::path(
    get, path = "/health", tag = "operations",
    responses(
        (status = 200, body = Probe, description = "takes requests"),
        (status = 503, body = Probe, description = "lives, does not take requests"),
        (status = 500, body = ErrorBody, description = "a bug here"),
        ParameterErrors
    )
)]
pub async fn probe(State(rest): State<Arc<Rest>>, _: Anyone) -> Result<Response, ApiError> {
    let service = rest.status().await?;
    let ready = service.ready;
    let is_queue = service.processing_queue_status != "healthy";
    let reason = if is_queue { service.processing_queue_status } else { service.database_status };
    let reason = (!ready).then_some(reason);
    let waiting = rest.store.outbox().map(|outbox| Waiting {
        samples: outbox.samples,
        bytes: outbox.bytes,
        age_seconds: outbox.since.map_or(0, |since| rest.now().since(since).max(0)) as f64 / UnixNanos::SECOND as f64,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Probe { live: true, ready, reason, waiting })).into_response())
}

/// The service's own metrics
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Prometheus text"),
        ParameterErrors, AnyErrors
    )
)]
pub async fn metrics(State(rest): State<Arc<Rest>>, _: Anyone) -> Result<Response, ApiError> {
    let metrics = rest.metrics.clone();
    let text = blocking(move || metrics()).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
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
            && health.is_none_or(|health| CurrentHealth::glance(&rest, agent).health == health)
    });
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let total = found.len();
    found.retain(|agent| query.get("after").is_none_or(|after| agent.key.as_str() > after));
    let next = (found.len() > limit).then(|| found[limit - 1].key.clone());
    found.truncate(limit);
    let agents = found
        .into_iter()
        .map(|agent| {
            let current_health = CurrentHealth::glance(&rest, &agent);
            AgentItem {
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
                series: rest.registry.series_of(agent.id).len(),
            }
        })
        .collect();
    Ok(Json(AgentList { agents, total, next }))
}

/// Series of an agent or system
#[utoipa::path(
    get, path = "/api/v1/telemetry/series", tag = "query", security(("token" = [])),
    params(("agent" = Id, Query, description = "the agent's or system's id", example = "web-1")),
    responses(
        (status = 200, body = SeriesList, description = "in the order in which they appeared"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
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

fn types(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes.types().map(|(key, name)| (key.to_owned(), name)).collect()
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
        scope: spec.scope.name.clone(),
        scope_version: spec.scope.version.clone(),
        scope_attributes: spec.scope.attributes.iter().cloned().collect(),
        attributes: spec.attributes.iter().cloned().collect(),
        resource: spec.resource.iter().cloned().collect(),
        types: AttributeTypes {
            attributes: types(&spec.attributes),
            scope_attributes: types(&spec.scope.attributes),
            resource: types(&spec.resource),
        },
    }
}

/// `start` (an hour before `end`) and `end` (now); the range must not be empty.
fn range(query: &Query, now: UnixNanos, back: i64, problems: &mut Vec<Problem>) -> (UnixNanos, UnixNanos) {
    let end = query.time("end", problems).unwrap_or(now);
    let start = query.time("start", problems).unwrap_or(end.plus(-back));
    not_empty(start, end, problems);
    (start, end)
}

fn not_empty(start: UnixNanos, end: UnixNanos, problems: &mut Vec<Problem>) {
    if start >= end {
        problems.push(Problem::new("value_error", ["query", "end"], "end should be after start", None));
    }
}

/// Samples of a series, or aggregates over steps
#[utoipa::path(
    get, path = "/api/v1/telemetry/series/{id}/samples", tag = "query", security(("token" = [])),
    params(
        ("id" = u32, Path, description = "the series' number", example = 1),
        ("start" = Option<Time>, Query, description = "inclusive; an hour before `end`"),
        ("end" = Option<Time>, Query, description = "exclusive; now"),
        ("step" = Option<Span>, Query, description = "the samples themselves without it, unless there is an `aggregation`"),
        ("aggregation" = Option<AggregationName>, Query, description = "`mean` by default; over the whole range without `step`"),
        ("limit" = Option<u32>, Query, description = "most points", minimum = 1, maximum = 100_000),
    ),
    responses(
        (status = 200, body = SampleList, description = "by time"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
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
    // A number says nothing of whose it is, and the answer must not either.
    if owner.tenant != caller.tenant || !caller.may_touch(&owner.key) {
        return Err(missing());
    }
    let mut problems = Vec::new();
    let (start, end) = range(&query, rest.now(), HOUR, &mut problems);
    let limit = query.whole("limit", 1..=MOST_POINTS, &mut problems).unwrap_or(DEFAULT_POINTS);
    let expect = "Input should be a duration such as 30s, 5m or 1h";
    let step = query.parsed("step", &mut problems, "value_error", expect, parse_duration);
    let how = query.named::<AggregationName>("aggregation", &mut problems).map(Aggregation::from);
    none_wrong(problems)?;
    let step = match (step, how) {
        (None, None) => None,
        (None, Some(how)) => Some((end.since(start), how)),
        (Some(step), how) => Some((step, how.unwrap_or(Aggregation::Mean))),
    };
    let question = SampleQuery { series: series.id, start, end, step, limit: limit as usize };
    let points = rest.ask(move |rest| rest.store.samples(&question)).await?;
    Ok(Json(SampleList {
        series_id: series.id.0,
        start: Time(start),
        end: Time(end),
        step_seconds: step.map(|(nanos, _)| super::time::seconds(nanos)),
        aggregation: step.map(|(_, how)| how.into()),
        samples: points.into_iter().map(SamplePoint::from).collect(),
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
        ("agent" = Option<Id>, Query, description = "only of this agent"),
        ("kind" = Option<VerdictKind>, Query, description = "only of this kind"),
        ("start" = Option<Time>, Query, description = "inclusive; a day before `end`"),
        ("end" = Option<Time>, Query, description = "exclusive; now"),
        ("limit" = Option<u32>, Query, description = "most verdicts; 100 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = VerdictList, description = "newest first"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
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
    let kind = query.named::<VerdictKind>("kind", &mut problems).map(VerdictKind::name);
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
        kind: match verdict.body {
            VerdictBody::Health(_) => VerdictKind::Health,
            VerdictBody::Outlier(_) => VerdictKind::Outlier,
            VerdictBody::Sla(_) => VerdictKind::Sla,
        },
        body,
        evidence: json!(*verdict.evidence),
    })
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
        ("limit" = Option<u32>, Query, description = "most alerts; 100 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = AlertList, description = "newest first"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
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
    not_empty(start, end, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let state = query.named::<AlertState>("state", &mut problems);
    let open = query.parsed("open", &mut problems, "bool_parsing", "Input should be true or false", |text| {
        text.parse::<bool>().ok()
    });
    none_wrong(problems)?;
    let agents = about(&rest, &caller, &query)?;
    let question = AlertQuery {
        tenant: caller.tenant.clone(),
        agents,
        resolved: if open == Some(true) { Some(false) } else { state.map(|state| state == AlertState::Resolved) },
        start,
        end,
        // Whether an open one was acknowledged is looked at here, so nothing may be cut off before.
        limit: match state {
            None | Some(AlertState::Resolved) => limit as usize,
            Some(_) => MOST_ALERTS,
        },
    };
    let alerts = rest
        .ask(move |rest| {
            let found = rest.store.alerts(&question)?;
            let alerts =
                found.iter().filter_map(|alert| Some(AlertInfo::of(alert, &rest.registry.agent(alert.agent)?.key)));
            Ok(alerts.filter(|alert| state.is_none_or(|state| alert.state == state)).take(limit as usize).collect())
        })
        .await?;
    Ok(Json(AlertList { alerts }))
}

/// Plugins in force
///
/// With the scope `admin` also how they do: calls, failures and the last error, over all tenants.
#[utoipa::path(
    get, path = "/api/v1/telemetry/plugins", tag = "operations", security(("token" = [])),
    responses((status = 200, body = PluginList, description = "those in force"), TokenErrors, ParameterErrors, AnyErrors)
)]
pub async fn plugins(State(rest): State<Arc<Rest>>, Reader(caller): Reader) -> Json<PluginList> {
    let mut plugins = (rest.plugins)();
    if !caller.may(Scope::Admin) {
        for fields in plugins.iter_mut().filter_map(Value::as_object_mut) {
            // What is counted is counted over all tenants, and an error may speak of any of them.
            OF_ALL_TENANTS.iter().for_each(|name| drop(fields.remove(*name)));
        }
    }
    Json(PluginList { plugins })
}
