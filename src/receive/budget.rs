//! Bytes in flight: a fixed amount for all requests, given back when the last owner of a permit drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes of requests may be in the process at once.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// At most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Bytes in flight now.
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
        let limit = self.budget.limit;
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
}
