//! Error budget, burn rates and risk of an agent's objective; the rule is `vitals_core::rules::sla`.

use vitals_core::rules::sla::{SlaConfig, Windows, evaluate};
use vitals_core::verdict;
use vitals_plugin::{Evaluator, Objective, Plugin, Report, Risk};

struct Sla {
    config: SlaConfig,
}

impl Plugin for Sla {
    const NAME: &'static str = "sla";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = SlaConfig;

    fn new(config: SlaConfig) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config })
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
        let verdict = evaluate(&self.config, objective.target, &windows);
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
