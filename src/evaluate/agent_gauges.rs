//! The measurements of agents, put together from the series that make them up.

mod sources;
mod sums;
#[cfg(test)]
mod tests;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use sums::Sums;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::measurement_role::{MeasurementRole, container, group};
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

/// An agent's measurements, as its series say.
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

/// A [`Gauge`], written down.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct SavedGauge {
    series: SeriesId,
    time: i64,
    value: f64,
    increase: f64,
    seconds: f64,
}
