//! Prints the health of every agent, the sickest first.
//!
//!     VITALS_TOKEN=... cargo run -p fleet-health
//!
//! VITALS_URL is http://127.0.0.1:8080 unless set. Ends with 1 if an agent is critical or offline, so that a script
//! can ask.

use serde::Deserialize;
use std::error::Error;
use std::{env, process};

#[derive(Deserialize)]
struct Page {
    agents: Vec<Agent>,
    /// Where the next page begins; null on the last one.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Agent {
    agent_id: String,
    health: String,
    /// 0 to 100; null when nothing has been judged.
    health_score: Option<f64>,
    /// When it was last heard of.
    last_evidence: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("VITALS_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let token = env::var("VITALS_TOKEN").map_err(|_| "VITALS_TOKEN is not set: `vitals token` makes one")?;
    let mut fleet = Vec::new();
    let mut after = None;
    loop {
        let mut request = ureq::get(format!("{url}/api/v1/telemetry/agents"))
            .header("authorization", format!("Bearer {token}"))
            .query("limit", "1000");
        if let Some(after) = &after {
            request = request.query("after", after);
        }
        let page: Page = request.call()?.body_mut().read_json()?;
        fleet.extend(page.agents);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    fleet.sort_by(|one, other| {
        let score = |agent: &Agent| agent.health_score.unwrap_or(f64::INFINITY);
        (rank(&one.health), score(one))
            .partial_cmp(&(rank(&other.health), score(other)))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    for agent in &fleet {
        let score = agent.health_score.map_or("  -".to_owned(), |score| format!("{score:3.0}"));
        let heard = agent.last_evidence.as_deref().unwrap_or("never");
        println!("{:12} {score}  {:40} last heard of {heard}", agent.health, agent.agent_id);
    }
    let sick = fleet.iter().filter(|agent| rank(&agent.health) == 0).count();
    println!("{sick} of {} agents are critical or offline", fleet.len());
    process::exit(i32::from(sick > 0))
}

/// The worse, the smaller.
fn rank(health: &str) -> u8 {
    match health {
        "critical" | "offline" => 0,
        "degraded" => 1,
        "unknown" => 2,
        "maintenance" => 3,
        _ => 4,
    }
}
