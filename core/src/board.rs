//! What is known of each agent right now: evaluation writes it, the REST room reads it.

use crate::ids::{AgentId, UnixNanos};
use crate::record::Vitals;
use crate::verdict::{AgentHealth, SlaVerdict};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::{PoisonError, RwLock};

/// Whether an agent is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liveness {
    /// The last evidence is not overdue.
    OnTime,
    /// The next evidence is overdue, the adaptive timeout not yet passed.
    Late,
    /// The adaptive timeout has passed.
    Offline,
    /// In a maintenance window, or reported so.
    Maintenance,
}

/// One agent, now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentLive {
    /// Whether it is heard of.
    pub liveness: Liveness,
    /// The last evidence of life.
    pub last_evidence: UnixNanos,
    /// The interval at which evidence is expected, nanoseconds.
    pub interval: i64,
    /// The adaptive timeout, nanoseconds.
    pub timeout: i64,
    /// The last measurements of each kind.
    pub vitals: Vitals,
    /// The last health score.
    pub health: Option<AgentHealth>,
    /// The last SLA report.
    pub sla: Option<SlaVerdict>,
}

/// All agents, now.
#[derive(Default)]
pub struct Board {
    agents: RwLock<HashMap<AgentId, AgentLive>>,
    /// When the last measurements of a system arrived over REST.
    reports: RwLock<HashMap<AgentId, UnixNanos>>,
}

impl Board {
    /// What is known of `agent`.
    #[must_use]
    pub fn get(&self, agent: AgentId) -> Option<AgentLive> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(&agent).cloned()
    }

    /// Replaces what is known of some agents.
    pub fn put(&self, news: impl IntoIterator<Item = (AgentId, AgentLive)>) {
        self.agents.write().unwrap_or_else(PoisonError::into_inner).extend(news);
    }

    /// When measurements of `agent` last arrived over REST since the start; they are no evidence of life.
    #[must_use]
    pub fn last_report(&self, agent: AgentId) -> Option<UnixNanos> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(&agent).copied()
    }

    /// Measurements of `agent` arrived over REST at `at`.
    pub fn reported(&self, agent: AgentId, at: UnixNanos) {
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        let last = reports.entry(agent).or_insert(at);
        *last = at.max(*last);
    }

    /// Forgets an agent that is gone for good.
    pub fn remove(&self, agent: AgentId) {
        self.reports.write().unwrap_or_else(PoisonError::into_inner).remove(&agent);
        self.agents.write().unwrap_or_else(PoisonError::into_inner).remove(&agent);
    }
}
