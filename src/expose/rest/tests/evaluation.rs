//! An evaluation of a few lines.

use crate::expose::{RecordSubmitter, Submitted};
use crate::net::Refusal;
use crate::testing::MemoryStore;
use parking_lot::Mutex;
use std::sync::Arc;
use vitals_core::alert_command::{AlertCommand, Handling};
use vitals_core::columns::Columns;
use vitals_core::ids::Partition;
use vitals_core::live_agents::{LiveAgent, LiveAgents, Liveness};
use vitals_core::record::{Heartbeat, Outcome, Record};
use vitals_core::rules::health::{HealthConfig, score};
use vitals_core::verdict::{Alert, Evidence, OutlierVerdict, Severity, Verdict, VerdictBody};

/// Judges as evaluation does, in a few lines.
pub struct EvaluationStub {
    pub store: Arc<MemoryStore>,
    pub live_agents: Arc<LiveAgents>,
    pub refuse: Mutex<Option<Refusal>>,
    /// Measurements are never done.
    pub stall: Mutex<bool>,
    pub taken: Mutex<Vec<Record>>,
}

impl EvaluationStub {
    fn keep(&self, columns: &Columns) {
        self.store
            .change(|held| held.samples.extend(columns.rows().map(|(series, time, value)| ((series, time), value))));
    }

    fn heartbeat(&self, beat: &Heartbeat, outcome: &mut Outcome) {
        self.keep(&beat.columns);
        let health = score(&HealthConfig::default(), &beat.measurements, None);
        outcome.health = Some(health.clone());
        outcome.next_expected = Some(beat.timestamp.plus(beat.interval));
        outcome.adaptive_timeout = Some(3 * beat.interval);
        if beat.measurements.cpu_percent.is_some_and(|cpu| cpu >= 95.0) {
            let alert = cpu_alert(beat);
            self.store.change(|held| held.alerts.insert(alert.id.clone(), alert.clone()));
            outcome.alerts.push(alert);
        }
        let verdict = Verdict {
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
        };
        self.store.change(|held| held.verdicts.push(verdict));
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
        self.store.change(|held| {
            let alert = held.alerts.get_mut(&command.alert)?;
            let is_held = alert.resolved.is_none();
            command.apply(alert);
            is_held.then(|| alert.clone())
        })
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
                self.keep(&samples.columns);
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
                self.store.change(|held| held.windows.insert(window.id.clone(), window.clone()));
            }
            Record::Alert(command) => outcome.alert = self.command(command),
            _ => {}
        }
        self.taken.lock().push(record);
        Box::pin(async { Ok(outcome) })
    }
}
