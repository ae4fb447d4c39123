//! A budget of bytes in flight: requests take from it before they are read, and give back when their permit is dropped.

use super::peer::peer_key;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of the limit up to which a peer is never held to its share: 1/64.
const SMALL_SHARE: usize = 64;

/// Limits the bytes of requests that are in the process at once.
///
/// One peer may hold at most as much as it leaves free: alone half of the limit, two peers a third each. So whoever comes next
/// finds room, however much the others send.
#[derive(Debug)]
pub struct ByteBudget {
    limit: AtomicUsize,
    usage: Mutex<Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    total: usize,
    /// By peer, of those that hold any.
    peers: HashMap<IpAddr, usize>,
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), usage: Mutex::default() })
    }

    /// Changes the limit. A lower one takes nothing back: nothing more fits until enough permits are dropped.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes in flight now.
    #[cfg(test)]
    #[must_use]
    pub fn used(&self) -> usize {
        self.usage.lock().total
    }

    /// A permit for nothing yet, of nobody in particular.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Permit {
        Permit { budget: self.clone(), peer: None, bytes: 0 }
    }

    /// A permit for nothing yet, which counts against the share of the peer at `address`.
    #[must_use]
    pub fn permit_of(self: &Arc<Self>, address: IpAddr) -> Permit {
        Permit { budget: self.clone(), peer: Some(peer_key(address)), bytes: 0 }
    }

    fn take(&self, peer: Option<IpAddr>, more: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut usage = self.usage.lock();
        let Some(total) = usage.total.checked_add(more).filter(|total| *total <= limit) else {
            drop(usage);
            metrics::counter!("vitals_bytes_in_flight_refused_total", "reason" => "limit").increment(1);
            return false;
        };
        if let Some(peer) = peer {
            let held = usage.peers.get(&peer).copied().unwrap_or(0).saturating_add(more);
            if held > limit / SMALL_SHARE && held > limit - total {
                drop(usage);
                metrics::counter!("vitals_bytes_in_flight_refused_total", "reason" => "peer_share").increment(1);
                tracing::warn!(%peer, bytes = held, limit, "a peer would hold more than its share of the bytes in flight");
                return false;
            }
            usage.peers.insert(peer, held);
        }
        usage.total = total;
        true
    }

    fn give_back(&self, peer: Option<IpAddr>, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut usage = self.usage.lock();
        usage.total = usage.total.saturating_sub(bytes);
        if let Some(peer) = peer
            && let Some(held) = usage.peers.get_mut(&peer)
        {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                usage.peers.remove(&peer);
            }
        }
    }
}

/// A share of a budget.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<ByteBudget>,
    peer: Option<IpAddr>,
    bytes: usize,
}

impl Permit {
    /// The size of the share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the share at least `bytes`; false, and no change, when the budget does not have it, or the peer may not.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let done = more == 0 || self.budget.take(self.peer, more);
        if done {
            self.bytes += more;
        }
        done
    }

    /// Makes the share at most `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.budget.give_back(self.peer, less);
        self.bytes -= less;
    }

    /// Whether no share of so many bytes is ever given, however little others use.
    #[must_use]
    pub fn is_beyond(&self, bytes: usize) -> bool {
        let limit = self.budget.limit.load(Ordering::Relaxed);
        bytes > if self.peer.is_some() { limit / 2 } else { limit }
    }

    /// Whether more than a quarter of the budget is in use, so that what others may hold shrinks.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.budget.usage.lock().total > self.budget.limit.load(Ordering::Relaxed) / 4
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.peer, self.bytes);
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

    #[test]
    fn a_peer_holds_no_more_than_it_leaves_free() {
        let budget = ByteBudget::new(1_200);
        let peer = |last: u8| budget.permit_of([192, 0, 2, last].into());
        // Many requests of one peer are one share.
        let mut many: Vec<Permit> = (0..100).map(|_| peer(1)).collect();
        let taken = many.iter_mut().filter_map(|permit| permit.reserve(100).then_some(())).count();
        assert_eq!(taken, 6);
        assert!(!many[0].reserve(101) && !many[0].is_beyond(600) && many[0].is_beyond(601));
        // Whoever comes next has half of the rest.
        let mut second = peer(2);
        assert!(second.reserve(300) && !second.reserve(301) && second.is_contended());
        let mut third = peer(3);
        assert!(third.reserve(150) && !third.reserve(151));
        // Little is never too much while there is room.
        let mut small: Vec<Permit> = (4..254).map(peer).collect();
        assert_eq!(small.iter_mut().filter_map(|permit| permit.reserve(1).then_some(())).count(), 150);
        drop(small);
        drop(many);
        assert!(second.reserve(500), "what is given back is for others");
        drop((second, third));
        assert_eq!(budget.used(), 0);
        assert!(budget.usage.lock().peers.is_empty());
    }
}
