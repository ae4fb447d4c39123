//! Why a service did not start.

use crate::auth::AuthError;
use crate::config;
use crate::evaluate::StartError as EvaluateError;
use crate::evaluate::host::HostError;
use crate::expose::alerts::ChannelError;
use crate::expose::otlp::ExportError;
use crate::normalize::RulesError;
use std::path::PathBuf;
use vitals_core::log::LogError;
use vitals_core::store::StoreError;

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
    /// The threads that read requests cannot be started.
    #[error("cannot start the threads that read requests: {0}")]
    Workers(std::io::Error),
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
    /// Several of these.
    #[error("{}", config::listed(.0))]
    Several(Vec<StartError>),
}

impl StartError {
    /// One error for all that were found, if any was.
    pub(super) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
