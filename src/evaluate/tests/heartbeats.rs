//! Heartbeats, silence, and what an agent reports of itself.

use super::*;

#[test]
fn a_heartbeat_is_answered_and_a_retry_changes_nothing() {
    let mut world = World::start(&[describe()], Contents::default());
    let outcome = world.take(heartbeat(0, 97.0)).unwrap();
    assert_eq!(outcome.health.unwrap().status, HealthStatus::Critical);
    assert_eq!((outcome.breaches.len(), outcome.breaches[0].series), (1, None));
    assert_eq!(outcome.breaches[0].message, "cpu_usage is 97.0 %, critical from 95.0 %");
    let alerts: Vec<_> = outcome.alerts.iter().map(|alert| (alert.source.as_str(), alert.severity)).collect();
    // What the contract counts as raised by a heartbeat; the alert on its health is listed.
    assert_eq!(alerts, [("threshold:cpu_usage", Severity::Critical)]);
    let named = outcome.alerts[0].series.clone().unwrap();
    assert_eq!((named.metric.as_str(), named.attributes.len()), ("cpu_usage_percent", 0));
    assert_eq!((outcome.next_expected, outcome.adaptive_timeout), (Some(at(30)), Some(90 * S)));
    let before = world.held();
    let again = world.take(heartbeat(0, 97.0)).unwrap();
    assert_eq!((again.breaches.len(), again.alerts.len()), (1, 0));
    let after = world.held();
    assert_eq!((before.samples, before.verdicts, before.alerts), (after.samples, after.verdicts, after.alerts));
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!((live.liveness, live.measurements.cpu_percent), (Liveness::OnTime, Some(97.0)));

    let calm = world.take(heartbeat(30, 10.0)).unwrap();
    assert!(calm.breaches.is_empty());
    let held = world.held();
    // Nor does one that comes after newer ones.
    world.take(heartbeat(0, 97.0));
    let after = world.held();
    assert_eq!((&held.verdicts, &held.alerts, &held.intervals), (&after.verdicts, &after.alerts, &after.intervals));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().measurements.cpu_percent, Some(10.0));
    let times: Vec<_> = held.alerts.values().map(|alert| (alert.started, alert.resolved)).collect();
    assert_eq!(times, [(at(0), Some(at(30))), (at(0), Some(at(30)))]);
    // Critical was downtime.
    let states: Vec<_> = held.intervals.values().map(|i| (i.start, i.end, i.state)).collect();
    assert_eq!(states, [(at(0), Some(at(30)), State::Unhealthy), (at(30), None, State::Up)]);
}

#[test]
fn silence_is_late_then_offline_with_one_alert_until_the_return() {
    let mut world = World::start(&[describe()], Contents::default());
    for second in [0, 30, 60] {
        world.take(heartbeat(second, 10.0));
    }
    let liveness = |world: &World| world.live_agents.get(AgentId(1)).unwrap().liveness;
    world.shard.tick(at(91));
    assert_eq!(liveness(&world), Liveness::Late);
    assert!(world.held().alerts.is_empty());
    for second in 92..200 {
        world.shard.tick(at(second));
    }
    assert_eq!(liveness(&world), Liveness::Offline);
    let held = world.held();
    let alert = held.alerts.values().next().unwrap().clone();
    assert_eq!((held.alerts.len(), alert.source.as_str(), alert.started), (1, "availability", at(90)));
    assert!(alert.message.starts_with("db has been silent since 1970-01-12T"), "{}", alert.message);
    world.take(on_alert(&alert, AlertAction::Acknowledge, "ops", 150));

    world.take(heartbeat(200, 10.0));
    assert_eq!(liveness(&world), Liveness::OnTime);
    let held = world.held();
    assert_eq!(held.alerts.len(), 1);
    let closed = &held.alerts[&alert.id];
    assert_eq!((closed.resolved, &closed.acknowledged), (Some(at(200)), &Some(("ops".into(), at(150)))));
    let line: Vec<Interval> = merged(&held.intervals.values().copied().collect::<Vec<_>>());
    assert_eq!(line.iter().map(|i| i.state).collect::<Vec<_>>(), [State::Up, State::Silent, State::Up]);
    // The report noticed.
    for second in 201..215 {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().sla.unwrap().risk, Risk::Breached);
}

#[test]
fn what_an_agent_says_of_itself_is_kept_and_limits_its_health() {
    let mut world = World::start(&[describe()], Contents::default());
    let outcome = world.take(reporting(1, 0, 5.0, HealthStatus::Critical)).unwrap();
    let health = outcome.health.unwrap();
    assert_eq!((health.status, health.score), (HealthStatus::Degraded, 80.0));
    assert!(health.reasons.iter().any(|reason| reason.contains("reports critical")), "{health:?}");
    let held = world.held();
    let alerts: Vec<_> = held.alerts.values().map(|alert| (alert.source.as_str(), alert.severity)).collect();
    assert_eq!(alerts, [("health", Severity::Error)]);
    assert_eq!(outcome.live.unwrap().reported, Some(HealthStatus::Critical));
    // Kept over a restart.
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(1));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().reported, Some(HealthStatus::Critical));
    // Judged critical it is worse, and better again.
    let severity = |world: &World| world.held().alerts.values().find(|a| a.source == "health").unwrap().severity;
    world.take(reporting(1, 30, 99.0, HealthStatus::Critical));
    assert_eq!(severity(&world), Severity::Critical);
    world.take(reporting(1, 60, 5.0, HealthStatus::Offline));
    assert_eq!(severity(&world), Severity::Error);
    let outcome = world.take(reporting(1, 90, 5.0, HealthStatus::Degraded)).unwrap();
    assert_eq!(outcome.health.unwrap().status, HealthStatus::Healthy, "what it says otherwise is shown only");
    let health: Vec<_> =
        world.held().alerts.values().filter(|a| a.source == "health").map(|a| (a.started, a.resolved)).collect();
    assert_eq!(health, [(at(0), Some(at(90)))]);
    // It holds for what else is known of the agent, until it says something else.
    world.take(reporting(0, 100, 5.0, HealthStatus::Offline));
    world.take(samples(101, &[(3, 101, 5.0)]));
    let live = world.live_agents.get(AgentId(0)).unwrap();
    assert_eq!(live.health.unwrap().status, HealthStatus::Degraded);
    // In maintenance nobody is told.
    let told = world.told().len();
    world.take(reporting(0, 130, 5.0, HealthStatus::Maintenance));
    world.take(planned(110, 600, 600));
    world.take(reporting(1, 120, 99.0, HealthStatus::Critical));
    let new: Vec<_> = world.told().split_off(told).into_iter().filter(|told| told.contains("raised")).collect();
    assert_eq!(new, Vec::<String>::new());
}

#[test]
fn an_alert_on_silence_ends_at_the_return_also_if_this_service_was_away_meanwhile() {
    let mut world = World::start(&[describe()], Contents::default());
    for second in [0, 30, 60] {
        world.take(heartbeat(second, 10.0));
    }
    world.ticks(61..=300);
    assert!(world.held().alerts.values().all(|a| a.source == "availability" && a.resolved.is_none()));
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(1_000));
    world.ticks(1_001..=1_500);
    world.take(heartbeat(1_500, 10.0));
    let ends: Vec<_> = world.held().alerts.values().map(|a| a.resolved).collect();
    assert_eq!(ends, [Some(at(1_500))]);
}

/// Exports of agent 0 at these seconds with ticks in between, and a restart behind every third.
fn exporting(seconds: &[i64]) -> World {
    let mut world = World::start(&[describe()], Contents::default());
    let mut last = seconds[0];
    for (n, &second) in seconds.iter().enumerate() {
        world.ticks(last + 1..=second);
        world.take(samples(second, &[(0, second, 1.0)]));
        if n % 3 == 2 {
            world.checkpoint(true);
            let durable = world.store.durable();
            world = World::start(&[describe()], durable);
            world.shard.resume_after_pause(at(second + 1));
        }
        last = second;
    }
    world
}

#[test]
fn exports_each_few_minutes_raise_nothing_before_their_interval_is_learned() {
    for interval in [minutes(2), minutes(5), minutes(15), minutes(60)] {
        let seconds: Vec<i64> = (0..8).map(|n| n * interval + n % 3 * interval / 20).collect();
        let mut world = exporting(&seconds);
        assert!(world.held().alerts.is_empty(), "{interval}: {:?}", world.held().alerts);
        assert!(line(&world).iter().all(|(.., state)| *state == State::Up), "{interval}: {:?}", line(&world));
        let last = seconds[7];
        world.ticks(last + 1..=last + 3 * interval);
        assert_eq!(world.live_agents.get(AgentId(0)).unwrap().liveness, Liveness::Offline, "{interval}");
        assert_eq!(alerts_of(&world, "availability").len(), 1, "{interval}");
    }
}

#[test]
fn an_outage_that_was_the_interval_is_taken_back_with_its_alert() {
    let seconds: Vec<i64> = (0..30).map(|n| n * 10).chain((1..9).map(|n| 290 + n * 300)).collect();
    let world = exporting(&seconds);
    let alerts = alerts_of(&world, "availability");
    assert!(!alerts.is_empty() && alerts.iter().all(|(_, resolved)| resolved.is_some()), "{alerts:?}");
    assert!(line(&world).iter().all(|(.., state)| *state == State::Up), "{:?}", line(&world));
}
