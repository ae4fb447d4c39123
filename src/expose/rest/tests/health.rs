//! All answers say the same of an agent.

use super::*;
use proptest::test_runner::TestRunner;

/// One question a target, of each route that says something of its health.
async fn standings(service: &Service, token: &str, key: &str) -> Vec<(String, Value)> {
    let body = json!({"target_id": key, "target_type": "agent"});
    let mut found = Vec::new();
    for answer in [
        service.post("health-check", token, &body).await,
        service.get(&format!("uptime-status/{key}?time_range_hours=3"), token).await,
    ] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let health = &answer.body["health_assessment"];
        found.push((health["overall_health"].as_str().unwrap().to_owned(), health["health_score"].clone()));
        assert!(health["health_score"].is_number(), "the contract wants one: {health}");
    }
    found
}

/// What the dashboard says of one target: its status, if it shows life, and its score.
async fn on_the_dashboard(service: &Service, token: &str, key: &str) -> Option<(String, Value)> {
    let body = json!({
        "query_id": "q", "query_type": "overview", "aggregation_window": "1m", "agent_ids": [key],
        "time_range": {"start_time": at(-60 * MINUTE), "end_time": at(MINUTE)},
    });
    let answer = service.post("dashboard", token, &body).await.body;
    let by_health = answer["agent_summary"]["by_health"].as_object().unwrap().clone();
    by_health.into_iter().next().map(|(name, _)| (name, answer["agent_summary"]["average_health_score"].clone()))
}

fn any_health() -> impl Strategy<Value = Option<AgentHealth>> {
    let status = prop_oneof![
        Just(HealthStatus::Healthy),
        Just(HealthStatus::Degraded),
        Just(HealthStatus::Critical),
        Just(HealthStatus::Unknown)
    ];
    let health = (status, 0..=100_u8).prop_map(|(status, score)| AgentHealth {
        score: f64::from(score),
        status,
        reasons: Vec::new(),
        recommendations: Vec::new(),
    });
    prop::option::of(health)
}

fn any_live() -> impl Strategy<Value = LiveAgent> {
    let liveness = prop_oneof![
        2 => Just(Liveness::OnTime),
        2 => Just(Liveness::Late),
        1 => Just(Liveness::Offline),
        1 => Just(Liveness::Maintenance)
    ];
    let reported = prop::option::of(prop_oneof![
        Just(HealthStatus::Healthy),
        Just(HealthStatus::Degraded),
        Just(HealthStatus::Critical),
        Just(HealthStatus::Unknown),
        Just(HealthStatus::Offline),
        Just(HealthStatus::Maintenance)
    ]);
    let recent = prop::option::of(0..60_i64).prop_map(|down| match down {
        None => Vec::new(),
        Some(down) => vec![
            Interval { start: NOW.plus(-60 * MINUTE), end: Some(NOW.plus(-down * MINUTE)), state: State::Up },
            Interval { start: NOW.plus(-down * MINUTE), end: None, state: State::Unhealthy },
        ],
    });
    (liveness, any_health(), reported, recent).prop_map(|(liveness, health, reported, recent)| LiveAgent {
        health,
        reported,
        recent,
        ..live(liveness)
    })
}

/// Whatever evaluation knows, every answer says the same of it.
#[test]
fn all_answers_agree_on_status_and_score() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let token = service.token(None, None, None);
    let count = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let targets = (prop::option::of(any_live()), prop::option::of((any_health(), 0..120_i64)));
    let outcome = TestRunner::new(config).run(&targets, |(live, observed)| {
        count.set(count.get() + 1);
        let key = format!("target-{}", count.get());
        let agent = known(&service, &key, None);
        service.evaluation.live_agents.put(live.clone().map(|live| (agent, live)));
        let observed = observed.and_then(|(health, age)| Some((health?, age))).map(|(health, age)| {
            (agent, Observed { health, time: NOW.plus(-age * MINUTE), measurements: Measurements::default() })
        });
        service.evaluation.live_agents.put_observed(observed);
        runtime.block_on(async {
            let listed = service.get("agents?limit=10000", &token).await.body;
            let all = listed["agents"].as_array().unwrap();
            let one = all.iter().find(|one| one["agent_id"] == key.as_str()).unwrap();
            let (status, score) = (one["health"].as_str().unwrap().to_owned(), one["health_score"].clone());
            prop_assert!(status != "unknown" || score.is_null(), "what is unknown has no score: {one}");
            prop_assert!(
                !(status == "healthy"
                    && matches!(one["reported_status"].as_str(), Some("critical" | "offline"))
                    && live.as_ref().is_some_and(|live| live.health.is_none())),
                "{one}"
            );
            let number = if score.is_null() { json!(100.0) } else { score.clone() };
            for (said, points) in standings(&service, &token, &key).await {
                prop_assert_eq!((&said, &points), (&status, &number));
            }
            if let Some(shown) = on_the_dashboard(&service, &token, &key).await {
                prop_assert_eq!(shown, (status.clone(), score));
            } else {
                prop_assert!(live.is_none());
            }
            let same = service.get(&format!("agents?status={status}&limit=10000"), &token).await.body;
            let same = same["agents"].as_array().unwrap().iter().any(|one| one["agent_id"] == key.as_str());
            prop_assert!(same, "it is among those of its status");
            Ok(())
        })
    });
    outcome.unwrap();
}
