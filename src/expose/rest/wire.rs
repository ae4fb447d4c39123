//! The JSON shapes of the API. They are the contract: a renamed field breaks a client.

use super::time::{Time, seconds};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use vitals_core::availability::State;
use vitals_core::ids::UnixNanos;
use vitals_core::rules::alerts::type_of;
use vitals_core::series::MetricKind;
use vitals_core::store::Aggregation;
use vitals_core::verdict::{Alert, HealthStatus, Severity};

/// What a percentage or score is that the contract wants as a number although nothing is known: nothing speaks against the
/// target. `overall_health` is `unknown` then, or `confidence_level` 0.
pub const NOTHING_AGAINST: f64 = 100.0;

/// How an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All is well.
    Healthy,
    /// Works, but worse than it should.
    Degraded,
    /// Close to failing, or failing.
    Critical,
    /// Not enough is known.
    Unknown,
    /// No evidence of life within the adaptive timeout.
    Offline,
    /// Planned.
    Maintenance,
}

impl From<HealthStatus> for Health {
    fn from(status: HealthStatus) -> Self {
        match status {
            HealthStatus::Healthy => Self::Healthy,
            HealthStatus::Degraded => Self::Degraded,
            HealthStatus::Critical => Self::Critical,
            HealthStatus::Unknown => Self::Unknown,
            HealthStatus::Offline => Self::Offline,
            HealthStatus::Maintenance => Self::Maintenance,
        }
    }
}

impl From<Health> for HealthStatus {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => Self::Healthy,
            Health::Degraded => Self::Degraded,
            Health::Critical => Self::Critical,
            Health::Unknown => Self::Unknown,
            Health::Offline => Self::Offline,
            Health::Maintenance => Self::Maintenance,
        }
    }
}

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// For the record.
    Info,
    /// Look at it in office hours.
    Warning,
    /// Something does not work.
    Error,
    /// Someone should act now.
    Critical,
    /// Everyone should.
    Emergency,
}

impl From<Severity> for AlertSeverity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Critical => Self::Critical,
            Severity::Emergency => Self::Emergency,
        }
    }
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nobody has seen to it.
    Open,
    /// Someone sees to it.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// What is made of the values in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum AggregationName {
    Min,
    Max,
    Mean,
    Count,
    Last,
    P95,
}

impl From<AggregationName> for Aggregation {
    fn from(name: AggregationName) -> Self {
        match name {
            AggregationName::Min => Self::Min,
            AggregationName::Max => Self::Max,
            AggregationName::Mean => Self::Mean,
            AggregationName::Count => Self::Count,
            AggregationName::Last => Self::Last,
            AggregationName::P95 => Self::P95,
        }
    }
}

impl From<Aggregation> for AggregationName {
    fn from(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Min => Self::Min,
            Aggregation::Max => Self::Max,
            Aggregation::Mean => Self::Mean,
            Aggregation::Count => Self::Count,
            Aggregation::Last => Self::Last,
            Aggregation::P95 => Self::P95,
        }
    }
}

/// The kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictKind {
    /// An agent's health score.
    Health,
    /// An outlier of a series.
    Outlier,
    /// How an agent stands against its objective.
    Sla,
}

impl VerdictKind {
    /// The name that the store knows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Outlier => "outlier",
            Self::Sla => "sla",
        }
    }
}

/// The typed kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it; the units are at the kinds of the domain")]
pub enum MetricType {
    CpuUsage,
    MemoryUsage,
    DiskUsage,
    DiskIo,
    NetworkIo,
    ResponseTime,
    Throughput,
    ErrorRate,
    Uptime,
    Custom,
}

impl From<MetricType> for MetricKind {
    fn from(kind: MetricType) -> Self {
        match kind {
            MetricType::CpuUsage => Self::CpuUsage,
            MetricType::MemoryUsage => Self::MemoryUsage,
            MetricType::DiskUsage => Self::DiskUsage,
            MetricType::DiskIo => Self::DiskIo,
            MetricType::NetworkIo => Self::NetworkIo,
            MetricType::ResponseTime => Self::ResponseTime,
            MetricType::Throughput => Self::Throughput,
            MetricType::ErrorRate => Self::ErrorRate,
            MetricType::Uptime => Self::Uptime,
            MetricType::Custom => Self::Custom,
        }
    }
}

/// The id of an agent or system: 1..=100 characters, no control characters, no white space at its ends, and neither `.` nor
/// `..`, which clients take out of a path.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = r"^([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\u0020\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff.]([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\u0020\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff])?|\.([^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\u0020\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff.]|[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+\.))$",
    example = "web-1"
)]
#[allow(dead_code, reason = "only described, never made")]
pub struct Id(String);

/// A metric's name, its unit or a component: no control characters.
#[derive(ToSchema)]
#[schema(max_length = 1000, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$")]
#[allow(dead_code, reason = "only described, never made")]
pub struct Name(String);

/// A length of time: `250ms`, `30s`, `5m`, `1h`, `1d`, or a number of seconds.
#[derive(ToSchema)]
#[schema(pattern = "^0*[1-9][0-9]{0,8} ?(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)?$", example = "5m")]
#[allow(dead_code, reason = "only described, never made")]
pub struct Span(String);

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

/// A sign of life with measurements.
#[derive(Clone, Debug, Deserialize, ToSchema)]
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

/// An alert.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertInfo {
    /// Its id.
    pub alert_id: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// One sentence.
    pub message: String,
    /// The id of its agent or system.
    pub source: String,
    /// What raised it: `availability`, `health`, or the typed kind whose threshold was breached, as in `alert_configs`.
    pub alert_type: String,
    /// When it began.
    pub timestamp: Time,
    /// Where it stands.
    pub state: AlertState,
    /// Whether it is over.
    pub resolved: bool,
    /// When it ended: not when that was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    /// How long it lasted, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub duration_seconds: Option<f64>,
    /// Its agent or system, as `source`.
    pub agent_id: String,
    /// The metric whose value breached a threshold; not there for other alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<String>,
    /// The attributes of the series that breached, e.g. which disk; those in common if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Who acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Time>,
}

impl AlertInfo {
    /// The wire shape of `alert`, whose agent is known as `agent_id`.
    #[must_use]
    pub fn of(alert: &Alert, agent_id: &str) -> Self {
        // Taken back, it ended when it began.
        let ended = alert.resolved.map(|ended| ended.max(alert.started));
        Self {
            alert_id: alert.id.clone(),
            severity: alert.severity.into(),
            message: alert.message.clone(),
            source: agent_id.to_owned(),
            alert_type: type_of(&alert.source).to_owned(),
            timestamp: Time(alert.started),
            state: match (alert.resolved, &alert.acknowledged) {
                (Some(_), _) => AlertState::Resolved,
                (None, Some(_)) => AlertState::Acknowledged,
                (None, None) => AlertState::Open,
            },
            resolved: alert.resolved.is_some(),
            resolved_at: ended.map(Time),
            duration_seconds: ended.map(|ended| seconds(ended.since(alert.started))),
            agent_id: agent_id.to_owned(),
            metric_name: alert.series.as_ref().map(|series| series.metric.clone()),
            attributes: alert.series.as_ref().map(|series| series.attributes.iter().cloned().collect()),
            acknowledged_by: alert.acknowledged.as_ref().map(|(by, _)| by.clone()),
            acknowledged_at: alert.acknowledged.as_ref().map(|&(_, at)| Time(at)),
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct MetricData {
    /// Its name, unique within the request, not empty.
    #[schema(value_type = Name, min_length = 1, example = "cpu.total")]
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

/// Measurements of a system.
#[derive(Clone, Debug, Deserialize, ToSchema)]
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

/// Heartbeats and measurements together. An invalid item fails alone.
#[derive(Clone, Debug, Deserialize, ToSchema)]
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

/// A stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TimeRange {
    /// From here, inclusive.
    pub start_time: Time,
    /// To here, exclusive.
    pub end_time: Time,
    /// How the asker shows times; answers are in UTC whatever it is.
    #[serde(default = "utc")]
    #[schema(default = "UTC")]
    pub timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A health in one look.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthAssessment {
    /// The health now; the same as `health` in the list of agents.
    pub overall_health: Health,
    /// 0..=100; 100 when `overall_health` is `unknown`, as nothing speaks against the target.
    #[schema(minimum = 0, maximum = 100)]
    pub health_score: f64,
    /// Percent of the known time that the target was up; 100 when nothing is known.
    #[schema(minimum = 0, maximum = 100)]
    pub uptime_percentage: f64,
    /// When the target was last heard of, measured or judged, by the time of arrival.
    pub last_check: Time,
    /// By component.
    pub components: BTreeMap<String, Health>,
    /// What the agent said of its health in its last heartbeat; null for one that sends none.
    pub reported_status: Option<Health>,
}

/// What an agent was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeriodState {
    /// Alive and not critical.
    Up,
    /// Silent past its adaptive timeout, dated from the first missed beat.
    Silent,
    /// Alive, with a health that was critical.
    Unhealthy,
    /// Planned.
    Maintenance,
}

impl From<State> for PeriodState {
    fn from(state: State) -> Self {
        match state {
            State::Up => Self::Up,
            State::Silent => Self::Silent,
            State::Unhealthy => Self::Unhealthy,
            State::Maintenance => Self::Maintenance,
        }
    }
}

/// A real interval, as far as it lies in the window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Period {
    /// From here, or from the window's start.
    pub start: Time,
    /// To here, or to the window's end; null while it lasts.
    pub end: Option<Time>,
    /// The part in the window: these minutes add up to the known part of it.
    #[schema(minimum = 0)]
    pub duration_minutes: f64,
    /// What the agent was.
    pub state: PeriodState,
    /// Why it was not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<PeriodState>,
    /// When it truly began, which may be before the window.
    pub began_at: Time,
}

/// How an agent keeps failing.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FailurePattern {
    /// Outages keep beginning at the same time of day.
    RecurringHour {
        /// The hour (UTC) at which they begin at the earliest.
        hour_utc: i64,
        /// The earliest time of day (UTC).
        from: String,
        /// The latest one.
        to: String,
        /// On how many days.
        days: usize,
        /// How many outages.
        outages: usize,
        /// What to do.
        recommendation: String,
    },
    /// Outages keep beginning after the same time.
    RecurringPeriod {
        /// The mean time from one beginning to the next.
        period_minutes: f64,
        /// How many outages.
        outages: usize,
        /// What to do.
        recommendation: String,
    },
    /// Many outages within an hour.
    Flapping {
        /// How many.
        outages: usize,
        /// The beginning of the first.
        start: Time,
        /// The beginning of the last.
        end: Time,
        /// What to do.
        recommendation: String,
    },
    /// An outage that began together with those of other agents at the same place: a partition, probably.
    Location {
        /// The place.
        location: String,
        /// When it began.
        start: Time,
        /// The others.
        agents: Vec<String>,
        /// What to do.
        recommendation: String,
    },
}

impl FailurePattern {
    /// What to do about it.
    #[must_use]
    pub fn recommendation(&self) -> &str {
        match self {
            Self::RecurringHour { recommendation, .. }
            | Self::RecurringPeriod { recommendation, .. }
            | Self::Flapping { recommendation, .. }
            | Self::Location { recommendation, .. } => recommendation,
        }
    }
}

/// Where a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Up.
    Increasing,
    /// Down.
    Decreasing,
    /// Nowhere.
    Stable,
}

/// A straight line through a series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesTrend {
    /// The metric's typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// Change in an hour.
    pub slope_per_hour: f64,
    /// Where it goes.
    pub direction: Direction,
    /// The mean of the points.
    pub mean: f64,
    /// The last value, as it came; null for NaN and infinities.
    pub last: Option<f64>,
    /// How many points the line is fitted to: means over steps, each at the middle of its step.
    pub points: usize,
    /// `predictive` only: hours until it is degraded; 0 when it is, null when it does not get there or has no threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours_to_warning: Option<Option<f64>>,
    /// `predictive` only: hours until it is critical; 0 when it is, null when it does not get there or has no threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours_to_critical: Option<Option<f64>>,
}

/// A series over time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chart {
    /// Its agent or system.
    pub agent_id: String,
    /// Its number.
    pub series_id: u32,
    /// The metric's name.
    pub metric_name: String,
    /// Its typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// What tells it from the agent's others.
    pub label: String,
    /// What was made of the values in a step.
    pub aggregation: AggregationName,
    /// The step.
    pub step_seconds: f64,
    /// By time.
    pub points: Vec<SamplePoint>,
}

/// An outlier.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Anomaly {
    /// Its agent or system.
    pub agent_id: String,
    /// Its series.
    pub series_id: u32,
    /// The metric's name.
    pub metric_name: String,
    /// When.
    pub time: Time,
    /// The value; null for an infinite one.
    pub value: Option<f64>,
    /// The lower bound of what was expected; null when there is none.
    pub lower: Option<f64>,
    /// The upper bound; null when there is none.
    pub upper: Option<f64>,
    /// How far out of them; null when it is infinitely far, as all values before were the same.
    pub score: Option<f64>,
    /// How many values the bounds were made of.
    pub window: u32,
    /// Who found it.
    pub plugin: String,
}

/// One day (UTC).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DayUptime {
    /// Which.
    #[schema(format = Date, example = "2026-03-01")]
    pub date: String,
    /// Percent of its known time; null when nothing is known.
    pub uptime_percentage: Option<f64>,
    /// Time up.
    pub uptime_minutes: f64,
    /// Time down.
    pub downtime_minutes: f64,
}

/// Availability of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UptimeStatusResponse {
    /// The agent.
    pub agent_id: String,
    /// The window's length.
    #[schema(minimum = 1)]
    pub calculation_period_hours: u32,
    /// The window's end.
    pub calculated_at: Time,
    /// Its health now.
    pub health_assessment: HealthAssessment,
    /// Percent of the known time that it was up; 100 when nothing is known: then `confidence_level` is 0 and
    /// `sla_compliance` null.
    #[schema(minimum = 0, maximum = 100)]
    pub uptime_percentage: f64,
    /// Time up.
    #[schema(minimum = 0)]
    pub total_uptime_minutes: f64,
    /// Time down.
    #[schema(minimum = 0)]
    pub total_downtime_minutes: f64,
    /// When it was up, oldest first.
    pub uptime_sessions: Vec<Period>,
    /// When it was down, or in maintenance, which counts neither as up nor as down; oldest first.
    pub downtime_periods: Vec<Period>,
    /// The objective, percent.
    pub sla_target: Option<f64>,
    /// Whether the window meets it; null when nothing is known.
    pub sla_compliance: Option<bool>,
    /// `low`, `medium`, `high`, `breached`; null when nothing is known of the objective's period.
    pub sla_breach_risk: Option<String>,
    /// `improving`, `stable`, `declining`; null when a half of the window is unknown.
    pub availability_trend: Option<String>,
    /// Mean length of the closed outages; null when there was none.
    pub mttr_minutes: Option<f64>,
    /// Time up by number of outages; null when there was none.
    pub mtbf_hours: Option<f64>,
    /// Recurring times and periods, flapping, locations failing together.
    pub failure_patterns: Vec<FailurePattern>,
    /// Advice that a person can act on.
    pub health_recommendations: Vec<String>,
    /// Share of the fields of a heartbeat that the agent sends, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub data_quality_score: f64,
    /// Share of the window that is known, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence_level: f64,
}

/// What to assess.
#[derive(Clone, Debug, Deserialize, ToSchema)]
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
    /// `full`, and the time to the thresholds.
    Predictive,
}

fn yes() -> bool {
    true
}

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

/// What to show.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct DashboardQuery {
    /// The asker's id for it.
    pub query_id: String,
    /// The asker's name for its kind.
    pub query_type: String,
    /// Over which time, at most 8,760 hours.
    pub time_range: TimeRange,
    /// The length of a step of the charts.
    #[schema(value_type = Span)]
    pub aggregation_window: String,
    /// Only agents of these environments; all if empty.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Only agents at these locations; all if empty.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Only these agents (and `system_ids`); all if both are empty.
    #[serde(default)]
    #[schema(value_type = Vec<Id>)]
    pub agent_ids: Vec<String>,
    /// Only these systems (and `agent_ids`); all if both are empty.
    #[serde(default)]
    #[schema(value_type = Vec<Id>)]
    pub system_ids: Vec<String>,
    /// Only series of these kinds; all if empty.
    #[serde(default)]
    pub metric_types: Vec<MetricType>,
    /// Only agents of this health; all if empty.
    #[serde(default)]
    pub health_statuses: Vec<Health>,
    /// Whether to list open alerts.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub include_alerts: bool,
    /// Whether to compute trends.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub include_trends: bool,
    /// Most points of all series together.
    #[serde(default = "data_points")]
    #[schema(value_type = u64, minimum = 1, maximum = 10000, default = 1000)]
    pub max_data_points: f64,
}

fn data_points() -> f64 {
    1_000.0
}

/// What a dashboard shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TelemetryDashboardData {
    /// The asker's id for it.
    pub query_id: String,
    /// When it was computed.
    pub query_executed_at: Time,
    /// The time of the newest thing in it; the range's start when there is none.
    pub data_freshness: Time,
    /// The range asked for.
    pub time_range: TimeRange,
    /// The window asked for.
    pub aggregation_window: String,
    /// Points in `time_series_data`.
    pub total_data_points: usize,
    /// Those that show life: `total`, `by_health`, `average_health_score`, `late`.
    #[schema(value_type = Object)]
    pub agent_summary: BTreeMap<String, Value>,
    /// Those that only report metrics: `total`, `series`.
    #[schema(value_type = Object)]
    pub system_summary: BTreeMap<String, Value>,
    /// By series.
    pub time_series_data: Vec<Chart>,
    /// Alerts that are open.
    pub active_alerts: Vec<AlertInfo>,
    /// Open alerts by severity.
    pub alert_summary: BTreeMap<String, u64>,
    /// By agent and series.
    pub trends: BTreeMap<String, SeriesTrend>,
    /// Outliers in the range, newest first.
    pub anomalies: Vec<Anomaly>,
    /// Milliseconds by part of the query.
    #[schema(value_type = Object)]
    pub query_performance: BTreeMap<String, Value>,
    /// Share of the agents whose state was in memory, not known from the catalogue alone; 1 when there are none.
    #[schema(minimum = 0, maximum = 1)]
    pub cache_hit_ratio: f64,
}

/// Availability over a longer time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UptimeSummaryResponse {
    /// The target.
    pub target_id: String,
    /// The window.
    pub summary_period: TimeRange,
    /// When this was made.
    pub generated_at: Time,
    /// Percent of the known time that the target was up; 100 when nothing is known: then `confidence_level` is 0.
    #[schema(minimum = 0, maximum = 100)]
    pub overall_uptime_percentage: f64,
    /// Time up, ISO 8601.
    #[schema(example = "P1DT2H")]
    pub total_uptime_duration: String,
    /// Time down, ISO 8601.
    #[schema(example = "PT5M")]
    pub total_downtime_duration: String,
    /// By day (UTC), oldest first.
    pub daily_uptime: Vec<DayUptime>,
    /// By component: percent of its measured time that was not critical.
    pub uptime_by_component: BTreeMap<String, f64>,
    /// Outages that touch the window.
    pub total_incidents: usize,
    /// Outages by cause.
    pub incident_breakdown: BTreeMap<String, u64>,
    /// Mean length of the closed outages; null when there was none.
    pub mttr_minutes: Option<f64>,
    /// Time up by number of outages; null when there was none.
    pub mtbf_hours: Option<f64>,
    /// Objectives by name.
    pub sla_targets: BTreeMap<String, f64>,
    /// Whether they are met, by name; unknown ones are left out.
    pub sla_compliance: BTreeMap<String, bool>,
    /// Share of the window that is known, 0..=1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence_level: f64,
}

/// How the service is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceHealth {
    /// `vitals`.
    pub service: String,
    /// `healthy` when it takes requests, `unhealthy` otherwise.
    pub status: String,
    /// Its version.
    pub version: String,
    /// Now.
    pub timestamp: Time,
    /// `connected`, or what is wrong.
    pub database_status: String,
    /// `healthy`, or what is wrong.
    pub processing_queue_status: String,
    /// Records of all tenants that wait to be committed or evaluated; with the scope `admin` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_records: Option<u64>,
}

/// Live and ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Probe {
    /// The process answers.
    pub live: bool,
    /// It takes requests.
    pub ready: bool,
    /// Why it does not, in one sentence; not there while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a store that sends to a server has still to send; not there for one that keeps everything itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What waits for a server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// Samples.
    #[schema(minimum = 0)]
    pub samples: u64,
    /// Bytes on the disk.
    #[schema(minimum = 0)]
    pub bytes: u64,
    /// Seconds since the oldest of it was stored here; 0 when nothing waits.
    #[schema(minimum = 0)]
    pub age_seconds: f64,
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

/// A series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesItem {
    /// Its number, for `/series/{id}/samples`.
    pub series_id: u32,
    /// Its agent or system.
    pub agent_id: String,
    /// The metric's name.
    pub metric_name: String,
    /// Its typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// `gauge`, `cumulative` or `delta` (stored as a running total).
    pub shape: String,
    /// Which number of the metric's point: `value`, `count`, `sum`, `min`, `max`, `le=...`, `quantile=...`.
    pub part: String,
    /// `otlp`, `rest` or `derived`.
    pub origin: String,
    /// The plugin that computes it, if it is derived.
    pub plugin: Option<String>,
    /// The instrumentation scope, or the component of a REST metric.
    pub scope: String,
    /// The instrumentation scope's version; empty when there is none.
    pub scope_version: String,
    /// The instrumentation scope's attributes.
    pub scope_attributes: BTreeMap<String, String>,
    /// The point's attributes, or a REST metric's dimensions.
    pub attributes: BTreeMap<String, String>,
    /// The resource's attributes.
    pub resource: BTreeMap<String, String>,
    /// The types of attributes that are no strings: the integer 1 and the string "1" make two series.
    pub types: AttributeTypes,
}

/// The types of attributes that are no strings, by key: `boolean`, `int`, `double`, `bytes`, `array(int, ...)`, `map(...)`,
/// `empty`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttributeTypes {
    /// Of the point.
    pub attributes: BTreeMap<String, String>,
    /// Of the instrumentation scope.
    pub scope_attributes: BTreeMap<String, String>,
    /// Of the resource.
    pub resource: BTreeMap<String, String>,
}

/// Series of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesList {
    /// The series.
    pub series: Vec<SeriesItem>,
}

/// One point of a series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SamplePoint {
    /// When, or the start of the step.
    pub time: Time,
    /// The value; null for NaN and infinities.
    pub value: Option<f64>,
}

impl From<(UnixNanos, f64)> for SamplePoint {
    fn from((time, value): (UnixNanos, f64)) -> Self {
        Self { time: Time(time), value: value.is_finite().then_some(value) }
    }
}

/// Samples of a series, by time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SampleList {
    /// The series.
    pub series_id: u32,
    /// The range.
    pub start: Time,
    /// The range.
    pub end: Time,
    /// The step; null for the samples themselves.
    pub step_seconds: Option<f64>,
    /// What was made of the values in a step.
    pub aggregation: Option<AggregationName>,
    /// The points.
    pub samples: Vec<SamplePoint>,
}

/// A verdict.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictItem {
    /// The agent judged.
    pub agent_id: String,
    /// The time of the data judged.
    pub time: Time,
    /// Of which kind it is.
    pub kind: VerdictKind,
    /// What was found.
    #[schema(value_type = Object)]
    pub body: Value,
    /// Who judged: `plugin`, `version`, `digest`, `config`.
    #[schema(value_type = Object)]
    pub evidence: Value,
}

/// Verdicts, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictList {
    /// The verdicts.
    pub verdicts: Vec<VerdictItem>,
}

/// Alerts, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// The alerts.
    pub alerts: Vec<AlertInfo>,
}

/// Plugins.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PluginList {
    /// What the host says of each.
    #[schema(value_type = Vec<Object>)]
    pub plugins: Vec<Value>,
}

/// A planned maintenance window.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceWindow {
    /// The agent.
    #[schema(value_type = Id)]
    pub agent_id: String,
    /// From when.
    pub start_time: Time,
    /// Until when.
    pub end_time: Time,
}

/// How long to look back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes parameters, which are read one by one")]
pub struct HoursParams {
    /// Hours to look back, 1..=8760.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 8760, default = 24, example = 24)]
    pub time_range_hours: Option<String>,
}
