//! The rows of a batch: which are new, to which tenant they belong, and which plugins they are shown to.

use super::plugins::LoadedPlugins;
use super::shared::Shared;
use crate::evaluate::series_tracker::{Arrived, Kept, RowCounts, SeriesTracker, flag};
use crate::evaluate::sort::{self, Sorter};
use std::sync::Arc;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{SeriesId, UnixNanos};

/// Rows of one tenant in the current batch.
#[derive(Default)]
pub(super) struct TenantRows {
    /// New rows, in order of arrival.
    pub(super) new: Columns,
    /// For each new row its value to plugins and thresholds: counters have their resets made good.
    pub(super) totals: Vec<f64>,
    /// Rows that are only stored: before the latest of their series, or ahead of their arrival.
    unjudged: Columns,
    /// The records that the new rows came with: the first row of each, and its arrival.
    arrivals: Vec<(usize, UnixNanos)>,
}

/// Routes rows to their tenants, and from there to derivers and detectors.
#[derive(Default)]
pub(super) struct RowRouter {
    by_tenant: Vec<TenantRows>,
    sorter: Sorter,
    derive: Columns,
    detect: Columns,
    merged: Columns,
    /// The rows that were sorted last, as they came, with their records.
    sorted_from: (Columns, Vec<(usize, UnixNanos)>),
}

/// One tenant's new rows, sorted by (series, time).
pub(super) struct SortedRows {
    /// As they came, for the store.
    pub(super) rows: Columns,
    totals: Vec<f64>,
}

impl RowRouter {
    /// Makes room for one more tenant.
    pub(super) fn add_tenant(&mut self) {
        self.by_tenant.push(TenantRows::default());
    }

    pub(super) fn of_tenant(&self, tenant: usize) -> &TenantRows {
        &self.by_tenant[tenant]
    }

    /// Adds the new rows of a record to those of its tenant.
    pub(super) fn select_new_rows(
        &mut self,
        tenant: usize,
        (rows, starts): (&Columns, &Starts),
        received: UnixNanos,
        series: &mut SeriesTracker,
        shared: &Shared,
    ) -> RowCounts {
        let TenantRows { new, totals, unjudged, arrivals } = &mut self.by_tenant[tenant];
        arrivals.push((new.len(), received));
        let present = received.plus(shared.config.max_ahead()).0;
        series.select_new_rows(Arrived { rows, starts, present }, &mut Kept { fresh: new, totals, unjudged })
    }

    /// Takes a tenant's rows; those that are only stored go to the output, new ones come back sorted.
    pub(super) fn take_sorted(&mut self, tenant: usize, shared: &mut Shared) -> Option<SortedRows> {
        let TenantRows { new, totals, unjudged, arrivals } = &mut self.by_tenant[tenant];
        if !unjudged.is_empty() {
            shared.out.samples.push(Arc::new(sort::fully(unjudged)));
            unjudged.clear();
        }
        if new.is_empty() {
            arrivals.clear();
            return None;
        }
        let (rows, sorted_totals) = self.sorter.both_by_series(new, totals);
        std::mem::swap(&mut self.sorted_from.0, new);
        std::mem::swap(&mut self.sorted_from.1, arrivals);
        new.clear();
        arrivals.clear();
        totals.clear();
        Some(SortedRows { rows, totals: sorted_totals })
    }

    /// With which record of the batch a row came that was sorted last, and when. It looks through the batch, so it is for few rows.
    pub(super) fn arrival_of(&self, series: SeriesId, time: UnixNanos) -> Option<(usize, UnixNanos)> {
        let (rows, arrivals) = &self.sorted_from;
        let mut places = rows.series.iter().zip(&rows.times);
        let row = places.position(|(&id, &at)| id == series.0 && at == time.0)?;
        let record = arrivals.partition_point(|&(first, _)| first <= row).checked_sub(1)?;
        Some((record, arrivals.get(record)?.1))
    }

    /// Splits rows into the derivers' and the detectors' batch, and tells the plugins of series that they do not know.
    pub(super) fn split(
        &mut self,
        sorted: &SortedRows,
        plugins: &mut LoadedPlugins<'_>,
        series: &mut SeriesTracker,
        shared: &Shared,
    ) {
        self.derive.clear();
        self.detect.clear();
        for ((&id, &time), &value) in sorted.rows.series.iter().zip(&sorted.rows.times).zip(&sorted.totals) {
            let state = &mut series.series[id as usize];
            if state.flags & flag::OPEN == 0 {
                state.flags |= flag::OPEN;
                plugins.open(SeriesId(id), &shared.registry);
            }
            if state.flags & flag::DETECT != 0 {
                self.detect.push(SeriesId(id), UnixNanos(time), value);
            } else if state.flags & flag::DERIVE != 0 {
                self.derive.push(SeriesId(id), UnixNanos(time), value);
            }
        }
    }

    /// The derivers' batch.
    pub(super) fn for_derivers(&self) -> &Columns {
        &self.derive
    }

    pub(super) fn sort_by_series(&mut self, rows: &Columns) -> Columns {
        self.sorter.by_series(rows)
    }

    /// The detectors' batch, with the derived rows among it.
    pub(super) fn for_detectors(&mut self, derived: &Columns) -> &Columns {
        if derived.is_empty() {
            return &self.detect;
        }
        sort::merge(&self.detect, derived, &mut self.merged);
        &self.merged
    }
}
