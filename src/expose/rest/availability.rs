//! The availability of an agent over a window, and how that stands against its objective.
//!
//! Everything here asks the store and may block.

use super::current_health::CurrentHealth;
use super::failure_patterns::{self, FailurePattern};
use super::shapes::NOTHING_AGAINST;
use super::time::{HOUR, Time, minutes};
use crate::expose::Rest;
use serde::Serialize;
use utoipa::ToSchema;
use vitals_core::availability::{AvailabilitySummary, Interval, Outage, State, Tally, summary};
use vitals_core::caller::Caller;
use vitals_core::ids::UnixNanos;
use vitals_core::live_agents::Liveness;
use vitals_core::rules::sla::{self, SlaConfig, Windows};
use vitals_core::series::AgentDesc;
use vitals_core::store::{StoreError, VerdictQuery};
use vitals_core::verdict::{SlaVerdict, VerdictBody};

pub const DAY: i64 = 24 * HOUR;

/// Most other agents of a location that are compared.
const MOST_PEERS: usize = 200;

/// Less known time than this is too little to judge an agent by.
const LEAST_KNOWN: i64 = HOUR;

/// A real interval, as far as it lies in the window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Period {
    /// From here, or from the window's start.
    pub start: Time,
    /// To here, or to the window's end; null while it lasts.
    pub end: Option<Time>,
    /// The part in the window: these minutes add up to the known part of it.
    #[schema(minimum = 0)]
    pub duration_minutes: f64,
    /// What the agent was.
    pub state: PeriodState,
    /// Why it was not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<PeriodState>,
    /// When it truly began, which may be before the window.
    pub began_at: Time,
}

/// What an agent was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeriodState {
    /// Alive and not critical.
    Up,
    /// Silent past its adaptive timeout, dated from the first missed beat.
    Silent,
    /// Alive, with a health that was critical.
    Unhealthy,
    /// Planned.
    Maintenance,
}

impl PeriodState {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Unhealthy => "unhealthy",
            Self::Maintenance => "maintenance",
        }
    }
}

impl From<State> for PeriodState {
    fn from(state: State) -> Self {
        match state {
            State::Up => Self::Up,
            State::Silent => Self::Silent,
            State::Unhealthy => Self::Unhealthy,
            State::Maintenance => Self::Maintenance,
        }
    }
}

/// Availability over a window, and the objective over its own period.
pub struct Availability {
    pub summary: AvailabilitySummary,
    /// The objective in force, percent.
    pub target: f64,
    /// The last report against it; `None` when nobody reports.
    pub sla: Option<SlaVerdict>,
    /// The percentages below which there is advice: the health scorer's limits, if the built-in one is in force.
    advise: Option<[f64; 3]>,
    pub peers: Vec<(String, Vec<Outage>)>,
}

impl Availability {
    /// `current_health` carries the SLA plugin's report. Before the first one the same rule is applied here with the same settings,
    /// unless the operator has another plugin for it.
    pub fn of(
        rest: &Rest,
        caller: &Caller,
        agent: &AgentDesc,
        current_health: &CurrentHealth,
        (start, end): (UnixNanos, UnixNanos),
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let period = i64::from(rest.config.sla_period_days) * DAY;
        let intervals = rest.store.intervals(agent.id, start.min(now.plus(-period)), now)?;
        let reported = current_health.live.as_ref().and_then(|live| live.sla.clone());
        let target = rest.config.sla_target;
        let sla = match (reported, &rest.config.sla) {
            (Some(report), _) => Some(report),
            (None, Some(rule)) => objective(rule, &intervals, target, period, now),
            (None, None) => last_report(rest, agent)?,
        };
        let summary = summary(&intervals, start, end, now);
        let mut peers = Vec::new();
        if !summary.outages.is_empty() && agent.profile.location.is_some() {
            let mut others = rest.agents(caller);
            others.retain(|other| other.id != agent.id && other.profile.location == agent.profile.location);
            for other in others.into_iter().take(MOST_PEERS) {
                let theirs = rest.store.intervals(other.id, start, now)?;
                let outages = vitals_core::availability::summary(&theirs, start, end, now).outages;
                peers.push((other.key.clone(), outages));
            }
        }
        Ok(Self { summary, target, sla, advise: rest.config.advise_uptime_percent, peers })
    }

    /// Percent of the known time that was up; [`NOTHING_AGAINST`] when nothing is known.
    pub fn percent(&self) -> f64 {
        self.summary.tally.percent().unwrap_or(NOTHING_AGAINST)
    }

    /// Whether the window meets the objective.
    pub fn compliant(&self) -> Option<bool> {
        self.summary.tally.percent().map(|percent| percent >= self.target)
    }

    /// The risk of missing the objective; none when nothing is known of its period.
    pub fn risk(&self) -> Option<String> {
        let known = self.sla.as_ref().filter(|report| !report.availability.is_nan());
        known.map(|report| report.risk.name().to_owned())
    }

    pub fn mttr_minutes(&self) -> Option<f64> {
        self.summary.mttr.map(|seconds| seconds / 60.0)
    }

    pub fn mtbf_hours(&self) -> Option<f64> {
        self.summary.mtbf.map(|seconds| seconds / 3_600.0)
    }

    pub fn sessions(&self) -> Vec<Period> {
        self.summary.sessions.iter().map(|session| self.period(session)).collect()
    }

    pub fn downtime(&self) -> Vec<Period> {
        self.summary.downtime.iter().map(|interval| self.period(interval)).collect()
    }

    fn period(&self, interval: &Interval) -> Period {
        let (start, end) = (self.summary.start, self.summary.end);
        Period {
            start: Time(interval.start.max(start)),
            end: interval.end.map(|over| Time(over.min(end))),
            duration_minutes: minutes(interval.overlap(start, end)),
            state: interval.state.into(),
            cause: (interval.state != State::Up).then(|| interval.state.into()),
            began_at: Time(interval.start),
        }
    }

    /// The patterns in which the agent fails.
    pub fn patterns(&self, location: Option<&str>) -> Vec<FailurePattern> {
        failure_patterns::patterns(&self.summary.outages, &self.peers, location)
    }

    /// Advice on availability, beside what the health scorer advises.
    pub fn advice(&self, current_health: &CurrentHealth, patterns: &[FailurePattern]) -> Vec<String> {
        let mut advice =
            current_health.judged.as_ref().map(|health| health.recommendations.clone()).unwrap_or_default();
        // The health scorer speaks of the availability too, if it is bad.
        if !advice.iter().any(|text| text.starts_with("Available")) {
            advice.extend(self.uptime_advice());
        }
        match current_health.live.as_ref().map(|live| live.liveness) {
            Some(Liveness::Late) => {
                advice.push("The next heartbeat is overdue: check the network path and the agent's load.".to_owned());
            }
            Some(Liveness::Offline) => {
                advice.push(
                    "The agent is silent: check that its host and process run and reach this service.".to_owned(),
                );
            }
            _ => {}
        }
        advice.extend(patterns.iter().map(|pattern| pattern.recommendation().to_owned()));
        advice
    }

    /// Advice on the uptime of the window, in proportion to how long the agent was down.
    fn uptime_advice(&self) -> Option<String> {
        let tally = &self.summary.tally;
        let percent = tally.percent()?;
        let [watch, act, urgent] = self.advise?;
        if percent >= watch {
            return None;
        }
        let (down, known) = (minutes(tally.down), minutes(tally.counted()));
        if tally.counted() < LEAST_KNOWN {
            return Some(format!(
                "Uptime is {percent:.2} %, but only {known:.0} min are known: look again when there is more to judge by."
            ));
        }
        let what = match percent {
            p if p < urgent => "check its host, its restarts and its deployment now",
            p if p < act => "look at the downtime periods and at what they have in common",
            _ => "review restarts and alerts around the downtime periods",
        };
        Some(format!("Uptime is {percent:.2} %, {down:.0} min down of {known:.0}: {what}."))
    }
}

/// The last report of an SLA evaluator that was kept.
fn last_report(rest: &Rest, agent: &AgentDesc) -> Result<Option<SlaVerdict>, StoreError> {
    let query = VerdictQuery {
        agents: Some(vec![agent.id]),
        kind: Some("sla"),
        limit: 1,
        ..VerdictQuery::of(agent.tenant.clone())
    };
    let last = rest.store.verdicts(&query)?.into_iter().next();
    Ok(last.and_then(|verdict| if let VerdictBody::Sla(report) = verdict.body { Some(report) } else { None }))
}

/// The objective's report from intervals, by the rule that the built-in plugin applies; none when nothing is known.
#[allow(clippy::cast_precision_loss)]
fn objective(rule: &SlaConfig, intervals: &[Interval], target: f64, period: i64, now: UnixNanos) -> Option<SlaVerdict> {
    let over = |length: i64| {
        let tally = Tally::of(intervals, now.plus(-length), now);
        let seconds = |nanos: i64| nanos as f64 / UnixNanos::SECOND as f64;
        (seconds(tally.counted()), seconds(tally.down))
    };
    let windows =
        Windows { period: over(period), hour: over(HOUR), six_hours: over(6 * HOUR), three_days: over(3 * DAY) };
    (windows.period.0 > 0.0).then(|| sla::evaluate(rule, target, &windows))
}
