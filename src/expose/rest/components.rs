//! The components of an agent: how each is now, and where its series become degraded and critical.
//!
//! Everything here asks the store and may block.

use super::current_health::CurrentHealth;
use super::shapes::Health;
use super::time::HOUR;
use crate::expose::{Rest, Thresholds};
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;
use vitals_core::measurement_role::{MeasurementRole, container, role};
use vitals_core::rules::percent::percent;
use vitals_core::rules::units::is_percent;
use vitals_core::series::{AgentDesc, MetricKind, Origin, SeriesDesc};
use vitals_core::store::{Aggregation, SampleQuery, StoreError};

/// How far back the last value of a component is looked for.
const RECENT: i64 = HOUR;

/// Most series of one agent that are judged by themselves.
const MOST_SERIES: usize = 24;

pub const CPU: &str = "cpu";

pub const MEMORY: &str = "memory";

pub const DISK: &str = "disk";

const NETWORK: &str = "network";

const RESPONSE_TIME: &str = "response_time";

const ERROR_RATE: &str = "error_rate";

/// The scope of the series that heartbeats make.
pub const HEARTBEAT: &str = "heartbeat";

/// The components that are measured: the agent's vitals, and with `deep` the typed REST metrics too, by their component.
pub fn components(
    rest: &Rest,
    agent: &AgentDesc,
    current_health: &CurrentHealth,
    now: UnixNanos,
    deep: bool,
) -> Result<BTreeMap<String, Health>, StoreError> {
    let limits = &rest.config.thresholds;
    let measurements = current_health.measurements();
    let memory = measurements.memory_percent.or_else(|| percent(measurements.memory_mb?, limits.memory_total_mb));
    let errors = measurements.error_percent.or_else(|| percent(measurements.errors?, measurements.requests?));
    let mut found = BTreeMap::new();
    for (name, value, bounds) in [
        (CPU, measurements.cpu_percent, limits.cpu),
        (MEMORY, memory, limits.memory),
        (DISK, measurements.disk_percent, limits.disk),
        (NETWORK, measurements.latency_ms, limits.latency_ms),
        (NETWORK, measurements.packet_loss_percent, limits.packet_loss),
        (RESPONSE_TIME, measurements.response_ms, limits.response_ms),
        (ERROR_RATE, errors, limits.error_rate),
    ] {
        if let Some(value) = value {
            worsen(&mut found, name, grade(value, bounds));
        }
    }
    if !deep {
        return Ok(found);
    }
    // What a heartbeat or an OTLP metric means to its agent is in the vitals.
    let told = |series: &SeriesDesc| series.spec.origin == Origin::Rest && series.spec.scope.name != HEARTBEAT;
    for (series, judged) in judged_series(rest, agent).iter().filter(|(series, _)| told(series)) {
        let query = SampleQuery {
            series: series.id,
            start: now.plus(-RECENT),
            end: now.plus(1),
            step: Some((RECENT + 1, Aggregation::Last)),
            limit: 2,
        };
        if let Some(&(_, value)) = rest.store.samples(&query)?.last() {
            worsen(&mut found, &judged.component, grade(value, judged.bounds));
        }
    }
    Ok(found)
}

fn worsen(found: &mut BTreeMap<String, Health>, name: &str, health: Health) {
    let entry = found.entry(name.to_owned()).or_insert(health);
    // Healthy < degraded < critical.
    *entry = (*entry).max(health);
}

fn grade(value: f64, [degraded, critical]: [f64; 2]) -> Health {
    if value >= critical {
        Health::Critical
    } else if value >= degraded {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

/// What a series says of a component.
pub struct JudgedSeries {
    pub component: String,
    /// `[degraded, critical]`, in the series' own unit.
    pub bounds: [f64; 2],
}

/// The series of an agent that can be judged by themselves.
pub fn judged_series(rest: &Rest, agent: &AgentDesc) -> Vec<(Arc<SeriesDesc>, JudgedSeries)> {
    let limits = &rest.config.thresholds;
    let all = rest.registry.series_of(agent.id);
    let judged: Vec<_> = all.into_iter().filter_map(|one| judged(limits, &one).map(|judged| (one, judged))).collect();
    // As in the vitals: of several containers none is the agent.
    let of_container = |series: &SeriesDesc| {
        matches!(
            role(&series.spec),
            Some(MeasurementRole::ContainerCpuPercent | MeasurementRole::ContainerMemoryPercent)
        )
    };
    let mut containers = judged.iter().filter(|(one, _)| of_container(one));
    let several = containers
        .next()
        .is_some_and(|(first, _)| containers.any(|(other, _)| !container(&first.spec).eq(container(&other.spec))));
    judged.into_iter().filter(|(one, _)| !(several && of_container(one))).take(MOST_SERIES).collect()
}

/// Which component a series speaks of, and its bounds; none for kinds without, and for amounts where percentages are
/// judged.
fn judged(limits: &Thresholds, series: &SeriesDesc) -> Option<JudgedSeries> {
    let spec = &series.spec;
    let is_share = is_percent(&spec.unit);
    let (component, bounds) = match (&spec.origin, spec.scope.name.as_str(), spec.metric.as_str()) {
        (Origin::Rest, HEARTBEAT, "memory_usage_mb") => {
            (MEMORY, limits.memory.map(|percent| percent / 100.0 * limits.memory_total_mb))
        }
        (Origin::Rest, HEARTBEAT, "network_latency_ms") => (NETWORK, limits.latency_ms),
        (Origin::Rest, HEARTBEAT, "packet_loss_percent") => (NETWORK, limits.packet_loss),
        (Origin::Rest, ..) => match spec.kind {
            MetricKind::CpuUsage => (CPU, limits.cpu),
            MetricKind::MemoryUsage if is_share => (MEMORY, limits.memory),
            MetricKind::DiskUsage if is_share => (DISK, limits.disk),
            MetricKind::ResponseTime => (RESPONSE_TIME, limits.response_ms),
            MetricKind::ErrorRate => (ERROR_RATE, limits.error_rate),
            _ => return None,
        },
        _ => match role(spec)? {
            MeasurementRole::CpuPercent | MeasurementRole::ContainerCpuPercent => (CPU, limits.cpu),
            MeasurementRole::MemoryPercent | MeasurementRole::ContainerMemoryPercent => (MEMORY, limits.memory),
            MeasurementRole::DiskPercent => (DISK, limits.disk),
            MeasurementRole::LatencyMs => (NETWORK, limits.latency_ms),
            MeasurementRole::ResponseMs => (RESPONSE_TIME, limits.response_ms),
            MeasurementRole::ErrorPercent => (ERROR_RATE, limits.error_rate),
            _ => return None,
        },
    };
    let named = spec.origin == Origin::Rest && !spec.scope.name.is_empty() && spec.scope.name != HEARTBEAT;
    Some(JudgedSeries { component: if named { spec.scope.name.clone() } else { component.to_owned() }, bounds })
}

/// Where a series becomes degraded and critical, in its own unit; none when it is not judged by itself.
pub fn bounds(limits: &Thresholds, series: &SeriesDesc) -> Option<[f64; 2]> {
    judged(limits, series).map(|judged| judged.bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitals_core::series::{Attributes, Part, Scope, Shape};

    #[test]
    fn bounds_are_in_the_unit_of_the_series() {
        use vitals_core::ids::{AgentId, SeriesId};
        use vitals_core::series::SeriesSpec;
        let limits = Thresholds::default();
        let series = |origin: Origin, scope: &str, metric: &str, kind: MetricKind, unit: &str| SeriesDesc {
            id: SeriesId(1),
            agent: AgentId(1),
            spec: SeriesSpec {
                metric: metric.to_owned(),
                unit: unit.to_owned(),
                kind,
                shape: Shape::Gauge,
                part: Part::Value,
                integer: false,
                factor: 1.0,
                origin,
                scope: Scope::named(scope),
                attributes: Attributes::default(),
                resource: Arc::default(),
            },
        };
        for (origin, scope, metric, kind, unit, expect) in [
            (
                Origin::Rest,
                "heartbeat",
                "memory_usage_mb",
                MetricKind::MemoryUsage,
                "MB",
                Some((MEMORY, 0.95 * 8_192.0)),
            ),
            (Origin::Rest, "heartbeat", "network_latency_ms", MetricKind::Custom, "ms", Some((NETWORK, 5_000.0))),
            (Origin::Rest, "heartbeat", "cpu_usage_percent", MetricKind::CpuUsage, "%", Some((CPU, 95.0))),
            (Origin::Rest, "pool", "m", MetricKind::MemoryUsage, "MB", None),
            (Origin::Rest, "pool", "m", MetricKind::MemoryUsage, "%", Some(("pool", 95.0))),
            (Origin::Rest, "", "m", MetricKind::DiskUsage, "%", Some((DISK, 95.0))),
            (Origin::Rest, "", "m", MetricKind::Custom, "%", None),
            (Origin::Otlp, "lib", "m", MetricKind::CpuUsage, "%", Some((CPU, 95.0))),
            (Origin::Otlp, "lib", "m", MetricKind::MemoryUsage, "By", None),
        ] {
            let found = judged(&limits, &series(origin, scope, metric, kind, unit));
            let found = found.as_ref().map(|judged| (judged.component.as_str(), judged.bounds[1]));
            assert_eq!(found, expect, "{scope} {metric} {unit}");
        }
    }
}
