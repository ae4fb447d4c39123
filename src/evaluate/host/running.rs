//! One instance of a plugin and its calls.

use super::abi;
use super::answers;
use super::component::{Compiled, PluginKind};
use super::config::PluginLimits;
use super::error::{Failure, Limit};
use super::ground::Ground;
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
    describe: Func,
    open_agents: Func,
    close_agents: Func,
    snapshot: Func,
    restore: Func,
    /// Of those that hear of series.
    watching: Option<Watching>,
    work: Func,
}

/// The functions of a plugin that hears of series.
struct Watching {
    open: Func,
    close: Func,
    tick: Func,
}

/// Whether a state was taken.
pub(super) enum Restored {
    Yes,
    /// The plugin says why not.
    Refused(String),
}

impl Running {
    /// Starts an instance and gives it its configuration.
    pub(super) fn start(
        compiled: &Compiled,
        config: &str,
        limits: &Arc<PluginLimits>,
        ground: &Ground,
    ) -> Result<Self, Failure> {
        let (mut running, configure) = Self::instantiate(compiled, limits, ground)?;
        let start = Duration::from_millis(limits.start_deadline_ms);
        let setup = abi::Setup { config, seed: ground.seed };
        let (answer,): (Result<(), String>,) = running.call_within(configure, (setup,), ANSWER_BYTES, start)?;
        answer.map_err(Failure::Configuration)?;
        running.check_types(compiled.kind)?;
        Ok(running)
    }

    /// What a plugin says of itself before it has a configuration.
    pub(super) fn describe_unconfigured(
        compiled: &Compiled,
        limits: &Arc<PluginLimits>,
    ) -> Result<abi::Manifest, Failure> {
        let (mut running, _) = Self::instantiate(compiled, limits, &Ground::default())?;
        running.describe(compiled.kind)
    }

    /// What the plugin says of itself.
    pub(super) fn describe(&mut self, kind: PluginKind) -> Result<abi::Manifest, Failure> {
        let (manifest,): (abi::Manifest,) = self.call(self.describe, (), ANSWER_BYTES)?;
        answers::manifest(&manifest, kind)?;
        Ok(manifest)
    }

    /// An instance, and its `configure`.
    fn instantiate(compiled: &Compiled, limits: &Arc<PluginLimits>, ground: &Ground) -> Result<(Self, Func), Failure> {
        let deadline = Duration::from_millis(limits.deadline_ms);
        let start = Duration::from_millis(limits.start_deadline_ms);
        let name = compiled.manifest.as_ref().map_or_else(String::new, |manifest| manifest.name.clone());
        let (pool, number) = &compiled.memory;
        let lease = MemoryLease::new(pool.clone(), *number);
        let mut store = Store::new(compiled.pre.engine(), Guest::new(name.clone(), limits, lease, ground));
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
        let (interface, work) = compiled.kind.function();
        let watching = if compiled.kind.watches() {
            Some(Watching {
                open: export(&instance, &mut store, abi::WATCHING, "open-series")?,
                close: export(&instance, &mut store, abi::WATCHING, "close-series")?,
                tick: export(&instance, &mut store, interface, "tick")?,
            })
        } else {
            None
        };
        let running = Self {
            printed: Vec::new(),
            deadline,
            limits: limits.clone(),
            describe: lifecycle(&mut store, "describe")?,
            open_agents: lifecycle(&mut store, "open-agents")?,
            close_agents: lifecycle(&mut store, "close-agents")?,
            snapshot: lifecycle(&mut store, "snapshot")?,
            restore: lifecycle(&mut store, "restore")?,
            work: export(&instance, &mut store, interface, work)?,
            watching,
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
        let store = &self.store;
        check::<(&[abi::AgentInfo],), ()>(self.open_agents, store)?;
        check::<(&[u32],), ()>(self.close_agents, store)?;
        check::<(), (Vec<u8>,)>(self.snapshot, store)?;
        check::<(u32, &[u8]), (Result<(), String>,)>(self.restore, store)?;
        if let Some(watching) = &self.watching {
            check::<(&[abi::SeriesInfo<'_>],), ()>(watching.open, store)?;
            check::<(&[u32],), ()>(watching.close, store)?;
            match kind {
                PluginKind::MetricDeriver => check::<(i64,), (abi::Derived,)>(watching.tick, store)?,
                _ => check::<(i64,), (abi::Findings,)>(watching.tick, store)?,
            }
        }
        match kind {
            PluginKind::MetricDeriver => check::<Columns<'_>, (abi::Derived,)>(self.work, store),
            PluginKind::OutlierDetector => check::<Columns<'_>, (abi::Findings,)>(self.work, store),
            PluginKind::HealthScorer => check::<(abi::Agents<'_>,), (abi::Scores,)>(self.work, store),
            PluginKind::SlaEvaluator => check::<(abi::Objectives<'_>,), (abi::Reports,)>(self.work, store),
        }
    }

    pub(super) fn open_agents(&mut self, agents: &[abi::AgentInfo]) -> Result<(), Failure> {
        self.call(self.open_agents, (agents,), ANSWER_BYTES)
    }

    pub(super) fn close_agents(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        self.call(self.close_agents, (numbers,), ANSWER_BYTES)
    }

    pub(super) fn tick_deriver(&mut self, now: i64, series: usize) -> Result<abi::Derived, Failure> {
        let Some(tick) = self.watching.as_ref().map(|watching| watching.tick) else { return Ok(abi::Derived::none()) };
        let (answer,): (abi::Derived,) = self.call(tick, (now,), ANSWER_BYTES + series * BYTES_PER_ROW)?;
        answers::derived(&answer)?;
        Ok(answer)
    }

    pub(super) fn tick_detector(&mut self, now: i64, series: usize) -> Result<abi::Findings, Failure> {
        let Some(tick) = self.watching.as_ref().map(|watching| watching.tick) else { return Ok(abi::Findings::none()) };
        let (answer,): (abi::Findings,) = self.call(tick, (now,), ANSWER_BYTES + series * BYTES_PER_ROW)?;
        Ok(answer)
    }

    pub(super) fn open_series(&mut self, series: &[abi::SeriesInfo<'_>]) -> Result<(), Failure> {
        let Some(open) = self.watching.as_ref().map(|watching| watching.open) else { return Ok(()) };
        self.call(open, (series,), ANSWER_BYTES)
    }

    pub(super) fn close_series(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        let Some(close) = self.watching.as_ref().map(|watching| watching.close) else { return Ok(()) };
        self.call(close, (numbers,), ANSWER_BYTES)
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

    pub(super) fn restore(&mut self, version: u32, state: &[u8]) -> Result<Restored, Failure> {
        let deadline = Duration::from_millis(self.limits.start_deadline_ms);
        let (answer,): (Result<(), String>,) =
            self.call_within(self.restore, (version, state), ANSWER_BYTES, deadline)?;
        Ok(answer.map_or_else(Restored::Refused, |()| Restored::Yes))
    }

    pub(super) fn derive(&mut self, series: &[u32], times: &[i64], values: &[f64]) -> Result<abi::Derived, Failure> {
        let room = ANSWER_BYTES + series.len() * BYTES_PER_ROW;
        let (answer,): (abi::Derived,) = self.call_for_rows(series.len(), (series, times, values), room)?;
        answers::derived(&answer)?;
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
