//! Readings of agents: what the new rows of a record say of CPU, memory, disk and requests.

use super::agent_monitor::AgentMonitor;
use super::rows::TenantRows;
use super::scores::{PendingScore, ScoreCause, ScoreQueue};
use super::shared::Shared;
use super::tenants::ShardTenant;
use super::thresholds::alert_series;
use crate::evaluate::agent_gauges::Reading;
use crate::evaluate::agents::{Measured, Subject};
use crate::evaluate::series_tracker::{NO_GAUGE, SeriesTracker};
use crate::evaluate::tenant_plugins::AgentView;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::record::Measurements;
use vitals_core::series::MetricKind;

/// Makes readings of agents from rows. It keeps its memory between records.
#[derive(Default)]
pub(super) struct ReadingMaker {
    /// The rows of a record that count for an agent's measurements: time, gauge, value.
    values: Vec<(i64, u32, f64)>,
    readings: Vec<(AgentId, Reading)>,
}

impl ReadingMaker {
    /// Applies a record's new rows (those from `first_new` on) to its agents, one time after the other, and queues for each
    /// time the agents that changed: so the result does not depend on how records are put together into batches.
    pub(super) fn apply(
        &mut self,
        tenant: &ShardTenant,
        (rows, first_new): (&TenantRows, usize),
        received: UnixNanos,
        (series, agents): (&mut SeriesTracker, &mut AgentMonitor),
        scores: &mut ScoreQueue,
        shared: &mut Shared,
    ) {
        let Self { values, readings } = self;
        values.clear();
        let new = &rows.new;
        let rows = new.series[first_new..].iter().zip(&new.times[first_new..]).zip(&rows.totals[first_new..]);
        for ((&id, &time), &value) in rows {
            let gauge = series.series[id as usize].gauge;
            if gauge != NO_GAUGE {
                values.push((time, gauge, value));
            }
        }
        if !values.is_sorted_by_key(|&(time, ..)| time) {
            values.sort_by_key(|&(time, ..)| time);
        }
        for same_time in values.chunk_by(|one, other| one.0 == other.0) {
            for &(time, gauge, value) in same_time {
                series.gauges.set(gauge, time, value);
            }
            series.gauges.take_changed(same_time[0].0, shared.config.stale(), readings);
            for (agent, reading) in readings.drain(..) {
                let score = agents.apply_reading(tenant, agent, &reading, received, series, shared);
                score.into_iter().for_each(|score| scores.push(score));
            }
        }
    }
}

impl AgentMonitor {
    /// Applies a reading to its agent, with thresholds; the view that is to be scored, if it says something new.
    fn apply_reading(
        &mut self,
        tenant: &ShardTenant,
        id: AgentId,
        reading: &Reading,
        received: UnixNanos,
        series: &SeriesTracker,
        shared: &mut Shared,
    ) -> Option<PendingScore> {
        let index = self.index_of(id, &tenant.id, shared);
        let agent = &mut self.agents.all[index];
        agent.memory_total_mb = reading.memory_total_mb.or(agent.memory_total_mb);
        if reading.measurements == Measurements::default() || reading.newest < agent.measured_at {
            return None;
        }
        agent.measurements = reading.measurements;
        agent.measured_at = reading.newest;
        let Shared { config, registry, out, .. } = shared;
        for kind in MetricKind::ALL.into_iter().filter(|kind| reading.kinds.has(*kind)) {
            if let Some(value) = reading.measurements.of_kind(kind) {
                let measured = Measured { subject: Subject::Measurements(kind), kind, time: reading.time, value };
                let named = || alert_series(registry, &series.gauges.sources(id, kind, config.stale()));
                agent.watch(measured, &named, received, config, out);
            }
        }
        let is_planned = agent.is_planned(received);
        let view = AgentView {
            agent: id,
            time: reading.newest,
            measurements: agent.with_percentages(reading.measurements, config),
            uptime_percent: agent.uptime_percent(shared.latest_arrival),
        };
        self.agents.mark_changed(index);
        Some(PendingScore { tenant: tenant.index, view, cause: ScoreCause::Reading { received, is_planned } })
    }
}
