//! Which columns hold integers.
//!
//! InfluxDB gives a field one type in a measurement, that of its first value, and refuses the others. So the first type
//! that this service writes is kept, durably and before it is written; numbers that do not fit go to a column beside.

use super::layout::Place;
use crate::store::shared::Shared;
use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;
use vitals_core::store::StoreError;

/// The types of all columns, and which series use two of them.
pub(super) struct Types {
    known: RwLock<HashMap<String, HashMap<String, bool>>>,
    split: RwLock<HashSet<u32>>,
}

impl Types {
    pub(super) fn new(columns: Vec<(String, String, bool)>, split: Vec<u32>) -> Self {
        let mut known: HashMap<String, HashMap<String, bool>> = HashMap::new();
        for (measurement, field, integer) in columns {
            known.entry(measurement).or_default().insert(field, integer);
        }
        Self { known: RwLock::new(known), split: RwLock::new(split.into_iter().collect()) }
    }

    /// Whether the column of `place` holds integers; `None` when nothing was written to it yet.
    fn get(&self, place: &Place) -> Option<bool> {
        self.known.read().get(&place.measurement)?.get(&place.field).copied()
    }

    /// The same; decided now if it was not before.
    pub(super) fn decide(&self, shared: &Shared, place: &Place) -> Result<bool, StoreError> {
        if let Some(known) = self.get(place) {
            return Ok(known);
        }
        shared.learn_column(&place.measurement, &place.field, place.integer)?;
        let mut known = self.known.write();
        known.entry(place.measurement.clone()).or_default().insert(place.field.clone(), place.integer);
        Ok(place.integer)
    }

    pub(super) fn is_split(&self, series: u32) -> bool {
        self.split.read().contains(&series)
    }

    /// Lets a series use the column beside its own.
    pub(super) fn split(&self, shared: &Shared, series: u32) -> Result<(), StoreError> {
        shared.learn_split(series)?;
        self.split.write().insert(series);
        Ok(())
    }

    /// The columns that hold what was written of a series.
    pub(super) fn of(&self, place: &Place, series: u32) -> Vec<String> {
        place.columns(self.get(place).unwrap_or(place.integer), self.is_split(series))
    }
}
