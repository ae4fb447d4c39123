//! Alerts: their series, escalation, new thresholds, and what people do to them.

use super::*;

#[test]
fn otlp_vitals_raise_alerts_and_verdicts_only_when_they_change() {
    let mut world = World::start(&[describe()], Contents::default());
    for (second, cpu) in [(0, 50.0), (10, 50.0), (20, 97.0), (30, 97.0), (40, 50.0)] {
        world.take(samples(second, &[(3, second, cpu)]));
    }
    let held = world.held();
    let times: Vec<_> = held.verdicts.iter().map(|v| v.time).collect();
    assert_eq!(times, [at(0), at(20), at(40)]);
    let mut alerts: Vec<_> = held.alerts.values().map(|a| (a.source.as_str(), a.started, a.resolved)).collect();
    alerts.sort();
    assert_eq!(alerts, [("health", at(20), Some(at(40))), ("threshold:cpu_usage", at(20), Some(at(40)))]);
}

#[test]
fn an_alert_names_its_series() {
    let disk = |device, mountpoint| [("device", device), ("mountpoint", mountpoint)];
    let (root, var) = (disk("/dev/sda1", "/"), disk("/dev/sdb1", "/var"));
    let all = describe_more(&[
        ("disk", MetricKind::DiskUsage, "%", &root),
        ("disk", MetricKind::DiskUsage, "%", &var),
        ("latency", MetricKind::ResponseTime, "ms", &[("route", "/slow")]),
        ("latency", MetricKind::ResponseTime, "ms", &[("route", "/fast")]),
    ]);
    let mut world = World::with(config(), &[all], Contents::default());
    world.take(samples(10, &[(5, 10, 50.0), (6, 10, 97.0), (7, 10, 9_000.0), (8, 10, 1.0)]));
    let of = |world: &World, source: &str| {
        let alert = world.held().alerts.values().find(|a| a.source == source).cloned().unwrap();
        let series = alert.series.unwrap();
        (alert.message, series.metric, series.attributes.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
    };
    let (message, metric, attributes) = of(&world, "threshold:disk_usage");
    assert_eq!(message, "disk_usage is 97.0 %, critical from 95.0 % (/dev/sdb1 on /var)");
    assert_eq!((metric.as_str(), attributes), ("disk", vec!["/dev/sdb1".to_owned(), "/var".to_owned()]));
    let (message, ..) = of(&world, "threshold:response_time");
    assert_eq!(message, "response_time is 9000.0 ms, critical from 5000.0 ms (latency{route=/slow})");
    // Another one is the fullest now: the alert is about that one, and nobody is told again.
    let told = world.told().len();
    world.take(samples(20, &[(5, 20, 99.0), (6, 20, 10.0)]));
    let (message, _, attributes) = of(&world, "threshold:disk_usage");
    assert_eq!(message, "disk_usage is 99.0 %, critical from 95.0 % (/dev/sda1 on /)");
    assert_eq!((attributes[1].as_str(), world.told().len()), ("/", told));
}

#[test]
fn an_alert_that_nobody_acknowledges_is_escalated_once() {
    let mut world = World::start(&[describe()], Contents::default());
    for minute in 0..60 {
        world.take(samples(minutes(minute), &[(3, minutes(minute), 85.0)]));
        world.shard.tick(at(minutes(minute)));
    }
    let told: Vec<_> = world.told().into_iter().filter(|told| told.contains("cpu_usage")).collect();
    assert_eq!(told, ["0 threshold:cpu_usage raised warning", "900 threshold:cpu_usage escalated error"]);
    let alert = world.held().alerts.values().find(|a| a.source == "threshold:cpu_usage").cloned().unwrap();
    assert_eq!((alert.severity, alert.resolved), (Severity::Error, None));
}

#[test]
fn new_thresholds_hold_from_the_next_value_and_alerts_without_one_are_over() {
    let mut world = World::start(&[describe()], Contents::default());
    assert_eq!(world.take(heartbeat(0, 85.0)).unwrap().alerts.len(), 1);
    let none = EvaluateConfig { thresholds: Vec::new(), ..config() };
    world.shard.reload(Arc::new(none), false);
    let alert = world.held().alerts.values().next().unwrap().clone();
    assert_eq!((alert.severity, alert.resolved.is_some()), (Severity::Warning, true));
    assert!(world.take(heartbeat(30, 99.0)).unwrap().alerts.is_empty());
    let low = EvaluateConfig { thresholds: vec![Threshold::new(MetricKind::CpuUsage, 5.0, 10.0)], ..config() };
    world.shard.reload(Arc::new(low), false);
    assert_eq!(world.take(heartbeat(60, 20.0)).unwrap().alerts[0].severity, Severity::Critical);
}

#[test]
fn what_is_open_is_said_again_after_a_restart_and_a_reload() {
    let mut world = World::start(&[describe()], Contents::default());
    world.take(heartbeat(0, 97.0));
    world.checkpoint(true);
    let durable = world.store.durable();
    let mut again = World::start(&[describe()], durable);
    assert!(again.told().is_empty());
    again.shard.resume_after_pause(at(10));
    again.shard.reload(Arc::new(config()), false);
    let events: Vec<_> = again.notices.lock().unwrap().iter().map(|n| n.event).collect();
    // One on the CPU and one on the health, at either.
    assert_eq!(events, [Event::StillOpen; 4]);
}

#[test]
fn an_alert_that_is_over_is_acknowledged_without_reading_and_the_same_in_a_replay() {
    let mut records = vec![describe(), heartbeat(0, 97.0)];
    records.extend((1..10).map(|n| heartbeat(30 * n, 10.0)));
    let mut world = World::start(&records, Contents::default());
    world.checkpoint(true);
    let durable = world.store.durable();
    let alert = world.held().alerts.into_values().find(|alert| alert.resolved.is_some()).unwrap();
    for (by, second) in [("ops", 300), ("dev", 310)] {
        let record = on_alert(&alert, AlertAction::Acknowledge, by, second);
        world.take(record.clone());
        records.push(record);
    }
    let expect = Alert { acknowledged: Some(("ops".into(), at(300))), ..alert };
    assert_eq!(world.held().alerts[&expect.id], expect);
    for kept in [Contents::default(), durable, world.held()] {
        assert_eq!(World::start(&records, kept).held().alerts[&expect.id], expect);
    }
}

/// The sources, beginnings and ends of all alerts, by beginning.
fn all_alerts(world: &World) -> Vec<(String, UnixNanos, Option<UnixNanos>)> {
    let mut alerts: Vec<_> =
        world.held().alerts.into_values().map(|alert| (alert.source, alert.started, alert.resolved)).collect();
    alerts.sort_by_key(|(source, started, _)| (*started, source.clone()));
    alerts
}

#[test]
fn a_closed_alert_is_raised_again_only_when_it_gets_worse_or_was_over() {
    let mut world = World::start(&[describe()], Contents::default());
    let cpu = |world: &mut World, second, value| world.take(samples(second, &[(3, second, value)]));
    cpu(&mut world, 0, 85.0);
    let alert = world.held().alerts.into_values().next().unwrap();
    world.take(on_alert(&alert, AlertAction::Close, "ops", 5));
    let source = || "threshold:cpu_usage".to_owned();
    let first = (source(), at(0), Some(at(5)));
    let closed = &world.held().alerts[&alert.id];
    assert_eq!(closed.handling.closed.as_ref().map(|act| (act.by.as_str(), act.at)), Some(("ops", at(5))));
    // It goes on as it was.
    cpu(&mut world, 10, 86.0);
    assert_eq!(all_alerts(&world), std::slice::from_ref(&first));
    // It gets worse, which is news; the health is bad as well.
    cpu(&mut world, 20, 97.0);
    let (health, second) = (("health".to_owned(), at(20), None), (source(), at(20), None));
    assert_eq!(all_alerts(&world), [first.clone(), health, second]);
    for alert in world.held().alerts.into_values().filter(|alert| alert.resolved.is_none()) {
        world.take(on_alert(&alert, AlertAction::Close, "ops", 25));
    }
    cpu(&mut world, 30, 98.0);
    assert!(all_alerts(&world).iter().all(|(.., resolved)| resolved.is_some()), "{:?}", all_alerts(&world));
    // It was over, and comes again.
    cpu(&mut world, 40, 10.0);
    cpu(&mut world, 50, 97.0);
    let open: Vec<_> = all_alerts(&world).into_iter().filter(|(.., resolved)| resolved.is_none()).collect();
    assert_eq!(open, [("health".to_owned(), at(50), None), (source(), at(50), None)]);
}

/// The closed alert of a threshold that waits for a person is not waited for any more.
#[test]
fn a_closed_alert_needs_no_acknowledgement_to_be_over() {
    let mut config = config();
    for threshold in &mut config.thresholds {
        threshold.auto_resolve = false;
    }
    let mut world = World::with(config, &[describe()], Contents::default());
    world.take(samples(0, &[(3, 0, 85.0)]));
    let alert = world.held().alerts.into_values().next().unwrap();
    world.take(on_alert(&alert, AlertAction::Close, "ops", 5));
    world.take(samples(10, &[(3, 10, 10.0)]));
    world.take(samples(20, &[(3, 20, 85.0)]));
    let source = "threshold:cpu_usage".to_owned();
    assert_eq!(all_alerts(&world), [(source.clone(), at(0), Some(at(5))), (source, at(20), None)]);
}

#[test]
fn what_people_did_to_an_open_alert_is_the_same_after_a_replay() {
    let until = at(minutes(30));
    let mut records = vec![describe(), samples(0, &[(3, 0, 85.0)])];
    let alert = World::start(&records, Contents::default()).held().alerts.into_values().next().unwrap();
    for (action, second) in [
        (AlertAction::Acknowledge, 10),
        (AlertAction::Unacknowledge, 20),
        (AlertAction::Silence { until }, 30),
        (AlertAction::Acknowledge, 40),
    ] {
        records.push(on_alert(&alert, action, "ops", second));
    }
    let mut world = World::start(&records[..1], Contents::default());
    for record in &records[1..] {
        world.take(record.clone());
    }
    let held = world.held();
    let now = &held.alerts[&alert.id];
    assert_eq!(now.acknowledged, Some(("ops".into(), at(40))));
    assert_eq!(now.handling.silence.as_ref().map(|silence| silence.until), Some(until));
    for cut in 2..=records.len() {
        let mut world = World::start(&records[..cut], Contents::default());
        world.checkpoint(true);
        let durable = world.store.durable();
        assert_eq!(&World::start(&records, durable).held().alerts[&alert.id], now, "stopped behind record {cut}");
    }
}
