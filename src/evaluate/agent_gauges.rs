//! The agents' vitals, put together from the series that make them up.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::measurement_role::{MeasurementRole, container, group, plausible_percent};
use vitals_core::record::Measurements;
use vitals_core::series::{MetricKind, SeriesDesc};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The latest of one series that has a role.
struct Gauge {
    series: SeriesId,
    owner: usize,
    role: MeasurementRole,
    /// Which file system or core it belongs to; of a process, which metric.
    group: u64,
    /// Which container or pod it is of.
    container: u64,
    /// `i64::MIN` before the first value.
    time: i64,
    value: f64,
    /// Increase since the value before, of running totals; NaN before the second value.
    increase: f64,
    /// Seconds in which it increased.
    seconds: f64,
}

struct Owner {
    agent: AgentId,
    gauges: Vec<u32>,
    /// `None` when no value came since the last reading.
    changed: Option<Kinds>,
}

/// Which kinds of metrics the new values of a reading say something of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    fn of(role: MeasurementRole) -> Self {
        let kind = match role {
            MeasurementRole::CpuPercent
            | MeasurementRole::CpuBusyPercent
            | MeasurementRole::CpuIdlePercent
            | MeasurementRole::CpuWaitPercent
            | MeasurementRole::CpuBusySeconds
            | MeasurementRole::CpuIdleSeconds
            | MeasurementRole::CpuWaitSeconds
            | MeasurementRole::CpuCount
            | MeasurementRole::ContainerCpuPercent
            | MeasurementRole::ContainerCpuOfOne
            | MeasurementRole::ContainerCpuCount
            | MeasurementRole::ProcessCpuPercent
            | MeasurementRole::ProcessCpuOfOne => MetricKind::CpuUsage,
            MeasurementRole::MemoryPercent
            | MeasurementRole::MemoryUsedBytes
            | MeasurementRole::MemoryOtherBytes
            | MeasurementRole::MemoryTotalBytes
            | MeasurementRole::MemoryAvailableBytes
            | MeasurementRole::ContainerMemoryPercent
            | MeasurementRole::ProcessMemoryPercent
            | MeasurementRole::ProcessMemoryBytes => MetricKind::MemoryUsage,
            MeasurementRole::DiskPercent | MeasurementRole::DiskUsedBytes | MeasurementRole::DiskFreeBytes => {
                MetricKind::DiskUsage
            }
            MeasurementRole::ResponseMs => MetricKind::ResponseTime,
            MeasurementRole::ErrorPercent | MeasurementRole::Requests | MeasurementRole::FailedRequests => {
                MetricKind::ErrorRate
            }
            MeasurementRole::LatencyMs
            | MeasurementRole::NetworkBytes
            | MeasurementRole::Packets
            | MeasurementRole::PacketsLost
            | MeasurementRole::Connections => return Self(0),
        };
        Self(1 << kind as u16)
    }

    pub(super) fn has(self, kind: MetricKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

/// All series of a shard that have a role.
#[derive(Default)]
pub(super) struct Gauges {
    all: Vec<Gauge>,
    owners: Vec<Owner>,
    by_agent: HashMap<AgentId, usize>,
    changed: Vec<usize>,
}

/// An agent's vitals, as its series say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) measurements: Measurements,
    /// The time of the values that led to this reading.
    pub(super) time: UnixNanos,
    /// The time of the agent's newest value.
    pub(super) newest: UnixNanos,
    /// What those values say something of.
    pub(super) kinds: Kinds,
    /// All memory, megabytes.
    pub(super) memory_total_mb: Option<f64>,
}

impl Gauges {
    /// A place for a series that has a role.
    pub(super) fn open(&mut self, desc: &SeriesDesc, role: MeasurementRole) -> u32 {
        let owner = *self.by_agent.entry(desc.agent).or_insert_with(|| {
            self.owners.push(Owner { agent: desc.agent, gauges: Vec::new(), changed: None });
            self.owners.len() - 1
        });
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX - 1);
        self.all.push(Gauge {
            series: desc.id,
            owner,
            role,
            group: match role {
                MeasurementRole::ProcessCpuPercent
                | MeasurementRole::ProcessCpuOfOne
                | MeasurementRole::ProcessMemoryPercent
                | MeasurementRole::ProcessMemoryBytes => xxh3_64(desc.spec.metric.as_bytes()),
                _ => digest(group(&desc.spec)),
            },
            container: digest(container(&desc.spec)),
            time: i64::MIN,
            value: f64::NAN,
            increase: f64::NAN,
            seconds: 0.0,
        });
        // By series, so that sums come out the same to the last bit after a restart.
        let at = self.owners[owner].gauges.partition_point(|&other| self.all[other as usize].series < desc.id);
        self.owners[owner].gauges.insert(at, place);
        place
    }

    /// A new value; of a counter with its resets made good.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn set(&mut self, place: u32, time: i64, value: f64) {
        let Some(gauge) = self.all.get_mut(place as usize) else { return };
        if !value.is_finite() || time <= gauge.time {
            return;
        }
        if gauge.time != i64::MIN {
            gauge.increase = (value - gauge.value).max(0.0);
            gauge.seconds = time.saturating_sub(gauge.time) as f64 / UnixNanos::SECOND as f64;
        }
        gauge.time = time;
        gauge.value = value;
        let owner = &mut self.owners[gauge.owner];
        let kinds = owner.changed.unwrap_or_else(|| {
            self.changed.push(gauge.owner);
            Kinds::default()
        });
        owner.changed = Some(Kinds(kinds.0 | Kinds::of(gauge.role).0));
    }

    /// A reading of each agent that got values since the last call, which were all of `time`. `stale` nanoseconds behind the
    /// agent's newest, a value no longer counts.
    pub(super) fn take_changed(&mut self, time: i64, stale: i64, out: &mut Vec<(AgentId, Reading)>) {
        for at in 0..self.changed.len() {
            let owner = self.changed[at];
            let kinds = self.owners[owner].changed.take().unwrap_or_default();
            if let Some(reading) = self.read(&self.owners[owner], UnixNanos(time), kinds, stale) {
                out.push((self.owners[owner].agent, reading));
            }
        }
        self.changed.clear();
    }

    /// The time of an owner's newest value.
    fn newest(&self, owner: &Owner) -> Option<i64> {
        let times = owner.gauges.iter().map(|&place| self.all[place as usize].time);
        times.max().filter(|&time| time != i64::MIN)
    }

    /// An owner's values that count beside its newest.
    fn counting<'a>(&'a self, owner: &'a Owner, newest: i64, stale: i64) -> impl Iterator<Item = &'a Gauge> {
        let gauges = owner.gauges.iter().map(|&place| &self.all[place as usize]);
        gauges.filter(move |g| g.time != i64::MIN && newest.saturating_sub(g.time) <= stale)
    }

    /// The series that made the agent's value of `kind`: those of the fullest file system or of the largest value, else all
    /// that it was put together from.
    pub(super) fn sources(&self, agent: AgentId, kind: MetricKind, stale: i64) -> Vec<SeriesId> {
        let Some(owner) = self.by_agent.get(&agent).map(|&at| &self.owners[at]) else { return Vec::new() };
        let Some(newest) = self.newest(owner) else { return Vec::new() };
        let counting: Vec<&Gauge> = self.counting(owner, newest, stale).collect();
        let of = |roles: &[MeasurementRole]| -> Vec<&Gauge> {
            counting.iter().copied().filter(|gauge| roles.contains(&gauge.role)).collect()
        };
        // As in `Sums`: a percentage that is far outside counts as not there.
        let percents = |role: MeasurementRole| -> Vec<&Gauge> {
            of(&[role]).into_iter().filter(|gauge| plausible_percent(gauge.value).is_some()).collect()
        };
        let found = match kind {
            MetricKind::CpuUsage => first_of([
                percents(MeasurementRole::CpuPercent),
                of(&[
                    MeasurementRole::CpuBusyPercent,
                    MeasurementRole::CpuIdlePercent,
                    MeasurementRole::CpuWaitPercent,
                ]),
                of(&[
                    MeasurementRole::CpuBusySeconds,
                    MeasurementRole::CpuIdleSeconds,
                    MeasurementRole::CpuWaitSeconds,
                ]),
                one_of(largest_of(&percents(MeasurementRole::ContainerCpuPercent))),
                one_of(largest_of(&of(&[MeasurementRole::ContainerCpuOfOne]))),
                of(&[MeasurementRole::ProcessCpuPercent]),
                of(&[MeasurementRole::ProcessCpuOfOne]),
            ]),
            MetricKind::MemoryUsage => {
                let is_total_known = !of(&[MeasurementRole::MemoryTotalBytes]).is_empty();
                first_of([
                    if is_total_known { of(&[MeasurementRole::MemoryAvailableBytes]) } else { Vec::new() },
                    one_of(largest_of(&percents(MeasurementRole::MemoryPercent))),
                    of(&[MeasurementRole::MemoryUsedBytes]),
                    one_of(largest_of(&percents(MeasurementRole::ContainerMemoryPercent))),
                    percents(MeasurementRole::ProcessMemoryPercent),
                    of(&[MeasurementRole::ProcessMemoryBytes]),
                ])
            }
            MetricKind::DiskUsage => {
                let reported = largest_of(&percents(MeasurementRole::DiskPercent));
                match fullest(&of(&[MeasurementRole::DiskUsedBytes, MeasurementRole::DiskFreeBytes])) {
                    Some((percent, both)) if reported.is_none_or(|one| one.value < percent) => both,
                    _ => one_of(reported),
                }
            }
            MetricKind::ResponseTime => one_of(largest_of(&of(&[MeasurementRole::ResponseMs]))),
            MetricKind::ErrorRate => first_of([
                one_of(largest_of(&percents(MeasurementRole::ErrorPercent))),
                of(&[MeasurementRole::FailedRequests]),
                of(&[MeasurementRole::Requests]),
            ]),
            _ => Vec::new(),
        };
        found.into_iter().map(|gauge| gauge.series).collect()
    }

    fn read(&self, owner: &Owner, time: UnixNanos, kinds: Kinds, stale: i64) -> Option<Reading> {
        let newest = self.newest(owner)?;
        let mut sums = Sums::default();
        for gauge in self.counting(owner, newest, stale) {
            sums.add(gauge);
        }
        Some(Reading {
            measurements: sums.measurements(),
            time,
            newest: UnixNanos(newest),
            kinds,
            memory_total_mb: sums.memory_total().map(|bytes| bytes / 1e6),
        })
    }

    pub(super) fn save(&self) -> Vec<SavedGauge> {
        self.all
            .iter()
            .filter(|g| g.time != i64::MIN)
            .map(|g| SavedGauge {
                series: g.series,
                time: g.time,
                value: g.value,
                increase: g.increase,
                seconds: g.seconds,
            })
            .collect()
    }

    /// Forgets every value, keeps the places.
    pub(super) fn forget(&mut self) {
        for gauge in &mut self.all {
            gauge.time = i64::MIN;
            gauge.value = f64::NAN;
            gauge.increase = f64::NAN;
            gauge.seconds = 0.0;
        }
        for owner in self.changed.drain(..) {
            self.owners[owner].changed = None;
        }
    }

    /// Puts saved values back where `place` says their series is.
    pub(super) fn restore(&mut self, saved: &[SavedGauge], place: impl Fn(SeriesId) -> Option<u32>) {
        for one in saved {
            let Some(gauge) = place(one.series).and_then(|at| self.all.get_mut(at as usize)) else { continue };
            gauge.time = one.time;
            gauge.value = one.value;
            gauge.increase = one.increase;
            gauge.seconds = one.seconds;
        }
    }
}

fn digest<'s>(pairs: impl Iterator<Item = &'s (String, String)>) -> u64 {
    let mut hash = Xxh3::new();
    for (key, value) in pairs {
        hash.update(key.as_bytes());
        hash.update(&[0xFF]);
        hash.update(value.as_bytes());
        hash.update(&[0xFF]);
    }
    hash.digest()
}

/// The first of some lists that has anything.
fn first_of<const N: usize>(lists: [Vec<&Gauge>; N]) -> Vec<&Gauge> {
    lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
}

fn one_of(gauge: Option<&Gauge>) -> Vec<&Gauge> {
    gauge.into_iter().collect()
}

fn largest_of<'a>(gauges: &[&'a Gauge]) -> Option<&'a Gauge> {
    gauges.iter().copied().max_by(|one, other| one.value.total_cmp(&other.value))
}

/// The fullest file system by its bytes: percent, and its series.
fn fullest<'a>(gauges: &[&'a Gauge]) -> Option<(f64, Vec<&'a Gauge>)> {
    let mut groups: HashMap<u64, (Sum, Sum, Vec<&Gauge>)> = HashMap::new();
    for &gauge in gauges {
        let (used, free, all) = groups.entry(gauge.group).or_default();
        if gauge.role == MeasurementRole::DiskUsedBytes { used } else { free }.add(gauge.value);
        all.push(gauge);
    }
    let shares = groups.into_values().filter(|(_, free, _)| free.count > 0.0);
    let shares = shares.filter_map(|(used, free, all)| Some((used.share(free)?, all)));
    // The order of a map says nothing: of two that are as full, the one with the smaller number.
    shares.max_by(|one, other| one.0.total_cmp(&other.0).then_with(|| other.1[0].series.cmp(&one.1[0].series)))
}

/// A mean, or a sum, of what there is.
#[derive(Default, Clone, Copy)]
struct Sum {
    total: f64,
    count: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
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
    fn share(self, other: Self) -> Option<f64> {
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

#[derive(Default)]
struct Sums {
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
    fn add(&mut self, gauge: &Gauge) {
        let (value, rate) = (gauge.value, gauge.increase / gauge.seconds);
        let apply_changes = |sum: &mut Sum, by: f64| {
            if by.is_finite() {
                sum.add(by);
            }
        };
        match gauge.role {
            MeasurementRole::CpuBusySeconds => apply_changes(&mut self.cpu_rates.busy, rate),
            MeasurementRole::CpuIdleSeconds => apply_changes(&mut self.cpu_rates.idle, rate),
            MeasurementRole::CpuWaitSeconds => apply_changes(&mut self.cpu_rates.wait, rate),
            MeasurementRole::MemoryUsedBytes => self.memory_used.add(value),
            MeasurementRole::MemoryOtherBytes => self.memory_other.add(value),
            MeasurementRole::MemoryTotalBytes => self.memory_total.add(value),
            MeasurementRole::MemoryAvailableBytes => self.memory_available.add(value),
            MeasurementRole::ProcessMemoryBytes => self.process_memory.add(gauge),
            MeasurementRole::DiskUsedBytes => self.disks.entry(gauge.group).or_default().0.add(value),
            MeasurementRole::DiskFreeBytes => self.disks.entry(gauge.group).or_default().1.add(value),
            MeasurementRole::LatencyMs => largest(&mut self.latency, value),
            MeasurementRole::ResponseMs => largest(&mut self.response, value),
            MeasurementRole::Requests => apply_changes(&mut self.requests, gauge.increase),
            MeasurementRole::FailedRequests => apply_changes(&mut self.failed, gauge.increase),
            MeasurementRole::NetworkBytes => apply_changes(&mut self.network_rate, rate),
            MeasurementRole::Packets => apply_changes(&mut self.packets, gauge.increase),
            MeasurementRole::PacketsLost => apply_changes(&mut self.lost, gauge.increase),
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

    fn memory_total(&self) -> Option<f64> {
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

    #[allow(clippy::needless_update, reason = "a measurement that only heartbeats carry is made of no series")]
    fn measurements(&self) -> Measurements {
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

/// A [`Gauge`], written down.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct SavedGauge {
    series: SeriesId,
    time: i64,
    value: f64,
    increase: f64,
    seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};

    fn desc(id: u32, metric: &str, attributes: &[(&str, &str)]) -> SeriesDesc {
        SeriesDesc {
            id: SeriesId(id),
            agent: AgentId(1),
            spec: SeriesSpec {
                metric: metric.to_owned(),
                unit: String::new(),
                kind: MetricKind::Custom,
                shape: Shape::Cumulative { monotonic: true },
                part: Part::Value,
                integer: false,
                factor: 1.0,
                origin: Origin::Otlp,
                scope: Arc::default(),
                attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                resource: Arc::default(),
            },
        }
    }

    /// Feeds (role, group, time in seconds, value) in order, one series for each role and group.
    fn read(rows: &[(MeasurementRole, &str, i64, f64)]) -> Reading {
        let mut gauges = Gauges::default();
        let mut places = HashMap::new();
        for &(role, group, seconds, value) in rows {
            let next = u32::try_from(places.len()).unwrap();
            let place = *places
                .entry((role, group))
                .or_insert_with(|| gauges.open(&desc(next, "m", &[("device", group)]), role));
            gauges.set(place, seconds * UnixNanos::SECOND, value);
        }
        let mut out = Vec::new();
        let last = rows.last().unwrap().2 * UnixNanos::SECOND;
        gauges.take_changed(last, 300 * UnixNanos::SECOND, &mut out);
        out[0].1
    }

    #[test]
    fn cpu_is_the_busy_share_of_the_increases_of_all_cores() {
        use MeasurementRole::{CpuBusySeconds as Busy, CpuIdleSeconds as Idle};
        let first = [(Busy, "0", 0, 1_000.0), (Idle, "0", 0, 9_000.0), (Busy, "1", 0, 5.0), (Idle, "1", 0, 5.0)];
        assert_eq!(read(&first).measurements.cpu_percent, None);
        let mut rows = first.to_vec();
        rows.extend([(Busy, "0", 10, 1_009.0), (Idle, "0", 10, 9_001.0), (Busy, "1", 10, 8.0), (Idle, "1", 10, 12.0)]);
        assert_eq!(read(&rows).measurements.cpu_percent, Some(60.0));
    }

    #[test]
    fn the_fullest_disk_and_memory_of_its_states() {
        use MeasurementRole as R;
        let reading = read(&[
            (R::DiskUsedBytes, "a", 0, 50.0),
            (R::DiskFreeBytes, "a", 0, 50.0),
            (R::DiskUsedBytes, "b", 0, 90.0),
            (R::DiskFreeBytes, "b", 0, 10.0),
            (R::DiskUsedBytes, "no free given", 0, 90.0),
            (R::MemoryUsedBytes, "", 0, 6e9),
            (R::MemoryOtherBytes, "free", 0, 1e9),
            (R::MemoryOtherBytes, "cached", 0, 1e9),
        ]);
        assert_eq!(reading.measurements.disk_percent, Some(90.0));
        assert_eq!(reading.measurements.memory_mb, Some(6_000.0));
        assert_eq!(reading.measurements.memory_percent, Some(75.0));
        assert_eq!(reading.memory_total_mb, Some(8_000.0));
    }

    #[test]
    fn a_cpu_that_waits_for_a_disk_is_not_busy() {
        use MeasurementRole as R;
        let seconds = read(&[
            (R::CpuBusySeconds, "0", 0, 0.0),
            (R::CpuIdleSeconds, "0", 0, 0.0),
            (R::CpuWaitSeconds, "0", 0, 0.0),
            (R::CpuBusySeconds, "0", 10, 1.0),
            (R::CpuIdleSeconds, "0", 10, 1.0),
            (R::CpuWaitSeconds, "0", 10, 8.0),
        ]);
        assert_eq!(seconds.measurements.cpu_percent, Some(10.0));
        let percents = [
            (R::CpuBusyPercent, "0", 0, 10.0),
            (R::CpuIdlePercent, "0", 0, 10.0),
            (R::CpuWaitPercent, "0", 0, 80.0),
            // A core that was off: all its states are 0.
            (R::CpuBusyPercent, "1", 0, 0.0),
            (R::CpuIdlePercent, "1", 0, 0.0),
            (R::CpuWaitPercent, "1", 0, 0.0),
        ];
        assert_eq!(read(&percents).measurements.cpu_percent, Some(10.0));
        assert_eq!(read(&percents[1..3]).measurements.cpu_percent, Some(10.0));
        assert_eq!(read(&percents[..1]).measurements.cpu_percent, None);
        assert_eq!(read(&percents[3..]).measurements.cpu_percent, None);
    }

    #[test]
    fn the_readings_of_a_process_are_not_those_of_the_machine() {
        use MeasurementRole as R;
        let measurements = |rows: &[(MeasurementRole, f64)]| {
            let rows: Vec<_> = rows.iter().zip(0..).map(|(&(role, value), _)| (role, "", 0, value)).collect();
            read(&rows).measurements
        };
        for (rows, cpu) in [
            (&[(R::ProcessCpuPercent, 40.0)][..], Some(40.0)),
            (&[(R::ProcessCpuPercent, 100.0), (R::CpuPercent, 20.0)], Some(20.0)),
            (&[(R::ProcessCpuPercent, 100.0), (R::ContainerCpuPercent, 30.0)], Some(30.0)),
            // Two busy CPUs of eight, by a sender that does not divide.
            (&[(R::ProcessCpuPercent, 200.0), (R::CpuCount, 8.0)], Some(25.0)),
            (&[(R::ProcessCpuPercent, 200.0)], None),
            (&[(R::ProcessCpuPercent, 2_000.0), (R::CpuCount, 8.0)], None),
            (&[(R::ProcessCpuPercent, -100.0)], None),
            (&[(R::ProcessCpuOfOne, 90.0)], None),
            (&[(R::ProcessCpuOfOne, 90.0), (R::CpuCount, 2.0)], Some(45.0)),
            (&[(R::ContainerCpuOfOne, 150.0)], None),
            (&[(R::ContainerCpuOfOne, 150.0), (R::ContainerCpuCount, 2.0)], Some(75.0)),
            (&[(R::CpuPercent, 104.0)], Some(100.0)),
            (&[(R::CpuPercent, 450.0)], None),
        ] {
            assert_eq!(measurements(rows).cpu_percent, cpu, "{rows:?}");
        }
        for (rows, memory, megabytes) in [
            (&[(R::MemoryPercent, 10.0), (R::ProcessMemoryPercent, 99.0)][..], Some(10.0), None),
            (&[(R::MemoryPercent, 273.0)], None, None),
            (&[(R::ContainerMemoryPercent, 30.0), (R::ProcessMemoryPercent, 99.0)], Some(30.0), None),
            (&[(R::ProcessMemoryPercent, 2.7)], Some(2.7), None),
            // How much that is nobody knows.
            (&[(R::ProcessMemoryBytes, 9e9)], None, None),
            (&[(R::MemoryUsedBytes, 9e9)], None, None),
            (&[(R::ProcessMemoryBytes, 9e9), (R::MemoryTotalBytes, 90e9)], Some(10.0), Some(9_000.0)),
            (
                &[(R::MemoryUsedBytes, 6e9), (R::MemoryAvailableBytes, 2e9), (R::MemoryTotalBytes, 10e9)],
                Some(80.0),
                Some(6_000.0),
            ),
        ] {
            let measurements = measurements(rows);
            assert_eq!((measurements.memory_percent, measurements.memory_mb), (memory, megabytes), "{rows:?}");
        }
    }

    #[test]
    fn processes_add_up_and_metrics_that_say_the_same_do_not() {
        let percent = |series: &[(&str, &str, f64)]| {
            let mut gauges = Gauges::default();
            for (&(metric, pid, value), number) in series.iter().zip(0_u32..) {
                let place = gauges.open(&desc(number, metric, &[("pid", pid)]), MeasurementRole::ProcessCpuPercent);
                gauges.set(place, 1, value);
            }
            let mut out = Vec::new();
            gauges.take_changed(1, 300 * UnixNanos::SECOND, &mut out);
            out[0].1.measurements.cpu_percent
        };
        assert_eq!(
            percent(&[("process.cpu.utilization", "1", 30.0), ("process.cpu.utilization", "2", 20.0)]),
            Some(50.0)
        );
        let twice = [("process.runtime.jvm.cpu.utilization", "1", 48.0), ("jvm.cpu.recent_utilization", "1", 50.0)];
        assert_eq!(percent(&twice), Some(50.0));
    }

    #[test]
    fn one_of_several_containers_is_not_the_agent() {
        let percent = |ids: &[(&str, f64)]| {
            let mut gauges = Gauges::default();
            for (&(id, value), number) in ids.iter().zip(0_u32..) {
                let mut desc = desc(number, "container.cpu.limit.utilization", &[("n", &number.to_string())]);
                desc.spec.resource = Arc::new([("container.id".to_owned(), id.to_owned())].into_iter().collect());
                let place = gauges.open(&desc, MeasurementRole::ContainerCpuPercent);
                gauges.set(place, 1, value);
            }
            let mut out = Vec::new();
            gauges.take_changed(1, 300 * UnixNanos::SECOND, &mut out);
            out[0].1.measurements.cpu_percent
        };
        assert_eq!(percent(&[("a", 97.0)]), Some(97.0));
        assert_eq!(percent(&[("a", 97.0), ("a", 98.0)]), Some(98.0));
        assert_eq!(percent(&[("a", 97.0), ("b", 1.0)]), None);
    }

    #[test]
    fn a_percentage_is_between_0_and_100_or_unknown() {
        use MeasurementRole as R;
        let roles = [
            R::CpuPercent,
            R::CpuBusyPercent,
            R::CpuIdlePercent,
            R::CpuWaitPercent,
            R::CpuBusySeconds,
            R::CpuIdleSeconds,
            R::CpuWaitSeconds,
            R::CpuCount,
            R::ContainerCpuPercent,
            R::ContainerCpuOfOne,
            R::ContainerCpuCount,
            R::ProcessCpuPercent,
            R::ProcessCpuOfOne,
            R::MemoryPercent,
            R::MemoryUsedBytes,
            R::MemoryOtherBytes,
            R::MemoryTotalBytes,
            R::MemoryAvailableBytes,
            R::ContainerMemoryPercent,
            R::ProcessMemoryPercent,
            R::ProcessMemoryBytes,
            R::DiskPercent,
            R::DiskUsedBytes,
            R::DiskFreeBytes,
            R::ErrorPercent,
            R::Requests,
            R::FailedRequests,
        ];
        let value = prop_oneof![
            Just(0.0),
            Just(-1.0),
            0.0..100.0_f64,
            -200.0..2_000.0_f64,
            proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::SUBNORMAL
        ];
        let row = (prop::sample::select(roles.to_vec()), prop::sample::select(vec!["a", "b"]), 0..5_i64, value);
        proptest!(ProptestConfig::with_cases(2_000), |(rows in prop::collection::vec(row, 1..12))| {
            let measurements = read(&rows).measurements;
            for percent in [measurements.cpu_percent, measurements.memory_percent, measurements.disk_percent, measurements.error_percent] {
                prop_assert!(percent.is_none_or(|p| (0.0..=100.0).contains(&p)), "{:?}", measurements);
            }
        });
    }

    #[test]
    fn errors_are_the_failed_share_of_the_increase_and_old_values_do_not_count() {
        use MeasurementRole as R;
        let reading = read(&[
            (R::Requests, "", 0, 100.0),
            (R::FailedRequests, "", 0, 0.0),
            (R::Requests, "", 10, 190.0),
            (R::FailedRequests, "", 10, 10.0),
            (R::ResponseMs, "", 10, 250.0),
            (R::CpuPercent, "gone", -1_000, 99.0),
            (R::Connections, "a", 10, 2.0),
            (R::Connections, "b", 10, 3.0),
        ]);
        assert_eq!(reading.measurements.error_percent, Some(10.0));
        assert_eq!(reading.measurements.requests, Some(100.0));
        assert_eq!(reading.measurements.response_ms, Some(250.0));
        assert_eq!(reading.measurements.cpu_percent, None);
        assert_eq!(reading.measurements.connections, Some(5.0));
        assert_eq!(reading.newest, UnixNanos(10 * UnixNanos::SECOND));
    }

    #[test]
    fn a_reading_says_what_is_new_in_it_and_which_series_made_it() {
        use MeasurementRole as R;
        let mut gauges = Gauges::default();
        let names = [
            (R::CpuBusySeconds, "core 0"),
            (R::CpuIdleSeconds, "core 0"),
            (R::DiskUsedBytes, "a"),
            (R::DiskFreeBytes, "a"),
            (R::DiskUsedBytes, "b"),
            (R::DiskFreeBytes, "b"),
            (R::DiskPercent, "c"),
            (R::ResponseMs, "slow"),
            (R::ResponseMs, "fast"),
        ];
        let places: Vec<u32> =
            (0_u32..).zip(names).map(|(n, (r, g))| gauges.open(&desc(n, "m", &[("d", g)]), r)).collect();
        let mut feed = |second: i64, rows: &[(usize, f64)]| {
            let time = second * UnixNanos::SECOND;
            rows.iter().for_each(|&(at, value)| gauges.set(places[at], time, value));
            let mut out = Vec::new();
            gauges.take_changed(time, 300 * UnixNanos::SECOND, &mut out);
            let sources = |kind| -> Vec<u32> {
                gauges.sources(AgentId(1), kind, 300 * UnixNanos::SECOND).iter().map(|id| id.0).collect()
            };
            let kinds = out.first().map(|(_, reading)| MetricKind::ALL.into_iter().filter(|k| reading.kinds.has(*k)));
            let kinds: Vec<MetricKind> = kinds.into_iter().flatten().collect();
            (kinds, sources(MetricKind::DiskUsage), sources(MetricKind::ResponseTime), sources(MetricKind::CpuUsage))
        };
        let disks = [(2, 50.0), (3, 50.0), (4, 90.0), (5, 10.0), (6, 80.0)];
        assert_eq!(feed(0, &disks), (vec![MetricKind::DiskUsage], vec![4, 5], vec![], vec![]));
        assert_eq!(feed(1, &[(6, 95.0)]), (vec![MetricKind::DiskUsage], vec![6], vec![], vec![]));
        let rest = [(0, 1.0), (1, 1.0), (7, 9.0), (8, 1.0)];
        let both = vec![MetricKind::CpuUsage, MetricKind::ResponseTime];
        assert_eq!(feed(2, &rest), (both, vec![6], vec![7], vec![0, 1]));
        // Nothing new, nothing read.
        assert_eq!(feed(2, &rest).0, []);
        // What is stale makes nothing any more.
        assert_eq!(feed(302, &[(3, 50.0), (2, 50.0)]).1, [2, 3]);
    }
}
