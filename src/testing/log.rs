//! A log in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use vitals_core::ids::{Partition, Position};
use vitals_core::log::{Deliver, Done, Log, LogError, LogStats};
use vitals_core::record::{Delivery, Record, Ticket};

/// What one partition holds.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    records: BTreeMap<u64, Record>,
    last: u64,
}

/// What the partitions of a log hold. A log that is opened again on it has it too.
pub(crate) type Partitions = Arc<Mutex<Vec<Kept>>>;

/// Keeps records in maps.
pub(crate) struct MemoryLog {
    contents: Partitions,
    /// Held while a record is appended, answered for and delivered, so that all of it is in order. `None` once closed.
    deliver: Mutex<Option<Deliver>>,
    /// Most records that one read gives.
    most_read: usize,
    /// Whether nothing is ever committed, as on a disk that does not answer.
    stuck: bool,
}

impl Default for MemoryLog {
    /// One partition, delivered to nobody.
    fn default() -> Self {
        Self::open(Partitions::default(), 1, Box::new(|_, _| ()))
    }
}

impl MemoryLog {
    /// A log on what an earlier one held, else of so many partitions.
    pub(crate) fn open(contents: Partitions, partitions: u32, deliver: Deliver) -> Self {
        let mut kept = contents.lock().unwrap();
        if kept.is_empty() {
            kept.resize_with(partitions as usize, Kept::default);
        }
        drop(kept);
        Self { contents, deliver: Mutex::new(Some(deliver)), most_read: usize::MAX, stuck: false }
    }

    /// One partition that holds `records` and gives few at a time, so that a replay reads often.
    pub(crate) fn holding(records: &[Record]) -> Self {
        let log = Self { most_read: 3, ..Self::default() };
        records.iter().for_each(|record| log.append_one(record.clone()));
        log
    }

    /// A log that never answers.
    pub(crate) fn stuck() -> Self {
        Self { stuck: true, ..Self::default() }
    }

    /// Appends to the first partition.
    pub(crate) fn append_one(&self, record: Record) {
        self.append(Partition(0), record, Ticket::default(), Box::new(|result| assert!(result.is_ok())));
    }

    fn with<T>(&self, partition: Partition, visit: impl FnOnce(&mut Kept) -> T) -> T {
        visit(&mut self.contents.lock().unwrap()[partition.0 as usize])
    }
}

impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        u32::try_from(self.contents.lock().unwrap().len()).unwrap()
    }

    fn append(&self, partition: Partition, record: Record, ticket: Ticket, done: Done) {
        if self.stuck {
            std::mem::forget((ticket, done));
            return;
        }
        let mut deliver = self.deliver.lock().unwrap();
        let Some(deliver) = deliver.as_mut() else { return done(Err(LogError::Closed)) };
        if partition.0 >= self.partitions() {
            return done(Err(LogError::Io(format!("there is no partition {}", partition.0))));
        }
        let position = self.with(partition, |kept| {
            kept.last += 1;
            kept.records.insert(kept.last, record.clone());
            Position(kept.last)
        });
        done(Ok(position));
        deliver(partition, Delivery { position, record, ticket });
    }

    fn read(&self, partition: Partition, after: Position, bytes: usize) -> Result<Vec<(Position, Record)>, LogError> {
        let mut left = bytes.max(1);
        Ok(self.with(partition, |kept| {
            let following = kept.records.range((Bound::Excluded(after.0), Bound::Unbounded)).take(self.most_read);
            let fits = |(_, record): &(&u64, &Record)| {
                let room = left > 0;
                left = left.saturating_sub(size(record));
                room
            };
            following.take_while(fits).map(|(position, record)| (Position(*position), record.clone())).collect()
        }))
    }

    fn last(&self, partition: Partition) -> Result<Position, LogError> {
        Ok(Position(self.with(partition, |kept| kept.last)))
    }

    fn cut(&self, partition: Partition, through: Position) -> Result<(), LogError> {
        if self.deliver.lock().unwrap().is_none() {
            return Err(LogError::Closed);
        }
        self.with(partition, |kept| kept.records.retain(|position, _| *position > through.0));
        Ok(())
    }

    fn skip(&self, partition: Partition, through: Position) -> Result<(), LogError> {
        self.with(partition, |kept| kept.last = kept.last.max(through.0));
        Ok(())
    }

    fn stats(&self) -> LogStats {
        let contents = self.contents.lock().unwrap();
        let records = || contents.iter().flat_map(|kept| kept.records.values());
        LogStats {
            bytes: records().map(|record| size(record) as u64).sum(),
            records: records().count() as u64,
            ..LogStats::default()
        }
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn close(&self) {
        *self.deliver.lock().unwrap() = None;
    }
}

/// About how many bytes a record takes in a log.
fn size(record: &Record) -> usize {
    format!("{record:?}").len()
}
