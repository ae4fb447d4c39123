//! Identities and their ids: one id an identity, one announcement each, nothing past a tenant's quota.

use std::sync::{Arc, Mutex};
use vitals_core::attributes::{Attributes, Scope};
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::registry::{Quota, Registration, RegistrationQueue, Registry, RegistryError, SeriesUse};
use vitals_core::series::{AgentDesc, AgentProfile, MetricKind, Origin, Part, SeriesDesc, SeriesSpec, Shape};

const NOW: UnixNanos = UnixNanos(1_000);

/// What a registry queues for its log: `agent KEY NAME` or `series ID ID`.
#[derive(Default)]
struct Queued(Mutex<Vec<String>>);

impl RegistrationQueue for Queued {
    fn push(&self, registration: Registration) {
        let said = match &registration {
            Registration::Agent(agent) => {
                format!("agent {} {}", agent.key, agent.profile.name.as_deref().unwrap_or("-"))
            }
            Registration::Series { agent, series } => {
                assert!(series.iter().all(|one| one.agent == *agent));
                let ids: Vec<String> = series.iter().map(|series| series.id.0.to_string()).collect();
                format!("series {}", ids.join(" "))
            }
        };
        self.0.lock().unwrap().push(said);
    }
}

/// A registry, and what it queues.
fn registry(series: usize, agents: usize) -> (Registry, Arc<Queued>) {
    let queued = Arc::new(Queued::default());
    (Registry::logged(Quota { series, agents, ..Quota::default() }, queued.clone()), queued)
}

fn named(name: &str) -> AgentProfile {
    AgentProfile { name: Some(name.to_owned()), ..AgentProfile::default() }
}

fn spec(metric: &str) -> SeriesSpec {
    SeriesSpec {
        metric: metric.to_owned(),
        unit: String::new(),
        kind: MetricKind::Custom,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Scope::named("test"),
        attributes: Attributes::default(),
        resource: Arc::default(),
    }
}

fn specs(metrics: &[&str]) -> Vec<SeriesSpec> {
    metrics.iter().map(|metric| spec(metric)).collect()
}

fn tenant(name: &str) -> TenantId {
    TenantId::from(name)
}

fn said(queued: &Queued) -> Vec<String> {
    std::mem::take(&mut *queued.0.lock().unwrap())
}

#[test]
fn an_agent_is_registered_once_and_found_by_key_and_by_id() {
    let (registry, queued) = registry(10, 10);
    let (acme, other) = (tenant("acme"), tenant("other"));
    let a = registry.intern_agent(&acme, "a", NOW, &named("A")).unwrap();
    let b = registry.intern_agent(&acme, "b", NOW, &AgentProfile::default()).unwrap();
    let same_key = registry.intern_agent(&other, "a", NOW, &AgentProfile::default()).unwrap();
    assert!(a != b && a != same_key && b != same_key);
    assert_eq!(registry.intern_agent(&acme, "a", NOW.plus(5), &AgentProfile::default()), Ok(a));
    let expect = AgentDesc { id: a, tenant: acme.clone(), key: "a".to_owned(), first_seen: NOW, profile: named("A") };
    assert_eq!(registry.agent(a).as_deref(), Some(&expect));
    assert_eq!(registry.agent_by_key(&acme, "a").as_deref(), Some(&expect));
    assert_eq!(registry.agent_by_key(&other, "a").map(|agent| agent.id), Some(same_key));
    assert!(registry.agent_by_key(&other, "b").is_none() && registry.agent_by_key(&tenant("none"), "a").is_none());
    assert!(registry.agent(AgentId(99)).is_none());
    let ids = |of| registry.agents_of(of).iter().map(|agent| agent.id).collect::<Vec<_>>();
    assert_eq!((ids(&acme), ids(&other), ids(&tenant("none"))), (vec![a, b], vec![same_key], vec![]));
    assert_eq!(said(&queued), ["agent a A", "agent b -", "agent a -"]);
}

#[test]
fn tenants_are_those_that_were_used() {
    let (registry, _) = registry(10, 10);
    assert!(registry.tenants().is_empty());
    assert_eq!(registry.tenant(&tenant("acme")).tenant(), &tenant("acme"));
    let _ = registry.tenant(&tenant("other"));
    let _ = registry.tenant(&tenant("acme"));
    let mut names = registry.tenants();
    names.sort();
    assert_eq!(names, [tenant("acme"), tenant("other")]);
}

#[test]
fn a_profile_that_changes_is_announced_and_one_that_says_nothing_new_is_not() {
    let (registry, queued) = registry(10, 10);
    let acme = tenant("acme");
    let id = registry.intern_agent(&acme, "a", NOW, &named("old")).unwrap();
    registry.intern_agent(&acme, "a", NOW, &named("old")).unwrap();
    registry.intern_agent(&acme, "a", NOW, &AgentProfile::default()).unwrap();
    assert_eq!(said(&queued), ["agent a old"]);
    let region = AgentProfile { location: Some("eu".to_owned()), ..AgentProfile::default() };
    registry.intern_agent(&acme, "a", NOW, &region).unwrap();
    registry.intern_agent(&acme, "a", NOW, &named("new")).unwrap();
    assert_eq!(said(&queued), ["agent a old", "agent a new"]);
    let known = registry.agent(id).unwrap();
    assert_eq!(known.profile, AgentProfile { location: Some("eu".to_owned()), ..named("new") });
    assert_eq!(registry.agents_of(&acme).len(), 1);
}

#[test]
fn the_newer_profile_wins_field_by_field() {
    let profile = |values: [Option<&str>; 5]| {
        let [name, version, environment, location, zone] = values.map(|value| value.map(str::to_owned));
        AgentProfile { name, version, environment, location, zone }
    };
    let old = profile([Some("a"), Some("b"), Some("c"), Some("d"), Some("e")]);
    assert_eq!(old.overlaid(&AgentProfile::default()), old);
    assert_eq!(AgentProfile::default().overlaid(&old), old);
    for field in 0..5 {
        let (mut newer, mut expect) = ([None; 5], [Some("a"), Some("b"), Some("c"), Some("d"), Some("e")]);
        (newer[field], expect[field]) = (Some("new"), Some("new"));
        assert_eq!(old.overlaid(&profile(newer)), profile(expect), "{field}");
    }
}

#[test]
fn no_tenant_has_more_agents_than_its_quota() {
    let (registry, queued) = registry(10, 2);
    let (acme, other) = (tenant("acme"), tenant("other"));
    for key in ["a", "b"] {
        registry.intern_agent(&acme, key, NOW, &AgentProfile::default()).unwrap();
    }
    let refused = RegistryError::TooManyAgents { tenant: acme.clone(), limit: 2 };
    assert_eq!(registry.intern_agent(&acme, "c", NOW, &AgentProfile::default()), Err(refused));
    assert!(registry.agent_by_key(&acme, "c").is_none());
    assert_eq!(said(&queued), ["agent a -", "agent b -"]);
    // Who is known stays welcome, and so is another tenant.
    assert!(registry.intern_agent(&acme, "a", NOW, &AgentProfile::default()).is_ok());
    assert!(registry.intern_agent(&other, "c", NOW, &AgentProfile::default()).is_ok());
}

#[test]
fn series_past_the_quota_are_refused_one_by_one() {
    let (registry, queued) = registry(2, 10);
    let (acme, other) = (tenant("acme"), tenant("other"));
    let agent = registry.intern_agent(&acme, "a", NOW, &AgentProfile::default()).unwrap();
    said(&queued);
    let refused = Err(RegistryError::TooManySeries { tenant: acme.clone(), limit: 2 });
    let found = registry.intern_series(&acme, agent, specs(&["x", "y", "z", "x"]));
    assert_eq!(found, [Ok(SeriesId(0)), Ok(SeriesId(1)), refused.clone(), Ok(SeriesId(0))]);
    assert_eq!(registry.intern_series(&acme, agent, specs(&["z", "y"])), [refused, Ok(SeriesId(1))]);
    assert_eq!(registry.series_count(), 2);
    assert_eq!(said(&queued), ["series 0 1"]);
    let elsewhere = registry.intern_agent(&other, "a", NOW, &AgentProfile::default()).unwrap();
    assert_eq!(registry.intern_series(&other, elsewhere, specs(&["z"])), [Ok(SeriesId(2))]);
}

#[test]
fn an_agent_past_its_quota_leaves_the_others_theirs() {
    let quota = Quota { series: 10, series_per_agent: 2, agents: 10 };
    let registry = Registry::new(quota);
    let acme = tenant("acme");
    let [greedy, other] =
        ["greedy", "other"].map(|key| registry.intern_agent(&acme, key, NOW, &AgentProfile::default()).unwrap());
    let refused = Err(RegistryError::TooManySeriesOfAgent { agent: "greedy".to_owned(), limit: 2 });
    let found = registry.intern_series(&acme, greedy, specs(&["x", "y", "z", "x"]));
    assert_eq!(found, [Ok(SeriesId(0)), Ok(SeriesId(1)), refused.clone(), Ok(SeriesId(0))]);
    assert_eq!(registry.intern_series(&acme, other, specs(&["x"])), [Ok(SeriesId(2))]);
    assert_eq!(registry.series_use(greedy), SeriesUse { series: 2, limit: 2 });
    assert_eq!(registry.series_use(other), SeriesUse { series: 1, limit: 2 });
    // What the log and the store had counts after a restart.
    let restarted = Registry::new(quota);
    registry.agents_of(&acme).into_iter().for_each(|agent| restarted.restore_agent(agent));
    registry.series_of(greedy).into_iter().for_each(|series| restarted.restore_series(series));
    assert_eq!(restarted.intern_series(&acme, greedy, specs(&["z", "y"])), [refused, Ok(SeriesId(1))]);
}

#[test]
fn series_are_registered_once_and_found_by_id_and_by_agent() {
    let (registry, queued) = registry(10, 10);
    let acme = tenant("acme");
    let [a, b] = ["a", "b"].map(|key| registry.intern_agent(&acme, key, NOW, &AgentProfile::default()).unwrap());
    said(&queued);
    assert_eq!(registry.intern_series(&acme, a, specs(&["x", "y"])), [Ok(SeriesId(0)), Ok(SeriesId(1))]);
    assert_eq!(registry.intern_series(&acme, b, specs(&["x"])), [Ok(SeriesId(2))]);
    assert_eq!(registry.intern_series(&acme, a, specs(&["y", "z"])), [Ok(SeriesId(1)), Ok(SeriesId(3))]);
    assert!(registry.intern_series(&acme, a, Vec::new()).is_empty());
    registry.intern_series(&acme, a, specs(&["x"]));
    assert_eq!(said(&queued), ["series 0 1", "series 2", "series 3"]);
    let of = |agent| registry.series_of(agent).iter().map(|series| series.id.0).collect::<Vec<_>>();
    assert_eq!((of(a), of(b), of(AgentId(99))), (vec![0, 1, 3], vec![2], vec![]));
    assert_eq!(
        registry.series(SeriesId(3)).as_deref(),
        Some(&SeriesDesc { id: SeriesId(3), agent: a, spec: spec("z") })
    );
    assert!(registry.series(SeriesId(4)).is_none());
    assert_eq!(registry.series_count(), 4);
}

#[test]
fn no_two_parts_of_a_point_share_an_id() {
    let (registry, _) = registry(100, 10);
    let acme = tenant("acme");
    let agent = registry.intern_agent(&acme, "a", NOW, &AgentProfile::default()).unwrap();
    let parts = [
        Part::Value,
        Part::Count,
        Part::Sum,
        Part::Min,
        Part::Max,
        Part::Bucket(0.0),
        Part::Bucket(1.0),
        Part::Quantile(0.0),
        Part::Quantile(1.0),
    ];
    let ids = registry.intern_series(&acme, agent, parts.map(|part| SeriesSpec { part, ..spec("m") }).into());
    let distinct: std::collections::BTreeSet<_> = ids.into_iter().map(Result::unwrap).collect();
    assert_eq!(distinct.len(), parts.len());
}

#[test]
fn what_was_restored_is_known_and_is_not_announced() {
    let (registry, queued) = registry(10, 10);
    let acme = tenant("acme");
    let agent = |id, key: &str| {
        let (id, key) = (AgentId(id), key.to_owned());
        Arc::new(AgentDesc { id, tenant: tenant("acme"), key, first_seen: NOW, profile: AgentProfile::default() })
    };
    // Ids in any order, and with holes between them.
    for (id, key) in [(4, "four"), (1, "one")] {
        registry.restore_agent(agent(id, key));
    }
    let series = |id, agent| Arc::new(SeriesDesc { id: SeriesId(id), agent: AgentId(agent), spec: spec("x") });
    registry.restore_series(series(6, 4));
    registry.restore_series(series(2, 1));
    registry.restore_series(series(2, 1));
    // Nobody knows its agent.
    registry.restore_series(series(3, 7));
    assert_eq!(registry.series_count(), 2);
    let ids = |agent| registry.series_of(AgentId(agent)).iter().map(|series| series.id.0).collect::<Vec<_>>();
    assert_eq!((ids(1), ids(4), ids(7)), (vec![2], vec![6], vec![]));
    assert_eq!(registry.agents_of(&acme).iter().map(|agent| agent.id.0).collect::<Vec<_>>(), [1, 4]);
    assert!(registry.agent(AgentId(2)).is_none() && registry.series(SeriesId(5)).is_none());
    assert_eq!(registry.intern_agent(&acme, "one", NOW, &AgentProfile::default()), Ok(AgentId(1)));
    assert_eq!(registry.intern_series(&acme, AgentId(4), specs(&["x"])), [Ok(SeriesId(6))]);
    assert!(said(&queued).is_empty());
    // What is new comes behind everything that was there.
    assert_eq!(registry.intern_agent(&acme, "new", NOW, &AgentProfile::default()), Ok(AgentId(5)));
    assert_eq!(registry.intern_series(&acme, AgentId(5), specs(&["x"])), [Ok(SeriesId(7))]);
    assert_eq!(said(&queued), ["agent new -", "series 7"]);
}

#[test]
fn bytes_on_the_wire_are_remembered_until_they_are_forgotten() {
    let (registry, _) = registry(10, 10);
    let part = registry.tenant(&tenant("acme"));
    registry.remember_wire(&part, [(1, SeriesId(5)), (2, SeriesId(6))]);
    assert_eq!(
        (part.wire().get(&1), part.wire().get(&2), part.wire().get(&3)),
        (Some(&SeriesId(5)), Some(&SeriesId(6)), None)
    );
    assert!(registry.tenant(&tenant("acme")).wire().contains_key(&1), "one part a tenant");
    assert!(registry.tenant(&tenant("other")).wire().is_empty());
    part.forget_wire();
    assert!(part.wire().is_empty());
}

#[test]
fn a_retired_agent_gives_its_name_back_and_keeps_its_numbers() {
    let (registry, _) = registry(10, 10);
    let profile = AgentProfile::default();
    let (acme, other) = (tenant("acme"), tenant("other"));
    let agent = |tenant: &TenantId| registry.intern_agent(tenant, "web", NOW, &profile).unwrap();
    let (first, theirs) = (agent(&acme), agent(&other));
    let series = |tenant: &TenantId, agent| -> Vec<SeriesId> {
        registry.intern_series(tenant, agent, specs(&["a", "b"])).into_iter().map(Result::unwrap).collect()
    };
    let (own, of_theirs) = (series(&acme, first), series(&other, theirs));
    let part = registry.tenant(&acme);
    registry.remember_wire(&part, [(1, own[0])]);
    registry.retire(first);
    assert!(
        registry.agent(first).is_none() && registry.series(own[1]).is_none() && registry.series_of(first).is_empty()
    );
    assert!(registry.agent_by_key(&acme, "web").is_none() && registry.agents_of(&acme).is_empty());
    assert!(!registry.is_current(first) && registry.is_current(theirs));
    assert!(part.wire().is_empty());
    // What was learnt while it was retired is not remembered.
    registry.remember_wire(&part, [(1, own[0]), (2, of_theirs[0])]);
    assert_eq!((part.wire().get(&1), part.wire().get(&2)), (None, Some(&of_theirs[0])));
    // The same name of another tenant is another agent.
    assert_eq!(registry.agent_by_key(&other, "web").map(|agent| agent.id), Some(theirs));
    assert_eq!((registry.series_of(theirs).len(), registry.series_count()), (2, 2));
    let second = agent(&acme);
    assert_eq!(second, AgentId(2));
    assert_eq!(series(&acme, second), [SeriesId(4), SeriesId(5)]);
    // In any order of partitions the later one has the name.
    let later = registry.agent(second).unwrap();
    let again = Registry::new(Quota { series: 10, agents: 10, ..Quota::default() });
    again.restore_agent(later.clone());
    again.restore_agent(Arc::new(AgentDesc { id: first, ..(*later).clone() }));
    again.forget_name(first);
    assert_eq!(again.agent_by_key(&acme, "web").map(|agent| agent.id), Some(second));
}

#[test]
fn numbers_of_retired_agents_are_not_given_out_after_a_restart() {
    let (registry, _) = registry(10, 10);
    registry.restore(vitals_core::store::Catalogue { given_out: (3, 7), ..Default::default() });
    let agent = registry.intern_agent(&tenant("acme"), "web", NOW, &AgentProfile::default()).unwrap();
    assert_eq!(agent, AgentId(3));
    let series = registry.intern_series(&tenant("acme"), agent, specs(&["a"]));
    assert_eq!(series, [Ok(SeriesId(7))]);
    assert!(!registry.is_current(AgentId(1)));
}
