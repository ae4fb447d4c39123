//! Clocks of agents that are ahead, set back, or off.

use super::*;

/// A heartbeat with its own time and its arrival.
fn heartbeat_by_clock(own: i64, received: i64, cpu: f64) -> Record {
    let Record::Heartbeat(mut heartbeat) = heartbeat(own, cpu) else { unreachable!() };
    heartbeat.received_at = at(received);
    Record::Heartbeat(heartbeat)
}

#[test]
fn one_heartbeat_ahead_of_its_arrival_holds_nothing_up() {
    let mut world = World::start(&[describe()], Contents::default());
    let raised = world.take(heartbeat_by_clock(540, 0, 97.0)).unwrap();
    assert_eq!((raised.alerts.len(), raised.next_expected), (1, Some(at(570))), "as the contract has it");
    let calm = world.take(heartbeat_by_clock(1, 1, 10.0)).unwrap();
    assert_eq!(calm.health.map(|health| health.status), Some(HealthStatus::Healthy));
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!(live.measurements.cpu_percent, Some(10.0));
    assert_eq!(live.health.map(|health| health.status), Some(HealthStatus::Healthy));
    assert_eq!(alerts_of(&world, "threshold:cpu_usage"), [(0, Some(1))]);
    assert_eq!(alerts_of(&world, "health"), [], "one heartbeat from the future proves nothing");
    assert!(world.held().verdicts.iter().all(|verdict| verdict.time <= at(1)), "no verdict is of the future");
    // Nor the escalation of an alert.
    world.take(heartbeat_by_clock(602, 2, 97.0));
    assert_eq!(alerts_of(&world, "health"), []);
    world.take(heartbeat_by_clock(603, 3, 97.0));
    assert_eq!(alerts_of(&world, "health"), [(3, None)], "the second one confirms it");
    world.ticks(3..=minutes(15) + 3);
    assert!(world.told().iter().any(|told| told.contains("cpu_usage raised emergency")), "{:?}", world.told());
}

#[test]
fn a_clock_set_back_makes_no_outage_and_its_heartbeats_count() {
    for declared in [1, 30] {
        let mut world = World::start(&[describe()], Contents::default());
        for second in 0..12 {
            let own = if second < 6 { second } else { second - 300 };
            #[allow(clippy::cast_precision_loss)]
            let Record::Heartbeat(mut beat) = heartbeat_by_clock(own, second, 50.0 + second as f64) else {
                unreachable!()
            };
            beat.interval = declared * S;
            world.take(Record::Heartbeat(beat));
        }
        assert_eq!(line(&world), [(0, None, State::Up)]);
        let live = world.live_agents.get(AgentId(1)).unwrap();
        assert_eq!(live.measurements.cpu_percent, Some(61.0), "the newest");
        assert_eq!((live.last_evidence, live.clock_skew), (at(11), Some(-300 * S)));
    }
}

#[test]
fn what_was_buffered_is_history_and_the_newest_stays() {
    let mut world = World::start(&[describe()], Contents::default());
    (0..4).for_each(|n| drop(world.take(heartbeat(n * 30, 10.0))));
    world.ticks(90..=400);
    assert_eq!(alerts_of(&world, "availability"), [(120, None)]);
    // The newest first, then what was buffered.
    world.take(heartbeat_by_clock(400, 400, 20.0));
    for own in [370, 340, 310, 280, 250, 220, 190, 160, 130, 120] {
        world.take(heartbeat_by_clock(own, 400, 97.0));
    }
    let live = world.live_agents.get(AgentId(1)).unwrap();
    assert_eq!((live.measurements.cpu_percent, live.last_evidence), (Some(20.0), at(400)));
    assert!(alerts_of(&world, "threshold:cpu_usage").is_empty(), "it is over");
    assert!(line(&world).iter().all(|(.., state)| *state != State::Silent), "{:?}", line(&world));
}

#[test]
fn how_far_a_clock_is_off_is_known_of_exporters_that_are_ahead() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(samples(0, &[(0, -30, 1.0)]));
    assert_eq!(world.live_agents.get(AgentId(0)).unwrap().clock_skew, None, "an old point proves nothing");
    for second in [10, 20, 30] {
        world.take(samples(second, &[(0, second, 1.0), (1, second + 90, 1.0)]));
    }
    world.ticks(31..=32);
    assert_eq!(world.live_agents.get(AgentId(0)).unwrap().clock_skew, Some(90 * S));
}

#[test]
fn the_clock_of_one_agent_says_nothing_of_another_in_the_same_request() {
    let mut world = World::start(&[describe()], Contents::default());
    for second in [10, 20, 30] {
        let rows = [(0, second + 40, 1.0), (4, second + 90, 1.0), (1, second + 20, 1.0), (3, second - 5, 1.0)];
        let Record::Samples(mut both) = samples(second, &rows) else { unreachable!() };
        both.alive = vec![AgentId(0), AgentId(1)];
        world.take(Record::Samples(both));
    }
    let skew = |agent| world.live_agents.get(AgentId(agent)).unwrap().clock_skew;
    assert_eq!((skew(0), skew(1)), (Some(40 * S), Some(90 * S)));
}
