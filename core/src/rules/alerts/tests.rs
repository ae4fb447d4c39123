use super::*;
use crate::alert_command::{AlertAction, AlertCommand, Handling};
use crate::ids::{AgentId, TenantId};
use proptest::prelude::*;

fn minute(minutes: i64) -> UnixNanos {
    UnixNanos(minutes * MINUTE)
}

fn alert(id: &str, source: &str, severity: Severity, started: UnixNanos) -> Alert {
    Alert {
        id: id.to_owned(),
        tenant: TenantId::default_tenant(),
        agent: AgentId(1),
        severity,
        message: String::new(),
        source: source.to_owned(),
        series: None,
        started,
        resolved: None,
        acknowledged: None,
        handling: Handling::default(),
    }
}

/// What is done to alerts; the id of an alert is its letter.
#[derive(Clone, Copy, Debug)]
enum Act {
    Raise(char, &'static str, Severity),
    Change(char, Severity),
    Acknowledge(char),
    Unacknowledge(char),
    Close(char),
    /// Until this minute.
    Silence(char, i64),
    Unsilence(char),
    Resolve(char),
    Tick,
}

fn command(
    alerts: &mut Alerts,
    id: char,
    action: AlertAction,
    at: UnixNanos,
    policy: Policy<'_>,
    out: &mut EvaluationOutput,
) {
    let (alert, by) = (id.to_string(), "me".to_owned());
    let command = AlertCommand { alert, agent: AgentId(1), action, by, at, comment: None };
    let _ = alerts.command(&command, at, policy, out);
}

fn apply(alerts: &mut Alerts, act: Act, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
    match act {
        Act::Raise(id, source, severity) => {
            alerts.raise(alert(&id.to_string(), source, severity, now), now, policy, out);
        }
        Act::Change(id, severity) => {
            let finding = Finding { severity, message: String::new(), series: None };
            alerts.change(&id.to_string(), finding, now, policy, out);
        }
        Act::Acknowledge(id) => command(alerts, id, AlertAction::Acknowledge, now, policy, out),
        Act::Unacknowledge(id) => command(alerts, id, AlertAction::Unacknowledge, now, policy, out),
        Act::Close(id) => command(alerts, id, AlertAction::Close, now, policy, out),
        Act::Silence(id, until) => {
            command(alerts, id, AlertAction::Silence { until: minute(until) }, now, policy, out);
        }
        Act::Unsilence(id) => command(alerts, id, AlertAction::Unsilence, now, policy, out),
        Act::Resolve(id) => alerts.resolve(&id.to_string(), now, now, policy, out),
        Act::Tick => alerts.tick(now, policy, out),
    }
}

/// Does `acts` at their minutes; what was told, as `minute id event severity`.
fn told(configs: &[AlertConfig], acts: &[(i64, Act)]) -> Vec<String> {
    let policy = Policy { configs, planned: false };
    let (mut alerts, mut out) = (Alerts::default(), EvaluationOutput::default());
    for &(at, act) in acts {
        apply(&mut alerts, act, minute(at), policy, &mut out);
    }
    let show =
        |n: &Notice| format!("{} {} {} {}", n.at.0 / MINUTE, n.alert.id, n.event.name(), n.alert.severity.name());
    out.notices.iter().map(show).collect()
}

/// What it is about, what is configured, what happens, and what is told.
type Case<'a> = (&'a str, &'a AlertConfig, &'a [(i64, Act)], &'a [&'a str]);

const CPU: &str = "threshold:cpu_usage";

fn check(cases: &[Case<'_>]) {
    for (what, config, acts, expect) in cases {
        assert_eq!(told(std::slice::from_ref(*config), acts), *expect, "{what}");
    }
}

#[test]
fn who_is_told_by_type_severity_and_suppression() {
    use Act::{Change, Raise, Resolve, Tick};
    use Severity::{Critical, Warning};
    let any = AlertConfig::new("*", Warning);
    let only_critical = AlertConfig::new("cpu_usage", Critical);
    check(&[
        (
            "its beginning and its end",
            &any,
            &[(0, Raise('a', CPU, Warning)), (5, Resolve('a'))],
            &["0 a raised warning", "5 a resolved warning"],
        ),
        (
            "nothing below the least severity, until it gets there",
            &only_critical,
            &[(0, Raise('a', CPU, Warning)), (5, Change('a', Critical)), (6, Resolve('a'))],
            &["5 a raised critical", "6 a resolved critical"],
        ),
        ("not even its end", &only_critical, &[(0, Raise('a', CPU, Warning)), (5, Resolve('a'))], &[]),
        ("no entry for its type", &only_critical, &[(0, Raise('a', "health", Critical)), (99, Tick)], &[]),
        (
            "suppressed, unless more severe",
            &any,
            &[
                (0, Raise('a', CPU, Warning)),
                (1, Resolve('a')),
                (2, Raise('b', CPU, Warning)),
                (3, Resolve('b')),
                (4, Raise('c', CPU, Critical)),
            ],
            &["0 a raised warning", "1 a resolved warning", "2 b suppressed warning", "4 c raised critical"],
        ),
        (
            "other types are not suppressed",
            &any,
            &[(0, Raise('a', CPU, Warning)), (1, Raise('b', "health", Warning))],
            &["0 a raised warning", "1 b raised warning"],
        ),
    ]);
}

#[test]
fn what_is_told_as_time_passes_and_severities_change() {
    use Act::{Acknowledge, Change, Raise, Resolve, Tick};
    use Severity::{Critical, Warning};
    let any = AlertConfig::new("*", Warning);
    let eager = AlertConfig { suppress_duplicates: false, ..any.clone() };
    check(&[
        (
            "what is open when the window ends is notified",
            &any,
            &[
                (0, Raise('a', CPU, Critical)),
                (1, Resolve('a')),
                (50, Raise('b', CPU, Warning)),
                (90, Acknowledge('b')),
            ],
            &[
                "0 a raised critical",
                "1 a resolved critical",
                "50 b suppressed warning",
                "60 b raised warning",
                "65 b escalated error",
                "90 b acknowledged error",
            ],
        ),
        (
            "without suppression each",
            &eager,
            &[(0, Raise('a', CPU, Warning)), (1, Resolve('a')), (2, Raise('b', CPU, Warning))],
            &["0 a raised warning", "1 a resolved warning", "2 b raised warning"],
        ),
        (
            "one level, once; again only after it got worse",
            &any,
            &[(0, Raise('a', CPU, Warning)), (20, Change('a', Critical)), (99, Tick)],
            &["0 a raised warning", "15 a escalated error", "20 a worsened critical", "35 a escalated emergency"],
        ),
        (
            "an acknowledged alert is left alone",
            &any,
            &[(0, Raise('a', CPU, Warning)), (14, Acknowledge('a')), (99, Resolve('a'))],
            &["0 a raised warning", "14 a acknowledged warning", "99 a resolved warning"],
        ),
        (
            "flapping between two severities is told once",
            &any,
            &[
                (0, Raise('a', CPU, Warning)),
                (1, Change('a', Critical)),
                (2, Change('a', Warning)),
                (3, Change('a', Critical)),
            ],
            &["0 a raised warning", "1 a worsened critical"],
        ),
    ]);
}

#[test]
fn what_people_do_decides_what_is_told() {
    use Act::{Acknowledge, Change, Close, Raise, Resolve, Silence, Tick, Unacknowledge, Unsilence};
    use Severity::{Critical, Warning};
    let any = AlertConfig::new("*", Warning);
    let raise = (0, Raise('a', CPU, Warning));
    check(&[
        (
            "a silence holds back what gets worse, and the delay begins anew behind it",
            &any,
            &[raise, (5, Silence('a', 50)), (10, Change('a', Critical)), (49, Tick), (64, Tick), (65, Tick)],
            &["0 a raised warning", "50 a worsened critical", "65 a escalated emergency"],
        ),
        (
            "the end is told in a silence too",
            &any,
            &[raise, (5, Silence('a', 50)), (10, Resolve('a'))],
            &["0 a raised warning", "10 a resolved warning"],
        ),
        (
            "a silence taken back",
            &any,
            &[raise, (5, Silence('a', 50)), (6, Change('a', Critical)), (20, Unsilence('a')), (34, Tick), (35, Tick)],
            &["0 a raised warning", "20 a worsened critical", "35 a escalated emergency"],
        ),
        (
            "a later silence takes the place of the one before",
            &any,
            &[raise, (5, Silence('a', 50)), (6, Silence('a', 10)), (24, Tick), (25, Tick)],
            &["0 a raised warning", "25 a escalated error"],
        ),
        (
            "who acknowledged it hears nothing when the silence ends",
            &any,
            &[raise, (5, Silence('a', 50)), (6, Acknowledge('a')), (99, Tick)],
            &["0 a raised warning", "6 a acknowledged warning"],
        ),
        (
            "an acknowledgement taken back gives the whole delay again",
            &any,
            &[raise, (1, Acknowledge('a')), (30, Unacknowledge('a')), (31, Unacknowledge('a')), (44, Tick), (45, Tick)],
            &["0 a raised warning", "1 a acknowledged warning", "30 a unacknowledged warning", "45 a escalated error"],
        ),
        (
            "closed is over",
            &any,
            &[raise, (5, Close('a')), (6, Close('a')), (7, Change('a', Critical)), (8, Resolve('a')), (99, Tick)],
            &["0 a raised warning", "5 a resolved warning"],
        ),
    ]);
}

#[test]
fn a_silence_ends_also_where_nobody_is_notified() {
    let policy = Policy { configs: &[], planned: false };
    let (mut alerts, mut out) = (Alerts::default(), EvaluationOutput::default());
    apply(&mut alerts, Act::Raise('a', CPU, Severity::Warning), minute(0), policy, &mut out);
    apply(&mut alerts, Act::Silence('a', 10), minute(1), policy, &mut out);
    let silenced = |alerts: &Alerts| alerts.get("a").is_some_and(|alert| alert.handling.silence.is_some());
    alerts.tick(minute(10).plus(-1), policy, &mut out);
    assert!(silenced(&alerts));
    alerts.tick(minute(10), policy, &mut out);
    assert!(!silenced(&alerts));
    let kept: Vec<bool> = out.alerts.iter().map(|alert| alert.handling.silence.is_some()).collect();
    assert_eq!(kept, [false, true, false], "each change is kept");
}

#[test]
fn the_own_entry_comes_before_the_one_for_all() {
    let configs = [AlertConfig::new("*", Severity::Info), AlertConfig::new("health", Severity::Emergency)];
    let acts =
        [(0, Act::Raise('a', "health", Severity::Critical)), (0, Act::Raise('b', "availability", Severity::Critical))];
    assert_eq!(told(&configs, &acts), ["0 b raised critical"]);
}

#[test]
fn during_maintenance_nothing_escalates() {
    let configs = [AlertConfig::new("*", Severity::Warning)];
    let (mut alerts, mut out) = (Alerts::default(), EvaluationOutput::default());
    let (open, planned) = (Policy { configs: &configs, planned: false }, Policy { configs: &configs, planned: true });
    alerts.raise(alert("a", "health", Severity::Critical, minute(0)), minute(0), open, &mut out);
    alerts.tick(minute(30), planned, &mut out);
    assert_eq!(out.notices.len(), 1);
    alerts.tick(minute(31), open, &mut out);
    assert_eq!(out.notices[1].event, Event::Escalated);
}

#[test]
fn receivers_that_forget_are_told_again() {
    let configs = [AlertConfig::new("health", Severity::Warning)];
    let policy = Policy { configs: &configs, planned: false };
    let (mut alerts, mut out) = (Alerts::default(), EvaluationOutput::default());
    alerts.raise(alert("a", "health", Severity::Critical, minute(0)), minute(0), policy, &mut out);
    alerts.raise(alert("b", "availability", Severity::Critical, minute(0)), minute(0), policy, &mut out);
    out = EvaluationOutput::default();
    alerts.repeat(minute(1), policy, &mut out);
    assert!(out.alerts.is_empty());
    let [notice] = &out.notices[..] else { panic!("{:?}", out.notices) };
    assert_eq!((notice.event, notice.alert.id.as_str()), (Event::StillOpen, "a"));
    // What nobody was to hear of until now.
    let configs = [AlertConfig::new("*", Severity::Warning)];
    out = EvaluationOutput::default();
    alerts.repeat(minute(2), Policy { configs: &configs, planned: false }, &mut out);
    let events: Vec<_> = out.notices.iter().map(|n| (n.event, n.alert.id.as_str())).collect();
    assert_eq!(events, [(Event::StillOpen, "a"), (Event::Raised, "b")]);
}

#[test]
fn what_makes_no_sense_is_named() {
    let good = AlertConfig::new("cpu_usage", Severity::Warning);
    let cases = [
        (AlertConfig { alert_type: "cpu".into(), ..good.clone() }, "alert_type \"cpu\""),
        (AlertConfig { escalation_delay_minutes: 0, ..good.clone() }, "escalation_delay_minutes"),
        (AlertConfig { suppression_window_minutes: 0, ..good.clone() }, "suppression_window_minutes"),
    ];
    for (config, word) in cases {
        let said = check_all(&[config]).unwrap_err();
        assert!(said.contains(word), "{said} does not say {word}");
    }
    assert!(check_all(&[good.clone(), good.clone()]).unwrap_err().contains("twice"));
    check_all(&[good, AlertConfig::new("*", Severity::Info), AlertConfig::new("health", Severity::Info)]).unwrap();
}

fn severity() -> impl Strategy<Value = Severity> {
    prop::sample::select(vec![Severity::Warning, Severity::Error, Severity::Critical])
}

fn act() -> impl Strategy<Value = Act> {
    let id = || prop::sample::select(vec!['a', 'b', 'c']);
    let source = prop::sample::select(vec!["health", "threshold:cpu_usage"]);
    prop_oneof![
        3 => (id(), source, severity()).prop_map(|(id, source, severity)| Act::Raise(id, source, severity)),
        1 => (id(), severity()).prop_map(|(id, severity)| Act::Change(id, severity)),
        1 => id().prop_map(Act::Acknowledge),
        2 => id().prop_map(Act::Resolve),
        1 => Just(Act::Tick),
    ]
}

proptest! {
    /// Ticks between, and a restart between any two acts, change nothing that is told or kept.
    #[test]
    fn neither_ticks_nor_restarts_matter(
        acts in prop::collection::vec((0_i64..25, act()), 1..40),
        ticks in prop::collection::vec(0_i64..25, 40),
        floor in severity(),
    ) {
        let configs = [AlertConfig::new("*", floor)];
        let policy = Policy { configs: &configs, planned: false };
        let run = |disturbed: bool| {
            let (mut alerts, mut out, mut now) = (Alerts::default(), EvaluationOutput::default(), 0);
            for (&(gap, act), &tick) in acts.iter().zip(&ticks) {
                if disturbed {
                    alerts.tick(minute(now + tick.min(gap)), policy, &mut out);
                    alerts = serde_json::from_str(&serde_json::to_string(&alerts).unwrap()).unwrap();
                }
                now += gap;
                apply(&mut alerts, act, minute(now), policy, &mut out);
            }
            alerts.tick(minute(now + 1_000), policy, &mut out);
            (alerts, out)
        };
        let (calm, disturbed) = (run(false), run(true));
        prop_assert_eq!(&calm.0, &disturbed.0);
        prop_assert_eq!(&calm.1.notices, &disturbed.1.notices);
        prop_assert_eq!(&calm.1.alerts, &disturbed.1.alerts);
    }

    /// Nobody hears twice of the same thing, nor of anything below the least severity, nor of an end without a beginning.
    #[test]
    fn notices_make_sense(acts in prop::collection::vec((0_i64..25, act()), 1..60), floor in severity()) {
        let configs = [AlertConfig::new("*", floor)];
        let policy = Policy { configs: &configs, planned: false };
        let (mut alerts, mut out, mut now) = (Alerts::default(), EvaluationOutput::default(), 0);
        for (gap, act) in acts {
            now += gap;
            apply(&mut alerts, act, minute(now), policy, &mut out);
        }
        // By type: the last notification that can suppress.
        let mut last: Vec<(&str, UnixNanos, Severity)> = Vec::new();
        let mut standing: Vec<(&str, Severity)> = Vec::new();
        let mut before = UnixNanos(0);
        for notice in &out.notices {
            let (id, kind) = (notice.alert.id.as_str(), type_of(&notice.alert.source));
            let severity = notice.alert.severity;
            prop_assert!(severity >= floor && notice.at >= before, "{notice:?}");
            before = notice.at;
            let known = standing.iter().position(|(other, _)| *other == id);
            match notice.event {
                Event::Raised | Event::Worsened | Event::Escalated => {
                    prop_assert_eq!(notice.event == Event::Raised, known.is_none(), "{:?}", notice);
                    match known {
                        Some(at) => prop_assert!(severity > standing[at].1, "{notice:?}"),
                        None => {
                            let suppressed = last.iter().any(|(other, at, told)| {
                                *other == kind && notice.at.since(*at) < 60 * MINUTE && severity <= *told
                            });
                            prop_assert!(!suppressed, "{notice:?}");
                        }
                    }
                    standing.retain(|(other, _)| *other != id);
                    standing.push((id, severity));
                    last.retain(|(other, ..)| *other != kind);
                    last.push((kind, notice.at, severity));
                }
                Event::Acknowledged | Event::Unacknowledged => prop_assert!(known.is_some()),
                Event::Resolved => {
                    prop_assert!(known.is_some());
                    standing.retain(|(other, _)| *other != id);
                }
                Event::Suppressed => prop_assert!(known.is_none()),
                Event::StillOpen => prop_assert!(false),
            }
        }
    }
}
