//! Lists of what is known.

use super::*;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn what_is_known_can_be_queried() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let answer = service.get("agents", &token).await;
    assert_eq!(answer.body["agents"][0]["agent_id"], "web-1");
    let answer = service.get("series?agent=web-1", &token).await;
    let all = answer.body["series"].as_array().unwrap().clone();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[0]["metric_name"], "cpu_usage_percent");
    let id = &all[0]["series_id"];
    let answer = service.get(&format!("series/{id}/samples?end={}", at(1)), &token).await;
    assert_eq!(answer.body["samples"], json!([{"time": at(0), "value": 97.0}]), "{}", answer.body);
    let path = format!("series/{id}/samples?start={}&end={}&step=1m&aggregation=count", at(0), at(MINUTE));
    let answer = service.get(&path, &token).await;
    assert_eq!(answer.body["samples"][0]["value"], 1.0, "{}", answer.body);
    assert_eq!(answer.body["step_seconds"], 60.0);
    let answer = service.get("verdicts?kind=health", &token).await;
    assert_eq!(answer.body["verdicts"][0]["body"]["score"], 70.0, "{}", answer.body);
    let answer = service.get("plugins", &token).await;
    assert_eq!(answer.body["plugins"][0]["name"], "health-score");
    let answer = service.get("alerts?open=true", &token).await;
    let alert = answer.body["alerts"][0]["alert_id"].as_str().unwrap().to_owned();
    let answer = service.post(&format!("alerts/{alert}/acknowledge"), &token, &json!(null)).await;
    assert_eq!((answer.status, &answer.body["acknowledged_by"]), (200, &json!("ops")));
    let window = json!({"agent_id": "web-1", "start_time": at(0), "end_time": at(MINUTE)});
    assert_eq!(service.post("maintenance", &token, &window).await.status, 201);
    let old = json!({"agent_id": "web-1", "start_time": at(-31 * 24 * 60 * MINUTE), "end_time": at(MINUTE)});
    let refused = service.post("maintenance", &token, &old).await;
    assert_eq!((refused.status, &refused.body["detail"][0]["loc"]), (422, &json!(["body", "start_time"])));
    assert!(refused.body["detail"][0]["msg"].as_str().unwrap().contains("30 days"), "{}", refused.body);
    let taken = service.evaluation.taken.lock();
    assert!(matches!(&taken[1], Record::Alert(command) if command.by == "ops"));
    assert!(matches!(&taken[2], Record::Maintenance(window) if window.by == "ops"));
}

#[tokio::test]
async fn no_more_alerts_are_read_than_are_asked_for() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let raised = service.first_alert();
    let others = (0..1_000).map(|n| Alert { id: format!("other{n}"), resolved: Some(NOW), ..raised.clone() });
    service.store.change(|held| held.alerts.extend(others.map(|alert| (alert.id.clone(), alert))));
    for (id, status) in [("other999", 200), (&*raised.id, 200), ("none", 404)] {
        let answer = service.post(&format!("alerts/{id}/acknowledge"), &token, &json!(null)).await;
        assert_eq!(answer.status, status, "{id}: {}", answer.body);
    }
    // The one that is over is read again after the change.
    assert_eq!(service.store.alerts_read.swap(0, Ordering::Relaxed), 3);
    let answer = service.get("alerts?state=resolved&limit=3", &token).await;
    assert_eq!(answer.body["alerts"].as_array().unwrap().len(), 3, "{}", answer.body);
    assert_eq!(service.store.alerts_read.load(Ordering::Relaxed), 4, "one more says that there is a next page");
}

/// This test's own thread is the only worker.
#[tokio::test]
async fn no_async_worker_looks_at_the_disk_for_probes() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    assert_eq!(service.get("health", &token).await.status, 200);
    let probe = service.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(probe.status, 200, "{}", probe.body);
    let metrics = service.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((metrics.status, &metrics.body), (200, &json!("vitals_up 1\n")));
    let asked = service.asked_by.lock();
    assert_eq!(asked.len(), 3);
    assert!(!asked.contains(&std::thread::current().id()));
}

#[tokio::test]
async fn agents_by_page_and_filter() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (id, environment, location, cpu) in [
        ("c", "production", "eu", 10),
        ("a", "production", "us", 97),
        ("d", "test", "eu", 10),
        ("b", "production", "eu", 97),
    ] {
        let mut body = beat(id);
        body["agent_info"]["environment"] = environment.into();
        body["agent_info"]["geographic_location"] = location.into();
        body["cpu_usage_percent"] = cpu.into();
        assert_eq!(service.post("heartbeat", &token, &body).await.status, 201);
    }
    for (query, ids, total, next) in [
        ("", &["a", "b", "c", "d"][..], 4, Value::Null),
        ("?environment=production", &["a", "b", "c"], 3, Value::Null),
        ("?location=eu", &["b", "c", "d"], 3, Value::Null),
        ("?status=critical", &["a", "b"], 2, Value::Null),
        ("?status=offline", &[], 0, Value::Null),
        ("?environment=production&location=eu&status=healthy", &["c"], 1, Value::Null),
        ("?environment=nowhere", &[], 0, Value::Null),
        ("?limit=2", &["a", "b"], 4, json!("b")),
        ("?limit=2&after=b", &["c", "d"], 4, Value::Null),
        ("?limit=1&after=b&environment=production", &["c"], 3, Value::Null),
        ("?after=zzz", &[], 4, Value::Null),
    ] {
        let answer = service.get(&format!("agents{query}"), &token).await.body;
        let found: Vec<&str> =
            answer["agents"].as_array().unwrap().iter().map(|one| one["agent_id"].as_str().unwrap()).collect();
        assert_eq!((&found[..], &answer["total"], &answer["next"]), (ids, &json!(total), &next), "{query}");
    }
    for query in ["?status=fine", "?limit=0", "?limit=10001"] {
        assert_eq!(service.get(&format!("agents{query}"), &token).await.status, 422, "{query}");
    }
}
