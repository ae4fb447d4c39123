//! Reads and decompresses the body of a request, for both protocols, within the budget of bytes in flight.

use super::ReceiveConfig;
use super::compression::{CompressionError, Encoding};
use crate::net::{Permit, Refusal};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::time::Duration;

/// Bytes of a refused body that are thrown away before the answer: a whole message of the default limit, and some.
const DRAIN_BYTES: usize = 80 << 20;
/// For how long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The limits on bodies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message.
    max_message: usize,
    /// How long a body may take to arrive.
    timeout: Duration,
}

impl Limits {
    /// The limits of `config`.
    pub fn new(config: &ReceiveConfig) -> Self {
        Self { max_message: config.max_message_bytes, timeout: Duration::from_secs(config.body_timeout_seconds.max(1)) }
    }

    /// How long a body may take to arrive.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    fn too_large(&self) -> Refusal {
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
        while let Some(frame) = body.frame().await {
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

    /// Undoes the compression of `body`.
    pub fn decompress(&self, encoding: Encoding, body: Bytes, permit: &mut Permit) -> Result<Bytes, Refusal> {
        if encoding == Encoding::None {
            return Ok(body);
        }
        let bytes = encoding.decompress(&body, self.max_message).map_err(|error| match error {
            CompressionError::TooLarge { .. } => self.too_large(),
            CompressionError::Invalid { .. } => Refusal::Malformed(error.to_string()),
        })?;
        if !permit.reserve(bytes.len()) {
            return Err(Refusal::BytesInFlight);
        }
        Ok(Bytes::from(bytes))
    }

    /// Counts `bytes` that were made here against the limits.
    pub fn admit(&self, bytes: Vec<u8>, permit: &mut Permit) -> Result<Bytes, Refusal> {
        if bytes.len() > self.max_message {
            return Err(self.too_large());
        }
        if !permit.reserve(bytes.len()) {
            return Err(Refusal::BytesInFlight);
        }
        Ok(Bytes::from(bytes))
    }
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
