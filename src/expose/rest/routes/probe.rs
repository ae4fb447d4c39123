//! `GET /health`: live and ready, for probes.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::error::{ApiError, ErrorBody, ParameterErrors};
use crate::expose::rest::extract::Anyone;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::ids::UnixNanos;

#[derive(OpenApi)]
#[openapi(paths(probe))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(probe), document: Operation::openapi, examples: EXAMPLES };

/// Live and ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Probe {
    /// The process answers.
    pub live: bool,
    /// It takes requests.
    pub ready: bool,
    /// Why it does not, in one sentence; not there while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The plugins that do not judge now, and whether they are refused or quarantined; not there while all do. Requests are
    /// taken all the same. The reason is in `GET /plugins` and in the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginTrouble>,
    /// What a store that sends to a server has still to send; not there for one that keeps everything itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// A plugin that does not judge.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PluginTrouble {
    /// Its name, or its file when it has none.
    pub name: String,
    /// `refused` when it cannot be used at all, `quarantined` when it failed too often.
    pub state: String,
}

/// The plugins of a list that do not judge.
fn plugins_in_trouble(plugins: &[Value]) -> Vec<PluginTrouble> {
    let text = |plugin: &Value, field: &str| plugin[field].as_str().unwrap_or_default().to_owned();
    let trouble = |plugin: &Value| PluginTrouble { name: text(plugin, "name"), state: text(plugin, "state") };
    plugins.iter().map(trouble).filter(|plugin| matches!(plugin.state.as_str(), "refused" | "quarantined")).collect()
}

/// What waits for a server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// Samples.
    #[schema(minimum = 0)]
    pub samples: u64,
    /// Bytes on the disk.
    #[schema(minimum = 0)]
    pub bytes: u64,
    /// Seconds since the oldest of it was stored here; 0 when nothing waits.
    #[schema(minimum = 0)]
    pub age_seconds: f64,
}

/// Live and ready, for probes
#[utoipa::path(
    get, path = "/health", tag = "operations",
    responses(
        (status = 200, body = Probe, description = "takes requests"),
        (status = 503, body = Probe, description = "lives, does not take requests"),
        (status = 500, body = ErrorBody, description = "a bug here"),
        ParameterErrors
    )
)]
pub async fn probe(State(rest): State<Arc<Rest>>, _: Anyone) -> Result<Response, ApiError> {
    let service = rest.status().await?;
    let ready = service.ready;
    let is_queue = service.processing_queue_status != "healthy";
    let reason = if is_queue { service.processing_queue_status } else { service.database_status };
    let reason = (!ready).then_some(reason);
    let plugins = plugins_in_trouble(&(rest.plugins)());
    let waiting = rest.store.outbox().map(|outbox| Waiting {
        samples: outbox.samples,
        bytes: outbox.bytes,
        age_seconds: outbox.since.map_or(0, |since| rest.now().since(since).max(0)) as f64 / UnixNanos::SECOND as f64,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Probe { live: true, ready, reason, plugins, waiting })).into_response())
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{"200": {"live": true, "ready": true, "plugins": [{"name": "too-hot", "state": "refused"}], "waiting": {"samples": 12000, "bytes": 48213, "age_seconds": 4.2}}, "503": {"live": true, "ready": false, "reason": "the log cannot be written: disk I/O error"}}"#;
