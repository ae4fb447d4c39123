//! The rules of the domain as other crates see them: tables and properties over the public items of `vitals-core`.

#![allow(clippy::unwrap_used)] // a test may

mod access;
mod alerts;
mod attributes;
mod availability;
mod columns;
mod health;
mod live_state;
mod names;
mod outliers;
mod packed_state;
mod people;
mod registry;
mod settings;
mod streams;
mod units;
mod vital_roles;
