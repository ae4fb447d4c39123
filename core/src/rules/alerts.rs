//! Which alerts anyone hears of, when, and how bad they become if nobody acts.
//!
//! Source: IntelliBrowse's `AlertConfig`; what it leaves open is decided here:
//!
//! - An alert's own severity comes from what raised it (a breach is a warning or critical, silence and bad health are critical).
//!   [`AlertConfig::severity`] is the least severity that is notified.
//! - An alert that nobody acknowledges is raised by one level, once, and notified again; when it gets worse by itself
//!   after that, it may be raised once more.
//! - Within the suppression window after a notification of the same agent and type, another alert of that type is kept
//!   but not notified, unless it is more severe than the one that was. If it is still open when the window ends, it is
//!   notified then.
//! - What gets better without ending is not notified; its end is, if its beginning was.

use crate::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use crate::series::MetricKind;
use crate::store::EvaluationOutput;
use crate::verdict::{Alert, AlertSeries, Event, Notice, Severity};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// The type that stands for every other.
pub const ANY: &str = "*";
/// Silence.
pub const AVAILABILITY: &str = "availability";
/// Bad health.
pub const HEALTH: &str = "health";
/// What the sources of thresholds' alerts begin with.
const THRESHOLD: &str = "threshold:";
const MINUTE: i64 = 60 * UnixNanos::SECOND;
/// Longest delay and window: ten years.
const MOST_MINUTES: u32 = 5_256_000;

/// What happens to alerts of one type: the contract's `AlertConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// `availability`, `health`, a kind of metric such as `cpu_usage`, or `*` for all that have no entry of their own.
    pub alert_type: String,
    /// The least severity that is notified.
    pub severity: Severity,
    /// Names of channels.
    #[serde(default)]
    pub notification_channels: Vec<String>,
    /// An alert that is open and not acknowledged after this time is raised by one level.
    #[serde(default = "quarter")]
    pub escalation_delay_minutes: u32,
    /// Whether `suppression_window_minutes` counts.
    #[serde(default = "yes")]
    pub suppress_duplicates: bool,
    /// After a notification of an agent and type, no other one of them for this time unless it is more severe.
    #[serde(default = "hour")]
    pub suppression_window_minutes: u32,
}

fn quarter() -> u32 {
    15
}

fn hour() -> u32 {
    60
}

fn yes() -> bool {
    true
}

impl AlertConfig {
    /// An entry with the contract's defaults, and no channels.
    #[must_use]
    pub fn new(alert_type: &str, severity: Severity) -> Self {
        Self {
            alert_type: alert_type.to_owned(),
            severity,
            notification_channels: Vec::new(),
            escalation_delay_minutes: quarter(),
            suppress_duplicates: yes(),
            suppression_window_minutes: hour(),
        }
    }

    fn delay(&self) -> i64 {
        i64::from(self.escalation_delay_minutes) * MINUTE
    }

    fn window(&self) -> i64 {
        if self.suppress_duplicates { i64::from(self.suppression_window_minutes) * MINUTE } else { 0 }
    }
}

/// Says what is wrong with a table of alert configurations, if anything.
///
/// # Errors
/// One sentence for the operator.
pub fn check_all(configs: &[AlertConfig]) -> Result<(), String> {
    for (at, config) in configs.iter().enumerate() {
        let name = config.alert_type.as_str();
        let known =
            [ANY, AVAILABILITY, HEALTH].contains(&name) || MetricKind::ALL.iter().any(|kind| kind.name() == name);
        if !known {
            return Err(format!(
                "alert_type {name:?} is none; write availability, health, a metric_type such as cpu_usage, or *"
            ));
        }
        if configs[..at].iter().any(|other| other.alert_type == name) {
            return Err(format!("alert_type {name:?} is there twice"));
        }
        for (key, minutes) in [
            ("escalation_delay_minutes", config.escalation_delay_minutes),
            ("suppression_window_minutes", config.suppression_window_minutes),
        ] {
            if !(1..=MOST_MINUTES).contains(&minutes) {
                return Err(format!("{key} for {name:?} is {minutes}, must be 1 to {MOST_MINUTES}"));
            }
        }
    }
    Ok(())
}

/// The type of an alert, by its source.
#[must_use]
pub fn type_of(source: &str) -> &str {
    source.strip_prefix(THRESHOLD).unwrap_or(source)
}

/// The source of a threshold's alerts.
#[must_use]
pub fn source_of(kind: MetricKind) -> String {
    format!("{THRESHOLD}{}", kind.name())
}

/// The id of an alert: 32 hex digits, the same in a replay.
#[must_use]
pub fn id_of(tenant: &TenantId, source: &str, agent: AgentId, series: Option<SeriesId>, started: UnixNanos) -> String {
    let mut hash = Xxh3::new();
    hash.update(tenant.0.as_bytes());
    hash.update(&[0xFF]);
    hash.update(source.as_bytes());
    hash.update(&[0xFF]);
    hash.update(&agent.0.to_le_bytes());
    hash.update(&series.map_or(u64::MAX, |series| u64::from(series.0)).to_le_bytes());
    hash.update(&started.0.to_le_bytes());
    format!("{:032x}", hash.digest128())
}

/// What holds while alerts are handled.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// One entry a type.
    pub configs: &'a [AlertConfig],
    /// Planned maintenance: nothing is escalated or notified because time passes.
    pub planned: bool,
}

impl<'a> Policy<'a> {
    fn of(self, alert: &Alert) -> Option<&'a AlertConfig> {
        let own = |name: &str| self.configs.iter().find(|config| config.alert_type == name);
        own(type_of(&alert.source)).or_else(|| own(ANY))
    }
}

/// What an open alert is about now.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The series that breached.
    pub series: Option<AlertSeries>,
}

/// An alert that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    alert: Alert,
    /// Its severity without escalation.
    base: Severity,
    /// When it began, or last got worse by itself.
    since: UnixNanos,
    escalated: bool,
    /// The severity that was notified last.
    told: Option<Severity>,
    /// When it is notified after all, if it was suppressed.
    held_until: Option<UnixNanos>,
}

/// The last notification of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Notified {
    alert_type: String,
    at: UnixNanos,
    severity: Severity,
}

/// One agent's open alerts, and what was told of it. What changes goes to an [`EvaluationOutput`]: the alerts as they are kept, and
/// notices.
///
/// Everything that is due by `now` happens first, at its own time, so how often [`Alerts::tick`] is called changes nothing
/// but how soon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    open: Vec<Open>,
    told: Vec<Notified>,
}

impl Alerts {
    /// A new alert; nothing if it is open already.
    pub fn raise(&mut self, alert: Alert, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        self.tick(now, policy, out);
        if self.get(&alert.id).is_some() {
            return;
        }
        out.alerts.push(alert.clone());
        let base = alert.severity;
        self.open.push(Open { alert, base, since: now, escalated: false, told: None, held_until: None });
        self.announce(self.open.len() - 1, Event::Raised, now, policy, out);
    }

    /// The alert with this id, if it is open.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Alert> {
        self.open.iter().map(|open| &open.alert).find(|alert| alert.id == id)
    }

    /// An open alert is this bad now, or about another series.
    pub fn change(
        &mut self,
        id: &str,
        Finding { severity, message, series }: Finding,
        now: UnixNanos,
        policy: Policy<'_>,
        out: &mut EvaluationOutput,
    ) {
        self.tick(now, policy, out);
        let Some(at) = self.place(id) else { return };
        let open = &mut self.open[at];
        if severity > open.base {
            open.since = now;
            open.escalated = false;
        }
        open.base = severity;
        open.alert.severity = if open.escalated { above(severity) } else { severity };
        open.alert.message = message;
        open.alert.series = series;
        out.alerts.push(open.alert.clone());
        self.announce(at, Event::Worsened, now, policy, out);
    }

    /// A person has seen an open alert; whether it is one of these.
    pub fn acknowledge(
        &mut self,
        id: &str,
        by: &str,
        when: UnixNanos,
        now: UnixNanos,
        policy: Policy<'_>,
        out: &mut EvaluationOutput,
    ) -> bool {
        self.tick(now, policy, out);
        let Some(at) = self.place(id) else { return false };
        let open = &mut self.open[at];
        let first = open.alert.acknowledged.is_none();
        open.alert.acknowledged.get_or_insert_with(|| (by.to_owned(), when));
        open.held_until = None;
        out.alerts.push(open.alert.clone());
        if first && open.told.is_some() {
            out.notices.extend(notice(open, Event::Acknowledged, now, policy));
        }
        true
    }

    /// An open alert was over at `ended`.
    pub fn resolve(
        &mut self,
        id: &str,
        ended: UnixNanos,
        now: UnixNanos,
        policy: Policy<'_>,
        out: &mut EvaluationOutput,
    ) {
        self.tick(now, policy, out);
        let Some(at) = self.place(id) else { return };
        let mut open = self.open.swap_remove(at);
        // What ended it may carry an older time than what began it.
        open.alert.resolved = Some(ended.max(open.alert.started));
        if open.told.is_some() {
            out.notices.extend(notice(&open, Event::Resolved, now, policy));
        }
        out.alerts.push(open.alert);
    }

    /// All open alerts are over.
    pub fn resolve_all(&mut self, ended: UnixNanos, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        while let Some(id) = self.open.first().map(|open| open.alert.id.clone()) {
            self.resolve(&id, ended, now, policy, out);
        }
    }

    /// Time has come to `now`: what is due is escalated, or notified after all.
    pub fn tick(&mut self, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        if policy.planned {
            return;
        }
        while let Some((due, at)) = self.next(policy).filter(|(due, _)| *due <= now) {
            let open = &mut self.open[at];
            if open.held_until == Some(due) {
                open.held_until = None;
                self.announce(at, Event::Raised, due, policy, out);
                continue;
            }
            open.escalated = true;
            open.alert.severity = above(open.base);
            out.alerts.push(open.alert.clone());
            self.announce(at, Event::Escalated, due, policy, out);
        }
    }

    /// Says again what was notified and is not over; notifies of what was not, if a new policy says so.
    pub fn repeat(&mut self, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        self.tick(now, policy, out);
        for at in 0..self.open.len() {
            let open = &self.open[at];
            if open.told.is_some() {
                out.notices.extend(notice(open, Event::StillOpen, now, policy));
            } else if open.alert.acknowledged.is_none() && !policy.planned {
                self.announce(at, Event::Raised, now, policy, out);
            }
        }
    }

    /// All that are open.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.open.iter().map(|open| &open.alert)
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.open.iter().position(|open| open.alert.id == id)
    }

    /// What happens next by itself: when, and to which alert.
    fn next(&self, policy: Policy<'_>) -> Option<(UnixNanos, usize)> {
        let due = |(at, open): (usize, &Open)| {
            let config = policy.of(&open.alert)?;
            let waits = open.alert.acknowledged.is_none() && !open.escalated && open.base < Severity::Emergency;
            let escalation = waits.then(|| open.since.plus(config.delay()));
            let first = escalation.into_iter().chain(open.held_until).min()?;
            Some((first, at))
        };
        self.open.iter().enumerate().filter_map(due).min()
    }

    /// Notifies of an alert unless nobody is to hear of it, it was heard of, or another one just was.
    fn announce(&mut self, at: usize, event: Event, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        let open = &mut self.open[at];
        let severity = open.alert.severity;
        let Some(config) = policy.of(&open.alert) else { return };
        if severity < config.severity || open.told.is_some_and(|told| told >= severity) {
            return;
        }
        let alert_type = type_of(&open.alert.source);
        let last = self.told.iter_mut().find(|told| told.alert_type == alert_type);
        if let Some(last) = &last
            && open.told.is_none()
            && last.severity >= severity
            && now.since(last.at) < config.window()
        {
            if open.held_until.is_none() {
                out.notices.extend(notice(open, Event::Suppressed, now, policy));
            }
            open.held_until = Some(last.at.plus(config.window()));
            return;
        }
        open.held_until = None;
        // Whatever made it bad enough: to its receivers it is new.
        let event = if open.told.is_none() { Event::Raised } else { event };
        open.told = Some(severity);
        match last {
            Some(last) => (last.at, last.severity) = (now, severity),
            None => self.told.push(Notified { alert_type: alert_type.to_owned(), at: now, severity }),
        }
        out.notices.extend(notice(open, event, now, policy));
    }
}

/// A notice of an alert; `None` when it has no entry (any more).
fn notice(open: &Open, event: Event, at: UnixNanos, policy: Policy<'_>) -> Option<Notice> {
    let channels = policy.of(&open.alert)?.notification_channels.clone();
    let mut alert = open.alert.clone();
    // Receivers know it as bad as they were told.
    alert.severity = open.told.unwrap_or(alert.severity);
    Some(Notice { event, at, alert, channels })
}

fn above(severity: Severity) -> Severity {
    match severity {
        Severity::Info => Severity::Warning,
        Severity::Warning => Severity::Error,
        Severity::Error => Severity::Critical,
        Severity::Critical | Severity::Emergency => Severity::Emergency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        }
    }

    /// What is done to alerts; the id of an alert is its letter.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Raise(char, &'static str, Severity),
        Change(char, Severity),
        Acknowledge(char),
        Resolve(char),
        Tick,
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
            Act::Acknowledge(id) => drop(alerts.acknowledge(&id.to_string(), "me", now, now, policy, out)),
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

    #[test]
    fn who_hears_what_and_when() {
        use Act::{Acknowledge, Change, Raise, Resolve, Tick};
        use Severity::{Critical, Warning};
        const CPU: &str = "threshold:cpu_usage";
        let any = AlertConfig::new("*", Warning);
        let only_critical = AlertConfig::new("cpu_usage", Critical);
        let eager = AlertConfig { suppress_duplicates: false, ..any.clone() };
        /// What it is about, what is configured, what happens, and what is told.
        type Case<'a> = (&'a str, &'a AlertConfig, &'a [(i64, Act)], &'a [&'a str]);
        let cases: [Case; 11] = [
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
        ];
        for (what, config, acts, expect) in cases {
            assert_eq!(told(std::slice::from_ref(config), acts), expect, "{what}");
        }
    }

    #[test]
    fn the_own_entry_comes_before_the_one_for_all() {
        let configs = [AlertConfig::new("*", Severity::Info), AlertConfig::new("health", Severity::Emergency)];
        let acts = [
            (0, Act::Raise('a', "health", Severity::Critical)),
            (0, Act::Raise('b', "availability", Severity::Critical)),
        ];
        assert_eq!(told(&configs, &acts), ["0 b raised critical"]);
    }

    #[test]
    fn during_maintenance_nothing_escalates() {
        let configs = [AlertConfig::new("*", Severity::Warning)];
        let (mut alerts, mut out) = (Alerts::default(), EvaluationOutput::default());
        let (open, planned) =
            (Policy { configs: &configs, planned: false }, Policy { configs: &configs, planned: true });
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
                    Event::Acknowledged => prop_assert!(known.is_some()),
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
}
