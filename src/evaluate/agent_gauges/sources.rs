//! The series that make an agent's value of a kind.

use super::sums::Sum;
use super::{Gauge, Gauges};
use hashbrown::HashMap;
use vitals_core::ids::{AgentId, SeriesId};
use vitals_core::measurement_role::{MeasurementRole, plausible_percent};
use vitals_core::series::MetricKind;

impl Gauges {
    /// The series that made the agent's value of `kind`: those of the fullest file system or of the largest value, else all
    /// that it was put together from.
    pub(in crate::evaluate) fn sources(&self, agent: AgentId, kind: MetricKind, stale: i64) -> Vec<SeriesId> {
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
