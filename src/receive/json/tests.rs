//! JSON of generated requests reads as what protobuf has, however it is spelled; and what is damaged is counted.

use super::{Decoded, otlp_json};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

fn decoded(body: &str) -> Decoded {
    otlp_json(body.as_bytes()).unwrap()
}

fn typed(decoded: &Decoded) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&decoded.bytes[..]).expect("what is written is protobuf")
}

fn metrics(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request.resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics)
}

fn points(request: &ExportMetricsServiceRequest) -> u64 {
    let of = |metric: &Metric| match &metric.data {
        None => 0,
        Some(metric::Data::Gauge(data)) => data.data_points.len(),
        Some(metric::Data::Sum(data)) => data.data_points.len(),
        Some(metric::Data::Histogram(data)) => data.data_points.len(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(metric::Data::Summary(data)) => data.data_points.len(),
    };
    metrics(request).map(|metric| of(metric) as u64).sum()
}

/// A request of one resource and scope.
fn with_metrics(metrics: &str) -> String {
    format!(r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{metrics}]}}]}}]}}"#)
}

/// A gauge `m` of these points.
fn with_points(points: &str) -> String {
    with_metrics(&format!(r#"{{"name": "m", "gauge": {{"dataPoints": [{points}]}}}}"#))
}

// --- requests out of bytes that proptest can shrink, and their spelling ---

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

    fn text(&mut self) -> String {
        self.pick(&["", "x", "host.name", "ü \"q\" \\ \n\u{1}", "😀", "\u{fffd}"]).to_owned()
    }

    fn double(&mut self) -> f64 {
        let own = f64::from(self.byte()) / 7.0;
        self.pick(&[own, -own, 0.0, -0.0, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
    }

    fn count(&mut self) -> u64 {
        let own = u64::from(self.byte());
        self.pick(&[own, own * 10, 0, 1_700_000_000_000_000_000, u64::MAX])
    }

    fn integer(&mut self) -> i64 {
        let own = i64::from(self.byte());
        self.pick(&[own, -own, -1000, 0, i64::MAX, i64::MIN])
    }

    fn small(&mut self) -> i32 {
        self.pick(&[0, 1, -1, 20, i32::MAX, i32::MIN])
    }

    fn any(&mut self, depth: u8) -> AnyValue {
        let value = match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Any::StringValue(self.text()),
            1 => Any::BoolValue(self.byte() & 1 == 1),
            2 => Any::IntValue(self.integer()),
            3 => Any::DoubleValue(self.double()),
            4 => Any::BytesValue(self.list(5, Self::byte)),
            5 => Any::StringValueStrindex(self.small()),
            6 => return AnyValue { value: None },
            7 => Any::ArrayValue(ArrayValue { values: self.list(3, |d| d.any(depth - 1)) }),
            _ => Any::KvlistValue(KeyValueList { values: self.list(3, |d| d.attribute(depth - 1)) }),
        };
        AnyValue { value: Some(value) }
    }

    fn attribute(&mut self, depth: u8) -> KeyValue {
        KeyValue { key: self.text(), value: self.maybe(|d| d.any(depth)), key_strindex: self.pick(&[0, 0, 3]) }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(3, |d| d.attribute(2))
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.list(1, |d| Exemplar {
            filtered_attributes: d.attributes(),
            time_unix_nano: d.count(),
            span_id: d.pick(&[vec![], vec![0xab; 8]]),
            trace_id: d.pick(&[vec![], vec![0x0f; 16]]),
            value: d.maybe(|d| match d.below(2) {
                0 => exemplar::Value::AsInt(d.integer()),
                _ => exemplar::Value::AsDouble(d.double()),
            }),
        })
    }

    fn number_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            exemplars: self.exemplars(),
            flags: self.pick(&[0, 1, u32::MAX]),
            value: self.maybe(|d| match d.below(2) {
                0 => number_data_point::Value::AsInt(d.integer()),
                _ => number_data_point::Value::AsDouble(d.double()),
            }),
        }
    }

    fn histogram_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.maybe(Self::double),
            bucket_counts: self.list(4, Self::count),
            explicit_bounds: self.list(3, Self::double),
            exemplars: self.exemplars(),
            flags: self.pick(&[0, 1]),
            min: self.maybe(Self::double),
            max: self.maybe(Self::double),
        }
    }

    fn buckets(&mut self) -> Buckets {
        Buckets { offset: self.small(), bucket_counts: self.list(4, Self::count) }
    }

    fn exponential_point(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.maybe(Self::double),
            scale: self.small(),
            zero_count: self.count(),
            positive: self.maybe(Self::buckets),
            negative: self.maybe(Self::buckets),
            flags: self.pick(&[0, 1]),
            exemplars: self.exemplars(),
            min: self.maybe(Self::double),
            max: self.maybe(Self::double),
            zero_threshold: self.double(),
        }
    }

    fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.count(),
            time_unix_nano: self.count(),
            count: self.count(),
            sum: self.double(),
            quantile_values: self.list(2, |d| ValueAtQuantile { quantile: d.double(), value: d.double() }),
            flags: self.pick(&[0, 1]),
        }
    }

    fn metric(&mut self) -> Metric {
        let temporality = |d: &mut Self| d.pick(&[0, 1, 2]);
        let data = match self.below(6) {
            0 => None,
            1 => Some(metric::Data::Gauge(Gauge { data_points: self.list(3, Self::number_point) })),
            2 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::number_point),
                aggregation_temporality: temporality(self),
                is_monotonic: self.byte() & 1 == 1,
            })),
            3 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(2, Self::histogram_point),
                aggregation_temporality: temporality(self),
            })),
            4 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(2, Self::exponential_point),
                aggregation_temporality: temporality(self),
            })),
            _ => Some(metric::Data::Summary(Summary { data_points: self.list(2, Self::summary_point) })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.list(1, |d| d.attribute(1)),
            data,
        }
    }

    fn request(&mut self) -> ExportMetricsServiceRequest {
        let scope = |d: &mut Self| InstrumentationScope {
            name: d.text(),
            version: d.text(),
            attributes: d.attributes(),
            dropped_attributes_count: d.pick(&[0, 7]),
        };
        let entity = |d: &mut Self| EntityRef {
            schema_url: d.text(),
            r#type: d.text(),
            id_keys: d.list(2, Self::text),
            description_keys: d.list(2, Self::text),
        };
        let resource = |d: &mut Self| Resource {
            attributes: d.attributes(),
            dropped_attributes_count: d.pick(&[0, u32::MAX]),
            entity_refs: d.list(1, entity),
        };
        let scopes = |d: &mut Self| ScopeMetrics {
            scope: d.maybe(scope),
            metrics: d.list(3, Self::metric),
            schema_url: d.text(),
        };
        let resource_metrics = self.list(3, |d| ResourceMetrics {
            resource: d.maybe(resource),
            scope_metrics: d.list(2, scopes),
            schema_url: d.text(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }
}

/// Writes JSON, each thing in one of the ways that ProtoJSON has for it.
struct Spell<'a>(Draw<'a>);

impl Spell<'_> {
    /// An object of its fields, by both names; `None` is a value that need not be there.
    fn object(&mut self, fields: Vec<(&str, &str, Option<String>)>) -> String {
        let mut members = Vec::new();
        for (camel, snake, value) in fields {
            let name = if self.0.below(4) == 0 { snake } else { camel };
            match value {
                Some(value) => members.push(format!("{}:{value}", self.text(name))),
                None if self.0.below(2) == 0 => members.push(format!("\"{name}\": null")),
                None => {}
            }
            if self.0.below(16) == 1 {
                members.push(r#""aFieldOfTomorrow": {"deep": [1, {"x": null}], "dataPoints": 7}"#.to_owned());
            }
        }
        let turn = usize::from(self.0.byte()) % members.len().max(1);
        members.rotate_left(turn);
        let space = self.0.pick(&["", " ", "\n\t"]);
        format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
    }

    fn list<T>(&mut self, of: &[T], mut each: impl FnMut(&mut Self, &T) -> String) -> Option<String> {
        if of.is_empty() && self.0.below(2) == 0 {
            return None;
        }
        let items: Vec<_> = of.iter().map(|item| each(self, item)).collect();
        Some(format!("[{}]", items.join(",")))
    }

    /// `None` for a value that is the type's default, sometimes.
    fn unless_default(&mut self, is_default: bool, value: String) -> Option<String> {
        (!is_default || self.0.below(2) == 0).then_some(value)
    }

    fn text(&mut self, text: &str) -> String {
        if self.0.below(8) == 0 {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            return format!("\"{units}\"");
        }
        serde_json::to_string(text).unwrap()
    }

    fn whole(&mut self, number: impl Into<i128>) -> String {
        let number = number.into();
        match self.0.below(6) {
            0 => format!("{number}.0"),
            1 if number % 10 == 0 => format!("{}e1", number / 10),
            2 => format!("\"{number}.00\""),
            3 => number.to_string(),
            _ => format!("\"{number}\""),
        }
    }

    fn double(&mut self, number: f64) -> String {
        match number {
            _ if number.is_nan() => "\"NaN\"".to_owned(),
            f64::INFINITY => "\"Infinity\"".to_owned(),
            f64::NEG_INFINITY => "\"-Infinity\"".to_owned(),
            _ if self.0.below(3) == 0 => format!("\"{number:?}\""),
            _ => format!("{number:?}"),
        }
    }

    fn time(&mut self, time: u64) -> Option<String> {
        let written = self.whole(time);
        self.unless_default(time == 0, written)
    }

    fn flags(&mut self, flags: u32) -> Option<String> {
        let written = self.whole(flags);
        self.unless_default(flags == 0, written)
    }

    fn string(&mut self, text: &str) -> Option<String> {
        let written = self.text(text);
        self.unless_default(text.is_empty(), written)
    }

    fn any(&mut self, value: &AnyValue) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let Some(value) = &value.value else { return "{}".to_owned() };
        let (camel, snake, written) = match value {
            Any::StringValue(text) => ("stringValue", "string_value", self.text(text)),
            Any::BoolValue(bool) => ("boolValue", "bool_value", bool.to_string()),
            Any::IntValue(number) => ("intValue", "int_value", self.whole(*number)),
            Any::DoubleValue(number) => ("doubleValue", "double_value", self.double(*number)),
            Any::BytesValue(bytes) => {
                let text = if self.0.below(2) == 0 { STANDARD.encode(bytes) } else { URL_SAFE_NO_PAD.encode(bytes) };
                ("bytesValue", "bytes_value", format!("\"{text}\""))
            }
            Any::StringValueStrindex(at) => ("stringValueStrindex", "string_value_strindex", self.whole(*at)),
            Any::ArrayValue(array) => {
                let values = self.list(&array.values, Self::any);
                ("arrayValue", "array_value", self.object(vec![("values", "values", values)]))
            }
            Any::KvlistValue(list) => {
                let values = self.list(&list.values, Self::attribute);
                ("kvlistValue", "kvlist_value", self.object(vec![("values", "values", values)]))
            }
        };
        self.object(vec![(camel, snake, Some(written))])
    }

    fn attribute(&mut self, attribute: &KeyValue) -> String {
        let fields = vec![
            ("key", "key", self.string(&attribute.key)),
            ("value", "value", attribute.value.as_ref().map(|value| self.any(value))),
            ("keyStrindex", "key_strindex", self.flags(attribute.key_strindex.unsigned_abs())),
        ];
        self.object(fields)
    }

    fn attributes(&mut self, attributes: &[KeyValue]) -> Option<String> {
        self.list(attributes, Self::attribute)
    }

    fn exemplars(&mut self, exemplars: &[Exemplar]) -> Option<String> {
        self.list(exemplars, |s, exemplar| {
            let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02X}")).collect() };
            let (double, int) = match exemplar.value {
                Some(exemplar::Value::AsDouble(number)) => (Some(s.double(number)), None),
                Some(exemplar::Value::AsInt(number)) => (None, Some(s.whole(number))),
                None => (None, None),
            };
            let fields = vec![
                ("filteredAttributes", "filtered_attributes", s.attributes(&exemplar.filtered_attributes)),
                ("timeUnixNano", "time_unix_nano", s.time(exemplar.time_unix_nano)),
                ("asDouble", "as_double", double),
                ("asInt", "as_int", int),
                ("spanId", "span_id", s.string(&hex(&exemplar.span_id))),
                ("traceId", "trace_id", s.string(&hex(&exemplar.trace_id).to_lowercase())),
            ];
            s.object(fields)
        })
    }

    fn number_point(&mut self, point: &NumberDataPoint) -> String {
        let (double, int) = match point.value {
            Some(number_data_point::Value::AsDouble(number)) => (Some(self.double(number)), None),
            Some(number_data_point::Value::AsInt(number)) => (None, Some(self.whole(number))),
            None => (None, None),
        };
        let fields = vec![
            ("attributes", "attributes", self.attributes(&point.attributes)),
            ("startTimeUnixNano", "start_time_unix_nano", self.time(point.start_time_unix_nano)),
            ("timeUnixNano", "time_unix_nano", self.time(point.time_unix_nano)),
            ("asDouble", "as_double", double),
            ("asInt", "as_int", int),
            ("exemplars", "exemplars", self.exemplars(&point.exemplars)),
            ("flags", "flags", self.flags(point.flags)),
        ];
        self.object(fields)
    }

    fn histogram_point(&mut self, point: &HistogramDataPoint) -> String {
        let fields = vec![
            ("attributes", "attributes", self.attributes(&point.attributes)),
            ("startTimeUnixNano", "start_time_unix_nano", self.time(point.start_time_unix_nano)),
            ("timeUnixNano", "time_unix_nano", self.time(point.time_unix_nano)),
            ("count", "count", self.time(point.count)),
            ("sum", "sum", point.sum.map(|sum| self.double(sum))),
            ("bucketCounts", "bucket_counts", self.list(&point.bucket_counts, |s, count| s.whole(*count))),
            ("explicitBounds", "explicit_bounds", self.list(&point.explicit_bounds, |s, bound| s.double(*bound))),
            ("exemplars", "exemplars", self.exemplars(&point.exemplars)),
            ("flags", "flags", self.flags(point.flags)),
            ("min", "min", point.min.map(|min| self.double(min))),
            ("max", "max", point.max.map(|max| self.double(max))),
        ];
        self.object(fields)
    }

    fn buckets(&mut self, buckets: &Buckets) -> String {
        let offset = self.whole(buckets.offset);
        let fields = vec![
            ("offset", "offset", self.unless_default(buckets.offset == 0, offset)),
            ("bucketCounts", "bucket_counts", self.list(&buckets.bucket_counts, |s, count| s.whole(*count))),
        ];
        self.object(fields)
    }

    fn exponential_point(&mut self, point: &ExponentialHistogramDataPoint) -> String {
        let (scale, threshold) = (self.whole(point.scale), self.double(point.zero_threshold));
        let fields = vec![
            ("attributes", "attributes", self.attributes(&point.attributes)),
            ("startTimeUnixNano", "start_time_unix_nano", self.time(point.start_time_unix_nano)),
            ("timeUnixNano", "time_unix_nano", self.time(point.time_unix_nano)),
            ("count", "count", self.time(point.count)),
            ("sum", "sum", point.sum.map(|sum| self.double(sum))),
            ("scale", "scale", self.unless_default(point.scale == 0, scale)),
            ("zeroCount", "zero_count", self.time(point.zero_count)),
            ("positive", "positive", point.positive.as_ref().map(|side| self.buckets(side))),
            ("negative", "negative", point.negative.as_ref().map(|side| self.buckets(side))),
            ("flags", "flags", self.flags(point.flags)),
            ("exemplars", "exemplars", self.exemplars(&point.exemplars)),
            ("min", "min", point.min.map(|min| self.double(min))),
            ("max", "max", point.max.map(|max| self.double(max))),
            ("zeroThreshold", "zero_threshold", Some(threshold)),
        ];
        self.object(fields)
    }

    fn summary_point(&mut self, point: &SummaryDataPoint) -> String {
        let sum = self.double(point.sum);
        let quantile = |s: &mut Self, of: &ValueAtQuantile| {
            let (quantile, value) = (s.double(of.quantile), s.double(of.value));
            s.object(vec![("quantile", "quantile", Some(quantile)), ("value", "value", Some(value))])
        };
        let fields = vec![
            ("attributes", "attributes", self.attributes(&point.attributes)),
            ("startTimeUnixNano", "start_time_unix_nano", self.time(point.start_time_unix_nano)),
            ("timeUnixNano", "time_unix_nano", self.time(point.time_unix_nano)),
            ("count", "count", self.time(point.count)),
            ("sum", "sum", Some(sum)),
            ("quantileValues", "quantile_values", self.list(&point.quantile_values, quantile)),
            ("flags", "flags", self.flags(point.flags)),
        ];
        self.object(fields)
    }

    fn temporality(&mut self, number: i32) -> Option<String> {
        let name = ["UNSPECIFIED", "DELTA", "CUMULATIVE"][number as usize];
        let written = match self.0.below(3) {
            0 => format!("\"AGGREGATION_TEMPORALITY_{name}\""),
            1 => format!("\"{number}\""),
            _ => number.to_string(),
        };
        self.unless_default(number == 0, written)
    }

    fn data(&mut self, data: &metric::Data) -> (&'static str, &'static str, Option<String>) {
        const POINTS: (&str, &str) = ("dataPoints", "data_points");
        const FLOW: (&str, &str) = ("aggregationTemporality", "aggregation_temporality");
        let (camel, snake, fields) = match data {
            metric::Data::Gauge(data) => {
                ("gauge", "gauge", vec![(POINTS, self.list(&data.data_points, Self::number_point))])
            }
            metric::Data::Sum(data) => {
                let monotonic = self.unless_default(!data.is_monotonic, data.is_monotonic.to_string());
                let points = self.list(&data.data_points, Self::number_point);
                let flow = self.temporality(data.aggregation_temporality);
                ("sum", "sum", vec![(POINTS, points), (FLOW, flow), (("isMonotonic", "is_monotonic"), monotonic)])
            }
            metric::Data::Histogram(data) => {
                let points = self.list(&data.data_points, Self::histogram_point);
                (
                    "histogram",
                    "histogram",
                    vec![(POINTS, points), (FLOW, self.temporality(data.aggregation_temporality))],
                )
            }
            metric::Data::ExponentialHistogram(data) => {
                let points = self.list(&data.data_points, Self::exponential_point);
                let flow = self.temporality(data.aggregation_temporality);
                ("exponentialHistogram", "exponential_histogram", vec![(POINTS, points), (FLOW, flow)])
            }
            metric::Data::Summary(data) => {
                ("summary", "summary", vec![(POINTS, self.list(&data.data_points, Self::summary_point))])
            }
        };
        let fields = fields.into_iter().map(|((camel, snake), value)| (camel, snake, value)).collect();
        (camel, snake, Some(self.object(fields)))
    }

    fn metric(&mut self, metric: &Metric) -> String {
        let mut fields = vec![
            ("name", "name", self.string(&metric.name)),
            ("description", "description", self.string(&metric.description)),
            ("unit", "unit", self.string(&metric.unit)),
            ("metadata", "metadata", self.attributes(&metric.metadata)),
        ];
        fields.extend(metric.data.as_ref().map(|data| self.data(data)));
        self.object(fields)
    }

    fn resource(&mut self, resource: &Resource) -> String {
        let fields = vec![
            ("attributes", "attributes", self.attributes(&resource.attributes)),
            ("droppedAttributesCount", "dropped_attributes_count", self.flags(resource.dropped_attributes_count)),
            (
                "entityRefs",
                "entity_refs",
                self.list(&resource.entity_refs, |s, entity| {
                    let fields = vec![
                        ("schemaUrl", "schema_url", s.string(&entity.schema_url)),
                        ("type", "type", s.string(&entity.r#type)),
                        ("idKeys", "id_keys", s.list(&entity.id_keys, |s, key| s.text(key))),
                        ("descriptionKeys", "description_keys", s.list(&entity.description_keys, |s, key| s.text(key))),
                    ];
                    s.object(fields)
                }),
            ),
        ];
        self.object(fields)
    }

    fn scope_metrics(&mut self, of: &ScopeMetrics) -> String {
        let scope = of.scope.as_ref().map(|scope| {
            let fields = vec![
                ("name", "name", self.string(&scope.name)),
                ("version", "version", self.string(&scope.version)),
                ("attributes", "attributes", self.attributes(&scope.attributes)),
                ("droppedAttributesCount", "dropped_attributes_count", self.flags(scope.dropped_attributes_count)),
            ];
            self.object(fields)
        });
        let fields = vec![
            ("scope", "scope", scope),
            ("metrics", "metrics", self.list(&of.metrics, Self::metric)),
            ("schemaUrl", "schema_url", self.string(&of.schema_url)),
        ];
        self.object(fields)
    }

    fn request(&mut self, request: &ExportMetricsServiceRequest) -> String {
        let groups = self.list(&request.resource_metrics, |s, of| {
            let fields = vec![
                ("resource", "resource", of.resource.as_ref().map(|resource| s.resource(resource))),
                ("scopeMetrics", "scope_metrics", s.list(&of.scope_metrics, Self::scope_metrics)),
                ("schemaUrl", "schema_url", s.string(&of.schema_url)),
            ];
            s.object(fields)
        });
        self.object(vec![("resourceMetrics", "resource_metrics", groups)])
    }
}

/// What stands in a place where something else should.
fn wrong(at: u8) -> Value {
    let all = [
        json!(7),
        json!(-1.5),
        json!("x"),
        json!(true),
        json!([]),
        json!([7]),
        json!([null]),
        json!({}),
        json!({"x": 1}),
        json!("18446744073709551616"),
        json!([[1]]),
        json!(null),
    ];
    all[usize::from(at) % all.len()].clone()
}

/// The JSON pointer of every value.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                pointers(value, &format!("{at}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), into);
            }
        }
        _ => {}
    }
}

/// Whether the value at a pointer has points below it, so that another one in its place has another number of them.
fn holds_points(pointer: &str) -> bool {
    let last = pointer.rsplit('/').find(|part| part.parse::<u8>().is_err()).unwrap_or_default();
    let is_item = pointer.rsplit('/').next().is_some_and(|part| part.parse::<u8>().is_ok());
    let lists = ["resourceMetrics", "scopeMetrics", "metrics"];
    let data = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
    let in_a_point = pointer.contains("/dataPoints/");
    pointer.is_empty()
        || lists.contains(&last)
        || !in_a_point && data.contains(&last)
        || last == "dataPoints" && !is_item
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn json_says_what_protobuf_says(bytes in proptest::collection::vec(any::<u8>(), 0..700), spelling in proptest::collection::vec(any::<u8>(), 0..900)) {
        let request = Draw(bytes.iter()).request();
        let body = Spell(Draw(spelling.iter())).request(&request);
        let decoded = decoded(&body);
        prop_assert_eq!(decoded.rejected, 0, "{} {}", decoded.reason, body);
        // By their bytes: NaN is not equal to itself.
        let got = typed(&decoded);
        prop_assert_eq!(got.encode_to_vec(), request.encode_to_vec(), "{} {:?}", body, got);
    }

    #[test]
    fn nothing_is_lost_silently(bytes in proptest::collection::vec(any::<u8>(), 50..700), place in any::<usize>(), with in any::<u8>()) {
        let request = Draw(bytes.iter()).request();
        let sent = points(&request);
        let plain: Value = serde_json::from_str(&Spell(Draw([3_u8; 20_000].iter())).request(&request)).unwrap();
        let mut places = Vec::new();
        pointers(&plain, "", &mut places);
        let place = &places[place % places.len()];
        let mut damaged = plain.clone();
        let value = damaged.pointer_mut(place).unwrap();
        let (before, now) = (value.clone(), wrong(with));
        *value = now.clone();
        // Refused as a whole is not silent either.
        let Ok(decoded) = otlp_json(damaged.to_string().as_bytes()) else { return Ok(()) };
        let stored = points(&typed(&decoded));
        prop_assert_eq!(decoded.rejected > 0, decoded.reason.contains("points"), "{}", decoded.reason);
        if !holds_points(place) {
            prop_assert_eq!(stored + decoded.rejected, sent, "{} {} {}", place, now, damaged);
        } else if before.is_array() != now.is_array() && !now.is_null() && !place.ends_with(|c: char| c.is_ascii_digit())
            || !now.is_object() && !now.is_null() && before.is_object() {
            prop_assert!(decoded.rejected > 0, "{} {} {}", place, now, damaged);
        }
    }
}

// --- one by one ---

#[test]
fn the_specification_s_example() {
    let request = typed(&decoded(include_str!("../../../tests/data/otlp-examples/metrics.json")));
    assert_eq!(metrics(&request).filter(|metric| metric.data.is_some()).count(), 4);
}

#[test]
fn what_is_no_request_is_refused() {
    for body in [
        "",
        "[",
        "[1]",
        "7",
        "null",
        "\"x\"",
        "{} {}",
        "{}x",
        r#"{"resourceMetrics": 7}"#,
        r#"{"resourceMetrics": {}}"#,
        r#"{"resourceMetrics": [}"#,
        r#"{"resourceMetrics": [],}"#,
        r#"{"resourceSpans": [{}]}"#,
        r#"{"resource_logs": [{}]}"#,
        "{'resourceMetrics': []}",
        r#"{"resourceMetrics": [{"schemaUrl": "cut"#,
    ] {
        let error = otlp_json(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("JSON"), "{body}: {error}");
    }
    for body in ["{}", r#"{"resourceMetrics": null}"#, r#"{"resourceMetrics": []}"#, r#" {"ofTomorrow": 1} "#] {
        let decoded = decoded(body);
        assert_eq!((decoded.bytes.len(), decoded.rejected, decoded.reason.as_str()), (0, 0, ""), "{body}");
    }
}

#[test]
fn one_damaged_point_of_three_is_rejected_by_name() {
    let attribute = |json: &str| format!(r#"{{"asInt": 1, "attributes": [{{"key": "k", "value": {json}}}]}}"#);
    let good = attribute(r#"{"stringValue": "x"}"#);
    for (damaged, told) in [
        (attribute(r#"{"doubleValue": "x"}"#), "dataPoints.attributes.value.doubleValue is \"x\", not a double"),
        (attribute(r#"{"intValue": 1.5}"#), "value.intValue is \"1.5\", not a whole number"),
        (attribute(r#"{"intValue": "9223372036854775808"}"#), "value.intValue is \"9223372036854775808\", not within"),
        (attribute(r#"{"boolValue": "true"}"#), "value.boolValue is a string, not a boolean"),
        (attribute(r#"{"bytesValue": "*"}"#), "value.bytesValue is not base64"),
        (attribute(r#"{"stringValue": 7}"#), "value.stringValue is a number, not a string"),
        (attribute("7"), "attributes.value is a number, not an object"),
        (r#"{"asInt": 1, "attributes": {}}"#.into(), "dataPoints.attributes is an object, not an array"),
        (r#"{"asDouble": "1e400"}"#.into(), "dataPoints.asDouble is \"1e400\", not a double"),
        (r#"{"asDouble": 1e400}"#.into(), "dataPoints.asDouble is \"1e400\", not a double"),
        (r#"{"asInt": 1, "flags": -1}"#.into(), "dataPoints.flags is \"-1\", not within its range"),
        (r#"{"asInt": 1, "timeUnixNano": ""}"#.into(), "dataPoints.timeUnixNano is \"\", not a whole number"),
        ("[]".into(), "dataPoints is an array, not an object"),
    ] {
        let decoded = decoded(&with_points(&format!("{good}, {damaged}, {good}")));
        assert_eq!((points(&typed(&decoded)), decoded.rejected), (2, 1), "{damaged}");
        let whole = format!("1 points of metric \"m\": {told}");
        let told_all = told.starts_with("dataPoints");
        let fits = if told_all { decoded.reason.starts_with(&whole) } else { decoded.reason.contains(told) };
        assert!(fits && decoded.reason.starts_with("1 points of metric \"m\": "), "{damaged}: {}", decoded.reason);
    }
}

#[test]
fn what_several_points_share_costs_those_points_only() {
    let point = r#"{"asInt": "1"}"#;
    let three = format!(r#""gauge": {{"dataPoints": [{point}, {point}, {point}]}}"#);
    let good = format!(r#"{{"name": "good", {three}}}"#);
    for (damaged, rejected, told) in [
        (format!(r#"{{"name": 7, {three}}}"#), 3, "metrics.name is a number"),
        (format!(r#"{{{three}, "unit": {{}}, "name": "late"}}"#), 3, "of metric \"late\": metrics.unit is an object"),
        (
            format!(r#"{{"name": "m", {three}, "sum": {{"dataPoints": [{point}]}}}}"#),
            1,
            "of metric \"m\": sum is one kind of",
        ),
        (
            format!(r#"{{"name": "m", "distribution": {{"dataPoints": [{point}, 7]}}}}"#),
            2,
            "distribution is no kind of data",
        ),
        (r#"{"name": "m", "gauge": 7}"#.into(), 1, "of metric \"m\": gauge is a number"),
        (r#"{"name": "m", "gauge": {"dataPoints": {}}}"#.into(), 1, "of metric \"m\": gauge.dataPoints is an object"),
        (
            format!(
                r#"{{"name": "m", "sum": {{"dataPoints": [{point}, {point}], "aggregationTemporality": "DELTA"}}}}"#
            ),
            2,
            "of metric \"m\": sum.aggregationTemporality is \"DELTA\"",
        ),
        ("7".into(), 1, "metrics is a number"),
        ("[]".into(), 1, "metrics is an array"),
    ] {
        let decoded = decoded(&with_metrics(&format!("{damaged}, {good}")));
        let request = typed(&decoded);
        assert_eq!(decoded.rejected, rejected, "{damaged}: {}", decoded.reason);
        assert_eq!(metrics(&request).filter(|metric| metric.name == "good").count(), 1, "{damaged}");
        assert!(decoded.reason.contains(told), "{damaged}: {}", decoded.reason);
    }
    // A resource and a scope: other resources and scopes stay.
    let group = |resource: &str, scope: &str| {
        format!(
            r#"{{"resource": {resource}, "scopeMetrics": [{{"scope": {scope}, "metrics": [{good}]}}, {{"metrics": [{good}]}}]}}"#
        )
    };
    let bad = r#"{"attributes": [{"key": "a", "value": {"doubleValue": "x"}}]}"#;
    for (resource, scope, stored, rejected) in
        [(bad, "{}", 6, 6), ("{}", bad, 9, 3), ("7", "[]", 6, 6), ("{}", "{}", 12, 0)]
    {
        let body = format!(r#"{{"resourceMetrics": [{}, {}]}}"#, group(resource, scope), group("{}", "{}"));
        let decoded = decoded(&body);
        assert_eq!(
            (points(&typed(&decoded)), decoded.rejected),
            (stored, rejected),
            "{resource} {scope} {}",
            decoded.reason
        );
    }
}

#[test]
fn what_is_not_kept_costs_nothing() {
    let body = with_metrics(
        r#"{"name": "m", "metadata": [7, {"key": "k"}], "gauge": {"dataPoints": [
            {"asInt": 1, "exemplars": [{"traceId": "xyz"}, {"spanId": "00000000000000AB", "asDouble": "NaN"}, 7]}]}}"#,
    );
    let decoded = decoded(&body);
    let request = typed(&decoded);
    assert_eq!((points(&request), decoded.rejected, decoded.reason.as_str()), (1, 0, ""));
    let metric = metrics(&request).next().unwrap();
    assert_eq!(metric.metadata.len(), 1);
    let Some(metric::Data::Gauge(gauge)) = &metric.data else { panic!("a gauge") };
    assert_eq!(gauge.data_points[0].exemplars.len(), 1);
    assert_eq!(gauge.data_points[0].exemplars[0].span_id, [0, 0, 0, 0, 0, 0, 0, 0xab]);
}

#[test]
fn unknown_fields_are_passed_over_with_a_word_when_they_hold_something() {
    let body = r#"{"resourceMetrics": [{"instrumentationLibraryMetrics": [{"metrics": [1]}], "later": [], "more": {"x": 1}}]}"#;
    let decoded = decoded(body);
    assert_eq!(
        (decoded.rejected, decoded.reason.as_str()),
        (0, "unknown fields were passed over: instrumentationLibraryMetrics")
    );
}

#[test]
fn text_is_mended() {
    let body =
        with_points(r#"{"asInt": 1, "attributes": [{"key": "half \ud83d", "value": {"stringValue": "bad !"}}]}"#);
    let mut bytes = body.into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'!').unwrap();
    bytes[at] = 0xff;
    let decoded = otlp_json(&bytes).unwrap();
    let request = typed(&decoded);
    let Some(metric::Data::Gauge(gauge)) = &metrics(&request).next().unwrap().data else { panic!("a gauge") };
    let attribute = &gauge.data_points[0].attributes[0];
    assert_eq!(attribute.key, "half \u{fffd}");
    assert_eq!(attribute.value, Some(AnyValue { value: Some(Any::StringValue("bad \u{fffd}".into())) }));
    assert_eq!(decoded.rejected, 0);
}

#[test]
fn deep_values_cost_their_point() {
    let nested = |levels: usize| {
        let (open, close) = (r#"{"arrayValue": {"values": ["#.repeat(levels), "]}}".repeat(levels));
        format!(r#"{{"asInt": 1, "attributes": [{{"key": "k", "value": {open}{{}}{close}}}]}}"#)
    };
    for (levels, taken) in [(1, true), (40, true), (60, false), (100_000, false)] {
        let decoded = decoded(&with_points(&format!("{}, {}", nested(levels), r#"{"asInt": 2}"#)));
        let expect = if taken { (2, 0) } else { (1, 1) };
        assert_eq!((points(&typed(&decoded)), decoded.rejected), expect, "{levels}");
        assert!(taken || decoded.reason.contains("is nested too deeply"), "{}", decoded.reason);
        assert!(decoded.reason.len() < 5_000, "{}", decoded.reason.len());
    }
}

#[test]
fn a_reason_is_short_whatever_is_sent() {
    let long = "x".repeat(1_000_000);
    let many: Vec<String> = (0..1_000).map(|at| format!(r#"{{"asDouble": "{at}{long:.2000}"}}"#)).collect();
    let decoded = decoded(&with_points(&many.join(",")));
    assert_eq!(decoded.rejected, 1_000);
    assert!(
        decoded.reason.len() < 2_000 && decoded.reason.contains("995 points for other reasons"),
        "{}",
        decoded.reason
    );
}
