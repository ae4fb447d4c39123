//! The series that derivers make, registered at their first row.

use super::plugins::LoadedPlugins;
use super::shared::Shared;
use crate::evaluate::series_tracker::{NO_CHILDREN, SeriesTracker};
use crate::evaluate::sort::{self, Sorter};
use crate::evaluate::tenant_plugins::{Derived, DerivedSeries};
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, TenantId, UnixNanos};
use vitals_core::series::{Attributes, MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::verdict::Evidence;

/// The derived series of each source series.
#[derive(Default)]
pub(super) struct DerivedSeriesTable {
    by_source: Vec<Vec<DerivedChild>>,
}

/// A series that was derived from another.
struct DerivedChild {
    plugin: String,
    series: DerivedSeries,
    /// `None` when the tenant's quota was used up.
    id: Option<SeriesId>,
}

/// What the derivers are called with.
#[derive(Clone, Copy)]
pub(super) enum DeriverInput<'a> {
    /// A batch.
    Rows(&'a Columns),
    /// No data, but a time.
    Tick(UnixNanos),
}

impl DerivedSeriesTable {
    /// Calls the derivers, each with what those before it made; their samples as sorted rows of registered series.
    pub(super) fn derive(
        &mut self,
        tenant: &TenantId,
        input: DeriverInput<'_>,
        loaded: &mut LoadedPlugins<'_>,
        (series, sorter): (&mut SeriesTracker, &mut Sorter),
        shared: &mut Shared,
    ) -> Columns {
        let mut derived = Columns::default();
        let mut merged = Columns::default();
        for deriver in 0..loaded.plugins.derivers() {
            let batch = match input {
                DeriverInput::Rows(rows) if derived.is_empty() => rows,
                DeriverInput::Rows(rows) => {
                    sort::merge(rows, &derived, &mut merged);
                    &merged
                }
                DeriverInput::Tick(_) => &derived,
            };
            let from_rows = (!batch.is_empty()).then(|| loaded.plugins.derive_with(deriver, batch)).flatten();
            let from_tick = match input {
                DeriverInput::Rows(_) => None,
                DeriverInput::Tick(now) => loaded.plugins.tick_deriver(deriver, now),
            };
            for answer in from_rows.into_iter().chain(from_tick) {
                let made = self.register_rows(tenant, answer, loaded, series, shared);
                if !made.is_empty() {
                    derived.extend(&made);
                    derived = sorter.by_series(&derived);
                }
            }
        }
        derived
    }

    /// The samples of an answer as rows of registered series.
    fn register_rows(
        &mut self,
        tenant: &TenantId,
        answer: Derived,
        loaded: &mut LoadedPlugins<'_>,
        series: &mut SeriesTracker,
        shared: &mut Shared,
    ) -> Columns {
        let ids: Vec<Option<SeriesId>> =
            answer.series.iter().map(|output| self.id_of(tenant, &answer.evidence, output, series, shared)).collect();
        for &id in ids.iter().flatten() {
            // Known before its first row, so that what follows can index.
            let _ = series.advance(id, i64::MIN);
            if series.mark_open(id) {
                loaded.open(id, &shared.registry);
            }
        }
        let mut rows = Columns::default();
        for (output, time, value) in answer.rows {
            let Some(Some(id)) = ids.get(output as usize) else { continue };
            if series.advance(*id, time.0) {
                rows.push(*id, time, value);
            }
        }
        rows
    }

    /// The id of a derived series, registered when it is asked for first.
    fn id_of(
        &mut self,
        tenant: &TenantId,
        evidence: &Evidence,
        output: &DerivedSeries,
        series: &mut SeriesTracker,
        shared: &mut Shared,
    ) -> Option<SeriesId> {
        let source = series.series.get_mut(output.from.0 as usize)?;
        if source.children == NO_CHILDREN {
            source.children = u32::try_from(self.by_source.len()).ok()?;
            self.by_source.push(Vec::new());
        }
        let children = &mut self.by_source[source.children as usize];
        let known = children.iter().find(|child| child.plugin == evidence.plugin && child.series == *output);
        if let Some(child) = known {
            return child.id;
        }
        let id = register(tenant, evidence, output, shared);
        children.push(DerivedChild { plugin: evidence.plugin.clone(), series: output.clone(), id });
        id
    }
}

fn register(tenant: &TenantId, evidence: &Evidence, output: &DerivedSeries, shared: &mut Shared) -> Option<SeriesId> {
    let source = shared.registry.series(output.from)?;
    let others: Vec<_> = output.also.iter().filter_map(|&id| shared.registry.series(id)).collect();
    let have_same_kind = others.iter().all(|other| other.spec.kind == source.spec.kind);
    let kind = if have_same_kind { source.spec.kind } else { MetricKind::Custom };
    let common = |of: fn(&SeriesSpec) -> &Attributes| -> Attributes {
        let given = of(&source.spec);
        if others.iter().all(|other| of(&other.spec) == given) {
            return given.clone();
        }
        let typed = |attributes: &Attributes, pair: &(String, String), code: &str| {
            attributes.iter().zip(attributes.codes()).any(|(other, of_other)| other == pair && of_other == code)
        };
        let is_common =
            |(pair, code): &(&(String, String), &str)| others.iter().all(|other| typed(of(&other.spec), pair, code));
        let kept: Vec<_> = given.iter().zip(given.codes()).filter(is_common).collect();
        let types: String = kept.iter().map(|(_, code)| *code).collect();
        Attributes::new(kept.into_iter().map(|(pair, _)| pair.clone()).collect(), &types, 0)
    };
    let spec = SeriesSpec {
        metric: output.metric.clone(),
        unit: output.unit.clone(),
        kind: derived_kind(kind, source.spec.unit == output.unit),
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Derived { plugin: evidence.plugin.clone(), from: output.from },
        scope: source.spec.scope.clone(),
        attributes: common(|spec| &spec.attributes),
        resource: Arc::new(common(|spec| &spec.resource)),
    };
    match shared.registry.intern_series(tenant, source.agent, vec![spec]).pop()? {
        Ok(id) => {
            shared.out.series.extend(shared.registry.series(id));
            Some(id)
        }
        Err(error) => {
            metrics::counter!("vitals_derived_refused_total").increment(1);
            tracing::warn!(%error, metric = output.metric, "a derived series is left out");
            None
        }
    }
}

/// The kind of a derived series. A percentage or a duration stays one only in its own unit: a rate of CPU
/// seconds must not meet the threshold for CPU percent.
fn derived_kind(source: MetricKind, is_same_unit: bool) -> MetricKind {
    match source {
        MetricKind::DiskIo | MetricKind::NetworkIo | MetricKind::Throughput => source,
        _ if is_same_unit => source,
        _ => MetricKind::Custom,
    }
}
