//! Samples and verdicts in InfluxDB 2.
//!
//! [`InfluxStore`] is the embedded store as a front, and a thread that sends on what the front has made durable. So what is
//! sealed is safe here whatever the server does, and catalogue, checkpoints, intervals and alerts, which must change
//! together with the position in the log, stay here. What was sent is forgotten here; a question is answered from
//! both, asked first here, so that what moves in between is seen twice rather than not at all.
//!
//! - `config`: which server
//! - `layout`: measurement, tags and fields of a series; `names`: descriptions; `columns`: the type of each column
//! - `line`: line protocol; `findings`: verdicts, intervals and alerts as lines; `batch`: lines in a body,
//!   `gzip`: compressed
//! - `feed`: the thread that sends; `flight`: its writes; `status`: how it goes
//! - [`check`]: whether it would work
//! - `client`: requests and what answers mean; `flux`: questions and CSV; `read`: what is asked

mod batch;
pub mod check;
mod client;
mod columns;
mod config;
mod feed;
mod findings;
mod flight;
mod flux;
pub mod gzip;
mod layout;
pub mod line;
mod names;
mod read;
mod status;
#[cfg(test)]
mod tests;

pub use config::{InfluxConfig, Secret};

use super::StoreConfig;
use super::embedded::EmbeddedStore;
use super::outbox::Outbox;
use super::read::{StepAggregator, verdict_key};
use super::sorted::day_of;
use crate::workers;
use client::Client;
use columns::Types;
use feed::Feeder;
use hashbrown::HashSet;
use names::Names;
use parking_lot::{Mutex, RwLock};
use read::{Range, Reader};
use status::{Status, Stop};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vitals_core::audit::{AuditEntry, AuditQuery};
use vitals_core::availability::Interval;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::store::{
    AlertQuery, Catalogue, Checkpoint, EvaluationOutput, OutboxStats, SampleQuery, Store, StoreError, StoreStats,
    VerdictQuery,
};
use vitals_core::verdict::{Alert, Verdict};

const DAY: i64 = 86_400 * UnixNanos::SECOND;
/// How long a closing store goes on sending, while the server takes it.
const GRACE: Duration = Duration::from_secs(5);

/// Samples and verdicts in InfluxDB; the rest, and what is not sent yet, in one SQLite file.
pub struct InfluxStore {
    front: EmbeddedStore,
    config: StoreConfig,
    reader: Reader,
    status: Arc<Status>,
    stop: Arc<Stop>,
    feeder: Mutex<Option<JoinHandle<()>>>,
    /// Agents whose verdicts are not shown, though the server keeps them.
    retired: RwLock<HashSet<AgentId>>,
    /// Nothing before is shown: (samples, verdicts), as of the last [`Store::maintain`].
    kept_from: (AtomicI64, AtomicI64),
}

impl InfluxStore {
    /// Opens the front at `path`, made if it is not there, and begins to send. The server need not be there.
    ///
    /// # Errors
    /// When the file or the settings cannot be used.
    pub fn open(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        let client = Arc::new(Client::new(&config.influxdb)?);
        let (waker, wake) = crossbeam_channel::bounded(1);
        let outbox = Outbox::new(config.influxdb.outbox_max_bytes, waker);
        let front = EmbeddedStore::open_as(path, config, Some(outbox))?;
        let mut learnt = front.shared.learnt()?;
        let types = Types::new(std::mem::take(&mut learnt.columns), std::mem::take(&mut learnt.split));
        let catalogue = front.catalogue()?;
        let retired = RwLock::new(catalogue.retired.iter().copied().collect());
        let reader = Reader { client, names: Arc::new(Names::new(catalogue)), types: Arc::new(types) };
        let (status, stop): (Arc<Status>, Arc<Stop>) = Default::default();
        let feeder = Feeder::new(front.shared.clone(), reader.clone(), status.clone(), stop.clone(), wake, learnt);
        let thread =
            workers::spawn("feeder", move || feeder.run()).map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self {
            front,
            config: config.clone(),
            reader,
            status,
            stop,
            feeder: Mutex::new(Some(thread)),
            retired,
            kept_from: (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN)),
        })
    }

    /// Verdicts of all agents, also retired ones, newest first.
    fn all_verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let here = self.front.verdicts(query)?;
        let mut found = self.reader.verdicts(query)?;
        found.extend(here);
        found.sort_by(|a, b| verdict_key(a).cmp(&verdict_key(b)));
        found.dedup_by(|b, a| verdict_key(a) == verdict_key(b));
        found.truncate(query.limit);
        Ok(found)
    }

    fn local_samples(&self, query: &SampleQuery, range: Range) -> Result<Vec<(i64, f64)>, StoreError> {
        let mut rows = Vec::new();
        self.front.shared.each_sample(query.series, UnixNanos(range.start), UnixNanos(range.end), |time, value| {
            rows.push((time, value));
            Ok(())
        })?;
        Ok(rows)
    }
}

/// What the lines of each series of a catalogue begin with, in a bucket that is empty.
#[must_use]
pub fn heads(catalogue: Catalogue) -> Vec<(SeriesId, line::Head)> {
    let series: Vec<SeriesId> = catalogue.series.iter().map(|series| series.id).collect();
    let names = Names::new(catalogue);
    let head = |id: SeriesId| {
        let place = layout::Place::of(&names, id.0);
        (id, place.head(place.integer))
    };
    series.into_iter().map(head).collect()
}

/// Of the rows of both, those of InfluxDB first: they were written first.
fn merged(mut there: Vec<(i64, f64)>, here: Vec<(i64, f64)>) -> Vec<(i64, f64)> {
    there.extend(here);
    there.sort_by_key(|(time, _)| *time);
    there.dedup_by_key(|(time, _)| *time);
    there
}

/// Leaves out what line protocol has no word for, so that a sample does not vanish later, when it is sent.
fn only_what_fits(columns: Arc<Columns>) -> Arc<Columns> {
    let fits = |(time, value): (&i64, &f64)| line::can_hold(*time, *value) == line::Row::Written;
    if columns.times.iter().zip(&columns.values).all(fits) {
        return columns;
    }
    let mut kept = Columns::default();
    for (series, time, value) in columns.rows() {
        match line::can_hold(time.0, value) {
            line::Row::Written | line::Row::Beside => kept.push(series, time, value),
            without => without.count_left_out(),
        }
    }
    Arc::new(kept)
}

impl Store for InfluxStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        self.front.catalogue()
    }

    fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, StoreError> {
        self.front.checkpoint(partition)
    }

    fn stored(&self, partition: Partition) -> Result<Position, StoreError> {
        self.front.stored(partition)
    }

    fn write(&self, partition: Partition, mut output: EvaluationOutput) {
        self.reader.names.learn(&output);
        if !output.retired.is_empty() {
            self.retired.write().extend(output.retired.iter().map(|one| one.agent));
        }
        for columns in &mut output.samples {
            *columns = only_what_fits(std::mem::take(columns));
        }
        self.front.write(partition, output);
    }

    fn seal(&self, partition: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        self.front.seal(partition, checkpoint, done);
    }

    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let SampleQuery { series, start, end, step, limit } = *query;
        let kept_from = UnixNanos(self.kept_from.0.load(Ordering::Relaxed));
        let Some(range) = Range::within(start.max(kept_from), end) else { return Ok(Vec::new()) };
        let here = self.local_samples(query, range)?;
        let one_more = limit.saturating_add(1);
        let (done, rest) = match step {
            Some((nanos, how)) if self.reader.can_step(series.0, start.0, nanos) => {
                // Steps before the first row that is here are made there.
                let first_here = here.first().map_or(range.end, |(time, _)| *time);
                let cut = first_here - (first_here - start.0).rem_euclid(nanos);
                let cut = if first_here == range.end { range.end } else { cut.max(range.start) };
                let before = Range { start: range.start, end: cut };
                let done = if before.start < before.end {
                    self.reader.stepped(series.0, before, start.0, (nanos, how), one_more)?
                } else {
                    Vec::new()
                };
                (done, Range { start: cut, end: range.end })
            }
            _ => (Vec::new(), range),
        };
        let most = if step.is_none() { one_more } else { usize::MAX };
        let there = if rest.start < rest.end { self.reader.raw(series.0, rest, most)? } else { Vec::new() };
        if done.len() > limit {
            return Err(StoreError::TooMuch { limit });
        }
        let mut folder = StepAggregator::new(start, step, limit - done.len());
        for (time, value) in merged(there, here) {
            folder.add(time, value).map_err(|_| StoreError::TooMuch { limit })?;
        }
        let mut points: Vec<_> = done.into_iter().map(|(time, value)| (UnixNanos(time), value)).collect();
        points.extend(folder.finish().map_err(|_| StoreError::TooMuch { limit })?);
        Ok(points)
    }

    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let kept_from = UnixNanos(self.kept_from.1.load(Ordering::Relaxed));
        let limit = query.limit;
        let mut query = VerdictQuery { start: query.start.max(kept_from), ..query.clone() };
        loop {
            let mut found = self.all_verdicts(&query)?;
            let is_all = found.len() < query.limit;
            let retired = self.retired.read();
            found.retain(|verdict| !retired.contains(&verdict.agent));
            // Those of retired agents took places of others.
            if is_all || found.len() >= limit || query.limit == usize::MAX {
                found.truncate(limit);
                return Ok(found);
            }
            query.limit = query.limit.saturating_mul(4);
        }
    }

    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        self.front.intervals(agent, start, end)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        self.front.alerts(query)
    }

    fn audit(&self, query: &AuditQuery, visit: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError> {
        self.front.audit(query, visit)
    }

    fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        self.front.windows(tenant)
    }

    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        self.front.alert(tenant, id)
    }

    /// Samples and verdicts are deleted by the bucket's own retention; until then they are not shown any more.
    fn maintain(&self, now: UnixNanos) -> Result<(), StoreError> {
        let before = |days: u32| now.plus(-i64::from(days).saturating_mul(DAY)).0;
        let day = day_of(before(self.config.sample_retention_days));
        self.kept_from.0.store(day.saturating_mul(DAY), Ordering::Relaxed);
        self.kept_from.1.store(before(self.config.verdict_retention_days), Ordering::Relaxed);
        self.front.maintain(now)
    }

    fn stats(&self) -> StoreStats {
        self.front.stats()
    }

    fn outbox(&self) -> Option<OutboxStats> {
        let (samples, bytes, since) = self.front.shared.outbox.as_ref()?.held();
        let (refused, refusal) = self.status.refusals();
        Some(OutboxStats { samples, bytes, since, trouble: self.status.problem(), refused, refusal })
    }

    fn trouble(&self) -> Option<String> {
        self.front.trouble()
    }

    fn stopping(&self) {
        self.front.stopping();
    }

    fn close(&self) {
        self.front.close();
        let thread = self.feeder.lock().take();
        if let Some(thread) = thread {
            self.stop.ask(GRACE);
            if let Some(outbox) = &self.front.shared.outbox {
                outbox.wake();
            }
            if thread.join().is_err() {
                tracing::error!("the thread that feeds InfluxDB has panicked");
            }
        }
    }
}

impl Drop for InfluxStore {
    fn drop(&mut self) {
        self.close();
    }
}
