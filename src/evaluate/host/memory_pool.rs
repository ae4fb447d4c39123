//! The memory of all instances together: capped, with a part that is kept free for each plugin.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all instances of all plugins may have together. Half of it is divided among the plugins, so that one that takes all it can
/// get leaves the others enough to go on; the other half is for who comes first.
pub(super) struct MemoryPool {
    total: usize,
    reserved: usize,
    /// Bytes in use, by the number of the plugin.
    used: Mutex<Vec<usize>>,
    instances: AtomicUsize,
}

impl MemoryPool {
    /// A pool of `total` bytes for so many plugins.
    pub(super) fn new(total: usize, plugins: usize) -> Arc<Self> {
        let plugins = plugins.max(1);
        Arc::new(Self {
            total,
            reserved: total / 2 / plugins,
            used: Mutex::new(vec![0; plugins]),
            instances: AtomicUsize::new(0),
        })
    }

    /// Bytes that all instances of a plugin have.
    pub(super) fn used_by(&self, plugin: usize) -> usize {
        self.used.lock().get(plugin).copied().unwrap_or_default()
    }

    /// How many instances there are.
    pub(super) fn instances(&self) -> usize {
        self.instances.load(Ordering::Relaxed)
    }

    /// Gives a plugin more, if there is enough.
    fn grow(&self, plugin: usize, bytes: usize) -> bool {
        let mut used = self.used.lock();
        let Some(own) = used.get(plugin).copied() else { return false };
        let wanted = own.saturating_add(bytes);
        let others = used.iter().enumerate().filter(|(other, _)| *other != plugin);
        let kept_for_others = others.fold(0_usize, |sum, (_, &used)| sum.saturating_add(used.max(self.reserved)));
        if wanted > self.reserved && kept_for_others.saturating_add(wanted) > self.total {
            return false;
        }
        used[plugin] = wanted;
        true
    }

    fn shrink(&self, plugin: usize, bytes: usize) {
        if let Some(used) = self.used.lock().get_mut(plugin) {
            *used = used.saturating_sub(bytes);
        }
    }
}

/// What one instance has of the pool; given back when it is dropped.
pub(super) struct MemoryLease {
    pool: Arc<MemoryPool>,
    plugin: usize,
    bytes: usize,
}

impl MemoryLease {
    /// Nothing yet, for an instance of a plugin.
    pub(super) fn new(pool: Arc<MemoryPool>, plugin: usize) -> Self {
        pool.instances.fetch_add(1, Ordering::Relaxed);
        Self { pool, plugin, bytes: 0 }
    }

    /// Takes more; `false` when there is not enough.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let given = self.pool.grow(self.plugin, bytes);
        if given {
            self.bytes += bytes;
        }
        given
    }

    /// What all instances may have together.
    pub(super) fn total(&self) -> usize {
        self.pool.total
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.pool.shrink(self.plugin, self.bytes);
        self.pool.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plugin_leaves_the_others_their_part_and_gives_all_back() {
        let pool = MemoryPool::new(1000, 5);
        let lease = |plugin| MemoryLease::new(pool.clone(), plugin);
        let (mut greedy, mut again, mut other) = (lease(0), lease(0), lease(1));
        // 100 are kept for each of the other four.
        assert!(greedy.grow(400) && !greedy.grow(201) && again.grow(200) && !again.grow(1));
        assert_eq!(pool.used_by(0), 600);
        assert!(other.grow(100) && !other.grow(1));
        drop(greedy);
        assert!(other.grow(1) && other.grow(399) && !other.grow(1));
        drop((again, other));
        assert_eq!((pool.used_by(0), pool.used_by(1)), (0, 0));
    }

    #[test]
    fn what_was_refused_is_not_taken() {
        let mut lease = MemoryLease::new(MemoryPool::new(10, 1), 0);
        assert!(!lease.grow(usize::MAX) && lease.grow(10) && !lease.grow(1));
        assert_eq!(lease.pool.used_by(0), 10);
    }
}
