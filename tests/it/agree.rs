//! Whatever happens to agents, every answer says the same of their status and score.

use crate::service::{Client, export_http, gauge, local, now};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use vitals::pipeline::Service;

const AGENTS: [&str; 3] = ["web-1", "web-2", "web-3"];
const STATES: [&str; 6] = ["healthy", "degraded", "critical", "unknown", "offline", "maintenance"];

/// A small generator, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).expect("small")]
    }
}

async fn start(data: &Path) -> (Service, Client) {
    let mut config = local();
    config.evaluate.grace_millis = 100;
    let service = Service::start(config, data).await.expect("the service starts");
    let client = Client::of(&service, None, None);
    (service, client)
}

/// The status and score of an agent in the list, and what it reports.
async fn listed(client: &Client, agent: &str) -> Option<(Value, Value, Value)> {
    let (status, list) = client.get("/agents").await;
    assert_eq!(status, 200, "{list}");
    let one = list["agents"].as_array()?.iter().find(|one| one["agent_id"] == agent)?.clone();
    Some((one["health"].clone(), one["health_score"].clone(), one["reported_status"].clone()))
}

/// What the other answers say of it: status, score, whether a number stands for no score.
async fn elsewhere(client: &Client, agent: &str) -> Vec<(Value, Value, bool)> {
    let target = json!({"target_id": agent, "target_type": "agent"});
    let end = jiff::Timestamp::now() + Duration::from_secs(60);
    let range = json!({"start_time": (end - Duration::from_secs(3600)).to_string(), "end_time": end.to_string()});
    let live_agents = json!({
        "query_id": "q", "query_type": "t", "time_range": range, "aggregation_window": "1m", "agent_ids": [agent],
    });
    let (_, health) = client.post("/health-check", &target).await;
    let (_, uptime) = client.get(&format!("/uptime-status/{agent}")).await;
    let (_, live_agents) = client.post("/dashboard", &live_agents).await;
    let by_health = live_agents["agent_summary"]["by_health"].as_object().expect("a summary");
    let (name, _) = by_health.iter().next().expect("the agent");
    let assessed = |answer: &Value| {
        let one = &answer["health_assessment"];
        (one["overall_health"].clone(), one["health_score"].clone(), true)
    };
    let average = live_agents["agent_summary"]["average_health_score"].clone();
    vec![assessed(&health), assessed(&uptime), (json!(name), average, false)]
}

/// Checks an agent at a moment at which nothing happens to it.
async fn agrees(client: &Client, agent: &str, after: &str) {
    for _ in 0..50 {
        let Some(before) = listed(client, agent).await else { return };
        let others = elsewhere(client, agent).await;
        if listed(client, agent).await.as_ref() != Some(&before) {
            continue;
        }
        let (status, score, reported) = before;
        for (said, points, is_number) in others {
            assert_eq!(said, status, "{agent} after {after}");
            let expect = if score.is_null() && is_number { json!(100.0) } else { score.clone() };
            assert_eq!(points, expect, "{agent}, {status}, after {after}");
        }
        let says_bad = reported == "critical" || reported == "offline";
        assert!(!(says_bad && status == "healthy"), "{agent} reports {reported} after {after}");
        return;
    }
    panic!("{agent} never stood still");
}

async fn beat(client: &Client, agent: &str, reported: &str, cpu: u64) {
    let beat = json!({
        "agent_info": {"agent_id": agent, "agent_version": "1.0", "environment": "test"},
        "health_status": reported,
        "timestamp": jiff::Timestamp::now().to_string(),
        "cpu_usage_percent": cpu,
        "heartbeat_interval_ms": 1_000,
    });
    let (status, answer) = client.post("/heartbeat", &beat).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["reported_status"], reported);
    let said = (answer["calculated_health"].clone(), answer["health_score"].clone());
    let (status, score, kept) = listed(client, agent).await.expect("it was heard of");
    assert_eq!(kept, reported);
    let score = if score.is_null() { json!(100.0) } else { score };
    assert_eq!(said, (status, score), "a heartbeat of {agent} that reports {reported}, {cpu} %");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_the_same_of_an_agent() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut service, mut client) = start(data.path()).await;
    let mut random = Random(0x5eed);
    for step in 0..60 {
        let agent = random.of(&AGENTS);
        // Silence and restarts take their time: a few of each, at places that are the same in every run.
        let what = match step {
            17 | 41 => 10,
            29 => 11,
            _ => random.below(10),
        };
        let did = match what {
            0..6 => {
                let (reported, cpu) = (random.of(&STATES), random.below(101));
                beat(&client, agent, reported, cpu).await;
                format!("a heartbeat, {reported}, {cpu} %")
            }
            6..9 => {
                #[allow(clippy::cast_precision_loss)]
                let cpu = random.below(101) as f64 / 100.0;
                export_http(&service, &gauge(agent, "system.cpu.utilization", &[(now(), cpu)])).await;
                format!("a metric, {cpu}")
            }
            9 => {
                let (start, end) = (jiff::Timestamp::now(), jiff::Timestamp::now() + Duration::from_millis(700));
                let window = json!({"agent_id": agent, "start_time": start.to_string(), "end_time": end.to_string()});
                client.post("/maintenance", &window).await;
                "a maintenance window".to_owned()
            }
            10 => {
                tokio::time::sleep(Duration::from_millis(4_500)).await;
                "silence".to_owned()
            }
            _ => {
                service.stop().await;
                (service, client) = start(data.path()).await;
                "a restart".to_owned()
            }
        };
        for agent in AGENTS {
            agrees(&client, agent, &format!("step {step}, {did}")).await;
        }
    }
    service.stop().await;
}
