//! The contract's types on this side of it: `wit/vitals.wit`, item by item.

use vitals_core::series::{Attributes, Origin, SeriesDesc};
use vitals_core::verdict;
use wasmtime::component::{ComponentType, Lift, Lower};

pub(super) const LIFECYCLE: &str = "vitals:plugin/lifecycle@0.1.0";
pub(super) const DERIVING: &str = "vitals:plugin/deriving@0.1.0";
pub(super) const DETECTING: &str = "vitals:plugin/detecting@0.1.0";
pub(super) const SCORING: &str = "vitals:plugin/scoring@0.1.0";
pub(super) const EVALUATING: &str = "vitals:plugin/evaluating@0.1.0";

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Shape {
    #[component(name = "gauge")]
    Gauge,
    #[component(name = "cumulative")]
    Cumulative,
    #[component(name = "counter")]
    Counter,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(variant)]
pub(super) enum Part {
    #[component(name = "value")]
    Value,
    #[component(name = "count")]
    Count,
    #[component(name = "sum")]
    Sum,
    #[component(name = "min")]
    Min,
    #[component(name = "max")]
    Max,
    #[component(name = "bucket")]
    Bucket(f64),
    #[component(name = "quantile")]
    Quantile(f64),
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
    derived: bool,
    attributes: &'a [(String, String)],
    resource: &'a [(String, String)],
}

impl<'a> SeriesInfo<'a> {
    pub(super) fn new(number: u32, desc: &'a SeriesDesc) -> Self {
        use vitals_core::series::{Part as P, Shape as S};
        let attributes: &Attributes = &desc.spec.attributes;
        Self {
            number,
            agent: desc.agent.0,
            metric: &desc.spec.metric,
            unit: &desc.spec.unit,
            kind: desc.spec.kind.name(),
            shape: match desc.spec.shape {
                S::Gauge => Shape::Gauge,
                // Increments are added up before a plugin sees them.
                S::Cumulative { monotonic: true } | S::Delta { monotonic: true } => Shape::Counter,
                S::Cumulative { monotonic: false } | S::Delta { monotonic: false } => Shape::Cumulative,
            },
            part: match desc.spec.part {
                P::Value => Part::Value,
                P::Count => Part::Count,
                P::Sum => Part::Sum,
                P::Min => Part::Min,
                P::Max => Part::Max,
                P::Bucket(bound) => Part::Bucket(bound),
                P::Quantile(q) => Part::Quantile(q),
            },
            derived: matches!(desc.spec.origin, Origin::Derived { .. }),
            attributes,
            resource: &desc.spec.resource,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputSeries {
    pub(super) source: u32,
    pub(super) metric: String,
    pub(super) unit: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Derived {
    pub(super) series: Vec<OutputSeries>,
    pub(super) rows: Vec<u32>,
    pub(super) outputs: Vec<u32>,
    pub(super) values: Vec<f64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Findings {
    pub(super) rows: Vec<u32>,
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
    pub(super) scores: Vec<f64>,
    pub(super) windows: Vec<u32>,
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
