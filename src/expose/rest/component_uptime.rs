//! The uptime of an agent's components: for which share of a window each was not critical.
//!
//! Everything here asks the store and may block.

use super::components::{CPU, DISK, JudgedSeries, MEMORY, judged_series};
use super::grid::Grid;
use crate::expose::Rest;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;
use vitals_core::measurement_role::{MeasurementRole, group, plausible_percent, role};
use vitals_core::rules::percent::percent;
use vitals_core::rules::units::is_percent;
use vitals_core::series::{AgentDesc, SeriesDesc};
use vitals_core::store::{Aggregation, StoreError};

/// Most series of one agent that are put together: 16 cores in 8 states, and as many others.
const MOST_PARTS: usize = 256;

/// Steps into which a window is cut for the uptime of components: 5 minutes of a day.
const STEPS: i64 = 288;

/// By component: percent of its measured steps that were not critical. What has no measurement in the window is left out.
pub fn uptime_by_component(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
) -> Result<BTreeMap<String, f64>, StoreError> {
    let mut counts = Counts::default();
    for (series, JudgedSeries { component, bounds }) in judged_series(rest, agent) {
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
