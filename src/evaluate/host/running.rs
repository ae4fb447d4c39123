//! One instance of a plugin and its calls.

use super::abi;
use super::answers;
use super::component::{Compiled, PluginKind};
use super::config::PluginLimits;
use super::error::{Failure, Limit};
use super::guest::Guest;
use super::memory_pool::MemoryLease;
use super::tenant::time_for_rows;
use super::trap;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{ComponentNamedList, Func, Instance, Lift, Lower};
use wasmtime::{Store, Trap, UpdateDeadline};

/// How often deadlines are looked at.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Bytes of an answer that any call may have, beside what its rows may have.
const ANSWER_BYTES: usize = 1 << 20;
/// Bytes of an answer for each row of samples: a finding takes 36.
const BYTES_PER_ROW: usize = 256;
/// Bytes of an answer for each agent: a score with a page of reasons and advice.
const BYTES_PER_AGENT: usize = 16 << 10;

/// An instance, configured.
pub(super) struct Running {
    store: Store<Guest>,
    /// Printed and not yet taken: of one turn, each call of which is bounded.
    printed: Vec<u8>,
    deadline: Duration,
    limits: Arc<PluginLimits>,
    open: Func,
    close: Func,
    snapshot: Func,
    restore: Func,
    work: Func,
}

/// Whether a state was taken.
pub(super) enum Restored {
    Yes,
    /// The plugin says why not.
    Refused(String),
}

impl Running {
    /// Starts an instance and gives it its configuration.
    pub(super) fn start(compiled: &Compiled, config: &str, limits: &Arc<PluginLimits>) -> Result<Self, Failure> {
        let (mut running, configure) = Self::instantiate(compiled, limits)?;
        let start = Duration::from_millis(limits.start_deadline_ms);
        let (answer,): (Result<(), String>,) = running.call_within(configure, (config,), ANSWER_BYTES, start)?;
        answer.map_err(Failure::Configuration)?;
        running.check_types(compiled.kind)?;
        Ok(running)
    }

    /// What a plugin says of itself.
    pub(super) fn describe(compiled: &Compiled, limits: &Arc<PluginLimits>) -> Result<abi::Metadata, Failure> {
        let (mut running, _) = Self::instantiate(compiled, limits)?;
        let describe = running.work;
        let (metadata,): (abi::Metadata,) = running.call(describe, (), ANSWER_BYTES)?;
        answers::metadata(&metadata)?;
        Ok(metadata)
    }

    /// An instance, and its `configure`. Its `work` is `describe` when `compiled` has no name yet.
    fn instantiate(compiled: &Compiled, limits: &Arc<PluginLimits>) -> Result<(Self, Func), Failure> {
        let deadline = Duration::from_millis(limits.deadline_ms);
        let start = Duration::from_millis(limits.start_deadline_ms);
        let (pool, number) = &compiled.memory;
        let mut store = Store::new(compiled.pre.engine(), Guest::new(limits, MemoryLease::new(pool.clone(), *number)));
        store.limiter(|guest| &mut guest.caps);
        store.epoch_deadline_callback(|store| match store.data().call.left() {
            Some(left) => Ok(UpdateDeadline::Continue(ticks(left))),
            None => Ok(UpdateDeadline::Interrupt),
        });
        store.set_epoch_deadline(ticks(start));
        store.data_mut().call.start(start);
        let instance = compiled.pre.instantiate(&mut store).map_err(|error| failure(&error, start, 0, &[]))?;
        let lifecycle = |store: &mut Store<Guest>, name| export(&instance, store, abi::LIFECYCLE, name);
        let configure = lifecycle(&mut store, "configure")?;
        let work = match &compiled.name {
            Some(_) => {
                let (interface, name) = compiled.kind.function();
                export(&instance, &mut store, interface, name)?
            }
            None => lifecycle(&mut store, "describe")?,
        };
        let running = Self {
            printed: Vec::new(),
            deadline,
            limits: limits.clone(),
            open: lifecycle(&mut store, "open-series")?,
            close: lifecycle(&mut store, "close-series")?,
            snapshot: lifecycle(&mut store, "snapshot")?,
            restore: lifecycle(&mut store, "restore")?,
            work,
            store,
        };
        Ok((running, configure))
    }

    /// That all functions have the types of the contract, so that this is told at the start and not with the first batch.
    fn check_types(&self, kind: PluginKind) -> Result<(), Failure> {
        fn check<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
            func: Func,
            store: &Store<Guest>,
        ) -> Result<(), Failure> {
            func.typed::<P, R>(store).map(|_| ()).map_err(|error| Failure::Contract(format!("{error:#}")))
        }
        type Columns<'a> = (&'a [u32], &'a [i64], &'a [f64]);
        check::<(&[abi::SeriesInfo<'_>],), ()>(self.open, &self.store)?;
        check::<(&[u32],), ()>(self.close, &self.store)?;
        check::<(), (Vec<u8>,)>(self.snapshot, &self.store)?;
        check::<(&[u8],), (Result<(), String>,)>(self.restore, &self.store)?;
        match kind {
            PluginKind::MetricDeriver => check::<Columns<'_>, (abi::Derived,)>(self.work, &self.store),
            PluginKind::OutlierDetector => check::<Columns<'_>, (abi::Findings,)>(self.work, &self.store),
            PluginKind::HealthScorer => check::<(abi::Agents<'_>,), (abi::Scores,)>(self.work, &self.store),
            PluginKind::SlaEvaluator => check::<(abi::Objectives<'_>,), (abi::Reports,)>(self.work, &self.store),
        }
    }

    pub(super) fn open_series(&mut self, series: &[abi::SeriesInfo<'_>]) -> Result<(), Failure> {
        self.call(self.open, (series,), ANSWER_BYTES)
    }

    pub(super) fn close_series(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        self.call(self.close, (numbers,), ANSWER_BYTES)
    }

    /// The plugin's state, of `most` bytes at most. It has as much time as a start: a state is as large as what was told of.
    pub(super) fn snapshot(&mut self, most: usize) -> Result<Vec<u8>, Failure> {
        let deadline = Duration::from_millis(self.limits.start_deadline_ms);
        let larger = |failure| match failure {
            Failure::Limit(Limit::Output(_)) => Limit::State(most).into(),
            other => other,
        };
        let (state,): (Vec<u8>,) = self.call_within(self.snapshot, (), most, deadline).map_err(larger)?;
        if state.len() > most {
            return Err(Limit::State(most).into());
        }
        Ok(state)
    }

    pub(super) fn restore(&mut self, state: &[u8]) -> Result<Restored, Failure> {
        let deadline = Duration::from_millis(self.limits.start_deadline_ms);
        let (answer,): (Result<(), String>,) = self.call_within(self.restore, (state,), ANSWER_BYTES, deadline)?;
        Ok(answer.map_or_else(Restored::Refused, |()| Restored::Yes))
    }

    pub(super) fn derive(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> Result<abi::Derived, Failure> {
        let room = ANSWER_BYTES + series.len() * BYTES_PER_ROW;
        let (answer,): (abi::Derived,) = self.call_for_rows(series.len(), (series, times, values), room)?;
        answers::derived(&answer, series.len())?;
        Ok(answer)
    }

    pub(super) fn detect(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> Result<abi::Findings, Failure> {
        let room = ANSWER_BYTES + series.len() * BYTES_PER_ROW;
        let (answer,): (abi::Findings,) = self.call_for_rows(series.len(), (series, times, values), room)?;
        answers::findings(&answer, series.len())?;
        Ok(answer)
    }

    pub(super) fn score(&mut self, agents: &abi::Agents<'_>) -> Result<abi::Scores, Failure> {
        let room = ANSWER_BYTES + agents.agents.len() * BYTES_PER_AGENT;
        let (answer,): (abi::Scores,) = self.call_for_rows(agents.agents.len(), (*agents,), room)?;
        answers::scores(&answer, agents.agents.len())?;
        Ok(answer)
    }

    pub(super) fn evaluate(&mut self, objectives: &abi::Objectives<'_>) -> Result<abi::Reports, Failure> {
        let room = ANSWER_BYTES + objectives.agents.len() * BYTES_PER_ROW;
        let (answer,): (abi::Reports,) = self.call_for_rows(objectives.agents.len(), (*objectives,), room)?;
        answers::reports(&answer, objectives.agents.len())?;
        Ok(answer)
    }

    fn call<P, R>(&mut self, func: Func, params: P, room: usize) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.call_within(func, params, room, self.deadline)
    }

    /// Calls the world's own function, with time for its rows.
    fn call_for_rows<P, R>(&mut self, rows: usize, params: P, room: usize) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let deadline = self.deadline + time_for_rows(&self.limits, rows);
        self.call_within(self.work, params, room, deadline)
    }

    fn call_within<P, R>(&mut self, func: Func, params: P, room: usize, deadline: Duration) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let typed = func.typed::<P, R>(&self.store).map_err(|error| Failure::Contract(format!("{error:#}")))?;
        self.store.set_epoch_deadline(ticks(deadline));
        self.store.data_mut().call.start(deadline);
        self.store.set_hostcall_fuel(room);
        let answer = typed.call(&mut self.store, params);
        let printed = self.store.data().log.take();
        let answer = answer.map_err(|error| failure(&error, deadline, room, &printed));
        self.printed.extend_from_slice(&printed);
        answer
    }

    /// What was printed since this was called last.
    pub(super) fn take_printed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.printed)
    }
}

fn export(instance: &Instance, store: &mut Store<Guest>, interface: &str, name: &str) -> Result<Func, Failure> {
    instance
        .get_export_index(&mut *store, None, interface)
        .and_then(|outer| instance.get_export_index(&mut *store, Some(&outer), name))
        .and_then(|index| instance.get_func(&mut *store, index))
        .ok_or_else(|| Failure::Contract(format!("{interface} has no function {name}")))
}

fn ticks(deadline: Duration) -> u64 {
    // One more: the first may come at once.
    u64::try_from(deadline.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// What happened, as far as the error tells.
fn failure(error: &wasmtime::Error, deadline: Duration, room: usize, printed: &[u8]) -> Failure {
    if let Some(limit) = error.downcast_ref::<Limit>() {
        return Failure::Limit(*limit);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Failure::Deadline(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        Some(trap) => trap::failure(*trap, error, printed),
        // Reading the answer stopped: the engine has no type for this, but the words are its own and stable for the
        // version that is pinned; a test holds them.
        None if error.to_string().contains("fuel allocated for hostcalls") => Limit::Output(room).into(),
        None => Failure::Trap { message: format!("{error:#}"), functions: Vec::new() },
    }
}
