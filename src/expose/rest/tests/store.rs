//! A store that keeps everything in lists, and an evaluation of a few lines.

use crate::expose::{RecordSubmitter, Submitted};
use crate::net::Refusal;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use vitals_core::alert_command::{AlertCommand, Handling};
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::availability::Interval;
use vitals_core::ids::{AgentId, Partition, Position, TenantId, UnixNanos};
use vitals_core::live_agents::{LiveAgent, LiveAgents, Liveness};
use vitals_core::maintenance::PersonWindow;
use vitals_core::record::{Heartbeat, Outcome, Record};
use vitals_core::rules::health::{HealthConfig, score};
use vitals_core::store::{
    Aggregation, AlertKey, AlertQuery, Catalogue, Checkpoint, EvaluationOutput, SampleQuery, Store, StoreError,
    StoreStats, VerdictKey, VerdictQuery,
};
use vitals_core::verdict::{Alert, Evidence, OutlierVerdict, Severity, Verdict, VerdictBody};

/// Keeps everything in lists.
#[derive(Default)]
pub struct ListStore {
    pub samples: Mutex<Vec<(u32, UnixNanos, f64)>>,
    pub verdicts: Mutex<Vec<Verdict>>,
    pub intervals: Mutex<Vec<(AgentId, Interval)>>,
    pub alerts: Mutex<Vec<Alert>>,
    pub windows: Mutex<Vec<PersonWindow>>,
    pub audit: Mutex<Vec<AuditEntry>>,
    /// Alerts that were handed out.
    pub alerts_read: AtomicUsize,
    /// The threads that asked how the service is, or for its metrics.
    pub asked_by: Mutex<Vec<ThreadId>>,
}

impl Store for ListStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        Ok(Catalogue::default())
    }

    fn checkpoint(&self, _: Partition) -> Result<Checkpoint, StoreError> {
        Ok(Checkpoint::default())
    }

    fn stored(&self, _: Partition) -> Result<Position, StoreError> {
        Ok(Position(0))
    }

    fn write(&self, _: Partition, output: EvaluationOutput) {
        self.verdicts.lock().extend(output.verdicts);
        self.intervals.lock().extend(output.intervals);
        self.alerts.lock().extend(output.alerts);
    }

    fn seal(&self, _: Partition, _: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        done();
    }

    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let mut rows: Vec<(UnixNanos, f64)> = self
            .samples
            .lock()
            .iter()
            .filter(|(series, time, _)| *series == query.series.0 && (query.start..query.end).contains(time))
            .map(|&(_, time, value)| (time, value))
            .collect();
        rows.sort_by_key(|&(time, _)| time);
        if let Some((step, how)) = query.step {
            let mut steps: Vec<(UnixNanos, Vec<f64>)> = Vec::new();
            for (time, value) in rows {
                let begin = query.start.plus(time.since(query.start) / step * step);
                match steps.last_mut() {
                    Some((last, values)) if *last == begin => values.push(value),
                    _ => steps.push((begin, vec![value])),
                }
            }
            rows = steps.into_iter().map(|(time, values)| (time, aggregate(&values, how))).collect();
        }
        if rows.len() > query.limit {
            return Err(StoreError::TooMuch { limit: query.limit });
        }
        Ok(rows)
    }

    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let mut found = self.verdicts.lock().clone();
        found.retain(|one| {
            one.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&one.agent))
                && query.fits(one)
        });
        found.sort_by_key(VerdictKey::of);
        found.truncate(query.limit);
        Ok(found)
    }

    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        let mut found: Vec<Interval> =
            self.intervals.lock().iter().filter(|(id, _)| *id == agent).map(|&(_, interval)| interval).collect();
        found.retain(|one| one.start < end && one.end.is_none_or(|end| end > start));
        found.sort_by_key(|one| one.start);
        Ok(found)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        let mut found = self.alerts.lock().clone();
        found.retain(|one| {
            one.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&one.agent))
                && query.fits(one)
        });
        found.sort_by_key(AlertKey::of);
        found.truncate(query.limit);
        self.alerts_read.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        let found = self.alerts.lock().iter().find(|one| one.tenant == *tenant && one.id == id).cloned();
        self.alerts_read.fetch_add(found.iter().len(), Ordering::Relaxed);
        Ok(found)
    }

    fn audit(&self, query: &AuditQuery, visit: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError> {
        let mut found = self.audit.lock().clone();
        found.retain(|entry| query.fits(entry));
        found.sort_by_key(AuditKey::of);
        found.iter().all(visit);
        Ok(())
    }

    fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        Ok(self.windows.lock().iter().filter(|window| window.tenant == *tenant).cloned().collect())
    }

    fn maintain(&self, _: UnixNanos) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn stopping(&self) {}

    fn close(&self) {}
}

fn aggregate(values: &[f64], how: Aggregation) -> f64 {
    match how {
        Aggregation::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregation::Max | Aggregation::P95 => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Aggregation::Count => values.len() as f64,
        Aggregation::Last => *values.last().unwrap(),
    }
}

/// Judges as evaluation does, in a few lines.
pub struct EvaluationStub {
    pub store: Arc<ListStore>,
    pub live_agents: Arc<LiveAgents>,
    pub refuse: Mutex<Option<Refusal>>,
    /// Measurements are never done.
    pub stall: Mutex<bool>,
    pub taken: Mutex<Vec<Record>>,
}

impl EvaluationStub {
    fn heartbeat(&self, beat: &Heartbeat, outcome: &mut Outcome) {
        self.store.samples.lock().extend(beat.columns.rows().map(|(s, t, v)| (s.0, t, v)));
        let health = score(&HealthConfig::default(), &beat.measurements, None);
        outcome.health = Some(health.clone());
        outcome.next_expected = Some(beat.timestamp.plus(beat.interval));
        outcome.adaptive_timeout = Some(3 * beat.interval);
        if beat.measurements.cpu_percent.is_some_and(|cpu| cpu >= 95.0) {
            let alert = cpu_alert(beat);
            self.store.alerts.lock().push(alert.clone());
            outcome.alerts.push(alert);
        }
        self.store.verdicts.lock().push(Verdict {
            tenant: beat.tenant.clone(),
            agent: beat.agent,
            time: beat.timestamp,
            evidence: Arc::new(Evidence {
                plugin: "health-score".into(),
                version: "0.1.0".into(),
                digest: "d".into(),
                config: "c".into(),
            }),
            body: VerdictBody::Health(health.clone()),
        });
        let live = LiveAgent {
            liveness: Liveness::OnTime,
            last_evidence: beat.timestamp,
            clock_skew: None,
            interval: beat.interval,
            timeout: 3 * beat.interval,
            measurements: beat.measurements,
            reported: Some(beat.reported),
            recent: Vec::new(),
            health: Some(health),
            sla: None,
        };
        self.live_agents.put([(beat.agent, live)]);
    }
}

impl EvaluationStub {
    /// Does it to the stored alert; evaluation holds those that were open before.
    fn command(&self, command: &AlertCommand) -> Option<Alert> {
        let mut alerts = self.store.alerts.lock();
        let alert = alerts.iter_mut().find(|alert| alert.id == command.alert)?;
        let is_held = alert.resolved.is_none();
        command.apply(alert);
        is_held.then(|| alert.clone())
    }
}

/// The alert of a CPU that is too busy.
fn cpu_alert(beat: &Heartbeat) -> Alert {
    Alert {
        id: format!("alert{}", beat.agent.0),
        tenant: beat.tenant.clone(),
        agent: beat.agent,
        severity: Severity::Critical,
        message: "cpu_usage is 97.0 %, critical from 95.0 %".into(),
        source: "threshold:cpu_usage".into(),
        series: None,
        started: beat.timestamp,
        resolved: None,
        acknowledged: None,
        handling: Handling::default(),
    }
}

impl RecordSubmitter for EvaluationStub {
    fn submit(&self, _: Partition, record: Record, _: usize) -> Submitted {
        if let Some(error) = self.refuse.lock().clone() {
            return Box::pin(async { Err(error) });
        }
        let mut outcome = Outcome::default();
        match &record {
            Record::Heartbeat(beat) => self.heartbeat(beat, &mut outcome),
            Record::Samples(_) if *self.stall.lock() => return Box::pin(std::future::pending()),
            Record::Samples(samples) => {
                self.store.samples.lock().extend(samples.columns.rows().map(|(s, t, v)| (s.0, t, v)));
                outcome.outliers = samples
                    .columns
                    .rows()
                    .filter(|(_, _, value)| *value > 1e6)
                    .map(|(series, _, value)| OutlierVerdict {
                        series,
                        value,
                        lower: 0.0,
                        upper: 1.0,
                        score: 1e6,
                        window: 100,
                    })
                    .collect();
            }
            Record::Maintenance(window) => {
                let mut windows = self.store.windows.lock();
                windows.retain(|known| known.id != window.id);
                windows.push(window.clone());
            }
            Record::Alert(command) => outcome.alert = self.command(command),
            _ => {}
        }
        self.taken.lock().push(record);
        Box::pin(async { Ok(outcome) })
    }
}
