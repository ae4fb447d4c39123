//! How long long lists take, on the whole service. Prints figures, which only a release build makes sense of:
//! `cargo test --release --test it -- --ignored speed --nocapture`.

use crate::service::{Client, eventually, start};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const AGENTS: usize = 10_000;
const BATCH: usize = 1_000;

/// The shortest of some requests, and how long the answer is.
async fn fastest(client: &Client, path: &str) -> (Duration, usize) {
    let (mut best, mut bytes) = (Duration::MAX, 0);
    for _ in 0..7 {
        let begun = Instant::now();
        let request = client.http.get(format!("{}{path}", client.base)).bearer_auth(&client.token);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        bytes = answer.bytes().await.expect("a body").len();
        best = best.min(begun.elapsed());
    }
    (best, bytes)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn lists_of_ten_thousand() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    for batch in 0..AGENTS / BATCH {
        let now = jiff::Timestamp::now().to_string();
        let beats: Vec<Value> = (0..BATCH)
            .map(|n| {
                json!({
                    "agent_info": {"agent_id": format!("web-{batch}-{n}"), "agent_version": "1", "environment": "test"},
                    "health_status": "healthy", "timestamp": now, "cpu_usage_percent": 10, "memory_usage_mb": 512,
                    "response_time_ms": 20,
                })
            })
            .collect();
        let body =
            json!({"batch_id": batch.to_string(), "batch_timestamp": now, "source_system": "s", "heartbeats": beats});
        let (status, answer) = client.post("/batch", &body).await;
        assert_eq!((status, &answer["processed_heartbeats"]), (202, &json!(BATCH)), "{answer}");
    }
    let judged =
        async || client.get("/verdicts?kind=health&limit=10000").await.1["verdicts"].as_array().map_or(0, Vec::len);
    eventually(judged, |found| *found == AGENTS).await;
    // After a start everything is read from the disk.
    service.stop().await;
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    for path in ["/agents?limit=10000", "/agents?limit=100", "/verdicts?kind=health&limit=10000", "/verdicts?limit=100"]
    {
        let (best, bytes) = fastest(&client, path).await;
        println!("{path}: {:.1} ms, {} KB", best.as_secs_f64() * 1e3, bytes / 1_000);
    }
    service.stop().await;
}
