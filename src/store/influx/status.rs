//! What the sending side says of itself, and what is said to it.

use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How sending goes.
#[derive(Default)]
pub(super) struct Status {
    trouble: Mutex<Option<String>>,
    refused: AtomicU64,
    refusal: Mutex<Option<String>>,
}

impl Status {
    /// What is sent arrives.
    pub(super) fn well(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("what is sent to InfluxDB arrives again");
        }
    }

    /// Nothing can be sent; it is tried again.
    pub(super) fn trouble(&self, reason: &str) {
        let before = self.trouble.lock().replace(reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::warn!("nothing is sent to InfluxDB now: {reason}; what is stored waits here");
        }
    }

    /// It will never take some lines.
    pub(super) fn refused(&self, lines: u64, reason: &str) {
        self.refused.fetch_add(lines, Ordering::Relaxed);
        *self.refusal.lock() = Some(reason.to_owned());
        tracing::error!(lines, "InfluxDB refused lines for good: {reason}");
    }

    /// What is wrong now.
    pub(super) fn problem(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// How many lines were refused, and why the last ones were.
    pub(super) fn refusals(&self) -> (u64, Option<String>) {
        (self.refused.load(Ordering::Relaxed), self.refusal.lock().clone())
    }
}

/// Asked for once: then what waits is sent for a while yet, as long as the server takes it.
#[derive(Default)]
pub(super) struct Stop {
    deadline: OnceLock<Instant>,
}

impl Stop {
    pub(super) fn ask(&self, grace: Duration) {
        self.deadline.get_or_init(|| Instant::now() + grace);
    }

    pub(super) fn asked(&self) -> bool {
        self.deadline.get().is_some()
    }

    pub(super) fn over(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| Instant::now() >= *deadline)
    }
}
