//! The verdicts on an agent that are stored: those that say something new.

use super::Agent;
use crate::evaluate::config::EvaluateConfig;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::ids::UnixNanos;
use vitals_core::store::EvaluationOutput;
use vitals_core::time::nanos;
use vitals_core::verdict::{AgentHealth, Evidence, SlaVerdict, Verdict, VerdictBody};

/// A verdict that was stored, so that the same one is not stored again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredVerdict<T> {
    plugin: String,
    what: T,
    at: UnixNanos,
}

impl Agent {
    /// Takes the newest health; when it has not changed it is stored again only after a while.
    pub(in crate::evaluate) fn judged(
        &mut self,
        evidence: &Arc<Evidence>,
        time: UnixNanos,
        health: &AgentHealth,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        let what = (health.status, health.score);
        if is_news(&mut self.stored_health, &evidence.plugin, what, time, config) {
            out.verdicts.push(self.verdict(evidence, time, VerdictBody::Health(health.clone())));
        }
    }

    /// Takes the newest SLA report; it is stored again when risk or budget changed, or after a while.
    pub(in crate::evaluate) fn reported(
        &mut self,
        evidence: &Arc<Evidence>,
        time: UnixNanos,
        report: &SlaVerdict,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        // A hundredth of the budget is news; so is the first availability that is known at all.
        let left = (!report.availability.is_nan()).then(|| (report.budget_left * 100.0).round() as i64);
        if is_news(&mut self.stored_sla, &evidence.plugin, (report.risk, left), time, config) {
            out.verdicts.push(self.verdict(evidence, time, VerdictBody::Sla(report.clone())));
        }
    }

    fn verdict(&self, evidence: &Arc<Evidence>, time: UnixNanos, body: VerdictBody) -> Verdict {
        Verdict { tenant: self.tenant.clone(), agent: self.id, time, evidence: evidence.clone(), body }
    }
}

/// Whether a verdict is to be stored: it is new, it changed, or the last one is old.
fn is_news<T: PartialEq>(
    stored: &mut Vec<StoredVerdict<T>>,
    plugin: &str,
    what: T,
    at: UnixNanos,
    config: &EvaluateConfig,
) -> bool {
    let Some(last) = stored.iter_mut().find(|verdict| verdict.plugin == plugin) else {
        stored.push(StoredVerdict { plugin: plugin.to_owned(), what, at });
        return true;
    };
    let repeat = nanos(config.repeat_seconds);
    if last.what == what && at.since(last.at) < repeat {
        return false;
    }
    last.what = what;
    last.at = at;
    true
}
