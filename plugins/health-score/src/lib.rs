//! The health score of an agent; the rule is `vitals_core::rules::health`.

use std::collections::BTreeMap;
use vitals_core::record::Measurements;
use vitals_core::rules::health::{HealthConfig, score};
use vitals_core::verdict;
use vitals_plugin::{Agent, HealthStatus, Plugin, Score, Scorer, config_schema};

macro_rules! measurements_of {
    ($($(#[$doc:meta])* $field:ident { $($rest:tt)* })*) => {
        fn measurements_of(agent: &Agent) -> Measurements {
            Measurements { $($field: agent.$field,)* }
        }
    };
}
vitals_core::each_measurement!(measurements_of!);

struct Health {
    config: HealthConfig,
    /// The configurations of agents that have their own.
    of_agents: BTreeMap<u32, HealthConfig>,
}

impl Plugin for Health {
    const NAME: &'static str = "health-score";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Config = HealthConfig;

    fn new(config: HealthConfig) -> Result<Self, String> {
        config.check()?;
        Ok(Self { config, of_agents: BTreeMap::new() })
    }

    fn config_schema() -> String {
        config_schema(&HealthConfig::default(), true)
    }

    fn open_agent(&mut self, number: u32, _: &str, config: Option<HealthConfig>) -> Result<(), String> {
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

impl Scorer for Health {
    fn score(&mut self, agent: &Agent) -> Option<Score> {
        let measurements = measurements_of(agent);
        let health =
            score(self.of_agents.get(&agent.number).unwrap_or(&self.config), &measurements, agent.uptime_percent);
        Some(Score {
            score: health.score,
            status: match health.status {
                verdict::HealthStatus::Healthy => HealthStatus::Healthy,
                verdict::HealthStatus::Degraded => HealthStatus::Degraded,
                verdict::HealthStatus::Critical => HealthStatus::Critical,
                // Not a scorer's to say.
                verdict::HealthStatus::Unknown
                | verdict::HealthStatus::Offline
                | verdict::HealthStatus::Maintenance => HealthStatus::Unknown,
            },
            reasons: health.reasons,
            recommendations: health.recommendations,
        })
    }
}

vitals_plugin::health_scorer!(Health);
