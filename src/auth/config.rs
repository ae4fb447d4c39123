//! The settings of tokens, and why they cannot be used.

use super::secret::{KEY_VARIABLE, SHORTEST_SECRET};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Most leeway for clocks that disagree.
const MOST_LEEWAY: u64 = 30;

/// The settings by which tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether the OTLP listeners ask for a token too (REST always does).
    pub otlp: bool,
    /// A file with the HS256 secret, at least 32 bytes of text; the environment variable `VITALS_AUTH_KEY` wins.
    pub key_file: Option<PathBuf>,
    /// A JWKS file; read again when it changes.
    pub jwks_file: Option<PathBuf>,
    /// A JWKS URL (`https`, or `http` on loopback).
    pub jwks_url: Option<String>,
    /// The JWKS URL is fetched this often, so that a withdrawn key goes.
    pub jwks_refresh_seconds: u64,
    /// A key that is not known has the URL fetched again, but not sooner than this after the last fetch.
    pub jwks_least_seconds: u64,
    /// The `iss` that a token must have, if set.
    pub issuer: Option<String>,
    /// The audience that a token's `aud` must contain, if set.
    pub audience: Option<String>,
    /// Seconds by which clocks may disagree, at most 30.
    pub leeway_seconds: u64,
    /// Lets listeners without authentication leave loopback.
    pub insecure: bool,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            otlp: false,
            key_file: None,
            jwks_file: None,
            jwks_url: None,
            jwks_refresh_seconds: 600,
            jwks_least_seconds: 30,
            issuer: None,
            audience: None,
            leeway_seconds: 5,
            insecure: false,
        }
    }
}

/// A reason for which the settings of tokens cannot be used, or a token cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file cannot be read or made.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The secret is too short to be one.
    #[error("the HS256 secret from {origin} has {length} bytes; it needs at least {SHORTEST_SECRET}")]
    ShortSecret {
        /// Its origin: a variable or a file.
        origin: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The key set is not one.
    #[error("{path} is not a JSON Web Key Set: {source}")]
    KeySet {
        /// Which file.
        path: PathBuf,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The URL of the key set would be fetched over an open line.
    #[error("jwks_url {0} must start with https:// (http:// only on loopback)")]
    OpenUrl(String),
    /// The leeway is more than clocks need.
    #[error("leeway_seconds is {0}, at most {MOST_LEEWAY} are allowed")]
    Leeway(u64),
    /// The system gives no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// The thread that fetches keys cannot be started.
    #[error("cannot start the thread that fetches keys: {0}")]
    Thread(io::Error),
    /// Only public keys are known, so no token can be signed here.
    #[error("no HS256 secret is configured: tokens come from the issuer of the key set")]
    NoSecret,
    /// There is no key to sign with, and none is made here.
    #[error(
        "there is no key {path}; name the service's data folder with --data (`vitals serve` makes the key when it \
         starts for the first time), or its secret with auth.key_file or {KEY_VARIABLE}"
    )]
    NoKey {
        /// The path at which it was looked for.
        path: PathBuf,
    },
    /// A token could not be signed.
    #[error("cannot sign the token: {0}")]
    Sign(jsonwebtoken::errors::Error),
}

/// Refuses a leeway that is longer than clocks need.
pub(super) fn check_leeway(config: &AuthConfig) -> Result<(), AuthError> {
    if config.leeway_seconds > MOST_LEEWAY { Err(AuthError::Leeway(config.leeway_seconds)) } else { Ok(()) }
}
