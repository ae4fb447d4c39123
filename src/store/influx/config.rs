//! Which server, and how it is written to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The section `[store.influxdb]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InfluxConfig {
    /// Address of the server.
    pub url: String,
    /// The organisation's name.
    pub org: String,
    /// The bucket's name.
    pub bucket: String,
    /// The token, from the variable `VITALS__STORE__INFLUXDB__TOKEN`; it wins over `token_file`.
    #[serde(skip_serializing)]
    pub token: Option<Secret>,
    /// A file with the token; read again when the server refuses the one that is known.
    pub token_file: Option<PathBuf>,
    /// Lines in one write, at most.
    pub batch_lines: usize,
    /// Bytes of one write before compression, about, at most.
    pub batch_bytes: usize,
    /// How long fewer lines than `batch_lines` wait for more, milliseconds.
    pub flush_millis: u64,
    /// Writes under way at once.
    pub writes_in_flight: usize,
    /// How long a write or a query may take, seconds.
    pub timeout_seconds: u64,
    /// The longest pause between attempts, seconds.
    pub retry_max_seconds: u64,
    /// Bytes that may wait for the server, about; past that evaluation waits, and so the log fills.
    pub outbox_max_bytes: u64,
}

impl Default for InfluxConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8086".into(),
            org: "vitals".into(),
            bucket: "vitals".into(),
            token: None,
            token_file: None,
            batch_lines: 5000,
            batch_bytes: 8 << 20,
            flush_millis: 1000,
            writes_in_flight: 4,
            timeout_seconds: 10,
            retry_max_seconds: 30,
            outbox_max_bytes: 8 << 30,
        }
    }
}

impl InfluxConfig {
    /// Whether the settings can be used.
    ///
    /// # Errors
    /// The first one that cannot, with its key and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        let url = reqwest::Url::parse(&self.url);
        let scheme = url.as_ref().map(reqwest::Url::scheme);
        if !matches!(scheme, Ok("http" | "https")) {
            return Err(format!(
                "store.influxdb.url = {:?} is no address; write it as http://127.0.0.1:8086",
                self.url
            ));
        }
        for (key, value) in [("org", &self.org), ("bucket", &self.bucket)] {
            if value.is_empty() {
                return Err(format!("store.influxdb.{key} is empty; name one that exists"));
            }
        }
        for (key, value) in [
            ("batch_lines", self.batch_lines as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("writes_in_flight", self.writes_in_flight as u64),
            ("timeout_seconds", self.timeout_seconds),
            ("retry_max_seconds", self.retry_max_seconds),
            ("outbox_max_bytes", self.outbox_max_bytes),
        ] {
            if value == 0 {
                return Err(format!("store.influxdb.{key} must be at least 1"));
            }
        }
        Ok(())
    }

    /// What is not there yet and may come: the token.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        match self.read_token() {
            Err(reason) => Some(reason),
            Ok(token) if token.0.is_empty() => Some(
                "store.influxdb has no token; set VITALS__STORE__INFLUXDB__TOKEN or store.influxdb.token_file"
                    .to_owned(),
            ),
            Ok(_) => None,
        }
    }

    /// The token as of now; empty when there is none.
    pub(super) fn read_token(&self) -> Result<Secret, String> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(|text| Secret(text.trim().to_owned()))
                .map_err(|error| format!("store.influxdb.token_file = {}: {error}", path.display())),
            (None, None) => Ok(Secret::default()),
        }
    }
}
