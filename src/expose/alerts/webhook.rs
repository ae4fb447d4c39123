//! One signed JSON message a notification, as Standard Webhooks has it.

use super::post::{self, Post};
use super::signature::Secret;
use super::{Waiting, message, now};
use crate::expose::otlp::send::Failed;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use vitals_core::ids::UnixNanos;
use vitals_core::registry::Registry;
use vitals_core::verdict::Notice;

pub(super) struct Webhook {
    pub(super) post: Post,
    pub(super) secret: Secret,
    pub(super) registry: Arc<Registry>,
}

impl Webhook {
    /// Sends what comes, in order, until nothing comes any more. After `closed` each gets one attempt.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Waiting>, mut closed: watch::Receiver<bool>) {
        while let Some(Waiting { notice, since }) = waiting.recv().await {
            if let Err(reason) = self.deliver(&notice, since, &mut closed).await {
                post::dead(&self.post.channel, 1, &reason);
            }
            post::queued(&self.post.channel, waiting.len());
        }
    }

    /// One notice, until it is taken, refused for good, or has waited too long since it came.
    async fn deliver(&self, notice: &Notice, since: Instant, closed: &mut watch::Receiver<bool>) -> Result<(), String> {
        // The same after a replay, so that a receiver knows what it has.
        let id = format!("{}-{}-{}", notice.alert.id, notice.event.name(), notice.at.0);
        let body = Bytes::from(message(&self.registry, notice).to_string());
        let mut failures = 0;
        loop {
            let (reason, after) = match self.post.attempt(self.headers(&id, &body), body.clone()).await {
                Ok(()) => return Ok(()),
                Err(Failed::Refused(reason)) => return Err(reason),
                Err(Failed::Retry { reason, after }) => (reason, after),
            };
            failures += 1;
            let pause = self.post.backoff.pause(failures, after);
            if *closed.borrow() || since.elapsed() + pause > self.post.give_up {
                return Err(format!("{reason} ({failures} attempts)"));
            }
            self.post.again(failures, &reason);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Also when the sender is gone.
                _ = closed.wait_for(|closed| *closed) => {}
            }
        }
    }

    /// The headers of one attempt: each is signed anew, with its own time.
    fn headers(&self, id: &str, body: &[u8]) -> HeaderMap {
        let seconds = now().0.div_euclid(UnixNanos::SECOND);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", self.secret.sign(id, seconds, body)),
        ] {
            // Hexadecimal, digits and base64: always a header's value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers
    }
}
