//! Trends: straight lines through series, and when they reach a threshold.
//!
//! Everything here asks the store and may block.

use super::components::bounds;
use super::grid::Grid;
use super::time::HOUR;
use crate::expose::Rest;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use vitals_core::ids::UnixNanos;
use vitals_core::series::{AgentDesc, MetricKind, Origin, Part, SeriesDesc, Shape};
use vitals_core::store::{Aggregation, SampleQuery, StoreError};

use super::components::HEARTBEAT;

/// Most series of one agent whose trends are looked at.
const MOST_SERIES: usize = 24;

/// Points that a trend is fitted to.
const TREND_POINTS: i64 = 60;

/// A fitted change below this share of the mean counts as none.
const STABLE_CHANGE: f64 = 0.05;

/// Where a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Up.
    Increasing,
    /// Down.
    Decreasing,
    /// Nowhere.
    Stable,
}

/// A straight line through a series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesTrend {
    /// The metric's typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// Change in an hour.
    pub slope_per_hour: f64,
    /// Where it goes.
    pub direction: Direction,
    /// The mean of the points.
    pub mean: f64,
    /// The last value, as it came; null for NaN and infinities.
    pub last: Option<f64>,
    /// How many points the line is fitted to: means over steps, each at the middle of its step.
    pub points: usize,
    /// `predictive` only: hours until it is degraded; 0 when it is, null when it does not get there or has no threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours_to_warning: Option<Option<f64>>,
    /// `predictive` only: hours until it is critical; 0 when it is, null when it does not get there or has no threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours_to_critical: Option<Option<f64>>,
}

/// A name for a series that tells it from the agent's others.
pub fn label(series: &SeriesDesc) -> String {
    let spec = &series.spec;
    let mut name = spec.metric.clone();
    if spec.part != Part::Value {
        name += &format!(" {}", spec.part);
    }
    if !spec.attributes.is_empty() {
        let pairs: Vec<String> = spec.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        name += &format!("{{{}}}", pairs.join(","));
    }
    if spec.origin == Origin::Rest && !spec.scope.name.is_empty() && spec.scope.name != HEARTBEAT {
        name = format!("{}/{name}", spec.scope.name);
    }
    name
}

/// A straight line through samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Change in an hour.
    pub per_hour: f64,
    /// The line's value at the end of the range.
    pub at_end: f64,
    /// The mean of the values.
    pub mean: f64,
    /// The line's change over the range.
    pub change: f64,
}

impl Line {
    /// The least-squares line; `None` for fewer than three points or times.
    #[allow(clippy::cast_precision_loss)]
    pub fn fit(points: &[(UnixNanos, f64)], end: UnixNanos) -> Option<Self> {
        let points: Vec<(f64, f64)> = points
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|&(time, value)| (time.since(end) as f64 / HOUR as f64, value))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let count = points.len() as f64;
        let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x / count, sy + y / count));
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            (above + (x - mean_x) * (y - mean_y), below + (x - mean_x) * (x - mean_x))
        });
        if below <= 0.0 {
            return None;
        }
        let per_hour = above / below;
        let span = points[points.len() - 1].0 - points[0].0;
        let line = Self { per_hour, at_end: mean_y - per_hour * mean_x, mean: mean_y, change: per_hour * span };
        // Values near the end of what a number can hold have sums beyond it.
        [line.per_hour, line.at_end, line.mean, line.change].iter().all(|part| part.is_finite()).then_some(line)
    }

    /// Where it goes.
    pub fn direction(&self) -> Direction {
        if self.change.abs() <= (STABLE_CHANGE * self.mean.abs()).max(f64::EPSILON) {
            Direction::Stable
        } else if self.change > 0.0 {
            Direction::Increasing
        } else {
            Direction::Decreasing
        }
    }

    /// Hours until the line reaches `bound`; 0 when it is there, `None` when it does not get there.
    pub fn hours_to(&self, bound: f64) -> Option<f64> {
        if self.at_end >= bound {
            Some(0.0)
        } else {
            let hours = (bound - self.at_end) / self.per_hour;
            (self.direction() == Direction::Increasing && hours.is_finite()).then_some(hours)
        }
    }
}

/// Trends of an agent's most telling series: typed ones first.
pub fn trends(
    rest: &Rest,
    agent: &AgentDesc,
    start: UnixNanos,
    end: UnixNanos,
    predict: bool,
) -> Result<BTreeMap<String, SeriesTrend>, StoreError> {
    let mut series = rest.registry.series_of(agent.id);
    series.retain(|series| {
        let rises_only = matches!(series.spec.shape, Shape::Cumulative { monotonic: true } | Shape::Delta { .. });
        !rises_only && series.spec.part == Part::Value
    });
    series.sort_by_key(|series| (series.spec.kind == MetricKind::Custom, series.id));
    let mut found = BTreeMap::new();
    for series in series.iter().take(MOST_SERIES) {
        let grid = Grid::of(rest, series, start, end, TREND_POINTS)?;
        let means = Means { points: &grid.ask(rest, series, Aggregation::Mean)?, step: grid.step(), end: grid.end() };
        if let Some(trend) = trend(rest, series, &means, end, predict)? {
            found.insert(label(series), trend);
        }
    }
    Ok(found)
}

/// A series' mean in each step that has values.
pub struct Means<'a> {
    /// The start of the step, and the mean.
    pub points: &'a [(UnixNanos, f64)],
    pub step: i64,
    /// The end of what was asked for, which may cut the last step.
    pub end: UnixNanos,
}

impl Means<'_> {
    fn end_of(&self, start: UnixNanos) -> UnixNanos {
        start.plus(self.step).min(self.end)
    }

    /// Each mean at the middle of its step: at its start, the line would lie half a step early.
    fn centred(&self) -> Vec<(UnixNanos, f64)> {
        let middle = |start: UnixNanos| start.plus(self.end_of(start).since(start) / 2);
        self.points.iter().map(|&(start, mean)| (middle(start), mean)).collect()
    }

    /// The last value itself.
    fn last(&self, rest: &Rest, series: &SeriesDesc) -> Result<Option<f64>, StoreError> {
        let Some(&(start, _)) = self.points.last() else { return Ok(None) };
        let (end, step) = (self.end_of(start), Some((self.step, Aggregation::Last)));
        let found = rest.store.samples(&SampleQuery { series: series.id, start, end, step, limit: 1 })?;
        Ok(found.last().map(|&(_, value)| value).filter(|value| value.is_finite()))
    }
}

/// The trend of a series through its means, at `end`; none if they are too few for a line.
pub fn trend(
    rest: &Rest,
    series: &SeriesDesc,
    means: &Means<'_>,
    end: UnixNanos,
    predict: bool,
) -> Result<Option<SeriesTrend>, StoreError> {
    let Some(line) = Line::fit(&means.centred(), end) else { return Ok(None) };
    let bounds = bounds(&rest.config.thresholds, series);
    let hours_to = |at: usize| predict.then(|| line.hours_to(bounds?[at]));
    Ok(Some(SeriesTrend {
        metric_type: series.spec.kind.name().to_owned(),
        unit: series.spec.unit.clone(),
        slope_per_hour: line.per_hour,
        direction: line.direction(),
        mean: line.mean,
        last: means.last(rest, series)?,
        points: means.points.len(),
        hours_to_warning: hours_to(0),
        hours_to_critical: hours_to(1),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let points: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0 + hour as f64)).collect();
        let line = Line::fit(&points, UnixNanos(9 * HOUR)).unwrap();
        assert!((line.per_hour - 1.0).abs() < 1e-9 && (line.at_end - 59.0).abs() < 1e-9, "{line:?}");
        assert_eq!(line.direction(), Direction::Increasing);
        assert!((line.hours_to(80.0).unwrap() - 21.0).abs() < 1e-6);
        assert_eq!(line.hours_to(59.0), Some(0.0));
        let flat: Vec<(UnixNanos, f64)> = (0..10).map(|hour| (UnixNanos(hour * HOUR), 50.0)).collect();
        let line = Line::fit(&flat, UnixNanos(9 * HOUR)).unwrap();
        assert_eq!((line.direction(), line.hours_to(80.0)), (Direction::Stable, None));
        assert_eq!(Line::fit(&flat[..2], UnixNanos(0)), None);
        assert_eq!(Line::fit(&[flat[0], flat[0], flat[0]], UnixNanos(0)), None);
    }
}
