//! What the parts of a shard share.

use crate::evaluate::config::EvaluateConfig;
use std::sync::Arc;
use vitals_core::availability::Timing;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::live_agents::LiveAgents;
use vitals_core::registry::Registry;
use vitals_core::store::EvaluationOutput;

/// Settings, the registry, how far time has come, and the output that all parts of a shard write to.
pub(super) struct Shared {
    pub(super) config: Arc<EvaluateConfig>,
    pub(super) timing: Timing,
    pub(super) registry: Arc<Registry>,
    pub(super) live_agents: Arc<LiveAgents>,
    pub(super) out: EvaluationOutput,
    /// The latest arrival of a record.
    pub(super) latest_arrival: UnixNanos,
    /// The latest tick; behind `latest_arrival` by what may be on its way.
    pub(super) latest_tick: UnixNanos,
    /// Whether the store already has the results of the records that are taken, so that they are discarded.
    pub(super) is_rebuilding: bool,
}

impl Shared {
    pub(super) fn new(config: Arc<EvaluateConfig>, registry: Arc<Registry>, live_agents: Arc<LiveAgents>) -> Self {
        Self {
            timing: config.liveness.timing(),
            config,
            registry,
            live_agents,
            out: EvaluationOutput::default(),
            latest_arrival: UnixNanos(0),
            latest_tick: UnixNanos(0),
            is_rebuilding: false,
        }
    }

    pub(super) fn set_config(&mut self, config: Arc<EvaluateConfig>) {
        self.timing = config.liveness.timing();
        self.config = config;
    }

    /// The latest time that a record or the clock said.
    pub(super) fn now(&self) -> UnixNanos {
        self.latest_arrival.max(self.latest_tick)
    }

    /// Notes the arrival of a record.
    pub(super) fn arrived(&mut self, received: UnixNanos) {
        self.latest_arrival = self.latest_arrival.max(received);
    }

    /// The name by which an agent is known in messages.
    pub(super) fn agent_name(registry: &Registry, id: AgentId) -> Arc<str> {
        registry.agent(id).map_or_else(|| Arc::from("an agent"), |agent| Arc::from(agent.key.as_str()))
    }
}
