//! `GET /audit`: who did what, and when.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::cursor;
use crate::expose::rest::error::{AnyErrors, ApiError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::ranges::not_empty;
use crate::expose::rest::shapes::{Cursor, Id};
use crate::expose::rest::time::Time;
use crate::expose::rest::{DEFAULT_LISTED, MOST_LISTED};
use crate::expose::stream::is_within;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::caller::{Caller, matches};
use vitals_core::ids::UnixNanos;

#[derive(OpenApi)]
#[openapi(paths(audit))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(audit), document: Operation::openapi, examples: EXAMPLES };

/// What was done, the latest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditItem>,
    /// What `after` must be for the next page; null on the last one.
    pub next: Option<String>,
}

/// Something that was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditItem {
    /// Its id.
    pub audit_id: String,
    /// When.
    pub time: Time,
    /// The subject of the token that did it; `configuration` when a file or a signal did it.
    pub by: String,
    /// What was done: `alert acknowledged`, `alert closed`, `maintenance planned`, `agent retired`, `settings reloaded`.
    pub action: String,
    /// The agents that it is about: ids, or glob patterns; empty for what is about the service.
    pub agents: Vec<String>,
    /// The id of the alert or the maintenance window.
    pub target: Option<String>,
    /// Why, in the person's words.
    pub comment: Option<String>,
    /// What else there is to say, e.g. until when.
    pub detail: Option<String>,
}

impl From<&AuditEntry> for AuditItem {
    fn from(entry: &AuditEntry) -> Self {
        let AuditEntry { id, at, by, action, agents, target, comment, detail, .. } = entry.clone();
        Self { audit_id: id, time: Time(at), by, action, agents, target, comment, detail }
    }
}

/// Who did what, the latest first
#[utoipa::path(
    get, path = "/api/v1/telemetry/audit", tag = "operations", security(("token" = [])),
    params(
        ("agent" = Option<Id>, Query, description = "only what is about this agent, retired ones too"),
        ("by" = Option<String>, Query, description = "only what this subject did"),
        ("action" = Option<String>, Query, description = "only this action, or all that begin with this word: `alert`, `maintenance`, `agent`, `settings`"),
        ("start" = Option<Time>, Query, description = "at or after; from the first"),
        ("end" = Option<Time>, Query, description = "before; to the last"),
        ("after" = Option<Cursor>, Query, description = "only those behind this one: the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "most entries; 100 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = AuditList, description = "of the agents that the token covers; what is about the service only without such a limit"),
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn audit(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<AuditList>, ApiError> {
    let mut problems = Vec::new();
    let start = query.time("start", &mut problems).unwrap_or(UnixNanos(i64::MIN));
    let end = query.time("end", &mut problems).unwrap_or(UnixNanos(i64::MAX));
    not_empty(start, end, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED) as usize;
    let after = cursor::audit_after(&query, &mut problems);
    let agent = query.id("agent", &mut problems).map(str::to_owned);
    none_wrong(problems)?;
    let question = AuditQuery {
        tenant: caller.tenant.clone(),
        start,
        end,
        by: query.get("by").map(str::to_owned),
        action: query.get("action").map(str::to_owned),
        after,
    };
    let list = rest
        .query_store(move |rest| {
            let (mut entries, mut next) = (Vec::new(), None);
            let is_about = |entry: &AuditEntry| {
                agent.as_ref().is_none_or(|agent| entry.agents.iter().any(|pattern| matches(pattern, agent)))
            };
            let mut last = None;
            rest.store.audit(&question, &mut |entry| {
                if !may_see(&caller, entry) || !is_about(entry) {
                    return true;
                }
                if entries.len() == limit {
                    next = last.as_ref().map(cursor::of_audit);
                    return false;
                }
                entries.push(AuditItem::from(entry));
                last = Some(AuditKey::of(entry));
                true
            })?;
            Ok(AuditList { entries, next })
        })
        .await?;
    Ok(Json(list))
}

/// Whether all that an entry is about is within the token.
fn may_see(caller: &Caller, entry: &AuditEntry) -> bool {
    let Some(globs) = &caller.agents else { return true };
    !entry.agents.is_empty() && entry.agents.iter().all(|one| globs.iter().any(|glob| is_within(one, glob)))
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "entries": [
      {
        "audit_id": "000000010000000000000012",
        "time": "2026-03-01T12:00:00.231Z",
        "by": "ops",
        "action": "alert silenced",
        "agents": ["web-1"],
        "target": "c31c742e39291c5c631ba9968ce4dbfa",
        "comment": "a batch job until noon",
        "detail": "until 2026-01-05T14:00:00Z"
      }
    ],
    "next": null
  }
}"#;
