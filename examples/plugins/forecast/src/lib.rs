//! Where a gauge will be, as a series of its own: `disk.used` leads to `disk.used.forecast`, the value that a straight line through the
//! recent values has `ahead_seconds` later. A forecast is made at each tick and has its time, so that thresholds on it work.

use std::collections::VecDeque;
use vitals_plugin::{Deriver, Plugin, Row, Samples, Select, SeriesInfo, Shape, Wants, config_schema};

const SECOND: f64 = 1e9;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The metrics to look at; `*` stands for any characters.
    metrics: Vec<String>,
    /// How far ahead, seconds.
    ahead_seconds: u32,
    /// How many values the line is laid through.
    window: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { metrics: vec!["*".to_owned()], ahead_seconds: 4 * 3600, window: 60 }
    }
}

struct Forecast {
    config: Config,
    /// By series number.
    series: Vec<Option<Gauge>>,
}

struct Gauge {
    metric: String,
    unit: String,
    output: Option<u32>,
    values: VecDeque<(i64, f64)>,
}

impl Plugin for Forecast {
    const NAME: &'static str = "forecast";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;

    fn config_schema() -> String {
        config_schema(&Config::default(), false)
    }

    fn new(config: Config) -> Result<Self, String> {
        if !(2..=1000).contains(&config.window) {
            return Err(format!("window is {}, must be 2 to 1000", config.window));
        }
        Ok(Self { config, series: Vec::new() })
    }

    fn wants(&self) -> Wants {
        let gauges = Select { metrics: self.config.metrics.clone(), shapes: vec![Shape::Gauge], ..Select::default() };
        Wants { selects: vec![gauges], interval_seconds: 60, ..Wants::default() }
    }

    fn open(&mut self, series: SeriesInfo) {
        let at = series.number as usize;
        if at >= self.series.len() {
            self.series.resize_with(at + 1, || None);
        }
        let new = Gauge { metric: series.metric, unit: series.unit, output: None, values: VecDeque::new() };
        self.series[at].get_or_insert(new);
    }

    fn close(&mut self, number: u32) {
        if let Some(gauge) = self.series.get_mut(number as usize) {
            *gauge = None;
        }
    }
}

impl Deriver for Forecast {
    fn derive(&mut self, row: Row, _: &mut Samples) {
        let Some(Some(gauge)) = self.series.get_mut(row.series as usize) else { return };
        if row.value.is_finite() {
            gauge.values.push_back((row.time, row.value));
            if gauge.values.len() > self.config.window {
                gauge.values.pop_front();
            }
        }
    }

    fn tick(&mut self, now: i64, out: &mut Samples) {
        for (number, gauge) in (0..).zip(&mut self.series) {
            let Some(gauge) = gauge else { continue };
            let Some(value) = line_at(&gauge.values, now, f64::from(self.config.ahead_seconds)) else { continue };
            let name = || format!("{}.forecast", gauge.metric);
            let unit = gauge.unit.clone();
            let output = *gauge.output.get_or_insert_with(|| out.declare(number, name(), unit));
            out.push(output, value);
        }
    }
}

/// The value of the line of least squares, so many seconds after `now`.
fn line_at(values: &VecDeque<(i64, f64)>, now: i64, ahead: f64) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let count = values.len() as f64;
    let points = || values.iter().map(|&(time, value)| ((time - now) as f64 / SECOND, value));
    let (sum_x, sum_y) = points().fold((0.0, 0.0), |(x, y), (dx, dy)| (x + dx, y + dy));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points() {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x).powi(2);
    }
    (below > 0.0).then(|| mean_y + above / below * (ahead - mean_x))
}

vitals_plugin::metric_deriver!(Forecast);
