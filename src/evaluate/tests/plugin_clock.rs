//! The time that plugins are told, and what they find without data: the same however batches are cut, and in a replay.

use super::*;

/// A world whose plugins ask to be called without data.
fn ticking(records: &[Record], durable: Contents) -> World {
    let factory =
        Arc::new(|_: &TenantId| -> Box<dyn TenantPlugins> { Box::new(Fake { wants_ticks: true, ..Fake::default() }) });
    World::with_plugins(config(), factory, records, durable)
}

/// Values that are found, a few seconds apart, with a silence of some minutes.
fn story() -> Vec<Record> {
    let mut records = vec![describe()];
    for step in (0..30).chain(90..120) {
        let second = 3 + step * 4;
        records.push(samples(second, &[(0, second, 2_000.0), (3, second - 1, 50.0)]));
        if step % 3 == 0 {
            records.push(heartbeat(second + 1, 20.0));
        }
    }
    records
}

/// Stands for the time that plugins are told, in what was found without data.
const TICK: i64 = i64::MIN;

/// All findings: series, second, the time that plugins were told (of ticks [`TICK`]), rows seen.
fn found(world: &World) -> Vec<(u32, i64, i64, u32)> {
    let held = world.held();
    let mut all: Vec<_> = held
        .verdicts
        .iter()
        .filter_map(|verdict| match &verdict.body {
            VerdictBody::Outlier(found) => {
                let told = if found.score > 0.0 { found.score as i64 - 1_000_000 } else { TICK };
                Some((found.series.0, verdict.time.0 / S - 1_000_000, told, found.window))
            }
            _ => None,
        })
        .collect();
    all.sort_unstable();
    all
}

fn in_batches(story: &[Record], lengths: &[usize]) -> World {
    ticking(&story[..1], Contents::default()).take_in_batches(story, lengths)
}

#[test]
fn batches_change_neither_the_time_nor_what_ticks_find() {
    let story = story();
    let expect = found(&in_batches(&story, &[1]));
    // Each value has the time of its record, in steps.
    let values: Vec<_> = expect.iter().filter(|(_, _, told, _)| *told != TICK).collect();
    assert!(values.len() > 50, "{values:?}");
    assert!(values.iter().all(|(series, second, told, _)| *series == 0 && *told == second / 10 * 10), "{values:?}");
    // Each half minute what came before it, also in the silence.
    let ticks: Vec<_> = expect.iter().filter(|(series, _, told, _)| *series == 0 && *told == TICK).collect();
    let seconds: Vec<i64> = ticks.iter().map(|(_, second, ..)| *second).collect();
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 30), "{seconds:?}");
    assert!(ticks.iter().any(|(_, second, _, seen)| *second % 30 == 20 && *second > 130 && *seen == 30), "{ticks:?}");
    for lengths in [&[2][..], &[3], &[7, 1], &[1, 4, 2], &[usize::MAX]] {
        assert_eq!(found(&in_batches(&story, lengths)), expect, "{lengths:?}");
    }
}

#[test]
fn a_crash_anywhere_changes_neither_the_time_nor_what_ticks_find() {
    let story = story();
    let expect = found(&in_batches(&story, &[1]));
    for crash in 1..=story.len() {
        for (state_every, seal_every) in [(usize::MAX, usize::MAX), (5, 2), (7, 3), (1, 1), (usize::MAX, 2)] {
            let mut world = ticking(&story[..1], Contents::default());
            for (n, record) in story[1..crash].iter().enumerate() {
                world.take(record.clone());
                if n % seal_every == seal_every - 1 {
                    world.checkpoint(n % state_every == state_every - 1);
                }
            }
            let durable = world.store.durable();
            let again = ticking(&story, durable);
            assert_eq!(found(&again), expect, "crash after {crash}, state {state_every}, seal {seal_every}");
        }
    }
}

#[test]
fn silence_ticks_as_well_and_a_replay_finds_the_same() {
    let story = story();
    let (before, after) = story.split_at(41);
    let straight = found(&in_batches(&story, &[1]));
    // Time passes without a record; then a crash, or none.
    for is_crash in [false, true] {
        let mut world = in_batches(before, &[1]);
        let at_once = found(&world).len();
        world.ticks(130..=300);
        assert!(found(&world).len() > at_once, "silence is found while it lasts");
        world.checkpoint(false);
        let mut world = if is_crash {
            let durable = world.store.durable();
            ticking(before, durable)
        } else {
            world
        };
        for record in after {
            world.take(record.clone());
        }
        assert_eq!(found(&world), straight, "crash {is_crash}");
    }
}
