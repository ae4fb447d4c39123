//! Thresholds: which values raise an alert, and when it is over.
//!
//! Source: IntelliBrowse's `ThresholdConfig`; the defaults are the contract's.

use crate::series::MetricKind;
use crate::verdict::Severity;
use serde::{Deserialize, Serialize};

/// Which side of a bound is a breach. The bound itself is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Values at or above the bound.
    #[default]
    GreaterThan,
    /// Values at or below the bound.
    LessThan,
}

/// The bounds of one kind of metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The kind that it judges.
    pub kind: MetricKind,
    /// A value at or past this is a warning.
    pub warning: f64,
    /// A value at or past this is critical.
    pub critical: f64,
    /// Which side is a breach.
    #[serde(default)]
    pub operator: Operator,
    /// How many breaches in a row raise the alert.
    #[serde(default = "one")]
    pub consecutive: u32,
    /// Whether the alert is over with the first value that is no breach; else it stays until a person
    /// acknowledges it and the values are good.
    #[serde(default = "yes")]
    pub auto_resolve: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl Threshold {
    /// A threshold with the usual rest.
    #[must_use]
    pub fn new(kind: MetricKind, warning: f64, critical: f64) -> Self {
        Self { kind, warning, critical, operator: Operator::GreaterThan, consecutive: 1, auto_resolve: true }
    }

    /// The contract's defaults.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::new(MetricKind::CpuUsage, 80.0, 95.0),
            Self::new(MetricKind::MemoryUsage, 85.0, 95.0),
            Self::new(MetricKind::DiskUsage, 85.0, 95.0),
            Self::new(MetricKind::ResponseTime, 2_000.0, 5_000.0),
        ]
    }

    /// How bad `value` is; `None` is no breach. NaN is none.
    #[must_use]
    pub fn judge(&self, value: f64) -> Option<Severity> {
        let past = |bound: f64| match self.operator {
            Operator::GreaterThan => value >= bound,
            Operator::LessThan => value <= bound,
        };
        if past(self.critical) {
            Some(Severity::Critical)
        } else if past(self.warning) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// The bound that goes with a severity.
    #[must_use]
    pub fn bound(&self, severity: Severity) -> f64 {
        if severity >= Severity::Critical { self.critical } else { self.warning }
    }

    /// A breach as a sentence, e.g. `cpu_usage is 97.0 %, critical from 95.0 %`.
    #[must_use]
    pub fn sentence(&self, value: f64, severity: Severity) -> String {
        let unit = unit_of(self.kind);
        let side = match self.operator {
            Operator::GreaterThan => "from",
            Operator::LessThan => "down from",
        };
        format!(
            "{} is {value:.1}{unit}, {} {side} {:.1}{unit}",
            self.kind.name(),
            severity.name(),
            self.bound(severity)
        )
    }
}

fn unit_of(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::CpuUsage | MetricKind::MemoryUsage | MetricKind::DiskUsage | MetricKind::ErrorRate => " %",
        MetricKind::ResponseTime => " ms",
        _ => "",
    }
}

/// The value that a threshold of `kind` judges: memory and disk are judged as percentages, so an amount is
/// turned into one where the total is known (same unit), else not judged.
#[must_use]
pub fn judged_value(kind: MetricKind, unit: &str, value: f64, total: Option<f64>) -> Option<f64> {
    if !matches!(kind, MetricKind::MemoryUsage | MetricKind::DiskUsage) || is_percent(unit) {
        return Some(value);
    }
    total.filter(|total| *total > 0.0).map(|total| 100.0 * value / total)
}

/// Whether a unit says percent.
#[must_use]
pub fn is_percent(unit: &str) -> bool {
    matches!(unit, "%" | "percent")
}

/// Where one subject stands with one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreachState {
    /// Breaches in a row.
    pub run: u32,
    /// The severity of the open alert.
    pub open: Option<Severity>,
}

/// What a value did to the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    None,
    /// A new alert is to be raised.
    Raise(Severity),
    /// The open alert is now this bad.
    Change(Severity),
    /// The open alert is over.
    Resolve,
}

impl BreachState {
    /// Takes the next judgement of `threshold`; `acknowledged` says whether a person has seen the open alert.
    pub fn step(&mut self, threshold: &Threshold, breach: Option<Severity>, acknowledged: bool) -> Step {
        let Some(severity) = breach else {
            self.run = 0;
            return if self.open.is_some() && (threshold.auto_resolve || acknowledged) {
                self.open = None;
                Step::Resolve
            } else {
                Step::None
            };
        };
        self.run = self.run.saturating_add(1);
        match self.open {
            Some(open) if open == severity => Step::None,
            Some(_) => {
                self.open = Some(severity);
                Step::Change(severity)
            }
            None if self.run >= threshold.consecutive.max(1) => {
                self.open = Some(severity);
                Step::Raise(severity)
            }
            None => Step::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_itself_is_a_breach() {
        for (kind, value, expect) in [
            (MetricKind::CpuUsage, 79.999, None),
            (MetricKind::CpuUsage, 80.0, Some(Severity::Warning)),
            (MetricKind::CpuUsage, 94.999, Some(Severity::Warning)),
            (MetricKind::CpuUsage, 95.0, Some(Severity::Critical)),
            (MetricKind::CpuUsage, f64::NAN, None),
            (MetricKind::CpuUsage, f64::INFINITY, Some(Severity::Critical)),
            (MetricKind::MemoryUsage, 84.9, None),
            (MetricKind::MemoryUsage, 85.0, Some(Severity::Warning)),
            (MetricKind::MemoryUsage, 95.0, Some(Severity::Critical)),
            (MetricKind::DiskUsage, 85.0, Some(Severity::Warning)),
            (MetricKind::DiskUsage, 95.0, Some(Severity::Critical)),
            (MetricKind::ResponseTime, 1_999.9, None),
            (MetricKind::ResponseTime, 2_000.0, Some(Severity::Warning)),
            (MetricKind::ResponseTime, 5_000.0, Some(Severity::Critical)),
        ] {
            let all = Threshold::defaults();
            let threshold = all.iter().find(|t| t.kind == kind).unwrap();
            assert_eq!(threshold.judge(value), expect, "{kind:?} {value}");
        }
    }

    #[test]
    fn amounts_are_judged_only_with_a_total() {
        for (kind, unit, value, total, expect) in [
            (MetricKind::MemoryUsage, "%", 90.0, None, Some(90.0)),
            (MetricKind::MemoryUsage, "percent", 90.0, Some(1.0), Some(90.0)),
            (MetricKind::MemoryUsage, "MB", 7_782.4, Some(8_192.0), Some(95.0)),
            (MetricKind::MemoryUsage, "MB", 7_782.4, None, None),
            (MetricKind::DiskUsage, "By", 5.0, Some(0.0), None),
            (MetricKind::CpuUsage, "", 90.0, None, Some(90.0)),
        ] {
            let judged = judged_value(kind, unit, value, total);
            assert_eq!(judged.map(f64::round), expect, "{kind:?} {value} {unit}");
        }
    }

    #[test]
    fn raises_after_a_run_and_resolves() {
        let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        threshold.consecutive = 2;
        let mut state = BreachState::default();
        for (value, expect) in [
            (85.0, Step::None),
            (70.0, Step::None),
            (85.0, Step::None),
            (86.0, Step::Raise(Severity::Warning)),
            (87.0, Step::None),
            (99.0, Step::Change(Severity::Critical)),
            (81.0, Step::Change(Severity::Warning)),
            (10.0, Step::Resolve),
            (10.0, Step::None),
        ] {
            assert_eq!(state.step(&threshold, threshold.judge(value), false), expect, "{value}");
        }
    }

    #[test]
    fn without_auto_resolve_a_person_is_waited_for() {
        let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        threshold.auto_resolve = false;
        let mut state = BreachState::default();
        assert_eq!(state.step(&threshold, Some(Severity::Warning), false), Step::Raise(Severity::Warning));
        assert_eq!(state.step(&threshold, None, false), Step::None);
        assert_eq!(state.step(&threshold, None, true), Step::Resolve);
    }

    #[test]
    fn says_it_in_a_sentence() {
        let threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        assert_eq!(threshold.sentence(97.0, Severity::Critical), "cpu_usage is 97.0 %, critical from 95.0 %");
    }
}
