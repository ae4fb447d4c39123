//! It finds every value, and panics when it is to forget a series.

use vitals_plugin::{Detector, Finding, Plugin, Row};

struct Guest;

impl Plugin for Guest {
    const NAME: &'static str = "trap-close";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        Ok(Self)
    }

    fn close(&mut self, _: u32) {
        panic!("on purpose")
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![1]
    }
}

impl Detector for Guest {
    fn judge(&mut self, _: Row) -> Option<Finding> {
        hostile::got(&[true])
    }
}

vitals_plugin::outlier_detector!(Guest);
