//! How an agent stands now.
//!
//! Asks the store and may block.

use super::time::HOUR;
use super::wire::Health;
use crate::expose::Rest;
use vitals_core::availability::{Interval, State};
use vitals_core::board::{AgentLive, Liveness};
use vitals_core::ids::UnixNanos;
use vitals_core::record::Vitals;
use vitals_core::seam::{StoreError, VerdictQuery};
use vitals_core::series::AgentDesc;
use vitals_core::verdict::{AgentHealth, VerdictBody};

/// How an agent stands now.
pub struct Standing {
    pub live: Option<AgentLive>,
    pub judged: Option<AgentHealth>,
    pub health: Health,
    pub score: f64,
    pub last_check: UnixNanos,
}

impl Standing {
    /// From the board alone, for lists of many agents.
    pub fn glance(rest: &Rest, agent: &AgentDesc) -> Self {
        let live = rest.board.get(agent.id);
        let judged = live.as_ref().and_then(|live| live.health.clone());
        let last_check = last_contact(rest, agent, live.as_ref());
        let liveness = live.as_ref().map(|live| live.liveness);
        Self::from_parts(live, judged, liveness, last_check)
    }

    /// From the board; what it does not know, from the last verdict and the open interval.
    pub fn of(rest: &Rest, agent: &AgentDesc, now: UnixNanos) -> Result<Self, StoreError> {
        let live = rest.board.get(agent.id);
        let mut last_check = last_contact(rest, agent, live.as_ref());
        let mut judged = live.as_ref().and_then(|live| live.health.clone());
        if judged.is_none() {
            let query = VerdictQuery {
                tenant: agent.tenant.clone(),
                agents: Some(vec![agent.id]),
                kind: Some("health"),
                start: UnixNanos(i64::MIN),
                end: UnixNanos(i64::MAX),
                limit: 1,
            };
            for verdict in rest.store.verdicts(&query)? {
                if let VerdictBody::Health(health) = verdict.body {
                    // A verdict has the time of its data, which may be ahead.
                    last_check = last_check.max(verdict.time.min(now));
                    judged = Some(health);
                }
            }
        }
        let liveness = match &live {
            Some(live) => Some(live.liveness),
            None => open_state(&rest.store.intervals(agent.id, now.plus(-HOUR), now)?),
        };
        Ok(Self::from_parts(live, judged, liveness, last_check))
    }

    fn from_parts(
        live: Option<AgentLive>,
        judged: Option<AgentHealth>,
        liveness: Option<Liveness>,
        last_check: UnixNanos,
    ) -> Self {
        let health = match liveness {
            Some(Liveness::Offline) => Health::Offline,
            Some(Liveness::Maintenance) => Health::Maintenance,
            _ => judged.as_ref().map_or(Health::Unknown, |health| health.status.into()),
        };
        // What is offline serves nobody, whatever it measured last.
        let score = match (health, &judged) {
            (Health::Offline, _) | (_, None) => 0.0,
            (_, Some(judged)) => judged.score.clamp(0.0, 100.0),
        };
        Self { live, judged, health, score, last_check }
    }

    pub fn vitals(&self) -> Vitals {
        self.live.as_ref().map(|live| live.vitals).unwrap_or_default()
    }
}

/// The last arrival of anything from or about the agent: evidence of life, measurements over REST, or its first sight.
fn last_contact(rest: &Rest, agent: &AgentDesc, live: Option<&AgentLive>) -> UnixNanos {
    let heard = [live.map(|live| live.last_evidence), rest.board.last_report(agent.id)];
    heard.into_iter().flatten().max().unwrap_or(agent.first_seen)
}

fn open_state(intervals: &[Interval]) -> Option<Liveness> {
    let last = intervals.last().filter(|last| last.end.is_none())?;
    match last.state {
        State::Silent => Some(Liveness::Offline),
        State::Maintenance => Some(Liveness::Maintenance),
        State::Up | State::Unhealthy => None,
    }
}

/// The name of a liveness.
pub fn liveness_name(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::OnTime => "on_time",
        Liveness::Late => "late",
        Liveness::Offline => "offline",
        Liveness::Maintenance => "maintenance",
    }
}
