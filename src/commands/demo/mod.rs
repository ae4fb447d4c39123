//! `vitals demo`: the service with a simulated fleet, and what to look at.
//!
//! The fleet speaks to the service over its real interfaces: [`fleet`] says what each agent sends.

pub mod fleet;

use super::{CommandError, duration, open, progress, serve};
use crate::auth::{Auth, TokenRequest};
use crate::clock::now;
use crate::config::Config;
use crate::expose::otlp::Compression;
use crate::expose::otlp::grpc::GrpcClient;
use prost::Message;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tonic::metadata::MetadataMap;

const HOUR: Duration = Duration::from_secs(3600);
/// How long the fleet may take until every call below answers.
const FIRST_DATA: Duration = Duration::from_secs(60);

/// When the planned maintenance begins, and how long it takes.
const MAINTENANCE_AHEAD: Duration = Duration::from_secs(20);
const MAINTENANCE: Duration = Duration::from_secs(600);

/// What `vitals demo` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vitals demo
  vitals demo --data ./demo-data --duration 10m
  vitals demo --free-ports

Nine agents in three regions: one is failing, one comes and goes, one has a spike in a metric every minute, one leaks memory,
one is in a planned maintenance window soon. The rest is well. Everything goes in through the service's own interfaces: heartbeats over REST, metrics over OTLP/gRPC.")]
pub struct Args {
    /// Where everything is kept; without it a folder that is deleted at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file, laid over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take any ports that are free instead of the configured ones
    #[arg(long)]
    free_ports: bool,
    /// Stop after this time, e.g. 30s; without it Ctrl-C does
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
}

/// Runs the service and its fleet.
///
/// # Errors
/// When the service does not start, or does not answer as it should.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let mut config = Config::load(args.config.as_deref())?;
    if args.free_ports {
        config.take_free_ports();
    }
    let folder = DataFolder::new(args.data)?;
    let asks_for_token = config.auth.otlp;
    let service = serve::start(config, folder.path()).await?;
    let token = service.auth().issue(request(None))?;
    let at = service.addresses();
    let base = format!("http://{}", at.rest);
    let otlp = format!("http://{}", at.grpc);
    let beats = tokio::spawn(beat(base.clone(), token.clone()));
    let planned = tokio::spawn(maintain(base.clone(), token.clone()));
    let exports = tokio::spawn(export(otlp.clone(), asks_for_token.then(|| token.clone())));

    let shown = progress::during("waiting for the fleet's first verdicts", answers(&base, &token)).await;
    if let Ok(calls) = &shown {
        println!("A fleet of {} agents is running.\n", fleet::AGENTS.len());
        match link(service.auth(), &base).await {
            Ok(link) => println!("  The page        {link}   (signs in once; `vitals open` prints another)"),
            Err(error) => tracing::warn!(%error, "there is no link to the page"),
        }
        println!("  Look around     {base}/docs/");
        println!("  Send OTLP to    {otlp}  (gRPC), http://{}  (HTTP)", at.http);
        println!("  Data            {}\n", folder.path().display());
        println!("  export TOKEN={token}\n");
        for call in calls {
            println!("  # {}\n  {}\n", call.says, call.curl(&base));
        }
        println!("Ctrl-C stops it.");
        match args.duration {
            Some(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                signal = serve::stop_signal() => signal?,
            },
            None => serve::stop_signal().await?,
        }
    }
    beats.abort();
    exports.abort();
    planned.abort();
    serve::stop(service).await;
    shown.map(drop)
}

fn request(scope: Option<String>) -> TokenRequest {
    TokenRequest {
        subject: "demo".to_owned(),
        email: "demo@example.com".to_owned(),
        tenant: None,
        agents: None,
        ttl: 24 * HOUR,
        scope,
    }
}

/// The link to the page, which shows what needs the scope `admin` too: as `vitals open` for the owner of the data folder.
async fn link(auth: &Auth, base: &str) -> Result<String, CommandError> {
    let token = auth.issue(request(Some("telemetry:read telemetry:write admin".to_owned())))?;
    open::link(base, &token).await
}

/// Plans a maintenance window that begins soon.
async fn maintain(base: String, token: String) {
    let client = reqwest::Client::new();
    let from_now = |ahead: Duration| jiff::Timestamp::now().saturating_add(ahead).map(|time| time.to_string());
    let (Ok(start), Ok(end)) = (from_now(MAINTENANCE_AHEAD), from_now(MAINTENANCE_AHEAD + MAINTENANCE)) else { return };
    let window = serde_json::json!({"agent_id": fleet::MAINTAINED, "start_time": start, "end_time": end});
    let url = format!("{base}/api/v1/telemetry/maintenance");
    // A window is for an agent that is known.
    for _ in 0..FIRST_DATA.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match client.post(&url).bearer_auth(&token).json(&window).send().await {
            Ok(answer) if answer.status().is_success() => return,
            answer => tracing::debug!(?answer, "the maintenance window is not planned yet"),
        }
    }
    tracing::warn!("the maintenance window of the demo was not planned");
}

/// The data folder; a temporary one goes with this.
struct DataFolder {
    path: PathBuf,
    temporary: bool,
}

impl DataFolder {
    fn new(given: Option<PathBuf>) -> Result<Self, CommandError> {
        if let Some(path) = given {
            return Ok(Self { path, temporary: false });
        }
        let number =
            getrandom::u64().map_err(|error| CommandError::System(std::io::Error::other(error.to_string())))?;
        let path = std::env::temp_dir().join(format!("vitals-demo-{number:016x}"));
        std::fs::create_dir(&path).map_err(|source| CommandError::File { path: path.clone(), source })?;
        Ok(Self { path, temporary: true })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the demo's folder cannot be deleted");
        }
    }
}

/// Sends the heartbeats.
async fn beat(base: String, token: String) {
    let client = reqwest::Client::new();
    let url = format!("{base}/api/v1/telemetry/heartbeat");
    let mut ticks = tokio::time::interval(fleet::INTERVAL);
    for tick in 0_u64.. {
        ticks.tick().await;
        for agent in fleet::AGENTS {
            let Some(beat) = fleet::heartbeat(agent, tick, now().0) else { continue };
            let answer = client.post(&url).bearer_auth(&token).json(&beat).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => tracing::warn!(agent = agent.id, status = %answer.status(), "a heartbeat was refused"),
                Err(error) => tracing::warn!(agent = agent.id, %error, "a heartbeat was not answered"),
            }
        }
    }
}

/// Sends the metrics: first some minutes of the past, so that there is something to judge by, then as they come.
async fn export(endpoint: String, token: Option<String>) {
    let mut metadata = MetadataMap::new();
    if let Some(value) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
        metadata.insert("authorization", value);
    }
    let mut client = match GrpcClient::new(&endpoint, Compression::Gzip, metadata, Duration::from_secs(10)) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(endpoint, %error, "the fleet cannot send its metrics");
            return;
        }
    };
    let step = i64::try_from(fleet::INTERVAL.as_nanos()).unwrap_or(i64::MAX);
    let begun = now().0 - i64::try_from(fleet::PAST).unwrap_or(0) * step;
    let mut ticks = tokio::time::interval(fleet::INTERVAL);
    let mut from = 0;
    for tick in fleet::PAST.. {
        ticks.tick().await;
        let request = fleet::metrics(from..tick + 1, begun, step);
        match client.export(request.encode_to_vec().into()).await {
            Ok(_) => from = tick + 1,
            // What was not taken is sent again with the next.
            Err(status) => tracing::warn!(code = ?status.code(), message = status.message(), "metrics were refused"),
        }
    }
}

/// A call worth showing.
struct Call {
    says: &'static str,
    path: String,
    body: Option<String>,
    /// What the answer holds once the fleet is in it.
    holds: &'static str,
}

impl Call {
    fn curl(&self, base: &str) -> String {
        let url = format!("{base}{}", self.path);
        match &self.body {
            None => format!("curl -s -H \"Authorization: Bearer $TOKEN\" '{url}'"),
            Some(body) => format!(
                "curl -s -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{body}' '{url}'"
            ),
        }
    }

    async fn attempt(&self, client: &reqwest::Client, base: &str, token: &str) -> Result<(), String> {
        let url = format!("{base}{}", self.path);
        let request = match &self.body {
            None => client.get(&url),
            Some(body) => client.post(&url).header("content-type", "application/json").body(body.clone()),
        };
        let answer = request.bearer_auth(token).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() && text.contains(self.holds) {
            return Ok(());
        }
        Err(format!("{status} {text}"))
    }
}

fn calls() -> Vec<Call> {
    let api = "/api/v1/telemetry";
    vec![
        Call {
            says: "every agent, with its health",
            path: format!("{api}/agents"),
            body: None,
            holds: fleet::FLAPPING,
        },
        Call {
            says: "why one of them is failing",
            path: format!("{api}/health-check"),
            body: Some(format!(r#"{{"target_id": "{}", "target_type": "agent"}}"#, fleet::FAILING)),
            holds: fleet::FAILING,
        },
        Call {
            says: "how available the one that comes and goes is",
            path: format!("{api}/uptime-status/{}?time_range_hours=1", fleet::FLAPPING),
            body: None,
            holds: fleet::FLAPPING,
        },
        Call {
            says: "the spikes, each with the bounds that it broke",
            path: format!("{api}/verdicts?kind=outlier&agent={}", fleet::SPIKING_AGENT),
            body: None,
            holds: fleet::SPIKING_AGENT,
        },
        Call { says: "open alerts", path: format!("{api}/alerts?open=true"), body: None, holds: fleet::FAILING },
    ]
}

/// The calls, each tried until it answers with what it should.
async fn answers(base: &str, token: &str) -> Result<Vec<Call>, CommandError> {
    let client = reqwest::Client::new();
    let calls = calls();
    let end = Instant::now() + FIRST_DATA;
    for call in &calls {
        progress::stage(format!("waiting for the fleet's first verdicts: {}", call.says));
        while let Err(reason) = call.attempt(&client, base, token).await {
            if Instant::now() > end {
                return Err(CommandError::Target { target: format!("{base}{}", call.path), reason });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(calls)
}
