//! A store and a log in memory.

use super::*;

/// What a store holds, and what of it would survive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) agents: BTreeMap<AgentId, Arc<vitals_core::series::AgentDesc>>,
    pub(super) series: BTreeMap<SeriesId, Arc<SeriesDesc>>,
    pub(super) samples: BTreeMap<(SeriesId, UnixNanos), f64>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) intervals: BTreeMap<(AgentId, UnixNanos), Interval>,
    pub(super) alerts: BTreeMap<String, Alert>,
    pub(super) checkpoint: Checkpoint,
    pub(super) given_out: (u32, u32),
    pub(super) audit: BTreeMap<String, AuditEntry>,
}

/// What a question to the store while records are evaluated ends in: it would wait for the disk.
const READ: &str = "evaluation reads the store";

#[derive(Default)]
pub(super) struct MemoryStore {
    pub(super) now: Mutex<Held>,
    pub(super) durable: Mutex<Held>,
}

impl Store for MemoryStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let held = self.durable.lock().unwrap();
        Ok(Catalogue {
            agents: held.agents.values().cloned().collect(),
            series: held.series.values().cloned().collect(),
            given_out: held.given_out,
        })
    }

    fn checkpoint(&self, _: Partition) -> Result<Checkpoint, StoreError> {
        Ok(self.durable.lock().unwrap().checkpoint.clone())
    }

    fn stored(&self, _: Partition) -> Result<Position, StoreError> {
        panic!("{READ}");
    }

    fn write(&self, _: Partition, output: EvaluationOutput) {
        let mut held = self.now.lock().unwrap();
        held.agents.extend(output.agents.into_iter().map(|a| (a.id, a)));
        held.series.extend(output.series.into_iter().map(|s| (s.id, s)));
        for columns in output.samples {
            let keys: Vec<_> = columns.rows().map(|(s, t, _)| (s, t)).collect();
            assert!(keys.is_sorted());
            for (series, time, value) in columns.rows() {
                held.samples.entry((series, time)).or_insert(value);
            }
        }
        held.verdicts.extend(output.verdicts);
        held.intervals.extend(output.intervals.into_iter().map(|(agent, i)| ((agent, i.start), i)));
        held.alerts.extend(output.alerts.into_iter().map(|a| (a.id.clone(), a)));
        for window in output.maintenance {
            let known: Vec<_> =
                held.intervals.iter().filter(|((a, _), _)| *a == window.agent).map(|(_, i)| *i).collect();
            let changes = planned_over(&known, window.start, window.end);
            held.intervals.extend(changes.into_iter().map(|i| ((window.agent, i.start), i)));
        }
        for RetiredAgent { agent, series } in output.retired {
            held.agents.remove(&agent);
            held.series.retain(|_, one| one.agent != agent);
            held.verdicts.retain(|one| one.agent != agent);
            held.intervals.retain(|(of, _), _| *of != agent);
            held.alerts.retain(|_, one| one.agent != agent);
            let next = series.iter().map(|id| id.0 + 1).max().unwrap_or(0);
            held.given_out = (held.given_out.0.max(agent.0 + 1), held.given_out.1.max(next));
        }
        held.audit.extend(output.audit.into_iter().map(|entry| (entry.id.clone(), entry)));
        for one in output.alert_commands {
            held.alerts.get_mut(&one.alert).map(|alert| one.apply(alert));
        }
    }

    fn seal(&self, _: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        let mut held = self.now.lock().unwrap();
        let state = checkpoint.state.clone().or_else(|| held.checkpoint.state.clone());
        held.checkpoint = Checkpoint { state, ..checkpoint };
        *self.durable.lock().unwrap() = held.clone();
        drop(held);
        done();
    }

    fn samples(&self, _: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        panic!("{READ}");
    }

    fn verdicts(&self, _: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        panic!("{READ}");
    }

    fn intervals(&self, _: AgentId, _: UnixNanos, _: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        panic!("{READ}");
    }

    fn alerts(&self, _: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        panic!("{READ}");
    }

    fn audit(&self, _: &AuditQuery, _: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError> {
        panic!("{READ}");
    }

    fn windows(&self, _: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        panic!("{READ}");
    }

    fn alert(&self, _: &TenantId, _: &str) -> Result<Option<Alert>, StoreError> {
        panic!("{READ}");
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

#[derive(Default)]
pub(super) struct MemoryLog(pub(super) Mutex<Vec<Record>>);

impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        1
    }

    fn append(&self, _: Partition, record: Record, _: Ticket, done: Done) {
        let mut records = self.0.lock().unwrap();
        records.push(record);
        let position = Position(records.len() as u64);
        drop(records);
        done(Ok(position));
    }

    /// Few at a time, so that a replay reads often.
    fn read(&self, _: Partition, after: Position, _: usize) -> Result<Vec<(Position, Record)>, LogError> {
        let records = self.0.lock().unwrap();
        let positions = (1..).map(Position);
        Ok(positions.zip(records.iter().cloned()).filter(|(p, _)| *p > after).take(3).collect())
    }

    fn last(&self, _: Partition) -> Result<Position, LogError> {
        Ok(Position(self.0.lock().unwrap().len() as u64))
    }

    fn cut(&self, _: Partition, _: Position) -> Result<(), LogError> {
        Ok(())
    }

    fn skip(&self, _: Partition, through: Position) -> Result<(), LogError> {
        self.0.lock().unwrap().resize(through.0 as usize, Record::Describe { agents: vec![], series: vec![] });
        Ok(())
    }

    fn stats(&self) -> LogStats {
        LogStats::default()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn close(&self) {}
}
