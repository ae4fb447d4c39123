//! One compiled plugin.

use super::abi;
use super::config::PluginLimits;
use super::error::HostError;
use super::guest::Guest;
use super::running::Running;
use super::set::PluginKind;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// A component of one of the four worlds, ready to be instantiated.
pub(super) struct Compiled {
    pub(super) kind: PluginKind,
    pub(super) pre: InstancePre<Guest>,
    /// SHA-256 of the component, hex.
    pub(super) digest: String,
    /// Its own name; known once it was asked.
    pub(super) name: Option<String>,
    pub(super) version: String,
}

impl Compiled {
    /// Compiles `bytes` (or takes them from the cache) and asks the plugin who it is. `label` is for messages.
    pub(super) fn new(
        engine: &Engine,
        linker: &Linker<Guest>,
        label: &str,
        bytes: &[u8],
        limits: &PluginLimits,
    ) -> Result<Self, HostError> {
        let plugin = || label.to_owned();
        let component = Component::from_binary(engine, bytes)
            .map_err(|error| HostError::Compile { plugin: plugin(), reason: format!("{error:#}") })?;
        let exports = |interface| component.get_export_index(None, interface).is_some();
        let kind = PluginKind::ALL
            .into_iter()
            .find(|kind| exports(kind.function().0))
            .filter(|_| exports(abi::LIFECYCLE))
            .ok_or_else(|| HostError::NoWorld { plugin: plugin() })?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| HostError::Imports { plugin: plugin(), reason: format!("{error:#}") })?;
        let mut compiled = Self { kind, pre, digest: hex(&Sha256::digest(bytes)), name: None, version: String::new() };
        let metadata =
            Running::describe(&compiled, limits).map_err(|failure| HostError::Start { plugin: plugin(), failure })?;
        compiled.name = Some(metadata.name);
        compiled.version = metadata.version;
        Ok(compiled)
    }
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
