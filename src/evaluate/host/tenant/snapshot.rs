//! The state of one tenant's plugins, as a checkpoint keeps it.

use super::input::SeriesNumbers;
use super::instance::PluginInstance;
use serde::{Deserialize, Serialize};
use std::io::Read as _;
use vitals_core::ids::TenantId;

#[derive(Serialize, Deserialize)]
struct SavedPlugins {
    /// The series of each number.
    series: Vec<u32>,
    /// Those of them that are closed.
    closed: Vec<u32>,
    plugins: Vec<SavedPlugin>,
}

#[derive(Serialize, Deserialize)]
struct SavedPlugin {
    name: String,
    /// Compressed.
    state: Vec<u8>,
    /// The version of the state's form.
    version: u32,
    /// Numbers of series that were closed since that state.
    closed: Vec<u32>,
    /// Agents that were.
    closed_agents: Vec<u32>,
    /// Up to when the plugin was told of time.
    ticked: Option<i64>,
}

/// The state of all instances.
pub(super) fn save(tenant: &TenantId, series: &SeriesNumbers, instances: &mut [PluginInstance]) -> Vec<u8> {
    let plugins = instances
        .iter_mut()
        .map(|instance| {
            let state = instance.save(tenant);
            SavedPlugin {
                name: instance.plugin.evidence.plugin.clone(),
                state,
                version: instance.state_version,
                closed: instance.closed.iter().copied().collect(),
                closed_agents: instance.closed_agents.iter().copied().collect(),
                ticked: instance.ticks.told,
            }
        })
        .collect();
    // Vectors of numbers and bytes: serialization cannot fail.
    postcard::to_stdvec(&SavedPlugins { series: series.ids(), closed: series.closed(), plugins }).unwrap_or_default()
}

/// The series that a saved state knows.
pub(super) struct RestoredSeries {
    /// By number.
    pub(super) ids: Vec<u32>,
    /// Those that are closed.
    pub(super) closed: Vec<u32>,
}

/// Gives each instance its part of a saved state; the series that the state knows.
pub(super) fn restore(state: &[u8], instances: &mut [PluginInstance]) -> Result<RestoredSeries, postcard::Error> {
    let saved: SavedPlugins = postcard::from_bytes(state)?;
    for instance in instances {
        let own = saved.plugins.iter().find(|plugin| plugin.name == instance.plugin.evidence.plugin);
        let (state, closed) = own.map_or((&[][..], &[][..]), |own| (&own.state[..], &own.closed[..]));
        instance.restart_from(state, closed);
        instance.state_version = own.map_or(instance.plugin.manifest.state_version, |own| own.version);
        instance.closed_agents = own.map(|own| own.closed_agents.iter().copied().collect()).unwrap_or_default();
        instance.ticks.told = own.and_then(|own| own.ticked);
    }
    Ok(RestoredSeries { ids: saved.series, closed: saved.closed })
}

/// Compresses a state at the fastest level: states are floats and small numbers, of which a higher level saves little more.
pub(super) fn compress(state: &[u8]) -> Vec<u8> {
    if state.is_empty() {
        return Vec::new();
    }
    zstd::bulk::compress(state, 1).unwrap_or_default()
}

/// The state, unless it is damaged or larger than `memory_mb`.
pub(super) fn decompress(compressed: &[u8], memory_mb: usize) -> Option<Vec<u8>> {
    let mut state = Vec::new();
    let limit = (memory_mb as u64) << 20;
    let read = zstd::Decoder::new(compressed).ok()?.take(limit + 1).read_to_end(&mut state).ok()?;
    (read as u64 <= limit).then_some(state)
}
