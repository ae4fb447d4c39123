//! The thread that sends what waits in the outbox.
//!
//! It takes a window of the oldest, sends it in several writes at once, and when all of them are answered has the outbox
//! forget it. Within a window each sample is there once, so the order of its writes does not matter; windows follow one
//! another. A crash in between sends a window again, which changes nothing.

use super::batch::LineBatch;
use super::client::Client;
use super::columns::Types;
use super::findings;
use super::flight::{Broken, Flight};
use super::layout::Place;
use super::line::{self, Head, Row, Times};
use super::names::Names;
use super::read::Reader;
use super::status::{Status, Stop};
use crate::store::shared::Shared;
use crate::store::sorted::SortedRun;
use crate::store::unsent::{Learnt, Newest, UnsentWindow, VerdictTimes, verdict_kind};
use crossbeam_channel::Receiver;
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitals_core::ids::UnixNanos;
use vitals_core::store::{StoreError, VerdictQuery};

/// Bytes of heads kept; past it they are made anew.
const HEAD_BYTES: usize = 64 << 20;
/// How often the outbox is looked at when nobody says that there is something.
const LOOK: Duration = Duration::from_secs(1);

/// The sending side.
pub(super) struct Feeder {
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Reader,
    pub(super) client: Arc<Client>,
    pub(super) status: Arc<Status>,
    pub(super) stop: Arc<Stop>,
    pub(super) wake: Receiver<()>,
    newest: Newest,
    verdicts: VerdictTimes,
    heads: Heads,
    flight: Flight,
}

impl Feeder {
    pub(super) fn new(
        shared: Arc<Shared>,
        reader: Reader,
        status: Arc<Status>,
        stop: Arc<Stop>,
        wake: Receiver<()>,
        learnt: Learnt,
    ) -> Self {
        let client = reader.client.clone();
        let heads = Heads {
            names: reader.names.clone(),
            types: reader.types.clone(),
            shared: shared.clone(),
            known: HashMap::new(),
            bytes: 0,
        };
        let flight = Flight::new(client.clone(), status.clone(), stop.clone());
        let Learnt { newest, verdicts, .. } = learnt;
        Self { shared, reader, client, status, stop, wake, newest, verdicts, heads, flight }
    }

    pub(super) fn run(mut self) {
        loop {
            self.gather();
            match self.turn() {
                Ok(true) => {}
                Ok(false) if self.stop.asked() => return,
                Ok(false) => {
                    // Either way it is looked at again.
                    let _ = self.wake.recv_timeout(LOOK);
                }
                Err(Broken::Stopped) => return,
                Err(Broken::Failed(error)) => {
                    self.status.trouble(&error.to_string());
                    if self.flight.pause(None).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until a write is full, or what there is has waited long enough.
    fn gather(&self) {
        let config = self.client.config();
        let until = Instant::now() + Duration::from_millis(config.flush_millis);
        while let Some(outbox) = &self.shared.outbox
            && !self.stop.asked()
            && (1..config.batch_lines as u64).contains(&outbox.held().0)
            && let Some(left) = until.checked_duration_since(Instant::now())
        {
            // Woken or not, it is looked at again.
            let _ = self.wake.recv_timeout(left);
        }
    }

    /// Sends a window; false when nothing waits.
    fn turn(&mut self) -> Result<bool, Broken> {
        if self.stop.over() {
            return Err(Broken::Stopped);
        }
        let window = self.shared.window()?;
        if window.is_empty() {
            return Ok(false);
        }
        let started = Instant::now();
        self.send(&window)?;
        self.shared.sent(&window, &mut self.newest, &mut self.verdicts)?;
        self.status.well();
        metrics::histogram!("vitals_influx_window_seconds").record(started.elapsed().as_secs_f64());
        Ok(true)
    }

    fn send(&mut self, window: &UnsentWindow) -> Result<(), Broken> {
        let known = self.reader.existing(&self.late(window))?;
        let mut lines = Lines::default();
        let mut times = Times::new();
        for run in &window.rows.runs {
            self.send_run(window, run, &known, &mut lines, &mut times)?;
        }
        for verdict in &window.verdicts {
            if findings::in_range(verdict.time) && !self.verdict_is_there(verdict)? {
                findings::verdict(&mut lines.text, &self.reader.names, verdict)?;
                self.line(&mut lines)?;
            }
        }
        for (agent, interval) in &window.intervals {
            if findings::in_range(interval.start) {
                findings::interval(&mut lines.text, &self.reader.names, *agent, interval);
                self.line(&mut lines)?;
            }
        }
        for alert in &window.alerts {
            if findings::in_range(alert.started) {
                findings::alert(&mut lines.text, &self.reader.names, alert);
                self.line(&mut lines)?;
            }
        }
        self.flush(&mut lines)?;
        self.flight.land()?;
        for run in &window.rows.runs {
            self.newest.raise(run.series, window.rows.times[run.rows.end - 1]);
        }
        Ok(())
    }

    fn send_run(
        &mut self,
        window: &UnsentWindow,
        run: &SortedRun,
        known: &HashSet<(u32, i64)>,
        lines: &mut Lines,
        times: &mut Times,
    ) -> Result<(), Broken> {
        let newest = self.newest.get(run.series);
        let head = self.heads.get(run.series)?;
        let mut beside = self.reader.types.is_split(run.series);
        for at in run.rows.clone() {
            let (time, value) = (window.rows.times[at], window.rows.values[at]);
            if time <= newest && known.contains(&(run.series, time)) {
                continue;
            }
            let mut became = line::row(&mut lines.text, &head, beside, times, time, value);
            if became == Row::Beside {
                self.reader.types.split(&self.shared, run.series)?;
                beside = true;
                became = line::row(&mut lines.text, &head, beside, times, time, value);
            }
            match became {
                Row::Written | Row::Beside => self.line(lines)?,
                without => without.count_left_out(),
            }
        }
        Ok(())
    }

    /// The rows that are not newer than what was sent: they may be there already, and InfluxDB would replace them.
    fn late(&self, window: &UnsentWindow) -> Vec<(u32, i64)> {
        let mut late = Vec::new();
        for SortedRun { series, rows } in &window.rows.runs {
            let newest = self.newest.get(*series);
            let old = window.rows.times[rows.clone()].iter().take_while(|time| **time <= newest);
            late.extend(old.map(|time| (*series, *time)));
        }
        late
    }

    /// Whether a verdict that is not newer than what was sent of its kind was sent before.
    fn verdict_is_there(&self, verdict: &vitals_core::verdict::Verdict) -> Result<bool, StoreError> {
        let key = verdict_kind(verdict);
        if self.verdicts.get(&key).is_none_or(|newest| *newest < verdict.time.0) {
            return Ok(false);
        }
        let query = VerdictQuery {
            agents: Some(vec![verdict.agent]),
            kind: Some(verdict.body.kind()),
            start: verdict.time,
            end: UnixNanos(verdict.time.0 + 1),
            ..VerdictQuery::of(verdict.tenant.clone())
        };
        Ok(self.reader.verdicts(&query)?.iter().any(|found| verdict_kind(found) == key))
    }

    /// Counts a line that was added, and sends when there are enough.
    fn line(&mut self, lines: &mut Lines) -> Result<(), Broken> {
        lines.count += 1;
        let config = self.client.config();
        if lines.count >= config.batch_lines || lines.text.len() >= config.batch_bytes {
            self.flush(lines)?;
        }
        Ok(())
    }

    fn flush(&mut self, lines: &mut Lines) -> Result<(), Broken> {
        if lines.count > 0 {
            let batch = LineBatch::of(&lines.text, lines.count);
            lines.text.clear();
            lines.count = 0;
            self.flight.start(batch)?;
        }
        Ok(())
    }
}

/// Lines that are not sent yet.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    count: usize,
}

/// The heads of series, made when they are first needed.
struct Heads {
    names: Arc<Names>,
    types: Arc<Types>,
    shared: Arc<Shared>,
    known: HashMap<u32, Arc<Head>>,
    bytes: usize,
}

impl Heads {
    fn get(&mut self, series: u32) -> Result<Arc<Head>, StoreError> {
        if let Some(head) = self.known.get(&series) {
            return Ok(head.clone());
        }
        let place = Place::of(&self.names, series);
        let head = Arc::new(place.head(self.types.decide(&self.shared, &place)?));
        if self.bytes > HEAD_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += head.text.len() + head.beside.as_ref().map_or(0, |text| text.len());
        self.known.insert(series, head.clone());
        Ok(head)
    }
}
