//! One tenant's plugin instances on one shard.
//!
//! - `instance`: one plugin's instance
//! - `turns`: the turns that it lost, and its quarantine
//! - `cpu_budget`: the share of CPU that it may have
//! - `input`: the numbers of series, and the rows of a call; `selected`: which plugins select a series
//! - `output_budget`: how much a plugin may answer and print
//! - `told_agents`: what an instance was told of agents
//! - `ticks`: when a plugin is called without data
//! - `outputs`: the series that a deriver declares
//! - `snapshot`: the state that a checkpoint keeps

mod cpu_budget;
mod input;
mod instance;
mod output_budget;
mod outputs;
mod selected;
mod snapshot;
mod ticks;
mod told_agents;
mod turns;

use super::answers;
use super::call_columns::{AgentColumns, ObjectiveColumns};
use super::component::PluginKind;
use super::config::PluginLimits;
use super::error::Failure;
use super::ground::PluginClock;
use super::plugin::Plugin;
use super::running::Running;
use crate::evaluate::tenant_plugins::{
    AgentView, Derived, DerivedLimits, Findings, SlaView, TenantPlugins, TickFindings,
};
pub(super) use cpu_budget::time_for_rows;
use input::{CallInput, NumberedRows, SeriesNumbers};
use instance::PluginInstance;
use snapshot::SavedPlugin;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use told_agents::key_of;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::registry::Registry;
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::{AgentHealth, Evidence, SlaVerdict};

/// Instances of all plugins for one tenant.
pub(super) struct WasmPlugins {
    tenant: TenantId,
    registry: Arc<Registry>,
    clock: PluginClock,
    instances: Vec<PluginInstance>,
    /// The places of the derivers among them.
    derivers: Vec<usize>,
    series: SeriesNumbers,
    input: CallInput,
    /// The state of plugins that are not there.
    absent: Vec<SavedPlugin>,
    /// The names of those whose state is not kept.
    disabled: Arc<[String]>,
    /// The latest arrival of a record.
    arrival: UnixNanos,
}

impl WasmPlugins {
    pub(super) fn new(
        tenant: TenantId,
        plugins: &[Arc<Plugin>],
        disabled: Arc<[String]>,
        limits: Arc<PluginLimits>,
        registry: Arc<Registry>,
    ) -> Self {
        let clock = PluginClock::default();
        let instance =
            |plugin: &Arc<Plugin>| PluginInstance::new(plugin.clone(), limits.clone(), &tenant, clock.clone());
        let instances: Vec<PluginInstance> = plugins.iter().map(instance).collect();
        let is_deriver = |place: &usize| plugins[*place].compiled.kind == PluginKind::MetricDeriver;
        Self {
            derivers: (0..plugins.len()).filter(is_deriver).collect(),
            series: SeriesNumbers::new(plugins.len()),
            input: CallInput::default(),
            absent: Vec::new(),
            disabled,
            arrival: UnixNanos(0),
            tenant,
            registry,
            clock,
            instances,
        }
    }

    /// The places of the plugins of one kind.
    fn of_kind(&self, kind: PluginKind) -> Vec<usize> {
        let is_kind = |place: &usize| self.instances[*place].plugin.compiled.kind == kind;
        (0..self.instances.len()).filter(is_kind).collect()
    }

    /// Calls the plugin at `place` with those rows of the batch that it selects; not if there are none.
    fn watch<T>(
        &mut self,
        place: usize,
        call: impl FnOnce(&mut PluginInstance, &mut Running, &SeriesNumbers, &NumberedRows) -> Result<T, Failure>,
    ) -> Option<(Arc<Evidence>, T)> {
        let Self { tenant, instances, series, input, registry, arrival, .. } = self;
        let rows = input.of_plugin(place, series)?;
        let instance = &mut instances[place];
        let evidence = instance.plugin.evidence.clone();
        let answer = instance.call(tenant, (rows.series.len(), *arrival), |instance, running| {
            instance.open_new(running, series, &rows.series, registry)?;
            call(instance, running, series, rows)
        })?;
        Some((evidence, answer))
    }

    /// Calls the plugin at `place` without rows, if it has a tick at `now`. It has been told of all series that it selects.
    fn tick<T>(
        &mut self,
        place: usize,
        now: UnixNanos,
        call: impl FnOnce(&mut PluginInstance, &mut Running, &SeriesNumbers) -> Result<T, Failure>,
    ) -> Option<(Arc<Evidence>, T)> {
        let Self { tenant, instances, series, registry, clock, arrival, .. } = self;
        let instance = &mut instances[place];
        if !instance.ticks.take(now) {
            return None;
        }
        clock.set(now.0);
        let evidence = instance.plugin.evidence.clone();
        let answer = instance.call(tenant, (0, *arrival), |instance, running| {
            instance.open_new(running, series, &series.of_plugin(place), registry)?;
            call(instance, running, series)
        })?;
        Some((evidence, answer))
    }

    /// Calls each plugin of `kind` about those of the rows that it is shown: `agent_of` says whose they are. The answers, each with
    /// the rows that it is about.
    fn judge_agents<V: Copy, T>(
        &mut self,
        kind: PluginKind,
        views: &[V],
        agent_of: fn(&V) -> AgentId,
        call: impl Fn(&mut PluginInstance, &mut Running, &[V]) -> Result<T, Failure>,
    ) -> Vec<(Arc<Evidence>, T, Vec<usize>)> {
        let mut out = Vec::new();
        for place in self.of_kind(kind) {
            let Self { tenant, instances, registry, arrival, .. } = self;
            let instance = &mut instances[place];
            let selection = &instance.plugin.selection;
            let is_shown =
                |view: &V| selection.takes_all_agents() || selection.takes_agent(&key_of(registry, agent_of(view)));
            let rows: Vec<usize> = (0..views.len()).filter(|&row| is_shown(&views[row])).collect();
            if rows.is_empty() {
                continue;
            }
            let picked: Cow<'_, [V]> = if rows.len() == views.len() {
                Cow::Borrowed(views)
            } else {
                rows.iter().map(|&row| views[row]).collect()
            };
            let evidence = instance.plugin.evidence.clone();
            let answer = instance.call(tenant, (rows.len(), *arrival), |instance, running| {
                let plugin = instance.plugin.clone();
                instance.told_agents.open_new(running, &plugin, registry, picked.iter().map(agent_of))?;
                call(instance, running, &picked)
            });
            out.extend(answer.map(|answer| (evidence, answer, rows)));
        }
        out
    }
}

impl TenantPlugins for WasmPlugins {
    fn arrived(&mut self, latest: UnixNanos) {
        self.arrival = latest;
    }

    fn open(&mut self, series: &Arc<SeriesDesc>) {
        let Self { series: numbers, instances, registry, .. } = self;
        let key = key_of(registry, series.agent);
        numbers.open(series, |place| {
            instances.get(place).is_some_and(|instance| {
                let plugin = &instance.plugin;
                plugin.compiled.kind.watches()
                    && plugin.selection.takes_agent(&key)
                    && plugin.selection.takes_series(series)
            })
        });
    }

    fn close(&mut self, series: &[SeriesId]) {
        let numbers: BTreeSet<u32> = series.iter().filter_map(|id| self.series.close(*id)).collect();
        if !numbers.is_empty() {
            self.instances.iter_mut().for_each(|instance| instance.close(&self.tenant, &numbers));
            self.absent.iter_mut().for_each(|plugin| plugin.close(&numbers));
        }
    }

    fn close_agents(&mut self, agents: &[AgentId]) {
        let numbers: BTreeSet<u32> = agents.iter().map(|agent| agent.0).collect();
        self.instances.iter_mut().for_each(|instance| instance.close_agents(&self.tenant, &numbers));
        self.absent.iter_mut().for_each(|plugin| plugin.close_agents(&numbers));
    }

    fn derivers(&self) -> usize {
        self.derivers.len()
    }

    fn derive_with(&mut self, deriver: usize, batch: &Columns) -> Option<Derived> {
        let place = *self.derivers.get(deriver)?;
        self.input.number(&self.series, batch);
        let answer = self.watch(place, |instance, running, series, rows| {
            let answer = running.derive(&rows.series, &rows.times, &rows.values)?;
            instance.newest = instance.newest.max(rows.newest());
            let limit = instance.limits.outputs_per_series;
            let derived = instance.outputs.take(answer, instance.newest, (series, place), limit)?;
            instance.plugin.count_taken("derived samples", derived.1.len());
            Ok(derived)
        });
        let (evidence, (series, rows)) = answer.filter(|(_, (_, rows))| !rows.is_empty())?;
        Some(Derived { evidence, series, rows })
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        self.input.number(&self.series, batch);
        let arrival = self.arrival;
        let mut out = Vec::new();
        for place in self.of_kind(PluginKind::OutlierDetector) {
            let found = self.watch(place, |instance, running, _, rows| {
                let answer = running.detect(&rows.series, &rows.times, &rows.values)?;
                Ok(rows.findings(&instance.take_findings(answer, arrival), batch))
            });
            out.extend(found.filter(|(_, rows)| !rows.is_empty()).map(|(evidence, rows)| Findings { evidence, rows }));
        }
        out
    }

    fn wants_ticks(&self) -> bool {
        self.instances.iter().any(|instance| instance.ticks.are_wanted())
    }

    fn advance(&mut self, now: UnixNanos) {
        self.clock.set(now.0);
        self.instances.iter_mut().for_each(|instance| instance.ticks.begin(now));
    }

    fn next_tick(&self) -> Option<UnixNanos> {
        self.instances.iter().filter_map(|instance| instance.ticks.next()).min()
    }

    fn tick_deriver(&mut self, deriver: usize, now: UnixNanos) -> Option<Derived> {
        let place = *self.derivers.get(deriver)?;
        let answer = self.tick(place, now, |instance, running, series| {
            let answer = running.tick_deriver(now.0, series.len())?;
            let limit = instance.limits.outputs_per_series;
            let derived = instance.outputs.take(answer, now.0, (series, place), limit)?;
            instance.plugin.count_taken("derived samples", derived.1.len());
            Ok(derived)
        });
        let (evidence, (series, rows)) = answer.filter(|(_, (_, rows))| !rows.is_empty())?;
        Some(Derived { evidence, series, rows })
    }

    fn tick_detectors(&mut self, now: UnixNanos) -> Vec<TickFindings> {
        let mut out = Vec::new();
        for place in self.of_kind(PluginKind::OutlierDetector) {
            let found = self.tick(place, now, |instance, running, series| {
                let answer = running.tick_detector(now.0, series.len())?;
                answers::findings_of_tick(&answer, |number| series.is_shown(number, place))?;
                let answer = instance.take_findings(answer, now);
                let subjects = answer.subjects.iter().enumerate();
                let found = subjects.filter_map(|(at, &number)| {
                    series.description(number).map(|desc| input::outlier(&answer, at, desc.id, f64::NAN))
                });
                Ok(found.collect::<Vec<_>>())
            });
            let found = found.filter(|(_, found)| !found.is_empty());
            out.extend(found.map(|(evidence, found)| TickFindings { evidence, found }));
        }
        out
    }

    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
        let answers = self.judge_agents(
            PluginKind::HealthScorer,
            views,
            |view| view.agent,
            |instance, running, views| {
                running.score(&AgentColumns::new(views).lower()).map(|answer| instance.take_scores(answer))
            },
        );
        let mut out = Vec::new();
        for (evidence, answer, shown) in answers {
            let texts = answer.reasons.into_iter().zip(answer.recommendations);
            let numbers = answer.scores.into_iter().zip(answer.statuses);
            for ((row, (score, status)), (reasons, recommendations)) in answer.rows.into_iter().zip(numbers).zip(texts)
            {
                let health = AgentHealth { score, status: status.into(), reasons, recommendations };
                out.push((evidence.clone(), shown[row as usize], health));
            }
        }
        out
    }

    fn report(&mut self, views: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)> {
        let answers = self.judge_agents(
            PluginKind::SlaEvaluator,
            views,
            |view| view.agent,
            |instance, running, views| {
                let answer = running.evaluate(&ObjectiveColumns::new(views).lower())?;
                instance.plugin.count_taken("reports", answer.rows.len());
                Ok(answer)
            },
        );
        let mut out = Vec::new();
        for (evidence, answer, shown) in answers {
            for (i, &row) in answer.rows.iter().enumerate() {
                let view = &views[shown[row as usize]];
                let verdict = SlaVerdict {
                    target: view.target,
                    availability: answer.availability[i],
                    budget_left: answer.budget_left[i],
                    burn: [answer.burn_hour[i], answer.burn_six_hours[i], answer.burn_three_days[i]],
                    risk: answer.risks[i].into(),
                };
                out.push((evidence.clone(), view.agent, verdict));
            }
        }
        out
    }

    fn are_too_many(&self) -> bool {
        let Some(instance) = self.instances.first() else { return false };
        let (live, own) = (instance.plugin.compiled.memory.0.instances(), self.instances.len());
        metrics::gauge!("vitals_plugin_instances").set(live as f64);
        live + own > instance.limits.live_instances
    }

    fn derived_limits(&self) -> DerivedLimits {
        let limits = self.instances.first().map(|instance| instance.limits.as_ref());
        limits.map_or_else(DerivedLimits::default, |limits| DerivedLimits {
            per_series: limits.outputs_per_series,
            per_plugin: limits.derived_series,
        })
    }

    fn refused_derived(&mut self, plugin: &str, series: usize) {
        let instance = self.instances.iter().find(|instance| instance.plugin.evidence.plugin == plugin);
        if let Some(instance) = instance {
            instance.plugin.count_dropped("derived series", series);
        }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        snapshot::save(&self.tenant, &self.series, &mut self.instances, &self.absent)
    }

    fn restore(&mut self, state: &[u8]) {
        match snapshot::restore(state, &mut self.instances, &self.disabled) {
            Ok(known) => {
                self.series = SeriesNumbers::new(self.instances.len());
                self.absent = known.absent;
                let closed: BTreeSet<u32> = known.closed.into_iter().collect();
                let open: Vec<u32> = known.ids.iter().copied().filter(|id| !closed.contains(id)).collect();
                self.series.restore(known.ids);
                // A series that stays silent is known to plugins that ask for ticks.
                let registry = self.registry.clone();
                open.iter().filter_map(|&id| registry.series(SeriesId(id))).for_each(|desc| self.open(&desc));
            }
            Err(error) => {
                tracing::error!(tenant = %self.tenant, %error, "the saved state of the plugins cannot be read; they start empty");
            }
        }
    }
}
