//! A server that fails in every way that is known: nothing is lost, and what is good is stored once the server is well.

use crate::store::conformance::{NOON, ZERO, rows, seal};
use crate::store::influx::config::Secret;
use crate::store::influx::{InfluxConfig, InfluxStore};
use crate::store::{EmbeddedStore, StoreConfig, StoreKind};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vitals_core::ids::UnixNanos;
use vitals_core::store::{Checkpoint, Store};

/// What the server does with the next write.
#[derive(Clone)]
enum Next {
    Answer(u16, &'static str),
    RetryAfter(u16),
    /// No answer within the client's patience.
    Slow,
    /// Takes the token of the file only.
    Token(&'static str),
}

#[derive(Default)]
struct Fake {
    next: Mutex<VecDeque<Next>>,
    /// What it does after those; `None` is that it works.
    then: Mutex<Option<Next>>,
    stored: Mutex<Vec<String>>,
    /// When writes came.
    writes: Mutex<Vec<Instant>>,
}

impl Fake {
    fn stored(&self) -> BTreeSet<String> {
        self.stored.lock().unwrap().iter().cloned().collect()
    }
}

async fn write(State(fake): State<Arc<Fake>>, headers: HeaderMap, body: Bytes) -> Response {
    fake.writes.lock().unwrap().push(Instant::now());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
    let next = fake.next.lock().unwrap().pop_front().or_else(|| fake.then.lock().unwrap().clone());
    match next {
        Some(Next::Answer(status, body)) => return (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Some(Next::RetryAfter(status)) => {
            return (StatusCode::from_u16(status).unwrap(), [("retry-after", "1")], "").into_response();
        }
        Some(Next::Slow) => tokio::time::sleep(Duration::from_secs(3)).await,
        Some(Next::Token(wanted)) if headers["authorization"] != format!("Token {wanted}") => {
            fake.next.lock().unwrap().push_front(Next::Token(wanted));
            return StatusCode::UNAUTHORIZED.into_response();
        }
        Some(Next::Token(_)) | None => {}
    }
    // As a real server answers these; what it cannot parse costs the whole write, a conflict only the line.
    let bad: Vec<_> = text.lines().filter(|line| line.contains(" gauge=66")).collect();
    if !bad.is_empty() {
        let lines: Vec<_> = bad.iter().map(|line| format!("unable to parse '{line}': bad")).collect();
        return (StatusCode::BAD_REQUEST, serde_json::json!({"message": lines.join("\n")}).to_string()).into_response();
    }
    if text.lines().any(|line| line.contains(" gauge=67")) {
        return (StatusCode::BAD_REQUEST, r#"{"message":"unable to parse 'something else': bad"}"#).into_response();
    }
    if text.lines().count() > 20 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let (lost, good): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(" gauge=68"));
    fake.stored.lock().unwrap().extend(good.into_iter().map(String::from));
    if lost.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let message =
            format!("failure writing points to database: partial write: field type conflict dropped={}", lost.len());
        (StatusCode::UNPROCESSABLE_ENTITY, serde_json::json!({"message": message}).to_string()).into_response()
    }
}

struct Running {
    fake: Arc<Fake>,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn serve() -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake: Arc<Fake> = Arc::default();
    let app = Router::new().route("/api/v2/write", post(write)).with_state(fake.clone());
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, app).await });
    Running { fake, url, _runtime: runtime }
}

fn config(url: &str) -> StoreConfig {
    let influxdb = InfluxConfig {
        url: url.into(),
        token: Some(Secret("secret".into())),
        flush_millis: 0,
        timeout_seconds: 1,
        retry_max_seconds: 1,
        ..InfluxConfig::default()
    };
    StoreConfig { kind: StoreKind::InfluxDb, influxdb, ..StoreConfig::default() }
}

fn open(folder: &Path, config: &StoreConfig) -> InfluxStore {
    InfluxStore::open(&folder.join("store.db"), config).unwrap()
}

/// `values` of one series, a second apart, sealed.
fn store_rows(store: &dyn Store, values: impl IntoIterator<Item = i64>) {
    let some: Vec<_> = values.into_iter().map(|value| (1, NOON + value, value as f64)).collect();
    store.write(ZERO, rows(&some));
    seal(store, ZERO, Checkpoint::default());
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn sent(store: &dyn Store) -> bool {
    store.outbox().is_some_and(|outbox| outbox.bytes == 0)
}

/// Ten rows wait as long as the server does as `fails` says, and `word` is in what is said meanwhile; then each arrives once.
fn survives(fails: Next, word: &str) -> Vec<Instant> {
    let running = serve();
    let folder = tempfile::tempdir().unwrap();
    *running.fake.then.lock().unwrap() = Some(fails);
    let store = open(folder.path(), &config(&running.url));
    store_rows(&store, 0..10);
    until(word, || store.outbox().unwrap().trouble.is_some_and(|trouble| trouble.contains(word)));
    assert_eq!(store.outbox().unwrap().samples, 10, "it waits");
    *running.fake.then.lock().unwrap() = None;
    until("sent", || sent(&store));
    assert_eq!(running.fake.stored().len(), 10);
    assert_eq!(store.outbox().unwrap().trouble, None);
    assert_eq!(store.outbox().unwrap().refused, 0);
    running.fake.writes.lock().unwrap().clone()
}

#[test]
fn unavailable() {
    survives(Next::Answer(503, r#"{"code":"unavailable","message":"starting"}"#), "503");
}

#[test]
fn internal_error() {
    survives(Next::Answer(500, "<html>"), "500");
}

#[test]
fn a_missing_bucket() {
    survives(Next::Answer(404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#), "bucket");
}

#[test]
fn an_answer_that_says_nothing_of_lines() {
    survives(Next::Answer(400, r#"{"code":"invalid","message":"invalid precision"}"#), "precision");
}

#[test]
fn slow() {
    survives(Next::Slow, "no answer in time");
}

#[test]
fn too_many_requests_are_not_repeated_before_their_time() {
    let writes = survives(Next::RetryAfter(429), "429");
    assert!(writes[1] - writes[0] >= Duration::from_millis(990), "{writes:?}");
}

#[test]
fn a_refused_token_is_read_again() {
    let running = serve();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let mut config = config(&running.url);
    config.influxdb.token = None;
    config.influxdb.token_file = Some(file.clone());
    running.fake.next.lock().unwrap().push_back(Next::Token("new"));
    let store = open(folder.path(), &config);
    store_rows(&store, 0..10);
    until("401", || store.outbox().unwrap().trouble.is_some_and(|trouble| trouble.contains("401")));
    std::fs::write(&file, "new\n").unwrap();
    until("sent", || sent(&store));
    assert_eq!(running.fake.stored().len(), 10);
}

#[test]
fn down_at_first_and_a_restart_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = "http://127.0.0.1:9";
    let store = open(folder.path(), &config(nobody));
    store_rows(&store, 0..10);
    until("refused", || store.outbox().unwrap().trouble.is_some());
    store.write(ZERO, rows(&[(1, NOON + 10, 10.0)]));
    seal(&store, ZERO, Checkpoint::default());
    let outbox = store.outbox().unwrap();
    assert_eq!(outbox.samples, 11);
    assert!(outbox.since.is_some() && outbox.bytes > 0);
    drop(store);
    let running = serve();
    let store = open(folder.path(), &config(&running.url));
    assert_eq!(store.outbox().unwrap().samples, 11, "counted again");
    until("sent", || sent(&store));
    assert_eq!(running.fake.stored().len(), 11);
    assert_eq!(store.outbox().unwrap().since, None);
}

#[test]
fn a_full_outbox_holds_seals_back_and_nothing_else() {
    let running = serve();
    running.fake.next.lock().unwrap().extend(vec![Next::Answer(503, ""); 4]);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&running.url);
    config.influxdb.outbox_max_bytes = 1;
    let store = open(folder.path(), &config);
    store_rows(&store, 0..10);
    store.write(ZERO, rows(&[(1, NOON + 10, 10.0)]));
    let (sender, done) = crossbeam_channel::bounded(1);
    store.seal(ZERO, Checkpoint::default(), Box::new(move || sender.send(()).unwrap()));
    // Writing and reading go on while the seal waits.
    store.write(ZERO, rows(&[(1, NOON + 11, 11.0)]));
    assert!(store.stats().pending >= 1);
    done.recv_timeout(Duration::from_secs(20)).unwrap();
    until("sent", || sent(&store));
    assert_eq!(running.fake.stored().len(), 11);
}

#[test]
fn bad_lines_are_left_behind_and_counted() {
    for (bad, why) in [(66, "unable to parse"), (67, "unable to parse"), (68, "conflict")] {
        let running = serve();
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &config(&running.url));
        store_rows(&store, (0..14).chain([bad]));
        until("sent", || sent(&store));
        let stored = running.fake.stored();
        assert_eq!(stored.len(), 14, "{bad}: {stored:?}");
        assert!(!stored.iter().any(|line| line.contains(&format!("={bad}"))));
        let outbox = store.outbox().unwrap();
        assert_eq!((outbox.refused, outbox.trouble), (1, None));
        assert!(outbox.refusal.unwrap().contains(why));
    }
}

#[test]
fn a_body_that_is_too_large_is_cut() {
    let running = serve();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &config(&running.url));
    store_rows(&store, 100..160);
    until("sent", || sent(&store));
    assert_eq!(running.fake.stored().len(), 60);
}

#[test]
fn a_crash_after_sending_sends_the_same_again() {
    let running = serve();
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    running.fake.next.lock().unwrap().push_back(Next::RetryAfter(503));
    let store = open(folder.path(), &config(&running.url));
    store_rows(&store, 0..10);
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    until("sent", || sent(&store));
    drop(store);
    let again = open(copy.path(), &config(&running.url));
    until("sent again", || sent(&again));
    assert_eq!(running.fake.stored.lock().unwrap().len(), 20);
    assert_eq!(running.fake.stored().len(), 10, "the same lines");
}

#[test]
fn what_an_embedded_store_holds_is_sent() {
    let running = serve();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let embedded = EmbeddedStore::open(&path, &StoreConfig { block_samples: 8, ..StoreConfig::default() }).unwrap();
    // Enough seals to have been merged, with a sample that is written again, and is no first one.
    for n in 0..20 {
        embedded.write(ZERO, rows(&[(1, NOON + n, n as f64), (1, NOON, 77.0)]));
        seal(&embedded, ZERO, Checkpoint::default());
    }
    embedded.maintain(UnixNanos(NOON)).unwrap();
    drop(embedded);
    let store = open(folder.path(), &config(&running.url));
    until("sent", || sent(&store));
    let stored = running.fake.stored();
    assert_eq!(stored.len(), 20);
    assert!(!stored.iter().any(|line| line.contains("gauge=77")), "the first one stays");
}
