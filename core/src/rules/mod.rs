//! The formulas. Each module names its source.

pub mod quality;
pub mod thresholds;
pub mod timeout;
