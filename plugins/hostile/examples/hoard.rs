//! It takes and keeps a megabyte for each row.

use vitals_plugin::{Detector, Finding, Plugin, Row};

struct Guest(Vec<Vec<u8>>);

impl Plugin for Guest {
    const NAME: &'static str = "hoard";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        Ok(Self(Vec::new()))
    }
}

impl Detector for Guest {
    fn judge(&mut self, _: Row) -> Option<Finding> {
        self.0.push(std::hint::black_box(vec![1; 1 << 20]));
        hostile::got(&[true])
    }
}

vitals_plugin::outlier_detector!(Guest);
