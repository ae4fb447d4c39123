//! SLA reports: at each tick those of a share of the agents.

use crate::evaluate::agents::Agent;
use crate::evaluate::config::EvaluateConfig;
use crate::evaluate::tenant_plugins::SlaView;
use hashbrown::HashMap;
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::time::{HOUR, seconds};

/// Decides which agents are reported on next, so that each has its turn once in `sla_seconds`.
#[derive(Default)]
pub(super) struct SlaSchedule {
    next_agent: usize,
}

impl SlaSchedule {
    /// The views of the agents whose turn it is, by tenant.
    pub(super) fn due_views(
        &mut self,
        agents: &mut [Agent],
        now: UnixNanos,
        config: &EvaluateConfig,
    ) -> HashMap<TenantId, Vec<SlaView>> {
        let mut views: HashMap<TenantId, Vec<SlaView>> = HashMap::new();
        let share = agents.len().div_ceil(usize::try_from(config.sla_seconds).unwrap_or(1).max(1));
        for _ in 0..share {
            self.next_agent = if self.next_agent >= agents.len() { 0 } else { self.next_agent };
            let agent = &mut agents[self.next_agent];
            self.next_agent += 1;
            if agent.tracker.is_none() {
                continue;
            }
            agent.forget(now.plus(-config.objective.period()));
            views.entry(agent.tenant.clone()).or_default().push(view_of(agent, now, config));
        }
        views
    }
}

fn view_of(agent: &Agent, now: UnixNanos, config: &EvaluateConfig) -> SlaView {
    let window = |nanos: i64| {
        let tally = agent.tally(now, nanos);
        (seconds(tally.counted()), seconds(tally.down))
    };
    SlaView {
        agent: agent.id,
        target: config.objective.target,
        period: window(config.objective.period()),
        hour: window(HOUR),
        six_hours: window(6 * HOUR),
        three_days: window(72 * HOUR),
    }
}
