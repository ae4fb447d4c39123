//! From OTLP wire bytes to columns, against decoding the same bytes with prost.
//!
//! One request of 8,000 gauge points, each with 3 attributes, under a resource with 5: 96 bytes a point.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use std::hint::black_box;
use std::sync::Arc;
use vitals::normalize::{NormalizeConfig, Normalizer};
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::registry::{Quota, Registry};

const NOW: i64 = 1_700_000_000_000_000_000;

fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn attributes(n: usize) -> Vec<KeyValue> {
    vec![
        attribute("cpu", format!("cpu{}", n % 64)),
        attribute("state", "user".to_owned()),
        attribute("route", format!("/{n}")),
    ]
}

fn request(metrics: Vec<Metric>) -> Vec<u8> {
    let resource = ["host.name", "service.name", "service.version", "cloud.region", "os.type"]
        .map(|key| attribute(key, format!("the {key}")))
        .to_vec();
    let scope = InstrumentationScope { name: "bench".to_owned(), ..InstrumentationScope::default() };
    let group = ResourceMetrics {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec()
}

/// `metrics` gauges with `points` points each.
fn gauges(metrics: usize, points: usize) -> Vec<u8> {
    let gauge = |m: usize| {
        let data_points = (0..points)
            .map(|n| NumberDataPoint {
                attributes: attributes(n),
                start_time_unix_nano: NOW as u64 - 1,
                time_unix_nano: NOW as u64,
                value: Some(number_data_point::Value::AsDouble(n as f64 * 0.5)),
                ..NumberDataPoint::default()
            })
            .collect();
        Metric {
            name: format!("bench.metric.{m}"),
            unit: "1".to_owned(),
            data: Some(metric::Data::Gauge(Gauge { data_points })),
            ..Metric::default()
        }
    };
    request((0..metrics).map(gauge).collect())
}

fn histograms(points: usize) -> Vec<u8> {
    let data_points = (0..points)
        .map(|n| HistogramDataPoint {
            attributes: attributes(n),
            time_unix_nano: NOW as u64,
            count: 150,
            sum: Some(1234.5),
            bucket_counts: vec![10; 15],
            explicit_bounds: (1..15).map(f64::from).collect(),
            ..HistogramDataPoint::default()
        })
        .collect();
    let data = Histogram { data_points, aggregation_temporality: 2 };
    request(vec![Metric {
        name: "bench.histogram".to_owned(),
        data: Some(metric::Data::Histogram(data)),
        ..Metric::default()
    }])
}

fn normalizer() -> Normalizer {
    let registry = Arc::new(Registry::new(Quota::default()));
    Normalizer::new(&NormalizeConfig::default(), registry, 2).expect("the built-in rules are valid")
}

fn decode(c: &mut Criterion) {
    let tenant = TenantId::default_tenant();
    for (name, bytes, points) in [
        ("8000 gauge points of 8 metrics", gauges(8, 1000), 8000),
        ("8000 gauge points of 8000 metrics", gauges(8000, 1), 8000),
        ("1000 histogram points of 15 buckets", histograms(1000), 1000),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(points));
        group.bench_function("prost decode and drop", |b| {
            b.iter(|| ExportMetricsServiceRequest::decode(black_box(&bytes[..])));
        });
        let known = normalizer();
        group.bench_function("normalize, known series", |b| {
            b.iter(|| known.otlp(&tenant, "sender", UnixNanos(NOW), black_box(&bytes)));
        });
        group.bench_function("normalize, new series", |b| {
            b.iter_batched(
                normalizer,
                |new| new.otlp(&tenant, "sender", UnixNanos(NOW), black_box(&bytes)),
                criterion::BatchSize::LargeInput,
            );
        });
        group.bench_function("memcpy", |b| b.iter(|| black_box(&bytes).clone()));
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
