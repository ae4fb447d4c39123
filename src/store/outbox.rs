//! What a store that keeps its data elsewhere has still to send: durable here, in the order of sealing.
//!
//! Blocks and verdicts of the file wait until they are taken in windows, sent, and forgotten in one transaction with
//! what was learnt on the way. Intervals and alerts stay; a mark says which of them changed since they were sent.

use super::block;
use super::embedded::Shared;
use super::read::{decode, known_evidence, state};
use super::schema::{damaged, io, kind_number};
use super::seal::series_of;
use super::sorted::Sorted;
use crossbeam_channel::Sender;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use vitals_core::availability::Interval;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::seam::StoreError;
use vitals_core::verdict::{Alert, Verdict};

/// Added to the tables of the store.
///
/// - `outbox_interval`, `outbox_alert`: what changed, and with which seal
/// - `outbox_newest`: the newest time sent of each series, [`CHUNK`] of them a row, little-endian
/// - `outbox_verdict`: the newest verdict sent of its kind, plugin, agent and series
/// - `outbox_column`: which type a column has; its first value decides
/// - `outbox_split`: the series whose values are in two columns
const TABLES: &str = "
CREATE INDEX IF NOT EXISTS block_by_seq ON block(seq);
CREATE TABLE IF NOT EXISTS outbox_interval(
    agent INTEGER NOT NULL, start INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (agent, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox_alert(id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox_newest(chunk INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox_verdict(
    agent INTEGER NOT NULL, kind INTEGER NOT NULL, plugin TEXT NOT NULL, series INTEGER NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (agent, kind, plugin, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox_column(
    measurement TEXT NOT NULL, field TEXT NOT NULL, integer INTEGER NOT NULL, PRIMARY KEY (measurement, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox_split(series INTEGER PRIMARY KEY);
";

/// Rows taken at once: enough for several large writes, little enough to hold in memory encoded.
const WINDOW_ROWS: usize = if cfg!(test) { 64 } else { 128 * 1024 };
/// Verdicts, intervals and alerts taken at once, of each.
const WINDOW_OTHERS: usize = if cfg!(test) { 16 } else { 4096 };
/// Series of one row of `outbox_newest`.
const CHUNK: u32 = 1024;
/// Bytes that a verdict counts against the limit.
const VERDICT_BYTES: u64 = 512;

/// How much waits.
pub(super) struct Outbox {
    limit: u64,
    waiting: Mutex<Waiting>,
    room: Condvar,
    /// Tells the sending side that there is something.
    wake: Sender<()>,
}

#[derive(Default)]
struct Waiting {
    samples: u64,
    bytes: u64,
    /// Seals that wait, and when they were made.
    seals: VecDeque<(i64, SystemTime)>,
}

impl Outbox {
    /// An outbox of at most about `limit` bytes, past which seals wait.
    pub(super) fn new(limit: u64, wake: Sender<()>) -> Self {
        Self { limit, waiting: Mutex::default(), room: Condvar::new(), wake }
    }

    /// Makes the tables and counts what waits since an earlier run.
    pub(super) fn prepare(&self, connection: &Connection) -> Result<(), StoreError> {
        connection.execute_batch(TABLES).map_err(io)?;
        let sql = "SELECT coalesce(sum(samples), 0), coalesce(sum(length(body)), 0), max(seq) FROM block";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?));
        let (samples, bytes, last): (_, _, Option<i64>) = connection.query_row(sql, [], row).map_err(io)?;
        let verdicts: i64 = connection.query_row("SELECT count(*) FROM verdict", [], |row| row.get(0)).map_err(io)?;
        let mut waiting = self.waiting.lock();
        waiting.samples = samples.cast_unsigned();
        waiting.bytes = bytes.cast_unsigned() + verdicts.cast_unsigned() * VERDICT_BYTES;
        waiting.seals.extend(last.map(|seq| (seq, SystemTime::now())));
        Ok(())
    }

    /// Waits until there is room for another seal; false when the store closes before that.
    pub(super) fn wait_for_room(&self, closing: &AtomicBool) -> bool {
        const LOOK: Duration = Duration::from_millis(100);
        let mut waiting = self.waiting.lock();
        while waiting.bytes >= self.limit {
            if closing.load(Ordering::Acquire) {
                return false;
            }
            self.room.wait_for(&mut waiting, LOOK);
        }
        true
    }

    /// Counts what a seal added.
    pub(super) fn sealed(&self, seq: i64, samples: u64, bytes: u64, verdicts: usize) {
        let mut waiting = self.waiting.lock();
        waiting.samples += samples;
        waiting.bytes += bytes + verdicts as u64 * VERDICT_BYTES;
        waiting.seals.push_back((seq, SystemTime::now()));
        drop(waiting);
        self.wake();
    }

    fn sent(&self, window: &Window, first_left: Option<i64>) {
        let mut waiting = self.waiting.lock();
        let bytes = window.bytes + window.verdicts.len() as u64 * VERDICT_BYTES;
        waiting.samples = waiting.samples.saturating_sub(window.samples);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        while waiting.seals.front().is_some_and(|(seq, _)| first_left.is_none_or(|left| *seq < left)) {
            waiting.seals.pop_front();
        }
        drop(waiting);
        self.room.notify_all();
    }

    /// Has the sending side look.
    pub(super) fn wake(&self) {
        // Full: it is going to look anyway.
        let _ = self.wake.try_send(());
    }

    /// Samples and bytes that wait, and since when.
    pub(super) fn held(&self) -> (u64, u64, Option<SystemTime>) {
        let waiting = self.waiting.lock();
        (waiting.samples, waiting.bytes, waiting.seals.front().map(|(_, time)| *time))
    }
}

/// Says that an interval changed.
pub(super) fn mark_interval(
    transaction: &Transaction<'_>,
    agent: AgentId,
    start: UnixNanos,
    seq: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO outbox_interval(agent, start, seq) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![agent.0, start.0, seq])).map_err(io)?;
    Ok(())
}

/// Says that an alert changed.
pub(super) fn mark_alert(transaction: &Transaction<'_>, id: &str, seq: i64) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO outbox_alert(id, seq) VALUES (?1, ?2)";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![id, seq])).map_err(io)?;
    Ok(())
}

/// Some of what waits, oldest first.
#[derive(Default)]
pub(super) struct Window {
    /// Each sample once, the first one sealed.
    pub(super) rows: Sorted,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) intervals: Vec<(AgentId, Interval)>,
    pub(super) alerts: Vec<Alert>,
    blocks: Vec<i64>,
    samples: u64,
    bytes: u64,
    interval_marks: Vec<(i64, i64, i64)>,
    alert_marks: Vec<(String, i64)>,
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
            && self.verdicts.is_empty()
            && self.interval_marks.is_empty()
            && self.alert_marks.is_empty()
    }
}

/// The newest time sent of each series.
#[derive(Default)]
pub(super) struct Newest {
    chunks: HashMap<u32, Chunk>,
}

struct Chunk {
    times: Box<[i64; CHUNK as usize]>,
    changed: bool,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { times: Box::new([i64::MIN; CHUNK as usize]), changed: false }
    }
}

impl Newest {
    /// `i64::MIN` when nothing was sent.
    pub(super) fn get(&self, series: u32) -> i64 {
        self.chunks.get(&(series / CHUNK)).map_or(i64::MIN, |chunk| chunk.times[(series % CHUNK) as usize])
    }

    pub(super) fn raise(&mut self, series: u32, time: i64) {
        let chunk = self.chunks.entry(series / CHUNK).or_default();
        let known = &mut chunk.times[(series % CHUNK) as usize];
        if *known < time {
            *known = time;
            chunk.changed = true;
        }
    }
}

/// What tells verdicts of one time apart, and the newest one sent of each.
pub(super) type VerdictTimes = HashMap<(AgentId, u8, String, i64), i64>;

/// The key of `verdict` in [`VerdictTimes`].
pub(super) fn verdict_kind(verdict: &Verdict) -> (AgentId, u8, String, i64) {
    let Verdict { agent, evidence, body, .. } = verdict;
    (*agent, kind_number(body), evidence.plugin.clone(), series_of(body))
}

/// What was learnt in earlier runs.
#[derive(Default)]
pub(super) struct Learnt {
    pub(super) newest: Newest,
    pub(super) verdicts: VerdictTimes,
    /// (measurement, field) and whether it holds integers.
    pub(super) columns: Vec<(String, String, bool)>,
    pub(super) split: Vec<u32>,
}

impl Shared {
    /// What earlier runs learnt.
    pub(super) fn learnt(&self) -> Result<Learnt, StoreError> {
        let writer = self.writer.lock();
        let mut learnt = Learnt::default();
        let mut statement = writer.connection.prepare("SELECT chunk, body FROM outbox_newest").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let body: Vec<u8> = row.get(1).map_err(io)?;
            let (times, rest) = body.as_chunks::<8>();
            let times: Box<[i64]> = times.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
            let times = times.try_into().ok().filter(|_| rest.is_empty());
            let times = times.ok_or_else(|| StoreError::Damaged("a row of outbox_newest has another length".into()))?;
            learnt.newest.chunks.insert(row.get(0).map_err(io)?, Chunk { times, changed: false });
        }
        let sql = "SELECT agent, kind, plugin, series, time FROM outbox_verdict";
        let mut statement = writer.connection.prepare(sql).map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let key = (
                AgentId(row.get(0).map_err(io)?),
                row.get(1).map_err(io)?,
                row.get(2).map_err(io)?,
                row.get(3).map_err(io)?,
            );
            learnt.verdicts.insert(key, row.get(4).map_err(io)?);
        }
        let sql = "SELECT measurement, field, integer FROM outbox_column";
        let mut statement = writer.connection.prepare(sql).map_err(io)?;
        let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(io)?;
        learnt.columns = columns.collect::<Result<_, _>>().map_err(io)?;
        let mut statement = writer.connection.prepare("SELECT series FROM outbox_split").map_err(io)?;
        learnt.split = statement.query_map([], |row| row.get(0)).map_err(io)?.collect::<Result<_, _>>().map_err(io)?;
        Ok(learnt)
    }

    /// Remembers the type of a column, before anything is written to it.
    pub(super) fn learn_column(&self, measurement: &str, field: &str, integer: bool) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO outbox_column(measurement, field, integer) VALUES (?1, ?2, ?3)";
        let writer = self.writer.lock();
        let mut statement = writer.connection.prepare_cached(sql).map_err(io)?;
        statement.execute(params![measurement, field, integer]).map_err(io)?;
        Ok(())
    }

    /// Remembers that a series has values in a second column, before any is written there.
    pub(super) fn learn_split(&self, series: u32) -> Result<(), StoreError> {
        let writer = self.writer.lock();
        let sql = "INSERT OR IGNORE INTO outbox_split(series) VALUES (?1)";
        writer.connection.prepare_cached(sql).and_then(|mut s| s.execute([series])).map_err(io)?;
        Ok(())
    }

    /// The oldest of what waits; empty when nothing does.
    pub(super) fn window(&self) -> Result<Window, StoreError> {
        let snapshot = self.readers.begin()?;
        let connection = snapshot.get()?;
        let mut window = Window::default();
        let mut chunks: Vec<Columns> = Vec::new();
        let mut statement =
            connection.prepare_cached("SELECT id, samples, body FROM block ORDER BY seq, id").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while window.samples < WINDOW_ROWS as u64
            && let Some(row) = rows.next().map_err(io)?
        {
            let body = row.get_ref(2).map_err(io)?;
            let body = body.as_blob().map_err(|error| StoreError::Damaged(error.to_string()))?;
            chunks.push(block::decode(body).map_err(|error| StoreError::Damaged(error.to_string()))?);
            window.blocks.push(row.get(0).map_err(io)?);
            window.samples += row.get::<_, i64>(1).map_err(io)?.cast_unsigned();
            window.bytes += body.len() as u64;
        }
        window.rows = Sorted::from_chunks(&chunks);
        self.take_verdicts(connection, &mut window)?;
        take_intervals(connection, &mut window)?;
        take_alerts(connection, &mut window)?;
        Ok(window)
    }

    fn take_verdicts(&self, connection: &Connection, window: &mut Window) -> Result<(), StoreError> {
        let sql = "SELECT tenant.name, agent, time, evidence, body
                   FROM verdict JOIN tenant ON tenant.id = verdict.tenant LIMIT ?1";
        let mut statement = connection.prepare_cached(sql).map_err(io)?;
        let mut rows = statement.query([WINDOW_OTHERS as i64]).map_err(io)?;
        let mut evidence = HashMap::new();
        while let Some(row) = rows.next().map_err(io)? {
            let tenant = TenantId(row.get::<_, String>(0).map_err(io)?.into());
            let (agent, time) = (AgentId(row.get(1).map_err(io)?), UnixNanos(row.get(2).map_err(io)?));
            let evidence = known_evidence(connection, &mut evidence, row.get(3).map_err(io)?)?;
            window.verdicts.push(Verdict { tenant, agent, time, evidence, body: decode(row, 4)? });
        }
        Ok(())
    }

    /// Forgets a window that was sent, and keeps what was learnt with it: all or nothing.
    pub(super) fn sent(
        &self,
        window: &Window,
        newest: &mut Newest,
        verdict_times: &mut VerdictTimes,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        let transaction = writer.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        for id in &window.blocks {
            let mut statement = transaction.prepare_cached("DELETE FROM block WHERE id = ?1").map_err(io)?;
            statement.execute([id]).map_err(io)?;
        }
        for verdict in &window.verdicts {
            forget_verdict(&transaction, verdict)?;
        }
        for mark in &window.interval_marks {
            let sql = "DELETE FROM outbox_interval WHERE agent = ?1 AND start = ?2 AND seq = ?3";
            transaction.prepare_cached(sql).and_then(|mut s| s.execute(*mark)).map_err(io)?;
        }
        for (id, seq) in &window.alert_marks {
            let sql = "DELETE FROM outbox_alert WHERE id = ?1 AND seq = ?2";
            transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![id, seq])).map_err(io)?;
        }
        for (number, chunk) in newest.chunks.iter().filter(|(_, chunk)| chunk.changed) {
            let body: Vec<u8> = chunk.times.iter().flat_map(|time| time.to_le_bytes()).collect();
            let sql = "INSERT OR REPLACE INTO outbox_newest(chunk, body) VALUES (?1, ?2)";
            transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![number, body])).map_err(io)?;
        }
        let first_left = transaction.query_row("SELECT min(seq) FROM block", [], |row| row.get(0)).map_err(io)?;
        transaction.commit().map_err(io)?;
        drop(writer);
        newest.chunks.values_mut().for_each(|chunk| chunk.changed = false);
        for verdict in &window.verdicts {
            let newest = verdict_times.entry(verdict_kind(verdict)).or_insert(i64::MIN);
            *newest = (*newest).max(verdict.time.0);
        }
        self.samples.fetch_sub(window.samples, Ordering::Relaxed);
        if let Some(outbox) = &self.outbox {
            outbox.sent(window, first_left);
        }
        Ok(())
    }
}

/// Forgets a verdict that was sent, but for its time.
fn forget_verdict(transaction: &Transaction<'_>, verdict: &Verdict) -> Result<(), StoreError> {
    let (agent, kind, plugin, series) = verdict_kind(verdict);
    let sql = "DELETE FROM verdict WHERE agent = ?1 AND kind = ?2 AND time = ?3 AND plugin = ?4 AND series = ?5";
    let values = params![agent.0, kind, verdict.time.0, plugin, series];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    let sql = "INSERT INTO outbox_verdict(agent, kind, time, plugin, series) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET time = max(time, ?3)";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    Ok(())
}

fn take_intervals(connection: &Connection, window: &mut Window) -> Result<(), StoreError> {
    let sql = "SELECT mark.agent, mark.start, mark.seq, interval.end, interval.state
               FROM outbox_interval AS mark LEFT JOIN interval USING (agent, start) LIMIT ?1";
    let mut statement = connection.prepare_cached(sql).map_err(io)?;
    let mut rows = statement.query([WINDOW_OTHERS as i64]).map_err(io)?;
    while let Some(row) = rows.next().map_err(io)? {
        let mark: (i64, i64, i64) = (row.get(0).map_err(io)?, row.get(1).map_err(io)?, row.get(2).map_err(io)?);
        window.interval_marks.push(mark);
        // One that is past its retention already is not there any more.
        if let Some(number) = row.get::<_, Option<u8>>(4).map_err(io)? {
            let end = row.get::<_, Option<i64>>(3).map_err(io)?.map(UnixNanos);
            let agent = AgentId(row.get(0).map_err(io)?);
            window.intervals.push((agent, Interval { start: UnixNanos(mark.1), end, state: state(number)? }));
        }
    }
    Ok(())
}

fn take_alerts(connection: &Connection, window: &mut Window) -> Result<(), StoreError> {
    let sql = "SELECT mark.id, mark.seq, alert.body FROM outbox_alert AS mark LEFT JOIN alert USING (id) LIMIT ?1";
    let mut statement = connection.prepare_cached(sql).map_err(io)?;
    let mut rows = statement.query([WINDOW_OTHERS as i64]).map_err(io)?;
    while let Some(row) = rows.next().map_err(io)? {
        window.alert_marks.push((row.get(0).map_err(io)?, row.get(1).map_err(io)?));
        if let Some(body) = row.get::<_, Option<Vec<u8>>>(2).map_err(io)? {
            window.alerts.push(postcard::from_bytes(&body).map_err(damaged)?);
        }
    }
    Ok(())
}
