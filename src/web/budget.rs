//! Bytes in flight: an amount for all requests of a listener, given back when the last owner of a permit drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of requests may be in the process at once.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    /// At most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    /// Another limit from now on. A lower one takes nothing back: nothing more fits until enough permits are dropped.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes in flight now.
    #[cfg(test)]
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A permit for nothing yet.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Permit {
        Permit { budget: self.clone(), bytes: 0 }
    }
}

/// A share of the budget.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Permit {
    /// The share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the share at least `bytes`; false, and no change, when the budget does not have it.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let limit = self.budget.limit.load(Ordering::Relaxed);
        let fits = |used: usize| used.checked_add(more).filter(|sum| *sum <= limit);
        // Relaxed: the number guards nothing but itself.
        let done = more == 0 || self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if done {
            self.bytes += more;
        }
        done
    }

    /// Makes the share at most `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.budget.used.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_pass_the_limit_and_come_back() {
        let budget = Budget::new(100);
        let mut a = budget.permit();
        let mut b = budget.permit();
        assert!(a.reserve(60) && a.reserve(50));
        assert!(!b.reserve(41));
        assert!(b.reserve(40));
        a.shrink(10);
        assert_eq!(budget.used(), 50);
        drop((a, b));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_new_limit_counts_what_is_in_flight() {
        let budget = Budget::new(100);
        let mut a = budget.permit();
        let mut b = budget.permit();
        assert!(a.reserve(60) && !b.reserve(60));
        budget.set_limit(120);
        assert!(b.reserve(60) && !b.reserve(61));
        budget.set_limit(70);
        drop(a);
        let mut c = budget.permit();
        assert!(!c.reserve(11));
        assert!(c.reserve(10));
        assert_eq!(budget.used(), 70);
    }
}
