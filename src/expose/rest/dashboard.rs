//! `POST /dashboard`.

use super::assess::range_of;
use super::check::{self, Problem};
use super::current_health::{CurrentHealth, liveness_name};
use super::error::{AnyErrors, ApiError, BodyErrors, TokenErrors};
use super::insight::{Means, label, trend};
use super::time::{Time, parse_duration, seconds};
use super::wire::{
    AggregationName, AlertInfo, Anomaly, Chart, DashboardQuery, Health, SamplePoint, SeriesTrend,
    TelemetryDashboardData,
};
use super::{Reader, elapsed_ms, message, touchable};
use crate::expose::Rest;
use axum::Json;
use axum::extract::{Request, State};
use hashbrown::HashMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use vitals_core::caller::Caller;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::live_agents::Liveness;
use vitals_core::rules::percent::bounded;
use vitals_core::series::{AgentDesc, MetricKind, SeriesDesc};
use vitals_core::store::{Aggregation, AlertQuery, SampleQuery, StoreError, VerdictQuery};
use vitals_core::verdict::VerdictBody;

/// Most alerts and anomalies listed.
const MOST_LISTED: usize = 200;
/// Most open alerts that are counted.
const MOST_COUNTED: usize = 100_000;
/// Fewest points that a series is shown with; more series than fit with so many are left out.
const FEWEST_POINTS: usize = 2;

/// Everything of a fleet at one look
#[utoipa::path(
    post, path = "/api/v1/telemetry/dashboard", tag = "telemetry", security(("token" = [])),
    request_body = DashboardQuery,
    responses(
        (status = 200, body = TelemetryDashboardData, description = "everything in the range"),
        TokenErrors, BodyErrors, AnyErrors
    )
)]
pub async fn dashboard(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    request: Request,
) -> Result<Json<TelemetryDashboardData>, ApiError> {
    let query: DashboardQuery = message(request, check::DASHBOARD).await?;
    let range = range_of(&query.time_range)?;
    let window = parse_duration(&query.aggregation_window).ok_or_else(|| {
        let msg = "Input should be a duration such as 30s, 5m, 1h or 1d";
        let input = Value::from(query.aggregation_window.as_str());
        ApiError::Invalid(vec![Problem::new("value_error", ["body", "aggregation_window"], msg, Some(&input))])
    })?;
    for id in query.agent_ids.iter().chain(&query.system_ids) {
        touchable(&caller, id)?;
    }
    let data =
        rest.ask(move |rest| DashboardData { rest, caller: &caller, query: &query, range, window }.draw()).await?;
    Ok(Json(data))
}

struct DashboardData<'a> {
    rest: &'a Rest,
    caller: &'a Caller,
    query: &'a DashboardQuery,
    range: (UnixNanos, UnixNanos),
    window: i64,
}

/// What is shown of the series.
#[derive(Default)]
struct Charts {
    data: Vec<Chart>,
    trends: BTreeMap<String, SeriesTrend>,
    points: usize,
    newest: Option<UnixNanos>,
    left_out: usize,
}

impl DashboardData<'_> {
    fn draw(&self) -> Result<TelemetryDashboardData, StoreError> {
        let begun = Instant::now();
        let now = self.rest.now();
        let mut performance: BTreeMap<String, Value> = BTreeMap::new();
        let mut clock = Instant::now();
        let mut lap = |name: &str, performance: &mut BTreeMap<String, Value>| {
            performance.insert(format!("{name}_ms"), elapsed_ms(clock).into());
            clock = Instant::now();
        };
        let agents = self.agents();
        lap("agents", &mut performance);
        let charts = self.charts(&agents)?;
        lap("series", &mut performance);
        let keys: HashMap<AgentId, &str> = agents.iter().map(|(agent, _)| (agent.id, agent.key.as_str())).collect();
        let alerts = if self.query.include_alerts { self.alerts(&keys)? } else { Vec::new() };
        lap("alerts", &mut performance);
        let anomalies = self.anomalies(&keys)?;
        lap("anomalies", &mut performance);
        let mut alert_summary = BTreeMap::new();
        for alert in &alerts {
            let name = serde_json::to_value(alert.severity).ok().and_then(|name| name.as_str().map(str::to_owned));
            *alert_summary.entry(name.unwrap_or_default()).or_insert(0) += 1;
        }
        let freshest = agents
            .iter()
            .filter_map(|(_, current_health)| current_health.live.as_ref().map(|live| live.last_evidence))
            .chain(charts.newest)
            .max()
            .unwrap_or(self.range.0);
        performance.insert("series_shown".to_owned(), charts.data.len().into());
        performance.insert("series_left_out".to_owned(), charts.left_out.into());
        let in_memory = agents.iter().filter(|(_, current_health)| current_health.live.is_some()).count();
        // Nothing was asked for in vain.
        let cache_hit_ratio = if agents.is_empty() { 1.0 } else { in_memory as f64 / agents.len() as f64 };
        let (agent_summary, system_summary) = self.summaries(&agents);
        performance.insert("total_ms".to_owned(), elapsed_ms(begun).into());
        Ok(TelemetryDashboardData {
            query_id: self.query.query_id.clone(),
            query_executed_at: Time(now),
            data_freshness: Time(freshest),
            time_range: self.query.time_range.clone(),
            aggregation_window: self.query.aggregation_window.clone(),
            total_data_points: charts.points,
            agent_summary,
            system_summary,
            time_series_data: charts.data,
            active_alerts: alerts.into_iter().take(MOST_LISTED).collect(),
            alert_summary,
            trends: charts.trends,
            anomalies,
            query_performance: performance,
            cache_hit_ratio,
        })
    }

    /// The agents that pass the filters, with how they stand.
    fn agents(&self) -> Vec<(Arc<AgentDesc>, CurrentHealth)> {
        let query = self.query;
        let named = !query.agent_ids.is_empty() || !query.system_ids.is_empty();
        let fits = |wanted: &[String], value: &Option<String>| {
            wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value))
        };
        let mut found = Vec::new();
        for agent in self.rest.agents(self.caller) {
            let asked = !named || query.agent_ids.contains(&agent.key) || query.system_ids.contains(&agent.key);
            if asked
                && fits(&query.environments, &agent.profile.environment)
                && fits(&query.regions, &agent.profile.location)
            {
                let current_health = CurrentHealth::glance(self.rest, &agent);
                if query.health_statuses.is_empty() || query.health_statuses.contains(&current_health.health) {
                    found.push((agent, current_health));
                }
            }
        }
        found
    }

    fn charts(&self, agents: &[(Arc<AgentDesc>, CurrentHealth)]) -> Result<Charts, StoreError> {
        let kinds: Vec<MetricKind> = self.query.metric_types.iter().map(|&kind| kind.into()).collect();
        let mut series: Vec<(&AgentDesc, Arc<SeriesDesc>)> = agents
            .iter()
            .flat_map(|(agent, _)| self.rest.registry.series_of(agent.id).into_iter().map(move |one| (&**agent, one)))
            .filter(|(_, one)| kinds.is_empty() || kinds.contains(&one.spec.kind))
            .collect();
        // Typed series say more than the others.
        series.sort_by_key(|(_, one)| (one.spec.kind == MetricKind::Custom, one.id));
        let most = whole(self.query.max_data_points);
        let mut charts = Charts::default();
        let fitting = series.len().min((most / FEWEST_POINTS).max(1));
        charts.left_out = series.len() - fitting;
        series.truncate(fitting);
        let each = (most / fitting.max(1)).max(1);
        let (start, end) = self.range;
        let span = end.since(start);
        // As long as the window asked for, longer if that many steps would not fit.
        let fewest = i64::try_from(each).unwrap_or(i64::MAX);
        let step = self.window.max(span / fewest + i64::from(span % fewest != 0)).max(1);
        for (agent, one) in series {
            let query = SampleQuery { series: one.id, start, end, step: Some((step, Aggregation::Mean)), limit: each };
            let points = self.rest.store.samples(&query)?;
            let Some(&(last, _)) = points.last() else { continue };
            charts.newest = charts.newest.max(Some(last));
            charts.points += points.len();
            if self.query.include_trends
                && let Some(trend) = trend(self.rest, &one, &Means { points: &points, step, end }, end, false)?
            {
                charts.trends.insert(format!("{}: {}", agent.key, label(&one)), trend);
            }
            charts.data.push(Chart {
                agent_id: agent.key.clone(),
                series_id: one.id.0,
                metric_name: one.spec.metric.clone(),
                metric_type: one.spec.kind.name().to_owned(),
                unit: one.spec.unit.clone(),
                label: label(&one),
                aggregation: AggregationName::Mean,
                step_seconds: seconds(step),
                points: points.into_iter().map(SamplePoint::from).collect(),
            });
        }
        Ok(charts)
    }

    fn alerts(&self, keys: &HashMap<AgentId, &str>) -> Result<Vec<AlertInfo>, StoreError> {
        let query = AlertQuery {
            tenant: self.caller.tenant.clone(),
            agents: Some(keys.keys().copied().collect()),
            resolved: Some(false),
            start: UnixNanos(i64::MIN),
            end: self.range.1,
            limit: MOST_COUNTED,
        };
        let alerts = self.rest.store.alerts(&query)?;
        Ok(alerts.iter().filter_map(|alert| Some(AlertInfo::of(alert, keys.get(&alert.agent)?))).collect())
    }

    fn anomalies(&self, keys: &HashMap<AgentId, &str>) -> Result<Vec<Anomaly>, StoreError> {
        let query = VerdictQuery {
            tenant: self.caller.tenant.clone(),
            agents: Some(keys.keys().copied().collect()),
            kind: Some("outlier"),
            start: self.range.0,
            end: self.range.1,
            limit: MOST_LISTED,
        };
        let verdicts = self.rest.store.verdicts(&query)?;
        let anomalies = verdicts.iter().filter_map(|verdict| {
            let VerdictBody::Outlier(outlier) = &verdict.body else { return None };
            let series = self.rest.registry.series(outlier.series)?;
            Some(Anomaly {
                agent_id: (*keys.get(&verdict.agent)?).to_owned(),
                series_id: outlier.series.0,
                metric_name: series.spec.metric.clone(),
                time: Time(verdict.time),
                value: finite(outlier.value),
                lower: finite(outlier.lower),
                upper: finite(outlier.upper),
                score: finite(outlier.score),
                window: outlier.window,
                plugin: verdict.evidence.plugin.clone(),
            })
        });
        Ok(anomalies.collect())
    }

    /// Agents show life; systems only report metrics.
    fn summaries(&self, all: &[(Arc<AgentDesc>, CurrentHealth)]) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
        let (agents, systems): (Vec<_>, Vec<_>) =
            all.iter().partition(|(_, current_health)| current_health.live.is_some());
        let mut by_health: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_liveness: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, current_health) in &agents {
            *by_health.entry(name_of(current_health.health)).or_insert(0) += 1;
            if let Some(live) = &current_health.live {
                *by_liveness.entry(liveness_name(live.liveness)).or_insert(0) += 1;
            }
        }
        let scores: Vec<f64> = agents.iter().filter_map(|(_, one)| one.score).collect();
        let late = agents
            .iter()
            .filter(|(_, one)| one.live.as_ref().is_some_and(|live| live.liveness == Liveness::Late))
            .map(|(agent, _)| agent.key.as_str());
        let agent_summary = BTreeMap::from([
            ("total".to_owned(), agents.len().into()),
            ("by_health".to_owned(), json!(by_health)),
            ("by_liveness".to_owned(), json!(by_liveness)),
            ("average_health_score".to_owned(), json!(average(&scores).map(bounded))),
            ("late".to_owned(), json!(late.collect::<Vec<_>>())),
        ]);
        let series: usize = systems.iter().map(|(system, _)| self.rest.registry.series_of(system.id).len()).sum();
        let system_summary =
            BTreeMap::from([("total".to_owned(), systems.len().into()), ("series".to_owned(), series.into())]);
        (agent_summary, system_summary)
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn name_of(health: Health) -> String {
    vitals_core::verdict::HealthStatus::from(health).name().to_owned()
}

#[allow(clippy::cast_precision_loss)]
fn average(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A checked whole number of at most 10,000.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> usize {
    number as usize
}
