//! CPU time of plugins: measured for the thread, so that a busy machine counts against nobody, and summed over a sliding window.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use vitals_core::ids::UnixNanos;

/// CPU time that this thread has used so far.
pub(super) fn of_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// A moment, by the machine's clock and by the arrival of the records. A replay goes through arrivals faster than they came,
/// and gives plugins as much time for them as they had then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) machine: Instant,
    pub(super) arrival: UnixNanos,
}

impl Moment {
    pub(super) fn now(arrival: UnixNanos) -> Self {
        Self { machine: Instant::now(), arrival }
    }

    /// The time since an earlier moment, by the clock that went further.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let arrivals = u64::try_from(self.arrival.since(earlier.arrival)).unwrap_or_default();
        self.machine.saturating_duration_since(earlier.machine).max(Duration::from_nanos(arrivals))
    }
}

/// CPU time over a sliding window. What was used fades exponentially: after one window a third of it still counts.
#[derive(Clone, Copy, Default)]
pub(super) struct CpuWindow {
    recent: f64,
    at: Option<Moment>,
}

impl CpuWindow {
    /// Adds what was used up to `now`.
    pub(super) fn add(&mut self, used: Duration, now: Moment, window: Duration) {
        self.fade(now, window);
        self.recent += used.as_secs_f64();
    }

    /// The share of one CPU, 1 for all of it.
    pub(super) fn share(&mut self, now: Moment, window: Duration) -> f64 {
        self.fade(now, window);
        self.recent / window.as_secs_f64().max(1e-3)
    }

    fn fade(&mut self, now: Moment, window: Duration) {
        if let Some(at) = self.at.replace(now) {
            let windows = now.since(at).as_secs_f64() / window.as_secs_f64().max(1e-3);
            self.recent *= (-windows).exp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(1);

    #[test]
    fn the_share_follows_what_is_used_and_fades() {
        let begin = Instant::now();
        let at = |millis| Moment { machine: begin + Duration::from_millis(millis), arrival: UnixNanos(0) };
        let mut window = CpuWindow::default();
        for turn in 0..100 {
            window.add(Duration::from_millis(20), at(turn * 100), WINDOW);
        }
        let share = window.share(at(9_950), WINDOW);
        assert!((share - 0.2).abs() < 0.02, "20 ms of each 100 ms: {share}");
        let later = window.share(at(10_950), WINDOW);
        assert!((later / share - (-1.0_f64).exp()).abs() < 1e-9, "{later}");
        assert!(window.share(at(60_000), WINDOW) < 1e-9);
    }

    #[test]
    fn a_replay_gives_as_much_time_as_there_was() {
        let machine = Instant::now();
        let at = |seconds: i64| Moment { machine, arrival: UnixNanos(seconds * UnixNanos::SECOND) };
        let mut window = CpuWindow::default();
        for second in 0..60 {
            window.add(Duration::from_millis(100), at(second), WINDOW);
        }
        let share = window.share(at(60), WINDOW);
        assert!(share < 0.1, "{share}");
        // A clock that was set back gives nothing and takes nothing.
        assert!((window.share(at(0), WINDOW) - share).abs() < 1e-12);
    }

    #[test]
    fn the_threads_own_time_is_measured() {
        let (wall, before) = (Instant::now(), of_thread());
        std::thread::sleep(Duration::from_millis(300));
        let slept = of_thread() - before;
        assert!(slept < wall.elapsed() / 2, "{slept:?}");
        let before = of_thread();
        while of_thread() - before < Duration::from_millis(5) {}
    }
}
