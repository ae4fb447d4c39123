//! The descriptions of everything that is sent.

use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;
use vitals_core::ids::AgentId;
use vitals_core::series::{AgentDesc, SeriesDesc};
use vitals_core::store::{Catalogue, EvaluationOutput};

/// Series and agents by number. The descriptions are shared with the registry.
#[derive(Default)]
pub(super) struct Names {
    series: RwLock<HashMap<u32, Arc<SeriesDesc>>>,
    agents: RwLock<HashMap<u32, Arc<AgentDesc>>>,
}

impl Names {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        let names = Self::default();
        names.agents.write().extend(catalogue.agents.into_iter().map(|agent| (agent.id.0, agent)));
        names.series.write().extend(catalogue.series.into_iter().map(|series| (series.id.0, series)));
        names
    }

    /// Adds what an output describes. The retired stay: of them something may wait to be sent.
    pub(super) fn learn(&self, output: &EvaluationOutput) {
        if !output.agents.is_empty() {
            self.agents.write().extend(output.agents.iter().map(|agent| (agent.id.0, agent.clone())));
        }
        if !output.series.is_empty() {
            self.series.write().extend(output.series.iter().map(|series| (series.id.0, series.clone())));
        }
    }

    pub(super) fn series(&self, id: u32) -> Option<Arc<SeriesDesc>> {
        self.series.read().get(&id).cloned()
    }

    /// Tenant and key of an agent; its number when nobody described it.
    pub(super) fn agent(&self, id: AgentId) -> (String, String) {
        match self.agents.read().get(&id.0) {
            Some(agent) => (agent.tenant.to_string(), agent.key.clone()),
            None => (String::new(), format!("#{}", id.0)),
        }
    }
}
