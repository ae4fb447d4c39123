//! What a stranger on the OTLP ports can do to the built program: nothing that others notice.

use crate::service::gauge;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use prost::Message as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Longest that anything here may take to show.
const DEADLINE: Duration = Duration::from_secs(120);

/// The built program with its defaults, on ports of its own.
struct Program {
    child: Child,
    grpc: String,
    http: String,
    rest: String,
    folder: TempDir,
}

impl Program {
    /// Starts it, with at most so many open files, and waits until it is ready.
    async fn start(files: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Bound together, so that they differ.
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [grpc, http, rest] = ports.map(|port| port.local_addr().expect("an address").to_string());
        let program = env!("CARGO_BIN_EXE_vitals");
        let mut command = match files {
            None => Command::new(program),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VITALS_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["serve", "--data", "data"])
            .envs([("VITALS__RECEIVE__GRPC", &grpc), ("VITALS__RECEIVE__HTTP", &http), ("VITALS__EXPOSE__REST", &rest)])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("stderr")).expect("a file"))
            .spawn()
            .expect("it runs");
        let mut program = Self { child, grpc, http, rest, folder };
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while program.health().await != Some(200) {
            assert_eq!(program.child.try_wait().expect("a state"), None, "it runs on");
            assert!(tokio::time::Instant::now() < deadline, "it becomes ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        program
    }

    /// The status of `/health`; `None` when it cannot be reached.
    async fn health(&self) -> Option<u16> {
        let answer = reqwest::get(format!("http://{}/health", self.rest)).await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> u16 {
        let mut request = reqwest::Client::new().post(format!("http://{}/v1/metrics", self.http)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn takes_a_request(&self) {
        let sound = gauge("host-a", "m", &[(crate::service::now(), 1.0)]).encode_to_vec();
        assert_eq!(self.post(&[("content-type", "application/x-protobuf")], sound).await, 200);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).expect("the log")
    }

    /// The most memory that it had at a time, in MiB.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// OTLP/JSON of one metric with one point of many numbers.
fn one_point(data: &str) -> Vec<u8> {
    let metric = format!(r#"{{"name":"m",{data}}}"#);
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#).into_bytes()
}

#[tokio::test]
async fn a_small_bomb_takes_little_memory() {
    let program = Program::start(None).await;
    let calm = program.peak_memory();
    let now = crate::service::now();
    let ones = "1,".repeat(8 << 20) + "1";
    let exponential = format!(
        r#""exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{now}","positive":{{"bucketCounts":[{ones}]}}}}]}}"#
    );
    let points = r#"{},"#.repeat(4 << 20) + "{}";
    let empty = format!(r#""gauge":{{"dataPoints":[{points}]}}"#);
    let explicit = format!(
        r#""histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{now}","bucketCounts":[{ones}]}}]}}"#
    );
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (name, data) in [("exponential", exponential), ("empty points", empty), ("explicit", explicit)] {
        let bomb = gzip(&one_point(&data));
        assert!(bomb.len() < 64 << 10, "{name}: {}", bomb.len());
        let status = program.post(&headers, bomb).await;
        assert!([200, 413].contains(&status), "{name}: {status}");
        let most = program.peak_memory() - calm;
        // 16 MiB of text, what it becomes as protobuf, and the allocator's share.
        assert!(most < 160, "{name}: {most} MiB more");
    }
    program.takes_a_request().await;
}

#[tokio::test]
async fn silent_connections_leave_the_probe_and_other_senders_their_place() {
    // Fewer files than connections come, as on a machine with a low limit.
    let program = Program::start(Some(400)).await;
    let mut silent = Vec::new();
    for address in [&program.http, &program.grpc, &program.rest] {
        for _ in 0..300 {
            // Who is one too many is closed, or waits in the kernel's queue.
            silent.push(TcpStream::connect(address).await.expect("a connection"));
        }
    }
    for _ in 0..3 {
        assert_eq!(program.health().await, Some(200));
        program.takes_a_request().await;
    }
    assert!(program.log().contains("each listener takes fewer of them"), "{}", program.log());
}

#[tokio::test]
async fn streams_that_are_reset_at_once_fill_no_log() {
    let program = Program::start(None).await;
    for _ in 0..300 {
        let stream = TcpStream::connect(&program.grpc).await.expect("a connection");
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(executor, io).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        for _ in 0..4 {
            let request = || Request::post("http://localhost/nothing").body(Full::default()).expect("a request");
            let mut answers: Vec<_> = (0..60).map(|_| Box::pin(requests.send_request(request()))).collect();
            std::future::poll_fn(|cx| {
                for answer in &mut answers {
                    // Sent, and not waited for.
                    let _ = answer.as_mut().poll(cx);
                }
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
            // Each stream is reset.
            drop(answers);
            tokio::task::yield_now().await;
        }
        drop(requests);
        // The service ends most of these itself.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
    }
    program.takes_a_request().await;
    assert_eq!(program.health().await, Some(200));
    let lines = program.log().lines().count();
    assert!(lines < 150, "{lines} lines: {}", program.log());
}
