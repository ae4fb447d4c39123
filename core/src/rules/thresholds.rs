//! Thresholds: which values raise an alert, and when it is over.
//!
//! Source: IntelliBrowse's `ThresholdConfig`; the defaults are the contract's.

use crate::ids::UnixNanos;
use crate::rules::percent::percent;
use crate::rules::units::is_percent;
use crate::series::MetricKind;
use crate::verdict::Severity;
use serde::{Deserialize, Serialize};

/// What makes a value a breach of a bound. The bound itself is one, on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Values at or above the bound.
    #[default]
    #[serde(alias = "greater_equal", alias = "greater_than_or_equal")]
    GreaterThan,
    /// Values at or below the bound.
    #[serde(alias = "less_equal", alias = "less_than_or_equal")]
    LessThan,
    /// Exactly the bound, e.g. a status code.
    Equal,
    /// Anything but the bound. Both bounds must be the same, so that every breach is critical.
    NotEqual,
}

/// A length of time, written as `500ms`, `30s`, `5m`, `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EvaluationWindow(i64);

/// What can be written behind the number of a [`EvaluationWindow`], and its nanoseconds.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400 * UnixNanos::SECOND),
    ("h", 3_600 * UnixNanos::SECOND),
    ("m", 60 * UnixNanos::SECOND),
    ("s", UnixNanos::SECOND),
    ("ms", UnixNanos::SECOND / 1_000),
];

impl EvaluationWindow {
    /// So many seconds.
    #[must_use]
    pub fn seconds(seconds: u32) -> Self {
        Self(i64::from(seconds) * UnixNanos::SECOND)
    }

    /// In nanoseconds, above 0.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.0
    }
}

/// Text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time above 0; write 500ms, 30s, 5m, 1h or 7d")]
pub struct InvalidWindow(String);

impl TryFrom<String> for EvaluationWindow {
    type Error = InvalidWindow;

    fn try_from(text: String) -> Result<Self, InvalidWindow> {
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit = UNITS.iter().find(|(unit, _)| *unit == &text[at..]).map(|(_, nanos)| *nanos);
        let number = text[..at].parse::<i64>().ok().filter(|number| *number > 0);
        match unit.zip(number).and_then(|(unit, number)| unit.checked_mul(number)) {
            Some(nanos) => Ok(Self(nanos)),
            None => Err(InvalidWindow(text)),
        }
    }
}

impl From<EvaluationWindow> for String {
    /// In the largest unit that divides it.
    fn from(EvaluationWindow(nanos): EvaluationWindow) -> Self {
        let (unit, each) = UNITS.into_iter().find(|(_, each)| nanos % each == 0).unwrap_or(("ms", 1_000_000));
        format!("{}{unit}", nanos / each)
    }
}

/// The bounds of one kind of metric: the contract's `ThresholdConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The kind that it judges.
    pub metric_type: MetricKind,
    /// A value that breaches this is a warning.
    pub warning_threshold: f64,
    /// A value that breaches this is critical.
    pub critical_threshold: f64,
    /// What is a breach.
    #[serde(default)]
    pub threshold_operator: Operator,
    /// The breaches that raise an alert lie within this time.
    #[serde(default = "five_minutes")]
    pub evaluation_window: EvaluationWindow,
    /// How many breaches in a row raise the alert.
    #[serde(default = "one")]
    pub consecutive_breaches: u32,
    /// Whether the alert is over with the first value that is no breach; else it stays until a person
    /// acknowledges it and the values are good.
    #[serde(default = "yes")]
    pub auto_resolve: bool,
}

/// Most `consecutive_breaches`: the time of each is remembered.
pub const MOST_BREACHES: u32 = 1_000;

fn five_minutes() -> EvaluationWindow {
    EvaluationWindow::seconds(300)
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
    pub fn new(metric_type: MetricKind, warning_threshold: f64, critical_threshold: f64) -> Self {
        Self {
            metric_type,
            warning_threshold,
            critical_threshold,
            threshold_operator: Operator::GreaterThan,
            evaluation_window: five_minutes(),
            consecutive_breaches: 1,
            auto_resolve: true,
        }
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

    /// Whether a value is past `bound`, as the operator has it. NaN is past nothing.
    fn past(&self, value: f64, bound: f64) -> bool {
        match self.threshold_operator {
            Operator::GreaterThan => value >= bound,
            Operator::LessThan => value <= bound,
            // What is compared was sent as it is compared: nothing was computed that could be rounded.
            Operator::Equal => value == bound,
            Operator::NotEqual => !value.is_nan() && value != bound,
        }
    }

    /// How bad `value` is; `None` is no breach. NaN is none.
    #[must_use]
    pub fn judge(&self, value: f64) -> Option<Severity> {
        if self.past(value, self.critical_threshold) {
            Some(Severity::Critical)
        } else if self.past(value, self.warning_threshold) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// The bound that goes with a severity.
    #[must_use]
    pub fn bound(&self, severity: Severity) -> f64 {
        if severity >= Severity::Critical { self.critical_threshold } else { self.warning_threshold }
    }

    /// A breach as a sentence, e.g. `cpu_usage is 97.0 %, critical from 95.0 %`.
    #[must_use]
    pub fn sentence(&self, value: f64, severity: Severity) -> String {
        let unit = unit_of(self.metric_type);
        let side = match self.threshold_operator {
            Operator::GreaterThan => "from",
            Operator::LessThan => "down from",
            Operator::Equal => "at",
            Operator::NotEqual => "unless",
        };
        format!(
            "{} is {value:.1}{unit}, {} {side} {:.1}{unit}",
            self.metric_type.name(),
            severity.name(),
            self.bound(severity)
        )
    }

    /// Says what is wrong with it, if anything; the sentence names the key.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        let (kind, warning, critical) = (self.metric_type.name(), self.warning_threshold, self.critical_threshold);
        for (key, bound) in [("warning_threshold", warning), ("critical_threshold", critical)] {
            if !bound.is_finite() {
                return Err(format!("{key} for {kind} is {bound}, must be a finite number"));
            }
        }
        let wrong = match self.threshold_operator {
            Operator::GreaterThan if critical < warning => Some("must not be below"),
            Operator::LessThan if critical > warning => Some("must not be above"),
            Operator::NotEqual if self.past(critical, warning) => Some("must be the same as"),
            _ => None,
        };
        if let Some(rule) = wrong {
            return Err(format!(
                "critical_threshold for {kind} is {critical}, {rule} warning_threshold, {warning}, with its \
                 threshold_operator"
            ));
        }
        if !(1..=MOST_BREACHES).contains(&self.consecutive_breaches) {
            return Err(format!(
                "consecutive_breaches for {kind} is {}, must be 1 to {MOST_BREACHES}",
                self.consecutive_breaches
            ));
        }
        Ok(())
    }
}

/// Says what is wrong with a table of thresholds, if anything.
///
/// # Errors
/// One sentence for the operator.
pub fn check_all(thresholds: &[Threshold]) -> Result<(), String> {
    for (at, threshold) in thresholds.iter().enumerate() {
        threshold.check()?;
        if thresholds[..at].iter().any(|other| other.metric_type == threshold.metric_type) {
            return Err(format!(
                "metric_type {} is there twice; one threshold judges a kind",
                threshold.metric_type.name()
            ));
        }
    }
    Ok(())
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
    percent(value, total?)
}

/// Where one subject stands with one threshold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreachState {
    /// When the last breaches in a row were, while there is no alert; no more than it takes to raise one.
    run: Vec<UnixNanos>,
    /// The severity of the open alert.
    open: Option<Severity>,
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
    /// The severity of the last breach, while there is an alert.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.open
    }

    /// Takes the judgement of the value at `time`; `acknowledged` says whether a person has seen the open alert.
    pub fn step(
        &mut self,
        threshold: &Threshold,
        breach: Option<Severity>,
        time: UnixNanos,
        acknowledged: bool,
    ) -> Step {
        let Some(severity) = breach else {
            self.run.clear();
            return if self.open.is_some() && (threshold.auto_resolve || acknowledged) {
                self.open = None;
                Step::Resolve
            } else {
                Step::None
            };
        };
        match self.open {
            Some(open) if open == severity => Step::None,
            Some(_) => {
                self.open = Some(severity);
                Step::Change(severity)
            }
            None => {
                // Values of one time are one measurement, also when they come in several records.
                if self.run.last() != Some(&time) {
                    self.run.push(time);
                }
                self.run.retain(|breach| time.since(*breach) <= threshold.evaluation_window.nanos());
                if (self.run.len() as u64) < u64::from(threshold.consecutive_breaches) {
                    return Step::None;
                }
                self.run.clear();
                self.open = Some(severity);
                Step::Raise(severity)
            }
        }
    }
}

#[cfg(test)]
mod tests;
