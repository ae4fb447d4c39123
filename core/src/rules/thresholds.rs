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
            let threshold = all.iter().find(|t| t.metric_type == kind).unwrap();
            assert_eq!(threshold.judge(value), expect, "{kind:?} {value}");
        }
    }

    #[test]
    fn amounts_are_judged_only_with_a_total() {
        for (kind, unit, value, total, expect) in [
            (MetricKind::MemoryUsage, "%", 90.0, None, Some(90.0)),
            (MetricKind::MemoryUsage, "Percentage", 90.0, Some(1.0), Some(90.0)),
            (MetricKind::MemoryUsage, "MB", 8_200.0, Some(8_192.0), Some(100.0)),
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
        threshold.consecutive_breaches = 2;
        let (mut state, mut now) = (BreachState::default(), UnixNanos(0));
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
            now = now.plus(UnixNanos::SECOND);
            assert_eq!(state.step(&threshold, threshold.judge(value), now, false), expect, "{value}");
        }
    }

    #[test]
    fn without_auto_resolve_a_person_is_waited_for() {
        let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        threshold.auto_resolve = false;
        let mut state = BreachState::default();
        assert_eq!(
            state.step(&threshold, Some(Severity::Warning), UnixNanos(1), false),
            Step::Raise(Severity::Warning)
        );
        assert_eq!(state.step(&threshold, None, UnixNanos(2), false), Step::None);
        assert_eq!(state.step(&threshold, None, UnixNanos(3), true), Step::Resolve);
    }

    #[test]
    fn says_it_in_a_sentence() {
        let threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        assert_eq!(threshold.sentence(97.0, Severity::Critical), "cpu_usage is 97.0 %, critical from 95.0 %");
    }

    /// An operator, its bounds, and what it makes of values.
    type Case = (Operator, [f64; 2], &'static [(f64, Option<Severity>)]);

    #[test]
    fn operators() {
        let cases: [Case; 4] = [
            (
                Operator::GreaterThan,
                [10.0, 20.0],
                &[(9.9, None), (10.0, Some(Severity::Warning)), (20.0, Some(Severity::Critical))],
            ),
            (
                Operator::LessThan,
                [20.0, 10.0],
                &[(20.1, None), (20.0, Some(Severity::Warning)), (10.0, Some(Severity::Critical)), (f64::NAN, None)],
            ),
            (
                Operator::Equal,
                [1.0, 2.0],
                &[(0.0, None), (1.0, Some(Severity::Warning)), (2.0, Some(Severity::Critical)), (3.0, None)],
            ),
            (
                Operator::NotEqual,
                [1.0, 1.0],
                &[(1.0, None), (0.0, Some(Severity::Critical)), (2.0, Some(Severity::Critical)), (f64::NAN, None)],
            ),
        ];
        for (operator, [warning, critical], values) in cases {
            let mut threshold = Threshold::new(MetricKind::Custom, warning, critical);
            threshold.threshold_operator = operator;
            threshold.check().unwrap();
            for &(value, expect) in values {
                assert_eq!(threshold.judge(value), expect, "{operator:?} {value}");
            }
        }
    }

    #[test]
    fn breaches_count_while_they_lie_within_the_window() {
        let mut threshold = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        threshold.consecutive_breaches = 3;
        threshold.evaluation_window = EvaluationWindow::seconds(60);
        for (times, raised_at) in [
            (&[0, 30, 60][..], Some(60)),
            // The first is older than the window when the third comes; the next two complete a run of three.
            (&[0, 30, 61, 90][..], Some(90)),
            (&[0, 61, 122, 183][..], None),
            (&[0, 1][..], None),
        ] {
            let mut state = BreachState::default();
            let mut raised = None;
            for &second in times {
                let time = UnixNanos(second * UnixNanos::SECOND);
                if state.step(&threshold, Some(Severity::Warning), time, false) != Step::None {
                    raised.get_or_insert(second);
                }
            }
            assert_eq!(raised, raised_at, "{times:?}");
        }
    }

    #[test]
    fn windows_are_read_and_written() {
        for (text, nanos) in [
            ("500ms", Some(500_000_000)),
            ("30s", Some(30_000_000_000)),
            ("5m", Some(300_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("7d", Some(604_800_000_000_000)),
            ("0s", None),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("1.5h", None),
            ("5 m", None),
            ("99999999999999999999d", None),
            ("9999999999d", None),
        ] {
            let window = EvaluationWindow::try_from(text.to_owned()).ok();
            assert_eq!(window.map(EvaluationWindow::nanos), nanos, "{text}");
            if let Some(window) = window {
                assert_eq!(String::from(window), text);
            }
        }
        assert_eq!(String::from(EvaluationWindow::seconds(90)), "90s");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let good = Threshold::new(MetricKind::CpuUsage, 80.0, 95.0);
        type Damage = fn(&mut Threshold);
        let cases: [(Damage, &str); 6] = [
            (|t| t.warning_threshold = f64::NAN, "warning_threshold for cpu_usage"),
            (|t| t.critical_threshold = f64::INFINITY, "critical_threshold for cpu_usage"),
            (|t| t.critical_threshold = 79.0, "must not be below"),
            (|t| t.threshold_operator = Operator::LessThan, "must not be above"),
            (|t| t.threshold_operator = Operator::NotEqual, "must be the same"),
            (|t| t.consecutive_breaches = 0, "consecutive_breaches for cpu_usage"),
        ];
        for (damage, word) in cases {
            let mut threshold = good.clone();
            damage(&mut threshold);
            let said = threshold.check().unwrap_err();
            assert!(said.contains(word), "{said} does not say {word}");
        }
        assert!(check_all(&[good.clone(), good.clone()]).unwrap_err().contains("metric_type cpu_usage"));
        check_all(&Threshold::defaults()).unwrap();
    }
}
