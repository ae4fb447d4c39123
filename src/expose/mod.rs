//! What comes out: the REST API with its page of documentation, probes, and verdicts as OTLP.
//!
//! - [`alerts`]: notifications of alerts, to Alertmanager and webhooks
//! - [`page`]: the web page, its sessions, and the status page for people without a token
//! - [`otlp`]: verdicts, and on request samples, to another OTLP receiver
//! - [`stream`]: what evaluation makes, to clients, as it is made
//! - [`own_metrics`]: the service's own metrics
//! - [`ServiceStatus`]: how the service is, for the probes
//! - [`rest`]: the routes of the contract, and those that make series, verdicts and alerts queryable

pub mod alerts;
pub mod otlp;
pub mod own_metrics;
pub mod page;
pub mod rest;
mod status;
pub mod stream;

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use vitals_core::ids::{Partition, UnixNanos};
use vitals_core::live_agents::LiveAgents;
use vitals_core::record::{Outcome, Record};
use vitals_core::registry::Registry;
use vitals_core::rules::health::HealthConfig;
use vitals_core::rules::quality::QualityRules;
use vitals_core::rules::sla::SlaConfig;
use vitals_core::store::Store;

use crate::auth::Auth;
use crate::net::{CorsConfig, CorsError, Refusal};

pub use rest::{LARGEST_BODY, serve};
pub use status::ServiceStatus;

/// The REST listener's configuration, and what its answers are measured against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExposeConfig {
    /// Where REST listens.
    pub rest: String,
    /// Most connections at a time; a further one takes the place of one that is idle, or waits.
    pub max_connections: usize,
    /// Most connections from one peer address; 0 is no limit.
    pub max_connections_per_peer: usize,
    /// The first byte of a connection must arrive within this time.
    pub first_byte_seconds: u64,
    /// Names by which `/metrics` may be asked on loopback, beside addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// How long a connection may live; requests under way finish.
    pub max_connection_age_seconds: u64,
    /// A client must send a request's head within this time; an idle connection is closed after it.
    pub header_seconds: u64,
    /// A request, its body included, must be answered within this time.
    pub request_seconds: u64,
    /// Most bytes of request bodies held at a time, at least 10 MiB; more is refused with 429.
    pub max_body_bytes: usize,
    /// A connection whose client reads nothing of its answer for this long is closed.
    pub write_seconds: u64,
    /// At shutdown, requests under way have this long to finish.
    pub shutdown_seconds: u64,
    /// Availability objective, percent; from `evaluate.objective.target`.
    #[serde(skip)]
    pub sla_target: f64,
    /// Over how many days; from `evaluate.objective.period_days`.
    #[serde(skip)]
    pub sla_period_days: u32,
    /// What the built-in SLA evaluator is configured with; `None` when it is disabled.
    #[serde(skip)]
    pub sla: Option<SlaConfig>,
    /// From where the built-in health scorer advises on availability, percent; `None` when it is disabled.
    #[serde(skip)]
    pub advise_uptime_percent: Option<[f64; 3]>,
    /// The interval of a heartbeat that names none, milliseconds; from `telemetry.default_heartbeat_interval_ms`.
    #[serde(skip)]
    pub heartbeat_interval_ms: u64,
    /// Most heartbeats of a batch; from `telemetry.batch_size`.
    #[serde(skip)]
    pub most_heartbeats: usize,
    /// A heartbeat older than this is refused.
    pub heartbeat_max_age_seconds: u64,
    /// A heartbeat further ahead of our clock than this is refused.
    pub heartbeat_max_ahead_seconds: u64,
    /// A metric further ahead of our clock than this is refused.
    pub metric_max_ahead_seconds: u64,
    /// The path under which clients see REST, when a proxy before it has one of its own.
    pub prefix: String,
    /// Whether the page at `/` is served, with its sessions and one-time links.
    pub page: bool,
    /// What people without a token see.
    pub status_page: page::status::StatusConfig,
    /// Which pages of other origins may call.
    pub cors: CorsConfig,
    /// A metric of a day (UTC) that is older than this is refused, because the store would delete it; from
    /// `telemetry.metrics_retention_days`.
    #[serde(skip)]
    pub sample_retention_days: u32,
    /// Where a measurement becomes degraded and critical.
    pub thresholds: Thresholds,
    /// What is taken off the quality of a metric.
    pub quality: QualityRules,
    /// The live stream.
    pub stream: stream::StreamConfig,
}

/// Why REST cannot be as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// The prefix is no path.
    #[error("expose.prefix = {0:?} is no path: write it like \"/vitals\", with a slash before and none behind")]
    Prefix(String),
    /// The origins cannot be used.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// The live stream's bounds cannot be used.
    #[error("{0}")]
    Stream(String),
    /// The status page cannot be made.
    #[error("expose.status_page: {0}")]
    StatusPage(String),
}

impl ExposeConfig {
    /// Whether the settings can be used.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn check(&self) -> Result<(), ExposeError> {
        if !rest::is_valid_prefix(&self.prefix) {
            return Err(ExposeError::Prefix(self.prefix.clone()));
        }
        self.stream.check().map_err(ExposeError::Stream)?;
        self.status_page.check().map_err(ExposeError::StatusPage)?;
        Ok(self.cors.check("expose.cors")?)
    }
}

impl Default for ExposeConfig {
    fn default() -> Self {
        Self {
            rest: "127.0.0.1:8080".to_owned(),
            max_connections: 1024,
            max_connections_per_peer: 256,
            first_byte_seconds: 10,
            allowed_hosts: Vec::new(),
            max_connection_age_seconds: 3_600,
            header_seconds: 30,
            request_seconds: 30,
            max_body_bytes: 64 * 1024 * 1024,
            write_seconds: 60,
            shutdown_seconds: 10,
            sla_target: 99.9,
            sla_period_days: 30,
            sla: Some(SlaConfig::default()),
            advise_uptime_percent: Some(HealthConfig::default().advise_uptime_percent),
            heartbeat_interval_ms: 30_000,
            most_heartbeats: rest::MOST_HEARTBEATS,
            heartbeat_max_age_seconds: 600,
            heartbeat_max_ahead_seconds: 600,
            metric_max_ahead_seconds: 86_400,
            prefix: String::new(),
            page: true,
            status_page: page::status::StatusConfig::default(),
            cors: CorsConfig::default(),
            sample_retention_days: 90,
            thresholds: Thresholds::default(),
            quality: QualityRules::default(),
            stream: stream::StreamConfig::default(),
        }
    }
}

/// `[degraded, critical]`, breached at >=, for the components of an assessment and for forecasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Percent of CPU; from `telemetry.default_thresholds`.
    #[serde(skip)]
    pub cpu: [f64; 2],
    /// Percent of memory; from `telemetry.default_thresholds`.
    #[serde(skip)]
    pub memory: [f64; 2],
    /// Percent of the fullest file system; from `telemetry.default_thresholds`.
    #[serde(skip)]
    pub disk: [f64; 2],
    /// Milliseconds to answer; from `telemetry.default_thresholds`.
    #[serde(skip)]
    pub response_ms: [f64; 2],
    /// Milliseconds of network latency.
    pub latency_ms: [f64; 2],
    /// Percent of packets lost.
    pub packet_loss: [f64; 2],
    /// Percent of requests that failed; a threshold for `error_rate` in `telemetry.default_thresholds` comes first.
    pub error_rate: [f64; 2],
    /// What memory in megabytes is a percentage of, unless the agent's total is known; from `evaluate.memory_total_mb`.
    #[serde(skip)]
    pub memory_total_mb: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            cpu: [80.0, 95.0],
            memory: [85.0, 95.0],
            disk: [85.0, 95.0],
            response_ms: [2_000.0, 5_000.0],
            latency_ms: [1_000.0, 5_000.0],
            packet_loss: [5.0, 20.0],
            error_rate: [5.0, 10.0],
            memory_total_mb: 8_192.0,
        }
    }
}

/// Resolves when the record is durable and evaluated.
pub type Submitted = Pin<Box<dyn Future<Output = Result<Outcome, Refusal>> + Send>>;

/// Where REST puts what it received. Many submissions may be polled at the same time.
pub trait RecordSubmitter: Send + Sync {
    /// Appends `record`, which counts as `bytes` in flight, to the log and has it evaluated.
    fn submit(&self, partition: Partition, record: Record, bytes: usize) -> Submitted;
}

/// All that the REST stage needs.
#[derive(Clone)]
pub struct Rest {
    /// Agents and series.
    pub registry: Arc<Registry>,
    /// Samples, verdicts, intervals, alerts.
    pub store: Arc<dyn Store>,
    /// What is known of each agent now.
    pub live_agents: Arc<LiveAgents>,
    /// Tokens.
    pub auth: Arc<Auth>,
    /// Where received records go.
    pub submitter: Arc<dyn RecordSubmitter>,
    /// The live stream.
    pub streams: Arc<stream::Hub>,
    /// Lists the plugins.
    pub plugins: Arc<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>,
    /// How the service is.
    pub status: Arc<dyn Fn() -> ServiceStatus + Send + Sync>,
    /// Our own metrics as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who is signed in at the page.
    pub page: Arc<page::Page>,
    /// The configuration.
    pub config: ExposeConfig,
    /// Partitions of the log.
    pub partitions: u32,
    /// The time.
    pub clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
}
