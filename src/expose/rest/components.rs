//! The components of an agent: how each is now, and for which share of a window it was not critical.

use super::current_health::CurrentHealth;
use super::time::HOUR;
use super::wire::Health;
use crate::expose::{Rest, Thresholds};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;
use vitals_core::measurement_role::{MeasurementRole, container, group, plausible_percent, role};
use vitals_core::rules::percent::percent;
use vitals_core::rules::units::is_percent;
use vitals_core::series::{AgentDesc, MetricKind, Origin, SeriesDesc};
use vitals_core::store::{Aggregation, SampleQuery, StoreError};

/// How far back the last value of a component is looked for.
const RECENT: i64 = HOUR;
/// Most series of one agent that are judged by themselves.
const MOST_SERIES: usize = 24;
/// Most series of one agent that are put together: 16 cores in 8 states, and as many others.
const MOST_PARTS: usize = 256;
/// Steps into which a window is cut for the uptime of components: 5 minutes of a day.
const STEPS: i64 = 288;

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

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const DISK: &str = "disk";
const NETWORK: &str = "network";
const RESPONSE_TIME: &str = "response_time";
const ERROR_RATE: &str = "error_rate";
/// The scope of the series that heartbeats make.
pub const HEARTBEAT: &str = "heartbeat";

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
struct Judged {
    component: String,
    /// `[degraded, critical]`, in the series' own unit.
    bounds: [f64; 2],
}

/// The series of an agent that can be judged by themselves.
fn judged_series(rest: &Rest, agent: &AgentDesc) -> Vec<(Arc<SeriesDesc>, Judged)> {
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
fn judged(limits: &Thresholds, series: &SeriesDesc) -> Option<Judged> {
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
    Some(Judged { component: if named { spec.scope.name.clone() } else { component.to_owned() }, bounds })
}

/// By component: percent of its measured steps that were not critical. What has no measurement in the window is left out.
pub fn uptime_by_component(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
) -> Result<BTreeMap<String, f64>, StoreError> {
    let mut counts = Counts::default();
    for (series, Judged { component, bounds }) in judged_series(rest, agent) {
        let grid = Grid::of(rest, &series, start, end, STEPS)?;
        let is_share = is_percent(&series.spec.unit);
        for (_, value) in grid.ask(rest, &series, Aggregation::Mean)? {
            if let Some(value) = if is_share { plausible_percent(value) } else { Some(value) } {
                counts.add(&component, value, bounds);
            }
        }
    }
    let parts = parts_of(rest, agent);
    if let Some((first, _)) = parts.first() {
        let grid = Grid::of(rest, first, start, end, STEPS)?;
        let limits = &rest.config.thresholds;
        let known: Vec<&str> = [CPU, MEMORY, DISK].into_iter().filter(|name| !counts.0.contains_key(*name)).collect();
        for sums in sums_by_step(rest, &grid, &parts)?.values() {
            for (name, value, bounds) in [
                (CPU, sums.cpu(), limits.cpu),
                (MEMORY, sums.memory(), limits.memory),
                (DISK, sums.disk(), limits.disk),
            ] {
                // A percentage that is reported as one says more than one put together.
                if let Some(value) = value.filter(|_| known.contains(&name)) {
                    counts.add(name, value, bounds);
                }
            }
        }
    }
    Ok(counts.percent())
}

/// Steps of each component: (not critical, all).
#[derive(Default)]
struct Counts(BTreeMap<String, (f64, f64)>);

impl Counts {
    fn add(&mut self, component: &str, value: f64, [_, critical]: [f64; 2]) {
        let (good, all) = self.0.entry(component.to_owned()).or_default();
        *all += 1.0;
        if value < critical {
            *good += 1.0;
        }
    }

    fn percent(self) -> BTreeMap<String, f64> {
        self.0.into_iter().filter_map(|(name, (good, all))| Some((name, percent(good, all)?))).collect()
    }
}

/// Series that say something of a component only together: CPU seconds, and bytes of memory and disks by state.
fn parts_of(rest: &Rest, agent: &AgentDesc) -> Vec<(Arc<SeriesDesc>, MeasurementRole)> {
    let together = |one: &MeasurementRole| {
        matches!(
            one,
            MeasurementRole::CpuBusySeconds
                | MeasurementRole::CpuIdleSeconds
                | MeasurementRole::CpuWaitSeconds
                | MeasurementRole::MemoryUsedBytes
                | MeasurementRole::MemoryOtherBytes
                | MeasurementRole::MemoryTotalBytes
                | MeasurementRole::MemoryAvailableBytes
                | MeasurementRole::DiskUsedBytes
                | MeasurementRole::DiskFreeBytes
        )
    };
    let all = rest.registry.series_of(agent.id).into_iter();
    let parts = all.filter_map(|one| role(&one.spec).filter(together).map(|role| (one, role)));
    parts.take(MOST_PARTS).collect()
}

/// The parts of one step, as evaluation puts them together too.
#[derive(Default)]
struct Sums {
    cpu_busy: f64,
    cpu_idle: Option<f64>,
    cpu_wait: f64,
    memory_used: Option<f64>,
    memory_other: f64,
    memory_total: Option<f64>,
    memory_available: Option<f64>,
    /// By file system.
    disks: HashMap<String, Disk>,
}

#[derive(Default)]
struct Disk {
    used: f64,
    free: Option<f64>,
}

impl Sums {
    fn add(&mut self, role: MeasurementRole, series: &SeriesDesc, value: f64) {
        let more = |sum: &mut Option<f64>| *sum = Some(sum.unwrap_or(0.0) + value);
        let which = || group(&series.spec).map(|(key, value)| format!("{key}={value}\n")).collect::<String>();
        match role {
            MeasurementRole::CpuBusySeconds => self.cpu_busy += value,
            MeasurementRole::CpuIdleSeconds => more(&mut self.cpu_idle),
            MeasurementRole::CpuWaitSeconds => self.cpu_wait += value,
            MeasurementRole::MemoryUsedBytes => more(&mut self.memory_used),
            MeasurementRole::MemoryOtherBytes => self.memory_other += value,
            MeasurementRole::MemoryTotalBytes => more(&mut self.memory_total),
            MeasurementRole::MemoryAvailableBytes => more(&mut self.memory_available),
            MeasurementRole::DiskUsedBytes => self.disks.entry(which()).or_default().used += value,
            MeasurementRole::DiskFreeBytes => more(&mut self.disks.entry(which()).or_default().free),
            _ => {}
        }
    }

    fn cpu(&self) -> Option<f64> {
        percent(self.cpu_busy, self.cpu_busy + self.cpu_wait + self.cpu_idle?)
    }

    fn memory(&self) -> Option<f64> {
        if let (Some(available), Some(total)) = (self.memory_available, self.memory_total) {
            return percent(total - available, total);
        }
        let used = self.memory_used?;
        // Without another state the used bytes would be all there is.
        let all = self.memory_total.or((self.memory_other > 0.0).then_some(used + self.memory_other))?;
        percent(used, all)
    }

    /// The fullest.
    fn disk(&self) -> Option<f64> {
        self.disks.values().filter_map(|disk| percent(disk.used, disk.used + disk.free?)).reduce(f64::max)
    }
}

fn sums_by_step(
    rest: &Rest,
    grid: &Grid,
    parts: &[(Arc<SeriesDesc>, MeasurementRole)],
) -> Result<BTreeMap<UnixNanos, Sums>, StoreError> {
    let mut steps: BTreeMap<UnixNanos, Sums> = BTreeMap::new();
    for (series, role) in parts {
        if matches!(
            role,
            MeasurementRole::CpuBusySeconds | MeasurementRole::CpuIdleSeconds | MeasurementRole::CpuWaitSeconds
        ) {
            let totals = grid.ask(rest, series, Aggregation::Last)?;
            for pair in totals.windows(2) {
                let ((_, before), (time, after)) = (pair[0], pair[1]);
                // The store has totals as they were sent. One that falls was corrected, or reset together with all others,
                // and then nothing is known of this step.
                let increase = (after - before).max(0.0);
                steps.entry(time).or_default().add(*role, series, increase);
            }
        } else {
            for (time, value) in grid.ask(rest, series, Aggregation::Mean)? {
                steps.entry(time).or_default().add(*role, series, value);
            }
        }
    }
    Ok(steps)
}

/// Steps over a window, or over the part of it in which a series has anything.
pub struct Grid {
    start: UnixNanos,
    end: UnixNanos,
    step: i64,
}

impl Grid {
    /// About `steps` steps for `series`.
    pub fn of(
        rest: &Rest,
        series: &SeriesDesc,
        start: UnixNanos,
        end: UnixNanos,
        steps: i64,
    ) -> Result<Self, StoreError> {
        let wide = Self::new(start, end, steps);
        let points = wide.ask(rest, series, Aggregation::Count)?;
        Ok(match (points.first(), points.last()) {
            (Some(&(first, _)), Some(&(last, _))) if last.since(first) < end.since(start) / 2 => {
                Self::new(first, last.plus(wide.step).min(end), steps)
            }
            _ => wide,
        })
    }

    fn new(start: UnixNanos, end: UnixNanos, steps: i64) -> Self {
        Self { start, end, step: (end.since(start) / steps).max(UnixNanos::SECOND) }
    }

    /// The length of a step.
    pub fn step(&self) -> i64 {
        self.step
    }

    /// The end, which may cut the last step.
    pub fn end(&self) -> UnixNanos {
        self.end
    }

    /// What is made of the series' values in each step that has any.
    pub fn ask(&self, rest: &Rest, series: &SeriesDesc, how: Aggregation) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let limit = usize::try_from(self.end.since(self.start) / self.step + 2).unwrap_or(usize::MAX);
        let (start, end) = (self.start, self.end);
        rest.store.samples(&SampleQuery { series: series.id, start, end, step: Some((self.step, how)), limit })
    }
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
