//! What a checkpoint keeps.

use super::agents::Agent;
use super::series_tracker::SavedSeriesTracker;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::rules::incidents::IncidentGrouper;

/// Goes up with every change of the types below.
const FORMAT: u8 = 8;

/// The plugins' state, with what decides which rows they are shown next.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct PluginState {
    pub(super) series_tracker: SavedSeriesTracker,
    /// When each agent was last heard of.
    pub(super) last_heard: Vec<(AgentId, UnixNanos)>,
    /// Which incidents the series are in.
    pub(super) incidents: IncidentGrouper,
    pub(super) tenants: Vec<(TenantId, Vec<u8>)>,
    /// How far time had come, as plugins are told it.
    pub(super) plugin_clock: UnixNanos,
}

/// Everything else.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Living {
    /// How far time had come.
    pub(super) seen: UnixNanos,
    /// How far, as plugins are told it.
    pub(super) plugin_clock: UnixNanos,
    pub(super) series_tracker: SavedSeriesTracker,
    pub(super) agents: Vec<Agent>,
    /// Maintenance windows that people set and that are not over.
    pub(super) windows: Vec<PersonWindow>,
}

/// Why saved state cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version wrote it.
    #[error("the checkpoint has format {0}, this version reads {FORMAT}; start the version that wrote it")]
    Format(u8),
    /// It is cut off or altered.
    #[error("the checkpoint cannot be read: {0}")]
    Damaged(String),
}

pub(super) fn write<T: Serialize>(state: &T) -> Vec<u8> {
    // Writing into memory fails for no type that is written here: all lengths are known.
    postcard::to_extend(state, vec![FORMAT]).unwrap_or_default()
}

/// The default for no bytes at all: nothing was ever saved.
pub(super) fn read<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, StateError> {
    match bytes.split_first() {
        None => Ok(T::default()),
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|e| StateError::Damaged(e.to_string())),
        Some((&other, _)) => Err(StateError::Format(other)),
    }
}
