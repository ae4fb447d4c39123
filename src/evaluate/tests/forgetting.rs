//! Agents that are forgotten, and the state of plugins.

use super::*;

#[test]
fn idle_plugins_are_put_away_with_their_state() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(samples(0, &[(0, 0, 1.0), (1, 0, 1.0)]));
    world.shard.tick(at(5_000));
    world.shard.tick(at(5_001));
    world.take(samples(6_000, &[(0, 6_000, 2_000.0)]));
    assert_eq!(world.outliers(), [("gauge".into(), 6_000, 2)]);
}

/// Agents are forgotten after ten minutes.
fn forgetful() -> EvaluateConfig {
    EvaluateConfig { forget_seconds: 600, ..config() }
}

/// Agent 0 (a gauge and a counter) falls silent at second 3 and comes back at 800; of agent 1 something comes all the time.
fn a_silence() -> Vec<Record> {
    let mut records = vec![describe()];
    records.extend((0..4).map(|second| {
        let count = second as f64;
        samples(second, &[(0, second, 1.0), (1, second, count)])
    }));
    records.extend((1..5).map(|step| reported(step * 180, &[(4, step * 180, 20.0)])));
    records.push(samples(800, &[(0, 800, 2_000.0), (1, 800, 5_000.0)]));
    records.push(reported(801, &[(4, 801, 1_001.0)]));
    records.push(samples(810, &[(0, 810, 3_000.0), (1, 810, 5_100.0)]));
    records
}

/// What the plugins found of [`a_silence`]: of agent 0 with a past that began at 800, of agent 1 with all of its own.
fn found_after_a_silence(world: &World, how: &str) {
    let rate = |second: i64| world.samples().get(&("rate1".to_owned(), second)).copied();
    let expect = [("gauge".to_owned(), 800, 1), ("gauge".to_owned(), 810, 2), ("load".to_owned(), 801, 5)];
    assert_eq!(world.outliers(), expect, "{how}");
    assert_eq!([rate(3), rate(800), rate(810)], [Some(1.0), None, Some(10.0)], "{how}");
}

#[test]
fn a_forgotten_agent_comes_back_without_a_past() {
    let story = a_silence();
    for (how, idle, second) in [("ticks", 10_000, true), ("no ticks", 10_000, false), ("put away", 60, true)] {
        let config = EvaluateConfig { idle_seconds: idle, ..forgetful() };
        let mut world = World::with(config, &story[..1], Contents::default());
        for record in &story[1..] {
            let last = world.shard.latest_arrival().0 / S - 1_000_000;
            world.take(record.clone());
            let until = world.shard.latest_arrival().0 / S - 1_000_000;
            if second && last > 0 {
                world.ticks(last..=until - 1);
            }
        }
        found_after_a_silence(&world, how);
    }
    // All in one batch.
    let mut world = World::with(forgetful(), &story[..1], Contents::default());
    let delivery = |(record, n): (&Record, u64)| {
        let (position, ticket) = (Position(n), Ticket::default());
        Delivery { position, record: record.clone(), ticket }
    };
    world.shard.take(&mut story[1..].iter().zip(2..).map(delivery).collect());
    found_after_a_silence(&world, "one batch");
}

#[test]
fn a_forgotten_agent_is_gone_from_the_plugins_state() {
    let story = a_silence();
    let snapshot = |world: &mut World| {
        world.checkpoint(true);
        let durable = world.store.durable();
        let state: super::super::state::PluginState =
            super::super::state::read(&durable.checkpoint(HOME).state.unwrap()).unwrap();
        serde_json::from_slice::<Memory>(&state.tenants[0].1).unwrap()
    };
    for idle in [10_000, 60] {
        let config = EvaluateConfig { idle_seconds: idle, ..forgetful() };
        let mut world = World::with(config, &story[..1], Contents::default());
        story[1..9].iter().for_each(|record| drop(world.take(record.clone())));
        world.shard.tick(at(602));
        let before = snapshot(&mut world);
        assert!(before.counters.contains_key(&1) && before.seen.contains_key(&0), "{idle}");
        // Its derived series is its own too.
        assert_eq!(before.seen.len(), 3, "{idle}");
        world.shard.tick(at(604));
        let after = snapshot(&mut world);
        assert_eq!((after.counters.len(), after.seen), (0, [(4, 4)].into()), "{idle}");
    }
}

#[test]
fn a_forgotten_agent_stays_forgotten_over_a_crash() {
    let story = a_silence();
    for crash in 1..=story.len() {
        for (state_every, seal_every) in [(usize::MAX, usize::MAX), (5, 2), (7, 3), (1, 1), (usize::MAX, 2)] {
            for ticks in [false, true] {
                let mut world = World::with(forgetful(), &story[..1], Contents::default());
                for (n, record) in story[1..crash].iter().enumerate() {
                    world.take(record.clone());
                    if ticks {
                        let seen = world.shard.latest_arrival();
                        world.shard.tick(seen);
                    }
                    if n % seal_every == seal_every - 1 {
                        world.checkpoint(n % state_every == state_every - 1);
                    }
                }
                let durable = world.store.durable();
                let again = World::with(forgetful(), &story, durable);
                let how = format!("crash after {crash}, state every {state_every}, seal every {seal_every}, {ticks}");
                found_after_a_silence(&again, &how);
            }
        }
    }
}

#[test]
fn new_plugins_take_over_the_state() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(samples(0, &[(0, 0, 1.0)]));
    world.take(samples(1, &[(0, 1, 1.0)]));
    world.shard.reload(Arc::new(config()), true);
    world.take(samples(2, &[(0, 2, 2_000.0)]));
    assert_eq!(world.outliers(), [("gauge".into(), 2, 3)]);
}
