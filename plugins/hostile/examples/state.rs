//! It finds every value, and the window of a finding is the state that it restored, or 0. The last value of a row says what
//! `snapshot` does (its last digit), the configuration what `restore` does.

use vitals_plugin::serde::Deserialize;
use vitals_plugin::{Detector, Finding, Plugin, Row};

struct Guest {
    config: Config,
    mode: u8,
    restored: u32,
}

#[derive(Deserialize)]
#[serde(crate = "vitals_plugin::serde")]
struct Config {
    #[serde(default)]
    spin: bool,
    #[serde(default)]
    trap: bool,
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

impl Plugin for Guest {
    const NAME: &'static str = "state";
    const VERSION: &'static str = "1.0.0";
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self { config, mode: 0, restored: 0 })
    }

    fn snapshot(&self) -> Vec<u8> {
        match self.mode {
            1 => vec![1; 8 << 20],
            2 => panic!("on purpose"),
            3 => spin(),
            _ => vec![7],
        }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        if self.config.spin {
            spin();
        }
        assert!(!self.config.trap, "on purpose");
        self.restored = state.iter().map(|&byte| u32::from(byte)).sum();
        Ok(())
    }
}

impl Detector for Guest {
    fn judge(&mut self, row: Row) -> Option<Finding> {
        self.mode = (row.value % 10.0) as u8;
        Some(Finding { lower: 0.0, upper: 1.0, score: 1.0, window: self.restored })
    }
}

vitals_plugin::outlier_detector!(Guest);
