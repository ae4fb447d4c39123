//! What answers say: nothing made up of what is unknown, counts that add up, alerts by their agent.

use super::*;
use vitals_core::alert_command::Handling;
use vitals_core::verdict::Severity;

#[tokio::test]
async fn what_is_unknown_is_null_or_speaks_against_nobody() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    known(&service, "nothing", None);
    // Planned all the time: neither up nor down.
    let planned = known(&service, "planned", None);
    lived(&service, planned, &[(2 * 24 * 60, State::Maintenance)]);
    for (key, health, confidence) in [("nothing", "unknown", 0.0), ("planned", "maintenance", 1.0)] {
        let status = service.get(&format!("uptime-status/{key}"), &token).await.body;
        fits("UptimeStatusResponse", &status);
        let body = json!({"target_id": key, "target_type": "agent"});
        let check = service.post("health-check", &token, &body).await.body;
        fits("HealthStatusResponse", &check);
        let summary = service.get(&format!("uptime-summary/{key}"), &token).await.body;
        fits("UptimeSummaryResponse", &summary);
        for answer in [&status, &check] {
            assert_eq!(answer["uptime_percentage"], 100.0, "{key}");
            assert_eq!(answer["health_assessment"]["health_score"], 100.0, "{key}");
            assert_eq!(answer["health_assessment"]["overall_health"], health, "{key}");
            assert_eq!((&answer["sla_compliance"], &answer["sla_breach_risk"]), (&Value::Null, &Value::Null), "{key}");
        }
        for answer in [&status, &check, &summary] {
            assert_eq!(answer["confidence_level"], confidence, "{key}");
        }
        for field in ["mttr_minutes", "mtbf_hours"] {
            assert_eq!((&status[field], &summary[field]), (&Value::Null, &Value::Null), "{key} {field}");
        }
        assert_eq!(summary["sla_compliance"], json!({}), "{key}");
        for day in summary["daily_uptime"].as_array().unwrap() {
            assert_eq!(day["uptime_percentage"], Value::Null, "{key}");
        }
    }
    let query = json!({
        "query_id": "q", "query_type": "t", "aggregation_window": "1m", "environments": ["nowhere"],
        "time_range": {"start_time": at(-HOUR), "end_time": at(0)},
    });
    let answer = service.post("dashboard", &token, &query).await.body;
    fits("TelemetryDashboardData", &answer);
    assert_eq!(answer["agent_summary"]["average_health_score"], Value::Null);
    assert_eq!(answer["cache_hit_ratio"], 1.0);
}

#[tokio::test]
async fn the_last_check_is_the_last_arrival() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "db-1", None);
    let last = async |service: &Service| {
        let answer = service.get("uptime-status/db-1", &token).await.body;
        answer["health_assessment"]["last_check"].as_str().unwrap().to_owned()
    };
    assert_eq!(last(&service).await, at(-400 * DAY), "its first sight is all that is known");
    service.evaluation.live_agents.reported(agent, NOW.plus(-5 * MINUTE));
    service.evaluation.live_agents.reported(agent, NOW.plus(-6 * MINUTE));
    assert_eq!(last(&service).await, at(-5 * MINUTE), "measurements of others count");
    // A heartbeat is newer; its own time does not matter.
    service.evaluation.live_agents.reported(agent, NOW.plus(-MINUTE));
    assert_eq!(last(&service).await, at(-MINUTE));
}

#[tokio::test]
async fn an_alert_names_its_agent_and_ends_when_it_ended() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "web-1", None);
    for (id, source, ended) in [
        ("a", "threshold:disk_usage", Some(-5 * MINUTE)),
        ("b", "availability", Some(-20 * MINUTE)),
        ("c", "health", None),
    ] {
        let alert = Alert {
            id: id.into(),
            tenant: "default".into(),
            agent,
            severity: Severity::Warning,
            message: "m".into(),
            series: None,
            source: source.into(),
            started: NOW.plus(-10 * MINUTE),
            resolved: ended.map(|ended| NOW.plus(ended)),
            acknowledged: None,
            handling: Handling::default(),
        };
        service.store.change(|held| held.alerts.insert(alert.id.clone(), alert));
    }
    let answer = service.get("alerts", &token).await.body;
    let found = answer["alerts"].as_array().unwrap();
    for (alert, (kind, ended, lasted)) in found.iter().zip([
        ("disk_usage", json!(at(-5 * MINUTE)), json!(300.0)),
        // Taken back: it cannot end before it began.
        ("availability", json!(at(-10 * MINUTE)), json!(0.0)),
        ("health", Value::Null, Value::Null),
    ]) {
        assert_eq!(violations(&contract("AlertInfo"), alert), [] as [&str; 0]);
        assert_eq!((&alert["source"], &alert["agent_id"]), (&json!("web-1"), &json!("web-1")));
        assert_eq!(alert["alert_type"], kind);
        let told = |field: &str| alert.get(field).cloned().unwrap_or_default();
        assert_eq!((told("resolved_at"), told("duration_seconds")), (ended, lasted), "{kind}");
    }
    let path = format!("alerts?start={}&end={}", at(0), at(-MINUTE));
    assert_eq!(service.get(&path, &token).await.status, 422, "an empty range");
}

#[tokio::test]
async fn a_batch_counts_metrics_and_names_its_items() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let batch = |heartbeats: Value, metrics: Value| {
        json!({
            "batch_id": "b", "batch_timestamp": at(0), "source_system": "s", "heartbeats": heartbeats, "metrics": metrics,
        })
    };
    let stale = with(beat("web-2"), "/timestamp", json!(at(-DAY)));
    let twins = with(system("db-2"), "/metrics/1/metric_name", json!("cpu"));
    let nobody = with(beat("x"), "/agent_info/agent_id", json!(7));
    let body =
        batch(json!([beat("web-1"), stale, nobody]), json!([system("db-1"), twins, {"system_id": "db\u{7}3"}, 5]));
    let answer = service.post("batch", &token, &body).await;
    fits("TelemetryIngestionResult", &answer.body);
    assert_eq!((answer.status, &answer.body["success"]), (202, &json!(true)), "{}", answer.body);
    let counts: Vec<u64> = ["total", "processed", "failed"]
        .iter()
        .flat_map(|what| ["heartbeats", "metrics"].map(|of| answer.body[format!("{what}_{of}")].as_u64().unwrap()))
        .collect();
    // The last two items have no metrics that could be counted, and fail as one each.
    assert_eq!(counts, [3, 6, 1, 2, 2, 4]);
    let errors: Vec<&str> =
        answer.body["validation_errors"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for (begin, words) in [
        ("heartbeats.1 (web-2): timestamp: ", "seconds old"),
        ("heartbeats.2: agent_info.agent_id: ", "valid string"),
        ("metrics.1 (db-2): metrics.1.metric_name: ", "already used"),
        ("metrics.2 (db\\u{7}3): timestamp: ", "Field required"),
        ("metrics.3: ", "valid object"),
    ] {
        assert!(errors.iter().any(|line| line.starts_with(begin) && line.contains(words)), "{begin}: {errors:#?}");
    }
    // Nothing of it could be used.
    let answer = service.post("batch", &token, &batch(json!([{}]), json!([]))).await;
    assert_eq!((answer.status, &answer.body["success"]), (202, &json!(false)), "{}", answer.body);
    // There is nothing in it.
    for body in [batch(json!([]), json!([])), json!({"batch_id": "b", "batch_timestamp": at(0), "source_system": "s"})]
    {
        let answer = service.post("batch", &token, &body).await;
        assert_eq!((answer.status, &answer.body["detail"][0]["type"]), (422, &json!("too_short")), "{}", answer.body);
    }
}

#[tokio::test]
async fn spellings_of_a_unit_are_one_series() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (name, kind, spellings, unit, values) in [
        ("cpu", "cpu_usage", &["%", "percent", "Percentage", "PCT"][..], "%", &[1.0, 1.0, 1.0, 1.0][..]),
        ("time", "response_time", &["ms", "milliseconds", "s", "Seconds"], "ms", &[1.0, 1.0, 1_000.0, 1_000.0]),
        ("memory", "memory_usage", &["MB", "megabytes", "GB", "MiB"], "MB", &[1.0, 1.0, 1_000.0, 1.048_576]),
        ("own", "custom", &["percent", "%", "pct"], "%", &[1.0, 1.0, 1.0]),
        ("many", "custom", &["{message}"], "{message}", &[1.0]),
    ] {
        let key = format!("units-{name}");
        for (second, spelling) in spellings.iter().enumerate() {
            let mut body = system(&key);
            let time = at(-UnixNanos::SECOND * (spellings.len() - second) as i64);
            body["metrics"] = json!([
                {"metric_name": name, "metric_type": kind, "value": 1.0, "unit": spelling, "timestamp": time},
            ]);
            assert_eq!(service.post("system-metrics", &token, &body).await.status, 201, "{spelling}");
        }
        let list = service.get(&format!("series?agent={key}"), &token).await.body;
        let all = list["series"].as_array().unwrap();
        assert_eq!((all.len(), &all[0]["unit"]), (1, &json!(unit)), "{list}");
        let samples = service.get(&format!("series/{}/samples", all[0]["series_id"]), &token).await.body;
        let found: Vec<f64> =
            samples["samples"].as_array().unwrap().iter().map(|one| one["value"].as_f64().unwrap()).collect();
        assert_eq!(found, values, "{name}");
    }
    // A dimension is the same whether its number is written with a fraction or not.
    for dimension in [json!(1), json!(1.0)] {
        let mut body = system("dimensions");
        body["metrics"] = json!([
            {"metric_name": "m", "metric_type": "custom", "value": 1.0, "unit": "", "dimensions": {"core": dimension}},
        ]);
        assert_eq!(service.post("system-metrics", &token, &body).await.status, 201);
    }
    let list = service.get("series?agent=dimensions", &token).await.body;
    assert_eq!(list["series"].as_array().unwrap().len(), 1, "{list}");
}
