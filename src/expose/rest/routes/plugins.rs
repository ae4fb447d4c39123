//! `GET /plugins`: the plugins in force.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::error::{AnyErrors, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::Reader;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::caller::Scope;

/// What the host says of a plugin that comes from the data of every tenant.
const OF_ALL_TENANTS: [&str; 9] = [
    "calls",
    "failures",
    "quarantined",
    "verdicts",
    "dropped_outputs",
    "skipped_rows",
    "cpu_seconds",
    "memory_bytes",
    "last_error",
];

#[derive(OpenApi)]
#[openapi(paths(plugins))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(plugins), document: Operation::openapi, examples: EXAMPLES };

/// Plugins.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PluginList {
    /// What the host says of each.
    #[schema(value_type = Vec<Object>)]
    pub plugins: Vec<Value>,
}

/// Plugins in force
///
/// With the scope `admin` also how they do: calls, failures and the last error, over all tenants.
#[utoipa::path(
    get, path = "/api/v1/telemetry/plugins", tag = "operations", security(("token" = [])),
    responses((status = 200, body = PluginList, description = "those in force"), TokenErrors, ParameterErrors, AnyErrors)
)]
pub async fn plugins(State(rest): State<Arc<Rest>>, Reader(caller): Reader) -> Json<PluginList> {
    let mut plugins = (rest.plugins)();
    if !caller.may(Scope::Admin) {
        for fields in plugins.iter_mut().filter_map(Value::as_object_mut) {
            // What is counted is counted over all tenants, and an error may speak of any of them.
            OF_ALL_TENANTS.iter().for_each(|name| drop(fields.remove(*name)));
        }
    }
    Json(PluginList { plugins })
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "plugins": [
      {
        "config": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "digest": "31a90e70fddd00856dfe8137a17b26dec0e485704fbf44be091b3c8427c4788a",
        "kind": "metric-deriver",
        "name": "rate",
        "source": "embedded",
        "stale": false,
        "state": "ok",
        "version": "0.1.0"
      }
    ]
  }
}"#;
