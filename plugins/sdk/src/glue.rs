//! Between the generated bindings and the traits: what the macros expand to.

use crate::worlds::health_scorer::exports::vitals::plugin::scoring;
use crate::worlds::metric_deriver::exports::vitals::plugin::deriving;
use crate::worlds::outlier_detector::exports::vitals::plugin::detecting;
use crate::worlds::sla_evaluator::exports::vitals::plugin::evaluating;
use crate::{Agent, Deriver, Detector, Evaluator, Objective, Plugin, Row, Samples, Scorer, SeriesInfo};

/// A plugin between its calls.
pub struct GuestInstance<P> {
    plugin: P,
    samples: Samples,
}

impl<P: Plugin> GuestInstance<P> {
    /// A configured plugin.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &str) -> Result<Self, String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the configuration is wrong: {error}"))?;
        Ok(Self { plugin: P::new(config)?, samples: Samples::default() })
    }

    pub fn open(&mut self, series: Vec<SeriesInfo>) {
        series.into_iter().for_each(|one| self.plugin.open(one));
    }

    pub fn close(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|&number| self.plugin.close(number));
    }

    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        self.plugin.snapshot()
    }

    /// Puts a state back.
    ///
    /// # Errors
    /// What is wrong with the state.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        self.plugin.restore(state)
    }
}

/// The rows of a batch with their numbers.
fn rows<'a>(series: &'a [u32], times: &'a [i64], values: &'a [f64]) -> impl Iterator<Item = (u32, Row)> + 'a {
    (0..).zip(series.iter().zip(times).zip(values).map(|((&series, &time), &value)| Row { series, time, value }))
}

impl<P: Deriver> GuestInstance<P> {
    pub fn derive(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> deriving::Derived {
        for (number, row) in rows(series, times, values) {
            self.samples.at(number);
            self.plugin.derive(row, &mut self.samples);
        }
        self.samples.take()
    }
}

impl<P: Detector> GuestInstance<P> {
    pub fn detect(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> detecting::Findings {
        let mut out = detecting::Findings {
            rows: Vec::new(),
            lower: Vec::new(),
            upper: Vec::new(),
            scores: Vec::new(),
            windows: Vec::new(),
        };
        for (number, row) in rows(series, times, values) {
            if let Some(found) = self.plugin.judge(row) {
                out.rows.push(number);
                out.lower.push(found.lower);
                out.upper.push(found.upper);
                out.scores.push(found.score);
                out.windows.push(found.window);
            }
        }
        out
    }
}

impl<P: Scorer> GuestInstance<P> {
    pub fn score(&mut self, agents: &scoring::Agents) -> scoring::Scores {
        let mut out = scoring::Scores {
            rows: Vec::new(),
            scores: Vec::new(),
            statuses: Vec::new(),
            reasons: Vec::new(),
            recommendations: Vec::new(),
        };
        for (number, (row, (&agent, &time))) in (0..).zip(agents.agents.iter().zip(&agents.times).enumerate()) {
            let agent = Agent::at(agents, row, agent, time);
            if let Some(score) = self.plugin.score(&agent) {
                out.rows.push(number);
                out.scores.push(score.score);
                out.statuses.push(score.status);
                out.reasons.push(score.reasons);
                out.recommendations.push(score.recommendations);
            }
        }
        out
    }
}

impl<P: Evaluator> GuestInstance<P> {
    pub fn evaluate(&mut self, objectives: &evaluating::Objectives) -> evaluating::Reports {
        let mut out = evaluating::Reports {
            rows: Vec::new(),
            availability: Vec::new(),
            budget_left: Vec::new(),
            burn_hour: Vec::new(),
            burn_six_hours: Vec::new(),
            burn_three_days: Vec::new(),
            risks: Vec::new(),
        };
        for (number, (row, (&agent, &target))) in
            (0..).zip(objectives.agents.iter().zip(&objectives.targets).enumerate())
        {
            let at = |column: &[f64]| column.get(row).copied().unwrap_or(0.0);
            let objective = Objective {
                agent,
                target,
                period: (at(&objectives.period_known), at(&objectives.period_down)),
                hour: (at(&objectives.hour_known), at(&objectives.hour_down)),
                six_hours: (at(&objectives.six_hours_known), at(&objectives.six_hours_down)),
                three_days: (at(&objectives.three_days_known), at(&objectives.three_days_down)),
            };
            if let Some(report) = self.plugin.evaluate(&objective) {
                out.rows.push(number);
                out.availability.push(report.availability);
                out.budget_left.push(report.budget_left);
                out.burn_hour.push(report.burn[0]);
                out.burn_six_hours.push(report.burn[1]);
                out.burn_three_days.push(report.burn[2]);
                out.risks.push(report.risk);
            }
        }
        out
    }
}

/// The lifecycle of `$plugin` for the world in `$world`, and a place for it.
#[doc(hidden)]
#[macro_export]
macro_rules! __lifecycle {
    ($plugin:ty, $world:ident) => {
        struct Exported;

        ::std::thread_local! {
            static SLOT: ::std::cell::RefCell<Option<$crate::glue::GuestInstance<$plugin>>> =
                const { ::std::cell::RefCell::new(None) };
        }

        fn slot<T>(f: impl FnOnce(&mut $crate::glue::GuestInstance<$plugin>) -> T) -> T {
            SLOT.with_borrow_mut(|slot| f(slot.as_mut().expect("configure comes first")))
        }

        impl $crate::worlds::$world::exports::vitals::plugin::lifecycle::Guest for Exported {
            fn describe() -> $crate::worlds::$world::exports::vitals::plugin::lifecycle::Metadata {
                $crate::worlds::$world::exports::vitals::plugin::lifecycle::Metadata {
                    name: <$plugin as $crate::Plugin>::NAME.to_owned(),
                    version: <$plugin as $crate::Plugin>::VERSION.to_owned(),
                }
            }

            fn configure(config: String) -> Result<(), String> {
                let new = $crate::glue::GuestInstance::new(&config)?;
                SLOT.set(Some(new));
                Ok(())
            }

            fn open_series(series: Vec<$crate::SeriesInfo>) {
                slot(|slot| slot.open(series));
            }

            fn close_series(numbers: Vec<u32>) {
                slot(|slot| slot.close(&numbers));
            }

            fn snapshot() -> Vec<u8> {
                slot(|slot| slot.snapshot())
            }

            fn restore(state: Vec<u8>) -> Result<(), String> {
                slot(|slot| slot.restore(&state))
            }
        }
    };
}

/// Makes the crate a metric deriver: `metric_deriver!(MyType)`, where `MyType` is a [`Deriver`](crate::Deriver).
#[macro_export]
macro_rules! metric_deriver {
    ($plugin:ty) => {
        const _: () = {
            $crate::__lifecycle!($plugin, metric_deriver);

            impl $crate::worlds::metric_deriver::exports::vitals::plugin::deriving::Guest for Exported {
                fn derive(
                    series: Vec<u32>,
                    times: Vec<i64>,
                    values: Vec<f64>,
                ) -> $crate::worlds::metric_deriver::exports::vitals::plugin::deriving::Derived {
                    slot(|slot| slot.derive(&series, &times, &values))
                }
            }

            $crate::worlds::metric_deriver::export_metric_deriver!(Exported);
        };
    };
}

/// Makes the crate an outlier detector: `outlier_detector!(MyType)`, where `MyType` is a [`Detector`](crate::Detector).
#[macro_export]
macro_rules! outlier_detector {
    ($plugin:ty) => {
        const _: () = {
            $crate::__lifecycle!($plugin, outlier_detector);

            impl $crate::worlds::outlier_detector::exports::vitals::plugin::detecting::Guest for Exported {
                fn detect(
                    series: Vec<u32>,
                    times: Vec<i64>,
                    values: Vec<f64>,
                ) -> $crate::worlds::outlier_detector::exports::vitals::plugin::detecting::Findings {
                    slot(|slot| slot.detect(&series, &times, &values))
                }
            }

            $crate::worlds::outlier_detector::export_outlier_detector!(Exported);
        };
    };
}

/// Makes the crate a health scorer: `health_scorer!(MyType)`, where `MyType` is a [`Scorer`](crate::Scorer).
#[macro_export]
macro_rules! health_scorer {
    ($plugin:ty) => {
        const _: () = {
            $crate::__lifecycle!($plugin, health_scorer);

            impl $crate::worlds::health_scorer::exports::vitals::plugin::scoring::Guest for Exported {
                fn score(
                    agents: $crate::worlds::health_scorer::exports::vitals::plugin::scoring::Agents,
                ) -> $crate::worlds::health_scorer::exports::vitals::plugin::scoring::Scores {
                    slot(|slot| slot.score(&agents))
                }
            }

            $crate::worlds::health_scorer::export_health_scorer!(Exported);
        };
    };
}

/// Makes the crate an SLA evaluator: `sla_evaluator!(MyType)`, where `MyType` is an [`Evaluator`](crate::Evaluator).
#[macro_export]
macro_rules! sla_evaluator {
    ($plugin:ty) => {
        const _: () = {
            $crate::__lifecycle!($plugin, sla_evaluator);

            impl $crate::worlds::sla_evaluator::exports::vitals::plugin::evaluating::Guest for Exported {
                fn evaluate(
                    objectives: $crate::worlds::sla_evaluator::exports::vitals::plugin::evaluating::Objectives,
                ) -> $crate::worlds::sla_evaluator::exports::vitals::plugin::evaluating::Reports {
                    slot(|slot| slot.evaluate(&objectives))
                }
            }

            $crate::worlds::sla_evaluator::export_sla_evaluator!(Exported);
        };
    };
}
