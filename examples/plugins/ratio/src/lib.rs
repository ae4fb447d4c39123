//! A ratio of two metrics as a series of its own: the values of `part` over those of `whole` at the same time, for series of one
//! agent with the same attributes, e.g. `app.pool.used` over `app.pool.size` as `app.pool.used.ratio`.

use std::collections::{BTreeMap, HashMap};
use vitals_plugin::{Deriver, Plugin, Row, Samples, Select, SeriesInfo, Wants, config_schema};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The metric above the line.
    part: String,
    /// The metric below it.
    whole: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { part: "app.pool.used".to_owned(), whole: "app.pool.size".to_owned() }
    }
}

struct Ratio {
    config: Config,
    /// The series of each metric, by agent and attributes.
    pairs: HashMap<(u32, Vec<(String, String)>), usize>,
    ratios: Vec<Pair>,
    /// By series number: the index of its pair.
    of_series: Vec<Option<usize>>,
}

/// Two series, and the ratio that is made of them.
#[derive(Default)]
struct Pair {
    part: Option<u32>,
    whole: Option<u32>,
    output: Option<u32>,
    /// By time: the values of `part` and of `whole` that wait for the other one.
    waiting: [BTreeMap<i64, f64>; 2],
}

/// Most values that wait for the other one.
const MOST_WAITING: usize = 1000;

impl Plugin for Ratio {
    const NAME: &'static str = "ratio";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;

    fn config_schema() -> String {
        config_schema(&Config::default(), false)
    }

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self { config, pairs: HashMap::new(), ratios: Vec::new(), of_series: Vec::new() })
    }

    fn wants(&self) -> Wants {
        let metrics = vec![self.config.part.clone(), self.config.whole.clone()];
        Wants { selects: vec![Select { metrics, ..Select::default() }], ..Wants::default() }
    }

    fn open(&mut self, series: SeriesInfo) {
        let count = self.ratios.len();
        let at = *self.pairs.entry((series.agent, series.attributes)).or_insert(count);
        if at == count {
            self.ratios.push(Pair::default());
        }
        let pair = &mut self.ratios[at];
        let place = if series.metric == self.config.part { &mut pair.part } else { &mut pair.whole };
        *place = Some(series.number);
        let number = series.number as usize;
        if number >= self.of_series.len() {
            self.of_series.resize(number + 1, None);
        }
        self.of_series[number] = Some(at);
    }

    fn close(&mut self, number: u32) {
        let Some(at) = self.of_series.get_mut(number as usize).and_then(Option::take) else { return };
        let pair = &mut self.ratios[at];
        for place in [&mut pair.part, &mut pair.whole] {
            place.take_if(|open| *open == number);
        }
        pair.waiting.iter_mut().for_each(BTreeMap::clear);
        // What is left has one source, and no ratio.
        pair.output = None;
    }
}

impl Deriver for Ratio {
    fn derive(&mut self, row: Row, out: &mut Samples) {
        let Some(at) = self.of_series.get(row.series as usize).copied().flatten() else { return };
        let pair = &mut self.ratios[at];
        let (Some(part), Some(whole)) = (pair.part, pair.whole) else { return };
        // A batch has all rows of one series before those of another.
        let own = &mut pair.waiting[usize::from(row.series == whole)];
        own.insert(row.time, row.value);
        if own.len() > MOST_WAITING {
            own.pop_first();
        }
        let at = |values: &BTreeMap<i64, f64>| values.get(&row.time).copied();
        let (Some(above), Some(below)) = (at(&pair.waiting[0]), at(&pair.waiting[1])) else { return };
        pair.waiting.iter_mut().for_each(|values| *values = values.split_off(&(row.time + 1)));
        if below == 0.0 {
            return;
        }
        let name = || format!("{}.ratio", self.config.part);
        let output = *pair.output.get_or_insert_with(|| out.declare_from(vec![part, whole], name(), "1".to_owned()));
        out.push(output, above / below);
    }
}

vitals_plugin::metric_deriver!(Ratio);
