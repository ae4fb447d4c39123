//! The whole path in one process: OTLP over a real socket, the walk, the log with its sync, four plugins, the store.
//!
//! Requests of 1,000 points over 10,000 series, times and values moving, four connections that each wait for the
//! answer. The client runs in the same process, so that a point costs less than what is shown.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant, SystemTime};
use vitals::commands::load::template::{Template, templates};
use vitals::commands::load::wire::{Answer, Wire};
use vitals::config::Config;
use vitals::expose::otlp::{Compression, Protocol};
use vitals::pipeline::Service;

const CONNECTIONS: u32 = 4;
const SERIES: u32 = 10_000;
const POINTS: u32 = 1_000;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Sends `requests` requests, one after the other.
async fn send(wire: &mut Wire, templates: &mut [Template], requests: u64) {
    for n in 0..requests {
        let at = n as usize % templates.len();
        let (message, _) = templates[at].next(now());
        match wire.send(message).await {
            Answer::Acknowledged { .. } => {}
            other => panic!("not acknowledged: {other:?}"),
        }
    }
}

fn path(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let data = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.take_free_ports();
    let service = runtime.block_on(Service::start(config, data.path())).expect("the service starts");
    let at = service.addresses();
    // A gRPC channel is made on a runtime.
    let _entered = runtime.enter();
    let targets = [
        ("http", format!("http://{}", at.http), Protocol::Http),
        ("grpc", format!("http://{}", at.grpc), Protocol::Grpc),
    ];
    let mut group = criterion.benchmark_group("path");
    group.throughput(Throughput::Elements(u64::from(POINTS))).sample_size(20).measurement_time(Duration::from_secs(10));
    for (name, target, protocol) in targets {
        let share = SERIES / CONNECTIONS;
        let mut connections: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                let wire = Wire::new(&target, protocol, Compression::None, None, Duration::from_secs(30));
                (wire.expect("a client"), templates(n * share, share, POINTS))
            })
            .collect();
        group.bench_function(BenchmarkId::new("1,000 points a request", name), |bencher| {
            bencher.iter_custom(|requests| {
                let began = Instant::now();
                runtime.block_on(async {
                    let all = connections.iter_mut().enumerate().map(|(n, (wire, templates))| {
                        let extra = u64::from((n as u64) < requests % u64::from(CONNECTIONS));
                        send(wire, templates, requests / u64::from(CONNECTIONS) + extra)
                    });
                    futures_util::future::join_all(all).await;
                });
                began.elapsed()
            });
        });
    }
    group.finish();
    runtime.block_on(service.stop());
}

criterion_group!(benches, path);
criterion_main!(benches);
