//! The `[evaluate]` section.

use super::maintenance::MaintenanceWindow;
use serde::{Deserialize, Serialize};
use vitals_core::availability::Timing;
use vitals_core::ids::UnixNanos;
use vitals_core::rules::alerts::{self, AlertConfig};
use vitals_core::rules::outlier_alerts::{self, OutlierAlertPolicy};
use vitals_core::rules::thresholds::{self, Threshold};
use vitals_core::rules::timeout::TimeoutRules;
use vitals_core::series::MetricKind;
use vitals_core::time::{DAY, nanos};

/// How records are judged, and how often the result is made durable.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Rows judged at once, about.
    pub batch_rows: usize,
    /// Under load, how long to wait for a batch to fill. Never waits while a sender waits for an answer.
    pub coalesce_millis: u64,
    /// Time between checkpoints, at most.
    pub checkpoint_seconds: u64,
    /// Rows between checkpoints, at most.
    pub checkpoint_rows: u64,
    /// Time between snapshots of the plugins' state, at least; a restart replays the log since the last one.
    pub state_seconds: u64,
    /// A tenant's plugins are put away after this time without samples.
    pub idle_seconds: u64,
    /// How long evidence of life may be on its way through the log: silence is judged as of this long ago.
    pub grace_millis: u64,
    /// Time between SLA reports of an agent.
    pub sla_seconds: u64,
    /// An unchanged verdict on an agent is stored again after this time.
    pub repeat_seconds: u64,
    /// A sample whose time is further ahead of its arrival than this is stored, but not judged; an agent whose clock is off by
    /// more than this is warned of, and its own times do not count for alerts.
    pub max_ahead_seconds: u64,
    /// A measurement older than this does not count as an agent's present state.
    pub stale_seconds: u64,
    /// An agent silent for this long is forgotten: nothing is reported of it any more, and the plugins forget its series.
    pub forget_seconds: u64,
    /// Memory of an agent whose total is unknown, megabytes.
    pub memory_total_mb: f64,
    /// The best score of an agent that reports critical or offline.
    pub reported_score_most: f64,
    /// The objective that agents are held to.
    pub objective: Objective,
    /// When an agent counts as late or offline.
    pub liveness: LivenessConfig,
    /// Which verdicts of outlier detectors raise alerts.
    pub outlier_alerts: Vec<OutlierAlertPolicy>,
    /// Which values raise alerts; from `telemetry.default_thresholds`.
    #[serde(skip)]
    pub thresholds: Vec<Threshold>,
    /// Who hears of alerts; from `telemetry.alert_configs`.
    #[serde(skip)]
    pub alerts: Vec<AlertConfig>,
    /// When which agents are down on purpose; from `maintenance`.
    #[serde(skip)]
    pub maintenance: Vec<MaintenanceWindow>,
}

/// A service level objective.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// Availability, percent.
    pub target: f64,
    /// Over how many days.
    pub period_days: u32,
}

/// When an agent counts as late or offline.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LivenessConfig {
    /// The adaptive timeout's constants.
    pub timeout: TimeoutRules,
    /// The interval of an agent that declares none, until it is learned from its exports, milliseconds; from
    /// `telemetry.default_metrics_interval_ms`.
    #[serde(skip)]
    pub default_interval_ms: u64,
    /// The shortest interval that is learned.
    pub least_interval_seconds: u32,
    /// Exports of an agent within this time count as one.
    pub burst_millis: u32,
    /// How long an agent that declares no interval may be silent before its interval is learned.
    pub learning_seconds: u32,
    /// How long an agent that reported maintenance may be silent before that is downtime.
    pub planned_silence_seconds: u32,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            batch_rows: 16_384,
            coalesce_millis: 5,
            checkpoint_seconds: 15,
            checkpoint_rows: 2_000_000,
            state_seconds: 60,
            idle_seconds: 600,
            grace_millis: 1_000,
            sla_seconds: 10,
            repeat_seconds: 300,
            max_ahead_seconds: 60,
            stale_seconds: 300,
            forget_seconds: 30 * 86_400,
            memory_total_mb: 8_192.0,
            reported_score_most: 80.0,
            objective: Objective::default(),
            liveness: LivenessConfig::default(),
            outlier_alerts: Vec::new(),
            thresholds: Threshold::defaults(),
            alerts: Vec::new(),
            maintenance: Vec::new(),
        }
    }
}

impl Objective {
    /// The objective's period, nanoseconds.
    pub(super) fn period(&self) -> i64 {
        i64::from(self.period_days) * DAY
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self { target: 99.9, period_days: 30 }
    }
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self {
            timeout: TimeoutRules::default(),
            default_interval_ms: 60_000,
            least_interval_seconds: 5,
            burst_millis: 1_000,
            learning_seconds: 2 * 3_600,
            planned_silence_seconds: 4 * 3_600,
        }
    }
}

impl LivenessConfig {
    pub(super) fn timing(&self) -> Timing {
        let seconds = |n: u32| i64::from(n) * UnixNanos::SECOND;
        Timing {
            timeout: self.timeout,
            default_interval: i64::try_from(self.default_interval_ms.max(1))
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000),
            least_interval: seconds(self.least_interval_seconds.max(1)),
            burst: i64::from(self.burst_millis) * 1_000_000,
            learning: seconds(self.learning_seconds),
            planned_silence: seconds(self.planned_silence_seconds),
        }
    }
}

impl EvaluateConfig {
    /// How far ahead of its arrival a sample may be and still be judged, nanoseconds.
    pub(super) fn max_ahead(&self) -> i64 {
        nanos(self.max_ahead_seconds)
    }

    /// The age at which a measurement no longer counts, nanoseconds.
    pub(super) fn stale(&self) -> i64 {
        nanos(self.stale_seconds)
    }

    /// The silence after which an agent is forgotten, nanoseconds.
    pub(super) fn forget(&self) -> i64 {
        nanos(self.forget_seconds)
    }

    /// The threshold for values of a kind.
    pub(super) fn threshold(&self, kind: MetricKind) -> Option<&Threshold> {
        self.thresholds.iter().find(|threshold| threshold.metric_type == kind)
    }

    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        let most = self.reported_score_most;
        if !(0.0..=100.0).contains(&most) {
            return Err(format!("evaluate.reported_score_most is {most}, must be 0 to 100"));
        }
        let target = self.objective.target;
        if !(target > 0.0 && target <= 100.0) {
            return Err(format!("evaluate.objective.target is {target}, must be above 0 and at most 100 percent"));
        }
        if !(1..=366).contains(&self.objective.period_days) {
            return Err(format!("evaluate.objective.period_days is {}, must be 1 to 366", self.objective.period_days));
        }
        for (name, zero) in [
            ("batch_rows", self.batch_rows == 0),
            ("checkpoint_seconds", self.checkpoint_seconds == 0),
            ("checkpoint_rows", self.checkpoint_rows == 0),
            ("sla_seconds", self.sla_seconds == 0),
        ] {
            if zero {
                return Err(format!("evaluate.{name} is 0, must be at least 1"));
            }
        }
        let rules = self.liveness.timeout;
        if !(rules.least >= 1.0 && rules.most >= rules.least && rules.first >= 1.0 && rules.deviations >= 0.0) {
            return Err(format!(
                "evaluate.liveness.timeout must keep 1 <= least <= most, first >= 1 and deviations >= 0, has {rules:?}"
            ));
        }
        if !(2..=20).contains(&rules.beats) {
            return Err(format!("evaluate.liveness.timeout.beats is {}, must be 2 to 20", rules.beats));
        }
        self.lists().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that is wrong with it, a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let numbers = Self {
            thresholds: Vec::new(),
            alerts: Vec::new(),
            outlier_alerts: Vec::new(),
            maintenance: Vec::new(),
            ..self.clone()
        };
        numbers.check().err().into_iter().chain(self.lists()).collect()
    }

    /// What is wrong with the entries of lists.
    fn lists(&self) -> Vec<String> {
        // Each entry alone, then all together for what two of them may not have in common.
        fn all<T>(key: &str, entries: &[T], check: fn(&[T]) -> Result<(), String>) -> Vec<String> {
            let own: Vec<String> = entries.chunks(1).filter_map(|entry| check(entry).err()).collect();
            let found = if own.is_empty() { check(entries).err().into_iter().collect() } else { own };
            found.into_iter().map(|wrong| format!("{key}: {wrong}")).collect()
        }
        let mut found = all("telemetry.default_thresholds", &self.thresholds, thresholds::check_all);
        found.extend(all("telemetry.alert_configs", &self.alerts, alerts::check_all));
        found.extend(all("evaluate.outlier_alerts", &self.outlier_alerts, outlier_alerts::check_all));
        found.extend(all("maintenance", &self.maintenance, |windows| {
            windows.iter().try_for_each(MaintenanceWindow::check)
        }));
        found
    }
}
