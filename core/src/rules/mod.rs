//! The formulas. Each module names its source.

pub mod alerts;
pub mod forecast;
pub mod health;
pub mod incidents;
pub mod iqr;
mod math;
pub mod outlier_alerts;
pub mod pack;
pub mod percent;
pub mod quality;
pub mod rate;
pub mod seasonal;
pub mod sla;
pub mod streams;
pub mod thresholds;
pub mod timeout;
pub mod units;
