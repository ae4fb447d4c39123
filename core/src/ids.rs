//! Newtypes for times and identities.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Nanoseconds since the Unix epoch, UTC. Range: 1677-09-21 to 2262-04-11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// One second, in nanoseconds.
    pub const SECOND: i64 = 1_000_000_000;

    /// This moment moved by `nanos`; stops at the ends of the range.
    #[must_use]
    pub fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this moment; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A series, unique over all tenants of one data folder, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesId(pub u32);

/// An agent (or system), unique over all tenants of one data folder, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentId(pub u32);

/// A tenant's name, as the token gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub Arc<str>);

impl TenantId {
    /// The tenant of a token that names none.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl From<&str> for TenantId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One part of the log and the shard that evaluates it. Agents are hashed onto partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub u32);

impl Partition {
    /// The partition of `agent` among `count` (at least 1).
    #[must_use]
    pub fn of(agent: AgentId, count: u32) -> Self {
        // Fibonacci hashing: consecutive ids land on different partitions.
        Self((agent.0.wrapping_mul(0x9E37_79B9) >> 16) % count.max(1))
    }
}

/// A record's place in its partition of the log; the first is 1, 0 means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);
