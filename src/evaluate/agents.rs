//! What is known of each agent: its availability, measurements, health, and open alerts.
//!
//! - `availability`: evidence of life, maintenance windows, and the alert on silence
//! - `alerts`: alerts on thresholds and on health; `outliers`: on what outlier detectors find
//! - `standing`: how an agent is shown
//! - `verdicts`: which verdicts are stored

mod alerts;
mod availability;
mod outliers;
mod standing;
mod verdicts;

use super::config::EvaluateConfig;
use alerts::{Breach, HealthAlert};
use hashbrown::HashMap;
pub(super) use outliers::JudgedOutlier;
use outliers::OutlierAlert;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use verdicts::StoredVerdict;
use vitals_core::availability::{Interval, Timing, Tracker};
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{LiveAgents, Observed, Shown};
use vitals_core::record::Measurements;
use vitals_core::rules::alerts::Alerts;
use vitals_core::rules::percent::percent;
use vitals_core::series::MetricKind;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{AgentHealth, Evidence, HealthStatus, Risk, SlaVerdict};

/// What a threshold is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Subject {
    /// The agent's measurements.
    Measurements(MetricKind),
    /// One series.
    Series(SeriesId),
}

/// A value that a threshold may judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) subject: Subject,
    pub(super) kind: MetricKind,
    pub(super) time: UnixNanos,
    pub(super) value: f64,
}

/// The last value of a typed series that others report of a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    kind: MetricKind,
    time: UnixNanos,
    value: f64,
}

/// A maintenance window, and whether the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedWindow {
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
    pub(super) configured: bool,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) tenant: TenantId,
    /// `None` until it first shows life: an entity that others report on has no liveness.
    pub(super) tracker: Option<Tracker>,
    pub(super) measurements: Measurements,
    /// The time of the newest measurement in `measurements`.
    pub(super) measured_at: UnixNanos,
    pub(super) memory_total_mb: Option<f64>,
    pub(super) health: Option<AgentHealth>,
    /// What the newest heartbeat says of the agent's health.
    pub(super) reported: Option<HealthStatus>,
    /// What others reported last of it, while it shows no life itself.
    seen: BTreeMap<SeriesId, Seen>,
    pub(super) sla: Option<SlaVerdict>,
    /// Whether its clock is off by more than is allowed.
    pub(super) clock_is_off: bool,
    /// The intervals of the objective's period, by start.
    intervals: Vec<Interval>,
    alerts: Alerts,
    /// The open alert on silence: its id, and when the outage began.
    silence: Option<(String, UnixNanos)>,
    open_health_alert: Option<HealthAlert>,
    breaches: Vec<Breach>,
    outlier_alerts: Vec<OutlierAlert>,
    /// Maintenance windows that are not over.
    windows: Vec<PlannedWindow>,
    stored_health: Vec<StoredVerdict<(HealthStatus, f64)>>,
    stored_sla: Vec<StoredVerdict<(Risk, Option<i64>)>>,
    /// How it was shown last.
    shown: Option<Shown>,
    #[serde(skip)]
    changed: bool,
}

/// All agents of a shard.
#[derive(Default)]
pub(super) struct Agents {
    pub(super) all: Vec<Agent>,
    by_id: HashMap<AgentId, usize>,
    changed: Vec<usize>,
}

impl Agents {
    /// The index of `id`, which is added if it is new.
    pub(super) fn index_of(&mut self, id: AgentId, tenant: &TenantId) -> usize {
        *self.by_id.entry(id).or_insert_with(|| {
            self.all.push(Agent::new(id, tenant.clone()));
            self.all.len() - 1
        })
    }

    pub(super) fn get_mut(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.by_id.get(&id).map(|&at| &mut self.all[at])
    }

    /// Takes an agent out. The last one gets its place.
    pub(super) fn remove(&mut self, id: AgentId) {
        let Some(at) = self.by_id.remove(&id) else { return };
        let last = self.all.len() - 1;
        self.all.swap_remove(at);
        self.changed.retain(|&changed| changed != at);
        if at != last {
            self.by_id.insert(self.all[at].id, at);
            for changed in self.changed.iter_mut().filter(|changed| **changed == last) {
                *changed = at;
            }
        }
    }

    /// Applies an SLA report to its agent.
    pub(super) fn apply_sla_report(
        &mut self,
        id: AgentId,
        (evidence, report): (&Arc<Evidence>, SlaVerdict),
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let agent = &mut self.all[index];
        agent.reported(evidence, now, &report, config, out);
        agent.sla = Some(report);
        self.mark_changed(index);
    }

    /// Replaces all agents.
    pub(super) fn restore(&mut self, all: Vec<Agent>) {
        self.by_id = all.iter().enumerate().map(|(at, agent)| (agent.id, at)).collect();
        self.changed.clear();
        self.all = all;
    }

    /// Remembers that the board has to hear of an agent.
    pub(super) fn mark_changed(&mut self, at: usize) {
        let agent = &mut self.all[at];
        if !agent.changed {
            agent.changed = true;
            self.changed.push(at);
        }
    }

    /// Tells the board what has changed, and `out` who stands otherwise than before.
    pub(super) fn show(
        &mut self,
        timing: &Timing,
        now: UnixNanos,
        live_agents: &LiveAgents,
        out: &mut EvaluationOutput,
    ) {
        let changed = std::mem::take(&mut self.changed);
        let (mut alive, mut observed) = (Vec::new(), Vec::new());
        for at in changed {
            let agent = &mut self.all[at];
            agent.changed = false;
            if let Some(live) = agent.live(timing) {
                out.standings.extend(agent.news(&live, now));
                alive.push((agent.id, live));
            } else if let Some(health) = agent.health.clone() {
                let seen = Observed { health, time: agent.measured_at, measurements: agent.measurements };
                out.standings.extend(agent.news_of_observed(&seen, now));
                observed.push((agent.id, seen));
            } else {
                out.standings.extend(agent.gone(now));
            }
        }
        if !alive.is_empty() {
            live_agents.put(alive);
        }
        if !observed.is_empty() {
            live_agents.put_observed(observed);
        }
    }
}
impl Agent {
    fn new(id: AgentId, tenant: TenantId) -> Self {
        Self {
            id,
            tenant,
            tracker: None,
            measurements: Measurements::default(),
            measured_at: UnixNanos(i64::MIN),
            memory_total_mb: None,
            health: None,
            reported: None,
            seen: BTreeMap::new(),
            sla: None,
            clock_is_off: false,
            intervals: Vec::new(),
            alerts: Alerts::default(),
            silence: None,
            open_health_alert: None,
            breaches: Vec::new(),
            outlier_alerts: Vec::new(),
            windows: Vec::new(),
            stored_health: Vec::new(),
            stored_sla: Vec::new(),
            shown: None,
            changed: false,
        }
    }

    /// Measurements with the percentages that follow from them and from the agent's memory.
    pub(super) fn with_percentages(&self, mut measurements: Measurements, config: &EvaluateConfig) -> Measurements {
        let total = self.memory_total_mb.unwrap_or(config.memory_total_mb);
        measurements.memory_percent =
            measurements.memory_percent.or_else(|| measurements.memory_mb.and_then(|mb| percent(mb, total)));
        measurements.error_percent =
            measurements.error_percent.or_else(|| percent(measurements.errors?, measurements.requests?));
        measurements
    }

    /// The agent is gone for good: its open alerts are closed and its liveness is no longer followed.
    pub(super) fn retire(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
        let policy = self.policy(now, config);
        self.alerts.resolve_all(now, now, policy, out);
        let shown = self.shown;
        *self = Self { shown, changed: self.changed, ..Self::new(self.id, self.tenant.clone()) };
    }

    /// Remembers what others report of a target that shows no life itself.
    pub(super) fn observe(&mut self, series: SeriesId, kind: MetricKind, time: UnixNanos, value: f64) {
        if value.is_finite() {
            self.seen.insert(series, Seen { kind, time, value });
        }
    }

    /// The worst of each kind that was reported of it in the hour before `time`.
    pub(super) fn observed(&mut self, time: UnixNanos) -> Measurements {
        self.seen.retain(|_, seen| time.since(seen.time) <= Observed::RECENT);
        let mut measurements = Measurements::default();
        for seen in self.seen.values().filter(|seen| seen.time <= time) {
            if let Some(value) = measurements.of_kind_mut(seen.kind) {
                *value = Some(value.map_or(seen.value, |worst: f64| worst.max(seen.value)));
            }
        }
        measurements
    }
}
