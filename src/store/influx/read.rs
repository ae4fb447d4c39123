//! Questions to InfluxDB, in Flux that reads no more than it has to: a time range, one measurement, one series, one
//! column; and makes steps there.

use super::client::Client;
use super::columns::Types;
use super::findings::{self, BODY};
use super::flux::{self, any_of, literal};
use super::layout::{AGENT, Place, SERIES, TENANT};
use super::line::{self, EARLIEST, LATEST};
use super::names::Names;
use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;
use vitals_core::store::{Aggregation, StoreError, VerdictQuery};
use vitals_core::verdict::Verdict;

/// Agents named in one question; more take several.
const AGENTS: usize = 64;
/// Series named in one question for late rows.
const LATE_SERIES: usize = 64;
/// Late rows further apart than this are asked for apart, so that what lies between is not read.
const LATE_SPAN: i64 = 3600 * UnixNanos::SECOND;

/// What reads from InfluxDB.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) client: Arc<Client>,
    pub(super) names: Arc<Names>,
    pub(super) types: Arc<Types>,
}

/// A time range that InfluxDB can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Inclusive.
    pub(super) start: i64,
    /// Exclusive.
    pub(super) end: i64,
}

impl Range {
    /// The part of `start..end` that can hold anything; `None` when that is empty.
    pub(super) fn within(start: UnixNanos, end: UnixNanos) -> Option<Self> {
        let range = Self { start: start.0.max(EARLIEST), end: end.0.min(LATEST) };
        (range.start < range.end).then_some(range)
    }
}

impl Reader {
    fn rows_of(&self, place: &Place, column: &str, range: Range) -> String {
        format!(
            "{} |> filter(fn: (r) => r[\"_measurement\"] == {} and r[\"{SERIES}\"] == {} and r[\"_field\"] == {})",
            flux::from(&self.client.config().bucket, range.start, range.end),
            literal(&place.measurement),
            literal(&place.digest),
            literal(column),
        )
    }

    /// The samples of a series in `range` by time, at most `limit` of each of its columns.
    pub(super) fn raw(&self, series: u32, range: Range, limit: usize) -> Result<Vec<(i64, f64)>, StoreError> {
        let place = Place::of(&self.names, series);
        let most = if limit == usize::MAX { String::new() } else { format!(" |> limit(n: {limit})") };
        let mut script = String::new();
        for (number, column) in self.types.of(&place, series).iter().enumerate() {
            let rows = self.rows_of(&place, column, range);
            script += &format!(
                "{rows}{most} |> toFloat() |> keep(columns: [\"_time\", \"_value\"]) |> yield(name: \"c{number}\")\n"
            );
        }
        let mut found = self.points(&script)?;
        // Columns come one after the other.
        found.sort_by_key(|(time, _)| *time);
        Ok(found)
    }

    /// Whether InfluxDB can make steps of a series: not when its values are in two columns.
    pub(super) fn can_step(&self, series: u32, start: i64, step: i64) -> bool {
        const SANE: i64 = 1 << 60;
        !self.types.is_split(series) && start > -SANE && (1..SANE).contains(&step)
    }

    /// Steps of a series; the first one begins at `range.start` or before, and all are aligned to `origin`.
    pub(super) fn stepped(
        &self,
        series: u32,
        range: Range,
        origin: i64,
        (step, how): (i64, Aggregation),
        limit: usize,
    ) -> Result<Vec<(i64, f64)>, StoreError> {
        let place = Place::of(&self.names, series);
        let most = if limit == usize::MAX { String::new() } else { format!(" |> limit(n: {limit})") };
        let (before, function) = match how {
            Aggregation::Min => ("", "min"),
            Aggregation::Max => ("", "max"),
            Aggregation::Mean => ("", "mean"),
            Aggregation::Count => ("", "count"),
            Aggregation::Last => ("", "last"),
            // Nearest rank: the value at the rank ceil(0.95 n).
            Aggregation::P95 => (
                " |> toFloat()",
                "(column, tables=<-) => tables |> quantile(q: 0.95, method: \"exact_selector\", column: column)",
            ),
        };
        let mut script = String::new();
        // Of a series that is not split there is one column.
        for column in self.types.of(&place, series).iter().take(1) {
            let rows = self.rows_of(&place, column, range);
            let offset = origin.rem_euclid(step);
            script = format!(
                "{rows}{before} |> aggregateWindow(every: {step}ns, offset: {offset}ns, fn: {function}, \
                 createEmpty: false, timeSrc: \"_start\") |> keep(columns: [\"_time\", \"_value\"]){most}"
            );
        }
        let mut found = self.points(&script)?;
        // A step that begins before the range has the range's start for its time.
        for (time, _) in &mut found {
            *time -= time.wrapping_sub(origin).rem_euclid(step);
        }
        found.sort_by_key(|(time, _)| *time);
        Ok(found)
    }

    fn points(&self, script: &str) -> Result<Vec<(i64, f64)>, StoreError> {
        let answer = self.client.query(script)?;
        let mut points = Vec::new();
        flux::read(&answer, ["_time", "_value"], |[time, value]| {
            points.push((flux::time(time)?.0, flux::number(value)?));
            Ok(())
        })?;
        Ok(points)
    }

    /// Verdicts, newest first; all of those that have the time of the last one.
    pub(super) fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let mut found = Vec::new();
        match &query.agents {
            None => self.verdicts_of(query, "", &mut found)?,
            Some(agents) => {
                for some in agents.chunks(AGENTS) {
                    let keys: Vec<String> = some.iter().map(|agent| self.names.agent(*agent).1).collect();
                    let keys: Vec<_> = keys.iter().map(|key| line::clean(key)).collect();
                    let those = format!(" and {}", any_of(AGENT, keys.iter().map(|key| &**key)));
                    self.verdicts_of(query, &those, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn verdicts_of(&self, query: &VerdictQuery, agents: &str, found: &mut Vec<Verdict>) -> Result<(), StoreError> {
        let Some(range) = Range::within(query.start, query.end) else { return Ok(()) };
        let kinds: Vec<String> = match query.kind {
            Some(kind) => vec![findings::measurement(kind)],
            None => crate::store::schema::KINDS.into_iter().map(findings::measurement).collect(),
        };
        let plugin = query.plugin.as_ref().map(|plugin| format!(" and {}", any_of("plugin", [&*line::clean(plugin)])));
        let plugin = plugin.unwrap_or_default();
        let ask = |range: Range, most: &str| -> Result<Vec<Verdict>, StoreError> {
            let script = format!(
                "{} |> filter(fn: (r) => {} and r[\"_field\"] == \"{BODY}\" and r[\"{TENANT}\"] == {}{agents}{plugin}) \
                 |> keep(columns: [\"_time\", \"_value\"]) |> group(){most}",
                flux::from(&self.client.config().bucket, range.start, range.end),
                any_of("_measurement", kinds.iter().map(String::as_str)),
                literal(&line::clean(&query.tenant.0)),
            );
            let mut verdicts = Vec::new();
            flux::read(&self.client.query(&script)?, ["_value"], |[body]| {
                verdicts.push(findings::read_verdict(body)?);
                Ok(())
            })?;
            Ok(verdicts)
        };
        if query.limit == usize::MAX {
            found.extend(ask(range, "")?.into_iter().filter(|verdict| query.fits(verdict)));
            return Ok(());
        }
        let limit = query.limit.max(1);
        let most = format!(" |> sort(columns: [\"_time\"], desc: true) |> limit(n: {limit})");
        // A page goes on at the time of the last one before. What a page leaves out, the rest of the range may have.
        let mut end = query.after.as_ref().map_or(range.end, |after| range.end.min(after.time.0.0.saturating_add(1)));
        let mut kept = Vec::new();
        while kept.len() < limit && range.start < end {
            let mut some = ask(Range { start: range.start, end }, &most)?;
            let last = some.iter().map(|verdict| verdict.time).min().filter(|_| some.len() >= limit);
            // Those of one time come in any order: which of them are in the answer is not InfluxDB's to choose.
            if let Some(last) = last {
                some.retain(|verdict| verdict.time > last);
                some.extend(ask(Range { start: last.0, end: last.0 + 1 }, "")?);
            }
            kept.extend(some.into_iter().filter(|verdict| query.fits(verdict)));
            end = last.map_or(range.start, |last| last.0);
        }
        found.append(&mut kept);
        Ok(())
    }

    /// Which of `rows` (series and time) are there.
    pub(super) fn existing(&self, rows: &[(u32, i64)]) -> Result<HashSet<(u32, i64)>, StoreError> {
        let mut found = HashSet::new();
        let mut spans: BTreeMap<i64, BTreeMap<u32, (i64, i64)>> = BTreeMap::new();
        for &(series, time) in rows.iter().filter(|(_, time)| (EARLIEST..LATEST).contains(time)) {
            let series = spans.entry(time.div_euclid(LATE_SPAN)).or_default().entry(series).or_insert((time, time));
            *series = (series.0.min(time), series.1.max(time));
        }
        for span in spans.values() {
            let all: Vec<_> = span.iter().collect();
            for some in all.chunks(LATE_SERIES) {
                self.existing_in(some, &mut found)?;
            }
        }
        Ok(found)
    }

    fn existing_in(&self, some: &[(&u32, &(i64, i64))], found: &mut HashSet<(u32, i64)>) -> Result<(), StoreError> {
        let start = some.iter().map(|(_, times)| times.0).min().unwrap_or(0);
        let end = some.iter().map(|(_, times)| times.1).max().unwrap_or(0);
        let mut places: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for &(&series, _) in some {
            let place = Place::of(&self.names, series);
            for column in self.types.of(&place, series) {
                wanted.push(format!(
                    "(r[\"_measurement\"] == {} and r[\"{SERIES}\"] == {} and r[\"_field\"] == {})",
                    literal(&place.measurement),
                    literal(&place.digest),
                    literal(&column)
                ));
                places.entry((place.digest.clone(), column)).or_default().push(series);
            }
        }
        let script = format!(
            "{} |> filter(fn: (r) => {}) |> keep(columns: [\"_time\", \"{SERIES}\", \"_field\"])",
            flux::from(&self.client.config().bucket, start, end + 1),
            wanted.join(" or ")
        );
        let answer = self.client.query(&script)?;
        flux::read(&answer, ["_time", SERIES, "_field"], |[time, digest, column]| {
            let time = flux::time(time)?.0;
            let series = places.get(&(digest.to_owned(), column.to_owned()));
            found.extend(series.into_iter().flatten().map(|series| (*series, time)));
            Ok(())
        })
    }
}
