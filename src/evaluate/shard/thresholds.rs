//! Thresholds on REST metrics, which others report of an agent.

use super::agent_monitor::AgentMonitor;
use super::rows::TenantRows;
use super::scores::{PendingScore, ScoreCause, ScoreQueue};
use super::shared::Shared;
use super::tenants::ShardTenant;
use crate::evaluate::agents::{Measured, Subject};
use crate::evaluate::config::EvaluateConfig;
use crate::evaluate::series_tracker::{SeriesTracker, flag};
use crate::evaluate::tenant_plugins::AgentView;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, UnixNanos};
use vitals_core::record::{Breach, Measurements};
use vitals_core::registry::Registry;
use vitals_core::rules::thresholds::judged_value;
use vitals_core::series::MetricKind;
use vitals_core::verdict::{Alert, AlertSeries};

/// A value of a REST metric as thresholds judge it.
struct ReportedValue {
    time: UnixNanos,
    series: SeriesId,
    kind: MetricKind,
    value: f64,
}

/// The kind and the value that thresholds judge of a row; `None` if it is not of a REST metric of such a kind.
fn judged(series: &SeriesTracker, registry: &Registry, id: SeriesId, value: f64) -> Option<(MetricKind, f64)> {
    let state = series.series.get(id.0 as usize)?;
    if state.flags & flag::WATCH == 0 {
        return None;
    }
    let desc = registry.series(id)?;
    Some((desc.spec.kind, judged_value(desc.spec.kind, &desc.spec.unit, value, None)?))
}

/// The breaches among some rows, whether the rows are new or not.
pub(super) fn breaches(
    columns: &Columns,
    series: &SeriesTracker,
    registry: &Registry,
    config: &EvaluateConfig,
) -> Vec<Breach> {
    let breach = |(id, _, value): (SeriesId, UnixNanos, f64)| {
        let (kind, value) = judged(series, registry, id, value)?;
        let threshold = config.threshold(kind)?;
        Some(Breach { series: Some(id), message: threshold.sentence(value, threshold.judge(value)?) })
    };
    columns.rows().filter_map(breach).collect()
}

/// The identity of the series that made a value: of several, the metric of the first and the attributes of all.
pub(super) fn alert_series(registry: &Registry, series: &[SeriesId]) -> Option<AlertSeries> {
    let mut descs = series.iter().filter_map(|&id| registry.series(id));
    let first = descs.next()?;
    let mut attributes: Vec<(String, String)> =
        first.spec.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for other in descs {
        attributes.retain(|(key, value)| other.spec.attributes.iter().any(|(k, v)| k == key && v == value));
    }
    Some(AlertSeries { metric: first.spec.metric.clone(), attributes })
}

impl AgentMonitor {
    /// Applies thresholds to the new rows of REST metrics (those from `first_new` on), one time after the other, and queues
    /// their agents for scoring; the alerts raised. A row that is ahead of its arrival counts as of its arrival.
    pub(super) fn watch_reported(
        &mut self,
        tenant: &ShardTenant,
        (rows, first_new): (&TenantRows, usize),
        received: UnixNanos,
        series: &SeriesTracker,
        scores: &mut ScoreQueue,
        shared: &mut Shared,
    ) -> Vec<Alert> {
        let new = &rows.new;
        let on_time = (first_new..new.len()).map(|row| (UnixNanos(new.times[row]), new.series[row], new.values[row]));
        let ahead = series.reported_ahead.iter().map(|&(id, value)| (received, id.0, value));
        let mut reported: Vec<ReportedValue> = on_time
            .chain(ahead)
            .filter_map(|(time, id, value)| {
                let (kind, value) = judged(series, &shared.registry, SeriesId(id), value)?;
                Some(ReportedValue { time, series: SeriesId(id), kind, value })
            })
            .collect();
        reported.sort_by_key(|value| value.time);
        let mut raised = Vec::new();
        for same_time in reported.chunk_by(|one, other| one.time == other.time) {
            for value in same_time {
                raised.extend(self.watch_value(tenant, value, received, series, shared));
            }
            self.score_reported(tenant, &same_time[0], received, series, scores, shared);
        }
        raised
    }

    fn watch_value(
        &mut self,
        tenant: &ShardTenant,
        reported: &ReportedValue,
        received: UnixNanos,
        series: &SeriesTracker,
        shared: &mut Shared,
    ) -> Option<Alert> {
        let &ReportedValue { time, series: id, kind, value } = reported;
        let index = self.index_of(series.series[id.0 as usize].agent, &tenant.id, shared);
        let agent = &mut self.agents.all[index];
        if agent.tracker.is_none() {
            agent.observe(id, kind, time, value);
        }
        let Shared { registry, config, out, .. } = shared;
        let measured = Measured { subject: Subject::Series(id), kind, time, value };
        agent.watch(measured, &|| alert_series(registry, &[id]), received, config, out)
    }

    /// Queues the agent of a reported value for scoring by what others report of it, unless it shows life itself.
    fn score_reported(
        &mut self,
        tenant: &ShardTenant,
        reported: &ReportedValue,
        received: UnixNanos,
        series: &SeriesTracker,
        scores: &mut ScoreQueue,
        shared: &mut Shared,
    ) {
        let (id, time) = (series.series[reported.series.0 as usize].agent, reported.time);
        let index = self.index_of(id, &tenant.id, shared);
        let agent = &mut self.agents.all[index];
        if agent.tracker.is_some() || time < agent.measured_at {
            return;
        }
        let measurements = agent.observed(time);
        if measurements == Measurements::default() {
            return;
        }
        agent.measurements = measurements;
        agent.measured_at = time;
        let view = AgentView { agent: id, time, measurements, uptime_percent: None };
        let cause = ScoreCause::Reading { received, is_planned: true };
        scores.push(PendingScore { tenant: tenant.index, view, cause });
    }
}
