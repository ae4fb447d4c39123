//! The OpenAPI document and the page that shows it.

use super::{assess, check, dashboard, error, ingest, query, uptime};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "vitals",
        description = "OTLP metrics and heartbeats in, typed health out. Times are RFC 3339; a time without an \
                       offset is UTC; answers are in UTC. Every response carries `x-correlation-id`.",
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
    modifiers(&Token),
    tags(
        (name = "telemetry", description = "The IntelliBrowse contract"),
        (name = "query", description = "What is known, as lists"),
        (name = "operations", description = "Probes, plugins, alerts, maintenance windows"),
    )
)]
pub struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// `/docs` and `/openapi.json`.
pub fn swagger() -> SwaggerUi {
    SwaggerUi::new("/docs").url("/openapi.json", Document::openapi())
}
