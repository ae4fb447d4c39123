//! What answers say: percentages within their bounds, nothing made up of what is unknown, counts that add up, and no request
//! that is half understood.

use super::{
    DAY, MINUTE, NOW, Service, at, beat, contract, document, fits, known, lived, operations, system, violations, with,
    written,
};
use crate::expose::{ExposeConfig, IntakeError};
use serde_json::{Value, json};
use std::time::Duration;
use vitals_core::availability::{Interval, State};
use vitals_core::ids::UnixNanos;
use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::verdict::{Alert, Severity};

const HOUR: i64 = 60 * MINUTE;

#[tokio::test]
async fn all_of_the_time_is_exactly_one_hundred_percent() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    // Lengths of which 100 * x / x is not 100.
    let odd = |above: bool| {
        let lengths = (1..10_000).map(|more| 120 * HOUR + more * 7_777_777_777);
        let mut lengths = lengths.filter(|&x| {
            let rounded = 100.0 * x as f64 / x as f64;
            if above { rounded > 100.0 } else { rounded < 100.0 }
        });
        lengths.next().unwrap_or(0)
    };
    let lengths: Vec<i64> = [true, false].map(odd).into_iter().filter(|&length| length > 0).collect();
    assert_eq!(lengths.len(), 2);
    for (at, length) in lengths.into_iter().enumerate() {
        let key = format!("whole-{at}");
        let agent = known(&service, &key, None);
        let up = Interval { start: NOW.plus(-length), end: None, state: State::Up };
        service.store.intervals.lock().push((agent, up));
        let status = service.get(&format!("uptime-status/{key}?time_range_hours=8760"), &token).await.body;
        fits("UptimeStatusResponse", &status);
        let summary = service.get(&format!("uptime-summary/{key}?time_range_hours=8760"), &token).await.body;
        fits("UptimeSummaryResponse", &summary);
        for percent in [
            &status["uptime_percentage"],
            &status["health_assessment"]["uptime_percentage"],
            &summary["overall_uptime_percentage"],
        ] {
            assert_eq!(percent, &json!(100.0), "{length}");
        }
        assert_eq!(status["sla_compliance"], true);
    }
}

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
    service.judge.board.reported(agent, NOW.plus(-5 * MINUTE));
    service.judge.board.reported(agent, NOW.plus(-6 * MINUTE));
    assert_eq!(last(&service).await, at(-5 * MINUTE), "measurements of others count");
    // A heartbeat is newer; its own time does not matter.
    service.judge.board.reported(agent, NOW.plus(-MINUTE));
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
        service.store.alerts.lock().push(Alert {
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
        });
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
    let rows = (1..=36_000).map(|second| second * UnixNanos::SECOND).map(|ago| (id.0, NOW.plus(-ago), value(ago)));
    service.store.samples.lock().extend(rows);
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
async fn what_is_not_done_in_time_fails_with_a_reason() {
    let service = Service::with(ExposeConfig { request_seconds: 1, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    *service.judge.stall.lock() = true;
    let mut batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1")], "metrics": [system("db-1")],
    });
    let answer = service.post("batch", &token, &batch).await;
    assert_eq!((answer.status, &answer.body["success"]), (202, &json!(true)), "{}", answer.body);
    assert_eq!((&answer.body["processed_heartbeats"], &answer.body["failed_metrics"]), (&json!(1), &json!(2)));
    assert_eq!(answer.body["processing_errors"], json!(["metrics.0 (db-1): it was not done in time, send it again"]));
    batch["heartbeats"] = json!([]);
    assert_eq!(service.post("batch", &token, &batch).await.status, 503, "all of it may be sent again");
    // One that is refused for overload is no reason to refuse the others.
    *service.judge.stall.lock() = false;
    *service.judge.refuse.lock() = Some(IntakeError::Overloaded { retry_after: Duration::from_secs(7) });
    assert_eq!(service.post("batch", &token, &batch).await.status, 429);
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

/// A request of each route of the document that is answered with success, for an agent web-1 with an alert. Streams do not
/// end, and have tests of their own.
fn requests(alert: &str) -> Vec<(String, String, String)> {
    let all = operations(&document());
    let fill = |path: String| {
        path.replace("{agent_id}", "web-1")
            .replace("{target_id}", "web-1")
            .replace("alerts/{id}", &format!("alerts/{alert}"))
            .replace("series/{id}", "series/0")
    };
    let body = |operation: &Value| {
        let example = operation["requestBody"]["content"]["application/json"].get("example");
        // The times are those at which the examples were written.
        example.map(|example| example.to_string().replace("2026-03-01T11:59:58Z", &at(0))).unwrap_or_default()
    };
    let ends = all.into_iter().filter(|(_, _, operation)| operation["tags"][0] != "stream");
    ends.map(|(path, method, operation)| (method, fill(path), body(&operation))).collect()
}

#[tokio::test]
async fn a_parameter_that_is_unknown_or_comes_twice_is_refused() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let alert = service.store.alerts.lock()[0].id.clone();
    let requests = requests(&alert);
    assert_eq!(requests.len(), 18);
    for (method, path, body) in requests {
        for (query, name) in [("nonsense=1", "nonsense"), ("limitt=5&=", "limitt"), ("%E2%82%AC", "\u{20ac}")] {
            let answer = service.send(&method, &format!("{path}?{query}"), &token, &body).await;
            assert_eq!(answer.status, 422, "{method} {path}?{query}: {}", answer.body);
            let problem = &answer.body["detail"][0];
            assert_eq!(
                (&problem["type"], &problem["loc"]),
                (&json!("extra_forbidden"), &json!(["query", name])),
                "{path}"
            );
        }
        let needed = if path.ends_with("/series") { "agent=web-1" } else { "" };
        let answer = service.send(&method, &format!("{path}?{needed}"), &token, &body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
    }
    for (path, name) in [
        ("agents?limit=1&limit=2", "limit"),
        ("series?agent=web-1&agent=web-1", "agent"),
        ("uptime-status/web-1?time_range_hours=1&time_range_hours=2", "time_range_hours"),
    ] {
        let answer = service.get(path, &token).await;
        assert_eq!((answer.status, &answer.body["detail"][0]["loc"]), (422, &json!(["query", name])), "{path}");
    }
    // Who has no token learns nothing of parameters.
    assert_eq!(service.send("GET", "/api/v1/telemetry/agents?nonsense=1", "", "").await.status, 401);
}

#[tokio::test]
async fn a_slash_at_the_end_means_the_same_route() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let alert = service.store.alerts.lock()[0].id.clone();
    for (method, path, body) in requests(&alert) {
        let needed = if path.ends_with("/series") { "?agent=web-1" } else { "" };
        let answer = service.send(&method, &format!("{path}/{needed}"), &token, &body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}/: {} {}", answer.status, answer.body);
        let other = if method == "GET" { "DELETE" } else { "PUT" };
        for path in [path.clone(), format!("{path}/")] {
            let answer = service.send(other, &path, &token, "").await;
            assert_eq!(answer.status, 405, "{other} {path}");
            assert!(answer.header("allow").is_some_and(|allowed| allowed.contains(&*method)), "{}", answer.headers);
            assert!(answer.body["detail"].is_string(), "{other} {path}: {}", answer.body);
        }
        let answer = service.send(&method, &format!("{path}//"), &token, &body).await;
        assert_eq!((answer.status, answer.body["detail"].is_string()), (404, true), "{method} {path}//");
    }
    for path in ["/api/v1/telemetry", "/api/v1/telemetry/", "/api/v1/telemetry/agents/x/y", "/API/v1/telemetry/agents"]
    {
        let answer = service.send("GET", path, &token, "").await;
        assert_eq!((answer.status, answer.body["detail"].is_string()), (404, true), "{path}: {}", answer.body);
    }
    let answer = service.send("HEAD", "/api/v1/telemetry/agents", &token, "").await;
    assert_eq!((answer.status, &answer.body), (200, &json!("")));
}

#[tokio::test]
async fn what_is_no_json_and_what_is_too_long_is_refused() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let good = beat("web-1").to_string();
    for (media, body, status) in [
        ("application/json", &*good, 201),
        ("application/json; charset=utf-8", &*good, 201),
        ("text/plain", &*good, 422),
        ("application/x-www-form-urlencoded", "a=b", 422),
        ("application/json", "a=b", 422),
        ("application/json", "", 422),
        ("application/json", "{\"a\": NaN}", 422),
    ] {
        let request = format!(
            "POST /api/v1/telemetry/heartbeat HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {media}\r\n\
             authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = service.raw(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{media} {body}: {}", answer.body);
        assert!(status == 201 || answer.body["detail"][0]["type"] == "json_invalid", "{media}: {}", answer.body);
    }
    for (hours, status) in [(8_760, 200), (8_761, 422)] {
        let range = json!({"start_time": at(-hours * HOUR), "end_time": at(0)});
        let body = json!({"target_id": "web-1", "target_type": "agent", "time_range": range});
        assert_eq!(service.post("health-check", &token, &body).await.status, status, "{hours}");
        let body = json!({"query_id": "q", "query_type": "t", "aggregation_window": "1d", "time_range": range});
        assert_eq!(service.post("dashboard", &token, &body).await.status, status, "{hours}");
        assert_eq!(service.get(&format!("uptime-summary/web-1?time_range_hours={hours}"), &token).await.status, status);
    }
    let range = json!({"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59Z"});
    let body = json!({"target_id": "web-1", "target_type": "agent", "time_range": range});
    assert_eq!(service.post("health-check", &token, &body).await.status, 422);
}

#[test]
fn the_examples_have_the_times_of_now() {
    let later = 40 * DAY + 13 * HOUR + 5 * UnixNanos::SECOND;
    let (then, now) = (document(), super::super::docs::document(written().plus(later)).0);
    let example = |document: &Value, path: &str, status: &str| {
        document["paths"][format!("/api/v1/telemetry/{path}")]["get"]["responses"][status]["content"]["application/json"]["example"]
            .clone()
    };
    let beat = |document: &Value| {
        let post = &document["paths"]["/api/v1/telemetry/heartbeat"]["post"];
        post["requestBody"]["content"]["application/json"]["example"]["timestamp"].clone()
    };
    assert_eq!((beat(&then), beat(&now)), (json!("2026-03-01T11:59:58Z"), json!("2026-04-11T01:00:03Z")));
    let days = |document: &Value| {
        let summary = example(document, "uptime-summary/{target_id}", "200");
        summary["daily_uptime"].as_array().unwrap().iter().map(|day| day["date"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (days(&then), days(&now)),
        (vec![json!("2026-02-28"), json!("2026-03-01")], vec![json!("2026-04-10"), json!("2026-04-11")])
    );
    assert!(!now.to_string().contains("2026-03-01"), "a time that stayed behind");
    // Everything else is as it was.
    assert_eq!(then.to_string().len(), now.to_string().len());
}
