//! It gives each agent 26 KB of reasons and advice, and prints 60 KB at each call.

use vitals_plugin::{Agent, HealthStatus, Plugin, Score, Scorer};

struct Guest;

impl Plugin for Guest {
    const NAME: &'static str = "long-reasons";
    const VERSION: &'static str = "1.0.0";
    type Config = hostile::Nothing;

    fn new(_: hostile::Nothing) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Scorer for Guest {
    fn score(&mut self, _: &Agent) -> Option<Score> {
        println!("{}", "x".repeat(60_000));
        Some(Score {
            score: 50.0,
            status: HealthStatus::Degraded,
            reasons: vec!["r".repeat(1_300); 10],
            recommendations: vec!["a".repeat(1_300); 10],
        })
    }
}

vitals_plugin::health_scorer!(Guest);
