//! The spellings that ProtoJSON has for a request.

use super::*;

/// Writes JSON, each thing in one of the ways that ProtoJSON has for it.
pub(super) struct Spell<'a>(pub(super) Draw<'a>);

impl Spell<'_> {
    /// An object of its fields, by both names; `None` is a value that need not be there.
    pub(super) fn object(&mut self, fields: Vec<(&str, &str, Option<String>)>) -> String {
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

    pub(super) fn list<T>(&mut self, of: &[T], mut each: impl FnMut(&mut Self, &T) -> String) -> Option<String> {
        if of.is_empty() && self.0.below(2) == 0 {
            return None;
        }
        let items: Vec<_> = of.iter().map(|item| each(self, item)).collect();
        Some(format!("[{}]", items.join(",")))
    }

    /// `None` for a value that is the type's default, sometimes.
    pub(super) fn unless_default(&mut self, is_default: bool, value: String) -> Option<String> {
        (!is_default || self.0.below(2) == 0).then_some(value)
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        if self.0.below(8) == 0 {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            return format!("\"{units}\"");
        }
        serde_json::to_string(text).unwrap()
    }

    pub(super) fn whole(&mut self, number: impl Into<i128>) -> String {
        let number = number.into();
        match self.0.below(6) {
            0 => format!("{number}.0"),
            1 if number % 10 == 0 => format!("{}e1", number / 10),
            2 => format!("\"{number}.00\""),
            3 => number.to_string(),
            _ => format!("\"{number}\""),
        }
    }

    pub(super) fn double(&mut self, number: f64) -> String {
        match number {
            _ if number.is_nan() => "\"NaN\"".to_owned(),
            f64::INFINITY => "\"Infinity\"".to_owned(),
            f64::NEG_INFINITY => "\"-Infinity\"".to_owned(),
            _ if self.0.below(3) == 0 => format!("\"{number:?}\""),
            _ => format!("{number:?}"),
        }
    }

    pub(super) fn time(&mut self, time: u64) -> Option<String> {
        let written = self.whole(time);
        self.unless_default(time == 0, written)
    }

    pub(super) fn flags(&mut self, flags: u32) -> Option<String> {
        let written = self.whole(flags);
        self.unless_default(flags == 0, written)
    }

    pub(super) fn string(&mut self, text: &str) -> Option<String> {
        let written = self.text(text);
        self.unless_default(text.is_empty(), written)
    }

    pub(super) fn any(&mut self, value: &AnyValue) -> String {
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

    pub(super) fn attribute(&mut self, attribute: &KeyValue) -> String {
        let fields = vec![
            ("key", "key", self.string(&attribute.key)),
            ("value", "value", attribute.value.as_ref().map(|value| self.any(value))),
            ("keyStrindex", "key_strindex", self.flags(attribute.key_strindex.unsigned_abs())),
        ];
        self.object(fields)
    }

    pub(super) fn attributes(&mut self, attributes: &[KeyValue]) -> Option<String> {
        self.list(attributes, Self::attribute)
    }

    pub(super) fn exemplars(&mut self, exemplars: &[Exemplar]) -> Option<String> {
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

    pub(super) fn number_point(&mut self, point: &NumberDataPoint) -> String {
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

    pub(super) fn histogram_point(&mut self, point: &HistogramDataPoint) -> String {
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

    pub(super) fn buckets(&mut self, buckets: &Buckets) -> String {
        let offset = self.whole(buckets.offset);
        let fields = vec![
            ("offset", "offset", self.unless_default(buckets.offset == 0, offset)),
            ("bucketCounts", "bucket_counts", self.list(&buckets.bucket_counts, |s, count| s.whole(*count))),
        ];
        self.object(fields)
    }

    pub(super) fn exponential_point(&mut self, point: &ExponentialHistogramDataPoint) -> String {
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

    pub(super) fn summary_point(&mut self, point: &SummaryDataPoint) -> String {
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

    pub(super) fn temporality(&mut self, number: i32) -> Option<String> {
        let name = ["UNSPECIFIED", "DELTA", "CUMULATIVE"][number as usize];
        let written = match self.0.below(3) {
            0 => format!("\"AGGREGATION_TEMPORALITY_{name}\""),
            1 => format!("\"{number}\""),
            _ => number.to_string(),
        };
        self.unless_default(number == 0, written)
    }

    pub(super) fn data(&mut self, data: &metric::Data) -> (&'static str, &'static str, Option<String>) {
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

    pub(super) fn metric(&mut self, metric: &Metric) -> String {
        let mut fields = vec![
            ("name", "name", self.string(&metric.name)),
            ("description", "description", self.string(&metric.description)),
            ("unit", "unit", self.string(&metric.unit)),
            ("metadata", "metadata", self.attributes(&metric.metadata)),
        ];
        fields.extend(metric.data.as_ref().map(|data| self.data(data)));
        self.object(fields)
    }

    pub(super) fn resource(&mut self, resource: &Resource) -> String {
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

    pub(super) fn scope_metrics(&mut self, of: &ScopeMetrics) -> String {
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

    pub(super) fn request(&mut self, request: &ExportMetricsServiceRequest) -> String {
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
