//! The configuration: embedded defaults, a file over them, `VITALS__SECTION__KEY` over that.
//!
//! Each section is the configuration of one stage and defined there; this file lays the layers over each other, hands
//! each stage its part of what is set for several, and checks what no stage can check alone. A key that nobody knows is an
//! error that names where it stands.
//!
//! - [`TelemetryConfig`]: the section that several stages share
//! - [`changed`], [`needs_restart`]: which settings differ, and which of them a running service does not take over

use crate::auth::AuthConfig;
use crate::evaluate::host::{PluginConfig, PluginLimits};
use crate::evaluate::{EvaluateConfig, LivenessConfig, MaintenanceWindow};
use crate::expose::alerts::{self, ChannelConfig, ChannelError, ChannelKind};
use crate::expose::otlp::ExportConfig;
use crate::expose::{ExposeConfig, LARGEST_BODY, Thresholds};
use crate::log::LogConfig;
use crate::normalize::NormalizeConfig;
use crate::receive::ReceiveConfig;
use crate::store::{StoreConfig, StoreKind};
use config::{FileFormat, Value, ValueKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use vitals_core::registry::Quota;
use vitals_core::rules::health::HealthConfig;
use vitals_core::rules::thresholds::{Operator, Threshold};
use vitals_core::series::MetricKind;

mod live;
mod telemetry;
pub use live::{changed, needs_restart};
pub use telemetry::TelemetryConfig;

/// Every setting with its default, commented.
pub const DEFAULT: &str = include_str!("default.toml");
/// What the names of variables begin with.
const PREFIX: &str = "VITALS__";

/// All settings.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// More plugins: every `.wasm` file in this folder.
    pub plugin_folder: Option<PathBuf>,
    /// Intervals, retention, thresholds, alerts: shared by several stages.
    pub telemetry: TelemetryConfig,
    /// When which agents are down on purpose.
    pub maintenance: Vec<MaintenanceWindow>,
    /// Where notifications of alerts go.
    pub channels: Vec<ChannelConfig>,
    /// The OTLP listeners.
    pub receive: ReceiveConfig,
    /// From wire bytes to columns.
    pub normalize: NormalizeConfig,
    /// How much each tenant may register.
    pub quota: Quota,
    /// The durable log.
    pub log: LogConfig,
    /// Judging.
    pub evaluate: EvaluateConfig,
    /// What each plugin may use.
    pub plugin_limits: PluginLimits,
    /// Plugins with settings of their own.
    pub plugins: Vec<PluginConfig>,
    /// Samples, verdicts, sessions, alerts.
    pub store: StoreConfig,
    /// REST.
    pub expose: ExposeConfig,
    /// OTLP to another collector.
    pub export: ExportConfig,
    /// Tokens.
    pub auth: AuthConfig,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file holds a key that is unknown, or a value of the wrong type.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Line, key and what is wrong.
        reason: String,
    },
    /// A variable names a key that is unknown, or has a value of the wrong type.
    #[error("the variable {name}: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The layers do not go together.
    #[error("the configuration cannot be put together: {0}")]
    Layers(#[source] Box<config::ConfigError>),
    /// Two listeners want the same port.
    #[error("{first} and {second} are both {address}; give each its own port")]
    SamePort {
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The address.
        address: String,
    },
    /// An address is none.
    #[error("{key} = {address:?} is no address; write it as 127.0.0.1:{example}")]
    Address {
        /// Which key.
        key: &'static str,
        /// What it says.
        address: String,
        /// A port that would do.
        example: u16,
    },
    /// Anyone on the network could send.
    #[error(
        "{key} = {address:?} can be reached from elsewhere, and OTLP asks for no token; set auth.otlp = true, \
         or auth.insecure = true if something in front of it decides who may send"
    )]
    Open {
        /// Which key.
        key: &'static str,
        /// Where it would listen.
        address: String,
    },
    /// Verdicts would be judged again, and again.
    #[error("export.endpoint = {endpoint:?} is this service's own {key}; export to another one")]
    Loop {
        /// Where to.
        endpoint: String,
        /// Which listener that is.
        key: &'static str,
    },
    /// A number is out of its range.
    #[error("{key} is {is}, must be at least {least}")]
    TooLittle {
        /// Which key.
        key: &'static str,
        /// What it says.
        is: u64,
        /// The least that makes sense.
        least: u64,
    },
    /// A channel cannot be used.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// An alert would be sent to nowhere.
    #[error("telemetry.alert_configs: {alert_type:?} names the channel {channel:?}, and no [[channels]] has that name")]
    NoChannel {
        /// Which alert.
        alert_type: String,
        /// Which channel.
        channel: String,
    },
    /// A stage does not take its settings.
    #[error("{0}")]
    Stage(String),
    /// More than one thing.
    #[error("{}", listed(.0))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// Each thing by itself.
    #[must_use]
    pub fn each(self) -> Vec<Self> {
        if let Self::Several(all) = self { all } else { vec![self] }
    }
}

/// Several things, a line each.
pub(crate) fn listed(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// An error of all that was found, if anything was.
fn none_of(mut problems: Vec<ConfigError>) -> Result<(), ConfigError> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => Err(ConfigError::Several(problems)),
    }
}

impl Config {
    /// The defaults, `file` and the environment, checked.
    ///
    /// # Errors
    /// When a layer cannot be read, holds what nobody knows, or the whole cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config = Self::read(file)?;
        config.check()?;
        Ok(config)
    }

    /// The defaults, `file` and the environment; whether they go together is for [`Config::check`] to say.
    ///
    /// # Errors
    /// When a layer cannot be read, or holds what nobody knows: all of that.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            None => None,
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
                Some((path, text))
            }
        };
        let mut config = Self::layered(text.as_ref().map(|(path, text)| (*path, text.as_str())), std::env::vars_os())?;
        config.receive.insecure |= config.auth.insecure;
        Ok(config)
    }

    /// The layers over each other, unchecked.
    fn layered(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let layers = |error| ConfigError::Layers(Box::new(error));
        let mut problems = Vec::new();
        let mut builder = config::Config::builder().add_source(config::File::from_str(DEFAULT, FileFormat::Toml));
        if let Some((path, text)) = file {
            // Alone first: this way an error shows the line.
            problems.extend(in_file(path, text));
            if problems.is_empty() {
                builder = builder.add_source(config::File::from_str(text, FileFormat::Toml));
            }
        }
        let mut variables: Vec<_> = environment.into_iter().filter_map(ours).collect();
        variables.sort();
        for (name, text) in variables {
            let (key, value) = variable(&name, &text);
            // Alone first: this way an error names the variable.
            let alone = config::Config::builder().set_override(&key, value.clone()).and_then(|one| one.build());
            match alone.and_then(config::Config::try_deserialize::<Self>) {
                Ok(_) => builder = builder.set_override(&key, value).map_err(layers)?,
                Err(error) => problems.push(ConfigError::Variable { name, reason: error.to_string() }),
            }
        }
        none_of(problems)?;
        builder.build().and_then(config::Config::try_deserialize).map_err(layers)
    }

    /// Whether the sections go together.
    ///
    /// # Errors
    /// All that do not, with what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = self.addresses();
        let least = [
            ("export.interval_seconds", self.export.interval_seconds, 1),
            ("export.timeout_seconds", self.export.timeout_seconds, 1),
            ("export.queue_batches", self.export.queue_batches as u64, 1),
            ("expose.max_body_bytes", self.expose.max_body_bytes as u64, LARGEST_BODY as u64),
            ("expose.write_seconds", self.expose.write_seconds, 1),
        ];
        let too_little = least.into_iter().chain(self.telemetry.least()).filter(|(_, is, least)| is < least);
        problems.extend(too_little.map(|(key, is, least)| ConfigError::TooLittle { key, is, least }));
        problems
            .extend(self.receive.cors.check("receive.cors").err().map(|error| ConfigError::Stage(error.to_string())));
        problems.extend(self.expose.check().err().map(|error| ConfigError::Stage(error.to_string())));
        problems.extend(alerts::problems(&self.channels).into_iter().map(ConfigError::Channel));
        for config in &self.telemetry.alert_configs {
            let is_there = |name: &&String| self.channels.iter().any(|channel| channel.name == **name);
            let gone = config.notification_channels.iter().filter(|name| !is_there(name));
            problems.extend(gone.map(|channel| {
                let alert_type = config.alert_type.clone();
                ConfigError::NoChannel { alert_type, channel: channel.clone() }
            }));
        }
        problems.extend(self.store().check().err().map(ConfigError::Stage));
        problems.extend(self.evaluate().problems().into_iter().map(ConfigError::Stage));
        none_of(problems)
    }

    /// Where listeners listen, by key, each with a port that would do.
    #[must_use]
    pub fn listeners(&self) -> [(&'static str, &str, u16); 3] {
        [
            ("receive.grpc", self.receive.grpc.as_str(), 4317),
            ("receive.http", self.receive.http.as_str(), 4318),
            ("expose.rest", self.expose.rest.as_str(), 8080),
        ]
    }

    /// What is wrong with the addresses.
    fn addresses(&self) -> Vec<ConfigError> {
        let listeners = self.listeners();
        let mut problems = Vec::new();
        for (at, (key, address, example)) in listeners.iter().enumerate() {
            let Some((host, port)) = split(address) else {
                problems.push(ConfigError::Address { key, address: (*address).to_owned(), example: *example });
                continue;
            };
            if let Some((first, ..)) = listeners[..at].iter().find(|(_, other, _)| port != 0 && other == address) {
                problems.push(ConfigError::SamePort { first, second: key, address: (*address).to_owned() });
            }
            // REST always asks for a token.
            let insecure = self.auth.insecure || self.receive.insecure;
            let asks = *key == "expose.rest" || self.auth.otlp || insecure;
            if !is_loopback(host) && !asks {
                problems.push(ConfigError::Open { key, address: (*address).to_owned() });
            }
        }
        if let Some(endpoint) = &self.export.endpoint {
            let authority = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
            let authority = authority.split('/').next().unwrap_or_default().replace("localhost", "127.0.0.1");
            let own = |address: &str| address.replace("localhost", "127.0.0.1") == authority;
            if let Some((key, ..)) = listeners.iter().find(|(_, address, _)| own(address)) {
                problems.push(ConfigError::Loop { endpoint: endpoint.clone(), key });
            }
        }
        problems
    }

    /// What evaluation is told: its section, with its part of what is set for several stages.
    #[must_use]
    pub fn evaluate(&self) -> EvaluateConfig {
        let own = &self.evaluate;
        EvaluateConfig {
            thresholds: self.telemetry.default_thresholds.clone(),
            alerts: self.telemetry.alert_configs.clone(),
            maintenance: self.maintenance.clone(),
            liveness: LivenessConfig {
                default_interval_ms: self.telemetry.default_metrics_interval_ms,
                ..own.liveness
            },
            ..own.clone()
        }
    }

    /// What REST is told, likewise.
    #[must_use]
    pub fn expose(&self) -> ExposeConfig {
        let own = &self.expose;
        let judged = |kind: MetricKind, otherwise: [f64; 2]| {
            let threshold = self.telemetry.default_thresholds.iter().find(|t| t.metric_type == kind);
            threshold.map_or(otherwise, bounds)
        };
        ExposeConfig {
            sla_target: self.evaluate.objective.target,
            sla_period_days: self.evaluate.objective.period_days,
            sla: self.of_embedded("sla"),
            advise_uptime_percent: self.of_embedded("health-score").map(|own: HealthConfig| own.advise_uptime_percent),
            heartbeat_interval_ms: self.telemetry.default_heartbeat_interval_ms,
            most_heartbeats: self.telemetry.batch_size,
            sample_retention_days: self.telemetry.metrics_retention_days,
            thresholds: Thresholds {
                cpu: judged(MetricKind::CpuUsage, NEVER),
                memory: judged(MetricKind::MemoryUsage, NEVER),
                disk: judged(MetricKind::DiskUsage, NEVER),
                response_ms: judged(MetricKind::ResponseTime, NEVER),
                error_rate: judged(MetricKind::ErrorRate, own.thresholds.error_rate),
                memory_total_mb: self.evaluate.memory_total_mb,
                ..own.thresholds.clone()
            },
            ..own.clone()
        }
    }

    /// What REST is told at a reload, after a start with `first`: settings that other stages take over at the next start
    /// only stay as they were, so that REST refuses exactly what the store would delete.
    #[must_use]
    pub fn live_expose(&self, first: &Self) -> ExposeConfig {
        ExposeConfig {
            sample_retention_days: first.telemetry.metrics_retention_days,
            stream: first.expose.stream.clone(),
            ..self.expose()
        }
    }

    /// What the walk is told, likewise.
    #[must_use]
    pub fn normalize(&self) -> NormalizeConfig {
        NormalizeConfig {
            sample_retention_days: self.telemetry.metrics_retention_days,
            finite_only: self.store.kind == StoreKind::InfluxDb,
            ..self.normalize.clone()
        }
    }

    /// What an embedded plugin is configured with; `None` when it is disabled, and when it does not take what it is given.
    fn of_embedded<T: DeserializeOwned + Default>(&self, name: &str) -> Option<T> {
        match self.plugins.iter().find(|plugin| plugin.path.is_none() && plugin.name == name) {
            None => Some(T::default()),
            Some(plugin) if plugin.disabled => None,
            Some(plugin) => serde_json::from_value(serde_json::Value::Object(plugin.config.clone())).ok(),
        }
    }

    /// What the store is told, likewise.
    #[must_use]
    pub fn store(&self) -> StoreConfig {
        StoreConfig {
            sample_retention_days: self.telemetry.metrics_retention_days,
            verdict_retention_days: self.telemetry.heartbeat_retention_days,
            session_retention_days: self.telemetry.snapshot_retention_days,
            ..self.store.clone()
        }
    }

    /// The settings that hold, as TOML, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        const HIDDEN: &str = "(hidden)";
        let mut shown = self.clone();
        for value in shown.export.headers.values_mut() {
            HIDDEN.clone_into(value);
        }
        // The address of a webhook often is a secret by itself.
        for channel in shown.channels.iter_mut().filter(|channel| channel.kind == ChannelKind::Webhook) {
            let host = channel.url.find("://").map_or(0, |at| at + 3);
            if let Some(path) = channel.url[host..].find(['/', '?']) {
                channel.url.replace_range(host + path.., "/(hidden)");
            }
        }
        // URLs may hold a name and a password.
        let channels = shown.channels.iter_mut().map(|channel| &mut channel.url);
        let urls = [shown.export.endpoint.as_mut(), shown.auth.jwks_url.as_mut(), Some(&mut shown.store.influxdb.url)];
        for url in urls.into_iter().flatten().chain(channels) {
            if let (Some(from), Some(to)) = (url.find("://"), url.rfind('@')) {
                url.replace_range(from + 3..to, HIDDEN);
            }
        }
        toml::to_string_pretty(&shown).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    /// Lets the system choose every port.
    pub fn take_free_ports(&mut self) {
        for address in [&mut self.receive.grpc, &mut self.receive.http, &mut self.expose.rest] {
            if let Some((host, _)) = address.rsplit_once(':') {
                *address = format!("{host}:0");
            }
        }
    }
}

/// Bounds that no value reaches.
const NEVER: [f64; 2] = [f64::INFINITY; 2];

/// From where a component is degraded and critical: only a threshold on high values says that.
fn bounds(threshold: &Threshold) -> [f64; 2] {
    match threshold.threshold_operator {
        Operator::GreaterThan => [threshold.warning_threshold, threshold.critical_threshold],
        Operator::LessThan | Operator::Equal | Operator::NotEqual => NEVER,
    }
}

/// What is wrong with a file: the first thing with its line, the others with their keys.
fn in_file(path: &Path, text: &str) -> Vec<ConfigError> {
    let problem = |reason: String| ConfigError::File { path: path.to_owned(), reason };
    let Err(first) = toml::from_str::<Config>(text) else { return Vec::new() };
    // What is no TOML has no other keys to look at.
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let mut others = Vec::new();
    each_alone(&mut Vec::new(), &table, &mut |key, alone| {
        let wrong = alone.try_into::<Config>().err();
        others.extend(wrong.map(|error| (key, error.message().to_owned())));
    });
    if let Some(at) = others.iter().position(|(_, said)| said == first.message()) {
        others.remove(at);
    }
    let others = others.into_iter().map(|(key, said)| problem(format!("{key}: {said}")));
    std::iter::once(problem(first.to_string())).chain(others).collect()
}

/// Calls `each` with every key of `table` and a configuration of nothing else. An entry of a list stays whole.
fn each_alone(path: &mut Vec<String>, table: &toml::Table, each: &mut impl FnMut(String, toml::Table)) {
    for (key, value) in table {
        path.push(key.clone());
        let entries = match value {
            toml::Value::Table(fields) if !fields.is_empty() => {
                each_alone(path, fields, each);
                Vec::new()
            }
            toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
                list.iter().map(|entry| toml::Value::Array(vec![entry.clone()])).collect()
            }
            other => vec![other.clone()],
        };
        for entry in entries {
            let wrap = |inner, key: &String| toml::Value::Table(toml::Table::from_iter([(key.clone(), inner)]));
            if let toml::Value::Table(alone) = path.iter().rev().fold(entry, wrap) {
                each(path.join("."), alone);
            }
        }
        path.pop();
    }
}

/// A variable that is meant for us; one that is no UTF-8 cannot be.
fn ours((name, value): (OsString, OsString)) -> Option<(String, String)> {
    let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
    Some((name, value.into_string().ok()?))
}

/// `VITALS__NORMALIZE__AGENT_IDENTITY=a,b` to `normalize.agent_identity` and a list, if that key's default is one.
fn variable(name: &str, text: &str) -> (String, Value) {
    let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
    let defaults: toml::Table = DEFAULT.parse().unwrap_or_default();
    let mut default = Some(toml::Value::Table(defaults));
    for part in key.split('.') {
        default = default.and_then(|value| value.get(part).cloned());
    }
    let is_list = matches!(&default, Some(toml::Value::Array(items)) if items.iter().all(toml::Value::is_str));
    let kind = if is_list {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        ValueKind::Array(parts.map(|part| Value::new(None, ValueKind::String(part.to_owned()))).collect())
    } else {
        ValueKind::String(text.to_owned())
    };
    (key, Value::new(None, kind))
}

/// Host and port of an address.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let is_host = address.parse::<SocketAddr>().is_ok() || !host.is_empty() && !host.contains(':');
    Some((host, port.parse().ok()?)).filter(|_| is_host)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
