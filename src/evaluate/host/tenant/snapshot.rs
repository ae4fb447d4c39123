//! The state of one tenant's plugins, as a checkpoint keeps it.

use super::input::SeriesNumbers;
use super::instance::PluginInstance;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read as _;
use vitals_core::ids::TenantId;

#[derive(Serialize, Deserialize)]
struct SavedPlugins {
    /// The series of each number.
    series: Vec<u32>,
    plugins: Vec<SavedPlugin>,
}

/// One plugin's part of a saved state.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SavedPlugin {
    name: String,
    /// The number that the state belongs to.
    generation: u32,
    /// Compressed.
    state: Vec<u8>,
    /// Numbers of series that were closed since that state.
    closed: Vec<u32>,
}

/// Most plugins that are not there and whose state is kept.
const MOST_ABSENT: usize = 64;

impl SavedPlugin {
    /// Notes that series were closed since the state was taken.
    pub(super) fn close(&mut self, numbers: &BTreeSet<u32>) {
        let known: BTreeSet<u32> = self.closed.iter().chain(numbers).copied().collect();
        self.closed = known.into_iter().collect();
    }
}

/// The state of all instances, and that of plugins that are not there.
pub(super) fn save(
    tenant: &TenantId,
    series: &SeriesNumbers,
    instances: &mut [PluginInstance],
    absent: &[SavedPlugin],
) -> Vec<u8> {
    let known = series.len();
    let present = instances.iter_mut().map(|instance| {
        let state = instance.save(tenant, known);
        let closed = instance.closed.iter().copied().collect();
        let (name, generation) = (instance.plugin.evidence.plugin.clone(), instance.plugin.state_generation);
        SavedPlugin { name, generation, state, closed }
    });
    let plugins = present.chain(absent.iter().cloned()).collect();
    // Vectors of numbers and bytes: serialization cannot fail.
    postcard::to_stdvec(&SavedPlugins { series: series.ids(), plugins }).unwrap_or_default()
}

/// Gives each instance its part of a saved state; the numbers of series that the state uses, and what belongs to plugins that are
/// not there. They may come back: their file may be missing or damaged for a while.
pub(super) fn restore(
    state: &[u8],
    instances: &mut [PluginInstance],
    disabled: &[String],
) -> Result<(SeriesNumbers, Vec<SavedPlugin>), postcard::Error> {
    let mut saved: SavedPlugins = postcard::from_bytes(state)?;
    for instance in &mut *instances {
        let (name, generation) = (&instance.plugin.evidence.plugin, instance.plugin.state_generation);
        let own = saved.plugins.iter().find(|plugin| plugin.name == *name);
        let own = own.filter(|own| {
            let is_current = own.generation == generation;
            if !is_current {
                tracing::info!(
                    plugin = name,
                    generation,
                    "the plugin starts without its state, which is of another generation"
                );
            }
            is_current
        });
        let (state, closed) = own.map_or((&[][..], &[][..]), |own| (&own.state[..], &own.closed[..]));
        instance.restart_from(state, closed);
    }
    let is_there = |name: &String| instances.iter().any(|instance| instance.plugin.evidence.plugin == *name);
    saved
        .plugins
        .retain(|plugin| !plugin.state.is_empty() && !is_there(&plugin.name) && !disabled.contains(&plugin.name));
    saved.plugins.truncate(MOST_ABSENT);
    Ok((SeriesNumbers::restored(saved.series), saved.plugins))
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
