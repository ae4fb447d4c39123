//! Requests that cost more than they weigh.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// OTLP/JSON of about `bytes` bytes whose protobuf has four times as many.
fn json_bomb(bytes: usize) -> Vec<u8> {
    let zeros = "0,".repeat(bytes / 2) + "0";
    let point = format!(r#"{{"histogram":{{"dataPoints":[{{"bucketCounts":[{zeros}]}}]}}}}"#);
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{point}]}}]}}]}}"#).into_bytes()
}

#[tokio::test]
async fn bombs_are_refused_within_the_bytes_in_flight() {
    let ports = start(ReceiveConfig { max_in_flight_bytes: 8 << 20, ..ReceiveConfig::default() }).await;
    let json = json_bomb(3 << 20);
    let zstandard = zstd::encode_all(&json[..], 1).unwrap();
    for (name, headers, body) in [
        ("gzip", vec![JSON, ("content-encoding", "gzip")], gzip(&json)),
        ("zstd", vec![JSON, ("content-encoding", "zstd")], zstandard.clone()),
        // The last compression is undone first: either may be the bomb.
        ("both", vec![JSON, ("content-encoding", "zstd, gzip")], gzip(&zstandard)),
        ("none", vec![JSON], json),
        ("protobuf", vec![PROTOBUF, ("content-encoding", "gzip")], gzip(&request(5 << 20).encode_to_vec())),
    ] {
        assert_eq!(post(ports.http, "/v1/metrics", &headers, body).await.status, 413, "{name}");
    }
    for (name, body) in [("gzip", gzip(&request(5 << 20).encode_to_vec())), ("zstd", zstd_bomb())] {
        let (_, headers) = call(ports.grpc, &[("grpc-encoding", name)], framed(1, &body)).await;
        assert_eq!(headers["grpc-status"], "8", "{name}");
    }
    assert!(ports.ingest.bodies.lock().is_empty());
    assert_eq!(ports.budget.used(), 0, "all is given back");
}

fn zstd_bomb() -> Vec<u8> {
    zstd::encode_all(&request(5 << 20).encode_to_vec()[..], 1).unwrap()
}

/// Reads long requests until it is told to go on.
struct Slow {
    begun: watch::Sender<usize>,
    go_on: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    short: AtomicUsize,
}

impl ExportHandler for Slow {
    fn ready(&self) -> bool {
        true
    }

    fn ingest(&self, _: Caller, _: SocketAddr, body: Bytes, _: Permit) -> Result<Committing, Refusal> {
        if body.len() > 1 << 20 {
            self.begun.send_modify(|begun| *begun += 1);
            let _ = self.go_on.lock().unwrap().recv();
        } else {
            self.short.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Box::pin(async { Ok(Accepted::default()) }))
    }
}

#[tokio::test]
async fn short_requests_do_not_wait_for_long_ones() {
    let (release, go_on) = std::sync::mpsc::channel();
    let begun = watch::Sender::new(0);
    let handler = Arc::new(Slow { begun, go_on: std::sync::Mutex::new(go_on), short: AtomicUsize::new(0) });
    let config = ReceiveConfig::default();
    let (budget, workers) = (ByteBudget::new(config.max_in_flight_bytes), Workers::with_threads(1, 1).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let serving = handler.clone();
    // One thread for everything that answers: it must not be the one that reads.
    tokio::spawn(async move {
        serve_http(listener, &config, budget, workers, serving, None, std::future::pending()).await;
    });
    let long = gzip(&request(2 << 20).encode_to_vec());
    let zipped = [PROTOBUF, ("content-encoding", "gzip")];
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let long = long.clone();
            tokio::spawn(async move { post(http, "/v1/metrics", &zipped, long).await.status })
        })
        .collect();
    handler.begun.subscribe().wait_for(|begun| *begun > 0).await.unwrap();
    for _ in 0..3 {
        let short = gzip(&request(10_000).encode_to_vec());
        assert_eq!(post(http, "/v1/metrics", &zipped, short).await.status, 200);
        let plain = request(10).encode_to_vec();
        assert_eq!(post(http, "/v1/metrics", &[PROTOBUF], plain).await.status, 200);
    }
    assert_eq!((handler.short.load(Ordering::Relaxed), *handler.begun.borrow()), (6, 1));
    drop(release);
    for status in waiting {
        assert_eq!(status.await.unwrap(), 200);
    }
}
