//! The formulas. Each module names its source.
