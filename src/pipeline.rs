//! A running service, from its configuration to its last sync. Only this module wires the stages together.
//!
//! - `check`: what would keep a service from starting
//! - `build`: the stages, opened in the order in which they need each other
//! - `serve`: the listeners
//! - `handlers`: from received requests to the log, and back with an answer
//! - `reload`: new settings for a service that runs
//! - `stop`: its end

mod build;
mod check;
mod error;
mod handlers;
mod reload;
mod serve;
mod stop;
#[cfg(test)]
mod tests;

pub use error::StartError;
pub use reload::{ReloadError, Reloaded};

use crate::auth::{self, Auth};
use crate::config::Config;
use crate::evaluate::Evaluator;
use crate::evaluate::host::PluginSet;
use crate::expose::alerts::Notifier;
use crate::expose::otlp::Exporter;
use crate::expose::{Rest, own_metrics};
use crate::workers::ServiceWorkers;
use build::Stages;
use parking_lot::RwLock;
use serve::Listeners;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use vitals_core::log::Log;
use vitals_core::store::Store;

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

/// The settings of a service. They differ after a reload, in what takes effect at the next start only among others.
struct Settings {
    at_start: Config,
    in_force: Config,
}

/// A running service.
pub struct Service {
    addresses: Addresses,
    data: PathBuf,
    settings: Mutex<Settings>,
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
    workers: ServiceWorkers,
}

impl Service {
    /// Opens the data folder, replays what the last run left in the log, then listens.
    ///
    /// # Errors
    /// When a folder, a key, a plugin, the log, the store or a listener cannot be used; nothing is left running.
    pub async fn start(config: Config, data: &Path) -> Result<Self, StartError> {
        // First, so that nothing is counted in vain.
        own_metrics::recorder();
        StartError::all(Self::refusals(&config, data))?;
        auth::make_folder(data).map_err(|source| StartError::Data { path: data.into(), source })?;
        // Ports before the log: a second service on them should fail before it waits for a replay.
        let workers = ServiceWorkers::default();
        let listeners = Listeners::bind(&config, &workers).await?;
        let addresses = listeners.addresses(&config)?;
        let auth = Arc::new(workers.within(|| Auth::load(&config.auth, data))?);

        let stages = Stages::build_on_blocking_thread(&config, data, &workers).await?;
        let (stop, stopped) = watch::channel(false);
        let processing_timeout = Arc::new(AtomicU64::new(config.telemetry.processing_timeout_ms));
        let (rest, rest_in_force) = watch::channel(Arc::new(stages.rest(&config, &auth, processing_timeout.clone())));
        let tasks = stages.serve(&config, &auth, listeners, rest_in_force, &stopped);
        Ok(Self {
            addresses,
            data: data.to_owned(),
            settings: Mutex::new(Settings { at_start: config.clone(), in_force: config }),
            plugins: stages.plugins,
            processing_timeout,
            rest,
            auth,
            log: stages.log,
            store: stages.store,
            evaluator: stages.evaluator,
            exporter: stages.exporter,
            notifier: stages.notifier,
            stop,
            tasks,
            workers,
        })
    }

    /// Where the service listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its threads and tasks. When one of them has died, the service is not ready and should be stopped.
    pub fn workers(&self) -> &ServiceWorkers {
        &self.workers
    }

    /// The tokens' keys, to issue one.
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }
}
