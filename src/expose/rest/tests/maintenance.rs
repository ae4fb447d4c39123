//! Maintenance windows: planned, listed, changed, called off.

use super::stream::Events;
use super::*;

fn window(agents: &Value, start: &str, end: &str) -> Value {
    json!({"agents": agents, "start_time": start, "end_time": end})
}

#[tokio::test]
async fn a_window_is_planned_listed_changed_and_called_off_and_the_stream_tells() {
    let service = Service::start().await;
    let token = service.token(None, None, Some("telemetry:read telemetry:operate"));
    let mut events = Events::open(&service, "?kind=maintenance", &token, "").await;
    let mut body = window(&json!(["web-*", "db-1"]), &at(HOUR), &at(2 * HOUR));
    body["reason"] = json!("new kernel");
    let planned = service.post("maintenance", &token, &body).await;
    assert_eq!(planned.status, 201, "{}", planned.body);
    let id = planned.body["window_id"].as_str().unwrap().to_owned();
    let expect = json!({
        "window_id": id, "agents": ["db-1", "web-*"], "start_time": at(HOUR), "end_time": at(2 * HOUR),
        "time_zone": null, "reason": "new kernel", "by": "ops", "created_at": at(0), "changed_by": null,
        "changed_at": null, "state": "planned",
    });
    assert_eq!(planned.body, expect);
    let event = events.named("maintenance").await;
    assert_eq!((&event["change"], &event["window"]), (&json!("planned"), &expect));
    // Every partition hears of it; sent again it is the same one.
    let partitions = service.rest.borrow().partitions as usize;
    assert_eq!(service.evaluation.taken.lock().len(), partitions);
    assert_eq!(service.post("maintenance", &token, &body).await.body, expect);
    assert_eq!(service.evaluation.taken.lock().len(), partitions);
    let path = format!("/api/v1/telemetry/maintenance/{id}");
    assert_eq!(service.get(&format!("maintenance/{id}"), &token).await.body, expect);
    assert_eq!(service.get("maintenance", &token).await.body["windows"], json!([expect]));
    for (query, number) in [
        ("state=planned", 1),
        ("state=active", 0),
        ("agent=web-9", 1),
        ("agent=db-2", 0),
        ("state=planned&agent=db-1", 1),
    ] {
        let found = service.get(&format!("maintenance?{query}"), &token).await.body;
        assert_eq!(found["windows"].as_array().unwrap().len(), number, "{query}: {found}");
    }
    // It begins now, and then only its end moves.
    let now = window(&json!(["web-*"]), &at(-MINUTE), &at(HOUR));
    let changed = service.send("PUT", &path, &token, &now.to_string()).await;
    let state = |answer: &Value| (answer["state"].clone(), answer["changed_by"].clone(), answer["end_time"].clone());
    assert_eq!(state(&changed.body), (json!("active"), json!("ops"), json!(at(HOUR))), "{}", changed.body);
    assert_eq!(events.named("maintenance").await["change"], "changed");
    for (other, status) in [
        (window(&json!(["*"]), &at(-MINUTE), &at(HOUR)), 409),
        (window(&json!(["web-*"]), &at(0), &at(HOUR)), 409),
        (window(&json!(["web-*"]), &at(-MINUTE), &at(3 * HOUR)), 200),
    ] {
        let answer = service.send("PUT", &path, &token, &other.to_string()).await;
        assert_eq!(answer.status, status, "{other}: {}", answer.body);
    }
    assert_eq!(events.named("maintenance").await["change"], "changed");
    for _ in 0..2 {
        let off = service.send("DELETE", &path, &token, "").await;
        assert_eq!((off.status, &off.body["state"]), (200, &json!("cancelled")), "{}", off.body);
    }
    assert_eq!(events.named("maintenance").await["change"], "cancelled");
    assert_eq!(service.get("maintenance?state=cancelled", &token).await.body["windows"].as_array().unwrap().len(), 1);
    // What was called off may be planned again, as another one.
    let again = service.post("maintenance", &token, &body).await;
    assert_eq!((again.status, &again.body["state"]), (201, &json!("planned")), "{}", again.body);
}

#[tokio::test]
async fn times_without_an_offset_are_of_the_zone() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (zone, start, expect) in [
        (json!("Europe/Berlin"), "2026-07-01T22:00:00", "2026-07-01T20:00:00Z"),
        (json!("Europe/Berlin"), "2026-12-01 22:00", "2026-12-01T21:00:00Z"),
        (json!("Europe/Berlin"), "2026-07-01T22:00:00Z", "2026-07-01T22:00:00Z"),
        (json!("Europe/Berlin"), "2026-07-01T22:00:00+05:30", "2026-07-01T16:30:00Z"),
        (json!("America/New_York"), "2026-07-01T22:00:00", "2026-07-02T02:00:00Z"),
        (Value::Null, "2026-07-01T23:00:00", "2026-07-01T23:00:00Z"),
    ] {
        let mut body = window(&json!(["x"]), start, "2027-01-01T00:00:00Z");
        body["time_zone"] = zone.clone();
        let answer = service.post("maintenance", &token, &body).await;
        assert_eq!((&answer.body["start_time"], &answer.body["time_zone"]), (&json!(expect), &zone), "{}", answer.body);
        assert_eq!(answer.body["agent_id"], "x", "one agent and no pattern");
    }
}

#[tokio::test]
async fn what_cannot_be_planned_is_named() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let good = || window(&json!(["x"]), &at(0), &at(HOUR));
    let many: Vec<String> = (0..101).map(|n| format!("a{n}")).collect();
    for (body, field) in [
        (with(good(), "/time_zone", json!("Europe/Nowhere")), "time_zone"),
        (with(good(), "/end_time", json!(at(0))), "end_time"),
        (with(good(), "/start_time", json!(at(-31 * DAY))), "start_time"),
        (with(good(), "/start_time", json!("soon")), "start_time"),
        (with(good(), "/agents", json!([])), "agents"),
        (with(good(), "/agents", json!(many)), "agents"),
        (with(good(), "/agents", json!("x")), "agents"),
    ] {
        let answer = service.post("maintenance", &token, &body).await;
        assert_eq!((answer.status, &answer.body["detail"][0]["loc"][1]), (422, &json!(field)), "{}", answer.body);
    }
    assert_eq!(service.send("DELETE", "/api/v1/telemetry/maintenance/x", &token, "").await.status, 404);
}

#[tokio::test]
async fn windows_are_within_the_token() {
    let service = Service::start().await;
    let all = service.token(None, None, None);
    let web = service.token(None, Some(&["web-*"]), None);
    let other = service.token(Some("other"), None, None);
    let reader = service.token(None, None, Some("telemetry:read"));
    let plan = |agents: Value| window(&agents, &at(HOUR), &at(2 * HOUR));
    assert_eq!(service.post("maintenance", &reader, &plan(json!(["web-1"]))).await.status, 403);
    for (agents, status) in
        [(json!(["web-1"]), 201), (json!(["web-eu-*"]), 201), (json!(["*"]), 403), (json!(["web-1", "db-1"]), 403)]
    {
        assert_eq!(service.post("maintenance", &web, &plan(agents.clone())).await.status, status, "{agents}");
    }
    let wide =
        service.post("maintenance", &all, &plan(json!(["*"]))).await.body["window_id"].as_str().unwrap().to_owned();
    let count = async |token: &str| service.get("maintenance", token).await.body["windows"].as_array().unwrap().len();
    assert_eq!((count(&all).await, count(&web).await, count(&other).await), (3, 2, 0));
    for token in [&web, &other] {
        for method in ["GET", "PUT", "DELETE"] {
            let body = plan(json!(["web-1"])).to_string();
            let path = format!("/api/v1/telemetry/maintenance/{wide}");
            let answer = service.send(method, &path, token, if method == "PUT" { &body } else { "" }).await;
            assert_eq!(answer.status, 404, "{method}: {}", answer.body);
        }
    }
}
