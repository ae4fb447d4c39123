//! Outliers by the interquartile range over each series' own past; the rule is `vitals_core::rules::iqr`.

use vitals_core::rules::iqr;
use vitals_plugin::{Detector, Finding, Plugin, Row, Select, Wants, config_schema};

struct Iqr {
    config: iqr::IqrConfig,
    detector: iqr::Detector,
}

impl Plugin for Iqr {
    const NAME: &'static str = "iqr-outlier";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = iqr::IqrConfig;

    fn new(config: iqr::IqrConfig) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, detector: iqr::Detector::new(config) })
    }

    fn config_schema() -> String {
        config_schema(&iqr::IqrConfig::default(), false)
    }

    fn wants(&self) -> Wants {
        Wants { selects: vec![Select::levels()], ..Wants::default() }
    }

    fn close(&mut self, number: u32) {
        self.detector.close(number);
    }

    fn snapshot(&self) -> Vec<u8> {
        self.detector.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.detector = iqr::Detector::restore(self.config, state).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Detector for Iqr {
    fn judge(&mut self, row: Row) -> Option<Finding> {
        let found = self.detector.judge(row.series, row.time, row.value)?;
        Some(Finding { lower: found.lower, upper: found.upper, score: found.score, window: found.window })
    }
}

vitals_plugin::outlier_detector!(Iqr);
