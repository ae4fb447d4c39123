//! Components and trends.

use super::*;

#[tokio::test]
async fn trends_and_components_change_with_the_measurements() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    // Ten hours; CPU rises by 5 % an hour to 75 %, the disk stays, the pool was critical in the first hour.
    for hour in 0..=10 {
        let value = |name: &str, kind: &str, value: f64| {
            json!({
                "metric_name": name, "metric_type": kind, "value": value, "unit": "%",
                "timestamp": at(-(10 - hour) * 60 * MINUTE),
            })
        };
        let mut body = system("db-1");
        body["component_name"] = Value::Null;
        body["metrics"] =
            json!([value("cpu", "cpu_usage", 25.0 + 5.0 * hour as f64), value("disk", "disk_usage", 50.0),]);
        assert_eq!(service.post("system-metrics", &token, &body).await.status, 201);
        body["component_name"] = "pool".into();
        body["metrics"] = json!([value("load", "cpu_usage", if hour == 0 { 99.0 } else { 81.0 })]);
        assert_eq!(service.post("system-metrics", &token, &body).await.status, 201);
    }
    // As the scorers evaluation what others report of it.
    let measurements = Measurements { cpu_percent: Some(81.0), disk_percent: Some(50.0), ..Measurements::default() };
    let health = score(&HealthConfig::default(), &measurements, None);
    let db = service.registry.agent_by_key(&"default".into(), "db-1").unwrap().id;
    service.evaluation.live_agents.put_observed([(db, Observed { health, time: NOW, measurements })]);
    let check = |kind: &str| {
        json!({
            "target_id": "db-1", "target_type": "system", "assessment_type": kind,
            "time_range": {"start_time": at(-11 * 60 * MINUTE), "end_time": at(1)},
        })
    };
    let answer = service.post("health-check", &token, &check("predictive")).await.body;
    let trends = &answer["performance_trends"];
    let close = |value: &Value, expect: f64| value.as_f64().is_some_and(|value| (value - expect).abs() < 0.2);
    assert!(close(&trends["cpu"]["slope_per_hour"], 5.0), "{trends:#}");
    assert_eq!((&trends["cpu"]["direction"], &trends["disk"]["direction"]), (&json!("increasing"), &json!("stable")));
    // 75 % now: 80 % in an hour, 95 % in four.
    assert!(
        close(&trends["cpu"]["hours_to_warning"], 1.0) && close(&trends["cpu"]["hours_to_critical"], 4.0),
        "{trends:#}"
    );
    assert_eq!(trends["disk"]["hours_to_critical"], Value::Null);
    let plans = answer["maintenance_suggestions"].to_string();
    assert!(plans.contains("cpu reaches its critical threshold in about 4 h"), "{plans}");
    assert_eq!(
        answer["health_assessment"]["components"],
        json!({"cpu": "healthy", "disk": "healthy", "pool": "degraded"})
    );
    assert!(plans.contains("pool is degraded"), "{plans}");
    // What never beats is as the scorers evaluation it.
    let health = &answer["health_assessment"];
    assert_eq!((&health["overall_health"], &health["health_score"]), (&json!("degraded"), &json!(85.0)), "{health}");
    assert!(answer["health_recommendations"][0].as_str().unwrap().starts_with("CPU is at 81.0 %"), "{answer:#}");
    let full = service.post("health-check", &token, &check("full")).await.body;
    assert!(full["performance_trends"]["cpu"].get("hours_to_warning").is_none(), "only when asked for");
    let quick = service.post("health-check", &token, &check("quick")).await.body;
    assert_eq!(quick["performance_trends"], json!({}));
    let answer = service.get("uptime-summary/db-1?time_range_hours=24", &token).await.body;
    let parts = &answer["uptime_by_component"];
    assert_eq!((&parts["cpu"], &parts["disk"]), (&json!(100.0), &json!(100.0)));
    // The last of the eleven is now, which a window ends before.
    assert_eq!(parts["pool"], 90.0, "critical in one of ten");

    // A heartbeat's own measurements are its components.
    let mut calm = beat("web-1");
    calm["cpu_usage_percent"] = json!(10);
    service.post("heartbeat", &token, &calm).await;
    let of = async |name: &str| {
        let answer = service.get("uptime-status/web-1", &token).await.body;
        (answer["health_assessment"]["components"][name].clone(), answer["data_quality_score"].clone())
    };
    assert_eq!(of("cpu").await, (json!("healthy"), json!(4.0 / 12.0)));
    calm["cpu_usage_percent"] = json!(96);
    calm["packet_loss_percent"] = json!(7);
    service.post("heartbeat", &token, &calm).await;
    assert_eq!(of("cpu").await, (json!("critical"), json!(5.0 / 12.0)));
    assert_eq!(of("network").await.0, "degraded");
}

/// As a Collector's hostmetrics receiver reports them: seconds and bytes by state.
#[tokio::test]
async fn components_are_put_together_from_their_states() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "host-1", None);
    let total = Shape::Cumulative { monotonic: true };
    let amount = Shape::Cumulative { monotonic: false };
    let spec = |metric: &str, state: &str, device: Option<&str>, shape: Shape| {
        let mut attributes = vec![("state".to_owned(), state.to_owned())];
        attributes.extend(device.map(|device| ("device".to_owned(), device.to_owned())));
        attributes.sort();
        SeriesSpec {
            metric: metric.to_owned(),
            unit: String::new(),
            kind: MetricKind::Custom,
            shape,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: attributes.into(),
            resource: Arc::default(),
        }
    };
    let plain =
        |metric: &str| SeriesSpec { attributes: std::iter::empty().collect(), ..spec(metric, "", None, amount) };
    // Ten hours; in the last two the CPU is busy for 99 % of the time, and from the sixth on disk b is full. In the
    // third the CPU waits for a disk, and before the first hardly any memory can be had.
    let hour = |at: i64, early: f64, late: f64, from: i64| if at > from { late } else { early };
    type At<'a> = &'a dyn Fn(i64) -> f64;
    let busy = |at: i64| (1..=at).map(|one| hour(one, 36.0, 3_564.0, 8)).sum();
    let idle = |at: i64| (1..=at).map(|one| if one == 3 { 0.0 } else { hour(one, 3_564.0, 36.0, 8) }).sum();
    let rows: [(SeriesSpec, At); 13] = [
        (spec("system.cpu.time", "user", None, total), &busy),
        (spec("system.cpu.time", "idle", None, total), &idle),
        (spec("system.cpu.time", "wait", None, total), &|at| hour(at, 0.0, 3_564.0, 2)),
        (spec("system.memory.usage", "used", None, amount), &|_| 6e9),
        (spec("system.memory.usage", "free", None, amount), &|_| 2e9),
        (plain("system.memory.limit"), &|_| 8e9),
        (plain("system.linux.memory.available"), &|at| hour(at, 0.1e9, 2e9, 0)),
        (spec("system.filesystem.usage", "used", Some("/dev/loop1"), amount), &|_| 1e9),
        (spec("system.filesystem.usage", "free", Some("/dev/loop1"), amount), &|_| 0.0),
        (spec("system.filesystem.usage", "used", Some("a"), amount), &|_| 1e9),
        (spec("system.filesystem.usage", "free", Some("a"), amount), &|_| 9e9),
        (spec("system.filesystem.usage", "used", Some("b"), amount), &|at| hour(at, 5e9, 9.9e9, 5)),
        (spec("system.filesystem.usage", "free", Some("b"), amount), &|at| hour(at, 5e9, 0.1e9, 5)),
    ];
    for (spec, value) in rows {
        let id = service.registry.intern_series(&"default".into(), agent, vec![spec]).remove(0).unwrap();
        let samples = (0..=10).map(|at| ((id, NOW.plus((at - 10) * 60 * MINUTE - 1)), value(at)));
        service.store.change(|held| held.samples.extend(samples));
    }
    let answer = service.get("uptime-summary/host-1?time_range_hours=24", &token).await.body;
    let share = |good: f64, all: f64| 100.0 * good / all;
    let parts = &answer["uptime_by_component"];
    assert_eq!(
        parts,
        &json!({"cpu": share(8.0, 10.0), "memory": share(10.0, 11.0), "disk": share(6.0, 11.0)}),
        "{parts}"
    );
}

/// A percentage of a system, as a REST metric.
fn percentage(metric: &str) -> SeriesSpec {
    SeriesSpec {
        metric: metric.to_owned(),
        unit: "%".to_owned(),
        kind: MetricKind::CpuUsage,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Rest,
        scope: std::sync::Arc::default(),
        attributes: vitals_core::series::Attributes::default(),
        resource: std::sync::Arc::default(),
    }
}

#[tokio::test]
async fn trends_have_their_means_in_the_middle_and_the_last_value_itself() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "db-1", None);
    let id = service.registry.intern_series(&"default".into(), agent, vec![percentage("cpu")]).remove(0).unwrap();
    // Each second for ten hours, 6 % an hour, 60 % now: 80 % in 3 h 20 min.
    let value = |ago: i64| 60.0 - 6.0 * ago as f64 / HOUR as f64;
    let rows = (1..=36_000).map(|second| second * UnixNanos::SECOND).map(|ago| ((id, NOW.plus(-ago)), value(ago)));
    service.store.change(|held| held.samples.extend(rows));
    let body = json!({
        "target_id": "db-1", "target_type": "system", "assessment_type": "predictive",
        "time_range": {"start_time": at(-10 * HOUR), "end_time": at(0)},
    });
    let answer = service.post("health-check", &token, &body).await.body;
    let trend = &answer["performance_trends"]["cpu"];
    let close = |field: &str, expect: f64| {
        let found = trend[field].as_f64().unwrap();
        assert!((found - expect).abs() < 0.002, "{field} is {found}, not {expect}");
    };
    close("slope_per_hour", 6.0);
    close("hours_to_warning", 20.0 / 6.0);
    close("hours_to_critical", 35.0 / 6.0);
    assert_eq!(trend["last"], value(UnixNanos::SECOND));
    let query = json!({
        "query_id": "q", "query_type": "t", "aggregation_window": "1h",
        "time_range": {"start_time": at(-10 * HOUR), "end_time": at(0)},
    });
    let answer = service.post("dashboard", &token, &query).await.body;
    let trend = &answer["trends"]["db-1: cpu"];
    assert_eq!((trend["last"].clone(), &trend["points"]), (json!(value(UnixNanos::SECOND)), &json!(10)));
}

/// A series as a Collector's hostmetrics receiver reports amounts.
fn amount(metric: &str, attributes: &[(&str, &str)]) -> SeriesSpec {
    SeriesSpec {
        metric: metric.to_owned(),
        unit: "By".to_owned(),
        kind: MetricKind::Custom,
        shape: Shape::Cumulative { monotonic: false },
        origin: Origin::Otlp,
        attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..percentage(metric)
    }
}

#[tokio::test]
async fn it_is_said_when_a_disk_and_the_memory_are_full() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "host-1", None);
    let of = |mountpoint, state| amount("system.filesystem.usage", &[("mountpoint", mountpoint), ("state", state)]);
    // /var has 20 % left and fills by 5 % a day: four days; / stays; memory leaks 3 % an hour since a day, 10 % are left.
    type Ago<'a> = &'a dyn Fn(f64) -> f64;
    let rows: [(SeriesSpec, Ago); 7] = [
        (of("/var", "used"), &|hours| 80e9 - hours * 5e9 / 24.0),
        (of("/var", "free"), &|hours| 20e9 + hours * 5e9 / 24.0),
        (of("/", "used"), &|_| 9e9),
        (of("/", "free"), &|_| 1e9),
        (amount("system.memory.usage", &[("state", "used")]), &|_| 1e9),
        (amount("system.memory.limit", &[]), &|_| 100e9),
        (amount("system.linux.memory.available", &[]), &|hours| (10e9 + hours * 3e9).min(82e9)),
    ];
    for (spec, value) in rows {
        let id = service.registry.intern_series(&"default".into(), agent, vec![spec]).remove(0).unwrap();
        let samples =
            (1..=14 * 24 * 4).map(|quarter| ((id, NOW.plus(-quarter * 15 * MINUTE)), value(quarter as f64 / 4.0)));
        service.store.change(|held| held.samples.extend(samples));
    }
    let check = |kind: &str| json!({"target_id": "host-1", "target_type": "agent", "assessment_type": kind});
    let answer = service.post("health-check", &token, &check("predictive")).await.body;
    let forecasts = &answer["capacity_forecasts"];
    let close = |value: &Value, expect: f64, by: f64| value.as_f64().is_some_and(|found| (found - expect).abs() <= by);
    assert!(close(&forecasts["/var"]["percent"], 80.0, 0.5), "{forecasts:#}");
    assert!(close(&forecasts["/var"]["hours_to_full"]["likely"], 96.0, 2.0), "{forecasts:#}");
    assert_eq!(
        (&forecasts["/var"]["component"], &forecasts["memory"]["component"]),
        (&json!("disk"), &json!("memory"))
    );
    assert_eq!(forecasts["/"], json!({"component": "disk", "percent": 90.0, "hours_to_full": null}));
    assert!(close(&forecasts["memory"]["percent"], 90.0, 3.0), "{forecasts:#}");
    let advice = answer["health_recommendations"].to_string();
    assert!(
        advice.contains("/var is full in about 4 days (80 % now): free space or add capacity before that."),
        "{advice}"
    );
    assert!(!advice.contains("\"/ is full"), "{advice}");
    let full = service.post("health-check", &token, &check("full")).await.body;
    assert_eq!(full["capacity_forecasts"], json!({}), "only when asked for: it reads two weeks");
    assert!(!full["health_recommendations"].to_string().contains("is full"), "{full:#}");
}

#[tokio::test]
async fn the_disk_of_heartbeats_and_those_of_a_system_are_forecast_by_name() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "db-1", None);
    let disk = |metric: &str, scope: &str| SeriesSpec {
        kind: MetricKind::DiskUsage,
        scope: vitals_core::series::Scope::named(scope),
        ..percentage(metric)
    };
    for (spec, left) in
        [(disk("disk_usage_percent", "heartbeat"), 1.0), (disk("data", "pool"), 20.0), (disk("wal", ""), 0.0)]
    {
        let id = service.registry.intern_series(&"default".into(), agent, vec![spec]).remove(0).unwrap();
        let rows = (1..=10 * 24).map(|ago| ((id, NOW.plus(-ago * HOUR)), 100.0 - left - ago as f64 / 10.0));
        service.store.change(|held| held.samples.extend(rows));
    }
    let body = json!({"target_id": "db-1", "target_type": "system", "assessment_type": "predictive"});
    let answer = service.post("health-check", &token, &body).await.body;
    let advice: Vec<&str> =
        answer["health_recommendations"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let of_disks: Vec<&&str> = advice.iter().filter(|text| text.contains("is full")).collect();
    assert_eq!(of_disks.len(), 3, "{advice:?}");
    assert!(
        of_disks[0].starts_with("wal is full") && of_disks[1].starts_with("disk is full"),
        "the soonest first: {advice:?}"
    );
    assert!(of_disks[2].starts_with("pool/data is full in about 8 days (80 % now)"), "{advice:?}");
}
