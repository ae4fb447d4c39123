//! The same outputs in both stores, and the same answers.

use super::server::server;
use crate::store::conformance::{NOON, seal};
use crate::store::{EmbeddedStore, StoreConfig};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::availability::{Interval, State};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, Partition, SeriesId, UnixNanos};
use vitals_core::series::{
    AgentDesc, AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesDesc, SeriesSpec, Shape,
};
use vitals_core::store::{Aggregation, AlertQuery, Checkpoint, EvaluationOutput, SampleQuery, Store, VerdictQuery};
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

const SECOND: i64 = UnixNanos::SECOND;
const SERIES: u32 = 8;
const AGENTS: u32 = 3;

/// Names that line protocol and Flux use for something else.
fn odd_name(n: u32) -> String {
    const ODD: [&str; 8] =
        ["plain", "a b,c=d", "trail\\", "\"q\" ${r}", "line\nend", "#hash", "ünï\u{1}", "back\\, slash"];
    ODD[n as usize % ODD.len()].to_owned()
}

fn describe() -> EvaluationOutput {
    let agents = (0..AGENTS).map(|id| {
        let tenant = if id < 2 { "t" } else { "other\\" };
        Arc::new(AgentDesc {
            id: AgentId(id),
            tenant: tenant.into(),
            key: odd_name(id + 1),
            first_seen: UnixNanos(1),
            profile: AgentProfile::default(),
        })
    });
    let resource: Arc<Attributes> =
        Arc::new(vec![("host.name".to_owned(), "h=1, 2".to_owned()), ("time".to_owned(), "now".to_owned())].into());
    let series = (0..SERIES).map(|id| {
        let spec = SeriesSpec {
            // Two series share each metric: one that counts in integers, and one that does not.
            metric: odd_name(id / 2),
            unit: "1".into(),
            kind: MetricKind::Custom,
            shape: Shape::Gauge,
            part: Part::Value,
            integer: id % 2 == 0,
            factor: 1.0,
            origin: if id == 7 { Origin::Derived { plugin: "rate".into(), from: SeriesId(1) } } else { Origin::Otlp },
            scope: Scope::named(odd_name(id + 3)),
            attributes: vec![("k,=".to_owned(), odd_name(id)), ("n".to_owned(), id.to_string())].into(),
            resource: resource.clone(),
        };
        Arc::new(SeriesDesc { id: SeriesId(id), agent: AgentId(id % AGENTS), spec })
    });
    EvaluationOutput { agents: agents.collect(), series: series.collect(), ..EvaluationOutput::default() }
}

fn evidence(plugin: &str) -> Arc<Evidence> {
    Arc::new(Evidence { plugin: plugin.into(), version: "1".into(), digest: "d \"x\"".into(), config: "c\\".into() })
}

fn verdict(agent: u32, time: i64, which: u8) -> Verdict {
    let (plugin, body) = match which % 4 {
        0 => (
            "health score",
            VerdictBody::Health(AgentHealth {
                score: f64::from(which),
                status: HealthStatus::Degraded,
                reasons: vec!["a, \"b\"\nc".into(), "d".into()],
                recommendations: vec![],
            }),
        ),
        1 | 2 => (
            "iqr",
            VerdictBody::Outlier(OutlierVerdict {
                series: SeriesId(u32::from(which) % SERIES),
                value: f64::from(which),
                lower: f64::NEG_INFINITY,
                upper: 0.5,
                score: f64::INFINITY,
                window: 10,
            }),
        ),
        _ => (
            "sla,=",
            VerdictBody::Sla(SlaVerdict {
                target: 99.9,
                availability: 99.0,
                budget_left: -9.0,
                burn: [1.0, 2.0, f64::from(which)],
                risk: Risk::Breached,
            }),
        ),
    };
    let tenant = if agent < 2 { "t" } else { "other\\" };
    Verdict { tenant: tenant.into(), agent: AgentId(agent), time: UnixNanos(time), evidence: evidence(plugin), body }
}

#[derive(Clone, Debug)]
enum Step {
    Samples(Vec<(u32, i64, f64)>),
    Verdicts(Vec<(u32, i64, u8)>),
    Interval(u32, i64, Option<i64>),
    Alert(u32, i64, Option<i64>),
    Seal,
    /// Until everything is sent.
    Settle,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000_i32..1000).prop_map(f64::from),
        2 => (-1e6_f64..1e6).prop_map(|value| (value * 1000.0).round() / 1000.0),
        1 => prop_oneof![Just(-0.0), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(9_007_199_254_740_993.0), Just(1e300)],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let time = || (0_i64..120).prop_map(|n| NOON + n * SECOND / 2);
    prop_oneof![
        6 => proptest::collection::vec((0..SERIES, time(), value()), 1..30).prop_map(Step::Samples),
        2 => proptest::collection::vec((0..AGENTS, time(), any::<u8>()), 1..6).prop_map(Step::Verdicts),
        1 => (0..AGENTS, time(), proptest::option::of(time())).prop_map(|(agent, start, end)| Step::Interval(agent, start, end)),
        1 => (0..AGENTS, time(), proptest::option::of(time())).prop_map(|(agent, start, end)| Step::Alert(agent, start, end)),
        3 => Just(Step::Seal),
        2 => Just(Step::Settle),
    ]
}

fn settle(store: &dyn Store) {
    let started = std::time::Instant::now();
    while store.outbox().is_some_and(|outbox| outbox.bytes > 0) {
        assert!(started.elapsed().as_secs() < 30, "{:?}", store.outbox());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn output(step: &Step) -> EvaluationOutput {
    match step {
        Step::Samples(rows) => {
            let once: BTreeMap<_, _> = rows.iter().map(|(series, time, value)| ((*series, *time), *value)).collect();
            let mut columns = Columns::default();
            once.iter().for_each(|((series, time), value)| columns.push(SeriesId(*series), UnixNanos(*time), *value));
            EvaluationOutput { samples: vec![Arc::new(columns)], ..EvaluationOutput::default() }
        }
        Step::Verdicts(some) => {
            let verdicts = some.iter().map(|(agent, time, which)| verdict(*agent, *time, *which)).collect();
            EvaluationOutput { verdicts, ..EvaluationOutput::default() }
        }
        Step::Interval(agent, start, end) => {
            let end = end.filter(|end| end > start).map(UnixNanos);
            let interval = Interval { start: UnixNanos(*start), end, state: State::Silent };
            EvaluationOutput { intervals: vec![(AgentId(*agent), interval)], ..EvaluationOutput::default() }
        }
        Step::Alert(agent, start, resolved) => {
            let tenant = if *agent < 2 { "t" } else { "other\\" };
            let alert = Alert {
                id: format!("{:032x}", start + i64::from(*agent)),
                tenant: tenant.into(),
                agent: AgentId(*agent),
                severity: Severity::Critical,
                message: "\"m\", \\".into(),
                source: "threshold:cpu usage".into(),
                series: None,
                started: UnixNanos(*start),
                resolved: resolved.map(UnixNanos),
                acknowledged: resolved.map(|at| ("me".into(), UnixNanos(at))),
                handling: vitals_core::alert_command::Handling::default(),
            };
            EvaluationOutput { alerts: vec![alert], ..EvaluationOutput::default() }
        }
        Step::Seal | Step::Settle => EvaluationOutput::default(),
    }
}

/// Both answers, the same but for the last bits of a mean, which depend on the order of adding up.
fn compare(one: &dyn Store, other: &dyn Store, (from, to, step): (i64, i64, i64)) {
    use Aggregation::{Count, Last, Max, Mean, Min, P95};
    let (start, end) = (UnixNanos(NOON + from), UnixNanos(NOON + to));
    for series in (0..SERIES).map(SeriesId) {
        for how in [None, Some(Min), Some(Max), Some(Mean), Some(Count), Some(Last), Some(P95)] {
            let step = how.map(|how| (step, how));
            let query = SampleQuery { series, start, end, step, limit: 1000 };
            let (a, b) = (one.samples(&query).unwrap(), other.samples(&query).unwrap());
            let same = |(a, b): (&(UnixNanos, f64), &(UnixNanos, f64))| {
                let close = how == Some(Mean) && (a.1 - b.1).abs() <= 1e-9 * a.1.abs().max(1.0);
                a.0 == b.0 && (close || a.1.to_bits() == b.1.to_bits())
            };
            assert!(a.len() == b.len() && a.iter().zip(&b).all(same), "{query:?}\n{a:?}\n{b:?}");
            if let Some(fewer) = a.len().checked_sub(1) {
                let query = SampleQuery { limit: fewer, ..query };
                assert_eq!(one.samples(&query), other.samples(&query), "{query:?}");
            }
        }
    }
    for tenant in ["t", "other\\", "nobody"] {
        let tenant = || tenant.into();
        for agents in [None, Some(vec![AgentId(0)]), Some(vec![AgentId(1), AgentId(2)]), Some(vec![])] {
            for (kind, limit) in [(None, 3), (None, 1000), (Some("outlier"), 2), (Some("sla"), 1000)] {
                let query =
                    VerdictQuery { agents: agents.clone(), kind, start, end, limit, ..VerdictQuery::of(tenant()) };
                assert_eq!(one.verdicts(&query).unwrap(), other.verdicts(&query).unwrap(), "{query:?}");
            }
            for resolved in [None, Some(false), Some(true)] {
                let query =
                    AlertQuery { agents: agents.clone(), resolved, start, end, limit: 2, ..AlertQuery::of(tenant()) };
                assert_eq!(one.alerts(&query).unwrap(), other.alerts(&query).unwrap(), "{query:?}");
            }
        }
    }
    for agent in (0..AGENTS).map(AgentId) {
        assert_eq!(one.intervals(agent, start, end).unwrap(), other.intervals(agent, start, end).unwrap());
    }
}

#[test]
fn both_stores_give_the_same_answers() {
    let Some(server) = server() else { return };
    let ranges = proptest::collection::vec((0_i64..40, 1_i64..40, 1_i64..20), 1..3);
    let config = ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..25), ranges in ranges)| {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let embedded = EmbeddedStore::open(&here.path().join("store.db"), &StoreConfig::default()).unwrap();
        let influx = server.open(there.path());
        for store in [&embedded as &dyn Store, &*influx] {
            store.write(Partition(0), describe());
            for step in &steps {
                store.write(Partition(0), output(step));
                if matches!(step, Step::Seal | Step::Settle) {
                    seal(store, Partition(0), Checkpoint::default());
                }
                if matches!(step, Step::Settle) {
                    settle(store);
                }
            }
        }
        for (from, length, step) in ranges {
            let (from, to) = (from * SECOND * 3 / 2 + 7, (from + length) * SECOND * 3 / 2 + 7);
            compare(&embedded, &*influx, (from, to, step * SECOND + 3));
        }
    });
}
