//! When the file systems and the memory of an agent are full, if it goes on as in the last two weeks.
//!
//! Everything here asks the store and may block.

use super::components::{DISK, HEARTBEAT, MEMORY};
use super::grid::Grid;
use super::time::HOUR;
use super::trends::label;
use crate::expose::Rest;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;
use vitals_core::ids::UnixNanos;
use vitals_core::measurement_role::{MeasurementRole, container, plausible_percent, role};
use vitals_core::rules::forecast::{TimeToLimit, time_to_limit};
use vitals_core::rules::percent::percent;
use vitals_core::rules::units::is_percent;
use vitals_core::series::{AgentDesc, MetricKind, Origin, Part, SeriesDesc};
use vitals_core::store::{Aggregation, StoreError};

/// The past that a forecast is made of, and the steps that it is cut into: two weeks of hours.
const PAST: i64 = 14 * 24 * HOUR;
const STEPS: i64 = 14 * 24;

/// Most file systems and memories of one agent that are looked at.
const MOST_FORECASTS: usize = 16;

/// Attributes that name a file system to people, the best first.
const NAMES: [&str; 4] = ["system.filesystem.mountpoint", "mountpoint", "system.device", "device"];

/// What is in use of something that can be full, and when it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CapacityForecast {
    /// `disk` or `memory`.
    pub component: String,
    /// Percent in use: the last mean of a step.
    pub percent: f64,
    /// When it is full; null when that cannot be said.
    pub hours_to_full: Option<HoursToFull>,
}

/// When something is full, hours from now; all 0 when it is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct HoursToFull {
    /// Rather not before.
    pub earliest: f64,
    /// By the trend.
    pub likely: f64,
    /// Rather not after.
    pub latest: f64,
}

/// Something that can be full: a percentage, or amounts in use and not.
#[derive(Default)]
struct Capacity {
    component: &'static str,
    percent: Option<Arc<SeriesDesc>>,
    used: Vec<Arc<SeriesDesc>>,
    rest: Vec<Arc<SeriesDesc>>,
    total: Option<Arc<SeriesDesc>>,
    available: Option<Arc<SeriesDesc>>,
}

type Points = BTreeMap<UnixNanos, f64>;

impl Capacity {
    /// Percent in use in each step; empty where it is not known what the whole is.
    fn percents(&self, rest: &Rest, start: UnixNanos, end: UnixNanos) -> Result<Points, StoreError> {
        let first = [&self.percent, &self.total].into_iter().flatten().next().or_else(|| self.used.first());
        let Some(first) = first else { return Ok(Points::new()) };
        let grid = Grid::of(rest, first, start, end, STEPS)?;
        let means = |series: &SeriesDesc| -> Result<Points, StoreError> {
            Ok(grid.aggregate(rest, series, Aggregation::Mean)?.into_iter().collect())
        };
        let sums = |all: &[Arc<SeriesDesc>]| -> Result<Points, StoreError> {
            let mut sums = Points::new();
            for series in all {
                means(series)?.into_iter().for_each(|(time, value)| *sums.entry(time).or_default() += value);
            }
            Ok(sums)
        };
        let share = |part: Points, whole: &dyn Fn(UnixNanos, f64) -> Option<f64>| {
            let of = |(time, part): (UnixNanos, f64)| Some((time, percent(part, whole(time, part)?)?));
            part.into_iter().filter_map(of).collect()
        };
        if let Some(series) = &self.percent {
            let plausible = |(time, value)| Some((time, plausible_percent(value)?));
            return Ok(means(series)?.into_iter().filter_map(plausible).collect());
        }
        if let (Some(total), Some(available)) = (&self.total, &self.available) {
            let (total, available) = (means(total)?, means(available)?);
            let in_use = |(time, all): (&UnixNanos, &f64)| Some((*time, all - available.get(time)?));
            return Ok(share(total.iter().filter_map(in_use).collect(), &|time, _| total.get(&time).copied()));
        }
        // Without another state the used bytes would be all there is.
        let others = sums(&self.rest)?;
        Ok(share(sums(&self.used)?, &|time, used| others.get(&time).map(|others| used + others)))
    }
}

/// What can be full, by the name that people know it by.
fn capacities(rest: &Rest, agent: &AgentDesc) -> BTreeMap<String, Capacity> {
    let mut found: BTreeMap<String, Capacity> = BTreeMap::new();
    for series in rest.registry.series_of(agent.id) {
        let Some((component, part)) = part_of(&series) else { continue };
        let name = name(&series, component, part);
        if found.len() >= MOST_FORECASTS && !found.contains_key(&name) {
            continue;
        }
        let capacity = found.entry(name).or_insert(Capacity { component, ..Capacity::default() });
        match part {
            MeasurementRole::MemoryUsedBytes | MeasurementRole::DiskUsedBytes => capacity.used.push(series),
            MeasurementRole::MemoryOtherBytes | MeasurementRole::DiskFreeBytes => capacity.rest.push(series),
            MeasurementRole::MemoryTotalBytes => capacity.total = Some(series),
            MeasurementRole::MemoryAvailableBytes => capacity.available = Some(series),
            _ => capacity.percent = Some(series),
        }
    }
    found
}

/// The name that people know the disk or memory of a series by.
fn name(series: &SeriesDesc, component: &str, part: MeasurementRole) -> String {
    let spec = &series.spec;
    let named = |key: &&str| spec.attributes.iter().find(|(known, _)| known == key);
    if spec.origin == Origin::Rest && spec.scope.name != HEARTBEAT {
        label(series)
    } else if part == MeasurementRole::ContainerMemoryPercent {
        container(spec).next().map_or(MEMORY.to_owned(), |(_, which)| format!("{MEMORY} of {which}"))
    } else if component == DISK
        && let Some((_, name)) = NAMES.iter().find_map(named)
    {
        name.clone()
    } else {
        component.to_owned()
    }
}

/// What a series says of a disk or of memory. REST metrics have no role: their percentages speak for themselves.
fn part_of(series: &SeriesDesc) -> Option<(&'static str, MeasurementRole)> {
    let spec = &series.spec;
    if spec.origin == Origin::Rest {
        let is_share = is_percent(&spec.unit) && spec.part == Part::Value;
        return match spec.kind {
            MetricKind::DiskUsage if is_share => Some((DISK, MeasurementRole::DiskPercent)),
            // Of several components of a system each has a memory of its own.
            MetricKind::MemoryUsage if is_share => Some((MEMORY, MeasurementRole::ContainerMemoryPercent)),
            _ => None,
        };
    }
    let role = role(spec)?;
    match role {
        MeasurementRole::DiskPercent | MeasurementRole::DiskUsedBytes | MeasurementRole::DiskFreeBytes => {
            Some((DISK, role))
        }
        MeasurementRole::MemoryPercent
        | MeasurementRole::ContainerMemoryPercent
        | MeasurementRole::MemoryUsedBytes
        | MeasurementRole::MemoryOtherBytes
        | MeasurementRole::MemoryTotalBytes
        | MeasurementRole::MemoryAvailableBytes => Some((MEMORY, role)),
        _ => None,
    }
}

/// What can be full of an agent, with when it is.
pub fn capacity_forecasts(
    rest: &Rest,
    agent: &AgentDesc,
    now: UnixNanos,
) -> Result<BTreeMap<String, CapacityForecast>, StoreError> {
    let mut forecasts = BTreeMap::new();
    for (name, capacity) in capacities(rest, agent) {
        let points: Vec<_> = capacity.percents(rest, now.plus(-PAST), now)?.into_iter().collect();
        let Some(&(_, percent)) = points.last() else { continue };
        let full = time_to_limit(&points, now, 100.0);
        let hours_to_full =
            full.map(|TimeToLimit { earliest, likely, latest }| HoursToFull { earliest, likely, latest });
        forecasts.insert(name, CapacityForecast { component: capacity.component.to_owned(), percent, hours_to_full });
    }
    Ok(forecasts)
}

/// Advice on what is full soon, the soonest first.
pub fn capacity_advice(forecasts: &BTreeMap<String, CapacityForecast>) -> Vec<String> {
    let ends = |(name, forecast): (_, &CapacityForecast)| Some((name, forecast.clone(), forecast.hours_to_full?));
    let mut ending: Vec<(&String, CapacityForecast, HoursToFull)> = forecasts.iter().filter_map(ends).collect();
    ending.sort_by(|one, other| one.2.likely.total_cmp(&other.2.likely));
    let sentence =
        |(name, forecast, HoursToFull { earliest, likely, latest }): (&String, CapacityForecast, HoursToFull)| {
            let what = if forecast.component == MEMORY {
                "find what holds it, or add memory"
            } else {
                "free space or add capacity"
            };
            if latest <= 0.0 {
                return format!("{name} is full: {what} now.");
            }
            let when = TimeToLimit { earliest, likely, latest };
            format!("{name} is full {when} ({:.0} % now): {what} before that.", forecast.percent)
        };
    ending.into_iter().map(sentence).collect()
}
