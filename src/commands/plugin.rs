//! `vitals plugin`: the plugins, listed or checked.

use super::CommandError;
use crate::config::Config;
use crate::evaluate::host::{HostError, PluginInfo, PluginSet};
use std::path::{Path, PathBuf};

/// What `vitals plugin` takes.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:\n  vitals plugin list\n  vitals plugin check my-detector.wasm")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// List the plugins that the service would run
    #[command(after_help = "Examples:\n  vitals plugin list\n  vitals plugin list --config vitals.toml --json")]
    List {
        /// Configuration file, laid over the defaults
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Data folder of the service, where compiled plugins are kept
        #[arg(long, value_name = "DIR", default_value = "vitals-data")]
        data: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compile a component, start it under the configured limits, and say what it is
    #[command(
        after_help = "Examples:\n  vitals plugin check my-detector.wasm\n  vitals plugin check my-detector.wasm --with '{\"window\":50}'"
    )]
    Check {
        /// The component
        #[arg(value_name = "WASM")]
        file: PathBuf,
        /// Configuration file, laid over the defaults
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What is given to the plugin, a JSON object; without it what the configuration gives to a plugin of this file
        #[arg(long, value_name = "JSON")]
        with: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where compiled plugins are kept in the data folder.
#[must_use]
pub fn cache_dir(data: &Path) -> PathBuf {
    data.join("plugin-cache")
}

/// Lists or checks.
///
/// # Errors
/// When a plugin cannot be used.
pub fn run(args: &Args) -> Result<(), CommandError> {
    let is_check = matches!(args.what, What::Check { .. });
    let (infos, json) = match &args.what {
        What::List { config, data, json } => {
            let config = Config::load(config.as_deref())?;
            // What the service has compiled is used; where there is no service, nothing is made.
            let cache = Some(cache_dir(data)).filter(|folder| folder.is_dir());
            let folder = config.plugin_folder.as_deref();
            let set = PluginSet::load(&config.plugin_limits, folder, &config.plugins, cache.as_deref());
            let told = |error: HostError| error.each().iter().map(ToString::to_string).collect();
            let set = set.map_err(|error| CommandError::Problems(told(error)))?;
            (set.list(), *json)
        }
        What::Check { file, config, with, json } => {
            let config = Config::load(config.as_deref())?;
            let configured = config.plugins.iter().find(|plugin| plugin.path.as_ref() == Some(file));
            let given = match (with, configured) {
                (Some(text), _) => object(text)?,
                (None, Some(plugin)) => serde_json::Value::Object(plugin.config.clone()).to_string(),
                (None, None) => "{}".to_owned(),
            };
            let wrong = |reason: String| CommandError::Plugin { path: file.clone(), reason };
            let info =
                PluginSet::check(file, &given, &config.plugin_limits).map_err(|error| wrong(error.to_string()))?;
            (vec![info], *json)
        }
    };
    let text = match &infos[..] {
        _ if json => super::json(&infos),
        [info] if is_check => format!("{}\n{}", table(&infos), manifest(info)),
        _ => table(&infos),
    };
    println!("{text}");
    Ok(())
}

/// `text`, if it is a JSON object.
fn object(text: &str) -> Result<String, CommandError> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(_)) => Ok(text.to_owned()),
        Ok(other) => Err(CommandError::Usage(format!("--with is no JSON object but {other}"))),
        Err(error) => Err(CommandError::Usage(format!("--with is no JSON object: {error}"))),
    }
}

/// What a plugin says of itself: what it is shown, and what its configuration can be.
fn manifest(info: &PluginInfo) -> String {
    let all = |patterns: &[String]| if patterns.is_empty() { "all".to_owned() } else { patterns.join(", ") };
    let ticks = match info.interval_seconds {
        0 => "never".to_owned(),
        seconds => format!("every {seconds} s"),
    };
    let mut lines = vec![
        String::new(),
        format!("agents         {}", all(&info.agents)),
        format!("series         {}", if info.selects.is_empty() { "all" } else { "those that one of these chooses:" }),
    ];
    // Serialized without what is empty.
    for selector in &info.selects {
        let fields = serde_json::to_value(selector).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        let given = fields.filter(|(_, value)| value.as_array().is_some_and(|all| !all.is_empty()));
        let given: Vec<String> = given.map(|(name, value)| format!("{name} {value}")).collect();
        lines.push(format!("               - {}", given.join(", ")));
    }
    lines.push(format!("without data   {ticks}"));
    lines.push(format!("state version  {}", info.state_version));
    lines.push(format!("configuration  {}", super::json(&info.config_schema)));
    lines.join("\n")
}

fn table(infos: &[PluginInfo]) -> String {
    let kind =
        |info: &PluginInfo| serde_json::to_value(info.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let mut rows = vec![["NAME", "KIND", "VERSION", "DIGEST", "FROM"].map(str::to_owned)];
    rows.extend(infos.iter().map(|info| {
        let digest = info.digest.get(..12).unwrap_or(&info.digest).to_owned();
        [info.name.clone(), kind(info).unwrap_or_default(), info.version.clone(), digest, info.source.clone()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
