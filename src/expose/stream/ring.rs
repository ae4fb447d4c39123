//! A bounded buffer of events that many readers follow, each with a position of its own.

use super::event::Event;
use std::collections::VecDeque;
use std::sync::Arc;

/// The newest events, in order of their ids, which rise by one.
///
/// Readers hold a position and no events: what a slow one has not read is dropped here for all of them alike, and its next read
/// says how much it missed.
pub struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The id of the event at the front, or of the next one when there is none.
    first: u64,
    bytes: usize,
    most_bytes: usize,
}

/// What a reader finds behind its position.
#[derive(Debug, Default)]
pub struct Found {
    /// How many events were dropped before they could be read.
    pub skipped: u64,
    /// Those that the reader wants.
    pub events: Vec<Arc<Event>>,
    /// The reader's next position: the id of the last event that was looked at.
    pub position: u64,
}

impl Ring {
    /// An empty ring whose ids begin behind `start`.
    pub fn new(start: u64, most_bytes: usize) -> Self {
        Self { events: VecDeque::new(), first: start + 1, bytes: 0, most_bytes }
    }

    /// The id of the next event.
    pub fn next_id(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The id of the newest event, or the one before all of them.
    pub fn last_id(&self) -> u64 {
        self.next_id() - 1
    }

    /// The id of the oldest event that is still here, or of the next one.
    pub fn first_id(&self) -> u64 {
        self.first
    }

    /// Adds an event, which has the id [`Ring::next_id`]; the newest one is kept in any case.
    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.events.push_back(event);
        self.shrink();
    }

    /// Another bound from now on.
    pub fn set_most_bytes(&mut self, most: usize) {
        self.most_bytes = most;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.most_bytes && self.events.len() > 1 {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.weight();
                self.first += 1;
            }
        }
    }

    /// Reads behind `position`: looks at `scan` events at most, and takes up to `take` of those that `wanted` picks.
    pub fn read(&self, position: u64, scan: usize, take: usize, mut wanted: impl FnMut(&Event) -> bool) -> Found {
        let from = position.saturating_add(1).max(self.first);
        let mut found =
            Found { skipped: from - position.saturating_add(1).min(from), position: from - 1, events: Vec::new() };
        let start = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        for event in self.events.iter().skip(start).take(scan) {
            if wanted(event) {
                if found.events.len() == take {
                    break;
                }
                found.events.push(event.clone());
            }
            found.position += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::stream::event::{Kind, Subject};
    use proptest::prelude::*;

    fn event(id: u64, size: usize) -> Arc<Event> {
        Arc::new(Event::new(Some(id), Kind::Health, Subject::default(), &format!("{{\"x\":\"{}\"}}", "y".repeat(size))))
    }

    proptest! {
        /// Every event is either read once, in order, or counted as skipped.
        #[test]
        fn each_event_is_read_once_or_counted(
            sizes in proptest::collection::vec(0_usize..400, 1..80),
            reads in proptest::collection::vec(any::<bool>(), 80),
            most in 200_usize..4_000,
            take in 1_usize..5,
        ) {
            let mut ring = Ring::new(100, most);
            let (mut position, mut seen, mut skipped) = (ring.last_id(), Vec::new(), 0);
            let mut read = |ring: &Ring, position: &mut u64, seen: &mut Vec<u64>| {
                let found = ring.read(*position, 16, take, |_| true);
                skipped += found.skipped;
                seen.extend(found.events.iter().filter_map(|event| event.id()));
                let moved = found.position > *position;
                *position = found.position;
                moved
            };
            for (at, size) in sizes.iter().enumerate() {
                let id = ring.next_id();
                ring.push(event(id, *size));
                prop_assert!(ring.bytes <= most || ring.events.len() == 1);
                if reads[at] {
                    read(&ring, &mut position, &mut seen);
                }
            }
            while read(&ring, &mut position, &mut seen) {}
            prop_assert!(seen.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(seen.len() as u64 + skipped, sizes.len() as u64);
            prop_assert_eq!(position, 100 + sizes.len() as u64);
        }
    }

    #[test]
    fn a_position_ahead_of_the_ring_stays() {
        let mut ring = Ring::new(10, 10_000);
        ring.push(event(11, 1));
        let found = ring.read(11, 10, 10, |_| true);
        assert_eq!((found.skipped, found.events.len(), found.position), (0, 0, 11));
    }

    #[test]
    fn what_nobody_wants_moves_the_position() {
        let mut ring = Ring::new(0, 10_000);
        (1..=5).for_each(|id| ring.push(event(id, 1)));
        let found = ring.read(0, 3, 10, |event| event.id() == Some(5));
        assert_eq!((found.skipped, found.events.len(), found.position), (0, 0, 3));
        let found = ring.read(found.position, 3, 10, |event| event.id() == Some(5));
        assert_eq!((found.events.len(), found.position), (1, 5));
    }
}
