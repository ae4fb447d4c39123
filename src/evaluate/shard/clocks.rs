//! The clocks of agents: how far they are off, and the warnings about it.

use super::agent_monitor::AgentMonitor;
use super::shared::Shared;
use crate::evaluate::series_tracker::SeriesTracker;
use hashbrown::HashMap;
use vitals_core::ids::{AgentId, Partition};
use vitals_core::record::Samples;

impl AgentMonitor {
    /// Compares the newest points of an export with their arrival: what they say of the clocks of those who sent them.
    pub(super) fn compare_clocks(&mut self, samples: &Samples, series: &SeriesTracker, shared: &Shared) {
        let mut furthest: HashMap<AgentId, i64> = HashMap::new();
        for (id, time, _) in samples.columns.rows().filter(|(_, time, _)| *time > samples.received_at) {
            if let Some(series) = series.series.get(id.0 as usize) {
                let ahead = furthest.entry(series.agent).or_default();
                *ahead = time.since(samples.received_at).max(*ahead);
            }
        }
        for &agent in &samples.alive {
            let ahead = furthest.get(&agent).copied().unwrap_or(0);
            if let Some(tracker) = self.agents.get_mut(agent).and_then(|agent| agent.tracker.as_mut()) {
                tracker.exported(ahead);
                if ahead > 0 {
                    self.check_clock(agent, shared);
                }
            }
        }
    }

    /// Warns of a clock that is off, once until it is right again.
    pub(super) fn check_clock(&mut self, id: AgentId, shared: &Shared) {
        let bound = shared.config.max_ahead();
        let Some(skew) = self.agents.get_mut(id).and_then(|agent| agent.check_clock(bound)) else { return };
        if !shared.is_rebuilding {
            let desc = shared.registry.agent(id);
            let agent = desc.as_ref().map_or("", |desc| desc.key.as_str());
            let tenant = desc.as_ref().map_or("", |desc| &desc.tenant.0);
            let skew_ms = skew / 1_000_000;
            tracing::warn!(tenant, agent, skew_ms, "the agent's clock is off; set it by NTP");
        }
    }

    /// Counts the agents whose clocks are off.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn count_clocks_off(&self, partition: Partition) {
        let off = self.agents.all.iter().filter(|agent| agent.clock_is_off).count();
        metrics::gauge!("vitals_agents_clock_off", "partition" => partition.0.to_string()).set(off as f64);
    }
}
