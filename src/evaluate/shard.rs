//! One partition's evaluation: records in, verdicts out, in order of position.
//!
//! A shard is plain and synchronous, and never asks the clock; [`super::run`] drives it.

use super::agent_gauges::Reading;
use super::agents::{Agent, Agents, Measured, PlannedWindow, Subject, measurement};
use super::alert_log::{self, AlertLog};
use super::config::EvaluateConfig;
use super::last_heard::LastHeard;
use super::maintenance::Planned;
use super::series_tracker::{Arrived, Kept, NO_CHILDREN, NO_GAUGE, RowCounts, SeriesTracker, flag};
use super::sort::{self, Sorter};
use super::state::{self, Living, PluginState, StateError};
use super::tenant_plugins::{AgentView, DerivedSeries, SlaView, TenantPlugins};
use hashbrown::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use vitals_core::availability::{Beat, Clock, HeartbeatOrder, Interval, Own, State, Timing};
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{LiveAgents, Liveness};
use vitals_core::record::{Breach, Delivery, Heartbeat, Measurements, Outcome, Record, Samples};
use vitals_core::registry::Registry;
use vitals_core::rules::alerts::Policy;
use vitals_core::rules::health::{beside_report, is_bad};
use vitals_core::rules::percent::percent;
use vitals_core::rules::thresholds::judged_value;
use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::store::{Acknowledgement, Checkpoint, EvaluationOutput, PastMaintenance, Store};
use vitals_core::verdict::{
    AgentHealth, Alert, AlertSeries, Event, Evidence, HealthStatus, OutlierVerdict, Verdict, VerdictBody,
};

/// Makes the plugins of a tenant.
pub type PluginFactory = Arc<dyn Fn(&TenantId) -> Box<dyn TenantPlugins> + Send + Sync>;
/// Hears of everything that is written to the store.
pub type Observe = Arc<dyn Fn(&Arc<EvaluationOutput>) + Send + Sync>;
/// Called before a checkpoint: returns when what was observed so far needs no replay any more.
pub type Settle = Arc<dyn Fn() + Send + Sync>;

type Reply = Box<dyn FnOnce(Outcome) + Send>;

const DAY: i64 = 86_400 * UnixNanos::SECOND;

/// What a shard works with.
#[derive(Clone)]
pub(super) struct ShardContext {
    pub(super) plugins: PluginFactory,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<dyn Store>,
    pub(super) live_agents: Arc<LiveAgents>,
    pub(super) observe: Observe,
}

/// One tenant on one shard.
struct Tenant {
    id: TenantId,
    /// `None` while they are put away.
    plugins: Option<Box<dyn TenantPlugins>>,
    /// Their state while they are put away.
    snapshot: Vec<u8>,
    used: UnixNanos,
    /// While they are put away, no SLA report before this.
    report_from: UnixNanos,
    opened: Vec<SeriesId>,
    /// New rows of this batch, in order of arrival.
    fresh: Columns,
    /// What they are to those who judge: counters have their resets made good.
    totals: Vec<f64>,
    /// Rows of this batch that are only stored: before the latest of their series, or ahead of their time.
    unjudged: Columns,
}

/// A series that was derived from another.
struct DerivedChild {
    plugin: String,
    series: DerivedSeries,
    /// `None` when the tenant's quota was used up.
    id: Option<SeriesId>,
}

/// A sender that waits for what its samples led to.
struct PendingReply {
    columns: Columns,
    outcome: Outcome,
    reply: Reply,
}

/// An agent that waits for the scorers' answer.
struct PendingScore {
    tenant: TenantId,
    view: AgentView,
    cause: Cause,
}

/// Why an agent is scored.
enum Cause {
    /// Its series, or what others report of it, say something new.
    Reading {
        /// When it arrived.
        now: UnixNanos,
        /// Whether planned maintenance was under way then.
        planned: bool,
    },
    /// A heartbeat.
    Heartbeat {
        heartbeat: Box<Heartbeat>,
        reply: Option<Reply>,
        /// A retry or a straggler is answered like the first one, but leaves no trace beyond its evidence.
        new: bool,
    },
}

/// What a batch has led to so far. Readings and heartbeats wait here, in order of their records, so that one call of the
/// scorers serves many; what depends on the answer to a heartbeat makes the call come first ([`Shard::settle`]).
#[derive(Default)]
struct BatchProgress {
    scored: Vec<PendingScore>,
    /// Whose heartbeats are among them.
    beating: HashSet<AgentId>,
    pending_replies: Vec<PendingReply>,
    /// Outliers found so far.
    found: Vec<(UnixNanos, OutlierVerdict)>,
}

/// Most rows of one call of the scorers.
const MOST_SCORED: usize = 4_096;

/// Memory kept between batches.
#[derive(Default)]
struct Scratch {
    /// A record's rows that say something of an agent's vitals: time, place, value.
    values: Vec<(i64, u32, f64)>,
    sorter: Sorter,
    derive: Columns,
    detect: Columns,
    merged: Columns,
    readings: Vec<(AgentId, Reading)>,
}

pub(super) struct Shard {
    partition: Partition,
    config: Arc<EvaluateConfig>,
    timing: Timing,
    /// The configured maintenance windows.
    plan: Vec<Planned>,
    /// Those of them that are under way: which, and from when to when.
    under_way: Vec<(usize, UnixNanos, UnixNanos)>,
    /// Those of them that come once and are over, and were applied to the past.
    passed: Vec<usize>,
    context: ShardContext,
    series_tracker: SeriesTracker,
    tenants: Vec<Tenant>,
    by_tenant: HashMap<TenantId, usize>,
    children: Vec<Vec<DerivedChild>>,
    agents: Agents,
    last_heard: LastHeard,
    scratch: Scratch,
    out: EvaluationOutput,
    /// The last record taken.
    position: Position,
    /// What the stored state of the plugins includes.
    included: Position,
    /// The latest arrival.
    seen: UnixNanos,
    /// The latest tick; behind `seen` by what may be on its way.
    ticked: UnixNanos,
    sla_next: usize,
    alert_log: AlertLog,
    /// Rows taken since the last checkpoint.
    pub(super) rows: u64,
    /// Whether anything happened since the last checkpoint.
    pub(super) dirty: bool,
    /// The store has this already: results are discarded.
    rebuilding: bool,
}

impl Shard {
    pub(super) fn new(partition: Partition, config: Arc<EvaluateConfig>, context: ShardContext) -> Self {
        Self {
            partition,
            timing: config.liveness.timing(),
            plan: Planned::all(&config.maintenance),
            under_way: Vec::new(),
            passed: Vec::new(),
            config,
            series_tracker: SeriesTracker::new(context.registry.clone()),
            context,
            tenants: Vec::new(),
            by_tenant: HashMap::new(),
            children: Vec::new(),
            agents: Agents::default(),
            last_heard: LastHeard::default(),
            scratch: Scratch::default(),
            out: EvaluationOutput::default(),
            position: Position(0),
            included: Position(0),
            seen: UnixNanos(0),
            ticked: UnixNanos(0),
            sla_next: 0,
            alert_log: AlertLog::default(),
            rows: 0,
            dirty: false,
            rebuilding: false,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn seen(&self) -> UnixNanos {
        self.seen
    }

    /// The latest time that anything said.
    fn now(&self) -> UnixNanos {
        self.seen.max(self.ticked)
    }

    /// New settings, from the next record on. With `new_plugins` the plugins are made anew, and take over the state.
    pub(super) fn reload(&mut self, config: Arc<EvaluateConfig>, new_plugins: bool) {
        self.timing = config.liveness.timing();
        self.plan = Planned::all(&config.maintenance);
        self.config = config;
        if new_plugins {
            for at in 0..self.tenants.len() {
                self.suspend(at);
            }
        }
        let now = self.now();
        self.under_way.clear();
        self.passed.clear();
        self.follow_plan(now);
        for at in 0..self.agents.all.len() {
            let kept = self.windows_of(at);
            let mut changes = Vec::new();
            self.agents.all[at].unplan(&kept, now, &self.timing, &mut changes);
            self.apply_changes(at, &mut changes, now);
            let agent = &mut self.agents.all[at];
            agent.drop_unjudged(now, &self.config, &mut self.out);
            agent.repeat(now, &self.config, &mut self.out);
        }
        self.emit();
    }

    /// Begins the configured maintenance windows whose time has come, which end by themselves, and applies those that were
    /// over before anyone knew of them.
    fn follow_plan(&mut self, now: UnixNanos) {
        let current = |(at, planned): (usize, &Planned)| planned.current(now).map(|(start, end)| (at, start, end));
        let under_way: Vec<_> = self.plan.iter().enumerate().filter_map(current).collect();
        if under_way != self.under_way {
            self.under_way = under_way;
            for at in 0..self.agents.all.len() {
                self.join_plan(at);
            }
        }
        self.follow_passed(now);
    }

    /// Applies configured windows that are over to the past, once. One that began before what can be changed is left.
    fn follow_passed(&mut self, now: UnixNanos) {
        let period = i64::from(self.config.objective.period_days) * DAY;
        for planned in 0..self.plan.len() {
            let Some((start, end)) = self.plan[planned].passed(now).filter(|_| !self.passed.contains(&planned)) else {
                continue;
            };
            self.passed.push(planned);
            if start < now.plus(-period) {
                let days = self.config.objective.period_days;
                tracing::info!(
                    planned,
                    days,
                    "a maintenance window began before the objective's period; it changes nothing"
                );
                continue;
            }
            for at in 0..self.agents.all.len() {
                let agent = &self.agents.all[at];
                let desc = self.context.registry.agent(agent.id);
                if desc.is_some_and(|desc| self.plan[planned].covers(&agent.tenant, &desc.key)) {
                    self.plan_window(at, PlannedWindow { start, end, configured: true });
                }
            }
        }
    }

    /// The configured maintenance windows of an agent that are under way.
    fn windows_of(&self, at: usize) -> Vec<(UnixNanos, UnixNanos)> {
        let agent = &self.agents.all[at];
        let covers = |planned: &Planned| {
            let desc = self.context.registry.agent(agent.id);
            desc.is_some_and(|desc| planned.covers(&agent.tenant, &desc.key))
        };
        let under_way = self.under_way.iter().filter(|(planned, ..)| covers(&self.plan[*planned]));
        under_way.map(|&(_, start, end)| (start, end)).collect()
    }

    /// Begins what is under way for one agent.
    fn join_plan(&mut self, at: usize) {
        for (start, end) in self.windows_of(at) {
            self.plan_window(at, PlannedWindow { start, end, configured: true });
        }
    }

    fn plan_window(&mut self, at: usize, window: PlannedWindow) {
        let (now, mut changes) = (self.now(), Vec::new());
        self.agents.all[at].plan(window, now, &self.timing, &mut changes);
        self.apply_changes(at, &mut changes, now);
    }

    /// Where an agent is, made if it is new.
    fn place(&mut self, id: AgentId, tenant: &TenantId) -> usize {
        let before = self.agents.all.len();
        let at = self.agents.place(id, tenant);
        if self.agents.all.len() > before {
            self.join_plan(at);
        }
        at
    }

    /// Puts the plugins back to where the checkpoint's state left them. The records up to `stored` are to be
    /// taken next, to bring them up to date; then comes [`Shard::resume`].
    pub(super) fn rebuild(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let saved: PluginState = state::read(checkpoint.state.as_deref().unwrap_or_default())?;
        self.series_tracker.restore(&saved.series_tracker);
        self.last_heard.restore(saved.last_heard);
        for (tenant, snapshot) in saved.tenants {
            let at = self.tenant(&tenant);
            self.tenants[at].snapshot = snapshot;
        }
        self.position = checkpoint.included;
        self.included = checkpoint.included;
        self.rebuilding = true;
        Ok(())
    }

    /// From here on results count again: liveness is as of the checkpoint's `stored`.
    pub(super) fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let living: Living = state::read(&checkpoint.liveness)?;
        self.series_tracker.restore(&living.series_tracker);
        self.agents.restore(living.agents);
        self.alert_log.restore(self.agents.all.iter().flat_map(Agent::open_alerts));
        for at in 0..self.agents.all.len() {
            self.agents.mark_changed(at);
        }
        self.seen = living.seen;
        self.ticked = living.seen;
        self.under_way.clear();
        self.passed.clear();
        self.follow_plan(living.seen);
        self.position = self.position.max(checkpoint.stored);
        self.rebuilding = false;
        self.rows = 0;
        Ok(())
    }

    /// Nobody listened from when time stopped until `now`.
    pub(super) fn resume_after_pause(&mut self, now: UnixNanos) {
        let from = self.seen.max(self.ticked);
        if from.0 > 0 && now > from {
            let mut changes = Vec::new();
            for at in 0..self.agents.all.len() {
                if let Some(tracker) = &mut self.agents.all[at].tracker {
                    tracker.was_blind(from, now, &self.timing, &mut changes);
                    self.apply_changes(at, &mut changes, now);
                }
            }
        }
        self.ticked = self.ticked.max(now);
        self.follow_plan(now);
        self.close_silent(now);
        let now = self.now();
        for agent in &mut self.agents.all {
            agent.repeat(now, &self.config, &mut self.out);
        }
        self.emit();
    }

    /// Takes records in order. Answers their senders, writes to the store, gives back their permits.
    pub(super) fn take(&mut self, batch: &mut Vec<Delivery>) {
        let mut round = BatchProgress::default();
        let mut permits = Vec::with_capacity(batch.len());
        let mut counts = RowCounts::default();
        let mut acts: Vec<Reply> = Vec::new();
        for delivery in batch.drain(..) {
            if delivery.position <= self.position {
                continue;
            }
            self.position = delivery.position;
            self.dirty = true;
            permits.push(delivery.ticket.permit);
            match delivery.record {
                Record::Describe { agents, series } => {
                    self.out.agents.extend(agents);
                    self.out.series.extend(series);
                }
                Record::Samples(samples) => counts.add(self.samples(samples, delivery.ticket.reply, &mut round)),
                Record::Heartbeat(heartbeat) => {
                    counts.add(self.heartbeat(heartbeat, delivery.ticket.reply, &mut round));
                }
                Record::Maintenance { agent, start, end, by, at } => {
                    self.settle(&mut round);
                    self.maintain(agent, (start, end), &by, at);
                    acts.extend(delivery.ticket.reply);
                }
                Record::Acknowledge { alert, agent, by, at } => {
                    self.settle(&mut round);
                    self.acknowledge(&alert, agent, &by, at);
                    acts.extend(delivery.ticket.reply);
                }
            }
        }
        self.rows += counts.fresh + counts.late + counts.ahead;
        if !self.rebuilding {
            counts.count();
        }
        self.settle(&mut round);
        for at in 0..self.tenants.len() {
            self.judge(at, &mut round.found);
        }
        self.emit();
        for ask in round.pending_replies {
            let mut outcome = ask.outcome;
            outcome.outliers = among(&round.found, &ask.columns);
            (ask.reply)(outcome);
        }
        for reply in acts {
            reply(Outcome::default());
        }
        drop(permits);
    }

    fn arrived(&mut self, at: UnixNanos) {
        self.seen = self.seen.max(at);
    }

    fn samples(&mut self, samples: Samples, reply: Option<Reply>, round: &mut BatchProgress) -> RowCounts {
        let now = samples.received_at;
        self.arrived(now);
        if self.is_awaited(&samples, round) {
            self.settle(round);
        }
        for &agent in &samples.alive {
            self.beat(agent, &samples.tenant, Beat::EXPORT, now);
        }
        let at = self.tenant(&samples.tenant);
        self.hear_samples(at, &samples, round);
        let from = self.tenants[at].fresh.len();
        let counts = self.select_new_rows(at, &samples.columns, &samples.starts, samples.received_at);
        self.compare_clocks(&samples);
        // OTLP always shows life; REST metrics speak of others.
        let mut outcome = Outcome::default();
        if samples.alive.is_empty() {
            if let Some(agent) = self.agent_of(&samples.columns) {
                self.context.live_agents.reported(agent, now);
            }
            outcome.alerts = self.watch(at, from, now, round);
            outcome.breaches = self.breaches(&samples.columns);
        } else {
            self.read(at, from, now, round);
        }
        if let Some(reply) = reply {
            outcome.health = self.standing(&samples.columns);
            round.pending_replies.push(PendingReply { columns: samples.columns, outcome, reply });
        }
        counts
    }

    /// Hears of the agents that samples are about: those that send them, else the one that others report on.
    fn hear_samples(&mut self, at: usize, samples: &Samples, round: &mut BatchProgress) {
        for &agent in &samples.alive {
            self.hear(agent, at, samples.received_at, round);
        }
        if samples.alive.is_empty()
            && let Some(agent) = self.described_agent(&samples.columns)
        {
            self.hear(agent, at, samples.received_at, round);
        }
    }

    /// Hears of an agent. After too long a silence its series start without a past, also if no tick came between.
    fn hear(&mut self, agent: AgentId, tenant: usize, received: UnixNanos, round: &mut BatchProgress) {
        if self.last_heard.hear(agent, received, nanos(self.config.forget_seconds)) {
            // What came before the silence is judged by its past, also if it is in the same batch.
            self.judge(tenant, &mut round.found);
            self.close(tenant, &[agent]);
        }
    }

    /// The plugins forget the series of agents that have been silent for too long.
    fn close_silent(&mut self, now: UnixNanos) {
        let mut silent: HashMap<TenantId, Vec<AgentId>> = HashMap::new();
        for id in self.last_heard.take_silent(now, nanos(self.config.forget_seconds)) {
            if let Some(agent) = self.context.registry.agent(id) {
                silent.entry(agent.tenant.clone()).or_default().push(id);
            }
        }
        for (tenant, agents) in silent {
            let at = self.tenant(&tenant);
            self.close(at, &agents);
        }
    }

    /// Closes the series of agents in their tenant's plugins, which are fetched back if they were put away: their state
    /// has to forget too. What comes later is told of anew.
    fn close(&mut self, at: usize, agents: &[AgentId]) {
        let mut closed = HashSet::new();
        for series in agents.iter().flat_map(|&agent| self.context.registry.series_of(agent)) {
            if let Some(state) = self.series_tracker.series.get_mut(series.id.0 as usize) {
                state.flags &= !flag::OPEN;
            }
            closed.insert(series.id);
        }
        let tenant = &mut self.tenants[at];
        tenant.opened.retain(|id| !closed.contains(id));
        let are_away = tenant.plugins.is_none();
        if are_away && tenant.snapshot.is_empty() {
            return;
        }
        let mut plugins = self.plugins(at);
        plugins.close(&closed.into_iter().collect::<Vec<_>>());
        self.tenants[at].plugins = Some(plugins);
        if are_away {
            self.suspend(at);
        }
    }

    fn select_new_rows(&mut self, tenant: usize, rows: &Columns, starts: &Starts, received: UnixNanos) -> RowCounts {
        let Tenant { fresh, totals, unjudged, .. } = &mut self.tenants[tenant];
        let present = received.plus(nanos(self.config.max_ahead_seconds)).0;
        self.series_tracker.select_new_rows(Arrived { rows, starts, present }, &mut Kept { fresh, totals, unjudged })
    }

    /// The agent of the first row.
    fn agent_of(&self, columns: &Columns) -> Option<AgentId> {
        columns.series.first().and_then(|&id| self.series_tracker.series.get(id as usize)).map(|series| series.agent)
    }

    /// The agent of the first row, also before any row of its series was taken.
    fn described_agent(&self, columns: &Columns) -> Option<AgentId> {
        let first = columns.series.first().and_then(|&id| self.context.registry.series(SeriesId(id)));
        first.map(|series| series.agent)
    }

    /// Whether a heartbeat of an agent that samples are about waits for its verdict.
    fn is_awaited(&self, samples: &Samples, round: &BatchProgress) -> bool {
        if round.beating.is_empty() {
            return false;
        }
        let reported = self.described_agent(&samples.columns);
        samples.alive.iter().chain(&reported).any(|agent| round.beating.contains(agent))
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat, reply: Option<Reply>, round: &mut BatchProgress) -> RowCounts {
        self.arrived(heartbeat.received_at);
        // What the one before was judged says how the agent is, and so what this one means.
        if round.beating.contains(&heartbeat.agent) {
            self.settle(round);
        }
        let at = self.tenant(&heartbeat.tenant);
        self.hear(heartbeat.agent, at, heartbeat.received_at, round);
        let counts = self.select_new_rows(at, &heartbeat.columns, &Starts::default(), heartbeat.received_at);
        let view = self.view(&heartbeat);
        let new = self.is_newest(&heartbeat);
        round.beating.insert(heartbeat.agent);
        let tenant = heartbeat.tenant.clone();
        self.score(
            PendingScore { tenant, view, cause: Cause::Heartbeat { heartbeat: Box::new(heartbeat), reply, new } },
            round,
        );
        counts
    }

    /// How the agent of the first row stands.
    fn standing(&mut self, columns: &Columns) -> Option<AgentHealth> {
        self.agent_of(columns).and_then(|id| self.agents.get_mut(id)).and_then(|agent| agent.health.clone())
    }

    /// Applies a record's new rows (those behind `from`) to the vitals of its agents, one time after the other, and judges what
    /// each of them makes of the agent: so nothing depends on how records are put together into batches.
    fn read(&mut self, tenant: usize, from: usize, now: UnixNanos, round: &mut BatchProgress) {
        let mut values = mem::take(&mut self.scratch.values);
        let mut readings = mem::take(&mut self.scratch.readings);
        values.clear();
        let Tenant { fresh, totals, .. } = &self.tenants[tenant];
        let rows = fresh.series[from..].iter().zip(&fresh.times[from..]).zip(&totals[from..]);
        for ((&id, &time), &value) in rows {
            let gauge = self.series_tracker.series[id as usize].gauge;
            if gauge != NO_GAUGE {
                values.push((time, gauge, value));
            }
        }
        if !values.is_sorted_by_key(|&(time, ..)| time) {
            values.sort_by_key(|&(time, ..)| time);
        }
        let stale = nanos(self.config.stale_seconds);
        for same in values.chunk_by(|one, other| one.0 == other.0) {
            for &(time, gauge, value) in same {
                self.series_tracker.gauges.set(gauge, time, value);
            }
            self.series_tracker.gauges.take_changed(same[0].0, stale, &mut readings);
            for (agent, reading) in readings.drain(..) {
                self.reading(tenant, agent, &reading, now, round);
            }
        }
        self.scratch.values = values;
        self.scratch.readings = readings;
    }

    /// Judges an agent by its series.
    fn reading(&mut self, tenant: usize, id: AgentId, reading: &Reading, now: UnixNanos, round: &mut BatchProgress) {
        let tenant = self.tenants[tenant].id.clone();
        let at = self.place(id, &tenant);
        let agent = &mut self.agents.all[at];
        agent.memory_total_mb = reading.memory_total_mb.or(agent.memory_total_mb);
        if reading.measurements == Measurements::default() || reading.newest < agent.measured_at {
            return;
        }
        agent.measurements = reading.measurements;
        agent.measured_at = reading.newest;
        let (gauges, registry, stale) =
            (&self.series_tracker.gauges, &self.context.registry, nanos(self.config.stale_seconds));
        for kind in MetricKind::ALL.into_iter().filter(|kind| reading.kinds.has(*kind)) {
            if let Some(value) = measurement(&reading.measurements, kind) {
                let measured = Measured { subject: Subject::Measurements(kind), kind, time: reading.time, value };
                let series = || named(registry, &gauges.sources(id, kind, stale));
                agent.watch(measured, &series, now, &self.config, &mut self.out);
            }
        }
        let planned = agent.is_planned(now);
        let mut view = AgentView {
            agent: id,
            time: reading.newest,
            measurements: reading.measurements,
            uptime_percent: agent.uptime_percent(self.seen),
        };
        self.complete(at, &mut view.measurements);
        self.agents.mark_changed(at);
        self.score(PendingScore { tenant, view, cause: Cause::Reading { now, planned } }, round);
    }

    /// Thresholds on the new rows of REST metrics, one time after the other; the alerts raised. What is ahead of its
    /// time is news of when it arrived.
    fn watch(&mut self, tenant: usize, from: usize, now: UnixNanos, round: &mut BatchProgress) -> Vec<Alert> {
        let fresh = &self.tenants[tenant].fresh;
        let rows = (from..fresh.len()).map(|row| (fresh.times[row], fresh.series[row], fresh.values[row]));
        let ahead = self.series_tracker.reported_ahead.iter().map(|&(id, value)| (now.0, id.0, value));
        let mut watched: Vec<(UnixNanos, SeriesId, MetricKind, f64)> = rows
            .chain(ahead)
            .filter_map(|(time, id, value)| {
                let (kind, value) = self.watched(SeriesId(id), value)?;
                Some((UnixNanos(time), SeriesId(id), kind, value))
            })
            .collect();
        watched.sort_by_key(|&(time, ..)| time);
        let mut raised = Vec::new();
        for same in watched.chunk_by(|one, other| one.0 == other.0) {
            for &(time, id, kind, value) in same {
                let owner = self.series_tracker.series[id.0 as usize].agent;
                let tenant = self.tenants[tenant].id.clone();
                let place = self.place(owner, &tenant);
                let agent = &mut self.agents.all[place];
                if agent.tracker.is_none() {
                    agent.observe(id, kind, time, value);
                }
                let registry = &self.context.registry;
                let measured = Measured { subject: Subject::Series(id), kind, time, value };
                let series = || named(registry, &[id]);
                raised.extend(agent.watch(measured, &series, now, &self.config, &mut self.out));
            }
            self.observed(tenant, same[0].1, same[0].0, now, round);
        }
        raised
    }

    /// Judges the owner of `series` by what others report of it, unless it shows life itself.
    fn observed(
        &mut self,
        tenant: usize,
        series: SeriesId,
        time: UnixNanos,
        now: UnixNanos,
        round: &mut BatchProgress,
    ) {
        let (id, tenant) = (self.series_tracker.series[series.0 as usize].agent, self.tenants[tenant].id.clone());
        let at = self.place(id, &tenant);
        let agent = &mut self.agents.all[at];
        if agent.tracker.is_some() || time < agent.measured_at {
            return;
        }
        let measurements = agent.observed(time);
        if measurements == Measurements::default() {
            return;
        }
        agent.measurements = measurements;
        agent.measured_at = time;
        let view = AgentView { agent: id, time, measurements, uptime_percent: None };
        self.score(PendingScore { tenant, view, cause: Cause::Reading { now, planned: true } }, round);
    }

    /// What thresholds judge of a REST metric's value.
    fn watched(&self, id: SeriesId, value: f64) -> Option<(MetricKind, f64)> {
        let state = self.series_tracker.series.get(id.0 as usize)?;
        if state.flags & flag::WATCH == 0 {
            return None;
        }
        let desc = self.context.registry.series(id)?;
        Some((desc.spec.kind, judged_value(desc.spec.kind, &desc.spec.unit, value, None)?))
    }

    /// The breaches among some rows, whether the rows are new or not.
    fn breaches(&self, columns: &Columns) -> Vec<Breach> {
        let judge = |(id, _, value): (SeriesId, UnixNanos, f64)| {
            let (kind, value) = self.watched(id, value)?;
            let threshold = self.config.thresholds.iter().find(|t| t.metric_type == kind)?;
            Some(Breach { series: Some(id), message: threshold.sentence(value, threshold.judge(value)?) })
        };
        columns.rows().filter_map(judge).collect()
    }

    /// Where a tenant is, made at its first use.
    fn tenant(&mut self, id: &TenantId) -> usize {
        if let Some(&at) = self.by_tenant.get(id) {
            return at;
        }
        self.tenants.push(Tenant {
            id: id.clone(),
            plugins: None,
            snapshot: Vec::new(),
            used: self.seen,
            report_from: UnixNanos(0),
            opened: Vec::new(),
            fresh: Columns::default(),
            totals: Vec::new(),
            unjudged: Columns::default(),
        });
        self.by_tenant.insert(id.clone(), self.tenants.len() - 1);
        self.tenants.len() - 1
    }

    /// What the newest points of an export say of the clocks of those who sent it.
    fn compare_clocks(&mut self, samples: &Samples) {
        let mut furthest: HashMap<AgentId, i64> = HashMap::new();
        for (id, time, _) in samples.columns.rows().filter(|(_, time, _)| *time > samples.received_at) {
            if let Some(series) = self.series_tracker.series.get(id.0 as usize) {
                let ahead = furthest.entry(series.agent).or_default();
                *ahead = time.since(samples.received_at).max(*ahead);
            }
        }
        for &agent in &samples.alive {
            let ahead = furthest.get(&agent).copied().unwrap_or(0);
            if let Some(tracker) = self.agents.get_mut(agent).and_then(|agent| agent.tracker.as_mut()) {
                tracker.exported(ahead);
                if ahead > 0 {
                    self.check_clock(agent);
                }
            }
        }
    }

    /// Warns of a clock that is off, once until it is right again.
    fn check_clock(&mut self, id: AgentId) {
        let bound = nanos(self.config.max_ahead_seconds);
        let Some(skew) = self.agents.get_mut(id).and_then(|agent| agent.check_clock(bound)) else { return };
        if !self.rebuilding {
            let desc = self.context.registry.agent(id);
            let agent = desc.as_ref().map_or("", |desc| desc.key.as_str());
            let tenant = desc.as_ref().map_or("", |desc| &desc.tenant.0);
            let skew_ms = skew / 1_000_000;
            tracing::warn!(tenant, agent, skew_ms, "the agent's clock is off; set it by NTP");
        }
    }

    /// Evidence of life.
    fn beat(&mut self, agent: AgentId, tenant: &TenantId, beat: Beat, received: UnixNanos) -> usize {
        let at = self.place(agent, tenant);
        let mut changes = Vec::new();
        self.agents.all[at].beat(beat, received, &self.timing, &mut changes);
        self.apply_changes(at, &mut changes, received);
        at
    }

    /// Takes what a tracker said has changed at `now`.
    fn apply_changes(&mut self, at: usize, changes: &mut Vec<Interval>, now: UnixNanos) {
        let registry = &self.context.registry;
        let name =
            |id: AgentId| registry.agent(id).map_or_else(|| Arc::from("an agent"), |a| Arc::from(a.key.as_str()));
        if !changes.is_empty() {
            self.agents.all[at].apply_changes(changes, &name, now, &self.config, &mut self.out);
        }
        self.agents.mark_changed(at);
    }

    fn maintain(&mut self, agent: AgentId, (start, end): (UnixNanos, UnixNanos), by: &str, set: UnixNanos) {
        let Some(desc) = self.context.registry.agent(agent) else { return };
        if !self.rebuilding {
            alert_log::window(&desc, by, start, end);
        }
        let at = self.place(agent, &desc.tenant);
        if end <= start {
            return;
        }
        if self.agents.all[at].tracker.is_none() && start < set {
            // Nothing of it is remembered here, but the store may have heard of it once. What is past is so by the record's
            // own time, which is the same in a replay.
            self.out.maintenance.push(PastMaintenance { agent, start, end: end.min(set) });
        }
        self.plan_window(at, PlannedWindow { start, end, configured: false });
    }

    fn acknowledge(&mut self, alert: &str, agent: AgentId, by: &str, at: UnixNanos) {
        let now = self.now();
        let open = self
            .agents
            .get_mut(agent)
            .is_some_and(|a| a.acknowledge((alert, by, at), now, &self.config, &mut self.out));
        if self.rebuilding {
            return;
        }
        alert_log::acknowledged(alert, by, agent, &self.context.registry);
        if open {
            return;
        }
        // It is over already: only the store knows it.
        self.out.acknowledged.push(Acknowledgement { alert: alert.to_owned(), by: by.to_owned(), at });
    }

    /// Shows a tenant's new rows to its plugins. What they found is added to `found`.
    fn judge(&mut self, at: usize, found: &mut Vec<(UnixNanos, OutlierVerdict)>) {
        let tenant = &mut self.tenants[at];
        if !tenant.unjudged.is_empty() {
            self.out.samples.push(Arc::new(sort::fully(&tenant.unjudged)));
            tenant.unjudged.clear();
        }
        if tenant.fresh.is_empty() {
            return;
        }
        let (rows, totals) = self.scratch.sorter.both_by_series(&tenant.fresh, &tenant.totals);
        tenant.fresh.clear();
        tenant.totals.clear();
        tenant.used = self.seen;
        let mut plugins = self.plugins(at);
        self.store_derived(at, &rows, &totals, plugins.as_mut());
        let derived = self.derive(at, plugins.as_mut());
        let detect = mem::take(&mut self.scratch.detect);
        let mut merged = mem::take(&mut self.scratch.merged);
        let shown = if derived.is_empty() {
            &detect
        } else {
            sort::merge(&detect, &derived, &mut merged);
            &merged
        };
        let findings = if shown.is_empty() { Vec::new() } else { plugins.detect(shown) };
        for finding in findings {
            for (row, outlier) in finding.rows {
                let (Some(&time), Some(state)) =
                    (shown.times.get(row), self.series_tracker.series.get(outlier.series.0 as usize))
                else {
                    continue;
                };
                let time = UnixNanos(time);
                found.push((time, outlier.clone()));
                self.out.verdicts.push(Verdict {
                    tenant: self.tenants[at].id.clone(),
                    agent: state.agent,
                    time,
                    evidence: finding.evidence.clone(),
                    body: VerdictBody::Outlier(outlier),
                });
            }
        }
        self.scratch.detect = detect;
        self.scratch.merged = merged;
        self.tenants[at].plugins = Some(plugins);
        self.out.samples.push(Arc::new(rows));
        if !derived.is_empty() {
            self.out.samples.push(Arc::new(derived));
        }
    }

    /// A tenant's plugins, fetched back if they were put away. To be put back into the tenant after use.
    fn plugins(&mut self, at: usize) -> Box<dyn TenantPlugins> {
        let tenant = &mut self.tenants[at];
        tenant.plugins.take().unwrap_or_else(|| {
            let mut plugins = (self.context.plugins)(&tenant.id);
            if !tenant.snapshot.is_empty() {
                plugins.restore(&mem::take(&mut tenant.snapshot));
            }
            plugins
        })
    }

    /// Hands each row to where its series says: the derivers' batch, the detectors' batch.
    fn store_derived(&mut self, tenant: usize, rows: &Columns, totals: &[f64], plugins: &mut dyn TenantPlugins) {
        self.scratch.derive.clear();
        self.scratch.detect.clear();
        for ((&id, &time), &value) in rows.series.iter().zip(&rows.times).zip(totals) {
            let state = &mut self.series_tracker.series[id as usize];
            if state.flags & flag::OPEN == 0 {
                state.flags |= flag::OPEN;
                self.tenants[tenant].opened.push(SeriesId(id));
                if let Some(desc) = self.context.registry.series(SeriesId(id)) {
                    plugins.open(&desc);
                }
            }
            if state.flags & flag::DETECT != 0 {
                self.scratch.detect.push(SeriesId(id), UnixNanos(time), value);
            } else if state.flags & flag::DERIVE != 0 {
                self.scratch.derive.push(SeriesId(id), UnixNanos(time), value);
            }
        }
    }

    /// What the derivers make of their batch, as rows of registered series.
    fn derive(&mut self, tenant: usize, plugins: &mut dyn TenantPlugins) -> Columns {
        let mut made = Columns::default();
        let batch = mem::take(&mut self.scratch.derive);
        let answers = if batch.is_empty() { Vec::new() } else { plugins.derive(&batch) };
        self.scratch.derive = batch;
        for answer in answers {
            let ids: Vec<Option<SeriesId>> =
                answer.series.iter().map(|series| self.child(tenant, &answer.evidence, series)).collect();
            for &id in ids.iter().flatten() {
                // Known before its first row, so that what follows can index.
                let _ = self.series_tracker.advance(id, i64::MIN);
                if let Some(state) = self.series_tracker.series.get_mut(id.0 as usize)
                    && state.flags & flag::OPEN == 0
                {
                    state.flags |= flag::OPEN;
                    self.tenants[tenant].opened.push(id);
                    if let Some(desc) = self.context.registry.series(id) {
                        plugins.open(&desc);
                    }
                }
            }
            for (series, time, value) in answer.rows {
                let Some(Some(id)) = ids.get(series as usize) else { continue };
                if self.series_tracker.advance(*id, time.0) {
                    made.push(*id, time, value);
                }
            }
        }
        self.scratch.sorter.by_series(&made)
    }

    /// The id of a derived series, registered at its first row.
    fn child(&mut self, tenant: usize, evidence: &Evidence, series: &DerivedSeries) -> Option<SeriesId> {
        let parent = self.series_tracker.series.get_mut(series.from.0 as usize)?;
        if parent.children == NO_CHILDREN {
            parent.children = u32::try_from(self.children.len()).ok()?;
            self.children.push(Vec::new());
        }
        let place = parent.children as usize;
        let known = self.children[place].iter().find(|c| c.plugin == evidence.plugin && c.series == *series);
        if let Some(child) = known {
            return child.id;
        }
        let id = self.register(tenant, evidence, series);
        self.children[place].push(DerivedChild { plugin: evidence.plugin.clone(), series: series.clone(), id });
        id
    }

    fn register(&mut self, tenant: usize, evidence: &Evidence, series: &DerivedSeries) -> Option<SeriesId> {
        let source = self.context.registry.series(series.from)?;
        let spec = SeriesSpec {
            metric: series.metric.clone(),
            unit: series.unit.clone(),
            kind: derived_kind(source.spec.kind, source.spec.unit == series.unit),
            shape: Shape::Gauge,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Derived { plugin: evidence.plugin.clone(), from: series.from },
            scope: source.spec.scope.clone(),
            attributes: source.spec.attributes.clone(),
            resource: source.spec.resource.clone(),
        };
        let answer = self.context.registry.intern_series(&self.tenants[tenant].id, source.agent, vec![spec]).pop()?;
        match answer {
            Ok(id) => {
                self.out.series.extend(self.context.registry.series(id));
                Some(id)
            }
            Err(error) => {
                metrics::counter!("vitals_derived_refused_total").increment(1);
                tracing::warn!(%error, metric = series.metric, "a derived series is left out");
                None
            }
        }
    }

    /// Has an agent scored, at the latest when the batch ends.
    fn score(&mut self, scored: PendingScore, round: &mut BatchProgress) {
        round.scored.push(scored);
        if round.scored.len() >= MOST_SCORED {
            self.settle(round);
        }
    }

    /// Asks the scorers about all that waits for it, and takes their answers in order of the records.
    fn settle(&mut self, round: &mut BatchProgress) {
        let scored = mem::take(&mut round.scored);
        round.beating.clear();
        let mut calls: HashMap<TenantId, (Vec<usize>, Vec<AgentView>)> = HashMap::new();
        for (at, one) in scored.iter().enumerate() {
            let (rows, views) = calls.entry(one.tenant.clone()).or_default();
            rows.push(at);
            views.push(one.view);
        }
        let mut answers: Vec<Vec<(Arc<Evidence>, AgentHealth)>> = Vec::new();
        answers.resize_with(scored.len(), Vec::new);
        for (tenant, (rows, views)) in calls {
            let place = self.tenant(&tenant);
            let mut plugins = self.plugins(place);
            for (evidence, row, health) in plugins.assess(&views) {
                if let Some(&at) = rows.get(row) {
                    answers[at].push((evidence, health));
                }
            }
            self.tenants[place].plugins = Some(plugins);
        }
        for (one, answers) in scored.into_iter().zip(answers) {
            match one.cause {
                Cause::Reading { now, planned } => self.take_reading(&one.view, answers, now, planned),
                Cause::Heartbeat { heartbeat, reply, new } => {
                    let (outcome, columns) = self.apply_heartbeat(*heartbeat, &one.view, answers, new);
                    round.pending_replies.extend(reply.map(|reply| PendingReply { columns, outcome, reply }));
                }
            }
        }
    }

    /// Takes the scorers' answers: each is kept as a verdict if it is `new`, beside what the agent says of itself. The worst
    /// counts.
    fn worst(
        &mut self,
        at: usize,
        answers: Vec<(Arc<Evidence>, AgentHealth)>,
        reported: Option<HealthStatus>,
        time: UnixNanos,
        new: bool,
    ) -> Option<AgentHealth> {
        let mut worst: Option<AgentHealth> = None;
        for (evidence, health) in answers {
            let health = beside_report(health, reported, self.config.reported_score_most);
            if new {
                self.agents.all[at].judged(&evidence, time, &health, &self.config, &mut self.out);
            }
            if worst.as_ref().is_none_or(|worst| health.score < worst.score) {
                worst = Some(health);
            }
        }
        worst
    }

    /// Takes what the scorers say of a reading.
    fn take_reading(
        &mut self,
        view: &AgentView,
        answers: Vec<(Arc<Evidence>, AgentHealth)>,
        now: UnixNanos,
        planned: bool,
    ) {
        let Some(agent) = self.agents.get_mut(view.agent) else { return };
        let (reported, tenant) = (agent.reported, agent.tenant.clone());
        let at = self.place(view.agent, &tenant);
        let Some(health) = self.worst(at, answers, reported, view.time, true) else { return };
        let agent = &mut self.agents.all[at];
        // Of a target that shows no life, each series has its own alerts.
        if agent.tracker.is_some() {
            let policy = Policy { planned, ..agent.policy(now, &self.config) };
            agent.health_alert(&health, view.time, policy, now, &mut self.out);
        }
        agent.health = Some(health);
        self.agents.mark_changed(at);
    }

    /// Takes what the scorers say of a heartbeat, and makes its answer.
    fn apply_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        view: &AgentView,
        answers: Vec<(Arc<Evidence>, AgentHealth)>,
        new: bool,
    ) -> (Outcome, Columns) {
        let at = self.place(heartbeat.agent, &heartbeat.tenant);
        let health = self.worst(at, answers, Some(heartbeat.reported), view.time, new);
        let critical = health.as_ref().is_some_and(|h| h.status == HealthStatus::Critical);
        let says = match heartbeat.reported {
            HealthStatus::Maintenance => State::Maintenance,
            _ if critical => State::Unhealthy,
            _ => State::Up,
        };
        let own = Some(own_of(&heartbeat));
        let beat = Beat { own, interval: Some(heartbeat.interval), says: Some(says) };
        // Its own arrival, not the batch's: when it is judged must not hang on how records are cut into batches.
        let now = heartbeat.received_at;
        let is_ahead = self.is_ahead_alone(at, &heartbeat);
        self.beat(heartbeat.agent, &heartbeat.tenant, beat, now);
        self.check_clock(heartbeat.agent);
        let agent = &mut self.agents.all[at];
        if new {
            agent.reported = Some(heartbeat.reported);
            agent.measurements = view.measurements;
            agent.measured_at = agent.measured_at.max(view.time);
        }
        let mut outcome = Outcome {
            next_expected: Some(heartbeat.timestamp.plus(heartbeat.interval)),
            adaptive_timeout: agent.tracker.as_ref().map(|t| t.adaptive_timeout(&self.timing)),
            ..Outcome::default()
        };
        for (kind, field) in
            [(MetricKind::CpuUsage, "cpu_usage_percent"), (MetricKind::ResponseTime, "response_time_ms")]
        {
            let Some(value) = measurement(&view.measurements, kind) else { continue };
            if let Some(threshold) = self.config.thresholds.iter().find(|t| t.metric_type == kind)
                && let Some(severity) = threshold.judge(value)
            {
                let message = threshold.sentence(value, severity);
                outcome.breaches.push(Breach { series: None, message });
            }
            if new {
                let measured = Measured { subject: Subject::Measurements(kind), kind, time: view.time, value };
                let series = || Some(AlertSeries { metric: field.to_owned(), attributes: Vec::new() });
                outcome.alerts.extend(agent.watch(measured, &series, now, &self.config, &mut self.out));
            }
        }
        if let Some(health) = health.as_ref().filter(|_| new) {
            let policy = agent.policy(now, &self.config);
            // Listed and notified; of what a heartbeat raises, the contract counts thresholds only. One heartbeat from the
            // future says too little for an alert on what it measured; the next one confirms it.
            if !is_ahead || is_bad(heartbeat.reported) {
                agent.health_alert(health, view.time, policy, now, &mut self.out);
            }
            // Scorers that do not answer leave their last verdict.
            agent.health = Some(health.clone());
        }
        outcome.health = health;
        outcome.live = agent.live(&self.timing);
        self.agents.mark_changed(at);
        (outcome, heartbeat.columns)
    }

    /// Whether a heartbeat is further ahead of its arrival than is allowed, and the one before was not.
    fn is_ahead_alone(&self, at: usize, heartbeat: &Heartbeat) -> bool {
        let (own, received) = (heartbeat.timestamp, heartbeat.received_at);
        let bound = nanos(self.config.max_ahead_seconds);
        match &self.agents.all[at].tracker {
            Some(tracker) => tracker.is_ahead_alone(own, received, bound),
            None => own.since(received) > bound,
        }
    }

    /// Whether a heartbeat says how its agent is now.
    fn is_newest(&mut self, heartbeat: &Heartbeat) -> bool {
        let at = self.place(heartbeat.agent, &heartbeat.tenant);
        let tracker = self.agents.all[at].tracker.as_ref();
        let judge = |tracker: &vitals_core::availability::Tracker| {
            tracker.judge(own_of(heartbeat), heartbeat.received_at, heartbeat.interval)
        };
        tracker.is_none_or(|tracker| judge(tracker) == HeartbeatOrder::Newest)
    }

    /// What the scorers see of a heartbeat.
    fn view(&mut self, heartbeat: &Heartbeat) -> AgentView {
        let at = self.place(heartbeat.agent, &heartbeat.tenant);
        let mut measurements = heartbeat.measurements;
        self.complete(at, &mut measurements);
        let uptime_percent = self.agents.all[at].uptime_percent(self.seen);
        let bound = nanos(self.config.max_ahead_seconds);
        let time = Clock::judged_time(heartbeat.timestamp, heartbeat.received_at, bound);
        AgentView { agent: heartbeat.agent, time, measurements, uptime_percent }
    }

    /// Percentages that follow from what is known.
    fn complete(&self, at: usize, measurements: &mut Measurements) {
        let total = self.agents.all[at].memory_total_mb.unwrap_or(self.config.memory_total_mb);
        measurements.memory_percent =
            measurements.memory_percent.or_else(|| measurements.memory_mb.and_then(|mb| percent(mb, total)));
        measurements.error_percent =
            measurements.error_percent.or_else(|| match (measurements.errors, measurements.requests) {
                (Some(errors), Some(requests)) => percent(errors, requests),
                _ => None,
            });
    }

    /// Time has come to `now`: who is late, who is offline, SLA reports, plugins to put away.
    pub(super) fn tick(&mut self, now: UnixNanos) {
        if now <= self.ticked {
            return;
        }
        self.ticked = now;
        self.follow_plan(now);
        let mut changes = Vec::new();
        let forget = nanos(self.config.forget_seconds);
        self.count_clocks();
        for at in 0..self.agents.all.len() {
            let agent = &mut self.agents.all[at];
            agent.tick(now, &self.config, &mut self.out);
            let Some(tracker) = &mut agent.tracker else { continue };
            if tracker.is_due(now) {
                let liveness = tracker.tick(now, &self.timing, &mut changes);
                if liveness.is_some() || !changes.is_empty() {
                    self.apply_changes(at, &mut changes, now);
                }
            } else if tracker.liveness() == Liveness::Offline && now.since(tracker.last_contact()) > forget {
                agent.retire(now, &self.config, &mut self.out);
                self.context.live_agents.remove(agent.id);
            }
        }
        self.close_silent(now);
        self.report(now);
        self.suspend_idle(now);
        self.emit();
    }

    /// Says how many agents' clocks are off.
    #[allow(clippy::cast_precision_loss)]
    fn count_clocks(&self) {
        let off = self.agents.all.iter().filter(|agent| agent.clock_is_off).count();
        metrics::gauge!("vitals_agents_clock_off", "partition" => self.partition.0.to_string()).set(off as f64);
    }

    /// SLA reports for this tick's share of the agents.
    fn report(&mut self, now: UnixNanos) {
        let count = self.agents.all.len();
        let share = count.div_ceil(usize::try_from(self.config.sla_seconds).unwrap_or(1).max(1));
        let period = i64::from(self.config.objective.period_days) * DAY;
        let mut views: HashMap<TenantId, Vec<SlaView>> = HashMap::new();
        for _ in 0..share {
            self.sla_next = if self.sla_next >= count { 0 } else { self.sla_next };
            let agent = &mut self.agents.all[self.sla_next];
            self.sla_next += 1;
            if agent.tracker.is_none() {
                continue;
            }
            agent.forget(now.plus(-period));
            let window = |nanos: i64| {
                let tally = agent.tally(now, nanos);
                (seconds(tally.counted()), seconds(tally.down))
            };
            let hour = 3_600 * UnixNanos::SECOND;
            views.entry(agent.tenant.clone()).or_default().push(SlaView {
                agent: agent.id,
                target: self.config.objective.target,
                period: window(period),
                hour: window(hour),
                six_hours: window(6 * hour),
                three_days: window(72 * hour),
            });
        }
        for (tenant, views) in views {
            let place = self.tenant(&tenant);
            if self.tenants[place].plugins.is_none() {
                if now < self.tenants[place].report_from {
                    continue;
                }
                // Fetched back for this alone, they stay for two rounds of reports.
                let rounds = nanos(2 * self.config.sla_seconds);
                self.tenants[place].used = now.plus(rounds - nanos(self.config.idle_seconds));
            }
            let mut plugins = self.plugins(place);
            let answers = plugins.report(&views);
            self.tenants[place].plugins = Some(plugins);
            for (evidence, id, report) in answers {
                let Some(agent) = self.agents.get_mut(id) else { continue };
                agent.reported(&evidence, now, &report, &self.config, &mut self.out);
                agent.sla = Some(report);
                let at = self.agents.place(id, &tenant);
                self.agents.mark_changed(at);
            }
        }
    }

    /// Puts plugins away that had nothing to do for long. Their state stays.
    fn suspend_idle(&mut self, now: UnixNanos) {
        let idle = nanos(self.config.idle_seconds);
        for at in 0..self.tenants.len() {
            if now.since(self.tenants[at].used) > idle && self.suspend(at) {
                self.tenants[at].report_from = now.plus(nanos(self.config.repeat_seconds));
            }
        }
    }

    /// Takes a tenant's plugins down to their state; whether there were any.
    fn suspend(&mut self, at: usize) -> bool {
        let tenant = &mut self.tenants[at];
        let Some(mut plugins) = tenant.plugins.take() else { return false };
        tenant.snapshot = plugins.snapshot();
        for id in tenant.opened.drain(..) {
            if let Some(state) = self.series_tracker.series.get_mut(id.0 as usize) {
                state.flags &= !flag::OPEN;
            }
        }
        true
    }

    /// Writes what was made to the store and tells the board.
    fn emit(&mut self) {
        if self.rebuilding {
            self.out = EvaluationOutput::default();
            return;
        }
        self.agents.show(&self.timing, &self.context.live_agents);
        if self.out == EvaluationOutput::default() {
            return;
        }
        self.dirty = true;
        self.alert_log.alerts(&self.out.alerts, &self.context.registry);
        let suppressed = self.out.notices.iter().filter(|notice| notice.event == Event::Suppressed).count();
        if suppressed > 0 {
            metrics::counter!("vitals_alerts_suppressed_total").increment(suppressed as u64);
        }
        let out = Arc::new(mem::take(&mut self.out));
        (self.context.observe)(&out);
        self.context.store.write(self.partition, Arc::unwrap_or_clone(out));
    }

    /// What a restart needs to go on from here. `with_state` takes the plugins' state too, so that nothing
    /// before this has to be read again.
    pub(super) fn checkpoint(&mut self, with_state: bool) -> Checkpoint {
        let series_tracker = self.series_tracker.save(self.seen.0);
        let state = with_state.then(|| {
            let tenants = self.tenants.iter_mut().map(|tenant| {
                let snapshot = match &mut tenant.plugins {
                    Some(plugins) => plugins.snapshot(),
                    None => tenant.snapshot.clone(),
                };
                (tenant.id.clone(), snapshot)
            });
            let tenants = tenants.collect();
            state::write(&PluginState {
                series_tracker: series_tracker.clone(),
                last_heard: self.last_heard.save(),
                tenants,
            })
        });
        if with_state {
            self.included = self.position;
        }
        let agents = mem::take(&mut self.agents.all);
        let living = Living { seen: self.seen.max(self.ticked), series_tracker, agents };
        let liveness = state::write(&living);
        self.agents.all = living.agents;
        self.rows = 0;
        self.dirty = false;
        Checkpoint { stored: self.position, included: self.included, state, liveness }
    }
}

/// What a heartbeat's clock says, with a hash of the rest.
fn own_of(heartbeat: &Heartbeat) -> Own {
    let content = (heartbeat.reported, heartbeat.interval, &heartbeat.measurements);
    let content = postcard::to_allocvec(&content).unwrap_or_default();
    Own { time: heartbeat.timestamp, content: xxhash_rust::xxh3::xxh3_64(&content) }
}

/// The identity of the series that made a value: of several, the metric of the first and the attributes of all.
fn named(registry: &Registry, series: &[SeriesId]) -> Option<AlertSeries> {
    let mut descs = series.iter().filter_map(|&id| registry.series(id));
    let first = descs.next()?;
    let mut attributes: Vec<(String, String)> =
        first.spec.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for other in descs {
        attributes.retain(|(key, value)| other.spec.attributes.iter().any(|(k, v)| k == key && v == value));
    }
    Some(AlertSeries { metric: first.spec.metric.clone(), attributes })
}

/// The findings that are about some rows.
fn among(found: &[(UnixNanos, OutlierVerdict)], columns: &Columns) -> Vec<OutlierVerdict> {
    let about = |time: UnixNanos, outlier: &OutlierVerdict| {
        columns.rows().any(|(series, at, _)| series == outlier.series && at == time)
    };
    found.iter().filter(|(time, outlier)| about(*time, outlier)).map(|(_, outlier)| outlier.clone()).collect()
}

/// The kind of a derived series. A percentage or a duration stays one only in its own unit: a rate of CPU
/// seconds must not meet the threshold for CPU percent.
fn derived_kind(source: MetricKind, same_unit: bool) -> MetricKind {
    match source {
        MetricKind::DiskIo | MetricKind::NetworkIo | MetricKind::Throughput => source,
        _ if same_unit => source,
        _ => MetricKind::Custom,
    }
}

fn nanos(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(UnixNanos::SECOND)
}

#[allow(clippy::cast_precision_loss)]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / UnixNanos::SECOND as f64
}
