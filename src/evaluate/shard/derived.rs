//! The series that derivers make, registered at their first row.

use super::plugins::LoadedPlugins;
use super::shared::Shared;
use crate::evaluate::series_tracker::{NO_CHILDREN, SeriesTracker};
use crate::evaluate::tenant_plugins::DerivedSeries;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, TenantId};
use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};
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

impl DerivedSeriesTable {
    /// Calls the derivers with their batch; their answers as rows of registered series, in the order of the answers.
    pub(super) fn derive(
        &mut self,
        tenant: &TenantId,
        batch: &Columns,
        loaded: &mut LoadedPlugins<'_>,
        series: &mut SeriesTracker,
        shared: &mut Shared,
    ) -> Columns {
        let mut derived = Columns::default();
        if batch.is_empty() {
            return derived;
        }
        for answer in loaded.plugins.derive(batch) {
            let ids: Vec<Option<SeriesId>> = answer
                .series
                .iter()
                .map(|output| self.id_of(tenant, &answer.evidence, output, series, shared))
                .collect();
            for &id in ids.iter().flatten() {
                // Known before its first row, so that what follows can index.
                let _ = series.advance(id, i64::MIN);
                if series.mark_open(id) {
                    loaded.open(id, &shared.registry);
                }
            }
            for (output, time, value) in answer.rows {
                let Some(Some(id)) = ids.get(output as usize) else { continue };
                if series.advance(*id, time.0) {
                    derived.push(*id, time, value);
                }
            }
        }
        derived
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
    let spec = SeriesSpec {
        metric: output.metric.clone(),
        unit: output.unit.clone(),
        kind: derived_kind(source.spec.kind, source.spec.unit == output.unit),
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Derived { plugin: evidence.plugin.clone(), from: output.from },
        scope: source.spec.scope.clone(),
        attributes: source.spec.attributes.clone(),
        resource: source.spec.resource.clone(),
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
