//! One compiled plugin, and what kind it is.

use super::abi;
use super::error::HostError;
use super::guest::Guest;
use super::memory_pool::MemoryPool;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// What a plugin does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Makes samples from samples.
    MetricDeriver,
    /// Finds values that do not fit.
    OutlierDetector,
    /// Scores the health of agents.
    HealthScorer,
    /// Measures agents against their objectives.
    SlaEvaluator,
}

impl PluginKind {
    pub(super) const ALL: [Self; 4] =
        [Self::MetricDeriver, Self::OutlierDetector, Self::HealthScorer, Self::SlaEvaluator];

    /// Whether such a plugin hears of series.
    pub(super) fn watches(self) -> bool {
        matches!(self, Self::MetricDeriver | Self::OutlierDetector)
    }

    /// The interface and the function that make a plugin this kind.
    pub(super) fn function(self) -> (&'static str, &'static str) {
        match self {
            Self::MetricDeriver => (abi::DERIVING, "derive"),
            Self::OutlierDetector => (abi::DETECTING, "detect"),
            Self::HealthScorer => (abi::SCORING, "score"),
            Self::SlaEvaluator => (abi::EVALUATING, "evaluate"),
        }
    }
}

/// A component of one of the four worlds, ready to be instantiated.
pub(super) struct Compiled {
    pub(super) kind: PluginKind,
    pub(super) pre: InstancePre<Guest>,
    /// SHA-256 of the component, hex.
    pub(super) digest: String,
    /// What it said of itself before it had a configuration.
    pub(super) manifest: Option<abi::Manifest>,
    /// Where its instances take their memory from, and its number there.
    pub(super) memory: (Arc<MemoryPool>, usize),
}

impl Compiled {
    /// Compiles `bytes` (or takes them from the cache). `label` is for messages.
    pub(super) fn new(
        engine: &Engine,
        linker: &Linker<Guest>,
        memory: (Arc<MemoryPool>, usize),
        label: &str,
        bytes: &[u8],
    ) -> Result<Self, HostError> {
        let plugin = || label.to_owned();
        let component = Component::from_binary(engine, bytes)
            .map_err(|error| HostError::Compile { plugin: plugin(), reason: format!("{error:#}") })?;
        if let Some(found) = other_version(engine, &component) {
            return Err(HostError::Version { plugin: plugin(), found, served: abi::VERSION.to_owned() });
        }
        let exports = |interface| component.get_export_index(None, interface).is_some();
        let kind = PluginKind::ALL
            .into_iter()
            .find(|kind| exports(kind.function().0))
            .filter(|_| exports(abi::LIFECYCLE))
            .ok_or_else(|| HostError::NoWorld { plugin: plugin() })?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| HostError::Imports { plugin: plugin(), reason: format!("{error:#}") })?;
        Ok(Self { kind, pre, digest: hex(&Sha256::digest(bytes)), manifest: None, memory })
    }
}

/// The version of the contract that a component was built for, if this host does not serve it.
fn other_version(engine: &Engine, component: &Component) -> Option<String> {
    let (served, _) = abi::VERSION.rsplit_once('.')?;
    component.component_type().exports(engine).find_map(|(name, _)| {
        let (_, version) = name.strip_prefix(abi::PACKAGE)?.split_once('@')?;
        let is_served = version.rsplit_once('.').is_some_and(|(minor, _)| minor == served);
        (!is_served).then(|| version.to_owned())
    })
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
