//! The alerts of an agent: on thresholds, on its health, and what happens to open ones.

use super::{Agent, Measured, Subject};
use crate::evaluate::config::EvaluateConfig;
use serde::{Deserialize, Serialize};
use vitals_core::alert_command::{AlertCommand, Handling};
use vitals_core::ids::{SeriesId, UnixNanos};
use vitals_core::rules::alerts::{self, Finding, Policy};
use vitals_core::rules::health::is_bad;
use vitals_core::rules::thresholds::{BreachState, Step, Threshold};
use vitals_core::series::MetricKind;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{AgentHealth, Alert, AlertSeries, HealthStatus, Severity};

/// The open alert on health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HealthAlert {
    alert: String,
    /// Its severity without escalation.
    severity: Severity,
    /// A person closed it, though health is still bad.
    is_closed: bool,
}

/// The state of a subject's breach, with the id of its open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Breach {
    subject: Subject,
    kind: MetricKind,
    state: BreachState,
    alert: Option<String>,
    /// How bad the last value was when a person closed the alert, though the breach goes on.
    closed: Option<Severity>,
}

impl Agent {
    pub(in crate::evaluate) fn policy<'a>(&self, now: UnixNanos, config: &'a EvaluateConfig) -> Policy<'a> {
        Policy { configs: &config.alerts, planned: self.is_planned(now) }
    }

    /// Time has come to `now`: alerts that are due are escalated or notified.
    pub(in crate::evaluate) fn tick(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
        self.end_quiet_outliers(now, config, out);
        if !self.alerts.is_empty() {
            let policy = self.policy(now, config);
            self.alerts.tick(now, policy, out);
        }
    }

    /// The alerts that are open.
    pub(in crate::evaluate) fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.open()
    }

    /// Says again which alerts are open, for receivers that forget.
    pub(in crate::evaluate) fn repeat(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
        if !self.alerts.is_empty() {
            let policy = self.policy(now, config);
            self.alerts.repeat(now, policy, out);
        }
    }

    /// Alerts of thresholds and of outlier policies that are gone are over.
    pub(in crate::evaluate) fn drop_unjudged(
        &mut self,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        self.end_quiet_outliers(now, config, out);
        let policy = self.policy(now, config);
        let is_judged = |kind: MetricKind| config.thresholds.iter().any(|t| t.metric_type == kind);
        for breach in self.breaches.extract_if(.., |breach| !is_judged(breach.kind)) {
            if let Some(id) = breach.alert {
                self.alerts.resolve(&id, now, now, policy, out);
            }
        }
    }

    /// Applies the threshold of its kind to a value; the alert that it raised. In planned maintenance no value is a
    /// breach, but a good one is good. `series` is asked for the series of a breach.
    pub(in crate::evaluate) fn watch(
        &mut self,
        measured: Measured,
        series: &dyn Fn() -> Option<AlertSeries>,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) -> Option<Alert> {
        let Measured { subject, kind, time, value } = measured;
        let threshold = config.threshold(kind)?;
        let severity = threshold.judge(value);
        let at = self.breaches.iter().position(|b| b.subject == subject);
        if at.is_none() && severity.is_none() {
            return None;
        }
        let policy = self.policy(now, config);
        if policy.planned && severity.is_some() {
            return None;
        }
        let at = at.unwrap_or_else(|| {
            self.breaches.push(Breach { subject, kind, state: BreachState::default(), alert: None, closed: None });
            self.breaches.len() - 1
        });
        let id = self.breaches[at].alert.clone();
        let open = id.as_deref().and_then(|id| self.alerts.get(id));
        // Who closed it has seen it.
        let seen = open.map_or(id.is_some(), |alert| alert.acknowledged.is_some());
        let named = open.and_then(|alert| alert.series.clone());
        let mut raised = None;
        let step = match self.breaches[at].state.step(threshold, severity, time, seen) {
            // A person said that it is over; that it got worse is news.
            Step::Change(worse) if self.breaches[at].closed.is_some_and(|closed| worse > closed) => Step::Raise(worse),
            step => step,
        };
        match (step, id) {
            (Step::Raise(severity), _) => {
                self.breaches[at].closed = None;
                let of = if let Subject::Series(id) = subject { Some(id) } else { None };
                let Finding { severity, message, series } = finding(threshold, value, severity, series());
                let alert = self.alert(&alerts::source_of(kind), of, (severity, message, series), time);
                self.breaches[at].alert = Some(alert.id.clone());
                self.alerts.raise(alert.clone(), now, policy, out);
                raised = Some(alert);
            }
            (Step::Change(severity), Some(id)) => {
                self.alerts.change(&id, finding(threshold, value, severity, series()), now, policy, out);
            }
            (Step::None, Some(id)) => {
                // Another one breaches now, e.g. another disk is the fullest.
                if let Some(severity) = severity
                    && let Some(other) = series().filter(|series| named.as_ref() != Some(series))
                {
                    self.alerts.change(&id, finding(threshold, value, severity, Some(other)), now, policy, out);
                }
            }
            (Step::Resolve, Some(id)) => {
                (self.breaches[at].alert, self.breaches[at].closed) = (None, None);
                self.alerts.resolve(&id, time, now, policy, out);
            }
            _ => {}
        }
        if self.breaches[at].state == BreachState::default() {
            self.breaches.swap_remove(at);
        }
        raised
    }

    /// Raises, changes or resolves the alert on bad health: critical as judged, or because the agent says so itself of
    /// what is not judged critical. None begins or gets worse in planned maintenance.
    pub(in crate::evaluate) fn health_alert(
        &mut self,
        health: &AgentHealth,
        time: UnixNanos,
        policy: Policy<'_>,
        now: UnixNanos,
        out: &mut EvaluationOutput,
    ) {
        let says = self.reported.filter(|reported| is_bad(*reported));
        let severity = match (health.status, says) {
            (HealthStatus::Critical, _) => Some(Severity::Critical),
            (_, Some(_)) => Some(Severity::Error),
            _ => None,
        };
        let Some(severity) = severity else {
            if let Some(open_health_alert) = self.open_health_alert.take() {
                self.alerts.resolve(&open_health_alert.alert, time, now, policy, out);
            }
            return;
        };
        if policy.planned
            || self.open_health_alert.as_ref().is_some_and(|open_health_alert| open_health_alert.severity == severity)
        {
            return;
        }
        let reasons = health.reasons.join("; ");
        let message = format!("health is {}, score {:.0}: {reasons}", health.status.name(), health.score);
        match &mut self.open_health_alert {
            // A person said that it is over; only that it got worse is news.
            Some(known) if known.is_closed && severity < known.severity => return,
            Some(known) if !known.is_closed => {
                known.severity = severity;
                self.alerts.change(&known.alert, Finding { severity, message, series: None }, now, policy, out);
                return;
            }
            _ => {}
        }
        let alert = self.alert(alerts::HEALTH, None, (severity, message, None), time);
        self.open_health_alert = Some(HealthAlert { alert: alert.id.clone(), severity, is_closed: false });
        self.alerts.raise(alert, now, policy, out);
    }

    /// Does what a person wants to an open alert; the alert after it, or `None` when it is none of this agent's.
    pub(in crate::evaluate) fn command(
        &mut self,
        command: &AlertCommand,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) -> Option<Alert> {
        let policy = self.policy(now, config);
        let alert = self.alerts.command(command, now, policy, out)?;
        if alert.handling.closed.is_some() {
            // What it is about goes on: it is not raised again before that ended, or got worse.
            for breach in self.breaches.iter_mut().filter(|breach| breach.alert.as_deref() == Some(&alert.id)) {
                breach.closed = breach.state.severity();
            }
            if let Some(known) = self.open_health_alert.as_mut().filter(|known| known.alert == alert.id) {
                known.is_closed = true;
            }
        }
        Some(alert)
    }

    pub(super) fn alert(
        &self,
        source: &str,
        of: Option<SeriesId>,
        (severity, message, series): (Severity, String, Option<AlertSeries>),
        started: UnixNanos,
    ) -> Alert {
        Alert {
            id: alerts::id_of(&self.tenant, source, self.id, of, started),
            tenant: self.tenant.clone(),
            agent: self.id,
            severity,
            message,
            source: source.to_owned(),
            series,
            started,
            resolved: None,
            acknowledged: None,
            handling: Handling::default(),
        }
    }
}

/// A breach with the series that made it. Of a heartbeat's own fields, which are named after their kind, the message says
/// enough.
fn finding(threshold: &Threshold, value: f64, severity: Severity, series: Option<AlertSeries>) -> Finding {
    let mut message = threshold.sentence(value, severity);
    let kind = threshold.metric_type.name();
    if let Some(series) = series.as_ref().filter(|one| !(one.attributes.is_empty() && one.metric.starts_with(kind))) {
        message += &format!(" ({series})");
    }
    Finding { severity, message, series }
}
