//! Tokens: who a caller is, and what they may touch.
//!
//! - `config`: the settings; `secret`, `key_set`, `key_sources`: the keys
//! - `verification`: from an `Authorization` header to a [`Caller`](vitals_core::caller::Caller)
//! - `issuing`: tokens of our own; `scopes`: the names of scopes
//!
//! HS256 with one secret of our own (shared with an IntelliBrowse that issues tokens, or made on first
//! start), and RS256, ES256 or EdDSA with the public keys of a JWKS file or URL. The algorithm belongs to the
//! key, never to the token; headers that point at keys (`jku`, `x5u`, `jwk`, `x5c`) are not looked at.

mod config;
mod issuing;
mod key_set;
mod key_sources;
mod scopes;
mod secret;
#[cfg(test)]
mod tests;
mod verification;

pub use config::{AuthConfig, AuthError};
pub use issuing::TokenRequest;
pub use scopes::scope_name;
pub use secret::{KEY_FILE, KEY_VARIABLE, make_folder};
pub use verification::Denied;

use config::check_leeway;
use key_sources::{KeyFile, KeyUrl, check_url};
use secret::{Secret, make_secret};
use std::path::Path;

/// Verifies tokens, and issues them.
pub struct Auth {
    secret: Option<Secret>,
    file: Option<KeyFile>,
    url: Option<KeyUrl>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
}

impl Auth {
    /// Reads the keys that `config` names. With neither a secret nor a key set configured, the secret is
    /// `auth.key` in `data_dir`: 256 random bits, made on first start, readable by the owner only.
    ///
    /// # Errors
    /// When a file cannot be used, the secret is too short, or the URL is not safe. A URL that does not answer is
    /// no error: it is tried again.
    pub fn load(config: &AuthConfig, data_dir: &Path) -> Result<Self, AuthError> {
        let from_environment = std::env::var(KEY_VARIABLE).ok();
        Self::load_with(config, data_dir, from_environment)
    }

    fn load_with(config: &AuthConfig, data_dir: &Path, variable: Option<String>) -> Result<Self, AuthError> {
        check_leeway(config)?;
        let secret = match Secret::find(config, data_dir, variable) {
            Err(AuthError::NoKey { path }) => {
                make_secret(data_dir, &path)?;
                Some(Secret::read(&path)?)
            }
            found => found?,
        };
        Ok(Self {
            secret,
            file: config.jwks_file.as_deref().map(KeyFile::open).transpose()?,
            url: config.jwks_url.as_deref().map(|url| KeyUrl::start(url, config)).transpose()?,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway_seconds,
        })
    }

    /// All that keeps [`Auth::load`] from succeeding. Nothing is made or fetched; a key that is still to be made is none
    /// of it.
    #[must_use]
    pub fn problems(config: &AuthConfig, data_dir: &Path) -> Vec<AuthError> {
        Self::problems_with(config, data_dir, std::env::var(KEY_VARIABLE).ok())
    }

    fn problems_with(config: &AuthConfig, data_dir: &Path, variable: Option<String>) -> Vec<AuthError> {
        let secret = Secret::find(config, data_dir, variable).err();
        let secret = secret.filter(|error| !matches!(error, AuthError::NoKey { .. }));
        let file = config.jwks_file.as_deref().and_then(|path| KeyFile::open(path).err());
        let url = config.jwks_url.as_deref().and_then(|url| check_url(url).err());
        [check_leeway(config).err(), secret, file, url].into_iter().flatten().collect()
    }

    /// An issuer of tokens, from a secret that is there. Nothing is made or fetched.
    ///
    /// # Errors
    /// When there is no secret, or it cannot be used.
    pub fn signer(config: &AuthConfig, data_dir: &Path) -> Result<Self, AuthError> {
        let secret = Secret::find(config, data_dir, std::env::var(KEY_VARIABLE).ok())?;
        let leeway = config.leeway_seconds;
        Ok(Self { secret, file: None, url: None, issuer: None, audience: None, leeway })
    }

    /// A verifier with one HS256 secret only.
    ///
    /// # Errors
    /// When the secret is shorter than 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, AuthError> {
        let leeway = AuthConfig::default().leeway_seconds;
        let secret = Some(Secret::new(secret, "the caller")?);
        Ok(Self { secret, file: None, url: None, issuer: None, audience: None, leeway })
    }
}
