//! The embedded store: the suite, and what only it promises.

use super::conformance::{NOON, Subject, ZERO, raw, rows, seal};
use super::maintain::FAN;
use super::{EmbeddedStore, StoreConfig};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use vitals_core::ids::{Position, SeriesId, UnixNanos};
use vitals_core::store::{Checkpoint, EvaluationOutput, SampleQuery, Store, StoreError};

fn store(folder: &Path) -> EmbeddedStore {
    // Small blocks, so that lanes are cut and merged in tests too.
    let config = StoreConfig { block_samples: 8, ..StoreConfig::default() };
    EmbeddedStore::open(&folder.join("store.db"), &config).unwrap()
}

fn subject() -> Option<Subject> {
    let open = Box::new(|folder: &Path| -> Arc<dyn Store> { Arc::new(store(folder)) });
    Some(Subject { open, nan: true, times: i64::MIN..=i64::MAX - 1, cases: 12, counts: true })
}

super::conformance::suite!(subject);

/// The store in memory that other tests use: stores of one folder hold the same.
mod memory {
    use super::*;
    use crate::testing::{Contents, MemoryStore};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    fn subject() -> Option<Subject> {
        let folders: Mutex<BTreeMap<std::path::PathBuf, Arc<Mutex<Contents>>>> = Mutex::default();
        let open = Box::new(move |folder: &Path| -> Arc<dyn Store> {
            Arc::new(MemoryStore::open(folders.lock().unwrap().entry(folder.to_owned()).or_default().clone()))
        });
        Some(Subject { open, nan: true, times: i64::MIN..=i64::MAX - 1, cases: 12, counts: true })
    }

    crate::store::conformance::suite!(subject);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = store(folder.path());
    let again = EmbeddedStore::open(&folder.path().join("store.db"), &StoreConfig::default());
    let Err(StoreError::Io(reason)) = again else { panic!("opened twice") };
    assert!(reason.contains("in use by another process"), "{reason}");
}

/// `PRAGMA synchronous` and `PRAGMA journal_mode`, as the connection has them.
fn pragmas(connection: &Connection) -> (u8, String) {
    let synchronous = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    (synchronous, connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap())
}

#[test]
fn seals_are_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.write(ZERO, rows(&[(0, NOON, 1.0)]));
    seal(&store, ZERO, Checkpoint::default());
    assert_eq!(store.checkpoint(ZERO).unwrap().stored, Position(0));
    // 2 is FULL: the log is cut behind a seal, so each commit must be on the disk.
    let expect = (2, "wal".to_owned());
    assert_eq!(pragmas(&store.shared.writer.lock().connection), expect);
    assert_eq!(store.shared.readers.idle(pragmas), [expect]);
}

fn blocks(store: &EmbeddedStore) -> Vec<(u32, i64)> {
    let writer = store.shared.writer.lock();
    let mut statement = writer.connection.prepare("SELECT level, count(*) FROM block GROUP BY level").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[test]
fn merging_makes_few_blocks_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let seals = FAN * FAN + 3;
    for n in 0..seals {
        let some: Vec<_> = (0..3_u32).map(|series| (series * 50, NOON + n, n as f64)).collect();
        // Every fifth comes twice, with another value.
        store.write(ZERO, rows(&some));
        if n % 5 == 4 {
            store.write(ZERO, rows(&[(0, NOON + n, -1.0), (0, NOON + n - 1, -1.0)]));
        }
        seal(&store, ZERO, Checkpoint::default());
        if n % FAN == FAN - 1 {
            store.maintain(UnixNanos(NOON)).unwrap();
        }
    }
    let left = blocks(&store);
    assert!(left.iter().all(|(level, count)| *level == 2 || *count <= 3 * 3), "{left:?}");
    for series in [0, 50, 100] {
        let expect: Vec<_> = (0..seals).map(|n| (NOON + n, (n as f64).to_bits())).collect();
        assert_eq!(raw(&store, series), expect);
    }
    let stats = store.stats();
    drop(store);
    assert_eq!(self::store(folder.path()).stats().samples, stats.samples, "counted as they are on disk");
}

#[test]
fn a_crash_keeps_what_was_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let copy = tempfile::tempdir().unwrap();
    for n in 0..40 {
        store.write(ZERO, rows(&[(1, NOON + n, 1.0)]));
        if n % 10 == 9 {
            seal(&store, ZERO, Checkpoint { stored: Position(n.unsigned_abs()), ..Checkpoint::default() });
        }
        if n == 25 {
            for name in ["store.db", "store.db-wal"] {
                std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
        }
    }
    let after = self::store(copy.path());
    assert_eq!(after.checkpoint(ZERO).unwrap().stored, Position(19));
    assert_eq!(raw(&after, 1).len(), 20, "as far as the checkpoint says, no further");
}

#[test]
fn a_seal_that_fails_is_tried_until_it_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let limit = |pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.shared.writer.lock().connection.query_row(&sql, [], |_| Ok(())).unwrap();
    };
    limit(1);
    let many: Vec<_> = (0..20_000).map(|n| (n, NOON, f64::from(n) * 0.1)).collect();
    let agent = vitals_core::series::AgentDesc {
        id: vitals_core::ids::AgentId(1),
        tenant: "t".into(),
        key: "a".into(),
        first_seen: UnixNanos(1),
        profile: Default::default(),
    };
    store.write(ZERO, EvaluationOutput { agents: vec![Arc::new(agent)], ..rows(&many) });
    let (sender, done) = crossbeam_channel::bounded(1);
    store.seal(ZERO, Checkpoint::default(), Box::new(move || sender.send(()).unwrap()));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(done.try_recv().is_err());
    assert_eq!(raw(&store, 7).len(), 1, "it can be read meanwhile");
    limit(1_000_000);
    done.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(raw(&store, 7).len(), 1);
    assert_eq!((store.stats().samples, store.stats().pending), (20_000, 0));
    assert_eq!(store.catalogue().unwrap().agents.len(), 1);
}

#[test]
fn one_alert_is_found_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let writer = store.shared.writer.lock();
    let sql = format!("EXPLAIN QUERY PLAN {}", super::read::ALERT_BY_ID);
    let plan: String = writer.connection.query_row(&sql, ["a"], |row| row.get(3)).unwrap();
    assert_eq!(plan, "SEARCH alert USING PRIMARY KEY (id=?)");
}

#[test]
fn damage_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.write(ZERO, rows(&[(1, NOON, 1.0)]));
    seal(&store, ZERO, Checkpoint::default());
    let other = Connection::open(folder.path().join("store.db")).unwrap();
    other.execute("UPDATE block SET body = substr(body, 1, length(body) - 1)", []).unwrap();
    let (start, end) = (UnixNanos(0), UnixNanos(i64::MAX));
    let query = SampleQuery { series: SeriesId(1), start, end, step: None, limit: 10 };
    assert!(matches!(store.samples(&query), Err(StoreError::Damaged(_))));
}

#[test]
fn another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine(x)").unwrap();
    assert!(matches!(EmbeddedStore::open(&path, &StoreConfig::default()), Err(StoreError::Damaged(_))));
}
