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
    plugins: Vec<SavedPlugin>,
}

#[derive(Serialize, Deserialize)]
struct SavedPlugin {
    name: String,
    /// Compressed.
    state: Vec<u8>,
    /// Numbers of series that were closed since that state.
    closed: Vec<u32>,
}

/// The state of all instances.
pub(super) fn save(tenant: &TenantId, series: &SeriesNumbers, instances: &mut [PluginInstance]) -> Vec<u8> {
    let plugins = instances
        .iter_mut()
        .map(|instance| {
            let state = instance.save(tenant);
            let closed = instance.closed.iter().copied().collect();
            SavedPlugin { name: instance.plugin.evidence.plugin.clone(), state, closed }
        })
        .collect();
    // Vectors of numbers and bytes: serialization cannot fail.
    postcard::to_stdvec(&SavedPlugins { series: series.ids(), plugins }).unwrap_or_default()
}

/// Gives each instance its part of a saved state; the numbers of series that the state uses.
pub(super) fn restore(state: &[u8], instances: &mut [PluginInstance]) -> Result<SeriesNumbers, postcard::Error> {
    let saved: SavedPlugins = postcard::from_bytes(state)?;
    for instance in instances {
        let own = saved.plugins.iter().find(|plugin| plugin.name == instance.plugin.evidence.plugin);
        let (state, closed) = own.map_or((&[][..], &[][..]), |own| (&own.state[..], &own.closed[..]));
        instance.restart_from(state, closed);
    }
    Ok(SeriesNumbers::restored(saved.series))
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
