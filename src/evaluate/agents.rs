//! What is known of each agent: its availability, vitals, health, and open alerts.

use super::config::EvaluateConfig;
use crate::clock::rfc3339_seconds;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::availability::{Beat, Interval, State, Tally, Timing, Tracker, planned_over};
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{CurrentHealth, LiveAgent, LiveAgents, Liveness, Observed, Shown, StandingChange};
use vitals_core::record::Measurements;
use vitals_core::rules::alerts::{self, Alerts, Finding, Policy};
use vitals_core::rules::health::is_bad;
use vitals_core::rules::percent::percent;
use vitals_core::rules::thresholds::{BreachState, Step, Threshold};
use vitals_core::series::MetricKind;
use vitals_core::store::EvaluationOutput;
use vitals_core::time::{DAY, HOUR, nanos};
use vitals_core::verdict::{
    AgentHealth, Alert, AlertSeries, Evidence, HealthStatus, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

/// What a threshold is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Subject {
    /// The agent's vitals.
    Measurements(MetricKind),
    /// One series.
    Series(SeriesId),
}

/// A value that a threshold may judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) subject: Subject,
    pub(super) kind: MetricKind,
    pub(super) time: UnixNanos,
    pub(super) value: f64,
}

/// The last value of a typed series that others report of a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    kind: MetricKind,
    time: UnixNanos,
    value: f64,
}

/// The open alert on health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HealthAlert {
    alert: String,
    /// Its severity without escalation.
    severity: Severity,
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
pub(super) struct PlannedWindow {
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
    pub(super) configured: bool,
}

/// A verdict that was stored, so that the same one is not stored again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredVerdict<T> {
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
    pub(super) measurements: Measurements,
    /// The time of the newest measurement in `measurements`.
    pub(super) measured_at: UnixNanos,
    pub(super) memory_total_mb: Option<f64>,
    pub(super) health: Option<AgentHealth>,
    /// What the newest heartbeat says of the agent's health.
    pub(super) reported: Option<HealthStatus>,
    /// What others reported last of it, while it shows no life itself.
    seen: BTreeMap<SeriesId, Seen>,
    pub(super) sla: Option<SlaVerdict>,
    /// Whether its clock is off by more than is allowed.
    pub(super) clock_is_off: bool,
    /// The intervals of the objective's period, by start.
    intervals: Vec<Interval>,
    alerts: Alerts,
    /// The open alert on silence: its id, and when the outage began.
    silence: Option<(String, UnixNanos)>,
    open_health_alert: Option<HealthAlert>,
    breaches: Vec<Breach>,
    /// Maintenance windows that are not over.
    windows: Vec<PlannedWindow>,
    stored_health: Vec<StoredVerdict<(HealthStatus, f64)>>,
    stored_sla: Vec<StoredVerdict<(Risk, Option<i64>)>>,
    /// How it was shown last.
    shown: Option<Shown>,
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
    /// The index of `id`, which is added if it is new.
    pub(super) fn index_of(&mut self, id: AgentId, tenant: &TenantId) -> usize {
        *self.by_id.entry(id).or_insert_with(|| {
            self.all.push(Agent::new(id, tenant.clone()));
            self.all.len() - 1
        })
    }

    pub(super) fn get_mut(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.by_id.get(&id).map(|&at| &mut self.all[at])
    }

    /// Applies an SLA report to its agent.
    pub(super) fn apply_sla_report(
        &mut self,
        id: AgentId,
        (evidence, report): (&Arc<Evidence>, SlaVerdict),
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let agent = &mut self.all[index];
        agent.reported(evidence, now, &report, config, out);
        agent.sla = Some(report);
        self.mark_changed(index);
    }

    /// Replaces all agents.
    pub(super) fn restore(&mut self, all: Vec<Agent>) {
        self.by_id = all.iter().enumerate().map(|(at, agent)| (agent.id, at)).collect();
        self.changed.clear();
        self.all = all;
    }

    /// Remembers that the board has to hear of an agent.
    pub(super) fn mark_changed(&mut self, at: usize) {
        let agent = &mut self.all[at];
        if !agent.changed {
            agent.changed = true;
            self.changed.push(at);
        }
    }

    /// Tells the board what has changed, and `out` who stands otherwise than before.
    pub(super) fn show(
        &mut self,
        timing: &Timing,
        now: UnixNanos,
        live_agents: &LiveAgents,
        out: &mut EvaluationOutput,
    ) {
        let changed = std::mem::take(&mut self.changed);
        let (mut alive, mut observed) = (Vec::new(), Vec::new());
        for at in changed {
            let agent = &mut self.all[at];
            agent.changed = false;
            if let Some(live) = agent.live(timing) {
                out.standings.extend(agent.news(&live, now));
                alive.push((agent.id, live));
            } else if let Some(health) = agent.health.clone() {
                let seen = Observed { health, time: agent.measured_at, measurements: agent.measurements };
                out.standings.extend(agent.news_of_observed(&seen, now));
                observed.push((agent.id, seen));
            } else {
                out.standings.extend(agent.gone(now));
            }
        }
        if !alive.is_empty() {
            live_agents.put(alive);
        }
        if !observed.is_empty() {
            live_agents.put_observed(observed);
        }
    }
}

impl Agent {
    fn new(id: AgentId, tenant: TenantId) -> Self {
        Self {
            id,
            tenant,
            tracker: None,
            measurements: Measurements::default(),
            measured_at: UnixNanos(i64::MIN),
            memory_total_mb: None,
            health: None,
            reported: None,
            seen: BTreeMap::new(),
            sla: None,
            clock_is_off: false,
            intervals: Vec::new(),
            alerts: Alerts::default(),
            silence: None,
            open_health_alert: None,
            breaches: Vec::new(),
            windows: Vec::new(),
            stored_health: Vec::new(),
            stored_sla: Vec::new(),
            shown: None,
            changed: false,
        }
    }

    /// How the board shows it; `None` for what shows no life.
    pub(super) fn live(&self, timing: &Timing) -> Option<LiveAgent> {
        let tracker = self.tracker.as_ref()?;
        let since = tracker.last_contact().plus(-DAY);
        let recent = |interval: &&Interval| interval.end.is_none_or(|end| end > since);
        Some(LiveAgent {
            liveness: tracker.liveness(),
            last_evidence: tracker.last_contact(),
            clock_skew: tracker.skew(),
            interval: tracker.interval(timing),
            timeout: tracker.adaptive_timeout(timing),
            measurements: self.measurements,
            reported: self.reported,
            recent: match self.health {
                Some(_) => Vec::new(),
                None => self.intervals.iter().filter(recent).copied().collect(),
            },
            health: self.health.clone(),
            sla: self.sla.clone(),
        })
    }

    /// What of `live` differs from what was shown last.
    fn news(&mut self, live: &LiveAgent, now: UnixNanos) -> Option<StandingChange> {
        let change = self.stands(live.current_health(now), Some(live.liveness), now)?;
        let (last_evidence, reported, reasons) = (Some(live.last_evidence), live.reported, live.reasons());
        Some(StandingChange { last_evidence, reported, reasons, ..change })
    }

    fn news_of_observed(&mut self, seen: &Observed, now: UnixNanos) -> Option<StandingChange> {
        let change = self.stands(seen.current_health(now), None, now)?;
        Some(StandingChange { reasons: seen.health.reasons.clone(), ..change })
    }

    fn stands(
        &mut self,
        standing: CurrentHealth,
        liveness: Option<Liveness>,
        now: UnixNanos,
    ) -> Option<StandingChange> {
        let before = self.shown;
        let shown = Shown::of(standing, liveness, before, now);
        if before == Some(shown) {
            return None;
        }
        self.shown = Some(shown);
        Some(StandingChange { standing, before, since: shown.since, ..self.unknown(now, liveness) })
    }

    /// It was shown, and is not known any more.
    fn gone(&mut self, now: UnixNanos) -> Option<StandingChange> {
        let before = self.shown.take()?;
        Some(StandingChange { before: Some(before), is_gone: true, ..self.unknown(now, None) })
    }

    fn unknown(&self, now: UnixNanos, liveness: Option<Liveness>) -> StandingChange {
        StandingChange {
            agent: self.id,
            at: now,
            liveness,
            standing: CurrentHealth::UNKNOWN,
            before: None,
            since: now,
            last_evidence: None,
            reported: None,
            reasons: Vec::new(),
            is_gone: false,
        }
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
        let tally = self.tally(now, DAY);
        tally.percent().filter(|_| tally.counted() >= HOUR)
    }

    /// Measurements with the percentages that follow from them and from the agent's memory.
    pub(super) fn with_percentages(&self, mut measurements: Measurements, config: &EvaluateConfig) -> Measurements {
        let total = self.memory_total_mb.unwrap_or(config.memory_total_mb);
        measurements.memory_percent =
            measurements.memory_percent.or_else(|| measurements.memory_mb.and_then(|mb| percent(mb, total)));
        measurements.error_percent =
            measurements.error_percent.or_else(|| percent(measurements.errors?, measurements.requests?));
        measurements
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
        self.seen.clear();
    }

    /// A maintenance window. What of it is in the past changes the past, as far as it is remembered: the objective's
    /// period.
    pub(super) fn plan(&mut self, window: PlannedWindow, now: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        self.windows.retain(|known| known.end > now);
        if window.end > now && !self.windows.contains(&window) {
            self.windows.push(window);
        }
        let settled = self.tracker.as_ref().map_or(now, |tracker| tracker.unsettled_from().min(now));
        changes.extend(planned_over(&self.intervals, window.start, window.end.min(settled)));
        if let Some(tracker) = &mut self.tracker
            && window.end > settled
        {
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
        let is_gone = |window: &PlannedWindow| window.configured && !kept.contains(&(window.start, window.end));
        let gone: Vec<PlannedWindow> = self.windows.extract_if(.., |window| is_gone(window)).collect();
        for window in gone {
            let is_set_too = self.windows.iter().any(|other| (other.start, other.end) == (window.start, window.end));
            if let Some(tracker) = &mut self.tracker {
                if is_set_too {
                    continue;
                }
                tracker.cut_short(window.start, window.end, now, timing, changes);
            }
        }
    }

    /// Whether planned maintenance is under way, by a window or because the agent says so.
    pub(super) fn is_planned(&self, now: UnixNanos) -> bool {
        self.windows.iter().any(|window| window.start <= now && now < window.end)
            || self.tracker.as_ref().and_then(Tracker::running).is_some_and(|r| r.state == State::Maintenance)
    }

    pub(super) fn policy<'a>(&self, now: UnixNanos, config: &'a EvaluateConfig) -> Policy<'a> {
        Policy { configs: &config.alerts, planned: self.is_planned(now) }
    }

    /// Takes what the tracker said has changed: intervals, and the alert on silence.
    pub(super) fn apply_changes(
        &mut self,
        changes: &mut Vec<Interval>,
        name: &dyn Fn(AgentId) -> Arc<str>,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
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
        let was_planned = |time: UnixNanos| {
            let covers = |i: &Interval| i.start <= time && i.end.is_none_or(|end| time < end);
            self.intervals.iter().rev().find(|i| covers(i)).is_some_and(|i| i.state == State::Maintenance)
        };
        if let Some((id, started)) = self.silence.take_if(|(_, started)| silent.is_none() || was_planned(*started)) {
            // The last one: it is in pieces where this service itself was not there. An outage that was taken back ended
            // when it began.
            let is_its = |i: &&Interval| i.start >= started && i.state == State::Silent;
            let ended = self.intervals.iter().rev().find(is_its);
            let ended = ended.and_then(|i| i.end).unwrap_or(started);
            self.alerts.resolve(&id, ended, now, policy, out);
        }
        if let (Some(outage), None) = (silent, &self.silence) {
            let message = format!("{} has been silent since {}", name(self.id), rfc3339_seconds(outage.start));
            let alert = self.alert(alerts::AVAILABILITY, None, (Severity::Critical, message, None), outage.start);
            self.silence = Some((alert.id.clone(), outage.start));
            self.alerts.raise(alert, now, policy, out);
        }
    }

    /// Looks whether the clock is off by more than `bound` nanoseconds; by how much, if it has just come to be.
    pub(super) fn check_clock(&mut self, bound: i64) -> Option<i64> {
        let skew = self.tracker.as_ref().and_then(Tracker::skew);
        let was_off = self.clock_is_off;
        self.clock_is_off = skew.is_some_and(|skew| skew.saturating_abs() > bound);
        skew.filter(|_| self.clock_is_off && !was_off)
    }

    /// Time has come to `now`: alerts that are due are escalated or notified.
    pub(super) fn tick(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
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
    pub(super) fn repeat(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
        if !self.alerts.is_empty() {
            let policy = self.policy(now, config);
            self.alerts.repeat(now, policy, out);
        }
    }

    /// Alerts of thresholds that are gone are over.
    pub(super) fn drop_unjudged(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
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
    pub(super) fn retire(&mut self, now: UnixNanos, config: &EvaluateConfig, out: &mut EvaluationOutput) {
        let policy = self.policy(now, config);
        self.alerts.resolve_all(now, now, policy, out);
        let shown = self.shown;
        *self = Self { shown, changed: self.changed, ..Self::new(self.id, self.tenant.clone()) };
    }

    /// Applies the threshold of its kind to a value; the alert that it raised. In planned maintenance no value is a
    /// breach, but a good one is good. `series` is asked for the series of a breach.
    pub(super) fn watch(
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
            self.breaches.push(Breach { subject, kind, state: BreachState::default(), alert: None });
            self.breaches.len() - 1
        });
        let id = self.breaches[at].alert.clone();
        let open = id.as_deref().and_then(|id| self.alerts.get(id));
        let seen = open.is_some_and(|alert| alert.acknowledged.is_some());
        let named = open.and_then(|alert| alert.series.clone());
        let mut raised = None;
        match (self.breaches[at].state.step(threshold, severity, time, seen), id) {
            (Step::Raise(severity), _) => {
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

    /// Remembers what others report of a target that shows no life itself.
    pub(super) fn observe(&mut self, series: SeriesId, kind: MetricKind, time: UnixNanos, value: f64) {
        if value.is_finite() {
            self.seen.insert(series, Seen { kind, time, value });
        }
    }

    /// The worst of each kind that was reported of it in the hour before `time`.
    pub(super) fn observed(&mut self, time: UnixNanos) -> Measurements {
        self.seen.retain(|_, seen| time.since(seen.time) <= Observed::RECENT);
        let mut measurements = Measurements::default();
        for seen in self.seen.values().filter(|seen| seen.time <= time) {
            if let Some(place) = measurements.of_kind_mut(seen.kind) {
                *place = Some(place.map_or(seen.value, |worst: f64| worst.max(seen.value)));
            }
        }
        measurements
    }

    /// Takes the newest health; when it has not changed it is stored again only after a while.
    pub(super) fn judged(
        &mut self,
        evidence: &Arc<Evidence>,
        time: UnixNanos,
        health: &AgentHealth,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        let what = (health.status, health.score);
        if tell(&mut self.stored_health, &evidence.plugin, what, time, config) {
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
        out: &mut EvaluationOutput,
    ) {
        // A hundredth of the budget is news; so is the first availability that is known at all.
        let left = (!report.availability.is_nan()).then(|| (report.budget_left * 100.0).round() as i64);
        if tell(&mut self.stored_sla, &evidence.plugin, (report.risk, left), time, config) {
            out.verdicts.push(self.verdict(evidence, time, VerdictBody::Sla(report.clone())));
        }
    }

    /// Raises, changes or resolves the alert on bad health: critical as judged, or because the agent says so itself of
    /// what is not judged critical. None begins or gets worse in planned maintenance.
    pub(super) fn health_alert(
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
        if let Some(open_health_alert) = &mut self.open_health_alert {
            open_health_alert.severity = severity;
            self.alerts.change(&open_health_alert.alert, Finding { severity, message, series: None }, now, policy, out);
            return;
        }
        let alert = self.alert(alerts::HEALTH, None, (severity, message, None), time);
        self.open_health_alert = Some(HealthAlert { alert: alert.id.clone(), severity });
        self.alerts.raise(alert, now, policy, out);
    }

    /// A person has seen an open alert; whether it is one of this agent's.
    pub(super) fn acknowledge(
        &mut self,
        (id, by, at): (&str, &str, UnixNanos),
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
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
        }
    }
}

/// Whether a verdict is to be stored: it is new, it changed, or the last one is old.
fn tell<T: PartialEq>(
    told: &mut Vec<StoredVerdict<T>>,
    plugin: &str,
    what: T,
    at: UnixNanos,
    config: &EvaluateConfig,
) -> bool {
    let Some(last) = told.iter_mut().find(|t| t.plugin == plugin) else {
        told.push(StoredVerdict { plugin: plugin.to_owned(), what, at });
        return true;
    };
    let repeat = nanos(config.repeat_seconds);
    if last.what == what && at.since(last.at) < repeat {
        return false;
    }
    last.what = what;
    last.at = at;
    true
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
