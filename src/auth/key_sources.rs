//! Where public keys come from: a file that is read again when it changes, and a URL that is fetched from time to time.

use super::config::{AuthConfig, AuthError};
use super::key_set::KeySet;
use crate::workers;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use jsonwebtoken::{DecodingKey, Header};
use parking_lot::{Mutex, RwLock};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The time between two looks at a JWKS file's time of change.
pub(super) const FILE_CHECK: Duration = Duration::from_secs(1);

/// The longest time for one fetch; start waits for the first one.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of a key set.
const LARGEST_KEY_SET: usize = 1 << 20;

/// The keys of a file.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// When it was looked at last, and its time of change and length then.
    pub(super) seen: Mutex<(Instant, Option<(SystemTime, u64)>)>,
    pub(super) keys: RwLock<KeySet>,
}

impl KeyFile {
    pub(super) fn open(path: &Path) -> Result<Self, AuthError> {
        let changed = Self::stamp(path);
        let keys = Self::read(path)?;
        let seen = Mutex::new((Instant::now(), changed));
        Ok(Self { path: path.to_owned(), seen, keys: RwLock::new(keys) })
    }

    fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
        fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok()
    }

    fn read(path: &Path) -> Result<KeySet, AuthError> {
        let text = fs::read(path).map_err(|source| AuthError::File { path: path.to_owned(), source })?;
        KeySet::parse(&text).map_err(|source| AuthError::KeySet { path: path.to_owned(), source })
    }

    /// The key that `header` names, after the file was read again if it changed.
    pub(super) fn find(&self, header: &Header) -> Option<DecodingKey> {
        self.refresh();
        self.keys.read().find(header)
    }

    /// Reads the file again if it changed. A file that cannot be used changes nothing.
    fn refresh(&self) {
        let Some(mut seen) = self.seen.try_lock() else { return };
        if seen.0.elapsed() < FILE_CHECK {
            return;
        }
        seen.0 = Instant::now();
        let changed = Self::stamp(&self.path);
        if changed == seen.1 {
            return;
        }
        seen.1 = changed;
        match Self::read(&self.path) {
            Ok(keys) => {
                tracing::info!(path = %self.path.display(), "read the changed key set");
                *self.keys.write() = keys;
            }
            Err(error) => tracing::error!(%error, "the changed key set is not used; the earlier keys stay"),
        }
    }
}

/// The keys of a URL, which a thread fetches.
pub(super) struct KeyUrl {
    pub(super) keys: Arc<RwLock<KeySet>>,
    pub(super) wanted: Sender<()>,
}

impl KeyUrl {
    /// Starts the thread that fetches, and waits a little for its first answer.
    pub(super) fn start(url: &str, config: &AuthConfig) -> Result<Self, AuthError> {
        check_url(url)?;
        let keys = Arc::new(RwLock::new(KeySet::default()));
        let (wanted, asked) = crossbeam_channel::bounded(1);
        let (tried, first) = crossbeam_channel::bounded(1);
        let (url, target) = (url.to_owned(), keys.clone());
        let (refresh, least) =
            (Duration::from_secs(config.jwks_refresh_seconds.max(1)), Duration::from_secs(config.jwks_least_seconds));
        workers::spawn("keys", move || fetch_loop(&url, &target, (refresh, least), &asked, &tried))
            .map_err(AuthError::Thread)?;
        if first.recv_timeout(FETCH_TIMEOUT + Duration::from_secs(1)).is_err() {
            tracing::warn!("the key set has not come yet; it is tried again");
        }
        Ok(Self { keys, wanted })
    }

    /// The key that `header` names. One that is not known has the URL fetched again.
    pub(super) fn find(&self, header: &Header) -> Option<DecodingKey> {
        let found = self.keys.read().find(header);
        if found.is_none() {
            // Full means that a fetch is asked for already.
            if let Err(TrySendError::Disconnected(())) = self.wanted.try_send(()) {
                tracing::error!("the thread that fetches keys has ended");
            }
        }
        found
    }
}

/// Refuses a URL from which keys would come over an open line.
pub(super) fn check_url(url: &str) -> Result<(), AuthError> {
    let parsed: http::Uri = url.parse().map_err(|_| AuthError::OpenUrl(url.to_owned()))?;
    let loopback = matches!(parsed.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match parsed.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if loopback => Ok(()),
        _ => Err(AuthError::OpenUrl(url.to_owned())),
    }
}

/// Fetches the key set at once, every `refresh`, and when asked, but not sooner than `least` after the last time.
/// Ends when nobody can ask any more.
fn fetch_loop(
    url: &str,
    keys: &RwLock<KeySet>,
    (refresh, least): (Duration, Duration),
    asked: &Receiver<()>,
    tried: &Sender<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no keys will be fetched");
            return;
        }
    };
    loop {
        let begun = Instant::now();
        match runtime.block_on(fetch(url)) {
            Ok(set) => *keys.write() = set,
            Err(error) => tracing::warn!(%error, url, "the key set could not be fetched; the earlier keys stay"),
        }
        // Only start waits for this; nobody listens later.
        let _ = tried.try_send(());
        match asked.recv_timeout(refresh) {
            Ok(()) => {
                std::thread::sleep(least.saturating_sub(begun.elapsed()));
            }
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A reason for which a key set was not fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("more than {LARGEST_KEY_SET} bytes")]
    TooLarge,
    #[error(transparent)]
    NoKeySet(#[from] serde_json::Error),
}

async fn fetch(url: &str) -> Result<KeySet, FetchError> {
    let client =
        reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let mut answer = answer?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LARGEST_KEY_SET {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(KeySet::parse(&body)?)
}
