//! `vitals load`: OTLP at a rate, with moving times and values, and an account of every point.
//!
//! - [`template`]: what is sent
//! - [`wire`]: one connection
//! - [`report`]: what became of it
//! - [`acked`]: the account of acknowledged points, and its check against a service

pub mod acked;
pub mod report;
pub mod template;
pub mod wire;

use super::{CommandError, duration, progress};
use crate::clock::now;
use crate::expose::otlp::{Compression, Protocol};
use acked::Account;
use report::{Report, Tally};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use template::Template;
use wire::{Answer, Wire};

/// After a connection failed, so that a service that restarts is not flooded with attempts.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What `vitals load` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vitals load --target http://127.0.0.1:4318 --rate 100000 --duration 30s
  vitals load --target grpc://127.0.0.1:4317 --compression gzip --rate 0 --connections 8 --json
  vitals load --target http://127.0.0.1:4318 --acked acked.txt
  vitals load --verify --target-rest http://127.0.0.1:8080 --token \"$(vitals token --subject me --email me@example.com)\" --acked acked.txt

Each connection has one request on its way at a time. With --rate, latency counts from when a request was due, so a
service that falls behind shows; points that were due but never sent are reported as `behind`: more --connections
help if the service is not the reason. With --rate 0 each connection sends as fast as it is answered.")]
pub struct Args {
    /// Where to: http://HOST:4318, grpc://HOST:4317; port 4317 means gRPC unless --protocol says otherwise
    #[arg(long, value_name = "URL", required_unless_present = "verify")]
    target: Option<String>,
    /// Points a second, over all connections; 0 is as fast as answers come
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// For how long, e.g. 30s, 5m
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// How requests travel, if the URL does not say
    #[arg(long, value_enum)]
    protocol: Option<WireProtocol>,
    /// Different series
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    series: u32,
    /// Points in one request
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    points: u32,
    /// Connections, each with its own share of the series
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How requests are compressed
    #[arg(long, value_enum, default_value = "none")]
    compression: WireCompression,
    /// Token to send; without it VITALS_TOKEN is used, if it is set
    #[arg(long)]
    token: Option<String>,
    /// How long an answer may take before its points count as unanswered
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Append each acknowledged request to this file: first series, series, first time, step, times of each series
    #[arg(long, value_name = "FILE", required_if_eq("verify", "true"))]
    acked: Option<PathBuf>,
    /// Send nothing; ask the service for every point in --acked and say what is missing, wrong or there twice
    #[arg(long, requires = "target_rest")]
    verify: bool,
    /// The service's REST address for --verify
    #[arg(long, value_name = "URL")]
    target_rest: Option<String>,
}

/// `--protocol`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireProtocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP, protobuf
    Http,
}

/// `--compression`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireCompression {
    /// As it is
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

impl From<WireCompression> for Compression {
    fn from(chosen: WireCompression) -> Self {
        match chosen {
            WireCompression::None => Self::None,
            WireCompression::Gzip => Self::Gzip,
            WireCompression::Zstd => Self::Zstd,
        }
    }
}

/// Sends or verifies, and prints what happened.
///
/// # Errors
/// When the target cannot be used, nothing was acknowledged, or the check found a fault.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let token = args.token.clone().or_else(|| std::env::var("VITALS_TOKEN").ok());
    if let (true, Some(rest), Some(file)) = (args.verify, &args.target_rest, &args.acked) {
        let found = acked::verify(rest, token.as_deref(), file).await?;
        println!("{}", if args.json { super::json(&found) } else { found.to_string() });
        return if found.is_whole() {
            Ok(())
        } else {
            Err(CommandError::Found("acknowledged points are not as they were sent".to_owned()))
        };
    }
    let Some(target) = args.target.clone() else {
        return Err(CommandError::Usage("--target is missing, e.g. --target http://127.0.0.1:4318".to_owned()));
    };
    let report = send(&args, &target, token.as_deref()).await?;
    println!("{}", if args.json { super::json(&report) } else { report.to_string() });
    if report.points.acknowledged == 0 {
        return Err(CommandError::Found(format!("{target} acknowledged nothing{}", report.why())));
    }
    Ok(())
}

/// The endpoint as `http://` or `https://`, and the protocol.
fn resolve(target: &str, protocol: Option<WireProtocol>) -> Result<(String, Protocol), CommandError> {
    let (endpoint, said) = match target.split_once("://") {
        Some(("grpc", rest)) => (format!("http://{rest}"), Some(Protocol::Grpc)),
        Some(("grpcs", rest)) => (format!("https://{rest}"), Some(Protocol::Grpc)),
        Some(("http" | "https", _)) => (target.to_owned(), None),
        _ => {
            return Err(CommandError::Usage(format!(
                "--target {target} is no URL; write http://HOST:4318 or grpc://HOST:4317"
            )));
        }
    };
    let url = reqwest::Url::parse(&endpoint)
        .map_err(|error| CommandError::Usage(format!("--target {target} is no URL: {error}")))?;
    let protocol = match protocol {
        Some(WireProtocol::Grpc) => Protocol::Grpc,
        Some(WireProtocol::Http) => Protocol::Http,
        None if url.port() == Some(4317) => Protocol::Grpc,
        None => said.unwrap_or(Protocol::Http),
    };
    Ok((endpoint, protocol))
}

/// What all connections share.
struct Shared {
    begun: Instant,
    duration: Duration,
    account: Option<Account>,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

async fn send(args: &Args, target: &str, token: Option<&str>) -> Result<Report, CommandError> {
    let (endpoint, protocol) = resolve(target, args.protocol)?;
    let connections = args.connections.min(args.series);
    let account = args.acked.as_deref().map(Account::open).transpose()?;
    let mut wires = Vec::new();
    for _ in 0..connections {
        wires.push(Wire::new(&endpoint, protocol, args.compression.into(), token, args.timeout)?);
    }
    let all: Vec<Vec<Template>> = (0..connections).map(|c| share(c, connections, args)).collect();
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        duration: args.duration,
        account,
        sent: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    #[allow(clippy::cast_precision_loss)] // A rate past 2^53 points a second is none.
    let rate = (args.rate > 0).then_some(args.rate as f64 / f64::from(connections));
    let workers: Vec<_> = wires
        .into_iter()
        .zip(all)
        .map(|(wire, templates)| tokio::spawn(work(wire, templates, rate, shared.clone())))
        .collect();
    let watch = tokio::spawn(watch(shared.clone()));
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.await.map_err(|error| CommandError::System(error.into()))?);
    }
    watch.abort();
    progress::clear();
    if let Some(account) = &shared.account {
        account.flush()?;
    }
    Ok(tally.report(target, protocol, args.rate, shared.begun.elapsed().min(args.duration + args.timeout)))
}

/// The series of one connection, as templates.
fn share(connection: u32, connections: u32, args: &Args) -> Vec<Template> {
    let bound = |c: u32| u64::from(args.series) * u64::from(c) / u64::from(connections);
    let (from, until) = (bound(connection), bound(connection + 1));
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    template::templates(number(from), number(until - from), args.points)
}

/// One connection, until the time is over.
async fn work(mut wire: Wire, mut templates: Vec<Template>, rate: Option<f64>, shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    let mut planned = 0.0;
    let end = shared.begun + shared.duration;
    for at in (0..templates.len()).cycle() {
        let template = &mut templates[at];
        let due = match rate {
            Some(rate) => shared.begun + Duration::from_secs_f64(planned / rate),
            None => Instant::now(),
        };
        if due >= end || Instant::now() >= end {
            break;
        }
        // The timer has a grain of a millisecond: what is due within it goes at once.
        if due > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(due.into()).await;
        }
        #[allow(clippy::cast_precision_loss)] // Far below 2^53.
        let points = template.points() as f64;
        planned += points;
        let (message, stamp) = template.next(now().0);
        shared.sent.fetch_add(stamp.points(), Ordering::Relaxed);
        let answer = wire.send(message).await;
        tally.count(&stamp, &answer, due.elapsed());
        match answer {
            Answer::Acknowledged { rejected, .. } => {
                shared.acknowledged.fetch_add(stamp.points() - rejected.min(stamp.points()), Ordering::Relaxed);
                if let (Some(account), 0) = (&shared.account, rejected) {
                    account.add(&stamp);
                }
            }
            Answer::Refused(_) => {
                shared.refused.fetch_add(stamp.points(), Ordering::Relaxed);
            }
            Answer::Unanswered(_) => tokio::time::sleep(AFTER_FAILURE).await,
        }
    }
    if let Some(rate) = rate {
        tally.behind(rate * shared.duration.as_secs_f64() - planned);
    }
    tally
}

/// Shows how far it is, once a second.
async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        progress::show(&format!(
            "{} of {} s: {} points sent, {} acknowledged, {} refused",
            shared.begun.elapsed().as_secs(),
            shared.duration.as_secs(),
            shared.sent.load(Ordering::Relaxed),
            shared.acknowledged.load(Ordering::Relaxed),
            shared.refused.load(Ordering::Relaxed),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load::acked::Account;
    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::routing::post;
    use clap::Parser;
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    };
    use parking_lot::Mutex;
    use prost::Message;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_url_says_the_protocol() {
        for (target, chosen, endpoint, protocol) in [
            ("http://h:4318", None, "http://h:4318", Protocol::Http),
            ("http://h:4317", None, "http://h:4317", Protocol::Grpc),
            ("grpc://h:9999", None, "http://h:9999", Protocol::Grpc),
            ("grpcs://h:443", None, "https://h:443", Protocol::Grpc),
            ("http://h:9999", Some(WireProtocol::Grpc), "http://h:9999", Protocol::Grpc),
        ] {
            assert_eq!(resolve(target, chosen).unwrap(), (endpoint.to_owned(), protocol), "{target}");
        }
        for target in ["h:4318", "ftp://h", "http://"] {
            assert!(resolve(target, None).unwrap_err().to_string().contains(target));
        }
    }

    /// A receiver that refuses its third request and rejects a point of its fourth; keeps what it accepted.
    async fn receiver(kept: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>) -> String {
        let count = Arc::new(AtomicU64::new(0));
        let answer = move |body: bytes::Bytes| {
            let (kept, count) = (kept.clone(), count.clone());
            async move {
                let request = ExportMetricsServiceRequest::decode(body).unwrap();
                match count.fetch_add(1, Ordering::Relaxed) {
                    2 => StatusCode::TOO_MANY_REQUESTS.into_response(),
                    3 => {
                        let partial =
                            ExportMetricsPartialSuccess { rejected_data_points: 1, error_message: "old".into() };
                        ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec().into_response()
                    }
                    _ => {
                        kept.lock().push(request);
                        ExportMetricsServiceResponse::default().encode_to_vec().into_response()
                    }
                }
            }
        };
        let app = Router::new().route("/v1/metrics", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn every_point_is_sent_and_accounted_for() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let target = receiver(kept.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("acked.txt");
        let words = [
            "load",
            "--target",
            &target,
            "--rate",
            "5000",
            "--duration",
            "1s",
            "--points",
            "50",
            "--series",
            "200",
            "--connections",
            "2",
            "--acked",
            &file.display().to_string(),
        ]
        .map(str::to_owned);
        let args = Line::parse_from(words).args;
        let report = send(&args, &target, None).await.unwrap();
        let points = report.points;
        assert_eq!(points.sent + points.behind, 5000, "{report}");
        assert_eq!((points.refused, points.rejected, points.unanswered), (50, 1, 0), "{report}");
        assert_eq!(points.sent, points.acknowledged + 51);
        assert_eq!(report.refused_by_status["429"], 1);
        // What was rejected in part is not in the account: nobody can say which point it was.
        let noted = acked::read(&file).unwrap();
        let noted: u64 = noted.values().flatten().map(template::Stamp::points).sum();
        assert_eq!(noted, points.acknowledged - 49);
        assert_eq!(noted, 50 * kept.lock().len() as u64);
        assert!(Account::open(&folder.path().join("no/such/folder")).is_err());
    }

    #[tokio::test]
    async fn a_target_that_is_gone_is_told() {
        let words = ["load", "--target", "http://127.0.0.1:9", "--rate", "0", "--duration", "300ms", "--json"];
        let error = run(Line::parse_from(words).args).await.unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:9 acknowledged nothing: "), "{error}");
    }
}
