//! The OpenAPI document and the page that shows it.
//!
//! Its examples can be sent as they stand, one after the other, to a service that knows nothing: they are listed in that
//! order, and their times are those of the moment at which the document is asked for.

use super::csv::Format;
use super::error::{ApiError, ERROR_EXAMPLES, ErrorBody, InvalidBody};
use super::extract::Anyone;
use super::problem::Problem;
use super::routes::ROUTES;
use super::shapes::{Cursor, VerdictCursor};
use super::time::Time;
use super::{asyncapi, prefix};
use crate::expose::Rest;
use crate::expose::page::document::describe;
use crate::net::Refusal;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use hashbrown::HashMap;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::rules::alerts;
use vitals_core::series::MetricKind;

/// The document without its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "vitals",
        description = "OTLP metrics and heartbeats in, typed health out. Times are RFC 3339; a time without an \
                       offset is UTC; answers are in UTC. Unknown fields of a request are ignored.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, ErrorBody, InvalidBody, Format, Cursor, VerdictCursor)),
    tags(
        (name = "telemetry", description = "The IntelliBrowse contract"),
        (name = "query", description = "What is known, as lists"),
        (name = "stream", description = "What happens, as it happens; `/asyncapi.json` describes the messages"),
        (name = "operations", description = "Probes, plugins, alerts, maintenance windows"),
        (name = "page", description = "Sessions of the page, where `expose.page` is on"),
        (name = "status page", description = "For people without a token, where `expose.status_page` has a component"),
    )
)]
struct Frame;

/// The moment at which the examples were written.
const WRITTEN_AT: &str = "2026-03-01T12:00:00Z";

/// The document, with its paths in the order of `ROUTES` when it is written.
#[derive(Clone)]
pub struct Document(pub Value);

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        for (name, value) in self.0.as_object().into_iter().flatten() {
            match value.as_object().filter(|_| name == "paths") {
                Some(paths) => fields.serialize_entry(name, &Paths(paths))?,
                None => fields.serialize_entry(name, value)?,
            }
        }
        fields.end()
    }
}

struct Paths<'a>(&'a Map<String, Value>);

impl Serialize for Paths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rank = |path: &str| DOCUMENT.paths.iter().position(|known| known == path).unwrap_or(usize::MAX);
        let mut paths: Vec<_> = self.0.iter().collect();
        paths.sort_by_key(|(path, _)| rank(path));
        serializer.collect_map(paths)
    }
}

/// The document as it was written, and the paths of `ROUTES` in their order.
struct WrittenDocument {
    document: Value,
    paths: Vec<String>,
}

static DOCUMENT: LazyLock<WrittenDocument> = LazyLock::new(written);

/// The paths of `ROUTES`, in their order.
pub fn paths() -> impl Iterator<Item = &'static str> {
    DOCUMENT.paths.iter().map(String::as_str)
}

/// The names of the query parameters of each path.
static PARAMETERS: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let paths = DOCUMENT.document["paths"].as_object().into_iter().flatten();
    let of = |path: &'static Value| {
        let operations = path.as_object().into_iter().flat_map(|path| path.values());
        let parameters = operations.flat_map(|operation| operation["parameters"].as_array().into_iter().flatten());
        parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect()
    };
    paths.map(|(path, operations)| (path.as_str(), of(operations))).collect()
});

/// The names of the query parameters that the route at `path` takes, which may stand behind a prefix.
pub fn parameters(path: &str) -> &'static [&'static str] {
    let known = PARAMETERS.iter().filter(|(known, _)| path.ends_with(*known));
    known.max_by_key(|(known, _)| known.len()).map_or(&[], |(_, names)| names.as_slice())
}

/// The document with the times of `now`.
#[must_use]
pub fn document(now: UnixNanos) -> Document {
    let mut document = DOCUMENT.document.clone();
    let written = Time::parse(WRITTEN_AT).map_or(now, |time| time.0);
    let whole_seconds = now.since(written) / UnixNanos::SECOND * UnixNanos::SECOND;
    move_examples(&mut document, whole_seconds);
    name_the_alert(&mut document);
    name_the_window(&mut document);
    Document(document)
}

/// Moves every time in every example by so many nanoseconds.
fn move_examples(value: &mut Value, by: i64) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == "example" { move_times(inner, by) } else { move_examples(inner, by) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_examples(item, by)),
        _ => {}
    }
}

fn move_times(value: &mut Value, by: i64) {
    match value {
        Value::String(text) => {
            if let Some(moved) = moved(text, by) {
                *text = moved;
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| move_times(field, by)),
        Value::Array(items) => items.iter_mut().for_each(|item| move_times(item, by)),
        _ => {}
    }
}

/// A time, or the date of a day, moved; `None` for other text.
fn moved(text: &str, by: i64) -> Option<String> {
    if text.len() >= 20 && text.ends_with('Z') {
        return Time::parse(text).map(|time| Time(time.0.plus(by)).to_string());
    }
    let noon = (text.len() == 10).then(|| Time::parse(&format!("{text}T12:00:00Z"))).flatten()?;
    Time(noon.0.plus(by)).to_string().split_once('T').map(|(date, _)| date.to_owned())
}

/// The first agent of an empty service raises its alert under this id, if its heartbeat is that of the examples.
fn name_the_alert(document: &mut Value) {
    let heartbeat = &document["paths"]["/api/v1/telemetry/heartbeat"]["post"];
    let started = heartbeat["requestBody"]["content"]["application/json"]["example"]["timestamp"].as_str();
    let Some(started) = started.and_then(Time::parse) else { return };
    let source = alerts::source_of(MetricKind::CpuUsage);
    let id = alerts::id_of(&"default".into(), &source, AgentId(0), None, started.0);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, path) in paths.filter(|(path, _)| path.starts_with("/api/v1/telemetry/alerts/{id}/")) {
        if let Some(parameter) = path["post"]["parameters"].get_mut(0) {
            parameter["example"] = id.as_str().into();
        }
    }
}

/// The window of the examples is planned under this id.
fn name_the_window(document: &mut Value) {
    let plan = &document["paths"]["/api/v1/telemetry/maintenance"]["post"];
    let body = &plan["requestBody"]["content"]["application/json"]["example"];
    let time = |name: &str| Some(Time::parse(body[name].as_str()?)?.0);
    let Some(times) = time("start_time").zip(time("end_time")) else { return };
    let mut agents: Vec<String> =
        body["agents"].as_array().into_iter().flatten().filter_map(|agent| Some(agent.as_str()?.to_owned())).collect();
    agents.sort_unstable();
    let id = PersonWindow::id_of(&TenantId::default_tenant(), &agents, times, None);
    let path = &mut document["paths"]["/api/v1/telemetry/maintenance/{id}"];
    for (_, operation) in path.as_object_mut().into_iter().flatten() {
        if let Some(parameter) = operation["parameters"].get_mut(0) {
            parameter["example"] = id.as_str().into();
        }
    }
}

/// Puts the routes together, with the token, the headers of the answers and the examples.
///
/// # Panics
/// Never: what is read is part of the program, and tests read it too.
fn written() -> WrittenDocument {
    let mut all = Frame::openapi();
    let mut paths = Vec::new();
    let mut examples = Map::new();
    for route in ROUTES {
        let document = (route.document)();
        for (path, item) in &document.paths.paths {
            let methods = [("get", &item.get), ("post", &item.post), ("put", &item.put), ("delete", &item.delete)];
            let example: Value = serde_json::from_str(route.examples).expect("the examples are JSON");
            for (method, operation) in methods {
                let Some(id) = operation.as_ref().and_then(|operation| operation.operation_id.clone()) else {
                    continue;
                };
                examples.insert(id, example.get(method).unwrap_or(&example).clone());
            }
            paths.push(path.clone());
        }
        all.merge(document);
    }
    let document = serde_json::to_value(all).expect("the document is JSON");
    WrittenDocument { document: with_examples(document, &examples), paths }
}

/// Lays the token, the headers of the answers and the examples over what the code says.
///
/// # Panics
/// Never, as [`written`].
fn with_examples(mut document: Value, examples: &Map<String, Value>) -> Value {
    let errors: Value = serde_json::from_str(ERROR_EXAMPLES).expect("the examples are JSON");
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
        if let Some(request) = own.get("request").filter(|_| operation.get("requestBody").is_some()) {
            operation["requestBody"]["content"]["application/json"]["example"] = request.clone();
        }
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            response["headers"]["x-correlation-id"] = reference("correlation");
            match status.as_str() {
                "401" => response["headers"]["www-authenticate"] = reference("challenge"),
                "429" | "503" => response["headers"]["retry-after"] = reference("retry"),
                _ => {}
            }
            let example = own.get(status).or_else(|| errors.get(status));
            for (name, media) in response["content"].as_object_mut().into_iter().flatten() {
                let example = if name == "text/csv" { own.get("csv") } else { example };
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

/// `/docs`, `/openapi.json`, and the way there from `/`, unless the page is there.
pub fn routes(page_at_root: bool) -> Router<Arc<Rest>> {
    let routes = if page_at_root { Router::new() } else { Router::new().route("/", get(to_docs)) };
    routes
        .route("/docs", get(to_docs))
        .route("/docs/", get(|| page(String::new())))
        .route("/docs/{*file}", get(|Path(file): Path<String>| page(file)))
        .route("/openapi.json", get(openapi))
        .route("/openapi.json/", get(openapi))
        .route("/asyncapi.json", get(asyncapi::asyncapi))
        .route("/asyncapi.json/", get(asyncapi::asyncapi))
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
        Ok(None) => ApiError::not_found("there is no such page").into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the documentation cannot be made");
            ApiError::from(Refusal::Internal).into_response()
        }
    }
}

/// The document. Its one server is where the document is, so that who reads it calls the right URLs behind any prefix.
async fn openapi(State(rest): State<Arc<Rest>>, headers: HeaderMap, _: Anyone) -> Json<Document> {
    let prefix = prefix::of(&rest, &headers);
    let mut document = document(rest.now());
    describe(&mut document.0, &rest.config);
    document.0["servers"] = json!([{"url": if prefix.is_empty() { "." } else { &prefix }}]);
    Json(document)
}
