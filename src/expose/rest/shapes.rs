//! JSON shapes that several routes share. They are the contract: a renamed field breaks a client.

use super::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vitals_core::ids::UnixNanos;
use vitals_core::series::MetricKind;
use vitals_core::store::Aggregation;
use vitals_core::verdict::HealthStatus;

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

/// The name of a metric: not empty, no control characters.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 1000,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
)]
#[allow(dead_code, reason = "only described, never made")]
pub struct MetricName(String);

/// A length of time: `250ms`, `30s`, `5m`, `1h`, `1d`, or a number of seconds.
#[derive(ToSchema)]
#[schema(as = Span, pattern = "^0*[1-9][0-9]{0,8} ?(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)?$", example = "5m")]
#[allow(dead_code, reason = "only described, never made")]
pub struct DurationText(String);

/// The default of a flag that is on.
pub fn yes() -> bool {
    true
}

/// Where a page of a list ended: the `next` of the page before.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,19}_[0-9a-f]{1,32}$")]
#[allow(dead_code, reason = "only described, never made")]
pub struct Cursor(String);

/// Where a page of verdicts ended: the `next` of the page before.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]{1,19}_[0-9]{1,9}_(health|outlier|sla)_[0-9]{0,9}_")]
#[allow(dead_code, reason = "only described, never made")]
pub struct VerdictCursor(String);
