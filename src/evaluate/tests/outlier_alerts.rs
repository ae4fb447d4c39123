//! Alerts on what outlier detectors find.

use super::*;

const SOURCE: &str = "outliers:together";

/// `describe`, with the gauges `queue`, `threads` and `cache` as series 5 to 7 of agent 0.
fn gauges() -> Record {
    let one = |metric| (metric, MetricKind::Custom, "1", &[][..]);
    describe_more(&[one("queue"), one("threads"), one("cache")])
}

/// An incident of a series at a second, in a record of its own.
fn incident(second: i64, series: u32) -> Record {
    samples(second, &[(series, second, INCIDENT)])
}

fn messages(world: &World) -> Vec<String> {
    let held = world.held();
    held.alerts.values().filter(|alert| alert.source == SOURCE).map(|alert| alert.message.clone()).collect()
}

#[test]
fn series_of_an_agent_that_are_strange_together_are_one_alert_until_all_is_quiet() {
    let mut world = World::start(&[gauges()], Contents::default());
    world.take(incident(10, 5));
    assert_eq!(alerts_of(&world, SOURCE), [], "one series is not enough");
    world.take(incident(15, 6));
    assert_eq!(alerts_of(&world, SOURCE), [(15, None)]);
    let expect = "seasonal-outlier: 2 series are strange together; threads is 77777.0000, expected 0.0000 to 999.0000 (score 1.0)";
    assert_eq!(messages(&world), [expect]);
    // A third one is the same alert, which is over twenty seconds after it.
    world.take(incident(20, 7));
    assert!(messages(&world)[0].contains("3 series are strange together"), "{:?}", messages(&world));
    world.shard.tick(at(39));
    assert_eq!(alerts_of(&world, SOURCE), [(15, None)]);
    world.shard.tick(at(45));
    assert_eq!(alerts_of(&world, SOURCE), [(15, Some(40))]);
    assert_eq!(
        world.told(),
        ["15 outliers:together raised warning".to_owned(), "40 outliers:together resolved warning".to_owned(),]
    );
    // The next ones are another alert, with or without a tick between.
    world.take(incident(100, 5));
    world.take(incident(101, 6));
    world.take(incident(200, 5));
    world.take(incident(201, 6));
    assert_eq!(alerts_of(&world, SOURCE), [(15, Some(40)), (101, Some(121)), (201, None)]);
}

#[test]
fn agents_are_apart_and_other_detectors_do_not_count() {
    let mut world = World::start(&[gauges()], Contents::default());
    // Agent 0 and agent 1 have one series each; the detector of single values finds both of agent 0.
    world.take(incident(10, 5));
    world.take(reported(11, &[(4, 11, INCIDENT)]));
    world.take(samples(12, &[(6, 12, 5_000.0), (7, 12, 5.0 * FAR_OUTSIDE)]));
    assert_eq!(alerts_of(&world, SOURCE), []);
}

#[test]
fn no_alert_on_outliers_begins_in_planned_maintenance() {
    let mut world = World::start(&[gauges()], Contents::default());
    let window = |start, end, set| Record::Maintenance(person_window("web", (start, end), set));
    let story =
        [incident(5, 5), window(8, 100, 8), incident(10, 6), incident(12, 7), incident(105, 5), incident(106, 6)];
    for record in &story {
        world.take(record.clone());
    }
    assert_eq!(alerts_of(&world, SOURCE), [(106, None)]);
    // The same in one batch: what came before a window of the past was set is judged without it.
    let raised_before = [incident(5, 5), incident(6, 6), window(3, 100, 8)];
    for lengths in [1, 3] {
        let mut world = World::start(&[gauges()], Contents::default());
        for (batch, first) in raised_before.chunks(lengths).zip((2_u64..).step_by(lengths)) {
            let deliver = |(record, position): (&Record, u64)| Delivery {
                position: Position(position),
                record: record.clone(),
                ticket: Ticket::default(),
            };
            world.shard.take(&mut batch.iter().zip(first..).map(deliver).collect());
        }
        assert_eq!(alerts_of(&world, SOURCE), [(6, None)], "{lengths} records a batch");
    }
}

#[test]
fn an_alert_of_a_policy_that_is_gone_is_over() {
    let mut world = World::start(&[gauges()], Contents::default());
    world.take(incident(10, 5));
    world.take(incident(11, 6));
    world.shard.reload(Arc::new(EvaluateConfig { outlier_alerts: Vec::new(), ..config() }), false);
    assert_eq!(alerts_of(&world, SOURCE), [(11, Some(11))]);
    world.take(incident(20, 5));
    world.take(incident(21, 6));
    assert_eq!(alerts_of(&world, SOURCE).len(), 1);
}

#[test]
fn derived_series_count_with_the_record_of_their_source() {
    let mut world = World::start(&[gauges()], Contents::default());
    world.take(samples(10, &[(1, 10, 0.0), (5, 10, INCIDENT)]));
    // The rate of the counter is the second incident.
    world.take(samples(11, &[(1, 11, INCIDENT)]));
    assert_eq!(alerts_of(&world, SOURCE), [(11, None)]);
    assert!(messages(&world)[0].contains("rate1 is 77777"), "{:?}", messages(&world));
}
