//! Channels: where notifications go.

use super::signature::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a channel is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Prometheus Alertmanager, its API v2.
    Alertmanager,
    /// One signed JSON message a notification.
    Webhook,
}

impl ChannelKind {
    /// As it is written in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }
}

/// One channel.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// What `notification_channels` calls it.
    pub name: String,
    /// How it is spoken to.
    pub kind: ChannelKind,
    /// Where it is. An Alertmanager's own address; `/api/v2/alerts` is added.
    pub url: String,
    /// The variable with a webhook's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The file with a webhook's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// How long one attempt may take.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
    /// How long one notification is tried again before it is given up and counted.
    #[serde(default = "hour")]
    pub retry_seconds: u64,
    /// Notifications that may wait; past that the newest is given up and counted.
    #[serde(default = "ten_thousand")]
    pub queue: usize,
    /// Requests of a webhook that are under way at once, at most.
    #[serde(default = "eight")]
    pub requests_in_flight: usize,
    /// How often an Alertmanager is told again of what is open; it takes an alert for over after four times this.
    #[serde(default = "minute")]
    pub repeat_seconds: u64,
}

fn ten() -> u64 {
    10
}

fn hour() -> u64 {
    3_600
}

fn eight() -> usize {
    8
}

fn ten_thousand() -> usize {
    10_000
}

fn minute() -> u64 {
    60
}

/// URLs may hold a name and a password.
impl std::fmt::Debug for ChannelConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelConfig").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why a channel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It has no name.
    #[error("channels: a channel has no name")]
    Nameless,
    /// Two have one name.
    #[error("channels: {0:?} is there twice; each channel has a name of its own")]
    Twice(String),
    /// Its address is none.
    #[error("channels: the url of {name:?} cannot be used: {reason}; write it as http://host:9093")]
    Url {
        /// Which channel.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A number is 0.
    #[error("channels: {key} of {name:?} is 0, must be at least 1")]
    Zero {
        /// Which channel.
        name: String,
        /// Which number.
        key: &'static str,
    },
    /// A webhook's receiver could not tell who sent it.
    #[error("channels: {0:?} is a webhook and needs a secret; set secret_env or secret_file, one of them")]
    Unsigned(String),
    /// The secret is not there.
    #[error("channels: the secret of {name:?} cannot be read from {place}: {reason}")]
    Secret {
        /// Which channel.
        name: String,
        /// The variable or file.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// All that is wrong with a table of channels, as it is written. Secrets are not looked for.
#[must_use]
pub fn problems(channels: &[ChannelConfig]) -> Vec<ChannelError> {
    let mut found = Vec::new();
    for (at, channel) in channels.iter().enumerate() {
        let name = || channel.name.clone();
        if channel.name.is_empty() {
            found.push(ChannelError::Nameless);
        } else if channels[..at].iter().any(|other| other.name == channel.name) {
            found.push(ChannelError::Twice(name()));
        }
        found.extend(channel.target().err());
        for (key, number) in [
            ("timeout_seconds", channel.timeout_seconds),
            ("queue", channel.queue as u64),
            ("requests_in_flight", channel.requests_in_flight as u64),
            ("repeat_seconds", channel.repeat_seconds),
        ] {
            if number == 0 {
                found.push(ChannelError::Zero { name: name(), key });
            }
        }
        if channel.kind == ChannelKind::Webhook && channel.secret_env.is_some() == channel.secret_file.is_some() {
            found.push(ChannelError::Unsigned(name()));
        }
    }
    found
}

/// All that channels, whose table is right, cannot be used for: secrets that are not there.
#[must_use]
pub fn unusable(channels: &[ChannelConfig]) -> Vec<ChannelError> {
    let webhooks = channels.iter().filter(|channel| channel.kind == ChannelKind::Webhook);
    let signed = webhooks.filter(|channel| channel.secret_env.is_some() != channel.secret_file.is_some());
    signed.filter_map(|channel| channel.secret().err()).collect()
}

impl ChannelConfig {
    /// Where requests go.
    pub(super) fn target(&self) -> Result<reqwest::Url, ChannelError> {
        let wrong = |reason: String| ChannelError::Url { name: self.name.clone(), reason };
        let mut url = reqwest::Url::parse(&self.url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("the scheme {} is not http or https", url.scheme())));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it has no host".to_owned()));
        }
        if self.kind == ChannelKind::Alertmanager {
            let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(url)
    }

    /// A webhook's secret.
    pub(super) fn secret(&self) -> Result<Secret, ChannelError> {
        let (place, text) = match (&self.secret_env, &self.secret_file) {
            (Some(name), None) => {
                (format!("the variable {name}"), std::env::var(name).map_err(|error| error.to_string()))
            }
            (None, Some(path)) => {
                (path.display().to_string(), std::fs::read_to_string(path).map_err(|error| error.to_string()))
            }
            _ => return Err(ChannelError::Unsigned(self.name.clone())),
        };
        text.and_then(|text| Secret::parse(text.trim())).map_err(|reason| ChannelError::Secret {
            name: self.name.clone(),
            place,
            reason,
        })
    }
}
