//! What a token does not cover is not there.

use super::*;

#[tokio::test]
async fn tenants_and_agents_are_walls() {
    let service = Service::start().await;
    let owner = service.token(Some("a"), None, None);
    service.post("heartbeat", &owner, &beat("web-1")).await;
    service.post("system-metrics", &owner, &system("db-1")).await;
    let series = service.registry.series_of(service.registry.agent_by_key(&"a".into(), "web-1").unwrap().id)[0].id.0;
    let alert = service.first_alert().id;
    let stranger = service.token(Some("b"), None, None);
    let narrow = service.token(Some("a"), Some(&["db-*"]), None);
    let range = json!({"start_time": at(-MINUTE), "end_time": at(MINUTE)});
    let check = json!({"target_id": "web-1", "target_type": "agent"});
    let one = |method: &str, path: String, body: &Value| {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        (method.to_owned(), format!("/api/v1/telemetry/{path}"), body)
    };
    for (method, path, body) in [
        one("GET", "uptime-status/web-1".into(), &Value::Null),
        one("GET", "agents/web-1".into(), &Value::Null),
        one("DELETE", "agents/web-1".into(), &Value::Null),
        one("GET", "uptime-summary/web-1".into(), &Value::Null),
        one("POST", "health-check".into(), &check),
        one("GET", "series?agent=web-1".into(), &Value::Null),
        one("GET", format!("series/{series}/samples"), &Value::Null),
        one("GET", "verdicts?agent=web-1".into(), &Value::Null),
        one("GET", "alerts?agent=web-1".into(), &Value::Null),
        one("POST", format!("alerts/{alert}/acknowledge"), &Value::Null),
        one("POST", format!("alerts/{alert}/unacknowledge"), &Value::Null),
        one("POST", format!("alerts/{alert}/silence"), &Value::Null),
        one("POST", format!("alerts/{alert}/unsilence"), &Value::Null),
        one("POST", format!("alerts/{alert}/close"), &Value::Null),
        one("GET", format!("verdicts?series={series}"), &Value::Null),
        one("GET", format!("alerts?series={series}"), &Value::Null),
    ] {
        assert_eq!(service.send(&method, &path, &stranger, &body).await.status, 404, "another tenant: {path}");
        // What is asked for by a number of ours is not there; what is asked for by its name may not be touched.
        let hidden =
            if path.contains("/series/") || path.contains("/alerts/") || path.contains("?series=") { 404 } else { 403 };
        assert_eq!(service.send(&method, &path, &narrow, &body).await.status, hidden, "another agent: {path}");
        let mine = service.send(&method, &path, &owner, &body).await;
        assert!(mine.status < 300, "{path}: {} {}", mine.status, mine.body);
    }
    for list in ["agents", "verdicts", "alerts"] {
        for token in [&stranger, &narrow] {
            let answer = service.get(list, token).await;
            assert!(!answer.body.to_string().contains("web-1"), "{list}: {}", answer.body);
        }
    }
    let query = json!({"query_id": "q", "query_type": "t", "aggregation_window": "1m", "time_range": range});
    for token in [&stranger, &narrow] {
        let answer = service.post("dashboard", token, &query).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.body.to_string().contains("web-1"), "{}", answer.body);
    }
    let mut named = query.clone();
    named["agent_ids"] = json!(["web-1"]);
    assert_eq!(service.post("dashboard", &narrow, &named).await.status, 403);
    assert_eq!(service.post("heartbeat", &narrow, &beat("web-1")).await.status, 403);
    assert_eq!(service.post("system-metrics", &narrow, &system("web-1")).await.status, 403);
    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1"), beat("db-2")],
    });
    let answer = service.post("batch", &narrow, &batch).await;
    assert_eq!(answer.body["failed_heartbeats"], 1);
    assert_eq!(answer.body["processing_errors"], json!(["heartbeats.0 (web-1): the token may not touch web-1"]));
    // The same name in another tenant is another agent.
    service.post("heartbeat", &stranger, &beat("web-1")).await;
    assert_ne!(
        service.registry.agent_by_key(&"a".into(), "web-1").unwrap().id,
        service.registry.agent_by_key(&"b".into(), "web-1").unwrap().id
    );
    let reader = service.token(None, None, Some("telemetry:read"));
    assert_eq!(service.post("heartbeat", &reader, &beat("x")).await.status, 403);
    let writer = service.token(None, None, Some("telemetry:write"));
    assert_eq!(service.get("agents", &writer).await.status, 403);
}

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let service = Service::start().await;
    let document =
        service.raw(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.body;
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let path = path.replace("{agent_id}", "x").replace("{target_id}", "x").replace("{id}", "1");
            let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let answer = service.raw(request.as_bytes()).await;
            if path.starts_with("/api/") || path == "/session/link" {
                seen += 1;
                assert_eq!(answer.status, 401, "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert!(answer.body["detail"].is_string());
            } else if path == "/session" && method == "POST" {
                // It is no JSON, as a form of another site would be.
                assert_eq!(answer.status, 403, "{method} {path}");
            } else {
                assert_eq!(answer.status, 200, "{method} {path}");
            }
        }
    }
    assert_eq!(seen, 30);
}
