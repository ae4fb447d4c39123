//! What is sent and answered, against the contract.

use super::*;

#[tokio::test]
async fn every_answer_fits_the_contract() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    fits("HeartbeatResponse", &answer.body);
    assert_eq!(answer.body["calculated_health"], "critical");
    assert_eq!(answer.body["health_score"], 70.0);
    assert_eq!(answer.body["data_quality_score"], 4.0 / 12.0);
    assert_eq!(answer.body["next_expected_heartbeat"], at(30 * UnixNanos::SECOND));
    assert_eq!(answer.body["adaptive_timeout_ms"], 90_000);
    assert_eq!(answer.body["alerts_generated"].as_array().unwrap().len(), 1);
    assert!(answer.header("x-correlation-id").is_some());

    let answer = service.post("system-metrics", &token, &system("db-1")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    fits("SystemMetricsResponse", &answer.body);
    assert_eq!(answer.body["outliers_detected"], json!(["rows"]));
    assert_eq!(answer.body["metrics_processed"], 2);

    let agent = service.registry.agent_by_key(&"default".into(), "web-1").unwrap().id;
    let up = |start: i64, end: Option<i64>, state| {
        let interval = Interval { start: NOW.plus(start), end: end.map(|end| NOW.plus(end)), state };
        ((agent, interval.start), interval)
    };
    let lived = [
        up(-60 * MINUTE, Some(-30 * MINUTE), State::Up),
        up(-30 * MINUTE, Some(-24 * MINUTE), State::Silent),
        up(-24 * MINUTE, None, State::Up),
    ];
    service.store.change(|held| held.intervals.extend(lived));
    let answer = service.get("uptime-status/web-1?time_range_hours=2", &token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    fits("UptimeStatusResponse", &answer.body);
    assert_eq!(answer.body["uptime_percentage"], 90.0);
    assert_eq!(answer.body["total_downtime_minutes"], 6.0);
    assert_eq!(answer.body["confidence_level"], 0.5);
    assert_eq!(answer.body["mttr_minutes"], 6.0);
    assert_eq!(answer.body["sla_breach_risk"], "breached");
    assert_eq!(answer.body["health_assessment"]["components"]["cpu"], "critical");
    assert_eq!(answer.body["downtime_periods"][0]["cause"], "silent");

    let answer = service.get("uptime-summary/web-1?time_range_hours=48", &token).await;
    fits("UptimeSummaryResponse", &answer.body);
    assert_eq!(answer.body["total_downtime_duration"], "PT6M");
    assert_eq!(answer.body["incident_breakdown"], json!({"silent": 1}));

    for kind in ["full", "quick", "component", "basic", "comprehensive", "predictive"] {
        let body = json!({"target_id": "web-1", "target_type": "agent", "assessment_type": kind});
        let answer = service.post("health-check", &token, &body).await;
        assert_eq!(answer.status, 200, "{kind} {}", answer.body);
        fits("HealthStatusResponse", &answer.body);
    }
    let body = json!({"target_id": "db-1", "target_type": "system", "components": ["pool", "tape"]});
    let answer = service.post("health-check", &token, &body).await;
    fits("HealthStatusResponse", &answer.body);
    assert_eq!(answer.body["health_assessment"]["components"], json!({"pool": "degraded", "tape": "unknown"}));

    let answer = service.get("health", &token).await;
    for field in ["service", "status", "version", "timestamp", "database_status", "processing_queue_status"] {
        assert!(answer.body[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn the_dashboard_and_a_batch_fit_the_contract() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    service.post("system-metrics", &token, &system("db-1")).await;
    let body = json!({
        "query_id": "q", "query_type": "overview", "aggregation_window": "1m",
        "time_range": {"start_time": at(-60 * MINUTE), "end_time": at(MINUTE)},
    });
    let answer = service.post("dashboard", &token, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    fits("TelemetryDashboardData", &answer.body);
    assert_eq!(answer.body["total_data_points"], 5);
    assert_eq!(answer.body["alert_summary"], json!({"critical": 1}));
    assert_eq!(answer.body["agent_summary"]["total"], 1);
    assert_eq!(answer.body["system_summary"]["total"], 1);
    assert_eq!(answer.body["cache_hit_ratio"], 0.5, "nobody evaluates the system");

    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1"), {"agent_info": 1}, beat("web-2")],
        "metrics": [system("db-1"), {"system_id": "db-2"}],
    });
    let answer = service.post("batch", &token, &batch).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    fits("TelemetryIngestionResult", &answer.body);
    assert_eq!([&answer.body["processed_heartbeats"], &answer.body["failed_heartbeats"]], [&json!(2), &json!(1)]);
    assert_eq!([&answer.body["processed_metrics"], &answer.body["failed_metrics"]], [&json!(2), &json!(1)]);
    let errors = answer.body["validation_errors"].to_string();
    assert!(errors.contains("heartbeats.1: health_status: Field required"), "{errors}");
    assert!(errors.contains("metrics.1 (db-2): timestamp: Field required"), "{errors}");
}

/// A value of which [`with`] makes a field that is not there.
fn absent() -> Value {
    json!("<absent>")
}

/// Values of fields of a heartbeat, and the problem that each is.
fn heartbeat_fields() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let long = |length: usize| json!("é".repeat(length));
    vec![
        ("/cpu_usage_percent", json!(0), None),
        ("/cpu_usage_percent", json!(100), None),
        ("/cpu_usage_percent", json!(100.1), Some("less_than_equal")),
        ("/cpu_usage_percent", json!(-0.1), Some("greater_than_equal")),
        ("/cpu_usage_percent", json!("50"), Some("float_type")),
        ("/cpu_usage_percent", json!(true), Some("float_type")),
        ("/cpu_usage_percent", json!(null), None),
        ("/cpu_usage_percent", absent(), None),
        ("/memory_usage_mb", json!(1e300), None),
        ("/request_count", json!(5.0), None),
        ("/request_count", json!(5.5), Some("int_from_float")),
        ("/request_count", json!(-1), Some("greater_than_equal")),
        ("/heartbeat_interval_ms", json!(1000), None),
        ("/heartbeat_interval_ms", json!(999), Some("greater_than_equal")),
        ("/heartbeat_interval_ms", json!(null), Some("int_type")),
        ("/heartbeat_interval_ms", json!(u64::MAX), None),
        ("/health_status", json!("maintenance"), None),
        ("/health_status", json!("fine"), Some("enum")),
        ("/health_status", absent(), Some("missing")),
        ("/timestamp", json!(at(-10 * MINUTE)), None),
        ("/timestamp", json!(at(-10 * MINUTE - 1)), Some("value_error")),
        ("/timestamp", json!(at(11 * MINUTE)), Some("value_error")),
        ("/timestamp", json!(at(10 * MINUTE)), None),
        ("/timestamp", json!(at(10 * MINUTE + 1)), Some("value_error")),
        ("/timestamp", json!("9999-12-31T23:59:59Z"), Some("value_error")),
        ("/timestamp", json!("0001-01-01T00:00:00Z"), Some("value_error")),
        ("/timestamp", json!("yesterday"), Some("datetime_parsing")),
        ("/timestamp", json!(1_770_000_000), Some("datetime_type")),
        ("/timestamp", absent(), Some("missing")),
        ("/agent_info/agent_id", json!(""), Some("string_too_short")),
        ("/agent_info/agent_id", long(100), None),
        ("/agent_info/agent_id", long(101), Some("string_too_long")),
        ("/agent_info/agent_id", json!(5), Some("string_type")),
        ("/agent_info/agent_id", json!("web-1\u{0}"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("web-1\n"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("\u{202e}1-bew"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!(" "), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("web-1 "), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!(".."), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("Übung 7/b"), None),
        ("/agent_info/agent_id", json!("../%2e?#"), None),
        ("/agent_info/agent_name", json!(null), None),
        ("/agent_info/agent_version", json!(null), Some("string_type")),
        ("/agent_info", json!([]), Some("dict_type")),
        ("/status_details", json!({"any": [1]}), None),
        ("/status_details", json!([]), Some("dict_type")),
    ]
}

#[tokio::test]
async fn fields_of_a_heartbeat_at_their_bounds() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (pointer, value, expect) in heartbeat_fields() {
        let body = with(beat("bounds"), pointer, value.clone());
        let answer = service.post("heartbeat", &token, &body).await;
        match expect {
            None => assert_eq!(answer.status, 201, "{pointer} {value}: {}", answer.body),
            Some(kind) => {
                assert_eq!(answer.status, 422, "{pointer} {value}");
                let problem = &answer.body["detail"][0];
                assert_eq!(problem["type"], kind, "{pointer} {value}: {problem}");
                let mut loc = vec![json!("body")];
                loc.extend(pointer.split('/').skip(1).map(Value::from));
                assert_eq!(problem["loc"], Value::from(loc));
                assert!(problem["msg"].is_string() && problem.get("input").is_some());
            }
        }
    }
}

/// All of them at once.
#[tokio::test]
async fn problems_are_named_in_the_order_of_the_fields() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let answer = service.post("heartbeat", &token, &json!({"agent_info": {}, "cpu_usage_percent": 200})).await;
    let places: Vec<&Value> = answer.body["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["loc"].get(2).unwrap_or(&problem["loc"][1]))
        .collect();
    let fields = ["agent_id", "agent_version", "environment", "health_status", "timestamp", "cpu_usage_percent"];
    assert_eq!(places, fields, "{}", answer.body);
}

/// But for the age of a time, which depends on the clock.
#[test]
fn the_schema_of_a_heartbeat_says_what_the_check_does() {
    let document = document();
    let schema = within(&document, &document["components"]["schemas"]["HeartbeatRequest"]);
    for (pointer, value, expect) in heartbeat_fields() {
        let wrong = violations(&schema, &with(beat("bounds"), pointer, value.clone()));
        assert_eq!(wrong.is_empty(), matches!(expect, None | Some("value_error")), "{pointer} {value}: {wrong:?}");
    }
}

#[tokio::test]
async fn fields_of_measurements_at_their_bounds() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (pointer, value, expect) in [
        ("/metrics", json!([]), "too_short"),
        ("/metrics", json!({}), "list_type"),
        ("/metrics/0/metric_type", json!("cpu"), "enum"),
        ("/metrics/0/value", json!("1"), "float_type"),
        ("/metrics/0/unit", absent(), "missing"),
        ("/metrics/0/tags", json!([1]), "string_type"),
        ("/metrics/1/metric_name", json!("cpu"), "value_error"),
        ("/metrics/0/metric_name", json!("cpu\u{7}"), "string_pattern_mismatch"),
        ("/metrics/0/metric_name", json!(""), "string_too_short"),
        ("/collection_interval_ms", json!(0), "greater_than_equal"),
        ("/collection_interval_ms", json!(999), "greater_than_equal"),
        ("/timestamp", json!(at(24 * 60 * MINUTE + 1)), "value_error"),
        ("/timestamp", json!("9999-12-31T23:59:59Z"), "value_error"),
        ("/timestamp", json!("1969-12-31T23:59:59Z"), "value_error"),
        // Past the retention of samples: 90 days, and what is left of the day.
        ("/timestamp", json!(at(-91 * 24 * 60 * MINUTE)), "value_error"),
        ("/metrics/0/timestamp", json!(at(24 * 60 * MINUTE + 1)), "value_error"),
    ] {
        let answer = service.post("system-metrics", &token, &with(system("b"), pointer, value)).await;
        assert_eq!((answer.status, &answer.body["detail"][0]["type"]), (422, &json!(expect)), "{pointer}");
    }
    for (pointer, value) in [
        ("/timestamp", json!(at(24 * 60 * MINUTE))),
        ("/timestamp", json!(at(-90 * 24 * 60 * MINUTE))),
        ("/metrics/0/timestamp", json!(null)),
        ("/collection_interval_ms", json!(1000)),
    ] {
        let answer = service.post("system-metrics", &token, &with(system("b"), pointer, value)).await;
        assert_eq!(answer.status, 201, "{pointer}: {}", answer.body);
    }
    // One metric that is too old fails alone.
    let old = with(system("b"), "/metrics/0/timestamp", json!(at(-91 * 24 * 60 * MINUTE)));
    let answer = service.post("system-metrics", &token, &old).await;
    assert_eq!((answer.status, &answer.body["metrics_processed"]), (201, &json!(1)), "{}", answer.body);
    assert!(answer.body["validation_errors"].to_string().contains("retention"), "{}", answer.body);
}

#[tokio::test]
async fn what_the_schemas_leave_open_is_taken() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("bounds")).await;
    // Any text is a time zone, a type of target, a checksum.
    let range = json!({"start_time": at(-MINUTE), "end_time": at(0), "timezone": "Mars/Olympus"});
    let check = json!({"target_id": "bounds", "target_type": "robot", "time_range": range});
    assert_eq!(service.post("health-check", &token, &check).await.status, 200);
    let batch = json!({"batch_id": "b", "batch_timestamp": at(0), "source_system": "s", "checksum": "md5:none of this", "heartbeats": [beat("b")]});
    assert_eq!(service.post("batch", &token, &batch).await.status, 202);
}

#[tokio::test]
async fn parameters_at_their_bounds() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for id in ["bounds", "../%2e?#"] {
        assert_eq!(service.post("heartbeat", &token, &beat(id)).await.status, 201);
    }
    for (path, expect) in [
        ("uptime-status/bounds?time_range_hours=1", 200),
        ("uptime-status/bounds?time_range_hours=8760", 200),
        ("uptime-status/bounds?time_range_hours=0", 422),
        ("uptime-status/bounds?time_range_hours=8761", 422),
        ("uptime-status/bounds?time_range_hours=day", 422),
        ("uptime-status/nobody", 404),
        ("uptime-status/..%2F%252e%3F%23", 200),
        ("uptime-status/%20", 422),
        ("uptime-status/%2E%2E", 422),
        ("uptime-status/%ff", 422),
        ("uptime-status/a%00b", 422),
        ("uptime-summary/%E2%80%AEb", 422),
        ("series", 422),
        ("series/99999/samples", 404),
        ("series/x/samples", 404),
        ("series/0/samples?step=0s", 422),
        ("series/0/samples?aggregation=mean", 200),
        ("series/0/samples?aggregation=median&step=1m", 422),
        ("series/0/samples?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", 422),
        ("verdicts?kind=guess", 422),
        ("alerts?limit=0", 422),
        ("nothing", 404),
    ] {
        let answer = service.get(path, &token).await;
        assert_eq!(answer.status, expect, "{path}: {}", answer.body);
        assert!(expect == 200 || answer.body.get("detail").is_some(), "{path}: {}", answer.body);
    }
    let long = format!("uptime-status/{}", "a".repeat(101));
    assert_eq!(service.get(&long, &token).await.body["detail"][0]["loc"], json!(["path", "agent_id"]));
    assert_eq!(service.send("DELETE", "/api/v1/telemetry/agents", &token, "").await.status, 405);
    let check = json!({"target_id": "bounds", "target_type": "agent", "assessment_type": "guess"});
    assert_eq!(service.post("health-check", &token, &check).await.status, 422);
}
