//! What stands in for the machine's clock and entropy: the time that the log tells, and numbers that depend on nothing but the
//! tenant, the plugin and that time. So a replay gives the same verdicts.

use super::error::Limit;
use super::guest::Guest;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use vitals_core::ids::{SeriesId, TenantId};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};
use xxhash_rust::xxh3::xxh3_64;

/// Most random bytes at once.
const MOST_BYTES: u64 = 1 << 20;

/// Time and chance of one plugin for one tenant.
#[derive(Clone, Default)]
pub(super) struct Ground {
    /// Nanoseconds since the Unix epoch.
    now: PluginClock,
    pub(super) seed: u64,
}

/// The time that the plugins of a tenant are told.
#[derive(Clone, Default)]
pub(super) struct PluginClock(Arc<AtomicI64>);

impl PluginClock {
    pub(super) fn set(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.get()).unwrap_or(0)
    }
}

impl Ground {
    pub(super) fn new(tenant: &TenantId, plugin: &str, now: PluginClock) -> Self {
        Self { now, seed: xxh3_64(format!("{tenant}\0{plugin}").as_bytes()) }
    }

    pub(super) fn clock(&self) -> PluginClock {
        self.now.clone()
    }

    /// Where chance starts for a series.
    pub(super) fn seed_of(&self, series: SeriesId) -> u64 {
        mix(self.seed ^ mix(u64::from(series.0) + 1))
    }

    /// Random number `index` of those that are given at this time.
    fn word(&self, index: u64) -> u64 {
        mix(mix(self.seed ^ self.now.nanos()).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    fn bytes(&self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > MOST_BYTES {
            return Err(Limit::Random.into());
        }
        let length = usize::try_from(length).unwrap_or_default();
        let words = (0..).flat_map(|index| self.word(index).to_le_bytes());
        Ok(words.take(length).collect())
    }
}

/// The end of SplitMix64.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

impl HostWallClock for PluginClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }
}

impl HostMonotonicClock for PluginClock {
    fn resolution(&self) -> u64 {
        10_000_000_000
    }

    fn now(&self) -> u64 {
        self.nanos()
    }
}

/// Puts these numbers in the place of the random ones of WASI.
pub(super) fn add_random(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Caller<'a> = StoreContextMut<'a, Guest>;
    for (interface, prefix) in [("wasi:random/random@0.2.12", "get"), ("wasi:random/insecure@0.2.12", "get-insecure")] {
        let mut random = linker.instance(interface)?;
        random.func_wrap(&format!("{prefix}-random-bytes"), |caller: Caller<'_>, (length,): (u64,)| {
            Ok((caller.data().ground.bytes(length)?,))
        })?;
        random
            .func_wrap(&format!("{prefix}-random-u64"), |caller: Caller<'_>, ()| Ok((caller.data().ground.word(0),)))?;
    }
    let mut seed = linker.instance("wasi:random/insecure-seed@0.2.12")?;
    seed.func_wrap("insecure-seed", |caller: Caller<'_>, ()| {
        let ground = &caller.data().ground;
        Ok(((ground.word(0), ground.word(1)),))
    })?;
    Ok(())
}
