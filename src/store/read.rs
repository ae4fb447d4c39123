//! Questions, answered from the file and the tails together.

use super::block;
use super::readers::Snapshot;
use super::schema::{KINDS, decode, io, known_evidence, series_of, state};
use super::shared::Shared;
use super::sorted::{Lane, day_of};
use super::tail::Tail;
use hashbrown::{HashMap, HashSet};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::alert_command::AlertCommand;
use vitals_core::availability::{Interval, planned_over};
use vitals_core::ids::{AgentId, Partition, Position, SeriesId, TenantId, UnixNanos};
use vitals_core::series::{AgentDesc, Attributes, Scope, SeriesDesc};
use vitals_core::store::{
    Aggregation, AlertQuery, Catalogue, Checkpoint, PastMaintenance, SampleQuery, StoreError, VerdictQuery,
};
use vitals_core::verdict::{Alert, Evidence, Verdict};

/// A question that names more agents than this is answered from the tenant's rows.
const AGENTS_ONE_BY_ONE: usize = 64;

pub(super) const ALERT_BY_ID: &str = "SELECT body FROM alert WHERE id = ?1";

impl Shared {
    /// Shows the tails, and gives the file as of the same moment.
    pub(super) fn view(&self, visit: impl FnMut(&Tail)) -> Result<Snapshot<'_>, StoreError> {
        let _no_tail_goes_away = self.swap.read();
        self.look(visit);
        self.readers.begin()
    }

    pub(super) fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let mut late: Catalogue = Catalogue::default();
        let snapshot = self.view(|tail| {
            late.agents.extend(tail.agents.iter().cloned());
            late.series.extend(tail.series.iter().cloned());
        })?;
        let connection = snapshot.get()?;
        let mut agents: BTreeMap<AgentId, Arc<AgentDesc>> = BTreeMap::new();
        let mut statement = connection.prepare("SELECT body FROM agent").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let agent: AgentDesc = decode(row, 0)?;
            agents.insert(agent.id, Arc::new(agent));
        }
        let mut resources: HashMap<i64, Arc<Attributes>> = HashMap::new();
        let mut statement = connection.prepare("SELECT id, body FROM resource").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            resources.insert(row.get(0).map_err(io)?, Arc::new(decode(row, 1)?));
        }
        let mut scopes: HashSet<Arc<Scope>> = HashSet::new();
        let mut series = BTreeMap::new();
        let mut statement = connection.prepare("SELECT resource, body FROM series").map_err(io)?;
        let mut rows = statement.query([]).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let mut desc: SeriesDesc = decode(row, 1)?;
            let resource: i64 = row.get(0).map_err(io)?;
            desc.spec.resource = resources
                .get(&resource)
                .ok_or_else(|| StoreError::Damaged(format!("the resource of series {} is missing", desc.id.0)))?
                .clone();
            desc.spec.scope = scopes.get_or_insert(desc.spec.scope).clone();
            series.insert(desc.id, Arc::new(desc));
        }
        agents.extend(late.agents.into_iter().map(|agent| (agent.id, agent)));
        series.extend(late.series.into_iter().map(|desc| (desc.id, desc)));
        let given_out = connection
            .query_row("SELECT coalesce(max(agent) + 1, 0), coalesce(max(series), 0) FROM retired", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(io)?;
        let mut statement = connection.prepare("SELECT agent FROM retired").map_err(io)?;
        let retired = statement.query_map([], |row| Ok(AgentId(row.get(0)?))).map_err(io)?;
        let retired = retired.collect::<Result<_, _>>().map_err(io)?;
        let (agents, series) = (agents.into_values().collect(), series.into_values().collect());
        Ok(Catalogue { agents, series, retired, given_out })
    }

    pub(super) fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, StoreError> {
        let snapshot = self.readers.begin()?;
        let sql = "SELECT stored, included, state, liveness FROM checkpoint WHERE partition = ?1";
        let found = snapshot
            .get()?
            .query_row(sql, [partition.0], |row| {
                Ok(Checkpoint {
                    stored: Position(row.get::<_, i64>(0)?.cast_unsigned()),
                    included: Position(row.get::<_, i64>(1)?.cast_unsigned()),
                    state: row.get(2)?,
                    liveness: row.get(3)?,
                })
            })
            .optional();
        Ok(found.map_err(io)?.unwrap_or_default())
    }

    pub(super) fn stored(&self, partition: Partition) -> Result<Position, StoreError> {
        let snapshot = self.readers.begin()?;
        // The columns before the state, which is in pages of its own when it is large.
        let mut statement =
            snapshot.get()?.prepare_cached("SELECT stored FROM checkpoint WHERE partition = ?1").map_err(io)?;
        let found = statement.query_row([partition.0], |row| row.get::<_, i64>(0)).optional().map_err(io)?;
        Ok(Position(found.unwrap_or_default().cast_unsigned()))
    }

    pub(super) fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let SampleQuery { series, start, end, step, limit } = *query;
        let mut folder = StepAggregator::new(start, step, limit);
        self.each_sample(series, start, end, |time, value| folder.add(time, value))?;
        folder.finish()
    }

    /// Hands each sample of a series in `start..end` to `visit`, by time.
    pub(super) fn each_sample(
        &self,
        series: SeriesId,
        start: UnixNanos,
        end: UnixNanos,
        mut visit: impl FnMut(i64, f64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if start >= end {
            return Ok(());
        }
        let mut late: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
        let snapshot = self.view(|tail| {
            tail.samples_of(series.0, start.0, end.0, |time, value| {
                late.entry(day_of(time)).or_default().push((time, value));
            });
        })?;
        let connection = snapshot.get()?;
        let mut days = blocks_of(connection, series.0, start.0, end.0)?;
        for &day in late.keys() {
            days.entry(day).or_default();
        }
        // Blocks keep to days, so a day at a time is in memory and no more.
        for (day, mut blocks) in days {
            blocks.sort_unstable();
            let mut rows = Vec::new();
            for (_, id) in blocks {
                read_block(connection, id, series.0, start.0, end.0, &mut rows)?;
            }
            rows.extend(late.remove(&day).unwrap_or_default());
            if !rows.is_sorted_by(|a, b| a.0 < b.0) {
                // Stable: of equal times the one written first stays first.
                rows.sort_by_key(|row| row.0);
                rows.dedup_by_key(|row| row.0);
            }
            for (time, value) in rows {
                visit(time, value)?;
            }
        }
        Ok(())
    }

    pub(super) fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let wanted: Option<HashSet<AgentId>> = query.agents.as_ref().map(|agents| agents.iter().copied().collect());
        let mut late = Vec::new();
        let snapshot = self.view(|tail| {
            let fits = |verdict: &&Verdict| {
                verdict.tenant == query.tenant
                    && wanted.as_ref().is_none_or(|wanted| wanted.contains(&verdict.agent))
                    && query.fits(verdict)
            };
            late.extend(tail.verdicts.iter().filter(fits).cloned());
        })?;
        let connection = snapshot.get()?;
        let mut found = Vec::new();
        if let Some(tenant) = tenant_id(connection, &query.tenant)? {
            let mut evidence = HashMap::new();
            for (kind, name) in KINDS.iter().enumerate() {
                if query.kind.is_none_or(|wanted| wanted == *name) {
                    stored_verdicts(connection, query, wanted.as_ref(), tenant, kind, &mut evidence, &mut found)?;
                }
            }
        }
        // What is on disk first: a replay's copy of it falls out.
        found.extend(late);
        found.sort_by(|a, b| verdict_key(a).cmp(&verdict_key(b)));
        found.dedup_by(|b, a| verdict_key(a) == verdict_key(b));
        found.truncate(query.limit);
        Ok(found)
    }

    pub(super) fn intervals(
        &self,
        agent: AgentId,
        start: UnixNanos,
        end: UnixNanos,
    ) -> Result<Vec<Interval>, StoreError> {
        let mut late: BTreeMap<UnixNanos, Interval> = BTreeMap::new();
        let mut maintenance: Vec<PastMaintenance> = Vec::new();
        let snapshot = self.view(|tail| {
            let own = tail.intervals.iter().filter(|((of, _), _)| *of == agent);
            late.extend(own.map(|((_, start), interval)| (*start, *interval)));
            maintenance.extend(tail.maintenance.iter().filter(|window| window.agent == agent));
        })?;
        let connection = snapshot.get()?;
        let stored = stored_intervals(connection, agent, start, end)?;
        let mut found: BTreeMap<UnixNanos, Interval> = stored.into_iter().map(|one| (one.start, one)).collect();
        found.extend(late);
        for window in maintenance {
            let known: Vec<Interval> = found.values().copied().collect();
            let changes = planned_over(&known, window.start, window.end);
            found.extend(changes.into_iter().map(|change| (change.start, change)));
        }
        found.retain(|from, interval| *from < end && interval.end.is_none_or(|to| to > start));
        Ok(found.into_values().collect())
    }

    pub(super) fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        let wanted: Option<HashSet<AgentId>> = query.agents.as_ref().map(|agents| agents.iter().copied().collect());
        let mut late: HashMap<String, Alert> = HashMap::new();
        let mut commands: Vec<AlertCommand> = Vec::new();
        let snapshot = self.view(|tail| {
            late.extend(tail.alerts.iter().map(|(id, alert)| (id.clone(), alert.clone())));
            commands.extend(tail.alert_commands.iter().cloned());
        })?;
        let connection = snapshot.get()?;
        let mut found: HashMap<String, Alert> = HashMap::new();
        if let Some(tenant) = tenant_id(connection, &query.tenant)? {
            // What is in the tails may take as many of these away.
            let most = query.limit.saturating_add(late.len()).saturating_add(commands.len());
            let may_fit = |alert: &Alert| query.fits(alert) || commands.iter().any(|one| one.alert == alert.id);
            stored_alerts(connection, query, wanted.as_ref(), (tenant, most), &may_fit, &mut found)?;
        }
        found.extend(late);
        for one in commands {
            if let Some(alert) = found.get_mut(&one.alert) {
                one.apply(alert);
            }
        }
        let mut found: Vec<Alert> = found
            .into_values()
            .filter(|alert| {
                alert.tenant == query.tenant
                    && wanted.as_ref().is_none_or(|wanted| wanted.contains(&alert.agent))
                    && query.fits(alert)
            })
            .collect();
        found.sort_by(|a, b| (Reverse(a.started), &a.id).cmp(&(Reverse(b.started), &b.id)));
        found.truncate(query.limit);
        Ok(found)
    }

    pub(super) fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        let mut late: Option<Alert> = None;
        let mut commands: Vec<AlertCommand> = Vec::new();
        let snapshot = self.view(|tail| {
            if let Some(alert) = tail.alerts.get(id) {
                late = Some(alert.clone());
            }
            commands.extend(tail.alert_commands.iter().filter(|one| one.alert == id).cloned());
        })?;
        let mut found = match late {
            Some(alert) => Some(alert),
            None => stored_alert(snapshot.get()?, id)?,
        };
        if let Some(alert) = &mut found {
            for one in commands {
                one.apply(alert);
            }
        }
        Ok(found.filter(|alert| alert.tenant == *tenant))
    }
}

/// The alert with this id, by the table's key.
pub(super) fn stored_alert(connection: &Connection, id: &str) -> Result<Option<Alert>, StoreError> {
    let mut statement = connection.prepare_cached(ALERT_BY_ID).map_err(io)?;
    let mut rows = statement.query([id]).map_err(io)?;
    rows.next().map_err(io)?.map(|row| decode(row, 0)).transpose()
}

/// The intervals of an agent that overlap `start..end`, in any order.
pub(super) fn stored_intervals(
    connection: &Connection,
    agent: AgentId,
    start: UnixNanos,
    end: UnixNanos,
) -> Result<Vec<Interval>, StoreError> {
    let sql = "SELECT start, end, state FROM interval
               WHERE agent = ?1 AND start < ?3 AND (end IS NULL OR end > ?2)";
    let mut statement = connection.prepare_cached(sql).map_err(io)?;
    let mut rows = statement.query(params![agent.0, start.0, end.0]).map_err(io)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(io)? {
        let end = row.get::<_, Option<i64>>(1).map_err(io)?.map(UnixNanos);
        let start = UnixNanos(row.get(0).map_err(io)?);
        found.push(Interval { start, end, state: state(row.get(2).map_err(io)?)? });
    }
    Ok(found)
}

/// Newest first, then whatever tells verdicts of one time apart.
pub(super) fn verdict_key(verdict: &Verdict) -> (Reverse<UnixNanos>, AgentId, &str, &str, i64) {
    let Verdict { agent, time, evidence, body, .. } = verdict;
    (Reverse(*time), *agent, body.kind(), &evidence.plugin, series_of(body))
}

pub(super) fn tenant_id(connection: &Connection, tenant: &TenantId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM tenant WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(io)?;
    statement.query_row([&*tenant.0], |row| row.get(0)).optional().map_err(io)
}

/// (seq, id) of the blocks that may hold samples of `series` in `start..end`, by day.
fn blocks_of(
    connection: &Connection,
    series: u32,
    start: i64,
    end: i64,
) -> Result<BTreeMap<i64, Vec<(i64, i64)>>, StoreError> {
    let mut days: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    let sql = "SELECT day, seq, id FROM block
               WHERE first = ?1 AND day BETWEEN ?2 AND ?3 AND last >= ?4 AND start < ?6 AND end >= ?5";
    let mut statement = connection.prepare_cached(sql).map_err(io)?;
    for first in Lane::firsts(series) {
        let values = params![first, day_of(start), day_of(end - 1), series, start, end];
        let mut rows = statement.query(values).map_err(io)?;
        while let Some(row) = rows.next().map_err(io)? {
            let block = (row.get(1).map_err(io)?, row.get(2).map_err(io)?);
            days.entry(row.get(0).map_err(io)?).or_default().push(block);
        }
    }
    Ok(days)
}

fn read_block(
    connection: &Connection,
    id: i64,
    series: u32,
    start: i64,
    end: i64,
    out: &mut Vec<(i64, f64)>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM block WHERE id = ?1").map_err(io)?;
    let mut rows = statement.query([id]).map_err(io)?;
    let Some(row) = rows.next().map_err(io)? else { return Ok(()) };
    let body = row.get_ref(0).map_err(io)?;
    let body = body.as_blob().map_err(|error| StoreError::Damaged(error.to_string()))?;
    let (times, values) = block::decode_series(body, series).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let from = times.partition_point(|&time| time < start);
    let to = times.partition_point(|&time| time < end);
    out.extend(times[from..to].iter().copied().zip(values[from..to].iter().copied()));
    Ok(())
}

fn stored_verdicts(
    connection: &Connection,
    query: &VerdictQuery,
    wanted: Option<&HashSet<AgentId>>,
    tenant: i64,
    kind: usize,
    evidence: &mut HashMap<i64, Arc<Evidence>>,
    found: &mut Vec<Verdict>,
) -> Result<(), StoreError> {
    let mut ask = |agent: Option<AgentId>| -> Result<(), StoreError> {
        let which = if agent.is_some() { "agent = ?5 AND" } else { "" };
        // A page goes on at the time of the last one before.
        let end = query.after.as_ref().map_or(query.end, |after| query.end.min(after.time.0.plus(1)));
        let sql = format!(
            "SELECT agent, time, evidence, body FROM verdict
             WHERE {which} tenant = ?1 AND kind = ?2 AND time >= ?3 AND time < ?4 ORDER BY time DESC, agent, plugin, series"
        );
        let mut values: Vec<Value> = vec![tenant.into(), (kind as i64).into(), query.start.0.into(), end.0.into()];
        values.extend(agent.map(|agent| Value::from(i64::from(agent.0))));
        let mut statement = connection.prepare_cached(&sql).map_err(io)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(io)?;
        let mut left = query.limit;
        while left > 0
            && let Some(row) = rows.next().map_err(io)?
        {
            let agent = AgentId(row.get(0).map_err(io)?);
            if wanted.is_none_or(|wanted| wanted.contains(&agent)) {
                let evidence = known_evidence(connection, evidence, row.get(2).map_err(io)?)?;
                let time = UnixNanos(row.get(1).map_err(io)?);
                let verdict = Verdict { tenant: query.tenant.clone(), agent, time, evidence, body: decode(row, 3)? };
                if query.fits(&verdict) {
                    found.push(verdict);
                    left -= 1;
                }
            }
        }
        Ok(())
    };
    match wanted {
        Some(agents) if agents.len() <= AGENTS_ONE_BY_ONE => agents.iter().try_for_each(|&agent| ask(Some(agent))),
        _ => ask(None),
    }
}

fn stored_alerts(
    connection: &Connection,
    query: &AlertQuery,
    wanted: Option<&HashSet<AgentId>>,
    (tenant, most): (i64, usize),
    fits: &dyn Fn(&Alert) -> bool,
    found: &mut HashMap<String, Alert>,
) -> Result<(), StoreError> {
    let mut ask = |agent: Option<AgentId>| -> Result<(), StoreError> {
        let state = match query.resolved {
            Some(false) => "resolved IS NULL AND",
            Some(true) => "resolved IS NOT NULL AND",
            None => "",
        };
        let which = if agent.is_some() { "agent = ?4 AND" } else { "" };
        let sql = format!(
            "SELECT body FROM alert
             WHERE {state} {which} tenant = ?1 AND started >= ?2 AND started < ?3 ORDER BY started DESC, id"
        );
        let end = query.after.as_ref().map_or(query.end, |after| query.end.min(after.started.0.plus(1)));
        let mut values: Vec<Value> = vec![tenant.into(), query.start.0.into(), end.0.into()];
        values.extend(agent.map(|agent| Value::from(i64::from(agent.0))));
        let mut statement = connection.prepare_cached(&sql).map_err(io)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(io)?;
        let mut left = most;
        while left > 0
            && let Some(row) = rows.next().map_err(io)?
        {
            let alert: Alert = decode(row, 0)?;
            if wanted.is_none_or(|wanted| wanted.contains(&alert.agent)) && fits(&alert) {
                found.insert(alert.id.clone(), alert);
                left -= 1;
            }
        }
        Ok(())
    };
    match wanted {
        Some(agents) if agents.len() <= AGENTS_ONE_BY_ONE => agents.iter().try_for_each(|&agent| ask(Some(agent))),
        _ => ask(None),
    }
}

/// Makes points of samples that come in order of time.
pub(super) struct StepAggregator {
    start: UnixNanos,
    step: Option<(u64, Aggregation)>,
    limit: usize,
    points: Vec<(UnixNanos, f64)>,
    /// Number of the step that is being filled, and its values.
    current: u64,
    values: Vec<f64>,
}

impl StepAggregator {
    pub(super) fn new(start: UnixNanos, step: Option<(i64, Aggregation)>, limit: usize) -> Self {
        // A step of nothing or less is taken as the shortest.
        let step = step.map(|(nanos, how)| (nanos.max(1).unsigned_abs(), how));
        Self { start, step, limit, points: Vec::new(), current: 0, values: Vec::new() }
    }

    pub(super) fn add(&mut self, time: i64, value: f64) -> Result<(), StoreError> {
        let Some((nanos, how)) = self.step else { return self.point(UnixNanos(time), value) };
        let at = time.abs_diff(self.start.0) / nanos;
        if at != self.current {
            self.close_step(nanos, how)?;
            self.current = at;
        }
        if !value.is_nan() || matches!(how, Aggregation::Last | Aggregation::Count) {
            self.values.push(value);
        }
        Ok(())
    }

    fn close_step(&mut self, nanos: u64, how: Aggregation) -> Result<(), StoreError> {
        if self.values.is_empty() {
            return Ok(());
        }
        let value = aggregate(&mut self.values, how);
        self.values.clear();
        // At or before the time of a sample, so it is in range.
        let time = self.start.0.wrapping_add_unsigned(self.current * nanos);
        self.point(UnixNanos(time), value)
    }

    fn point(&mut self, time: UnixNanos, value: f64) -> Result<(), StoreError> {
        if self.points.len() >= self.limit {
            return Err(StoreError::TooMuch { limit: self.limit });
        }
        self.points.push((time, value));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        if let Some((nanos, how)) = self.step {
            self.close_step(nanos, how)?;
        }
        Ok(self.points)
    }
}

/// One value of those of a step, of which there is at least one, in order of time. May reorder them.
fn aggregate(values: &mut [f64], how: Aggregation) -> f64 {
    let count = values.len() as f64;
    match how {
        Aggregation::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregation::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Mean => values.iter().sum::<f64>() / count,
        Aggregation::Count => count,
        Aggregation::Last => values.last().copied().unwrap_or(f64::NAN),
        Aggregation::P95 => {
            // Nearest rank: the smallest value that at least 95 % are not above.
            let rank = (values.len() * 95).div_ceil(100).max(1) - 1;
            *values.select_nth_unstable_by(rank, f64::total_cmp).1
        }
    }
}
