//! `vitals config`: the configuration, checked or shown.

use super::CommandError;
use crate::config::{Config, DEFAULT};
use crate::pipeline::Service;
use std::path::PathBuf;

/// What `vitals config` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:\n  vitals config default > vitals.toml\n  vitals config check --config vitals.toml")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// Say whether the service would start with this configuration, and all that is wrong with it
    ///
    /// Secrets, keys, rules and plugins that it names are read, plugins are compiled and given their settings, and
    /// addresses are tried; nothing is made or changed.
    #[command(
        after_help = "Examples:\n  vitals config check --config vitals.toml\n  vitals config check --config vitals.toml --data /var/lib/vitals"
    )]
    Check {
        #[command(flatten)]
        layers: Layers,
        /// Data folder of the service; it need not be there yet
        #[arg(long, value_name = "DIR", default_value = "vitals-data")]
        data: PathBuf,
    },
    /// Print the settings that hold: defaults, file and environment together, without secrets
    #[command(after_help = "Examples:\n  vitals config show\n  vitals config show --config vitals.toml")]
    Show(Layers),
    /// Print every setting with its default and what it means
    #[command(after_help = "Example:\n  vitals config default > vitals.toml")]
    Default,
}

#[derive(clap::Args, Clone, Debug)]
struct Layers {
    /// Configuration file, laid over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints what was asked for.
///
/// # Errors
/// When the configuration cannot be used. To be called inside a tokio runtime.
pub fn run(args: &Args) -> Result<(), CommandError> {
    match &args.what {
        What::Check { layers, data } => {
            let config = Config::read(layers.config.as_deref())?;
            let problems = Service::problems(&config, data);
            if !problems.is_empty() {
                return Err(CommandError::Problems(problems));
            }
            let what = layers.config.as_ref().map_or("the defaults".to_owned(), |path| path.display().to_string());
            println!("{what}: can be used");
        }
        What::Show(layers) => print!("{}", Config::load(layers.config.as_deref())?.shown()),
        What::Default => print!("{DEFAULT}"),
    }
    Ok(())
}
