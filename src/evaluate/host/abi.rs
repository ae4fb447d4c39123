//! The contract's types on this side of it: `wit/vitals.wit`, item by item.

use serde::{Deserialize, Serialize};
use vitals_core::series::{self, Attributes, Origin, SeriesDesc};
use vitals_core::verdict;
use wasmtime::component::{ComponentType, Lift, Lower};

/// The package of the contract, and the version that is served.
pub(super) const PACKAGE: &str = "vitals:plugin/";
pub(super) const VERSION: &str = "0.2.0";
pub(super) const LIFECYCLE: &str = "vitals:plugin/lifecycle@0.2.0";
pub(super) const WATCHING: &str = "vitals:plugin/watching@0.2.0";
pub(super) const DERIVING: &str = "vitals:plugin/deriving@0.2.0";
pub(super) const DETECTING: &str = "vitals:plugin/detecting@0.2.0";
pub(super) const SCORING: &str = "vitals:plugin/scoring@0.2.0";
pub(super) const EVALUATING: &str = "vitals:plugin/evaluating@0.2.0";
pub(super) const LOG: &str = "vitals:plugin/log@0.2.0";

/// How the values of a series follow one another.
#[derive(ComponentType, Lift, Lower, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[component(enum)]
#[repr(u8)]
pub enum Shape {
    /// Each value stands alone.
    #[component(name = "gauge")]
    Gauge,
    /// A running total that may fall.
    #[component(name = "cumulative")]
    Cumulative,
    /// A running total that never falls.
    #[component(name = "counter")]
    Counter,
}

impl From<series::Shape> for Shape {
    fn from(shape: series::Shape) -> Self {
        use series::Shape as S;
        match shape {
            S::Gauge => Self::Gauge,
            // Increments are added up before a plugin sees them.
            S::Cumulative { monotonic: true } | S::Delta { monotonic: true } => Self::Counter,
            S::Cumulative { monotonic: false } | S::Delta { monotonic: false } => Self::Cumulative,
        }
    }
}

/// Which number of a metric point a series carries.
#[derive(ComponentType, Lift, Lower, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[component(enum)]
#[repr(u8)]
pub enum Part {
    /// The value of a gauge or a sum.
    #[component(name = "value")]
    Value,
    /// The count of a histogram or summary.
    #[component(name = "count")]
    Count,
    /// The sum of a histogram or summary.
    #[component(name = "sum")]
    Sum,
    /// The smallest value of a histogram.
    #[component(name = "min")]
    Min,
    /// The largest value of a histogram.
    #[component(name = "max")]
    Max,
    /// The count of the values up to a bound.
    #[component(name = "bucket")]
    Bucket,
    /// The value at a quantile.
    #[component(name = "quantile")]
    Quantile,
}

impl Part {
    /// The part, and its bound.
    pub(super) fn of(part: series::Part) -> (Self, f64) {
        use series::Part as P;
        match part {
            P::Value => (Self::Value, f64::NAN),
            P::Count => (Self::Count, f64::NAN),
            P::Sum => (Self::Sum, f64::NAN),
            P::Min => (Self::Min, f64::NAN),
            P::Max => (Self::Max, f64::NAN),
            P::Bucket(bound) => (Self::Bucket, bound),
            P::Quantile(quantile) => (Self::Quantile, quantile),
        }
    }
}

/// Where a series comes from.
#[derive(ComponentType, Lift, Lower, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[component(enum)]
#[repr(u8)]
pub enum SeriesOrigin {
    /// Somebody reports it.
    #[component(name = "reported")]
    Reported,
    /// A deriver makes it.
    #[component(name = "derived")]
    Derived,
}

impl From<&Origin> for SeriesOrigin {
    fn from(origin: &Origin) -> Self {
        if matches!(origin, Origin::Derived { .. }) { Self::Derived } else { Self::Reported }
    }
}

/// Chooses series: those for which each field that is not empty holds. In texts `*` stands for any characters.
#[derive(ComponentType, Lift, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[component(record)]
pub struct Selector {
    /// The metric's name is one of these.
    pub metrics: Vec<String>,
    /// The typed kind is one of these.
    pub kinds: Vec<String>,
    /// The shape is one of these.
    pub shapes: Vec<Shape>,
    /// The part is one of these.
    pub parts: Vec<Part>,
    /// It comes from one of these.
    pub origins: Vec<SeriesOrigin>,
    /// The point has each of these attributes, with such a value.
    pub attributes: Vec<(String, String)>,
    /// The resource has each of these attributes, with such a value.
    #[component(name = "resource-attributes")]
    pub resource_attributes: Vec<(String, String)>,
}

#[derive(ComponentType, Lift, Clone, Debug, PartialEq)]
#[component(record)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: String,
    #[component(name = "config-schema")]
    pub(super) config_schema: String,
    #[component(name = "state-version")]
    pub(super) state_version: u32,
    pub(super) agents: Vec<String>,
    pub(super) selects: Vec<Selector>,
    #[component(name = "interval-seconds")]
    pub(super) interval_seconds: u32,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Setup<'a> {
    pub(super) config: &'a str,
    pub(super) seed: u64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct AgentInfo {
    pub(super) number: u32,
    pub(super) key: String,
    pub(super) config: Option<String>,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only made by lifting, which the lint does not see")]
pub(super) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct SeriesInfo<'a> {
    number: u32,
    agent: u32,
    metric: &'a str,
    unit: &'a str,
    kind: &'a str,
    shape: Shape,
    part: Part,
    bound: f64,
    origin: SeriesOrigin,
    seed: u64,
    attributes: &'a [(String, String)],
    #[component(name = "resource-attributes")]
    resource_attributes: &'a [(String, String)],
}

impl<'a> SeriesInfo<'a> {
    pub(super) fn new(number: u32, desc: &'a SeriesDesc, seed: u64) -> Self {
        let attributes: &Attributes = &desc.spec.attributes;
        let (part, bound) = Part::of(desc.spec.part);
        Self {
            number,
            agent: desc.agent.0,
            metric: &desc.spec.metric,
            unit: &desc.spec.unit,
            kind: desc.spec.kind.name(),
            shape: desc.spec.shape.into(),
            part,
            bound,
            origin: (&desc.spec.origin).into(),
            seed,
            attributes,
            resource_attributes: &desc.spec.resource,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputSeries {
    pub(super) sources: Vec<u32>,
    pub(super) metric: String,
    pub(super) unit: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Derived {
    pub(super) outputs: Vec<OutputSeries>,
    pub(super) series: Vec<u32>,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Findings {
    pub(super) subjects: Vec<u32>,
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
    pub(super) scores: Vec<f64>,
    pub(super) windows: Vec<u32>,
}

impl Derived {
    pub(super) fn none() -> Self {
        Self { outputs: Vec::new(), series: Vec::new(), times: Vec::new(), values: Vec::new() }
    }
}

impl Findings {
    pub(super) fn none() -> Self {
        Self { subjects: Vec::new(), lower: Vec::new(), upper: Vec::new(), scores: Vec::new(), windows: Vec::new() }
    }
}

macro_rules! agents {
    ($($(#[$doc:meta])* $field:ident { column: $column:tt, $($rest:tt)* })*) => {
        #[derive(ComponentType, Lower, Clone, Copy)]
        #[component(record)]
        pub(super) struct Agents<'a> {
            pub(super) agents: &'a [u32],
            pub(super) times: &'a [i64],
            $(
                #[component(name = $column)]
                pub(super) $field: &'a [f64],
            )*
            #[component(name = "uptime-percent")]
            pub(super) uptime_percent: &'a [f64],
        }
    };
}
vitals_core::each_measurement!(agents!);

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only made by lifting, which the lint does not see")]
pub(super) enum HealthStatus {
    #[component(name = "healthy")]
    Healthy,
    #[component(name = "degraded")]
    Degraded,
    #[component(name = "critical")]
    Critical,
    #[component(name = "unknown")]
    Unknown,
}

impl From<HealthStatus> for verdict::HealthStatus {
    fn from(status: HealthStatus) -> Self {
        match status {
            HealthStatus::Healthy => Self::Healthy,
            HealthStatus::Degraded => Self::Degraded,
            HealthStatus::Critical => Self::Critical,
            HealthStatus::Unknown => Self::Unknown,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Scores {
    pub(super) rows: Vec<u32>,
    pub(super) scores: Vec<f64>,
    pub(super) statuses: Vec<HealthStatus>,
    pub(super) reasons: Vec<Vec<String>>,
    pub(super) recommendations: Vec<Vec<String>>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Objectives<'a> {
    pub(super) agents: &'a [u32],
    pub(super) targets: &'a [f64],
    #[component(name = "period-known")]
    pub(super) period_known: &'a [f64],
    #[component(name = "period-down")]
    pub(super) period_down: &'a [f64],
    #[component(name = "hour-known")]
    pub(super) hour_known: &'a [f64],
    #[component(name = "hour-down")]
    pub(super) hour_down: &'a [f64],
    #[component(name = "six-hours-known")]
    pub(super) six_hours_known: &'a [f64],
    #[component(name = "six-hours-down")]
    pub(super) six_hours_down: &'a [f64],
    #[component(name = "three-days-known")]
    pub(super) three_days_known: &'a [f64],
    #[component(name = "three-days-down")]
    pub(super) three_days_down: &'a [f64],
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only made by lifting, which the lint does not see")]
pub(super) enum Risk {
    #[component(name = "low")]
    Low,
    #[component(name = "medium")]
    Medium,
    #[component(name = "high")]
    High,
    #[component(name = "breached")]
    Breached,
}

impl From<Risk> for verdict::Risk {
    fn from(risk: Risk) -> Self {
        match risk {
            Risk::Low => Self::Low,
            Risk::Medium => Self::Medium,
            Risk::High => Self::High,
            Risk::Breached => Self::Breached,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Reports {
    pub(super) rows: Vec<u32>,
    pub(super) availability: Vec<f64>,
    #[component(name = "budget-left")]
    pub(super) budget_left: Vec<f64>,
    #[component(name = "burn-hour")]
    pub(super) burn_hour: Vec<f64>,
    #[component(name = "burn-six-hours")]
    pub(super) burn_six_hours: Vec<f64>,
    #[component(name = "burn-three-days")]
    pub(super) burn_three_days: Vec<f64>,
    pub(super) risks: Vec<Risk>,
}
