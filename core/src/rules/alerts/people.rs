//! What people do to open alerts: acknowledge, close, silence, and back.

use super::{Alerts, Open, Policy, notice};
use crate::alert_command::{AlertAction, AlertCommand};
use crate::ids::UnixNanos;
use crate::store::EvaluationOutput;
use crate::verdict::{Alert, Event};

impl Open {
    /// When the silence ends that a person set.
    pub(super) fn silenced_until(&self) -> Option<UnixNanos> {
        self.alert.handling.silence.as_ref().map(|silence| silence.until)
    }
}

impl Alerts {
    /// Does to an open alert what a person wants; the alert after it, or `None` when it is none of these. What is so already
    /// changes nothing and tells nobody.
    pub fn command(
        &mut self,
        command: &AlertCommand,
        now: UnixNanos,
        policy: Policy<'_>,
        out: &mut EvaluationOutput,
    ) -> Option<Alert> {
        self.tick(now, policy, out);
        let at = self.place(&command.alert)?;
        if !command.apply(&mut self.open[at].alert) {
            return Some(self.open[at].alert.clone());
        }
        let changed = self.open[at].alert.clone();
        out.alerts.push(changed.clone());
        let open = &mut self.open[at];
        match command.action {
            AlertAction::Acknowledge => {
                open.held_until = None;
                if open.told.is_some() {
                    out.notices.extend(notice(open, Event::Acknowledged, now, policy));
                }
            }
            AlertAction::Unacknowledge => {
                // Someone has the whole delay again before it escalates.
                open.since = now;
                if open.told.is_some() {
                    out.notices.extend(notice(open, Event::Unacknowledged, now, policy));
                } else if !policy.planned {
                    self.announce(at, Event::Raised, now, policy, out);
                }
            }
            AlertAction::Close => {
                let open = self.open.swap_remove(at);
                if open.told.is_some() {
                    out.notices.extend(notice(&open, Event::Resolved, now, policy));
                }
            }
            AlertAction::Silence { .. } => open.held_until = None,
            AlertAction::Unsilence => self.speak_again(at, now, policy, out),
        }
        Some(changed)
    }

    /// The silence of an alert is over by itself.
    pub(super) fn end_silence(&mut self, at: usize, due: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        self.open[at].alert.handling.silence = None;
        out.alerts.push(self.open[at].alert.clone());
        self.speak_again(at, due, policy, out);
    }

    /// After a silence: notifies of what it has become, and gives the whole delay before it escalates.
    fn speak_again(&mut self, at: usize, now: UnixNanos, policy: Policy<'_>, out: &mut EvaluationOutput) {
        let open = &mut self.open[at];
        open.since = open.since.max(now);
        if open.told.is_some() || open.alert.acknowledged.is_none() {
            self.announce(at, Event::Worsened, now, policy, out);
        }
    }
}
