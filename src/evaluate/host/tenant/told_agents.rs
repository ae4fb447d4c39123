//! What a plugin's instance was told of agents.

use crate::evaluate::host::abi;
use crate::evaluate::host::error::Failure;
use crate::evaluate::host::plugin::Plugin;
use crate::evaluate::host::running::Running;
use hashbrown::HashSet;
use vitals_core::ids::AgentId;
use vitals_core::registry::Registry;

/// Agents opened in one call.
const OPEN_AT_ONCE: usize = 1024;

/// The agents that an instance was told of.
#[derive(Default)]
pub(super) struct ToldAgents(HashSet<u32>);

impl ToldAgents {
    /// Tells the instance of those of `agents` that it does not know.
    pub(super) fn open_new(
        &mut self,
        running: &mut Running,
        plugin: &Plugin,
        registry: &Registry,
        agents: impl IntoIterator<Item = AgentId>,
    ) -> Result<(), Failure> {
        let mut fresh = Vec::new();
        for agent in agents {
            if self.0.insert(agent.0) {
                let key = key_of(registry, agent);
                fresh.push(abi::AgentInfo { number: agent.0, config: plugin.settings.of_agent(&key), key });
            }
        }
        fresh.chunks(OPEN_AT_ONCE).try_for_each(|some| running.open_agents(some))
    }

    /// Forgets an agent; whether the instance was told of it.
    pub(super) fn close(&mut self, agent: u32) -> bool {
        self.0.remove(&agent)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The name by which clients know an agent. The registry knows every agent; its number stands in for what cannot be.
pub(super) fn key_of(registry: &Registry, agent: AgentId) -> String {
    registry.agent(agent).map_or_else(|| agent.0.to_string(), |desc| desc.key.clone())
}
