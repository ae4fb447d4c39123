//! It makes a new series for each row, named by the row's value, and panics at every tenth.

use vitals_plugin::{Deriver, Plugin, Row, Samples, Select, Shape, Wants};

struct Guest;

impl Plugin for Guest {
    const NAME: &'static str = "many-series";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        Ok(Self)
    }

    fn wants(&self) -> Wants {
        // Without the rates, which are derived from the counters before.
        Wants { selects: vec![Select { shapes: vec![Shape::Counter], ..Select::default() }], ..Wants::default() }
    }
}

impl Deriver for Guest {
    fn derive(&mut self, row: Row, out: &mut Samples) {
        let output = out.declare(row.series, format!("made.{}", row.value), "1".to_owned());
        out.push(output, row.value);
        assert!(row.value % 10.0 != 9.0, "on purpose");
    }
}

vitals_plugin::metric_deriver!(Guest);
