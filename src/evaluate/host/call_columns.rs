//! What plugins are shown of agents and of their objectives, by columns.

use super::abi;
use crate::evaluate::tenant_plugins::{AgentView, SlaView};

macro_rules! agent_columns {
    ($($(#[$doc:meta])* $field:ident { $($rest:tt)* })*) => {
        /// Views of agents by columns. NaN is an absent value.
        pub(super) struct AgentColumns {
            agents: Vec<u32>,
            times: Vec<i64>,
            $($field: Vec<f64>,)*
            uptime_percent: Vec<f64>,
        }

        impl AgentColumns {
            pub(super) fn new(views: &[AgentView]) -> Self {
                let column = |get: fn(&AgentView) -> Option<f64>| -> Vec<f64> {
                    views.iter().map(|view| get(view).unwrap_or(f64::NAN)).collect()
                };
                Self {
                    agents: views.iter().map(|view| view.agent.0).collect(),
                    times: views.iter().map(|view| view.time.0).collect(),
                    $($field: column(|view| view.measurements.$field),)*
                    uptime_percent: column(|view| view.uptime_percent),
                }
            }

            /// The argument of a call.
            pub(super) fn lower(&self) -> abi::Agents<'_> {
                abi::Agents {
                    agents: &self.agents,
                    times: &self.times,
                    $($field: &self.$field,)*
                    uptime_percent: &self.uptime_percent,
                }
            }
        }
    };
}
vitals_core::each_measurement!(agent_columns!);

/// Views of objectives by columns.
pub(super) struct ObjectiveColumns {
    agents: Vec<u32>,
    targets: Vec<f64>,
    period: Spans,
    hour: Spans,
    six_hours: Spans,
    three_days: Spans,
}

/// Seconds that are known, and seconds of downtime among them, row by row.
struct Spans {
    known: Vec<f64>,
    down: Vec<f64>,
}

impl Spans {
    fn new(views: &[SlaView], span: fn(&SlaView) -> (f64, f64)) -> Self {
        let (known, down) = views.iter().map(span).unzip();
        Self { known, down }
    }
}

impl ObjectiveColumns {
    pub(super) fn new(views: &[SlaView]) -> Self {
        Self {
            agents: views.iter().map(|view| view.agent.0).collect(),
            targets: views.iter().map(|view| view.target).collect(),
            period: Spans::new(views, |view| view.period),
            hour: Spans::new(views, |view| view.hour),
            six_hours: Spans::new(views, |view| view.six_hours),
            three_days: Spans::new(views, |view| view.three_days),
        }
    }

    /// The argument of a call.
    pub(super) fn lower(&self) -> abi::Objectives<'_> {
        abi::Objectives {
            agents: &self.agents,
            targets: &self.targets,
            period_known: &self.period.known,
            period_down: &self.period.down,
            hour_known: &self.hour.known,
            hour_down: &self.hour.down,
            six_hours_known: &self.six_hours.known,
            six_hours_down: &self.six_hours.down,
            three_days_known: &self.three_days.known,
            three_days_down: &self.three_days.down,
        }
    }
}
