//! The log in one SQLite file.

use super::codec;
use super::committer::{Committer, Counters, Cut, Message, prepare};
use super::{Durability, LogConfig};
use crate::file_lock::FileLock;
use crate::workers;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vitals_core::ids::{Partition, Position};
use vitals_core::log::{Deliver, Done, Log, LogError, LogStats};
use vitals_core::record::{Record, Ticket};
use vitals_core::registry::{Registration, RegistrationQueue};

/// The layout of the file; another number is refused.
const FORMAT: i64 = 1;
/// A request's record is 10 to 100 KB: larger pages mean fewer of them to chain.
const PAGE_BYTES: u32 = 16 * 1024;
/// Pages in the write-ahead file before it is copied back (64 MiB). Pages that were freed by a cut and used
/// again in between are copied once.
const CHECKPOINT_PAGES: u32 = 4096;
const MAX_PARTITIONS: u32 = 1024;

/// A log file that is open, and to which nothing is written yet: its number of partitions is known, so that whoever takes what
/// it delivers can be made before it is started.
pub struct LogFile {
    writer: Connection,
    reader: Connection,
    counters: Counters,
    registrations: (Sender<Registration>, Receiver<Registration>),
    max_bytes: u64,
    max_transaction_bytes: usize,
    lock: FileLock,
}

impl LogFile {
    /// Opens the log at `path`, made with its partitions if it is not there.
    ///
    /// # Errors
    /// When the file cannot be used, is in use by another process, or is no log.
    pub fn open(path: &Path, config: &LogConfig) -> Result<Self, LogError> {
        let lock = FileLock::acquire(path).map_err(|error| LogError::Io(error.to_string()))?;
        let writer = connect(path, config.durability).map_err(io)?;
        let partitions = create(&writer, config.partitions)?;
        writer.set_prepared_statement_cache_capacity(partitions as usize * 4 + 8);
        let counters = count(&writer, partitions).map_err(io)?;
        let reader = connect(path, config.durability).map_err(io)?;
        Ok(Self {
            writer,
            reader,
            counters,
            registrations: crossbeam_channel::unbounded(),
            max_bytes: config.max_bytes,
            max_transaction_bytes: config.max_transaction_bytes,
            lock,
        })
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.counters.last.len() as u32
    }

    /// Where the registry puts what it registers. It is written ahead of everything that is appended after it was pushed.
    #[must_use]
    pub fn registrations(&self) -> Arc<dyn RegistrationQueue> {
        Arc::new(Registrations(self.registrations.0.clone()))
    }

    /// Starts the thread that commits. What is committed from now on goes to `deliver`; what is there already is to be
    /// [read](Log::read).
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(self, deliver: Deliver) -> Result<SqliteLog, LogError> {
        let (queue, messages) = crossbeam_channel::unbounded();
        let (registrations, registered) = self.registrations;
        let counters = Arc::new(self.counters);
        let committer = Committer {
            connection: self.writer,
            queue: messages,
            registrations: registered,
            deliver,
            counters: counters.clone(),
            max_bytes: self.max_bytes,
            max_transaction_bytes: self.max_transaction_bytes,
            carried: Vec::new(),
            cuts: VecDeque::new(),
        };
        let thread = workers::spawn("log", move || committer.run()).map_err(|error| LogError::Io(error.to_string()))?;
        Ok(SqliteLog {
            queue,
            registrations,
            counters,
            reader: Mutex::new(self.reader),
            committer: Mutex::new(Some(thread)),
            _lock: self.lock,
        })
    }
}

/// The registry's end of the queue of registrations.
struct Registrations(Sender<Registration>);

impl RegistrationQueue for Registrations {
    fn push(&self, registration: Registration) {
        if self.0.send(registration).is_err() {
            tracing::debug!("something was registered after the log was closed");
        }
    }
}

/// The log in one SQLite file, a table for each partition.
///
/// The file keeps the size that it once needed; space behind a cut is used again.
pub struct SqliteLog {
    queue: Sender<Message>,
    /// Kept, so that the queue of registrations is never without a sender while the thread waits on it.
    registrations: Sender<Registration>,
    counters: Arc<Counters>,
    reader: Mutex<Connection>,
    committer: Mutex<Option<JoinHandle<()>>>,
    _lock: FileLock,
}

impl SqliteLog {
    /// Opens the log at `path` and starts it, see [`LogFile`]; for a log without a registry.
    ///
    /// # Errors
    /// When the file cannot be used, is in use by another process, or is no log.
    pub fn open(path: &Path, config: &LogConfig, deliver: Deliver) -> Result<Self, LogError> {
        LogFile::open(path, config)?.start(deliver)
    }

    fn check(&self, partition: Partition) -> Result<&AtomicU64, LogError> {
        let of = self.counters.last.len();
        self.counters
            .last
            .get(partition.0 as usize)
            .ok_or_else(|| LogError::Io(format!("there is no partition {}, the log has {of}", partition.0)))
    }

    /// What `read` says of each open connection.
    #[cfg(test)]
    pub(super) fn connections<T: Send + 'static>(&self, read: fn(&Connection) -> T) -> Vec<T> {
        let (sender, of_writer) = crossbeam_channel::bounded(1);
        self.tamper(move |writer| sender.send(read(writer)).unwrap());
        vec![of_writer.recv().unwrap(), read(&self.reader.lock())]
    }

    #[cfg(test)]
    pub(super) fn tamper(&self, tamper: impl FnOnce(&Connection) + Send + 'static) {
        self.queue.send(Message::Tamper(Box::new(tamper))).unwrap();
    }
}

impl Log for SqliteLog {
    fn partitions(&self) -> u32 {
        self.counters.last.len() as u32
    }

    fn append(&self, partition: Partition, record: Record, ticket: Ticket, done: Done) {
        if let Err(error) = self.check(partition) {
            return done(Err(error));
        }
        if let Some(append) = prepare(partition, record, ticket, done) {
            self.counters.queued.fetch_add(1, Ordering::Relaxed);
            // A log that is closed drops the message, and with it answers `Closed`.
            let _ = self.queue.send(Message::Append(append));
        }
    }

    fn read(&self, partition: Partition, after: Position, bytes: usize) -> Result<Vec<(Position, Record)>, LogError> {
        self.check(partition)?;
        let reader = self.reader.lock();
        let sql = format!("SELECT position, body FROM log_{} WHERE position > ?1 ORDER BY position", partition.0);
        let mut statement = reader.prepare_cached(&sql).map_err(io)?;
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let mut rows = statement.query([after]).map_err(io)?;
        let mut records = Vec::new();
        let mut held = 0;
        while held < bytes.max(1)
            && let Some(row) = rows.next().map_err(io)?
        {
            let position = row.get::<_, i64>(0).map_err(io)?.cast_unsigned();
            let damaged = |reason: String| LogError::Damaged { partition: partition.0, position, reason };
            let body = row.get_ref(1).map_err(io)?.as_blob().map_err(|error| damaged(error.to_string()))?;
            held += body.len();
            records.push((Position(position), codec::decode(body).map_err(|error| damaged(error.to_string()))?));
        }
        Ok(records)
    }

    fn last(&self, partition: Partition) -> Result<Position, LogError> {
        Ok(Position(self.check(partition)?.load(Ordering::Acquire)))
    }

    fn cut(&self, partition: Partition, through: Position) -> Result<(), LogError> {
        self.check(partition)?;
        let (done, answer) = crossbeam_channel::bounded(1);
        let cut = Cut { partition, through: through.0, done };
        self.queue.send(Message::Cut(cut)).map_err(|_| LogError::Closed)?;
        answer.recv().unwrap_or(Err(LogError::Closed))
    }

    fn skip(&self, partition: Partition, through: Position) -> Result<(), LogError> {
        let last = self.check(partition)?;
        if last.load(Ordering::Acquire) < through.0 {
            self.reader
                .lock()
                .execute("UPDATE partition SET last = ?2 WHERE id = ?1", params![partition.0, through.0.cast_signed()])
                .map_err(io)?;
            last.fetch_max(through.0, Ordering::AcqRel);
        }
        Ok(())
    }

    fn stats(&self) -> LogStats {
        LogStats {
            bytes: self.counters.bytes.load(Ordering::Relaxed),
            records: self.counters.records.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            queued: self.counters.queued.load(Ordering::Relaxed) + self.registrations.len() as u64,
        }
    }

    fn trouble(&self) -> Option<String> {
        if self.committer.lock().as_ref().is_some_and(JoinHandle::is_finished) {
            return Some("the log's thread has ended".to_owned());
        }
        self.counters.trouble.lock().as_ref().map(|error| format!("the log cannot be written: {error}"))
    }

    fn close(&self) {
        let thread = self.committer.lock().take();
        if let Some(thread) = thread {
            // A thread that is gone already has nothing left to commit.
            let _ = self.queue.send(Message::Close);
            if thread.join().is_err() {
                tracing::error!("the log's thread has panicked");
            }
        }
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn io(error: rusqlite::Error) -> LogError {
    LogError::Io(error.to_string())
}

fn connect(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let synchronous = match durability {
        Durability::Fsync => "FULL",
        // The write-ahead file is synced when it is copied back, not at each commit.
        Durability::Os => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// Makes the tables of a new log; the number of partitions of one that is there.
fn create(connection: &Connection, wanted: u32) -> Result<u32, LogError> {
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(io)?;
    if format == FORMAT {
        let made: u32 = connection.query_row("SELECT count(*) FROM partition", [], |row| row.get(0)).map_err(io)?;
        if wanted != 0 && wanted != made {
            tracing::warn!(
                wanted,
                made,
                "the number of partitions is fixed when the log is made; the setting is ignored"
            );
        }
        return Ok(made);
    }
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(io)?;
    if format != 0 || tables != 0 {
        return Err(LogError::Io(format!("the file is no log of format {FORMAT} (it says {format})")));
    }
    let partitions = match wanted {
        0 => std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
        n => n,
    }
    .min(MAX_PARTITIONS);
    let mut sql =
        String::from("BEGIN IMMEDIATE; CREATE TABLE partition(id INTEGER PRIMARY KEY, last INTEGER NOT NULL);");
    for partition in 0..partitions {
        sql += &format!(
            "CREATE TABLE log_{partition}(position INTEGER PRIMARY KEY, body BLOB NOT NULL);
             INSERT INTO partition VALUES ({partition}, 0);"
        );
    }
    sql += &format!("PRAGMA user_version = {FORMAT}; COMMIT;");
    connection.execute_batch(&sql).map_err(io)?;
    Ok(partitions)
}

fn count(connection: &Connection, partitions: u32) -> rusqlite::Result<Counters> {
    let mut counters = Counters::default();
    let (mut bytes, mut records) = (0_i64, 0_i64);
    for partition in 0..partitions {
        let cut: Option<i64> = connection
            .query_row("SELECT last FROM partition WHERE id = ?1", params![partition], |row| row.get(0))
            .optional()?;
        // `length` of a blob is in its row's header; the body is not read.
        let sql =
            format!("SELECT count(*), coalesce(sum(length(body)), 0), coalesce(max(position), 0) FROM log_{partition}");
        let (rows, held, last): (i64, i64, i64) =
            connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        records += rows;
        bytes += held;
        counters.last.push(AtomicU64::new(last.max(cut.unwrap_or(0)).cast_unsigned()));
    }
    counters.bytes = AtomicU64::new(bytes.cast_unsigned());
    counters.records = AtomicU64::new(records.cast_unsigned());
    Ok(counters)
}
