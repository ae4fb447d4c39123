//! What the suite writes to a store, and how it reads it.

use super::*;
use vitals_core::alert_command::Handling;

pub(in crate::store) fn rows(rows: &[(u32, i64, f64)]) -> EvaluationOutput {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|row| (row.0, row.1));
    let mut columns = Columns::default();
    for (series, time, value) in sorted {
        columns.push(SeriesId(series), UnixNanos(time), value);
    }
    EvaluationOutput { samples: vec![Arc::new(columns)], ..EvaluationOutput::default() }
}

pub(in crate::store) fn seal(store: &dyn Store, partition: Partition, checkpoint: Checkpoint) {
    let (sender, done) = crossbeam_channel::bounded(1);
    store.seal(partition, checkpoint, Box::new(move || sender.send(()).unwrap()));
    done.recv_timeout(Duration::from_secs(30)).expect("a seal ends");
}

pub(in crate::store) fn raw(store: &dyn Store, series: u32) -> Vec<(i64, u64)> {
    let query = SampleQuery {
        series: SeriesId(series),
        start: UnixNanos(i64::MIN),
        end: UnixNanos(i64::MAX),
        step: None,
        limit: usize::MAX,
    };
    store.samples(&query).unwrap().into_iter().map(|(time, value)| (time.0, value.to_bits())).collect()
}

pub(super) fn stepped(store: &dyn Store, start: i64, end: i64, step: i64, how: Aggregation) -> Vec<(i64, f64)> {
    let query = SampleQuery {
        series: SeriesId(1),
        start: UnixNanos(start),
        end: UnixNanos(end),
        step: Some((step, how)),
        limit: 1000,
    };
    store.samples(&query).unwrap().into_iter().map(|(time, value)| (time.0, value)).collect()
}

pub(super) fn verdict(agent: u32, time: i64, plugin: &str, body: VerdictBody) -> Verdict {
    let evidence = Evidence { plugin: plugin.into(), version: "1".into(), digest: "d".into(), config: "c".into() };
    Verdict { tenant: "t".into(), agent: AgentId(agent), time: UnixNanos(time), evidence: Arc::new(evidence), body }
}

pub(super) fn health(score: f64) -> VerdictBody {
    VerdictBody::Health(AgentHealth {
        score,
        status: HealthStatus::Degraded,
        reasons: vec!["r".into()],
        recommendations: vec![],
    })
}

pub(super) fn outlier(series: u32) -> VerdictBody {
    let series = SeriesId(series);
    VerdictBody::Outlier(OutlierVerdict {
        series,
        value: 1.0,
        lower: 0.0,
        upper: 0.5,
        score: f64::INFINITY,
        window: 10,
    })
}

pub(super) fn sla() -> VerdictBody {
    VerdictBody::Sla(SlaVerdict {
        target: 99.9,
        availability: 99.0,
        budget_left: -9.0,
        burn: [1.0, 2.0, 3.0],
        risk: Risk::Breached,
    })
}

pub(super) fn alert(id: u32, started: i64, resolved: Option<i64>) -> Alert {
    Alert {
        id: format!("{id:032x}"),
        tenant: "t".into(),
        agent: AgentId(id % 3),
        severity: Severity::Critical,
        message: "m".into(),
        source: "health".into(),
        series: None,
        started: UnixNanos(started),
        resolved: resolved.map(UnixNanos),
        acknowledged: None,
        handling: Handling::default(),
    }
}

pub(super) fn agent(id: u32, name: &str) -> Arc<AgentDesc> {
    let profile = AgentProfile { name: Some(name.into()), ..AgentProfile::default() };
    Arc::new(AgentDesc {
        id: AgentId(id),
        tenant: "t".into(),
        key: format!("a{id}"),
        first_seen: UnixNanos(1),
        profile,
    })
}

pub(super) fn series(id: u32, resource: &Arc<Attributes>) -> Arc<SeriesDesc> {
    let spec = SeriesSpec {
        metric: "m".into(),
        unit: "1".into(),
        kind: MetricKind::Custom,
        shape: Shape::Cumulative { monotonic: true },
        part: Part::Quantile(0.95),
        integer: true,
        factor: 100.0,
        origin: Origin::Otlp,
        scope: Arc::new(Scope {
            name: "s".into(),
            version: "1".into(),
            attributes: Attributes::new(vec![("k".into(), "1".into())], "i", 0),
        }),
        attributes: Attributes::new(vec![("id".into(), id.to_string())], "i", 7),
        resource: resource.clone(),
    };
    Arc::new(SeriesDesc { id: SeriesId(id), agent: AgentId(id % 2), spec })
}
