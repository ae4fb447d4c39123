//! A budget of bytes in flight: requests take from it before they are read, and give back when their permit is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Limits the bytes of requests that are in the process at once.
#[derive(Debug)]
pub struct ByteBudget {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) })
    }

    /// Changes the limit. A lower one takes nothing back: nothing more fits until enough permits are dropped.
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

/// A share of a budget.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl Permit {
    /// The size of the share.
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
        let budget = ByteBudget::new(100);
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
        let budget = ByteBudget::new(100);
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
