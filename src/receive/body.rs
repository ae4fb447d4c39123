//! A request's body, for both protocols: read and decompressed within the bytes in flight.

use super::ReceiveConfig;
use super::compression::{CompressionError, Encoding};
use super::status::Failure;
use crate::web::Permit;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::time::Duration;
use tonic::Code;

/// Bytes of a refused body that are thrown away before the answer: a whole message of the default limit, and some.
const DRAIN_BYTES: usize = 80 << 20;
/// For how long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Limits on bodies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message.
    max_message: usize,
    /// How long a body may take to arrive.
    timeout: Duration,
}

impl Limits {
    /// Those of `config`.
    pub fn new(config: &ReceiveConfig) -> Self {
        Self { max_message: config.max_message_bytes, timeout: Duration::from_secs(config.body_timeout_seconds.max(1)) }
    }

    /// How long a body may take to arrive.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The refusal of a message over the limit.
    pub fn too_large(&self) -> Failure {
        let message = format!("the request is larger than {} bytes; send smaller batches", self.max_message);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
    }

    /// The whole body, of a message and `extra` bytes at most, each counted against the budget before the next is read.
    pub async fn read(&self, body: &mut Incoming, extra: usize, permit: &mut Permit) -> Result<Bytes, Failure> {
        let most = self.max_message.saturating_add(extra);
        if body.size_hint().lower() > most as u64 {
            return Err(self.too_large());
        }
        tokio::time::timeout(self.timeout, self.gather(body, most, permit)).await.map_err(|_| {
            Failure::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, "the body did not arrive in time")
        })?
    }

    async fn gather(&self, body: &mut Incoming, most: usize, permit: &mut Permit) -> Result<Bytes, Failure> {
        let broken = |e: hyper::Error| {
            Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, format!("the body cannot be read: {e}"))
        };
        let mut first = Bytes::new();
        let mut more = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let total = first.len() + more.len() + data.len();
            if total > most {
                return Err(self.too_large());
            }
            if !permit.reserve(total) {
                return Err(overloaded());
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

    /// `body` before compression.
    pub fn decompress(&self, encoding: Encoding, body: Bytes, permit: &mut Permit) -> Result<Bytes, Failure> {
        if encoding == Encoding::None {
            return Ok(body);
        }
        let bytes = encoding.decompress(&body, self.max_message).map_err(|e| match e {
            CompressionError::TooLarge { .. } => self.too_large(),
            CompressionError::Invalid { .. } => {
                Failure::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, e.to_string())
            }
        })?;
        if !permit.reserve(bytes.len()) {
            return Err(overloaded());
        }
        Ok(Bytes::from(bytes))
    }

    /// Counts `bytes` that were made here.
    pub fn admit(&self, bytes: Vec<u8>, permit: &mut Permit) -> Result<Bytes, Failure> {
        if bytes.len() > self.max_message {
            return Err(self.too_large());
        }
        if !permit.reserve(bytes.len()) {
            return Err(overloaded());
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

/// The refusal when the bytes in flight are used up.
pub fn overloaded() -> Failure {
    Failure {
        retry_after: Some(Duration::from_secs(1)),
        ..Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::ResourceExhausted,
            "too many bytes are in flight; try again later",
        )
    }
}
