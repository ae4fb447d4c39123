//! Writes under way, and those that have to be made again.

use super::batch::LineBatch;
use super::client::{Client, Written};
use super::status::{Status, Stop};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::store::StoreError;

const FIRST_PAUSE: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_millis(250) };
/// How often someone who waits looks whether the store closes.
const LOOK: Duration = Duration::from_millis(50);

/// The store closes before the writes are through.
pub(super) struct Stopped;

/// Why a write did not come to its end.
pub(super) enum Broken {
    /// The store closes.
    Stopped,
    /// A body cannot be made.
    Failed(StoreError),
}

impl From<Stopped> for Broken {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A write and what became of it.
type Answer = (LineBatch, Written);

/// The writes of one window.
pub(super) struct Flight {
    client: Arc<Client>,
    status: Arc<Status>,
    stop: Arc<Stop>,
    done: (Sender<Answer>, Receiver<Answer>),
    waiting: VecDeque<LineBatch>,
    under_way: usize,
    /// Attempts in a row that the server did not take.
    failures: u32,
    not_before: Option<Instant>,
}

impl Flight {
    pub(super) fn new(client: Arc<Client>, status: Arc<Status>, stop: Arc<Stop>) -> Self {
        let done = crossbeam_channel::unbounded();
        Self { client, status, stop, done, waiting: VecDeque::new(), under_way: 0, failures: 0, not_before: None }
    }

    /// Sends a batch, after as many as may be under way.
    pub(super) fn start(&mut self, batch: LineBatch) -> Result<(), Broken> {
        self.waiting.push_back(batch);
        self.pump(self.client.config().writes_in_flight)
    }

    /// Returns when every batch was answered for good.
    pub(super) fn land(&mut self) -> Result<(), Broken> {
        self.pump(0)
    }

    /// Forgets everything, for a window that is going to be sent from its beginning.
    pub(super) fn abandon(&mut self) {
        self.waiting.clear();
        self.under_way = 0;
        // What is still under way is answered into the void.
        self.done = crossbeam_channel::unbounded();
    }

    fn pump(&mut self, left: usize) -> Result<(), Broken> {
        loop {
            // While the server does not take anything, one write finds out whether it does again.
            let most = if self.failures == 0 { self.client.config().writes_in_flight } else { 1 };
            while self.under_way < most
                && let Some(batch) = self.waiting.pop_front()
            {
                self.wait_for_turn()?;
                self.under_way += 1;
                metrics::counter!("vitals_influx_writes_total").increment(1);
                metrics::counter!("vitals_influx_bytes_total").increment(batch.body.len() as u64);
                self.client.write(batch.body.clone(), batch, self.done.0.clone());
            }
            if self.waiting.is_empty() && self.under_way <= left {
                return Ok(());
            }
            let (batch, written) = self.receive()?;
            self.under_way -= 1;
            self.settle(batch, written)?;
        }
    }

    fn receive(&self) -> Result<Answer, Stopped> {
        loop {
            match self.done.1.recv_timeout(LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) if !self.stop.over() => {}
                Err(_) => return Err(Stopped),
            }
        }
    }

    fn settle(&mut self, batch: LineBatch, written: Written) -> Result<(), Broken> {
        let lines = batch.lines as u64;
        match written {
            Written::All => self.taken(lines),
            Written::But { refused, reason } => {
                self.taken(lines.saturating_sub(refused));
                self.refused(refused.min(lines), &reason);
            }
            Written::None { reason, .. } if lines <= 1 => {
                self.taken(0);
                self.refused(lines, &reason);
            }
            Written::None { named, reason } => {
                self.taken(0);
                let good = batch.only(|line| !named.contains(line))?;
                if good.lines < batch.lines {
                    self.refused((batch.lines - good.lines) as u64, &reason);
                    self.waiting.extend((good.lines > 0).then_some(good));
                } else {
                    // It names none that was sent: they are found by halving.
                    self.waiting.extend(batch.halves()?);
                }
            }
            Written::TooLarge if lines <= 1 => self.refused(lines, "413: one line is too large"),
            Written::TooLarge => self.waiting.extend(batch.halves()?),
            Written::Later { reason, after } => {
                metrics::counter!("vitals_influx_failed_writes_total").increment(1);
                self.status.trouble(&reason);
                self.waiting.push_front(batch);
                // Those that were under way together failed together.
                if self.not_before.is_none_or(|time| time <= Instant::now()) {
                    self.client.refresh_token();
                    self.failures = self.failures.saturating_add(1);
                    self.not_before = Some(Instant::now() + self.next_pause(after));
                }
            }
        }
        Ok(())
    }

    fn taken(&mut self, lines: u64) {
        metrics::counter!("vitals_influx_lines_total").increment(lines);
        self.status.well();
        self.failures = 0;
        self.not_before = None;
    }

    fn refused(&self, lines: u64, reason: &str) {
        let kind = ["field type conflict", "retention policy", "unable to parse", "413"]
            .into_iter()
            .find(|kind| reason.contains(kind))
            .unwrap_or("other");
        metrics::counter!("vitals_influx_lines_refused_total", "reason" => kind).increment(lines);
        self.status.refused(lines, reason);
    }

    /// Waits as long as the last failure says.
    fn wait_for_turn(&mut self) -> Result<(), Stopped> {
        while let Some(left) = self.not_before.and_then(|time| time.checked_duration_since(Instant::now())) {
            // A closing store does not wait for a server that takes nothing.
            if self.stop.asked() {
                return Err(Stopped);
            }
            std::thread::sleep(left.min(LOOK));
        }
        Ok(())
    }

    /// Waits after something other than a write failed.
    pub(super) fn pause(&mut self, after: Option<Duration>) -> Result<(), Stopped> {
        self.abandon();
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + self.next_pause(after));
        self.wait_for_turn()
    }

    /// Doubled with each failure, somewhere between half and all of it, so that many do not come back together.
    fn next_pause(&self, asked: Option<Duration>) -> Duration {
        let most = Duration::from_secs(self.client.config().retry_max_seconds);
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX));
        let jitter = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        let own = doubled.min(most).mul_f64(0.5 + jitter / 2.0);
        asked.map_or(own, |asked| own.max(asked))
    }
}
