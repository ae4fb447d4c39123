//! What is written: a table, a golden file, and whatever a strict reader makes of anything.

use crate::store::influx::findings;
use crate::store::influx::layout::Place;
use crate::store::influx::line::{self, Row, Times};
use crate::store::influx::names::Names;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::availability::{Interval, State};
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::series::{
    AgentDesc, AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesDesc, SeriesSpec, Shape,
};
use vitals_core::store::Catalogue;
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

const TIME: i64 = 1_764_000_000_123_456_789;

fn spec(metric: &str, shape: Shape, part: Part) -> SeriesSpec {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    SeriesSpec {
        metric: metric.into(),
        unit: "1".into(),
        kind: MetricKind::Custom,
        shape,
        part,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Scope::named("hostmetrics"),
        attributes: vec![pair("cpu", "cpu0"), pair("state", "user")].into(),
        resource: Arc::new(vec![pair("host.name", "web-1"), pair("state", "overlaid")].into()),
    }
}

fn names(specs: Vec<SeriesSpec>) -> Names {
    let agent = AgentDesc {
        id: AgentId(0),
        tenant: "default".into(),
        key: "web-1".into(),
        first_seen: UnixNanos(0),
        profile: AgentProfile::default(),
    };
    let series =
        specs.into_iter().zip(0..).map(|(spec, id)| Arc::new(SeriesDesc { id: SeriesId(id), agent: AgentId(0), spec }));
    Names::new(Catalogue { agents: vec![Arc::new(agent)], series: series.collect(), ..Catalogue::default() })
}

/// A line of a series, in a column that holds integers or does not.
fn written(spec: SeriesSpec, integers: bool, value: f64) -> Option<String> {
    let head = Place::of(&names(vec![spec]), 0).head(integers);
    let mut out = Vec::new();
    (line::row(&mut out, &head, true, &mut Times::new(), TIME, value) == Row::Written)
        .then(|| String::from_utf8(out).unwrap())
}

#[test]
fn names_and_values() {
    let gauge = || spec("m", Shape::Gauge, Part::Value);
    let whole = || SeriesSpec { integer: true, ..gauge() };
    // The field's name, its value, and which column it went to.
    for (spec, integers, value, expect) in [
        (gauge(), false, 1.5, "gauge=1.5"),
        (gauge(), false, -0.0, "gauge=-0.0"),
        (gauge(), false, 1e300, "gauge=1e+300"),
        (gauge(), false, 5e-324, "gauge=5e-324"),
        (gauge(), true, 2.0, "gauge_float=2.0"),
        (whole(), true, 2.0, "gauge=2i"),
        (whole(), true, -3.0, "gauge=-3i"),
        (whole(), true, 9_007_199_254_740_992.0, "gauge=9007199254740992i"),
        (whole(), true, 9_007_199_254_740_994.0, "gauge_float=9007199254740994.0"),
        (whole(), true, 0.5, "gauge_float=0.5"),
        (whole(), true, -0.0, "gauge_float=-0.0"),
        (whole(), false, 2.0, "gauge=2.0"),
        (spec("m", Shape::Cumulative { monotonic: true }, Part::Value), false, 1.0, "counter=1.0"),
        (spec("m", Shape::Delta { monotonic: true }, Part::Value), false, 1.0, "counter=1.0"),
        (spec("m", Shape::Cumulative { monotonic: false }, Part::Value), false, 1.0, "gauge=1.0"),
        (spec("m", Shape::Cumulative { monotonic: true }, Part::Count), false, 1.0, "count=1.0"),
        (spec("m", Shape::Gauge, Part::Sum), false, 1.0, "sum=1.0"),
        (spec("m", Shape::Gauge, Part::Min), false, 1.0, "min=1.0"),
        (spec("m", Shape::Gauge, Part::Max), false, 1.0, "max=1.0"),
        (spec("m", Shape::Gauge, Part::Bucket(0.005)), false, 1.0, "0.005=1.0"),
        (spec("m", Shape::Gauge, Part::Bucket(10.0)), false, 1.0, "10=1.0"),
        (spec("m", Shape::Gauge, Part::Quantile(0.95)), false, 1.0, "0.95=1.0"),
    ] {
        let line = written(spec, integers, value).unwrap();
        assert_eq!(line.rsplit(' ').nth(1), Some(expect), "{line}");
    }
    assert!(!Place::of(&names(vec![SeriesSpec { factor: 100.0, ..whole() }]), 0).integer, "scaled values are none");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(written(gauge(), false, value), None);
    }
}

#[test]
fn what_has_to_be_escaped_or_replaced() {
    for (metric, expect) in [
        ("a b,c=d", r"a\ b\,c=d"),
        ("trail\\\\", "trail"),
        ("#comment", "_#comment"),
        ("\\", "_"),
        ("l\n\r\t\0x", "l\\n\\r\\t\u{FFFD}x"),
        ("back\\slash", r"back\slash"),
    ] {
        let line = written(spec(metric, Shape::Gauge, Part::Value), false, 1.0).unwrap();
        assert!(line.starts_with(&format!("{expect},")), "{line}");
    }
    for (key, value, expect) in [
        ("a b", "c,d=e f", r",a\ b=c\,d\=e\ f,"),
        ("k=,", "\"q\"", r#",k\=\,="q","#),
        ("time", "x", ",time_=x,"),
        ("_field", "x", ",_field_=x,"),
        ("vitals_series", "x", ",vitals_series_=x,"),
        ("end\\", "v\\", ",end=v,"),
    ] {
        let mut spec = spec("m", Shape::Gauge, Part::Value);
        spec.attributes = vec![(key.into(), value.into())].into();
        let line = written(spec, false, 1.0).unwrap();
        assert!(line.contains(expect), "{line}");
    }
    for (key, value) in [("k", ""), ("k", "\\"), ("", "v")] {
        let mut spec = spec("m", Shape::Gauge, Part::Value);
        spec.attributes = vec![(key.into(), value.into())].into();
        let line = written(spec, false, 1.0).unwrap();
        assert!(
            line.starts_with("m,host.name=web-1,otel.library.name=hostmetrics,state=overlaid,vitals_agent="),
            "{line}"
        );
    }
}

#[test]
fn keys_too_long_for_influxdb_lose_their_tags_not_their_series() {
    let mut long = spec("m", Shape::Gauge, Part::Value);
    long.attributes = vec![("k".into(), "v ".repeat(30_000))].into();
    let line = written(long.clone(), false, 1.0).unwrap();
    let digest = Place::of(&names(vec![long]), 0).digest;
    let expect = format!("m,vitals_agent=web-1,vitals_series={digest},vitals_tenant=default gauge=1.0 {TIME}\n");
    assert_eq!(line, expect);
}

#[test]
fn series_that_differ_in_anything_are_apart_and_points_are_together() {
    let base = || spec("m", Shape::Cumulative { monotonic: true }, Part::Count);
    let digest = |spec: SeriesSpec| Place::of(&names(vec![spec]), 0).digest;
    for part in [Part::Sum, Part::Min, Part::Bucket(0.5)] {
        assert_eq!(digest(SeriesSpec { part, ..base() }), digest(base()), "numbers of one point");
    }
    let scope = |version: &str, attributes| {
        let scope = Scope { version: version.to_owned(), attributes, ..(*base().scope).clone() };
        SeriesSpec { scope: Arc::new(scope), ..base() }
    };
    let others = [
        SeriesSpec { metric: "n".into(), ..base() },
        SeriesSpec { unit: "s".into(), ..base() },
        SeriesSpec { scope: Scope::named("other"), ..base() },
        scope("1", Attributes::default()),
        scope("", vec![("k".to_owned(), "1".to_owned())].into()),
        scope("", Attributes::new(vec![("k".to_owned(), "1".to_owned())], "i", 0)),
        SeriesSpec { attributes: Attributes::new(base().attributes.to_vec(), "si", 0), ..base() },
        SeriesSpec { attributes: Attributes::new(base().attributes.to_vec(), "", 7), ..base() },
        SeriesSpec { resource: Arc::new(Attributes::new(base().resource.to_vec(), "bs", 0)), ..base() },
        SeriesSpec { shape: Shape::Gauge, ..base() },
        SeriesSpec { origin: Origin::Rest, ..base() },
        SeriesSpec { origin: Origin::Derived { plugin: "rate".into(), from: SeriesId(9) }, ..base() },
        SeriesSpec { attributes: Attributes::default(), ..base() },
        SeriesSpec { resource: Arc::default(), ..base() },
        // A quantile has the name that a bucket with this bound has.
        SeriesSpec { part: Part::Quantile(0.5), ..base() },
    ];
    let mut all: Vec<_> = others.into_iter().chain([base()]).map(digest).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16);
}

fn acknowledged_alert() -> Alert {
    Alert {
        id: "0123456789abcdef0123456789abcdef".into(),
        tenant: "default".into(),
        agent: AgentId(0),
        severity: Severity::Critical,
        message: "cpu_usage is 97.0, \"critical\" from 95.0".into(),
        source: "threshold:cpu_usage".into(),
        series: None,
        started: UnixNanos(TIME),
        resolved: None,
        acknowledged: Some(("ops@example.com".into(), UnixNanos(TIME))),
        handling: vitals_core::alert_command::Handling::default(),
    }
}

/// `VITALS_BLESS=1` writes the file instead.
#[test]
fn the_layout_is_the_golden_one() {
    let counter =
        SeriesSpec { integer: true, ..spec("system.cpu.time", Shape::Cumulative { monotonic: true }, Part::Value) };
    let histogram = |part| spec("http.server.request.duration", Shape::Cumulative { monotonic: true }, part);
    let rate = Origin::Derived { plugin: "rate".into(), from: SeriesId(1) };
    let specs = vec![
        spec("system.cpu.utilization", Shape::Gauge, Part::Value),
        counter,
        histogram(Part::Count),
        histogram(Part::Bucket(0.25)),
        SeriesSpec { origin: rate, ..spec("system.cpu.time.rate", Shape::Gauge, Part::Value) },
    ];
    let count = specs.len() as u32;
    let names = names(specs);
    let mut out = Vec::new();
    for series in 0..count {
        let place = Place::of(&names, series);
        line::row(&mut out, &place.head(place.integer), false, &mut Times::new(), TIME, 42.0);
    }
    let evidence = Arc::new(Evidence {
        plugin: "iqr-outlier".into(),
        version: "0.1.0".into(),
        digest: "85442d".into(),
        config: "44136f".into(),
    });
    let verdict = |body| Verdict {
        tenant: "default".into(),
        agent: AgentId(0),
        time: UnixNanos(TIME),
        evidence: evidence.clone(),
        body,
    };
    let (status, risk) = (HealthStatus::Degraded, Risk::High);
    let reasons = vec!["CPU 97.0 % > 95 %: -30".to_owned(), "\"disk\" full".to_owned()];
    for body in [
        VerdictBody::Health(AgentHealth { score: 70.0, status, reasons, recommendations: vec![] }),
        VerdictBody::Outlier(OutlierVerdict {
            series: SeriesId(0),
            value: 9.5,
            lower: 1.0,
            upper: 2.5,
            score: f64::INFINITY,
            window: 100,
        }),
        VerdictBody::Sla(SlaVerdict {
            target: 99.9,
            availability: f64::NAN,
            budget_left: 0.25,
            burn: [1.0, 2.0, f64::NAN],
            risk,
        }),
    ] {
        let verdict = verdict(body);
        let from = out.len();
        findings::verdict(&mut out, &names, &verdict).unwrap();
        let text = String::from_utf8(out[from..].to_vec()).unwrap();
        let body = text.split("body=\"").nth(1).unwrap().split('"').next().unwrap();
        // NaN is not equal to itself.
        assert_eq!(format!("{:?}", findings::read_verdict(body).unwrap()), format!("{verdict:?}"));
    }
    let (start, end) = (UnixNanos(TIME), Some(UnixNanos(TIME + 90 * UnixNanos::SECOND)));
    findings::interval(&mut out, &names, AgentId(0), &Interval { start, end, state: State::Silent });
    findings::alert(&mut out, &names, &acknowledged_alert());
    let text = String::from_utf8(out).unwrap();
    let path = format!("{}/tests/golden/line-protocol.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VITALS_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the layout changed; look at it, then run with VITALS_BLESS=1\n{text}");
}

/// A line as a strict reader sees it.
#[derive(Debug, PartialEq)]
struct Parsed {
    measurement: String,
    tags: BTreeMap<String, String>,
    field: String,
    value: String,
    time: i64,
}

/// Reads up to one of `ends` that is not escaped; only what is in `special` can be.
fn token(text: &mut &str, special: &str, ends: &str) -> Option<(String, char)> {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some((_, next))) if special.contains(*next) => {
                out.push(*next);
                chars.next();
            }
            (c, _) if ends.contains(c) => {
                *text = &text[at + c.len_utf8()..];
                return Some((out, c));
            }
            (c, _) if c.is_control() => return None,
            (c, _) => out.push(c),
        }
    }
    None
}

fn parse(line: &str) -> Option<Parsed> {
    let mut rest = line.strip_suffix('\n')?;
    if rest.starts_with('#') {
        return None;
    }
    let (measurement, mut end) = token(&mut rest, ", ", ", ")?;
    let mut tags = BTreeMap::new();
    while end == ',' {
        let (key, _) = token(&mut rest, ",= ", "=")?;
        let (value, after) = token(&mut rest, ",= ", ", ")?;
        if key.is_empty() || value.is_empty() || tags.insert(key, value).is_some() {
            return None;
        }
        end = after;
    }
    let (field, _) = token(&mut rest, ",= ", "=")?;
    let (value, time) = rest.split_once(' ')?;
    Some(Parsed { measurement, tags, field, value: value.into(), time: time.parse().ok()? })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-z._]{1,12}",
        2 => proptest::collection::vec(
            prop_oneof![Just('\\'), Just(','), Just('='), Just(' '), Just('"'), Just('\n'), Just('#'), Just('a'), any::<char>()],
            0..12
        ).prop_map(|chars| chars.into_iter().collect()),
    ]
}

proptest! {
    #[test]
    fn a_strict_reader_finds_one_line_with_all_that_was_said(
        metric in text(),
        attributes in proptest::collection::btree_map(text(), text(), 0..5),
        resource in proptest::collection::btree_map(text(), text(), 0..5),
        scope in text(),
        value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        integer in any::<bool>(),
        time in line::EARLIEST..line::LATEST,
    ) {
        let attributes: Attributes = attributes.into_iter().collect();
        let resource = Arc::new(resource.into_iter().collect::<Attributes>());
        let spec = SeriesSpec { integer, scope: Scope::named(scope), attributes, resource, ..spec(&metric, Shape::Gauge, Part::Value) };
        let place = Place::of(&names(vec![spec.clone()]), 0);
        let mut out = Vec::new();
        let became = line::row(&mut out, &place.head(place.integer), true, &mut Times::new(), time, value);
        prop_assert_eq!(became, Row::Written);
        let line = String::from_utf8(out).unwrap();
        let parsed = parse(&line);
        prop_assert!(parsed.is_some(), "{line:?}");
        let parsed = parsed.unwrap();
        prop_assert_eq!(&parsed.measurement, &place.measurement);
        prop_assert_eq!(parsed.measurement, line::measurement_name(&metric).into_owned());
        prop_assert_eq!(parsed.time, time);
        let number: f64 = parsed.value.trim_end_matches('i').parse().unwrap();
        prop_assert_eq!(number.to_bits(), value.to_bits());
        prop_assert_eq!(parsed.field == "gauge_float", integer && !parsed.value.ends_with('i'));
        for (key, value) in spec.attributes.iter() {
            let (key, value) = (line::clean(key), line::clean(value));
            // One that is cleaned to the same key as another gives way to it.
            let twice = spec.attributes.iter().filter(|(other, _)| line::clean(other) == key).count() > 1;
            if !key.is_empty() && !value.is_empty() && !twice {
                prop_assert_eq!(parsed.tags.get(&*key), Some(&value.into_owned()));
            }
        }
        for added in ["vitals_agent", "vitals_series", "vitals_tenant"] {
            prop_assert!(parsed.tags.contains_key(added));
        }
    }
}
