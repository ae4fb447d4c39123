//! `POST /batch`: heartbeats and measurements together. An invalid item fails alone.

use super::Route;
use super::heartbeat::{HeartbeatRequest, PreparedHeartbeat};
use super::system_metrics::{PreparedMetrics, SystemMetricsRequest, limit_points, points_of};
use crate::expose::Rest;
use crate::expose::rest::body::json_body;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, TokenErrors};
use crate::expose::rest::extract::Writer;
use crate::expose::rest::lookup::blocking;
use crate::expose::rest::time::Time;
use crate::net::Refusal;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Caller;
use vitals_core::ids::Partition;
use vitals_core::record::{Outcome, Record};

#[derive(OpenApi)]
#[openapi(paths(batch))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(batch), document: Operation::openapi, examples: EXAMPLES };

/// Heartbeats and measurements together. An invalid item fails alone.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct TelemetryIngestionBatch {
    /// The sender's id for it.
    pub batch_id: String,
    /// When it was made.
    pub batch_timestamp: Time,
    /// At most 1,000. Each is checked for itself; a bad one fails alone.
    #[serde(default)]
    #[schema(value_type = Vec<HeartbeatRequest>)]
    pub heartbeats: Vec<Value>,
    /// At most 5,000 points altogether. Each request is checked for itself; a bad one fails alone.
    #[serde(default)]
    #[schema(value_type = Vec<SystemMetricsRequest>)]
    pub metrics: Vec<Value>,
    /// Who sends it.
    pub source_system: String,
    /// What the sender says of its transport; not used.
    #[serde(default)]
    pub compression_used: bool,
    /// What the sender says of its content. It is not checked: the contract names no algorithm.
    pub checksum: Option<String>,
}

/// The items of both lists are checked one by one, so that a bad one fails alone.
static CONTRACT: Contract<TelemetryIngestionBatch> = Contract::without_items();

/// What became of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TelemetryIngestionResult {
    /// Whether the batch was processed: true when anything of it was taken, also if single items failed.
    pub success: bool,
    /// The sender's id for it.
    pub batch_id: String,
    /// When it was done.
    pub processed_at: Time,
    /// Heartbeats in the batch.
    pub total_heartbeats: usize,
    /// Heartbeats taken.
    pub processed_heartbeats: usize,
    /// Heartbeats refused.
    pub failed_heartbeats: usize,
    /// Metrics in the batch; an item without a list of metrics counts as one.
    pub total_metrics: usize,
    /// Metrics taken.
    pub processed_metrics: usize,
    /// Metrics refused.
    pub failed_metrics: usize,
    /// From its arrival to this answer.
    #[schema(minimum = 0)]
    pub processing_time_ms: f64,
    /// Heartbeats and metrics taken per second of that time.
    #[schema(minimum = 0)]
    pub throughput_per_second: f64,
    /// What does not fit the contract, one line each problem: the item's place, its agent or system, the field.
    pub validation_errors: Vec<String>,
    /// Items that could not be taken, and why: the item's place, its agent or system, the reason.
    pub processing_errors: Vec<String>,
    /// Alerts raised.
    pub alerts_generated: usize,
    /// Mean data quality of the heartbeats and metrics taken, 0..=1; 0 when none was.
    #[schema(minimum = 0, maximum = 1)]
    pub data_quality_score: f64,
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
    let batch: TelemetryIngestionBatch = CONTRACT.read(body.value, &["body".into()]).map_err(ApiError::Invalid)?;
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
    Ok((StatusCode::ACCEPTED, Json(response)).into_response())
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
        return Err(Refusal::TooManyItems { count, items: "heartbeats", limit: most }.into());
    }
    limit_points(batch.metrics.iter().map(points_of).sum())
}

/// The number of metrics that an item of `metrics` counts for: its metrics, or one if it has no list of them and so fails as a whole.
fn weight_of(value: &Value) -> usize {
    points_of(value).max(1)
}

/// The time at which the answer must be on its way, so that the request's own time limit does not come first.
fn answer_by(rest: &Rest, begun: Instant) -> tokio::time::Instant {
    let limit = Duration::from_secs(rest.config.request_seconds);
    tokio::time::Instant::from_std(begun + limit * 9 / 10)
}

/// Submits what was prepared and waits for it until `deadline`. The last error of those that are nobody's fault.
async fn submit(
    rest: &Rest,
    prepared: Vec<PreparedItem>,
    deadline: tokio::time::Instant,
    tally: &mut BatchTally,
) -> Option<ApiError> {
    // Everything is submitted before anything is awaited: one group commit serves the whole batch.
    let waiting: Vec<_> = prepared
        .into_iter()
        .map(|one| (one.item, one.count, rest.submitter.submit(one.partition, one.record, one.bytes)))
        .collect();
    let outcomes = join_all(
        waiting
            .into_iter()
            .map(|(item, count, done)| async move { (item, count, tokio::time::timeout_at(deadline, done).await) }),
    );
    let mut failure = None;
    for (item, count, outcome) in outcomes.await {
        match outcome {
            Ok(Ok(outcome)) => tally.take(&count, &outcome),
            Ok(Err(error)) => {
                tally.processing.push(format!("{item}: {}", error.rest().detail));
                failure = Some(error.into());
            }
            Err(_) => {
                tally.processing.push(format!("{item}: it was not done in time, send it again"));
                failure = Some(Refusal::RequestTimeout.into());
            }
        }
    }
    failure
}

/// An item that fits the contract, ready to be submitted.
struct PreparedItem {
    item: String,
    count: ItemCounts,
    partition: Partition,
    record: Record,
    bytes: usize,
}

/// The numbers that an item adds to the tally when it is taken.
#[derive(Default)]
struct ItemCounts {
    heartbeats: usize,
    metrics: usize,
    /// The quality of each of them.
    quality: Vec<f64>,
}

fn prepare(
    rest: &Rest,
    caller: &Caller,
    heartbeats: Vec<Value>,
    metrics: Vec<Value>,
    share: usize,
) -> (Vec<PreparedItem>, BatchTally) {
    let mut tally = BatchTally::default();
    let mut prepared = Vec::with_capacity(heartbeats.len() + metrics.len());
    for (at, value) in heartbeats.into_iter().enumerate() {
        let item = item_name("heartbeats", at, value.pointer("/agent_info/agent_id"));
        match PreparedHeartbeat::prepare(rest, caller, value, &[], share) {
            Err(error) => tally.refuse(&item, error),
            Ok(PreparedHeartbeat { quality, partition, record, bytes, .. }) => {
                let count = ItemCounts { heartbeats: 1, metrics: 0, quality: vec![quality] };
                prepared.push(PreparedItem { item, count, partition, record, bytes });
            }
        }
    }
    for (at, value) in metrics.into_iter().enumerate() {
        let item = item_name("metrics", at, value.get("system_id"));
        match PreparedMetrics::prepare(rest, caller, value, &[], share) {
            Err(error) => tally.refuse(&item, error),
            Ok(report) => {
                tally.processing.extend(report.errors.iter().map(|error| format!("{item}: {error}")));
                let PreparedMetrics { partition, record, bytes, names, quality, .. } = report;
                let quality = quality.into_values().collect();
                let count = ItemCounts { heartbeats: 0, metrics: names.len(), quality };
                prepared.push(PreparedItem { item, count, partition, record, bytes });
            }
        }
    }
    (prepared, tally)
}

/// Names an item in errors by its list, its position and whose it is: `metrics.3 (db-1)`.
fn item_name(list: &str, at: usize, id: Option<&Value>) -> String {
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

    fn take(&mut self, count: &ItemCounts, outcome: &Outcome) {
        self.heartbeats += count.heartbeats;
        self.metrics += count.metrics;
        self.quality.extend(&count.quality);
        self.alerts += outcome.alerts.len();
    }

    fn refuse(&mut self, item: &str, error: ApiError) {
        match error {
            ApiError::Invalid(problems) => {
                self.validation.extend(problems.iter().map(|problem| format!("{item}: {}", problem.line())));
            }
            ApiError::Refused(
                refusal
                @ (Refusal::AgentForbidden(_) | Refusal::QuotaExceeded(_) | Refusal::MetricQuotaExceeded { .. }),
            ) => {
                self.processing.push(format!("{item}: {refusal}"));
            }
            ApiError::Refused(_) | ApiError::Conflict(_) => {
                self.processing.push(format!("{item}: it could not be taken"))
            }
        }
    }

    /// The mean quality of what was taken; 0 when nothing of the batch could be used.
    fn mean_quality(&self) -> f64 {
        mean(self.quality.iter().copied()).unwrap_or(0.0).clamp(0.0, 1.0)
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

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {
    "batch_id": "batch-7",
    "batch_timestamp": "2026-03-01T11:59:58Z",
    "source_system": "edge-gateway",
    "heartbeats": [
      {
        "agent_info": {
          "agent_id": "web-2",
          "agent_name": "Web server 1",
          "agent_version": "1.4.2",
          "environment": "production",
          "geographic_location": "eu-central",
          "availability_zone": "eu-central-1a"
        },
        "health_status": "healthy",
        "timestamp": "2026-03-01T11:59:58Z",
        "cpu_usage_percent": 35,
        "memory_usage_mb": 2048,
        "disk_usage_percent": 61,
        "response_time_ms": 120,
        "request_count": 900,
        "error_count": 3,
        "heartbeat_interval_ms": 30000
      }
    ],
    "metrics": [
      {
        "system_id": "db-1",
        "timestamp": "2026-03-01T11:59:58Z",
        "environment": "production",
        "collection_method": "push",
        "metrics": [{"metric_name": "rows", "metric_type": "custom", "value": 1200, "unit": "{row}"}]
      }
    ]
  },
  "202": {
    "success": true,
    "batch_id": "batch-7",
    "processed_at": "2026-03-01T11:59:58.221Z",
    "total_heartbeats": 1,
    "processed_heartbeats": 1,
    "failed_heartbeats": 0,
    "total_metrics": 1,
    "processed_metrics": 1,
    "failed_metrics": 0,
    "processing_time_ms": 1.331,
    "throughput_per_second": 1502.51,
    "validation_errors": [],
    "processing_errors": [],
    "alerts_generated": 0,
    "data_quality_score": 0.833
  }
}"#;
