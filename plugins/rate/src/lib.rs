//! Rates of counters as series of their own; the rule is `vitals_core::rules::rate`.
//!
//! From `requests` comes `requests.rate`; from the count and the sum of a histogram `latency` come
//! `latency.count.rate` and `latency.sum.rate`. Buckets are left out: their rates would be many and say little.

use vitals_core::rules::rate::{RateConfig, Rates, unit_of_rate};
use vitals_plugin::{Deriver, Part, Plugin, Row, Samples, Select, SeriesInfo, Shape, Wants, config_schema};

struct Rate {
    config: RateConfig,
    rates: Rates,
    /// By series number.
    outputs: Vec<RateOutput>,
}

#[derive(Clone, Default)]
enum RateOutput {
    /// Not a counter, or not known.
    #[default]
    None,
    /// A counter, no rate so far.
    Named { metric: String, unit: String },
    /// The number of the derived series.
    Declared(u32),
}

impl Plugin for Rate {
    const NAME: &'static str = "rate";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = RateConfig;

    fn new(config: RateConfig) -> Result<Self, String> {
        Ok(Self { config, rates: Rates::new(config), outputs: Vec::new() })
    }

    fn config_schema() -> String {
        config_schema(&RateConfig::default(), false)
    }

    fn wants(&self) -> Wants {
        let counters = Select {
            shapes: vec![Shape::Counter],
            parts: vec![Part::Value, Part::Count, Part::Sum],
            ..Select::default()
        };
        Wants { selects: vec![counters], ..Wants::default() }
    }

    fn open(&mut self, series: SeriesInfo) {
        let at = series.number as usize;
        if at >= self.outputs.len() {
            self.outputs.resize(at + 1, RateOutput::None);
        }
        let suffix = match (series.shape, series.part) {
            (Shape::Counter, Part::Value) => "rate",
            (Shape::Counter, Part::Count) => "count.rate",
            (Shape::Counter, Part::Sum) => "sum.rate",
            _ => return,
        };
        // A histogram counts events, whatever unit its values have.
        let unit = if matches!(series.part, Part::Count) { "1" } else { &series.unit };
        self.outputs[at] =
            RateOutput::Named { metric: format!("{}.{suffix}", series.metric), unit: unit_of_rate(unit) };
    }

    fn close(&mut self, number: u32) {
        self.rates.close(number);
        if let Some(output) = self.outputs.get_mut(number as usize) {
            *output = RateOutput::None;
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        self.rates.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.rates = Rates::restore(self.config, state).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Deriver for Rate {
    fn derive(&mut self, row: Row, out: &mut Samples) {
        let Some(output) = self.outputs.get_mut(row.series as usize) else { return };
        if matches!(output, RateOutput::None) {
            return;
        }
        let Some(rate) = self.rates.step(row.series, row.time, row.value) else { return };
        let number = match std::mem::take(output) {
            RateOutput::None => return,
            RateOutput::Named { metric, unit } => out.declare(row.series, metric, unit),
            RateOutput::Declared(number) => number,
        };
        *output = RateOutput::Declared(number);
        out.push(number, rate);
    }
}

vitals_plugin::metric_deriver!(Rate);
