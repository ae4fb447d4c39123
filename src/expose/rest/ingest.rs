//! What clients send: validated, made into records, submitted, and answered with what evaluation made of it.

use super::check::{self, Problem};
use super::current_health::CurrentHealth;
use super::error::{AnyErrors, ApiError, BodyErrors, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use super::time::Time;
use super::wire::{
    AlertInfo, Health, HeartbeatRequest, HeartbeatResponse, MaintenanceWindow, MetricData, SystemMetricsRequest,
    SystemMetricsResponse, TelemetryIngestionBatch, TelemetryIngestionResult,
};
use super::{MOST_POINTS, PathVariable, Writer, blocking, elapsed_ms, json_body, message, touchable, with_status};
use crate::expose::{Rest, SubmitError};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use hashbrown::{HashMap, HashSet};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::caller::Caller;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, SeriesId, UnixNanos};
use vitals_core::record::{Heartbeat, Measurements, Outcome, Record, Samples};
use vitals_core::registry::RegistryError;
use vitals_core::rules::quality::{heartbeat_quality, metric_quality};
use vitals_core::rules::units::canonical;
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesSpec, Shape};

const MILLISECOND: i64 = 1_000_000;
/// Longer intervals than ten years are taken for ten years.
const LONGEST_INTERVAL_MS: f64 = 3.2e11;

/// Why one item was not taken.
enum Refusal {
    /// It does not fit the contract.
    Invalid(Vec<Problem>),
    /// It fits, and was refused.
    Refused(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(problems) => Self::Invalid(problems),
            Refusal::Refused(error) => error,
        }
    }
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
    let beat = Beat::prepare(&rest, &caller, body.value, &["body".into()], body.length)?;
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
        processing_time_ms: elapsed_ms(begun),
        data_quality_score: beat.quality,
        calculated_health: current_health.as_ref().map_or(Health::Unknown, |current_health| current_health.health),
        reported_status: beat.reported,
        health_score: current_health.as_ref().map_or(100.0, CurrentHealth::score_as_number),
        next_expected_heartbeat: Time(outcome.next_expected.unwrap_or(beat.timestamp.plus(beat.interval))),
        adaptive_timeout_ms: timeout / MILLISECOND,
        alerts_generated: alerts,
        recommendations: health.map(|health| health.recommendations).unwrap_or_default(),
        timestamp: Time(answered),
        message,
    };
    Ok(with_status(StatusCode::CREATED, response))
}

/// A heartbeat on its way.
struct Beat {
    key: String,
    agent: AgentId,
    partition: Partition,
    record: Record,
    bytes: usize,
    timestamp: UnixNanos,
    interval: i64,
    reported: Health,
    quality: f64,
}

impl Beat {
    fn prepare(rest: &Rest, caller: &Caller, mut value: Value, loc: &[Value], bytes: usize) -> Result<Self, Refusal> {
        if let Value::Object(fields) = &mut value {
            fields.entry("heartbeat_interval_ms").or_insert_with(|| rest.config.heartbeat_interval_ms.into());
        }
        let input = value.get("timestamp").cloned();
        let request: HeartbeatRequest = check::message(value, check::HEARTBEAT, loc).map_err(Refusal::Invalid)?;
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
        let measurements = vitals_of(&request);
        let columns = columns_of(rest, caller, agent, &request)?;
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

fn nanos_of(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(UnixNanos::SECOND)
}

fn ahead_of_clock(seconds: u64) -> String {
    format!("Input should be at most {seconds} seconds ahead of the server's clock")
}

/// A heartbeat says how an agent is now.
fn check_age(
    rest: &Rest,
    timestamp: UnixNanos,
    now: UnixNanos,
    input: Option<&Value>,
    loc: &[Value],
) -> Result<(), Refusal> {
    let (oldest, newest) = (rest.config.heartbeat_max_age_seconds, rest.config.heartbeat_max_ahead_seconds);
    let age = now.since(timestamp);
    let msg = if age > nanos_of(oldest) {
        format!("Input should be at most {oldest} seconds old")
    } else if age < -nanos_of(newest) {
        ahead_of_clock(newest)
    } else {
        return Ok(());
    };
    let place = loc.iter().cloned().chain(["timestamp".into()]);
    Err(Refusal::Invalid(vec![Problem::new("value_error", place, msg, input)]))
}

#[allow(clippy::cast_possible_truncation)]
fn nanos_of_ms(milliseconds: f64) -> i64 {
    (milliseconds.clamp(0.0, LONGEST_INTERVAL_MS) * MILLISECOND as f64) as i64
}

fn vitals_of(request: &HeartbeatRequest) -> Measurements {
    Measurements {
        cpu_percent: request.cpu_usage_percent,
        memory_mb: request.memory_usage_mb,
        disk_percent: request.disk_usage_percent,
        latency_ms: request.network_latency_ms,
        bandwidth_mbps: request.bandwidth_usage_mbps,
        packet_loss_percent: request.packet_loss_percent,
        connections: request.active_connections,
        requests: request.request_count,
        errors: request.error_count,
        response_ms: request.response_time_ms,
        ..Measurements::default()
    }
}

/// The fields of a heartbeat as rows of series of their own.
fn columns_of(rest: &Rest, caller: &Caller, agent: AgentId, request: &HeartbeatRequest) -> Result<Columns, Refusal> {
    let fields = [
        ("cpu_usage_percent", MetricKind::CpuUsage, "%", false, request.cpu_usage_percent),
        ("memory_usage_mb", MetricKind::MemoryUsage, "MB", false, request.memory_usage_mb),
        ("disk_usage_percent", MetricKind::DiskUsage, "%", false, request.disk_usage_percent),
        ("network_latency_ms", MetricKind::Custom, "ms", false, request.network_latency_ms),
        ("bandwidth_usage_mbps", MetricKind::NetworkIo, "Mbit/s", false, request.bandwidth_usage_mbps),
        ("packet_loss_percent", MetricKind::Custom, "%", false, request.packet_loss_percent),
        ("active_connections", MetricKind::Custom, "{connection}", true, request.active_connections),
        ("request_count", MetricKind::Custom, "{request}", true, request.request_count),
        ("error_count", MetricKind::Custom, "{error}", true, request.error_count),
        ("response_time_ms", MetricKind::ResponseTime, "ms", false, request.response_time_ms),
    ];
    let (resource, scope) = (Arc::<Attributes>::default(), Scope::named(super::components::HEARTBEAT));
    let (specs, values): (Vec<SeriesSpec>, Vec<f64>) = fields
        .into_iter()
        .filter_map(|(metric, kind, unit, integer, value)| {
            let spec = SeriesSpec {
                metric: metric.to_owned(),
                unit: unit.to_owned(),
                kind,
                shape: Shape::Gauge,
                part: Part::Value,
                integer,
                factor: 1.0,
                origin: Origin::Rest,
                scope: scope.clone(),
                attributes: Attributes::default(),
                resource: resource.clone(),
            };
            Some((spec, value?))
        })
        .unzip();
    let mut columns = Columns::default();
    for (id, value) in rest.registry.intern_series(&caller.tenant, agent, specs).into_iter().zip(values) {
        columns.push(id?, request.timestamp.0, value);
    }
    Ok(columns)
}

/// Send measurements of a system
#[utoipa::path(
    post, path = "/api/v1/telemetry/system-metrics", tag = "telemetry", security(("token" = [])),
    request_body = SystemMetricsRequest,
    responses(
        (status = 201, body = SystemMetricsResponse, description = "durable and judged"),
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn system_metrics(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    request: Request,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let body = json_body(request).await?;
    limit_points(points_of(&body.value))?;
    let report = {
        let (rest, length) = (rest.clone(), body.length);
        blocking(move || Report::prepare(&rest, &caller, body.value, &["body".into()], length)).await??
    };
    let outcome = rest.submitter.submit(report.partition, report.record, report.bytes).await?;
    let processed = report.names.len();
    let outliers = names_of(&report.names, outcome.outliers.iter().map(|outlier| outlier.series));
    let breached = names_of(&report.names, outcome.breaches.iter().filter_map(|breach| breach.series));
    let response = SystemMetricsResponse {
        success: report.errors.is_empty(),
        metrics_processed: processed,
        system_id: report.key.clone(),
        processing_time_ms: elapsed_ms(begun),
        data_quality_scores: report.quality,
        outliers_detected: outliers,
        thresholds_breached: breached,
        threshold_messages: outcome.breaches.into_iter().map(|breach| breach.message).collect(),
        alerts_generated: outcome.alerts.iter().map(|alert| AlertInfo::of(alert, &report.key)).collect(),
        timestamp: Time(rest.now()),
        message: match report.errors.len() {
            0 => format!("{processed} metrics processed"),
            refused => format!("{processed} metrics processed, {refused} refused"),
        },
        validation_errors: report.errors,
    };
    Ok(with_status(StatusCode::CREATED, response))
}

fn points_of(value: &Value) -> usize {
    value.get("metrics").and_then(Value::as_array).map_or(0, Vec::len)
}

fn limit_points(points: usize) -> Result<(), ApiError> {
    if points > MOST_POINTS {
        return Err(ApiError::TooLarge(format!("{points} metric points, at most {MOST_POINTS} are taken at once")));
    }
    Ok(())
}

/// Measurements of a system on their way.
struct Report {
    key: String,
    partition: Partition,
    record: Record,
    bytes: usize,
    /// The metric of each series that was taken.
    names: HashMap<SeriesId, String>,
    quality: BTreeMap<String, f64>,
    /// Metrics that were not taken: over the quota, or older than the retention.
    errors: Vec<String>,
}

impl Report {
    fn prepare(rest: &Rest, caller: &Caller, value: Value, loc: &[Value], bytes: usize) -> Result<Self, Refusal> {
        let mut request: SystemMetricsRequest =
            check::message(value, check::SYSTEM_METRICS, loc).map_err(Refusal::Invalid)?;
        no_twins(&request.metrics, loc)?;
        let now = rest.now();
        check_times(rest, &request, now, loc)?;
        touchable(caller, &request.system_id)?;
        let (metrics, old) = within_retention(rest, &mut request, now, loc)?;
        let profile = AgentProfile {
            name: request.service_name.clone(),
            environment: Some(request.environment.clone()),
            location: request.region.clone(),
            ..AgentProfile::default()
        };
        let agent = rest.registry.intern_agent(&caller.tenant, &request.system_id, now, &profile)?;
        let component = Scope::named(request.component_name.unwrap_or_default());
        let resource = Arc::<Attributes>::default();
        let (specs, factors): (Vec<SeriesSpec>, Vec<f64>) =
            metrics.iter().map(|metric| spec_of(metric, &component, &resource)).unzip();
        let ids = rest.registry.intern_series(&caller.tenant, agent, specs);
        let mut columns = Columns::default();
        let mut report = Self {
            key: request.system_id,
            partition: Partition::of(agent, rest.partitions),
            record: Record::Describe { agents: Vec::new(), series: Vec::new() },
            bytes,
            names: HashMap::new(),
            quality: BTreeMap::new(),
            errors: old,
        };
        let rules = rest.config.quality;
        for ((metric, id), factor) in metrics.into_iter().zip(ids).zip(factors) {
            let own_time = metric.timestamp.map(|time| time.0);
            match id {
                Err(error) => report.errors.push(format!("{}: {error}", metric.metric_name)),
                Ok(id) => {
                    let value = (metric.value * factor).clamp(f64::MIN, f64::MAX);
                    columns.push(id, own_time.unwrap_or(request.timestamp.0), value);
                    let score = metric_quality(metric.metric_type.into(), value, own_time, now, &rules);
                    report.quality.insert(metric.metric_name.clone(), score);
                    report.names.insert(id, metric.metric_name);
                }
            }
        }
        if columns.is_empty() {
            return Err(Refusal::Refused(ApiError::Quota(report.errors.pop().unwrap_or_default())));
        }
        report.record = Record::Samples(Samples {
            tenant: caller.tenant.clone(),
            received_at: now,
            alive: Vec::new(),
            columns,
            starts: Starts::default(),
        });
        Ok(report)
    }
}

/// The names of the metrics that some series belong to, each once.
fn names_of(names: &HashMap<SeriesId, String>, series: impl Iterator<Item = SeriesId>) -> Vec<String> {
    let mut found = Vec::new();
    for name in series.filter_map(|id| names.get(&id)) {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    found
}

/// Measurements may be old. What is ahead a little is stored unjudged; a clock further ahead than this is told so.
fn check_times(rest: &Rest, request: &SystemMetricsRequest, now: UnixNanos, loc: &[Value]) -> Result<(), Refusal> {
    let most = rest.config.metric_max_ahead_seconds;
    let wrong = |time: Time, place: &[Value]| {
        let msg = if time.0 < UnixNanos(0) {
            "Input should be in or after 1970".to_owned()
        } else if time.0.since(now) > nanos_of(most) {
            ahead_of_clock(most)
        } else {
            return None;
        };
        let place = loc.iter().chain(place).cloned();
        Some(Problem::new("value_error", place, msg, Some(&time.to_string().into())))
    };
    let own = wrong(request.timestamp, &["timestamp".into()]);
    let theirs = request
        .metrics
        .iter()
        .enumerate()
        .filter_map(|(at, metric)| wrong(metric.timestamp?, &["metrics".into(), at.into(), "timestamp".into()]));
    let problems: Vec<Problem> = own.into_iter().chain(theirs).collect();
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(problems)) }
}

/// The metrics that the store keeps, and what is said of those that it would delete; refused when all are too old.
fn within_retention(
    rest: &Rest,
    request: &mut SystemMetricsRequest,
    now: UnixNanos,
    loc: &[Value],
) -> Result<(Vec<MetricData>, Vec<String>), Refusal> {
    const DAY: i64 = 86_400 * UnixNanos::SECOND;
    let days = rest.config.sample_retention_days;
    // Whole days (UTC), as the store deletes them.
    let kept_from = now.plus(-i64::from(days).saturating_mul(DAY)).0.div_euclid(DAY).saturating_mul(DAY);
    let msg = format!("Input should not be older than the retention of samples ({days} days)");
    let own = request.timestamp;
    let (mut kept, mut old, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (at, metric) in std::mem::take(&mut request.metrics).into_iter().enumerate() {
        let time = metric.timestamp.unwrap_or(own);
        if time.0.0 >= kept_from {
            kept.push(metric);
            continue;
        }
        let place: Vec<Value> = match metric.timestamp {
            Some(_) => vec!["metrics".into(), at.into(), "timestamp".into()],
            None => vec!["timestamp".into()],
        };
        let place = loc.iter().cloned().chain(place);
        problems.push(Problem::new("value_error", place, msg.as_str(), Some(&time.to_string().into())));
        old.push(format!("{}: {msg}", metric.metric_name));
    }
    if kept.is_empty() { Err(Refusal::Invalid(problems)) } else { Ok((kept, old)) }
}

/// Each metric name once.
fn no_twins(metrics: &[MetricData], loc: &[Value]) -> Result<(), Refusal> {
    let mut seen = HashSet::with_capacity(metrics.len());
    let twins: Vec<Problem> = metrics
        .iter()
        .enumerate()
        .filter(|(_, metric)| !seen.insert(metric.metric_name.as_str()))
        .map(|(at, metric)| {
            let place = loc.iter().cloned().chain(["metrics".into(), at.into(), "metric_name".into()]);
            let msg = format!("the metric name {} is already used in this request", metric.metric_name);
            Problem::new("value_error", place, msg, Some(&metric.metric_name.as_str().into()))
        })
        .collect();
    if twins.is_empty() { Ok(()) } else { Err(Refusal::Invalid(twins)) }
}

/// A metric's dimensions as attributes: the number 80 and the string "80" stay two values.
fn dimensions(dimensions: &serde_json::Map<String, Value>) -> Attributes {
    let dimensions: BTreeMap<&String, &Value> = dimensions.iter().collect();
    let pairs = dimensions.iter().map(|(key, value)| ((*key).clone(), dimension(value))).collect();
    let types: String = dimensions.values().map(|value| type_code(value)).collect();
    Attributes::new(pairs, &types, 0)
}

/// As [`Attributes::codes`] has it.
fn type_code(value: &Value) -> String {
    match value {
        Value::Null => "e".to_owned(),
        Value::Bool(_) => "b".to_owned(),
        Value::Number(number) if whole(number).is_none() && number.is_f64() => "d".to_owned(),
        Value::Number(_) => "i".to_owned(),
        Value::String(_) => "s".to_owned(),
        Value::Array(all) => format!("[{}]", all.iter().map(type_code).collect::<String>()),
        Value::Object(all) => format!("{{{}}}", all.values().map(type_code).collect::<String>()),
    }
}

/// The series that a REST metric belongs to, and what its value is multiplied by for the series' unit: its system, name,
/// dimensions, and its component, so that two components of a system that report the same name stay apart.
fn spec_of(metric: &MetricData, component: &Arc<Scope>, resource: &Arc<Attributes>) -> (SeriesSpec, f64) {
    let attributes = dimensions(&metric.dimensions);
    let kind: MetricKind = metric.metric_type.into();
    let (unit, factor) = canonical(kind, &metric.unit);
    let spec = SeriesSpec {
        metric: metric.metric_name.clone(),
        unit: unit.into_owned(),
        kind,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        // Several spellings with different factors are one series, so the factor is none of its properties.
        factor: 1.0,
        origin: Origin::Rest,
        scope: component.clone(),
        attributes,
        resource: resource.clone(),
    };
    (spec, factor)
}

/// A number without a fraction. JSON does not tell `1.0` from `1`, so both are the whole number 1.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: &serde_json::Number) -> Option<i64> {
    /// Up to here every whole number is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
    number.as_i64().or_else(|| float.map(|float| float as i64))
}

/// The text of a dimension's value.
fn dimension(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string()),
        other => other.to_string(),
    }
}

/// Send heartbeats and measurements together
///
/// An invalid item fails alone; it is counted and named, the rest is taken. `total_metrics`, `processed_metrics` and
/// `failed_metrics` count metrics, not requests.
#[utoipa::path(
    post, path = "/api/v1/telemetry/batch", tag = "telemetry", security(("token" = [])),
    request_body = TelemetryIngestionBatch,
    responses(
        (status = 202, body = TelemetryIngestionResult, description = "what became of each item"),
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn batch(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    request: Request,
) -> Result<Response, ApiError> {
    let begun = Instant::now();
    let body = json_body(request).await?;
    let batch: TelemetryIngestionBatch =
        check::message(body.value, check::BATCH, &["body".into()]).map_err(ApiError::Invalid)?;
    check_size(&rest, &batch)?;
    let total_heartbeats = batch.heartbeats.len();
    let total_metrics = batch.metrics.iter().map(weight_of).sum();
    let (prepared, mut tally) = {
        // Each item holds its share of the bytes in flight.
        let share = body.length / (total_heartbeats + batch.metrics.len()).max(1);
        let (rest, heartbeats, metrics) = (rest.clone(), batch.heartbeats, batch.metrics);
        blocking(move || prepare(&rest, &caller, heartbeats, metrics, share)).await?
    };
    let failure = submit(&rest, prepared, answer_by(&rest, begun), &mut tally).await;
    if let Some(error) = failure.filter(|_| tally.taken() == 0) {
        // Nothing was taken, and nothing was wrong with it: the sender may send all of it again.
        return Err(error);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let response = TelemetryIngestionResult {
        success: tally.taken() > 0,
        batch_id: batch.batch_id,
        processed_at: Time(rest.now()),
        total_heartbeats,
        processed_heartbeats: tally.heartbeats,
        failed_heartbeats: total_heartbeats - tally.heartbeats,
        total_metrics,
        processed_metrics: tally.metrics,
        failed_metrics: total_metrics.saturating_sub(tally.metrics),
        processing_time_ms: elapsed * 1e3,
        throughput_per_second: per_second(tally.taken(), elapsed),
        alerts_generated: tally.alerts,
        data_quality_score: tally.mean_quality(),
        validation_errors: tally.validation,
        processing_errors: tally.processing,
    };
    Ok(with_status(StatusCode::ACCEPTED, response))
}

/// A batch holds something, and not too much.
fn check_size(rest: &Rest, batch: &TelemetryIngestionBatch) -> Result<(), ApiError> {
    if batch.heartbeats.is_empty() && batch.metrics.is_empty() {
        let msg = "The batch should have at least one heartbeat or one item of metrics";
        return Err(ApiError::Invalid(vec![Problem::new("too_short", ["body"], msg, None)]));
    }
    let most = rest.config.most_heartbeats;
    if batch.heartbeats.len() > most {
        let count = batch.heartbeats.len();
        return Err(ApiError::TooLarge(format!("{count} heartbeats, at most {most} are taken at once")));
    }
    limit_points(batch.metrics.iter().map(points_of).sum())
}

/// What an item of `metrics` counts for: its metrics, or one if it has no list of them and so fails as a whole.
fn weight_of(value: &Value) -> usize {
    points_of(value).max(1)
}

/// When the answer must be on its way, so that the request's own time limit does not come first.
fn answer_by(rest: &Rest, begun: Instant) -> tokio::time::Instant {
    let limit = Duration::from_secs(rest.config.request_seconds);
    tokio::time::Instant::from_std(begun + limit * 9 / 10)
}

/// Submits what was prepared and waits for it until `deadline`. The last error of those that are nobody's fault.
async fn submit(
    rest: &Rest,
    prepared: Vec<Prepared>,
    deadline: tokio::time::Instant,
    tally: &mut BatchTally,
) -> Option<ApiError> {
    // Everything is submitted before anything is awaited: one group commit serves the whole batch.
    let waiting: Vec<_> = prepared
        .into_iter()
        .map(|one| (one.place, one.count, rest.submitter.submit(one.partition, one.record, one.bytes)))
        .collect();
    let outcomes = join_all(
        waiting
            .into_iter()
            .map(|(place, count, done)| async move { (place, count, tokio::time::timeout_at(deadline, done).await) }),
    );
    let mut failure = None;
    for (place, count, outcome) in outcomes.await {
        match outcome {
            Ok(Ok(outcome)) => tally.take(&count, &outcome),
            Ok(Err(error)) => {
                tally.processing.push(format!("{place}: {}", public(&error)));
                failure = Some(error.into());
            }
            Err(_) => {
                tally.processing.push(format!("{place}: it was not done in time, send it again"));
                failure = Some(ApiError::Timeout);
            }
        }
    }
    failure
}

/// An item that fits the contract, ready to be submitted.
struct Prepared {
    place: String,
    count: Count,
    partition: Partition,
    record: Record,
    bytes: usize,
}

/// What an item adds to the counts when it is taken.
#[derive(Default)]
struct Count {
    heartbeats: usize,
    metrics: usize,
    /// Of each of them.
    quality: Vec<f64>,
}

fn prepare(
    rest: &Rest,
    caller: &Caller,
    heartbeats: Vec<Value>,
    metrics: Vec<Value>,
    share: usize,
) -> (Vec<Prepared>, BatchTally) {
    let mut tally = BatchTally::default();
    let mut prepared = Vec::with_capacity(heartbeats.len() + metrics.len());
    for (at, value) in heartbeats.into_iter().enumerate() {
        let place = place_of("heartbeats", at, value.pointer("/agent_info/agent_id"));
        match Beat::prepare(rest, caller, value, &[], share) {
            Err(refusal) => tally.refuse(&place, refusal),
            Ok(Beat { quality, partition, record, bytes, .. }) => {
                let count = Count { heartbeats: 1, metrics: 0, quality: vec![quality] };
                prepared.push(Prepared { place, count, partition, record, bytes });
            }
        }
    }
    for (at, value) in metrics.into_iter().enumerate() {
        let place = place_of("metrics", at, value.get("system_id"));
        match Report::prepare(rest, caller, value, &[], share) {
            Err(refusal) => tally.refuse(&place, refusal),
            Ok(report) => {
                tally.processing.extend(report.errors.iter().map(|error| format!("{place}: {error}")));
                let Report { partition, record, bytes, names, quality, .. } = report;
                let quality = quality.into_values().collect();
                let count = Count { heartbeats: 0, metrics: names.len(), quality };
                prepared.push(Prepared { place, count, partition, record, bytes });
            }
        }
    }
    (prepared, tally)
}

/// Where an item stands and whose it is, for its errors: `metrics.3 (db-1)`.
fn place_of(list: &str, at: usize, id: Option<&Value>) -> String {
    /// Longer ids are none.
    const MOST: usize = 100;
    match id.and_then(Value::as_str).filter(|id| !id.trim().is_empty()) {
        Some(id) => format!("{list}.{at} ({})", id.chars().take(MOST).collect::<String>().escape_debug()),
        None => format!("{list}.{at}"),
    }
}

#[derive(Default)]
struct BatchTally {
    heartbeats: usize,
    metrics: usize,
    alerts: usize,
    quality: Vec<f64>,
    validation: Vec<String>,
    processing: Vec<String>,
}

impl BatchTally {
    fn taken(&self) -> usize {
        self.heartbeats + self.metrics
    }

    fn take(&mut self, count: &Count, outcome: &Outcome) {
        self.heartbeats += count.heartbeats;
        self.metrics += count.metrics;
        self.quality.extend(&count.quality);
        self.alerts += outcome.alerts.len();
    }

    fn refuse(&mut self, place: &str, refusal: Refusal) {
        match refusal {
            Refusal::Invalid(problems) => {
                self.validation.extend(problems.iter().map(|problem| format!("{place}: {}", problem.line())));
            }
            Refusal::Refused(ApiError::Forbidden(what) | ApiError::Quota(what)) => {
                self.processing.push(format!("{place}: {what}"));
            }
            Refusal::Refused(_) => self.processing.push(format!("{place}: it could not be taken")),
        }
    }

    /// Of what was taken; 0 when nothing of the batch could be used.
    fn mean_quality(&self) -> f64 {
        mean(self.quality.iter().copied()).unwrap_or(0.0).clamp(0.0, 1.0)
    }
}

/// What a client may know of a refusal.
fn public(error: &SubmitError) -> String {
    match error {
        SubmitError::Overloaded { .. } => error.to_string(),
        SubmitError::Unavailable(reason) => {
            tracing::error!(reason, "a record of a batch was not taken");
            "telemetry cannot be taken now, try again".to_owned()
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

#[allow(clippy::cast_precision_loss)]
fn per_second(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Plan a maintenance window
#[utoipa::path(
    post, path = "/api/v1/telemetry/maintenance", tag = "operations", security(("token" = [])),
    request_body = MaintenanceWindow,
    responses(
        (
            status = 201, body = MaintenanceWindow,
            description = "neither up nor down in this window, also as far as it lies in the past"
        ),
        MissingError,
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn maintenance(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    request: Request,
) -> Result<Response, ApiError> {
    let window: MaintenanceWindow = message(request, check::MAINTENANCE).await?;
    if window.end_time <= window.start_time {
        let msg = "end_time should be after start_time";
        let input = Value::from(window.end_time.to_string());
        return Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "end_time"], msg, Some(&input))]));
    }
    let agent = rest.agent(&caller, &window.agent_id)?.id;
    let days = rest.config.sla_period_days;
    if window.start_time.0 < rest.now().plus(-nanos_of(u64::from(days) * 86_400)) {
        // What is older is settled: nothing that a window could change is kept of it.
        let msg = format!("start_time should be at most {days} days ago, the objective's period");
        let input = Value::from(window.start_time.to_string());
        return Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "start_time"], msg, Some(&input))]));
    }
    let by = caller.subject.clone().unwrap_or_else(|| "anonymous".to_owned());
    let (start, end) = (window.start_time.0, window.end_time.0);
    let record = Record::Maintenance { agent, start, end, by, at: rest.now() };
    rest.submitter.submit(Partition::of(agent, rest.partitions), record, size_of::<Record>()).await?;
    Ok(with_status(StatusCode::CREATED, window))
}

/// Acknowledge an alert
#[utoipa::path(
    post, path = "/api/v1/telemetry/alerts/{id}/acknowledge", tag = "operations", security(("token" = [])),
    params(("id" = String, Path, description = "the alert's id")),
    responses(
        (status = 200, body = AlertInfo, description = "acknowledged, now or before"),
        (status = 429, body = ErrorBody, description = "too much is in flight; with `Retry-After`"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn acknowledge(
    State(rest): State<Arc<Rest>>,
    Writer(caller): Writer,
    PathVariable(id): PathVariable,
) -> Result<Json<AlertInfo>, ApiError> {
    let (tenant, wanted) = (caller.tenant.clone(), id.clone());
    let found = rest.ask(move |rest| rest.store.alert(&tenant, &wanted)).await?;
    let missing = || ApiError::NotFound(format!("there is no alert {id}"));
    let mut alert = found.ok_or_else(missing)?;
    // An id says nothing of whose it is, and the answer must not either.
    let agent = rest.registry.agent(alert.agent).filter(|agent| caller.may_touch(&agent.key)).ok_or_else(missing)?;
    if alert.acknowledged.is_none() {
        let by = caller.subject.clone().unwrap_or_else(|| "anonymous".to_owned());
        let at = rest.now();
        let record = Record::Acknowledge { alert: id, agent: agent.id, by: by.clone(), at };
        rest.submitter.submit(Partition::of(agent.id, rest.partitions), record, size_of::<Record>()).await?;
        alert.acknowledged = Some((by, at));
    }
    Ok(Json(AlertInfo::of(&alert, &agent.key)))
}
