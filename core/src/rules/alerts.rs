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
//! - An alert that a person silenced is not notified and does not escalate until the silence ends; its end is notified all the
//!   same. Then the time to escalate begins anew, and what it has become meanwhile is notified.

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
/// Verdicts of outlier detectors.
pub const OUTLIERS: &str = "outliers";
/// What the sources of thresholds' alerts begin with.
const THRESHOLD: &str = "threshold:";
const MINUTE: i64 = 60 * UnixNanos::SECOND;
/// Longest delay and window: ten years.
const MOST_MINUTES: u32 = 5_256_000;

/// What happens to alerts of one type: the contract's `AlertConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// `availability`, `health`, `outliers`, a kind of metric such as `cpu_usage`, or `*` for all that have no entry of their own.
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
        let known = [ANY, AVAILABILITY, HEALTH, OUTLIERS].contains(&name)
            || MetricKind::ALL.iter().any(|kind| kind.name() == name);
        if !known {
            return Err(format!(
                "alert_type {name:?} is none; write availability, health, outliers, a metric_type such as cpu_usage, or *"
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
    match source.split_once(':') {
        Some((OUTLIERS, _)) => OUTLIERS,
        _ => source.strip_prefix(THRESHOLD).unwrap_or(source),
    }
}

/// The source of the alerts of an outlier policy.
#[must_use]
pub fn source_of_outliers(policy: &str) -> String {
    format!("{OUTLIERS}:{policy}")
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

    /// An open alert is this bad now, or about another series. One that is not open, because a person closed it, stays so.
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
            if self.open[at].silenced_until() == Some(due) {
                self.end_silence(at, due, policy, out);
                continue;
            }
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
            if let Some(until) = open.silenced_until() {
                return Some((until, at));
            }
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
        if open.silenced_until().is_some_and(|until| now < until) {
            return;
        }
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

mod people;
#[cfg(test)]
mod tests;
