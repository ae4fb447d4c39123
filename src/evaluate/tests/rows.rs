//! What is stored and judged of samples: duplicates, late rows, totals, measurements by REST, batches.

use super::*;

#[test]
fn duplicates_are_dropped_and_late_rows_are_stored_unjudged() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(samples(10, &[(0, 10, 1.0), (0, 10, 2.0), (0, 8, 2_000.0), (9, 1, 1.0)]));
    world.take(samples(11, &[(0, 9, 4_000.0), (0, 10, 3.0), (0, 11, 5_000.0)]));
    let expect =
        [(8, 2_000.0), (9, 4_000.0), (10, 1.0), (11, 5_000.0)].map(|(at, value)| (("gauge".into(), at), value));
    assert_eq!(world.samples(), BTreeMap::from(expect));
    assert_eq!(world.outliers(), [("gauge".into(), 8, 1), ("gauge".into(), 11, 3)]);
}

#[test]
fn deltas_become_totals_and_totals_become_rates() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(samples(10, &[(2, 10, 5.0), (1, 10, 100.0)]));
    world.take(samples(10, &[(2, 10, 5.0)]));
    world.take(samples(20, &[(2, 20, 7.0), (1, 20, 150.0), (2, 30, f64::NAN)]));
    world.take(samples(21, &[(2, 15, 9.0)]));
    let samples = world.samples();
    let of = |name: &str| -> Vec<_> { samples.iter().filter(|(k, _)| k.0 == name).map(|(k, v)| (k.1, *v)).collect() };
    assert_eq!(of("delta"), [(10, 5.0), (20, 12.0), (30, 12.0)]);
    assert_eq!(of("rate1"), [(20, 5.0)]);
    assert_eq!(of("rate2"), [(20, 0.7), (30, 0.0)]);
    let derived = world.held().series.values().find(|s| s.spec.metric == "rate1").unwrap().clone();
    assert_eq!(derived.spec.origin, Origin::Derived { plugin: "rate".into(), from: SeriesId(1) });
    assert_eq!((derived.agent, derived.spec.kind), (AgentId(0), MetricKind::Custom));
}

#[test]
fn rest_metrics_are_answered_with_breaches_alerts_and_outliers() {
    let mut world = World::start(&[describe()], Contents::default());
    let Record::Samples(mut metric) = samples(0, &[(4, 0, 5_000.0)]) else { unreachable!() };
    metric.alive.clear();
    let outcome = world.take(Record::Samples(metric)).unwrap();
    assert_eq!((outcome.breaches.len(), outcome.alerts.len(), outcome.outliers.len()), (1, 1, 1));
    // Others report on it: it is not alive for that.
    assert_eq!(world.live_agents.get(AgentId(1)), None);
}

#[test]
fn what_only_others_report_on_is_judged_by_the_scorers_too() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(reported(0, &[(4, 0, 97.0)]));
    let observed = world.live_agents.observed(AgentId(1)).unwrap();
    assert_eq!((observed.health.status, observed.time), (HealthStatus::Critical, at(0)));
    assert_eq!(observed.measurements.cpu_percent, Some(97.0));
    let verdicts = world.held().verdicts;
    assert_eq!((verdicts[0].agent, verdicts[0].evidence.plugin.as_str()), (AgentId(1), "health"));
    assert!(world.held().alerts.values().all(|alert| alert.source == "threshold:cpu_usage"));
    // Over a restart, and with the next value.
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut world = World::start(&[describe()], durable);
    world.shard.resume_after_pause(at(5));
    assert_eq!(world.live_agents.observed(AgentId(1)), Some(observed));
    world.take(reported(10, &[(4, 10, 20.0)]));
    assert_eq!(world.live_agents.observed(AgentId(1)).unwrap().health.score, 80.0);
    // Once it shows life itself, what it says counts.
    world.take(heartbeat(20, 50.0));
    world.take(reported(30, &[(4, 30, 97.0)]));
    assert_eq!(world.live_agents.get(AgentId(1)).unwrap().health.unwrap().score, 50.0);
}

#[test]
fn each_value_of_a_request_is_judged() {
    let mut world = World::start(&[describe()], Contents::default());
    // The newest first: they are judged in order of time.
    world.take(samples(20, &[(3, 12, 50.0), (3, 11, 97.0), (3, 10, 40.0)]));
    world.take(samples(30, &[(3, 21, 97.0), (0, 22, 1.0), (3, 22, 50.0)]));
    let mut alerts: Vec<_> = world.held().alerts.values().map(|a| (a.source.clone(), a.started, a.resolved)).collect();
    alerts.sort();
    let of = |source: &str| [(11, 12), (21, 22)].map(|(from, to)| (source.to_owned(), at(from), Some(at(to))));
    assert_eq!(alerts, [of("health"), of("threshold:cpu_usage")].concat());
    let verdicts: Vec<_> = world.held().verdicts.iter().map(|v| v.time).collect();
    assert_eq!(verdicts, [at(10), at(11), at(12), at(21), at(22)]);
}

#[test]
fn a_measurement_counts_once_however_many_others_come_beside_it() {
    let memory = ("memory", MetricKind::MemoryUsage, "%", &[][..]);
    let thresholds = vec![Threshold { consecutive_breaches: 3, ..Threshold::new(MetricKind::CpuUsage, 80.0, 95.0) }];
    let three = EvaluateConfig { thresholds, ..config() };
    let mut world = World::with(three, &[describe_more(&[memory])], Contents::default());
    // One scrape has several times; of the three here one is of the CPU.
    world.take(samples(10, &[(3, 10, 97.0), (5, 11, 50.0), (5, 12, 50.0)]));
    world.take(samples(20, &[(3, 20, 97.0), (5, 21, 50.0), (5, 22, 50.0)]));
    let breaches = |world: &World| world.held().alerts.values().filter(|a| a.source != "health").count();
    assert_eq!(breaches(&world), 0);
    world.take(samples(30, &[(3, 30, 97.0)]));
    assert_eq!(breaches(&world), 1);
}

#[test]
fn incidents_are_verdicts_and_no_answer_about_a_value() {
    let mut world = World::start(&[describe()], Contents::default());
    let outcome = world.take(reported(0, &[(4, 0, INCIDENT)])).unwrap();
    assert_eq!(outcome.outliers.len(), 1, "{:?}", outcome.outliers);
    let held = world.held();
    let outliers = held.verdicts.iter().filter(|verdict| matches!(verdict.body, VerdictBody::Outlier(_)));
    let plugins: Vec<&str> = outliers.map(|verdict| verdict.evidence.plugin.as_str()).collect();
    assert_eq!(plugins, ["outlier", seasonal::PLUGIN]);
}

/// The scores of the verdicts of `iqr-outlier`.
fn standing_scores(world: &World) -> Vec<f64> {
    let held = world.held();
    let by_window = held.verdicts.iter().filter(|verdict| verdict.evidence.plugin == iqr::PLUGIN);
    let score = |verdict: &vitals_core::verdict::Verdict| {
        if let VerdictBody::Outlier(outlier) = &verdict.body { outlier.score } else { -1.0 }
    };
    by_window.map(score).collect()
}

#[test]
fn each_outlier_answers_its_request_and_only_the_beginning_of_an_incident_stands() {
    let mut world = World::start(&[describe()], Contents::default());
    let answered = |world: &mut World, second: i64, score: f64| {
        let outcome = world.take(reported(second, &[(4, second, score * FAR_OUTSIDE)])).unwrap();
        outcome.outliers.iter().filter(|outlier| outlier.score == score).count()
    };
    for (second, score) in [(0, 2.0), (60, 3.0), (120, 4.0)] {
        assert_eq!(answered(&mut world, second, score), 1, "{second}");
    }
    assert_eq!(standing_scores(&world), [2.0]);
    // Over a restart it goes on, and something much stranger breaks through.
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut world = World::start(&[describe()], durable);
    assert_eq!(answered(&mut world, 180, 5.0), 1);
    assert_eq!(answered(&mut world, 240, 500.0), 1);
    assert_eq!(standing_scores(&world), [2.0, 500.0]);
    // An agent that was forgotten comes back without a past.
    let forgotten = 240 + i64::try_from(config().forget_seconds).unwrap() + 60;
    world.take(reported(forgotten, &[(4, forgotten, FAR_OUTSIDE)]));
    assert_eq!(standing_scores(&world), [2.0, 500.0, 1.0]);
}

#[test]
fn a_score_is_a_number_of_json_whatever_a_plugin_says() {
    let mut world = World::start(&[describe()], Contents::default());
    let outcome = world.take(reported(0, &[(4, 0, f64::INFINITY)])).unwrap();
    assert!(!outcome.outliers.is_empty());
    assert_eq!(standing_scores(&world), [f64::MAX]);
}
