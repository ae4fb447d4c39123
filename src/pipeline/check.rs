//! What would keep the service from starting, without starting it.

use super::build::load_plugins;
use super::serve::listen_error;
use super::{Service, StartError};
use crate::auth::Auth;
use crate::config::{Config, ConfigError};
use crate::expose::alerts;
use crate::expose::otlp::Exporter;
use crate::normalize::Normalizer;
use crate::store::StoreKind;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

impl Service {
    /// All that keeps [`Service::start`] from starting with this configuration, but for plugins, which take time. Nothing
    /// is made, and nothing stays open. To be called inside a tokio runtime.
    #[must_use]
    pub fn refusals(config: &Config, data: &Path) -> Vec<StartError> {
        let mut found: Vec<StartError> = folder(data).err().into_iter().collect();
        for (key, address, _) in config.listeners() {
            match TcpListener::bind(address) {
                // Perhaps by the very service that this configuration is for.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                // It is none, which the configuration's own check says.
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                Err(error) => found.push(listen_error(key, address, error)),
                Ok(_) => {}
            }
        }
        found.extend(Auth::problems(&config.auth, data).into_iter().map(StartError::Auth));
        found.extend(alerts::unusable(&config.channels).into_iter().map(StartError::Channel));
        found.extend(Normalizer::check(&config.normalize).err().map(StartError::Rules));
        found.extend(Exporter::check(&config.export).err().map(StartError::Export));
        found
    }

    /// All that is wrong with this configuration: with its settings, [`Service::refusals`], plugins, and what a service would
    /// wait for. Compiles the plugins. To be called inside a tokio runtime.
    #[must_use]
    pub fn problems(config: &Config, data: &Path) -> Vec<String> {
        let settings = config.check().err().into_iter().flat_map(ConfigError::each);
        let mut found: Vec<String> = settings.map(|error| error.to_string()).collect();
        found.extend(Self::refusals(config, data).iter().map(ToString::to_string));
        if let Err(error) = load_plugins(config, None) {
            found.extend(error.each().iter().map(ToString::to_string));
        }
        if config.store.kind == StoreKind::InfluxDb {
            found.extend(config.store.influxdb.missing());
        }
        found
    }
}

/// Whether `data` is a folder that can be written to, or can be made.
fn folder(data: &Path) -> Result<(), StartError> {
    let wrong = |source| StartError::Data { path: data.into(), source };
    // The nearest one that is there: the rest would be made.
    let there = data.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let there = there.into_iter().find(|path| path.exists()).unwrap_or(data);
    let metadata = there.metadata().map_err(wrong)?;
    if !metadata.is_dir() {
        return Err(wrong(std::io::Error::new(ErrorKind::NotADirectory, format!("{} is no folder", there.display()))));
    }
    if there != data {
        return Ok(());
    }
    // Permissions alone do not tell: the file system may be read-only.
    let probe = data.join(format!(".check.{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe).map_err(wrong)?;
    std::fs::remove_file(&probe).map_err(wrong)
}
