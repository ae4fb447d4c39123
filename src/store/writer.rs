//! The one connection that writes: tails and blocks to rows.

use super::block::{self, Effort};
use super::outbox;
use super::read::{stored_alert, stored_intervals};
use super::schema::{damaged, io, kind_number, series_of, state_number};
use super::sorted::{Lane, Sorted};
use super::tail::Tail;
use hashbrown::HashMap;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::ops::Range;
use std::sync::Arc;
use vitals_core::audit::AuditEntry;
use vitals_core::availability::{Interval, planned_over};
use vitals_core::ids::{AgentId, Partition, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::series::{Attributes, SeriesDesc};
use vitals_core::store::{Checkpoint, RetiredAgent, StoreError};
use vitals_core::verdict::{Alert, Evidence, Verdict};

/// A block that is ready to be written.
pub(super) struct NewBlock {
    pub(super) level: u32,
    pub(super) day: i64,
    pub(super) lane: Lane,
    /// Of the first and the last sample.
    pub(super) times: (i64, i64),
    pub(super) samples: usize,
    pub(super) body: Vec<u8>,
}

/// Level-0 blocks of all rows.
pub(super) fn blocks(sorted: Sorted, most: usize) -> Result<Vec<NewBlock>, StoreError> {
    let mut blocks = Vec::new();
    for (day, sorted) in sorted.by_day() {
        for (lane, runs) in sorted.lanes(most) {
            blocks.push(compress(&sorted, lane, runs, day, 0)?);
        }
    }
    Ok(blocks)
}

/// One block of some runs, all of one day.
pub(super) fn compress(
    sorted: &Sorted,
    lane: Lane,
    runs: Range<usize>,
    day: i64,
    level: u32,
) -> Result<NewBlock, StoreError> {
    let effort = match level {
        0 => Effort::Quick,
        1 => Effort::Fair,
        _ => Effort::Thorough,
    };
    let body = block::encode(sorted, runs.clone(), effort).map_err(|error| StoreError::Io(error.to_string()))?;
    let rows = || sorted.runs[runs.clone()].iter().map(|run| &run.rows);
    let start = rows().map(|rows| sorted.times[rows.start]).min().unwrap_or(0);
    let end = rows().map(|rows| sorted.times[rows.end - 1]).max().unwrap_or(0);
    Ok(NewBlock { level, day, lane, times: (start, end), samples: rows().map(ExactSizeIterator::len).sum(), body })
}

/// The one connection that writes, with what it knows of the rows that others refer to.
pub(super) struct Writer {
    pub(super) connection: Connection,
    next_seq: i64,
    tenants: HashMap<TenantId, i64>,
    evidence: HashMap<Evidence, i64>,
    /// By the hash of the body: a million series need no second copy of their attributes here.
    resources: HashMap<u128, i64>,
    /// A transaction failed: what is known may not be in the file.
    stale: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, next_seq: i64) -> Result<Self, StoreError> {
        let mut writer = Self {
            connection,
            next_seq,
            tenants: HashMap::new(),
            evidence: HashMap::new(),
            resources: HashMap::new(),
            stale: false,
        };
        writer.learn()?;
        Ok(writer)
    }

    fn learn(&mut self) -> Result<(), StoreError> {
        self.tenants.clear();
        self.evidence.clear();
        self.resources.clear();
        let mut statement = self.connection.prepare_cached("SELECT id, name FROM tenant").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let name: String = row.get(1).map_err(io)?;
            self.tenants.insert(TenantId::from(name.as_str()), row.get(0).map_err(io)?);
        }
        let mut statement = self.connection.prepare_cached("SELECT id, body FROM evidence").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let evidence = postcard::from_bytes(&row.get::<_, Vec<u8>>(1).map_err(io)?).map_err(damaged)?;
            self.evidence.insert(evidence, row.get(0).map_err(io)?);
        }
        let mut statement = self.connection.prepare_cached("SELECT id, body FROM resource").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let body: Vec<u8> = row.get(1).map_err(io)?;
            self.resources.insert(xxhash_rust::xxh3::xxh3_128(&body), row.get(0).map_err(io)?);
        }
        self.stale = false;
        Ok(())
    }

    /// The number of the seal, and how many verdicts were new.
    pub(super) fn seal(
        &mut self,
        partition: Partition,
        tail: &Tail,
        checkpoint: &Checkpoint,
        blocks: &[NewBlock],
        outbox: bool,
    ) -> Result<(i64, usize), StoreError> {
        if self.stale {
            self.learn()?;
        }
        // Until the commit is through, what is learnt on the way counts as not known.
        self.stale = true;
        let Self { connection, next_seq, tenants, evidence, resources, stale } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        for block in blocks {
            insert_block(&transaction, *next_seq, block)?;
        }
        // Before what is new: none of that is theirs.
        for retired in &tail.retired {
            forget_agent(&transaction, retired)?;
        }
        for agent in &tail.agents {
            let body = postcard::to_stdvec(&**agent).map_err(damaged)?;
            let sql = "INSERT OR REPLACE INTO agent(id, body) VALUES (?1, ?2)";
            transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![agent.id.0, body])).map_err(io)?;
        }
        for series in &tail.series {
            write_series(&transaction, resources, series)?;
        }
        let mut verdicts = 0;
        for verdict in &tail.verdicts {
            verdicts += write_verdict(&transaction, tenants, evidence, verdict)?;
        }
        // In this order: maintenance and what people did to alerts change what is stored, this tail's own part included.
        let mark = outbox.then_some(*next_seq);
        for ((agent, _), interval) in &tail.intervals {
            write_interval(&transaction, *agent, interval, mark)?;
        }
        for window in &tail.maintenance {
            let known = stored_intervals(&transaction, window.agent, window.start, window.end)?;
            for change in planned_over(&known, window.start, window.end) {
                write_interval(&transaction, window.agent, &change, mark)?;
            }
        }
        for alert in tail.alerts.values() {
            write_alert(&transaction, tenants, alert, mark)?;
        }
        for one in &tail.alert_commands {
            if let Some(mut alert) = stored_alert(&transaction, &one.alert)?
                && one.apply(&mut alert)
            {
                write_alert(&transaction, tenants, &alert, mark)?;
            }
        }
        for entry in &tail.audit {
            write_audit(&transaction, tenants, entry)?;
        }
        for window in &tail.windows {
            write_window(&transaction, tenants, window)?;
        }
        write_checkpoint(&transaction, partition, checkpoint)?;
        transaction.commit().map_err(io)?;
        let seq = *next_seq;
        *next_seq += 1;
        *stale = false;
        Ok((seq, verdicts))
    }
}

pub(super) fn insert_block(transaction: &Transaction<'_>, seq: i64, block: &NewBlock) -> Result<(), StoreError> {
    let NewBlock { level, day, lane, times, samples, body } = block;
    let sql = "INSERT INTO block(seq, level, day, first, last, start, end, samples, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![seq, level, day, lane.first, lane.last, times.0, times.1, *samples as i64, body];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    Ok(())
}

fn write_series(
    transaction: &Transaction<'_>,
    resources: &mut HashMap<u128, i64>,
    series: &SeriesDesc,
) -> Result<(), StoreError> {
    let attributes: &Attributes = &series.spec.resource;
    let body = postcard::to_stdvec(attributes).map_err(damaged)?;
    let hash = xxhash_rust::xxh3::xxh3_128(&body);
    let resource = match resources.get(&hash) {
        Some(&id) => id,
        None => {
            let sql = "INSERT INTO resource(body) VALUES (?1)";
            transaction.prepare_cached(sql).and_then(|mut s| s.execute([&body])).map_err(io)?;
            let id = transaction.last_insert_rowid();
            resources.insert(hash, id);
            id
        }
    };
    let mut bare = series.clone();
    bare.spec.resource = Arc::default();
    let body = postcard::to_stdvec(&bare).map_err(damaged)?;
    let sql = "INSERT OR REPLACE INTO series(id, resource, body) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![series.id.0, resource, body])).map_err(io)?;
    Ok(())
}

fn tenant_id(
    transaction: &Transaction<'_>,
    tenants: &mut HashMap<TenantId, i64>,
    tenant: &TenantId,
) -> Result<i64, StoreError> {
    if let Some(&id) = tenants.get(tenant) {
        return Ok(id);
    }
    transaction.execute("INSERT INTO tenant(name) VALUES (?1)", [&*tenant.0]).map_err(io)?;
    let id = transaction.last_insert_rowid();
    tenants.insert(tenant.clone(), id);
    Ok(id)
}

/// How many verdicts were new: one or none.
fn write_verdict(
    transaction: &Transaction<'_>,
    tenants: &mut HashMap<TenantId, i64>,
    known: &mut HashMap<Evidence, i64>,
    verdict: &Verdict,
) -> Result<usize, StoreError> {
    let tenant = tenant_id(transaction, tenants, &verdict.tenant)?;
    let evidence = match known.get(&*verdict.evidence) {
        Some(&id) => id,
        None => {
            let body = postcard::to_stdvec(&*verdict.evidence).map_err(damaged)?;
            transaction.execute("INSERT INTO evidence(body) VALUES (?1)", [body]).map_err(io)?;
            let id = transaction.last_insert_rowid();
            known.insert((*verdict.evidence).clone(), id);
            id
        }
    };
    let body = postcard::to_stdvec(&verdict.body).map_err(damaged)?;
    // A verdict that is there already was made again by a replay.
    let sql = "INSERT OR IGNORE INTO verdict(agent, kind, time, plugin, series, tenant, evidence, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Verdict { agent, time, .. } = verdict;
    let kind = kind_number(&verdict.body);
    let values =
        params![agent.0, kind, time.0, verdict.evidence.plugin, series_of(&verdict.body), tenant, evidence, body];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)
}

/// With `mark`, the number of the seal, the interval is to be sent again.
fn write_interval(
    transaction: &Transaction<'_>,
    agent: AgentId,
    interval: &Interval,
    mark: Option<i64>,
) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO interval(agent, start, end, state) VALUES (?1, ?2, ?3, ?4)";
    let values = params![agent.0, interval.start.0, interval.end.map(|end| end.0), state_number(interval.state)];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    mark.map_or(Ok(()), |seq| outbox::mark_interval(transaction, agent, interval.start, seq))
}

/// With `mark`, the number of the seal, the alert is to be sent again.
fn write_alert(
    transaction: &Transaction<'_>,
    tenants: &mut HashMap<TenantId, i64>,
    alert: &Alert,
    mark: Option<i64>,
) -> Result<(), StoreError> {
    let tenant = tenant_id(transaction, tenants, &alert.tenant)?;
    let body = postcard::to_stdvec(alert).map_err(damaged)?;
    let sql =
        "INSERT OR REPLACE INTO alert(id, tenant, agent, started, resolved, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values =
        params![alert.id, tenant, alert.agent.0, alert.started.0, alert.resolved.map(|at: UnixNanos| at.0), body];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    mark.map_or(Ok(()), |seq| outbox::mark_alert(transaction, &alert.id, seq))
}

fn write_audit(
    transaction: &Transaction<'_>,
    tenants: &mut HashMap<TenantId, i64>,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let tenant = tenant_id(transaction, tenants, &entry.tenant)?;
    let body = postcard::to_stdvec(entry).map_err(damaged)?;
    let sql = "INSERT OR REPLACE INTO audit(tenant, at, id, body) VALUES (?1, ?2, ?3, ?4)";
    let values = params![tenant, entry.at.0, entry.id, body];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    Ok(())
}

fn forget_agent(transaction: &Transaction<'_>, retired: &RetiredAgent) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM agent WHERE id = ?1",
        "DELETE FROM verdict WHERE agent = ?1",
        "DELETE FROM interval WHERE agent = ?1",
        "DELETE FROM alert WHERE agent = ?1",
    ] {
        transaction.prepare_cached(sql).and_then(|mut s| s.execute([retired.agent.0])).map_err(io)?;
    }
    for series in &retired.series {
        let sql = "DELETE FROM series WHERE id = ?1";
        transaction.prepare_cached(sql).and_then(|mut s| s.execute([series.0])).map_err(io)?;
    }
    let given_out = retired.series.iter().map(|series| i64::from(series.0) + 1).max().unwrap_or(0);
    let sql = "INSERT OR REPLACE INTO retired(agent, series) VALUES (?1, ?2)";
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(params![retired.agent.0, given_out])).map_err(io)?;
    Ok(())
}

/// Of two states of a window the one that was changed last stays, whichever partition writes last.
fn write_window(
    transaction: &Transaction<'_>,
    tenants: &mut HashMap<TenantId, i64>,
    window: &PersonWindow,
) -> Result<(), StoreError> {
    let tenant = tenant_id(transaction, tenants, &window.tenant)?;
    let body = postcard::to_stdvec(window).map_err(damaged)?;
    let sql = "INSERT INTO window(id, tenant, changed, end, body) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT(id) DO UPDATE SET changed = ?3, end = ?4, body = ?5 WHERE changed < ?3";
    let values = params![window.id, tenant, window.changed.0, window.end.0, body];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    Ok(())
}

fn write_checkpoint(
    transaction: &Transaction<'_>,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), StoreError> {
    // Without a new state the earlier one stays, with the position that it includes.
    let sql = "INSERT INTO checkpoint(partition, stored, included, state, liveness)
               VALUES (?1, ?2, CASE WHEN ?4 IS NULL THEN 0 ELSE ?3 END, ?4, ?5)
               ON CONFLICT(partition) DO UPDATE SET stored = ?2, liveness = ?5,
                   included = CASE WHEN ?4 IS NULL THEN included ELSE ?3 END, state = coalesce(?4, state)";
    let Checkpoint { stored, included, state, liveness } = checkpoint;
    let values = params![partition.0, stored.0.cast_signed(), included.0.cast_signed(), state, liveness];
    transaction.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(io)?;
    Ok(())
}
