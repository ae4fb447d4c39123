//! The walk against the decoder of `opentelemetry-proto`: the same points with the same identities, or both refuse. The decoder
//! refuses strings that are not UTF-8, so it gets the request with those mended.

mod draw;
mod examples;
mod expect;

use super::buckets::{Bucket, Exponential, QUANTILES, Side, explicit, quantile};
use super::wire::{REQUEST, Reader, Schema, Type};
use super::{NormalizeConfig, Normalizer, agents};
use draw::{Draw, shuffled};
use expect::Expect;
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
use vitals_core::caller::Caller;
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
