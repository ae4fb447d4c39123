//! New settings for a service that runs.

use super::{Plugins, Service};
use crate::clock::now;
use crate::config::{self, Config, ConfigError};
use crate::evaluate::host::{HostError, PluginSet};
use crate::expose::Rest;
use crate::expose::alerts::{ChannelError, PreparedChannels};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::spawn_blocking;
use vitals_core::audit::AuditEntry;
use vitals_core::ids::{Partition, Position, TenantId};
use vitals_core::log::LogError;
use vitals_core::record::{Record, Ticket};

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

/// All of new settings that can fail, made and not yet in force.
struct Prepared {
    /// `None` keeps those in force.
    plugins: Option<PluginSet>,
    channels: PreparedChannels,
}

impl Service {
    /// Takes over new settings, from the next record and request on; returns what changed, and what of it takes effect at the next
    /// start only. Plugins are made anew, with the state of those before, when their settings changed, or when `plugins_too`.
    ///
    /// # Errors
    /// When they cannot be used; then nothing changes.
    pub async fn reload(&self, config: Config, plugins_too: bool) -> Result<Reloaded, ReloadError> {
        let mut settings = self.settings.lock().await;
        let new_plugins = plugins_too || plugin_settings(&settings.in_force) != plugin_settings(&config);
        // First all that can fail, so that a refusal names everything that is wrong and leaves everything as it was.
        let Prepared { plugins, channels } = self.prepare(&config, new_plugins).await?;
        // From here on nothing can fail, and nothing waits: a caller that gives up in between cannot leave half of it.
        let expose = config.live_expose(&settings.at_start);
        self.workers.within(|| self.notifier.reload(channels));
        if let Some(plugins) = plugins {
            replace(&self.plugins, plugins);
        }
        self.evaluator.reload(&config.evaluate(), new_plugins);
        self.processing_timeout.store(config.telemetry.processing_timeout_ms, Ordering::Relaxed);
        self.rest.send_modify(|stage| *stage = Arc::new(Rest { config: expose, ..Rest::clone(stage) }));
        let reloaded = Reloaded {
            changed: config::changed(&settings.in_force, &config),
            needs_restart: config::needs_restart(&settings.at_start, &config),
        };
        settings.in_force = config;
        self.note_reload(&reloaded, new_plugins);
        Ok(reloaded)
    }

    /// Puts into the audit log that settings were read again. It waits for nothing: they are in force already.
    fn note_reload(&self, reloaded: &Reloaded, new_plugins: bool) {
        let action = if new_plugins { "settings reloaded, plugins made anew" } else { "settings reloaded" };
        let entry = AuditEntry {
            id: String::new(),
            tenant: TenantId::default_tenant(),
            at: now(),
            by: "configuration".to_owned(),
            action: action.to_owned(),
            agents: Vec::new(),
            target: None,
            comment: None,
            detail: Some(if reloaded.changed.is_empty() {
                "no setting".to_owned()
            } else {
                reloaded.changed.join(", ")
            }),
        };
        let done = Box::new(|result: Result<Position, LogError>| {
            if let Err(error) = result {
                tracing::warn!(%error, "that settings were read again is not in the audit log");
            }
        });
        self.log.append(Partition(0), Record::Audit(entry), Ticket::default(), done);
    }

    async fn prepare(&self, config: &Config, new_plugins: bool) -> Result<Prepared, ReloadError> {
        let wrong = config.check().err().into_iter().flat_map(ConfigError::each);
        // What is wrong with channels is found below, with their secrets.
        let wrong = wrong.filter(|error| !matches!(error, ConfigError::Channel(_)));
        let mut errors: Vec<ReloadError> = wrong.map(ReloadError::Config).collect();
        let plugins = if new_plugins { self.compile(config).await } else { Ok(None) };
        let plugins = plugins.unwrap_or_else(|error| {
            errors.push(error.into());
            None
        });
        let channels = self.notifier.prepare(&config.channels).unwrap_or_else(|wrong| {
            errors.extend(wrong.into_iter().map(ReloadError::Channel));
            PreparedChannels::default()
        });
        match errors.len() {
            0 => Ok(Prepared { plugins, channels }),
            1 => Err(errors.remove(0)),
            _ => Err(ReloadError::Several(errors)),
        }
    }

    /// Compiles the plugins where that may block.
    async fn compile(&self, config: &Config) -> Result<Option<PluginSet>, HostError> {
        let (config, data) = (config.clone(), self.data.clone());
        let workers = self.workers.clone();
        let load = move || workers.within(|| super::build::load_plugins(&config, Some(&data)));
        match spawn_blocking(load).await {
            Ok(plugins) => plugins.map(Some),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// The settings that plugins are made of.
fn plugin_settings(config: &Config) -> impl PartialEq + '_ {
    (&config.plugin_folder, &config.plugin_limits, &config.plugins)
}

fn replace(in_force: &Plugins, plugins: PluginSet) {
    *in_force.write() = Arc::new(plugins);
}
