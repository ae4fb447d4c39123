//! What a user types.
//!
//! - [`serve`]: the service
//! - [`demo`]: the service with a simulated fleet
//! - [`token`]: a token for REST
//! - [`open`]: a link that signs in at the page
//! - [`config`]: the configuration, checked or shown
//! - [`plugin`]: the plugins, listed or checked
//! - [`store`]: whether the store can be used
//! - [`load`]: OTLP at a rate
//!
//! Results go to stdout, logs and progress to stderr.

pub mod config;
pub mod demo;
pub mod load;
pub mod logging;
pub mod open;
pub mod plugin;
pub mod progress;
pub mod serve;
pub mod store;
mod throttle;
pub mod token;

use crate::auth::AuthError;
use crate::config::{ConfigError, listed};
use crate::evaluate::host::HostError;
use crate::pipeline::StartError;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// OTLP metrics and heartbeats in; health, outlier and SLA verdicts out
#[derive(Parser, Debug)]
#[command(
    name = "vitals",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  vitals demo                       everything at once, with a simulated fleet
  vitals serve                      OTLP on 4317 and 4318, REST on 8080, data in ./vitals-data
  vitals token --subject me --email me@example.com"
)]
struct Cli {
    /// How logs are written to stderr
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: logging::Format,
    /// What is logged, e.g. `debug` or `info,vitals::store=debug`; VITALS_LOG says the same
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the service
    Serve(serve::Args),
    /// Run the service with a simulated fleet, and show what to look at
    Demo(demo::Args),
    /// Print a token for REST (and OTLP, if it asks for one)
    Token(token::Args),
    /// Print a link that signs in at the page of a running service
    Open(open::Args),
    /// Check or show the configuration
    Config(config::Args),
    /// List or check plugins
    Plugin(plugin::Args),
    /// Check whether InfluxDB can be used as the store
    Store(store::Args),
    /// Send OTLP metrics at a rate and account for every point
    Load(load::Args),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The service does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The other side cannot be used.
    #[error("{target}: {reason}")]
    Target {
        /// Its address.
        target: String,
        /// What is wrong.
        reason: String,
    },
    /// A plugin is not one.
    #[error("{path}: {reason}", path = path.display())]
    Plugin {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The command ran, and what it found is not as it should be.
    #[error("{0}")]
    Found(String),
    /// The configuration would not work.
    #[error("{}", listed(.0))]
    Problems(Vec<String>),
    /// The process cannot have what it needs.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

impl CommandError {
    /// What is to be said, one problem each.
    fn problems(&self) -> Vec<String> {
        fn texts(all: &[impl ToString]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        match self {
            Self::Problems(all) => all.clone(),
            Self::Config(ConfigError::Several(all)) => texts(all),
            Self::Start(StartError::Several(all)) => texts(all),
            Self::Start(StartError::Plugin(HostError::Several(all))) => texts(all),
            other => vec![other.to_string()],
        }
    }
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let default = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
    logging::start(cli.log_format, cli.log.as_deref(), default);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::clear();
            error.problems().iter().for_each(|problem| eprintln!("vitals: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("vitals-io")
            .build()
            .map_err(CommandError::System)
    };
    match command {
        Command::Serve(args) => runtime()?.block_on(serve::run(args)),
        Command::Demo(args) => runtime()?.block_on(demo::run(args)),
        Command::Load(args) => runtime()?.block_on(load::run(args)),
        Command::Token(args) => token::run(args),
        Command::Open(args) => runtime()?.block_on(open::run(args)),
        Command::Config(args) => {
            let runtime = runtime()?;
            let _inside = runtime.enter();
            config::run(&args)
        }
        Command::Plugin(args) => plugin::run(&args),
        Command::Store(args) => store::run(&args),
    }
}

/// `500ms`, `30s`, `5m`, `1h`, `7d`.
///
/// # Errors
/// One sentence when it is none of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 500ms, 30s, 5m, 1h or 7d");
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let number: f64 = text[..unit_at].parse().map_err(|_| wrong())?;
    let seconds = match &text[unit_at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// A value as indented JSON.
fn json(value: &impl serde::Serialize) -> String {
    // Only maps with keys that are no text, and values that refuse, can fail; reports have neither.
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_an_example() {
        let mut cli = Cli::command();
        cli.build();
        let mut open = vec![&cli];
        while let Some(command) = open.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let usable = command.get_name() != "help";
            assert!(!usable || help.contains("vitals "), "{} has no example", command.get_name());
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help"));
        }
        Cli::command().debug_assert();
    }

    /// Examples that cannot be parsed would be worse than none.
    #[test]
    fn every_example_parses() {
        let mut cli = Cli::command();
        cli.build();
        let mut open = vec![cli];
        let mut tried = 0;
        while let Some(command) = open.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|line| line.starts_with("vitals ")) {
                // Two spaces begin the explanation, ` > ` is the shell's; `$(...)` stands for a token.
                let line = line.split("  ").next().unwrap_or_default();
                let line = line.split(" > ").next().unwrap_or_default();
                let line = match (line.find("\"$("), line.find(")\"")) {
                    (Some(from), Some(to)) => format!("{}TOKEN{}", &line[..from], &line[to + 2..]),
                    _ => line.to_owned(),
                };
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                tried += 1;
            }
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        }
        assert!(tried >= 12, "{tried}");
    }

    #[test]
    fn durations() {
        for (text, expect) in [
            ("500ms", Some(0.5)),
            ("30s", Some(30.0)),
            ("1.5m", Some(90.0)),
            ("1h", Some(3600.0)),
            ("7d", Some(604_800.0)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1w", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_secs_f64()), expect, "{text}");
        }
    }
}
