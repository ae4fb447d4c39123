//! Series that went silent: one finding when nothing came of a series for `after_seconds`, and a line in the log.
//!
//! It is called without data, keeps a state, and has settings for groups of agents.

use std::collections::BTreeMap;
use vitals_plugin::{Detector, Finding, Level, Plugin, Row, SeriesInfo, Wants, config_schema, log};

const SECOND: i64 = 1_000_000_000;

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// How long nothing may come.
    after_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { after_seconds: 60 }
    }
}

struct Silence {
    config: Config,
    /// Keys and configurations of agents.
    agents: BTreeMap<u32, (String, Config)>,
    /// By series: its agent and its metric.
    series: BTreeMap<u32, (u32, String)>,
    /// By series: the time of its last value, and whether its silence was told.
    last: BTreeMap<u32, (i64, bool)>,
}

impl Plugin for Silence {
    const NAME: &'static str = "silence";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = Config;

    fn config_schema() -> String {
        config_schema(&Config::default(), true)
    }

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self { config, agents: BTreeMap::new(), series: BTreeMap::new(), last: BTreeMap::new() })
    }

    fn wants(&self) -> Wants {
        Wants { interval_seconds: 10, ..Wants::default() }
    }

    fn open_agent(&mut self, number: u32, key: &str, config: Option<Config>) -> Result<(), String> {
        self.agents.insert(number, (key.to_owned(), config.unwrap_or(self.config)));
        Ok(())
    }

    fn close_agent(&mut self, number: u32) {
        if let Some((key, _)) = self.agents.remove(&number) {
            log(Level::Info, &format!("{key} is gone"));
        }
    }

    fn open(&mut self, series: SeriesInfo) {
        self.series.insert(series.number, (series.agent, series.metric));
    }

    fn close(&mut self, number: u32) {
        self.series.remove(&number);
        self.last.remove(&number);
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut state = Vec::new();
        for (series, (time, told)) in &self.last {
            state.extend(series.to_le_bytes());
            state.extend(time.to_le_bytes());
            state.push(u8::from(*told));
        }
        state
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        for entry in state.chunks(13) {
            let whole: &[u8; 13] = entry.try_into().map_err(|_| "the state is cut off".to_owned())?;
            let (series, rest) = whole.split_at(4);
            let (time, told) = rest.split_at(8);
            let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            self.last.insert(number(series) as u32, (number(time) as i64, told[0] == 1));
        }
        Ok(())
    }
}

impl Detector for Silence {
    fn judge(&mut self, row: Row) -> Option<Finding> {
        self.last.insert(row.series, (row.time, false));
        None
    }

    fn tick(&mut self, now: i64) -> Vec<(u32, Finding)> {
        let mut found = Vec::new();
        for (&number, (time, told)) in &mut self.last {
            let Some((agent, metric)) = self.series.get(&number) else { continue };
            let Some((key, config)) = self.agents.get(agent) else { continue };
            let allowed = i64::from(config.after_seconds) * SECOND;
            if *told || now - *time <= allowed {
                continue;
            }
            *told = true;
            log(Level::Warn, &format!("{metric} of {key} is silent"));
            let seconds = (now - *time) as f64 / SECOND as f64;
            let limit = f64::from(config.after_seconds);
            found.push((number, Finding { lower: 0.0, upper: limit, score: seconds / limit, window: 1 }));
        }
        found
    }
}

vitals_plugin::outlier_detector!(Silence);
