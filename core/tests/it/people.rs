//! What people do to alerts, and the list of what was done.

use std::cmp::Reverse;
use vitals_core::alert_command::{AlertAction, AlertCommand, PersonAct, Silence};
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::verdict::{Alert, Severity};

fn alert(resolved: Option<i64>) -> Alert {
    Alert {
        id: "a".into(),
        tenant: "t".into(),
        agent: AgentId(1),
        severity: Severity::Critical,
        message: "m".into(),
        source: "health".into(),
        series: None,
        started: UnixNanos(10),
        resolved: resolved.map(UnixNanos),
        acknowledged: None,
        handling: Default::default(),
    }
}

fn command(action: AlertAction, at: i64) -> AlertCommand {
    let comment = Some("why".to_owned());
    AlertCommand { alert: "a".into(), agent: AgentId(1), action, by: "ops".into(), at: UnixNanos(at), comment }
}

fn act(at: i64) -> PersonAct {
    PersonAct { by: "ops".into(), at: UnixNanos(at), comment: Some("why".into()) }
}

const SILENCE: AlertAction = AlertAction::Silence { until: UnixNanos(90) };

#[test]
fn each_action_has_its_name() {
    let names = [
        (AlertAction::Acknowledge, "acknowledged"),
        (AlertAction::Unacknowledge, "unacknowledged"),
        (AlertAction::Close, "closed"),
        (SILENCE, "silenced"),
        (AlertAction::Unsilence, "unsilenced"),
    ];
    for (action, name) in names {
        assert_eq!(action.done(), name);
    }
}

#[test]
fn an_open_alert_takes_each_action_once() {
    let mut open = alert(None);
    assert!(!command(AlertAction::Unacknowledge, 20).apply(&mut open), "nobody has acknowledged it");
    assert!(!command(AlertAction::Unsilence, 20).apply(&mut open), "it is not silent");
    assert!(command(AlertAction::Acknowledge, 20).apply(&mut open));
    assert!(!command(AlertAction::Acknowledge, 21).apply(&mut open));
    assert_eq!(open.acknowledged, Some(("ops".into(), UnixNanos(20))));
    assert_eq!(open.handling.acknowledged_because.as_deref(), Some("why"));
    assert!(command(AlertAction::Unacknowledge, 22).apply(&mut open));
    assert_eq!((open.acknowledged.clone(), open.handling.acknowledged_because.clone()), (None, None));
    assert!(command(SILENCE, 30).apply(&mut open));
    assert_eq!(open.handling.silence, Some(Silence { set: act(30), until: UnixNanos(90) }));
    assert!(command(AlertAction::Unsilence, 31).apply(&mut open));
    assert_eq!(open.handling.silence, None);
    // A clock that is behind ends no alert before it began.
    assert!(command(AlertAction::Close, 5).apply(&mut open));
    assert_eq!((open.resolved, open.handling.closed.clone()), (Some(UnixNanos(10)), Some(act(5))));
}

#[test]
fn an_alert_that_is_over_can_only_be_acknowledged_or_not() {
    let mut over = alert(Some(15));
    over.handling.silence = Some(Silence { set: act(12), until: UnixNanos(90) });
    let before = over.clone();
    for action in [AlertAction::Close, SILENCE, AlertAction::Unsilence] {
        assert!(!command(action, 20).apply(&mut over), "{action:?}");
    }
    assert_eq!(over, before);
    assert!(command(AlertAction::Acknowledge, 20).apply(&mut over));
    assert!(command(AlertAction::Unacknowledge, 21).apply(&mut over));
    assert_eq!(over, before);
}

#[test]
fn entries_are_asked_for_by_each_of_their_properties() {
    let entry = AuditEntry {
        id: "b".into(),
        tenant: "t".into(),
        at: UnixNanos(50),
        by: "ops".into(),
        action: "alert closed".into(),
        agents: vec![],
        target: None,
        comment: None,
        detail: None,
    };
    let all = AuditQuery {
        tenant: "t".into(),
        start: UnixNanos(50),
        end: UnixNanos(51),
        by: Some("ops".into()),
        action: Some("alert closed".into()),
        after: Some(AuditKey { at: Reverse(UnixNanos(50)), id: "a".into() }),
    };
    let any = AuditQuery { by: None, action: None, after: None, ..all.clone() };
    assert!(all.fits(&entry) && any.fits(&entry));
    assert!(AuditQuery { action: Some("alert".into()), ..all.clone() }.fits(&entry), "by the first word");
    let key = |at, id: &str| Some(AuditKey { at: Reverse(UnixNanos(at)), id: id.into() });
    assert!(AuditQuery { after: key(51, "z"), ..all.clone() }.fits(&entry), "behind a later one");
    for other in [
        AuditQuery { tenant: "u".into(), ..all.clone() },
        AuditQuery { start: UnixNanos(51), end: UnixNanos(60), ..all.clone() },
        AuditQuery { start: UnixNanos(40), end: UnixNanos(50), ..all.clone() },
        AuditQuery { by: Some("dev".into()), ..all.clone() },
        AuditQuery { action: Some("closed".into()), ..all.clone() },
        AuditQuery { after: key(50, "b"), ..all.clone() },
        AuditQuery { after: key(49, "a"), ..all.clone() },
    ] {
        assert!(!other.fits(&entry), "{other:?}");
    }
}
