//! What an author implements.

use crate::describe::Wants;
use crate::worlds::health_scorer::exports::vitals::plugin::scoring;
use crate::worlds::metric_deriver::exports::vitals::plugin::deriving::{Derived, OutputSeries};
use crate::{HealthStatus, Risk, SeriesInfo};
use serde::de::DeserializeOwned;

/// What every plugin does.
pub trait Plugin: Sized {
    /// Its name: lower-case letters, digits and hyphens, 1 to 64 characters.
    const NAME: &'static str;
    /// Its version; `env!("CARGO_PKG_VERSION")` is a good one.
    const VERSION: &'static str;
    /// The version of the form of its state.
    const STATE_VERSION: u32 = 1;
    /// Its configuration. Give it `#[serde(default, deny_unknown_fields)]`, so that `{}` works and typing errors are told.
    type Config: DeserializeOwned;

    /// JSON Schema of the configuration, which the host shows and enforces. Unless it is written here, any object fits;
    /// [`config_schema`](crate::config_schema) makes one of the defaults.
    fn config_schema() -> String {
        r#"{"type":"object"}"#.to_owned()
    }

    /// The plugin with its configuration and without state.
    ///
    /// # Errors
    /// One sentence that tells the operator what is wrong with the configuration.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Hears where chance starts, once, after [`Plugin::new`].
    fn seed(&mut self, seed: u64) {
        let _ = seed;
    }

    /// What it is to be shown, and how often it is to be called without data. Unless it is written here: everything, never.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Hears of an agent before anything names it, and again after each start. `config` is the configuration of this
    /// agent, if the operator has set something for it.
    ///
    /// # Errors
    /// What is wrong with that configuration; the call is lost.
    fn open_agent(&mut self, number: u32, key: &str, config: Option<Self::Config>) -> Result<(), String> {
        let _ = (number, key, config);
        Ok(())
    }

    /// Forgets an agent, of which it may hold nothing. One that comes back is opened again.
    fn close_agent(&mut self, number: u32) {
        let _ = number;
    }

    /// Hears of a series before its first row, and again after each start. Only derivers and detectors do.
    fn open(&mut self, series: SeriesInfo) {
        let _ = series;
    }

    /// Forgets a series, of which it may hold nothing. One that comes back is opened again.
    fn close(&mut self, number: u32) {
        let _ = number;
    }

    /// Its state, for [`Plugin::restore`]. A plugin without state need not say so.
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Puts its state back.
    ///
    /// # Errors
    /// One sentence; the plugin then starts empty.
    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let _ = state;
        Ok(())
    }

    /// Puts back a state of an older form. Unless it is written here, such a state is refused.
    ///
    /// # Errors
    /// One sentence; the plugin then starts empty.
    fn restore_older(&mut self, version: u32, state: &[u8]) -> Result<(), String> {
        let _ = state;
        Err(format!("the state has version {version}, this plugin knows version {}", Self::STATE_VERSION))
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The series' number: small and dense, an index into a vector of states.
    pub series: u32,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The value; NaN and infinities are possible.
    pub value: f64,
}

/// A plugin that makes samples from samples.
pub trait Deriver: Plugin {
    /// Looks at one sample; what it makes of it goes to `out`.
    fn derive(&mut self, row: Row, out: &mut Samples);

    /// Time has come to `now`; what it makes of that goes to `out`. Called as often as [`Plugin::wants`] says.
    fn tick(&mut self, now: i64, out: &mut Samples) {
        let _ = (now, out);
    }
}

/// Where a deriver puts its samples.
#[derive(Debug, Default)]
pub struct Samples {
    time: i64,
    declared: u32,
    outputs: Vec<OutputSeries>,
    series: Vec<u32>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Samples {
    /// Makes a new series of the agent of series `source`; its number is what [`Samples::push`] wants. Keep it: a series
    /// is declared once.
    pub fn declare(&mut self, source: u32, metric: String, unit: String) -> u32 {
        self.declare_from(vec![source], metric, unit)
    }

    /// Makes a new series from several, which have one agent. It has the attributes that all of them have alike.
    pub fn declare_from(&mut self, sources: Vec<u32>, metric: String, unit: String) -> u32 {
        self.outputs.push(OutputSeries { sources, metric, unit });
        self.declared += 1;
        self.declared - 1
    }

    /// A sample of the declared series `output`, at the time of the row that is looked at, or of the tick. NaN is left out.
    pub fn push(&mut self, output: u32, value: f64) {
        self.push_at(output, self.time, value);
    }

    /// A sample at another time, after the one before it of this output. NaN is left out.
    pub fn push_at(&mut self, output: u32, time: i64, value: f64) {
        if !value.is_nan() {
            self.series.push(output);
            self.times.push(time);
            self.values.push(value);
        }
    }

    pub(crate) fn at(&mut self, time: i64) {
        self.time = time;
    }

    pub(crate) fn take(&mut self) -> Derived {
        Derived {
            outputs: std::mem::take(&mut self.outputs),
            series: std::mem::take(&mut self.series),
            times: std::mem::take(&mut self.times),
            values: std::mem::take(&mut self.values),
        }
    }
}

/// A plugin that finds values that do not fit.
pub trait Detector: Plugin {
    /// Judges one sample.
    fn judge(&mut self, row: Row) -> Option<Finding>;

    /// Time has come to `now`: what it finds of series, in rising order of their numbers. Called as often as
    /// [`Plugin::wants`] says.
    fn tick(&mut self, now: i64) -> Vec<(u32, Finding)> {
        let _ = now;
        Vec::new()
    }
}

/// A value that does not fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// How far outside, 0 or more.
    pub score: f64,
    /// How many earlier values the bounds are made of.
    pub window: u32,
}

/// A plugin that scores the health of agents.
pub trait Scorer: Plugin {
    /// Scores one agent; `None` when it has nothing to say of it.
    fn score(&mut self, agent: &Agent) -> Option<Score>;
}

/// Defines [`Agent`] from its measurements, which are columns of the same names in `wit/vitals.wit`.
macro_rules! agent {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// An agent's last measurements; `None` is absent.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Agent {
            /// The agent's number.
            pub number: u32,
            /// The time of the newest measurement, nanoseconds since the Unix epoch.
            pub time: i64,
            $($(#[$doc])* pub $field: Option<f64>,)*
        }

        impl Agent {
            /// The agent `number` in a row of the columns.
            pub(crate) fn at(columns: &scoring::Agents, row: usize, number: u32, time: i64) -> Self {
                let value = |column: &[f64]| column.get(row).copied().filter(|value| !value.is_nan());
                Self { number, time, $($field: value(&columns.$field),)* }
            }
        }
    };
}

agent! {
    /// CPU in use, percent.
    cpu_percent,
    /// Memory in use, megabytes.
    memory_mb,
    /// Memory in use, percent.
    memory_percent,
    /// Fullest file system, percent.
    disk_percent,
    /// Network latency, milliseconds.
    latency_ms,
    /// Bandwidth in use, megabits a second.
    bandwidth_mbps,
    /// Packets lost, percent.
    packet_loss_percent,
    /// Open connections.
    connections,
    /// Requests since the last report.
    requests,
    /// Failed requests since the last report.
    errors,
    /// Share of requests that failed, percent.
    error_percent,
    /// Time to answer, milliseconds.
    response_ms,
    /// Availability over the last 24 h, percent of the known time.
    uptime_percent,
}

/// An agent's health.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 100; 100 is best.
    pub score: f64,
    /// The status that goes with it.
    pub status: HealthStatus,
    /// One sentence for each deduction.
    pub reasons: Vec<String>,
    /// Advice that a person can act on.
    pub recommendations: Vec<String>,
}

/// A plugin that measures agents against their objectives.
pub trait Evaluator: Plugin {
    /// Measures one agent; `None` when it has nothing to say of it.
    fn evaluate(&mut self, objective: &Objective) -> Option<Report>;
}

/// An agent's objective and its availability: (known, down) in seconds, known = up + down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The agent's number.
    pub agent: u32,
    /// The objective, percent of the known time.
    pub target: f64,
    /// The objective's period.
    pub period: (f64, f64),
    /// The last hour.
    pub hour: (f64, f64),
    /// The last 6 hours.
    pub six_hours: (f64, f64),
    /// The last 3 days.
    pub three_days: (f64, f64),
}

/// How an agent stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Percent of the known time of the period; NaN when nothing is known.
    pub availability: f64,
    /// Share of the error budget left.
    pub budget_left: f64,
    /// Burn rates over 1 hour, 6 hours and 3 days; NaN is unknown.
    pub burn: [f64; 3],
    /// The risk of missing the objective.
    pub risk: Risk,
}
