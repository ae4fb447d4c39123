//! What every implementation of [`Store`] must do. An implementation's tests call `conformance::suite!(subject)` with a
//! function that gives a [`Subject`], or nothing where what it needs is not there.

mod fixtures;
mod people;

use fixtures::{agent, alert, health, outlier, series, sla, stepped, verdict};
pub(super) use fixtures::{raw, rows, seal};
pub(super) use people::{
    lists_are_filtered_and_paged, retired_agents_are_forgotten, the_audit_log_is_listed_latest_first,
    windows_are_kept_as_changed_last,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::availability::{Interval, State};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, UnixNanos};
use vitals_core::series::{
    AgentDesc, AgentProfile, Attributes, MetricKind, Origin, Part, Scope, SeriesDesc, SeriesSpec, Shape,
};
use vitals_core::store::{
    Aggregation, AlertQuery, Checkpoint, EvaluationOutput, PastMaintenance, SampleQuery, Store, StoreError,
    VerdictQuery,
};
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

pub(super) type Open = dyn Fn(&Path) -> Arc<dyn Store>;

/// An implementation, and what it cannot keep.
pub(super) struct Subject {
    /// Opens a store in a folder; a folder opened again, after the store before it is dropped, holds the same store.
    pub(super) open: Box<Open>,
    /// Whether NaN is kept.
    pub(super) nan: bool,
    /// The times that are kept.
    pub(super) times: std::ops::RangeInclusive<i64>,
    /// How many orders of writing, sealing and reopening are tried.
    pub(super) cases: u32,
    /// Whether everything sealed stays on this disk and is counted there.
    pub(super) counts: bool,
}

pub(super) const ZERO: Partition = Partition(0);
/// Noon of some day.
pub(super) const NOON: i64 = 1_700_000_000_000_000_000 / 86_400_000_000_000 * 86_400_000_000_000 + 43_200_000_000_000;
const SECOND: i64 = UnixNanos::SECOND;
const DAY: i64 = 86_400 * SECOND;

pub(super) fn the_first_written_sample_stays(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let bits = |pairs: &[(i64, f64)]| pairs.iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>();
    store.write(ZERO, rows(&[(1, NOON, 1.0), (1, NOON + 2, 2.0), (2, NOON, 9.0)]));
    store.write(ZERO, rows(&[(1, NOON, 5.0), (1, NOON + 1, f64::NAN)]));
    // A store that does not keep NaN has the number that is written later.
    let mut expect = bits(&[(NOON, 1.0), (NOON + 1, f64::NAN), (NOON + 2, 2.0)]);
    expect.retain(|(time, _)| subject.nan || *time != NOON + 1);
    assert_eq!(raw(&*store, 1), expect, "readable at once");
    assert_eq!(store.stats().pending, if subject.nan { 5 } else { 4 });
    seal(&*store, ZERO, Checkpoint::default());
    assert_eq!(raw(&*store, 1), expect, "from the disk");
    assert_eq!(store.stats().pending, 0);
    if subject.counts {
        assert_eq!(store.stats().samples, 4);
    }
    store.write(ZERO, rows(&[(1, NOON + 1, 7.0), (1, NOON - 1, 0.5)]));
    let second = if subject.nan { f64::NAN } else { 7.0 };
    let expect = bits(&[(NOON - 1, 0.5), (NOON, 1.0), (NOON + 1, second), (NOON + 2, 2.0)]);
    assert_eq!(raw(&*store, 1), expect, "from both");
    seal(&*store, ZERO, Checkpoint::default());
    assert_eq!(raw(&*store, 1), expect);
    assert_eq!(raw(&*store, 3), []);
    assert_eq!(raw(&*store, 2), bits(&[(NOON, 9.0)]));
}

pub(super) fn ranges_and_steps(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    // 20 samples a second apart, half on disk; then a NaN alone.
    let all: Vec<_> =
        (0..20).map(|n| (1, NOON + n * SECOND, n as f64)).chain([(1, NOON + 25 * SECOND, f64::NAN)]).collect();
    store.write(ZERO, rows(&all[..10]));
    seal(&*store, ZERO, Checkpoint::default());
    store.write(ZERO, rows(&all[10..]));
    let (start, end, step) = (NOON + SECOND, NOON + 60 * SECOND, 10 * SECOND);
    let at = |n: i64| start + n * step;
    let ask = |how| stepped(&*store, start, end, step, how);
    assert_eq!(ask(Aggregation::Min), [(at(0), 1.0), (at(1), 11.0)]);
    assert_eq!(ask(Aggregation::Max), [(at(0), 10.0), (at(1), 19.0)]);
    assert_eq!(ask(Aggregation::Mean), [(at(0), 5.5), (at(1), 15.0)]);
    let steps = if subject.nan { 3 } else { 2 };
    assert_eq!(ask(Aggregation::Count), [(at(0), 10.0), (at(1), 9.0), (at(2), 1.0)][..steps]);
    assert_eq!(ask(Aggregation::P95), [(at(0), 10.0), (at(1), 19.0)]);
    let last = ask(Aggregation::Last);
    assert_eq!(last[..2], [(at(0), 10.0), (at(1), 19.0)]);
    assert!(last[2..].iter().all(|(_, value)| value.is_nan()) && last.len() == steps);
    assert_eq!(
        stepped(&*store, NOON, NOON + 3 * SECOND, i64::MAX, Aggregation::Count),
        [(NOON, 3.0)],
        "the end is exclusive"
    );
    let ask = |limit| {
        let (start, end) = (UnixNanos(NOON + SECOND), UnixNanos(NOON + 4 * SECOND));
        store.samples(&SampleQuery { series: SeriesId(1), start, end, step: None, limit })
    };
    assert_eq!(ask(3).unwrap().len(), 3);
    assert_eq!(ask(2), Err(StoreError::TooMuch { limit: 2 }));
}

pub(super) fn odd_times_and_ids(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let (first, last) = (*subject.times.start(), *subject.times.end());
    let times = [first, -1, 0, 1, NOON - 3 * DAY, NOON, last];
    if first > i64::MIN {
        store.write(ZERO, rows(&[(1, first - 1, 1.0), (1, last + 1, 1.0)]));
    }
    let ids = [0, 1, 65_536, u32::MAX];
    let all: Vec<_> = ids.iter().flat_map(|&id| times.iter().map(move |&time| (id, time, f64::from(id)))).collect();
    store.write(ZERO, rows(&all));
    for _ in 0..2 {
        for id in ids {
            assert_eq!(raw(&*store, id), times.map(|time| (time, f64::from(id).to_bits())));
        }
        seal(&*store, ZERO, Checkpoint::default());
    }
    store.write(ZERO, EvaluationOutput::default());
    seal(&*store, Partition(7), Checkpoint::default());
    let whole = stepped(&*store, i64::MIN, i64::MAX, i64::MAX, Aggregation::Count);
    // The steps begin at i64::MIN, -1 and i64::MAX - 1.
    if last < i64::MAX - 1 {
        assert_eq!(whole, [(i64::MIN, 1.0), (-1, 6.0)]);
        return;
    }
    assert_eq!(whole, [(i64::MIN, 1.0), (-1, 5.0), (i64::MAX - 1, 1.0)]);
}

pub(super) fn verdicts_newest_first_and_once(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let verdicts = vec![
        verdict(1, NOON, "h", health(50.0)),
        verdict(1, NOON + 1, "iqr", outlier(1)),
        verdict(1, NOON + 1, "iqr", outlier(2)),
        verdict(2, NOON + 2, "h", health(60.0)),
        verdict(2, NOON + 2, "h2", health(70.0)),
        verdict(2, NOON + 3, "s", sla()),
        Verdict { tenant: "other".into(), ..verdict(9, NOON, "h", health(1.0)) },
    ];
    let ask = |agents: Option<Vec<u32>>, kind, limit| {
        let agents = agents.map(|agents| agents.into_iter().map(AgentId).collect());
        let (start, end) = (UnixNanos(NOON), UnixNanos(NOON + 100));
        store.verdicts(&VerdictQuery { agents, kind, start, end, limit, ..VerdictQuery::of("t".into()) }).unwrap()
    };
    let check = || {
        let mut expect = verdicts[..6].to_vec();
        expect.sort_by_key(|v| (std::cmp::Reverse(v.time), v.agent, v.evidence.plugin.clone()));
        assert_eq!(ask(None, None, 100), expect);
        assert_eq!(ask(None, None, 2), expect[..2]);
        assert_eq!(ask(None, Some("health"), 100).len(), 3);
        assert_eq!(ask(Some(vec![1]), None, 100), expect[3..]);
        assert_eq!(ask(Some(vec![1, 2, 9]), Some("outlier"), 100).len(), 2);
        assert_eq!(ask(Some((0..500).collect()), None, 1), expect[..1]);
        assert_eq!(ask(Some(vec![]), None, 100), []);
    };
    store.write(ZERO, EvaluationOutput { verdicts: verdicts.clone(), ..EvaluationOutput::default() });
    check();
    seal(&*store, ZERO, Checkpoint::default());
    check();
    // A replay judges again, and changes nothing.
    store.write(ZERO, EvaluationOutput { verdicts: verdicts.clone(), ..EvaluationOutput::default() });
    check();
    seal(&*store, ZERO, Checkpoint::default());
    check();
}

pub(super) fn intervals_that_overlap(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let interval =
        |start: i64, end: Option<i64>, state| Interval { start: UnixNanos(start), end: end.map(UnixNanos), state };
    let put = |interval| {
        store.write(ZERO, EvaluationOutput { intervals: vec![(AgentId(1), interval)], ..EvaluationOutput::default() })
    };
    let ask = |start, end| store.intervals(AgentId(1), UnixNanos(start), UnixNanos(end)).unwrap();
    put(interval(10, Some(20), State::Up));
    put(interval(20, Some(30), State::Silent));
    put(interval(30, None, State::Up));
    store.write(
        ZERO,
        EvaluationOutput { intervals: vec![(AgentId(2), interval(0, None, State::Up))], ..EvaluationOutput::default() },
    );
    for _ in 0..2 {
        assert_eq!(ask(20, 30), [interval(20, Some(30), State::Silent)]);
        assert_eq!(ask(19, 31).len(), 3);
        assert_eq!(ask(1000, 2000), [interval(30, None, State::Up)]);
        assert_eq!(ask(0, 10), []);
        seal(&*store, ZERO, Checkpoint::default());
    }
    put(interval(30, Some(40), State::Up));
    put(interval(40, None, State::Maintenance));
    assert_eq!(ask(45, 50), [interval(40, None, State::Maintenance)]);
    assert_eq!(ask(35, 36), [interval(30, Some(40), State::Up)]);
}

pub(super) fn alerts_change(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let put = |alerts| store.write(ZERO, EvaluationOutput { alerts, ..EvaluationOutput::default() });
    let ask = |agents: Option<Vec<u32>>, resolved, limit| {
        let agents = agents.map(|agents| agents.into_iter().map(AgentId).collect());
        let (start, end) = (UnixNanos(0), UnixNanos(1000));
        store.alerts(&AlertQuery { agents, resolved, start, end, limit, ..AlertQuery::of("t".into()) }).unwrap()
    };
    put(vec![alert(1, 10, None), alert(2, 20, None), alert(3, 30, Some(35)), alert(4, 2000, None)]);
    put(vec![Alert { tenant: "other".into(), ..alert(5, 10, None) }]);
    for _ in 0..2 {
        assert_eq!(ask(None, None, 10), [alert(3, 30, Some(35)), alert(2, 20, None), alert(1, 10, None)]);
        assert_eq!(ask(None, Some(false), 10), [alert(2, 20, None), alert(1, 10, None)]);
        assert_eq!(ask(None, Some(true), 10), [alert(3, 30, Some(35))]);
        assert_eq!(ask(Some(vec![1]), Some(true), 10), []);
        assert_eq!(ask(Some(vec![1]), Some(false), 10), [alert(1, 10, None)]);
        assert_eq!(ask(None, None, 1), [alert(3, 30, Some(35))]);
        seal(&*store, ZERO, Checkpoint::default());
    }
    put(vec![alert(2, 20, Some(50))]);
    for _ in 0..2 {
        assert_eq!(ask(None, Some(false), 1), [alert(1, 10, None)], "what is resolved since takes no place");
        seal(&*store, ZERO, Checkpoint::default());
    }
}

/// Each step is also looked at once it is durable, and the last one by a store that was opened again.
fn step_by_step(subject: &Subject, steps: Vec<EvaluationOutput>, check: impl Fn(&dyn Store, usize)) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = (subject.open)(folder.path());
    for (at, step) in steps.into_iter().enumerate() {
        store.write(ZERO, step);
        check(&*store, at);
        seal(&*store, ZERO, Checkpoint::default());
        check(&*store, at);
        drop(store);
        store = (subject.open)(folder.path());
        check(&*store, at);
    }
}

pub(super) fn acknowledgements_change_what_is_stored(subject: &Subject) {
    let act = |id: u32, by: &str, at, action| {
        let alert = format!("{id:032x}");
        AlertCommand { alert, agent: AgentId(0), action, by: by.to_owned(), at: UnixNanos(at), comment: None }
    };
    let seen = |id, by, at| act(id, by, at, AlertAction::Acknowledge);
    let with = |alerts, alert_commands| EvaluationOutput { alerts, alert_commands, ..EvaluationOutput::default() };
    let own = Alert { acknowledged: Some(("own".into(), UnixNanos(4))), ..alert(3, 30, Some(35)) };
    let steps = vec![
        with(vec![alert(1, 10, Some(15)), own.clone()], vec![]),
        // Of one that is stored, of one that comes with it, of one that has been seen, and of one that nobody knows.
        with(
            vec![alert(2, 20, Some(25))],
            vec![seen(1, "a", 40), seen(1, "b", 41), seen(2, "a", 42), seen(3, "a", 43), seen(9, "a", 44)],
        ),
        with(vec![], vec![seen(1, "c", 50), seen(2, "c", 51)]),
        // Taken back, and acknowledged again by somebody else; what can only be done to an open alert does nothing.
        with(vec![], vec![act(1, "d", 60, AlertAction::Unacknowledge), seen(1, "e", 61)]),
        with(
            vec![],
            vec![
                act(2, "d", 70, AlertAction::Unacknowledge),
                act(1, "d", 71, AlertAction::Close),
                act(1, "d", 72, AlertAction::Silence { until: UnixNanos(90) }),
            ],
        ),
    ];
    step_by_step(subject, steps, |store, at| {
        let by_a = |alert: Alert, time| Alert { acknowledged: Some(("a".into(), UnixNanos(time))), ..alert };
        let first = alert(1, 10, Some(15));
        let expect = match at {
            0 => vec![own.clone(), first],
            1 | 2 => vec![own.clone(), by_a(alert(2, 20, Some(25)), 42), by_a(first, 40)],
            _ => {
                let by_e = Alert { acknowledged: Some(("e".into(), UnixNanos(61))), ..first };
                let second = alert(2, 20, Some(25));
                vec![own.clone(), if at == 3 { by_a(second, 42) } else { second }, by_e]
            }
        };
        let (start, end) = (UnixNanos(0), UnixNanos(1000));
        let all = AlertQuery { agents: None, resolved: None, start, end, limit: 10, ..AlertQuery::of("t".into()) };
        assert_eq!(store.alerts(&all).unwrap(), expect, "step {at}");
        for one in expect {
            assert_eq!(store.alert(&"t".into(), &one.id).unwrap().as_ref(), Some(&one), "step {at}");
            assert_eq!(store.alert(&"other".into(), &one.id).unwrap(), None, "of another tenant");
        }
        assert_eq!(store.alert(&"t".into(), &format!("{:032x}", 9)).unwrap(), None);
    });
}

pub(super) fn maintenance_changes_what_is_stored(subject: &Subject) {
    let interval =
        |start: i64, end: Option<i64>, state| Interval { start: UnixNanos(start), end: end.map(UnixNanos), state };
    let known = [interval(0, Some(100), State::Up), interval(100, None, State::Silent)];
    let of = |agent: u32| known.map(|one| (AgentId(agent), one)).to_vec();
    let planned =
        |agent, start, end| PastMaintenance { agent: AgentId(agent), start: UnixNanos(start), end: UnixNanos(end) };
    let with = |intervals, maintenance| EvaluationOutput { intervals, maintenance, ..EvaluationOutput::default() };
    let steps = vec![
        with([of(1), of(3)].concat(), vec![]),
        // What is known of agent 1 is stored, that of agent 2 comes with the window; again changes nothing.
        with(of(2), vec![planned(1, 50, 150), planned(2, 50, 150), planned(1, 50, 150), planned(4, 0, 10)]),
        with(vec![], vec![planned(2, 50, 150)]),
    ];
    step_by_step(subject, steps, |store, at| {
        let ask = |agent, start, end| store.intervals(AgentId(agent), UnixNanos(start), UnixNanos(end)).unwrap();
        let changed = [
            interval(0, Some(50), State::Up),
            interval(50, Some(100), State::Maintenance),
            interval(100, Some(150), State::Maintenance),
            interval(150, None, State::Silent),
        ];
        if at == 0 {
            assert_eq!(ask(1, 0, 1000), known);
        } else {
            assert_eq!((ask(1, 0, 1000), ask(2, 0, 1000)), (changed.to_vec(), changed.to_vec()), "step {at}");
            assert_eq!(ask(1, 60, 90), changed[1..2], "step {at}");
        }
        assert_eq!((ask(3, 0, 1000), ask(4, 0, 1000)), (known.to_vec(), vec![]), "step {at}");
    });
}

pub(super) fn the_catalogue_comes_back(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let resource: Arc<Attributes> = Arc::new(vec![("host.name".to_owned(), "h".to_owned())].into());
    let described = EvaluationOutput {
        agents: vec![agent(0, "old"), agent(1, "b")],
        series: vec![series(0, &resource), series(1, &resource), series(2, &Arc::default())],
        ..EvaluationOutput::default()
    };
    store.write(ZERO, described);
    store.write(ZERO, EvaluationOutput { agents: vec![agent(0, "new")], ..EvaluationOutput::default() });
    let expect = store.catalogue().unwrap();
    assert_eq!(expect.agents, [agent(0, "new"), agent(1, "b")]);
    assert_eq!(expect.series, [series(0, &resource), series(1, &resource), series(2, &Arc::default())]);
    seal(&*store, ZERO, Checkpoint::default());
    assert_eq!(store.catalogue().unwrap(), expect);
    drop(store);
    let store = (subject.open)(folder.path());
    let found = store.catalogue().unwrap();
    assert_eq!(found, expect);
    assert!(Arc::ptr_eq(&found.series[0].spec.resource, &found.series[1].spec.resource), "shared again");
    assert!(Arc::ptr_eq(&found.series[0].spec.scope, &found.series[1].spec.scope), "shared again");
    store.write(ZERO, EvaluationOutput { series: vec![series(3, &resource)], ..EvaluationOutput::default() });
    seal(&*store, ZERO, Checkpoint::default());
    assert_eq!(store.catalogue().unwrap().series.len(), 4);
}

pub(super) fn a_seal_is_what_survives(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    assert_eq!(store.checkpoint(ZERO).unwrap(), Checkpoint::default());
    assert_eq!(store.stored(ZERO).unwrap(), Position(0));
    let first = Checkpoint { stored: Position(9), included: Position(7), state: Some(vec![1]), liveness: vec![2] };
    let write = |time| {
        let verdicts = vec![verdict(1, time, "h", health(1.0))];
        let alerts = vec![alert(1, time, None)];
        store.write(ZERO, EvaluationOutput { verdicts, alerts, ..rows(&[(1, time, 1.0)]) });
    };
    write(NOON);
    seal(&*store, ZERO, first.clone());
    assert_eq!(store.checkpoint(ZERO).unwrap(), first);
    let second = Checkpoint { stored: Position(12), included: Position(11), state: None, liveness: vec![3] };
    seal(&*store, ZERO, second.clone());
    let kept = Checkpoint { included: Position(7), state: Some(vec![1]), ..second };
    assert_eq!(store.stored(ZERO).unwrap(), Position(12));
    assert_eq!(store.checkpoint(ZERO).unwrap(), kept, "no new state keeps the earlier one");
    seal(&*store, Partition(3), Checkpoint { stored: Position(1), included: Position(1), ..Checkpoint::default() });
    assert_eq!(store.checkpoint(Partition(3)).unwrap().included, Position(0), "nothing to include");
    write(NOON + 1);
    drop(store);
    let store = (subject.open)(folder.path());
    assert_eq!(raw(&*store, 1), [(NOON, 1.0_f64.to_bits())]);
    assert_eq!(store.checkpoint(ZERO).unwrap(), kept);
    assert_eq!(store.stats().pending, 0);
    if subject.counts {
        assert_eq!(store.stats().samples, 1);
    }
}

pub(super) fn old_things_go(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let days = |n: i64| NOON - n * DAY;
    let interval =
        |start, end| (AgentId(1), Interval { start: UnixNanos(start), end: Some(UnixNanos(end)), state: State::Up });
    let output = EvaluationOutput {
        verdicts: vec![verdict(1, days(200), "h", health(1.0)), verdict(1, days(1), "h", health(2.0))],
        intervals: vec![interval(days(900), days(800)), interval(days(800), days(3))],
        alerts: vec![alert(1, days(900), Some(days(800))), alert(2, days(900), None)],
        ..rows(&[(1, days(200), 1.0), (1, days(1), 2.0)])
    };
    store.write(ZERO, output);
    seal(&*store, ZERO, Checkpoint::default());
    store.maintain(UnixNanos(NOON)).unwrap();
    assert_eq!(raw(&*store, 1), [(days(1), 2.0_f64.to_bits())]);
    if subject.counts {
        assert_eq!(store.stats().samples, 1);
    }
    let (start, end) = (UnixNanos(0), UnixNanos(NOON));
    let verdicts = VerdictQuery { agents: None, kind: None, start, end, limit: 10, ..VerdictQuery::of("t".into()) };
    assert_eq!(store.verdicts(&verdicts).unwrap().len(), 1);
    assert_eq!(store.intervals(AgentId(1), start, end).unwrap().len(), 1);
    let alerts = AlertQuery { agents: None, resolved: None, start, end, limit: 10, ..AlertQuery::of("t".into()) };
    assert_eq!(store.alerts(&alerts).unwrap(), [alert(2, days(900), None)]);
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u32, i64, f64)>),
    Seal,
    Maintain,
    Reopen,
}

/// Any order of writing, sealing, merging and reopening reads like one map.
pub(super) fn a_store_is_a_map(subject: &Subject) {
    let row = (0_u32..5, 0_i64..30, any::<u8>());
    let row = row.prop_map(|(series, time, value)| (series * 1000, NOON + time * 3600 * SECOND, f64::from(value)));
    let step = prop_oneof![
        4 => proptest::collection::vec(row, 1..20).prop_map(Step::Write),
        4 => Just(Step::Seal),
        1 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
    ];
    let config = ProptestConfig { cases: subject.cases, max_shrink_iters: 200, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step, 1..120))| {
        let folder = tempfile::tempdir().unwrap();
        let mut store = (subject.open)(folder.path());
        let (mut sealed, mut all) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Write(some) => {
                    // One output holds each sample once, as evaluation makes it.
                    let once: BTreeMap<_, _> = some.iter().map(|row| ((row.0, row.1), row.2)).collect();
                    let once: Vec<_> = once.into_iter().map(|((series, time), value)| (series, time, value)).collect();
                    store.write(Partition(once.len() as u32 % 2), rows(&once));
                    // Two partitions are sealed apart; the order between them is not promised for one series.
                    seal(&*store, Partition(once.len() as u32 % 2), Checkpoint::default());
                    for (series, time, value) in once {
                        all.entry((series, time)).or_insert(value.to_bits());
                    }
                    sealed.clone_from(&all);
                }
                Step::Seal => seal(&*store, ZERO, Checkpoint::default()),
                Step::Maintain => store.maintain(UnixNanos(NOON)).unwrap(),
                Step::Reopen => {
                    drop(store);
                    store = (subject.open)(folder.path());
                    all.clone_from(&sealed);
                }
            }
            for series in [0, 1000, 4000] {
                let expect: Vec<_> = all.range((series, i64::MIN)..=(series, i64::MAX)).map(|(key, value)| (key.1, *value)).collect();
                prop_assert_eq!(raw(&*store, series), expect);
            }
        }
    });
}

/// Whoever reads while seals and merges go on sees every sample once, and never fewer than before.
pub(super) fn readers_see_no_gap(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let found = raw(&*store, 1);
                assert!(found.len() >= seen, "{} after {seen}", found.len());
                assert!(found.iter().zip(0..).all(|(row, n)| row.0 == NOON + n), "each once, none left out");
                seen = found.len();
            }
        });
        for n in 0..200 {
            store.write(ZERO, rows(&[(1, NOON + n, 1.0), (2, NOON + n, 1.0)]));
            if n % 3 == 0 {
                store.seal(ZERO, Checkpoint::default(), Box::new(|| ()));
            }
            if n % 50 == 0 {
                store.maintain(UnixNanos(NOON)).unwrap();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    seal(&*store, ZERO, Checkpoint::default());
    store.maintain(UnixNanos(NOON)).unwrap();
    assert_eq!(raw(&*store, 1).len(), 200);
}

pub(super) fn closing_waits_for_seals(subject: &Subject) {
    let folder = tempfile::tempdir().unwrap();
    let store = (subject.open)(folder.path());
    let (sender, done) = crossbeam_channel::unbounded();
    for partition in 0..4 {
        let sender = sender.clone();
        store.write(Partition(partition), rows(&[(partition, NOON, 1.0)]));
        store.seal(Partition(partition), Checkpoint::default(), Box::new(move || sender.send(()).unwrap()));
    }
    store.close();
    assert_eq!(done.try_iter().count(), 4);
    store.close();
    drop(store);
    let store = (subject.open)(folder.path());
    assert!((0..4).all(|series| raw(&*store, series).len() == 1));
}

macro_rules! suite {
    ($subject:expr; $($name:ident),* $(,)?) => {
        $(#[test] fn $name() {
            if let Some(subject) = $subject() {
                $crate::store::conformance::$name(&subject);
            }
        })*
    };
    ($subject:expr) => {
        $crate::store::conformance::suite! { $subject;
            the_first_written_sample_stays,
            ranges_and_steps,
            odd_times_and_ids,
            verdicts_newest_first_and_once,
            intervals_that_overlap,
            alerts_change,
            acknowledgements_change_what_is_stored,
            retired_agents_are_forgotten,
            windows_are_kept_as_changed_last,
            the_audit_log_is_listed_latest_first,
            lists_are_filtered_and_paged,
            maintenance_changes_what_is_stored,
            the_catalogue_comes_back,
            a_seal_is_what_survives,
            old_things_go,
            a_store_is_a_map,
            readers_see_no_gap,
            closing_waits_for_seals,
        }
    };
}
pub(super) use suite;
