//! Agents that are retired: their names are free again, their numbers never.

use super::{IdentityHash, Registry, TenantRegistry, identity, read, write};
use crate::ids::{AgentId, SeriesId};
use std::sync::atomic::Ordering;

impl Registry {
    /// Forgets an agent and its series; their numbers are never given out again. Who comes under its name is another one.
    pub fn retire(&self, agent: AgentId) {
        let Some(desc) = self.agent(agent) else { return };
        self.forget_name(agent);
        write(&self.retired).insert(agent);
        let series = self.series_of(agent);
        let part = self.tenant(&desc.tenant);
        let mut canonical = write(&part.canonical);
        for one in &series {
            canonical.remove(&identity(agent, &one.spec));
        }
        drop(canonical);
        let mut descriptions = write(&self.descriptions);
        if let Some(place) = descriptions.agents.get_mut(agent.0 as usize) {
            *place = None;
        }
        if let Some(ids) = descriptions.agent_series.get_mut(agent.0 as usize) {
            ids.clear();
        }
        for one in &series {
            descriptions.series[one.id.0 as usize] = None;
        }
        drop(descriptions);
        // Only now: what is remembered from here on is looked up in the descriptions first.
        part.forget_wire();
    }

    /// Lets the name of an agent go, which is not yet retired: who comes under it is another one.
    pub fn forget_name(&self, agent: AgentId) {
        self.has_retired.store(true, Ordering::Relaxed);
        let Some(desc) = self.agent(agent) else { return };
        let part = self.tenant(&desc.tenant);
        let mut agents = write(&part.agents);
        if agents.get(&desc.key) == Some(&agent) {
            agents.remove(&desc.key);
        }
    }

    /// Whether the agent is known, or was never retired. Costs nothing as long as none was.
    #[must_use]
    pub fn is_current(&self, agent: AgentId) -> bool {
        !self.has_retired.load(Ordering::Relaxed) || read(&self.descriptions).has_agent(agent)
    }

    /// Remembers which series the bytes with these hashes mean, but for those that are retired by now.
    pub fn remember_wire(&self, part: &TenantRegistry, pairs: impl IntoIterator<Item = (IdentityHash, SeriesId)>) {
        let mut wire = write(&part.wire);
        if !self.has_retired.load(Ordering::Relaxed) {
            wire.extend(pairs);
            return;
        }
        let descriptions = read(&self.descriptions);
        wire.extend(
            pairs.into_iter().filter(|(_, id)| matches!(descriptions.series.get(id.0 as usize), Some(Some(_)))),
        );
    }
}
