//! It makes samples of a series that it never declared.

use vitals_plugin::{Deriver, Row, Samples};

hostile::plain!("invalid-output");

impl Deriver for Guest {
    fn derive(&mut self, _: Row, out: &mut Samples) {
        out.push(7, 1.0);
    }
}

vitals_plugin::metric_deriver!(Guest);
