//! Maintenance windows, of the configuration and by REST.

use super::*;

/// A window from second 100 to 400 on the agent `db`.
fn window(second: impl Fn(i64) -> String) -> MaintenanceWindow {
    MaintenanceWindow {
        agents: vec!["d*".into()],
        tenant: None,
        start: Some(second(100)),
        end: Some(second(400)),
        days: Vec::new(),
        time_zone: None,
        from: None,
        to: None,
    }
}

fn rfc3339(second: i64) -> String {
    jiff::Timestamp::from_second(1_000_000 + second).unwrap().to_string()
}

#[test]
fn a_configured_window_is_neither_up_nor_down_and_raises_nothing() {
    let planned = EvaluateConfig { maintenance: vec![window(rfc3339)], ..config() };
    let mut world = World::with(planned, &[describe()], Contents::default());
    world.take(heartbeat(30, 10.0));
    world.ticks(31..=60);
    world.take(heartbeat(60, 10.0));
    world.ticks(61..=90);
    world.take(heartbeat(90, 10.0));
    world.ticks(91..=110);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    let breach = world.take(heartbeat(120, 97.0)).unwrap();
    assert_eq!((breach.breaches.len(), breach.alerts.len()), (1, 0), "said, but no alert");
    world.ticks(121..=399);
    assert!(world.held().alerts.is_empty());
    world.take(heartbeat(395, 10.0));
    world.take(heartbeat(425, 10.0));
    world.ticks(425..=430);
    let expect = [(30, Some(100), State::Up), (100, Some(400), State::Maintenance), (400, None, State::Up)];
    assert_eq!(line(&world), expect);
    assert!(world.held().alerts.is_empty());
}

#[test]
fn a_window_that_is_taken_out_of_the_configuration_ends() {
    let planned = EvaluateConfig { maintenance: vec![window(rfc3339)], ..config() };
    let mut world = World::with(planned, &[describe()], Contents::default());
    world.take(heartbeat(90, 10.0));
    world.ticks(91..=150);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    world.shard.reload(Arc::new(config()), false);
    world.take(heartbeat(180, 10.0));
    world.ticks(181..=190);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::OnTime);
    let expect = [(90, Some(100), State::Up), (100, Some(150), State::Maintenance), (150, None, State::Up)];
    assert_eq!(line(&world), expect);
}

#[test]
fn a_window_set_before_an_agent_is_first_seen_is_kept_for_it() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(planned(0, 600, 600));
    // Also over a restart.
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut world = World::start(&[describe()], durable);
    world.take(heartbeat(10, 97.0));
    world.ticks(11..=500);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    assert!(world.held().alerts.is_empty());
    world.ticks(501..=900);
    let alerts: Vec<_> = world.held().alerts.values().map(|a| (a.source.clone(), a.started)).collect();
    assert_eq!(alerts, [("availability".to_owned(), at(600))], "silent once the window is over");
}

/// Beats of agent 1 each 30 seconds up to `until`, but for an outage from second 300 to 900.
fn with_an_outage(until: i64) -> World {
    let mut world = World::start(&[describe()], Contents::default());
    for second in (0..=until).step_by(30) {
        if !(300..900).contains(&second) {
            world.take(heartbeat(second, 10.0));
        }
        world.ticks(second..=second + 29);
    }
    assert_eq!(line(&world), [(0, Some(300), State::Up), (300, Some(900), State::Silent), (900, None, State::Up)]);
    world
}

#[test]
fn a_window_in_the_past_changes_the_past() {
    use State::{Maintenance as M, Silent as D, Up as U};
    // The outage is among the beats that are remembered, or far behind them.
    for until in [960, 9_000] {
        for (start, end, expect) in [
            (300, 900, &[(0, Some(300), U), (300, Some(900), M), (900, None, U)][..]),
            (100, 930, &[(0, Some(100), U), (100, Some(930), M), (930, None, U)]),
            (
                400,
                500,
                &[(0, Some(300), U), (300, Some(400), D), (400, Some(500), M), (500, Some(900), D), (900, None, U)],
            ),
            // Nothing is known of the time before the first beat.
            (-500, 600, &[(0, Some(600), M), (600, Some(900), D), (900, None, U)]),
        ] {
            let mut world = with_an_outage(until);
            world.take(planned(start, end, end));
            assert_eq!(line(&world), expect, "{until} {start} {end}");
            // It stays so, over a restart and with what comes.
            world.checkpoint(true);
            let durable = world.store.durable();
            let mut world = World::start(&[describe()], durable);
            (1..40).for_each(|n| drop(world.take(heartbeat(until + n * 30, 10.0))));
            assert_eq!(line(&world), expect, "{until} {start} {end}");
        }
    }
    // So does the objective's report.
    let mut world = with_an_outage(9_000);
    let report = |world: &World| world.live_agents.get(AgentId(1)).unwrap().sla.unwrap();
    assert_eq!(report(&world).risk, Risk::Breached);
    world.take(planned(200, 700, 700));
    world.take(planned(600, 1_000, 1_000));
    world.ticks(9_030..=9_060);
    assert_eq!((report(&world).risk, report(&world).availability), (Risk::Low, 100.0));
}

#[test]
fn a_window_over_the_beginning_of_an_outage_ends_its_alert() {
    let mut world = World::start(&[describe()], Contents::default());
    (0..4).for_each(|n| drop(world.take(heartbeat(n * 30, 10.0))));
    world.ticks(90..=2_000);
    assert_eq!(alerts_of(&world, "availability"), [(120, None)]);
    world.take(planned(60, 1_000, 1_000));
    assert_eq!(alerts_of(&world, "availability"), [(120, Some(120)), (1_000, None)]);
    let expect = [(0, Some(60), State::Up), (60, Some(1_000), State::Maintenance), (1_000, None, State::Silent)];
    assert_eq!(line(&world), expect);
    // Over all of it: there was no outage.
    world.take(planned(60, 3_000, 3_000));
    assert_eq!(alerts_of(&world, "availability"), [(120, Some(120)), (1_000, Some(1_000))]);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
}

#[test]
fn a_configured_window_that_was_over_before_the_start_changes_the_past() {
    let mut world = with_an_outage(3_000);
    world.checkpoint(true);
    let durable = world.store.durable();
    let once = |from: i64, to: i64| MaintenanceWindow {
        start: Some(rfc3339(from)),
        end: Some(rfc3339(to)),
        ..window(rfc3339)
    };
    let month = 31 * 86_400;
    let planned = EvaluateConfig { maintenance: vec![once(250, 950), once(-month, 100)], ..config() };
    let mut world = World::with(planned, &[describe()], durable);
    world.shard.resume_after_pause(at(3_100));
    world.take(heartbeat(3_110, 10.0));
    let line = line(&world);
    let expect = [(0, Some(250), State::Up), (250, Some(950), State::Maintenance), (950, Some(3_029), State::Up)];
    assert_eq!(line[..3], expect, "and what began before the period changes nothing: {line:?}");
}

#[test]
fn a_window_in_the_past_of_an_agent_that_was_forgotten_changes_what_is_stored() {
    let mut world = with_an_outage(3_000);
    let gone = minutes(31 * 24 * 60);
    for second in (3_030..gone).step_by(50_000).chain([gone, gone + 1]) {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)), None);
    world.take(planned(300, 900, gone));
    assert!(line(&world).contains(&(300, Some(900), State::Maintenance)), "{:?}", line(&world));
    // One that never beat has no past.
    let mut world = World::start(&[describe()], Contents::default());
    world.ticks(0..=1_000);
    world.take(planned(300, 900, 900));
    assert!(world.held().intervals.is_empty());
}

#[test]
fn a_window_of_an_agent_that_was_forgotten_is_the_same_in_a_replay_and_reads_nothing() {
    let mut world = with_an_outage(3_000);
    let gone = minutes(31 * 24 * 60);
    for second in (3_030..gone).step_by(50_000).chain([gone, gone + 1]) {
        world.shard.tick(at(second));
    }
    assert_eq!(world.live_agents.get(AgentId(1)), None);
    world.checkpoint(true);
    let durable = world.store.durable();
    // Nobody sends anything meanwhile: a replay does not know how late it was.
    world.shard.tick(at(gone + 300));
    let set = planned(gone + 100, gone + 500, gone + 300);
    world.take(set.clone());
    let expect = world.held().intervals;
    assert!(line(&world).contains(&(gone + 100, Some(gone + 300), State::Maintenance)), "{:?}", line(&world));
    let nothing = Record::Describe { agents: vec![], series: vec![] };
    let mut records = vec![nothing; usize::try_from(durable.checkpoint(HOME).stored.0).unwrap()];
    records.push(set);
    for kept in [durable, world.held()] {
        assert_eq!(World::start(&records, kept).held().intervals, expect);
    }
}

/// A window that a person set, as changed at `second`.
fn changed(window: &Record, second: i64, change: impl FnOnce(&mut PersonWindow)) -> Record {
    let Record::Maintenance(window) = window else { unreachable!() };
    let mut window = PersonWindow { changed: at(second), changed_by: Some("ops".into()), ..window.clone() };
    change(&mut window);
    Record::Maintenance(window)
}

#[test]
fn a_window_over_patterns_holds_for_agents_that_are_seen_later() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(Record::Maintenance(person_window("d?", (100, 400), 50)));
    world.take(Record::Maintenance(person_window("other*", (60, 400), 50)));
    world.take(heartbeat(90, 10.0));
    world.take(heartbeat(120, 10.0));
    world.ticks(121..=130);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    world.take(heartbeat(395, 10.0));
    world.take(heartbeat(425, 10.0));
    let expect = [(90, Some(100), State::Up), (100, Some(400), State::Maintenance), (400, None, State::Up)];
    assert_eq!(line(&world), expect);
}

#[test]
fn a_window_is_changed_and_called_off_and_the_same_in_a_replay() {
    let window = planned(100, 400, 50);
    let shorter = changed(&window, 60, |window| window.end = at(200));
    // It comes from a clock that is behind, or again: it changes nothing.
    let late = changed(&window, 55, |window| window.end = at(900));
    let off = changed(&window, 150, |window| window.cancelled = true);
    let beats =
        |from: i64, to: i64| (from..=to).filter(|second| second % 30 == 0).map(|second| heartbeat(second, 10.0));
    let mut records = vec![describe(), heartbeat(30, 10.0), window.clone(), shorter.clone(), late];
    records.extend(beats(60, 300));
    let up = |from: i64, to| (from, to, State::Up);
    let short: Vec<_> = vec![up(30, Some(100)), (100, Some(200), State::Maintenance), up(200, None)];
    assert_eq!(line(&World::start(&records, Contents::default())), short);
    let mut records = vec![describe(), heartbeat(30, 10.0), window];
    records.extend(beats(60, 150));
    records.push(off);
    records.extend(beats(180, 300));
    let off: Vec<_> = vec![up(30, Some(100)), (100, Some(150), State::Maintenance), up(150, None)];
    for cut in 1..records.len() {
        let mut world = World::start(&records[..cut], Contents::default());
        world.checkpoint(true);
        let durable = world.store.durable();
        assert_eq!(line(&World::start(&records, durable)), off, "stopped behind record {cut}");
    }
}

#[test]
fn of_two_windows_of_one_time_one_may_be_called_off() {
    let (one, other) = (person_window("db", (100, 400), 50), person_window("d*", (100, 400), 50));
    let mut world = World::start(&[describe()], Contents::default());
    world.take(heartbeat(90, 10.0));
    for window in [&one, &other] {
        world.take(Record::Maintenance(window.clone()));
    }
    world.take(heartbeat(150, 10.0));
    world.take(changed(&Record::Maintenance(one), 160, |window| window.cancelled = true));
    world.take(heartbeat(180, 10.0));
    world.ticks(181..=185);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::Maintenance);
    world.take(changed(&Record::Maintenance(other), 190, |window| window.cancelled = true));
    world.take(heartbeat(210, 10.0));
    world.ticks(211..=215);
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().liveness, Liveness::OnTime);
}
