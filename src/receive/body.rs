//! Reads the body of a request, for both protocols, within the budget of bytes in flight.

use super::ReceiveConfig;
use crate::net::{Permit, Refusal};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a refused body that are thrown away before the answer: a whole message of the default limit, and some.
const DRAIN_BYTES: usize = 80 << 20;
/// The longest time for that.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body that holds more bytes in flight than this must arrive at [`LEAST_RATE`] while others need them, after a while.
const LITTLE: usize = 64 << 10;
/// That while.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// In bytes a second.
const LEAST_RATE: usize = 256 << 10;
/// How often a body of which nothing comes is looked at.
const SLOW_CHECK: Duration = Duration::from_millis(250);

/// The limits on bodies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message.
    max_message: usize,
    /// The longest time for a body to arrive.
    timeout: Duration,
}

impl Limits {
    /// The limits of `config`.
    pub fn new(config: &ReceiveConfig) -> Self {
        Self { max_message: config.max_message_bytes, timeout: Duration::from_secs(config.body_timeout_seconds.max(1)) }
    }

    /// The longest time for a body to arrive.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Largest message, after decompression.
    pub fn max_message(&self) -> usize {
        self.max_message
    }

    /// The refusal of a larger one.
    pub fn too_large(&self) -> Refusal {
        Refusal::BodyTooLarge { limit: self.max_message }
    }

    /// Reads the whole body, of a message and `extra` bytes at most; each piece is counted against the budget before the next
    /// is read.
    pub async fn read(&self, body: &mut Incoming, extra: usize, permit: &mut Permit) -> Result<Bytes, Refusal> {
        let most = self.max_message.saturating_add(extra);
        if body.size_hint().lower() > most as u64 {
            return Err(self.too_large());
        }
        tokio::time::timeout(self.timeout, self.gather(body, most, permit)).await.map_err(|_| Refusal::BodyTimeout)?
    }

    async fn gather(&self, body: &mut Incoming, most: usize, permit: &mut Permit) -> Result<Bytes, Refusal> {
        let broken = |error: hyper::Error| Refusal::Malformed(format!("the body cannot be read: {error}"));
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        let begun = Instant::now();
        loop {
            let Ok(frame) = tokio::time::timeout(SLOW_CHECK, body.frame()).await else {
                give_way(begun, permit)?;
                continue;
            };
            let Some(frame) = frame else { break };
            give_way(begun, permit)?;
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let total = first.len() + more.len() + data.len();
            if total > most {
                return Err(self.too_large());
            }
            if !permit.reserve(total) {
                return Err(Refusal::BytesInFlight);
            }
            if first.is_empty() && more.is_empty() {
                // Most bodies come in one piece and are not copied.
                first = data;
                continue;
            }
            if more.is_empty() {
                let left = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(most);
                more.reserve(total + left.min(4 << 20));
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        Ok(if more.is_empty() { first } else { more.freeze() })
    }
}

/// Refuses a body that began at `begun` when it holds bytes in flight that others need, and is slow to fill them.
fn give_way(begun: Instant, permit: &Permit) -> Result<(), Refusal> {
    let took = begun.elapsed();
    if permit.bytes() <= LITTLE || took < SLOW_AFTER {
        return Ok(());
    }
    let due = u128::try_from(LEAST_RATE).unwrap_or(0) * took.as_millis() / 1000;
    if permit.bytes() as u128 >= due || !permit.is_contended() {
        return Ok(());
    }
    metrics::counter!("vitals_receive_slow_bodies_total").increment(1);
    Err(Refusal::BytesInFlight)
}

/// Throws away what a refused sender still sends, for a while: closing a socket with unread bytes resets it, and the reset
/// can overtake the refusal, so that the sender would try the same again.
pub async fn drain(body: &mut Incoming) {
    let all = async {
        let mut left = DRAIN_BYTES;
        while left > 0 {
            let Some(Ok(frame)) = body.frame().await else { return };
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Nobody waits here when time ran out already; the outcome changes nothing.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}
