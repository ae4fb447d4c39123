//! Open alerts: what is kept of them, and which notices they give.

use vitals_core::alert_command::{AlertAction, AlertCommand, Handling};
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::rules::alerts::{AlertConfig, Alerts, Finding, Policy, id_of, source_of, type_of};
use vitals_core::series::MetricKind;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{Alert, AlertSeries, Event, Severity};

const MINUTE: i64 = 60 * UnixNanos::SECOND;

fn minute(minutes: i64) -> UnixNanos {
    UnixNanos(minutes * MINUTE)
}

fn alert(id: &str, source: &str, severity: Severity, started: UnixNanos) -> Alert {
    Alert {
        id: id.to_owned(),
        tenant: TenantId::default_tenant(),
        agent: AgentId(1),
        severity,
        message: "begins".to_owned(),
        source: source.to_owned(),
        series: None,
        started,
        resolved: None,
        acknowledged: None,
        handling: Handling::default(),
    }
}

fn finding(severity: Severity) -> Finding {
    Finding { severity, message: "changed".to_owned(), series: None }
}

/// Who is notified: `minute id event severity`.
fn told(out: &EvaluationOutput) -> Vec<String> {
    let show = |notice: &vitals_core::verdict::Notice| {
        let (event, severity) = (notice.event.name(), notice.alert.severity.name());
        format!("{} {} {event} {severity}", notice.at.0 / MINUTE, notice.alert.id)
    };
    out.notices.iter().map(show).collect()
}

/// One agent's alerts under one configuration.
struct Agent {
    configs: Vec<AlertConfig>,
    planned: bool,
    alerts: Alerts,
    out: EvaluationOutput,
}

fn command(id: &str, by: &str, at: i64, action: AlertAction) -> AlertCommand {
    let (alert, by) = (id.to_owned(), by.to_owned());
    AlertCommand { alert, agent: AgentId(1), action, by, at: minute(at), comment: Some("because".to_owned()) }
}

impl Agent {
    fn new(configs: Vec<AlertConfig>) -> Self {
        Self { configs, planned: false, alerts: Alerts::default(), out: EvaluationOutput::default() }
    }

    fn of_all(severity: Severity) -> Self {
        Self::new(vec![AlertConfig::new("*", severity)])
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Alerts, Policy<'_>, &mut EvaluationOutput) -> T) -> T {
        let policy = Policy { configs: &self.configs, planned: self.planned };
        act(&mut self.alerts, policy, &mut self.out)
    }

    fn raise(&mut self, at: i64, id: &str, source: &str, severity: Severity) {
        let now = minute(at);
        self.act(|alerts, policy, out| alerts.raise(alert(id, source, severity, now), now, policy, out));
    }

    fn change(&mut self, at: i64, id: &str, finding: Finding) {
        self.act(|alerts, policy, out| alerts.change(id, finding, minute(at), policy, out));
    }

    fn command(&mut self, at: i64, id: &str, by: &str, action: AlertAction) -> bool {
        let command = command(id, by, at, action);
        self.act(|alerts, policy, out| alerts.command(&command, minute(at), policy, out).is_some())
    }

    fn acknowledge(&mut self, at: i64, id: &str, by: &str) -> bool {
        self.command(at, id, by, AlertAction::Acknowledge)
    }

    fn resolve(&mut self, ended: i64, at: i64, id: &str) {
        self.act(|alerts, policy, out| alerts.resolve(id, minute(ended), minute(at), policy, out));
    }

    fn tick(&mut self, at: i64) {
        self.act(|alerts, policy, out| alerts.tick(minute(at), policy, out));
    }

    fn repeat(&mut self, at: i64) {
        self.act(|alerts, policy, out| alerts.repeat(minute(at), policy, out));
    }

    fn open(&self) -> Vec<&str> {
        self.alerts.open().map(|alert| alert.id.as_str()).collect()
    }
}

#[test]
fn a_source_names_its_type() {
    for kind in MetricKind::ALL {
        let source = source_of(kind);
        assert_eq!((source.as_str(), type_of(&source)), (&*format!("threshold:{}", kind.name()), kind.name()));
    }
    assert_eq!((type_of("health"), type_of("availability")), ("health", "availability"));
}

#[test]
fn an_id_is_made_of_everything_that_an_alert_is_about() {
    let id = |tenant: &str, source, agent, series: Option<u32>, started| {
        id_of(&TenantId::from(tenant), source, AgentId(agent), series.map(SeriesId), UnixNanos(started))
    };
    let ids = [
        id("a", "health", 1, None, 5),
        id("b", "health", 1, None, 5),
        id("a", "availability", 1, None, 5),
        id("a", "health", 2, None, 5),
        id("a", "health", 1, Some(0), 5),
        id("a", "health", 1, Some(1), 5),
        id("a", "health", 1, None, 6),
        id("ah", "ealth", 1, None, 5),
    ];
    for (at, one) in ids.iter().enumerate() {
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert!(!ids[..at].contains(one), "{at}");
    }
    assert_eq!(id("a", "health", 1, None, 5), ids[0]);
}

#[test]
fn an_alert_is_open_from_its_beginning_to_its_end() {
    let mut agent = Agent::of_all(Severity::Warning);
    assert!(agent.alerts.is_empty() && agent.open().is_empty() && agent.alerts.get("a").is_none());
    agent.raise(0, "a", "health", Severity::Warning);
    agent.raise(0, "b", "availability", Severity::Critical);
    assert_eq!((agent.open(), agent.alerts.is_empty()), (vec!["a", "b"], false));
    assert_eq!(agent.alerts.get("b").map(|alert| alert.source.as_str()), Some("availability"));
    agent.resolve(1, 2, "b");
    assert_eq!((agent.open(), agent.alerts.get("b")), (vec!["a"], None));
    agent.resolve(1, 2, "a");
    assert!(agent.alerts.is_empty());
    // Each is kept when it begins and when it ends.
    let kept: Vec<_> = agent.out.alerts.iter().map(|alert| (alert.id.as_str(), alert.resolved)).collect();
    assert_eq!(kept, [("a", None), ("b", None), ("b", Some(minute(1))), ("a", Some(minute(1)))]);
}

#[test]
fn an_alert_that_is_open_is_not_raised_again() {
    let mut agent = Agent::of_all(Severity::Warning);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.raise(1, "a", "health", Severity::Critical);
    assert_eq!((agent.open(), agent.out.alerts.len()), (vec!["a"], 1));
    assert_eq!(told(&agent.out), ["0 a raised warning"]);
}

#[test]
fn an_end_is_never_before_its_beginning() {
    let mut agent = Agent::of_all(Severity::Warning);
    agent.raise(10, "a", "health", Severity::Warning);
    agent.resolve(5, 11, "a");
    assert_eq!(agent.out.alerts[1].resolved, Some(minute(10)));
    // The notice says when it was told, not when it ended.
    assert_eq!(told(&agent.out), ["10 a raised warning", "11 a resolved warning"]);
}

#[test]
fn what_is_not_open_is_neither_changed_nor_acknowledged_nor_resolved() {
    let mut agent = Agent::of_all(Severity::Warning);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.change(1, "b", finding(Severity::Critical));
    agent.resolve(1, 1, "b");
    assert!(!agent.acknowledge(1, "b", "me"));
    assert_eq!((agent.open(), agent.out.alerts.len()), (vec!["a"], 1));
    assert_eq!(told(&agent.out), ["0 a raised warning"]);
}

#[test]
fn a_change_is_kept_with_its_message_and_series() {
    let mut agent = Agent::of_all(Severity::Warning);
    agent.raise(0, "a", "health", Severity::Warning);
    let series = AlertSeries { metric: "m".to_owned(), attributes: Vec::new() };
    let change = Finding { series: Some(series.clone()), ..finding(Severity::Critical) };
    agent.change(1, "a", change);
    let changed = agent.out.alerts.last().unwrap();
    assert_eq!(
        (changed.severity, changed.message.as_str(), &changed.series),
        (Severity::Critical, "changed", &Some(series))
    );
    assert_eq!(agent.alerts.get("a"), Some(changed));
}

#[test]
fn the_first_person_who_acknowledges_is_remembered_and_told_of_once() {
    let mut agent = Agent::of_all(Severity::Warning);
    agent.raise(0, "a", "health", Severity::Warning);
    assert!(agent.acknowledge(1, "a", "ann") && agent.acknowledge(2, "a", "bob"));
    let acknowledged = Some(("ann".to_owned(), minute(1)));
    assert_eq!(agent.alerts.get("a").map(|alert| alert.acknowledged.clone()), Some(acknowledged));
    assert_eq!(told(&agent.out), ["0 a raised warning", "1 a acknowledged warning"]);
    // Nobody hears that an alert was seen of which nobody heard.
    let mut quiet = Agent::of_all(Severity::Emergency);
    quiet.raise(0, "a", "health", Severity::Warning);
    assert!(quiet.acknowledge(1, "a", "ann"));
    assert_eq!(told(&quiet.out), Vec::<String>::new());
}

#[test]
fn acknowledging_from_afar_marks_an_alert_once() {
    let mut of = alert("a", "health", Severity::Warning, minute(0));
    let by = |by: &str, at| command("a", by, at, AlertAction::Acknowledge);
    assert!(by("ann", 1).apply(&mut of));
    assert!(!by("bob", 2).apply(&mut of));
    assert_eq!(of.acknowledged, Some(("ann".to_owned(), minute(1))));
}

#[test]
fn all_open_alerts_end_together() {
    let mut agent = Agent::of_all(Severity::Warning);
    for (id, source) in [("a", "health"), ("b", "availability"), ("c", "threshold:cpu_usage")] {
        agent.raise(0, id, source, Severity::Warning);
    }
    agent.act(|alerts, policy, out| alerts.resolve_all(minute(3), minute(4), policy, out));
    assert!(agent.alerts.is_empty());
    let mut ended: Vec<_> = agent.out.alerts[3..].iter().map(|alert| (alert.id.as_str(), alert.resolved)).collect();
    ended.sort_unstable();
    assert_eq!(ended, [("a", Some(minute(3))), ("b", Some(minute(3))), ("c", Some(minute(3)))]);
}

#[test]
fn an_alert_escalates_when_its_delay_is_over_by_one_level_up_to_emergency() {
    use Severity::{Critical, Emergency, Error, Info, Warning};
    for (severity, above) in [(Info, "warning"), (Warning, "error"), (Error, "critical"), (Critical, "emergency")] {
        let mut agent = Agent::of_all(Info);
        agent.raise(0, "a", "health", severity);
        agent.act(|alerts, policy, out| alerts.tick(minute(15).plus(-1), policy, out));
        assert_eq!(agent.out.notices.len(), 1, "{severity:?}");
        agent.tick(15);
        assert_eq!(told(&agent.out)[1..], [format!("15 a escalated {above}")]);
        assert_eq!(agent.out.alerts.last().map(|alert| alert.severity.name()), Some(above), "what is kept is as bad");
        agent.tick(1_000);
        assert_eq!(agent.out.notices.len(), 2, "{severity:?} escalates once");
    }
    // There is nothing above an emergency.
    let mut worst = Agent::of_all(Info);
    worst.raise(0, "a", "health", Emergency);
    worst.tick(1_000);
    assert_eq!((told(&worst.out), worst.out.alerts.len()), (vec!["0 a raised emergency".to_owned()], 1));
}

#[test]
fn what_gets_worse_by_itself_has_its_delay_anew_and_what_gets_better_has_not() {
    let mut worse = Agent::of_all(Severity::Info);
    worse.raise(0, "a", "health", Severity::Info);
    worse.change(10, "a", finding(Severity::Warning));
    worse.tick(24);
    assert_eq!(told(&worse.out), ["0 a raised info", "10 a worsened warning"]);
    worse.tick(25);
    assert_eq!(told(&worse.out)[2..], ["25 a escalated error"]);
    let mut same = Agent::of_all(Severity::Info);
    same.raise(0, "a", "health", Severity::Warning);
    same.change(10, "a", finding(Severity::Warning));
    same.change(11, "a", finding(Severity::Info));
    same.change(12, "a", finding(Severity::Info));
    same.tick(15);
    // It is raised from what it is now, and nobody hears of what is not worse than what was told.
    assert_eq!(told(&same.out), ["0 a raised warning"]);
    assert_eq!(same.alerts.get("a").map(|alert| alert.severity), Some(Severity::Warning));
}

#[test]
fn an_escalated_alert_stays_above_what_it_is_by_itself() {
    let mut agent = Agent::of_all(Severity::Info);
    agent.raise(0, "a", "health", Severity::Error);
    agent.tick(15);
    agent.change(16, "a", finding(Severity::Warning));
    assert_eq!(agent.alerts.get("a").map(|alert| alert.severity), Some(Severity::Error));
    // Worse than before, but not worse than what was told.
    agent.change(17, "a", finding(Severity::Critical));
    assert_eq!(agent.alerts.get("a").map(|alert| alert.severity), Some(Severity::Critical));
    assert_eq!(told(&agent.out), ["0 a raised error", "15 a escalated critical"]);
}

#[test]
fn the_suppression_window_ends_on_time() {
    for (second, event) in [(59, "suppressed"), (60, "raised")] {
        let mut agent = Agent::of_all(Severity::Info);
        agent.raise(0, "a", "health", Severity::Warning);
        agent.resolve(1, 1, "a");
        agent.raise(second, "b", "health", Severity::Warning);
        assert_eq!(told(&agent.out).last(), Some(&format!("{second} b {event} warning")));
    }
    // It counts from the last notification of the type, an escalation included.
    let mut agent = Agent::of_all(Severity::Info);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.tick(15);
    agent.raise(70, "b", "health", Severity::Error);
    assert_eq!(told(&agent.out)[2..], ["70 b suppressed error"]);
    agent.tick(80);
    assert_eq!(told(&agent.out)[3..], ["75 b raised error"]);
}

#[test]
fn a_suppressed_alert_is_told_of_when_it_becomes_worse_than_what_suppressed_it() {
    let mut agent = Agent::of_all(Severity::Info);
    agent.raise(0, "a", "health", Severity::Error);
    agent.resolve(1, 1, "a");
    agent.raise(2, "b", "health", Severity::Warning);
    agent.change(3, "b", finding(Severity::Error));
    agent.change(4, "b", finding(Severity::Critical));
    assert_eq!(told(&agent.out)[2..], ["2 b suppressed warning", "4 b raised critical"]);
    agent.tick(18);
    assert_eq!(agent.out.notices.len(), 4, "its window is over with the notification");
    agent.tick(19);
    assert_eq!(told(&agent.out)[4..], ["19 b escalated emergency"]);
}

#[test]
fn an_acknowledged_alert_is_not_told_of_when_its_suppression_ends() {
    let mut agent = Agent::of_all(Severity::Info);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.resolve(1, 1, "a");
    agent.raise(50, "b", "health", Severity::Warning);
    assert!(agent.acknowledge(55, "b", "me"));
    agent.tick(1_000);
    assert_eq!(told(&agent.out)[2..], ["50 b suppressed warning"]);
}

#[test]
fn planned_maintenance_holds_up_what_is_due_until_it_is_over() {
    let mut agent = Agent::of_all(Severity::Info);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.planned = true;
    agent.tick(100);
    agent.repeat(100);
    assert_eq!(told(&agent.out), ["0 a raised warning", "100 a standing warning"]);
    agent.planned = false;
    agent.tick(101);
    assert_eq!(told(&agent.out)[2..], ["15 a escalated error"]);
}

#[test]
fn repeating_tells_of_what_a_new_configuration_lets_through() {
    let mut agent = Agent::of_all(Severity::Critical);
    agent.raise(0, "a", "health", Severity::Warning);
    agent.raise(0, "b", "availability", Severity::Warning);
    assert!(agent.acknowledge(1, "b", "me"));
    agent.configs = vec![AlertConfig::new("*", Severity::Info)];
    agent.planned = true;
    agent.repeat(2);
    assert_eq!(told(&agent.out), Vec::<String>::new(), "maintenance is no time to tell of what is new");
    agent.planned = false;
    agent.repeat(3);
    // Of what a person has seen nobody needs to hear.
    assert_eq!(told(&agent.out), ["3 a raised warning"]);
    agent.repeat(4);
    assert_eq!(told(&agent.out)[1..], ["4 a standing warning"]);
}

#[test]
fn the_channels_are_those_of_the_alerts_type() {
    let channels = |name: &str, to: &str| AlertConfig {
        notification_channels: vec![to.to_owned()],
        ..AlertConfig::new(name, Severity::Info)
    };
    let mut agent = Agent::new(vec![channels("*", "all"), channels("cpu_usage", "cpu")]);
    agent.raise(0, "a", &source_of(MetricKind::CpuUsage), Severity::Warning);
    agent.raise(0, "b", "health", Severity::Warning);
    let to: Vec<_> = agent.out.notices.iter().map(|notice| (notice.event, notice.channels.join(","))).collect();
    assert_eq!(to, [(Event::Raised, "cpu".to_owned()), (Event::Raised, "all".to_owned())]);
}
