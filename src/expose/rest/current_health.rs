//! The current health of an agent. Every answer takes its status and its score from here, so that they agree.

use super::availability::Availability;
use super::shapes::{Health, NOTHING_AGAINST};
use super::time::Time;
use crate::expose::Rest;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use vitals_core::ids::UnixNanos;
use vitals_core::live_agents::{self, LiveAgent, Liveness};
use vitals_core::record::Measurements;
use vitals_core::series::AgentDesc;
use vitals_core::verdict::AgentHealth;

/// The current health of an agent.
pub struct CurrentHealth {
    /// `None` for a target that shows no life itself.
    pub live: Option<LiveAgent>,
    /// The last verdict on its health.
    pub judged: Option<AgentHealth>,
    pub health: Health,
    /// `None` while it is unknown.
    pub score: Option<f64>,
    pub last_check: UnixNanos,
}

impl CurrentHealth {
    /// From the board alone: evaluation keeps it, also over a restart.
    pub fn of(rest: &Rest, agent: &AgentDesc, now: UnixNanos) -> Self {
        let reported = rest.live_agents.last_report(agent.id);
        if let Some(live) = rest.live_agents.get(agent.id) {
            let heard = Self::of_live(live, now);
            return Self { last_check: heard.last_check.max(reported.unwrap_or(heard.last_check)), ..heard };
        }
        let Some(observed) = rest.live_agents.observed(agent.id) else {
            return Self::new(None, None, live_agents::CurrentHealth::UNKNOWN, reported.unwrap_or(agent.first_seen));
        };
        let current_health = observed.current_health(now);
        // A measurement's own time may be ahead; it stands in for the arrival only after a restart.
        let last_check = reported.unwrap_or(observed.time.min(now)).max(agent.first_seen);
        // What is too old to say how it is gives no advice either.
        Self::new(None, current_health.score.map(|_| observed.health), current_health, last_check)
    }

    /// Now, as the lists show it.
    pub fn glance(rest: &Rest, agent: &AgentDesc) -> Self {
        Self::of(rest, agent, rest.now())
    }

    /// Of one that shows life.
    pub fn of_live(live: LiveAgent, now: UnixNanos) -> Self {
        let (current_health, judged, last_check) = (live.current_health(now), live.health.clone(), live.last_evidence);
        Self::new(Some(live), judged, current_health, last_check)
    }

    fn new(
        live: Option<LiveAgent>,
        judged: Option<AgentHealth>,
        current_health: live_agents::CurrentHealth,
        last_check: UnixNanos,
    ) -> Self {
        Self { live, judged, health: current_health.status.into(), score: current_health.score, last_check }
    }

    /// The score where the contract wants a number in any case. A score is what is left of 100, and of what is unknown
    /// nothing is deducted; the status says that it is unknown.
    pub fn score_as_number(&self) -> f64 {
        self.score.unwrap_or(NOTHING_AGAINST)
    }

    /// What the agent says of its own health.
    pub fn reported(&self) -> Option<Health> {
        self.live.as_ref().and_then(|live| live.reported).map(Health::from)
    }

    /// How many milliseconds the agent's clock is ahead of ours.
    pub fn clock_skew_ms(&self) -> Option<i64> {
        self.live.as_ref().and_then(|live| live.clock_skew).map(|nanos| nanos / 1_000_000)
    }

    pub fn measurements(&self) -> Measurements {
        self.live.as_ref().map(|live| live.measurements).unwrap_or_default()
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

/// A health in one look.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthAssessment {
    /// The health now; the same as `health` in the list of agents.
    pub overall_health: Health,
    /// 0..=100; 100 when `overall_health` is `unknown`, as nothing speaks against the target.
    #[schema(minimum = 0, maximum = 100)]
    pub health_score: f64,
    /// Percent of the known time that the target was up; 100 when nothing is known.
    #[schema(minimum = 0, maximum = 100)]
    pub uptime_percentage: f64,
    /// When the target was last heard of, measured or judged, by the time of arrival.
    pub last_check: Time,
    /// By component.
    pub components: BTreeMap<String, Health>,
    /// What the agent said of its health in its last heartbeat; null for one that sends none.
    pub reported_status: Option<Health>,
}

/// The assessment of a target in one look.
pub fn assessment(
    current_health: &CurrentHealth,
    availability: &Availability,
    parts: &BTreeMap<String, Health>,
) -> HealthAssessment {
    HealthAssessment {
        overall_health: current_health.health,
        health_score: current_health.score_as_number(),
        uptime_percentage: availability.percent(),
        last_check: Time(current_health.last_check),
        components: parts.clone(),
        reported_status: current_health.reported(),
    }
}
