//! Alerts: what people do to them, filters, and paging.

use super::stream::Events;
use super::*;
use std::collections::BTreeSet;
use vitals_core::verdict::{AlertSeries, Evidence, OutlierVerdict, Severity, Verdict, VerdictBody};

/// The alert that the heartbeat of `web-1` raises.
async fn raised(service: &Service, token: &str) -> Alert {
    service.post("heartbeat", token, &beat("web-1")).await;
    service.first_alert()
}

#[tokio::test]
async fn each_action_says_who_and_why_and_is_done_once() {
    let service = Service::start().await;
    let token = service.token(None, None, Some("telemetry:read telemetry:write telemetry:operate"));
    let operator = service.token(None, None, Some("telemetry:operate"));
    let reader = service.token(None, None, Some("telemetry:read"));
    let alert = raised(&service, &token).await.id;
    let path = |action: &str| format!("alerts/{alert}/{action}");
    for (action, body, expect) in [
        (
            "acknowledge",
            json!({"comment": "on it"}),
            json!({"state": "acknowledged", "acknowledged_by": "ops", "acknowledge_comment": "on it"}),
        ),
        ("unacknowledge", Value::Null, json!({"state": "open", "acknowledged_by": null, "acknowledge_comment": null})),
        (
            "silence",
            json!({"duration_minutes": 90.0, "comment": "batch"}),
            json!({"state": "open", "silenced_by": "ops", "silenced_until": at(90 * MINUTE), "silence_comment": "batch"}),
        ),
        ("unsilence", json!({}), json!({"silenced_by": null, "silenced_until": null})),
        ("silence", json!({}), json!({"silenced_until": at(HOUR), "silence_comment": null})),
        (
            "close",
            json!({"comment": null}),
            json!({"state": "resolved", "resolved": true, "resolved_at": at(0), "closed_by": "ops"}),
        ),
        // What is over can be acknowledged still.
        ("acknowledge", Value::Null, json!({"state": "resolved", "acknowledged_by": "ops", "closed_by": "ops"})),
    ] {
        assert_eq!(service.post(&path(action), &reader, &body).await.status, 403, "{action}");
        let done = service.post(&path(action), &operator, &body).await;
        assert_eq!(done.status, 200, "{action}: {}", done.body);
        let taken = service.evaluation.taken.lock().len();
        let again =
            if action == "silence" { done.body.clone() } else { service.post(&path(action), &token, &body).await.body };
        assert_eq!(again, done.body, "{action} again");
        assert_eq!(service.evaluation.taken.lock().len(), taken, "{action} again changes nothing");
        let listed = service.get("alerts", &token).await.body["alerts"][0].clone();
        for (name, value) in expect.as_object().unwrap() {
            assert_eq!(done.body.get(name).unwrap_or(&Value::Null), value, "{action}: {name}");
            assert_eq!(listed.get(name).unwrap_or(&Value::Null), value, "{action}: {name} in the list");
        }
    }
    let refused = service.post(&path("silence"), &token, &json!({})).await;
    assert_eq!((refused.status, refused.body["detail"].is_string()), (409, true), "{}", refused.body);
    for (body, loc) in [
        (json!({"duration_minutes": 0}), json!(["body", "duration_minutes"])),
        (json!({"duration_minutes": 43_201}), json!(["body", "duration_minutes"])),
        (json!({"comment": "a\nb"}), json!(["body", "comment"])),
        (json!([]), json!(["body"])),
    ] {
        let refused = service.post(&path("silence"), &token, &body).await;
        assert_eq!((refused.status, &refused.body["detail"][0]["loc"]), (422, &loc), "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn the_stream_tells_of_an_acknowledgement_of_what_is_over() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let alert = raised(&service, &token).await.id;
    service.store.change(|held| held.alerts.values_mut().for_each(|alert| alert.resolved = Some(NOW)));
    let mut events = Events::open(&service, "?kind=alert", &token, "").await;
    for (action, change) in [("acknowledge", "acknowledged"), ("unacknowledge", "unacknowledged")] {
        // The second time changes nothing, and nobody hears of it.
        for _ in 0..2 {
            let done = service.post(&format!("alerts/{alert}/{action}"), &token, &json!({"comment": "seen"})).await;
            assert_eq!(done.status, 200, "{}", done.body);
        }
        let event = events.named("alert").await;
        assert_eq!((&event["change"], &event["alert"]["alert_id"]), (&json!(change), &json!(alert)), "{event}");
    }
}

/// The ids of all pages of a list, `limit` at a time; each page but the last one is full.
async fn pages(service: &Service, token: &str, path: &str, limit: usize, id: impl Fn(&Value) -> String) -> Vec<String> {
    let list = path.split(['?', '/']).next().unwrap();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let answer = service.get(&format!("{path}&limit={limit}{after}"), token).await;
        assert_eq!(answer.status, 200, "{path}{after}: {}", answer.body);
        let page = answer.body[list].as_array().unwrap();
        found.extend(page.iter().map(&id));
        let Some(next) = answer.body["next"].as_str() else { return found };
        assert_eq!(page.len(), limit, "{path}{after}");
        after = format!("&after={next}");
    }
}

#[tokio::test]
async fn alerts_are_filtered_and_paged() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let first = raised(&service, &token).await;
    let cpu = || AlertSeries { metric: "cpu_usage_percent".into(), attributes: Vec::new() };
    let disk = AlertSeries { metric: "disk".into(), attributes: vec![("device".into(), "sda".into())] };
    let of = |n: i64, severity, source: &str, series| Alert {
        id: format!("{n:032x}"),
        severity,
        source: source.into(),
        series,
        // Several of one time, so that pages end among them.
        started: NOW.plus(-(n / 3) * MINUTE),
        ..first.clone()
    };
    let alerts: Vec<Alert> = (0..20)
        .map(|n| match n % 4 {
            0 => of(n, Severity::Critical, "health", None),
            1 => of(n, Severity::Warning, "threshold:cpu_usage", Some(cpu())),
            2 => Alert {
                acknowledged: Some(("me".into(), NOW)),
                ..of(n, Severity::Error, "threshold:cpu_usage", Some(cpu()))
            },
            _ => Alert { resolved: Some(NOW), ..of(n, Severity::Warning, "threshold:disk_usage", Some(disk.clone())) },
        })
        .collect();
    service.store.change(|held| held.alerts = alerts.into_iter().map(|alert| (alert.id.clone(), alert)).collect());
    let series =
        service.registry.series_of(first.agent).iter().find(|one| one.spec.metric == "cpu_usage_percent").unwrap().id.0;
    for (query, kinds) in [
        (String::new(), &[0, 1, 2, 3][..]),
        ("severity=error".into(), &[0, 2]),
        ("severity=critical".into(), &[0]),
        ("type=cpu_usage".into(), &[1, 2]),
        ("metric=disk".into(), &[3]),
        (format!("series={series}"), &[1, 2]),
        ("state=open".into(), &[0, 1]),
        ("state=acknowledged".into(), &[2]),
        ("state=resolved&type=disk_usage".into(), &[3]),
        ("state=open&metric=disk".into(), &[]),
    ] {
        let expect: Vec<String> =
            (0..20_i64).filter(|n| kinds.contains(&(n % 4))).map(|n| format!("{n:032x}")).collect();
        for limit in [1, 2, 7, 100] {
            let id = |alert: &Value| alert["alert_id"].as_str().unwrap().to_owned();
            assert_eq!(
                pages(&service, &token, &format!("alerts?{query}"), limit, id).await,
                expect,
                "{query} by {limit}"
            );
        }
    }
    for wrong in ["after=x", "severity=bad", "series=99"] {
        let status = service.get(&format!("alerts?{wrong}"), &token).await.status;
        assert_eq!(status, if wrong.starts_with("series") { 404 } else { 422 }, "{wrong}");
    }
}

#[tokio::test]
async fn verdicts_are_filtered_and_paged() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = raised(&service, &token).await.agent;
    let series = service.registry.series_of(agent);
    let of = |n: usize| {
        let series = series[n % 3].id;
        let outlier = OutlierVerdict { series, value: 1.0, lower: 0.0, upper: 0.5, score: 2.0, window: 9 };
        let plugin = if n.is_multiple_of(2) { "iqr" } else { "seasonal_2" };
        Verdict {
            tenant: "default".into(),
            agent,
            time: NOW.plus(-i64::try_from(n / 5).unwrap() * MINUTE),
            evidence: Arc::new(Evidence {
                plugin: plugin.into(),
                version: "1".into(),
                digest: String::new(),
                config: String::new(),
            }),
            body: VerdictBody::Outlier(outlier),
        }
    };
    // Of six in a row no two have the same series and plugin.
    let all: Vec<Verdict> = (0..30).map(of).collect();
    service.store.change(|held| held.verdicts.extend(all.clone()));
    let id = |verdict: &Value| {
        format!("{} {} {}", verdict["time"], verdict["evidence"]["plugin"], verdict["body"]["series"])
    };
    let metric = |n: usize| series[n].spec.metric.clone();
    for (query, fits) in [
        ("kind=outlier".to_owned(), Box::new(|_: usize| true) as Box<dyn Fn(usize) -> bool>),
        ("plugin=iqr".to_owned(), Box::new(|n| n.is_multiple_of(2))),
        (format!("series={}", series[1].id.0), Box::new(|n| n % 3 == 1)),
        (format!("metric={}", metric(2)), Box::new(|n| n % 3 == 2)),
        (format!("metric={}&plugin=seasonal_2", metric(0)), Box::new(|n| n % 3 == 0 && !n.is_multiple_of(2))),
        (format!("metric={}&series={}", metric(0), series[1].id.0), Box::new(|_| false)),
    ] {
        let whole = pages(&service, &token, &format!("verdicts?{query}"), 1_000, id).await;
        let times = (0..30).filter(|&n| fits(n)).count();
        assert_eq!((whole.len(), whole.iter().collect::<BTreeSet<_>>().len()), (times, times), "{query}");
        for limit in [1, 4, 7] {
            assert_eq!(
                pages(&service, &token, &format!("verdicts?{query}"), limit, id).await,
                whole,
                "{query} by {limit}"
            );
        }
    }
}
