//! It finds each row, with what clocks, entropy and the seed of the series say.

use std::time::{Instant, SystemTime};
use vitals_plugin::{Detector, Finding, Plugin, Row, SeriesInfo, random};

// The standard library asks for entropy once and counts on from there; this asks each time.
#[allow(missing_docs)]
mod entropy {
    wit_bindgen::generate!({
        inline: "
            package wasi:random@0.2.1;

            interface random {
                get-random-u64: func() -> u64;
                get-random-bytes: func(len: u64) -> list<u8>;
            }

            world entropy {
                import random;
            }
        ",
        generate_all,
    });
}

use entropy::wasi::random::random::{get_random_bytes, get_random_u64};

struct Guest {
    start: Instant,
    /// By series number.
    seeds: Vec<u64>,
}

impl Plugin for Guest {
    const NAME: &'static str = "clock-and-chance";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        Ok(Self { start: Instant::now(), seeds: Vec::new() })
    }

    fn open(&mut self, series: SeriesInfo) {
        let at = series.number as usize;
        self.seeds.resize(self.seeds.len().max(at + 1), 0);
        self.seeds[at] = series.seed;
    }
}

impl Detector for Guest {
    fn judge(&mut self, row: Row) -> Option<Finding> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(-1.0, |time| time.as_secs_f64());
        let bytes = get_random_bytes(3);
        let chance = get_random_u64() ^ u64::from_le_bytes([bytes[0], bytes[1], bytes[2], 0, 0, 0, 0, 0]);
        let drawn = random(self.seeds[row.series as usize], row.time);
        // A clock that counts from somewhere must count from the same place in a replay.
        let _ = self.start;
        Some(Finding { lower: time, upper: f64::INFINITY, score: (chance >> 11) as f64, window: drawn as u32 })
    }
}

vitals_plugin::outlier_detector!(Guest);
