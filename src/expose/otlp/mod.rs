//! Verdicts, and on request the received samples, pushed as OTLP metrics to another collector.
//!
//! - [`Exporter`]: folds what evaluation announces, and sends it in the background
//! - [`grpc`]: a client that takes encoded messages
//! - `verdicts`: verdicts to metrics
//! - `forward`: samples to metrics
//! - `send`: one request over gRPC or HTTP, with retries
//! - `ring`: bounded queues that drop the oldest
//!
//! Nothing here can hold up evaluation: a queue that is full drops its oldest entry and counts it.

mod forward;
pub mod grpc;
mod resources;
mod ring;
pub mod send;
#[cfg(test)]
mod tests;
mod verdicts;

use crate::clock::now;
use crate::workers;
use forward::Forward;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use ring::Ring;
use send::{Backoff, Sender};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use verdicts::Verdicts;
use vitals_core::registry::Registry;
use vitals_core::store::EvaluationOutput;

/// Announcements that may wait for the folding task, which is never blocked by the network.
const WAITING_OUTPUTS: usize = 4096;
/// Rows of samples that those may hold, 20 bytes each.
const WAITING_ROWS: usize = 1 << 20;
/// Samples in one forwarded request: well under the usual 4 MiB message limit.
const FORWARD_ROWS: usize = 8192;

/// The section `[export]`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// Where to, e.g. `http://127.0.0.1:4317`; `None` exports nothing.
    pub endpoint: Option<String>,
    /// gRPC or HTTP.
    pub protocol: Protocol,
    /// How requests are compressed.
    pub compression: Compression,
    /// Sent with every request; may hold secrets, so they are not shown.
    pub headers: BTreeMap<String, String>,
    /// How often verdicts are sent.
    pub interval_seconds: u64,
    /// Whether received samples are passed on too.
    pub forward_samples: bool,
    /// How long one attempt may take.
    pub timeout_seconds: u64,
    /// Requests that may wait while the endpoint does not answer; past that the oldest is dropped.
    pub queue_batches: usize,
    /// How long one request is tried again before it is given up.
    pub retry_seconds: u64,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::Grpc,
            compression: Compression::Gzip,
            headers: BTreeMap::new(),
            interval_seconds: 10,
            forward_samples: false,
            timeout_seconds: 10,
            queue_batches: 64,
            retry_seconds: 300,
        }
    }
}

impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportConfig")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("compression", &self.compression)
            .field("headers", &self.headers.keys())
            .field("interval_seconds", &self.interval_seconds)
            .field("forward_samples", &self.forward_samples)
            .field("timeout_seconds", &self.timeout_seconds)
            .field("queue_batches", &self.queue_batches)
            .field("retry_seconds", &self.retry_seconds)
            .finish()
    }
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf bodies, to `/v1/metrics`.
    Http,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which every receiver must understand.
    Gzip,
    /// zstd.
    Zstd,
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint is no URL.
    #[error("export.endpoint = {endpoint:?} cannot be used: {reason}; write it as http://host:4317")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header cannot be sent.
    #[error("export.headers: {name:?} cannot be sent: {reason}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What evaluation calls with everything it makes.
pub type Observer = Arc<dyn Fn(&Arc<EvaluationOutput>) + Send + Sync>;

/// Sends verdicts, and on request samples, until it is stopped.
pub struct Exporter {
    outputs: Arc<Ring<Arc<EvaluationOutput>>>,
    collector: JoinHandle<()>,
    sender: JoinHandle<()>,
    grace_period: Duration,
}

impl Exporter {
    /// Starts exporting on the current tokio runtime; `None` when no endpoint is configured.
    ///
    /// # Errors
    /// When the endpoint or a header cannot be used. An endpoint that does not answer is no error: it is tried again.
    pub fn start(config: &ExportConfig, registry: Arc<Registry>) -> Result<Option<Self>, ExportError> {
        Self::start_with(config, registry, Backoff::default())
    }

    /// Whether an exporter could be set up. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When [`Exporter::start`] would fail.
    pub fn check(config: &ExportConfig) -> Result<(), ExportError> {
        match config.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) {
            Some(endpoint) => Sender::new(endpoint, config, Backoff::default()).map(drop),
            None => Ok(()),
        }
    }

    fn start_with(
        config: &ExportConfig,
        registry: Arc<Registry>,
        backoff: Backoff,
    ) -> Result<Option<Self>, ExportError> {
        let Some(endpoint) = config.endpoint.as_deref().filter(|e| !e.is_empty()) else {
            return Ok(None);
        };
        let sender = Sender::new(endpoint, config, backoff)?;
        let outputs = Arc::new(Ring::new("outputs", WAITING_OUTPUTS, WAITING_ROWS));
        let requests = Arc::new(Ring::new("requests", config.queue_batches.max(1), usize::MAX));
        tracing::info!(endpoint, protocol = ?config.protocol, samples = config.forward_samples, "exporting verdicts over OTLP");
        let collector = Collector {
            verdicts: Verdicts::new(now()),
            forward: config.forward_samples.then(Forward::default),
            registry,
            outputs: outputs.clone(),
            requests: requests.clone(),
        };
        Ok(Some(Self {
            outputs,
            collector: workers::spawn_task(
                "export",
                collector.run(Duration::from_secs(config.interval_seconds.max(1))),
            ),
            sender: workers::spawn_task("export", sender.run(requests)),
            grace_period: Duration::from_secs(config.timeout_seconds.max(1)),
        }))
    }

    /// What evaluation calls with everything it makes. Never blocks on the network.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let outputs = self.outputs.clone();
        Arc::new(move |output| observe(&outputs, output))
    }

    /// Sends what is there, for at most one request's timeout, and stops.
    pub async fn stop(mut self) {
        self.outputs.close();
        // The collector's last act is to close the sender's queue; the sender then gives each request one attempt.
        if self.collector.await.is_err() {
            tracing::error!("the exporter stopped by itself");
        }
        if tokio::time::timeout(self.grace_period, &mut self.sender).await.is_err() {
            self.sender.abort();
            tracing::warn!("the export endpoint did not take everything before the stop");
        }
    }
}

fn observe(outputs: &Ring<Arc<EvaluationOutput>>, output: &Arc<EvaluationOutput>) {
    let rows: usize = output.samples.iter().map(|columns| columns.len()).sum();
    let interesting = rows > 0 || !output.verdicts.is_empty() || !output.alerts.is_empty() || !output.agents.is_empty();
    if interesting {
        outputs.push(output.clone(), rows);
    }
}

/// Folds outputs into what is sent at the next interval.
struct Collector {
    verdicts: Verdicts,
    forward: Option<Forward>,
    registry: Arc<Registry>,
    outputs: Arc<Ring<Arc<EvaluationOutput>>>,
    requests: Arc<Ring<ExportMetricsServiceRequest>>,
}

impl Collector {
    async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                output = self.outputs.next() => match output {
                    Some(output) => self.fold(&output),
                    None => break,
                },
                _ = ticks.tick() => self.flush(),
            }
        }
        self.flush();
        self.requests.close();
    }

    fn fold(&mut self, output: &EvaluationOutput) {
        self.verdicts.fold(output);
        let Some(forward) = &mut self.forward else { return };
        for columns in &output.samples {
            forward.fold(columns);
            if forward.rows() >= FORWARD_ROWS {
                self.requests.push_some(forward.take(&self.registry));
            }
        }
    }

    fn flush(&mut self) {
        self.requests.push_some(self.verdicts.take(&self.registry, now()));
        if let Some(forward) = &mut self.forward {
            self.requests.push_some(forward.take(&self.registry));
        }
    }
}

impl Ring<ExportMetricsServiceRequest> {
    fn push_some(&self, request: ExportMetricsServiceRequest) {
        if !request.resource_metrics.is_empty() {
            self.push(request, 0);
        }
    }
}
