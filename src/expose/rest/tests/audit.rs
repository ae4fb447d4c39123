//! The audit log.

use super::*;
use vitals_core::audit::AuditEntry;

fn entry(n: i64, agents: &[&str], action: &str) -> AuditEntry {
    AuditEntry {
        id: format!("{n:024x}"),
        tenant: "default".into(),
        at: NOW.plus(n / 2 * MINUTE),
        by: if n % 2 == 0 { "ann".into() } else { "bob".into() },
        action: action.into(),
        agents: agents.iter().map(|&agent| agent.to_owned()).collect(),
        target: None,
        comment: None,
        detail: None,
    }
}

#[tokio::test]
async fn who_did_what_is_filtered_paged_and_within_the_token() {
    let service = Service::start().await;
    let entries = [
        entry(0, &["web-1"], "alert closed"),
        entry(1, &["web-*"], "maintenance planned"),
        entry(2, &["db-1"], "agent retired"),
        entry(3, &[], "settings reloaded"),
        entry(4, &["web-1", "db-1"], "maintenance changed"),
        entry(5, &["web-2"], "alert acknowledged"),
        AuditEntry { tenant: "other".into(), ..entry(6, &["web-1"], "alert closed") },
    ];
    service.store.change(|held| held.audit.extend(entries.map(|entry| (entry.id.clone(), entry))));
    let all = service.token(None, None, None);
    let web = service.token(None, Some(&["web-*"]), None);
    let other = service.token(Some("other"), None, None);
    let after = |n: i64| at(n * MINUTE);
    for (token, query, expect) in [
        (&all, String::new(), &[4, 5, 2, 3, 0, 1][..]),
        (&all, "by=ann".into(), &[4, 2, 0]),
        (&all, "action=alert".into(), &[5, 0]),
        (&all, "action=maintenance%20planned".into(), &[1]),
        (&all, "agent=web-1".into(), &[4, 0, 1]),
        (&all, "agent=web-7".into(), &[1]),
        (&all, format!("start={}&end={}", after(1), after(2)), &[2, 3]),
        (&web, String::new(), &[5, 0, 1]),
        (&web, "agent=db-1".into(), &[]),
        (&other, String::new(), &[6]),
    ] {
        for limit in [1, 2, 100] {
            let (mut found, mut next) = (Vec::new(), String::new());
            loop {
                let answer = service.get(&format!("audit?{query}&limit={limit}{next}"), token).await;
                assert_eq!(answer.status, 200, "{query}: {}", answer.body);
                let page = answer.body["entries"].as_array().unwrap();
                found
                    .extend(page.iter().map(|one| i64::from_str_radix(one["audit_id"].as_str().unwrap(), 16).unwrap()));
                let Some(text) = answer.body["next"].as_str() else { break };
                assert_eq!(page.len(), limit, "{query}");
                next = format!("&after={text}");
            }
            assert_eq!(found, expect, "{query} by {limit}");
        }
    }
    for wrong in ["audit?after=x", "audit?agent=%20", "maintenance?agent=a%0A"] {
        assert_eq!(service.get(wrong, &all).await.status, 422, "{wrong}");
    }
    let writer = service.token(None, None, Some("telemetry:write"));
    assert_eq!(service.get("audit", &writer).await.status, 403);
}
