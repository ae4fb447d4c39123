//! The availability of an agent: evidence of life, maintenance windows, and the alert on silence.

use super::{Agent, PlannedWindow};
use crate::clock::rfc3339_seconds;
use crate::evaluate::config::EvaluateConfig;
use std::sync::Arc;
use vitals_core::availability::{Beat, Interval, State, Tally, Timing, Tracker, planned_over};
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::rules::alerts;
use vitals_core::store::EvaluationOutput;
use vitals_core::time::{DAY, HOUR};
use vitals_core::verdict::Severity;

impl Agent {
    /// Time in each state over the last `nanos` before `now`.
    pub(in crate::evaluate) fn tally(&self, now: UnixNanos, nanos: i64) -> Tally {
        let start = now.plus(-nanos);
        let from = self.intervals.iter().rposition(|i| i.end.is_some_and(|end| end <= start)).map_or(0, |at| at + 1);
        Tally::of(&self.intervals[from..], start, now)
    }

    /// Availability over the last 24 h, percent; none while less than an hour of them is known, which is too little to
    /// judge an agent by.
    pub(in crate::evaluate) fn uptime_percent(&self, now: UnixNanos) -> Option<f64> {
        let tally = self.tally(now, DAY);
        tally.percent().filter(|_| tally.counted() >= HOUR)
    }

    /// Evidence of life.
    pub(in crate::evaluate) fn beat(
        &mut self,
        beat: Beat,
        received: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        if let Some(tracker) = &mut self.tracker {
            tracker.beat(beat, received, timing, changes);
            return;
        }
        let mut tracker = Tracker::new(beat, received, timing, changes);
        // Windows that were set before it was first seen.
        for window in &self.windows {
            tracker.maintain(window.start, window.end, received, timing, changes);
        }
        self.tracker = Some(tracker);
        self.seen.clear();
    }

    /// A maintenance window. What of it is in the past changes the past, as far as it is remembered: the objective's
    /// period.
    pub(in crate::evaluate) fn plan(
        &mut self,
        window: PlannedWindow,
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        self.windows.retain(|known| known.end > now);
        if window.end > now && !self.windows.contains(&window) {
            self.windows.push(window);
        }
        let settled = self.tracker.as_ref().map_or(now, |tracker| tracker.unsettled_from().min(now));
        changes.extend(planned_over(&self.intervals, window.start, window.end.min(settled)));
        if let Some(tracker) = &mut self.tracker
            && window.end > settled
        {
            tracker.maintain(window.start, window.end, now, timing, changes);
        }
    }

    /// The configuration has none but `kept` of its maintenance windows any more.
    pub(in crate::evaluate) fn unplan(
        &mut self,
        kept: &[(UnixNanos, UnixNanos)],
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        let is_gone = |window: &PlannedWindow| window.configured && !kept.contains(&(window.start, window.end));
        let gone: Vec<PlannedWindow> = self.windows.extract_if(.., |window| is_gone(window)).collect();
        for window in gone {
            let is_set_too = self.windows.iter().any(|other| (other.start, other.end) == (window.start, window.end));
            if let Some(tracker) = &mut self.tracker {
                if is_set_too {
                    continue;
                }
                tracker.cut_short(window.start, window.end, now, timing, changes);
            }
        }
    }

    /// A person took a maintenance window back: what is left of it after `now` is none any more.
    pub(in crate::evaluate) fn withdraw(
        &mut self,
        (start, end): (UnixNanos, UnixNanos),
        now: UnixNanos,
        timing: &Timing,
        changes: &mut Vec<Interval>,
    ) {
        self.windows.retain(|window| window.configured || (window.start, window.end) != (start, end));
        let is_configured_too = self.windows.iter().any(|window| (window.start, window.end) == (start, end));
        if let Some(tracker) = self.tracker.as_mut().filter(|_| !is_configured_too) {
            tracker.cut_short(start, end, now, timing, changes);
        }
    }

    /// Whether planned maintenance is under way, by a window or because the agent says so.
    pub(in crate::evaluate) fn is_planned(&self, now: UnixNanos) -> bool {
        self.windows.iter().any(|window| window.start <= now && now < window.end)
            || self.tracker.as_ref().and_then(Tracker::running).is_some_and(|r| r.state == State::Maintenance)
    }

    /// Takes what the tracker said has changed: intervals, and the alert on silence.
    pub(in crate::evaluate) fn apply_changes(
        &mut self,
        changes: &mut Vec<Interval>,
        name: &dyn Fn(AgentId) -> Arc<str>,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        for change in changes.drain(..) {
            match self.intervals.binary_search_by_key(&change.start, |i| i.start) {
                Ok(at) if change.end == Some(change.start) => {
                    self.intervals.remove(at);
                }
                Ok(at) => self.intervals[at] = change,
                Err(_) if change.end == Some(change.start) => {}
                Err(at) => self.intervals.insert(at, change),
            }
            out.intervals.push((self.id, change));
        }
        let running = self.tracker.as_ref().and_then(Tracker::running);
        let silent = running.filter(|r| r.state == State::Silent);
        let policy = self.policy(now, config);
        let was_planned = |time: UnixNanos| {
            let covers = |i: &Interval| i.start <= time && i.end.is_none_or(|end| time < end);
            self.intervals.iter().rev().find(|i| covers(i)).is_some_and(|i| i.state == State::Maintenance)
        };
        if let Some((id, started)) = self.silence.take_if(|(_, started)| silent.is_none() || was_planned(*started)) {
            // The last one: it is in pieces where this service itself was not there. An outage that was taken back ended
            // when it began.
            let is_its = |i: &&Interval| i.start >= started && i.state == State::Silent;
            let ended = self.intervals.iter().rev().find(is_its);
            let ended = ended.and_then(|i| i.end).unwrap_or(started);
            self.alerts.resolve(&id, ended, now, policy, out);
        }
        if let (Some(outage), None) = (silent, &self.silence) {
            let message = format!("{} has been silent since {}", name(self.id), rfc3339_seconds(outage.start));
            let alert = self.alert(alerts::AVAILABILITY, None, (Severity::Critical, message, None), outage.start);
            self.silence = Some((alert.id.clone(), outage.start));
            self.alerts.raise(alert, now, policy, out);
        }
    }

    /// Looks whether the clock is off by more than `bound` nanoseconds; by how much, if it has just come to be.
    pub(in crate::evaluate) fn check_clock(&mut self, bound: i64) -> Option<i64> {
        let skew = self.tracker.as_ref().and_then(Tracker::skew);
        let was_off = self.clock_is_off;
        self.clock_is_off = skew.is_some_and(|skew| skew.saturating_abs() > bound);
        skew.filter(|_| self.clock_is_off && !was_off)
    }

    /// Forgets intervals that ended before `before`.
    pub(in crate::evaluate) fn forget(&mut self, before: UnixNanos) {
        if self.intervals.first().is_some_and(|i| i.end.is_some_and(|end| end < before)) {
            self.intervals.retain(|i| i.end.is_none_or(|end| end >= before));
        }
    }
}
