//! The routes of the API, one file each: its shapes, its handler and its examples.
//!
//! A new route is a file here with a `ROUTE`, and a line in [`ROUTES`]. Path, parameters, schemas, checks, label in the
//! metrics and examples all come from the `utoipa` attributes and the types in that file.

mod agent;
mod agents;
mod alert_actions;
mod alerts;
mod audit;
mod batch;
mod dashboard;
mod health_check;
mod heartbeat;
mod maintenance;
mod maintenance_window;
mod metrics;
mod plugins;
mod probe;
mod samples;
mod series;
mod service_health;
mod stream;
pub mod system_metrics;
mod uptime_status;
mod uptime_summary;
mod verdicts;
mod ws;

use crate::expose::Rest;
use axum::routing::MethodRouter;
use std::sync::Arc;
use utoipa::openapi::OpenApi;

/// One route.
pub struct Route {
    /// Makes its handlers, by method.
    pub methods: fn() -> MethodRouter<Arc<Rest>>,
    /// Describes its one path, with the schemas that it needs.
    pub document: fn() -> OpenApi,
    /// Its examples: a JSON object with `request`, and an answer for each status of success.
    pub examples: &'static str,
}

/// All routes, in the order in which their examples can be sent to a service that knows nothing.
pub const ROUTES: &[Route] = &[
    heartbeat::ROUTE,
    system_metrics::ROUTE,
    batch::ROUTE,
    uptime_status::ROUTE,
    uptime_summary::ROUTE,
    health_check::ROUTE,
    dashboard::ROUTE,
    service_health::ROUTE,
    agents::ROUTE,
    agent::ROUTE,
    series::ROUTE,
    samples::ROUTE,
    verdicts::ROUTE,
    alerts::ROUTE,
    alert_actions::ACKNOWLEDGE,
    alert_actions::UNACKNOWLEDGE,
    alert_actions::SILENCE_ROUTE,
    alert_actions::UNSILENCE,
    alert_actions::CLOSE,
    maintenance::ROUTE,
    maintenance_window::ROUTE,
    audit::ROUTE,
    plugins::ROUTE,
    stream::ROUTE,
    ws::ROUTE,
    probe::ROUTE,
    metrics::ROUTE,
];
