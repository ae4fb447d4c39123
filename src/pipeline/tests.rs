//! What only the stages together show.

use super::handlers::LogSubmitter;
use crate::expose::{RecordSubmitter as _, ServiceStatus};
use crate::net::{ByteBudget, Refusal};
use crate::store;
use crate::testing::MemoryLog;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::ids::AgentId;
use vitals_core::ids::{Partition, Position, UnixNanos};
use vitals_core::record::Record;
use vitals_core::store::Store as _;

/// Overwrites the pages of a file that hold nothing but `byte`, behind the number of the page that follows.
fn damage_pages_of(path: &std::path::Path, byte: u8) -> usize {
    const PAGE: usize = 16 * 1024;
    let mut file = std::fs::read(path).unwrap();
    let whole = |page: &&mut [u8]| page[4..].iter().all(|&other| other == byte);
    let damaged = file.chunks_mut(PAGE).filter(whole).map(|page| page.fill(0xFF)).count();
    std::fs::write(path, file).unwrap();
    damaged
}

#[test]
fn health_reads_no_state() {
    use vitals_core::store::Checkpoint;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let open = || store::EmbeddedStore::open(&path, &store::StoreConfig::default()).unwrap();
    let before = open();
    let state = Some(vec![0xAB; 1 << 20]);
    let checkpoint = Checkpoint { stored: Position(7), state, ..Checkpoint::default() };
    let (sender, sealed) = std::sync::mpsc::channel();
    before.seal(Partition(0), checkpoint, Box::new(move || sender.send(()).unwrap()));
    sealed.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(before);
    assert!(damage_pages_of(&path, 0xAB) > 50);
    let after = open();
    assert!(after.checkpoint(Partition(0)).is_err(), "who reads the state finds it damaged");
    let status = ServiceStatus::read(&MemoryLog::stuck(), &after, 0, UnixNanos(0));
    assert_eq!((status.ready, status.database_status.as_str()), (true, "connected"));
}

#[tokio::test]
async fn rest_waits_no_longer_than_the_processing_timeout() {
    let processing_timeout = Arc::new(AtomicU64::new(20));
    let submitter =
        LogSubmitter { log: Arc::new(MemoryLog::stuck()), budget: ByteBudget::new(100), processing_timeout };
    let (agent, by, at) = (AgentId(0), "ops".to_owned(), UnixNanos(0));
    let (alert, action, comment) = ("a".to_owned(), AlertAction::Acknowledge, None);
    let record = Record::Alert(AlertCommand { alert, agent, action, by, at, comment });
    let answer = submitter.submit(Partition(0), record, 1).await;
    assert_eq!(answer, Err(Refusal::NotEvaluated { processing_timeout_ms: 20 }));
}
