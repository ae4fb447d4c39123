//! What the points of one stream become: resets, order, late increments, moving buckets, clocks that are ahead.

use super::super::series_tracker::{Arrived, Kept, RowCounts, SeriesTracker};
use super::*;
use proptest::prelude::*;

/// Metric name to (second, value).
fn of(world: &World, name: &str) -> Vec<(i64, f64)> {
    world.samples().iter().filter(|(key, _)| key.0 == name).map(|(key, value)| (key.1, *value)).collect()
}

#[test]
fn resets_are_told_by_the_start_and_stored_as_they_came() {
    let mut world = World::start(&[describe()], Contents::default());
    // Restarted at 21, and above its old value when it is seen again; then it falls a little and goes on.
    for (time, start, value) in
        [(10, -900, 100.0), (20, -900, 110.0), (30, 21, 120.0), (40, 21, 119.5), (50, 21, 129.5)]
    {
        world.take(started(time, &[(1, start, time, value)]));
    }
    assert_eq!(of(&world, "counter"), [(10, 100.0), (20, 110.0), (30, 120.0), (40, 119.5), (50, 129.5)]);
    assert_eq!(of(&world, "rate1"), [(20, 1.0), (30, 12.0), (40, 0.0), (50, 1.0)]);
}

#[test]
fn points_of_one_request_count_in_any_order() {
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
        let mut world = World::start(&[describe()], Contents::default());
        let rows: Vec<_> = order
            .iter()
            .flat_map(|&n| [(2, n * 60, (n + 1) * 60, 1.0), (0, NO_START, n * 60, 5.0), (1, -5, n * 60, n as f64)])
            .collect();
        world.take(started(300, &rows));
        // A retry changes nothing.
        world.take(started(301, &rows));
        assert_eq!(of(&world, "delta"), [(60, 1.0), (120, 2.0), (180, 3.0), (240, 4.0), (300, 5.0)], "{order:?}");
        assert_eq!(of(&world, "counter").len(), 5);
        assert_eq!(of(&world, "rate1").len(), 4, "{order:?}");
    }
}

#[test]
fn late_increments_count_once_where_it_is_known_that_they_are_missing() {
    let mut world = World::start(&[describe()], Contents::default());
    let send = |world: &mut World, from: i64, to: i64, value: f64| world.take(started(100, &[(2, from, to, value)]));
    send(&mut world, 20, 30, 1.0);
    send(&mut world, 50, 60, 2.0);
    for _ in 0..2 {
        send(&mut world, 30, 40, 10.0);
        send(&mut world, 10, 20, 100.0);
        send(&mut world, 20, 30, 1.0);
    }
    send(&mut world, NO_START, 45, 1_000.0);
    send(&mut world, 40, 50, 20.0);
    send(&mut world, 60, 70, 3.0);
    assert_eq!(of(&world, "delta"), [(30, 1.0), (60, 3.0), (70, 136.0)]);
}

#[test]
fn a_clock_that_is_ahead_harms_only_its_own_points() {
    let mut world = World::start(&[describe()], Contents::default());
    let day = 80_000;
    world.take(started(0, &[(0, NO_START, 0, 1.0), (3, NO_START, day, 99.0), (0, NO_START, day, 5_000.0)]));
    world.take(started(0, &[(1, 5, day, 7.0), (2, day - 10, day, 10.0)]));
    // A retry, at first and when its time has nearly come.
    world.take(started(1, &[(2, day - 10, day, 10.0)]));
    world.take(started(10, &[(0, NO_START, 10, 2_000.0), (1, 5, 10, 1.0), (2, 0, 10, 1.0), (3, NO_START, 10, 50.0)]));
    world.take(started(20, &[(1, 5, 20, 21.0), (2, 10, 20, 1.0)]));
    assert_eq!(world.outliers(), [("gauge".into(), 10, 2)]);
    assert_eq!(of(&world, "gauge"), [(0, 1.0), (10, 2_000.0), (day, 5_000.0)]);
    assert_eq!(of(&world, "delta"), [(10, 11.0), (20, 12.0), (day, 10.0)]);
    assert_eq!(of(&world, "rate1"), [(20, 2.0)]);
    assert_eq!(world.held().alerts.len(), 0);
    assert_eq!(world.live_agents.get(AgentId(0)).unwrap().measurements.cpu_percent, Some(50.0));
    world.take(started(day - 30, &[(2, day - 10, day, 10.0), (2, day - 40, day - 30, 1.0)]));
    assert_eq!(of(&world, "delta").last(), Some(&(day, 10.0)));
    assert_eq!(of(&world, "delta")[2], (day - 30, 13.0));
    // Within the bound a point is as any other.
    world.take(started(day, &[(0, NO_START, day + 59, 3_000.0), (0, NO_START, day + 61, 4_000.0)]));
    assert_eq!(world.outliers().last(), Some(&("gauge".into(), day + 59, 3)));
}

#[test]
fn a_rest_metric_ahead_is_news_of_its_arrival() {
    let mut world = World::start(&[describe()], Contents::default());
    let mut send = |received: i64, time: i64, value: f64| {
        let Record::Samples(mut metric) = samples(received, &[(4, time, value)]) else { unreachable!() };
        metric.alive.clear();
        let outcome = world.take(Record::Samples(metric)).unwrap();
        let alerts: Vec<_> = world.held().alerts.values().map(|a| (a.started, a.resolved)).collect();
        (outcome.alerts.len(), alerts)
    };
    assert_eq!(send(0, 80_000, 99.0), (1, vec![(at(0), None)]));
    assert_eq!(send(10, 10, 5.0), (0, vec![(at(0), Some(at(10)))]));
    assert_eq!(send(11, 80_000, 99.0).0, 0, "a retry");
}

/// Sifts rows into a new shard's intake.
fn counts(rows: &[(u32, i64, f64)]) -> RowCounts {
    let world = World::start(&[describe()], Contents::default());
    let mut series_tracker = SeriesTracker::new(world.registry.clone());
    let Record::Samples(samples) = samples(0, rows) else { unreachable!() };
    let (mut fresh, mut totals, mut unjudged) = (Columns::default(), Vec::new(), Columns::default());
    let arrived = Arrived { rows: &samples.columns, starts: &samples.starts, present: at(60).0 };
    series_tracker
        .select_new_rows(arrived, &mut Kept { fresh: &mut fresh, totals: &mut totals, unjudged: &mut unjudged })
}

#[test]
fn what_is_not_taken_is_counted() {
    let none = RowCounts::default();
    let two = |a, b| counts(&[(0, 1, a), (0, 1, b)]);
    assert_eq!(two(5.0, 5.0), RowCounts { fresh: 1, duplicate: 1, ..none });
    assert_eq!(two(5.0, 6.0), RowCounts { fresh: 1, duplicate: 1, conflict: 1, ..none });
    assert_eq!(counts(&[(2, 1, 5.0), (2, 1, 6.0)]), RowCounts { fresh: 1, duplicate: 1, conflict: 1, ..none });
    assert_eq!(counts(&[(0, 61, 5.0), (2, 61, 5.0), (9, 1, 1.0)]), RowCounts { ahead: 2, unknown: 1, ..none });
    assert_eq!(counts(&[(2, 1, 5.0), (0, 3, 5.0), (2, 0, 1.0), (0, 2, 5.0)]), RowCounts { fresh: 4, ..none });
}

/// A histogram of values under some bounds: (bound, values up to it).
fn buckets(values: &[u32], bounds: &[u32]) -> Vec<(u32, f64)> {
    bounds.iter().map(|&bound| (bound, values.iter().filter(|&&v| v <= bound).count() as f64)).collect()
}

/// Series 10 to 10 + 8 are the buckets of a delta histogram, with the bounds 0 to 8.
fn histogram() -> Record {
    let Record::Describe { agents, mut series } = describe() else { unreachable!() };
    let bucket = |bound: u32| {
        let mut spec = spec("h", Shape::Delta { monotonic: true }, MetricKind::Custom, Origin::Otlp);
        spec.part = Part::Bucket(bound.into());
        Arc::new(SeriesDesc { id: SeriesId(10 + bound), agent: AgentId(0), spec })
    };
    series.extend((0..=8).map(bucket));
    Record::Describe { agents, series }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn buckets_that_move_stay_a_distribution(
        points in prop::collection::vec(
            (prop::collection::vec(0..12_u32, 0..9), prop::collection::btree_set(0..8_u32, 0..5), any::<u8>()), 1..9,
        ),
        order in any::<u64>(),
    ) {
        let describe = histogram();
        let mut world = World::start(std::slice::from_ref(&describe), Contents::default());
        let mut values = Vec::new();
        let mut records = vec![describe.clone()];
        for (n, (new, bounds, mood)) in points.iter().enumerate() {
            let (from, to) = (n as i64 * 10, n as i64 * 10 + 10);
            // The bound 8 is in every point.
            let bounds: Vec<u32> = bounds.iter().copied().chain([8]).collect();
            let mut rows: Vec<_> =
                buckets(new, &bounds).into_iter().map(|(bound, count)| (10 + bound, from, to, count)).collect();
            if order >> n & 1 == 1 {
                rows.reverse();
            }
            values.extend_from_slice(new);
            let mut sends = vec![started(to, &rows)];
            if mood & 1 == 1 {
                sends.push(started(to + 1, &rows));
            }
            for record in sends {
                records.push(record.clone());
                world.take(record);
            }
            if mood & 2 == 2 {
                world.checkpoint(mood & 4 == 4);
                let durable = world.store.durable();
                world = World::start(&records, durable);
            }
            let found: Vec<(u32, f64)> = (0..=8)
                .filter_map(|bound| Some((bound, of(&world, &format!("h le {bound}")).last()?.1)))
                .collect();
            prop_assert!(found.is_sorted_by(|a, b| a.1 <= b.1), "{found:?}");
            for &(bound, total) in &found {
                let truth = values.iter().filter(|&&v| v <= bound).count() as f64;
                prop_assert!(total <= truth, "{bound}: {total} of {truth}");
                prop_assert!(bound != 8 || (total - truth).abs() < 0.5, "{bound}: {total} of {truth}");
            }
        }
    }
}

#[test]
fn late_and_early_points_of_a_histogram_count_for_every_bound() {
    let mut world = World::start(&[histogram()], Contents::default());
    let send = |world: &mut World, received: i64, from: i64, to: i64, rows: &[(u32, f64)]| {
        let rows: Vec<_> = rows.iter().map(|&(bound, count)| (10 + bound, from, to, count)).collect();
        world.take(started(received, &rows));
    };
    send(&mut world, 10, 0, 10, &[(2, 5.0), (4, 9.0)]);
    send(&mut world, 30, 20, 30, &[(4, 1.0)]);
    assert_eq!(of(&world, "h le 2"), [(10, 5.0), (30, 5.0)], "nothing is known to be below 2");
    for _ in 0..2 {
        // The one between, with a bound that is new; and one that is ahead.
        send(&mut world, 31, 10, 20, &[(3, 2.0), (8, 4.0)]);
        send(&mut world, 32, 1_000, 1_010, &[(4, 100.0)]);
    }
    send(&mut world, 40, 30, 40, &[(3, 0.0), (4, 0.0)]);
    let last = |bound: u32| of(&world, &format!("h le {bound}")).iter().rfind(|(time, _)| *time == 40).map(|row| row.1);
    assert_eq!([last(2), last(3), last(4), last(8)], [Some(5.0), Some(7.0), Some(112.0), Some(114.0)]);
}
