//! Parameters and paths.

use super::*;
use vitals_core::maintenance::PersonWindow;

/// The id of the window that [`plan`] plans.
const WINDOW: &str = "00000000000000000000000000000001";

/// Plans a window that can be changed and called off.
fn plan(service: &Service) {
    let window = PersonWindow {
        id: WINDOW.into(),
        tenant: "default".into(),
        agents: vec!["web-1".into()],
        start: NOW.plus(HOUR),
        end: NOW.plus(2 * HOUR),
        time_zone: None,
        reason: None,
        by: "ops".into(),
        created: NOW,
        changed_by: None,
        changed: NOW,
        cancelled: false,
    };
    service.store.change(|held| held.windows.insert(window.id.clone(), window));
}

/// A request of each route of the document that is answered with success, for an agent web-1 with an alert. Streams do
/// not end, and have tests of their own.
fn requests(alert: &str) -> Vec<(String, String, String)> {
    let mut all = operations(&document());
    // What is closed cannot be silenced any more, and who is retired has nothing.
    all.sort_by_key(|(path, method, _)| (path.contains("/agents/") && method == "DELETE", path.ends_with("/close")));
    let fill = |path: String| {
        path.replace("{agent_id}", "web-1")
            .replace("{target_id}", "web-1")
            .replace("alerts/{id}", &format!("alerts/{alert}"))
            .replace("series/{id}", "series/0")
            .replace("maintenance/{id}", &format!("maintenance/{WINDOW}"))
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
    let alert = service.first_alert().id;
    plan(&service);
    let requests = requests(&alert);
    assert_eq!(requests.len(), 29);
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
    let alert = service.first_alert().id;
    plan(&service);
    for (method, path, body) in requests(&alert) {
        let needed = if path.ends_with("/series") { "?agent=web-1" } else { "" };
        let answer = service.send(&method, &format!("{path}/{needed}"), &token, &body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}/: {} {}", answer.status, answer.body);
        let other = "PATCH";
        for path in [path.clone(), format!("{path}/")] {
            let answer = service.send(other, &path, &token, "").await;
            assert_eq!(answer.status, 405, "{other} {path}");
            assert!(answer.header("allow").is_some_and(|allowed| allowed.contains(&*method)), "{}", answer.headers);
            assert!(answer.body["detail"].is_string(), "{other} {path}: {}", answer.body);
        }
        let answer = service.send(&method, &format!("{path}//"), &token, &body).await;
        // A window without an id can be read, not planned.
        let expect = if method == "POST" && path.ends_with("/maintenance") { 405 } else { 404 };
        assert_eq!((answer.status, answer.body["detail"].is_string()), (expect, true), "{method} {path}//");
    }
    for path in ["/api/v1/telemetry", "/api/v1/telemetry/", "/api/v1/telemetry/agents/x/y", "/API/v1/telemetry/agents"]
    {
        let answer = service.send("GET", path, &token, "").await;
        assert_eq!((answer.status, answer.body["detail"].is_string()), (404, true), "{path}: {}", answer.body);
    }
    let answer = service.send("HEAD", "/api/v1/telemetry/agents", &token, "").await;
    assert_eq!((answer.status, &answer.body), (200, &json!("")));
}
