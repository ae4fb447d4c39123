//! From an agent's series to its measurements: sums by role.

use super::Gauge;
use hashbrown::HashMap;
use vitals_core::measurement_role::{MeasurementRole, plausible_percent};
use vitals_core::record::Measurements;

/// A mean, or a sum, of what there is.
#[derive(Default, Clone, Copy)]
pub(super) struct Sum {
    total: f64,
    pub(super) count: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        self.total += value;
        self.count += 1.0;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.total / self.count)
    }

    fn total(self) -> Option<f64> {
        (self.count > 0.0).then_some(self.total)
    }

    /// Percent of this in this and `other`.
    pub(super) fn share(self, other: Self) -> Option<f64> {
        let all = self.total + other.total;
        (self.count > 0.0 && all > 0.0).then(|| 100.0 * self.total / all)
    }
}

/// The largest value of the only container that an agent reports of. With several, none of them is the agent.
#[derive(Default, Clone, Copy)]
struct Only {
    container: Option<u64>,
    several: bool,
    largest: Option<f64>,
}

impl Only {
    fn add(&mut self, container: u64, value: f64) {
        self.several |= self.container.is_some_and(|known| known != container);
        self.container = Some(container);
        largest(&mut self.largest, value);
    }

    fn get(self) -> Option<f64> {
        self.largest.filter(|_| !self.several)
    }
}

/// Sums over the processes and states of an agent, by metric. Metrics of several ages say the same, so the largest counts.
#[derive(Default)]
struct ByMetric(HashMap<u64, Sum>);

impl ByMetric {
    fn add(&mut self, gauge: &Gauge) {
        self.0.entry(gauge.group).or_default().add(gauge.value);
    }

    fn largest(&self) -> Option<f64> {
        self.0.values().map(|sum| sum.total).reduce(f64::max)
    }
}

/// CPU by state: amounts or rates of any unit.
#[derive(Default, Clone, Copy)]
struct CpuStates {
    busy: Sum,
    idle: Sum,
    wait: Sum,
}

impl CpuStates {
    /// Percent busy. Without the idle time the rest would be all there is: 100 %.
    fn percent(self) -> Option<f64> {
        let rest = Sum { total: self.idle.total + self.wait.total, ..self.idle };
        self.idle.total().and_then(|_| self.busy.share(rest))
    }
}

/// Sums over an agent's series, by role.
#[derive(Default)]
pub(super) struct Sums {
    cpu: Sum,
    cpu_percents: CpuStates,
    cpu_rates: CpuStates,
    cpu_count: Option<f64>,
    container_cpu: Only,
    container_cpu_of_one: Only,
    container_cpu_count: Option<f64>,
    process_cpu: ByMetric,
    process_cpu_of_one: ByMetric,
    memory_percent: Option<f64>,
    memory_used: Sum,
    memory_other: Sum,
    memory_total: Sum,
    memory_available: Sum,
    container_memory: Only,
    process_memory_percent: ByMetric,
    process_memory: ByMetric,
    disk_percent: Option<f64>,
    disks: HashMap<u64, (Sum, Sum)>,
    latency: Option<f64>,
    response: Option<f64>,
    error_percent: Option<f64>,
    requests: Sum,
    failed: Sum,
    network_rate: Sum,
    packets: Sum,
    lost: Sum,
    connections: Sum,
}

fn largest(place: &mut Option<f64>, value: f64) {
    *place = Some(place.map_or(value, |old| old.max(value)));
}

impl Sums {
    /// Adds the value of one series.
    pub(super) fn add(&mut self, gauge: &Gauge) {
        let (value, rate) = (gauge.value, gauge.increase / gauge.seconds);
        let add_finite = |sum: &mut Sum, by: f64| {
            if by.is_finite() {
                sum.add(by);
            }
        };
        match gauge.role {
            MeasurementRole::CpuBusySeconds => add_finite(&mut self.cpu_rates.busy, rate),
            MeasurementRole::CpuIdleSeconds => add_finite(&mut self.cpu_rates.idle, rate),
            MeasurementRole::CpuWaitSeconds => add_finite(&mut self.cpu_rates.wait, rate),
            MeasurementRole::MemoryUsedBytes => self.memory_used.add(value),
            MeasurementRole::MemoryOtherBytes => self.memory_other.add(value),
            MeasurementRole::MemoryTotalBytes => self.memory_total.add(value),
            MeasurementRole::MemoryAvailableBytes => self.memory_available.add(value),
            MeasurementRole::ProcessMemoryBytes => self.process_memory.add(gauge),
            MeasurementRole::DiskUsedBytes => self.disks.entry(gauge.group).or_default().0.add(value),
            MeasurementRole::DiskFreeBytes => self.disks.entry(gauge.group).or_default().1.add(value),
            MeasurementRole::LatencyMs => largest(&mut self.latency, value),
            MeasurementRole::ResponseMs => largest(&mut self.response, value),
            MeasurementRole::Requests => add_finite(&mut self.requests, gauge.increase),
            MeasurementRole::FailedRequests => add_finite(&mut self.failed, gauge.increase),
            MeasurementRole::NetworkBytes => add_finite(&mut self.network_rate, rate),
            MeasurementRole::Packets => add_finite(&mut self.packets, gauge.increase),
            MeasurementRole::PacketsLost => add_finite(&mut self.lost, gauge.increase),
            MeasurementRole::Connections => self.connections.add(value),
            MeasurementRole::CpuCount => self.cpu_count = Some(value).filter(|count| *count >= 1.0),
            MeasurementRole::ContainerCpuCount if value > 0.0 => {
                self.container_cpu_count = Some(self.container_cpu_count.map_or(value, |least| least.min(value)));
            }
            // These may pass 100 until they are divided.
            MeasurementRole::ContainerCpuOfOne if value >= 0.0 => self.container_cpu_of_one.add(gauge.container, value),
            MeasurementRole::ProcessCpuPercent if value >= 0.0 => self.process_cpu.add(gauge),
            MeasurementRole::ProcessCpuOfOne if value >= 0.0 => self.process_cpu_of_one.add(gauge),
            _ => self.add_percent(gauge),
        }
    }

    /// Percentages, each by itself; one that is far outside counts as not there.
    fn add_percent(&mut self, gauge: &Gauge) {
        let Some(value) = plausible_percent(gauge.value) else { return };
        match gauge.role {
            MeasurementRole::CpuPercent => self.cpu.add(value),
            MeasurementRole::CpuBusyPercent => self.cpu_percents.busy.add(value),
            MeasurementRole::CpuIdlePercent => self.cpu_percents.idle.add(value),
            MeasurementRole::CpuWaitPercent => self.cpu_percents.wait.add(value),
            MeasurementRole::ContainerCpuPercent => self.container_cpu.add(gauge.container, value),
            MeasurementRole::MemoryPercent => largest(&mut self.memory_percent, value),
            MeasurementRole::ContainerMemoryPercent => self.container_memory.add(gauge.container, value),
            MeasurementRole::ProcessMemoryPercent => self.process_memory_percent.add(gauge),
            MeasurementRole::DiskPercent => largest(&mut self.disk_percent, value),
            MeasurementRole::ErrorPercent => largest(&mut self.error_percent, value),
            _ => {}
        }
    }

    /// All memory, bytes.
    pub(super) fn memory_total(&self) -> Option<f64> {
        let states = || {
            let all = self.memory_used.total + self.memory_other.total;
            (self.memory_used.count > 0.0 && self.memory_other.count > 0.0).then_some(all)
        };
        self.memory_total.total().or_else(states).filter(|all| *all > 0.0)
    }

    /// CPU in use, percent: of the machine, else of the container, else of the process.
    fn cpu_percent(&self) -> Option<f64> {
        let by_core = || {
            let CpuStates { busy, idle, wait } = self.cpu_percents;
            if busy.count > 0.0 {
                return self.cpu_percents.percent();
            }
            idle.mean().map(|mean| 100.0 - mean - wait.total / idle.count)
        };
        let of_container = || {
            let of_all = || Some(self.container_cpu_of_one.get()? / self.container_cpu_count?);
            self.container_cpu.get().or_else(of_all)
        };
        let cpu = self.cpu.mean().or_else(by_core).or_else(|| self.cpu_rates.percent());
        cpu.or_else(of_container).or_else(|| self.process_cpu_percent()).and_then(plausible_percent)
    }

    fn process_cpu_percent(&self) -> Option<f64> {
        let divided = |of_one: f64| self.cpu_count.map(|count| of_one / count);
        match self.process_cpu.largest() {
            Some(all) if plausible_percent(all).is_some() => Some(all),
            Some(all) => divided(all),
            None => self.process_cpu_of_one.largest().and_then(divided),
        }
    }

    /// Memory in use, bytes, where the whole is known: what is in use of an unknown whole cannot be judged.
    fn memory_used(&self) -> Option<f64> {
        self.memory_total().and_then(|_| self.memory_used.total().or_else(|| self.process_memory.largest()))
    }

    /// Memory in use, percent: of the machine, else of the container, else of the process.
    fn memory_percent(&self) -> Option<f64> {
        let share = |part: Option<f64>, all: Option<f64>| Some(100.0 * part? / all.filter(|all| *all > 0.0)?);
        // Where the cache cannot be given back (shared memory, tmpfs), only this says so.
        let free = share(self.memory_available.total(), self.memory_total.total()).map(|free| 100.0 - free);
        free.or(self.memory_percent)
            .or_else(|| share(self.memory_used.total(), self.memory_total()))
            .or_else(|| self.container_memory.get())
            .or_else(|| self.process_memory_percent.largest())
            .or_else(|| share(self.memory_used(), self.memory_total()))
            .and_then(plausible_percent)
    }

    /// The fullest file system, percent.
    fn disk_percent(&self) -> Option<f64> {
        self.disks
            .values()
            .filter(|(_, free)| free.count > 0.0)
            .filter_map(|(used, free)| plausible_percent(used.share(*free)?))
            .fold(self.disk_percent, |most, one| Some(most.map_or(one, |m| m.max(one))))
    }

    /// The measurements that follow.
    #[allow(clippy::needless_update, reason = "a measurement that only heartbeats carry is made of no series")]
    pub(super) fn measurements(&self) -> Measurements {
        let requests =
            (self.requests.count + self.failed.count > 0.0).then_some(self.requests.total + self.failed.total);
        Measurements {
            cpu_percent: self.cpu_percent(),
            memory_mb: self.memory_used().map(|bytes| bytes / 1e6),
            memory_percent: self.memory_percent(),
            disk_percent: self.disk_percent(),
            latency_ms: self.latency,
            bandwidth_mbps: self.network_rate.total().map(|bytes| 8e-6 * bytes),
            packet_loss_percent: (self.packets.count > 0.0).then(|| self.lost.share(self.packets)).flatten(),
            connections: self.connections.total(),
            requests,
            errors: self.failed.total().or_else(|| requests.map(|_| 0.0)),
            error_percent: self
                .error_percent
                .or_else(|| requests.filter(|n| *n > 0.0).map(|n| 100.0 * self.failed.total / n))
                .and_then(plausible_percent),
            response_ms: self.response,
            ..Measurements::default()
        }
    }
}
