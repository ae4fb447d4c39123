//! `vitals serve`: the service, until it is told to stop.

use super::{CommandError, progress};
use crate::config::Config;
use crate::pipeline::Service;
use crate::reload;
use std::path::{Path, PathBuf};
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
    tokio::select! {
        signal = stop_signal() => signal?,
        () = reload::follow(&service, args.config.as_deref()) => {}
    }
    stop(service).await;
    Ok(())
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
