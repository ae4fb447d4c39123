//! `grpc.health.v1.Health` on the gRPC port: whether the service takes requests, for probes and for clients that balance.

use super::ExportHandler;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The services whose health is reported: the whole server, under the empty name, and metrics.
const SERVICES: [&str; 2] = ["", "opentelemetry.proto.collector.metrics.v1.MetricsService"];
/// How often readiness is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reports the state of the service.
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// A reporter of the state that `handler` has now.
    pub async fn new<H: ExportHandler>(handler: &Arc<H>) -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.update(handler).await;
        health
    }

    /// The part that the health service answers from.
    pub fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    async fn set(&self, status: ServingStatus) {
        for service in SERVICES {
            self.reporter.set_service_status(service, status).await;
        }
    }

    async fn update<H: ExportHandler>(&self, handler: &Arc<H>) {
        let handler = handler.clone();
        // It may look at the disk. A panic there is not ready either.
        let ready = tokio::task::spawn_blocking(move || handler.ready()).await.unwrap_or(false);
        self.set(if ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }

    /// Follows the state until `shutdown` is done; then the service is not serving, and watches end.
    pub async fn follow<H: ExportHandler>(mut self, handler: Arc<H>, shutdown: impl Future<Output = ()> + Send) {
        let updating = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.update(&handler).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = updating => {}
        }
        self.set(ServingStatus::NotServing).await;
        // A stream that never ends would hold its connection open. It gives out the last state first.
        for service in SERVICES {
            self.reporter.clear_service_status(service).await;
        }
    }
}
