//! Error budget, burn rates and risk of an agent's objective; the rule is `vitals_core::rules::sla`.

use std::collections::BTreeMap;
use vitals_core::rules::sla::{SlaConfig, Windows, evaluate};
use vitals_core::verdict;
use vitals_plugin::{Evaluator, Objective, Plugin, Report, Risk, config_schema};

struct Sla {
    config: SlaConfig,
    /// The configurations of agents that have their own.
    of_agents: BTreeMap<u32, SlaConfig>,
}

impl Plugin for Sla {
    const NAME: &'static str = "sla";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = SlaConfig;

    fn new(config: SlaConfig) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, of_agents: BTreeMap::new() })
    }

    fn config_schema() -> String {
        config_schema(&SlaConfig::default(), true)
    }

    fn open_agent(&mut self, number: u32, _: &str, config: Option<SlaConfig>) -> Result<(), String> {
        if let Some(config) = config {
            config.check()?;
            self.of_agents.insert(number, config);
        }
        Ok(())
    }

    fn close_agent(&mut self, number: u32) {
        self.of_agents.remove(&number);
    }
}

impl Evaluator for Sla {
    fn evaluate(&mut self, objective: &Objective) -> Option<Report> {
        let windows = Windows {
            period: objective.period,
            hour: objective.hour,
            six_hours: objective.six_hours,
            three_days: objective.three_days,
        };
        let verdict =
            evaluate(self.of_agents.get(&objective.agent).unwrap_or(&self.config), objective.target, &windows);
        Some(Report {
            availability: verdict.availability,
            budget_left: verdict.budget_left,
            burn: verdict.burn,
            risk: match verdict.risk {
                verdict::Risk::Low => Risk::Low,
                verdict::Risk::Medium => Risk::Medium,
                verdict::Risk::High => Risk::High,
                verdict::Risk::Breached => Risk::Breached,
            },
        })
    }
}

vitals_plugin::sla_evaluator!(Sla);
