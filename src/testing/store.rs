//! A store in memory.

use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::availability::{Interval, planned_over};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::series::{AgentDesc, Attributes, Scope, SeriesDesc};
use vitals_core::store::{
    Aggregation, AlertKey, AlertQuery, Catalogue, Checkpoint, EvaluationOutput, RetiredAgent, SampleQuery, Store,
    StoreError, StoreStats, VerdictKey, VerdictQuery,
};
use vitals_core::verdict::{Alert, Verdict};

/// The contents of a [`MemoryStore`] at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) agents: BTreeMap<AgentId, Arc<AgentDesc>>,
    pub(crate) series: BTreeMap<SeriesId, Arc<SeriesDesc>>,
    pub(crate) samples: BTreeMap<(SeriesId, UnixNanos), f64>,
    /// In the order in which they were written.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) intervals: BTreeMap<(AgentId, UnixNanos), Interval>,
    pub(crate) alerts: BTreeMap<String, Alert>,
    pub(crate) windows: BTreeMap<String, PersonWindow>,
    pub(crate) audit: BTreeMap<String, AuditEntry>,
    /// Retired agents, with how many numbers of series had been given out.
    pub(crate) retired: BTreeMap<AgentId, u32>,
    pub(crate) checkpoints: BTreeMap<Partition, Checkpoint>,
}

impl Contents {
    /// The checkpoint of a partition; the default when it was never sealed.
    pub(crate) fn checkpoint(&self, partition: Partition) -> Checkpoint {
        self.checkpoints.get(&partition).cloned().unwrap_or_default()
    }

    /// A catalogue with nothing but what there is to know of retired agents.
    pub(crate) fn retired_agents(&self) -> Catalogue {
        let agents = self.retired.keys().map(|agent| agent.0 + 1).max().unwrap_or(0);
        let series = self.retired.values().copied().max().unwrap_or(0);
        let retired = self.retired.keys().copied().collect();
        Catalogue { retired, given_out: (agents, series), ..Catalogue::default() }
    }

    fn apply(&mut self, output: EvaluationOutput) {
        self.agents.extend(output.agents.into_iter().map(|agent| (agent.id, agent)));
        self.series.extend(output.series.into_iter().map(|series| (series.id, series)));
        for columns in output.samples {
            for (series, time, value) in columns.rows() {
                self.samples.entry((series, time)).or_insert(value);
            }
        }
        for verdict in output.verdicts {
            let key = VerdictKey::of(&verdict);
            if self.verdicts.iter().all(|known| VerdictKey::of(known) != key) {
                self.verdicts.push(verdict);
            }
        }
        self.intervals.extend(output.intervals.into_iter().map(|(agent, one)| ((agent, one.start), one)));
        self.alerts.extend(output.alerts.into_iter().map(|alert| (alert.id.clone(), alert)));
        for window in output.maintenance {
            let of_agent = self.intervals.iter().filter(|((agent, _), _)| *agent == window.agent);
            let known: Vec<Interval> = of_agent.map(|(_, interval)| *interval).collect();
            let changes = planned_over(&known, window.start, window.end);
            self.intervals.extend(changes.into_iter().map(|one| ((window.agent, one.start), one)));
        }
        for one in output.alert_commands {
            self.alerts.get_mut(&one.alert).map(|alert| one.apply(alert));
        }
        for window in output.windows {
            if self.windows.get(&window.id).is_none_or(|known| known.changed < window.changed) {
                self.windows.insert(window.id.clone(), window);
            }
        }
        self.audit.extend(output.audit.into_iter().map(|entry| (entry.id.clone(), entry)));
        for RetiredAgent { agent, series } in output.retired {
            self.agents.remove(&agent);
            self.series.retain(|_, one| one.agent != agent);
            self.verdicts.retain(|one| one.agent != agent);
            self.intervals.retain(|(of, _), _| *of != agent);
            self.alerts.retain(|_, one| one.agent != agent);
            self.retired.insert(agent, series.iter().map(|id| id.0 + 1).max().unwrap_or(0));
        }
    }

    /// Keeps the state of an earlier checkpoint that the new one does not bring.
    fn seal(&mut self, partition: Partition, checkpoint: Checkpoint) {
        let before = self.checkpoint(partition);
        let after = match checkpoint.state {
            Some(_) => checkpoint,
            None => Checkpoint { included: before.included, state: before.state, ..checkpoint },
        };
        self.checkpoints.insert(partition, after);
    }

    /// Forgets what is past the default retention.
    fn expire(&mut self, now: UnixNanos) {
        const DAY: i64 = 86_400 * UnixNanos::SECOND;
        let since = |days: i64| UnixNanos(now.0 - days * DAY);
        let (samples, verdicts, sessions) = (since(90), since(30), since(365));
        self.samples.retain(|(_, time), _| *time >= samples);
        self.verdicts.retain(|verdict| verdict.time >= verdicts);
        self.intervals.retain(|_, interval| interval.end.is_none_or(|end| end >= sessions));
        self.alerts.retain(|_, alert| alert.resolved.is_none_or(|at| at >= sessions));
    }
}

/// Keeps everything in maps.
#[derive(Default)]
pub(crate) struct MemoryStore {
    /// Everything written.
    current: Mutex<Contents>,
    /// What a store that is opened again has: everything up to the last seal of each partition.
    durable: Arc<Mutex<Contents>>,
    /// What was written to each partition since its last seal.
    unsealed: Mutex<BTreeMap<Partition, Vec<EvaluationOutput>>>,
    /// Whether a question about samples, verdicts, intervals or alerts fails the test: it would wait for a disk.
    write_only: bool,
    /// Alerts that were handed out.
    pub(crate) alerts_read: AtomicUsize,
}

impl MemoryStore {
    /// A store that is opened on what another one made durable.
    pub(crate) fn open(durable: Arc<Mutex<Contents>>) -> Self {
        let current = Mutex::new(durable.lock().unwrap().clone());
        Self { current, durable, ..Self::default() }
    }

    /// A store on what another one made durable, that panics when it is asked: for what must never wait for a disk.
    pub(crate) fn write_only(durable: Contents) -> Self {
        Self { write_only: true, ..Self::open(Arc::new(Mutex::new(durable))) }
    }

    /// Everything written.
    pub(crate) fn contents(&self) -> Contents {
        self.current.lock().unwrap().clone()
    }

    /// Changes what was written, as no evaluation would.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.current.lock().unwrap())
    }

    /// What would survive now.
    pub(crate) fn durable(&self) -> Contents {
        self.durable.lock().unwrap().clone()
    }

    fn read<T>(&self, answer: impl FnOnce(&Contents) -> T) -> T {
        assert!(!self.write_only, "evaluation reads the store");
        answer(&self.current.lock().unwrap())
    }
}

impl Store for MemoryStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let contents = self.current.lock().unwrap();
        let mut scopes: HashSet<Arc<Scope>> = HashSet::new();
        let mut resources: HashSet<Arc<Attributes>> = HashSet::new();
        let mut shared = |series: &Arc<SeriesDesc>| {
            let mut series = SeriesDesc::clone(series);
            series.spec.scope = scopes.get_or_insert(series.spec.scope).clone();
            series.spec.resource = resources.get_or_insert(series.spec.resource).clone();
            Arc::new(series)
        };
        Ok(Catalogue {
            agents: contents.agents.values().cloned().collect(),
            series: contents.series.values().map(&mut shared).collect(),
            ..contents.retired_agents()
        })
    }

    fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, StoreError> {
        Ok(self.durable.lock().unwrap().checkpoint(partition))
    }

    fn stored(&self, partition: Partition) -> Result<Position, StoreError> {
        assert!(!self.write_only, "evaluation reads the store");
        Ok(self.durable.lock().unwrap().checkpoint(partition).stored)
    }

    fn write(&self, partition: Partition, output: EvaluationOutput) {
        for columns in &output.samples {
            let keys: Vec<_> = columns.rows().map(|(series, time, _)| (series, time)).collect();
            assert!(keys.is_sorted(), "rows are written in order");
        }
        self.current.lock().unwrap().apply(output.clone());
        self.unsealed.lock().unwrap().entry(partition).or_default().push(output);
    }

    fn seal(&self, partition: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        let outputs = self.unsealed.lock().unwrap().remove(&partition).unwrap_or_default();
        let mut durable = self.durable.lock().unwrap();
        outputs.into_iter().for_each(|output| durable.apply(output));
        durable.seal(partition, checkpoint);
        drop(durable);
        done();
    }

    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let SampleQuery { series, start, end, step, limit } = *query;
        let rows: Vec<(UnixNanos, f64)> = self.read(|contents| {
            let of_series =
                contents.samples.range((series, start)..).take_while(|((of, time), _)| *of == series && *time < end);
            of_series.map(|((_, time), value)| (*time, *value)).collect()
        });
        let points = match step {
            None => rows,
            Some((step, aggregation)) => steps(&rows, start, step.unsigned_abs(), aggregation),
        };
        if points.len() > limit { Err(StoreError::TooMuch { limit }) } else { Ok(points) }
    }

    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let fits = |verdict: &&Verdict| {
            verdict.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&verdict.agent))
                && query.fits(verdict)
        };
        let mut found: Vec<Verdict> = self.read(|contents| contents.verdicts.iter().filter(fits).cloned().collect());
        found.sort_by_key(VerdictKey::of);
        found.truncate(query.limit);
        Ok(found)
    }

    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        let overlaps = |interval: &Interval| interval.start < end && interval.end.is_none_or(|end| end > start);
        Ok(self.read(|contents| {
            let of_agent = contents.intervals.iter().filter(|((of, _), _)| *of == agent);
            of_agent.map(|(_, interval)| *interval).filter(overlaps).collect()
        }))
    }

    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        let fits = |alert: &&Alert| {
            alert.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&alert.agent))
                && query.fits(alert)
        };
        let mut found: Vec<Alert> = self.read(|contents| contents.alerts.values().filter(fits).cloned().collect());
        found.sort_by_key(AlertKey::of);
        found.truncate(query.limit);
        self.alerts_read.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        let found = self.read(|contents| contents.alerts.get(id).filter(|alert| alert.tenant == *tenant).cloned());
        self.alerts_read.fetch_add(found.iter().len(), Ordering::Relaxed);
        Ok(found)
    }

    fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        Ok(self.read(|contents| contents.windows.values().filter(|window| window.tenant == *tenant).cloned().collect()))
    }

    fn audit(&self, query: &AuditQuery, visit: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError> {
        let fits = |entry: &&AuditEntry| query.fits(entry);
        let mut found: Vec<AuditEntry> = self.read(|contents| contents.audit.values().filter(fits).cloned().collect());
        found.sort_by_key(AuditKey::of);
        found.iter().all(visit);
        Ok(())
    }

    fn maintain(&self, now: UnixNanos) -> Result<(), StoreError> {
        self.current.lock().unwrap().expire(now);
        self.durable.lock().unwrap().expire(now);
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        let unsealed = self.unsealed.lock().unwrap();
        let columns = unsealed.values().flatten().flat_map(|output| &output.samples);
        StoreStats {
            samples: self.durable.lock().unwrap().samples.len() as u64,
            bytes: 0,
            pending: columns.map(|columns| columns.rows().count() as u64).sum(),
        }
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn stopping(&self) {}

    fn close(&self) {}
}

/// One point for each step that has values, at the step's start.
fn steps(rows: &[(UnixNanos, f64)], start: UnixNanos, step: u64, how: Aggregation) -> Vec<(UnixNanos, f64)> {
    let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (time, value) in rows {
        if !value.is_nan() || matches!(how, Aggregation::Last | Aggregation::Count) {
            values.entry(time.0.abs_diff(start.0) / step).or_default().push(*value);
        }
    }
    let time = |number: u64| UnixNanos(start.0.wrapping_add_unsigned(number * step));
    values.into_iter().map(|(number, values)| (time(number), aggregate(values, how))).collect()
}

#[allow(clippy::cast_precision_loss)]
fn aggregate(mut values: Vec<f64>, how: Aggregation) -> f64 {
    let (count, last) = (values.len(), values[values.len() - 1]);
    let sum: f64 = values.iter().sum();
    values.sort_by(f64::total_cmp);
    match how {
        Aggregation::Min => values[0],
        Aggregation::Max => values[count - 1],
        Aggregation::Mean => sum / count as f64,
        Aggregation::Count => count as f64,
        Aggregation::Last => last,
        // Nearest rank.
        Aggregation::P95 => values[(count * 95).div_ceil(100) - 1],
    }
}
