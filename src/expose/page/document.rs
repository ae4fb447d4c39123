//! The OpenAPI description of the page's own routes: sessions, one-time links, the status page and badges.
//!
//! It is laid into the document of the API as far as the configuration switches the routes on.

use crate::expose::ExposeConfig;
use serde_json::Value;
use std::sync::LazyLock;

/// The paths and schemas as they were written.
///
/// # Panics
/// Never: what is read is part of the program, and tests read it too.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("openapi.json")).expect("the document is JSON"));

/// The tag of the routes of sessions; the others are those of the status page.
const SESSIONS: &str = "page";

/// Adds the routes that `config` switches on to an OpenAPI document.
pub fn describe(document: &mut Value, config: &ExposeConfig) {
    if !config.page {
        return;
    }
    let is_public = !config.status_page.components.is_empty();
    for (path, item) in DOCUMENT["paths"].as_object().into_iter().flatten() {
        let of_sessions = item.as_object().into_iter().flatten().any(|(_, operation)| operation["tags"][0] == SESSIONS);
        if of_sessions || is_public {
            document["paths"][path] = item.clone();
        }
    }
    for (name, schema) in DOCUMENT["schemas"].as_object().into_iter().flatten() {
        if is_public || !name.starts_with("Public") {
            document["components"]["schemas"][name] = schema.clone();
        }
    }
}
