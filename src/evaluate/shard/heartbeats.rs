//! REST heartbeats: evidence of life, measurements, and the answer to the sender.

use super::agent_monitor::AgentMonitor;
use super::scores::Scores;
use super::shared::Shared;
use crate::evaluate::agents::{Measured, Subject};
use crate::evaluate::tenant_plugins::AgentView;
use vitals_core::availability::{Beat, Clock, HeartbeatOrder, Own, State};
use vitals_core::columns::Columns;
use vitals_core::record::{Breach, Heartbeat, Outcome};
use vitals_core::rules::health::is_bad;
use vitals_core::series::MetricKind;
use vitals_core::verdict::{AgentHealth, AlertSeries, HealthStatus};

/// The fields of a heartbeat that thresholds judge, by the names of the REST contract.
const JUDGED_FIELDS: [(MetricKind, &str); 2] =
    [(MetricKind::CpuUsage, "cpu_usage_percent"), (MetricKind::ResponseTime, "response_time_ms")];

impl AgentMonitor {
    /// What the scorers see of a heartbeat.
    pub(super) fn view_of(&mut self, heartbeat: &Heartbeat, shared: &mut Shared) -> AgentView {
        let index = self.index_of(heartbeat.agent, &heartbeat.tenant, shared);
        let agent = &self.agents.all[index];
        let bound = shared.config.max_ahead();
        AgentView {
            agent: heartbeat.agent,
            time: Clock::judged_time(heartbeat.timestamp, heartbeat.received_at, bound),
            measurements: agent.with_percentages(heartbeat.measurements, &shared.config),
            uptime_percent: agent.uptime_percent(shared.latest_arrival),
        }
    }

    /// Whether a heartbeat is the newest of its agent, and not one that came before.
    pub(super) fn is_newest(&mut self, heartbeat: &Heartbeat, shared: &mut Shared) -> bool {
        let index = self.index_of(heartbeat.agent, &heartbeat.tenant, shared);
        self.agents.all[index].tracker.as_ref().is_none_or(|tracker| {
            let order = tracker.judge(own_of(heartbeat), heartbeat.received_at, heartbeat.interval);
            order == HeartbeatOrder::Newest
        })
    }

    /// Applies a heartbeat with its scores; the answer to its sender, and the heartbeat's rows.
    pub(super) fn apply_heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        view: &AgentView,
        scores: Scores,
        is_newest: bool,
        shared: &mut Shared,
    ) -> (Outcome, Columns) {
        let index = self.index_of(heartbeat.agent, &heartbeat.tenant, shared);
        let reported = Some(heartbeat.reported);
        let health = self.lowest_score(index, scores, (reported, view.time), is_newest, shared);
        // Its own arrival, not the batch's: when it is judged must not depend on how records are cut into batches.
        let now = heartbeat.received_at;
        let is_ahead = self.is_ahead_alone(index, &heartbeat, shared);
        let beat = beat_of(&heartbeat, health.as_ref());
        self.beat(heartbeat.agent, &heartbeat.tenant, beat, now, shared);
        self.check_clock(heartbeat.agent, shared);
        let agent = &mut self.agents.all[index];
        if is_newest {
            agent.reported = reported;
            agent.measurements = view.measurements;
            agent.measured_at = agent.measured_at.max(view.time);
        }
        let mut outcome = Outcome {
            next_expected: Some(heartbeat.timestamp.plus(heartbeat.interval)),
            adaptive_timeout: agent.tracker.as_ref().map(|tracker| tracker.adaptive_timeout(&shared.timing)),
            ..Outcome::default()
        };
        self.apply_thresholds(index, &heartbeat, view, is_newest, &mut outcome, shared);
        let agent = &mut self.agents.all[index];
        if let Some(health) = health.as_ref().filter(|_| is_newest) {
            // Listed and notified; of what a heartbeat raises, the contract counts thresholds only. One heartbeat from the
            // future says too little for an alert on what it measured; the next one confirms it.
            if !is_ahead || is_bad(heartbeat.reported) {
                let policy = agent.policy(now, &shared.config);
                agent.health_alert(health, view.time, policy, now, &mut shared.out);
            }
            // Scorers that do not answer leave their last verdict.
            agent.health = Some(health.clone());
        }
        outcome.health = health;
        outcome.live = agent.live(&shared.timing);
        self.agents.mark_changed(index);
        (outcome, heartbeat.columns)
    }

    /// Applies thresholds to a heartbeat's fields.
    fn apply_thresholds(
        &mut self,
        index: usize,
        heartbeat: &Heartbeat,
        view: &AgentView,
        is_newest: bool,
        outcome: &mut Outcome,
        shared: &mut Shared,
    ) {
        let agent = &mut self.agents.all[index];
        for (kind, field) in JUDGED_FIELDS {
            let Some(value) = view.measurements.of_kind(kind) else { continue };
            if let Some(threshold) = shared.config.threshold(kind)
                && let Some(severity) = threshold.judge(value)
            {
                let message = threshold.sentence(value, severity);
                outcome.breaches.push(Breach { series: None, message });
            }
            if is_newest {
                let measured = Measured { subject: Subject::Measurements(kind), kind, time: view.time, value };
                let series = || Some(AlertSeries { metric: field.to_owned(), attributes: Vec::new() });
                let now = heartbeat.received_at;
                outcome.alerts.extend(agent.watch(measured, &series, now, &shared.config, &mut shared.out));
            }
        }
    }

    /// Whether a heartbeat is further ahead of its arrival than is allowed, and the one before was not.
    fn is_ahead_alone(&self, index: usize, heartbeat: &Heartbeat, shared: &Shared) -> bool {
        let (own, received) = (heartbeat.timestamp, heartbeat.received_at);
        let bound = shared.config.max_ahead();
        match &self.agents.all[index].tracker {
            Some(tracker) => tracker.is_ahead_alone(own, received, bound),
            None => own.since(received) > bound,
        }
    }
}

/// The evidence of life in a heartbeat: an agent that is judged critical counts as unhealthy, unless it is in maintenance.
fn beat_of(heartbeat: &Heartbeat, health: Option<&AgentHealth>) -> Beat {
    let is_critical = health.is_some_and(|health| health.status == HealthStatus::Critical);
    let says = match heartbeat.reported {
        HealthStatus::Maintenance => State::Maintenance,
        _ if is_critical => State::Unhealthy,
        _ => State::Up,
    };
    Beat { own: Some(own_of(heartbeat)), interval: Some(heartbeat.interval), says: Some(says) }
}

/// The time of a heartbeat's own clock, with a hash of its content.
fn own_of(heartbeat: &Heartbeat) -> Own {
    let content = (heartbeat.reported, heartbeat.interval, &heartbeat.measurements);
    let content = postcard::to_allocvec(&content).unwrap_or_default();
    Own { time: heartbeat.timestamp, content: xxhash_rust::xxh3::xxh3_64(&content) }
}
