//! The stages, opened in the order in which they need each other.

use super::Plugins;
use super::error::StartError;
use super::handlers::LogSubmitter;
use crate::auth::Auth;
use crate::clock::now;
use crate::config::Config;
use crate::evaluate::Evaluator;
use crate::evaluate::host::{HostError, PluginSet, PluginState};
use crate::expose::alerts::Notifier;
use crate::expose::otlp::{Exporter, Observer};
use crate::expose::stream::Hub;
use crate::expose::{Rest, ServiceStatus, own_metrics};
use crate::log::LogFile;
use crate::net::ByteBudget;
use crate::normalize::Normalizer;
use crate::store;
use crate::workers::ServiceWorkers;
use crossbeam_channel::Sender;
use parking_lot::RwLock;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use vitals_core::ids::TenantId;
use vitals_core::live_agents::LiveAgents;
use vitals_core::log::{Deliver, Log};
use vitals_core::record::Delivery;
use vitals_core::registry::Registry;
use vitals_core::store::{AlertQuery, EvaluationOutput, Store, StoreError};

/// Bytes of REST requests that may wait for the log and for evaluation.
const REST_BYTES: usize = 64 << 20;

/// The stages, built and replayed, not yet reachable.
pub(super) struct Stages {
    pub(super) registry: Arc<Registry>,
    pub(super) normalizer: Arc<Normalizer>,
    pub(super) plugins: Plugins,
    pub(super) live_agents: Arc<LiveAgents>,
    pub(super) log: Arc<dyn Log>,
    pub(super) store: Arc<dyn Store>,
    pub(super) evaluator: Evaluator,
    pub(super) exporter: Option<Exporter>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) streams: Arc<Hub>,
    pub(super) shards: Vec<Sender<Delivery>>,
    pub(super) workers: ServiceWorkers,
}

impl Stages {
    /// As [`Stages::build`], on a thread that may wait for disks and compilers.
    pub(super) async fn build_on_blocking_thread(
        config: &Config,
        data: &Path,
        workers: &ServiceWorkers,
    ) -> Result<Self, StartError> {
        let (config, data, workers) = (config.clone(), data.to_owned(), workers.clone());
        match tokio::task::spawn_blocking(move || workers.within(|| Self::build(&config, &data, &workers))).await {
            Ok(stages) => stages,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Opens and starts every stage but the listeners. Blocks while plugins compile and the log is replayed. Must run inside a
    /// tokio runtime.
    fn build(config: &Config, data: &Path, workers: &ServiceWorkers) -> Result<Self, StartError> {
        let log_file = LogFile::open(&data.join("log.db"), &config.log)?;
        let partitions = log_file.partitions();
        let (shards, inputs): (Vec<_>, Vec<_>) = (0..partitions).map(|_| crossbeam_channel::unbounded()).unzip();
        let registry = Arc::new(Registry::logged(config.quota, log_file.registrations()));
        let log: Arc<dyn Log> = Arc::new(log_file.start(deliver_to(shards.clone()))?);

        let store = store::open(&data.join("store.db"), &config.store())?;
        registry.restore(store.catalogue()?);

        let plugins: Plugins = Arc::new(RwLock::new(Arc::new(load_usable_plugins(config, data)?)));
        let exporter = Exporter::start(&config.export, registry.clone())?;
        let notifier = Notifier::start(&config.channels, registry.clone(), Some(data))?;
        let streams = Hub::new(&config.expose.stream, registry.clone());
        remember_open(&streams, registry.as_ref(), store.as_ref())?;
        let live_agents = Arc::new(LiveAgents::default());
        let (in_force, known) = (plugins.clone(), registry.clone());
        let evaluator = Evaluator::start(
            &config.evaluate(),
            Arc::new(move |tenant: &TenantId| in_force.read().instances(tenant, &known)),
            registry.clone(),
            log.clone(),
            store.clone(),
            live_agents.clone(),
            inputs,
            observed_by(exporter.as_ref().map(Exporter::observer), notifier.observer(), streams.clone()),
            {
                let notifier = notifier.clone();
                Arc::new(move || notifier.settle())
            },
        )?;
        notifier.caught_up();
        let normalizer = Arc::new(Normalizer::new(&config.normalize(), registry.clone(), partitions)?);
        Ok(Self {
            registry,
            normalizer,
            plugins,
            live_agents,
            log,
            store,
            evaluator,
            exporter,
            notifier,
            streams,
            shards,
            workers: workers.clone(),
        })
    }

    /// The REST stage.
    pub(super) fn rest(&self, config: &Config, auth: &Arc<Auth>, processing_timeout: Arc<AtomicU64>) -> Rest {
        let budget = ByteBudget::new(REST_BYTES);
        Rest {
            registry: self.registry.clone(),
            store: self.store.clone(),
            live_agents: self.live_agents.clone(),
            streams: self.streams.clone(),
            auth: auth.clone(),
            submitter: Arc::new(LogSubmitter { log: self.log.clone(), budget, processing_timeout }),
            plugins: self.list_plugins(),
            status: self.status(),
            metrics: self.metrics(),
            page: Arc::default(),
            config: config.expose(),
            partitions: self.log.partitions(),
            clock: Arc::new(now),
        }
    }

    fn list_plugins(&self) -> Arc<dyn Fn() -> Vec<serde_json::Value> + Send + Sync> {
        let plugins = self.plugins.clone();
        Arc::new(move || plugins.read().list().iter().filter_map(|info| serde_json::to_value(info).ok()).collect())
    }

    /// How the service is whenever it is asked.
    pub(super) fn status(&self) -> Arc<dyn Fn() -> ServiceStatus + Send + Sync> {
        let (log, store, shards) = (self.log.clone(), self.store.clone(), self.shards.clone());
        let workers = self.workers.clone();
        Arc::new(move || {
            let status = ServiceStatus::read(log.as_ref(), store.as_ref(), delivered(&shards), now());
            match workers.death() {
                None => status,
                Some(death) => ServiceStatus { ready: false, processing_queue_status: death, ..status },
            }
        })
    }

    fn metrics(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let (log, store, registry) = (self.log.clone(), self.store.clone(), self.registry.clone());
        let shards = self.shards.clone();
        Arc::new(move || own_metrics::text(log.as_ref(), store.as_ref(), &registry, delivered(&shards), now()))
    }
}

/// Records that are delivered and not yet evaluated.
fn delivered(shards: &[Sender<Delivery>]) -> usize {
    shards.iter().map(Sender::len).sum()
}

/// Compiles the configured plugins, with a cache in `data`; blocks meanwhile.
pub(super) fn load_plugins(config: &Config, data: Option<&Path>) -> Result<PluginSet, HostError> {
    let folder = config.plugin_folder.as_deref();
    let cache = data.map(|data| data.join("plugin-cache"));
    PluginSet::load(&config.plugin_limits, folder, &config.plugins, cache.as_deref())
}

/// As [`load_plugins`], without those that cannot be used: they must not keep the service from starting. Each is named in the log.
fn load_usable_plugins(config: &Config, data: &Path) -> Result<PluginSet, HostError> {
    let (folder, cache) = (config.plugin_folder.as_deref(), data.join("plugin-cache"));
    let plugins = PluginSet::load_usable(&config.plugin_limits, folder, &config.plugins, Some(&cache))?;
    for plugin in plugins.list().iter().filter(|plugin| plugin.state == PluginState::Refused) {
        let (name, source) = (&plugin.name, &plugin.source);
        let reason = plugin.last_error.as_deref().unwrap_or_default();
        tracing::error!(plugin = name, source, reason, "a plugin cannot be used; the service runs without it");
    }
    Ok(plugins)
}

/// Tells the streams which alerts are open already.
fn remember_open(streams: &Hub, registry: &Registry, store: &dyn Store) -> Result<(), StoreError> {
    for tenant in registry.tenants() {
        let query = AlertQuery { resolved: Some(false), ..AlertQuery::of(tenant) };
        streams.remember_open(&store.alerts(&query)?);
    }
    Ok(())
}

/// Shows what evaluation makes to the live streams, the export and the notifications.
fn observed_by(exporter: Option<Observer>, notifier: Observer, streams: Arc<Hub>) -> Observer {
    Arc::new(move |output: &Arc<EvaluationOutput>| {
        streams.observe(output);
        if let Some(exporter) = &exporter {
            exporter(output);
        }
        notifier(output);
    })
}

/// Sends what is committed to its partition's shard.
fn deliver_to(shards: Vec<Sender<Delivery>>) -> Deliver {
    Box::new(move |partition, delivery| {
        let Some(shard) = shards.get(partition.0 as usize) else { return };
        // A shard is gone only while the service stops; the log still has the record.
        if shard.send(delivery).is_err() {
            tracing::debug!(partition = partition.0, "delivered to a stopped shard");
        }
    })
}
