//! Requests with one thing that is special, and what is told of it.

use super::*;

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

fn taken(request: &ExportMetricsServiceRequest) -> super::super::Normalized {
    let (_, normalizer) = normalizer(Quota { series: 2, agents: 2, ..Quota::default() });
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

/// A request with points of one kind only, for the host `h`.
fn only(data: metric::Data) -> ExportMetricsServiceRequest {
    let mut request = gauge(Vec::new());
    request.resource_metrics[0].scope_metrics[0].metrics[0].data = Some(data);
    request
}

#[test]
fn an_agent_past_its_quota_is_told_and_others_are_taken() {
    let (registry, normalizer) = normalizer(Quota { series_per_agent: 2, ..Quota::default() });
    let of = |host: &str, values: &[&str]| {
        let points = values.iter().map(|at| NumberDataPoint { attributes: vec![attribute("at", at)], ..good(1.0) });
        let mut request = gauge(points.collect());
        request.resource_metrics[0].resource =
            Some(Resource { attributes: vec![attribute("host.name", host)], ..Resource::default() });
        normalizer.otlp(&TenantId::default_tenant(), "sender", UnixNanos(NOW), &request.encode_to_vec()).unwrap()
    };
    let greedy = of("greedy", &["1", "2", "3", "4"]);
    assert_eq!(greedy.rejected, 2);
    assert!(greedy.reason.contains("past the agent's limit"), "{}", greedy.reason);
    assert_eq!(of("greedy", &["2", "5"]).rejected, 1, "known ones are taken");
    assert_eq!(of("other", &["1", "2"]).rejected, 0);
    let id = registry.agent_by_key(&TenantId::default_tenant(), "greedy").unwrap().id;
    assert_eq!((registry.series_use(id).series, registry.series_use(id).limit), (2, 2));
}

#[test]
fn points_with_too_many_numbers_are_rejected_alone() {
    let (many, enough) = (20_000, 100);
    let time_unix_nano = NOW as u64;
    let explicit = |buckets: usize| HistogramDataPoint {
        time_unix_nano,
        bucket_counts: vec![1; buckets + 1],
        explicit_bounds: (0..buckets).map(|at| at as f64).collect(),
        ..HistogramDataPoint::default()
    };
    let side = |counts: usize| Some(Buckets { offset: 0, bucket_counts: vec![1; counts] });
    let exponential = |positive, negative| ExponentialHistogramDataPoint {
        time_unix_nano,
        positive: side(positive),
        negative: side(negative),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = ValueAtQuantile { quantile: 0.5, value: 1.0 };
    let summary = |quantiles| SummaryDataPoint {
        time_unix_nano,
        quantile_values: vec![quantile; quantiles],
        ..SummaryDataPoint::default()
    };
    for (name, request, rejected) in [
        (
            "explicit",
            only(metric::Data::Histogram(Histogram {
                data_points: vec![explicit(many), explicit(enough)],
                aggregation_temporality: 2,
            })),
            1,
        ),
        (
            "exponential",
            only(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential(many, 0), exponential(enough, enough), exponential(0, many)],
                aggregation_temporality: 2,
            })),
            2,
        ),
        ("summary", only(metric::Data::Summary(Summary { data_points: vec![summary(many), summary(1)] })), 1),
    ] {
        let (_, normalizer) = normalizer(Quota::default());
        let tenant = TenantId::default_tenant();
        let normalized = normalizer.otlp(&tenant, "sender", UnixNanos(NOW), &request.encode_to_vec()).unwrap();
        assert_eq!(normalized.rejected, rejected, "{name}");
        assert!(normalized.reason.contains("buckets or quantiles"), "{name}: {}", normalized.reason);
        assert!(!normalized.batches[0].1.columns.is_empty(), "{name}: the other point is taken");
    }
}

#[test]
fn memory_is_asked_for_before_a_request_becomes_rows_and_series() {
    let caller = Caller::anonymous();
    let known = gauge((0..100_000).map(|at| good(f64::from(at))).collect()).encode_to_vec();
    let new = (0..20_000).map(|at| NumberDataPoint { attributes: vec![attribute("at", &at.to_string())], ..good(1.0) });
    let new = gauge(new.collect()).encode_to_vec();
    for (name, bytes, least) in [("rows", known, 100_000 * 20), ("series", new, 20_000 * 500)] {
        let (registry, normalizer) = normalizer(Quota::default());
        let mut asked = 0;
        let refused = normalizer.otlp_as(&caller, "sender", UnixNanos(NOW), &bytes, &mut |bytes| {
            asked = bytes;
            bytes < 1 << 20
        });
        assert!(matches!(refused, Err(super::super::NormalizeError::NoMemory)), "{name}");
        assert!(asked < 2 << 20, "{name}: {asked}");
        assert_eq!(registry.series_count(), 0, "{name}: nothing is taken");
        let mut asked = 0;
        let taken = normalizer.otlp_as(&caller, "sender", UnixNanos(NOW), &bytes, &mut |bytes| {
            asked = bytes;
            true
        });
        assert_eq!(taken.unwrap().rejected, 0, "{name}");
        assert!((least..4 * least).contains(&asked), "{name}: {asked}");
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
    let refused = normalizer.otlp_as(&caller("web-*"), "sender", UnixNanos(NOW), &bytes, &mut |_| true).unwrap();
    assert_eq!((refused.rejected, refused.batches.len()), (1, 0));
    assert!(registry.agents_of(&tenant).is_empty());
    let taken = normalizer.otlp_as(&caller("h"), "sender", UnixNanos(NOW), &bytes, &mut |_| true).unwrap();
    assert_eq!(taken.rejected, 0);
    let again = normalizer.otlp_as(&caller("web-*"), "sender", UnixNanos(NOW), &bytes, &mut |_| true).unwrap();
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
    let example = include_bytes!("../../../tests/data/otlp-examples/metrics.json");
    let request: ExportMetricsServiceRequest = serde_json::from_slice(example).unwrap();
    agree(&request.encode_to_vec());
}
