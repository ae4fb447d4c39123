//! What is taken from the outbox, and given back as sent.

use super::block;
use super::schema::{damaged, decode, io, kind_number, known_evidence, series_of, state};
use super::shared::Shared;
use super::sorted::Sorted;
use hashbrown::HashMap;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::sync::atomic::Ordering;
use vitals_core::availability::Interval;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::store::StoreError;
use vitals_core::verdict::{Alert, Verdict};

/// Rows taken at once: enough for several large writes, little enough to hold in memory encoded.
const WINDOW_ROWS: usize = if cfg!(test) { 64 } else { 128 * 1024 };
/// Verdicts, intervals and alerts taken at once, of each.
const WINDOW_OTHERS: usize = if cfg!(test) { 16 } else { 4096 };
/// Series of one row of `outbox_newest`.
const CHUNK: u32 = 1024;

/// Some of what waits, oldest first.
#[derive(Default)]
pub(super) struct UnsentWindow {
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

impl UnsentWindow {
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
    pub(super) fn window(&self) -> Result<UnsentWindow, StoreError> {
        let snapshot = self.readers.begin()?;
        let connection = snapshot.get()?;
        let mut window = UnsentWindow::default();
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

    fn take_verdicts(&self, connection: &Connection, window: &mut UnsentWindow) -> Result<(), StoreError> {
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
        window: &UnsentWindow,
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
            outbox.sent(window.samples, window.bytes, window.verdicts.len(), first_left);
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

fn take_intervals(connection: &Connection, window: &mut UnsentWindow) -> Result<(), StoreError> {
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

fn take_alerts(connection: &Connection, window: &mut UnsentWindow) -> Result<(), StoreError> {
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
