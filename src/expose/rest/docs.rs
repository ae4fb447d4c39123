//! The OpenAPI document and the page that shows it.

use super::error::ApiError;
use super::{Rest, assess, check, dashboard, error, ingest, prefix, query, uptime};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

/// What the code says of its routes and shapes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "vitals",
        description = "OTLP metrics and heartbeats in, typed health out. Times are RFC 3339; a time without an \
                       offset is UTC; answers are in UTC. Unknown fields of a request are ignored.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        ingest::heartbeat,
        ingest::system_metrics,
        ingest::batch,
        ingest::maintenance,
        ingest::acknowledge,
        uptime::status,
        uptime::summary,
        assess::health_check,
        dashboard::dashboard,
        query::service_health,
        query::probe,
        query::metrics,
        query::agents,
        query::series,
        query::samples,
        query::verdicts,
        query::alerts,
        query::plugins,
    ),
    components(schemas(check::Problem, error::ErrorBody, error::InvalidBody)),
    tags(
        (name = "telemetry", description = "The IntelliBrowse contract"),
        (name = "query", description = "What is known, as lists"),
        (name = "operations", description = "Probes, plugins, alerts, maintenance windows"),
    )
)]
struct Code;

/// Requests and answers by operation: `request`, and one for each status of success; `errors` for all.
const EXAMPLES: &str = include_str!("examples.json");

/// The whole document: what the code says, with the token, the headers of the answers and the examples.
///
/// # Panics
/// Never: what is read is part of the program, and tests read it too.
#[must_use]
pub fn document() -> Value {
    let mut document = serde_json::to_value(Code::openapi()).expect("the document is JSON");
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    document["components"]["securitySchemes"] =
        json!({"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}});
    document["components"]["headers"] = headers();
    without_formats(&mut document["components"]["schemas"]);
    for operation in operations(&mut document) {
        without_formats(&mut operation["parameters"]);
        if operation["parameters"].is_null() {
            operation.as_object_mut().map(|fields| fields.remove("parameters"));
        }
        let own = operation["operationId"].as_str().and_then(|id| examples.get(id)).cloned().unwrap_or_default();
        if let Some(request) = own.get("request") {
            operation["requestBody"]["content"]["application/json"]["example"] = request.clone();
        }
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            response["headers"]["x-correlation-id"] = reference("correlation");
            match status.as_str() {
                "401" => response["headers"]["www-authenticate"] = reference("challenge"),
                "429" | "503" => response["headers"]["retry-after"] = reference("retry"),
                _ => {}
            }
            let example = own.get(status).or_else(|| examples["errors"].get(status));
            for media in response["content"].as_object_mut().into_iter().flat_map(|content| content.values_mut()) {
                if let Some(example) = example {
                    media["example"] = example.clone();
                }
            }
        }
    }
    document
}

/// Every operation of every path.
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.flat_map(|path| path.as_object_mut().into_iter().flat_map(|path| path.values_mut()))
}

fn reference(header: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{header}")})
}

fn headers() -> Value {
    json!({
        "correlation": {
            "description": "The request's own id if it sent a sane one, else a fresh one; log lines carry it too.",
            "schema": {"type": "string"}, "required": true,
        },
        "challenge": {"description": "Which scheme to use.", "schema": {"type": "string", "enum": ["Bearer"]}, "required": true},
        "retry": {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer", "minimum": 0},
        },
    })
}

/// Takes the widths of integers out: they are those of the program, not of the contract.
fn without_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("format").is_some_and(|format| format.as_str().is_some_and(|name| name.starts_with("int"))) {
                fields.remove("format");
            }
            fields.values_mut().for_each(without_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_formats),
        _ => {}
    }
}

/// `/docs`, `/openapi.json`, and the way there from `/`.
pub fn routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/", get(to_docs))
        .route("/docs", get(to_docs))
        .route("/docs/", get(|| page(String::new())))
        .route("/docs/{*file}", get(|Path(file): Path<String>| page(file)))
        .route("/openapi.json", get(openapi))
}

/// Relative unless the prefix is known: right for a page at `/docs` and at `/`, whatever stands before them.
async fn to_docs(State(rest): State<Arc<Rest>>, headers: HeaderMap) -> Redirect {
    let prefix = prefix::of(&rest, &headers);
    if prefix.is_empty() { Redirect::to("docs/") } else { Redirect::to(&format!("{prefix}/docs/")) }
}

/// A file of Swagger UI, which loads the document beside it.
async fn page(file: String) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("../openapi.json")));
    match utoipa_swagger_ui::serve(&file, CONFIG.clone()) {
        Ok(Some(file)) => {
            let mut response = Response::new(Body::from(file.bytes.into_owned()));
            if let Ok(value) = HeaderValue::try_from(file.content_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
        }
        Ok(None) => ApiError::NotFound("there is no such page".to_owned()).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the documentation cannot be made");
            ApiError::Internal.into_response()
        }
    }
}

/// The document. Its one server is where the document is, so that who reads it calls the right URLs behind any prefix.
async fn openapi(State(rest): State<Arc<Rest>>, headers: HeaderMap) -> axum::Json<Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
    let prefix = prefix::of(&rest, &headers);
    let mut document = DOCUMENT.clone();
    document["servers"] = json!([{"url": if prefix.is_empty() { "." } else { &prefix }}]);
    axum::Json(document)
}
