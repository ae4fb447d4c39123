//! Planned maintenance windows that people set.

use crate::caller::matches;
use crate::ids::{TenantId, UnixNanos};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// A maintenance window as it is since its last change. Of two states of one window the one that was changed last counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonWindow {
    /// Hex, 32 characters.
    pub id: String,
    /// Whose agents.
    pub tenant: TenantId,
    /// Glob patterns of agents' ids, of agents that are known and of those that will be.
    pub agents: Vec<String>,
    /// Inclusive.
    pub start: UnixNanos,
    /// Exclusive.
    pub end: UnixNanos,
    /// The IANA name of the zone in which its times were given.
    pub time_zone: Option<String>,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// Who planned it.
    pub by: String,
    /// When it was planned.
    pub created: UnixNanos,
    /// Who changed it last, if anyone did.
    pub changed_by: Option<String>,
    /// When it was planned or changed last.
    pub changed: UnixNanos,
    /// Whether it was called off.
    pub cancelled: bool,
}

impl PersonWindow {
    /// Whether an agent is meant.
    #[must_use]
    pub fn covers(&self, tenant: &TenantId, agent: &str) -> bool {
        self.tenant == *tenant && self.agents.iter().any(|glob| matches(glob, agent))
    }

    /// The id of a window that is planned at `created`, or of the same one planned again when that is `None`.
    #[must_use]
    pub fn id_of(
        tenant: &TenantId,
        agents: &[String],
        (start, end): (UnixNanos, UnixNanos),
        created: Option<UnixNanos>,
    ) -> String {
        let mut hash = Xxh3::new();
        for text in [&*tenant.0].into_iter().chain(agents.iter().map(String::as_str)) {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        for time in [Some(start), Some(end), created].into_iter().flatten() {
            hash.update(&time.0.to_le_bytes());
        }
        format!("{:032x}", hash.digest128())
    }
}
