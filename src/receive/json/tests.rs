//! JSON of generated requests reads as what protobuf has, however it is spelled; and what is damaged is counted.

mod draw;
mod spell;

use super::{Decoded, NotOtlpJson};
use draw::Draw;
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
use spell::Spell;

/// Reads without bounds.
fn otlp_json(body: &[u8]) -> Result<Decoded, NotOtlpJson> {
    super::otlp_json(body, usize::MAX / 4, &mut |_| true)
}

/// Bodies whose reading takes more memory than they have bytes.
fn larger_as_protobuf() -> Vec<Vec<u8>> {
    let zeros = "0,".repeat(200_000) + "0";
    let metric = |data: &str| format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{data}]}}]}}]}}"#);
    let broken = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":""#;
    vec![
        metric(&format!(r#"{{"histogram":{{"dataPoints":[{{"bucketCounts":[{zeros}]}}]}}}}"#)).into_bytes(),
        metric(&format!(r#"{{"histogram":{{"dataPoints":[{{"explicitBounds":[{zeros}]}}]}}}}"#)).into_bytes(),
        // Each byte that is not UTF-8 becomes three.
        [&broken[..], &vec![0xff; 400_000], br#""}]}]}]}"#].concat(),
    ]
}

#[test]
fn memory_is_asked_for_before_it_is_used() {
    for body in larger_as_protobuf() {
        let mut most = 0;
        let decoded = super::otlp_json(&body, 8 << 20, &mut |bytes| {
            most = most.max(bytes);
            true
        });
        let decoded = decoded.unwrap();
        assert!(decoded.bytes.len() > body.len(), "{} of {}", decoded.bytes.len(), body.len());
        assert!(most >= decoded.bytes.capacity(), "{most} of {}", decoded.bytes.capacity());
        // No more than is allowed, of which it was told at once.
        let mut last = 0;
        let refused = super::otlp_json(&body, 8 << 20, &mut |bytes| {
            last = bytes;
            bytes < 1 << 20
        });
        assert!(matches!(refused, Err(NotOtlpJson::NoMemory)), "{refused:?}");
        assert!(last < 4 << 20, "{last}");
        let refused = super::otlp_json(&body, 1 << 20, &mut |_| true);
        assert!(matches!(refused, Err(NotOtlpJson::TooLarge)), "{refused:?}");
        let size = decoded.bytes.len();
        assert_eq!(super::otlp_json(&body, size, &mut |_| true).unwrap().bytes.len(), size, "at the limit");
    }
}

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
