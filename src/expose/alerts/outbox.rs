//! What waits for a webhook's receiver, on the disk: the file `notices.db` in the data folder.
//!
//! Sending works from memory; this is the journal from which a restart goes on. A thread of its own writes, so that a slow
//! disk holds up no notification. Before a checkpoint lets the log forget the records that a notice was made of,
//! evaluation waits for [`Outbox::settle`]: so a notice is either here or made again by the replay. The ids of what was
//! delivered are kept for a day, so that a replay does not send them twice.

use crate::clock::now_seconds;
use crate::workers;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use parking_lot::Mutex;
use rusqlite::{Connection, params};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The file in the data folder.
pub(super) const FILE: &str = "notices.db";
/// The layout of the file; another number is not understood.
const FORMAT: i64 = 1;
/// `done` is when it was delivered or given up, seconds since the epoch; the message is empty then.
const TABLES: &str = "
BEGIN IMMEDIATE;
CREATE TABLE notice(
    seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, id TEXT NOT NULL, alert TEXT NOT NULL, message TEXT NOT NULL,
    done INTEGER, UNIQUE (channel, id));
CREATE INDEX notice_by_done ON notice(done) WHERE done IS NOT NULL;
";
/// How long a delivered id is remembered. A replay goes back to the last checkpoint, some seconds before the end.
const REMEMBERED: Duration = Duration::from_secs(86_400);
/// How often older ids are removed. Not before a replay at the start has looked at them.
const TIDY: Duration = Duration::from_secs(3_600);
/// How long to wait after the disk has failed.
const RETRY: Duration = Duration::from_secs(1);
/// Changes that may wait for a disk that fails; past that the oldest is given up.
const MOST_UNWRITTEN: usize = 200_000;
/// Changes in one transaction, about.
const TRANSACTION: usize = 4_096;
/// The longest that a checkpoint waits.
const DEADLINE: Duration = Duration::from_secs(5);

/// One notification to one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The `webhook-id`.
    pub(super) id: String,
    /// The alert's id.
    pub(super) alert: String,
    /// JSON.
    pub(super) message: String,
}

/// What an earlier run left for one channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// What waits, in the order in which it came.
    pub(super) waiting: Vec<Kept>,
    /// Ids of what was delivered or given up.
    pub(super) done: HashSet<String>,
}

enum Change {
    Keep(Arc<str>, Kept),
    Done(Arc<str>, String),
    Forget(String),
}

enum Job {
    Change(Change),
    Settle(Sender<()>),
    #[cfg(test)]
    Look(Box<dyn FnOnce(&Connection) + Send>),
}

/// The journal of what waits. Without a file it keeps nothing.
pub(super) struct Outbox {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Changes handed over, and changes written or given up.
    asked: AtomicU64,
    settled: AtomicU64,
    failing: AtomicBool,
}

impl Outbox {
    /// One that keeps nothing: what waits is lost with the process.
    pub(super) fn in_memory() -> Self {
        let state = State { failing: AtomicBool::new(true), ..State::default() };
        Self { jobs: Mutex::new(None), thread: Mutex::new(None), state: Arc::new(state) }
    }

    /// Opens the file in `data`, made if it is not there; with what it holds, by channel. When it cannot be used, notifying
    /// goes on from memory, and the log says so.
    pub(super) fn open(data: &Path) -> (Self, HashMap<String, Left>) {
        let path = data.join(FILE);
        let opened = connect(&path).and_then(|connection| {
            let left = read(&connection).map_err(|error| error.to_string())?;
            Ok((connection, left))
        });
        let started = opened.and_then(|(connection, left)| Ok((Self::start(connection)?, left)));
        started.unwrap_or_else(|reason| {
            failed(&reason);
            tracing::error!(
                path = %path.display(),
                reason,
                "what waits to be notified cannot be kept on the disk, and would be lost if the process were killed; \
                 move the file away and start again to have a new one"
            );
            (Self::in_memory(), HashMap::new())
        })
    }

    fn start(connection: Connection) -> Result<Self, String> {
        let (jobs, queue) = unbounded();
        let state = Arc::new(State::default());
        let writer =
            Writer { connection, state: state.clone(), unwritten: Vec::new(), failed: None, tidied: Instant::now() };
        let thread = workers::spawn("notices", move || writer.run(&queue)).map_err(|error| error.to_string())?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), state })
    }

    /// Whether what was handed over so far would survive the process.
    pub(super) fn is_durable(&self) -> bool {
        !self.state.failing.load(Ordering::Acquire)
    }

    /// Keeps a notification until it is [`done`](Self::done).
    pub(super) fn keep(&self, channel: &Arc<str>, kept: Kept) {
        self.change(Change::Keep(channel.clone(), kept));
    }

    /// It was delivered or given up.
    pub(super) fn done(&self, channel: &Arc<str>, id: String) {
        self.change(Change::Done(channel.clone(), id));
    }

    /// The channel is gone, and what waited for it.
    pub(super) fn forget(&self, channel: &str) {
        self.change(Change::Forget(channel.to_owned()));
    }

    fn change(&self, change: Change) {
        if let Some(jobs) = &*self.jobs.lock() {
            self.state.asked.fetch_add(1, Ordering::AcqRel);
            // Fails only when the thread is gone, which is said when it is joined.
            let _ = jobs.send(Job::Change(change));
        }
    }

    /// Returns when what was handed over is on the disk, or the disk has failed. Blocks.
    pub(super) fn settle(&self) {
        let written = self.state.settled.load(Ordering::Acquire) == self.state.asked.load(Ordering::Acquire);
        if written || !self.is_durable() {
            return;
        }
        let (settled, is_settled) = bounded(1);
        let sent = self.jobs.lock().as_ref().is_some_and(|jobs| jobs.send(Job::Settle(settled)).is_ok());
        if sent && is_settled.recv_timeout(DEADLINE).is_err() {
            tracing::error!(
                "the disk has not taken what waits to be notified; it would be lost if the process were killed"
            );
        }
    }

    /// Writes what is left, and lets go of the file. Blocks.
    pub(super) fn close(&self) {
        drop(self.jobs.lock().take());
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            self.state.failing.store(true, Ordering::Release);
            tracing::error!("the thread that keeps what waits to be notified has panicked");
        }
    }
}

struct Writer {
    connection: Connection,
    state: Arc<State>,
    unwritten: Vec<Change>,
    /// When the disk failed last.
    failed: Option<Instant>,
    tidied: Instant,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut open = true;
        while open {
            let next = if self.unwritten.is_empty() { TIDY } else { RETRY };
            let mut waiting = Vec::new();
            match queue.recv_timeout(next) {
                Ok(job) => self.take(job, &mut waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
            while self.unwritten.len() < TRANSACTION
                && let Ok(job) = queue.try_recv()
            {
                self.take(job, &mut waiting);
            }
            // At the end once more, and otherwise not for each change while the disk fails.
            if !open || self.failed.is_none_or(|failed| failed.elapsed() >= RETRY) {
                self.commit();
            }
            // Also when the disk has failed: evaluation must not wait for it.
            drop(waiting);
            if self.tidied.elapsed() >= TIDY {
                self.tidied = Instant::now();
                self.tidy();
            }
        }
    }

    fn take(&mut self, job: Job, waiting: &mut Vec<Sender<()>>) {
        match job {
            Job::Change(change) => self.unwritten.push(change),
            Job::Settle(settled) => waiting.push(settled),
            #[cfg(test)]
            Job::Look(look) => look(&self.connection),
        }
    }

    fn commit(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        match write(&mut self.connection, &self.unwritten) {
            Ok(()) => {
                self.settled(self.unwritten.len());
                self.unwritten.clear();
                self.failed = None;
                if self.state.failing.swap(false, Ordering::AcqRel) {
                    tracing::info!("what waits to be notified is kept on the disk again");
                }
            }
            Err(error) => {
                failed(&error.to_string());
                self.failed = Some(Instant::now());
                if !self.state.failing.swap(true, Ordering::AcqRel) {
                    tracing::error!(
                        %error,
                        "what waits to be notified cannot be kept on the disk; notifying goes on from memory, and what \
                         waits would be lost if the process were killed"
                    );
                }
            }
        }
        let over = self.unwritten.len().saturating_sub(MOST_UNWRITTEN);
        self.unwritten.drain(..over);
        self.settled(over);
    }

    fn settled(&self, count: usize) {
        self.state.settled.fetch_add(count as u64, Ordering::AcqRel);
    }

    /// Removes ids that no replay asks for any more.
    fn tidy(&self) {
        let sql = "DELETE FROM notice WHERE done IS NOT NULL AND done < ?1";
        let oldest = now_seconds().saturating_sub(i64::try_from(REMEMBERED.as_secs()).unwrap_or(i64::MAX));
        if let Err(error) = self.connection.execute(sql, [oldest]) {
            failed(&error.to_string());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.unwritten.is_empty() {
            tracing::error!(count = self.unwritten.len(), "the disk did not take what is known of notifications");
        }
    }
}

/// Counts an attempt of the disk's that failed.
fn failed(reason: &str) {
    metrics::counter!("vitals_alerts_outbox_errors_total").increment(1);
    tracing::debug!(reason, "the outbox of notifications failed");
}

fn connect(path: &Path) -> Result<Connection, String> {
    let open = || -> rusqlite::Result<(Connection, i64, u32)> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let format = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (format, tables) == (0, 0) {
            connection.execute_batch(&format!("{TABLES} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
            return Ok((connection, FORMAT, tables));
        }
        Ok((connection, format, tables))
    };
    match open().map_err(|error| error.to_string())? {
        (connection, FORMAT, _) => Ok(connection),
        (_, other, _) => Err(format!("its format is {other}, this program knows {FORMAT}")),
    }
}

fn read(connection: &Connection) -> rusqlite::Result<HashMap<String, Left>> {
    let mut left: HashMap<String, Left> = HashMap::new();
    let mut statement = connection.prepare("SELECT channel, id, alert, message, done FROM notice ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let channel = left.entry(row.get(0)?).or_default();
        let kept = Kept { id: row.get(1)?, alert: row.get(2)?, message: row.get(3)? };
        match row.get::<_, Option<i64>>(4)? {
            Some(_) => drop(channel.done.insert(kept.id)),
            None => channel.waiting.push(kept),
        }
    }
    Ok(left)
}

fn write(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        match change {
            Change::Keep(channel, kept) => {
                let sql = "INSERT OR IGNORE INTO notice(channel, id, alert, message) VALUES (?1, ?2, ?3, ?4)";
                let mut statement = transaction.prepare_cached(sql)?;
                statement.execute(params![&**channel, kept.id, kept.alert, kept.message])?;
            }
            Change::Done(channel, id) => {
                let sql = "UPDATE notice SET message = '', done = ?3 WHERE channel = ?1 AND id = ?2";
                transaction.prepare_cached(sql)?.execute(params![&**channel, id, now_seconds()])?;
            }
            Change::Forget(channel) => {
                transaction.prepare_cached("DELETE FROM notice WHERE channel = ?1")?.execute([channel])?;
            }
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str) -> Kept {
        Kept { id: id.into(), alert: "a".into(), message: format!("{{\"id\": \"{id}\"}}") }
    }

    fn channel() -> Arc<str> {
        Arc::from("x")
    }

    #[test]
    fn what_is_settled_is_there_after_a_kill_once_and_in_order() {
        let data = tempfile::tempdir().unwrap();
        let (outbox, left) = Outbox::open(data.path());
        assert!(left.is_empty());
        for id in ["1", "2", "3", "2"] {
            outbox.keep(&channel(), kept(id));
        }
        outbox.keep(&Arc::from("y"), kept("1"));
        outbox.done(&channel(), "1".into());
        outbox.settle();
        // Another process looks at it while this one still has it open: nothing was written at a close.
        let (_, left) = Outbox::open(data.path());
        let x = Left { waiting: vec![kept("2"), kept("3")], done: HashSet::from(["1".into()]) };
        let y = Left { waiting: vec![kept("1")], done: HashSet::new() };
        assert_eq!(left, HashMap::from([("x".to_owned(), x), ("y".to_owned(), y)]));
        outbox.forget("y");
        // Known already: it stays delivered.
        outbox.keep(&channel(), kept("1"));
        outbox.close();
        let (_, left) = Outbox::open(data.path());
        assert_eq!(left["x"].waiting, [kept("2"), kept("3")]);
        assert!(!left.contains_key("y"));
    }

    #[test]
    fn what_is_settled_is_synced() {
        let data = tempfile::tempdir().unwrap();
        let (outbox, _) = Outbox::open(data.path());
        outbox.keep(&channel(), kept("1"));
        outbox.settle();
        let (sender, pragmas) = bounded(1);
        let look = move |connection: &Connection| {
            let synchronous: u8 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
            let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            sender.send((synchronous, journal)).unwrap();
        };
        outbox.jobs.lock().as_ref().unwrap().send(Job::Look(Box::new(look))).unwrap();
        // 2 is FULL: a checkpoint counts on what is settled.
        assert_eq!(pragmas.recv().unwrap(), (2, "wal".to_owned()));
    }

    #[test]
    fn a_disk_that_fails_holds_nothing_up_and_is_caught_up_with() {
        let data = tempfile::tempdir().unwrap();
        let (outbox, _) = Outbox::open(data.path());
        let other = Connection::open(data.path().join(FILE)).unwrap();
        other.execute_batch("ALTER TABLE notice RENAME TO away").unwrap();
        outbox.keep(&channel(), kept("1"));
        let begun = Instant::now();
        outbox.settle();
        assert!(!outbox.is_durable() && begun.elapsed() < DEADLINE);
        other.execute_batch("ALTER TABLE away RENAME TO notice").unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !outbox.is_durable() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(20));
        }
        let (_, left) = Outbox::open(data.path());
        assert_eq!(left["x"].waiting, [kept("1")]);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_no_reason_not_to_notify() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FILE), "no database at all, and longer than a header of one".repeat(20))
            .unwrap();
        let (outbox, left) = Outbox::open(data.path());
        assert!(left.is_empty() && !outbox.is_durable());
        outbox.keep(&channel(), kept("1"));
        outbox.settle();
        outbox.close();
    }

    #[test]
    fn delivered_ids_are_forgotten_after_a_day() {
        let data = tempfile::tempdir().unwrap();
        let connection = connect(&data.path().join(FILE)).unwrap();
        let sql = "INSERT INTO notice(channel, id, alert, message, done) VALUES ('x', ?1, 'a', '', ?2)";
        for (id, done) in [("old", Some(now_seconds() - 90_000)), ("new", Some(now_seconds() - 60)), ("waits", None)] {
            connection.execute(sql, params![id, done]).unwrap();
        }
        let writer =
            Writer { connection, state: Arc::default(), unwritten: Vec::new(), failed: None, tidied: Instant::now() };
        writer.tidy();
        let left = read(&writer.connection).unwrap();
        assert_eq!((left["x"].waiting.len(), left["x"].done.len()), (1, 1));
    }
}
