//! What a shard asks of one tenant's plugins: the WebAssembly host implements it, and the native rules do
//! for benches and tests.

use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::record::Measurements;
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::{AgentHealth, Evidence, OutlierVerdict, SlaVerdict};

/// Samples that a deriver made, as new series of the agents that own the rows they came from.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The plugin that made them.
    pub evidence: Arc<Evidence>,
    /// The series.
    pub series: Vec<DerivedSeries>,
    /// Sample by sample: index into `series`, time, value. In order of time within a series.
    pub rows: Vec<(u32, UnixNanos, f64)>,
}

/// One series that a deriver makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DerivedSeries {
    /// From which series, the one with the lowest number if there are several.
    pub from: SeriesId,
    /// The others.
    pub also: Vec<SeriesId>,
    /// Its metric name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
}

/// Findings of one outlier detector without data.
#[derive(Clone, Debug)]
pub struct TickFindings {
    /// The plugin that found them.
    pub evidence: Arc<Evidence>,
    /// What was found; the values are NaN.
    pub found: Vec<OutlierVerdict>,
}

/// How many series each deriver may make for a tenant, counted over all that it ever made.
#[derive(Clone, Copy, Debug)]
pub struct DerivedLimits {
    /// From one series.
    pub per_series: usize,
    /// On one shard.
    pub per_plugin: usize,
}

impl Default for DerivedLimits {
    /// As many as it likes.
    fn default() -> Self {
        Self { per_series: usize::MAX, per_plugin: usize::MAX }
    }
}

/// Findings of one outlier detector in one batch.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The plugin that found them.
    pub evidence: Arc<Evidence>,
    /// Row of the batch, and what was found there.
    pub rows: Vec<(usize, OutlierVerdict)>,
}

/// What a health scorer sees of an agent.
#[derive(Clone, Copy, Debug)]
pub struct AgentView {
    /// Which agent.
    pub agent: AgentId,
    /// The time of the newest measurement in `measurements`.
    pub time: UnixNanos,
    /// The last measurements.
    pub measurements: Measurements,
    /// Availability over the last 24 h, percent of the known time; `None` when nothing is known.
    pub uptime_percent: Option<f64>,
}

/// What an SLA evaluator sees of an agent. Seconds; `known` = up + down (maintenance is in neither).
#[derive(Clone, Copy, Debug)]
pub struct SlaView {
    /// Which agent.
    pub agent: AgentId,
    /// The objective, percent, over `period`.
    pub target: f64,
    /// (known, down) over the objective's period (default 30 days).
    pub period: (f64, f64),
    /// (known, down) over the last hour.
    pub hour: (f64, f64),
    /// (known, down) over the last 6 hours.
    pub six_hours: (f64, f64),
    /// (known, down) over the last 3 days.
    pub three_days: (f64, f64),
}

/// One tenant's plugins on one shard. Called from one thread. A plugin that fails answers nothing for that
/// call; the implementation keeps account of it. Batches are sorted by (series, time).
pub trait TenantPlugins {
    /// Says when the latest record arrived: by that clock, too, plugins have their time, in a replay as they had it before.
    fn arrived(&mut self, _latest: UnixNanos) {}
    /// Tells of a series before its first row is shown; once for each instance, after [`TenantPlugins::restore`] if that is
    /// called, and again after [`TenantPlugins::close`].
    fn open(&mut self, series: &Arc<SeriesDesc>);
    /// The plugins forget these series, whether they were told of them or restored their state. A series that comes back is
    /// told of by [`TenantPlugins::open`] again and starts without a past.
    fn close(&mut self, series: &[SeriesId]);
    /// The plugins forget these agents, as [`TenantPlugins::close`] has them forget series.
    fn close_agents(&mut self, agents: &[AgentId]) {
        let _ = agents;
    }
    /// How many derivers there are.
    fn derivers(&self) -> usize {
        1
    }
    /// What a deriver makes of a batch.
    fn derive_with(&mut self, deriver: usize, batch: &Columns) -> Option<Derived>;
    /// What each deriver makes of a batch.
    fn derive(&mut self, batch: &Columns) -> Vec<Derived> {
        (0..self.derivers()).filter_map(|deriver| self.derive_with(deriver, batch)).collect()
    }
    /// Whether there would be more live instances than there may be, over all tenants, if one more tenant's plugins were started.
    fn are_too_many(&self) -> bool {
        false
    }
    /// How many series derivers may make.
    fn derived_limits(&self) -> DerivedLimits {
        DerivedLimits::default()
    }
    /// Hears that series of a deriver were not taken because they are too many.
    fn refused_derived(&mut self, _plugin: &str, _series: usize) {}
    /// Outliers among `batch`.
    fn detect(&mut self, batch: &Columns) -> Vec<Findings>;
    /// Whether a plugin asks to be called without data.
    fn wants_ticks(&self) -> bool {
        false
    }
    /// Time, as the plugins are told it, has come to `now`. Called before anything else but [`TenantPlugins::restore`].
    fn advance(&mut self, now: UnixNanos) {
        let _ = now;
    }
    /// When the next call without data is due.
    fn next_tick(&self) -> Option<UnixNanos> {
        None
    }
    /// What a deriver makes of the tick at `now`, if it has one.
    fn tick_deriver(&mut self, deriver: usize, now: UnixNanos) -> Option<Derived> {
        let _ = (deriver, now);
        None
    }
    /// What detectors find at the tick at `now`.
    fn tick_detectors(&mut self, now: UnixNanos) -> Vec<TickFindings> {
        let _ = now;
        Vec::new()
    }
    /// A health score for each row of `views` (by its number there), from each scorer that answered. An agent may stand in
    /// several rows, in the order in which they are to be judged.
    fn assess(&mut self, views: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)>;
    /// An SLA report for each agent, from each evaluator that answered.
    fn report(&mut self, views: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)>;
    /// The state of all plugins, to be given to [`TenantPlugins::restore`] after a restart.
    fn snapshot(&mut self) -> Vec<u8>;
    /// Puts back what [`TenantPlugins::snapshot`] gave. State of a plugin that is gone is kept for it, a new plugin starts empty.
    /// Called before anything else, or never.
    fn restore(&mut self, state: &[u8]);
}
