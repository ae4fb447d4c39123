//! From the findings of detectors to verdicts, and to alerts of their agents.

use super::Shard;
use super::rows::RowRouter;
use super::shared::Shared;
use super::tenants::ShardTenant;
use super::thresholds::alert_series;
use crate::evaluate::agents::JudgedOutlier;
use crate::evaluate::series_tracker::SeriesTracker;
use crate::evaluate::tenant_plugins::Findings;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::rules::incidents::IncidentGrouper;
use vitals_core::rules::{iqr, seasonal};
use vitals_core::series::Origin;
use vitals_core::verdict::{Evidence, OutlierVerdict, Verdict, VerdictBody};

/// A finding that became a verdict.
pub(super) struct StandingOutlier {
    agent: AgentId,
    time: UnixNanos,
    evidence: Arc<Evidence>,
    outlier: OutlierVerdict,
}

/// Makes verdicts of findings: of those of `iqr-outlier`, which judges each value for itself, only what begins an incident.
/// `outliers` gets what answers requests. Returns the verdicts for alerts, if any policy wants them.
pub(super) fn verdicts_of(
    findings: Vec<Findings>,
    shown: &Columns,
    (tenant, series): (&ShardTenant, &SeriesTracker),
    (incidents, outliers): (&mut IncidentGrouper, &mut Vec<(UnixNanos, OutlierVerdict)>),
    shared: &mut Shared,
) -> Vec<StandingOutlier> {
    let has_policies = !shared.config.outlier_alerts.is_empty();
    let mut standing = Vec::new();
    for Findings { evidence, rows } in findings {
        let answers_requests = evidence.plugin != seasonal::PLUGIN;
        let judges_values = evidence.plugin == iqr::PLUGIN;
        for (row, mut outlier) in rows {
            let (Some(&time), Some(state)) = (shown.times.get(row), series.series.get(outlier.series.0 as usize))
            else {
                continue;
            };
            let time = UnixNanos(time);
            // A plugin may say infinity; JSON cannot.
            outlier.score = outlier.score.min(f64::MAX);
            if answers_requests {
                outliers.push((time, outlier.clone()));
            }
            if judges_values && !incidents.begins(outlier.series, time, outlier.score) {
                continue;
            }
            let agent = state.agent;
            if has_policies {
                standing.push(StandingOutlier { agent, time, evidence: evidence.clone(), outlier: outlier.clone() });
            }
            shared.out.verdicts.push(Verdict {
                tenant: tenant.id.clone(),
                agent,
                time,
                evidence: evidence.clone(),
                body: VerdictBody::Outlier(outlier),
            });
        }
    }
    standing
}

/// The series that a row came with: derived series have the rows of their source.
fn received_as(series: SeriesId, shared: &Shared) -> SeriesId {
    let desc = shared.registry.series(series);
    match desc.as_ref().map(|desc| &desc.spec.origin) {
        // A deriver is shown no derived series, so one step is all.
        Some(Origin::Derived { from, .. }) => *from,
        _ => series,
    }
}

impl Shard {
    /// Counts verdicts for the policies of alerts, in the order in which their rows came: so the alerts do not depend on how
    /// records are put together into batches.
    pub(super) fn alert_on_outliers(&mut self, tenant: &ShardTenant, standing: &[StandingOutlier]) {
        let Self { rows_by_tenant, agents, shared, .. } = self;
        let place = |found: &StandingOutlier, shared: &Shared, rows: &RowRouter| {
            let series = received_as(found.outlier.series, shared);
            rows.arrival_of(series, found.time).unwrap_or((usize::MAX, shared.latest_arrival))
        };
        let mut placed: Vec<_> = standing.iter().map(|found| (place(found, shared, rows_by_tenant), found)).collect();
        placed.sort_by_key(|((record, _), found)| (*record, found.time, found.outlier.series));
        for ((_, arrived), found) in placed {
            let index = agents.index_of(found.agent, &tenant.id, shared);
            let Shared { config, registry, out, .. } = shared;
            let id = found.outlier.series;
            let Some(desc) = registry.series(id) else { continue };
            let judged = JudgedOutlier {
                plugin: &found.evidence.plugin,
                kind: desc.spec.kind,
                outlier: &found.outlier,
                time: found.time,
                arrived,
            };
            agents.agents.all[index].count_outlier(&judged, &|| alert_series(registry, &[id]), config, out);
        }
    }
}
