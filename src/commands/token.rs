//! `vitals token`: a signed token.

use super::{CommandError, duration};
use crate::auth::{Auth, TokenRequest};
use crate::config::Config;
use std::path::PathBuf;
use std::time::Duration;

/// What `vitals token` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vitals token --subject ops --email ops@example.com
  vitals token --subject web --email web@example.com --agents 'web-*' --scope telemetry:write --ttl 30d
  curl -H \"Authorization: Bearer $(vitals token --subject me --email me@example.com)\" http://127.0.0.1:8080/api/v1/telemetry/health

The token is signed with the key of the data folder, so --data must be the service's; `vitals serve` makes the key when it
starts for the first time.")]
pub struct Args {
    /// Who it is for
    #[arg(long)]
    subject: String,
    /// Their address
    #[arg(long)]
    email: String,
    /// Configuration file of the service
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the service
    #[arg(long, value_name = "DIR", default_value = "vitals-data")]
    data: PathBuf,
    /// Tenant; without it `default`
    #[arg(long)]
    tenant: Option<String>,
    /// Which agents may be touched, as a pattern; may be repeated. Without it all of the tenant
    #[arg(long, value_name = "GLOB")]
    agents: Vec<String>,
    /// How long it lives, e.g. 1h, 30d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// What it allows: telemetry:read, telemetry:write, telemetry:operate, admin; separated by spaces. Without it read and write
    #[arg(long)]
    scope: Option<String>,
}

/// Prints a token, and nothing else.
///
/// # Errors
/// When the configuration or the key cannot be used.
pub fn run(args: Args) -> Result<(), CommandError> {
    let config = Config::load(args.config.as_deref())?;
    if let Some(unknown) =
        args.scope.iter().flat_map(|scope| scope.split_whitespace()).find(|name| !SCOPES.contains(name))
    {
        return Err(CommandError::Usage(format!("--scope {unknown} is unknown; there are {}", SCOPES.join(", "))));
    }
    let auth = Auth::signer(&config.auth, &args.data)?;
    let token = auth.issue(TokenRequest {
        subject: args.subject,
        email: args.email,
        tenant: args.tenant,
        agents: (!args.agents.is_empty()).then_some(args.agents),
        ttl: args.ttl,
        scope: args.scope,
    })?;
    println!("{token}");
    Ok(())
}

const SCOPES: [&str; 4] = ["telemetry:read", "telemetry:write", "telemetry:operate", "admin"];
