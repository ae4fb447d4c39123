//! One tenant's instances on one shard.

use super::abi;
use super::call_columns::{AgentColumns, ObjectiveColumns};
use super::component::PluginKind;
use super::config::PluginLimits;
use super::error::{Failure, InvalidAnswer};
use super::plugin::Plugin;
use super::running::{Restored, Running};
use crate::evaluate::tenant_plugins::{AgentView, Derived, DerivedSeries, Findings, SlaView, TenantPlugins};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::{AgentHealth, Evidence, OutlierVerdict, SlaVerdict};

/// Series told of in one call.
const OPEN_AT_ONCE: usize = 1024;
/// Series closed in one call.
const CLOSE_AT_ONCE: usize = 16_384;
/// No number, no place.
const NONE: u32 = u32::MAX;

/// Instances of all plugins for one tenant.
pub(super) struct WasmPlugins {
    tenant: TenantId,
    slots: Vec<PluginInstance>,
    series: Numbers,
    batch: CallInput,
}

impl WasmPlugins {
    pub(super) fn new(tenant: TenantId, plugins: &[Arc<Plugin>], limits: Arc<PluginLimits>) -> Self {
        let slots = plugins.iter().map(|plugin| PluginInstance::new(plugin.clone(), limits.clone())).collect();
        Self { tenant, slots, series: Numbers::default(), batch: CallInput::default() }
    }

    /// One turn for each plugin of `kind`; what answers.
    fn each<T>(
        &mut self,
        kind: PluginKind,
        mut turn: impl FnMut(&mut PluginInstance, &mut Running, &Numbers, &CallInput) -> Result<T, Failure>,
    ) -> Vec<(Arc<Evidence>, T)> {
        let Self { tenant, slots, series, batch } = self;
        slots
            .iter_mut()
            .filter(|slot| slot.plugin.compiled.kind == kind)
            .filter_map(|slot| {
                let evidence = slot.plugin.evidence.clone();
                let answer = slot.turn(tenant, |slot, running| turn(slot, running, series, batch))?;
                Some((evidence, answer))
            })
            .collect()
    }
}

impl TenantPlugins for WasmPlugins {
    fn open(&mut self, series: &Arc<SeriesDesc>) {
        self.series.open(series);
    }

    fn close(&mut self, series: &[SeriesId]) {
        let numbers: BTreeSet<u32> = series.iter().filter_map(|id| self.series.close(*id)).collect();
        if !numbers.is_empty() {
            self.slots.iter_mut().for_each(|slot| slot.close(&self.tenant, &numbers));
        }
    }

    fn derive(&mut self, batch: &Columns) -> Vec<Derived> {
        self.batch.number(&mut self.series, batch);
        if self.batch.series.is_empty() {
            return Vec::new();
        }
        let answers = self.each(PluginKind::MetricDeriver, |slot, running, series, batch| {
            slot.open_new(running, series, &batch.series)?;
            let answer = running.derive(&batch.series, batch.times(), batch.values())?;
            slot.outputs.take(answer, batch, series, slot.limits.outputs_per_series)
        });
        let answers = answers.into_iter().filter(|(_, (_, rows))| !rows.is_empty());
        answers.map(|(evidence, (series, rows))| Derived { evidence, series, rows }).collect()
    }

    fn detect(&mut self, batch: &Columns) -> Vec<Findings> {
        self.batch.number(&mut self.series, batch);
        if self.batch.series.is_empty() {
            return Vec::new();
        }
        let answers = self.each(PluginKind::OutlierDetector, |slot, running, series, batch| {
            slot.open_new(running, series, &batch.series)?;
            running.detect(&batch.series, batch.times(), batch.values())
        });
        let place = &self.batch;
        let verdict = |answer: &abi::Findings, i: usize| {
            let row = place.row(answer.rows[i]);
            let found = OutlierVerdict {
                series: SeriesId(batch.series[row]),
                value: batch.values[row],
                lower: answer.lower[i],
                upper: answer.upper[i],
                score: answer.scores[i],
                window: answer.windows[i],
            };
            (row, found)
        };
        let answers = answers.into_iter().filter(|(_, answer)| !answer.rows.is_empty());
        answers
            .map(|(evidence, answer)| Findings {
                evidence,
                rows: (0..answer.rows.len()).map(|i| verdict(&answer, i)).collect(),
            })
            .collect()
    }

    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
        if views.is_empty() {
            return Vec::new();
        }
        let columns = AgentColumns::new(views);
        let answers = self.each(PluginKind::HealthScorer, |_, running, _, _| running.score(&columns.lower()));
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
        let answers = self.each(PluginKind::SlaEvaluator, |_, running, _, _| running.evaluate(&columns.lower()));
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

    fn snapshot(&mut self) -> Vec<u8> {
        let tenant = self.tenant.clone();
        let plugins = self
            .slots
            .iter_mut()
            .map(|slot| {
                let state = slot.save(&tenant);
                let closed = slot.closed.iter().copied().collect();
                Saved { name: slot.plugin.evidence.plugin.clone(), state, closed }
            })
            .collect();
        let saved = SavedAll { series: self.series.known.iter().map(|known| known.id.0).collect(), plugins };
        // Vectors of numbers and bytes: there is nothing that cannot be written.
        postcard::to_stdvec(&saved).unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) {
        let saved: SavedAll = match postcard::from_bytes(state) {
            Ok(saved) => saved,
            Err(error) => {
                tracing::error!(tenant = %self.tenant, %error, "the saved state of the plugins cannot be read; they start empty");
                return;
            }
        };
        self.series = Numbers::restored(saved.series);
        for slot in &mut self.slots {
            slot.forget();
            slot.good.clear();
            slot.closed.clear();
            if let Some(own) = saved.plugins.iter().find(|one| one.name == slot.plugin.evidence.plugin) {
                slot.good.clone_from(&own.state);
                slot.closed.extend(&own.closed);
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SavedAll {
    /// The series of each number.
    series: Vec<u32>,
    plugins: Vec<Saved>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    name: String,
    /// Compressed.
    state: Vec<u8>,
    /// Numbers of series that were closed since that state.
    closed: Vec<u32>,
}

/// Series by small dense numbers, the same for all plugins of the tenant.
#[derive(Default)]
struct Numbers {
    /// By `SeriesId`.
    numbers: Vec<u32>,
    /// By number.
    known: Vec<Known>,
}

struct Known {
    id: SeriesId,
    /// Missing for a series of a restored state until the shard tells of it again.
    desc: Option<Arc<SeriesDesc>>,
}

impl Numbers {
    fn restored(ids: Vec<u32>) -> Self {
        let mut numbers = Self::default();
        for id in ids {
            numbers.add(SeriesId(id));
        }
        numbers
    }

    fn open(&mut self, desc: &Arc<SeriesDesc>) {
        let number = match self.get(desc.id) {
            Some(number) => number,
            None => self.add(desc.id),
        };
        self.known[number as usize].desc = Some(desc.clone());
    }

    /// Shows a series to nobody until it is opened again; its number, if it has one. The series keeps it: no state that a plugin
    /// may still have of it can become the state of another series.
    fn close(&mut self, id: SeriesId) -> Option<u32> {
        let number = self.get(id)?;
        self.known[number as usize].desc = None;
        Some(number)
    }

    fn add(&mut self, id: SeriesId) -> u32 {
        let at = id.0 as usize;
        if at >= self.numbers.len() {
            self.numbers.resize(at + 1, NONE);
        }
        // Ids are drawn from one counter of 32 bits.
        let number = u32::try_from(self.known.len()).unwrap_or(NONE);
        self.numbers[at] = number;
        self.known.push(Known { id, desc: None });
        number
    }

    fn get(&self, id: SeriesId) -> Option<u32> {
        self.numbers.get(id.0 as usize).copied().filter(|&number| number != NONE)
    }

    /// The number of a series that can be shown to plugins.
    fn shown(&self, id: SeriesId) -> Option<u32> {
        self.get(id).filter(|&number| self.known[number as usize].desc.is_some())
    }
}

/// A batch as plugins see it: with numbers for series, without rows of series that nobody told of.
#[derive(Default)]
struct CallInput {
    series: Vec<u32>,
    times: Vec<i64>,
    values: Vec<f64>,
    /// The row of the shard's batch for each row here; empty when they are the same.
    rows: Vec<u32>,
}

impl CallInput {
    fn number(&mut self, numbers: &mut Numbers, batch: &Columns) {
        self.series.clear();
        self.rows.clear();
        self.times.clone_from(&batch.times);
        self.values.clone_from(&batch.values);
        // Rows of one series stand together.
        let mut last = None;
        for &id in &batch.series {
            let number = match last {
                Some((known, number)) if known == id => number,
                _ => numbers.shown(SeriesId(id)).unwrap_or(NONE),
            };
            last = Some((id, number));
            self.series.push(number);
        }
        if self.series.contains(&NONE) {
            self.leave_out_unknown();
        }
    }

    fn leave_out_unknown(&mut self) {
        let kept: Vec<usize> = (0..self.series.len()).filter(|&row| self.series[row] != NONE).collect();
        let lost = self.series.len() - kept.len();
        metrics::counter!("vitals_plugin_rows_skipped_total").increment(lost as u64);
        self.times = kept.iter().map(|&row| self.times[row]).collect();
        self.values = kept.iter().map(|&row| self.values[row]).collect();
        self.series = kept.iter().map(|&row| self.series[row]).collect();
        self.rows = kept.into_iter().map(|row| u32::try_from(row).unwrap_or(NONE)).collect();
    }

    fn times(&self) -> &[i64] {
        &self.times
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    /// The shard's row.
    fn row(&self, row: u32) -> usize {
        self.rows.get(row as usize).map_or(row as usize, |&row| row as usize)
    }
}

/// A plugin's place: an instance, if it is well, and what is needed to start another.
struct PluginInstance {
    plugin: Arc<Plugin>,
    limits: Arc<PluginLimits>,
    running: Option<Running>,
    /// The last good state, compressed.
    good: Vec<u8>,
    /// Numbers of series that were closed since that state was taken: an instance that starts from it is told of them.
    closed: BTreeSet<u32>,
    /// By series number: whether the instance was told of it.
    opened: Vec<bool>,
    outputs: DerivedOutputs,
    /// Failures since the last good turn.
    failures: u32,
    quarantine: Option<Quarantine>,
}

#[derive(Clone, Copy)]
struct Quarantine {
    until: Instant,
    length: Duration,
    /// Whether it lasts; a plugin on probation has one that is over.
    counted: bool,
}

impl PluginInstance {
    fn new(plugin: Arc<Plugin>, limits: Arc<PluginLimits>) -> Self {
        Self {
            plugin,
            limits,
            running: None,
            good: Vec::new(),
            closed: BTreeSet::new(),
            opened: Vec::new(),
            outputs: DerivedOutputs::default(),
            failures: 0,
            quarantine: None,
        }
    }

    /// Lets the plugin work, unless it is quarantined. A failure costs it the instance.
    fn turn<T>(
        &mut self,
        tenant: &TenantId,
        work: impl FnOnce(&mut Self, &mut Running) -> Result<T, Failure>,
    ) -> Option<T> {
        if self.is_quarantined() {
            return None;
        }
        self.plugin.stats.lock().calls += 1;
        metrics::counter!("vitals_plugin_calls_total", "plugin" => self.plugin.evidence.plugin.clone()).increment(1);
        let answer = self.take_or_start(tenant).and_then(|mut running| {
            let answer = work(self, &mut running)?;
            self.running = Some(running);
            Ok(answer)
        });
        match answer {
            Ok(answer) => {
                self.went_well();
                Some(answer)
            }
            Err(failure) => {
                self.failed(tenant, &failure);
                None
            }
        }
    }

    fn take_or_start(&mut self, tenant: &TenantId) -> Result<Running, Failure> {
        if let Some(running) = self.running.take() {
            return Ok(running);
        }
        self.forget();
        let mut running = Running::start(&self.plugin.compiled, &self.plugin.config, &self.limits)?;
        if self.good.is_empty() {
            self.closed.clear();
            return Ok(running);
        }
        let name = &self.plugin.evidence.plugin;
        let Some(state) = decompress(&self.good, self.limits.memory_mb) else {
            tracing::error!(%tenant, plugin = name, "the plugin's saved state is damaged; it starts empty");
            self.drop_state();
            return Ok(running);
        };
        let restored = running.restore(&state, &self.limits);
        let closed: Vec<u32> = self.closed.iter().copied().collect();
        let restored = restored.and_then(|restored| match restored {
            Restored::Yes => close_all(&mut running, &closed).map(|()| Restored::Yes),
            refused => Ok(refused),
        });
        match restored {
            Ok(Restored::Yes) => Ok(running),
            Ok(Restored::Refused(reason)) => {
                tracing::warn!(%tenant, plugin = name, reason, "the plugin does not take its saved state; it starts empty");
                self.drop_state();
                // What it is like after half a state is not known.
                Running::start(&self.plugin.compiled, &self.plugin.config, &self.limits)
            }
            Err(failure) => {
                // Next time without that state.
                self.drop_state();
                Err(failure)
            }
        }
    }

    /// The next instance starts empty.
    fn drop_state(&mut self) {
        self.good.clear();
        self.closed.clear();
    }

    /// What a new instance does not know.
    fn forget(&mut self) {
        self.running = None;
        self.opened.clear();
        self.outputs = DerivedOutputs::default();
    }

    fn is_quarantined(&mut self) -> bool {
        let Some(quarantine) = &mut self.quarantine else { return false };
        if Instant::now() < quarantine.until {
            return true;
        }
        if std::mem::take(&mut quarantine.counted) {
            self.plugin.stats.lock().quarantined -= 1;
        }
        false
    }

    fn went_well(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.plugin.stats.lock().stale -= 1;
        }
        self.quarantine = None;
    }

    fn failed(&mut self, tenant: &TenantId, failure: &Failure) {
        let name = self.plugin.evidence.plugin.clone();
        self.forget();
        self.failures = self.failures.saturating_add(1);
        let mut stats = self.plugin.stats.lock();
        stats.failures += 1;
        stats.last_error = Some(failure.to_string());
        if self.failures == 1 {
            stats.stale += 1;
        }
        metrics::counter!("vitals_plugin_failures_total", "plugin" => name.clone()).increment(1);
        if self.failures < self.limits.failures {
            tracing::warn!(%tenant, plugin = name, %failure, "a plugin lost its turn");
            return;
        }
        // On probation after a quarantine one failure is enough for the next one, twice as long.
        let longest = Duration::from_secs(self.limits.quarantine_max_seconds);
        let first = Duration::from_secs(self.limits.quarantine_seconds);
        let length = self.quarantine.map_or(first, |earlier| earlier.length.saturating_mul(2)).min(longest);
        self.quarantine = Some(Quarantine { until: Instant::now() + length, length, counted: true });
        stats.quarantined += 1;
        metrics::counter!("vitals_plugin_quarantines_total", "plugin" => name.clone()).increment(1);
        tracing::error!(%tenant, plugin = name, %failure, seconds = length.as_secs(), "a plugin failed too often and is quarantined");
    }

    /// Tells the instance of the series of a batch that it does not know.
    fn open_new(&mut self, running: &mut Running, series: &Numbers, numbers: &[u32]) -> Result<(), Failure> {
        if self.opened.len() < series.known.len() {
            self.opened.resize(series.known.len(), false);
        }
        let mut fresh = Vec::new();
        for &number in numbers {
            if !std::mem::replace(&mut self.opened[number as usize], true)
                && let Some(desc) = &series.known[number as usize].desc
            {
                fresh.push(abi::SeriesInfo::new(number, desc));
            }
        }
        fresh.chunks(OPEN_AT_ONCE).try_for_each(|some| running.open_series(some))
    }

    /// Forgets series. A running instance is told at once; the next one is told when it starts from an earlier state.
    fn close(&mut self, tenant: &TenantId, numbers: &BTreeSet<u32>) {
        if !matches!(self.plugin.compiled.kind, PluginKind::MetricDeriver | PluginKind::OutlierDetector) {
            return;
        }
        self.closed.extend(numbers);
        let Some(mut running) = self.running.take() else { return };
        let told = |number: &u32| self.opened.get(*number as usize).copied().unwrap_or_default();
        let known: Vec<u32> = numbers.iter().copied().filter(|number| told(number) || !self.good.is_empty()).collect();
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

    /// The plugin's state, compressed; the last good one when it has none now.
    fn save(&mut self, tenant: &TenantId) -> Vec<u8> {
        let Some(mut running) = self.running.take() else { return self.good.clone() };
        match running.snapshot() {
            Ok(state) => {
                self.running = Some(running);
                self.good = compress(&state);
                self.closed.clear();
            }
            Err(failure) => self.failed(tenant, &failure),
        }
        self.good.clone()
    }
}

impl Drop for PluginInstance {
    /// An instance that is put away is neither stale nor quarantined any more.
    fn drop(&mut self) {
        let mut stats = self.plugin.stats.lock();
        stats.stale -= u64::from(self.failures > 0);
        stats.quarantined -= u64::from(self.quarantine.is_some_and(|quarantine| quarantine.counted));
    }
}

/// Tells an instance that series are closed.
fn close_all(running: &mut Running, numbers: &[u32]) -> Result<(), Failure> {
    numbers.chunks(CLOSE_AT_ONCE).try_for_each(|some| running.close_series(some))
}

/// States are floats and small numbers; the fastest level already takes most of what there is to take.
fn compress(state: &[u8]) -> Vec<u8> {
    if state.is_empty() {
        return Vec::new();
    }
    zstd::bulk::compress(state, 1).unwrap_or_default()
}

fn decompress(compressed: &[u8], memory_mb: usize) -> Option<Vec<u8>> {
    let mut state = Vec::new();
    let limit = (memory_mb as u64) << 20;
    let read = zstd::Decoder::new(compressed).ok()?.take(limit + 1).read_to_end(&mut state).ok()?;
    (read as u64 <= limit).then_some(state)
}

/// The series that a deriver's instance has declared.
#[derive(Default)]
struct DerivedOutputs {
    declared: Vec<DerivedOutput>,
    /// By series number: how many were declared.
    of_source: Vec<u16>,
}

struct DerivedOutput {
    source: u32,
    series: DerivedSeries,
    /// Its place in the answer that is made, and the last row there.
    place: u32,
    row: u32,
}

type DerivedRows = (Vec<DerivedSeries>, Vec<(u32, UnixNanos, f64)>);

impl DerivedOutputs {
    /// Takes what is declared, checks each row against it, and gives the rows with the series that they use.
    fn take(
        &mut self,
        answer: abi::Derived,
        batch: &CallInput,
        series: &Numbers,
        per_series: usize,
    ) -> Result<DerivedRows, Failure> {
        for new in answer.series {
            self.declare(new, series, per_series)?;
        }
        let (mut used, mut rows) = (Vec::new(), Vec::with_capacity(answer.rows.len()));
        let mut touched = Vec::new();
        let mut result = Ok(());
        for ((&row, &number), &value) in answer.rows.iter().zip(&answer.outputs).zip(&answer.values) {
            let Some(output) = self.declared.get_mut(number as usize) else {
                result = Err(InvalidAnswer::Output(number));
                break;
            };
            if output.source != batch.series[row as usize] {
                result = Err(InvalidAnswer::Source(output.source));
                break;
            }
            if output.place == NONE {
                output.place = u32::try_from(used.len()).unwrap_or(NONE);
                used.push(output.series.clone());
                touched.push(number);
            } else if output.row == row {
                result = Err(InvalidAnswer::Order(row));
                break;
            }
            output.row = row;
            rows.push((output.place, UnixNanos(batch.times[row as usize]), value));
        }
        touched.iter().for_each(|&number| self.declared[number as usize].place = NONE);
        result?;
        Ok((used, rows))
    }

    /// What was declared of these series belongs to nothing any more; they may declare as much again.
    fn close(&mut self, numbers: &BTreeSet<u32>) {
        for output in self.declared.iter_mut().filter(|output| numbers.contains(&output.source)) {
            output.source = NONE;
        }
        for &number in numbers {
            if let Some(count) = self.of_source.get_mut(number as usize) {
                *count = 0;
            }
        }
    }

    fn declare(&mut self, new: abi::OutputSeries, series: &Numbers, per_series: usize) -> Result<(), InvalidAnswer> {
        let at = new.source as usize;
        let known =
            series.known.get(at).filter(|known| known.desc.is_some()).ok_or(InvalidAnswer::Source(new.source))?;
        if !(1..=255).contains(&new.metric.len()) {
            return Err(InvalidAnswer::Name(new.metric.len()));
        }
        if new.unit.len() > 63 {
            return Err(InvalidAnswer::Name(new.unit.len()));
        }
        if at >= self.of_source.len() {
            self.of_source.resize(at + 1, 0);
        }
        if usize::from(self.of_source[at]) >= per_series.min(usize::from(u16::MAX)) {
            return Err(InvalidAnswer::Outputs(per_series));
        }
        self.of_source[at] += 1;
        let derived = DerivedSeries { from: known.id, metric: new.metric, unit: new.unit };
        self.declared.push(DerivedOutput { source: new.source, series: derived, place: NONE, row: NONE });
        Ok(())
    }
}
