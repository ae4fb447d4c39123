//! A bounded queue that drops its oldest entry when it is full.

use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// One producer side that never waits, one consumer.
pub struct Ring<T> {
    name: &'static str,
    most: usize,
    heaviest: usize,
    inside: Mutex<Inside<T>>,
    arrived: Notify,
    closing: Notify,
}

struct Inside<T> {
    entries: VecDeque<(T, usize)>,
    weight: usize,
    closed: bool,
}

impl<T> Ring<T> {
    /// Holds `most` entries that weigh `heaviest` together; `name` labels the counter of what is dropped.
    pub fn new(name: &'static str, most: usize, heaviest: usize) -> Self {
        Self {
            name,
            most,
            heaviest,
            inside: Mutex::new(Inside { entries: VecDeque::new(), weight: 0, closed: false }),
            arrived: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// Adds an entry; the newest one always fits.
    pub fn push(&self, entry: T, weight: usize) {
        let mut dropped = 0;
        {
            let mut inside = self.inside.lock();
            if inside.closed {
                return;
            }
            while !inside.entries.is_empty()
                && (inside.entries.len() >= self.most || inside.weight.saturating_add(weight) > self.heaviest)
            {
                if let Some((_, lighter)) = inside.entries.pop_front() {
                    inside.weight -= lighter;
                    dropped += 1;
                }
            }
            inside.weight += weight;
            inside.entries.push_back((entry, weight));
        }
        if dropped > 0 {
            metrics::counter!("vitals_export_dropped", "queue" => self.name).increment(dropped);
        }
        self.arrived.notify_one();
    }

    /// The oldest entry; waits for one. `None` once the ring is closed and empty.
    pub async fn next(&self) -> Option<T> {
        loop {
            {
                let mut inside = self.inside.lock();
                if let Some((entry, weight)) = inside.entries.pop_front() {
                    inside.weight -= weight;
                    return Some(entry);
                }
                if inside.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes no more entries; those inside can still be had.
    pub fn close(&self) {
        self.inside.lock().closed = true;
        self.arrived.notify_one();
        self.closing.notify_waiters();
    }

    /// Waits until [`Ring::close`] is called.
    pub async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        // Registered before the flag is read, so that no call in between is missed.
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Whether [`Ring::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.inside.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[tokio::test]
    async fn the_oldest_is_dropped() {
        let ring = Ring::new("test", 3, 10);
        for entry in 1..=4 {
            ring.push(entry, 1);
        }
        ring.push(5, 9);
        ring.close();
        ring.push(6, 1);
        let mut seen = Vec::new();
        while let Some(entry) = ring.next().await {
            seen.push(entry);
        }
        assert_eq!(seen, [4, 5]);
    }
}
