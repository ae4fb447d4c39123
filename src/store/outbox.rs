//! What a store that keeps its data elsewhere has still to send: durable here, in the order of sealing.
//!
//! Blocks and verdicts of the file wait until they are taken in windows, sent, and forgotten in one transaction with
//! what was learnt on the way. Intervals and alerts stay; a mark says which of them changed since they were sent.

use super::schema::io;
use crate::clock::now;
use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Transaction, params};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::store::StoreError;

/// Added to the tables of the store.
///
/// - `outbox_interval`, `outbox_alert`: what changed, and with which seal
/// - `outbox_newest`: the newest time sent of each series, 1024 of them a row, little-endian
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

/// Bytes that a verdict counts against the limit.
const VERDICT_BYTES: u64 = 512;

/// How much waits.
pub(super) struct Outbox {
    limit: u64,
    waiting: Mutex<Waiting>,
    capacity: Condvar,
    /// Tells the sending side that there is something.
    wake: Sender<()>,
}

#[derive(Default)]
struct Waiting {
    samples: u64,
    bytes: u64,
    /// Seals that wait, and when they were made.
    seals: VecDeque<(i64, UnixNanos)>,
}

impl Outbox {
    /// An outbox of at most about `limit` bytes, past which seals wait.
    pub(super) fn new(limit: u64, wake: Sender<()>) -> Self {
        Self { limit, waiting: Mutex::default(), capacity: Condvar::new(), wake }
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
        waiting.seals.extend(last.map(|seq| (seq, now())));
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
            self.capacity.wait_for(&mut waiting, LOOK);
        }
        true
    }

    /// Counts what a seal added.
    pub(super) fn sealed(&self, seq: i64, samples: u64, bytes: u64, verdicts: usize) {
        let mut waiting = self.waiting.lock();
        waiting.samples += samples;
        waiting.bytes += bytes + verdicts as u64 * VERDICT_BYTES;
        waiting.seals.push_back((seq, now()));
        drop(waiting);
        self.wake();
    }

    /// Counts what was sent; seals before `first_left`, or all, do not wait any more.
    pub(super) fn sent(&self, samples: u64, bytes: u64, verdicts: usize, first_left: Option<i64>) {
        let mut waiting = self.waiting.lock();
        waiting.samples = waiting.samples.saturating_sub(samples);
        waiting.bytes = waiting.bytes.saturating_sub(bytes + verdicts as u64 * VERDICT_BYTES);
        while waiting.seals.front().is_some_and(|(seq, _)| first_left.is_none_or(|left| *seq < left)) {
            waiting.seals.pop_front();
        }
        drop(waiting);
        self.capacity.notify_all();
    }

    /// Has the sending side look.
    pub(super) fn wake(&self) {
        // Full: it is going to look anyway.
        let _ = self.wake.try_send(());
    }

    /// Samples and bytes that wait, and since when.
    pub(super) fn held(&self) -> (u64, u64, Option<UnixNanos>) {
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
