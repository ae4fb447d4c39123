//! One tenant's plugin instances on one shard.
//!
//! - `instance`: one plugin's instance
//! - `turns`: the turns that it lost, and its quarantine
//! - `cpu_budget`: the share of CPU that it may have
//! - `input`: the numbers of series, and the rows of a call
//! - `output_budget`: how much it may answer and print
//! - `outputs`: the series that a deriver declares
//! - `snapshot`: the state that a checkpoint keeps

mod cpu_budget;
mod input;
mod instance;
mod output_budget;
mod outputs;
mod snapshot;
mod turns;

use super::call_columns::{AgentColumns, ObjectiveColumns};
use super::component::PluginKind;
use super::config::PluginLimits;
use super::error::Failure;
use super::plugin::Plugin;
use super::running::Running;
use crate::evaluate::tenant_plugins::{AgentView, Derived, DerivedLimits, Findings, SlaView, TenantPlugins};
pub(super) use cpu_budget::time_for_rows;
use input::{CallInput, SeriesNumbers};
use instance::PluginInstance;
use snapshot::SavedPlugin;
use std::collections::BTreeSet;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::{AgentHealth, Evidence, SlaVerdict};

/// Instances of all plugins for one tenant.
pub(super) struct WasmPlugins {
    tenant: TenantId,
    instances: Vec<PluginInstance>,
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
    ) -> Self {
        let instances = plugins.iter().map(|plugin| PluginInstance::new(plugin.clone(), limits.clone())).collect();
        Self {
            tenant,
            instances,
            series: SeriesNumbers::default(),
            input: CallInput::default(),
            absent: Vec::new(),
            disabled,
            arrival: UnixNanos(0),
        }
    }

    /// Calls each plugin of `kind` about so many rows; the answers of those that gave one.
    fn each<T>(
        &mut self,
        kind: PluginKind,
        rows: usize,
        mut call: impl FnMut(&mut PluginInstance, &mut Running, &SeriesNumbers, &CallInput) -> Result<T, Failure>,
    ) -> Vec<(Arc<Evidence>, T)> {
        let Self { tenant, instances, series, input, arrival, .. } = self;
        instances
            .iter_mut()
            .filter(|instance| instance.plugin.compiled.kind == kind)
            .filter_map(|instance| {
                let evidence = instance.plugin.evidence.clone();
                let answer = instance
                    .call(tenant, (rows, *arrival), |instance, running| call(instance, running, series, input))?;
                Some((evidence, answer))
            })
            .collect()
    }
}

impl TenantPlugins for WasmPlugins {
    fn arrived(&mut self, latest: UnixNanos) {
        self.arrival = latest;
    }

    fn open(&mut self, series: &Arc<SeriesDesc>) {
        self.series.open(series);
    }

    fn close(&mut self, series: &[SeriesId]) {
        let numbers: BTreeSet<u32> = series.iter().filter_map(|id| self.series.close(*id)).collect();
        if !numbers.is_empty() {
            self.instances.iter_mut().for_each(|instance| instance.close(&self.tenant, &numbers));
            self.absent.iter_mut().for_each(|plugin| plugin.close(&numbers));
        }
    }

    fn derive(&mut self, batch: &Columns) -> Vec<Derived> {
        self.input.number(&self.series, batch);
        if self.input.series.is_empty() {
            return Vec::new();
        }
        let answers =
            self.each(PluginKind::MetricDeriver, self.input.series.len(), |instance, running, series, input| {
                instance.open_new(running, series, &input.series)?;
                let answer = running.derive(&input.series, &input.times, &input.values)?;
                let derived = instance.outputs.take(answer, input, series, instance.limits.outputs_per_series)?;
                instance.plugin.count_taken("derived samples", derived.1.len());
                Ok(derived)
            });
        let answers = answers.into_iter().filter(|(_, (_, rows))| !rows.is_empty());
        answers.map(|(evidence, (series, rows))| Derived { evidence, series, rows }).collect()
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        self.input.number(&self.series, batch);
        if self.input.series.is_empty() {
            return Vec::new();
        }
        let arrival = self.arrival;
        let answers =
            self.each(PluginKind::OutlierDetector, self.input.series.len(), |instance, running, series, input| {
                instance.open_new(running, series, &input.series)?;
                let answer = running.detect(&input.series, &input.times, &input.values)?;
                Ok(instance.take_findings(answer, arrival))
            });
        let answers = answers.into_iter().filter(|(_, answer)| !answer.rows.is_empty());
        answers.map(|(evidence, answer)| self.input.findings(evidence, &answer, batch)).collect()
    }

    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
        if views.is_empty() {
            return Vec::new();
        }
        let columns = AgentColumns::new(views);
        let answers = self.each(PluginKind::HealthScorer, views.len(), |instance, running, _, _| {
            running.score(&columns.lower()).map(|answer| instance.take_scores(answer))
        });
        let mut out = Vec::new();
        for (evidence, answer) in answers {
            let texts = answer.reasons.into_iter().zip(answer.recommendations);
            let numbers = answer.scores.into_iter().zip(answer.statuses);
            for ((row, (score, status)), (reasons, recommendations)) in answer.rows.into_iter().zip(numbers).zip(texts)
            {
                let health = AgentHealth { score, status: status.into(), reasons, recommendations };
                out.push((evidence.clone(), row as usize, health));
            }
        }
        out
    }

    fn report(&mut self, views: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)> {
        if views.is_empty() {
            return Vec::new();
        }
        let columns = ObjectiveColumns::new(views);
        let answers = self.each(PluginKind::SlaEvaluator, views.len(), |instance, running, _, _| {
            let answer = running.evaluate(&columns.lower())?;
            instance.plugin.count_taken("reports", answer.rows.len());
            Ok(answer)
        });
        let mut out = Vec::new();
        for (evidence, answer) in answers {
            for (i, &row) in answer.rows.iter().enumerate() {
                let view = &views[row as usize];
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
            Ok((series, absent)) => (self.series, self.absent) = (series, absent),
            Err(error) => {
                tracing::error!(tenant = %self.tenant, %error, "the saved state of the plugins cannot be read; they start empty");
            }
        }
    }
}
