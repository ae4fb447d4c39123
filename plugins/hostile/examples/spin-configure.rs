//! It never comes back from taking its configuration.

use vitals_plugin::{Detector, Finding, Plugin, Row};

struct Guest;

impl Plugin for Guest {
    const NAME: &'static str = "spin-configure";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        loop {
            std::hint::spin_loop();
        }
    }
}

impl Detector for Guest {
    fn judge(&mut self, _: Row) -> Option<Finding> {
        hostile::got(&[true])
    }
}

vitals_plugin::outlier_detector!(Guest);
