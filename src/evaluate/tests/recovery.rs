//! Crashes, replays and batches leave the same results.

use super::*;

fn story() -> Vec<Record> {
    let mut records = vec![describe()];
    for step in 0..12_i64 {
        let second = step * 10;
        let wave = if step % 4 == 3 { 2_000.0 } else { 5.0 };
        #[allow(clippy::cast_precision_loss)]
        let total = (step * step) as f64 * 1_000.0;
        // Started again in the middle, and falls a little later on.
        let (start, total) = if step < 6 { (-100, total) } else { (55, total - f64::from(step == 9) * 9_000.0) };
        let mut rows = vec![(1, start, second, total), (0, NO_START, second, wave), (3, NO_START, second, 50.0)];
        if step % 4 != 2 {
            rows.push((2, second - 10, second, 400.0));
        }
        records.push(started(second, &rows));
        // The increment that was left out comes late, twice; and the two before, newest first.
        if step % 4 == 3 {
            let late = [
                (2, second - 10, second, 400.0),
                (2, second - 20, second - 10, 7.0),
                (2, second - 30, second - 20, 9.0),
            ];
            records.extend([started(second + 1, &late), started(second + 3, &late[1..])]);
        }
        // Buckets that move, and a clock that is ahead.
        let (low, high) = [(5, 7), (6, 7), (5, 6)][step as usize % 3];
        records.push(started(second, &[(low, second - 10, second, 1.0), (high, second - 10, second, 3.0)]));
        if step % 5 == 3 {
            let ahead = second / 100 * 100 + 5_000;
            let rows = [(0, NO_START, ahead, 9_000.0), (2, ahead - 10, ahead, 30.0), (6, ahead - 10, ahead, 2.0)];
            records.extend([started(second + 1, &rows), started(second + 2, &rows)]);
        }
        if step % 3 == 1 {
            // A retry of the same, and something late.
            records.push(samples(second + 1, &[(0, second, wave), (2, second, 400.0), (0, second - 5, 3_000.0)]));
        }
        // Two series begin an incident; the one that comes first has the later time.
        if step % 4 == 0 && step > 0 {
            records.push(samples(second + 7, &[(3, second + 7, INCIDENT)]));
            records.push(samples(second + 8, &[(0, second + 6, INCIDENT)]));
        }
        records.push(heartbeat(second + 2, if step % 5 == 2 { 97.0 } else { 20.0 }));
        // Two values of one series in one request, the newest first of all, then better ones in the next.
        if step % 4 == 1 {
            records.push(samples(second + 3, &[(0, second + 3, 5.0), (3, second + 2, 97.0), (3, second + 3, 50.0)]));
            records.push(samples(second + 4, &[(3, second + 4, 99.0)]));
            records.push(samples(second + 5, &[(3, second + 5, 50.0)]));
        }
        // The same agent by heartbeat and by OTLP, and what it says of itself.
        if step % 4 == 2 {
            let reported = if step == 6 { HealthStatus::Maintenance } else { HealthStatus::Critical };
            records.push(reporting(0, second + 3, 98.0, reported));
            records.push(samples(second + 4, &[(3, second + 4, 96.0)]));
            records.push(reporting(0, second + 5, 97.0, HealthStatus::Healthy));
            records.push(reporting(0, second + 6, 30.0, HealthStatus::Healthy));
            records.push(samples(second + 7, &[(3, second + 7, 96.0)]));
        }
    }
    // Long enough after for the availability to be known, and to be another one from record to record.
    for step in 0..12_i64 {
        let second = 4_000 + step * 20;
        records.push(reporting(0, second, if step % 3 == 1 { 97.0 } else { 30.0 }, HealthStatus::Healthy));
        records.push(samples(second + 5, &[(3, second + 5, if step % 2 == 1 { 96.0 } else { 40.0 })]));
        records.push(heartbeat(second + 6, 20.0));
    }
    records
}

/// All that a story leaves: nothing may be missing, nothing there twice.
#[allow(clippy::type_complexity)]
fn left(
    world: &World,
) -> (BTreeMap<(String, i64), f64>, Vec<(String, i64, u32)>, Vec<String>, Vec<String>, Vec<String>) {
    let held = world.held();
    let mut health: Vec<String> = held
        .verdicts
        .iter()
        .filter_map(|v| match &v.body {
            VerdictBody::Health(h) => Some(format!("{:?} {:?} {h:?}", v.agent, v.time)),
            _ => None,
        })
        .collect();
    health.sort();
    let intervals = held
        .intervals
        .iter()
        .filter(|(_, i)| i.end != Some(i.start))
        .map(|(key, i)| format!("{key:?} {i:?}"))
        .collect();
    let alerts = held.alerts.values().map(|a| format!("{a:?}")).collect();
    (world.samples(), world.outliers(), health, intervals, alerts)
}

#[test]
fn a_crash_anywhere_loses_nothing_and_judges_nothing_twice() {
    let story = story();
    let mut straight = World::start(&[], Contents::default());
    for record in &story {
        if let Record::Describe { agents, series } = record {
            agents.iter().for_each(|a| straight.registry.restore_agent(a.clone()));
            series.iter().for_each(|s| straight.registry.restore_series(s.clone()));
        }
        straight.take(record.clone());
    }
    let expect = left(&straight);
    let mut expect_told = straight.told();
    expect_told.sort();
    assert!(expect_told.iter().any(|told| told.contains("suppressed")), "{expect_told:?}");
    let of_outliers = expect.4.iter().filter(|alert| alert.contains("outliers:together")).count();
    assert_eq!(of_outliers, 2, "{:?}", expect.4);
    assert!(expect.1.len() > 7 && expect.2.len() > 4 && expect.4.len() > 1, "{expect:?}");

    for crash in 0..=story.len() {
        for (state_every, seal_every) in [(usize::MAX, usize::MAX), (5, 2), (7, 3), (1, 1), (usize::MAX, 2)] {
            // Up to the crash with checkpoints, then again from what was durable.
            let mut world = World::start(&story[..1], Contents::default());
            for (n, record) in story[1..crash.max(1)].iter().enumerate() {
                world.take(record.clone());
                if n % seal_every == seal_every - 1 {
                    world.checkpoint(n % state_every == state_every - 1);
                }
            }
            let durable = world.store.durable();
            let again = World::start(&story, durable);
            // What the replay tells again is told with the same times, so that a receiver knows it.
            let mut told = world.told();
            told.extend(again.told().into_iter().filter(|told| !told.contains("standing")));
            told.sort();
            told.dedup();
            assert_eq!(told, expect_told, "crash after {crash}");
            assert_eq!(left(&again), expect, "crash after {crash}, state every {state_every}, seal every {seal_every}");
        }
    }
}

/// A story taken in batches of these lengths, over and over.
fn in_batches(story: &[Record], lengths: &[usize]) -> World {
    World::start(&story[..1], Contents::default()).take_in_batches(story, lengths)
}

#[test]
fn batches_do_not_matter() {
    let story = story();
    let one_by_one = in_batches(&story, &[1]);
    let (expect, mut expect_told) = (left(&one_by_one), one_by_one.told());
    expect_told.sort();
    let health = |source: &str| expect_told.iter().filter(|told| told.contains(source)).count();
    assert!(health("health raised") > 2 && health("cpu_usage raised") > 2, "{expect_told:?}");
    assert!(expect.2.iter().any(|verdict| verdict.contains("Some(")), "the availability is known in the end");
    for lengths in [&[2][..], &[3], &[5], &[7, 1], &[1, 4, 2], &[usize::MAX]] {
        let world = in_batches(&story, lengths);
        assert_eq!(left(&world), expect, "{lengths:?}");
        let mut told = world.told();
        told.sort();
        assert_eq!(told, expect_told, "{lengths:?}");
        let live = |world: &World| [AgentId(0), AgentId(1)].map(|agent| world.live_agents.get(agent));
        assert_eq!(live(&world), live(&one_by_one), "{lengths:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let checkpoint = Checkpoint { liveness: vec![9, 9], ..Checkpoint::default() };
    let world = World::start(&[], Contents::default());
    let mut shard = world.shard;
    assert_eq!(shard.resume(&checkpoint), Err(super::super::StateError::Format(9)));
}

#[test]
fn the_threads_replay_evaluate_and_stop_with_everything_durable() {
    let story = story();
    let (first, rest) = story.split_at(9);
    let registry = Arc::new(Registry::new(Quota::default()));
    let (store, live_agents) = (Arc::new(MemoryStore::default()), Arc::new(LiveAgents::default()));
    let log = Arc::new(MemoryLog::holding(first));
    let (send, input) = crossbeam_channel::unbounded();
    let (events, last) = (Arc::new(Mutex::new(Vec::new())), story.len() as u64);
    let evaluator = super::super::Evaluator::start(
        // The records are decades older than the clock of this machine, by which the threads go.
        &EvaluateConfig { forget_seconds: u64::MAX, ..EvaluateConfig::default() },
        Arc::new(|_| Box::new(Fake::default())),
        registry.clone(),
        log.clone(),
        store.clone(),
        live_agents,
        vec![input],
        {
            let events = events.clone();
            Arc::new(move |_: &Arc<EvaluationOutput>| events.lock().unwrap().push("observed"))
        },
        {
            let (events, store) = (events.clone(), store.clone());
            Arc::new(move || {
                let sealed = store.durable().checkpoint(HOME).stored == Position(last);
                events.lock().unwrap().push(if sealed { "settled late" } else { "settled" });
            })
        },
    )
    .unwrap();
    for (record, n) in rest.iter().zip(10..) {
        log.append_one(record.clone());
        let delivery = Delivery { position: Position(n), record: record.clone(), ticket: Ticket::default() };
        send.send(delivery).unwrap();
    }
    evaluator.stop();
    let durable = store.durable();
    assert_eq!(durable.checkpoint(HOME).stored, Position(story.len() as u64));
    // What was observed is settled before the checkpoint behind which it is not made again.
    assert_eq!(events.lock().unwrap().last(), Some(&"settled"));
    assert_eq!(durable.checkpoint(HOME).included, durable.checkpoint(HOME).stored);
    let straight = World::start(&story, Contents::default());
    assert_eq!(durable.samples.len(), straight.held().samples.len());
}

#[test]
fn a_log_that_was_lost_goes_on_behind_the_store() {
    let store = Arc::new(MemoryStore::default());
    let start = |log: Arc<MemoryLog>| {
        super::super::Evaluator::start(
            &EvaluateConfig::default(),
            Arc::new(|_| Box::new(Fake::default())),
            Arc::new(Registry::new(Quota::default())),
            log,
            store.clone(),
            Arc::new(LiveAgents::default()),
            vec![crossbeam_channel::never()],
            Arc::new(|_| {}),
            Arc::new(|| {}),
        )
    };
    let story = story();
    start(Arc::new(MemoryLog::holding(&story))).unwrap().stop();
    let empty = Arc::new(MemoryLog::default());
    start(empty.clone()).unwrap().stop();
    assert_eq!(empty.last(Partition(0)), Ok(Position(story.len() as u64)), "a new record is taken for no old one");
}

#[test]
fn the_death_of_a_shard_is_noticed_with_its_reason() {
    let workers = crate::workers::ServiceWorkers::default();
    let died = workers.within(|| {
        super::super::Evaluator::start(
            &EvaluateConfig::default(),
            Arc::new(|_| panic!("no plugin can be started")),
            Arc::new(Registry::new(Quota::default())),
            Arc::new(MemoryLog::holding(&story())),
            Arc::new(MemoryStore::default()),
            Arc::new(LiveAgents::default()),
            vec![crossbeam_channel::never()],
            Arc::new(|_| {}),
            Arc::new(|| {}),
        )
    });
    assert!(matches!(died, Err(super::super::StartError::Ended(0))));
    // The channel of the thread closes while the panic unwinds, before the panic is noted.
    let death = loop {
        match workers.death() {
            Some(death) => break death,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!(death, "the worker evaluate-0 ended in a panic: no plugin can be started");
}
