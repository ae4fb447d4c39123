//! Between the generated bindings and the traits: what the macros expand to.

use crate::describe::Wants;
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

/// The configuration in a text.
fn parsed<C: serde::de::DeserializeOwned>(config: &str) -> Result<C, String> {
    serde_json::from_str(config).map_err(|error| format!("the configuration is wrong: {error}"))
}

impl<P: Plugin> GuestInstance<P> {
    /// A configured plugin.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &str, seed: u64) -> Result<Self, String> {
        let mut plugin = P::new(parsed(config)?)?;
        plugin.seed(seed);
        Ok(Self { plugin, samples: Samples::default() })
    }

    #[must_use]
    pub fn wants(&self) -> Wants {
        self.plugin.wants()
    }

    pub fn open_agent(&mut self, number: u32, key: &str, config: Option<&str>) {
        let opened = config.map(parsed).transpose().and_then(|config| self.plugin.open_agent(number, key, config));
        if let Err(reason) = opened {
            panic!("the configuration of the agent {key} cannot be used: {reason}");
        }
    }

    pub fn close_agents(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|&number| self.plugin.close_agent(number));
    }

    pub fn open(&mut self, series: SeriesInfo) {
        self.plugin.open(series);
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
    pub fn restore(&mut self, version: u32, state: &[u8]) -> Result<(), String> {
        if version == P::STATE_VERSION { self.plugin.restore(state) } else { self.plugin.restore_older(version, state) }
    }
}

/// The rows of a batch with their numbers.
fn rows<'a>(series: &'a [u32], times: &'a [i64], values: &'a [f64]) -> impl Iterator<Item = (u32, Row)> + 'a {
    (0..).zip(series.iter().zip(times).zip(values).map(|((&series, &time), &value)| Row { series, time, value }))
}

impl<P: Deriver> GuestInstance<P> {
    pub fn derive(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> deriving::Derived {
        for (_, row) in rows(series, times, values) {
            self.samples.at(row.time);
            self.plugin.derive(row, &mut self.samples);
        }
        self.samples.take()
    }

    pub fn tick_deriver(&mut self, now: i64) -> deriving::Derived {
        self.samples.at(now);
        self.plugin.tick(now, &mut self.samples);
        self.samples.take()
    }
}

fn findings(found: impl Iterator<Item = (u32, crate::Finding)>) -> detecting::Findings {
    let mut out = detecting::Findings {
        subjects: Vec::new(),
        lower: Vec::new(),
        upper: Vec::new(),
        scores: Vec::new(),
        windows: Vec::new(),
    };
    for (subject, found) in found {
        out.subjects.push(subject);
        out.lower.push(found.lower);
        out.upper.push(found.upper);
        out.scores.push(found.score);
        out.windows.push(found.window);
    }
    out
}

impl<P: Detector> GuestInstance<P> {
    pub fn detect(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> detecting::Findings {
        let judge = |(number, row)| self.plugin.judge(row).map(|found| (number, found));
        findings(rows(series, times, values).filter_map(judge))
    }

    pub fn tick_detector(&mut self, now: i64) -> detecting::Findings {
        findings(self.plugin.tick(now).into_iter())
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
        use $crate::worlds::$world::exports::vitals::plugin::lifecycle as told;

        struct Exported;

        ::std::thread_local! {
            static SLOT: ::std::cell::RefCell<Option<$crate::glue::GuestInstance<$plugin>>> =
                const { ::std::cell::RefCell::new(None) };
        }

        fn slot<T>(f: impl FnOnce(&mut $crate::glue::GuestInstance<$plugin>) -> T) -> T {
            SLOT.with_borrow_mut(|slot| f(slot.as_mut().expect("configure comes first")))
        }

        impl told::Guest for Exported {
            fn describe() -> told::Manifest {
                let wants = SLOT.with_borrow(|slot| slot.as_ref().map($crate::glue::GuestInstance::wants));
                let wants = wants.unwrap_or_default();
                let selector = |select: $crate::Select| told::Selector {
                    metrics: select.metrics,
                    kinds: select.kinds,
                    shapes: select.shapes,
                    parts: select.parts,
                    origins: select.origins,
                    attributes: select.attributes,
                    resource_attributes: select.resource_attributes,
                };
                told::Manifest {
                    name: <$plugin as $crate::Plugin>::NAME.to_owned(),
                    version: <$plugin as $crate::Plugin>::VERSION.to_owned(),
                    config_schema: <$plugin as $crate::Plugin>::config_schema(),
                    state_version: <$plugin as $crate::Plugin>::STATE_VERSION,
                    agents: wants.agents,
                    selects: wants.selects.into_iter().map(selector).collect(),
                    interval_seconds: wants.interval_seconds,
                }
            }

            fn configure(setup: told::Setup) -> Result<(), String> {
                let new = $crate::glue::GuestInstance::new(&setup.config, setup.seed)?;
                SLOT.set(Some(new));
                Ok(())
            }

            fn open_agents(agents: Vec<told::AgentInfo>) {
                slot(|slot| {
                    agents.iter().for_each(|one| slot.open_agent(one.number, &one.key, one.config.as_deref()));
                });
            }

            fn close_agents(numbers: Vec<u32>) {
                slot(|slot| slot.close_agents(&numbers));
            }

            fn snapshot() -> Vec<u8> {
                slot(|slot| slot.snapshot())
            }

            fn restore(version: u32, state: Vec<u8>) -> Result<(), String> {
                slot(|slot| slot.restore(version, &state))
            }
        }
    };
}

/// What a deriver or a detector hears of series, after [`__lifecycle`].
#[doc(hidden)]
#[macro_export]
macro_rules! __watching {
    ($world:ident) => {
        impl $crate::worlds::$world::exports::vitals::plugin::watching::Guest for Exported {
            fn open_series(series: Vec<$crate::worlds::$world::exports::vitals::plugin::watching::SeriesInfo>) {
                slot(|slot| {
                    for one in series {
                        slot.open($crate::SeriesInfo {
                            number: one.number,
                            agent: one.agent,
                            metric: one.metric,
                            unit: one.unit,
                            kind: one.kind,
                            shape: one.shape,
                            part: one.part,
                            bound: one.bound,
                            origin: one.origin,
                            seed: one.seed,
                            attributes: one.attributes,
                            resource_attributes: one.resource_attributes,
                        });
                    }
                });
            }

            fn close_series(numbers: Vec<u32>) {
                slot(|slot| slot.close(&numbers));
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
            $crate::__watching!(metric_deriver);

            use $crate::worlds::metric_deriver::exports::vitals::plugin::deriving;

            impl deriving::Guest for Exported {
                fn derive(series: Vec<u32>, times: Vec<i64>, values: Vec<f64>) -> deriving::Derived {
                    slot(|slot| slot.derive(&series, &times, &values))
                }

                fn tick(now: i64) -> deriving::Derived {
                    slot(|slot| slot.tick_deriver(now))
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
            $crate::__watching!(outlier_detector);

            use $crate::worlds::outlier_detector::exports::vitals::plugin::detecting;

            impl detecting::Guest for Exported {
                fn detect(series: Vec<u32>, times: Vec<i64>, values: Vec<f64>) -> detecting::Findings {
                    slot(|slot| slot.detect(&series, &times, &values))
                }

                fn tick(now: i64) -> detecting::Findings {
                    slot(|slot| slot.tick_detector(now))
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
