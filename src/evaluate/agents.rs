//! What is known of each agent: its availability, vitals, health, and open alerts.

use super::config::EvaluateConfig;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::availability::{Beat, Interval, State, Tally, Timing, Tracker};
use vitals_core::board::AgentLive;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::record::Vitals;
use vitals_core::rules::alerts::{self, Alerts, Policy};
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

/// Where a subject stands, with the id of its open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Breach {
    subject: Subject,
    kind: MetricKind,
    state: BreachState,
    alert: Option<String>,
}

/// A maintenance window, and whether the configuration has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
    pub(super) configured: bool,
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
    alerts: Alerts,
    /// The open alert on silence: its id, and when the outage began.
    silence: Option<(String, UnixNanos)>,
    /// The id of the open alert on health.
    ill: Option<String>,
    breaches: Vec<Breach>,
    /// Maintenance windows that are not over.
    windows: Vec<Window>,
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
            alerts: Alerts::default(),
            silence: None,
            ill: None,
            breaches: Vec::new(),
            windows: Vec::new(),
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

    /// Evidence of life.
    pub(super) fn beat(&mut self, beat: Beat, received: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        if let Some(tracker) = &mut self.tracker {
            tracker.beat(beat, received, timing, changes);
            return;
        }
        let mut tracker = Tracker::new(beat, received, timing, changes);
        // Windows that were set before it was first seen.
        for window in &self.windows {
            tracker.maintain(window.start, window.end, received, timing, changes);
        }
        self.tracker = Some(tracker);
    }

    /// A maintenance window.
    pub(super) fn plan(&mut self, window: Window, now: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        self.windows.retain(|known| known.end > now);
        if !self.windows.contains(&window) {
            self.windows.push(window);
        }
        if let Some(tracker) = &mut self.tracker {
            tracker.maintain(window.start, window.end, now, timing, changes);
        }
    }

    /// The configuration has none but `kept` of its maintenance windows any more.
    pub(super) fn unplan(
        &mut self,
        kept: &[(UnixNanos, UnixNanos)],
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        let is_gone = |window: &Window| window.configured && !kept.contains(&(window.start, window.end));
        for window in self.windows.extract_if(.., |window| is_gone(window)) {
            if let Some(tracker) = &mut self.tracker {
                tracker.cut_short(window.start, window.end, now, timing, changes);
            }
        }
    }

    /// Whether planned maintenance is under way, by a window or because the agent says so.
    fn is_planned(&self, now: UnixNanos) -> bool {
        self.windows.iter().any(|window| window.start <= now && now < window.end)
            || self.tracker.as_ref().and_then(Tracker::running).is_some_and(|r| r.state == State::Maintenance)
    }

    fn policy<'a>(&self, now: UnixNanos, config: &'a EvaluateConfig) -> Policy<'a> {
        Policy { configs: &config.alerts, planned: self.is_planned(now) }
    }

    /// Takes what the tracker said has changed: intervals, and the alert on silence.
    pub(super) fn moved(
        &mut self,
        changes: &mut Vec<Interval>,
        name: &dyn Fn(AgentId) -> Arc<str>,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut Output,
    ) {
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
        let policy = self.policy(now, config);
        match (silent, &self.silence) {
            (Some(outage), None) => {
                let message = format!("{} has been silent since {}", name(self.id), rfc3339(outage.start));
                let alert = self.alert(alerts::AVAILABILITY, None, Severity::Critical, message, outage.start);
                self.silence = Some((alert.id.clone(), outage.start));
                self.alerts.raise(alert, now, policy, out);
            }
            (None, Some((id, started))) => {
                let ended = self.intervals.iter().find(|i| i.start == *started && i.state == State::Silent);
                // An outage that was taken back ended when it began.
                let ended = ended.and_then(|i| i.end).unwrap_or(*started);
                self.alerts.resolve(id, ended, now, policy, out);
                self.silence = None;
            }
            _ => {}
        }
    }

    /// Time has come to `now`: alerts that are due are escalated or notified.
    pub(super) fn tick(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut Output) {
        if !self.alerts.is_empty() {
            let policy = self.policy(now, config);
            self.alerts.tick(now, policy, out);
        }
    }

    /// The alerts that are open.
    pub(super) fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.open()
    }

    /// Says again which alerts are open, for receivers that forget.
    pub(super) fn repeat(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut Output) {
        if !self.alerts.is_empty() {
            let policy = self.policy(now, config);
            self.alerts.repeat(now, policy, out);
        }
    }

    /// Alerts of thresholds that are gone are over.
    pub(super) fn drop_unjudged(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut Output) {
        let policy = self.policy(now, config);
        let is_judged = |kind: MetricKind| config.thresholds.iter().any(|t| t.metric_type == kind);
        for breach in self.breaches.extract_if(.., |breach| !is_judged(breach.kind)) {
            if let Some(id) = breach.alert {
                self.alerts.resolve(&id, now, now, policy, out);
            }
        }
    }

    /// Forgets intervals that ended before `before`.
    pub(super) fn forget(&mut self, before: UnixNanos) {
        if self.intervals.first().is_some_and(|i| i.end.is_some_and(|end| end < before)) {
            self.intervals.retain(|i| i.end.is_none_or(|end| end >= before));
        }
    }

    /// The agent is gone for good: its open alerts are closed and its liveness is no longer followed.
    pub(super) fn retire(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut Output) {
        let policy = self.policy(now, config);
        self.alerts.resolve_all(now, now, policy, out);
        *self = Self { last_heartbeat: self.last_heartbeat, ..Self::new(self.id, self.tenant.clone()) };
    }

    /// Applies the threshold of `kind` to the value at `time`; the alert that it raised. In planned maintenance
    /// no value is a breach, but a good one is good.
    pub(super) fn watch(
        &mut self,
        subject: Subject,
        kind: MetricKind,
        (time, value): (UnixNanos, f64),
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut Output,
    ) -> Option<Alert> {
        let threshold = config.thresholds.iter().find(|t| t.metric_type == kind)?;
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
            self.breaches.push(Breach { subject, kind, state: BreachState::default(), alert: None });
            self.breaches.len() - 1
        });
        let id = self.breaches[at].alert.clone();
        let open = id.as_deref().and_then(|id| self.alerts.get(id));
        let seen = open.is_some_and(|alert| alert.acknowledged.is_some());
        let mut raised = None;
        match (self.breaches[at].state.step(threshold, severity, time, seen), id) {
            (Step::Raise(severity), _) => {
                let series = if let Subject::Series(id) = subject { Some(id) } else { None };
                let message = threshold.sentence(value, severity);
                let alert = self.alert(&alerts::source_of(kind), series, severity, message, time);
                self.breaches[at].alert = Some(alert.id.clone());
                self.alerts.raise(alert.clone(), now, policy, out);
                raised = Some(alert);
            }
            (Step::Change(severity), Some(id)) => {
                self.alerts.change(&id, severity, threshold.sentence(value, severity), now, policy, out);
            }
            (Step::Resolve, Some(id)) => {
                self.breaches[at].alert = None;
                self.alerts.resolve(&id, time, now, policy, out);
            }
            _ => {}
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

    /// Raises or resolves the alert on critical health; planned maintenance raises none.
    pub(super) fn health_alert(
        &mut self,
        health: &AgentHealth,
        time: UnixNanos,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut Output,
    ) {
        let policy = self.policy(now, config);
        match (health.status == HealthStatus::Critical, &self.ill) {
            (true, None) if !policy.planned => {
                let message = format!("health is critical, score {:.0}: {}", health.score, health.reasons.join("; "));
                let alert = self.alert(alerts::HEALTH, None, Severity::Critical, message, time);
                self.ill = Some(alert.id.clone());
                self.alerts.raise(alert, now, policy, out);
            }
            (false, Some(id)) => {
                self.alerts.resolve(id, time, now, policy, out);
                self.ill = None;
            }
            _ => {}
        }
    }

    /// A person has seen an open alert; whether it is one of this agent's.
    pub(super) fn acknowledge(
        &mut self,
        (id, by, at): (&str, &str, UnixNanos),
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut Output,
    ) -> bool {
        let policy = self.policy(now, config);
        self.alerts.acknowledge(id, by, at, now, policy, out)
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
pub(super) fn rfc3339(time: UnixNanos) -> String {
    let seconds = time.0.div_euclid(UnixNanos::SECOND);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}
