//! The SQLite log: the suite, and what only it promises.

use super::conformance::{ZERO, all, append, deliver_to, describe, samples};
use super::{Durability, LogConfig, LogFile, SqliteLog};
use crossbeam_channel::{Sender, unbounded};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::ids::{Partition, Position, UnixNanos};
use vitals_core::log::{Deliver, Log, LogError};
use vitals_core::record::{Record, Ticket};
use vitals_core::registry::{Quota, Registry};
use vitals_core::series::{AgentProfile, SeriesSpec};

fn open(folder: &Path, partitions: u32, deliver: Deliver) -> Arc<dyn Log> {
    Arc::new(
        SqliteLog::open(&folder.join("log.db"), &LogConfig { partitions, ..LogConfig::default() }, deliver).unwrap(),
    )
}

super::conformance::suite!(open);

/// The log in memory that other tests use: logs of one folder hold the same.
mod memory {
    use super::*;
    use crate::testing::{MemoryLog, Partitions};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    static FOLDERS: Mutex<BTreeMap<std::path::PathBuf, Partitions>> = Mutex::new(BTreeMap::new());

    fn open(folder: &Path, partitions: u32, deliver: Deliver) -> Arc<dyn Log> {
        let contents = FOLDERS.lock().unwrap().entry(folder.to_owned()).or_default().clone();
        Arc::new(MemoryLog::open(contents, partitions, deliver))
    }

    crate::log::conformance::suite!(open);
}

fn one(folder: &Path, config: LogConfig) -> Result<SqliteLog, LogError> {
    SqliteLog::open(&folder.join("log.db"), &LogConfig { partitions: 1, ..config }, Box::new(|_, _| ()))
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = one(folder.path(), LogConfig::default()).unwrap();
    let Err(LogError::Io(reason)) = one(folder.path(), LogConfig::default()) else { panic!("opened twice") };
    assert!(reason.contains("in use by another process"), "{reason}");
    drop(log);
    one(folder.path(), LogConfig::default()).unwrap();
}

/// `PRAGMA synchronous` and `PRAGMA journal_mode`, as the connection has them.
fn pragmas(connection: &rusqlite::Connection) -> (u8, String) {
    let synchronous = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    (synchronous, connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap())
}

#[test]
fn commits_are_synced_as_durability_says() {
    // 2 is FULL: each commit is synced. 1 is NORMAL: only what is copied back into the file is.
    for (durability, synchronous) in [(Durability::default(), 2), (Durability::Fsync, 2), (Durability::Os, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let log = one(folder.path(), LogConfig { durability, ..LogConfig::default() }).unwrap();
        append(&log, ZERO, samples(1, 10)).unwrap();
        let expect = (synchronous, "wal".to_owned());
        assert_eq!(log.connections(pragmas), [expect.clone(), expect], "{durability:?}");
    }
}

#[test]
fn the_cap_refuses_until_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let log = one(folder.path(), LogConfig { max_bytes: 10_000, durability: Durability::Os, ..LogConfig::default() })
        .unwrap();
    let error = loop {
        if let Err(error) = append(&log, ZERO, samples(1, 100)) {
            break error;
        }
    };
    assert!(matches!(error, LogError::Full { held, limit: 10_000 } if held > 8_000), "{error}");
    let last = log.last(ZERO).unwrap();
    append(&log, ZERO, describe(1)).expect("descriptions are taken past the cap");
    log.cut(ZERO, last).unwrap();
    assert_eq!(append(&log, ZERO, samples(1, 100)), Ok(Position(last.0 + 2)));
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_no_description() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, delivered) = unbounded();
    let config = LogConfig { partitions: 1, ..LogConfig::default() };
    let log = SqliteLog::open(&folder.path().join("log.db"), &config, deliver_to(sender)).unwrap();
    append(&log, ZERO, samples(1, 10)).unwrap();
    log.tamper(|connection| {
        let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    });
    let error = append(&log, ZERO, samples(2, 10_000)).unwrap_err();
    assert!(matches!(&error, LogError::Io(reason) if reason.contains("full")), "{error}");
    // One transaction with a description in it that fails because of its neighbour.
    let (sender, described) = unbounded();
    let (entered, hold) = unbounded();
    let (release, wait) = unbounded::<()>();
    log.tamper(move |_| {
        entered.send(()).unwrap();
        wait.recv().unwrap();
    });
    hold.recv().unwrap();
    let done = Box::new(move |result| sender.send(result).unwrap());
    log.append(ZERO, describe(3), Ticket::default(), done);
    let (sender, refused) = unbounded();
    log.append(ZERO, samples(4, 10_000), Ticket::default(), Box::new(move |result| sender.send(result).unwrap()));
    release.send(()).unwrap();
    assert!(refused.recv().unwrap().is_err());
    log.tamper(|connection| {
        connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
    });
    assert_eq!(append(&log, ZERO, samples(5, 10_000)), Ok(Position(3)));
    assert_eq!(described.recv().unwrap(), Ok(Position(2)));
    let expect = [(Position(1), samples(1, 10)), (Position(2), describe(3)), (Position(3), samples(5, 10_000))];
    assert!(all(&log, ZERO) == expect);
    log.close();
    assert!(delivered.try_iter().map(|d| (d.1, d.2)).collect::<Vec<_>>() == expect);
}

/// What a crash leaves: the files as they are while the log is open.
#[test]
fn a_crash_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let log = one(folder.path(), LogConfig::default()).unwrap();
    for n in 1..=20 {
        append(&log, ZERO, samples(n, 500)).unwrap();
        if n == 10 {
            log.cut(ZERO, Position(4)).unwrap();
        }
    }
    let copy = tempfile::tempdir().unwrap();
    for name in ["log.db", "log.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let after = one(copy.path(), LogConfig::default()).unwrap();
    assert_eq!(all(&after, ZERO), all(&log, ZERO));
    assert_eq!(after.last(ZERO).unwrap(), Position(20));
    // A crash amid a commit: the last frame is torn.
    drop(after);
    let wal = log_tail(folder.path());
    let torn = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("log.db"), torn.path().join("log.db")).unwrap();
    std::fs::write(torn.path().join("log.db-wal"), &wal[..wal.len() - 100]).unwrap();
    let after = one(torn.path(), LogConfig::default()).unwrap();
    let held = all(&after, ZERO);
    let expect = all(&log, ZERO);
    assert_eq!(held, expect[..held.len()], "a prefix, nothing half");
    assert_eq!(after.last(ZERO).unwrap(), held.last().unwrap().0);
}

fn log_tail(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("log.db-wal")).unwrap()
}

#[test]
fn damage_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let log = one(folder.path(), LogConfig::default()).unwrap();
    append(&log, ZERO, samples(1, 10)).unwrap();
    append(&log, ZERO, samples(2, 10)).unwrap();
    log.tamper(|connection| {
        connection.execute("UPDATE log_0 SET body = x'00112233445566778899aabb' WHERE position = 2", []).unwrap();
    });
    append(&log, ZERO, samples(3, 10)).unwrap();
    assert_eq!(log.read(ZERO, Position(0), 1).unwrap().len(), 1);
    let error = log.read(ZERO, Position(1), 1).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { partition: 0, position: 2, .. }), "{error}");
}

#[test]
fn another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.db"), "no database at all, but long enough to be looked at").unwrap();
    assert!(matches!(one(folder.path(), LogConfig::default()), Err(LogError::Io(_))));
}

/// A registry, and the log that it is described in.
fn logged(folder: &Path, partitions: u32) -> (Registry, SqliteLog) {
    let file = LogFile::open(&folder.join("log.db"), &LogConfig { partitions, ..LogConfig::default() }).unwrap();
    let registry = Registry::logged(Quota::default(), file.registrations());
    (registry, file.start(Box::new(|_, _| ())).unwrap())
}

/// Keeps the log's thread busy until the returned sender is dropped.
fn hold(log: &SqliteLog) -> Sender<()> {
    let (entered, is_held) = unbounded();
    let (release, released) = unbounded::<()>();
    log.tamper(move |_| {
        entered.send(()).unwrap();
        let _ = released.recv();
    });
    is_held.recv().unwrap();
    release
}

fn spec() -> SeriesSpec {
    let Record::Describe { series, .. } = describe(1) else { unreachable!() };
    series[0].spec.clone()
}

#[test]
fn descriptions_precede_the_rows_that_use_them() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, log) = logged(folder.path(), 1);
    let held = hold(&log);
    // Both wait when the log comes to them, the rows perhaps in the middle of what it gathers.
    let (sender, appended) = unbounded();
    let done = Box::new(move |result| sender.send(result).unwrap());
    let agent = registry.intern_agent(&"t".into(), "a", UnixNanos(1), &AgentProfile::default()).unwrap();
    let series = registry.intern_series(&"t".into(), agent, vec![spec()]).remove(0).unwrap();
    assert_eq!(log.stats().queued, 2);
    log.append(ZERO, samples(series.0, 1), Ticket::default(), done);
    drop(held);
    assert_eq!(appended.recv().unwrap(), Ok(Position(3)));
    let agents = Record::Describe { agents: vec![registry.agent(agent).unwrap()], series: vec![] };
    let described = Record::Describe { agents: vec![], series: registry.series_of(agent) };
    assert_eq!(all(&log, ZERO).into_iter().map(|(_, record)| record).collect::<Vec<_>>()[..2], [agents, described]);
}

#[test]
fn what_is_registered_is_logged_without_an_append_and_when_the_log_closes() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, log) = logged(folder.path(), 4);
    let register = |key: &str| registry.intern_agent(&"t".into(), key, UnixNanos(1), &AgentProfile::default()).unwrap();
    let home = |agent| Partition::of(agent, 4);
    let first = register("a");
    let until = Instant::now() + Duration::from_secs(30);
    while log.last(home(first)).unwrap() == Position(0) {
        assert!(Instant::now() < until, "it is not logged");
        std::thread::yield_now();
    }
    let held = hold(&log);
    let second = register("b");
    drop(held);
    log.close();
    let descriptions: Vec<Record> = (0..4).flat_map(|n| all(&log, Partition(n))).map(|(_, record)| record).collect();
    let described = |agent| Record::Describe { agents: vec![registry.agent(agent).unwrap()], series: vec![] };
    assert_eq!(descriptions.len(), 2);
    assert!(descriptions.contains(&described(first)) && descriptions.contains(&described(second)));
    assert_eq!(log.stats().queued, 0);
}

/// Whoever finds an id in the registry may use it at once, also while another thread is registering it.
#[test]
fn no_row_stands_before_its_description_whoever_registered_it() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, log) = logged(folder.path(), 1);
    let agent = registry.intern_agent(&"t".into(), "a", UnixNanos(1), &AgentProfile::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    let spec = SeriesSpec { metric: format!("m{n}"), ..spec() };
                    let series = registry.intern_series(&"t".into(), agent, vec![spec]).remove(0).unwrap();
                    log.append(
                        ZERO,
                        samples(series.0, 1),
                        Ticket::default(),
                        Box::new(|result| assert!(result.is_ok())),
                    );
                }
            });
        }
    });
    log.close();
    let mut known = std::collections::HashSet::new();
    for (position, record) in all(&log, ZERO) {
        match record {
            Record::Describe { series, .. } => known.extend(series.iter().map(|desc| desc.id.0)),
            Record::Samples(samples) => {
                assert!(samples.columns.series.iter().all(|id| known.contains(id)), "at {position:?}");
            }
            _ => unreachable!(),
        }
    }
    assert_eq!(known.len(), 200);
}
