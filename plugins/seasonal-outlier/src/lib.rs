//! Incidents by the whole past of each series; the rule is `vitals_core::rules::seasonal`.

use vitals_core::rules::seasonal::{SeasonalConfig, SeasonalDetector};
use vitals_plugin::{Detector, Finding, Plugin, Row, Select, Wants, config_schema};

struct SeasonalOutlier {
    config: SeasonalConfig,
    detector: SeasonalDetector,
}

impl Plugin for SeasonalOutlier {
    const NAME: &'static str = "seasonal-outlier";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = SeasonalConfig;

    fn new(config: SeasonalConfig) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, detector: SeasonalDetector::new(config) })
    }

    fn config_schema() -> String {
        config_schema(&SeasonalConfig::default(), false)
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
        self.detector = SeasonalDetector::restore(self.config, state).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Detector for SeasonalOutlier {
    fn judge(&mut self, row: Row) -> Option<Finding> {
        let found = self.detector.judge(row.series, row.time, row.value)?;
        Some(Finding { lower: found.lower, upper: found.upper, score: found.score, window: found.values })
    }
}

vitals_plugin::outlier_detector!(SeasonalOutlier);
