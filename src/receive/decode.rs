//! From a body that arrived to the handler: decompression, JSON, and the handler's reading, on the workers.
//!
//! What is small and as it came is read at once. Everything else is tried as short work first; what turns out to be long
//! begins anew as long work, so that nobody's short request waits behind it. All memory is taken from the budget of bytes in
//! flight before it is allocated.

use super::body::Limits;
use super::compression::{CompressionError, Encoding};
use super::json::{NotOtlpJson, otlp_json};
use super::{Accepted, Committing, ExportHandler};
use crate::net::{Length, Permit, Refusal, Workers};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use vitals_core::caller::Caller;

/// Protobuf of so many bytes is read on the thread that received it: handing it over would cost more.
const READ_AT_ONCE: usize = 64 << 10;
/// Most bytes, after decompression, of what is short work.
const SHORT_WORK: usize = 1 << 20;

/// The form of a body.
#[derive(Clone, Debug)]
pub struct Form {
    /// The compressions, in the order in which they were applied.
    pub encodings: Vec<Encoding>,
    /// Whether it is JSON, else protobuf.
    pub json: bool,
}

/// A request whose body arrived.
pub struct Arrived {
    pub caller: Caller,
    pub peer: SocketAddr,
    pub form: Form,
    pub body: Bytes,
    pub permit: Permit,
}

/// Passes requests to a handler.
pub struct Decoder<H> {
    handler: Arc<H>,
    workers: Arc<Workers>,
    limits: Limits,
}

/// A request that the handler reads, or that takes longer.
enum Step {
    Taken { committing: Committing, unread: Unread },
    Longer(Box<Arrived>),
}

/// What the reader of JSON left out.
#[derive(Default)]
struct Unread {
    points: u64,
    reason: String,
}

impl<H: ExportHandler> Decoder<H> {
    /// Passes requests to `handler` after work within `limits` on `workers`.
    pub fn new(handler: Arc<H>, workers: Arc<Workers>, limits: Limits) -> Self {
        Self { handler, workers, limits }
    }

    /// Takes a request; the answer is there when it is durable.
    pub async fn take(&self, mut request: Arrived) -> Result<Accepted, Refusal> {
        request.form.encodings.retain(|encoding| *encoding != Encoding::None);
        let plain = request.form.encodings.is_empty() && !request.form.json;
        let step = if plain && request.body.len() <= READ_AT_ONCE {
            read(&*self.handler, self.limits, request, usize::MAX)
        } else if request.body.len() <= SHORT_WORK {
            match self.work(Length::Short, request).await {
                Ok(Step::Longer(request)) => self.work(Length::Long, *request).await,
                other => other,
            }
        } else {
            self.work(Length::Long, request).await
        };
        match step? {
            Step::Taken { committing, unread } => Ok(unread.added_to(committing.await?)),
            // Long work has no such bound.
            Step::Longer(_) => Err(Refusal::Internal),
        }
    }

    async fn work(&self, length: Length, request: Arrived) -> Result<Step, Refusal> {
        let most = if length == Length::Short { SHORT_WORK } else { usize::MAX };
        let (handler, limits, peer) = (self.handler.clone(), self.limits, request.peer);
        let work = move || read(&*handler, limits, request, most);
        self.workers.run(length, peer, work).await.unwrap_or(Err(Refusal::Internal))
    }
}

impl Unread {
    fn added_to(self, mut accepted: Accepted) -> Accepted {
        if self.points > 0 {
            // Together with what normalizing rejects, so that one counter has them all.
            metrics::counter!("vitals_normalize_points_total").increment(self.points);
            metrics::counter!("vitals_normalize_rejected_points_total", "reason" => "json").increment(self.points);
        }
        accepted.rejected += self.points;
        if !self.reason.is_empty() {
            let rest = std::mem::replace(&mut accepted.reason, self.reason);
            if !rest.is_empty() {
                accepted.reason.push_str("; ");
                accepted.reason.push_str(&rest);
            }
        }
        accepted
    }
}

/// Reads a request of at most `most` bytes after decompression; a longer one is given back as it came.
fn read<H: ExportHandler>(handler: &H, limits: Limits, mut request: Arrived, most: usize) -> Result<Step, Refusal> {
    let arrived = request.body.len();
    let limit = limits.max_message().min(most);
    let mut body = request.body.clone();
    // What is in use beside the step that is done.
    let mut held = arrived;
    // The last one was put on last.
    for encoding in request.form.encodings.iter().rev() {
        let mut memory = Memory::new(&mut request.permit, held);
        match encoding.decompress(&body, limit, &mut |bytes| memory.may_use(bytes)) {
            Ok(bytes) => body = Bytes::from(bytes),
            Err(CompressionError::TooLarge { .. }) if limit < limits.max_message() => {
                request.permit.shrink(arrived);
                return Ok(Step::Longer(Box::new(request)));
            }
            Err(CompressionError::TooLarge { .. }) => return Err(limits.too_large()),
            Err(CompressionError::NoMemory) => return Err(memory.refusal(&limits)),
            Err(error @ CompressionError::Invalid { .. }) => return Err(Refusal::Malformed(error.to_string())),
        }
        held = arrived + body.len();
    }
    let mut unread = Unread::default();
    if request.form.json {
        let mut memory = Memory::new(&mut request.permit, held);
        match otlp_json(&body, limits.max_message(), &mut |bytes| memory.may_use(bytes)) {
            Ok(decoded) => {
                body = Bytes::from(decoded.bytes);
                unread = Unread { points: decoded.rejected, reason: decoded.reason };
            }
            Err(NotOtlpJson::TooLarge) => return Err(limits.too_large()),
            Err(NotOtlpJson::NoMemory) => return Err(memory.refusal(&limits)),
            Err(error) => return Err(Refusal::Malformed(error.to_string())),
        }
    }
    let Arrived { caller, peer, body: compressed, mut permit, .. } = request;
    drop(compressed);
    permit.shrink(body.len());
    let committing = handler.ingest(caller, peer, body, permit)?;
    Ok(Step::Taken { committing, unread })
}

/// Memory for one step, from the budget of bytes in flight.
struct Memory<'p> {
    permit: &'p mut Permit,
    held: usize,
    beyond: bool,
}

impl<'p> Memory<'p> {
    /// Memory beside the `held` bytes that are in use.
    fn new(permit: &'p mut Permit, held: usize) -> Self {
        Self { permit, held, beyond: false }
    }

    fn may_use(&mut self, bytes: usize) -> bool {
        let all = self.held.saturating_add(bytes);
        self.beyond = self.permit.is_beyond(all);
        self.permit.reserve(all)
    }

    /// Why there was none: it is too much at any time, or now.
    fn refusal(&self, limits: &Limits) -> Refusal {
        if self.beyond { limits.too_large() } else { Refusal::BytesInFlight }
    }
}
