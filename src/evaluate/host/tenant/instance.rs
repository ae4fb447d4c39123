//! One plugin's instance for a tenant: its start, its state, its failures and its quarantine.

use super::cpu_budget::{Allowed, CpuBudget};
use super::input::SeriesNumbers;
use super::output_budget::{OutputBudget, cut_findings, cut_texts};
use super::outputs::DerivedOutputs;
use super::snapshot::{compress, decompress};
use super::ticks::Ticks;
use super::told_agents::ToldAgents;
use super::turns::TurnHistory;
use crate::evaluate::host::abi;
use crate::evaluate::host::config::PluginLimits;
use crate::evaluate::host::cpu_time::{self, Moment};
use crate::evaluate::host::error::Failure;
use crate::evaluate::host::ground::{Ground, PluginClock};
use crate::evaluate::host::plugin::Plugin;
use crate::evaluate::host::running::{Restored, Running};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::registry::Registry;

/// Series opened in one call.
const OPEN_AT_ONCE: usize = 1024;
/// As how many rows of the budget a series counts that the plugin is told of.
const ROWS_PER_SERIES: usize = 10;
/// Series closed in one call.
const CLOSE_AT_ONCE: usize = 16_384;

/// One plugin's instance, if it runs, and what is needed to start another.
pub(super) struct PluginInstance {
    pub(super) plugin: Arc<Plugin>,
    pub(super) limits: Arc<PluginLimits>,
    running: Option<Running>,
    /// The last state that the plugin gave, compressed.
    last_state: Vec<u8>,
    /// Numbers of series that were closed since that state was taken: an instance that starts from it is told of them.
    pub(super) closed: BTreeSet<u32>,
    /// Agents that were closed since.
    pub(super) closed_agents: BTreeSet<u32>,
    /// The version of the form of that state.
    pub(super) state_version: u32,
    ground: Ground,
    pub(super) told_agents: ToldAgents,
    pub(super) ticks: Ticks,
    /// By series number: whether the instance was told of it.
    opened: Vec<bool>,
    pub(super) outputs: DerivedOutputs,
    /// The newest time of a row that the instance was shown.
    pub(super) newest: i64,
    /// Series that instances were told of so far.
    told: usize,
    budget: CpuBudget,
    outputs_left: OutputBudget,
    turns: TurnHistory,
    /// Whether it is counted as stale, and as quarantined, among all instances of the plugin.
    counted_stale: bool,
    counted_quarantined: bool,
}

impl PluginInstance {
    pub(super) fn new(plugin: Arc<Plugin>, limits: Arc<PluginLimits>, tenant: &TenantId, clock: PluginClock) -> Self {
        Self {
            state_version: plugin.manifest.state_version,
            closed_agents: BTreeSet::new(),
            ground: Ground::new(tenant, &plugin.evidence.plugin, clock),
            told_agents: ToldAgents::default(),
            ticks: Ticks::every(plugin.manifest.interval_seconds),
            plugin,
            limits,
            running: None,
            last_state: Vec::new(),
            closed: BTreeSet::new(),
            opened: Vec::new(),
            outputs: DerivedOutputs::default(),
            newest: i64::MIN,
            told: 0,
            budget: CpuBudget::new(),
            outputs_left: OutputBudget::default(),
            turns: TurnHistory::default(),
            counted_stale: false,
            counted_quarantined: false,
        }
    }

    /// Calls the plugin with so many rows, unless it is quarantined or over its budget of CPU. A failure ends the instance.
    pub(super) fn call<T>(
        &mut self,
        tenant: &TenantId,
        (rows, arrival): (usize, UnixNanos),
        call: impl FnOnce(&mut Self, &mut Running) -> Result<T, Failure>,
    ) -> Option<T> {
        if self.is_quarantined() || !self.is_within_budget(tenant, Moment::now(arrival)) {
            self.skip(rows);
            return None;
        }
        self.plugin.stats.lock().calls += 1;
        metrics::counter!("vitals_plugin_calls_total", "plugin" => self.plugin.evidence.plugin.clone()).increment(1);
        let mut running = match self.take_or_start(tenant) {
            Ok(running) => running,
            Err(failure) => {
                self.failed_to_start(tenant, &failure);
                return None;
            }
        };
        let told = self.told;
        let before = cpu_time::of_thread();
        let answer = call(self, &mut running);
        let used = cpu_time::of_thread().saturating_sub(before);
        // A series that it was told of counts as rows: telling takes as long.
        let rows = rows + (self.told - told) * ROWS_PER_SERIES;
        self.budget.spend(used, rows, &self.limits, Moment::now(arrival));
        self.plugin.stats.lock().cpu += used;
        self.show_printed(tenant, &running.take_printed(), Moment::now(arrival));
        match answer {
            Ok(answer) => {
                self.running = Some(running);
                self.succeeded();
                Some(answer)
            }
            Err(failure) => {
                drop(running);
                self.failed(tenant, &failure);
                None
            }
        }
    }

    /// Whether the plugin is within its budget of CPU. Going over it is a failure, but does not end the instance.
    fn is_within_budget(&mut self, tenant: &TenantId, now: Moment) -> bool {
        match self.budget.check(&self.limits, now, self.turns.is_on_probation()) {
            Allowed::Yes => return true,
            Allowed::StillExceeded => {}
            Allowed::ExceededNow(percent) => {
                let (budget, total) = (self.limits.cpu_percent, self.limits.total_cpu_percent);
                let failure = Failure::CpuBudget { percent, budget, total };
                if self.turns.is_on_probation() || self.turns.has_lost_any(&self.limits) {
                    // Each further call would hold up everybody on this thread.
                    let quarantine = self.turns.start_quarantine(&self.limits, Instant::now());
                    self.count_failure(tenant, &failure, Some(quarantine));
                } else {
                    self.lost_a_turn(tenant, &failure);
                }
            }
        }
        false
    }

    /// Writes what the plugin printed to the log, as far as it may.
    fn show_printed(&mut self, tenant: &TenantId, printed: &[u8], now: Moment) {
        if printed.is_empty() {
            return;
        }
        let shown = self.outputs_left.printed(printed.len(), &self.limits, now);
        let (text, name) = (String::from_utf8_lossy(&printed[..shown]), &self.plugin.evidence.plugin);
        metrics::counter!("vitals_plugin_printed_bytes_total", "plugin" => name.clone())
            .increment(printed.len() as u64);
        self.plugin.count_dropped("printed bytes", printed.len() - shown);
        if shown > 0 {
            tracing::debug!(%tenant, plugin = name, %text, "a plugin printed");
        }
    }

    /// Of the findings of an answer, as many as the plugin may have now.
    pub(super) fn take_findings(&mut self, mut answer: abi::Findings, arrival: UnixNanos) -> abi::Findings {
        let wanted = answer.subjects.len();
        let taken = self.outputs_left.findings(wanted, &self.limits, Moment::now(arrival));
        cut_findings(&mut answer, taken);
        self.plugin.count_taken("findings", taken);
        self.plugin.count_dropped("findings", wanted - taken);
        answer
    }

    /// The scores of an answer, with texts that are not too long.
    pub(super) fn take_scores(&self, mut answer: abi::Scores) -> abi::Scores {
        let texts = answer.reasons.iter_mut().zip(&mut answer.recommendations);
        let cut = texts.map(|(reasons, advice)| cut_texts(reasons, advice, self.limits.reason_bytes)).sum();
        self.plugin.count_taken("scores", answer.rows.len());
        self.plugin.count_dropped("bytes of reasons", cut);
        answer
    }

    /// Counts rows that the plugin is not shown.
    fn skip(&self, rows: usize) {
        self.plugin.stats.lock().skipped_rows += rows as u64;
        let name = self.plugin.evidence.plugin.clone();
        metrics::counter!("vitals_plugin_skipped_rows_total", "plugin" => name).increment(rows as u64);
    }

    /// The running instance, or a new one with the last state.
    fn take_or_start(&mut self, tenant: &TenantId) -> Result<Running, Failure> {
        if let Some(running) = self.running.take() {
            return Ok(running);
        }
        self.end();
        let mut running = self.start()?;
        if self.last_state.is_empty() {
            self.closed.clear();
            self.closed_agents.clear();
            return Ok(running);
        }
        let name = &self.plugin.evidence.plugin;
        let Some(state) = decompress(&self.last_state, self.limits.memory_mb) else {
            tracing::error!(%tenant, plugin = name, "the plugin's saved state is damaged; it starts empty");
            self.drop_state();
            return Ok(running);
        };
        let restored = if self.state_version > self.plugin.manifest.state_version {
            let (found, known) = (self.state_version, self.plugin.manifest.state_version);
            Ok(Restored::Refused(format!("the state has version {found}, the plugin knows version {known}")))
        } else {
            running.restore(self.state_version, &state)
        };
        let closed: Vec<u32> = self.closed.iter().copied().collect();
        let closed_agents: Vec<u32> = self.closed_agents.iter().copied().collect();
        let restored = restored.and_then(|restored| match restored {
            Restored::Yes => close_all(&mut running, &closed)
                .and_then(|()| close_all_agents(&mut running, &closed_agents))
                .map(|()| Restored::Yes),
            refused => Ok(refused),
        });
        match restored {
            Ok(Restored::Yes) => Ok(running),
            Ok(Restored::Refused(reason)) => {
                tracing::warn!(%tenant, plugin = name, reason, "the plugin does not take its saved state; it starts empty");
                self.drop_state();
                // What it is like after half a state is not known.
                self.start()
            }
            // The state stays: whether it or the plugin is to blame is for the operator to say.
            Err(failure) => Err(failure),
        }
    }

    fn start(&self) -> Result<Running, Failure> {
        Running::start(&self.plugin.compiled, self.plugin.settings.text(), &self.limits, &self.ground)
    }

    /// Ends the instance; the next one starts from `state`, and is told that the series of `closed` are closed.
    pub(super) fn restart_from(&mut self, state: &[u8], closed: &[u32]) {
        self.end();
        self.last_state = state.to_vec();
        self.closed = closed.iter().copied().collect();
    }

    /// Drops the last state, so that the next instance starts empty.
    fn drop_state(&mut self) {
        self.last_state.clear();
        self.closed.clear();
        self.closed_agents.clear();
    }

    /// Ends the instance and forgets what it was told.
    fn end(&mut self) {
        self.running = None;
        self.opened.clear();
        self.told_agents.clear();
        self.outputs = DerivedOutputs::default();
        self.newest = i64::MIN;
    }

    fn is_quarantined(&mut self) -> bool {
        let is_quarantined = self.turns.is_quarantined(Instant::now());
        self.count();
        is_quarantined
    }

    /// Keeps the numbers of stale and quarantined instances of the plugin.
    fn count(&mut self) {
        let (stale, quarantined) = (self.turns.is_stale(), self.turns.is_quarantined(Instant::now()));
        if (stale, quarantined) == (self.counted_stale, self.counted_quarantined) {
            return;
        }
        let mut stats = self.plugin.stats.lock();
        stats.stale = stats.stale + u64::from(stale) - u64::from(self.counted_stale);
        stats.quarantined = stats.quarantined + u64::from(quarantined) - u64::from(self.counted_quarantined);
        (self.counted_stale, self.counted_quarantined) = (stale, quarantined);
    }

    fn succeeded(&mut self) {
        self.turns.succeeded(&self.limits);
        self.count();
    }

    /// Ends the instance and quarantines the plugin: what fails to start once would fail again, each time for as long as a start may
    /// take.
    fn failed_to_start(&mut self, tenant: &TenantId, failure: &Failure) {
        self.end();
        let quarantine = self.turns.start_quarantine(&self.limits, Instant::now());
        self.count_failure(tenant, failure, Some(quarantine));
    }

    /// Ends the instance.
    fn failed(&mut self, tenant: &TenantId, failure: &Failure) {
        self.end();
        self.lost_a_turn(tenant, failure);
    }

    fn lost_a_turn(&mut self, tenant: &TenantId, failure: &Failure) {
        let quarantine = self.turns.failed(&self.limits, Instant::now());
        self.count_failure(tenant, failure, quarantine);
    }

    fn count_failure(&mut self, tenant: &TenantId, failure: &Failure, quarantine: Option<Duration>) {
        let name = self.plugin.evidence.plugin.clone();
        {
            let mut stats = self.plugin.stats.lock();
            stats.failures += 1;
            stats.last_error = Some(failure.to_string());
        }
        metrics::counter!("vitals_plugin_failures_total", "plugin" => name.clone()).increment(1);
        self.count();
        let Some(length) = quarantine else {
            tracing::warn!(%tenant, plugin = name, %failure, "a plugin lost its turn");
            return;
        };
        metrics::counter!("vitals_plugin_quarantines_total", "plugin" => name.clone()).increment(1);
        tracing::error!(%tenant, plugin = name, %failure, seconds = length.as_secs(), "a plugin failed too often and is quarantined");
    }

    /// Tells the instance of the series of a batch that it does not know, and of their agents.
    pub(super) fn open_new(
        &mut self,
        running: &mut Running,
        series: &SeriesNumbers,
        numbers: &[u32],
        registry: &Registry,
    ) -> Result<(), Failure> {
        if self.opened.len() < series.len() {
            self.opened.resize(series.len(), false);
        }
        let mut fresh = Vec::new();
        for &number in numbers {
            if !std::mem::replace(&mut self.opened[number as usize], true)
                && let Some(desc) = series.description(number)
            {
                fresh.push((number, desc));
            }
        }
        self.told += fresh.len();
        if fresh.is_empty() {
            return Ok(());
        }
        let agents = fresh.iter().map(|(_, desc)| desc.agent);
        self.told_agents.open_new(running, &self.plugin, registry, agents)?;
        let seed_of = |id| self.ground.seed_of(id);
        let infos = fresh.iter().map(|&(number, desc)| abi::SeriesInfo::new(number, desc, seed_of(desc.id)));
        let fresh: Vec<abi::SeriesInfo<'_>> = infos.collect();
        fresh.chunks(OPEN_AT_ONCE).try_for_each(|some| running.open_series(some))
    }

    /// Forgets series. A running instance is told at once; the next one is told when it starts from an earlier state.
    pub(super) fn close(&mut self, tenant: &TenantId, numbers: &BTreeSet<u32>) {
        if !self.plugin.compiled.kind.watches() {
            return;
        }
        self.closed.extend(numbers);
        let Some(mut running) = self.running.take() else { return };
        let was_told = |number: &u32| self.opened.get(*number as usize).copied().unwrap_or_default();
        let known: Vec<u32> =
            numbers.iter().copied().filter(|number| was_told(number) || !self.last_state.is_empty()).collect();
        match close_all(&mut running, &known) {
            Ok(()) => self.running = Some(running),
            Err(failure) => return self.failed(tenant, &failure),
        }
        for &number in numbers {
            if let Some(opened) = self.opened.get_mut(number as usize) {
                *opened = false;
            }
        }
        self.outputs.close(numbers);
    }

    /// Forgets agents, as [`PluginInstance::close`] forgets series.
    pub(super) fn close_agents(&mut self, tenant: &TenantId, agents: &BTreeSet<u32>) {
        self.closed_agents.extend(agents);
        let Some(mut running) = self.running.take() else { return };
        let has_state = !self.last_state.is_empty();
        let known: Vec<u32> =
            agents.iter().copied().filter(|&agent| self.told_agents.close(agent) || has_state).collect();
        match close_all_agents(&mut running, &known) {
            Ok(()) => self.running = Some(running),
            Err(failure) => self.failed(tenant, &failure),
        }
    }

    /// The plugin's state, compressed; the last one when it gives none now. So many series are known to the tenant's plugins.
    pub(super) fn save(&mut self, tenant: &TenantId, series: usize) -> Vec<u8> {
        let Some(mut running) = self.running.take() else { return self.last_state.clone() };
        let most = self.limits.state_mb.saturating_mul(1 << 20);
        let most = most.saturating_add(self.limits.state_bytes_per_series.saturating_mul(series));
        match running.snapshot(most) {
            Ok(state) => {
                self.running = Some(running);
                self.last_state = compress(&state);
                self.state_version = self.plugin.manifest.state_version;
                self.closed.clear();
                self.closed_agents.clear();
            }
            Err(failure) => self.failed(tenant, &failure),
        }
        self.last_state.clone()
    }
}

impl Drop for PluginInstance {
    /// Takes the instance out of the numbers of stale and quarantined ones.
    fn drop(&mut self) {
        let mut stats = self.plugin.stats.lock();
        stats.stale -= u64::from(self.counted_stale);
        stats.quarantined -= u64::from(self.counted_quarantined);
    }
}

/// Tells an instance that agents are closed.
fn close_all_agents(running: &mut Running, numbers: &[u32]) -> Result<(), Failure> {
    numbers.chunks(CLOSE_AT_ONCE).try_for_each(|some| running.close_agents(some))
}

/// Tells an instance that series are closed.
fn close_all(running: &mut Running, numbers: &[u32]) -> Result<(), Failure> {
    numbers.chunks(CLOSE_AT_ONCE).try_for_each(|some| running.close_series(some))
}
