//! `grpc.health.v1.Health` on the gRPC port: whether the service takes requests, for probes and for clients that balance.

use super::ExportHandler;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The service whose health this is, beside the whole server's under the empty name.
const SERVICES: [&str; 2] = ["", "opentelemetry.proto.collector.metrics.v1.MetricsService"];
/// How often readiness is asked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says what the service's state is.
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// With the state as `ingest` has it now.
    pub async fn new<I: ExportHandler>(ingest: &Arc<I>) -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.ask(ingest).await;
        health
    }

    /// For the service that answers.
    pub fn reporter(&self) -> HealthReporter {
        self.reporter.clone()
    }

    async fn say(&self, status: ServingStatus) {
        for service in SERVICES {
            self.reporter.set_service_status(service, status).await;
        }
    }

    async fn ask<I: ExportHandler>(&self, ingest: &Arc<I>) {
        let ingest = ingest.clone();
        // It may look at the disk. A panic there is not ready either.
        let ready = tokio::task::spawn_blocking(move || ingest.ready()).await.unwrap_or(false);
        self.say(if ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }

    /// Follows the state until `shutdown` is done; then it is not serving, and who watches is let go.
    pub async fn follow<I: ExportHandler>(mut self, ingest: Arc<I>, shutdown: impl Future<Output = ()> + Send) {
        let asking = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.ask(&ingest).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = asking => {}
        }
        self.say(ServingStatus::NotServing).await;
        // A stream that never ends would hold its connection open. It gives out the last state first.
        for service in SERVICES {
            self.reporter.clear_service_status(service).await;
        }
    }
}
