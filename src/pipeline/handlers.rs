//! From received requests to the log, and back with an answer.

use crate::clock::now;
use crate::expose::{RecordSubmitter, ServiceStatus, Submitted};
use crate::net::{ByteBudget, Permit, Refusal};
use crate::normalize::{NormalizeError, Normalizer};
use crate::receive::{Accepted, Committing, ExportHandler};
use bytes::Bytes;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use vitals_core::caller::Caller;
use vitals_core::ids::{Partition, Position};
use vitals_core::log::{Log, LogError};
use vitals_core::record::{Record, Ticket};

/// Takes OTLP requests: walks them, puts them into the log, acknowledges.
pub(super) struct OtlpExportHandler {
    pub(super) normalizer: Arc<Normalizer>,
    pub(super) log: Arc<dyn Log>,
    pub(super) status: Arc<dyn Fn() -> ServiceStatus + Send + Sync>,
}

impl ExportHandler for OtlpExportHandler {
    fn ready(&self) -> bool {
        (self.status)().ready
    }

    fn ingest(&self, caller: Caller, peer: SocketAddr, body: Bytes, mut permit: Permit) -> Result<Committing, Refusal> {
        let fallback = caller.subject.clone().unwrap_or_else(|| peer.ip().to_string());
        // Whether the request asked for more memory than any may have.
        let mut beyond = false;
        let normalized = self
            .normalizer
            .otlp_as(&caller, &fallback, now(), &body, &mut |bytes| {
                let all = body.len().saturating_add(bytes);
                beyond = permit.is_beyond(all);
                permit.reserve(all)
            })
            .map_err(|error| match error {
                NormalizeError::Malformed(malformed) => Refusal::Malformed(malformed.to_string()),
                NormalizeError::NoMemory if beyond => Refusal::TooMuchToRead,
                NormalizeError::NoMemory => Refusal::BytesInFlight,
            })?;
        // The bytes stay in flight until the last partition has evaluated its share.
        permit.shrink(body.len());
        let permit = Arc::new(Mutex::new(permit));
        let commits: Vec<_> = normalized
            .batches
            .into_iter()
            .map(|(partition, samples)| {
                let ticket = Ticket { permit: Some(Box::new(permit.clone())), reply: None };
                commit(&self.log, partition, Record::Samples(samples), ticket)
            })
            .collect();
        let accepted = Accepted { rejected: normalized.rejected, reason: normalized.reason };
        Ok(Box::pin(async move {
            for committed in commits {
                committed.await.unwrap_or(Err(LogError::Closed)).map_err(Refusal::from)?;
            }
            Ok(accepted)
        }))
    }
}

/// Appends to the log; the receiver hears when the record is durable.
fn commit(
    log: &Arc<dyn Log>,
    partition: Partition,
    record: Record,
    ticket: Ticket,
) -> oneshot::Receiver<Result<Position, LogError>> {
    let (done, committed) = oneshot::channel();
    // A sender that hung up does not undo what it sent.
    let done = Box::new(move |result| drop(done.send(result)));
    log.append(partition, record, ticket, done);
    committed
}

/// Takes records from REST: puts them into the log, waits for their evaluation, answers.
pub(super) struct LogSubmitter {
    pub(super) log: Arc<dyn Log>,
    pub(super) budget: Arc<ByteBudget>,
    /// How long REST waits for evaluation, in milliseconds.
    pub(super) processing_timeout: Arc<AtomicU64>,
}

impl RecordSubmitter for LogSubmitter {
    fn submit(&self, partition: Partition, record: Record, bytes: usize) -> Submitted {
        let mut permit = self.budget.permit();
        if !permit.reserve(bytes) {
            metrics::counter!("vitals_rest_refused_total").increment(1);
            return Box::pin(async { Err(Refusal::BytesInFlight) });
        }
        let (reply, outcome) = oneshot::channel();
        let ticket =
            Ticket { permit: Some(Box::new(permit)), reply: Some(Box::new(move |result| drop(reply.send(result)))) };
        let committed = commit(&self.log, partition, record, ticket);
        let processing_timeout_ms = self.processing_timeout.load(Ordering::Relaxed);
        let evaluated = async move {
            committed.await.unwrap_or(Err(LogError::Closed))?;
            outcome.await.map_err(|_| Refusal::Stopping)
        };
        Box::pin(async move {
            // What is late may be taken all the same; who sends it again changes nothing.
            match tokio::time::timeout(Duration::from_millis(processing_timeout_ms), evaluated).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Refusal::NotEvaluated { processing_timeout_ms }),
            }
        })
    }
}
