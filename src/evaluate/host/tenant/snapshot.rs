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
    /// Those of them that are closed.
    closed: Vec<u32>,
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
    /// The version of the state's form.
    version: u32,
    /// Numbers of series that were closed since that state.
    closed: Vec<u32>,
    /// Agents that were.
    closed_agents: Vec<u32>,
    /// Up to when the plugin was told of time.
    ticked: Option<i64>,
}

/// Most plugins that are not there and whose state is kept.
const MOST_ABSENT: usize = 64;

impl SavedPlugin {
    /// Notes that series were closed since the state was taken.
    pub(super) fn close(&mut self, numbers: &BTreeSet<u32>) {
        note(&mut self.closed, numbers);
    }

    /// Notes that agents were.
    pub(super) fn close_agents(&mut self, agents: &BTreeSet<u32>) {
        note(&mut self.closed_agents, agents);
    }
}

fn note(closed: &mut Vec<u32>, numbers: &BTreeSet<u32>) {
    let known: BTreeSet<u32> = closed.iter().chain(numbers).copied().collect();
    *closed = known.into_iter().collect();
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
        SavedPlugin {
            name: instance.plugin.evidence.plugin.clone(),
            generation: instance.plugin.state_generation,
            state,
            version: instance.state_version,
            closed: instance.closed.iter().copied().collect(),
            closed_agents: instance.closed_agents.iter().copied().collect(),
            ticked: instance.ticks.told,
        }
    });
    let plugins = present.chain(absent.iter().cloned()).collect();
    // Vectors of numbers and bytes: serialization cannot fail.
    postcard::to_stdvec(&SavedPlugins { series: series.ids(), closed: series.closed(), plugins }).unwrap_or_default()
}

/// What a saved state knows beside the instances' own parts.
pub(super) struct Restored {
    /// The series of each number.
    pub(super) ids: Vec<u32>,
    /// Those that are closed.
    pub(super) closed: Vec<u32>,
    /// What belongs to plugins that are not there. They may come back: their file may be missing or damaged for a while.
    pub(super) absent: Vec<SavedPlugin>,
}

/// Gives each instance its part of a saved state.
pub(super) fn restore(
    state: &[u8],
    instances: &mut [PluginInstance],
    disabled: &[String],
) -> Result<Restored, postcard::Error> {
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
        instance.state_version = own.map_or(instance.plugin.manifest.state_version, |own| own.version);
        instance.closed_agents = own.map(|own| own.closed_agents.iter().copied().collect()).unwrap_or_default();
        instance.ticks.told = own.and_then(|own| own.ticked);
    }
    let is_there = |name: &String| instances.iter().any(|instance| instance.plugin.evidence.plugin == *name);
    saved
        .plugins
        .retain(|plugin| !plugin.state.is_empty() && !is_there(&plugin.name) && !disabled.contains(&plugin.name));
    saved.plugins.truncate(MOST_ABSENT);
    Ok(Restored { ids: saved.series, closed: saved.closed, absent: saved.plugins })
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
