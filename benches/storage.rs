//! Log append, store write and seal, merge, range query. Throughput is in points; the time a point is its inverse.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run may panic")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use vitals::log::{Durability, LogConfig, SqliteLog};
use vitals::store::{EmbeddedStore, StoreConfig};
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, UnixNanos};
use vitals_core::log::Log;
use vitals_core::record::{Record, Samples, Ticket};
use vitals_core::store::{Aggregation, Checkpoint, EvaluationOutput, SampleQuery, Store};

const SERIES: u32 = 10_000;
/// Series of one agent; they share their times.
const OF_ONE_AGENT: u32 = 100;
const REQUEST: u32 = 1_000;
const INTERVAL: i64 = 10 * UnixNanos::SECOND;
const START: i64 = 1_700_000_000 * UnixNanos::SECOND;
const ZERO: Partition = Partition(0);

/// A random walk, rounded to four digits as sensors and percentages are.
struct Fleet {
    values: Vec<f64>,
    random: u64,
}

impl Fleet {
    fn new() -> Self {
        Self { values: vec![50.0; SERIES as usize], random: 1 }
    }

    fn next(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
    }

    /// One sample of `count` series from `first` on, in round `round`; sorted by series.
    fn sample(&mut self, first: u32, count: u32, round: i64) -> Columns {
        let mut columns = Columns::default();
        for series in first..first + count {
            let walk = self.values[series as usize] + self.next();
            self.values[series as usize] = walk;
            let jitter = i64::from(series / OF_ONE_AGENT) * 1_234_567 + round * 7_919 % 2_000_003;
            let value = (walk * 10_000.0).round() / 10_000.0;
            columns.push(SeriesId(series), UnixNanos(START + round * INTERVAL + jitter), value);
        }
        columns
    }

    /// What evaluation hands on: one round of all series.
    fn output(&mut self, round: i64) -> EvaluationOutput {
        EvaluationOutput { samples: vec![Arc::new(self.sample(0, SERIES, round))], ..EvaluationOutput::default() }
    }
}

fn append(criterion: &mut Criterion) {
    const REQUESTS: u32 = 256;
    let mut group = criterion.benchmark_group("log_append");
    group.throughput(Throughput::Elements(u64::from(REQUEST * REQUESTS)));
    group.sample_size(20);
    for (name, durability) in [("fsync", Durability::Fsync), ("os", Durability::Os)] {
        let folder = tempfile::tempdir().unwrap();
        let config = LogConfig { durability, partitions: 2, ..LogConfig::default() };
        let log = SqliteLog::open(&folder.path().join("log.db"), &config, Box::new(|_, _| ())).unwrap();
        let mut fleet = Fleet::new();
        let mut round = 0;
        group.bench_function(format!("{REQUESTS} requests of {REQUEST} points, {name}"), |bencher| {
            bencher.iter_batched(
                || {
                    round += 1;
                    for partition in 0..2 {
                        let partition = Partition(partition);
                        log.cut(partition, log.last(partition).unwrap()).unwrap();
                    }
                    (0..REQUESTS).map(|n| fleet.sample(n % 10 * REQUEST, REQUEST, round)).collect::<Vec<_>>()
                },
                |requests| {
                    let (sender, done) = crossbeam_channel::unbounded();
                    for (columns, n) in requests.into_iter().zip(0..) {
                        let sender = sender.clone();
                        let record = Record::Samples(Samples {
                            tenant: "default".into(),
                            received_at: UnixNanos(START),
                            alive: vec![AgentId(n)],
                            columns,
                            starts: Starts::default(),
                        });
                        let done = Box::new(move |result: Result<Position, _>| sender.send(result).unwrap());
                        log.append(Partition(n % 2), record, Ticket::default(), done);
                    }
                    drop(sender);
                    for result in done {
                        result.unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(&folder.join("store.db"), &StoreConfig::default()).unwrap()
}

fn seal(store: &EmbeddedStore) {
    let (sender, done) = crossbeam_channel::bounded(1);
    store.seal(ZERO, Checkpoint::default(), Box::new(move || sender.send(()).unwrap()));
    done.recv().unwrap();
}

fn write(criterion: &mut Criterion) {
    const ROUNDS: i64 = 50;
    let mut group = criterion.benchmark_group("store_write");
    group.throughput(Throughput::Elements(u64::from(SERIES) * ROUNDS as u64));
    group.sample_size(10);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut fleet = Fleet::new();
    let mut round = 0;
    group.bench_function(format!("write and seal {ROUNDS} samples of {SERIES} series"), |bencher| {
        bencher.iter_batched(
            || {
                round += ROUNDS;
                (round - ROUNDS..round).map(|round| fleet.output(round)).collect::<Vec<_>>()
            },
            |outputs| {
                for output in outputs {
                    store.write(ZERO, output);
                }
                seal(&store);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let stats = store.stats();
    eprintln!("{:.2} bytes a sample on disk", stats.bytes as f64 / stats.samples as f64);
}

/// A day of one series in a store that is sealed every 100 s and merged as it goes.
fn query(criterion: &mut Criterion) {
    const SEALS: i64 = 864;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut fleet = Fleet::new();
    for round in 0..SEALS {
        store.write(ZERO, fleet.output(round * 10));
        seal(&store);
        if round % 16 == 0 {
            store.maintain(UnixNanos(START)).unwrap();
        }
    }
    let mut group = criterion.benchmark_group("store_query");
    for (name, span, step) in [
        ("a day, mean of 10 min", 86_400, Some((600 * UnixNanos::SECOND, Aggregation::Mean))),
        ("an hour, as it is", 3_600, None),
    ] {
        let mut series = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                series = (series + 1_237) % SERIES;
                let end = UnixNanos(START + SEALS * 10 * INTERVAL);
                let start = end.plus(-span * UnixNanos::SECOND);
                let query = SampleQuery { series: SeriesId(series), start, end, step, limit: 100_000 };
                let points = store.samples(black_box(&query)).unwrap();
                assert!(!points.is_empty());
                points
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, write, query);
criterion_main!(benches);
