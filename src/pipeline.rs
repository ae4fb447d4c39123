//! The only file that wires the stages together: a running service, from its configuration to its last sync.

use crate::auth::{self, Auth, AuthError};
use crate::clock::now;
use crate::config::{self, Config, ConfigError};
use crate::evaluate::host::{HostError, PluginSet};
use crate::evaluate::{Evaluator, StartError as EvaluateError};
use crate::expose::alerts::{ChannelError, Notifier, PreparedChannels};
use crate::expose::otlp::{ExportError, Exporter, Observer};
use crate::expose::{self, RecordSubmitter, Rest, ServiceStatus, Submitted};
use crate::log::LogFile;
use crate::net::{ByteBudget, Refusal};
use crate::normalize::{Normalizer, RulesError};
use crate::receive::{self, Accepted, ExportHandler};
use crate::store;
use bytes::Bytes;
use crossbeam_channel::Sender;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use vitals_core::caller::Caller;
use vitals_core::ids::{Partition, Position, TenantId, UnixNanos};
use vitals_core::live_agents::LiveAgents;
use vitals_core::log::{Deliver, Log, LogError};
use vitals_core::record::{Delivery, Record, Ticket};
use vitals_core::registry::Registry;
use vitals_core::store::{EvaluationOutput, OutboxStats, Store, StoreError};

mod check;

/// Bytes of REST requests that may wait for the log and for evaluation.
const REST_BYTES: usize = 64 << 20;
/// Records waiting from which the service says that it is overloaded.
const BUSY: u64 = 10_000;
/// How often the store merges and drops what is past its retention.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {path}: {source}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listener cannot be opened.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tokens' keys cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] HostError),
    /// The replay of the log failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The rules table cannot be used.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The exporter cannot be set up.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A channel for notifications cannot be set up.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// More than one thing.
    #[error("{}", config::listed(.0))]
    Several(Vec<StartError>),
}

/// Why new settings were not taken over. Nothing changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The settings do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] HostError),
    /// A channel for notifications cannot be set up.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// More than one thing.
    #[error("{}", config::listed(.0))]
    Several(Vec<ReloadError>),
}

/// What new settings changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The settings that differ from those before.
    pub changed: Vec<String>,
    /// The settings that differ from those of the start, and take effect at the next one only.
    pub needs_restart: Vec<String>,
}

/// Where the service listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// REST and pages.
    pub rest: SocketAddr,
}

/// The plugins in force.
type Plugins = Arc<RwLock<Arc<PluginSet>>>;

/// What was configured.
struct Configured {
    /// At the start.
    first: Config,
    /// Last.
    last: Config,
}

/// A running service.
pub struct Service {
    addresses: Addresses,
    data: PathBuf,
    configured: tokio::sync::Mutex<Configured>,
    plugins: Plugins,
    /// Milliseconds that REST waits for evaluation.
    processing_timeout: Arc<AtomicU64>,
    rest: watch::Sender<Arc<Rest>>,
    auth: Arc<Auth>,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    evaluator: Evaluator,
    exporter: Option<Exporter>,
    notifier: Arc<Notifier>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// Opens the data folder, replays what the last run left in the log, then listens.
    ///
    /// # Errors
    /// When a folder, a key, a plugin, the log, the store or a listener cannot be used; nothing is left running.
    pub async fn start(config: Config, data: &Path) -> Result<Self, StartError> {
        // What is counted from here on is told, not only what is counted after the first question.
        recorder();
        let mut refusals = Self::refusals(&config, data);
        match refusals.len() {
            0 => {}
            1 => return Err(refusals.remove(0)),
            _ => return Err(StartError::Several(refusals)),
        }
        auth::make_folder(data).map_err(|source| StartError::Data { path: data.into(), source })?;
        // Ports first: a second service on them should fail before it waits for a replay.
        let grpc = listen("receive.grpc", &config.receive.grpc).await?;
        let http = listen("receive.http", &config.receive.http).await?;
        let rest = listen("expose.rest", &config.expose.rest).await?;
        let addresses = Addresses {
            grpc: address("receive.grpc", &config.receive.grpc, &grpc)?,
            http: address("receive.http", &config.receive.http, &http)?,
            rest: address("expose.rest", &config.expose.rest, &rest)?,
        };
        let auth = Arc::new(Auth::load(&config.auth, data)?);

        // Opening and replaying wait for disks and compilers.
        let folder = data.to_owned();
        let built = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Stages::build(&config, &folder)
        });
        let stages = match built.await {
            Ok(stages) => stages?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };

        let (stop, stopped) = watch::channel(false);
        let processing_timeout = Arc::new(AtomicU64::new(config.telemetry.processing_timeout_ms));
        let (stage, rest_settings) = watch::channel(Arc::new(stages.rest(&config, &auth, processing_timeout.clone())));
        let tasks = stages.serve(&config, &auth, grpc, http, (rest, rest_settings), &stopped);
        Ok(Self {
            addresses,
            data: data.to_owned(),
            configured: tokio::sync::Mutex::new(Configured { first: config.clone(), last: config }),
            plugins: stages.plugins,
            processing_timeout,
            rest: stage,
            auth,
            log: stages.log,
            store: stages.store,
            evaluator: stages.evaluator,
            exporter: stages.exporter,
            notifier: stages.notifier,
            stop,
            tasks,
        })
    }

    /// Where the service listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The tokens' keys, to issue one.
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// Takes over new settings, from the next record and request on; what changed is returned, and what of it takes effect at
    /// the next start only. Plugins are made anew, with the state of those before, when what is configured of them changed, or
    /// when `plugins_too`.
    ///
    /// # Errors
    /// When they cannot be used; then nothing changes.
    pub async fn reload(&self, config: Config, plugins_too: bool) -> Result<Reloaded, ReloadError> {
        let mut configured = self.configured.lock().await;
        let last = &configured.last;
        let of_plugins =
            |config: &Config| (config.plugin_folder.clone(), config.plugin_limits.clone(), config.plugins.clone());
        let new_plugins = plugins_too || of_plugins(last) != of_plugins(&config);
        // First all that can fail, so that a refusal names everything that is wrong and leaves everything as it was.
        let settings = config.check().err().into_iter().flat_map(ConfigError::each);
        // What is wrong with channels is found below, with their secrets.
        let settings = settings.filter(|error| !matches!(error, ConfigError::Channel(_)));
        let mut refusals: Vec<ReloadError> = settings.map(ReloadError::Config).collect();
        let plugins = if new_plugins {
            let (config, data) = (config.clone(), self.data.clone());
            match tokio::task::spawn_blocking(move || load_plugins(&config, Some(&data))).await {
                Ok(Ok(plugins)) => Some(plugins),
                Ok(Err(error)) => {
                    refusals.push(error.into());
                    None
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        } else {
            None
        };
        let channels = self.notifier.prepare(&config.channels).unwrap_or_else(|errors| {
            refusals.extend(errors.into_iter().map(ReloadError::Channel));
            PreparedChannels::default()
        });
        match refusals.len() {
            0 => {}
            1 => return Err(refusals.remove(0)),
            _ => return Err(ReloadError::Several(refusals)),
        }
        // From here on nothing can fail, and nothing waits: a caller that gives up in between cannot leave half of it.
        let expose = config.live_expose(&configured.first);
        self.notifier.reload(channels);
        if let Some(plugins) = plugins {
            *self.plugins.write() = Arc::new(plugins);
        }
        self.evaluator.reload(&config.evaluate(), new_plugins);
        self.processing_timeout.store(config.telemetry.processing_timeout_ms, Ordering::Relaxed);
        self.rest.send_modify(|stage| *stage = Arc::new(Rest { config: expose, ..Rest::clone(stage) }));
        let reloaded = Reloaded {
            changed: config::changed(&configured.last, &config),
            needs_restart: config::needs_restart(&configured.first, &config),
        };
        configured.last = config;
        Ok(reloaded)
    }

    /// Stops listening, answers what is under way, evaluates and stores what is in the log.
    pub async fn stop(self) {
        // Fails only when nobody listens any more.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a server ended badly");
            }
        }
        let finished = tokio::task::spawn_blocking(move || {
            self.log.close();
            // Evaluation waits for its seals; from here on those of a disk that fails are given up.
            self.store.stopping();
            self.evaluator.stop();
            self.store.close();
        });
        if let Err(error) = finished.await {
            tracing::error!(%error, "the service did not stop cleanly; the log is replayed at the next start");
        }
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        self.notifier.stop().await;
    }
}

/// The stages, built and replayed, not yet reachable.
struct Stages {
    registry: Arc<Registry>,
    normalizer: Arc<Normalizer>,
    plugins: Plugins,
    live_agents: Arc<LiveAgents>,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    evaluator: Evaluator,
    exporter: Option<Exporter>,
    notifier: Arc<Notifier>,
    shards: Vec<Sender<Delivery>>,
}

impl Stages {
    /// Blocks while plugins compile and the log is replayed. Must run inside a tokio runtime.
    fn build(config: &Config, data: &Path) -> Result<Self, StartError> {
        let log_file = LogFile::open(&data.join("log.db"), &config.log)?;
        let partitions = log_file.partitions();
        let (shards, inputs): (Vec<_>, Vec<_>) = (0..partitions).map(|_| crossbeam_channel::unbounded()).unzip();
        let registry = Arc::new(Registry::logged(config.quota, log_file.registrations()));
        let log: Arc<dyn Log> = Arc::new(log_file.start(deliver_to(shards.clone()))?);

        let store = store::open(&data.join("store.db"), &config.store())?;
        registry.restore(store.catalogue()?);

        let plugins: Plugins = Arc::new(RwLock::new(Arc::new(load_plugins(config, Some(data))?)));
        let exporter = Exporter::start(&config.export, registry.clone())?;
        let notifier = Notifier::start(&config.channels, registry.clone(), Some(data))?;
        let live_agents = Arc::new(LiveAgents::default());
        let judges = plugins.clone();
        let evaluator = Evaluator::start(
            &config.evaluate(),
            Arc::new(move |tenant: &TenantId| judges.read().instances(tenant)),
            registry.clone(),
            log.clone(),
            store.clone(),
            live_agents.clone(),
            inputs,
            observed_by(exporter.as_ref().map(Exporter::observer), notifier.observer()),
            {
                let notifier = notifier.clone();
                Arc::new(move || notifier.settle())
            },
        )?;
        notifier.caught_up();
        let normalizer = Arc::new(Normalizer::new(&config.normalize(), registry.clone(), partitions)?);
        Ok(Self { registry, normalizer, plugins, live_agents, log, store, evaluator, exporter, notifier, shards })
    }

    /// The REST stage.
    fn rest(&self, config: &Config, auth: &Arc<Auth>, processing_timeout: Arc<AtomicU64>) -> Rest {
        let budget = Arc::new(Semaphore::new(REST_BYTES));
        Rest {
            registry: self.registry.clone(),
            store: self.store.clone(),
            live_agents: self.live_agents.clone(),
            auth: auth.clone(),
            submitter: Arc::new(LogSubmitter { log: self.log.clone(), budget, processing_timeout }),
            plugins: self.list_plugins(),
            status: self.status(),
            metrics: self.metrics(),
            config: config.expose(),
            partitions: self.log.partitions(),
            clock: Arc::new(now),
        }
    }

    /// Starts the listeners and the maintenance of the store; each ends when `stopped` says so.
    fn serve(
        &self,
        config: &Config,
        auth: &Arc<Auth>,
        grpc: TcpListener,
        http: TcpListener,
        (rest, stage): (TcpListener, watch::Receiver<Arc<Rest>>),
        stopped: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let otlp = Arc::new(OtlpExportHandler {
            normalizer: self.normalizer.clone(),
            log: self.log.clone(),
            status: self.status(),
        });
        let otlp_auth = config.auth.otlp.then(|| auth.clone());
        let budget = ByteBudget::new(config.receive.max_in_flight_bytes);
        let receive = Arc::new(config.receive.clone());
        let (grpc_stop, http_stop, rest_stop) = (until(stopped), until(stopped), until(stopped));
        let over_grpc = {
            let (receive, budget, otlp, auth) = (receive.clone(), budget.clone(), otlp.clone(), otlp_auth.clone());
            async move { receive::serve_grpc(grpc, &receive, budget, otlp, auth, grpc_stop).await }
        };
        let over_http = async move { receive::serve_http(http, &receive, budget, otlp, otlp_auth, http_stop).await };
        let over_rest = async move {
            if let Err(error) = expose::serve(rest, stage, rest_stop).await {
                tracing::error!(%error, "the REST listener stopped");
            }
        };
        vec![
            tokio::spawn(over_grpc),
            tokio::spawn(over_http),
            tokio::spawn(over_rest),
            tokio::spawn(maintain(self.store.clone(), stopped.clone())),
        ]
    }

    fn list_plugins(&self) -> Arc<dyn Fn() -> Vec<serde_json::Value> + Send + Sync> {
        let plugins = self.plugins.clone();
        Arc::new(move || plugins.read().list().iter().filter_map(|info| serde_json::to_value(info).ok()).collect())
    }

    fn status(&self) -> Arc<dyn Fn() -> ServiceStatus + Send + Sync> {
        let (log, store, shards) = (self.log.clone(), self.store.clone(), self.shards.clone());
        Arc::new(move || service_status(log.as_ref(), store.as_ref(), shards.iter().map(Sender::len).sum()))
    }

    fn metrics(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let (log, store, registry) = (self.log.clone(), self.store.clone(), self.registry.clone());
        let shards = self.shards.clone();
        let recorder = recorder();
        Arc::new(move || {
            let (held, stored) = (log.stats(), store.stats());
            let waiting: usize = shards.iter().map(Sender::len).sum();
            metrics::gauge!("vitals_log_bytes").set(held.bytes as f64);
            metrics::gauge!("vitals_log_records").set(held.records as f64);
            metrics::gauge!("vitals_log_queued").set(held.queued as f64);
            metrics::gauge!("vitals_evaluate_queued").set(waiting as f64);
            metrics::gauge!("vitals_store_samples").set(stored.samples as f64);
            metrics::gauge!("vitals_store_bytes").set(stored.bytes as f64);
            metrics::gauge!("vitals_store_pending").set(stored.pending as f64);
            metrics::gauge!("vitals_series").set(registry.series_count() as f64);
            if let Some(outbox) = store.outbox() {
                let age = outbox.since.map_or(0, |since| now().since(since).max(0));
                metrics::gauge!("vitals_store_outbox_samples").set(outbox.samples as f64);
                metrics::gauge!("vitals_store_outbox_bytes").set(outbox.bytes as f64);
                metrics::gauge!("vitals_store_outbox_age_seconds").set(age as f64 / UnixNanos::SECOND as f64);
            }
            recorder.render()
        })
    }
}

/// How a store does that sends to a server. What cannot be sent waits, so this says nothing against taking more.
fn describe(outbox: &OutboxStats) -> String {
    let waits = || {
        let age = outbox.since.map_or(0, |since| now().since(since).max(0) / UnixNanos::SECOND);
        format!("{} samples ({} bytes) wait here, the oldest for {age} s", outbox.samples, outbox.bytes)
    };
    let refused = || outbox.refusal.as_ref().map(|why| format!("{} lines were refused: {why}", outbox.refused));
    match (&outbox.trouble, refused()) {
        (None, None) => "connected".to_owned(),
        (None, Some(refused)) => format!("connected; {refused}"),
        (Some(trouble), refused) => {
            let refused = refused.map_or_else(String::new, |refused| format!("; {refused}"));
            format!("nothing is sent to the server now: {trouble}; {}{refused}", waits())
        }
    }
}

/// The process's recorder of metrics; there can be only one, however many services a test starts.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("metrics are recorded elsewhere; GET /metrics will be empty");
            }
            handle
        })
        .clone()
}

/// Resolves when `stopped` says so, or nobody can say so any more.
fn until(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stopped.clone();
    async move {
        // An error means that the service is gone, which is a stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    }
}

/// Has the store merge and forget, on a thread that may block, until `stopped`.
async fn maintain(store: Arc<dyn Store>, stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = until(&stopped) => return,
            () = tokio::time::sleep(MAINTENANCE) => {}
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.maintain(now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the store could not be maintained; trying again"),
            Err(error) => tracing::error!(%error, "the store's maintenance failed; trying again"),
        }
    }
}

/// Compiles the configured plugins, with a cache in `data`; blocks meanwhile.
fn load_plugins(config: &Config, data: Option<&Path>) -> Result<PluginSet, HostError> {
    let folder = config.plugin_folder.as_deref();
    let cache = data.map(|data| data.join("plugin-cache"));
    PluginSet::load(&config.plugin_limits, folder, &config.plugins, cache.as_deref())
}

/// Who hears of what evaluation makes.
fn observed_by(exporter: Option<Observer>, notifier: Observer) -> Observer {
    Arc::new(move |output: &Arc<EvaluationOutput>| {
        if let Some(exporter) = &exporter {
            exporter(output);
        }
        notifier(output);
    })
}

/// How the service is, with `waiting` records on their way to the shards. Reads the disk, but little of it.
fn service_status(log: &dyn Log, store: &dyn Store, waiting: usize) -> ServiceStatus {
    // Asking for a position touches the disk, so that the answer is the truth and not a memory.
    let (usable, database_status) = match store.stored(Partition(0)) {
        Err(error) => (false, error.to_string()),
        Ok(_) => match store.trouble() {
            Some(trouble) => (false, trouble),
            None => (true, store.outbox().map_or_else(|| "connected".to_owned(), |outbox| describe(&outbox))),
        },
    };
    let queued = log.stats().queued + waiting as u64;
    let processing_queue_status = match log
        .last(Partition(0))
        .map_err(|error| error.to_string())
        .and_then(|last| log.trouble().map_or(Ok(last), Err))
    {
        Err(trouble) => trouble,
        Ok(_) if queued > BUSY => "overloaded".to_owned(),
        Ok(_) => "healthy".to_owned(),
    };
    let ready = usable && processing_queue_status == "healthy";
    ServiceStatus { ready, database_status, processing_queue_status, queued }
}

/// OTLP requests: walked, logged, acknowledged.
struct OtlpExportHandler {
    normalizer: Arc<Normalizer>,
    log: Arc<dyn Log>,
    status: Arc<dyn Fn() -> ServiceStatus + Send + Sync>,
}

impl ExportHandler for OtlpExportHandler {
    fn ready(&self) -> bool {
        (self.status)().ready
    }

    async fn ingest(
        &self,
        caller: Caller,
        peer: SocketAddr,
        body: Bytes,
        permit: Box<dyn Send>,
    ) -> Result<Accepted, Refusal> {
        let fallback = caller.subject.clone().unwrap_or_else(|| peer.ip().to_string());
        let normalized = self
            .normalizer
            .otlp_as(&caller, &fallback, now(), &body)
            .map_err(|malformed| Refusal::Malformed(malformed.to_string()))?;
        // The bytes stay in flight until the last partition has evaluated its share.
        let permit: Arc<Mutex<Box<dyn Send>>> = Arc::new(Mutex::new(permit));
        let commits: Vec<_> = normalized
            .batches
            .into_iter()
            .map(|(partition, samples)| {
                let ticket = Ticket { permit: Some(Box::new(permit.clone())), reply: None };
                commit(&self.log, partition, Record::Samples(samples), ticket)
            })
            .collect();
        for committed in commits {
            committed.await.unwrap_or(Err(LogError::Closed)).map_err(Refusal::from)?;
        }
        Ok(Accepted { rejected: normalized.rejected, reason: normalized.reason })
    }
}

/// Appends to the log; the receiver hears when the record is durable.
fn commit(
    log: &Arc<dyn Log>,
    partition: Partition,
    record: Record,
    ticket: Ticket,
) -> oneshot::Receiver<Result<Position, LogError>> {
    let (done, committed) = oneshot::channel();
    // A sender that hung up does not undo what it sent.
    let done = Box::new(move |result| drop(done.send(result)));
    log.append(partition, record, ticket, done);
    committed
}

/// REST records: logged, evaluated, answered.
struct LogSubmitter {
    log: Arc<dyn Log>,
    budget: Arc<Semaphore>,
    /// Milliseconds.
    processing_timeout: Arc<AtomicU64>,
}

impl RecordSubmitter for LogSubmitter {
    fn submit(&self, partition: Partition, record: Record, bytes: usize) -> Submitted {
        let weight = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(permit) = self.budget.clone().try_acquire_many_owned(weight) else {
            metrics::counter!("vitals_rest_refused_total").increment(1);
            return Box::pin(async { Err(Refusal::BytesInFlight) });
        };
        let (reply, outcome) = oneshot::channel();
        let ticket =
            Ticket { permit: Some(Box::new(permit)), reply: Some(Box::new(move |result| drop(reply.send(result)))) };
        let committed = commit(&self.log, partition, record, ticket);
        let processing_timeout_ms = self.processing_timeout.load(Ordering::Relaxed);
        let evaluated = async move {
            committed.await.unwrap_or(Err(LogError::Closed))?;
            outcome.await.map_err(|_| Refusal::Stopping)
        };
        Box::pin(async move {
            // What is late may be taken all the same; who sends it again changes nothing.
            match tokio::time::timeout(Duration::from_millis(processing_timeout_ms), evaluated).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Refusal::NotEvaluated { processing_timeout_ms }),
            }
        })
    }
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

async fn listen(key: &'static str, to: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(to).await.map_err(|source| listen_error(key, to, source))
}

fn listen_error(key: &'static str, to: &str, source: std::io::Error) -> StartError {
    StartError::Listen { key, address: to.to_owned(), source }
}

fn address(key: &'static str, to: &str, listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| listen_error(key, to, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitals_core::ids::AgentId;
    use vitals_core::log::{Done, LogStats};

    /// A log that never gets anything onto the disk.
    struct Stuck;

    impl Log for Stuck {
        fn partitions(&self) -> u32 {
            1
        }

        /// Kept for ever, as by a disk that does not answer.
        fn append(&self, _: Partition, _: Record, ticket: Ticket, done: Done) {
            std::mem::forget((ticket, done));
        }

        fn read(&self, _: Partition, _: Position, _: usize) -> Result<Vec<(Position, Record)>, LogError> {
            Ok(Vec::new())
        }

        fn last(&self, _: Partition) -> Result<Position, LogError> {
            Ok(Position(0))
        }

        fn cut(&self, _: Partition, _: Position) -> Result<(), LogError> {
            Ok(())
        }

        fn skip(&self, _: Partition, _: Position) -> Result<(), LogError> {
            Ok(())
        }

        fn stats(&self) -> LogStats {
            LogStats::default()
        }

        fn trouble(&self) -> Option<String> {
            None
        }

        fn close(&self) {}
    }

    /// Overwrites the pages of a file that hold nothing but `byte`, behind the number of the page that follows.
    fn damage_pages_of(path: &std::path::Path, byte: u8) -> usize {
        const PAGE: usize = 16 * 1024;
        let mut file = std::fs::read(path).unwrap();
        let whole = |page: &&mut [u8]| page[4..].iter().all(|&other| other == byte);
        let damaged = file.chunks_mut(PAGE).filter(whole).map(|page| page.fill(0xFF)).count();
        std::fs::write(path, file).unwrap();
        damaged
    }

    #[test]
    fn health_reads_no_state() {
        use vitals_core::store::Checkpoint;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let open = || store::EmbeddedStore::open(&path, &store::StoreConfig::default()).unwrap();
        let before = open();
        let state = Some(vec![0xAB; 1 << 20]);
        let checkpoint = Checkpoint { stored: Position(7), state, ..Checkpoint::default() };
        let (sender, sealed) = std::sync::mpsc::channel();
        before.seal(Partition(0), checkpoint, Box::new(move || sender.send(()).unwrap()));
        sealed.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(before);
        assert!(damage_pages_of(&path, 0xAB) > 50);
        let after = open();
        assert!(after.checkpoint(Partition(0)).is_err(), "who reads the state finds it damaged");
        let status = service_status(&Stuck, &after, 0);
        assert_eq!((status.ready, status.database_status.as_str()), (true, "connected"));
    }

    #[tokio::test]
    async fn rest_waits_no_longer_than_the_processing_timeout() {
        let processing_timeout = Arc::new(AtomicU64::new(20));
        let submitter =
            LogSubmitter { log: Arc::new(Stuck), budget: Arc::new(Semaphore::new(100)), processing_timeout };
        let (start, end, by) = (UnixNanos(0), UnixNanos(1), "ops".to_owned());
        let record = Record::Maintenance { agent: AgentId(0), start, end, by, at: start };
        let answer = submitter.submit(Partition(0), record, 1).await;
        assert_eq!(answer, Err(Refusal::NotEvaluated { processing_timeout_ms: 20 }));
    }
}
