//! A data folder whose files do not belong together.

use super::service::{eventually, export_http, gauge, local, now, start};
use std::path::Path;
use vitals::pipeline::{Service, StartError};

/// Records that the log holds.
fn held(data: &Path) -> i64 {
    let log = rusqlite::Connection::open(data.join("log.db")).expect("the log");
    let names: Vec<String> = log
        .prepare("SELECT name FROM sqlite_master WHERE name LIKE 'log_%'")
        .and_then(|mut tables| tables.query_map([], |row| row.get(0))?.collect())
        .expect("its tables");
    assert!(!names.is_empty());
    let count = |name: &String| log.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, i64>(0));
    names.iter().map(|name| count(name).expect("a count")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_beside_a_log_that_was_cut_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let service = start(&data).await;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&data.metadata().expect("made").permissions());
        assert_eq!(mode & 0o777, 0o700, "what was sent is nobody else's to read");
    }
    export_http(&service, &gauge("web-1", "m", &[(now(), 1.0)])).await;
    service.stop().await;
    let copy = folder.path().join("store.db");
    std::fs::copy(data.join("store.db"), &copy).expect("a copy");

    let mut eager = local();
    (eager.evaluate.checkpoint_seconds, eager.evaluate.state_seconds) = (1, 1);
    let service = Service::start(eager, &data).await.expect("the service starts");
    for value in [2.0, 3.0] {
        export_http(&service, &gauge("web-1", "m", &[(now(), value)])).await;
    }
    eventually(async || held(&data), |&records| records == 0).await;
    // One more, which stays in the log: the log begins behind what the copy knows.
    export_http(&service, &gauge("web-1", "m", &[(now(), 4.0)])).await;
    service.stop().await;

    std::fs::copy(&copy, data.join("store.db")).expect("put back");
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("store.db{ending}")));
    }
    let error = Service::start(local(), &data).await.err().expect("what is between them is missing");
    assert!(matches!(error, StartError::Evaluate(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains("store.db was lost or is an older copy") && said.contains("move log.db away"), "{said}");
}
