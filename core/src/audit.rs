//! Who did what, and when.

use crate::ids::{TenantId, UnixNanos};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Something that a person did, or that was done by new settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Hex, 24 characters: of the record in the log that did it, so that a replay makes the same one.
    pub id: String,
    /// In whose telemetry.
    pub tenant: TenantId,
    /// When.
    pub at: UnixNanos,
    /// The token's subject; `configuration` when a file or a signal did it.
    pub by: String,
    /// What was done, such as `alert closed` or `maintenance planned`.
    pub action: String,
    /// Which agents it is about: ids, or glob patterns. Empty for what is about the service.
    pub agents: Vec<String>,
    /// The id of the alert or the maintenance window.
    pub target: Option<String>,
    /// Why, in the person's words.
    pub comment: Option<String>,
    /// What else there is to say, e.g. until when.
    pub detail: Option<String>,
}

/// The place of an entry among those of a tenant, in the order in which they are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditKey {
    /// When, the latest first.
    pub at: Reverse<UnixNanos>,
    /// The entry's id.
    pub id: String,
}

impl AuditKey {
    /// The key of `entry`.
    #[must_use]
    pub fn of(entry: &AuditEntry) -> Self {
        Self { at: Reverse(entry.at), id: entry.id.clone() }
    }
}

/// A question for entries, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Whose.
    pub tenant: TenantId,
    /// From here, inclusive.
    pub start: UnixNanos,
    /// To here, exclusive.
    pub end: UnixNanos,
    /// Only by this subject.
    pub by: Option<String>,
    /// Only this action, or all that begin with this word.
    pub action: Option<String>,
    /// Only those behind this one.
    pub after: Option<AuditKey>,
}

impl AuditQuery {
    /// Whether this entry of the tenant is asked for.
    #[must_use]
    pub fn fits(&self, entry: &AuditEntry) -> bool {
        let is_action =
            |action: &String| entry.action == *action || entry.action.split(' ').next() == Some(action.as_str());
        entry.tenant == self.tenant
            && (self.start..self.end).contains(&entry.at)
            && self.by.as_ref().is_none_or(|by| *by == entry.by)
            && self.action.as_ref().is_none_or(is_action)
            && self.after.as_ref().is_none_or(|after| AuditKey::of(entry) > *after)
    }
}
