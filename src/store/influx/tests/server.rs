//! A real server for the tests of this process, gone when the process is.

use crate::store::influx::config::Secret;
use crate::store::influx::{InfluxConfig, InfluxStore, check};
use crate::store::{StoreConfig, StoreKind};
use std::collections::HashSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use vitals_core::store::Store;

const TOKEN: &str = "token-of-the-tests";

pub(super) struct Server {
    url: String,
    buckets: Mutex<HashSet<String>>,
    /// Ends with this process: then its input ends.
    _process: Child,
}

/// The server, started at the first call; `None`, and said so, where `VITALS_TEST_INFLUXD` names none.
pub(super) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    let Ok(influxd) = std::env::var("VITALS_TEST_INFLUXD") else {
        // Not with `eprintln!`, which is not shown of a test that passes.
        let line = "NOT RUN: set VITALS_TEST_INFLUXD to an influxd program to test the InfluxDB store on a real server";
        writeln!(std::io::stderr(), "{line}").unwrap();
        return None;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap().keep();
    // A shell that ends the server when its own input ends, which is when this process does, however it ends.
    let script = r#""$1" --http-bind-address "127.0.0.1:$2" --bolt-path "$3/bolt" --engine-path "$3/engine" \
        --sqlite-path "$3/sqlite" --reporting-disabled --log-level error >"$3/log" 2>&1 &
        read -r _; kill -9 $!; rm -rf "$3""#;
    let process = Command::new("sh")
        .args(["-c", script, "sh", &influxd, &port.to_string(), &folder.display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let setup =
        serde_json::json!({"username": "u", "password": "password1", "org": "o", "bucket": "b", "token": TOKEN});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started = Instant::now();
    loop {
        let request = reqwest::Client::new().post(format!("{url}/api/v2/setup")).json(&setup).send();
        match runtime.block_on(request) {
            Ok(answer) if answer.status().is_success() => break,
            other => assert!(started.elapsed() < Duration::from_secs(60), "no influxd: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Some(Server { url, buckets: Mutex::default(), _process: process })
}

impl Server {
    /// The settings for a bucket.
    pub(super) fn config(&self, bucket: &str) -> StoreConfig {
        let influxdb = InfluxConfig {
            url: self.url.clone(),
            org: "o".into(),
            bucket: bucket.into(),
            token: Some(Secret(TOKEN.into())),
            // Small, so that a test has several writes under way.
            batch_lines: 7,
            flush_millis: 0,
            ..InfluxConfig::default()
        };
        StoreConfig { kind: StoreKind::InfluxDb, influxdb, block_samples: 8, ..StoreConfig::default() }
    }

    /// A store in `folder`, with a bucket of its own.
    pub(super) fn open(&self, folder: &Path) -> Arc<dyn Store> {
        let config = self.config(&folder.display().to_string());
        if self.buckets.lock().unwrap().insert(config.influxdb.bucket.clone()) {
            check::make_bucket(&config.influxdb);
        }
        Arc::new(InfluxStore::open(&folder.join("store.db"), &config).unwrap())
    }
}
