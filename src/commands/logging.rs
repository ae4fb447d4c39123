//! Logs: to stderr, for people or as JSON.

use super::throttle::Throttle;
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

/// `--log-format`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// What our own code is called in a filter.
const OWN: [&str; 2] = ["vitals", "vitals_core"];

/// `debug` alone means ours: at that level the libraries below write several lines for each frame and each compiled function. Who
/// wants theirs names them, as in `debug,h2=debug`.
fn ours(filter: &str) -> String {
    let bare = |part: &str| ["debug", "trace"].into_iter().find(|level| part.trim().eq_ignore_ascii_case(level));
    let parts = filter.split(',').map(|part| match bare(part) {
        Some(level) => format!("info,{}", OWN.map(|name| format!("{name}={level}")).join(",")),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Starts logging: what `filter` says, else the variable `VITALS_LOG`, else `default`.
pub fn start(format: Format, filter: Option<&str>, default: &str) {
    let variable = std::env::var("VITALS_LOG").ok();
    let wanted = filter.or(variable.as_deref()).filter(|f| !f.is_empty()).unwrap_or(default);
    let (parsed, complaint) = match EnvFilter::try_new(ours(wanted)) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let throttle = Throttle::default();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let started = Registry::default().with(parsed).with(lines.with_filter(throttle.clone())).try_init();
    // A second start (in one process, as tests do) keeps the first one's subscriber.
    if started.is_err() {
        return;
    }
    throttle.report_regularly();
    if let Some(error) = complaint {
        tracing::warn!(filter = wanted, %error, "the log filter cannot be read; logging at {default}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_means_our_own_code() {
        for (filter, expect) in [
            ("info", "info"),
            ("debug", "info,vitals=debug,vitals_core=debug"),
            ("TRACE", "info,vitals=trace,vitals_core=trace"),
            ("debug,h2=debug", "info,vitals=debug,vitals_core=debug,h2=debug"),
            ("info,vitals::store=debug", "info,vitals::store=debug"),
            ("vitals[rest]=debug", "vitals[rest]=debug"),
        ] {
            assert_eq!(ours(filter), expect);
            EnvFilter::try_new(ours(filter)).unwrap();
        }
    }
}
