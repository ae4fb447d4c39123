//! Line protocol from columns, beside `influxdb2`'s `DataPoint` builder for the same points; and gzip of it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run may panic")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::models::{DataPoint, WriteDataPoint};
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use vitals::store::influx::line::{Head, Times, row};
use vitals::store::influx::{gzip, heads};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::series::{
    AgentDesc, AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesDesc, SeriesSpec, Shape,
};
use vitals_core::store::Catalogue;

/// Lines of a write.
const LINES: u32 = 5_000;
const SERIES_OF_ONE_AGENT: u32 = 100;
const START: i64 = 1_764_000_000 * UnixNanos::SECOND;

/// What a Collector's hostmetrics receiver with resource detection sends: gauges and counters with few attributes.
fn catalogue() -> Catalogue {
    let pair = |key: &str, value: String| (key.to_owned(), value);
    let mut catalogue = Catalogue::default();
    for agent in 0..LINES / SERIES_OF_ONE_AGENT {
        catalogue.agents.push(Arc::new(AgentDesc {
            id: AgentId(agent),
            tenant: "default".into(),
            key: format!("load-{agent}@load-host-{agent}"),
            first_seen: UnixNanos(START),
            profile: AgentProfile::default(),
        }));
        let resource: Arc<Attributes> = Arc::new(
            vec![
                pair("cloud.region", "local".into()),
                pair("deployment.environment.name", "load".into()),
                pair("host.name", format!("load-host-{agent}")),
                pair("service.name", format!("load-{agent}")),
                pair("service.version", "1.0.0".into()),
            ]
            .into(),
        );
        for n in 0..SERIES_OF_ONE_AGENT {
            let spec = SeriesSpec {
                metric: ["system.cpu.utilization", "system.disk.io", "system.memory.usage"][n as usize / 34].into(),
                unit: "1".into(),
                kind: MetricKind::Custom,
                shape: if n / 34 == 1 { Shape::Cumulative { monotonic: true } } else { Shape::Gauge },
                part: Part::Value,
                integer: n / 34 == 1,
                factor: 1.0,
                origin: Origin::Otlp,
                scope: Scope::named("hostmetrics"),
                attributes: vec![pair("device", format!("disk{n}")), pair("state", format!("state{}", n % 4))].into(),
                resource: resource.clone(),
            };
            let id = SeriesId(agent * SERIES_OF_ONE_AGENT + n);
            catalogue.series.push(Arc::new(SeriesDesc { id, agent: AgentId(agent), spec }));
        }
    }
    catalogue
}

/// One sample of each series.
fn columns() -> Columns {
    let mut columns = Columns::default();
    for n in 0..LINES {
        let value = f64::from(n.wrapping_mul(2_654_435_761) % 100_000);
        let counts = n % SERIES_OF_ONE_AGENT / 34 == 1;
        let time = START + i64::from(n / SERIES_OF_ONE_AGENT) * 1_234_567;
        columns.push(SeriesId(n), UnixNanos(time), if counts { value * 1000.0 } else { value / 100.0 });
    }
    columns
}

fn encode(columns: &Columns, heads: &[(SeriesId, Head)], out: &mut Vec<u8>) {
    let mut times = Times::new();
    for (series, time, value) in columns.rows() {
        row(out, &heads[series.0 as usize].1, false, &mut times, time.0, value);
    }
}

/// The same points, with the crate.
fn with_crate(columns: &Columns, catalogue: &Catalogue, out: &mut Vec<u8>) {
    for (series, time, value) in columns.rows() {
        let SeriesDesc { agent, spec, .. } = &*catalogue.series[series.0 as usize];
        let mut point = DataPoint::builder(spec.metric.as_str());
        for (key, value) in spec.resource.iter().chain(spec.attributes.iter()) {
            point = point.tag(key.as_str(), value.as_str());
        }
        let agent = &catalogue.agents[agent.0 as usize];
        point = point
            .tag("otel.library.name", spec.scope.name.as_str())
            .tag("vitals_agent", agent.key.as_str())
            .tag("vitals_series", "0123456789abcdef")
            .tag("vitals_tenant", &*agent.tenant.0);
        point = if spec.integer { point.field("counter", value as i64) } else { point.field("gauge", value) };
        point.timestamp(time.0).build().unwrap().write_data_point_to(&mut *out).unwrap();
    }
}

fn lines(criterion: &mut Criterion) {
    let (catalogue, columns) = (catalogue(), columns());
    let heads = heads(catalogue.clone());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    encode(&columns, &heads, &mut ours);
    with_crate(&columns, &catalogue, &mut theirs);
    let mut group = criterion.benchmark_group("line_protocol");
    group.throughput(Throughput::Bytes(ours.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            ours.clear();
            encode(black_box(&columns), &heads, &mut ours);
            ours.len()
        });
    });
    group.throughput(Throughput::Bytes(theirs.len() as u64));
    group.bench_function("influxdb2_data_points", |bencher| {
        bencher.iter(|| {
            theirs.clear();
            with_crate(black_box(&columns), &catalogue, &mut theirs);
            theirs.len()
        });
    });
    group.throughput(Throughput::Bytes(ours.len() as u64));
    group.bench_function("gzip", |bencher| bencher.iter(|| gzip::compress(black_box(&ours)).len()));
    group.bench_function("gzip_flate2_fastest", |bencher| {
        bencher.iter(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(black_box(&ours)).unwrap();
            encoder.finish().unwrap().len()
        });
    });
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
