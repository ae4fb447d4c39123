//! From OTLP wire bytes to columns of samples: the walk, agent identity, typed kinds.
//!
//! - `wire`: protobuf's wire format, read in place
//! - `walk`: the walk over a request
//! - `attributes`: attributes of what is seen for the first time
//! - `agents`: which agent a resource is
//! - `kinds`: the rules table from metric names to typed kinds
//! - `memory`: the bound on what a request becomes
//! - `buckets`: quantiles and stable buckets of histograms
//! - `tally`: what was not taken, and why
//!
//! A request is refused as a whole only for what no protobuf decoder could read; otherwise each point stands for itself and
//! is counted when it cannot be taken. Strings that are not UTF-8 and values nested too deep, which only strict decoders
//! refuse, are mended.

mod agents;
mod attributes;
mod buckets;
mod kinds;
mod memory;
#[cfg(test)]
mod oracle;
mod tally;
mod walk;
mod wire;

pub use kinds::RulesError;
pub use wire::Malformed;

/// Why nothing of a request was taken.
#[derive(Debug, thiserror::Error)]
pub enum NormalizeError {
    /// No protobuf decoder could read it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is no memory for what it becomes.
    #[error("there is no memory to read the request in")]
    NoMemory,
}

use agents::EntityRef;
use attributes::Limits;
use hashbrown::{HashMap, HashSet};
use kinds::Rules;
use memory::Memory;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use tally::{Reason, Tally};
use vitals_core::caller::Caller;
use vitals_core::ids::{AgentId, Partition, SeriesId, TenantId, UnixNanos};
use vitals_core::record::Samples;
use vitals_core::registry::{IdentityHash, Registry, RegistryError};
use vitals_core::series::Attributes;
use walk::{ColumnBatch, NewSeries, UNKNOWN, UnresolvedRow, Walk};

/// `[normalize]`
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizeConfig {
    /// How resources are told apart as agents; the first rule that has all it needs counts. `src/default.toml` says how one is
    /// written.
    pub agent_identity: Vec<String>,
    /// Most attributes of a point, a scope or a resource.
    pub max_attributes: usize,
    /// Most bytes of all attributes of a point, a scope or a resource, as text.
    pub max_attribute_bytes: usize,
    /// Longest metric name, unit, scope name and scope version, bytes.
    pub max_name_bytes: usize,
    /// How far ahead of this machine's clock a point may be.
    pub max_future_seconds: u64,
    /// Most byte strings remembered for each tenant's series; past that they are learned anew.
    pub max_known_identities: usize,
    /// Most resources remembered; past that, or past 128 MiB of their attributes, they are learned anew.
    pub max_known_resources: usize,
    /// A rules table of your own (TOML, like the built-in one); its rules come before the built-in ones.
    pub rules: Option<PathBuf>,
    /// Points of a day (UTC) that is older than this are rejected, because the store would delete them; from
    /// `telemetry.metrics_retention_days`.
    #[serde(skip)]
    pub sample_retention_days: u32,
    /// Whether the store takes finite numbers only, as InfluxDB does; from `store.kind`.
    #[serde(skip)]
    pub finite_only: bool,
}

impl Default for NormalizeConfig {
    fn default() -> Self {
        Self {
            agent_identity: agents::DEFAULT.map(str::to_owned).to_vec(),
            max_attributes: 128,
            max_attribute_bytes: 16_384,
            max_name_bytes: 1024,
            max_future_seconds: 86_400,
            max_known_identities: 4_000_000,
            max_known_resources: 200_000,
            rules: None,
            sample_retention_days: 90,
            finite_only: false,
        }
    }
}

/// What a request became.
#[derive(Debug)]
pub struct Normalized {
    /// The rows of each partition that has any, or whose agents showed life.
    pub batches: Vec<(Partition, Samples)>,
    /// Points not taken.
    pub rejected: u64,
    /// Why, and what else the sender should know; empty when all was taken as it came.
    pub reason: String,
}

/// Most bytes of attributes of the resources that are remembered.
const MOST_RESOURCE_BYTES: usize = 128 << 20;

/// What is known of a resource by its bytes.
struct Resource {
    hash: IdentityHash,
    agent: AgentId,
    key: String,
    partition: Partition,
    attributes: Arc<Attributes>,
    reject: Option<Reason>,
}

impl Resource {
    fn rejected(reason: Reason) -> Self {
        Self {
            hash: 0,
            agent: AgentId(u32::MAX),
            key: String::new(),
            partition: Partition(0),
            attributes: Arc::default(),
            reject: Some(reason),
        }
    }
}

/// Resources by their bytes.
#[derive(Default)]
struct KnownResources {
    by_bytes: HashMap<IdentityHash, Arc<Resource>>,
    /// Bytes of their attributes.
    attribute_bytes: usize,
}

impl KnownResources {
    /// Remembers `resource`; all others are forgotten when they are `most`, or when their attributes are too many bytes.
    fn remember(&mut self, resource: Arc<Resource>, most: usize) {
        let bytes = resource.attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        self.attribute_bytes += bytes;
        if self.by_bytes.len() >= most || self.attribute_bytes > MOST_RESOURCE_BYTES {
            self.by_bytes.clear();
            self.attribute_bytes = bytes;
        }
        self.by_bytes.insert(resource.hash, resource);
    }
}

/// A new series with its id, or why it has none.
type Learned = (IdentityHash, Result<SeriesId, Reason>);

/// Turns requests into columns. One for the process; every method can be called from many threads at once.
pub struct Normalizer {
    config: NormalizeConfig,
    registry: Arc<Registry>,
    partitions: u32,
    /// Random, so that nobody can prepare identities whose hashes meet.
    seed: u64,
    rules: Rules,
    identity: agents::Identity,
    resources: RwLock<KnownResources>,
    /// Fallback names that were told about resource detection.
    hinted: Mutex<HashSet<String>>,
}

impl Normalizer {
    /// For `partitions` partitions of the log.
    ///
    /// # Errors
    /// When the rules table or a rule of the agents' identity cannot be read.
    pub fn new(config: &NormalizeConfig, registry: Arc<Registry>, partitions: u32) -> Result<Self, RulesError> {
        let rules = Self::rules(config)?;
        Ok(Self {
            config: config.clone(),
            registry,
            partitions: partitions.max(1),
            seed: seed(),
            rules,
            identity: agents::Identity::new(&config.agent_identity)?,
            resources: RwLock::default(),
            hinted: Mutex::default(),
        })
    }

    /// Whether the rules table and the rules of the agents' identity can be used.
    ///
    /// # Errors
    /// When one cannot.
    pub fn check(config: &NormalizeConfig) -> Result<(), RulesError> {
        Self::rules(config)?;
        agents::Identity::new(&config.agent_identity).map(drop)
    }

    fn rules(config: &NormalizeConfig) -> Result<Rules, RulesError> {
        let extra = config.rules.as_ref().map(|path| {
            let name = path.display().to_string();
            std::fs::read_to_string(path)
                .map(|text| (name.clone(), text))
                .map_err(|source| RulesError::Unreadable { path: name, source })
        });
        let extra = extra.transpose()?;
        let own = extra.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let tables: Vec<_> = own.chain([("built in", kinds::BUILT_IN)]).collect();
        Rules::new(&tables)
    }

    /// Walks a request of `tenant`. Points of a resource that says nothing of an agent belong to `fallback_agent`.
    ///
    /// # Errors
    /// When no protobuf decoder could read it; nothing of it is taken then.
    pub fn otlp(
        &self,
        tenant: &TenantId,
        fallback_agent: &str,
        now: UnixNanos,
        body: &[u8],
    ) -> Result<Normalized, Malformed> {
        let caller = Caller { tenant: tenant.clone(), ..Caller::anonymous() };
        match self.otlp_as(&caller, fallback_agent, now, body, &mut |_| true) {
            Ok(normalized) => Ok(normalized),
            Err(NormalizeError::Malformed(malformed)) => Err(malformed),
            // All memory is allowed.
            Err(NormalizeError::NoMemory) => Err(Malformed::Truncated),
        }
    }

    /// As [`Self::otlp`]; points of agents that the caller may not touch are rejected. `may_use` is asked before memory is
    /// allocated, with all bytes in use beside the body.
    ///
    /// # Errors
    /// When no protobuf decoder could read it, or `may_use` does not allow the memory; nothing of it is taken then.
    pub fn otlp_as(
        &self,
        caller: &Caller,
        fallback_agent: &str,
        now: UnixNanos,
        body: &[u8],
        may_use: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Normalized, NormalizeError> {
        let tenant = self.registry.tenant(&caller.tenant);
        let known = tenant.wire();
        let mut walk = Walk::new(self, caller, fallback_agent, now, body, &known, Memory::new(may_use));
        walk.request()?;
        let Walk { mut batches, new_series, unresolved, mut tally, memory, .. } = walk;
        if memory.is_used_up() {
            return Err(NormalizeError::NoMemory);
        }
        let full = known.len() + new_series.len() > self.config.max_known_identities;
        drop(known);
        if !new_series.is_empty() {
            let learned = self.learn(&caller.tenant, new_series);
            fill(&mut batches, &unresolved, &learned, &mut tally);
            if full {
                tenant.forget_wire();
            }
            self.registry.remember_wire(&tenant, learned.into_iter().filter_map(|(hash, id)| Some((hash, id.ok()?))));
        }
        tally.publish();
        Ok(Normalized {
            batches: finished(batches, &caller.tenant, now),
            rejected: tally.total(),
            reason: tally.sentence(),
        })
    }

    /// Registers new series, agent by agent; in the order of `new_series`, with the reason where a quota is used up.
    fn learn(&self, tenant: &TenantId, new_series: Vec<NewSeries>) -> Vec<Learned> {
        let mut learned: Vec<Learned> = new_series.iter().map(|miss| (miss.hash, Err(Reason::SeriesQuota))).collect();
        let mut by_agent: HashMap<AgentId, (Vec<usize>, Vec<_>)> = HashMap::new();
        for (at, miss) in new_series.into_iter().enumerate() {
            let (places, specs) = by_agent.entry(miss.agent).or_default();
            places.push(at);
            specs.push(miss.spec);
        }
        for (agent, (places, specs)) in by_agent {
            let mut refused = 0;
            for (at, id) in places.into_iter().zip(self.registry.intern_series(tenant, agent, specs)) {
                let Some(slot) = learned.get_mut(at) else { continue };
                slot.1 = id.map_err(|error| match error {
                    RegistryError::TooManySeriesOfAgent { .. } => {
                        refused += 1;
                        Reason::AgentSeriesQuota
                    }
                    RegistryError::TooManySeries { .. } | RegistryError::TooManyAgents { .. } => Reason::SeriesQuota,
                });
            }
            if refused > 0 {
                self.name_offender(tenant, agent, refused);
            }
        }
        learned
    }

    /// Says which agent has used up its quota of series. There are few of those: each has many series.
    #[cold]
    fn name_offender(&self, tenant: &TenantId, agent: AgentId, refused: u64) {
        let limit = self.registry.series_use(agent).limit;
        let agent = self.registry.agent(agent).map_or_else(String::new, |agent| agent.key.clone());
        tracing::warn!(%tenant, agent, refused, limit, "an agent has as many series as it may have; new ones are refused");
        let labels = [("tenant", tenant.to_string()), ("agent", agent)];
        metrics::counter!("vitals_agent_series_refused_total", &labels).increment(refused);
    }

    fn limits(&self) -> Limits {
        Limits { count: self.config.max_attributes, bytes: self.config.max_attribute_bytes }
    }

    fn resource(&self, key: IdentityHash) -> Option<Arc<Resource>> {
        // Who was retired is another agent from now on.
        let known = self.resources.read().by_bytes.get(&key).cloned();
        known.filter(|known| self.registry.is_current(known.agent))
    }

    /// Finds out which agent a new resource is, and remembers it.
    fn identify(
        &self,
        caller: &Caller,
        fallback: &str,
        now: UnixNanos,
        hash: IdentityHash,
        attributes: Attributes,
        entities: &[EntityRef],
    ) -> Result<Arc<Resource>, Reason> {
        let key = self.identity.name(&attributes, entities).unwrap_or_else(|| {
            self.hint(fallback);
            agents::of_sender(fallback).into_owned()
        });
        if !caller.may_touch(&key) {
            return Err(Reason::ForeignAgent);
        }
        let profile = agents::profile(&attributes);
        let agent = self.registry.intern_agent(&caller.tenant, &key, now, &profile).map_err(|_| Reason::AgentQuota)?;
        let resource = Arc::new(Resource {
            hash,
            agent,
            key,
            partition: Partition::of(agent, self.partitions),
            attributes: Arc::new(attributes),
            reject: None,
        });
        self.resources.write().remember(resource.clone(), self.config.max_known_resources);
        Ok(resource)
    }

    fn hint(&self, fallback: &str) {
        const MOST: usize = 10_000;
        let mut hinted = self.hinted.lock();
        if hinted.len() < MOST && hinted.insert(fallback.to_owned()) {
            tracing::info!(
                agent = fallback,
                "metrics came with a resource that names no host or service; they belong to the sender. \
                 Add the resourcedetection processor to the Collector's pipeline to name the host"
            );
        }
    }
}

fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // No randomness from the system: the standard library's per-process keys.
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0)
    })
}

/// Gives the waiting rows their series; rows whose series was not registered are taken out and their points counted.
fn fill(batches: &mut [ColumnBatch], unresolved: &[UnresolvedRow], learned: &[Learned], tally: &mut Tally) {
    let mut last_rejected = None;
    for hole in unresolved {
        let id = learned.get(hole.miss).map_or(Err(Reason::SeriesQuota), |(_, id)| *id);
        let slot = batches.get_mut(hole.partition).and_then(|b| b.columns.series.get_mut(hole.row));
        match (id, slot) {
            (Ok(id), Some(slot)) => *slot = id.0,
            (id, _) => {
                // A point of several rows is one point.
                if last_rejected != Some(hole.point) {
                    last_rejected = Some(hole.point);
                    tally.reject(id.err().unwrap_or(Reason::SeriesQuota));
                }
            }
        }
    }
    if last_rejected.is_none() {
        return;
    }
    for ColumnBatch { columns, starts, .. } in batches {
        let keep: Vec<bool> = columns.series.iter().map(|s| *s != UNKNOWN).collect();
        *starts = starts.retained(&keep);
        let mut flags = keep.iter();
        columns.times.retain(|_| *flags.next().unwrap_or(&true));
        let mut flags = keep.iter();
        columns.values.retain(|_| *flags.next().unwrap_or(&true));
        columns.series.retain(|s| *s != UNKNOWN);
    }
}

fn finished(batches: Vec<ColumnBatch>, tenant: &TenantId, now: UnixNanos) -> Vec<(Partition, Samples)> {
    let numbered = (0..).map(Partition).zip(batches);
    numbered
        .filter(|(_, batch)| !batch.columns.is_empty() || !batch.alive.is_empty())
        .map(|(partition, mut batch)| {
            batch.alive.sort_unstable();
            batch.alive.dedup();
            let ColumnBatch { alive, columns, starts } = batch;
            (partition, Samples { tenant: tenant.clone(), received_at: now, alive, columns, starts })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_resources_are_bounded_in_number_and_in_bytes() {
        let resource = |hash: u32, bytes: usize| {
            let attributes = Attributes::new(vec![("k".to_owned(), "x".repeat(bytes))], "s", 0);
            let mut resource = Resource::rejected(Reason::NoName);
            (resource.hash, resource.attributes) = (hash.into(), Arc::new(attributes));
            Arc::new(resource)
        };
        let mut known = KnownResources::default();
        for hash in 0..100 {
            known.remember(resource(hash, 10), 30);
            assert!(known.by_bytes.len() <= 30 && known.by_bytes.contains_key(&u128::from(hash)));
        }
        let mut known = KnownResources::default();
        let large = MOST_RESOURCE_BYTES / 3;
        for hash in 0..10 {
            known.remember(resource(hash, large), 1_000);
            let held: usize = known.by_bytes.values().map(|one| one.attributes[0].1.len() + 1).sum();
            assert_eq!(known.attribute_bytes, held);
            assert!(held <= MOST_RESOURCE_BYTES && known.by_bytes.contains_key(&u128::from(hash)));
        }
    }
}
