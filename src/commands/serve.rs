//! `vitals serve`: the service, until it is told to stop.

use super::{CommandError, progress};
use crate::config::Config;
use crate::pipeline::Service;
use crate::reload;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What `vitals serve` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  vitals serve
  vitals serve --config vitals.toml --data /var/lib/vitals --log-format json

Settings: `vitals config default` prints all of them with comments. The file is read again when it changes, and at SIGHUP;
the log says what then needs a restart, and what is wrong with a file that cannot be used. SIGTERM and Ctrl-C stop gracefully: what was
acknowledged is in the store or in the log.")]
pub struct Args {
    /// Configuration file, laid over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "vitals-data")]
    data: PathBuf,
}

/// How long a service in which something died says so before it stops.
const BEFORE_THE_END: Duration = Duration::from_secs(2);
/// How long it may take to stop then.
const LONGEST_STOP: Duration = Duration::from_secs(90);

/// Runs the service.
///
/// # Errors
/// When the configuration cannot be used or the service does not start.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let config = Config::load(args.config.as_deref())?;
    let service = start(config, &args.data).await?;
    let at = service.addresses();
    println!("OTLP/gRPC  {}", at.grpc);
    println!("OTLP/HTTP  http://{}/v1/metrics", at.http);
    println!("REST       http://{}", at.rest);
    println!("data       {}", args.data.display());
    until_stopped(service, args.config.as_deref()).await
}

/// Runs a service until it is told to stop, or one of its threads or tasks has died; then stops it.
///
/// # Errors
/// When something of it has died: which and why.
pub async fn until_stopped(service: Service, file: Option<&Path>) -> Result<(), CommandError> {
    let died = tokio::select! {
        signal = stop_signal() => { signal?; None }
        () = reload::follow(&service, file) => None,
        died = service.workers().wait_for_death() => Some(died),
    };
    let Some(died) = died else {
        stop(service).await;
        return Ok(());
    };
    // A probe sees that the service takes no requests any more, and why, before it is gone.
    tokio::time::sleep(BEFORE_THE_END).await;
    if tokio::time::timeout(LONGEST_STOP, stop(service)).await.is_err() {
        tracing::error!("the service does not stop by itself; what was acknowledged is in the log");
    }
    Err(CommandError::Died(died))
}

/// Starts the service, and shows what it is doing if that takes longer than a second.
pub(super) async fn start(config: Config, data: &Path) -> Result<Service, CommandError> {
    Ok(progress::during("starting", Service::start(config, data)).await?)
}

/// Stops the service; a second signal ends the process at once.
pub(super) async fn stop(service: Service) {
    tracing::info!("stopping");
    let again = tokio::spawn(async {
        if stop_signal().await.is_ok() {
            eprintln!("vitals: stopped at once; what was acknowledged is in the log");
            std::process::exit(130);
        }
    });
    progress::during("stopping", service.stop()).await;
    again.abort();
}

/// Waits for SIGTERM or Ctrl-C.
pub(super) async fn stop_signal() -> Result<(), CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::System)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
