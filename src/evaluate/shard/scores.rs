//! Health scoring: agents wait in order of their records, so that one call of the scorers serves many.

use super::agent_monitor::AgentMonitor;
use super::plugins::PluginInstances;
use super::replies::Reply;
use super::shared::Shared;
use crate::evaluate::series_tracker::SeriesTracker;
use crate::evaluate::tenant_plugins::AgentView;
use hashbrown::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::record::Heartbeat;
use vitals_core::rules::alerts::Policy;
use vitals_core::rules::health::beside_report;
use vitals_core::verdict::{AgentHealth, Evidence, HealthStatus};

/// Most rows of one call of the scorers.
const MOST_ROWS: usize = 4_096;

/// What the scorers of a tenant answer to one view.
pub(super) type Scores = Vec<(Arc<Evidence>, AgentHealth)>;

/// A view that waits for the scorers' answer.
pub(super) struct PendingScore {
    pub(super) tenant: usize,
    pub(super) view: AgentView,
    pub(super) cause: ScoreCause,
}

/// Why an agent is scored.
pub(super) enum ScoreCause {
    /// Its series, or what others report of it, have new values.
    Reading {
        /// When they arrived.
        received: UnixNanos,
        /// Whether planned maintenance was under way then.
        is_planned: bool,
    },
    /// A heartbeat.
    Heartbeat {
        heartbeat: Box<Heartbeat>,
        reply: Option<Reply>,
        /// Whether it is the newest of its agent. A retry or a straggler is answered like the first one, but leaves no trace
        /// beyond its evidence of life.
        is_newest: bool,
    },
}

/// The views that wait for the scorers.
#[derive(Default)]
pub(super) struct ScoreQueue {
    pending: Vec<PendingScore>,
    /// The agents whose heartbeats are among them.
    with_heartbeat: HashSet<AgentId>,
}

impl ScoreQueue {
    pub(super) fn push(&mut self, score: PendingScore) {
        if let ScoreCause::Heartbeat { heartbeat, .. } = &score.cause {
            self.with_heartbeat.insert(heartbeat.agent);
        }
        self.pending.push(score);
    }

    /// Whether a heartbeat of any agent waits.
    pub(super) fn has_heartbeats(&self) -> bool {
        !self.with_heartbeat.is_empty()
    }

    /// Whether a heartbeat of `agent` waits.
    pub(super) fn has_heartbeat_of(&self, agent: AgentId) -> bool {
        self.with_heartbeat.contains(&agent)
    }

    /// Calls the scorers about everything that waits; each view with its answers, in order of the records.
    pub(super) fn score_all(
        &mut self,
        plugins: &mut PluginInstances,
        series: &mut SeriesTracker,
    ) -> impl Iterator<Item = (PendingScore, Scores)> + use<> {
        let pending = mem::take(&mut self.pending);
        self.with_heartbeat.clear();
        let mut by_tenant: HashMap<usize, (Vec<usize>, Vec<AgentView>)> = HashMap::new();
        for (index, score) in pending.iter().enumerate() {
            let (indices, views) = by_tenant.entry(score.tenant).or_default();
            indices.push(index);
            views.push(score.view);
        }
        let mut answers: Vec<Scores> = Vec::new();
        answers.resize_with(pending.len(), Vec::new);
        for (tenant, (indices, views)) in by_tenant {
            plugins.make_room(tenant, series);
            let plugins = plugins.load(tenant).plugins;
            for (indices, views) in indices.chunks(MOST_ROWS).zip(views.chunks(MOST_ROWS)) {
                for (evidence, row, health) in plugins.assess(views) {
                    if let Some(&index) = indices.get(row) {
                        answers[index].push((evidence, health));
                    }
                }
            }
        }
        pending.into_iter().zip(answers)
    }
}

impl AgentMonitor {
    /// Keeps each score as a verdict if `is_newest`, limited by what the agent reports of itself; the lowest score.
    pub(super) fn lowest_score(
        &mut self,
        index: usize,
        scores: Scores,
        (reported, time): (Option<HealthStatus>, UnixNanos),
        is_newest: bool,
        shared: &mut Shared,
    ) -> Option<AgentHealth> {
        let mut lowest: Option<AgentHealth> = None;
        for (evidence, health) in scores {
            let health = beside_report(health, reported, shared.config.reported_score_most);
            if is_newest {
                self.agents.all[index].judged(&evidence, time, &health, &shared.config, &mut shared.out);
            }
            if lowest.as_ref().is_none_or(|lowest| health.score < lowest.score) {
                lowest = Some(health);
            }
        }
        lowest
    }

    /// Applies the scores of a reading.
    pub(super) fn apply_reading_scores(
        &mut self,
        view: &AgentView,
        scores: Scores,
        (received, is_planned): (UnixNanos, bool),
        shared: &mut Shared,
    ) {
        let Some(agent) = self.agents.get_mut(view.agent) else { return };
        let (reported, tenant): (_, TenantId) = (agent.reported, agent.tenant.clone());
        let index = self.index_of(view.agent, &tenant, shared);
        let Some(health) = self.lowest_score(index, scores, (reported, view.time), true, shared) else { return };
        let agent = &mut self.agents.all[index];
        // Of a target that shows no life, each series has its own alerts.
        if agent.tracker.is_some() {
            let policy = Policy { planned: is_planned, ..agent.policy(received, &shared.config) };
            agent.health_alert(&health, view.time, policy, received, &mut shared.out);
        }
        agent.health = Some(health);
        self.agents.mark_changed(index);
    }
}
