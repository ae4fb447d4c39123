//! What a series and an agent are, described once.

use crate::attributes::feed_text;
pub use crate::attributes::{Attributes, Scope};
use crate::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The typed kind of a metric (the contract's `MetricType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Percent of CPU in use, 0..100.
    CpuUsage,
    /// Percent of memory in use when the unit is `%`, else an amount.
    MemoryUsage,
    /// Percent of a file system in use when the unit is `%`, else an amount.
    DiskUsage,
    /// Disk traffic.
    DiskIo,
    /// Network traffic.
    NetworkIo,
    /// Milliseconds to answer.
    ResponseTime,
    /// Work done in a unit of time.
    Throughput,
    /// Percent of requests that failed, 0..100.
    ErrorRate,
    /// Time since start.
    Uptime,
    /// Anything else.
    Custom,
}

impl MetricKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::CpuUsage,
        Self::MemoryUsage,
        Self::DiskUsage,
        Self::DiskIo,
        Self::NetworkIo,
        Self::ResponseTime,
        Self::Throughput,
        Self::ErrorRate,
        Self::Uptime,
        Self::Custom,
    ];

    /// The contract's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuUsage => "cpu_usage",
            Self::MemoryUsage => "memory_usage",
            Self::DiskUsage => "disk_usage",
            Self::DiskIo => "disk_io",
            Self::NetworkIo => "network_io",
            Self::ResponseTime => "response_time",
            Self::Throughput => "throughput",
            Self::ErrorRate => "error_rate",
            Self::Uptime => "uptime",
            Self::Custom => "custom",
        }
    }
}

/// How the values of a series follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// Each value stands alone.
    Gauge,
    /// A running total; `monotonic` totals fall only when they are reset.
    Cumulative {
        /// Never falls except at a reset.
        monotonic: bool,
    },
    /// Received as increments (OTLP delta temporality); evaluation adds them up, so what is stored
    /// and judged is a running total.
    Delta {
        /// Increments are never negative.
        monotonic: bool,
    },
}

impl Shape {
    /// As it is hashed: which one, and whether it is monotonic.
    #[must_use]
    pub fn bytes(self) -> [u8; 2] {
        match self {
            Self::Gauge => [0, 0],
            Self::Cumulative { monotonic } => [1, monotonic.into()],
            Self::Delta { monotonic } => [2, monotonic.into()],
        }
    }
}

/// Which number of a metric point a series carries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// The value of a gauge or a sum.
    Value,
    /// The count of a histogram or summary.
    Count,
    /// The sum of a histogram or summary.
    Sum,
    /// The smallest value of a histogram.
    Min,
    /// The largest value of a histogram.
    Max,
    /// The cumulative count of values up to and including this bound; `Count` is the one without a bound.
    Bucket(f64),
    /// The value at this quantile, 0..=1: a summary's own, or derived from buckets (0.5, 0.95, 0.99).
    Quantile(f64),
}

impl fmt::Display for Part {
    /// `value`, `count`, `sum`, `min`, `max`, `le=0.5`, `quantile=0.95`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value => f.write_str("value"),
            Self::Count => f.write_str("count"),
            Self::Sum => f.write_str("sum"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Bucket(bound) => write!(f, "le={bound}"),
            Self::Quantile(q) => write!(f, "quantile={q}"),
        }
    }
}

/// Where a series comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Received over OTLP.
    Otlp,
    /// Received over REST (a heartbeat's field or a system metric).
    Rest,
    /// Computed by a plugin from another series.
    Derived {
        /// The plugin's name.
        plugin: String,
        /// The series that it was computed from.
        from: SeriesId,
    },
}

/// All that is known of a series, fixed when it is first seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesDesc {
    /// Its id.
    pub id: SeriesId,
    /// Who reported it.
    pub agent: AgentId,
    /// Everything of its identity.
    pub spec: SeriesSpec,
}

/// The identity of a series, and what is derived from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesSpec {
    /// The metric's name, as received.
    pub metric: String,
    /// The unit, in UCUM as received; `%` for percentages after normalising.
    pub unit: String,
    /// The typed kind.
    pub kind: MetricKind,
    /// Gauge, cumulative or delta.
    pub shape: Shape,
    /// Which number of the point.
    pub part: Part,
    /// Whether the values were integers on the wire.
    pub integer: bool,
    /// Multiplied into each value on the way in, so that the typed kinds have their unit (1.0 for none).
    pub factor: f64,
    /// Where it comes from.
    pub origin: Origin,
    /// What made it; shared by all series of one scope.
    pub scope: Arc<Scope>,
    /// The point's attributes (a REST metric's dimensions).
    pub attributes: Attributes,
    /// The resource's attributes, shared by all series of one resource.
    pub resource: Arc<Attributes>,
}

impl SeriesSpec {
    /// Hands to `feed` what a sender identifies a series by (OpenTelemetry's metrics data model): metric, unit, scope with its
    /// version and attributes, the point's attributes, the resource's, each with the types of their values. No two
    /// different ones are the same bytes. Shape, part, origin and agent are not among them.
    pub fn feed_names(&self, feed: &mut impl FnMut(&[u8])) {
        for text in [&self.metric, &self.unit, &self.scope.name, &self.scope.version] {
            feed_text(feed, text);
        }
        for attributes in [&self.attributes, &self.scope.attributes, &*self.resource] {
            attributes.feed(feed);
        }
    }
}

/// All that is known of an agent. An entity of the REST API's `system_id` is one too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentDesc {
    /// Its id.
    pub id: AgentId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The name by which clients know it; unique in its tenant, 1..=100 characters.
    pub key: String,
    /// When it was first seen.
    pub first_seen: UnixNanos,
    /// What a heartbeat or a resource said of it.
    pub profile: AgentProfile,
}

/// What an agent says of itself; the last one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentProfile {
    /// A name for people.
    pub name: Option<String>,
    /// Its version (`service.version`).
    pub version: Option<String>,
    /// Its environment (`deployment.environment.name`).
    pub environment: Option<String>,
    /// Where it is (`cloud.region`).
    pub location: Option<String>,
    /// Its zone (`cloud.availability_zone`).
    pub zone: Option<String>,
}
