//! `POST /system-metrics`: measurements of a system.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::MOST_POINTS;
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::body::json_body;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::Writer;
use crate::expose::rest::lookup::{blocking, touchable};
use crate::expose::rest::metric_series::spec_of;
use crate::expose::rest::shapes::{Id, MetricName, MetricType, Name};
use crate::expose::rest::time::{Time, ahead_of_clock, milliseconds_since, nanos_of_seconds};
use crate::net::Refusal;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Caller;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{Partition, SeriesId, UnixNanos};
use vitals_core::record::{Record, Samples};
use vitals_core::rules::quality::metric_quality;
use vitals_core::series::{AgentProfile, Attributes, Scope, SeriesSpec};

#[derive(OpenApi)]
#[openapi(paths(system_metrics))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(system_metrics), document: Operation::openapi, examples: EXAMPLES };

/// Measurements of a system.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct SystemMetricsRequest {
    /// The system.
    #[schema(value_type = Id)]
    pub system_id: String,
    /// When they were collected; neither before 1970 nor more than a day ahead.
    pub timestamp: Time,
    /// Its environment.
    pub environment: String,
    /// At least one.
    #[schema(min_items = 1)]
    pub metrics: Vec<MetricData>,
    /// How they were collected.
    pub collection_method: String,
    /// How often.
    #[serde(default = "collection_interval")]
    #[schema(value_type = u64, minimum = 1000, default = 60000)]
    pub collection_interval_ms: f64,
    /// The service they belong to.
    pub service_name: Option<String>,
    /// The component they belong to.
    #[schema(value_type = Option<Name>)]
    pub component_name: Option<String>,
    /// Where it is.
    pub region: Option<String>,
}

fn collection_interval() -> f64 {
    60_000.0
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct MetricData {
    /// Its name, unique within the request, not empty.
    #[schema(value_type = MetricName, example = "cpu.total")]
    pub metric_name: String,
    /// Its typed kind.
    pub metric_type: MetricType,
    /// The value.
    pub value: f64,
    /// The unit, in any usual spelling: `%`, `percent`, `ms`, `seconds`, `MB`, `GiB`, `Mbit/s`. A typed metric is kept in the
    /// unit of its kind, so that all spellings of one unit are one series.
    #[schema(value_type = Name, example = "%")]
    pub unit: String,
    /// Its own time; the request's if absent. Neither before 1970 nor more than a day ahead.
    pub timestamp: Option<Time>,
    /// What tells series of this name apart.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub dimensions: Map<String, Value>,
    /// Labels; accepted, not kept.
    #[serde(default)]
    pub tags: Vec<String>,
}

static CONTRACT: Contract<SystemMetricsRequest> = Contract::new();

/// What measurements led to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SystemMetricsResponse {
    /// Whether all were taken.
    pub success: bool,
    /// How many were taken.
    pub metrics_processed: usize,
    /// The system.
    pub system_id: String,
    /// From their arrival to this answer.
    #[schema(minimum = 0)]
    pub processing_time_ms: f64,
    /// What was not taken, and why.
    pub validation_errors: Vec<String>,
    /// Data quality by metric name, 0..=1.
    pub data_quality_scores: BTreeMap<String, f64>,
    /// Names of the metrics whose value is an outlier.
    pub outliers_detected: Vec<String>,
    /// Names of the metrics whose value breaches a threshold.
    pub thresholds_breached: Vec<String>,
    /// The breaches, one sentence each.
    pub threshold_messages: Vec<String>,
    /// Alerts that they raised.
    pub alerts_generated: Vec<AlertInfo>,
    /// When this answer was made.
    pub timestamp: Time,
    /// One sentence.
    pub message: String,
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
        blocking(move || PreparedMetrics::prepare(&rest, &caller, body.value, &["body".into()], length)).await??
    };
    let outcome = rest.submitter.submit(report.partition, report.record, report.bytes).await?;
    let processed = report.names.len();
    let outliers = names_of(&report.names, outcome.outliers.iter().map(|outlier| outlier.series));
    let breached = names_of(&report.names, outcome.breaches.iter().filter_map(|breach| breach.series));
    let response = SystemMetricsResponse {
        success: report.errors.is_empty(),
        metrics_processed: processed,
        system_id: report.key.clone(),
        processing_time_ms: milliseconds_since(begun),
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
    Ok((StatusCode::CREATED, Json(response)).into_response())
}

/// How many metrics a request of this route, not yet checked, holds.
pub fn points_of(value: &Value) -> usize {
    value.get("metrics").and_then(Value::as_array).map_or(0, Vec::len)
}

/// Refuses more metrics than a request may hold.
pub fn limit_points(points: usize) -> Result<(), ApiError> {
    if points > MOST_POINTS {
        return Err(Refusal::TooManyItems { count: points, items: "metric points", limit: MOST_POINTS }.into());
    }
    Ok(())
}

/// Measurements that fit the contract, ready to be submitted.
pub struct PreparedMetrics {
    pub key: String,
    pub partition: Partition,
    pub record: Record,
    pub bytes: usize,
    /// The metric of each series that was taken.
    pub names: HashMap<SeriesId, String>,
    pub quality: BTreeMap<String, f64>,
    /// Metrics that were not taken: over the quota, or older than the retention.
    pub errors: Vec<String>,
}

impl PreparedMetrics {
    /// Checks measurements at `loc` of the body, which count as `bytes` in flight, and makes their record.
    pub fn prepare(rest: &Rest, caller: &Caller, value: Value, loc: &[Value], bytes: usize) -> Result<Self, ApiError> {
        let mut request: SystemMetricsRequest = CONTRACT.read(value, loc).map_err(ApiError::Invalid)?;
        names_are_unique(&request.metrics, loc)?;
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
        let mut over_quota = None;
        for ((metric, id), factor) in metrics.into_iter().zip(ids).zip(factors) {
            let own_time = metric.timestamp.map(|time| time.0);
            match id {
                Err(source) => {
                    report.errors.push(format!("{}: {source}", metric.metric_name));
                    over_quota = Some(Refusal::MetricQuotaExceeded { metric: metric.metric_name, source });
                }
                Ok(id) => {
                    let value = (metric.value * factor).clamp(f64::MIN, f64::MAX);
                    columns.push(id, own_time.unwrap_or(request.timestamp.0), value);
                    let score = metric_quality(metric.metric_type.into(), value, own_time, now, &rules);
                    report.quality.insert(metric.metric_name.clone(), score);
                    report.names.insert(id, metric.metric_name);
                }
            }
        }
        if let Some(refusal) = over_quota.filter(|_| columns.is_empty()) {
            return Err(refusal.into());
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
fn check_times(rest: &Rest, request: &SystemMetricsRequest, now: UnixNanos, loc: &[Value]) -> Result<(), ApiError> {
    let most = rest.config.metric_max_ahead_seconds;
    let wrong = |time: Time, place: &[Value]| {
        let msg = if time.0 < UnixNanos(0) {
            "Input should be in or after 1970".to_owned()
        } else if time.0.since(now) > nanos_of_seconds(most) {
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
    none_wrong(own.into_iter().chain(theirs).collect())
}

/// The metrics that the store keeps, and what is said of those that it would delete; refused when all are too old.
fn within_retention(
    rest: &Rest,
    request: &mut SystemMetricsRequest,
    now: UnixNanos,
    loc: &[Value],
) -> Result<(Vec<MetricData>, Vec<String>), ApiError> {
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
    if kept.is_empty() { Err(ApiError::Invalid(problems)) } else { Ok((kept, old)) }
}

/// Refuses a request that has a metric name twice.
fn names_are_unique(metrics: &[MetricData], loc: &[Value]) -> Result<(), ApiError> {
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
    none_wrong(twins)
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {
    "system_id": "db-1",
    "timestamp": "2026-03-01T11:59:58Z",
    "environment": "production",
    "metrics": [
      {
        "metric_name": "cpu.total",
        "metric_type": "cpu_usage",
        "value": 86.5,
        "unit": "%",
        "dimensions": {"host": "db-1a"}
      },
      {"metric_name": "queue.length", "metric_type": "custom", "value": 900, "unit": "{message}"}
    ],
    "collection_method": "push",
    "component_name": "primary",
    "service_name": "orders-db",
    "region": "eu-central"
  },
  "201": {
    "success": true,
    "metrics_processed": 2,
    "system_id": "db-1",
    "processing_time_ms": 1.115,
    "validation_errors": [],
    "data_quality_scores": {"cpu.total": 1, "queue.length": 1},
    "outliers_detected": [],
    "thresholds_breached": ["cpu.total"],
    "threshold_messages": ["cpu_usage is 86.5 %, warning from 80.0 %"],
    "alerts_generated": [
      {
        "alert_id": "837cbd8a3c9cc18c471aa598b82302d7",
        "severity": "warning",
        "message": "cpu_usage is 86.5 %, warning from 80.0 % (cpu.total)",
        "source": "db-1",
        "alert_type": "cpu_usage",
        "timestamp": "2026-03-01T11:59:58Z",
        "state": "open",
        "resolved": false,
        "agent_id": "db-1",
        "metric_name": "cpu.total",
        "attributes": {}
      }
    ],
    "timestamp": "2026-03-01T11:59:58.219Z",
    "message": "2 metrics processed"
  }
}"#;
