//! Every rule of the REST contract that shows at the port, at its boundary values, with the default configuration.
//!
//! What needs a clock that stands still (the age of a heartbeat, uptime and what follows from it) is in
//! `src/expose/rest/tests/`; the formulas by themselves are tested in `core/src/rules`.

use crate::service::{Client, local, start};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use vitals::pipeline::Service;

/// A new name, so that no case sees what another left.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn ago(seconds: f64) -> String {
    (jiff::Timestamp::now() - Duration::from_secs_f64(seconds)).to_string()
}

/// A heartbeat of `agent` with nothing optional but `fields`.
fn beat(agent: &str, fields: &Value) -> Value {
    let mut beat = json!({
        "agent_info": {"agent_id": agent, "agent_version": "1", "environment": "test"},
        "health_status": "healthy",
        "timestamp": ago(1.0),
    });
    for (key, value) in fields.as_object().expect("an object") {
        match key.as_str() {
            "geographic_location" | "availability_zone" => beat["agent_info"][key] = value.clone(),
            _ => beat[key] = value.clone(),
        }
    }
    beat
}

/// Measurements of `system`, one metric.
fn measured(system: &str, seconds_ago: f64, metric: &Value) -> Value {
    json!({
        "system_id": system, "timestamp": ago(seconds_ago), "environment": "test", "collection_method": "push",
        "metrics": [metric],
    })
}

async fn with_service(test: impl AsyncFnOnce(&Client, &Service)) {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    test(&Client::of(&service, None, None), &service).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_heartbeat_amounts_to() {
    with_service(async |client, _| {
        for (rule, fields, score, health) in [
            ("absent fields deduct nothing", json!({}), 100.0, "healthy"),
            ("CPU over 80", json!({"cpu_usage_percent": 80}), 100.0, "healthy"),
            ("CPU over 80", json!({"cpu_usage_percent": 80.01}), 85.0, "degraded"),
            ("CPU over 95", json!({"cpu_usage_percent": 95}), 85.0, "degraded"),
            ("CPU over 95", json!({"cpu_usage_percent": 95.01}), 70.0, "critical"),
            ("memory over 85 % of 8192 MB", json!({"memory_usage_mb": 6963.2}), 100.0, "healthy"),
            ("memory over 85 % of 8192 MB", json!({"memory_usage_mb": 6963.3}), 90.0, "degraded"),
            ("memory over 95 % of 8192 MB", json!({"memory_usage_mb": 7782.4}), 90.0, "degraded"),
            ("memory over 95 % of 8192 MB", json!({"memory_usage_mb": 7782.5}), 75.0, "critical"),
            ("latency over 1000 ms", json!({"network_latency_ms": 1000}), 100.0, "healthy"),
            ("latency over 1000 ms", json!({"network_latency_ms": 1000.1}), 80.0, "degraded"),
            ("errors over 5 %", json!({"request_count": 1000, "error_count": 50}), 100.0, "healthy"),
            ("errors over 5 %", json!({"request_count": 1000, "error_count": 51}), 90.0, "degraded"),
            ("errors over 10 %", json!({"request_count": 1000, "error_count": 100}), 90.0, "degraded"),
            ("errors over 10 %", json!({"request_count": 1000, "error_count": 101}), 75.0, "critical"),
            ("no requests, no rate", json!({"request_count": 0, "error_count": 9}), 100.0, "healthy"),
            ("the worst status wins", json!({"cpu_usage_percent": 96, "network_latency_ms": 2000}), 50.0, "critical"),
            (
                "never below 0",
                json!({
                    "cpu_usage_percent": 100, "memory_usage_mb": 9000, "network_latency_ms": 2000,
                    "request_count": 10, "error_count": 10,
                }),
                0.0,
                "critical",
            ),
        ] {
            let (status, answer) = client.post("/heartbeat", &beat(&fresh("score"), &fields)).await;
            assert_eq!(status, 201, "{rule}: {answer}");
            let found = (answer["health_score"].as_f64(), answer["calculated_health"].as_str());
            assert_eq!(found, (Some(score), Some(health)), "{rule}: {fields}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_and_quality_of_a_heartbeat() {
    with_service(async |client, _| {
        for (rule, fields, advice) in [
            ("CPU over 80", json!({"cpu_usage_percent": 80}), None),
            ("CPU over 80", json!({"cpu_usage_percent": 80.1}), Some("CPU is at 80.1 %")),
            ("memory over 6000 MB", json!({"memory_usage_mb": 6000}), None),
            ("memory over 6000 MB", json!({"memory_usage_mb": 6001}), Some("6001 MB of memory")),
            ("answers over 1000 ms", json!({"response_time_ms": 1000}), None),
            ("answers over 1000 ms", json!({"response_time_ms": 1001}), Some("Answers take 1001 ms")),
            ("errors over 5 %", json!({"request_count": 100, "error_count": 5}), None),
            ("errors over 5 %", json!({"request_count": 100, "error_count": 6}), Some("6.0 % of requests fail")),
        ] {
            let (_, answer) = client.post("/heartbeat", &beat(&fresh("advice"), &fields)).await;
            let found = answer["recommendations"][0].as_str();
            assert_eq!(found.is_some(), advice.is_some(), "{rule}: {fields}: {answer}");
            assert!(found.unwrap_or_default().starts_with(advice.unwrap_or_default()), "{rule}: {answer}");
        }
        let optional = [
            ("cpu_usage_percent", json!(1)),
            ("memory_usage_mb", json!(1)),
            ("disk_usage_percent", json!(1)),
            ("network_latency_ms", json!(1)),
            ("bandwidth_usage_mbps", json!(1)),
            ("packet_loss_percent", json!(0)),
            ("active_connections", json!(0)),
            ("request_count", json!(0)),
            ("error_count", json!(0)),
            ("response_time_ms", json!(1)),
            ("geographic_location", json!("eu")),
            ("availability_zone", json!("eu-1")),
        ];
        for count in 0..=optional.len() {
            let fields: serde_json::Map<String, Value> =
                optional[..count].iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            let (_, answer) = client.post("/heartbeat", &beat(&fresh("quality"), &Value::Object(fields))).await;
            assert_eq!(
                answer["data_quality_score"].as_f64(),
                Some(count as f64 / 12.0),
                "the share of twelve: {count}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_follow_the_gaps() {
    with_service(async |client, _| {
        for (rule, seconds, timeout) in [
            ("the first: three intervals", &[0.0][..], 3_000),
            ("not under two intervals", &[0.0, 1.0][..], 2_000),
            ("the mean of the gaps", &[0.0, 3.5][..], 3_500),
            ("not over five intervals", &[0.0, 5.1][..], 5_000),
            // Gaps 1 and 2: mean 1.5, sample standard deviation 0.7071.
            ("two deviations above the mean", &[0.0, 1.0, 3.0][..], 2_914),
        ] {
            let agent = fresh("timeout");
            let first = jiff::Timestamp::now() - Duration::from_secs(60);
            let mut answer = Value::Null;
            let mut last = first;
            for after in seconds {
                last = first + Duration::from_secs_f64(*after);
                let fields = json!({"timestamp": last.to_string(), "heartbeat_interval_ms": 1000});
                answer = client.post("/heartbeat", &beat(&agent, &fields)).await.1;
            }
            assert_eq!(answer["adaptive_timeout_ms"], timeout, "{rule}");
            let next = (last + Duration::from_secs(1)).to_string();
            assert_eq!(answer["next_expected_heartbeat"], next, "timestamp and interval");
        }
        let (_, answer) = client.post("/heartbeat", &beat(&fresh("interval"), &json!({}))).await;
        assert_eq!(answer["adaptive_timeout_ms"], 90_000, "an interval of 30 s unless declared");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_breached_at_their_bounds() {
    let severities = |answer: &Value| -> Vec<String> {
        let alerts = answer["alerts_generated"].as_array().expect("a list");
        alerts.iter().map(|alert| alert["severity"].as_str().expect("a name").to_owned()).collect()
    };
    with_service(async |client, _| {
        for (field, value, expect) in [
            ("cpu_usage_percent", 79.99, None),
            ("cpu_usage_percent", 80.0, Some("warning")),
            ("cpu_usage_percent", 94.99, Some("warning")),
            ("cpu_usage_percent", 95.0, Some("critical")),
            ("response_time_ms", 1_999.99, None),
            ("response_time_ms", 2_000.0, Some("warning")),
            ("response_time_ms", 4_999.99, Some("warning")),
            ("response_time_ms", 5_000.0, Some("critical")),
            // A heartbeat raises alerts for CPU and response time only.
            ("memory_usage_mb", 8_192.0, None),
            ("disk_usage_percent", 99.0, None),
        ] {
            let (_, answer) = client.post("/heartbeat", &beat(&fresh("alert"), &json!({ field: value }))).await;
            assert_eq!(severities(&answer), Vec::from_iter(expect), "{field} {value}: {answer}");
        }
        for (kind, unit, value, expect) in [
            ("cpu_usage", "%", 79.99, None),
            ("cpu_usage", "percent", 80.0, Some("warning")),
            ("cpu_usage", "%", 94.99, Some("warning")),
            ("cpu_usage", "%", 95.0, Some("critical")),
            ("memory_usage", "%", 84.99, None),
            ("memory_usage", "%", 85.0, Some("warning")),
            ("memory_usage", "%", 94.99, Some("warning")),
            ("memory_usage", "%", 95.0, Some("critical")),
            ("disk_usage", "%", 84.99, None),
            ("disk_usage", "%", 85.0, Some("warning")),
            ("disk_usage", "%", 95.0, Some("critical")),
            ("response_time", "ms", 1_999.99, None),
            ("response_time", "ms", 2_000.0, Some("warning")),
            ("response_time", "s", 5.0, Some("critical")),
            ("response_time", "Seconds", 1.99, None),
            ("response_time", "seconds", 2.0, Some("warning")),
            ("response_time", "msec", 5_000.0, Some("critical")),
            ("cpu_usage", "Percentage", 95.0, Some("critical")),
            ("cpu_usage", "ratio", 0.8, Some("warning")),
            ("memory_usage", "PCT", 85.0, Some("warning")),
            ("disk_usage", "per cent", 95.0, Some("critical")),
            // An amount without a known total is not judged.
            ("disk_usage", "MB", 1e6, None),
            ("custom", "%", 100.0, None),
        ] {
            let metric = json!({"metric_name": "m", "metric_type": kind, "value": value, "unit": unit});
            let (status, answer) = client.post("/system-metrics", &measured(&fresh("system"), 1.0, &metric)).await;
            assert_eq!(status, 201, "{answer}");
            assert_eq!(severities(&answer), Vec::from_iter(expect), "{kind} {unit} {value}: {answer}");
            let breached = if expect.is_some() { json!(["m"]) } else { json!([]) };
            assert_eq!(answer["thresholds_breached"], breached, "{kind} {unit} {value}");
            let messages = answer["threshold_messages"].as_array().expect("a list").len();
            assert_eq!(messages, usize::from(expect.is_some()), "{kind} {unit} {value}");
            for alert in answer["alerts_generated"].as_array().expect("a list") {
                assert_eq!((&alert["source"], &alert["alert_type"]), (&answer["system_id"], &json!(kind)), "{alert}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outliers_and_quality_of_metrics() {
    with_service(async |client, _| {
        // 1 to 10, quartiles by the exclusive method: 2.75 and 8.25; fences -5.5 and 16.5.
        for (before, value, outlier) in
            [(9, 1_000.0, false), (10, 16.5, false), (10, 16.51, true), (10, -5.5, false), (10, -5.51, true)]
        {
            let system = fresh("outlier");
            let rows = |count: i32, value: &dyn Fn(i32) -> f64| -> Vec<Value> {
                let row =
                    |at: i32| json!({"metric_name": "m", "metric_type": "custom", "value": value(at), "unit": "1"});
                (1..=count).map(|at| measured(&system, 60.0 - f64::from(at), &row(at))).collect()
            };
            let batch = json!({
                "batch_id": "b", "batch_timestamp": ago(0.0), "source_system": "s", "metrics": rows(before, &f64::from),
            });
            let (status, answer) = client.post("/batch", &batch).await;
            assert_eq!((status, &answer["processed_metrics"]), (202, &json!(before)), "{answer}");
            let metric = json!({"metric_name": "m", "metric_type": "custom", "value": value, "unit": "1"});
            let (_, answer) = client.post("/system-metrics", &measured(&system, 1.0, &metric)).await;
            let expect = if outlier { json!(["m"]) } else { json!([]) };
            assert_eq!(answer["outliers_detected"], expect, "{value} after {before}");
            // Another dimension is another series.
            let metric = json!({
                "metric_name": "m", "metric_type": "custom", "value": 1e6, "unit": "1", "dimensions": {"disk": "b"},
            });
            let (_, answer) = client.post("/system-metrics", &measured(&system, 1.0, &metric)).await;
            assert_eq!(answer["outliers_detected"], json!([]), "too few values of its own");
        }
        for (rule, kind, value, seconds_ago, quality) in [
            ("as it should be", "custom", -1.0, None, 1.0),
            ("CPU within 0..100", "cpu_usage", 100.0, None, 1.0),
            ("CPU outside 0..100", "cpu_usage", 100.01, None, 0.5),
            ("CPU outside 0..100", "cpu_usage", -0.01, None, 0.5),
            ("memory not negative", "memory_usage", 0.0, None, 1.0),
            ("memory negative", "memory_usage", -0.01, None, 0.7),
            ("its own time under an hour ago", "custom", 1.0, Some(3_590.0), 1.0),
            ("its own time over an hour ago", "custom", 1.0, Some(3_601.0), 0.8),
        ] {
            let mut metric = json!({"metric_name": "m", "metric_type": kind, "value": value, "unit": "x"});
            if let Some(seconds) = seconds_ago {
                metric["timestamp"] = ago(seconds).into();
            }
            let (_, answer) = client.post("/system-metrics", &measured(&fresh("quality"), 1.0, &metric)).await;
            assert_eq!(answer["data_quality_scores"]["m"].as_f64(), Some(quality), "{rule}: {answer}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_any_offset_are_answered_in_utc() {
    with_service(async |client, _| {
        let moment = jiff::Timestamp::now() - Duration::from_secs(5);
        let at = |offset: i32, zone: &str| {
            let shifted = moment + jiff::SignedDuration::from_mins(i64::from(offset));
            shifted.to_string().replace('Z', zone)
        };
        let expect = (moment + Duration::from_secs(30)).to_string();
        for time in [at(0, "Z"), at(0, ""), at(0, "+00:00"), at(330, "+05:30"), at(-720, "-12:00"), at(0, "z")] {
            let (status, answer) =
                client.post("/heartbeat", &beat(&fresh("time"), &json!({ "timestamp": time }))).await;
            assert_eq!((status, &answer["next_expected_heartbeat"]), (201, &json!(expect)), "{time}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shape_of_the_contract() {
    with_service(async |client, service| {
        let narrow = Client::of(service, None, Some(&["web-*"]));
        let token = |client: &Client| format!("Bearer {}", client.token);
        let good = beat("web-1", &json!({})).to_string();
        let heartbeats = |count: usize| {
            json!({
                "batch_id": "b", "batch_timestamp": ago(0.0), "source_system": "s", "heartbeats": vec![json!({}); count],
            })
            .to_string()
        };
        let long = " ".repeat(10 * 1024 * 1024 + 1);
        let json_type = Some("application/json");
        for (status, method, path, token, media, body) in [
            (401, "POST", "/heartbeat", String::new(), json_type, good.clone()),
            (401, "POST", "/heartbeat", "Bearer a.b.c".to_owned(), json_type, good.clone()),
            (403, "POST", "/heartbeat", token(&narrow), json_type, good.replace("web-1", "db-1")),
            (404, "GET", "/uptime-status/nobody", token(client), None, String::new()),
            (404, "GET", "/nothing", token(client), None, String::new()),
            (405, "DELETE", "/heartbeat", token(client), None, String::new()),
            (413, "POST", "/batch", token(client), json_type, heartbeats(1_001)),
            (413, "POST", "/batch", token(client), json_type, long.clone()),
            (401, "POST", "/batch", String::new(), json_type, long),
            (422, "POST", "/heartbeat", token(client), Some("text/plain"), good.clone()),
            (422, "POST", "/heartbeat", token(client), json_type, "{".to_owned()),
            (422, "GET", "/uptime-status/web-1?time_range_hours=0", token(client), None, String::new()),
            (201, "POST", "/heartbeat", token(client), json_type, good.clone()),
            (201, "POST", "/heartbeat", token(client), None, good.clone()),
            (201, "POST", "/heartbeat", token(client), Some("application/vnd.x+json; charset=utf-8"), good),
            (202, "POST", "/batch", token(client), json_type, heartbeats(1_000)),
        ] {
            let place = format!("{method} {path} {status}");
            let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
            let mut request = client.http.request(method, format!("{}{path}", client.base)).body(body);
            request = request.header("x-correlation-id", "trace-7");
            if !token.is_empty() {
                request = request.header("authorization", token);
            }
            if let Some(media) = media {
                request = request.header("content-type", media);
            }
            let answer = request.send().await.unwrap_or_else(|error| panic!("{place}: {error}"));
            let headers = answer.headers().clone();
            assert_eq!(answer.status(), status, "{place}");
            assert_eq!(headers["x-correlation-id"], "trace-7", "{place}");
            let challenge = headers.get("www-authenticate").map(|value| value.to_str().expect("text"));
            assert_eq!(challenge, (status == 401).then_some("Bearer"), "{place}");
            let body: Value = answer.json().await.expect("JSON");
            match status {
                200..300 => {}
                405 => assert_eq!(headers["allow"], "POST", "{place}"),
                422 => {
                    for problem in body["detail"].as_array().expect("a list") {
                        assert!(problem["type"].is_string() && problem["msg"].is_string(), "{place}: {body}");
                        assert!(problem["loc"].is_array() && problem.get("input").is_some(), "{place}: {body}");
                    }
                }
                _ => assert!(body["detail"].is_string(), "{place}: {body}"),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_what_a_quota_refuses() {
    let data = tempfile::tempdir().expect("a folder");
    let mut config = local();
    config.quota.series = 3;
    let service = Service::start(config, data.path()).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    let metric = |name: &str| json!({"metric_name": name, "metric_type": "custom", "value": 1, "unit": "1"});
    let mut many = measured("db-1", 1.0, &metric("a"));
    many["metrics"] = ["a", "b", "c", "d", "e"].map(metric).into_iter().collect();
    let batch = |metrics: Value| json!({"batch_id": "b", "batch_timestamp": ago(0.0), "source_system": "s", "metrics": metrics});
    let later = measured("db-2", 1.0, &metric("f"));
    let (status, answer) = client.post("/batch", &batch(json!([many, later]))).await;
    assert_eq!((status, &answer["success"]), (202, &json!(true)), "{answer}");
    let counts = ["total_metrics", "processed_metrics", "failed_metrics"].map(|field| answer[field].as_u64());
    assert_eq!(counts, [Some(6), Some(3), Some(3)], "{answer}");
    let errors: Vec<&str> =
        answer["processing_errors"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for begin in ["metrics.0 (db-1): d: ", "metrics.0 (db-1): e: ", "metrics.1 (db-2): f: "] {
        assert!(errors.iter().any(|line| line.starts_with(begin) && line.contains("limit of 3 series")), "{errors:?}");
    }
    // None of it could be taken.
    let (status, answer) = client.post("/batch", &batch(json!([measured("db-2", 1.0, &metric("f"))]))).await;
    assert_eq!((status, &answer["success"]), (202, &json!(false)), "{answer}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_check_moves_with_what_arrives() {
    with_service(async |client, _| {
        let system = fresh("checked");
        let metric = json!({"metric_name": "m", "metric_type": "cpu_usage", "value": 1, "unit": "%"});
        let checked = async || {
            let (_, answer) = client.get(&format!("/uptime-status/{system}")).await;
            let text = answer["health_assessment"]["last_check"].as_str().expect("a time").to_owned();
            text.parse::<jiff::Timestamp>().expect("a time")
        };
        let mut before = None;
        // However old the measurements are.
        for age in [600.0, 0.0, 1_200.0] {
            let begun = jiff::Timestamp::now();
            assert_eq!(client.post("/system-metrics", &measured(&system, age, &metric)).await.0, 201);
            let last = checked().await;
            assert!(last >= begun && Some(last) > before, "{last} is before {begun}");
            before = Some(last);
        }
    })
    .await;
}
