//! `vitals open`: a link that signs in at the page, once.

use super::{CommandError, duration};
use crate::auth::{Auth, TokenRequest};
use crate::config::Config;
use std::path::PathBuf;
use std::time::Duration;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What `vitals open` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vitals open
  vitals open --data /var/lib/vitals --config /etc/vitals.toml
  vitals open --subject ana --url https://vitals.example.com --ttl 8h

Prints a link to the page of a running service. It signs in one browser, within two minutes. The token behind it is signed with the key
of the data folder, so --data must be the service's.")]
pub struct Args {
    /// Configuration file of the service
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the service
    #[arg(long, value_name = "DIR", default_value = "vitals-data")]
    data: PathBuf,
    /// Who signs in
    #[arg(long, default_value = "operator")]
    subject: String,
    /// Where the service is; without it as configured
    #[arg(long)]
    url: Option<String>,
    /// How long the session lasts, e.g. 8h
    #[arg(long, default_value = "12h", value_parser = duration)]
    ttl: Duration,
    /// What it allows, as for `vitals token`. Without it all
    #[arg(long, default_value = "telemetry:read telemetry:write admin")]
    scope: String,
}

/// Prints the link, and nothing else.
///
/// # Errors
/// When the key cannot be used, or the service does not answer.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let config = Config::load(args.config.as_deref())?;
    let base = args.url.unwrap_or_else(|| format!("http://{}{}", config.expose.rest, config.expose.prefix));
    let token = Auth::signer(&config.auth, &args.data)?.issue(TokenRequest {
        email: format!("{}@localhost", args.subject),
        subject: args.subject,
        tenant: None,
        agents: None,
        ttl: args.ttl,
        scope: Some(args.scope),
    })?;
    println!("{}", link(&base, &token).await?);
    Ok(())
}

/// A link to the page at `base` that stands for `token`.
///
/// # Errors
/// When the service does not make one.
pub(super) async fn link(base: &str, token: &str) -> Result<String, CommandError> {
    let base = base.trim_end_matches('/');
    let failed = |reason: String| CommandError::Target { target: base.to_owned(), reason };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| failed(error.to_string()))?;
    let answer = client.post(format!("{base}/session/link")).bearer_auth(token).send().await;
    let answer = answer.map_err(|error| failed(format!("{error}; is the service running?")))?;
    let status = answer.status();
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    match body["path"].as_str() {
        Some(path) if status.is_success() => Ok(format!("{base}/{path}")),
        _ => Err(failed(format!("{status}: no link; is expose.page = true?"))),
    }
}
