//! How the service is, for `GET /health` and the probes.

use vitals_core::ids::{Partition, UnixNanos};
use vitals_core::log::Log;
use vitals_core::store::{OutboxStats, Store};

/// Records waiting from which the service says that it is overloaded.
const OVERLOADED_RECORDS: u64 = 10_000;

/// How the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Whether it takes requests.
    pub ready: bool,
    /// `connected`, or what is wrong with the store.
    pub database_status: String,
    /// `healthy`, `overloaded`, or what is wrong with the log and the shards.
    pub processing_queue_status: String,
    /// Records that wait to be committed or evaluated.
    pub queued: u64,
}

impl ServiceStatus {
    /// The status at `now`, with `delivered` records that the shards have still to evaluate. Reads the disk, but little of it.
    pub fn read(log: &dyn Log, store: &dyn Store, delivered: usize, now: UnixNanos) -> Self {
        let queued = log.stats().queued + delivered as u64;
        let (database, queue) = (database(store, now), queue(log));
        let overloaded = queued > OVERLOADED_RECORDS;
        Self {
            ready: database.is_ok() && queue.is_ok() && !overloaded,
            database_status: database.unwrap_or_else(|trouble| trouble),
            processing_queue_status: match queue {
                Err(trouble) => trouble,
                Ok(()) if overloaded => "overloaded".to_owned(),
                Ok(()) => "healthy".to_owned(),
            },
            queued,
        }
    }
}

/// How the store is, or why nothing can be stored.
fn database(store: &dyn Store, now: UnixNanos) -> Result<String, String> {
    // Asking for a position touches the disk, so that the answer is the truth and not a memory.
    store.stored(Partition(0)).map_err(|error| error.to_string())?;
    store.trouble().map_or(Ok(()), Err)?;
    Ok(store.outbox().map_or_else(|| "connected".to_owned(), |outbox| connection(&outbox, now)))
}

/// Why nothing can be logged, if so.
fn queue(log: &dyn Log) -> Result<(), String> {
    log.last(Partition(0)).map_err(|error| error.to_string())?;
    log.trouble().map_or(Ok(()), Err)
}

/// How the connection of a store to its server is. What cannot be sent waits, so this is no reason to take nothing more.
fn connection(outbox: &OutboxStats, now: UnixNanos) -> String {
    let refused = outbox.refusal.as_ref().map(|why| format!("; {} lines were refused: {why}", outbox.refused));
    let refused = refused.unwrap_or_default();
    match &outbox.trouble {
        None => format!("connected{refused}"),
        Some(trouble) => {
            let age = outbox.since.map_or(0, |since| now.since(since).max(0) / UnixNanos::SECOND);
            format!(
                "nothing is sent to the server now: {trouble}; {} samples ({} bytes) wait here, the oldest for {age} \
                 s{refused}",
                outbox.samples, outbox.bytes
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_described_with_what_waits_and_what_was_refused() {
        let waiting = OutboxStats {
            samples: 7,
            bytes: 90,
            since: Some(UnixNanos(1_000_000_000)),
            trouble: Some("no route".to_owned()),
            ..OutboxStats::default()
        };
        let refused =
            |stats: &OutboxStats| OutboxStats { refused: 2, refusal: Some("bad line".to_owned()), ..stats.clone() };
        let down = "nothing is sent to the server now: no route; 7 samples (90 bytes) wait here, the oldest for 4 s";
        for (stats, expect) in [
            (OutboxStats::default(), "connected".to_owned()),
            (refused(&OutboxStats::default()), "connected; 2 lines were refused: bad line".to_owned()),
            (waiting.clone(), down.to_owned()),
            (refused(&waiting), format!("{down}; 2 lines were refused: bad line")),
        ] {
            assert_eq!(connection(&stats, UnixNanos(5_500_000_000)), expect);
        }
        // A clock that was set back makes no negative age.
        assert!(connection(&waiting, UnixNanos(0)).ends_with("for 0 s"));
    }
}
