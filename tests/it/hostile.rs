//! A plugin can hurt only itself: one guest for each limit (`plugins/hostile`), one test of the same name.

use crate::permissive_host;
use crate::plugins::{cache_dir, desc, load, registry, tenant};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vitals::evaluate::host::{HostError, PluginConfig, PluginInfo, PluginLimits, PluginSet, PluginState};
use vitals::evaluate::tenant_plugins::TenantPlugins;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, UnixNanos};
use vitals_core::series::{Part, Shape};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The hostile guests, built once.
pub fn guests() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        let status = Command::new(env!("CARGO"))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins"))
            .args(["build", "--locked", "--profile", "hostile", "--package", "hostile", "--examples"])
            .args(["--package", "ratio", "--package", "forecast", "--package", "silence", "--lib"])
            .args(["--target", "wasm32-wasip2"])
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the hostile guests do not build");
        target.join("wasm32-wasip2/hostile/examples")
    })
}

pub(crate) fn file(name: &str) -> PathBuf {
    guests().join(format!("{}.wasm", name.replace('-', "_")))
}

pub(crate) fn config(name: &str) -> PluginConfig {
    PluginConfig { name: name.to_owned(), path: Some(file(name)), ..PluginConfig::default() }
}

pub(crate) fn limits() -> PluginLimits {
    // Time enough on a busy machine: which limit is met must not depend on who else computes.
    PluginLimits {
        deadline_ms: 20_000,
        start_deadline_ms: 20_000,
        cpu_percent: 1e9,
        total_cpu_percent: 1e9,
        memory_mb: 64,
        ..PluginLimits::default()
    }
}

/// The guest beside the embedded plugins.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) set: PluginSet,
    pub(crate) plugins: Box<dyn TenantPlugins + Send>,
    pub(crate) time: i64,
    /// Of each row.
    pub(crate) value: f64,
}

impl Stage {
    pub(crate) fn new(name: &str, limits: &PluginLimits) -> Self {
        Self::configured(config(name), limits)
    }

    pub(crate) fn configured(config: PluginConfig, limits: &PluginLimits) -> Self {
        let name = config.name.clone();
        let set = PluginSet::load(limits, None, &[config], Some(&cache_dir())).expect("it starts");
        let mut plugins = set.instances(&tenant(), &registry());
        plugins.open(&desc(3, Shape::Cumulative { monotonic: true }, Part::Value));
        Self { name, set, plugins, time: 0, value: 1.0 }
    }

    /// One batch of two rows; the findings of the guest.
    pub(crate) fn turn(&mut self) -> usize {
        let mut batch = Columns::default();
        for _ in 0..2 {
            self.time += UnixNanos::SECOND;
            batch.push(SeriesId(3), UnixNanos(self.time), self.value);
        }
        let derived = self.plugins.derive(&batch);
        assert!(derived.iter().any(|made| made.evidence.plugin == "rate"), "the others work");
        let findings = self.plugins.detect(&batch);
        let own = derived.iter().filter(|made| made.evidence.plugin == self.name).count();
        own + findings.iter().filter(|found| found.evidence.plugin == self.name).count()
    }

    pub(crate) fn info(&self) -> PluginInfo {
        self.set.list().into_iter().find(|plugin| plugin.name == self.name).expect("listed")
    }
}

/// The guest loses its turn, for a reason that says `why`; the others do not notice.
fn loses_its_turn(name: &str, why: &str) {
    loses_its_turn_with(name, 1.0, why);
}

fn loses_its_turn_with(name: &str, value: f64, why: &str) {
    loses_its_turn_within(&limits(), name, value, why);
}

fn loses_its_turn_within(limits: &PluginLimits, name: &str, value: f64, why: &str) {
    let mut stage = Stage { value, ..Stage::new(name, limits) };
    assert_eq!(stage.turn(), 0);
    let info = stage.info();
    assert_eq!((info.calls, info.failures, info.stale, info.state), (1, 1, true, PluginState::Ok));
    let error = info.last_error.expect("an error");
    assert!(error.contains(why), "{error}");
    assert!(stage.set.list().iter().all(|plugin| plugin.name == name || plugin.failures == 0));
}

/// The guest tries `attempts` things with rows of `value`. In a host that gives them it gets each of them, here none.
fn gets_nothing(name: &str, attempts: u32, value: f64, give: impl FnOnce(&mut WasiCtxBuilder)) {
    let got = permissive_host::detect(&file(name), value, give).expect("it runs");
    assert_eq!(format!("{got:b}"), "1".repeat(attempts as usize), "what it got in a host that gives it");
    let mut stage = Stage { value, ..Stage::new(name, &limits()) };
    assert_eq!(stage.turn(), 0);
    let info = stage.info();
    assert_eq!((info.calls, info.failures), (1, 0), "{info:?}");
}

#[test]
fn spin() {
    let start = Instant::now();
    let limits = PluginLimits { deadline_ms: 300, ..limits() };
    loses_its_turn_within(&limits, "spin", 1.0, "longer than 300 ms of CPU time");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn allocate() {
    loses_its_turn("allocate", "its limit is 67108864");
}

#[test]
fn grow_tables() {
    let component = r#"(component
        (core module $m
            (table 1 funcref)
            (func $grow (loop (drop (table.grow (ref.null func) (i32.const 10000))) (br 0)))
            (start $grow))
        (core instance (instantiate $m))
        (instance $empty)
        (export "vitals:plugin/lifecycle@0.2.0" (instance $empty))
        (export "vitals:plugin/detecting@0.2.0" (instance $empty)))"#;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grow_tables.wasm");
    std::fs::write(&file, wat::parse_str(component).expect("valid")).expect("written");
    let error = PluginSet::check(&file, "{}", &limits()).expect_err("a limit").to_string();
    assert!(error.contains("a table of 70001 elements, its limit is 65536"), "{error}");
}

#[test]
fn huge_output() {
    let mut stage = Stage::new("huge-output", &PluginLimits { deadline_ms: 5000, memory_mb: 256, ..limits() });
    assert_eq!(stage.turn(), 0);
    let error = stage.info().last_error.expect("an error");
    assert!(error.contains("answer is larger than"), "{error}");
}

#[test]
fn invalid_row() {
    loses_its_turn("invalid-row", "row 1000000 of a batch of 2");
}

#[test]
fn invalid_order() {
    loses_its_turn("invalid-order", "row 0 comes twice");
}

#[test]
fn invalid_lengths() {
    loses_its_turn("invalid-lengths", "columns of 2 and 1 rows");
}

#[test]
fn invalid_score() {
    loses_its_turn("invalid-score", "a score of NaN");
}

#[test]
fn invalid_output() {
    loses_its_turn("invalid-output", "derived series 7 was never declared");
}

#[test]
fn trap() {
    loses_its_turn("trap", "trapped");
}

#[test]
fn flood() {
    loses_its_turn("flood", "printed more than 65536 bytes");
    // It goes on for as long as somebody takes it.
    let taken = MemoryOutputPipe::new(1 << 20);
    let error = permissive_host::detect(&file("flood"), 1.0, |wasi| {
        wasi.stdout(taken.clone());
    })
    .expect_err("it never ends");
    assert!(taken.contents().len() > 1_000_000, "{error:#}");
}

#[test]
fn sleep() {
    let start = Instant::now();
    loses_its_turn_with("sleep", 3600.0, "wants to wait");
    assert!(start.elapsed() < Duration::from_secs(60));
    // Where it can wait, it does.
    let start = Instant::now();
    let waited = permissive_host::detect(&file("sleep"), 1.5, |wasi| {
        wasi.allow_blocking_current_thread(true);
    });
    assert_eq!(waited.expect("it runs"), 1);
    assert!(start.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn open_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["etc", "tmp"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    for name in ["etc/passwd", "passwd"] {
        std::fs::write(folder.path().join(name), "root").expect("written");
    }
    gets_nothing("open-file", 4, 1.0, |wasi| {
        wasi.preopened_dir(folder.path(), "/", FsPerms::ReadWrite).expect("given");
    });
    assert_eq!(std::fs::read(folder.path().join("tmp/hostile")).expect("written by the guest"), b"x");
}

#[test]
fn open_socket() {
    // Somebody listens, in both hosts.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    gets_nothing("open-socket", 4, port.into(), |wasi| {
        wasi.inherit_network().allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
    });
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_ok(), "the guest in the permissive_host host connected");
    assert!(listener.accept().is_err(), "the other one did not");
}

#[test]
fn read_env() {
    gets_nothing("read-env", 2, 1.0, |wasi| {
        wasi.env("HOME", "/root").arg("vitals");
    });
}

#[test]
fn read_clock() {
    gets_nothing("read-clock", 1, 1.0, |_| {});
}

#[test]
fn trap_close() {
    let mut stage = Stage::new("trap-close", &limits());
    assert_eq!(stage.turn(), 1);
    stage.plugins.snapshot();
    let close = |stage: &mut Stage| {
        stage.plugins.close(&[SeriesId(3)]);
        stage.plugins.open(&desc(3, Shape::Cumulative { monotonic: true }, Part::Value));
    };
    close(&mut stage);
    let info = stage.info();
    assert_eq!((info.failures, info.stale), (1, true));
    assert!(info.last_error.expect("an error").contains("trapped"));
    // It may not go on with a state that knows the series, and the state is not thrown away for that.
    assert_eq!(stage.turn(), 0);
    assert_eq!(stage.turn(), 0);
    let info = stage.info();
    assert_eq!((info.calls, info.failures, info.stale, info.quarantined), (2, 2, true, 1));
    assert!(stage.set.list().iter().all(|plugin| plugin.name == "trap-close" || plugin.failures == 0));
}

#[test]
fn who_fails_again_and_again_is_quarantined_and_tried_again_later() {
    let limits = PluginLimits { failures: 3, quarantine_seconds: 1, ..limits() };
    let mut stage = Stage::new("trap", &limits);
    (0..3).for_each(|_| assert_eq!(stage.turn(), 0));
    let info = stage.info();
    assert_eq!((info.failures, info.state, info.quarantined, info.stale), (3, PluginState::Quarantined, 1, true));
    // It is left alone.
    stage.turn();
    assert_eq!(stage.info().calls, 3);
    std::thread::sleep(Duration::from_millis(1100));
    // One more chance, and after it twice as long.
    stage.turn();
    let info = stage.info();
    assert_eq!((info.calls, info.quarantined), (4, 1));
    std::thread::sleep(Duration::from_millis(1100));
    stage.turn();
    assert_eq!(stage.info().calls, 4);
    // Put away, it is nobody's worry.
    drop(stage.plugins);
    let info = stage.set.list().into_iter().find(|plugin| plugin.name == "trap").expect("listed");
    assert_eq!((info.quarantined, info.stale, info.failures), (0, false, 4));
}

#[test]
fn a_plugin_of_another_name_or_twice_is_refused() {
    let other = PluginConfig { name: "other".to_owned(), ..config("trap") };
    assert!(matches!(load(&[other]), Err(HostError::Name { .. })));
    let copy = tempfile::tempdir().expect("a folder");
    let path = copy.path().join("trap.wasm");
    std::fs::copy(guests().join("trap.wasm"), &path).expect("copied");
    let again = PluginConfig { path: Some(path), ..config("trap") };
    assert!(matches!(load(&[config("trap"), again]), Err(HostError::Twice(_))));
    // The same file from a folder, without a configuration.
    let set = PluginSet::load(&limits(), Some(copy.path()), &[], Some(&cache_dir())).expect("it starts");
    assert_eq!(set.list().len(), 6);
}
