//! `GET /health` of the API: how the service is.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::error::{AnyErrors, ApiError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::Reader;
use crate::expose::rest::time::Time;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Scope;

#[derive(OpenApi)]
#[openapi(paths(service_health))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(service_health), document: Operation::openapi, examples: EXAMPLES };

/// How the service is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceHealth {
    /// `vitals`.
    pub service: String,
    /// `healthy` when it takes requests, `unhealthy` otherwise.
    pub status: String,
    /// Its version.
    pub version: String,
    /// Now.
    pub timestamp: Time,
    /// `connected`, or what is wrong.
    pub database_status: String,
    /// `healthy`, or what is wrong.
    pub processing_queue_status: String,
    /// Records of all tenants that wait to be committed or evaluated; with the scope `admin` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_records: Option<u64>,
}

/// How the service is
#[utoipa::path(
    get, path = "/api/v1/telemetry/health", operation_id = "service_health", tag = "telemetry", security(("token" = [])),
    responses((status = 200, body = ServiceHealth, description = "true at this moment"), TokenErrors, ParameterErrors, AnyErrors)
)]
pub async fn service_health(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
) -> Result<Json<ServiceHealth>, ApiError> {
    let status = rest.status().await?;
    Ok(Json(ServiceHealth {
        service: env!("CARGO_PKG_NAME").to_owned(),
        status: if status.ready { "healthy" } else { "unhealthy" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timestamp: Time(rest.now()),
        database_status: status.database_status,
        processing_queue_status: status.processing_queue_status,
        queued_records: caller.may(Scope::Admin).then_some(status.queued),
    }))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "service": "vitals",
    "status": "healthy",
    "version": "0.1.0",
    "timestamp": "2026-03-01T12:00:00.228Z",
    "database_status": "connected",
    "processing_queue_status": "healthy"
  }
}"#;
