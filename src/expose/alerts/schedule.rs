//! Which notification is sent next, and when one that failed is tried again.
//!
//! Notifications of one alert go in their order, one after the other. Those of different alerts do not wait for each other:
//! one that its receiver refuses waits for its own next attempt, and the rest goes on. Only so many are under way at a
//! time, of which at most half are repetitions, so that attempts which end in a timeout leave room for what is new. While
//! nothing is taken at all, repetitions are spaced.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// So many failures in a row mean that the receiver takes nothing, rather than that it refuses one.
const MANY: u32 = 10;

/// A notification with what is known of its attempts.
#[derive(Debug)]
struct Entry<T> {
    item: T,
    failures: u32,
}

/// What waits for one receiver: `T`s, each of an alert `K`.
#[derive(Debug)]
pub(super) struct Schedule<K, T> {
    /// The first of each is to be sent, under way, or waits for its next attempt.
    lines: HashMap<K, VecDeque<Entry<T>>>,
    /// Whose first was not tried yet.
    fresh: VecDeque<K>,
    /// Whose first waits, by the time of its next attempt.
    later: BTreeMap<(Instant, u64), K>,
    number: u64,
    under_way: usize,
    repeats: usize,
    /// Failures since the last success.
    failures: u32,
    /// No repetition before this.
    spaced_until: Option<Instant>,
}

/// An attempt to make.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt<K, T> {
    pub(super) alert: K,
    pub(super) item: T,
    /// Attempts before this one.
    pub(super) failures: u32,
}

impl<K: Clone + Eq + Hash, T: Clone> Schedule<K, T> {
    pub(super) fn new() -> Self {
        Self {
            lines: HashMap::new(),
            fresh: VecDeque::new(),
            later: BTreeMap::new(),
            number: 0,
            under_way: 0,
            repeats: 0,
            failures: 0,
            spaced_until: None,
        }
    }

    pub(super) fn add(&mut self, alert: K, item: T) {
        let line = self.lines.entry(alert.clone()).or_default();
        line.push_back(Entry { item, failures: 0 });
        if line.len() == 1 {
            self.fresh.push_back(alert);
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// What is to be sent now, if there is room for it among `most` at a time. While `ending`, nothing is tried again.
    pub(super) fn next(&mut self, now: Instant, most: usize, ending: bool) -> Option<Attempt<K, T>> {
        if self.under_way >= most.max(1) {
            return None;
        }
        if let Some(alert) = self.fresh.pop_front() {
            return self.begin(alert);
        }
        if ending || self.next_repeat(most).is_none_or(|at| at > now) {
            return None;
        }
        let (_, alert) = self.later.pop_first()?;
        self.repeats += 1;
        self.begin(alert)
    }

    /// When [`Schedule::next`] is to be asked again, if nothing else happens.
    pub(super) fn next_repeat(&self, most: usize) -> Option<Instant> {
        let ((due, _), _) = self.later.first_key_value()?;
        let room = self.under_way < most.max(1) && self.repeats < (most / 2).max(1);
        room.then(|| self.spaced_until.map_or(*due, |until| until.max(*due)))
    }

    fn begin(&mut self, alert: K) -> Option<Attempt<K, T>> {
        let first = self.lines.get(&alert)?.front()?;
        self.under_way += 1;
        Some(Attempt { item: first.item.clone(), failures: first.failures, alert })
    }

    /// The attempt for this alert is over: its item was taken.
    pub(super) fn taken(&mut self, alert: &K) {
        self.failures = 0;
        self.spaced_until = None;
        self.drop_first(alert);
    }

    /// The attempt for this alert is over: its item is given up. An answer all the same: the receiver is there.
    pub(super) fn given_up(&mut self, alert: &K) {
        self.drop_first(alert);
    }

    /// The attempt for this alert is over, and its item is tried again at `at`. `space` is left between repetitions while
    /// nothing is taken.
    pub(super) fn again(&mut self, alert: &K, now: Instant, at: Instant, space: Duration) {
        self.over(alert);
        self.failures = self.failures.saturating_add(1);
        self.spaced_until = (self.failures >= MANY).then(|| now + space);
        if let Some(first) = self.lines.get_mut(alert).and_then(VecDeque::front_mut) {
            first.failures = first.failures.saturating_add(1);
            self.number += 1;
            self.later.insert((at, self.number), alert.clone());
        }
    }

    /// Whatever waits for its next attempt is tried now: something has changed.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.spaced_until = None;
        self.failures = 0;
        let waiting = std::mem::take(&mut self.later);
        self.later = waiting.into_iter().map(|((at, number), alert)| ((at.min(now), number), alert)).collect();
    }

    fn drop_first(&mut self, alert: &K) {
        self.over(alert);
        let Some(line) = self.lines.get_mut(alert) else { return };
        line.pop_front();
        if line.is_empty() {
            self.lines.remove(alert);
        } else {
            self.fresh.push_back(alert.clone());
        }
    }

    fn over(&mut self, alert: &K) {
        self.under_way = self.under_way.saturating_sub(1);
        let repeated = self.lines.get(alert).and_then(VecDeque::front).is_some_and(|first| first.failures > 0);
        if repeated {
            self.repeats = self.repeats.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: Duration = Duration::from_millis(100);

    /// Every item that can be begun at `now`, as `alert item`.
    fn begun(schedule: &mut Schedule<char, u32>, now: Instant, most: usize) -> Vec<String> {
        std::iter::from_fn(|| schedule.next(now, most, false)).map(|a| format!("{}{}", a.alert, a.item)).collect()
    }

    #[test]
    fn one_that_fails_holds_up_its_own_alert_only() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        for (alert, item) in [('a', 1), ('b', 1), ('a', 2), ('c', 1), ('b', 2)] {
            schedule.add(alert, item);
        }
        assert_eq!(begun(&mut schedule, now, 2), ["a1", "b1"]);
        let at = now + Duration::from_secs(60);
        schedule.again(&'a', now, at, SPACE);
        schedule.taken(&'b');
        assert_eq!(begun(&mut schedule, now, 8), ["c1", "b2"]);
        schedule.given_up(&'c');
        schedule.taken(&'b');
        assert_eq!((begun(&mut schedule, now, 8), schedule.next_repeat(8)), (vec![], Some(at)));
        assert_eq!(begun(&mut schedule, at, 8), ["a1"]);
        schedule.taken(&'a');
        assert_eq!(begun(&mut schedule, at, 8), ["a2"]);
        schedule.taken(&'a');
        assert!(schedule.is_idle() && schedule.lines.is_empty() && schedule.next_repeat(8).is_none());
    }

    #[test]
    fn repetitions_leave_room_for_what_is_new() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        let all = ['a', 'b', 'c', 'd'];
        all.into_iter().for_each(|alert| schedule.add(alert, 1));
        assert_eq!(begun(&mut schedule, now, 4).len(), 4);
        all.iter().for_each(|alert| schedule.again(alert, now, now, SPACE));
        assert_eq!(begun(&mut schedule, now, 4), ["a1", "b1"]);
        schedule.add('n', 1);
        assert_eq!(begun(&mut schedule, now, 4), ["n1"]);
        // At an end nothing is tried again, and what was not tried is.
        schedule.taken(&'a');
        schedule.add('m', 1);
        assert_eq!(schedule.next(now, 4, true).map(|attempt| attempt.alert), Some('m'));
        assert_eq!(schedule.next(now, 4, true), None);
    }

    #[test]
    fn while_nothing_is_taken_repetitions_are_spaced() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new();
        for item in 0..20_u32 {
            schedule.add(item, item);
        }
        while let Some(attempt) = schedule.next(now, 100, false) {
            schedule.again(&attempt.alert, now, now, SPACE);
        }
        for expect in 0..20 {
            assert_eq!(schedule.next(now, 100, false), None);
            now = schedule.next_repeat(100).unwrap();
            let attempt = schedule.next(now, 100, false).unwrap();
            assert_eq!(attempt.alert, expect);
            schedule.again(&attempt.alert, now, now, SPACE);
        }
        // New ones are tried at once; with the first success all go.
        schedule.add(99, 99);
        assert_eq!(schedule.next(now, 100, false).map(|attempt| attempt.alert), Some(99));
        schedule.taken(&99);
        assert_eq!(std::iter::from_fn(|| schedule.next(now, 100, false)).count(), 20);
    }

    #[test]
    fn what_waits_is_tried_when_something_changed() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        schedule.add('a', 1);
        assert_eq!(begun(&mut schedule, now, 1), ["a1"]);
        schedule.again(&'a', now, now + Duration::from_secs(3_000), SPACE);
        assert_eq!(begun(&mut schedule, now, 1), [""; 0]);
        schedule.hurry(now);
        assert_eq!(begun(&mut schedule, now, 1), ["a1"]);
    }

    proptest! {
        /// Whatever the receiver answers: everything is begun, each alert's in order, never more at a time than allowed.
        #[test]
        fn all_is_sent_in_the_order_of_its_alert(
            items in prop::collection::vec(0_u32..5, 0..60),
            answers in prop::collection::vec(0_u8..3, 400),
            most in 1_usize..5,
        ) {
            let mut now = Instant::now();
            let mut schedule = Schedule::new();
            let mut answers = answers.into_iter();
            let mut done: Vec<(u32, usize)> = Vec::new();
            let mut adding = items.iter().copied().enumerate();
            let mut open = Vec::new();
            loop {
                if let Some((number, alert)) = adding.next() {
                    schedule.add(alert, number);
                }
                while let Some(attempt) = schedule.next(now, most, false) {
                    open.push(attempt);
                }
                prop_assert!(open.len() <= most);
                if let Some(attempt) = (!open.is_empty()).then(|| open.remove(0)) {
                    match answers.next().unwrap_or(0) {
                        0 => { schedule.taken(&attempt.alert); done.push((attempt.alert, attempt.item)); }
                        1 => { schedule.given_up(&attempt.alert); done.push((attempt.alert, attempt.item)); }
                        _ => schedule.again(&attempt.alert, now, now + SPACE, SPACE),
                    }
                } else if let Some(at) = schedule.next_repeat(most) {
                    now = now.max(at);
                } else if adding.len() == 0 {
                    break;
                }
            }
            for alert in 0..5 {
                let order = |found: Vec<(u32, usize)>| -> Vec<usize> {
                    found.into_iter().filter(|(of, _)| *of == alert).map(|(_, item)| item).collect()
                };
                let expect: Vec<(u32, usize)> = items.iter().copied().enumerate().map(|(n, of)| (of, n)).collect();
                prop_assert_eq!(order(done.clone()), order(expect));
            }
        }
    }
}
