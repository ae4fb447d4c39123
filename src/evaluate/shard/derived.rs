//! The series that derivers make, registered at their first row.

use super::plugins::LoadedPlugins;
use super::shared::Shared;
use crate::evaluate::series_tracker::{NO_CHILDREN, SeriesTracker};
use crate::evaluate::sort::{self, Sorter};
use crate::evaluate::tenant_plugins::{Derived, DerivedLimits, DerivedSeries};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::registry::Registry;
use vitals_core::series::{Attributes, MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::verdict::Evidence;

/// The derived series of each source series.
#[derive(Default)]
pub(super) struct DerivedSeriesTable {
    by_source: Vec<Vec<DerivedChild>>,
    /// The agents whose derived series of earlier runs are in the table.
    recalled: HashSet<AgentId>,
    /// How many series each plugin has made for each tenant.
    made: HashMap<(TenantId, String), usize>,
}

/// A series that was derived from another.
struct DerivedChild {
    plugin: String,
    series: DerivedSeries,
    /// Whether it was made before this run. Of its sources only the first one is known then.
    is_recalled: bool,
    /// `None` when the tenant's quota was used up.
    id: Option<SeriesId>,
}

impl DerivedChild {
    fn is(&self, output: &DerivedSeries) -> bool {
        let DerivedSeries { from, also, metric, unit } = &self.series;
        *from == output.from
            && *metric == output.metric
            && *unit == output.unit
            && (self.is_recalled || *also == output.also)
    }
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
        let limits = loaded.plugins.derived_limits();
        let of = |output| self.id_of((tenant, limits), &answer.evidence, output, series, shared);
        let ids: Vec<Option<SeriesId>> = answer.series.iter().map(of).collect();
        let refused = ids.iter().filter(|id| id.is_none()).count();
        loaded.plugins.refused_derived(&answer.evidence.plugin, refused);
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
        (tenant, limits): (&TenantId, DerivedLimits),
        evidence: &Evidence,
        output: &DerivedSeries,
        series: &mut SeriesTracker,
        shared: &mut Shared,
    ) -> Option<SeriesId> {
        let agent = series.series.get(output.from.0 as usize)?.agent;
        if self.recalled.insert(agent) {
            self.recall(tenant, agent, series, &shared.registry);
        }
        let children = self.children(output.from, series)?;
        let of_plugin = || children.iter().filter(|child| child.plugin == evidence.plugin);
        if let Some(child) = of_plugin().find(|child| child.is(output)) {
            return child.id;
        }
        let from_series = of_plugin().count();
        let made = self.made.entry((tenant.clone(), evidence.plugin.clone())).or_default();
        if from_series >= limits.per_series || *made >= limits.per_plugin {
            return None;
        }
        *made += 1;
        let id = register(tenant, evidence, output, shared);
        let child = DerivedChild { plugin: evidence.plugin.clone(), series: output.clone(), is_recalled: false, id };
        self.children(output.from, series)?.push(child);
        id
    }

    /// The table's entry of a source series.
    fn children(&mut self, source: SeriesId, series: &mut SeriesTracker) -> Option<&mut Vec<DerivedChild>> {
        let source = series.series.get_mut(source.0 as usize)?;
        if source.children == NO_CHILDREN {
            source.children = u32::try_from(self.by_source.len()).ok()?;
            self.by_source.push(Vec::new());
        }
        self.by_source.get_mut(source.children as usize)
    }

    /// Takes in what was derived for an agent before this run, so that a restart gives no plugin a new allowance.
    fn recall(&mut self, tenant: &TenantId, agent: AgentId, series: &mut SeriesTracker, registry: &Registry) {
        for desc in registry.series_of(agent) {
            let Origin::Derived { plugin, from } = &desc.spec.origin else { continue };
            let (metric, unit) = (desc.spec.metric.clone(), desc.spec.unit.clone());
            let child = DerivedChild {
                plugin: plugin.clone(),
                series: DerivedSeries { from: *from, also: Vec::new(), metric, unit },
                is_recalled: true,
                id: Some(desc.id),
            };
            if let Some(children) = self.children(*from, series) {
                children.push(child);
                *self.made.entry((tenant.clone(), plugin.clone())).or_default() += 1;
            }
        }
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
