//! The turns that an instance lost, and its quarantine.

use crate::evaluate::host::config::PluginLimits;
use std::time::{Duration, Instant};

/// Most turns that are remembered.
const MOST_TURNS: u32 = u64::BITS;

/// Which of an instance's latest turns were lost. Too many of them, in a row or not, lead to a quarantine.
#[derive(Default)]
pub(super) struct TurnHistory {
    /// One bit for each turn since the last quarantine, the latest lowest; set when the turn was lost.
    lost: u64,
    quarantine: Option<Quarantine>,
}

#[derive(Clone, Copy)]
struct Quarantine {
    until: Instant,
    length: Duration,
    /// Turns since it ended, all good: the plugin is on probation.
    good_turns: u32,
}

impl TurnHistory {
    /// Whether the instance is left alone at `now`.
    pub(super) fn is_quarantined(&self, now: Instant) -> bool {
        self.quarantine.is_some_and(|quarantine| now < quarantine.until)
    }

    /// Whether the latest turn was lost, or led to a quarantine after which there was none.
    pub(super) fn is_stale(&self) -> bool {
        self.lost & 1 == 1 || self.quarantine.is_some_and(|quarantine| quarantine.good_turns == 0)
    }

    /// Whether the plugin was quarantined and has not proved itself since.
    pub(super) fn is_on_probation(&self) -> bool {
        self.quarantine.is_some()
    }

    /// Whether any of the turns that are looked at was lost.
    pub(super) fn has_lost_any(&self, limits: &PluginLimits) -> bool {
        self.recently_lost(limits) != 0
    }

    /// How many of the turns that are looked at were lost.
    fn recently_lost(&self, limits: &PluginLimits) -> u32 {
        (self.lost & (u64::MAX >> (MOST_TURNS - turns(limits)))).count_ones()
    }

    /// A turn went well. A plugin on probation is trusted again after as many good turns as are looked at.
    pub(super) fn succeeded(&mut self, limits: &PluginLimits) {
        self.lost <<= 1;
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.good_turns += 1;
            if quarantine.good_turns >= turns(limits) {
                self.quarantine = None;
            }
        }
    }

    /// A turn was lost; for how long the plugin is quarantined now, if it is. On probation one lost turn is enough, and the
    /// quarantine is twice as long as the one before.
    pub(super) fn failed(&mut self, limits: &PluginLimits, now: Instant) -> Option<Duration> {
        self.lost = self.lost << 1 | 1;
        if self.quarantine.is_none() && self.recently_lost(limits) < limits.failures {
            return None;
        }
        Some(self.start_quarantine(limits, now))
    }

    /// Quarantines the plugin whatever its turns were.
    pub(super) fn start_quarantine(&mut self, limits: &PluginLimits, now: Instant) -> Duration {
        let first = Duration::from_secs(limits.quarantine_seconds);
        let longest = Duration::from_secs(limits.quarantine_max_seconds);
        let length = self.quarantine.map_or(first, |earlier| earlier.length.saturating_mul(2)).min(longest);
        self.quarantine = Some(Quarantine { until: now + length, length, good_turns: 0 });
        self.lost = 0;
        length
    }
}

/// How many turns are looked at.
fn turns(limits: &PluginLimits) -> u32 {
    limits.failure_turns.clamp(1, MOST_TURNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays turns, one a second; the seconds at which a quarantine began, with its length. No turn is played during one.
    fn quarantines(limits: &PluginLimits, turns: impl IntoIterator<Item = bool>) -> Vec<(u64, u64)> {
        let (mut history, begin) = (TurnHistory::default(), Instant::now());
        let (mut second, mut found) = (0, Vec::new());
        for is_good in turns {
            while history.is_quarantined(begin + Duration::from_secs(second)) {
                second += 1;
            }
            if is_good {
                history.succeeded(limits);
            } else if let Some(length) = history.failed(limits, begin + Duration::from_secs(second)) {
                found.push((second, length.as_secs()));
            }
            second += 1;
        }
        found
    }

    #[test]
    fn the_rate_of_lost_turns_counts_and_not_only_a_row_of_them() {
        let limits = PluginLimits { failures: 3, failure_turns: 6, quarantine_seconds: 10, ..PluginLimits::default() };
        let (good, bad) = (true, false);
        for (turns, expect) in [
            (vec![bad, bad], vec![]),
            (vec![bad, bad, bad], vec![(2, 10)]),
            (vec![good, bad, good, bad, good, bad], vec![(5, 10)]),
            // Three of six, but the first of them is no more among the last six.
            (vec![bad, good, bad, good, good, good, bad], vec![]),
            (vec![bad, good, good, bad, good, bad], vec![(5, 10)]),
        ] {
            assert_eq!(quarantines(&limits, turns.clone()), expect, "{turns:?}");
        }
    }

    #[test]
    fn who_fails_on_probation_is_quarantined_for_twice_as_long_until_it_has_proved_itself() {
        let limits = PluginLimits {
            failures: 2,
            failure_turns: 4,
            quarantine_seconds: 10,
            quarantine_max_seconds: 30,
            ..PluginLimits::default()
        };
        let (good, bad) = (true, false);
        let turns = [bad, bad, bad, good, bad, good, good, good, good, bad, bad];
        // At 1 s; at once after it, and after one good turn; then four good turns are enough to begin anew.
        assert_eq!(quarantines(&limits, turns), [(1, 10), (11, 20), (32, 30), (67, 10)]);
    }

    #[test]
    fn any_number_of_turns_can_be_set() {
        for failure_turns in [0, 1, 64, 1000] {
            let limits = PluginLimits { failures: 1, failure_turns, ..PluginLimits::default() };
            assert_eq!(quarantines(&limits, [true, false]).len(), 1, "{failure_turns}");
        }
    }
}
