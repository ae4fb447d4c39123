//! When each agent was last heard of, from itself or from others, and which have been silent for too long.
//!
//! The plugins forget the series of an agent that was silent for `forget_seconds`. Whether it was follows from the times at
//! which records arrived, and from nothing else: a tick forgets early, to free memory, and a record that ends such a silence
//! forgets first if no tick did. Both leave the same state, so a replay, which rebuilds the plugins' state without ticks,
//! judges the same.

use hashbrown::HashMap;
use vitals_core::ids::{AgentId, UnixNanos};

/// The latest arrival of a record of each agent that is not forgotten.
#[derive(Default)]
pub(super) struct LastHeard(HashMap<AgentId, UnixNanos>);

impl LastHeard {
    /// Notes a record of `agent`; whether it ends a silence of more than `forget` nanoseconds.
    pub(super) fn hear(&mut self, agent: AgentId, received: UnixNanos, forget: i64) -> bool {
        let last = self.0.entry(agent).or_insert(received);
        let was_silent = received.since(*last) > forget;
        *last = received.max(*last);
        was_silent
    }

    /// Removes the agents that have been silent for more than `forget` nanoseconds, and returns them.
    pub(super) fn take_silent(&mut self, now: UnixNanos, forget: i64) -> Vec<AgentId> {
        self.0.extract_if(|_, last| now.since(*last) > forget).map(|(agent, _)| agent).collect()
    }

    /// Forgets an agent.
    pub(super) fn forget(&mut self, agent: AgentId) {
        self.0.remove(&agent);
    }

    pub(super) fn save(&self) -> Vec<(AgentId, UnixNanos)> {
        self.0.iter().map(|(&agent, &last)| (agent, last)).collect()
    }

    pub(super) fn restore(&mut self, saved: Vec<(AgentId, UnixNanos)>) {
        self.0 = saved.into_iter().collect();
    }
}
