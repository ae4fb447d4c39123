//! What the hostile guests share: a detector whose answer is written by hand.

pub use vitals_plugin;
use vitals_plugin::Finding;
pub use vitals_plugin::worlds::outlier_detector::exports::vitals::plugin::detecting::Findings;

/// A plugin without configuration and state.
#[macro_export]
macro_rules! plain {
    ($name:literal) => {
        struct Guest;

        impl $crate::vitals_plugin::Plugin for Guest {
            const NAME: &'static str = $name;
            const VERSION: &'static str = "1.0.0";
            type Config = $crate::Nothing;

            fn new(_: $crate::Nothing) -> Result<Self, String> {
                Ok(Self)
            }
        }
    };
}

/// A detector that does `$judge` with each row and finds what it returns.
#[macro_export]
macro_rules! detector {
    ($name:literal, $judge:expr) => {
        $crate::plain!($name);

        impl $crate::vitals_plugin::Detector for Guest {
            fn judge(&mut self, row: $crate::vitals_plugin::Row) -> Option<$crate::vitals_plugin::Finding> {
                let judge: fn($crate::vitals_plugin::Row) -> Option<$crate::vitals_plugin::Finding> = $judge;
                judge(row)
            }
        }

        $crate::vitals_plugin::outlier_detector!(Guest);
    };
}

/// A detector that answers each batch with `$answer`.
#[macro_export]
macro_rules! liar {
    ($name:literal, $answer:expr) => {
        $crate::plain!($name);
        use $crate::vitals_plugin;
        use $crate::vitals_plugin::worlds::outlier_detector as world;

        $crate::vitals_plugin::__lifecycle!(Guest, outlier_detector);
        $crate::vitals_plugin::__watching!(outlier_detector);

        impl world::exports::vitals::plugin::detecting::Guest for Exported {
            fn detect(_: Vec<u32>, _: Vec<i64>, _: Vec<f64>) -> $crate::Findings {
                slot(|_| $answer)
            }

            fn tick(_: i64) -> $crate::Findings {
                slot(|_| $answer)
            }
        }

        world::export_outlier_detector!(Exported);
    };
}

/// `{}`.
#[derive(vitals_plugin::serde::Deserialize)]
#[serde(crate = "vitals_plugin::serde")]
pub struct Nothing {}

/// A finding that a guest answers when it got something that it must not get. Its window has a bit for each attempt.
#[must_use]
pub fn got(attempts: &[bool]) -> Option<Finding> {
    let bits = (0..).zip(attempts).map(|(bit, &got)| u32::from(got) << bit).sum();
    (bits != 0).then_some(Finding { lower: 0.0, upper: 1.0, score: 1.0, window: bits })
}

/// Columns of so many rows, each after the other.
#[must_use]
pub fn findings(rows: Vec<u32>, others: usize, score: f64) -> Findings {
    Findings {
        subjects: rows,
        lower: vec![0.0; others],
        upper: vec![1.0; others],
        scores: vec![score; others],
        windows: vec![1; others],
    }
}
