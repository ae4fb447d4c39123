//! One partition's evaluation: records in, verdicts out, in order of position.
//!
//! A shard is plain and synchronous, and never asks the clock; [`super::run`] drives it. [`Shard::take`] calls the parts in
//! this order:
//!
//! - `rows`: the rows of a record in order of time, without those that came before; increments added up, resets made good
//! - `readings`: the measurements of the agents that send samples; `thresholds`: the REST metrics that others report
//! - `heartbeats`: evidence of life, with measurements and an answer
//! - `scores`: the health of agents, by the scorers
//! - `derived`: series that the derivers make; then the detectors see all rows of the batch
//! - `outliers`: what the detectors find becomes verdicts and alerts
//! - `replies`: what the senders that wait are told
//! - `plugin_clock`: the time that plugins are told, between records
//!
//! As time goes on, [`Shard::tick`] calls `agent_monitor` (silence, alerts that are due), `maintenance_plan`, `clocks`, `sla`,
//! and suspends idle `plugins`.

mod agent_monitor;
mod audit;
mod clocks;
mod derived;
mod heartbeats;
mod maintenance_plan;
mod outliers;
mod plugin_clock;
mod plugins;
mod readings;
mod replies;
mod rows;
mod scores;
mod shared;
mod sla;
mod tenants;
mod thresholds;

use super::agents::Agent;
use super::alert_log::{self, AlertLog};
use super::config::EvaluateConfig;
use super::last_heard::LastHeard;
use super::series_tracker::{RowCounts, SeriesTracker};
use super::state::{self, Living, PluginState, StateError};
use super::tenant_plugins::TenantPlugins;
use agent_monitor::AgentMonitor;
use derived::{DerivedSeriesTable, DeriverInput};
use hashbrown::HashMap;
use plugins::PluginInstances;
use readings::ReadingMaker;
use replies::{BatchProgress, Reply};
use rows::RowRouter;
use scores::{PendingScore, ScoreCause, ScoreQueue};
use shared::Shared;
use sla::SlaSchedule;
use std::mem;
use std::sync::Arc;
use tenants::{ShardTenant, Tenants};
use vitals_core::alert_command::AlertCommand;
use vitals_core::availability::Beat;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::LiveAgents;
use vitals_core::maintenance::PersonWindow;
use vitals_core::record::{Delivery, Heartbeat, Outcome, Record, Samples, Ticket};
use vitals_core::registry::Registry;
use vitals_core::rules::incidents::IncidentGrouper;
use vitals_core::store::{Checkpoint, EvaluationOutput, RetiredAgent, Store};
use vitals_core::verdict::{Alert, Event, OutlierVerdict};

/// Makes the plugins of a tenant.
pub type PluginFactory = Arc<dyn Fn(&TenantId) -> Box<dyn TenantPlugins> + Send + Sync>;
/// Hears of everything that is written to the store.
pub type Observe = Arc<dyn Fn(&Arc<EvaluationOutput>) + Send + Sync>;
/// Called before a checkpoint: returns when what was observed so far needs no replay any more.
pub type Settle = Arc<dyn Fn() + Send + Sync>;

/// What a shard works with.
#[derive(Clone)]
pub(super) struct ShardContext {
    pub(super) plugins: PluginFactory,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<dyn Store>,
    pub(super) live_agents: Arc<LiveAgents>,
    pub(super) observe: Observe,
}

pub(super) struct Shard {
    partition: Partition,
    store: Arc<dyn Store>,
    observe: Observe,
    shared: Shared,
    tenants: Tenants,
    series: SeriesTracker,
    rows_by_tenant: RowRouter,
    readings: ReadingMaker,
    agents: AgentMonitor,
    scores: ScoreQueue,
    derived: DerivedSeriesTable,
    incidents: IncidentGrouper,
    plugins: PluginInstances,
    last_heard: LastHeard,
    sla: SlaSchedule,
    alert_log: AlertLog,
    /// The last record taken.
    position: Position,
    /// What the stored state of the plugins includes.
    included: Position,
    /// Rows taken since the last checkpoint.
    pub(super) rows: u64,
    /// Whether anything happened since the last checkpoint.
    pub(super) dirty: bool,
}

impl Shard {
    pub(super) fn new(partition: Partition, config: Arc<EvaluateConfig>, context: ShardContext) -> Self {
        let ShardContext { plugins, registry, store, live_agents, observe } = context;
        Self {
            partition,
            store,
            observe,
            tenants: Tenants::default(),
            series: SeriesTracker::new(registry.clone()),
            rows_by_tenant: RowRouter::default(),
            readings: ReadingMaker::default(),
            agents: AgentMonitor::new(&config),
            scores: ScoreQueue::default(),
            derived: DerivedSeriesTable::default(),
            incidents: IncidentGrouper::default(),
            plugins: PluginInstances::new(plugins),
            last_heard: LastHeard::default(),
            sla: SlaSchedule::default(),
            alert_log: AlertLog::default(),
            shared: Shared::new(config, registry, live_agents),
            position: Position(0),
            included: Position(0),
            rows: 0,
            dirty: false,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The latest arrival of a record.
    pub(super) fn latest_arrival(&self) -> UnixNanos {
        self.shared.latest_arrival
    }

    /// Takes records in order. Answers their senders, writes to the store, gives back their permits.
    pub(super) fn take(&mut self, batch: &mut Vec<Delivery>) {
        let mut progress = BatchProgress::default();
        let mut permits = Vec::with_capacity(batch.len());
        let mut counts = RowCounts::default();
        for Delivery { position, record, ticket: Ticket { permit, reply } } in batch.drain(..) {
            if position <= self.position {
                continue;
            }
            self.position = position;
            self.dirty = true;
            permits.push(permit);
            match record {
                Record::Describe { agents, series } => {
                    // A description that was under way when its agent was retired comes behind that.
                    let Shared { out, registry, .. } = &mut self.shared;
                    out.agents.extend(agents.into_iter().filter(|agent| registry.is_current(agent.id)));
                    out.series.extend(series.into_iter().filter(|series| registry.is_current(series.agent)));
                }
                Record::Samples(samples) => counts.add(self.take_samples(samples, reply, &mut progress)),
                Record::Heartbeat(heartbeat) => counts.add(self.take_heartbeat(heartbeat, reply, &mut progress)),
                Record::Audit(entry) => {
                    self.note(entry);
                    progress.confirm_later(reply, Outcome::default());
                }
                Record::Retire { agent, by, at } => {
                    self.judge_before_change(&mut progress);
                    self.retire(agent, (&by, at), &mut progress);
                    progress.confirm_later(reply, Outcome::default());
                }
                Record::Maintenance(window) => {
                    self.judge_before_change(&mut progress);
                    self.set_maintenance(window);
                    progress.confirm_later(reply, Outcome::default());
                }
                Record::Alert(command) => {
                    self.judge_before_change(&mut progress);
                    let alert = self.command(command);
                    progress.confirm_later(reply, Outcome { alert, ..Outcome::default() });
                }
            }
        }
        self.rows += counts.fresh + counts.late + counts.ahead;
        if !self.shared.is_rebuilding {
            counts.count();
        }
        self.apply_scores(&mut progress);
        for tenant in 0..self.tenants.len() {
            self.judge_rows(tenant, &mut progress.outliers);
        }
        self.emit();
        progress.answer();
        drop(permits);
    }

    /// Forgets an agent: what is open of it ends, its plugins' state goes, and the store and the registry forget it.
    fn retire(&mut self, agent: AgentId, (by, at): (&str, UnixNanos), progress: &mut BatchProgress) {
        let Some(desc) = self.shared.registry.agent(agent) else { return };
        let tenant = self.tenant(&desc.tenant);
        // What came before is judged before.
        self.judge_rows(tenant.index, &mut progress.outliers);
        self.plugins.close(tenant.index, &[agent], &mut self.series, &self.shared);
        let series: Vec<SeriesId> = self.shared.registry.series_of(agent).iter().map(|series| series.id).collect();
        for &id in &series {
            self.series.forget(id);
            self.incidents.close(id);
        }
        self.last_heard.forget(agent);
        self.agents.retire(agent, &mut self.shared);
        if !self.shared.is_rebuilding {
            alert_log::retired(&desc, by);
            self.note_retired(&desc, series.len(), by, at);
        }
        self.shared.out.retired.push(RetiredAgent { agent, series });
        // Who observes what becomes of it needs its name still.
        self.emit();
        self.shared.registry.retire(agent);
    }

    fn take_samples(&mut self, mut samples: Samples, reply: Option<Reply>, progress: &mut BatchProgress) -> RowCounts {
        let received = samples.received_at;
        self.step_before(received, progress);
        self.shared.arrived(received);
        // They were under way when it was retired. Its series are unknown by now.
        samples.alive.retain(|&agent| self.shared.registry.is_current(agent));
        if self.is_awaited(&samples) {
            self.apply_scores(progress);
        }
        for &agent in &samples.alive {
            self.agents.beat(agent, &samples.tenant, Beat::EXPORT, received, &mut self.shared);
        }
        let tenant = self.tenant(&samples.tenant);
        self.hear_of_agents(tenant.index, &samples, progress);
        let Self { rows_by_tenant, series, agents, scores, shared, .. } = self;
        let first_new = rows_by_tenant.of_tenant(tenant.index).new.len();
        let arrived = (&samples.columns, &samples.starts);
        let counts = rows_by_tenant.select_new_rows(tenant.index, arrived, received, series, shared);
        agents.compare_clocks(&samples, series, shared);
        let new_rows = (rows_by_tenant.of_tenant(tenant.index), first_new);
        // OTLP always shows life; REST metrics speak of others.
        let mut outcome = Outcome::default();
        if samples.alive.is_empty() {
            if let Some(agent) = series.agent_of_first_row(&samples.columns) {
                shared.live_agents.reported(agent, received);
            }
            outcome.alerts = agents.watch_reported(&tenant, new_rows, received, series, scores, shared);
            outcome.breaches = thresholds::breaches(&samples.columns, series, &shared.registry, &shared.config);
        } else {
            self.readings.apply(&tenant, new_rows, received, (series, agents), scores, shared);
        }
        if reply.is_some() {
            let agent = series.agent_of_first_row(&samples.columns);
            outcome.health = agent.and_then(|agent| agents.health_of(agent));
            progress.reply_later(reply, samples.columns, outcome);
        }
        counts
    }

    fn take_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        reply: Option<Reply>,
        progress: &mut BatchProgress,
    ) -> RowCounts {
        let received = heartbeat.received_at;
        self.step_before(received, progress);
        self.shared.arrived(received);
        if !self.shared.registry.is_current(heartbeat.agent) {
            // It was under way when its agent was retired.
            progress.confirm_later(reply, Outcome::default());
            return RowCounts::default();
        }
        // The verdict on the heartbeat before says how the agent is, and so what this one means.
        if self.scores.has_heartbeat_of(heartbeat.agent) {
            self.apply_scores(progress);
        }
        let tenant = self.tenant(&heartbeat.tenant);
        self.hear_of(heartbeat.agent, tenant.index, received, progress);
        let Self { rows_by_tenant, series, agents, shared, .. } = self;
        let arrived = (&heartbeat.columns, &Starts::default());
        let counts = rows_by_tenant.select_new_rows(tenant.index, arrived, received, series, shared);
        let view = agents.view_of(&heartbeat, shared);
        let is_newest = agents.is_newest(&heartbeat, shared);
        let cause = ScoreCause::Heartbeat { heartbeat: Box::new(heartbeat), reply, is_newest };
        self.scores.push(PendingScore { tenant: tenant.index, view, cause });
        counts
    }

    /// Whether a heartbeat of an agent that samples are about waits for its verdict.
    fn is_awaited(&self, samples: &Samples) -> bool {
        if !self.scores.has_heartbeats() {
            return false;
        }
        let reported = self.described_agent(&samples.columns);
        samples.alive.iter().chain(&reported).any(|&agent| self.scores.has_heartbeat_of(agent))
    }

    /// The agent of the first of some rows, also before any row of its series was taken.
    fn described_agent(&self, rows: &Columns) -> Option<AgentId> {
        let first = rows.series.first().and_then(|&id| self.shared.registry.series(SeriesId(id)));
        first.map(|series| series.agent)
    }

    /// Hears of the agents that samples are about: those that send them, else the one that others report on.
    fn hear_of_agents(&mut self, tenant: usize, samples: &Samples, progress: &mut BatchProgress) {
        for &agent in &samples.alive {
            self.hear_of(agent, tenant, samples.received_at, progress);
        }
        if samples.alive.is_empty()
            && let Some(agent) = self.described_agent(&samples.columns)
        {
            self.hear_of(agent, tenant, samples.received_at, progress);
        }
    }

    /// Hears of an agent. After too long a silence its series start without a past, also if no tick came between.
    fn hear_of(&mut self, agent: AgentId, tenant: usize, received: UnixNanos, progress: &mut BatchProgress) {
        if self.last_heard.hear(agent, received, self.shared.config.forget()) {
            // What came before the silence is judged by its past, also if it is in the same batch.
            self.judge_rows(tenant, &mut progress.outliers);
            self.close_series(tenant, &[agent]);
        }
    }

    fn set_maintenance(&mut self, window: PersonWindow) {
        if !self.agents.set_window(window.clone(), &mut self.shared) || self.shared.is_rebuilding {
            return;
        }
        // Each partition gets each window; one tells of it.
        if self.partition.0 == 0 {
            alert_log::window(&window);
            self.note_window(&window);
        }
        self.shared.out.windows.push(window);
    }

    /// Does what a person wants to an alert; the alert after it, if it is open.
    fn command(&mut self, command: AlertCommand) -> Option<Alert> {
        let alert = self.agents.command(&command, &mut self.shared);
        if self.shared.is_rebuilding {
            return alert;
        }
        alert_log::commanded(&command, &self.shared.registry);
        self.note_command(&command);
        if alert.is_none() {
            // It is over already: only the store knows it.
            self.shared.out.alert_commands.push(command);
        }
        alert
    }

    /// Calls the scorers about everything that waits for them, and applies their answers in order of the records.
    fn apply_scores(&mut self, progress: &mut BatchProgress) {
        for (PendingScore { view, cause, .. }, scores) in self.scores.score_all(&mut self.plugins, &mut self.series) {
            match cause {
                ScoreCause::Reading { received, is_planned } => {
                    self.agents.apply_reading_scores(&view, scores, (received, is_planned), &mut self.shared);
                }
                ScoreCause::Heartbeat { heartbeat, reply, is_newest } => {
                    let (outcome, columns) =
                        self.agents.apply_heartbeat(*heartbeat, &view, scores, is_newest, &mut self.shared);
                    progress.reply_later(reply, columns, outcome);
                }
            }
        }
    }

    /// Shows a tenant's new rows to its derivers and detectors, and writes rows and verdicts to the output.
    fn judge_rows(&mut self, tenant: usize, answers: &mut Vec<(UnixNanos, OutlierVerdict)>) {
        let Self { rows_by_tenant, series, derived, incidents, plugins, tenants, shared, .. } = self;
        let Some(sorted) = rows_by_tenant.take_sorted(tenant, shared) else { return };
        let tenant = tenants.at(tenant);
        plugins.make_room(tenant.index, series);
        let mut loaded = plugins.load_for_samples(tenant.index, shared.latest_arrival);
        rows_by_tenant.show(&sorted, &mut loaded, series, shared);
        let (rows, sorter) = rows_by_tenant.for_derivers();
        let derived = derived.derive(&tenant.id, DeriverInput::Rows(rows), &mut loaded, (series, sorter), shared);
        let shown = rows_by_tenant.for_detectors(&derived);
        let findings = if shown.is_empty() { Vec::new() } else { loaded.plugins.detect(shown) };
        let standing = outliers::verdicts_of(findings, shown, (&tenant, series), (incidents, answers), shared);
        shared.out.samples.push(Arc::new(sorted.rows));
        if !derived.is_empty() {
            shared.out.samples.push(Arc::new(derived));
        }
        if !standing.is_empty() {
            self.alert_on_outliers(&tenant, &standing);
        }
    }

    /// Shows all new rows to the plugins before something that changes what becomes of their verdicts.
    fn judge_before_change(&mut self, progress: &mut BatchProgress) {
        self.apply_scores(progress);
        if !self.shared.config.outlier_alerts.is_empty() {
            for tenant in 0..self.tenants.len() {
                self.judge_rows(tenant, &mut progress.outliers);
            }
        }
    }

    /// A tenant, added at its first use.
    fn tenant(&mut self, id: &TenantId) -> ShardTenant {
        let index = self.tenants.get(id).unwrap_or_else(|| {
            self.rows_by_tenant.add_tenant();
            self.plugins.add_tenant(id.clone(), self.shared.latest_arrival);
            self.tenants.add(id.clone())
        });
        self.tenants.at(index)
    }

    /// Follows time to `now`: who is late, who is offline, SLA reports, plugins to suspend.
    pub(super) fn tick(&mut self, now: UnixNanos) {
        if now <= self.shared.latest_tick {
            return;
        }
        self.shared.latest_tick = now;
        self.agents.count_clocks_off(self.partition);
        self.agents.tick(now, &mut self.shared);
        self.step_at_tick(now);
        self.close_silent(now);
        self.report_sla(now);
        self.plugins.suspend_idle(now, &mut self.series, &self.shared);
        self.emit();
    }

    /// Has the plugins forget the series of agents that have been silent for too long.
    fn close_silent(&mut self, now: UnixNanos) {
        let mut silent: HashMap<TenantId, Vec<AgentId>> = HashMap::new();
        for id in self.last_heard.take_silent(now, self.shared.config.forget()) {
            if let Some(agent) = self.shared.registry.agent(id) {
                silent.entry(agent.tenant.clone()).or_default().push(id);
            }
        }
        for (tenant, agents) in silent {
            let tenant = self.tenant(&tenant);
            self.close_series(tenant.index, &agents);
        }
    }

    /// Forgets the past of the series of agents.
    fn close_series(&mut self, tenant: usize, agents: &[AgentId]) {
        for series in agents.iter().flat_map(|&agent| self.shared.registry.series_of(agent)) {
            self.incidents.close(series.id);
        }
        self.plugins.close(tenant, agents, &mut self.series, &self.shared);
    }

    /// Asks the SLA evaluators about the agents whose turn it is.
    fn report_sla(&mut self, now: UnixNanos) {
        let due = self.sla.due_views(&mut self.agents.agents.all, now, &self.shared.config);
        for (tenant, views) in due {
            let tenant = self.tenant(&tenant);
            let loaded = self.plugins.load_for_report(tenant.index, now, &mut self.series, &self.shared);
            let Some(loaded) = loaded else { continue };
            for (evidence, agent, report) in loaded.plugins.report(&views) {
                let Shared { config, out, .. } = &mut self.shared;
                self.agents.agents.apply_sla_report(agent, (&evidence, report), now, config, out);
            }
        }
    }

    /// Takes new settings, from the next record on. With `new_plugins` the plugins are made anew, and take over the state.
    pub(super) fn reload(&mut self, config: Arc<EvaluateConfig>, new_plugins: bool) {
        self.shared.set_config(config);
        if new_plugins {
            self.plugins.suspend_all(&mut self.series);
        }
        self.agents.reload(self.shared.now(), &mut self.shared);
        self.emit();
    }

    /// Puts the plugins back to where the checkpoint's state left them. The records up to `stored` are to be
    /// taken next, to bring them up to date; then comes [`Shard::resume`].
    pub(super) fn rebuild(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let saved: PluginState = state::read(checkpoint.state.as_deref().unwrap_or_default())?;
        self.plugins.advance(saved.plugin_clock);
        self.series.restore(&saved.series_tracker);
        self.last_heard.restore(saved.last_heard);
        self.incidents = saved.incidents;
        for (tenant, snapshot) in saved.tenants {
            let tenant = self.tenant(&tenant);
            self.plugins.restore(tenant.index, snapshot);
        }
        self.position = checkpoint.included;
        self.included = checkpoint.included;
        self.shared.is_rebuilding = true;
        Ok(())
    }

    /// From here on results count again: liveness is as of the checkpoint's `stored`.
    pub(super) fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let living: Living = state::read(&checkpoint.liveness)?;
        // The store has what plugins said until then without data.
        self.step_to(living.plugin_clock);
        self.emit();
        self.series.restore(&living.series_tracker);
        self.alert_log.restore(living.agents.iter().flat_map(Agent::open_alerts));
        self.shared.latest_arrival = living.seen;
        self.shared.latest_tick = living.seen;
        self.agents.restore((living.agents, living.windows), living.seen, &mut self.shared);
        self.position = self.position.max(checkpoint.stored);
        self.shared.is_rebuilding = false;
        self.rows = 0;
        Ok(())
    }

    /// Goes on at `now` after nobody listened since time stopped.
    pub(super) fn resume_after_pause(&mut self, now: UnixNanos) {
        let from = self.shared.now();
        if from.0 > 0 && now > from {
            self.agents.was_blind(from, now, &mut self.shared);
        }
        self.shared.latest_tick = self.shared.latest_tick.max(now);
        self.agents.follow_plan(now, &mut self.shared);
        self.close_silent(now);
        self.agents.repeat_alerts(self.shared.now(), &mut self.shared);
        self.emit();
    }

    /// Writes the output to the store, and shows the agents that changed.
    fn emit(&mut self) {
        let mut out = mem::take(&mut self.shared.out);
        if self.shared.is_rebuilding {
            return;
        }
        self.agents.agents.show(&self.shared.timing, self.shared.now(), &self.shared.live_agents, &mut out);
        if out == EvaluationOutput::default() {
            return;
        }
        self.dirty = true;
        self.alert_log.alerts(&out.alerts, &self.shared.registry);
        let suppressed = out.notices.iter().filter(|notice| notice.event == Event::Suppressed).count();
        if suppressed > 0 {
            metrics::counter!("vitals_alerts_suppressed_total").increment(suppressed as u64);
        }
        let out = Arc::new(out);
        (self.observe)(&out);
        self.store.write(self.partition, Arc::unwrap_or_clone(out));
    }

    /// What a restart needs to go on from here. `with_state` takes the plugins' state too, so that nothing
    /// before this has to be read again.
    pub(super) fn checkpoint(&mut self, with_state: bool) -> Checkpoint {
        let series_tracker = self.series.save(self.shared.latest_arrival.0);
        let state = with_state.then(|| {
            state::write(&PluginState {
                series_tracker: series_tracker.clone(),
                last_heard: self.last_heard.save(),
                incidents: self.incidents.clone(),
                tenants: self.plugins.snapshots(),
                plugin_clock: self.plugins.clock(),
            })
        });
        if with_state {
            self.included = self.position;
        }
        let agents = mem::take(&mut self.agents.agents.all);
        let plugin_clock = self.plugins.clock();
        let windows = self.agents.person_windows().to_vec();
        let living = Living { seen: self.shared.now(), plugin_clock, series_tracker, agents, windows };
        let liveness = state::write(&living);
        self.agents.agents.all = living.agents;
        self.rows = 0;
        self.dirty = false;
        Checkpoint { stored: self.position, included: self.included, state, liveness }
    }
}
