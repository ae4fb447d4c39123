//! Write `vitals` plugins in Rust.
//!
//! Implement [`Plugin`] and one of [`Deriver`], [`Detector`], [`Scorer`] or [`Evaluator`], name the type in the
//! macro of that kind, and build a `cdylib` for `wasm32-wasip2`:
//!
//! ```ignore
//! use vitals_plugin::{Detector, Finding, Plugin, Row};
//!
//! struct TooHot {
//!     limit: f64,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     limit: f64,
//! }
//!
//! impl Plugin for TooHot {
//!     const NAME: &'static str = "too-hot";
//!     const VERSION: &'static str = env!("CARGO_PKG_VERSION");
//!     type Config = Config;
//!
//!     fn new(config: Config) -> Result<Self, String> {
//!         Ok(Self { limit: config.limit })
//!     }
//! }
//!
//! impl Detector for TooHot {
//!     fn judge(&mut self, row: Row) -> Option<Finding> {
//!         let over = row.value - self.limit;
//!         (over > 0.0).then(|| Finding { lower: f64::MIN, upper: self.limit, score: over, window: 0 })
//!     }
//! }
//!
//! vitals_plugin::outlier_detector!(TooHot);
//! ```
//!
//! The contract itself, with units and ranges, is `wit/vitals.wit`.

mod describe;
#[doc(hidden)]
pub mod glue;
mod kinds;
#[doc(hidden)]
pub mod worlds {
    pub use vitals_world_common as shared;
    pub use vitals_world_health_scorer as health_scorer;
    pub use vitals_world_metric_deriver as metric_deriver;
    pub use vitals_world_outlier_detector as outlier_detector;
    pub use vitals_world_sla_evaluator as sla_evaluator;
}

pub use describe::{Select, Wants, config_schema, random};
pub use kinds::{Agent, Deriver, Detector, Evaluator, Finding, Objective, Plugin, Report, Row, Samples, Score, Scorer};
pub use serde;
pub use worlds::shared::vitals::plugin::log::{Level, write as log};
pub use worlds::shared::vitals::plugin::types::{HealthStatus, Origin, Part, Risk, Shape};

/// What is known of a series; made from what the host tells.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesInfo {
    /// Its number: small and dense, an index into a vector of states.
    pub number: u32,
    /// The number of its agent.
    pub agent: u32,
    /// The metric's name.
    pub metric: String,
    /// The unit in UCUM.
    pub unit: String,
    /// The typed kind, e.g. `cpu_usage`.
    pub kind: String,
    /// How its values follow one another.
    pub shape: Shape,
    /// Which number of the metric's points it carries.
    pub part: Part,
    /// The upper bound of a bucket, or the quantile; NaN for other parts.
    pub bound: f64,
    /// Where it comes from.
    pub origin: Origin,
    /// Where chance starts for this series; see [`random`].
    pub seed: u64,
    /// The point's attributes, sorted by key.
    pub attributes: Vec<(String, String)>,
    /// The resource's attributes, sorted by key.
    pub resource_attributes: Vec<(String, String)>,
}
