//! `GET /metrics`: the metrics of the service itself.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::error::{AnyErrors, ApiError, ParameterErrors};
use crate::expose::rest::extract::Anyone;
use crate::expose::rest::lookup::blocking;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths(metrics))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(metrics), document: Operation::openapi, examples: EXAMPLES };

/// The service's own metrics
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Prometheus text"),
        ParameterErrors, AnyErrors
    )
)]
pub async fn metrics(State(rest): State<Arc<Rest>>, _: Anyone) -> Result<Response, ApiError> {
    let metrics = rest.metrics.clone();
    let text = blocking(move || metrics()).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r##"{
  "200": "# TYPE vitals_rest_requests_total counter\nvitals_rest_requests_total{route=\"heartbeat\",status=\"201\"} 17\n"
}"##;
