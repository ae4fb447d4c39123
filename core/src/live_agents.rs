//! What is known of each agent right now: evaluation writes it, the REST stage reads it.

use crate::availability::{Interval, Tally};
use crate::ids::{AgentId, UnixNanos};
use crate::record::Measurements;
use crate::rules::health::is_bad;
use crate::verdict::{AgentHealth, HealthStatus, SlaVerdict};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::{PoisonError, RwLock};

const HOUR: i64 = 3_600 * UnixNanos::SECOND;
const DAY: i64 = 24 * HOUR;

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
pub struct LiveAgent {
    /// Whether it is heard of.
    pub liveness: Liveness,
    /// The arrival of the last evidence of life.
    pub last_evidence: UnixNanos,
    /// How far its clock is ahead of ours, nanoseconds, negative when behind; `None` when nothing tells.
    pub clock_skew: Option<i64>,
    /// The interval at which evidence is expected, nanoseconds.
    pub interval: i64,
    /// The adaptive timeout, nanoseconds.
    pub timeout: i64,
    /// The last measurements of each kind.
    pub measurements: Measurements,
    /// What the agent said of its health in its last heartbeat; `None` for one that sends none.
    pub reported: Option<HealthStatus>,
    /// The last health score.
    pub health: Option<AgentHealth>,
    /// The intervals of the last day, while there is no health score: its availability is then all that is known.
    pub recent: Vec<Interval>,
    /// The last SLA report.
    pub sla: Option<SlaVerdict>,
}

/// A target that shows no life itself and is judged by what others measure of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The last health score.
    pub health: AgentHealth,
    /// The time of the newest measurement in it.
    pub time: UnixNanos,
    /// Those measurements.
    pub measurements: Measurements,
}

/// The status of an agent, and its score: 0 to 100, `None` while it is unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurrentHealth {
    /// The status.
    pub status: HealthStatus,
    /// The score.
    pub score: Option<f64>,
}

impl CurrentHealth {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { status: HealthStatus::Unknown, score: None };

    fn judged(health: &AgentHealth) -> Self {
        // A scorer that does not know how an agent is gives no score either, whatever number stands there.
        let is_known = health.status != HealthStatus::Unknown;
        Self { status: health.status, score: is_known.then(|| health.score.clamp(0.0, 100.0)) }
    }

    /// The contract's status for an availability.
    fn of_uptime(percent: f64) -> Self {
        let status = match percent {
            p if p >= 99.0 => HealthStatus::Healthy,
            p if p >= 95.0 => HealthStatus::Degraded,
            p if p >= 80.0 => HealthStatus::Critical,
            _ => HealthStatus::Offline,
        };
        Self { status, score: Some(percent.clamp(0.0, 100.0)) }
    }
}

impl LiveAgent {
    /// How the agent stands at `now`; every answer that says something of its status or score says this. Silence and
    /// maintenance come first, then what a scorer judged, then the availability of the last day.
    #[must_use]
    pub fn current_health(&self, now: UnixNanos) -> CurrentHealth {
        let judged = self.health.as_ref().map(CurrentHealth::judged);
        match self.liveness {
            // What is offline serves nobody, whatever it measured last.
            Liveness::Offline => CurrentHealth { status: HealthStatus::Offline, score: Some(0.0) },
            Liveness::Maintenance => {
                CurrentHealth { status: HealthStatus::Maintenance, score: judged.and_then(|judged| judged.score) }
            }
            Liveness::OnTime | Liveness::Late => judged.unwrap_or_else(|| self.unjudged(now)),
        }
    }

    fn unjudged(&self, now: UnixNanos) -> CurrentHealth {
        let uptime = Tally::of(&self.recent, now.plus(-DAY), now).percent();
        let current_health = uptime.map_or(CurrentHealth::UNKNOWN, CurrentHealth::of_uptime);
        let is_good = matches!(current_health.status, HealthStatus::Healthy | HealthStatus::Unknown);
        if is_good && self.reported.is_some_and(is_bad) {
            return CurrentHealth { status: HealthStatus::Degraded, score: None };
        }
        current_health
    }
}

impl Observed {
    /// How the target stands at `now`: as it was judged within the last hour, else unknown.
    #[must_use]
    pub fn current_health(&self, now: UnixNanos) -> CurrentHealth {
        if now.since(self.time) > Self::RECENT { CurrentHealth::UNKNOWN } else { CurrentHealth::judged(&self.health) }
    }

    /// How long a measurement of such a target says how it is.
    pub const RECENT: i64 = HOUR;
}

/// All agents, now.
#[derive(Default)]
pub struct LiveAgents {
    agents: RwLock<HashMap<AgentId, LiveAgent>>,
    observed: RwLock<HashMap<AgentId, Observed>>,
    /// When the last measurements of a system arrived over REST.
    reports: RwLock<HashMap<AgentId, UnixNanos>>,
}

impl LiveAgents {
    /// What is known of `agent`.
    #[must_use]
    pub fn get(&self, agent: AgentId) -> Option<LiveAgent> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(&agent).cloned()
    }

    /// What is known of a target that shows no life itself.
    #[must_use]
    pub fn observed(&self, agent: AgentId) -> Option<Observed> {
        self.observed.read().unwrap_or_else(PoisonError::into_inner).get(&agent).cloned()
    }

    /// Replaces what is known of some agents.
    pub fn put(&self, news: impl IntoIterator<Item = (AgentId, LiveAgent)>) {
        self.agents.write().unwrap_or_else(PoisonError::into_inner).extend(news);
    }

    /// Replaces what is known of some targets that show no life themselves.
    pub fn put_observed(&self, news: impl IntoIterator<Item = (AgentId, Observed)>) {
        self.observed.write().unwrap_or_else(PoisonError::into_inner).extend(news);
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
        self.observed.write().unwrap_or_else(PoisonError::into_inner).remove(&agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::availability::State;

    const NOW: UnixNanos = UnixNanos(1_000_000 * UnixNanos::SECOND);

    /// Up for the last hour, but for its last `down` percent.
    fn line(down: i64) -> Vec<Interval> {
        let (start, fell) = (NOW.plus(-HOUR), NOW.plus(-HOUR / 100 * down));
        vec![
            Interval { start, end: Some(fell), state: State::Up },
            Interval { start: fell, end: None, state: if down == 0 { State::Up } else { State::Silent } },
        ]
    }

    #[test]
    fn liveness_comes_first_then_the_verdict_then_availability() {
        use HealthStatus as H;
        let judged = |status, score| Some(AgentHealth { score, status, reasons: vec![], recommendations: vec![] });
        for (liveness, health, recent, reported, expect) in [
            (Liveness::OnTime, judged(H::Degraded, 85.0), vec![], None, (H::Degraded, Some(85.0))),
            (Liveness::Late, judged(H::Healthy, 100.0), line(0), None, (H::Healthy, Some(100.0))),
            (Liveness::Offline, judged(H::Healthy, 100.0), vec![], None, (H::Offline, Some(0.0))),
            (Liveness::Offline, None, vec![], None, (H::Offline, Some(0.0))),
            (Liveness::Maintenance, judged(H::Critical, 70.0), vec![], None, (H::Maintenance, Some(70.0))),
            (Liveness::Maintenance, None, line(0), None, (H::Maintenance, None)),
            (Liveness::OnTime, None, vec![], None, (H::Unknown, None)),
            (Liveness::OnTime, judged(H::Unknown, 0.0), line(0), None, (H::Unknown, None)),
            (Liveness::OnTime, None, line(0), None, (H::Healthy, Some(100.0))),
            (Liveness::OnTime, None, line(1), None, (H::Healthy, Some(99.0))),
            (Liveness::OnTime, None, line(5), None, (H::Degraded, Some(95.0))),
            (Liveness::OnTime, None, line(20), None, (H::Critical, Some(80.0))),
            (Liveness::OnTime, None, line(21), None, (H::Offline, Some(79.0))),
            (Liveness::OnTime, None, line(0), Some(H::Critical), (H::Degraded, None)),
            (Liveness::OnTime, None, vec![], Some(H::Offline), (H::Degraded, None)),
            (Liveness::OnTime, None, line(20), Some(H::Critical), (H::Critical, Some(80.0))),
            (Liveness::OnTime, None, line(0), Some(H::Degraded), (H::Healthy, Some(100.0))),
        ] {
            let live = LiveAgent {
                liveness,
                last_evidence: NOW,
                interval: 1,
                timeout: 1,
                measurements: Measurements::default(),
                reported,
                health,
                recent,
                clock_skew: None,
                sla: None,
            };
            let current_health = live.current_health(NOW);
            assert_eq!((current_health.status, current_health.score), expect, "{live:?}");
        }
    }

    #[test]
    fn what_others_measure_counts_for_an_hour() {
        let health =
            AgentHealth { score: 85.0, status: HealthStatus::Degraded, reasons: vec![], recommendations: vec![] };
        let observed = Observed { health, time: NOW, measurements: Measurements::default() };
        assert_eq!(observed.current_health(NOW.plus(HOUR)).score, Some(85.0));
        assert_eq!(observed.current_health(NOW.plus(HOUR + 1)), CurrentHealth::UNKNOWN);
    }
}
