//! The store in one SQLite file.

use super::StoreConfig;
use super::outbox::Outbox;
use super::readers::Readers;
use super::schema;
use super::seal::{Job, Message, Sealer};
use super::shared::Shared;
use super::writer::Writer;
use crate::file_lock::{FileLock, with_ending};
use crate::workers;
use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use vitals_core::audit::{AuditEntry, AuditQuery};
use vitals_core::availability::Interval;
use vitals_core::ids::{AgentId, Partition, Position, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::store::{
    AlertQuery, Catalogue, Checkpoint, EvaluationOutput, SampleQuery, Store, StoreError, StoreStats, VerdictQuery,
};
use vitals_core::verdict::{Alert, Verdict};

/// The store in one SQLite file.
///
/// The file keeps the size that it once needed; space of what was deleted is used again.
pub struct EmbeddedStore {
    pub(super) shared: Arc<Shared>,
    jobs: Sender<Message>,
    sealer: Mutex<Option<JoinHandle<()>>>,
    /// Held by the one [`Store::maintain`] that may run.
    pub(super) maintaining: Mutex<()>,
    _lock: FileLock,
}

impl EmbeddedStore {
    /// Opens the store at `path`, made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be used, is in use by another process, or is no store.
    pub fn open(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        Self::open_as(path, config, None)
    }

    /// The same, as the front of another store: samples and verdicts stay until they are sent, in the order in
    /// which they were sealed, and are not merged meanwhile.
    pub(super) fn open_as(path: &Path, config: &StoreConfig, outbox: Option<Outbox>) -> Result<Self, StoreError> {
        let lock = FileLock::acquire(path).map_err(|error| StoreError::Io(error.to_string()))?;
        let connection = schema::open(path)?;
        if let Some(outbox) = &outbox {
            outbox.prepare(&connection)?;
        }
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(schema::io);
        let samples = count("SELECT coalesce(sum(samples), 0) FROM block")?;
        let next = count("SELECT coalesce(max(seq), 0) + 1 FROM block")?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            path: path.to_owned(),
            slots: RwLock::default(),
            swap: RwLock::default(),
            writer: Mutex::new(Writer::new(connection, next)?),
            readers: Readers::new(path),
            samples: AtomicU64::new(samples.cast_unsigned()),
            closing: AtomicBool::new(false),
            trouble: Mutex::default(),
            outbox,
        });
        let (jobs, queue) = crossbeam_channel::unbounded();
        let sealer = Sealer { shared: shared.clone(), queue };
        let thread =
            workers::spawn("store", move || sealer.run()).map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self { shared, jobs, sealer: Mutex::new(Some(thread)), maintaining: Mutex::default(), _lock: lock })
    }
}

impl Store for EmbeddedStore {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        self.shared.catalogue()
    }

    fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, StoreError> {
        self.shared.checkpoint(partition)
    }

    fn stored(&self, partition: Partition) -> Result<Position, StoreError> {
        self.shared.stored(partition)
    }

    fn write(&self, partition: Partition, output: EvaluationOutput) {
        self.shared.slot(partition).write(output);
    }

    fn seal(&self, partition: Partition, checkpoint: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        let slot = self.shared.slot(partition);
        let tail = slot.begin_seal();
        let job = Job { partition, slot: slot.clone(), tail, checkpoint, done };
        if self.jobs.send(Message::Seal(Box::new(job))).is_err() {
            tracing::error!(
                partition = partition.0,
                "sealed after the store was closed; the log has these records still"
            );
            slot.end_seal();
        }
    }

    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        self.shared.samples(query)
    }

    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        self.shared.verdicts(query)
    }

    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        self.shared.intervals(agent, start, end)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        self.shared.alerts(query)
    }

    fn audit(&self, query: &AuditQuery, visit: &mut dyn FnMut(&AuditEntry) -> bool) -> Result<(), StoreError> {
        self.shared.audit(query, visit)
    }

    fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        self.shared.windows(tenant)
    }

    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        self.shared.alert(tenant, id)
    }

    fn maintain(&self, now: UnixNanos) -> Result<(), StoreError> {
        let _one_at_a_time = self.maintaining.lock();
        self.shared.expire(now)?;
        if self.shared.outbox.is_some() { Ok(()) } else { self.shared.merge() }
    }

    fn stats(&self) -> StoreStats {
        let mut pending = 0;
        self.shared.look(|tail| pending += tail.rows as u64);
        let size = |name: PathBuf| std::fs::metadata(name).map_or(0, |data| data.len());
        let bytes = size(self.shared.path.clone()) + size(with_ending(&self.shared.path, "-wal"));
        StoreStats { samples: self.shared.samples.load(Ordering::Relaxed), bytes, pending }
    }

    fn trouble(&self) -> Option<String> {
        if self.sealer.lock().as_ref().is_some_and(JoinHandle::is_finished) {
            return Some("the store's thread has ended".to_owned());
        }
        self.shared.trouble.lock().as_ref().map(|error| format!("the store cannot be written: {error}"))
    }

    fn stopping(&self) {
        self.shared.closing.store(true, Ordering::Release);
    }

    fn close(&self) {
        let thread = self.sealer.lock().take();
        if let Some(thread) = thread {
            self.shared.closing.store(true, Ordering::Release);
            // A thread that is gone already has nothing left to seal.
            let _ = self.jobs.send(Message::Close);
            if thread.join().is_err() {
                tracing::error!("the store's thread has panicked");
            }
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.close();
    }
}
