//! The share of CPU that a plugin may have for a tenant, and all plugins together on one evaluation thread.

use crate::evaluate::host::config::PluginLimits;
use crate::evaluate::host::cpu_time::{CpuWindow, Moment};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// What each call may take without being counted: entering a plugin costs so much on a slow machine.
const FREE_PER_CALL: Duration = Duration::from_micros(100);

/// The part of its budget that a plugin has while it is on probation after a quarantine.
const ON_PROBATION: f64 = 0.25;

thread_local! {
    /// What all instances on this thread used. Each evaluation thread has its own, as it has its own instances.
    static ALL: RefCell<CpuWindow> = RefCell::new(CpuWindow::default());
    /// How many instances were made on this thread and are still there.
    static INSTANCES: Cell<u32> = const { Cell::new(0) };
}

/// What one instance used of its evaluation thread, beyond what its calls and rows may take anyway.
pub(super) struct CpuBudget {
    own: CpuWindow,
    is_exceeded: bool,
}

/// Whether a plugin may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Yes,
    /// No: it went over its budget just now, with so many percent of a CPU.
    ExceededNow(u32),
    /// No: it went over its budget earlier, and is not below it yet.
    StillExceeded,
}

impl CpuBudget {
    pub(super) fn new() -> Self {
        INSTANCES.set(INSTANCES.get() + 1);
        Self { own: CpuWindow::default(), is_exceeded: false }
    }

    /// Counts a call that took `used` for `rows` rows.
    pub(super) fn spend(&mut self, used: Duration, rows: usize, limits: &PluginLimits, now: Moment) {
        let free = FREE_PER_CALL + time_for_rows(limits, rows);
        let (counted, window) = (used.saturating_sub(free), Duration::from_millis(limits.cpu_window_ms));
        self.own.add(counted, now, window);
        ALL.with_borrow_mut(|all| all.add(counted, now, window));
    }

    /// Whether the plugin may be called now. Over the budget of all, those wait that have more than their fair part of it.
    pub(super) fn check(&mut self, limits: &PluginLimits, now: Moment, is_on_probation: bool) -> Allowed {
        let window = Duration::from_millis(limits.cpu_window_ms);
        let share = self.own.share(now, window) * 100.0;
        let all = ALL.with_borrow_mut(|all| all.share(now, window)) * 100.0;
        let fair = limits.total_cpu_percent / f64::from(INSTANCES.get().max(1));
        let most = if is_on_probation { limits.cpu_percent * ON_PROBATION } else { limits.cpu_percent };
        let exceeded = share > most || (all > limits.total_cpu_percent && share > fair);
        match (std::mem::replace(&mut self.is_exceeded, exceeded), exceeded) {
            (_, false) => Allowed::Yes,
            (true, true) => Allowed::StillExceeded,
            (false, true) => Allowed::ExceededNow(share as u32),
        }
    }
}

impl Drop for CpuBudget {
    fn drop(&mut self) {
        // `try_with`: the thread may be ending.
        let _ = INSTANCES.try_with(|instances| instances.set(instances.get().saturating_sub(1)));
    }
}

/// The time that a call may take for its rows beside its deadline, and without being counted.
pub(in crate::evaluate::host) fn time_for_rows(limits: &PluginLimits, rows: usize) -> Duration {
    Duration::from_micros(limits.row_micros.saturating_mul(rows as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use vitals_core::ids::UnixNanos;

    /// What happens to each of several plugins that want to take so many milliseconds of each 100 ms: of 600 turns, the
    /// number that each got.
    fn turns(wanted: &[u64], rows: usize, limits: &PluginLimits) -> Vec<u32> {
        let (limits, wanted) = (limits.clone(), wanted.to_vec());
        // A thread of its own: the sum is the thread's.
        std::thread::spawn(move || {
            let begin = Instant::now();
            let mut plugins: Vec<(CpuBudget, u32)> = wanted.iter().map(|_| (CpuBudget::new(), 0)).collect();
            for turn in 0..600 {
                let now = Moment { machine: begin + Duration::from_millis(turn * 100), arrival: UnixNanos(0) };
                for ((budget, got), &millis) in plugins.iter_mut().zip(&wanted) {
                    if budget.check(&limits, now, false) == Allowed::Yes {
                        *got += 1;
                        budget.spend(Duration::from_millis(millis), rows, &limits, now);
                    }
                }
            }
            plugins.iter().map(|(_, got)| *got).collect()
        })
        .join()
        .expect("it does not panic")
    }

    #[test]
    fn each_plugin_has_a_budget_and_all_have_one_together() {
        let limits =
            PluginLimits { cpu_percent: 20.0, total_cpu_percent: 50.0, row_micros: 2, ..PluginLimits::default() };
        // A cheap one is never held up. One that would take 90 % gets about 20 %.
        let got = turns(&[1, 90], 0, &limits);
        assert!(got[0] == 600 && (100..200).contains(&got[1]), "{got:?}");
        // Six that are each just within their budget are too much together; each gets its part, and the cheap one all.
        let got = turns(&[19, 19, 19, 19, 19, 19, 1], 0, &limits);
        let sum: u32 = got[..6].iter().map(|turns| turns * 19).sum();
        assert!(got[6] == 600 && sum < 600 * 60 && got[..6].iter().all(|&turns| turns > 150), "{got:?}");
        // What its rows may take is free.
        assert_eq!(turns(&[90], 45_000, &limits), [600]);
    }

    #[test]
    fn going_over_the_budget_is_told_once() {
        let limits = PluginLimits { cpu_percent: 20.0, ..PluginLimits::default() };
        let begin = Instant::now();
        let at = |millis| Moment { machine: begin + Duration::from_millis(millis), arrival: UnixNanos(0) };
        let mut budget = CpuBudget::new();
        assert_eq!(budget.check(&limits, at(0), false), Allowed::Yes);
        budget.spend(Duration::from_millis(400), 0, &limits, at(0));
        assert_eq!(budget.check(&limits, at(10), false), Allowed::ExceededNow(39));
        assert_eq!(budget.check(&limits, at(20), false), Allowed::StillExceeded);
        assert_eq!(budget.check(&limits, at(1_000), false), Allowed::Yes);
        // On probation a quarter of it is too much.
        assert!(matches!(budget.check(&limits, at(1_001), true), Allowed::ExceededNow(_)));
    }
}
