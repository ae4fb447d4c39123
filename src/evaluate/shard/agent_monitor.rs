//! Follows the agents of a shard: evidence of life, silence, maintenance and what people do to alerts.

use super::maintenance_plan::MaintenancePlan;
use super::shared::Shared;
use crate::evaluate::agents::{Agent, Agents, PlannedWindow};
use crate::evaluate::config::EvaluateConfig;
use vitals_core::alert_command::AlertCommand;
use vitals_core::availability::{Beat, Interval};
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::live_agents::Liveness;
use vitals_core::maintenance::PersonWindow;
use vitals_core::registry::Registry;
use vitals_core::store::PastMaintenance;
use vitals_core::verdict::{AgentHealth, Alert};

/// The agents of a shard, with the configured maintenance windows that apply to them.
pub(super) struct AgentMonitor {
    pub(super) agents: Agents,
    plan: MaintenancePlan,
    /// Set by people, and not over: agents that are seen later are covered too.
    person_windows: Vec<PersonWindow>,
}

impl AgentMonitor {
    pub(super) fn new(config: &EvaluateConfig) -> Self {
        Self { agents: Agents::default(), plan: MaintenancePlan::new(&config.maintenance), person_windows: Vec::new() }
    }

    /// The index of an agent, which is added if it is new.
    pub(super) fn index_of(&mut self, id: AgentId, tenant: &TenantId, shared: &mut Shared) -> usize {
        let known = self.agents.all.len();
        let index = self.agents.index_of(id, tenant);
        if self.agents.all.len() > known {
            self.join_current_windows(index, shared);
            let now = shared.now();
            let meant = |window: &&PersonWindow| window.end > now && self.is_meant(window, index, &shared.registry);
            let windows: Vec<PersonWindow> = self.person_windows.iter().filter(meant).cloned().collect();
            for PersonWindow { start, end, .. } in windows {
                self.plan_window(index, PlannedWindow { start, end, configured: false }, shared);
            }
        }
        index
    }

    /// The health of an agent as it was judged last.
    pub(super) fn health_of(&mut self, id: AgentId) -> Option<AgentHealth> {
        self.agents.get_mut(id).and_then(|agent| agent.health.clone())
    }

    /// Takes evidence of life.
    pub(super) fn beat(
        &mut self,
        agent: AgentId,
        tenant: &TenantId,
        beat: Beat,
        received: UnixNanos,
        shared: &mut Shared,
    ) {
        let index = self.index_of(agent, tenant, shared);
        let mut changes = Vec::new();
        self.agents.all[index].beat(beat, received, &shared.timing, &mut changes);
        self.apply_changes(index, &mut changes, received, shared);
    }

    /// Applies changes of availability that became known at `now`.
    fn apply_changes(&mut self, index: usize, changes: &mut Vec<Interval>, now: UnixNanos, shared: &mut Shared) {
        if !changes.is_empty() {
            let Shared { config, registry, out, .. } = shared;
            let name = |id: AgentId| Shared::agent_name(registry, id);
            self.agents.all[index].apply_changes(changes, &name, now, config, out);
        }
        self.agents.mark_changed(index);
    }

    /// Follows time to `now`: who is late, who is offline, who is forgotten, which alerts are due.
    pub(super) fn tick(&mut self, now: UnixNanos, shared: &mut Shared) {
        self.follow_plan(now, shared);
        let mut changes = Vec::new();
        for index in 0..self.agents.all.len() {
            let agent = &mut self.agents.all[index];
            agent.tick(now, &shared.config, &mut shared.out);
            let Some(tracker) = &mut agent.tracker else { continue };
            if tracker.is_due(now) {
                let liveness = tracker.tick(now, &shared.timing, &mut changes);
                if liveness.is_some() || !changes.is_empty() {
                    self.apply_changes(index, &mut changes, now, shared);
                }
            } else if tracker.liveness() == Liveness::Offline
                && now.since(tracker.last_contact()) > shared.config.forget()
            {
                agent.retire(now, &shared.config, &mut shared.out);
                shared.live_agents.remove(agent.id);
                self.agents.mark_changed(index);
            }
        }
    }

    /// Takes note that nobody listened from `from` until `now`.
    pub(super) fn was_blind(&mut self, from: UnixNanos, now: UnixNanos, shared: &mut Shared) {
        let mut changes = Vec::new();
        for index in 0..self.agents.all.len() {
            if let Some(tracker) = &mut self.agents.all[index].tracker {
                tracker.was_blind(from, now, &shared.timing, &mut changes);
                self.apply_changes(index, &mut changes, now, shared);
            }
        }
    }

    /// Repeats which alerts are open, for receivers that forget.
    pub(super) fn repeat_alerts(&mut self, now: UnixNanos, shared: &mut Shared) {
        for agent in &mut self.agents.all {
            agent.repeat(now, &shared.config, &mut shared.out);
        }
    }

    /// Takes new settings: windows and thresholds that are gone end what they had begun.
    pub(super) fn reload(&mut self, now: UnixNanos, shared: &mut Shared) {
        self.plan = MaintenancePlan::new(&shared.config.maintenance);
        self.follow_plan(now, shared);
        for index in 0..self.agents.all.len() {
            let kept = self.current_windows(index, &shared.registry);
            let mut changes = Vec::new();
            self.agents.all[index].unplan(&kept, now, &shared.timing, &mut changes);
            self.apply_changes(index, &mut changes, now, shared);
            let agent = &mut self.agents.all[index];
            agent.drop_unjudged(now, &shared.config, &mut shared.out);
            agent.repeat(now, &shared.config, &mut shared.out);
        }
    }

    /// Replaces all agents by those of a checkpoint, as they were at `now`.
    pub(super) fn restore(
        &mut self,
        (agents, windows): (Vec<Agent>, Vec<PersonWindow>),
        now: UnixNanos,
        shared: &mut Shared,
    ) {
        self.agents.restore(agents);
        self.person_windows = windows;
        for index in 0..self.agents.all.len() {
            self.agents.mark_changed(index);
        }
        self.plan.restart();
        self.follow_plan(now, shared);
    }

    /// Begins the configured maintenance windows whose time has come, which end by themselves, and applies those that were
    /// over before anyone knew of them.
    pub(super) fn follow_plan(&mut self, now: UnixNanos, shared: &mut Shared) {
        if self.plan.advance(now) {
            for index in 0..self.agents.all.len() {
                self.join_current_windows(index, shared);
            }
        }
        for (window, start, end) in self.plan.take_passed(now, shared) {
            for index in 0..self.agents.all.len() {
                let agent = &self.agents.all[index];
                let desc = shared.registry.agent(agent.id);
                if desc.is_some_and(|desc| self.plan.covers(window, &agent.tenant, &desc.key)) {
                    self.plan_window(index, PlannedWindow { start, end, configured: true }, shared);
                }
            }
        }
    }

    /// The configured windows of an agent that are under way.
    fn current_windows(&self, index: usize, registry: &Registry) -> Vec<(UnixNanos, UnixNanos)> {
        let agent = &self.agents.all[index];
        registry.agent(agent.id).map_or_else(Vec::new, |desc| self.plan.current_windows(&agent.tenant, &desc.key))
    }

    fn join_current_windows(&mut self, index: usize, shared: &mut Shared) {
        for (start, end) in self.current_windows(index, &shared.registry) {
            self.plan_window(index, PlannedWindow { start, end, configured: true }, shared);
        }
    }

    fn plan_window(&mut self, index: usize, window: PlannedWindow, shared: &mut Shared) {
        let (now, mut changes) = (shared.now(), Vec::new());
        self.agents.all[index].plan(window, now, &shared.timing, &mut changes);
        self.apply_changes(index, &mut changes, now, shared);
    }

    /// The maintenance windows that people set and that are not over.
    pub(super) fn person_windows(&self) -> &[PersonWindow] {
        &self.person_windows
    }

    /// Sets, changes or takes back a maintenance window as a person asked for; whether that is news.
    pub(super) fn set_window(&mut self, window: PersonWindow, shared: &mut Shared) -> bool {
        let now = shared.now();
        if let Some(at) = self.person_windows.iter().position(|known| known.id == window.id) {
            if self.person_windows[at].changed >= window.changed {
                return false;
            }
            let before = self.person_windows.swap_remove(at);
            self.withdraw(&before, shared);
        }
        self.person_windows.retain(|known| known.end > now);
        if window.cancelled || window.end <= window.start {
            return true;
        }
        for index in 0..self.agents.all.len() {
            if self.is_meant(&window, index, &shared.registry) {
                self.apply_person_window(index, &window, shared);
            }
        }
        if window.end > now {
            self.person_windows.push(window);
        }
        true
    }

    fn is_meant(&self, window: &PersonWindow, index: usize, registry: &Registry) -> bool {
        let agent = &self.agents.all[index];
        registry.agent(agent.id).is_some_and(|desc| window.covers(&agent.tenant, &desc.key))
    }

    fn apply_person_window(&mut self, index: usize, window: &PersonWindow, shared: &mut Shared) {
        let &PersonWindow { start, end, changed, .. } = window;
        let agent = &self.agents.all[index];
        if agent.tracker.is_none() && start < changed {
            // Nothing of it is remembered here, but the store may have heard of it once. What is past is so by the record's
            // own time, which is the same in a replay.
            shared.out.maintenance.push(PastMaintenance { agent: agent.id, start, end: end.min(changed) });
        }
        self.plan_window(index, PlannedWindow { start, end, configured: false }, shared);
    }

    /// Takes a window back from its agents, but for those that another one of the same time covers.
    fn withdraw(&mut self, window: &PersonWindow, shared: &mut Shared) {
        let (now, times) = (shared.now(), (window.start, window.end));
        for index in 0..self.agents.all.len() {
            let is_kept = |other: &PersonWindow| {
                (other.start, other.end) == times && self.is_meant(other, index, &shared.registry)
            };
            if !self.is_meant(window, index, &shared.registry) || self.person_windows.iter().any(is_kept) {
                continue;
            }
            let mut changes = Vec::new();
            self.agents.all[index].withdraw(times, now, &shared.timing, &mut changes);
            self.apply_changes(index, &mut changes, now, shared);
        }
    }

    /// Forgets an agent; its open alerts are over, and it stands no more.
    pub(super) fn retire(&mut self, id: AgentId, shared: &mut Shared) {
        let now = shared.now();
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.retire(now, &shared.config, &mut shared.out);
        shared.out.standings.extend(agent.gone(now));
        shared.live_agents.remove(id);
        self.agents.remove(id);
    }

    /// Does what a person wants to an alert; the alert after it, or `None` when it is not open.
    pub(super) fn command(&mut self, command: &AlertCommand, shared: &mut Shared) -> Option<Alert> {
        let now = shared.now();
        self.agents.get_mut(command.agent)?.command(command, now, &shared.config, &mut shared.out)
    }
}
