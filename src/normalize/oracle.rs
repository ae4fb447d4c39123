//! The walk against the decoder of `opentelemetry-proto`: the same points with the same identities, or both refuse. The decoder
//! refuses strings that are not UTF-8, so it gets the request with those mended.

use super::buckets::{Bucket, Exponential, QUANTILES, Side, explicit, quantile};
use super::wire::{REQUEST, Reader, Schema, Type};
use super::{NormalizeConfig, Normalizer, agents};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::registry::{Quota, Registry};
use vitals_core::series::{Attributes, MetricKind, Origin, Part, Scope, SeriesSpec, Shape};

const NOW: i64 = 1_700_000_000_000_000_000;
const MOST_ATTRIBUTES: usize = 3;
const LONGEST_NAME: usize = 24;
const RETENTION_DAYS: u32 = 3650;
const DAY: u64 = 86_400_000_000_000;

fn normalizer(quota: Quota) -> (Arc<Registry>, Normalizer) {
    let registry = Arc::new(Registry::new(quota));
    let config = NormalizeConfig {
        max_attributes: MOST_ATTRIBUTES,
        max_name_bytes: LONGEST_NAME,
        sample_retention_days: RETENTION_DAYS,
        ..NormalizeConfig::default()
    };
    let normalizer = Normalizer::new(&config, registry.clone(), 3).unwrap();
    (registry, normalizer)
}

/// One line for each row, sorted, and the number of points rejected.
type Seen = (Vec<String>, u64);

fn line(agent: &str, spec: &SeriesSpec, start: i64, time: i64, value: f64) -> String {
    let SeriesSpec { metric, unit, kind, shape, part, factor, scope, attributes, resource, .. } = spec;
    let bits = value.to_bits();
    let (scope, attributes, resource) =
        (shown(&scope.attributes) + &scope.name + &scope.version, shown(attributes), shown(resource));
    // Nobody asks for the start of a gauge.
    let start = if *shape == Shape::Gauge { 0 } else { start };
    format!(
        "{agent} {metric:?} {unit:?} {kind:?} {shape:?} {part:?} x{factor} {scope:?} {attributes} {resource} {start}..@{time} = {bits:x}"
    )
}

/// What was mended has digests of bytes that the decoder does not see.
fn shown(attributes: &Attributes) -> String {
    format!("{:?} {:?}", &**attributes, attributes.types().collect::<Vec<_>>())
}

fn walked(registry: &Registry, normalizer: &Normalizer, bytes: &[u8]) -> Option<Seen> {
    let tenant = TenantId::default_tenant();
    let normalized = normalizer.otlp(&tenant, "sender", UnixNanos(NOW), bytes).ok()?;
    let mut lines = Vec::new();
    for (_, samples) in &normalized.batches {
        let starts = samples.starts.each(samples.columns.len());
        for ((id, time, value), start) in samples.columns.rows().zip(starts) {
            let desc = registry.series(id).unwrap();
            let agent = registry.agent(desc.agent).unwrap();
            lines.push(line(&agent.key, &desc.spec, start, time.0, value));
        }
    }
    lines.sort();
    assert!(normalized.rejected == 0 || !normalized.reason.is_empty());
    Some((lines, normalized.rejected))
}

// --- what the walk should find, from decoded messages ---

fn json(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        None => serde_json::Value::Null,
        Some(Value::StringValue(s)) => s.clone().into(),
        Some(Value::BoolValue(b)) => (*b).into(),
        Some(Value::IntValue(i)) => (*i).into(),
        Some(Value::StringValueStrindex(i)) => (*i).into(),
        Some(Value::ArrayValue(a)) => a.values.iter().map(json).collect::<Vec<_>>().into(),
        Some(Value::KvlistValue(l)) => l
            .values
            .iter()
            .map(|kv| (kv.key.clone(), kv.value.as_ref().map_or(serde_json::Value::Null, json)))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Some(Value::BytesValue(b)) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(b).into()
        }
        Some(Value::DoubleValue(d)) => special(*d).map_or_else(
            // As text, because serde_json writes 1.0 and 1e300 in its own way.
            || serde_json::from_str::<serde_json::Value>(&format!("\"<{d}>\"")).unwrap(),
            Into::into,
        ),
    }
}

fn special(d: f64) -> Option<&'static str> {
    match d {
        d if d.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(s)) => s.clone(),
        Some(Value::DoubleValue(d)) => special(*d).map_or_else(|| d.to_string(), str::to_owned),
        Some(other) => match json(&AnyValue { value: Some(other.clone()) }) {
            serde_json::Value::String(s) => s,
            other => other.to_string().replace("\"<", "").replace(">\"", ""),
        },
    }
}

fn code(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => "e".to_owned(),
        Some(Value::StringValue(_)) => "s".to_owned(),
        Some(Value::BoolValue(_)) => "b".to_owned(),
        Some(Value::IntValue(_)) => "i".to_owned(),
        Some(Value::DoubleValue(_)) => "d".to_owned(),
        Some(Value::BytesValue(_)) => "y".to_owned(),
        Some(Value::StringValueStrindex(_)) => "x".to_owned(),
        Some(Value::ArrayValue(a)) => format!("[{}]", a.values.iter().map(|v| code(Some(v))).collect::<String>()),
        Some(Value::KvlistValue(l)) => {
            let map: BTreeMap<_, _> = l.values.iter().map(|kv| (&kv.key, code(kv.value.as_ref()))).collect();
            format!("{{{}}}", map.into_values().collect::<String>())
        }
    }
}

fn attributes(list: &[KeyValue]) -> Option<Attributes> {
    (list.len() <= MOST_ATTRIBUTES).then(|| {
        let map: BTreeMap<&String, Option<&AnyValue>> = list.iter().map(|kv| (&kv.key, kv.value.as_ref())).collect();
        let types: String = map.values().map(|value| code(*value)).collect();
        Attributes::new(map.into_iter().map(|(key, value)| (key.clone(), text(value))).collect(), &types, 0)
    })
}

/// The request with U+FFFD for what is not UTF-8 in its strings; as it is from where it cannot be read.
fn mended(bytes: &[u8], schema: &Schema) -> Vec<u8> {
    let (mut reader, mut out) = (Reader::new(bytes), Vec::new());
    while !reader.is_empty() {
        let start = bytes.len() - reader.left();
        let field = (|| {
            let key = reader.key().ok()?;
            let head = bytes[start..bytes.len() - reader.left()].to_vec();
            let kind = schema.0.iter().find(|(number, _)| *number == key >> 3).map(|(_, kind)| kind);
            let content = match (key & 7, kind) {
                (2, Some(Type::Message(inner))) => mended(reader.bytes().ok()?, inner),
                (2, Some(Type::Text)) => String::from_utf8_lossy(reader.bytes().ok()?).into_owned().into_bytes(),
                _ => {
                    reader.other(key, &[], 100).ok()?;
                    return Some(bytes[start..bytes.len() - reader.left()].to_vec());
                }
            };
            let mut field = head;
            prost::encoding::encode_varint(content.len() as u64, &mut field);
            field.extend(content);
            Some(field)
        })();
        match field {
            Some(field) => out.extend(field),
            None => {
                out.extend_from_slice(&bytes[start..]);
                break;
            }
        }
    }
    out
}

struct Expect<'n> {
    normalizer: &'n Normalizer,
    lines: Vec<String>,
    rejected: u64,
}

/// Everything about a point but its numbers.
struct Place<'p> {
    agent: Option<&'p str>,
    base: SeriesSpec,
    /// None for one whose attributes are too many.
    scope: Option<Arc<Scope>>,
    refused: bool,
}

impl Expect<'_> {
    fn request(mut self, request: &ExportMetricsServiceRequest) -> Seen {
        for group in &request.resource_metrics {
            let list = group.resource.as_ref().map_or(&[][..], |r| &r.attributes);
            let resource = attributes(list);
            let references = group.resource.as_ref().map_or(&[][..], |r| &r.entity_refs);
            let entities: Vec<_> = references
                .iter()
                .map(|e| agents::EntityRef { kind: e.r#type.clone(), id_keys: e.id_keys.clone() })
                .collect();
            let agent = resource
                .as_ref()
                .map(|r| self.normalizer.identity.name(r, &entities).unwrap_or_else(|| "sender".into()));
            let resource = Arc::new(resource.unwrap_or_default());
            for scope in &group.scope_metrics {
                let own = scope.scope.clone().unwrap_or_default();
                let own = attributes(&own.attributes)
                    .map(|attributes| Arc::new(Scope { name: own.name, version: own.version, attributes }));
                for metric in &scope.metrics {
                    self.metric(agent.as_deref(), &resource, own.as_ref(), metric);
                }
            }
        }
        self.lines.sort();
        (self.lines, self.rejected)
    }

    fn metric(&mut self, agent: Option<&str>, resource: &Arc<Attributes>, scope: Option<&Arc<Scope>>, metric: &Metric) {
        let temporal = |t: i32, monotonic| match t {
            1 => Some(Shape::Delta { monotonic }),
            2 => Some(Shape::Cumulative { monotonic }),
            _ => None,
        };
        let shape = match &metric.data {
            None => return,
            Some(metric::Data::Gauge(_)) => Some(Shape::Gauge),
            Some(metric::Data::Sum(s)) => temporal(s.aggregation_temporality, s.is_monotonic),
            Some(metric::Data::Histogram(h)) => temporal(h.aggregation_temporality, true),
            Some(metric::Data::ExponentialHistogram(h)) => temporal(h.aggregation_temporality, true),
            Some(metric::Data::Summary(_)) => Some(Shape::Cumulative { monotonic: true }),
        };
        let too_long = metric.name.len() > LONGEST_NAME || metric.unit.len() > LONGEST_NAME;
        let place = Place {
            agent,
            refused: shape.is_none() || metric.name.is_empty() || too_long || agent.is_none(),
            base: SeriesSpec {
                metric: metric.name.clone(),
                unit: metric.unit.clone(),
                kind: MetricKind::Custom,
                shape: shape.unwrap_or(Shape::Gauge),
                part: Part::Value,
                integer: false,
                factor: 1.0,
                origin: Origin::Otlp,
                scope: Arc::default(),
                attributes: Attributes::default(),
                resource: resource.clone(),
            },
            scope: scope.cloned(),
        };
        match metric.data.as_ref().unwrap() {
            metric::Data::Gauge(Gauge { data_points }) | metric::Data::Sum(Sum { data_points, .. }) => {
                for p in data_points {
                    let value = p.value.map(|v| match v {
                        number_data_point::Value::AsDouble(d) => d,
                        number_data_point::Value::AsInt(i) => i as f64,
                    });
                    let numbers = value.map(|v| vec![(Part::Value, v)]);
                    self.point(&place, &p.attributes, (p.start_time_unix_nano, p.time_unix_nano), p.flags, numbers);
                }
            }
            metric::Data::Histogram(h) => {
                for p in &h.data_points {
                    let mut buckets = Vec::new();
                    let fits = explicit(&p.explicit_bounds, &p.bucket_counts, &mut buckets);
                    let numbers = fits.map(|()| distribution(p.count, p.sum, p.min, p.max, &buckets, &buckets));
                    self.point(&place, &p.attributes, (p.start_time_unix_nano, p.time_unix_nano), p.flags, numbers);
                }
            }
            metric::Data::ExponentialHistogram(h) => {
                for p in &h.data_points {
                    let side = |b: &Option<Buckets>| {
                        b.as_ref()
                            .map(|b| Side { offset: b.offset, counts: b.bucket_counts.clone() })
                            .unwrap_or_default()
                    };
                    let exponential = Exponential {
                        scale: p.scale,
                        zero_count: p.zero_count,
                        zero_threshold: p.zero_threshold,
                        positive: side(&p.positive),
                        negative: side(&p.negative),
                    };
                    let (mut all, mut stable) = (Vec::new(), Vec::new());
                    exponential.buckets(&mut all);
                    exponential.stable(160, &mut stable);
                    let numbers = distribution(p.count, p.sum, p.min, p.max, &stable, &all);
                    self.point(
                        &place,
                        &p.attributes,
                        (p.start_time_unix_nano, p.time_unix_nano),
                        p.flags,
                        Some(numbers),
                    );
                }
            }
            metric::Data::Summary(s) => {
                for p in &s.data_points {
                    let mut numbers = vec![(Part::Count, p.count as f64), (Part::Sum, p.sum)];
                    numbers.extend(p.quantile_values.iter().map(|q| (Part::Quantile(q.quantile + 0.0), q.value)));
                    let good = p.quantile_values.iter().all(|q| (0.0..=1.0).contains(&q.quantile));
                    self.point(
                        &place,
                        &p.attributes,
                        (p.start_time_unix_nano, p.time_unix_nano),
                        p.flags,
                        good.then_some(numbers),
                    );
                }
            }
        }
    }

    fn point(
        &mut self,
        place: &Place<'_>,
        list: &[KeyValue],
        (start, time): (u64, u64),
        flags: u32,
        numbers: Option<Vec<(Part, f64)>>,
    ) {
        let earliest = (NOW as u64 - u64::from(RETENTION_DAYS) * DAY) / DAY * DAY;
        if place.refused || time < earliest || time > NOW as u64 + DAY {
            self.rejected += 1;
            return;
        }
        if flags & 1 == 1 {
            return;
        }
        let (Some(numbers), Some(attributes), Some(scope)) = (numbers, attributes(list), &place.scope) else {
            self.rejected += 1;
            return;
        };
        for (part, value) in numbers {
            let shape = match part {
                Part::Min | Part::Max | Part::Quantile(_) => Shape::Gauge,
                _ => place.base.shape,
            };
            let mut spec =
                SeriesSpec { part, shape, attributes: attributes.clone(), scope: scope.clone(), ..place.base.clone() };
            self.normalizer.rules.apply(&mut spec);
            let value = if spec.factor.to_bits() == 1.0_f64.to_bits() { value } else { value * spec.factor };
            let start = i64::try_from(start).unwrap_or(0);
            self.lines.push(line(place.agent.unwrap(), &spec, start, time as i64, value));
        }
    }
}

fn distribution(
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    bounds: &[Bucket],
    all: &[Bucket],
) -> Vec<(Part, f64)> {
    let mut numbers = vec![(Part::Count, count as f64)];
    numbers.extend(sum.map(|v| (Part::Sum, v)));
    numbers.extend(min.map(|v| (Part::Min, v)));
    numbers.extend(max.map(|v| (Part::Max, v)));
    let mut total = 0_u64;
    for bucket in bounds {
        total = total.saturating_add(bucket.count);
        if bucket.upper.is_finite() {
            numbers.push((Part::Bucket(bucket.upper + 0.0), total as f64));
        }
    }
    numbers.extend(QUANTILES.iter().filter_map(|q| Some((Part::Quantile(*q), quantile(all, *q, (min, max))?))));
    numbers
}

/// The two ways agree; the walk also agrees with itself once it knows every series.
fn agree(bytes: &[u8]) {
    let (registry, normalizer) = normalizer(Quota::default());
    let expected = ExportMetricsServiceRequest::decode(&*mended(bytes, &REQUEST))
        .ok()
        .map(|request| Expect { normalizer: &normalizer, lines: Vec::new(), rejected: 0 }.request(&request));
    for round in ["new", "known"] {
        assert_eq!(walked(&registry, &normalizer, bytes), expected, "series {round}");
    }
    if expected.is_none() {
        assert_eq!(registry.series_count(), 0, "a refused request leaves nothing");
        assert!(registry.agents_of(&TenantId::default_tenant()).is_empty());
    }
}

// --- requests out of bytes that proptest can shrink ---

struct Draw<'a>(std::slice::Iter<'a, u8>);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, n: u8) -> u8 {
        self.byte() % n
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()].clone()
    }

    fn list<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() & 1 == 1).then(|| make(self))
    }

    fn number(&mut self) -> f64 {
        let own = f64::from(self.byte()) / 7.0;
        self.pick(&[
            own,
            -own,
            0.0,
            -0.0,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from_bits(0x7ff0_0000_0000_0002),
        ])
    }

    fn key(&mut self) -> String {
        self.pick(&["host.name", "service.name", "service.instance.id", "state", "a", "b", "ключ", ""]).to_owned()
    }

    fn value(&mut self, depth: u8) -> AnyValue {
        let value = match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::StringValue(
                self.pick(&["x", "used", "", "ü\n\"", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"]).to_owned(),
            ),
            1 => Value::BoolValue(self.byte() & 1 == 1),
            2 => Value::IntValue(i64::from(self.byte()) - 100),
            3 => Value::DoubleValue(self.number()),
            4 => Value::BytesValue(self.list(4, Self::byte)),
            5 => Value::StringValueStrindex(i32::from(self.byte()) - 9),
            6 => return AnyValue { value: None },
            7 => Value::ArrayValue(ArrayValue { values: self.list(3, |d| d.value(depth - 1)) }),
            _ => Value::KvlistValue(KeyValueList { values: self.list(3, |d| d.attribute(depth - 1)) }),
        };
        AnyValue { value: Some(value) }
    }

    fn attribute(&mut self, depth: u8) -> KeyValue {
        KeyValue { key: self.key(), value: self.maybe(|d| d.value(depth)), ..KeyValue::default() }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |d| d.attribute(2))
    }

    fn time(&mut self) -> u64 {
        let good = NOW as u64 - u64::from(self.byte());
        let kept = (NOW as u64 - u64::from(RETENTION_DAYS) * DAY) / DAY * DAY;
        self.pick(&[good, good, good, good, good, kept, kept - 1, 0, 10_413_792_000_000_000_000, u64::MAX])
    }

    fn flags(&mut self) -> u32 {
        self.pick(&[0, 0, 0, 0, 1, 2])
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.list(1, |d| Exemplar { filtered_attributes: d.attributes(), span_id: vec![1; 8], ..Exemplar::default() })
    }

    fn point(&mut self) -> NumberDataPoint {
        let value = match self.below(5) {
            0 => None,
            1 => Some(number_data_point::Value::AsInt(self.pick(&[3, -3, i64::MAX, i64::MIN, (1 << 53) + 1]))),
            _ => Some(number_data_point::Value::AsDouble(self.number())),
        };
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.exemplars(),
            flags: self.flags(),
            value,
        }
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        let n = self.below(4);
        let mut bounds: Vec<f64> = (0..n).map(|i| f64::from(i) * 2.5).collect();
        if self.below(6) == 0 {
            bounds.reverse();
        }
        let extra = u8::from(self.below(6) != 0);
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.maybe(Self::number),
            bucket_counts: (0..n + extra).map(|_| u64::from(self.byte())).collect(),
            explicit_bounds: bounds,
            exemplars: self.exemplars(),
            flags: self.flags(),
            min: self.maybe(Self::number),
            max: self.maybe(Self::number),
        }
    }

    fn buckets(&mut self) -> Buckets {
        Buckets {
            offset: self.pick(&[0, 1, -5, 300, i32::MAX, i32::MIN]),
            bucket_counts: self.list(5, |d| d.pick(&[0, 1, 200, u64::MAX])),
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.maybe(Self::number),
            scale: self.pick(&[0, 3, -2, 20, -10, i32::MAX, i32::MIN]),
            zero_count: u64::from(self.below(3)),
            positive: self.maybe(Self::buckets),
            negative: self.maybe(Self::buckets),
            flags: self.flags(),
            exemplars: self.exemplars(),
            min: self.maybe(Self::number),
            max: self.maybe(Self::number),
            zero_threshold: self.number(),
        }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: u64::from(self.byte()),
            sum: self.number(),
            quantile_values: self.list(3, |d| ValueAtQuantile {
                quantile: d.pick(&[0.0, -0.0, 0.5, 0.99, 1.0, 0.5, 1.5]),
                value: d.number(),
            }),
            flags: self.flags(),
        }
    }

    fn metric(&mut self) -> Metric {
        let temporality = self.pick(&[2, 1, 2, 0, 7]);
        let data = match self.below(6) {
            0 => Some(metric::Data::Gauge(Gauge { data_points: self.list(3, Self::point) })),
            1 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::point),
                aggregation_temporality: temporality,
                is_monotonic: self.byte() & 1 == 1,
            })),
            2 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram),
                aggregation_temporality: temporality,
            })),
            3 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential),
                aggregation_temporality: temporality,
            })),
            4 => Some(metric::Data::Summary(Summary { data_points: self.list(3, Self::summary) })),
            _ => None,
        };
        let names =
            ["m", "n", "system.cpu.utilization", "http.server.duration", "", "a name that is much too long for it"];
        Metric {
            name: self.pick(&names).to_owned(),
            description: self.pick(&["", "what it is"]).to_owned(),
            unit: self.pick(&["1", "", "ms", "s"]).to_owned(),
            metadata: self.list(1, |d| d.attribute(0)),
            data,
        }
    }

    fn request(&mut self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.list(3, |d| ResourceMetrics {
            resource: d.maybe(|d| Resource {
                attributes: d.attributes(),
                entity_refs: d.list(2, |d| EntityRef {
                    r#type: d.pick(&["host", "service", "process", "acme"]).to_owned(),
                    id_keys: d.list(2, Self::key),
                    ..EntityRef::default()
                }),
                ..Resource::default()
            }),
            scope_metrics: d.list(2, |d| ScopeMetrics {
                scope: d.maybe(|d| InstrumentationScope {
                    name: d.pick(&["", "lib"]).to_owned(),
                    version: d.pick(&["", "1"]).to_owned(),
                    attributes: d.list(4, |d| d.attribute(1)),
                    ..InstrumentationScope::default()
                }),
                metrics: d.list(3, Self::metric),
                schema_url: "https://example.com".to_owned(),
            }),
            schema_url: String::new(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }
}

/// The same message in another order of fields, with fields in it that nobody knows. Fields of one number keep their order.
fn shuffled(bytes: &[u8], schema: &Schema, draw: &mut Draw<'_>) -> Vec<u8> {
    let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut reader = Reader::new(bytes);
    let mut order = BTreeMap::new();
    while !reader.is_empty() {
        let start = reader.left();
        let key = reader.key().unwrap();
        let mut field = bytes[bytes.len() - start..bytes.len() - reader.left()].to_vec();
        let kind = schema.0.iter().find(|(n, _)| *n == key >> 3).map(|(_, t)| t);
        match (key & 7, kind) {
            (2, Some(Type::Message(inner))) => {
                let inner = shuffled(reader.bytes().unwrap(), inner, draw);
                prost::encoding::encode_varint(inner.len() as u64, &mut field);
                field.extend_from_slice(&inner);
            }
            (wire, _) => {
                let before = reader.left();
                match wire {
                    0 => drop(reader.varint().unwrap()),
                    1 => drop(reader.fixed64().unwrap()),
                    _ => drop(reader.bytes().unwrap()),
                }
                field.extend_from_slice(&bytes[bytes.len() - before..bytes.len() - reader.left()]);
            }
        }
        let place = *order.entry(key >> 3).or_insert_with(|| draw.byte());
        fields.push((place, field));
        if draw.below(8) == 0 {
            // Number 100: varint, bytes, group, fixed32.
            let unknown: &[u8] = draw.pick(&[
                &[0xa0, 0x06, 1][..],
                &[0xa2, 0x06, 1, 9],
                &[0xa3, 0x06, 0x08, 1, 0xa4, 0x06],
                &[0xa5, 0x06, 1, 2, 3, 4],
            ]);
            fields.push((draw.byte(), unknown.to_vec()));
        }
    }
    fields.sort_by_key(|(place, _)| *place);
    fields.into_iter().flat_map(|(_, field)| field).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn generated_requests(entropy in prop::collection::vec(any::<u8>(), 0..600)) {
        agree(&Draw(entropy.iter()).request().encode_to_vec());
    }

    #[test]
    fn fields_in_any_order_and_unknown_ones(entropy in prop::collection::vec(any::<u8>(), 0..600), order in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Draw(entropy.iter()).request().encode_to_vec();
        agree(&shuffled(&bytes, &REQUEST, &mut Draw(order.iter())));
    }

    #[test]
    fn damaged_requests(
        entropy in prop::collection::vec(any::<u8>(), 0..400),
        cut in any::<prop::sample::Index>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        truncate in any::<bool>(),
    ) {
        let mut bytes = Draw(entropy.iter()).request().encode_to_vec();
        if !bytes.is_empty() {
            for (at, byte) in hits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if truncate {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        agree(&bytes);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        agree(&bytes);
    }

    #[test]
    fn messages_in_pieces(a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..300)) {
        // Two ResourceMetrics' bytes in one: resource and scopes are merged.
        let mut inner = Vec::new();
        for entropy in [&a, &b] {
            for group in Draw(entropy.iter()).request().resource_metrics {
                inner.extend(group.encode_to_vec());
            }
        }
        let mut bytes = vec![0x0a];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
        agree(&bytes);
    }
}

/// Few by default, for an everyday run; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(512)
}

fn gauge(points: Vec<NumberDataPoint>) -> ExportMetricsServiceRequest {
    let metric = Metric {
        name: "m".into(),
        data: Some(metric::Data::Gauge(Gauge { data_points: points })),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: vec![attribute("host.name", "h")], ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn good(value: f64) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: NOW as u64,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn taken(request: &ExportMetricsServiceRequest) -> super::Normalized {
    let (_, normalizer) = normalizer(Quota { series: 2, agents: 2 });
    let bytes = request.encode_to_vec();
    normalizer.otlp(&TenantId::default_tenant(), "sender", UnixNanos(NOW), &bytes).unwrap()
}

#[test]
fn each_bad_point_stands_for_itself() {
    let many = (0..100_000).map(|n| attribute(&n.to_string(), "x")).collect();
    for (bad, reason) in [
        (NumberDataPoint { time_unix_nano: 0, ..good(1.0) }, "without a time"),
        // The year 2300 is past what 64-bit nanoseconds hold.
        (NumberDataPoint { time_unix_nano: 10_413_792_000_000_000_000, ..good(1.0) }, "in the future"),
        (NumberDataPoint { time_unix_nano: NOW as u64 + 86_400_000_000_001, ..good(1.0) }, "in the future"),
        (NumberDataPoint { value: None, ..good(1.0) }, "without a value"),
        (NumberDataPoint { attributes: many, ..good(1.0) }, "more attributes"),
        (NumberDataPoint { attributes: vec![attribute("a", &"x".repeat(100_000))], ..good(1.0) }, "limit in bytes"),
    ] {
        let normalized = taken(&gauge(vec![good(1.0), bad, good(2.0)]));
        assert_eq!(normalized.rejected, 1, "{reason}");
        assert!(normalized.reason.contains(reason), "{}", normalized.reason);
        assert_eq!(normalized.batches[0].1.columns.values, [1.0, 2.0]);
    }
}

#[test]
fn a_point_past_its_retention_is_rejected_and_told() {
    let (_, normalizer) = normalizer(Quota::default());
    let at = |time: u64, flags| NumberDataPoint { time_unix_nano: time, flags, ..good(1.0) };
    let kept = (NOW as u64 - u64::from(RETENTION_DAYS) * DAY) / DAY * DAY;
    let bytes = gauge(vec![at(kept - 1, 0), at(1, 0), at(kept, 0), at(kept - 1, 1)]).encode_to_vec();
    let normalized = normalizer.otlp(&TenantId::default_tenant(), "sender", UnixNanos(NOW), &bytes).unwrap();
    assert_eq!(normalized.rejected, 3);
    assert!(normalized.reason.contains("older than the retention of samples"), "{}", normalized.reason);
    assert_eq!(normalized.batches[0].1.columns.times, [kept as i64]);
}

#[test]
fn what_the_store_cannot_hold_is_told() {
    let registry = Arc::new(Registry::new(Quota::default()));
    let config = NormalizeConfig { finite_only: true, ..NormalizeConfig::default() };
    let normalizer = Normalizer::new(&config, registry, 1).unwrap();
    let tenant = TenantId::default_tenant();
    let bytes = gauge(vec![good(f64::NAN), good(1.0), good(f64::INFINITY)]).encode_to_vec();
    for round in ["new", "known"] {
        let normalized = normalizer.otlp(&tenant, "sender", UnixNanos(NOW), &bytes).unwrap();
        assert_eq!(normalized.rejected, 2, "{round}");
        assert!(normalized.reason.contains("not finite"), "{}", normalized.reason);
        assert_eq!(normalized.batches[0].1.columns.values, [1.0], "{round}");
    }
    let mut request = gauge(Vec::new());
    let point = HistogramDataPoint {
        time_unix_nano: NOW as u64,
        count: 1,
        sum: Some(f64::NAN),
        ..HistogramDataPoint::default()
    };
    request.resource_metrics[0].scope_metrics[0].metrics[0].data =
        Some(metric::Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 }));
    let normalized = normalizer.otlp(&tenant, "sender", UnixNanos(NOW), &request.encode_to_vec()).unwrap();
    assert_eq!((normalized.rejected, &*normalized.batches[0].1.columns.values), (0, &[1.0][..]));
    assert!(normalized.reason.contains("left out"), "{}", normalized.reason);
}

#[test]
fn what_was_taken_otherwise_than_it_came_is_told() {
    let mut request =
        gauge(vec![NumberDataPoint { attributes: vec![attribute("a", "1"), attribute("a", "2")], ..good(1.0) }]);
    request.resource_metrics[0].scope_metrics[0].metrics.push(Metric { name: "empty".into(), ..Metric::default() });
    let normalized = taken(&request);
    assert_eq!(normalized.rejected, 0);
    for told in ["1 metrics had no data", "1 attributes had a key that came again"] {
        assert!(normalized.reason.contains(told), "{}", normalized.reason);
    }
}

/// The bytes of `request`, with `ABCDEFGH` in them replaced by other bytes.
fn with_bytes(request: &ExportMetricsServiceRequest, bytes: [u8; 8]) -> Vec<u8> {
    let mut encoded = request.encode_to_vec();
    let at: Vec<usize> = encoded.windows(8).enumerate().filter(|(_, w)| w == b"ABCDEFGH").map(|(at, _)| at).collect();
    at.into_iter().for_each(|at| encoded[at..at + 8].copy_from_slice(&bytes));
    encoded
}

#[test]
fn one_bad_string_costs_nothing_and_stays_another() {
    const BAD: &str = "ABCDEFGH";
    let one = || gauge(vec![good(1.0)]);
    let edit = |change: &dyn Fn(&mut ResourceMetrics)| {
        let mut request = one();
        change(&mut request.resource_metrics[0]);
        request
    };
    let metric = |change: &dyn Fn(&mut Metric)| edit(&|r| change(&mut r.scope_metrics[0].metrics[0]));
    let scope = |scope: InstrumentationScope| edit(&|r| r.scope_metrics[0].scope = Some(scope.clone()));
    let point = |point: NumberDataPoint| gauge(vec![point]);
    let exemplar = Exemplar { filtered_attributes: vec![attribute(BAD, BAD)], ..Exemplar::default() };
    let refs =
        EntityRef { r#type: BAD.into(), schema_url: BAD.into(), id_keys: vec![BAD.into()], ..EntityRef::default() };
    // What is bad, and whether it is part of a series' identity.
    for (what, request, identifies) in [
        ("an attribute's value", point(NumberDataPoint { attributes: vec![attribute("k", BAD)], ..good(1.0) }), true),
        ("an attribute's key", point(NumberDataPoint { attributes: vec![attribute(BAD, "v")], ..good(1.0) }), true),
        ("an exemplar", point(NumberDataPoint { exemplars: vec![exemplar], ..good(1.0) }), false),
        ("a metric's name", metric(&|m| m.name = BAD.into()), true),
        ("a unit", metric(&|m| m.unit = BAD.into()), true),
        ("a description", metric(&|m| m.description = BAD.into()), false),
        ("metadata", metric(&|m| m.metadata = vec![attribute(BAD, BAD)]), false),
        ("a scope's name", scope(InstrumentationScope { name: BAD.into(), ..Default::default() }), true),
        ("a scope's version", scope(InstrumentationScope { version: BAD.into(), ..Default::default() }), true),
        (
            "a scope's attribute",
            scope(InstrumentationScope { attributes: vec![attribute("k", BAD)], ..Default::default() }),
            true,
        ),
        ("a scope's schema", edit(&|r| r.scope_metrics[0].schema_url = BAD.into()), false),
        ("a resource's schema", edit(&|r| r.schema_url = BAD.into()), false),
        (
            "an attribute of a resource",
            edit(&|r| r.resource.as_mut().unwrap().attributes.push(attribute("k", BAD))),
            true,
        ),
        ("a host's name", edit(&|r| r.resource.as_mut().unwrap().attributes = vec![attribute("host.name", BAD)]), true),
        ("an entity", edit(&|r| r.resource.as_mut().unwrap().entity_refs = vec![refs.clone()]), false),
    ] {
        let (registry, normalizer) = normalizer(Quota::default());
        for (bytes, series) in
            [(*b"caf\xe9ABCD", 1), (*b"caf\xe9ABCD", 1), (*b"caf\xe8ABCD", if identifies { 2 } else { 1 })]
        {
            let seen = walked(&registry, &normalizer, &with_bytes(&request, bytes)).expect(what);
            assert_eq!((seen.0.len(), seen.1), (1, 0), "{what}");
            assert_eq!(registry.series_count(), series, "{what}");
        }
        let text = registry
            .agents_of(&TenantId::default_tenant())
            .iter()
            .map(|a| registry.series_of(a.id))
            .collect::<Vec<_>>();
        assert_eq!(format!("{text:?}").contains("caf\u{FFFD}ABCD"), identifies, "{what}");
    }
}

#[test]
fn a_value_nested_too_deep_costs_nothing() {
    let mut deep = AnyValue { value: Some(Value::StringValue("x".into())) };
    for _ in 0..40 {
        let entry = KeyValue { key: "k".into(), value: Some(deep), ..KeyValue::default() };
        deep = AnyValue { value: Some(Value::KvlistValue(KeyValueList { values: vec![entry] })) };
    }
    let attribute = KeyValue { key: "deep".into(), value: Some(deep), ..KeyValue::default() };
    let point = NumberDataPoint { attributes: vec![attribute.clone()], ..good(1.0) };
    let mut request = gauge(vec![point, good(2.0)]);
    request.resource_metrics[0].resource.as_mut().unwrap().attributes.push(attribute);
    let normalized = taken(&request);
    assert_eq!((normalized.rejected, &*normalized.batches[0].1.columns.values), (0, &[1.0, 2.0][..]));
}

#[test]
fn a_scope_s_name_has_a_limit() {
    let mut request = gauge(vec![good(1.0)]);
    request.resource_metrics[0].scope_metrics[0].scope =
        Some(InstrumentationScope { name: "x".repeat(LONGEST_NAME + 1), ..InstrumentationScope::default() });
    let normalized = taken(&request);
    assert!(normalized.rejected == 1 && normalized.reason.contains("scope name"), "{}", normalized.reason);
}

#[test]
fn special_numbers_are_kept() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let normalized = taken(&gauge(vec![good(f64::NAN), good(f64::INFINITY), good(stale)]));
    let bits: Vec<u64> = normalized.batches[0].1.columns.values.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [f64::NAN.to_bits(), f64::INFINITY.to_bits(), stale.to_bits()]);
}

#[test]
fn of_equal_keys_the_last_counts() {
    let twice = NumberDataPoint { attributes: vec![attribute("a", "1"), attribute("a", "2")], ..good(1.0) };
    let (registry, normalizer) = normalizer(Quota::default());
    let seen = walked(&registry, &normalizer, &gauge(vec![twice]).encode_to_vec()).unwrap();
    assert!(seen.0[0].contains(r#"[("a", "2")]"#), "{seen:?}");
}

#[test]
fn the_quota_of_series_rejects_what_is_new() {
    let points =
        (0..5).map(|n| NumberDataPoint { attributes: vec![attribute("n", &n.to_string())], ..good(f64::from(n)) });
    let normalized = taken(&gauge(points.collect()));
    assert_eq!(normalized.rejected, 3);
    assert_eq!(normalized.batches[0].1.columns.values, [0.0, 1.0]);
    assert_eq!(normalized.batches[0].1.columns.times.len(), 2);
}

#[test]
fn an_empty_request_is_nothing() {
    let normalized = taken(&ExportMetricsServiceRequest::default());
    assert!(normalized.batches.is_empty() && normalized.rejected == 0);
}

#[test]
fn a_resource_without_points_shows_life() {
    let normalized = taken(&gauge(Vec::new()));
    assert_eq!(normalized.batches.len(), 1);
    assert_eq!(normalized.batches[0].1.alive.len(), 1);
}

#[test]
fn a_foreign_agent_is_rejected_and_not_registered() {
    let (registry, normalizer) = normalizer(Quota::default());
    let tenant = TenantId::default_tenant();
    let bytes = gauge(vec![good(1.0)]).encode_to_vec();
    let caller = |glob: &str| vitals_core::caller::Caller {
        agents: Some(vec![glob.to_owned()]),
        ..vitals_core::caller::Caller::anonymous()
    };
    let refused = normalizer.otlp_as(&caller("web-*"), "sender", UnixNanos(NOW), &bytes).unwrap();
    assert_eq!((refused.rejected, refused.batches.len()), (1, 0));
    assert!(registry.agents_of(&tenant).is_empty());
    let taken = normalizer.otlp_as(&caller("h"), "sender", UnixNanos(NOW), &bytes).unwrap();
    assert_eq!(taken.rejected, 0);
    let again = normalizer.otlp_as(&caller("web-*"), "sender", UnixNanos(NOW), &bytes).unwrap();
    assert_eq!(again.rejected, 1);
}

#[test]
fn what_is_known_is_bounded() {
    let registry = Arc::new(Registry::new(Quota::default()));
    let config = NormalizeConfig { max_known_identities: 10, max_known_resources: 1, ..NormalizeConfig::default() };
    let normalizer = Normalizer::new(&config, registry.clone(), 1).unwrap();
    for n in 0..50 {
        let point = NumberDataPoint { attributes: vec![attribute("n", &n.to_string())], ..good(1.0) };
        walked(&registry, &normalizer, &gauge(vec![point]).encode_to_vec()).unwrap();
    }
    assert_eq!(registry.series_count(), 50);
    assert!(registry.tenant(&TenantId::default_tenant()).wire().len() <= 10);
}

#[test]
fn the_specification_s_example() {
    // The example's times are of 2018, its resource names a service.
    let example = include_bytes!("../../tests/data/otlp-examples/metrics.json");
    let request: ExportMetricsServiceRequest = serde_json::from_slice(example).unwrap();
    agree(&request.encode_to_vec());
}
