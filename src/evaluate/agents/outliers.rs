//! The alerts of an agent on what outlier detectors find in its series.

use super::Agent;
use crate::evaluate::config::EvaluateConfig;
use serde::{Deserialize, Serialize};
use vitals_core::ids::UnixNanos;
use vitals_core::rules::alerts::{self, Finding};
use vitals_core::rules::outlier_alerts::{AlertStep, CountedOutliers, OutlierAlertPolicy};
use vitals_core::series::MetricKind;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{AlertSeries, OutlierVerdict};

/// A verdict of an outlier detector, as policies see it.
pub(in crate::evaluate) struct JudgedOutlier<'a> {
    pub(in crate::evaluate) plugin: &'a str,
    pub(in crate::evaluate) kind: MetricKind,
    pub(in crate::evaluate) outlier: &'a OutlierVerdict,
    /// The time of the data.
    pub(in crate::evaluate) time: UnixNanos,
    /// When it came.
    pub(in crate::evaluate) arrived: UnixNanos,
}

/// What counts for one policy, with the id of the open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OutlierAlert {
    policy: String,
    counted: CountedOutliers,
    alert: Option<String>,
}

impl Agent {
    /// Counts a verdict for each policy that it is for; raises or changes their alerts. None begins in planned maintenance.
    pub(in crate::evaluate) fn count_outlier(
        &mut self,
        found: &JudgedOutlier<'_>,
        series: &dyn Fn() -> Option<AlertSeries>,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        self.end_quiet_outliers(found.arrived, config, out);
        let counts = |policy: &&OutlierAlertPolicy| policy.counts(found.plugin, found.outlier.score, found.kind);
        for policy in config.outlier_alerts.iter().filter(counts) {
            if self.is_planned(found.arrived) {
                return;
            }
            let at = self.outlier_alerts.iter().position(|alert| alert.policy == policy.name).unwrap_or_else(|| {
                let new =
                    OutlierAlert { policy: policy.name.clone(), counted: CountedOutliers::default(), alert: None };
                self.outlier_alerts.push(new);
                self.outlier_alerts.len() - 1
            });
            let OutlierVerdict { series: id, score, .. } = *found.outlier;
            let OutlierAlert { counted, alert, .. } = &mut self.outlier_alerts[at];
            let step = counted.take(policy, (id, score), found.time, found.arrived);
            let (is_strangest, open) = (counted.is_strangest(id), alert.clone());
            let handling = self.policy(found.arrived, config);
            match (step, open) {
                (AlertStep::Raise(count), _) => {
                    let Finding { severity, message, series } = finding(policy, found, count, series());
                    let source = alerts::source_of_outliers(&policy.name);
                    let alert = self.alert(&source, None, (severity, message, series), found.time);
                    self.outlier_alerts[at].alert = Some(alert.id.clone());
                    self.alerts.raise(alert, found.arrived, handling, out);
                }
                (AlertStep::Grow(count), Some(open)) if is_strangest => {
                    self.alerts.change(&open, finding(policy, found, count, series()), found.arrived, handling, out);
                }
                _ => {}
            }
        }
    }

    /// Alerts on outliers are over when nothing was found for as long as their policy says, or when the policy is gone.
    pub(in crate::evaluate) fn end_quiet_outliers(
        &mut self,
        now: UnixNanos,
        config: &EvaluateConfig,
        out: &mut EvaluationOutput,
    ) {
        if self.outlier_alerts.is_empty() {
            return;
        }
        let handling = self.policy(now, config);
        let Self { outlier_alerts, alerts, .. } = self;
        outlier_alerts.retain_mut(|OutlierAlert { policy, counted, alert }| {
            let Some(policy) = config.outlier_alerts.iter().find(|known| known.name == *policy) else {
                alert.iter().for_each(|id| alerts.resolve(id, now, now, handling, out));
                return false;
            };
            let Some(over) = counted.over_at(policy).filter(|over| *over <= now) else { return true };
            alert.iter().for_each(|id| alerts.resolve(id, over, over, handling, out));
            counted.end();
            false
        });
    }
}

/// What an alert says: of one series what was expected, of several how many, and the strangest of them.
fn finding(
    policy: &OutlierAlertPolicy,
    found: &JudgedOutlier<'_>,
    count: usize,
    series: Option<AlertSeries>,
) -> Finding {
    let OutlierVerdict { value, lower, upper, score, .. } = found.outlier;
    let name = series.as_ref().map_or_else(|| "a series".to_owned(), ToString::to_string);
    let strangest = format!("{name} is {value:.4}, expected {lower:.4} to {upper:.4} (score {score:.1})");
    let message = if count == 1 {
        format!("{}: {strangest}", found.plugin)
    } else {
        format!("{}: {count} series are strange together; {strangest}", found.plugin)
    };
    Finding { severity: policy.severity, message, series }
}
