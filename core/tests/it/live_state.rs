//! What is known of agents now: who replaces what, and what is forgotten.

use vitals_core::availability::{Interval, State};
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::live_agents::{CurrentHealth, LiveAgent, LiveAgents, Liveness, Observed};
use vitals_core::record::Measurements;
use vitals_core::verdict::{AgentHealth, HealthStatus};

const S: i64 = UnixNanos::SECOND;
const HOUR: i64 = 3_600 * S;
const NOW: UnixNanos = UnixNanos(1_000_000 * S);
const A: AgentId = AgentId(1);
const B: AgentId = AgentId(2);

fn live(last_evidence: UnixNanos) -> LiveAgent {
    LiveAgent {
        liveness: Liveness::OnTime,
        last_evidence,
        clock_skew: None,
        interval: 30 * S,
        timeout: 60 * S,
        measurements: Measurements::default(),
        reported: None,
        health: None,
        recent: Vec::new(),
        sla: None,
    }
}

fn health(status: HealthStatus, score: f64) -> AgentHealth {
    AgentHealth { score, status, reasons: Vec::new(), recommendations: Vec::new() }
}

fn observed(time: UnixNanos) -> Observed {
    Observed { health: health(HealthStatus::Degraded, 85.0), time, measurements: Measurements::default() }
}

#[test]
fn the_last_word_on_an_agent_replaces_the_one_before() {
    let agents = LiveAgents::default();
    assert_eq!((agents.get(A), agents.observed(A)), (None, None));
    agents.put([(A, live(NOW)), (B, live(NOW))]);
    agents.put([(A, live(NOW.plus(S)))]);
    assert_eq!((agents.get(A), agents.get(B)), (Some(live(NOW.plus(S))), Some(live(NOW))));
    agents.put_observed([(A, observed(NOW))]);
    agents.put_observed([(A, observed(NOW.plus(S)))]);
    assert_eq!((agents.observed(A), agents.observed(B)), (Some(observed(NOW.plus(S))), None));
}

#[test]
fn the_last_report_is_the_latest_in_whatever_order_reports_arrive() {
    let agents = LiveAgents::default();
    assert_eq!(agents.last_report(A), None);
    for (arrival, latest) in [(5, 5), (9, 9), (7, 9), (12, 12)] {
        agents.reported(A, UnixNanos(arrival));
        assert_eq!(agents.last_report(A), Some(UnixNanos(latest)), "{arrival}");
    }
    assert_eq!(agents.last_report(B), None);
}

#[test]
fn an_agent_that_is_removed_leaves_nothing_and_takes_no_other_with_it() {
    let agents = LiveAgents::default();
    for agent in [A, B] {
        agents.put([(agent, live(NOW))]);
        agents.put_observed([(agent, observed(NOW))]);
        agents.reported(agent, NOW);
    }
    agents.remove(A);
    assert_eq!((agents.get(A), agents.observed(A), agents.last_report(A)), (None, None, None));
    assert_eq!(
        (agents.get(B), agents.observed(B), agents.last_report(B)),
        (Some(live(NOW)), Some(observed(NOW)), Some(NOW))
    );
}

#[test]
fn without_a_score_only_the_availability_of_the_last_day_counts() {
    // Down until 24 hours ago, up since.
    let since = NOW.plus(-24 * HOUR);
    let recent = vec![
        Interval { start: since.plus(-24 * HOUR), end: Some(since), state: State::Silent },
        Interval { start: since, end: None, state: State::Up },
    ];
    let health_now = LiveAgent { recent, ..live(NOW) }.current_health(NOW);
    assert_eq!(health_now, CurrentHealth { status: HealthStatus::Healthy, score: Some(100.0) });
    // All of the last day counts: 23 hours up, then one hour down, are 95.8 percent.
    let fell = NOW.plus(-HOUR);
    let recent = vec![
        Interval { start: since, end: Some(fell), state: State::Up },
        Interval { start: fell, end: None, state: State::Silent },
    ];
    let health_now = LiveAgent { recent, ..live(NOW) }.current_health(NOW);
    assert_eq!((health_now.status, health_now.score.map(f64::floor)), (HealthStatus::Degraded, Some(95.0)));
}

#[test]
fn a_score_stays_within_its_range_whatever_a_plugin_says() {
    for (score, expect) in [(-5.0, 0.0), (0.0, 0.0), (100.0, 100.0), (1e9, 100.0)] {
        let agent = LiveAgent { health: Some(health(HealthStatus::Healthy, score)), ..live(NOW) };
        assert_eq!(
            agent.current_health(NOW),
            CurrentHealth { status: HealthStatus::Healthy, score: Some(expect) },
            "{score}"
        );
    }
}
