//! What clients send: validated, made into records, submitted, and answered with what evaluation made of it.

use super::check::{self, Problem};
use super::error::{AnyErrors, ApiError, BodyErrors, ErrorBody, MissingError, ParameterErrors, TokenErrors};
use super::time::Time;
use super::wire::{
    AlertInfo, Health, HeartbeatRequest, HeartbeatResponse, MaintenanceWindow, MetricData, SystemMetricsRequest,
    SystemMetricsResponse, TelemetryIngestionBatch, TelemetryIngestionResult,
};
use super::{MOST_POINTS, PathVariable, Writer, blocking, json_body, message, took, touchable, with_status};
use crate::expose::{IntakeError, Rest};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use hashbrown::{HashMap, HashSet};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use vitals_core::caller::Caller;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, SeriesId, UnixNanos};
use vitals_core::record::{Heartbeat, Outcome, Record, Samples, Vitals};
use vitals_core::registry::RegistryError;
use vitals_core::rules::quality::{QualityRules, heartbeat_quality, metric_quality};
use vitals_core::seam::AlertQuery;
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, SeriesSpec, Shape};

const MILLISECOND: i64 = 1_000_000;
/// Longer intervals than ten years are taken for ten years.
const LONGEST_INTERVAL_MS: f64 = 3.2e11;
/// How many alerts are searched for the one to acknowledge.
const ALERTS_SEARCHED: usize = 100_000;

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
    let outcome = rest.intake.submit(beat.partition, beat.record, beat.bytes).await?;
    let answered = rest.now();
    let health = outcome.health.clone().or_else(|| rest.board.get(beat.agent).and_then(|live| live.health));
    let status = health.as_ref().map_or(Health::Unknown, |health| health.status.into());
    let alerts: Vec<AlertInfo> =
        outcome.alerts.iter().map(|alert| AlertInfo::of(alert, Some(beat.key.clone()))).collect();
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
        processing_time_ms: took(begun),
        data_quality_score: beat.quality,
        calculated_health: status,
        health_score: health.as_ref().map_or(0.0, |health| health.score.clamp(0.0, 100.0)),
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
        let vitals = vitals_of(&request);
        let columns = columns_of(rest, caller, agent, &request)?;
        let interval = nanos_of_ms(request.heartbeat_interval_ms);
        let record = Record::Heartbeat(Heartbeat {
            tenant: caller.tenant.clone(),
            agent,
            received_at: now,
            timestamp: request.timestamp.0,
            reported: request.health_status.into(),
            interval,
            vitals,
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
            quality: heartbeat_quality(&vitals, &profile),
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

fn vitals_of(request: &HeartbeatRequest) -> Vitals {
    Vitals {
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
        ..Vitals::default()
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
    let resource = Arc::new(Attributes::new());
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
                scope: "heartbeat".to_owned(),
                attributes: Attributes::new(),
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
    let outcome = rest.intake.submit(report.partition, report.record, report.bytes).await?;
    let names = |series: SeriesId| report.names.get(&series).cloned();
    let outliers: Vec<String> = outcome.outliers.iter().filter_map(|outlier| names(outlier.series)).collect();
    let processed = report.names.len();
    let response = SystemMetricsResponse {
        success: report.errors.is_empty(),
        metrics_processed: processed,
        system_id: report.key.clone(),
        processing_time_ms: took(begun),
        data_quality_scores: report.quality,
        outliers_detected: outliers,
        thresholds_breached: outcome.breaches,
        alerts_generated: outcome.alerts.iter().map(|alert| AlertInfo::of(alert, Some(report.key.clone()))).collect(),
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
    /// Metrics over the quota.
    errors: Vec<String>,
}

impl Report {
    fn prepare(rest: &Rest, caller: &Caller, value: Value, loc: &[Value], bytes: usize) -> Result<Self, Refusal> {
        let request: SystemMetricsRequest =
            check::message(value, check::SYSTEM_METRICS, loc).map_err(Refusal::Invalid)?;
        no_twins(&request.metrics, loc)?;
        let now = rest.now();
        check_times(rest, &request, now, loc)?;
        touchable(caller, &request.system_id)?;
        let profile = AgentProfile {
            name: request.service_name.clone(),
            environment: Some(request.environment.clone()),
            location: request.region.clone(),
            ..AgentProfile::default()
        };
        let agent = rest.registry.intern_agent(&caller.tenant, &request.system_id, now, &profile)?;
        let component = request.component_name.unwrap_or_default();
        let resource = Arc::new(Attributes::new());
        let specs: Vec<SeriesSpec> =
            request.metrics.iter().map(|metric| spec_of(metric, &component, &resource)).collect();
        let factors: Vec<f64> = specs.iter().map(|spec| spec.factor).collect();
        let ids = rest.registry.intern_series(&caller.tenant, agent, specs);
        let mut columns = Columns::default();
        let mut report = Self {
            key: request.system_id,
            partition: Partition::of(agent, rest.partitions),
            record: Record::Describe { agents: Vec::new(), series: Vec::new() },
            bytes,
            names: HashMap::new(),
            quality: BTreeMap::new(),
            errors: Vec::new(),
        };
        let rules = QualityRules::default();
        for ((metric, id), factor) in request.metrics.into_iter().zip(ids).zip(factors) {
            let own_time = metric.timestamp.map(|time| time.0);
            match id {
                Err(error) => report.errors.push(format!("{}: {error}", metric.metric_name)),
                Ok(id) => {
                    columns.push(id, own_time.unwrap_or(request.timestamp.0), metric.value * factor);
                    let score = metric_quality(metric.metric_type.into(), metric.value, own_time, now, &rules);
                    report.quality.insert(metric.metric_name.clone(), score);
                    report.names.insert(id, metric.metric_name);
                }
            }
        }
        if columns.is_empty() {
            return Err(Refusal::Refused(ApiError::Quota(report.errors.swap_remove(0))));
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

    fn mean_quality(&self) -> f64 {
        mean(self.quality.values().copied()).unwrap_or(1.0)
    }
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

/// The series that a REST metric belongs to: its system, name, dimensions, and its component, so that two components
/// of a system that report the same name stay apart.
fn spec_of(metric: &MetricData, component: &str, resource: &Arc<Attributes>) -> SeriesSpec {
    let mut attributes: Attributes = metric
        .dimensions
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    attributes.sort_unstable();
    let kind: MetricKind = metric.metric_type.into();
    let (unit, factor) = match (kind, metric.unit.as_str()) {
        (_, "percent" | "pct" | "Percent") => ("%", 1.0),
        (MetricKind::ResponseTime, "s" | "sec" | "seconds") => ("ms", 1e3),
        (MetricKind::ResponseTime, "us" | "microseconds") => ("ms", 1e-3),
        (MetricKind::ResponseTime, "milliseconds") => ("ms", 1.0),
        (_, unit) => (unit, 1.0),
    };
    SeriesSpec {
        metric: metric.metric_name.clone(),
        unit: unit.to_owned(),
        kind,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor,
        origin: Origin::Rest,
        scope: component.to_owned(),
        attributes,
        resource: resource.clone(),
    }
}

/// Send heartbeats and measurements together
///
/// An invalid item fails alone; it is counted and named, the rest is taken.
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
    if batch.heartbeats.len() > rest.config.most_heartbeats {
        return Err(ApiError::TooLarge(format!(
            "{} heartbeats, at most {} are taken at once",
            batch.heartbeats.len(),
            rest.config.most_heartbeats
        )));
    }
    limit_points(batch.metrics.iter().map(points_of).sum())?;
    let (total_heartbeats, total_metrics) = (batch.heartbeats.len(), batch.metrics.len());
    let (prepared, mut tally) = {
        // Each item holds its share of the bytes in flight.
        let share = body.length / (total_heartbeats + total_metrics).max(1);
        let (rest, heartbeats, metrics) = (rest.clone(), batch.heartbeats, batch.metrics);
        blocking(move || prepare(&rest, &caller, heartbeats, metrics, share)).await?
    };
    // Everything is submitted before anything is awaited: one group commit serves the whole batch.
    let waiting: Vec<_> = prepared
        .into_iter()
        .map(|one| (one.item, one.at, one.quality, rest.intake.submit(one.partition, one.record, one.bytes)))
        .collect();
    let submitted = waiting.len();
    let outcomes =
        join_all(waiting.into_iter().map(|(item, at, quality, done)| async move { (item, at, quality, done.await) }))
            .await;
    let mut overload = None;
    for (item, at, quality, outcome) in outcomes {
        match outcome {
            Ok(outcome) => tally.take(item, quality, &outcome),
            Err(error) => {
                tally.processing.push(format!("{}.{at}: {}", item.name(), public(&error)));
                overload = Some(error);
            }
        }
    }
    if let Some(error) = overload.filter(|_| submitted > 0 && tally.taken() == 0) {
        // Nothing was taken, and nothing was wrong with it: the sender may send all of it again.
        return Err(error.into());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let response = TelemetryIngestionResult {
        success: tally.taken() == total_heartbeats + total_metrics,
        batch_id: batch.batch_id,
        processed_at: Time(rest.now()),
        total_heartbeats,
        processed_heartbeats: tally.heartbeats,
        failed_heartbeats: total_heartbeats - tally.heartbeats,
        total_metrics,
        processed_metrics: tally.metrics,
        failed_metrics: total_metrics - tally.metrics,
        processing_time_ms: elapsed * 1e3,
        throughput_per_second: per_second(tally.taken(), elapsed),
        alerts_generated: tally.alerts,
        data_quality_score: mean(tally.quality.iter().copied()).unwrap_or(0.0).clamp(0.0, 1.0),
        validation_errors: tally.validation,
        processing_errors: tally.processing,
    };
    Ok(with_status(StatusCode::ACCEPTED, response))
}

/// An item that fits the contract, ready to be submitted.
struct Prepared {
    item: Item,
    at: usize,
    quality: f64,
    partition: Partition,
    record: Record,
    bytes: usize,
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
        let loc = ["body".into(), "heartbeats".into(), at.into()];
        match Beat::prepare(rest, caller, value, &loc, share) {
            Err(refusal) => tally.refuse(&format!("heartbeats.{at}"), refusal),
            Ok(Beat { quality, partition, record, bytes, .. }) => {
                prepared.push(Prepared { item: Item::Heartbeat, at, quality, partition, record, bytes });
            }
        }
    }
    for (at, value) in metrics.into_iter().enumerate() {
        let loc = ["body".into(), "metrics".into(), at.into()];
        match Report::prepare(rest, caller, value, &loc, share) {
            Err(refusal) => tally.refuse(&format!("metrics.{at}"), refusal),
            Ok(report) => {
                let quality = report.mean_quality();
                tally.processing.extend(report.errors.iter().map(|error| format!("metrics.{at}: {error}")));
                let Report { partition, record, bytes, .. } = report;
                prepared.push(Prepared { item: Item::Metrics, at, quality, partition, record, bytes });
            }
        }
    }
    (prepared, tally)
}

#[derive(Clone, Copy)]
enum Item {
    Heartbeat,
    Metrics,
}

impl Item {
    fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeats",
            Self::Metrics => "metrics",
        }
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

    fn take(&mut self, item: Item, quality: f64, outcome: &Outcome) {
        match item {
            Item::Heartbeat => self.heartbeats += 1,
            Item::Metrics => self.metrics += 1,
        }
        self.quality.push(quality);
        self.alerts += outcome.alerts.len();
    }

    fn refuse(&mut self, place: &str, refusal: Refusal) {
        match refusal {
            Refusal::Invalid(problems) => self.validation.extend(problems.iter().map(Problem::line)),
            Refusal::Refused(ApiError::Forbidden(what) | ApiError::Quota(what)) => {
                self.processing.push(format!("{place}: {what}"));
            }
            Refusal::Refused(_) => self.processing.push(format!("{place}: it could not be taken")),
        }
    }
}

/// What a client may know of a refusal.
fn public(error: &IntakeError) -> String {
    match error {
        IntakeError::Overloaded { .. } => error.to_string(),
        IntakeError::Unavailable(reason) => {
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
        (status = 201, body = MaintenanceWindow, description = "neither up nor down in this window"),
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
    let record = Record::Maintenance { agent, start: window.start_time.0, end: window.end_time.0 };
    rest.intake.submit(Partition::of(agent, rest.partitions), record, size_of::<Record>()).await?;
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
    let query = AlertQuery {
        tenant: caller.tenant.clone(),
        agents: None,
        open_only: false,
        start: UnixNanos(i64::MIN),
        end: UnixNanos(i64::MAX),
        limit: ALERTS_SEARCHED,
    };
    let wanted = id.clone();
    let found =
        rest.ask(move |rest| Ok(rest.store.alerts(&query)?.into_iter().find(|alert| alert.id == wanted))).await?;
    let missing = || ApiError::NotFound(format!("there is no alert {id}"));
    let mut alert = found.ok_or_else(missing)?;
    // An id says nothing of whose it is, and the answer must not either.
    let agent = rest.registry.agent(alert.agent).filter(|agent| caller.may_touch(&agent.key)).ok_or_else(missing)?;
    if alert.acknowledged.is_none() {
        let by = caller.subject.clone().unwrap_or_else(|| "anonymous".to_owned());
        let at = rest.now();
        let record = Record::Acknowledge { alert: id, agent: agent.id, by: by.clone(), at };
        rest.intake.submit(Partition::of(agent.id, rest.partitions), record, size_of::<Record>()).await?;
        alert.acknowledged = Some((by, at));
    }
    Ok(Json(AlertInfo::of(&alert, Some(agent.key.clone()))))
}
