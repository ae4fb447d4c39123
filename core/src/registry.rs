//! Identity to id, and id to description: names and attributes exist once, here.
//!
//! Each tenant has maps of its own, so that no identity of one can meet another's. Ids are drawn from
//! one counter for all.

mod retiring;

use crate::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use crate::record::Record;
use crate::series::{AgentDesc, AgentProfile, Origin, Part, SeriesDesc, SeriesSpec};
use crate::store::Catalogue;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use xxhash_rust::xxh3::Xxh3;

/// A 128-bit hash of an identity's bytes. Two identities meet with probability 2^-64 at 2^32 series.
pub type IdentityHash = u128;

/// Something registered for the first time, or an agent whose profile changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Registration {
    /// An agent.
    Agent(Arc<AgentDesc>),
    /// Series of one agent.
    Series {
        /// The agent.
        agent: AgentId,
        /// Its new series.
        series: Vec<Arc<SeriesDesc>>,
    },
}

impl Registration {
    /// The agent, which decides on the partition of the log.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        match self {
            Self::Agent(agent) => agent.id,
            Self::Series { agent, .. } => *agent,
        }
    }

    /// The record of the log that describes it.
    #[must_use]
    pub fn into_record(self) -> Record {
        match self {
            Self::Agent(agent) => Record::Describe { agents: vec![agent], series: Vec::new() },
            Self::Series { series, .. } => Record::Describe { agents: Vec::new(), series },
        }
    }
}

/// The queue on which registrations travel to the log.
///
/// The registry pushes while an identity is locked, so that a description is queued before anyone else can use its id. So
/// [`RegistrationQueue::push`] only queues: it neither blocks nor does I/O, and does not ask the registry.
pub trait RegistrationQueue: Send + Sync {
    /// Queues a registration, behind those before it.
    fn push(&self, registration: Registration);
}

/// Why nothing was registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The tenant has as many series as it may have.
    #[error("the tenant {tenant} has reached its limit of {limit} series")]
    TooManySeries {
        /// Whose limit.
        tenant: TenantId,
        /// The limit.
        limit: usize,
    },
    /// The agent has as many series as one may have.
    #[error("the agent {agent} has reached its limit of {limit} series")]
    TooManySeriesOfAgent {
        /// Whose limit.
        agent: String,
        /// The limit.
        limit: usize,
    },
    /// The tenant has as many agents as it may have.
    #[error("the tenant {tenant} has reached its limit of {limit} agents")]
    TooManyAgents {
        /// Whose limit.
        tenant: TenantId,
        /// The limit.
        limit: usize,
    },
}

/// How much one tenant may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Series, derived ones included.
    pub series: usize,
    /// Series of one agent, derived ones included, so that one agent cannot use up those of its tenant.
    pub series_per_agent: usize,
    /// Agents.
    pub agents: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { series: 1_000_000, series_per_agent: 100_000, agents: 100_000 }
    }
}

/// How much of its quota an agent has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesUse {
    /// Its series, derived ones included.
    pub series: usize,
    /// Most that it may have.
    pub limit: usize,
}

#[derive(Default)]
struct Descriptions {
    series: Vec<Option<Arc<SeriesDesc>>>,
    agents: Vec<Option<Arc<AgentDesc>>>,
    agent_series: Vec<Vec<SeriesId>>,
}

/// One tenant's part of the registry.
pub struct TenantRegistry {
    tenant: TenantId,
    /// Hash of the bytes as they came -> id. Several byte strings may mean the same series.
    wire: RwLock<HashMap<IdentityHash, SeriesId>>,
    canonical: RwLock<HashMap<IdentityHash, SeriesId>>,
    agents: RwLock<HashMap<String, AgentId>>,
}

/// The registry of every tenant.
pub struct Registry {
    tenants: RwLock<HashMap<TenantId, Arc<TenantRegistry>>>,
    descriptions: RwLock<Descriptions>,
    quota: Quota,
    registrations: Option<Arc<dyn RegistrationQueue>>,
    /// Agents that were retired.
    retired: RwLock<HashSet<AgentId>>,
    /// Whether there are any, or will be at the end of a replay: until then nobody has to look whether one is.
    has_retired: AtomicBool,
}

// A panic while a lock is held leaves maps that are still whole: every insertion is one step.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// An empty registry that no log knows of: its numbers hold as long as it does.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self {
            tenants: RwLock::default(),
            descriptions: RwLock::default(),
            quota,
            registrations: None,
            retired: RwLock::default(),
            has_retired: AtomicBool::new(false),
        }
    }

    /// An empty registry that queues everything new for a log.
    #[must_use]
    pub fn logged(quota: Quota, registrations: Arc<dyn RegistrationQueue>) -> Self {
        Self { registrations: Some(registrations), ..Self::new(quota) }
    }

    fn register(&self, registration: impl FnOnce() -> Registration) {
        if let Some(queue) = &self.registrations {
            queue.push(registration());
        }
    }

    /// The part of `tenant`, made at its first use.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantId) -> Arc<TenantRegistry> {
        if let Some(found) = read(&self.tenants).get(tenant) {
            return found.clone();
        }
        write(&self.tenants)
            .entry(tenant.clone())
            .or_insert_with(|| {
                Arc::new(TenantRegistry {
                    tenant: tenant.clone(),
                    wire: RwLock::default(),
                    canonical: RwLock::default(),
                    agents: RwLock::default(),
                })
            })
            .clone()
    }

    /// The names of the tenants seen so far.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantId> {
        read(&self.tenants).keys().cloned().collect()
    }

    /// The description of a series.
    #[must_use]
    pub fn series(&self, id: SeriesId) -> Option<Arc<SeriesDesc>> {
        read(&self.descriptions).series.get(id.0 as usize)?.clone()
    }

    /// The description of an agent.
    #[must_use]
    pub fn agent(&self, id: AgentId) -> Option<Arc<AgentDesc>> {
        read(&self.descriptions).agents.get(id.0 as usize)?.clone()
    }

    /// The agent that `tenant` knows by `key`.
    #[must_use]
    pub fn agent_by_key(&self, tenant: &TenantId, key: &str) -> Option<Arc<AgentDesc>> {
        let tenant = read(&self.tenants).get(tenant)?.clone();
        let id = *read(&tenant.agents).get(key)?;
        self.agent(id)
    }

    /// All agents of a tenant, by id.
    #[must_use]
    pub fn agents_of(&self, tenant: &TenantId) -> Vec<Arc<AgentDesc>> {
        let descriptions = read(&self.descriptions);
        descriptions.agents.iter().flatten().filter(|a| a.tenant == *tenant).cloned().collect()
    }

    /// All series of an agent, by id.
    #[must_use]
    pub fn series_of(&self, agent: AgentId) -> Vec<Arc<SeriesDesc>> {
        let descriptions = read(&self.descriptions);
        let Some(ids) = descriptions.agent_series.get(agent.0 as usize) else {
            return Vec::new();
        };
        ids.iter().filter_map(|id| descriptions.series.get(id.0 as usize)?.clone()).collect()
    }

    /// The number of series of all tenants.
    #[must_use]
    pub fn series_count(&self) -> usize {
        read(&self.descriptions).series.iter().flatten().count()
    }

    /// The agent `key` of `tenant`, registered if it is new. A profile field that is `Some` and differs
    /// replaces what was known, and is queued for the log.
    ///
    /// # Errors
    /// When the tenant's quota of agents is used up.
    pub fn intern_agent(
        &self,
        tenant: &TenantId,
        key: &str,
        now: UnixNanos,
        profile: &AgentProfile,
    ) -> Result<AgentId, RegistryError> {
        let part = self.tenant(tenant);
        let known = read(&part.agents).get(key).copied();
        if let Some(id) = known {
            self.update_profile(id, profile);
            return Ok(id);
        }
        let mut agents = write(&part.agents);
        if let Some(&id) = agents.get(key) {
            return Ok(id);
        }
        if agents.len() >= self.quota.agents {
            return Err(RegistryError::TooManyAgents { tenant: tenant.clone(), limit: self.quota.agents });
        }
        let mut descriptions = write(&self.descriptions);
        let id = AgentId(u32::try_from(descriptions.agents.len()).unwrap_or(u32::MAX));
        let desc = Arc::new(AgentDesc {
            id,
            tenant: tenant.clone(),
            key: key.to_owned(),
            first_seen: now,
            profile: profile.clone(),
        });
        descriptions.put_agent(desc.clone());
        drop(descriptions);
        self.register(|| Registration::Agent(desc.clone()));
        agents.insert(key.to_owned(), id);
        Ok(id)
    }

    fn update_profile(&self, id: AgentId, profile: &AgentProfile) {
        let Some(old) = self.agent(id) else { return };
        let merged = old.profile.overlaid(profile);
        if merged == old.profile {
            return;
        }
        let desc = Arc::new(AgentDesc { profile: merged, ..(*old).clone() });
        let mut descriptions = write(&self.descriptions);
        if !descriptions.has_agent(id) {
            // It was retired meanwhile.
            return;
        }
        descriptions.put_agent(desc.clone());
        drop(descriptions);
        self.register(|| Registration::Agent(desc.clone()));
    }

    /// Ids for `specs` of one agent, in their order; what is new is registered and queued for the log once.
    ///
    /// # Errors
    /// Each spec past the agent's or the tenant's quota gets an error of its own; the others are registered.
    pub fn intern_series(
        &self,
        tenant: &TenantId,
        agent: AgentId,
        specs: Vec<SeriesSpec>,
    ) -> Vec<Result<SeriesId, RegistryError>> {
        let part = self.tenant(tenant);
        let mut canonical = write(&part.canonical);
        let mut fresh = Vec::new();
        let ids = specs
            .into_iter()
            .map(|spec| {
                let hash = identity(agent, &spec);
                if let Some(&id) = canonical.get(&hash) {
                    return Ok(id);
                }
                let of_agent = read(&self.descriptions).series_count_of(agent);
                if of_agent >= self.quota.series_per_agent {
                    return Err(self.too_many_series_of(agent));
                }
                if canonical.len() >= self.quota.series {
                    return Err(RegistryError::TooManySeries { tenant: tenant.clone(), limit: self.quota.series });
                }
                let mut descriptions = write(&self.descriptions);
                let id = SeriesId(u32::try_from(descriptions.series.len()).unwrap_or(u32::MAX));
                let desc = Arc::new(SeriesDesc { id, agent, spec });
                descriptions.put_series(desc.clone());
                canonical.insert(hash, id);
                fresh.push(desc);
                Ok(id)
            })
            .collect();
        if !fresh.is_empty() {
            self.register(|| Registration::Series { agent, series: fresh });
        }
        ids
    }

    fn too_many_series_of(&self, agent: AgentId) -> RegistryError {
        let agent = self.agent(agent).map_or_else(String::new, |agent| agent.key.clone());
        RegistryError::TooManySeriesOfAgent { agent, limit: self.quota.series_per_agent }
    }

    /// The number of series of an agent, and how many it may have.
    #[must_use]
    pub fn series_use(&self, agent: AgentId) -> SeriesUse {
        let series = read(&self.descriptions).series_count_of(agent);
        SeriesUse { series, limit: self.quota.series_per_agent }
    }

    /// Puts back all that the store had; queues nothing.
    pub fn restore(&self, catalogue: Catalogue) {
        let (agents, series) = catalogue.given_out;
        if agents > 0 {
            self.has_retired.store(true, Ordering::Relaxed);
        }
        write(&self.retired).extend(catalogue.retired);
        let mut descriptions = write(&self.descriptions);
        if descriptions.agents.len() < agents as usize {
            descriptions.agents.resize(agents as usize, None);
        }
        if descriptions.series.len() < series as usize {
            descriptions.series.resize(series as usize, None);
        }
        drop(descriptions);
        catalogue.agents.into_iter().for_each(|agent| self.restore_agent(agent));
        catalogue.series.into_iter().for_each(|series| self.restore_series(series));
    }

    /// Puts back what the store or the log had, but for a retired agent; queues nothing.
    pub fn restore_agent(&self, desc: Arc<AgentDesc>) {
        if read(&self.retired).contains(&desc.id) {
            return;
        }
        let part = self.tenant(&desc.tenant);
        let mut agents = write(&part.agents);
        // Of two of one name the one with the lower number was retired, as a later record of its partition says.
        let named = agents.entry(desc.key.clone()).or_insert(desc.id);
        *named = desc.id.max(*named);
        drop(agents);
        write(&self.descriptions).put_agent(desc);
    }

    /// Puts back what the store or the log had; queues nothing. The series' agent must be there.
    pub fn restore_series(&self, desc: Arc<SeriesDesc>) {
        let Some(agent) = self.agent(desc.agent) else { return };
        let part = self.tenant(&agent.tenant);
        write(&part.canonical).insert(identity(desc.agent, &desc.spec), desc.id);
        write(&self.descriptions).put_series(desc);
    }
}

impl TenantRegistry {
    /// The tenant's name.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The map from hashes of wire bytes to ids, to be held while a request is walked.
    pub fn wire(&self) -> RwLockReadGuard<'_, HashMap<IdentityHash, SeriesId>> {
        read(&self.wire)
    }

    /// Forgets what wire bytes mean, so that bytes which are no longer sent take no memory.
    pub fn forget_wire(&self) {
        write(&self.wire).clear();
    }
}

impl AgentProfile {
    /// This profile with every field that `newer` has replaced by it.
    #[must_use]
    pub fn overlaid(&self, newer: &Self) -> Self {
        let pick = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
        Self {
            name: pick(&newer.name, &self.name),
            version: pick(&newer.version, &self.version),
            environment: pick(&newer.environment, &self.environment),
            location: pick(&newer.location, &self.location),
            zone: pick(&newer.zone, &self.zone),
        }
    }
}

impl Descriptions {
    fn has_agent(&self, id: AgentId) -> bool {
        matches!(self.agents.get(id.0 as usize), Some(Some(_)))
    }

    fn series_count_of(&self, agent: AgentId) -> usize {
        self.agent_series.get(agent.0 as usize).map_or(0, Vec::len)
    }

    fn put_agent(&mut self, desc: Arc<AgentDesc>) {
        let at = desc.id.0 as usize;
        if self.agents.len() <= at {
            self.agents.resize(at + 1, None);
        }
        self.agents[at] = Some(desc);
    }

    fn put_series(&mut self, desc: Arc<SeriesDesc>) {
        let (at, agent) = (desc.id.0 as usize, desc.agent.0 as usize);
        if self.series.len() <= at {
            self.series.resize(at + 1, None);
        }
        if self.agent_series.len() <= agent {
            self.agent_series.resize(agent + 1, Vec::new());
        }
        if self.series[at].is_none() {
            self.agent_series[agent].push(desc.id);
        }
        self.series[at] = Some(desc);
    }
}

/// The canonical identity: what the OpenTelemetry data model counts as identifying (resource, scope with version and
/// attributes, metric name, unit, type, attributes with their types), with which number of the point, under one agent.
fn identity(agent: AgentId, spec: &SeriesSpec) -> IdentityHash {
    let mut hash = Xxh3::new();
    spec.feed_names(&mut |bytes| hash.update(bytes));
    let (part, number) = match spec.part {
        Part::Value => (0_u8, 0.0),
        Part::Count => (1, 0.0),
        Part::Sum => (2, 0.0),
        Part::Min => (3, 0.0),
        Part::Max => (4, 0.0),
        Part::Bucket(bound) => (5, bound),
        Part::Quantile(q) => (6, q),
    };
    let (from, plugin) = match &spec.origin {
        Origin::Otlp => ([0; 5], ""),
        Origin::Rest => ([1, 0, 0, 0, 0], ""),
        Origin::Derived { plugin, from } => {
            let [a, b, c, d] = from.0.to_le_bytes();
            ([2, a, b, c, d], plugin.as_str())
        }
    };
    hash.update(&spec.shape.bytes());
    hash.update(&[part]);
    hash.update(&f64::to_bits(number).to_le_bytes());
    hash.update(&from);
    hash.update(&agent.0.to_le_bytes());
    hash.update(plugin.as_bytes());
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{Attributes, Scope};
    use crate::series::{MetricKind, Shape};

    fn spec(change: impl FnOnce(&mut SeriesSpec)) -> SeriesSpec {
        let mut spec = SeriesSpec {
            metric: "m".to_owned(),
            unit: "1".to_owned(),
            kind: MetricKind::Custom,
            shape: Shape::Gauge,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Scope::named("s"),
            attributes: Attributes::default(),
            resource: Arc::default(),
        };
        change(&mut spec);
        spec
    }

    fn attributes(pairs: &[(&str, &str)], types: &str, mended: u64) -> Attributes {
        Attributes::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), types, mended)
    }

    #[test]
    fn everything_that_identifies_makes_another_series() {
        let scope = |version: &str, attributes| {
            Arc::new(Scope { name: "s".to_owned(), version: version.to_owned(), attributes })
        };
        let one = |types| attributes(&[("k", "1")], types, 0);
        let all = [
            spec(|_| {}),
            spec(|s| s.metric = "n".to_owned()),
            spec(|s| s.unit = String::new()),
            spec(|s| s.scope = Scope::named("t")),
            spec(|s| s.scope = scope("1", Attributes::default())),
            spec(|s| s.scope = scope("", one("s"))),
            spec(|s| s.scope = scope("", one("i"))),
            spec(|s| s.attributes = one("s")),
            spec(|s| s.attributes = one("i")),
            spec(|s| s.attributes = one("d")),
            spec(|s| s.attributes = attributes(&[("k", "1")], "", 7)),
            spec(|s| s.resource = Arc::new(one("s"))),
            spec(|s| s.resource = Arc::new(one("b"))),
            spec(|s| s.shape = Shape::Cumulative { monotonic: true }),
            spec(|s| s.shape = Shape::Cumulative { monotonic: false }),
            spec(|s| s.shape = Shape::Delta { monotonic: true }),
            spec(|s| s.part = Part::Sum),
            spec(|s| s.part = Part::Bucket(0.5)),
            spec(|s| s.part = Part::Quantile(0.5)),
            spec(|s| s.origin = Origin::Rest),
            spec(|s| s.origin = Origin::Derived { plugin: "p".to_owned(), from: SeriesId(1) }),
            // Pairs that move from the point to the resource, with text that could pass for what stands between them.
            spec(|s| {
                s.attributes = attributes(&[("resource", "a")], "", 0);
                s.resource = Arc::new(attributes(&[("b", "c")], "", 0));
            }),
            spec(|s| s.resource = Arc::new(attributes(&[("a", "resource"), ("b", "c")], "", 0))),
        ];
        for (at, a) in all.iter().enumerate() {
            for b in &all[..at] {
                assert_ne!(identity(AgentId(1), a), identity(AgentId(1), b), "{a:?} and {b:?}");
            }
            assert_ne!(identity(AgentId(1), a), identity(AgentId(2), a));
        }
    }

    #[test]
    fn what_is_derived_from_an_identity_is_no_part_of_it() {
        let other = spec(|s| (s.kind, s.factor, s.integer) = (MetricKind::CpuUsage, 100.0, true));
        assert_eq!(identity(AgentId(1), &other), identity(AgentId(1), &spec(|_| {})));
    }
}
