//! Availability, objectives and failure patterns.

use super::*;
use vitals_core::rules::quality::QualityRules;
use vitals_core::rules::sla::SlaConfig;

#[tokio::test]
async fn answers_follow_the_settings_in_force() {
    // Down for 10 of 1,000 minutes, all of them in the last hour.
    let parts = [(1_000, State::Up), (30, State::Unhealthy), (20, State::Up)];
    let answer = async |config: ExposeConfig| {
        let service = Service::with(config).await;
        let token = service.token(None, None, None);
        lived(&service, known(&service, "web-1", None), &parts);
        let mut metric = system("db-1");
        metric["metrics"][0]["value"] = json!(120.0);
        let quality = service.post("system-metrics", &token, &metric).await.body["data_quality_scores"]["cpu"].clone();
        let answer = service.get("uptime-status/web-1?time_range_hours=1", &token).await.body;
        let advised = answer["health_recommendations"].to_string().contains("Uptime is 83.33 %");
        (answer["sla_breach_risk"].clone(), answer["sla_target"].clone(), advised, quality)
    };
    let with = |target: f64| ExposeConfig { sla_target: target, ..ExposeConfig::default() };
    assert_eq!(answer(with(99.9)).await, (json!("breached"), json!(99.9), true, json!(0.5)));
    assert_eq!(answer(with(90.0)).await, (json!("low"), json!(90.0), true, json!(0.5)));
    let own = ExposeConfig {
        sla: Some(SlaConfig { hour_factor: 1.0, ..SlaConfig::default() }),
        advise_uptime_percent: Some([80.0, 70.0, 60.0]),
        quality: QualityRules { cpu_out_of_range: 0.75, ..QualityRules::default() },
        ..with(90.0)
    };
    assert_eq!(answer(own).await, (json!("high"), json!(90.0), false, json!(0.25)));
    // Plugins that the operator replaced or took out: nothing is answered in their place.
    let none = ExposeConfig { sla: None, advise_uptime_percent: None, ..with(90.0) };
    assert_eq!(answer(none).await, (Value::Null, json!(90.0), false, json!(0.5)));
}

#[tokio::test]
async fn uptime_says_how_an_unjudged_target_is() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (down, health, compliant, advice) in [
        (0, "healthy", true, None),
        (1, "healthy", true, None),
        (2, "healthy", false, None),
        (10, "healthy", false, None),
        (11, "degraded", false, Some("review restarts")),
        (50, "degraded", false, Some("review restarts")),
        (51, "critical", false, Some("look at the downtime periods")),
        (100, "critical", false, Some("look at the downtime periods")),
        (101, "critical", false, Some("check its host")),
        (200, "critical", false, Some("check its host")),
        (201, "offline", false, Some("check its host")),
    ] {
        // 1,000 minutes are known, so a minute is 0.1 %.
        let key = format!("target-{down}");
        let agent = known(&service, &key, None);
        lived(&service, agent, &[(1_000, State::Silent), (1_000 - down, State::Up)]);
        let body = json!({
            "target_id": key, "target_type": "agent",
            "time_range": {"start_time": at(-1_000 * MINUTE), "end_time": at(0)},
        });
        let answer = service.post("health-check", &token, &body).await.body;
        assert_eq!(answer["health_assessment"]["overall_health"], health, "{down}");
        assert_eq!(answer["sla_compliance"], compliant, "the target is 99.9 %: {down}");
        let found = answer["health_recommendations"][0].as_str().unwrap_or_default().to_owned();
        assert!(found.contains(advice.unwrap_or_default()) && found.is_empty() == advice.is_none(), "{down}: {found}");
    }
    // An hour must be known before an agent is said to fail.
    let agent = known(&service, "brief", None);
    lived(&service, agent, &[(59, State::Unhealthy), (49, State::Up)]);
    let answer = service.get("uptime-status/brief", &token).await.body;
    let advice = answer["health_recommendations"][0].as_str().unwrap().to_owned();
    assert!(advice.contains("only 59 min are known"), "{advice}");
}

#[tokio::test]
async fn availability_changes_with_what_happened() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let nothing = known(&service, "nothing", None);
    assert!(service.store.contents().intervals.keys().all(|(agent, _)| *agent != nothing));
    let answer = service.get("uptime-status/nothing", &token).await.body;
    for field in ["sla_compliance", "availability_trend", "mttr_minutes", "mtbf_hours"] {
        assert_eq!(answer[field], Value::Null, "nothing is known of {field}");
    }
    assert_eq!((&answer["confidence_level"], &answer["uptime_percentage"]), (&json!(0.0), &json!(100.0)));

    // Two outages of 12 and 6 minutes in the first half of 20 hours, and maintenance.
    let agent = known(&service, "web-1", None);
    let parts = [
        (1_800, State::Up),
        (900, State::Silent),
        (888, State::Up),
        (780, State::Unhealthy),
        (774, State::Up),
        (600, State::Maintenance),
        (540, State::Up),
    ];
    lived(&service, agent, &parts);
    let answer = service.get("uptime-status/web-1?time_range_hours=20", &token).await.body;
    assert_eq!(answer["total_downtime_minutes"], 18.0);
    assert_eq!(answer["total_uptime_minutes"], 1_200.0 - 18.0 - 60.0);
    assert_eq!((&answer["mttr_minutes"], &answer["mtbf_hours"]), (&json!(9.0), &json!(1_122.0 / 60.0 / 2.0)));
    assert_eq!((&answer["availability_trend"], &answer["confidence_level"]), (&json!("improving"), &json!(1.0)));
    let listed = |field: &str| answer[field].as_array().unwrap().clone();
    let minutes = |periods: &[Value]| periods.iter().map(|one| one["duration_minutes"].as_f64().unwrap()).sum::<f64>();
    let (up, down) = (listed("uptime_sessions"), listed("downtime_periods"));
    assert!((minutes(&up) + minutes(&down) - 1_200.0).abs() < 1.0 / 60.0, "the minutes add up");
    assert_eq!(
        (up.len(), up[0]["start"].clone(), up[0]["began_at"].clone()),
        (4, json!(at(-1_200 * MINUTE)), json!(at(-1_800 * MINUTE)))
    );
    assert_eq!(up[3]["end"], Value::Null, "it lasts");
    let causes: Vec<&str> = down.iter().map(|one| one["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["silent", "unhealthy", "maintenance"]);

    // A shorter window knows nothing of them.
    let answer = service.get("uptime-status/web-1?time_range_hours=5", &token).await.body;
    assert_eq!((&answer["uptime_percentage"], &answer["mttr_minutes"]), (&json!(100.0), &Value::Null));
    assert_eq!(answer["sla_compliance"], true);
    // A longer one knows less of itself.
    let answer = service.get("uptime-status/web-1?time_range_hours=60", &token).await.body;
    assert_eq!(answer["confidence_level"], 0.5);

    let answer = service.get("uptime-summary/web-1?time_range_hours=48", &token).await.body;
    assert_eq!(answer["total_incidents"], 2);
    assert_eq!(answer["incident_breakdown"], json!({"silent": 1, "unhealthy": 1}));
    assert_eq!(answer["total_downtime_duration"], "PT18M");
    let days = answer["daily_uptime"].as_array().unwrap();
    let down: f64 = days.iter().map(|day| day["downtime_minutes"].as_f64().unwrap()).sum();
    assert_eq!((days.len(), down), (3, 18.0), "{days:?}");
    let of = |day: usize| (days[day]["date"].clone(), days[day]["uptime_minutes"].clone());
    assert_eq!(of(0), (json!("2026-01-31"), json!(200.0)), "known since 20:40");
    assert_eq!(of(1), (json!("2026-02-01"), json!(1_440.0 - 18.0 - 60.0)));
    // An outage that lasts counts up to now, and its end is not made up.
    let agent = known(&service, "gone", None);
    lived(&service, agent, &[(600, State::Up), (60, State::Silent)]);
    let answer = service.get("uptime-status/gone?time_range_hours=10", &token).await.body;
    assert_eq!((&answer["total_downtime_minutes"], &answer["mttr_minutes"]), (&json!(60.0), &Value::Null));
    assert_eq!((&answer["mtbf_hours"], &answer["availability_trend"]), (&json!(9.0), &json!("declining")));
    assert_eq!(answer["health_assessment"]["overall_health"], "offline");
}

#[tokio::test]
async fn failure_patterns_change_with_what_happened() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let outages = |starts: &[i64]| {
        let mut parts = vec![(starts[0] + 600, State::Up)];
        for start in starts {
            parts.extend([(*start, State::Silent), (start - 5, State::Up)]);
        }
        parts
    };
    let day = 24 * 60;
    let agents = [
        ("calm", None, vec![700], vec![]),
        ("nightly", None, vec![3 * day, 2 * day, day, 0], vec!["recurring_hour"]),
        ("six-hourly", None, vec![1_500, 1_140, 780, 420], vec!["recurring_period"]),
        ("flapping", None, vec![100, 80, 73, 60], vec!["flapping"]),
        ("eu-1", Some("eu"), vec![500], vec!["location"]),
        ("eu-2", Some("eu"), vec![500], vec!["location"]),
        ("eu-3", Some("eu"), vec![500], vec!["location"]),
        ("eu-4", Some("eu"), vec![300], vec![]),
        ("us-1", Some("us"), vec![500], vec![]),
    ];
    for (key, location, starts, _) in &agents {
        let agent = known(&service, key, *location);
        lived(&service, agent, &outages(&starts.iter().map(|start| start + 10).collect::<Vec<_>>()));
    }
    for (key, _, _, kinds) in agents {
        let body = json!({
            "target_id": key, "target_type": "agent",
            "time_range": {"start_time": at(-5 * DAY), "end_time": at(0)},
        });
        let answer = service.post("health-check", &token, &body).await.body;
        let found: Vec<&str> =
            answer["failure_patterns"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{key}: {answer:#}");
        let advised = answer["health_recommendations"].as_array().unwrap();
        for pattern in answer["failure_patterns"].as_array().unwrap() {
            assert!(advised.contains(&pattern["recommendation"]), "{key}");
        }
        let planned = answer["maintenance_suggestions"].to_string().contains("plan a maintenance window");
        assert_eq!(planned, key == "nightly", "{key}");
    }
}

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
        service.store.change(|held| held.intervals.insert((agent, up.start), up));
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
