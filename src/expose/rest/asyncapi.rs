//! The AsyncAPI document: what the messages of the live stream hold.

use super::extract::Anyone;
use super::prefix;
use crate::expose::Rest;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// The document as it was written.
///
/// # Panics
/// Never: what is read is part of the program, and tests read it too.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("asyncapi.json")).expect("the document is JSON"));

/// The document, with where it was asked for as its one server.
pub(super) async fn asyncapi(State(rest): State<Arc<Rest>>, headers: HeaderMap, _: Anyone) -> Json<Value> {
    let mut document = DOCUMENT.clone();
    let server = &mut document["servers"]["here"];
    if let Some(host) = headers.get("host").and_then(|host| host.to_str().ok()) {
        server["host"] = host.into();
    }
    let prefix = prefix::of(&rest, &headers);
    if !prefix.is_empty() {
        server["pathname"] = prefix.into();
    }
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    Json(document)
}
