//! From evidence of life to sessions and outages.

use crate::ids::UnixNanos;
use serde::{Deserialize, Serialize};

/// What an agent was during an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Alive and not critical.
    Up,
    /// Silent past its adaptive timeout, dated from the first missed beat.
    Silent,
    /// Alive, with a health that was critical.
    Unhealthy,
    /// Planned; neither up nor down.
    Maintenance,
}

impl State {
    /// `up`, `silent`, `unhealthy` or `maintenance`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Unhealthy => "unhealthy",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether it counts as downtime.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Silent | Self::Unhealthy)
    }
}

/// A stretch of time in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Inclusive.
    pub start: UnixNanos,
    /// Exclusive; `None` while it lasts.
    pub end: Option<UnixNanos>,
    /// The state.
    pub state: State,
}
