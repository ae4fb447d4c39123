//! The thread that makes tails durable.

use super::shared::Shared;
use super::sorted::Sorted;
use super::tail::{PartitionTail, Tail};
use super::writer::{NewBlock, blocks};
use crossbeam_channel::Receiver;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vitals_core::ids::Partition;
use vitals_core::store::{Checkpoint, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a seal is tried when the store is closing; what it held is in the log still.
const LAST_TRIES: u32 = 3;

pub(super) struct Job {
    pub(super) partition: Partition,
    pub(super) slot: Arc<PartitionTail>,
    pub(super) tail: Arc<Tail>,
    pub(super) checkpoint: Checkpoint,
    pub(super) done: Box<dyn FnOnce() + Send>,
}

pub(super) enum Message {
    Seal(Box<Job>),
    Close,
}

pub(super) struct Sealer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Message>,
}

impl Sealer {
    pub(super) fn run(self) {
        let mut gave_up = HashSet::new();
        while let Ok(Message::Seal(job)) = self.queue.recv() {
            let (partition, slot) = (job.partition, job.slot.clone());
            // A later checkpoint says that everything before it is stored, so it may not follow a seal that was given up.
            if gave_up.contains(&partition) || !self.seal(*job) {
                tracing::warn!(
                    partition = partition.0,
                    "a seal was given up, because the store is closing; the log has these records still"
                );
                gave_up.insert(partition);
                slot.end_seal();
            }
        }
    }

    /// Makes a tail durable; false when it was given up, which only a closing store does.
    fn seal(&self, job: Job) -> bool {
        let started = Instant::now();
        let Job { partition, slot, tail, checkpoint, done } = job;
        if let Some(outbox) = &self.shared.outbox
            && !outbox.wait_for_room(&self.shared.closing)
        {
            return false;
        }
        let blocks = blocks(Sorted::from_chunks(&tail.samples), self.shared.config.block_samples);
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            let written = match &blocks {
                Ok(blocks) => self.write(partition, &tail, &checkpoint, blocks),
                Err(error) => Err(error.clone()),
            };
            let Err(error) = written else { break };
            metrics::counter!("vitals_store_failed_seals_total").increment(1);
            // Once for each trouble: it is tried for as long as it takes.
            if self.shared.trouble.lock().replace(error.to_string()).is_none() {
                tracing::error!(%error, partition = partition.0, "the store cannot be written; it is tried until it can");
            }
            tries += 1;
            if self.shared.closing.load(Ordering::Acquire) && tries >= LAST_TRIES {
                return false;
            }
            self.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if self.shared.trouble.lock().take().is_some() {
            tracing::info!(partition = partition.0, "the store can be written again");
        }
        {
            let _no_reader_in_between = self.shared.swap.write();
            slot.end_seal();
        }
        metrics::counter!("vitals_store_seals_total").increment(1);
        metrics::histogram!("vitals_store_seal_seconds").record(started.elapsed().as_secs_f64());
        done();
        true
    }

    /// Waits, but not past the moment when the store begins to stop.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let was_closing = self.shared.closing.load(Ordering::Acquire);
        while Instant::now() < until && self.shared.closing.load(Ordering::Acquire) == was_closing {
            std::thread::sleep(FIRST_PAUSE.min(pause));
        }
    }

    fn write(
        &self,
        partition: Partition,
        tail: &Tail,
        checkpoint: &Checkpoint,
        blocks: &[NewBlock],
    ) -> Result<(), StoreError> {
        let samples: usize = blocks.iter().map(|block| block.samples).sum();
        let mut writer = self.shared.writer.lock();
        let (seq, verdicts) = writer.seal(partition, tail, checkpoint, blocks, self.shared.outbox.is_some())?;
        if let Some(outbox) = &self.shared.outbox {
            let bytes: usize = blocks.iter().map(|block| block.body.len()).sum();
            outbox.sealed(seq, samples as u64, bytes as u64, verdicts);
        }
        // Before the lock is given back, so that a merge does not take away what was not counted yet.
        self.shared.samples.fetch_add(samples as u64, Ordering::Relaxed);
        metrics::counter!("vitals_store_sealed_samples_total").increment(samples as u64);
        Ok(())
    }
}
