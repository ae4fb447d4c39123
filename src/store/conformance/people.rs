//! What people do: agents that are retired, and maintenance windows.

use super::fixtures::{agent, alert, health, outlier, series, verdict};
use super::{NOON, Subject, ZERO, seal, step_by_step};
use std::sync::Arc;
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::availability::{Interval, State};
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::series::{Attributes, SeriesDesc};
use vitals_core::store::{AlertKey, AlertQuery, Checkpoint, EvaluationOutput, RetiredAgent, VerdictKey, VerdictQuery};
use vitals_core::verdict::{Alert, AlertSeries, Severity, Verdict};

pub(in crate::store) fn retired_agents_are_forgotten(subject: &Subject) {
    let resource: Arc<Attributes> = Arc::default();
    let all = |agents: [u32; 2]| EvaluationOutput {
        agents: agents.iter().map(|&id| agent(id, "n")).collect(),
        series: agents
            .iter()
            .map(|&id| Arc::new(SeriesDesc { agent: AgentId(id), ..(*series(id, &resource)).clone() }))
            .collect(),
        verdicts: agents.iter().map(|&id| verdict(id, NOON, "p", health(1.0))).collect(),
        intervals: agents
            .iter()
            .map(|&id| (AgentId(id), Interval { start: UnixNanos(NOON), end: None, state: State::Up }))
            .collect(),
        alerts: agents.iter().map(|&id| Alert { agent: AgentId(id), ..alert(id, NOON, None) }).collect(),
        ..EvaluationOutput::default()
    };
    let retired = |id: u32| vec![RetiredAgent { agent: AgentId(id), series: vec![SeriesId(id)] }];
    let steps = vec![
        all([0, 1]),
        // One that is stored, and the end of its alert; then one that came and went between two seals.
        EvaluationOutput {
            retired: retired(1),
            alerts: vec![alert(1, NOON, Some(NOON + 1))],
            ..EvaluationOutput::default()
        },
        EvaluationOutput { retired: retired(2), ..all([2, 2]) },
    ];
    step_by_step(subject, steps, |store, at| {
        let expect: &[u32] = if at == 0 { &[0, 1] } else { &[0] };
        let ids = |agents: Vec<AgentId>| {
            let mut ids: Vec<u32> = agents.into_iter().map(|agent| agent.0).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        // What waits for the seal may be in the file still; no question reaches it, since nobody knows the agent.
        let known = |agents: Vec<AgentId>| ids(agents).into_iter().filter(|id| at == 0 || *id == 0).collect::<Vec<_>>();
        let tenant = || TenantId::from("t");
        let verdicts = store.verdicts(&VerdictQuery::of(tenant())).unwrap();
        assert_eq!(known(verdicts.iter().map(|one| one.agent).collect()), expect, "step {at}");
        let alerts = store.alerts(&AlertQuery::of(tenant())).unwrap();
        assert_eq!(known(alerts.iter().map(|one| one.agent).collect()), expect, "step {at}");
    });
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    store.write(ZERO, all([0, 1]));
    seal(&*store, ZERO, Checkpoint::default());
    store.write(ZERO, EvaluationOutput { retired: retired(1), ..EvaluationOutput::default() });
    seal(&*store, ZERO, Checkpoint::default());
    drop(store);
    let store = (subject.open)(folder.path());
    let catalogue = store.catalogue().unwrap();
    assert_eq!(catalogue.agents.iter().map(|agent| agent.id.0).collect::<Vec<_>>(), [0]);
    assert_eq!(catalogue.series.iter().map(|series| series.id.0).collect::<Vec<_>>(), [0]);
    assert_eq!((catalogue.given_out, catalogue.retired), ((2, 2), vec![AgentId(1)]), "their numbers are not free");
    assert_eq!(store.verdicts(&VerdictQuery::of("t".into())).unwrap().len(), 1);
    assert_eq!(store.alerts(&AlertQuery::of("t".into())).unwrap().len(), 1);
    assert_eq!(store.intervals(AgentId(1), UnixNanos(0), UnixNanos(i64::MAX)).unwrap(), []);
    assert_eq!(store.alert(&"t".into(), &alert(1, NOON, None).id).unwrap(), None);
}

pub(in crate::store) fn lists_are_filtered_and_paged(subject: &Subject) {
    let tenant = || TenantId::from("t");
    let findings: Vec<Verdict> = (0..30_i64)
        .map(|n| {
            let plugin = if n % 2 == 0 { "iqr" } else { "seasonal" };
            // Several of one time, so that pages end among them.
            verdict(1, NOON + n / 5, plugin, outlier(u32::try_from(n % 3).unwrap()))
        })
        .collect();
    let series =
        |metric: &str| Some(AlertSeries { metric: metric.into(), attributes: vec![("device".into(), "sda".into())] });
    let raised: Vec<Alert> = (0..30)
        .map(|n: u32| Alert {
            severity: if n.is_multiple_of(2) { Severity::Warning } else { Severity::Critical },
            source: if n.is_multiple_of(3) { "health".into() } else { "threshold:disk_usage".into() },
            series: if n.is_multiple_of(3) { None } else { series("disk") },
            acknowledged: n.is_multiple_of(5).then(|| ("me".to_owned(), UnixNanos(NOON))),
            ..alert(n, NOON + i64::from(n / 4), None)
        })
        .collect();
    let half = |from: usize, to: usize| EvaluationOutput {
        verdicts: findings[from..to].to_vec(),
        alerts: raised[from..to].to_vec(),
        ..EvaluationOutput::default()
    };
    let disk = AlertSeries {
        metric: "disk".into(),
        attributes: vec![("device".into(), "sda".into()), ("mountpoint".into(), "/".into())],
    };
    step_by_step(subject, vec![half(0, 15), half(15, 30)], |store, at| {
        let there = if at == 0 { 15 } else { 30 };
        let all = VerdictQuery::of(tenant());
        for query in [
            all.clone(),
            VerdictQuery { plugin: Some("iqr".into()), ..all.clone() },
            VerdictQuery { series: Some([SeriesId(1), SeriesId(2)].into()), ..all.clone() },
            VerdictQuery { series: Some([SeriesId(7)].into()), ..all.clone() },
            VerdictQuery { plugin: Some("seasonal".into()), series: Some([SeriesId(0)].into()), ..all.clone() },
        ] {
            let mut expect: Vec<Verdict> = findings[..there].iter().filter(|one| query.fits(one)).cloned().collect();
            expect.sort_by_key(VerdictKey::of);
            for limit in [1, 4, 7, 100] {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = store.verdicts(&VerdictQuery { after, limit, ..query.clone() }).unwrap();
                    after = page.last().map(VerdictKey::of);
                    found.extend(page);
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expect, "step {at} by {limit}: {query:?}");
            }
        }
        let all = AlertQuery::of(tenant());
        for query in [
            all.clone(),
            AlertQuery { severity: Some(Severity::Critical), ..all.clone() },
            AlertQuery { acknowledged: Some(true), ..all.clone() },
            AlertQuery { acknowledged: Some(false), resolved: Some(false), ..all.clone() },
            AlertQuery { alert_type: Some("disk_usage".into()), ..all.clone() },
            AlertQuery { metric: Some("disk".into()), agents: Some(vec![AgentId(1)]), ..all.clone() },
            AlertQuery { series: Some(disk.clone()), ..all.clone() },
            AlertQuery { metric: Some("load".into()), ..all.clone() },
        ] {
            let is_of = |one: &Alert| query.agents.as_ref().is_none_or(|agents| agents.contains(&one.agent));
            let mut expect: Vec<Alert> =
                raised[..there].iter().filter(|one| is_of(one) && query.fits(one)).cloned().collect();
            expect.sort_by_key(AlertKey::of);
            for limit in [1, 4, 7, 100] {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = store.alerts(&AlertQuery { after, limit, ..query.clone() }).unwrap();
                    after = page.last().map(AlertKey::of);
                    found.extend(page);
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expect, "step {at} by {limit}: {query:?}");
            }
        }
    });
}

pub(in crate::store) fn the_audit_log_is_listed_latest_first(subject: &Subject) {
    let entry = |n: i64, tenant: &str, by: &str| AuditEntry {
        id: format!("{n:024x}"),
        tenant: tenant.into(),
        // Two at a time.
        at: UnixNanos(NOON + n / 2),
        by: by.to_owned(),
        action: if n % 3 == 0 { "alert closed".to_owned() } else { "agent retired".to_owned() },
        agents: vec!["web-1".to_owned()],
        target: None,
        comment: Some("because".to_owned()),
        detail: None,
    };
    let with = |audit| EvaluationOutput { audit, ..EvaluationOutput::default() };
    let own = |n| entry(n, "t", if n < 3 { "ann" } else { "bob" });
    let steps = vec![
        with(vec![own(0), entry(7, "other", "ann"), own(1)]),
        with(vec![own(2), own(5)]),
        with(vec![own(3), own(4)]),
    ];
    step_by_step(subject, steps, |store, at| {
        let there: &[i64] = [&[0, 1][..], &[2, 5], &[3, 4]][at];
        let before: Vec<i64> = [&[0, 1][..], &[2, 5]][..at.min(2)].concat();
        let mut all: Vec<AuditEntry> = there.iter().chain(&before).map(|&n| own(n)).collect();
        all.sort_by_key(AuditKey::of);
        let (start, end) = (UnixNanos(NOON), UnixNanos(NOON + 2));
        let whole = AuditQuery {
            tenant: "t".into(),
            start: UnixNanos(0),
            end: UnixNanos(i64::MAX),
            by: None,
            action: None,
            after: None,
        };
        for query in [
            whole.clone(),
            AuditQuery { by: Some("bob".to_owned()), ..whole.clone() },
            AuditQuery { action: Some("alert".to_owned()), ..whole.clone() },
            AuditQuery { action: Some("agent retired".to_owned()), start, ..whole.clone() },
            AuditQuery { end, ..whole.clone() },
            AuditQuery { after: Some(AuditKey::of(&all[0])), ..whole.clone() },
            AuditQuery { after: Some(AuditKey::of(&all[1])), ..whole.clone() },
        ] {
            let expect: Vec<&AuditEntry> = all.iter().filter(|entry| query.fits(entry)).collect();
            for most in [1, expect.len() + 1] {
                let mut found = Vec::new();
                store
                    .audit(&query, &mut |entry| {
                        found.push(entry.clone());
                        found.len() < most
                    })
                    .unwrap();
                assert_eq!(found.iter().collect::<Vec<_>>(), expect[..most.min(expect.len())], "step {at} {query:?}");
            }
        }
    });
}

pub(in crate::store) fn windows_are_kept_as_changed_last(subject: &Subject) {
    let window = |id: &str, changed: i64, end: i64| PersonWindow {
        id: id.to_owned(),
        tenant: "t".into(),
        agents: vec!["web-*".to_owned()],
        start: UnixNanos(NOON),
        end: UnixNanos(NOON + end),
        time_zone: Some("Europe/Berlin".to_owned()),
        reason: None,
        by: "ops".to_owned(),
        created: UnixNanos(1),
        changed_by: None,
        changed: UnixNanos(changed),
        cancelled: false,
    };
    let with = |windows| EvaluationOutput { windows, ..EvaluationOutput::default() };
    // Each partition writes each, in an order of its own.
    let steps = vec![
        with(vec![window("a", 5, 50), window("b", 1, 10)]),
        with(vec![window("a", 3, 30), window("b", 2, 20)]),
        with(vec![window("a", 5, 50), window("b", 9, 90)]),
    ];
    step_by_step(subject, steps, |store, at| {
        let mut found = store.windows(&"t".into()).unwrap();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let b = [window("b", 1, 10), window("b", 2, 20), window("b", 9, 90)][at].clone();
        assert_eq!(found, [window("a", 5, 50), b], "step {at}");
        assert_eq!(store.windows(&"other".into()).unwrap(), []);
    });
}
