//! What drives the shards: a thread each, the clock, checkpoints, and the replay at the start.

use super::config::EvaluateConfig;
use super::shard::{Observe, PluginFactory, Settle, Shard, ShardContext};
use super::state::StateError;
use crate::clock::now;
use crate::workers;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select, unbounded};
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vitals_core::ids::{AgentId, Partition, Position, UnixNanos};
use vitals_core::live_agents::LiveAgents;
use vitals_core::log::{Log, LogError};
use vitals_core::record::{Delivery, Record, Ticket};
use vitals_core::registry::Registry;
use vitals_core::store::{Checkpoint, Store, StoreError};

/// Time between looks at who is late.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of the log read at once in a replay.
const REPLAY_BYTES: usize = 4 << 20;
/// How long a stop waits for the last checkpoint to become durable.
const LAST_SEAL: Duration = Duration::from_secs(60);

/// Why evaluation did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings make no sense.
    #[error("{0}")]
    Config(String),
    /// The log cannot be replayed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store kept of a partition cannot be used.
    #[error("partition {partition}: {error}")]
    State {
        /// Which partition.
        partition: u32,
        /// What is wrong.
        error: StateError,
    },
    /// The log was made with another number of partitions.
    #[error("the log has {log} partitions, {inputs} are to be evaluated; set the number that the log was made with")]
    Partitions {
        /// How many the log has.
        log: u32,
        /// How many inputs there are.
        inputs: usize,
    },
    /// The store is older than the log, which has forgotten what is between them.
    #[error(
        "the store has partition {partition} up to position {stored}, the log begins at {first}: store.db was lost or \
         is an older copy; put it back, or move log.db away to start without what it holds"
    )]
    Gap {
        /// Which partition.
        partition: u32,
        /// Where the store ends.
        stored: u64,
        /// Where the log begins.
        first: u64,
    },
    /// The system has no thread left.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// A shard ended before it was ready.
    #[error("the shard of partition {0} ended while it was starting; see the log above")]
    Ended(u32),
}

enum Control {
    /// New settings; and whether the plugins are to be made anew.
    Reload(Arc<EvaluateConfig>, bool),
    Stop,
}

/// All shards, running.
pub struct Evaluator {
    shards: Vec<(Sender<Control>, JoinHandle<()>)>,
}

impl Evaluator {
    /// Brings every partition up to date with its log, then goes on with `inputs`, one for each partition.
    /// The registry must already hold what the store's catalogue has.
    ///
    /// # Errors
    /// When the log or the store cannot be read, or hold what this version does not understand.
    #[allow(clippy::too_many_arguments)]
    pub fn start(
        config: &EvaluateConfig,
        plugins: PluginFactory,
        registry: Arc<Registry>,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        live_agents: Arc<LiveAgents>,
        inputs: Vec<Receiver<Delivery>>,
        observe: Observe,
        settle: Settle,
    ) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        if log.partitions() as usize != inputs.len() {
            return Err(StartError::Partitions { log: log.partitions(), inputs: inputs.len() });
        }
        let config = Arc::new(config.clone());
        let context = ShardContext { plugins, registry, store, live_agents, observe };
        let mut checkpoints = Vec::new();
        for partition in (0..log.partitions()).map(Partition) {
            let checkpoint = context.store.checkpoint(partition)?;
            go_on_behind(partition, &checkpoint, log.as_ref())?;
            // All descriptions come first: a shard that registers a derived series draws a new id.
            describe(partition, &checkpoint, log.as_ref(), &context.registry)?;
            checkpoints.push(checkpoint);
        }
        let mut evaluator = Self { shards: Vec::new() };
        let mut waiting = Vec::new();
        for ((input, checkpoint), partition) in inputs.into_iter().zip(checkpoints).zip((0..).map(Partition)) {
            let (control, orders) = unbounded();
            let (ready, is_ready) = bounded(1);
            let (config, context, log, settle) = (config.clone(), context.clone(), log.clone(), settle.clone());
            let evaluate = move || {
                let mut shard = Shard::new(partition, config.clone(), context.clone());
                let replayed = replay(&mut shard, partition, &checkpoint, log.as_ref());
                if replayed.is_ok() {
                    shard.resume_after_pause(now());
                }
                let go_on = replayed.is_ok();
                let _ = ready.send(replayed);
                if go_on {
                    Runner { shard, partition, config, log, store: context.store, settle, input, orders }.run();
                }
            };
            let thread = workers::spawn(&format!("evaluate-{}", partition.0), evaluate).map_err(StartError::Thread)?;
            evaluator.shards.push((control, thread));
            waiting.push((partition, is_ready));
        }
        for (partition, is_ready) in waiting {
            is_ready.recv().map_err(|_| StartError::Ended(partition.0))??;
        }
        Ok(evaluator)
    }

    /// New settings, from each shard's next record on. With `new_plugins` each tenant's plugins are made anew, and take
    /// over the state of those before. The settings must have passed [`EvaluateConfig::check`].
    pub fn reload(&self, config: &EvaluateConfig, new_plugins: bool) {
        let config = Arc::new(config.clone());
        for (control, _) in &self.shards {
            let _ = control.send(Control::Reload(config.clone(), new_plugins));
        }
    }

    /// Evaluates what has been delivered, makes it durable, and ends.
    pub fn stop(self) {
        for (control, _) in &self.shards {
            let _ = control.send(Control::Stop);
        }
        for (_, thread) in self.shards {
            if thread.join().is_err() {
                tracing::error!("a shard ended in a panic; its records are replayed at the next start");
            }
        }
    }
}

/// Sees to it that the log and the store belong together. What a log gave to a position that the store has already
/// would be taken for a record of the past, acknowledged and never stored.
fn go_on_behind(partition: Partition, checkpoint: &Checkpoint, log: &dyn Log) -> Result<(), StartError> {
    let (last, stored) = (log.last(partition)?, checkpoint.stored);
    if last < stored {
        tracing::warn!(
            partition = partition.0,
            log = last.0,
            store = stored.0,
            "the log ends before the store: it was lost or replaced, and with it what the store had not taken yet; \
             it goes on behind the store"
        );
        log.skip(partition, stored)?;
        return Ok(());
    }
    match log.read(partition, stored, 1)?.first() {
        Some(&(first, _)) if first.0 > stored.0 + 1 => {
            Err(StartError::Gap { partition: partition.0, stored: stored.0, first: first.0 })
        }
        _ => Ok(()),
    }
}

/// Registers what the log describes behind the checkpoint; what is before it, the catalogue had.
fn describe(partition: Partition, checkpoint: &Checkpoint, log: &dyn Log, registry: &Registry) -> Result<(), LogError> {
    let last = log.last(partition)?;
    let mut at = checkpoint.stored;
    let mut retired = HashSet::new();
    while at < last {
        let records = log.read(partition, at, REPLAY_BYTES)?;
        let Some((end, _)) = records.last() else { break };
        at = *end;
        records.into_iter().for_each(|(_, record)| register(record, registry, &mut retired));
    }
    Ok(())
}

/// Registers what one record of a replay describes. What is described of the agents in `retired` is not news any more.
pub(super) fn register(record: Record, registry: &Registry, retired: &mut HashSet<AgentId>) {
    match record {
        // A description that was under way when its agent was retired comes behind that.
        Record::Describe { agents, series } => {
            let agents = agents.into_iter().filter(|agent| !retired.contains(&agent.id));
            agents.for_each(|agent| registry.restore_agent(agent));
            let series = series.into_iter().filter(|series| !retired.contains(&series.agent));
            series.for_each(|series| registry.restore_series(series));
        }
        // The records before it are judged by its description, which goes when the shard comes here.
        Record::Retire { agent, .. } => {
            registry.forget_name(agent);
            retired.insert(agent);
        }
        _ => {}
    }
}

/// Brings a shard up to date: first its plugins to where the store is, then everything to the log's end.
pub(super) fn replay(
    shard: &mut Shard,
    partition: Partition,
    checkpoint: &Checkpoint,
    log: &dyn Log,
) -> Result<(), StartError> {
    let damaged = |error| StartError::State { partition: partition.0, error };
    let last = log.last(partition)?;
    shard.rebuild(checkpoint).map_err(damaged)?;
    let mut progress = Progress::new(partition, checkpoint.included, last);
    let mut rebuilding = true;
    let mut batch = Vec::new();
    let mut ticked = UnixNanos(0);
    while shard.position() < last {
        let records = log.read(partition, shard.position(), REPLAY_BYTES)?;
        if records.is_empty() {
            break;
        }
        for (position, record) in records {
            if rebuilding && position > checkpoint.stored {
                shard.take(&mut batch);
                shard.resume(checkpoint).map_err(damaged)?;
                ticked = shard.latest_arrival();
                rebuilding = false;
            }
            batch.push(Delivery { position, record, ticket: Ticket::default() });
            if batch.len() >= 64 {
                shard.take(&mut batch);
                if !rebuilding && shard.latest_arrival().since(ticked) >= UnixNanos::SECOND {
                    ticked = shard.latest_arrival();
                    shard.tick(ticked);
                }
            }
        }
        shard.take(&mut batch);
        progress.show(shard.position());
    }
    if rebuilding {
        shard.resume(checkpoint).map_err(damaged)?;
    }
    let seen = shard.latest_arrival();
    shard.tick(seen);
    progress.done(shard.position());
    Ok(())
}

/// Says how far a replay is, each second.
struct Progress {
    partition: Partition,
    from: Position,
    last: Position,
    began: Instant,
    shown: Instant,
}

impl Progress {
    fn new(partition: Partition, from: Position, last: Position) -> Self {
        Self { partition, from, last, began: Instant::now(), shown: Instant::now() }
    }

    fn show(&mut self, at: Position) {
        if self.shown.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.shown = Instant::now();
        let (done, all) = (at.0.saturating_sub(self.from.0), self.last.0.saturating_sub(self.from.0).max(1));
        tracing::info!(partition = self.partition.0, done, all, percent = done * 100 / all, "replaying the log");
    }

    fn done(&self, at: Position) {
        let records = at.0.saturating_sub(self.from.0);
        if records > 0 {
            let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(partition = self.partition.0, records, millis, "replayed the log");
        }
    }
}

struct Runner {
    shard: Shard,
    partition: Partition,
    config: Arc<EvaluateConfig>,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    settle: Settle,
    input: Receiver<Delivery>,
    orders: Receiver<Control>,
}

impl Runner {
    fn run(mut self) {
        let mut batch = Vec::new();
        let (mut next_tick, mut sealed, mut state) = (Instant::now() + TICK, Instant::now(), Instant::now());
        let mut busy = false;
        let mut input = self.input.clone();
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            select! {
                recv(input) -> delivery => match delivery {
                    Ok(delivery) => {
                        batch.push(delivery);
                        self.gather(&mut batch, busy);
                        busy = batch.len() > 1;
                        self.shard.take(&mut batch);
                    }
                    // The log is closed; what is left is to stop.
                    Err(_) => input = crossbeam_channel::never(),
                },
                recv(self.orders) -> order => match order {
                    Ok(Control::Reload(config, new_plugins)) => {
                        self.config = config.clone();
                        self.shard.reload(config, new_plugins);
                    }
                    Ok(Control::Stop) | Err(_) => break,
                },
                default(wait) => busy = false,
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.shard.tick(self.time());
            }
            let due = sealed.elapsed() >= Duration::from_secs(self.config.checkpoint_seconds)
                || self.shard.rows >= self.config.checkpoint_rows;
            if due && self.shard.dirty {
                let with_state = state.elapsed() >= Duration::from_secs(self.config.state_seconds);
                if with_state {
                    state = Instant::now();
                }
                sealed = Instant::now();
                self.seal(with_state, || {});
            }
        }
        self.finish(batch);
    }

    /// Adds what is there until the batch is full. Under load waits a little for more, unless a sender waits too.
    fn gather(&self, batch: &mut Vec<Delivery>, busy: bool) {
        let mut rows: usize = batch.iter().map(rows_of).sum();
        let mut asked = batch.iter().any(|d| d.ticket.reply.is_some());
        let until = Instant::now() + Duration::from_millis(self.config.coalesce_millis);
        while rows < self.config.batch_rows {
            let next = match self.input.try_recv() {
                Ok(next) => next,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) if asked || !busy => return,
                Err(TryRecvError::Empty) => match self.input.recv_deadline(until) {
                    Ok(next) => next,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
                },
            };
            rows += rows_of(&next);
            asked |= next.ticket.reply.is_some();
            batch.push(next);
        }
    }

    /// As of when silence can be judged: evidence may still be in the queue, or on its way through the log.
    fn time(&self) -> UnixNanos {
        if self.input.is_empty() {
            let grace = i64::try_from(self.config.grace_millis).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            now().plus(-grace)
        } else {
            self.shard.latest_arrival()
        }
    }

    /// Makes everything so far durable in the background, then lets go of the log behind it.
    fn seal(&mut self, with_state: bool, then: impl FnOnce() + Send + 'static) {
        let began = Instant::now();
        // Behind the checkpoint nothing is announced a second time.
        (self.settle)();
        let checkpoint = self.shard.checkpoint(with_state);
        let (log, partition, included) = (self.log.clone(), self.partition, checkpoint.included);
        let done = move || {
            match log.cut(partition, included) {
                // At a stop the log closes first; it is cut after the next start.
                Ok(()) | Err(LogError::Closed) => {}
                Err(error) => {
                    tracing::warn!(partition = partition.0, %error, "the log could not be cut; it grows until it can");
                }
            }
            then();
        };
        self.store.seal(self.partition, checkpoint, Box::new(done));
        metrics::histogram!("vitals_checkpoint_seconds").record(began.elapsed().as_secs_f64());
    }

    /// Evaluates what has been delivered, and waits until it is durable.
    fn finish(mut self, mut batch: Vec<Delivery>) {
        while let Ok(delivery) = self.input.try_recv() {
            batch.push(delivery);
            if batch.iter().map(rows_of).sum::<usize>() >= self.config.batch_rows {
                self.shard.take(&mut batch);
            }
        }
        self.shard.take(&mut batch);
        let (sealed, is_sealed) = bounded(1);
        self.seal(true, move || {
            let _ = sealed.send(());
        });
        if is_sealed.recv_timeout(LAST_SEAL).is_err() {
            tracing::warn!(
                partition = self.partition.0,
                "the last checkpoint is not durable yet; the log is replayed at the next start"
            );
        }
    }
}

fn rows_of(delivery: &Delivery) -> usize {
    match &delivery.record {
        Record::Samples(samples) => samples.columns.len(),
        Record::Heartbeat(heartbeat) => heartbeat.columns.len(),
        _ => 0,
    }
}
