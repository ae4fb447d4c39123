//! Logs: to stderr, for people or as JSON.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// `--log-format`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging: what `filter` says, else the variable `VITALS_LOG`, else `default`.
pub fn start(format: Format, filter: Option<&str>, default: &str) {
    let variable = std::env::var("VITALS_LOG").ok();
    let wanted = filter.or(variable.as_deref()).filter(|f| !f.is_empty()).unwrap_or(default);
    let (parsed, complaint) = match EnvFilter::try_new(wanted) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let started = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    // A second start (in one process, as tests do) keeps the first one's subscriber.
    if started.is_ok()
        && let Some(error) = complaint
    {
        tracing::warn!(filter = wanted, %error, "the log filter cannot be read; logging at {default}");
    }
}
