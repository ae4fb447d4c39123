//! Plugins that cannot be used: the service runs without them, and says so.

use super::component::PluginKind;
use super::error::HostError;
use super::plugin::{PluginInfo, PluginState};

/// A plugin that is configured, or lies in the plugin folder, and cannot be used.
pub(super) struct RefusedPlugin {
    /// As far as it is known: the configured name, the name that the plugin says, or its file.
    pub(super) name: String,
    /// `embedded`, or the file.
    pub(super) source: String,
    /// `None` when the component cannot be read or compiled.
    pub(super) component: Option<RefusedComponent>,
    /// Why it cannot be used.
    pub(super) error: HostError,
}

/// What is known of a component that compiles and does not start.
pub(super) struct RefusedComponent {
    pub(super) kind: PluginKind,
    pub(super) version: String,
    pub(super) digest: String,
}

impl RefusedPlugin {
    /// One of which nothing but its place is known.
    pub(super) fn unknown(name: String, source: String, error: HostError) -> Self {
        Self { name, source, component: None, error }
    }

    pub(super) fn info(&self) -> PluginInfo {
        let component = self.component.as_ref();
        PluginInfo {
            name: self.name.clone(),
            kind: component.map(|component| component.kind),
            version: component.map(|component| component.version.clone()).unwrap_or_default(),
            digest: component.map(|component| component.digest.clone()).unwrap_or_default(),
            config: String::new(),
            source: self.source.clone(),
            state: PluginState::Refused,
            stale: true,
            calls: 0,
            failures: 0,
            quarantined: 0,
            verdicts: 0,
            dropped_outputs: 0,
            skipped_rows: 0,
            cpu_seconds: 0.0,
            memory_bytes: 0,
            last_error: Some(self.error.to_string()),
            state_version: 0,
            interval_seconds: 0,
            agents: Vec::new(),
            selects: Vec::new(),
            config_schema: serde_json::Value::Null,
        }
    }
}
