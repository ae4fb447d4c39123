//! `vitals store`: whether InfluxDB can be used as the store.

use super::CommandError;
use crate::config::Config;
use crate::store::StoreKind;
use crate::store::influx::check::check;
use std::path::PathBuf;

/// What `vitals store` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  vitals store check --config vitals.toml")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Say whether server, token, organisation, bucket and permissions are as [store.influxdb] needs them
    #[command(
        after_help = "Examples:\n  vitals store check --config vitals.toml\n  vitals store check --config vitals.toml --create"
    )]
    Check {
        /// Configuration file, laid over the defaults
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Make the bucket if it is not there, with the configured retention
        #[arg(long)]
        create: bool,
    },
}

/// Prints a line for each thing that is needed.
///
/// # Errors
/// When one of them is not as it should be.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let What::Check { config, create } = &args.what;
    let config = Config::load(config.as_deref())?;
    let failed = |error: vitals_core::store::StoreError| CommandError::Found(error.to_string());
    let findings = check(&config.store(), *create).map_err(failed)?;
    let mut bad = 0;
    for finding in &findings {
        match &finding.found {
            Ok(text) => println!("ok      {:13} {text}", finding.what),
            Err(text) => {
                bad += 1;
                println!("failed  {:13} {text}", finding.what);
            }
        }
    }
    if bad > 0 {
        return Err(CommandError::Found("InfluxDB cannot be used as the store yet".into()));
    }
    if config.store.kind != StoreKind::InfluxDb {
        println!("note    store.kind is \"embedded\"; set it to \"influxdb\" to use this");
    }
    Ok(())
}
