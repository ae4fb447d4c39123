//! New settings without a restart: when the file is read again.

use crate::config::{Config, ConfigError};
use crate::pipeline::{Reloaded, Service};
use std::future::pending;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Reads the settings again whenever `file` changes, and at SIGHUP. What cannot be used changes nothing and is logged.
/// Runs until it is dropped.
pub async fn follow(service: &Service, file: Option<&Path>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be listened for; the configuration is read again when its file changes");
            None
        }
    };
    let mut in_force = text(file);
    let mut seen = in_force.clone();
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => pending().await,
            }
        };
        let asked = tokio::select! {
            () = hung_up => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let now = text(file);
        // Twice the same: nobody is writing it right now.
        let settled = now == seen;
        seen.clone_from(&now);
        if asked || (settled && now != in_force) {
            in_force = now;
            again(service, file, asked).await;
        }
    }
}

/// What the file holds; `None` while it cannot be read, e.g. between an editor's deleting and making it.
fn text(file: Option<&Path>) -> Option<String> {
    file.and_then(|file| std::fs::read_to_string(file).ok())
}

async fn again(service: &Service, file: Option<&Path>, asked: bool) {
    let applied = match Config::read(file) {
        Ok(config) => service.reload(config, asked).await.map_err(|error| error.to_string()),
        Err(error) => Err::<_, String>(ConfigError::to_string(&error)),
    };
    let (result, refused) = match applied {
        Ok(Reloaded { changed, needs_restart }) => {
            let changed = if changed.is_empty() { "no setting".to_owned() } else { changed.join(", ") };
            if needs_restart.is_empty() {
                tracing::info!(changed, "the configuration was read again and is in force");
            } else {
                tracing::warn!(
                    changed,
                    settings = needs_restart.join(", "),
                    "the configuration was read again and is in force, but for settings that need a restart"
                );
            }
            ("applied", 0.0)
        }
        Err(reason) => {
            tracing::error!(
                reason,
                "the configuration was read again and cannot be used; the one before stays in force"
            );
            ("refused", 1.0)
        }
    };
    metrics::counter!("vitals_config_reloads_total", "result" => result).increment(1);
    metrics::gauge!("vitals_config_refused").set(refused);
}
