//! What the threads of a store share.

use super::StoreConfig;
use super::outbox::Outbox;
use super::readers::Readers;
use super::tail::{PartitionTail, Tail};
use super::writer::Writer;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use vitals_core::ids::Partition;

/// What the threads share.
pub(super) struct Shared {
    pub(super) config: StoreConfig,
    pub(super) path: PathBuf,
    pub(super) slots: RwLock<Vec<Arc<PartitionTail>>>,
    /// Taken for reading to look at the tails and begin a read of the file, and for writing when a sealed tail
    /// goes away: so that a reader sees each tail at least once, and never one that is older than the file.
    pub(super) swap: RwLock<()>,
    pub(super) writer: Mutex<Writer>,
    pub(super) readers: Readers,
    /// Samples on disk.
    pub(super) samples: AtomicU64,
    pub(super) closing: AtomicBool,
    /// Why the last seal failed; `None` when it succeeded.
    pub(super) trouble: Mutex<Option<String>>,
    /// What another store is still to get, if this is the front of one.
    pub(super) outbox: Option<Outbox>,
}

impl Shared {
    pub(super) fn slot(&self, partition: Partition) -> Arc<PartitionTail> {
        let at = partition.0 as usize;
        if let Some(slot) = self.slots.read().get(at) {
            return slot.clone();
        }
        let mut slots = self.slots.write();
        if slots.len() <= at {
            slots.resize_with(at + 1, Arc::default);
        }
        slots[at].clone()
    }

    /// Shows every tail, the older one of a partition first.
    pub(super) fn look(&self, mut visit: impl FnMut(&Tail)) {
        for slot in self.slots.read().iter() {
            slot.look(&mut visit);
        }
    }
}
