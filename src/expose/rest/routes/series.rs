//! `GET /series`: the series of an agent or system.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::contract::Problem;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::shapes::Id;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::series::{Attributes, Origin, SeriesDesc, Shape};

#[derive(OpenApi)]
#[openapi(paths(series))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(series), document: Operation::openapi, examples: EXAMPLES };

/// Series of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesList {
    /// The series.
    pub series: Vec<SeriesItem>,
}

/// A series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SeriesItem {
    /// Its number, for `/series/{id}/samples`.
    pub series_id: u32,
    /// Its agent or system.
    pub agent_id: String,
    /// The metric's name.
    pub metric_name: String,
    /// Its typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// `gauge`, `cumulative` or `delta` (stored as a running total).
    pub shape: String,
    /// Which number of the metric's point: `value`, `count`, `sum`, `min`, `max`, `le=...`, `quantile=...`.
    pub part: String,
    /// `otlp`, `rest` or `derived`.
    pub origin: String,
    /// The plugin that computes it, if it is derived.
    pub plugin: Option<String>,
    /// The instrumentation scope, or the component of a REST metric.
    pub scope: String,
    /// The instrumentation scope's version; empty when there is none.
    pub scope_version: String,
    /// The instrumentation scope's attributes.
    pub scope_attributes: BTreeMap<String, String>,
    /// The point's attributes, or a REST metric's dimensions.
    pub attributes: BTreeMap<String, String>,
    /// The resource's attributes.
    pub resource: BTreeMap<String, String>,
    /// The types of attributes that are no strings: the integer 1 and the string "1" make two series.
    pub types: AttributeTypes,
}

/// The types of attributes that are no strings, by key: `boolean`, `int`, `double`, `bytes`, `array(int, ...)`, `map(...)`,
/// `empty`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttributeTypes {
    /// Of the point.
    pub attributes: BTreeMap<String, String>,
    /// Of the instrumentation scope.
    pub scope_attributes: BTreeMap<String, String>,
    /// Of the resource.
    pub resource: BTreeMap<String, String>,
}

/// Series of an agent or system
#[utoipa::path(
    get, path = "/api/v1/telemetry/series", tag = "query", security(("token" = [])),
    params(("agent" = Id, Query, description = "the agent's or system's id", example = "web-1")),
    responses(
        (status = 200, body = SeriesList, description = "in the order in which they appeared"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn series(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<SeriesList>, ApiError> {
    let Some(key) = query.get("agent") else {
        return Err(ApiError::Invalid(vec![Problem::new("missing", ["query", "agent"], "Field required", None)]));
    };
    let agent = rest.agent(&caller, key)?;
    let series = rest.registry.series_of(agent.id).iter().map(|series| series_item(series, &agent.key)).collect();
    Ok(Json(SeriesList { series }))
}

fn series_item(series: &SeriesDesc, agent_id: &str) -> SeriesItem {
    let spec = &series.spec;
    let (origin, plugin) = match &spec.origin {
        Origin::Otlp => ("otlp", None),
        Origin::Rest => ("rest", None),
        Origin::Derived { plugin, .. } => ("derived", Some(plugin.clone())),
    };
    let shape = match spec.shape {
        Shape::Gauge => "gauge",
        Shape::Cumulative { .. } => "cumulative",
        Shape::Delta { .. } => "delta",
    };
    SeriesItem {
        series_id: series.id.0,
        agent_id: agent_id.to_owned(),
        metric_name: spec.metric.clone(),
        metric_type: spec.kind.name().to_owned(),
        unit: spec.unit.clone(),
        shape: shape.to_owned(),
        part: spec.part.to_string(),
        origin: origin.to_owned(),
        plugin,
        scope: spec.scope.name.clone(),
        scope_version: spec.scope.version.clone(),
        scope_attributes: spec.scope.attributes.iter().cloned().collect(),
        attributes: spec.attributes.iter().cloned().collect(),
        resource: spec.resource.iter().cloned().collect(),
        types: AttributeTypes {
            attributes: types(&spec.attributes),
            scope_attributes: types(&spec.scope.attributes),
            resource: types(&spec.resource),
        },
    }
}

fn types(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes.types().map(|(key, name)| (key.to_owned(), name)).collect()
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "series": [
      {
        "series_id": 0,
        "agent_id": "web-1",
        "metric_name": "cpu_usage_percent",
        "metric_type": "cpu_usage",
        "unit": "%",
        "shape": "gauge",
        "part": "value",
        "origin": "rest",
        "plugin": null,
        "scope": "heartbeat",
        "scope_version": "",
        "scope_attributes": {},
        "attributes": {},
        "resource": {},
        "types": {"attributes": {}, "scope_attributes": {}, "resource": {}}
      }
    ]
  }
}"#;
