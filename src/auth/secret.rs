//! The HS256 secret: configured, or made on the first start.

use super::config::{AuthConfig, AuthError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// The environment variable that holds the HS256 secret.
pub const KEY_VARIABLE: &str = "VITALS_AUTH_KEY";

/// The file in the data folder that holds the secret made on first start.
pub const KEY_FILE: &str = "auth.key";

/// RFC 7518, section 3.2: a key at least as long as the hash.
pub(super) const SHORTEST_SECRET: usize = 32;

/// A secret, ready to sign and to verify.
pub(super) struct Secret {
    pub(super) signs: EncodingKey,
    pub(super) verifies: DecodingKey,
}

impl Secret {
    pub(super) fn new(bytes: &[u8], origin: &str) -> Result<Self, AuthError> {
        if bytes.len() < SHORTEST_SECRET {
            return Err(AuthError::ShortSecret { origin: origin.to_owned(), length: bytes.len() });
        }
        Ok(Self { signs: EncodingKey::from_secret(bytes), verifies: DecodingKey::from_secret(bytes) })
    }

    /// The secret that is configured, or the one in the data folder; `None` when there are public keys only.
    pub(super) fn find(
        config: &AuthConfig,
        data_dir: &Path,
        variable: Option<String>,
    ) -> Result<Option<Self>, AuthError> {
        let has_set = config.jwks_file.is_some() || config.jwks_url.is_some();
        match (variable, &config.key_file) {
            (Some(text), _) => Self::new(text.trim().as_bytes(), KEY_VARIABLE).map(Some),
            (None, Some(path)) => Self::read(path).map(Some),
            (None, None) if has_set => Ok(None),
            (None, None) => {
                let path = data_dir.join(KEY_FILE);
                if path.exists() { Self::read(&path).map(Some) } else { Err(AuthError::NoKey { path }) }
            }
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, AuthError> {
        let text = fs::read_to_string(path).map_err(|source| AuthError::File { path: path.to_owned(), source })?;
        warn_if_shared(path);
        Self::new(text.trim().as_bytes(), &path.display().to_string())
    }
}

#[cfg(unix)]
fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let shared = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    if shared {
        tracing::warn!(path = %path.display(), "the secret can be read by others than its owner; chmod 600 it");
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path) {}

/// Makes the data folder if it is not there, for nobody else to read: it holds what was sent, and the key.
///
/// # Errors
/// When the system refuses.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes a fresh secret to `path`, unless someone else does so first.
pub(super) fn make_secret(data_dir: &Path, path: &Path) -> Result<(), AuthError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(AuthError::Random)?;
    let file_error = |source| AuthError::File { path: path.to_owned(), source };
    make_folder(data_dir).map_err(file_error)?;
    // Written whole under another name first: nobody ever reads half a secret.
    let draft = data_dir.join(format!(".{KEY_FILE}.{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = options.open(&draft).and_then(|mut file| {
        writeln!(file, "{}", URL_SAFE_NO_PAD.encode(bytes))?;
        file.sync_all()?;
        fs::hard_link(&draft, path)
    });
    // A draft that stays behind harms nobody; the next start replaces it.
    let _ = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(file_error),
    }
}
