//! The thread that commits what is queued, a group at a time.

use super::codec;
use crossbeam_channel::{Receiver, TryRecvError, select};
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vitals_core::ids::{Partition, Position};
use vitals_core::log::{Deliver, Done, LogError};
use vitals_core::record::{Delivery, Record, Ticket};
use vitals_core::registry::Registration;

/// Rows that one transaction deletes at most, so that appends do not wait behind a long cut.
const CUT_ROWS: u64 = 512;
/// How long descriptions that could not be written wait for another try, and how often a log that fails is tried though nothing
/// is appended.
const RETRY: Duration = Duration::from_millis(200);

/// What is known without asking the file. Written by the committer only, after each commit.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) last: Vec<AtomicU64>,
    pub(super) bytes: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) queued: AtomicU64,
    /// Why the last commit failed; `None` when it succeeded.
    pub(super) trouble: Mutex<Option<String>>,
}

/// The caller's `done`, which is answered in any case: also when the log stops with the record queued.
pub(super) struct Answer(Option<Done>);

impl Answer {
    pub(super) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    fn give(mut self, result: Result<Position, LogError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(LogError::Closed));
        }
    }
}

pub(super) struct Append {
    pub(super) partition: Partition,
    pub(super) body: Vec<u8>,
    pub(super) record: Record,
    pub(super) ticket: Ticket,
    pub(super) answer: Answer,
}

impl Append {
    fn describes(&self) -> bool {
        matches!(self.record, Record::Describe { .. })
    }
}

pub(super) struct Cut {
    pub(super) partition: Partition,
    pub(super) through: u64,
    pub(super) done: crossbeam_channel::Sender<Result<(), LogError>>,
}

pub(super) enum Message {
    Append(Box<Append>),
    Cut(Cut),
    Close,
    /// Lets a test make the disk fail.
    #[cfg(test)]
    Tamper(Box<dyn FnOnce(&Connection) + Send>),
}

pub(super) struct Committer {
    pub(super) connection: Connection,
    pub(super) queue: Receiver<Message>,
    /// New descriptions. Each was pushed before the first append that uses it was queued.
    pub(super) registrations: Receiver<Registration>,
    pub(super) deliver: Deliver,
    pub(super) counters: Arc<Counters>,
    pub(super) max_bytes: u64,
    pub(super) max_transaction_bytes: usize,
    /// Descriptions that a failed commit held: tried again before anything that came later.
    pub(super) carried: Vec<Append>,
    pub(super) cuts: VecDeque<Cut>,
}

impl Committer {
    pub(super) fn run(mut self) {
        let mut open = true;
        while open {
            let (appends, go_on) = self.gather();
            open = go_on;
            if !appends.is_empty() || !self.cuts.is_empty() {
                self.commit(appends);
            } else if open && self.is_failing() {
                self.probe();
            }
        }
        while !self.cuts.is_empty() {
            self.commit(Vec::new());
        }
        for lost in &self.carried {
            tracing::error!(
                partition = lost.partition.0,
                "descriptions could not be written to the log before it closed"
            );
        }
    }

    /// Waits for work, then takes all that is queued, up to the size of a transaction; false when the log closes.
    fn gather(&mut self) -> (Vec<Append>, bool) {
        let mut descriptions = std::mem::take(&mut self.carried);
        let mut appends = Vec::new();
        let mut bytes: usize = descriptions.iter().map(|append| append.body.len()).sum();
        let mut next = self.first(&mut descriptions);
        let open = loop {
            match next {
                Next::Message(Message::Append(append)) => {
                    self.counters.queued.fetch_sub(1, Ordering::Relaxed);
                    bytes += append.body.len();
                    appends.push(*append);
                }
                Next::Message(Message::Cut(cut)) => self.cuts.push_back(cut),
                #[cfg(test)]
                Next::Message(Message::Tamper(tamper)) => tamper(&self.connection),
                Next::Message(Message::Close) | Next::Closed => break false,
                Next::Nothing => break true,
            }
            if bytes >= self.max_transaction_bytes {
                break true;
            }
            next = self.queue.try_recv().into();
        };
        // After the appends were taken: what they use is queued by now, and is written ahead of them.
        descriptions.extend(self.registrations.try_iter().filter_map(|new| self.describing(new)));
        descriptions.append(&mut appends);
        (descriptions, open)
    }

    /// Waits for the first message or registration, unless there is work already, or something to try again.
    fn first(&self, descriptions: &mut Vec<Append>) -> Next {
        if !self.cuts.is_empty() {
            return self.queue.try_recv().into();
        }
        let has_to_retry = !descriptions.is_empty() || self.is_failing();
        let retry = if has_to_retry { crossbeam_channel::after(RETRY) } else { crossbeam_channel::never() };
        select! {
            recv(self.queue) -> message => message.map_or(Next::Closed, Next::Message),
            recv(self.registrations) -> new => {
                descriptions.extend(new.ok().and_then(|new| self.describing(new)));
                self.queue.try_recv().into()
            }
            recv(retry) -> _ => Next::Nothing,
        }
    }

    /// The record that describes what was registered, for the partition of its agent.
    fn describing(&self, new: Registration) -> Option<Append> {
        let partitions = u32::try_from(self.counters.last.len()).unwrap_or(u32::MAX);
        let partition = Partition::of(new.agent(), partitions);
        let done = Box::new(|result: Result<Position, LogError>| {
            if let Err(error) = result {
                tracing::warn!(%error, "a description is not in the log");
            }
        });
        prepare(partition, new.into_record(), Ticket::default(), done).map(|append| *append)
    }

    fn is_failing(&self) -> bool {
        self.counters.trouble.lock().is_some()
    }

    /// Writes something that changes nothing: senders who wait for the service to be ready again append nothing meanwhile.
    fn probe(&mut self) {
        let mut probe = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("UPDATE partition SET last = last WHERE id = 0", [])?;
            transaction.commit()
        };
        if probe().is_ok() {
            self.recovered();
        }
    }

    fn recovered(&self) {
        if self.counters.trouble.lock().take().is_some() {
            tracing::info!("the log can be written again");
        }
    }

    fn commit(&mut self, appends: Vec<Append>) {
        let started = Instant::now();
        let appends = self.refuse_what_does_not_fit(appends);
        let written = write(&mut self.connection, &self.counters, &appends, self.cuts.front());
        match written {
            Ok(written) => self.committed(appends, written, started),
            Err(error) => self.failed(appends, &error),
        }
    }

    fn refuse_what_does_not_fit(&self, appends: Vec<Append>) -> Vec<Append> {
        let mut held = self.counters.bytes.load(Ordering::Relaxed);
        let mut fitting = Vec::with_capacity(appends.len());
        for append in appends {
            let with_it = held + append.body.len() as u64;
            // Descriptions are bounded by the registry's quotas, and nothing after them makes sense without them.
            if with_it > self.max_bytes && !append.describes() {
                metrics::counter!("vitals_log_refused_full_total").increment(1);
                append.answer.give(Err(LogError::Full { held, limit: self.max_bytes }));
            } else {
                held = with_it;
                fitting.push(append);
            }
        }
        fitting
    }

    fn committed(&mut self, appends: Vec<Append>, written: Written, started: Instant) {
        self.recovered();
        let counters = &self.counters;
        let added: u64 = appends.iter().map(|append| append.body.len() as u64).sum();
        for (last, &position) in counters.last.iter().zip(&written.last) {
            last.store(position, Ordering::Release);
        }
        let bytes = (counters.bytes.load(Ordering::Relaxed) + added).saturating_sub(written.cut_bytes);
        let records =
            (counters.records.load(Ordering::Relaxed) + appends.len() as u64).saturating_sub(written.cut_rows);
        counters.bytes.store(bytes, Ordering::Relaxed);
        counters.records.store(records, Ordering::Relaxed);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("vitals_log_commits_total").increment(1);
        metrics::counter!("vitals_log_written_bytes_total").increment(added);
        metrics::histogram!("vitals_log_commit_seconds").record(started.elapsed().as_secs_f64());
        if written.cut_finished
            && let Some(cut) = self.cuts.pop_front()
        {
            // Whoever asked may have stopped waiting.
            let _ = cut.done.send(Ok(()));
        }
        for (append, position) in appends.into_iter().zip(written.positions) {
            let Append { partition, record, ticket, answer, .. } = append;
            answer.give(Ok(position));
            (self.deliver)(partition, Delivery { position, record, ticket });
        }
    }

    fn failed(&mut self, appends: Vec<Append>, error: &rusqlite::Error) {
        metrics::counter!("vitals_log_failed_commits_total").increment(1);
        // Once for each trouble: senders try again and again.
        if self.counters.trouble.lock().replace(error.to_string()).is_none() {
            tracing::error!(%error, records = appends.len(), "the log cannot be written; requests are refused until it can");
        }
        let error = LogError::Io(error.to_string());
        for append in appends {
            if append.describes() {
                self.carried.push(append);
            } else {
                append.answer.give(Err(error.clone()));
            }
        }
        if let Some(cut) = self.cuts.pop_front() {
            let _ = cut.done.send(Err(error));
        }
    }
}

/// What the queue had.
enum Next {
    Message(Message),
    Nothing,
    Closed,
}

impl From<Result<Message, TryRecvError>> for Next {
    fn from(received: Result<Message, TryRecvError>) -> Self {
        match received {
            Ok(message) => Self::Message(message),
            Err(TryRecvError::Empty) => Self::Nothing,
            Err(TryRecvError::Disconnected) => Self::Closed,
        }
    }
}

/// What a transaction did.
struct Written {
    positions: Vec<Position>,
    last: Vec<u64>,
    cut_bytes: u64,
    cut_rows: u64,
    cut_finished: bool,
}

fn write(
    connection: &mut Connection,
    counters: &Counters,
    appends: &[Append],
    cut: Option<&Cut>,
) -> rusqlite::Result<Written> {
    let mut last: Vec<u64> = counters.last.iter().map(|last| last.load(Ordering::Relaxed)).collect();
    let mut positions = Vec::with_capacity(appends.len());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for append in appends {
        let partition = append.partition.0;
        let position = &mut last[partition as usize];
        *position += 1;
        transaction.prepare_cached(&insert_sql(partition))?.execute(params![position.cast_signed(), append.body])?;
        positions.push(Position(*position));
    }
    let mut written = Written { positions, last, cut_bytes: 0, cut_rows: 0, cut_finished: false };
    if let Some(cut) = cut {
        let last = written.last[cut.partition.0 as usize];
        delete(&transaction, cut, last, &mut written)?;
    }
    transaction.commit()?;
    Ok(written)
}

/// Deletes the oldest rows of a cut, as many as one transaction may. The last position is kept aside, so
/// that the next one follows it even when no row is left.
fn delete(connection: &Connection, cut: &Cut, last: u64, written: &mut Written) -> rusqlite::Result<()> {
    let partition = cut.partition.0;
    let through = cut.through.min(last);
    let first: Option<i64> = connection
        .prepare_cached(&format!("SELECT min(position) FROM log_{partition}"))?
        .query_row([], |row| row.get(0))?;
    let Some(first) = first.map(i64::cast_unsigned).filter(|&first| first <= through) else {
        written.cut_finished = true;
        return Ok(());
    };
    let end = through.min(first + CUT_ROWS - 1);
    let (rows, bytes): (i64, i64) = connection
        .prepare_cached(&format!(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM log_{partition} WHERE position <= ?1"
        ))?
        .query_row([end.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(&format!("DELETE FROM log_{partition} WHERE position <= ?1"))?
        .execute([end.cast_signed()])?;
    connection
        .prepare_cached("UPDATE partition SET last = ?2 WHERE id = ?1")?
        .execute(params![partition, last.cast_signed()])?;
    written.cut_rows = rows.cast_unsigned();
    written.cut_bytes = bytes.cast_unsigned();
    written.cut_finished = end >= through;
    Ok(())
}

fn insert_sql(partition: u32) -> String {
    format!("INSERT INTO log_{partition}(position, body) VALUES (?1, ?2)")
}

/// A record ready to be queued, or why it cannot be.
pub(super) fn prepare(partition: Partition, record: Record, ticket: Ticket, done: Done) -> Option<Box<Append>> {
    match codec::encode(&record) {
        Ok(body) => Some(Box::new(Append { partition, body, record, ticket, answer: Answer::new(done) })),
        Err(error) => {
            done(Err(LogError::Io(format!("the record cannot be encoded: {error}"))));
            None
        }
    }
}
