//! What is known of each agent: its availability, vitals, health, and open alerts.

use super::config::EvaluateConfig;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::availability::{Interval, State, Tally, Timing, Tracker};
use vitals_core::board::AgentLive;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::record::Vitals;
use vitals_core::rules::thresholds::{BreachState, Step};
use vitals_core::seam::Output;
use vitals_core::series::MetricKind;
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};
use xxhash_rust::xxh3::Xxh3;

/// What a threshold is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Subject {
    /// The agent's vitals.
    Vitals(MetricKind),
    /// One series.
    Series(SeriesId),
}

/// Where a subject stands, with its open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Breach {
    subject: Subject,
    state: BreachState,
    alert: Option<Alert>,
}

/// A verdict that was stored, so that the same one is not stored again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told<T> {
    plugin: String,
    what: T,
    at: UnixNanos,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) tenant: TenantId,
    /// `None` until it first shows life: an entity that others report on has no liveness.
    pub(super) tracker: Option<Tracker>,
    pub(super) vitals: Vitals,
    /// The time of the newest measurement in `vitals`.
    pub(super) vitals_time: UnixNanos,
    pub(super) memory_total_mb: Option<f64>,
    pub(super) health: Option<AgentHealth>,
    pub(super) sla: Option<SlaVerdict>,
    /// The own time of the newest heartbeat.
    pub(super) last_heartbeat: UnixNanos,
    /// The intervals of the objective's period, by start.
    intervals: Vec<Interval>,
    silence: Option<Alert>,
    ill: Option<Alert>,
    breaches: Vec<Breach>,
    told_health: Vec<Told<(HealthStatus, f64)>>,
    told_sla: Vec<Told<(Risk, Option<i64>)>>,
    #[serde(skip)]
    changed: bool,
}

/// All agents of a shard.
#[derive(Default)]
pub(super) struct Agents {
    pub(super) all: Vec<Agent>,
    by_id: HashMap<AgentId, usize>,
    changed: Vec<usize>,
}

impl Agents {
    /// Where `id` is, made if it is new.
    pub(super) fn place(&mut self, id: AgentId, tenant: &TenantId) -> usize {
        *self.by_id.entry(id).or_insert_with(|| {
            self.all.push(Agent::new(id, tenant.clone()));
            self.all.len() - 1
        })
    }

    pub(super) fn get_mut(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.by_id.get(&id).map(|&at| &mut self.all[at])
    }

    /// Replaces all agents.
    pub(super) fn restore(&mut self, all: Vec<Agent>) {
        self.by_id = all.iter().enumerate().map(|(at, agent)| (agent.id, at)).collect();
        self.changed.clear();
        self.all = all;
    }

    /// Remembers that the board has to hear of an agent.
    pub(super) fn touch(&mut self, at: usize) {
        let agent = &mut self.all[at];
        if !agent.changed {
            agent.changed = true;
            self.changed.push(at);
        }
    }

    /// What the board has to hear.
    pub(super) fn take_changed(&mut self, timing: &Timing) -> Vec<(AgentId, AgentLive)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|at| {
                let agent = &mut self.all[at];
                agent.changed = false;
                Some((agent.id, agent.live(timing)?))
            })
            .collect()
    }
}

impl Agent {
    fn new(id: AgentId, tenant: TenantId) -> Self {
        Self {
            id,
            tenant,
            tracker: None,
            vitals: Vitals::default(),
            vitals_time: UnixNanos(i64::MIN),
            memory_total_mb: None,
            health: None,
            sla: None,
            last_heartbeat: UnixNanos(i64::MIN),
            intervals: Vec::new(),
            silence: None,
            ill: None,
            breaches: Vec::new(),
            told_health: Vec::new(),
            told_sla: Vec::new(),
            changed: false,
        }
    }

    fn live(&self, timing: &Timing) -> Option<AgentLive> {
        let tracker = self.tracker.as_ref()?;
        Some(AgentLive {
            liveness: tracker.liveness(),
            last_evidence: tracker.last_contact(),
            interval: tracker.interval(timing),
            timeout: tracker.adaptive_timeout(timing),
            vitals: self.vitals,
            health: self.health.clone(),
            sla: self.sla.clone(),
        })
    }

    /// Time in each state over the last `nanos` before `now`.
    pub(super) fn tally(&self, now: UnixNanos, nanos: i64) -> Tally {
        let start = now.plus(-nanos);
        let from = self.intervals.iter().rposition(|i| i.end.is_some_and(|end| end <= start)).map_or(0, |at| at + 1);
        Tally::of(&self.intervals[from..], start, now)
    }

    /// Availability over the last 24 h, percent; none while less than an hour of them is known, which is too little to
    /// judge an agent by.
    pub(super) fn uptime_percent(&self, now: UnixNanos) -> Option<f64> {
        let tally = self.tally(now, 86_400 * UnixNanos::SECOND);
        tally.percent().filter(|_| tally.counted() >= 3_600 * UnixNanos::SECOND)
    }

    /// Takes what the tracker said has changed: intervals, and the alert on silence.
    pub(super) fn moved(&mut self, changes: &mut Vec<Interval>, name: &dyn Fn(AgentId) -> Arc<str>, out: &mut Output) {
        for change in changes.drain(..) {
            match self.intervals.binary_search_by_key(&change.start, |i| i.start) {
                Ok(at) if change.end == Some(change.start) => {
                    self.intervals.remove(at);
                }
                Ok(at) => self.intervals[at] = change,
                Err(_) if change.end == Some(change.start) => {}
                Err(at) => self.intervals.insert(at, change),
            }
            out.intervals.push((self.id, change));
        }
        let running = self.tracker.as_ref().and_then(Tracker::running);
        let silent = running.filter(|r| r.state == State::Silent);
        match (silent, &mut self.silence) {
            (Some(outage), None) => {
                let message = format!("{} has been silent since {}", name(self.id), rfc3339(outage.start));
                let alert = self.alert("availability", None, Severity::Critical, message, outage.start);
                out.alerts.push(alert.clone());
                self.silence = Some(alert);
            }
            (None, Some(alert)) => {
                let ended = self.intervals.iter().find(|i| i.start == alert.started && i.state == State::Silent);
                // An outage that was taken back ended when it began.
                alert.resolved = Some(ended.and_then(|i| i.end).unwrap_or(alert.started));
                out.alerts.extend(self.silence.take());
            }
            _ => {}
        }
    }

    /// Forgets intervals that ended before `before`.
    pub(super) fn forget(&mut self, before: UnixNanos) {
        if self.intervals.first().is_some_and(|i| i.end.is_some_and(|end| end < before)) {
            self.intervals.retain(|i| i.end.is_none_or(|end| end >= before));
        }
    }

    /// The agent is gone for good: its open alerts are closed and its liveness is no longer followed.
    pub(super) fn retire(&mut self, now: UnixNanos, out: &mut Output) {
        let open = [self.silence.take(), self.ill.take()].into_iter().flatten();
        for mut alert in open.chain(self.breaches.drain(..).filter_map(|b| b.alert)) {
            alert.resolved = Some(now);
            out.alerts.push(alert);
        }
        *self = Self { last_heartbeat: self.last_heartbeat, ..Self::new(self.id, self.tenant.clone()) };
    }

    /// Applies the threshold of `kind` to a new value; the alert that it raised.
    pub(super) fn watch(
        &mut self,
        subject: Subject,
        kind: MetricKind,
        value: f64,
        time: UnixNanos,
        config: &EvaluateConfig,
        out: &mut Output,
    ) -> Option<Alert> {
        let threshold = config.thresholds.iter().find(|t| t.kind == kind)?;
        let severity = threshold.judge(value);
        let at = self.breaches.iter().position(|b| b.subject == subject);
        let at = match (at, severity) {
            (Some(at), _) => at,
            (None, None) => return None,
            (None, Some(_)) => {
                self.breaches.push(Breach { subject, state: BreachState::default(), alert: None });
                self.breaches.len() - 1
            }
        };
        let seen = self.breaches[at].alert.as_ref().is_some_and(|a| a.acknowledged.is_some());
        let step = self.breaches[at].state.step(threshold, severity, seen);
        let mut raised = None;
        match step {
            Step::None => {}
            Step::Raise(severity) => {
                let source = format!("threshold:{}", kind.name());
                let series = if let Subject::Series(id) = subject { Some(id) } else { None };
                let alert = self.alert(&source, series, severity, threshold.sentence(value, severity), time);
                out.alerts.push(alert.clone());
                raised = Some(alert.clone());
                self.breaches[at].alert = Some(alert);
            }
            Step::Change(severity) => {
                if let Some(alert) = &mut self.breaches[at].alert {
                    alert.severity = severity;
                    alert.message = threshold.sentence(value, severity);
                    out.alerts.push(alert.clone());
                }
            }
            Step::Resolve => {
                if let Some(mut alert) = self.breaches[at].alert.take() {
                    alert.resolved = Some(time);
                    out.alerts.push(alert);
                }
            }
        }
        if self.breaches[at].state == BreachState::default() {
            self.breaches.swap_remove(at);
        }
        raised
    }

    /// Takes the newest health; when it has not changed it is stored again only after a while.
    pub(super) fn judged(
        &mut self,
        evidence: &Arc<Evidence>,
        time: UnixNanos,
        health: &AgentHealth,
        config: &EvaluateConfig,
        out: &mut Output,
    ) {
        let what = (health.status, health.score);
        if tell(&mut self.told_health, &evidence.plugin, what, time, config) {
            out.verdicts.push(self.verdict(evidence, time, VerdictBody::Health(health.clone())));
        }
    }

    /// Takes the newest SLA report; it is stored again when risk or budget changed, or after a while.
    pub(super) fn reported(
        &mut self,
        evidence: &Arc<Evidence>,
        time: UnixNanos,
        report: &SlaVerdict,
        config: &EvaluateConfig,
        out: &mut Output,
    ) {
        // A hundredth of the budget is news; so is the first availability that is known at all.
        let left = (!report.availability.is_nan()).then(|| (report.budget_left * 100.0).round() as i64);
        if tell(&mut self.told_sla, &evidence.plugin, (report.risk, left), time, config) {
            out.verdicts.push(self.verdict(evidence, time, VerdictBody::Sla(report.clone())));
        }
    }

    /// Raises or resolves the alert on critical health.
    pub(super) fn health_alert(&mut self, health: &AgentHealth, time: UnixNanos, out: &mut Output) {
        match (health.status == HealthStatus::Critical, &mut self.ill) {
            (true, None) => {
                let message = format!("health is critical, score {:.0}: {}", health.score, health.reasons.join("; "));
                let alert = self.alert("health", None, Severity::Critical, message, time);
                out.alerts.push(alert.clone());
                self.ill = Some(alert);
            }
            (false, Some(alert)) => {
                alert.resolved = Some(time);
                out.alerts.extend(self.ill.take());
            }
            _ => {}
        }
    }

    /// A person has seen an open alert; whether it is one of this agent's.
    pub(super) fn acknowledge(&mut self, id: &str, by: &str, at: UnixNanos, out: &mut Output) -> bool {
        let breaches = self.breaches.iter_mut().filter_map(|b| b.alert.as_mut());
        let mut open = self.silence.iter_mut().chain(self.ill.iter_mut()).chain(breaches);
        let Some(alert) = open.find(|alert| alert.id == id) else { return false };
        alert.acknowledged.get_or_insert_with(|| (by.to_owned(), at));
        out.alerts.push(alert.clone());
        true
    }

    fn verdict(&self, evidence: &Arc<Evidence>, time: UnixNanos, body: VerdictBody) -> Verdict {
        Verdict { tenant: self.tenant.clone(), agent: self.id, time, evidence: evidence.clone(), body }
    }

    fn alert(
        &self,
        source: &str,
        series: Option<SeriesId>,
        severity: Severity,
        message: String,
        started: UnixNanos,
    ) -> Alert {
        let mut hash = Xxh3::new();
        hash.update(self.tenant.0.as_bytes());
        hash.update(&[0xFF]);
        hash.update(source.as_bytes());
        hash.update(&[0xFF]);
        hash.update(&self.id.0.to_le_bytes());
        hash.update(&series.map_or(u64::MAX, |s| u64::from(s.0)).to_le_bytes());
        hash.update(&started.0.to_le_bytes());
        Alert {
            id: format!("{:032x}", hash.digest128()),
            tenant: self.tenant.clone(),
            agent: self.id,
            severity,
            message,
            source: source.to_owned(),
            started,
            resolved: None,
            acknowledged: None,
        }
    }
}

/// Whether a verdict is to be stored: it is new, it changed, or the last one is old.
fn tell<T: PartialEq>(told: &mut Vec<Told<T>>, plugin: &str, what: T, at: UnixNanos, config: &EvaluateConfig) -> bool {
    let Some(last) = told.iter_mut().find(|t| t.plugin == plugin) else {
        told.push(Told { plugin: plugin.to_owned(), what, at });
        return true;
    };
    let repeat = i64::try_from(config.repeat_seconds).unwrap_or(i64::MAX).saturating_mul(UnixNanos::SECOND);
    if last.what == what && at.since(last.at) < repeat {
        return false;
    }
    last.what = what;
    last.at = at;
    true
}

/// The value of the vitals that a threshold of `kind` judges.
pub(super) fn vital(vitals: &Vitals, kind: MetricKind) -> Option<f64> {
    match kind {
        MetricKind::CpuUsage => vitals.cpu_percent,
        MetricKind::MemoryUsage => vitals.memory_percent,
        MetricKind::DiskUsage => vitals.disk_percent,
        MetricKind::ResponseTime => vitals.response_ms,
        MetricKind::ErrorRate => vitals.error_percent,
        _ => None,
    }
}

/// RFC 3339 in UTC, to the second.
fn rfc3339(time: UnixNanos) -> String {
    let seconds = time.0.div_euclid(UnixNanos::SECOND);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}
