//! When a plugin is called without data.

use vitals_core::ids::UnixNanos;

/// The ticks of one plugin: at multiples of its interval, each once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    /// Nanoseconds; 0 for a plugin that asks for none.
    interval: i64,
    /// Up to when they were told; `None` before time has begun.
    pub(super) told: Option<i64>,
}

impl Ticks {
    pub(super) fn every(seconds: u32) -> Self {
        Self { interval: i64::from(seconds) * UnixNanos::SECOND, told: None }
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.interval > 0
    }

    /// Time begins, if it has not: no tick is before it.
    pub(super) fn begin(&mut self, now: UnixNanos) {
        self.told.get_or_insert(now.0);
    }

    /// The next one.
    pub(super) fn next(&self) -> Option<UnixNanos> {
        let told = self.told.filter(|_| self.interval > 0)?;
        told.div_euclid(self.interval).checked_add(1)?.checked_mul(self.interval).map(UnixNanos)
    }

    /// Takes the one at `now`; whether there is one.
    pub(super) fn take(&mut self, now: UnixNanos) -> bool {
        let is_due = self.next() == Some(now);
        if is_due {
            self.told = Some(now.0);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_multiple_of_the_interval_once() {
        let at = |seconds: i64| UnixNanos(seconds * UnixNanos::SECOND);
        let mut ticks = Ticks::every(30);
        assert_eq!((ticks.next(), ticks.take(at(30))), (None, false));
        ticks.begin(at(50));
        ticks.begin(at(500));
        assert_eq!(ticks.next(), Some(at(60)));
        assert!(!ticks.take(at(90)));
        assert!(ticks.take(at(60)) && !ticks.take(at(60)));
        assert_eq!(ticks.next(), Some(at(90)));
        let mut none = Ticks::every(0);
        none.begin(at(50));
        assert_eq!((none.next(), none.are_wanted()), (None, false));
    }
}
