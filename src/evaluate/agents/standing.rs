//! How an agent is shown, and what has changed since it was shown last.

use super::Agent;
use vitals_core::availability::{Interval, Timing};
use vitals_core::ids::UnixNanos;
use vitals_core::live_agents::{CurrentHealth, LiveAgent, Liveness, Observed, Shown, StandingChange};
use vitals_core::time::DAY;

impl Agent {
    /// How the board shows it; `None` for what shows no life.
    pub(in crate::evaluate) fn live(&self, timing: &Timing) -> Option<LiveAgent> {
        let tracker = self.tracker.as_ref()?;
        let since = tracker.last_contact().plus(-DAY);
        let recent = |interval: &&Interval| interval.end.is_none_or(|end| end > since);
        Some(LiveAgent {
            liveness: tracker.liveness(),
            last_evidence: tracker.last_contact(),
            clock_skew: tracker.skew(),
            interval: tracker.interval(timing),
            timeout: tracker.adaptive_timeout(timing),
            measurements: self.measurements,
            reported: self.reported,
            recent: match self.health {
                Some(_) => Vec::new(),
                None => self.intervals.iter().filter(recent).copied().collect(),
            },
            health: self.health.clone(),
            sla: self.sla.clone(),
        })
    }

    /// What of `live` differs from what was shown last.
    pub(super) fn news(&mut self, live: &LiveAgent, now: UnixNanos) -> Option<StandingChange> {
        let change = self.stands(live.current_health(now), Some(live.liveness), now)?;
        let (last_evidence, reported, reasons) = (Some(live.last_evidence), live.reported, live.reasons());
        Some(StandingChange { last_evidence, reported, reasons, ..change })
    }

    pub(super) fn news_of_observed(&mut self, seen: &Observed, now: UnixNanos) -> Option<StandingChange> {
        let change = self.stands(seen.current_health(now), None, now)?;
        Some(StandingChange { reasons: seen.health.reasons.clone(), ..change })
    }

    fn stands(
        &mut self,
        standing: CurrentHealth,
        liveness: Option<Liveness>,
        now: UnixNanos,
    ) -> Option<StandingChange> {
        let before = self.shown;
        let shown = Shown::of(standing, liveness, before, now);
        if before == Some(shown) {
            return None;
        }
        self.shown = Some(shown);
        Some(StandingChange { standing, before, since: shown.since, ..self.unknown(now, liveness) })
    }

    /// It was shown, and is not known any more.
    pub(in crate::evaluate) fn gone(&mut self, now: UnixNanos) -> Option<StandingChange> {
        let before = self.shown.take()?;
        Some(StandingChange { before: Some(before), is_gone: true, ..self.unknown(now, None) })
    }

    fn unknown(&self, now: UnixNanos, liveness: Option<Liveness>) -> StandingChange {
        StandingChange {
            agent: self.id,
            at: now,
            liveness,
            standing: CurrentHealth::UNKNOWN,
            before: None,
            since: now,
            last_evidence: None,
            reported: None,
            reasons: Vec::new(),
            is_gone: false,
        }
    }
}
