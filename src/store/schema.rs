//! The tables, and what stands in their columns.

use hashbrown::HashMap;
use rusqlite::{Connection, Row};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vitals_core::availability::State;
use vitals_core::store::StoreError;
use vitals_core::verdict::{Evidence, VerdictBody};

/// The layout of the file; another number is refused.
const FORMAT: i64 = 6;
/// A block takes 10 to 40 KB.
const PAGE_BYTES: u32 = 16 * 1024;
/// Pages in the write-ahead file before it is copied back (64 MiB).
const CHECKPOINT_PAGES: u32 = 4096;

/// Times are nanoseconds since the epoch, bodies postcard unless said otherwise.
const TABLES: &str = "
BEGIN IMMEDIATE;
-- Compressed samples (block.rs). first and last bound a lane of series ids, start and end (inclusive) the times;
-- all within one day. Of blocks that hold the same sample the one with the lowest seq is right.
CREATE TABLE block(
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, level INTEGER NOT NULL, day INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    samples INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX block_by_series ON block(first, day, last, start, end, samples);
CREATE INDEX block_by_day ON block(day, level, seq, first, last, samples);
CREATE TABLE tenant(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE agent(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
-- The attributes that the series of one resource share.
CREATE TABLE resource(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE series(id INTEGER PRIMARY KEY, resource INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE evidence(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE verdict(
    agent INTEGER NOT NULL, kind INTEGER NOT NULL, time INTEGER NOT NULL, plugin TEXT NOT NULL,
    series INTEGER NOT NULL, tenant INTEGER NOT NULL, evidence INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (agent, kind, time, plugin, series)) WITHOUT ROWID;
CREATE INDEX verdict_by_tenant ON verdict(tenant, kind, time);
CREATE TABLE interval(
    agent INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER, state INTEGER NOT NULL,
    PRIMARY KEY (agent, start)) WITHOUT ROWID;
CREATE TABLE alert(
    id TEXT PRIMARY KEY, tenant INTEGER NOT NULL, agent INTEGER NOT NULL, started INTEGER NOT NULL,
    resolved INTEGER, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX alert_by_tenant ON alert(tenant, started);
CREATE INDEX alert_by_agent ON alert(agent, started);
CREATE INDEX alert_open ON alert(tenant, started) WHERE resolved IS NULL;
-- Retired agents, with how many numbers of series had been given out: none is ever given out again.
CREATE TABLE retired(agent INTEGER PRIMARY KEY, series INTEGER NOT NULL);
CREATE TABLE audit(
    tenant INTEGER NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (tenant, at, id)) WITHOUT ROWID;
CREATE TABLE window(
    id TEXT PRIMARY KEY, tenant INTEGER NOT NULL, changed INTEGER NOT NULL, end INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoint(
    partition INTEGER PRIMARY KEY, stored INTEGER NOT NULL, included INTEGER NOT NULL, state BLOB, liveness BLOB NOT NULL);
";

/// A connection, set up; the tables are made if there are none.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(io)?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(io)?;
    match (format, tables) {
        (FORMAT, _) => {}
        (0, 0) => connection.execute_batch(&format!("{TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")).map_err(io)?,
        _ => return Err(StoreError::Damaged(format!("the file is no store of format {FORMAT} (it says {format})"))),
    }
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(io)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(io)?;
    connection.set_prepared_statement_cache_capacity(64);
    let set = |name: &str, value: &dyn rusqlite::ToSql| connection.pragma_update(None, name, value).map_err(io);
    set("page_size", &PAGE_BYTES)?;
    set("journal_mode", &"WAL")?;
    // A seal must be on the disk before the log is cut behind it.
    set("synchronous", &"FULL")?;
    set("wal_autocheckpoint", &CHECKPOINT_PAGES)?;
    Ok(connection)
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(super) fn io(error: rusqlite::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(super) fn damaged(error: postcard::Error) -> StoreError {
    StoreError::Damaged(format!("a row cannot be decoded: {error}"))
}

/// The kinds of verdicts, by the number that stands for them.
pub(super) const KINDS: [&str; 3] = ["health", "outlier", "sla"];

pub(super) fn kind_number(body: &VerdictBody) -> u8 {
    match body {
        VerdictBody::Health(_) => 0,
        VerdictBody::Outlier(_) => 1,
        VerdictBody::Sla(_) => 2,
    }
}

/// The series that a verdict is about, as far as it tells verdicts apart; -1 for none.
pub(super) fn series_of(body: &VerdictBody) -> i64 {
    match body {
        VerdictBody::Outlier(outlier) => outlier.series.0.into(),
        VerdictBody::Health(_) | VerdictBody::Sla(_) => -1,
    }
}

/// The number of a state in the file.
pub(super) fn state_number(state: State) -> u8 {
    match state {
        State::Up => 0,
        State::Silent => 1,
        State::Unhealthy => 2,
        State::Maintenance => 3,
    }
}

/// The state of a number in the file.
pub(super) fn state(number: u8) -> Result<State, StoreError> {
    match number {
        0 => Ok(State::Up),
        1 => Ok(State::Silent),
        2 => Ok(State::Unhealthy),
        3 => Ok(State::Maintenance),
        other => Err(StoreError::Damaged(format!("an interval has the unknown state {other}"))),
    }
}

/// A column that holds postcard.
pub(super) fn decode<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    let body = row.get_ref(column).map_err(io)?;
    let body = body.as_blob().map_err(|error| StoreError::Damaged(error.to_string()))?;
    postcard::from_bytes(body).map_err(damaged)
}

/// The evidence with this id, read at most once.
pub(super) fn known_evidence(
    connection: &Connection,
    known: &mut HashMap<i64, Arc<Evidence>>,
    id: i64,
) -> Result<Arc<Evidence>, StoreError> {
    if let Some(evidence) = known.get(&id) {
        return Ok(evidence.clone());
    }
    let mut statement = connection.prepare_cached("SELECT body FROM evidence WHERE id = ?1").map_err(io)?;
    let mut rows = statement.query([id]).map_err(io)?;
    let row = rows.next().map_err(io)?;
    let row = row.ok_or_else(|| StoreError::Damaged(format!("the evidence {id} of a verdict is missing")))?;
    let evidence: Arc<Evidence> = Arc::new(decode(row, 0)?);
    known.insert(id, evidence.clone());
    Ok(evidence)
}
