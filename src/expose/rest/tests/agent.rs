//! `GET /agents/{agent_id}`.

use super::*;

#[tokio::test]
async fn an_agent_says_why_its_health_is_as_it_is() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "web-1", Some("eu"));
    let health = AgentHealth {
        score: 70.0,
        status: HealthStatus::Critical,
        reasons: vec!["CPU 97.0 % > 95 %: -30".to_owned()],
        recommendations: vec!["add CPUs".to_owned()],
    };
    let late = LiveAgent {
        last_evidence: NOW.plus(-2 * MINUTE),
        measurements: Measurements { cpu_percent: Some(97.0), response_ms: Some(12.5), ..Measurements::default() },
        reported: Some(HealthStatus::Healthy),
        health: Some(health),
        clock_skew: Some(-1_500_000_000),
        ..live(Liveness::Late)
    };
    service.evaluation.live_agents.put([(agent, late.clone())]);
    let answer = service.get("agents/web-1", &token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let detail = answer.body;
    assert_eq!(
        detail["reasons"],
        json!(["CPU 97.0 % > 95 %: -30", "it is late: it reports every 60 s"]),
        "what was judged beside what is seen"
    );
    assert_eq!(detail["recommendations"], json!(["add CPUs"]));
    assert_eq!((&detail["last_data"], &detail["calculated_at"]), (&json!(at(-2 * MINUTE)), &json!(at(0))));
    assert_eq!(
        (&detail["expected_interval_seconds"], &detail["timeout_seconds"]),
        (&json!(60.0), &json!(180.0)),
        "{detail}"
    );
    let measured = &detail["latest_measurements"];
    assert_eq!((&measured["cpu_usage_percent"], &measured["response_time_ms"]), (&json!(97.0), &json!(12.5)));
    assert_eq!(measured["memory_usage_mb"], Value::Null, "what is not known is no number");
    assert_eq!((&detail["liveness"], &detail["clock_skew_ms"]), (&json!("late"), &json!(-1500)));
    assert_eq!((&detail["health"], &detail["reported_status"]), (&json!("critical"), &json!("healthy")));
    // The list says the same of it, field by field.
    let list = service.get("agents", &token).await.body;
    for (name, value) in list["agents"][0].as_object().unwrap() {
        assert_eq!(detail.get(name), Some(value), "{name}");
    }
    service.evaluation.live_agents.put([(agent, LiveAgent { liveness: Liveness::Offline, ..late })]);
    let gone = service.get("agents/web-1", &token).await.body;
    let silent = json!(["nothing was heard of it for longer than its timeout of 180 s"]);
    assert_eq!((&gone["health"], &gone["health_score"], &gone["reasons"]), (&json!("offline"), &json!(0.0), &silent));
}

#[tokio::test]
async fn a_system_is_told_by_what_is_measured_of_it() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let system = known(&service, "db-1", None);
    let health = AgentHealth {
        score: 85.0,
        status: HealthStatus::Degraded,
        reasons: vec!["disk 91.0 % > 90 %: -15".to_owned()],
        recommendations: Vec::new(),
    };
    let observed = |age: i64| Observed {
        health: health.clone(),
        time: NOW.plus(-age),
        measurements: Measurements { disk_percent: Some(91.0), ..Measurements::default() },
    };
    service.evaluation.live_agents.put_observed([(system, observed(MINUTE))]);
    let detail = service.get("agents/db-1", &token).await.body;
    assert_eq!((&detail["health"], &detail["reasons"]), (&json!("degraded"), &json!(["disk 91.0 % > 90 %: -15"])));
    assert_eq!(detail["latest_measurements"]["disk_usage_percent"], json!(91.0));
    assert_eq!((&detail["liveness"], &detail["timeout_seconds"]), (&Value::Null, &Value::Null));
    assert_eq!(detail["last_data"], json!(at(-MINUTE)));
    // What is too old to say how it is gives no reasons, but is still the latest.
    service.evaluation.live_agents.put_observed([(system, observed(2 * HOUR))]);
    let detail = service.get("agents/db-1", &token).await.body;
    assert_eq!((&detail["health"], &detail["reasons"]), (&json!("unknown"), &json!([])));
    assert_eq!(detail["latest_measurements"]["disk_usage_percent"], json!(91.0));
}

#[tokio::test]
async fn an_agent_of_others_does_not_exist() {
    let service = Service::start().await;
    known(&service, "web-1", None);
    for (token, key, status) in [
        (service.token(None, None, None), "web-1", 200),
        (service.token(None, None, None), "web-2", 404),
        (service.token(Some("other"), None, None), "web-1", 404),
        (service.token(None, Some(&["db-*"]), None), "web-1", 403),
        (service.token(None, Some(&["db-*"]), None), "web-2", 403),
        (service.token(None, None, Some("telemetry:write")), "web-1", 403),
        (service.token(None, None, None), "web%0A1", 422),
    ] {
        let answer = service.get(&format!("agents/{key}"), &token).await;
        assert_eq!(answer.status, status, "{key}: {}", answer.body);
    }
}
