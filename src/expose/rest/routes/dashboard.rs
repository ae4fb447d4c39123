//! `POST /dashboard`: a fleet at one look.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::body::message;
use crate::expose::rest::contract::{Contract, Problem};
use crate::expose::rest::current_health::{CurrentHealth, liveness_name};
use crate::expose::rest::error::{AnyErrors, ApiError, BodyErrors, TokenErrors};
use crate::expose::rest::extract::Reader;
use crate::expose::rest::lookup::touchable;
use crate::expose::rest::ranges::range_of;
use crate::expose::rest::shapes::{AggregationName, DurationText, Health, Id, MetricType, SamplePoint, TimeRange, yes};
use crate::expose::rest::time::{Time, milliseconds_since, parse_duration, seconds};
use crate::expose::rest::trends::{SeriesTrend, StepMeans, label, trend};
use axum::Json;
use axum::extract::{Request, State};
use axum::routing::post;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use utoipa::{OpenApi, ToSchema};
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

#[derive(OpenApi)]
#[openapi(paths(dashboard))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || post(dashboard), document: Operation::openapi, examples: EXAMPLES };

/// What to show.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "all fields of the contract are checked, not all are used")]
pub struct DashboardQuery {
    /// The asker's id for it.
    pub query_id: String,
    /// The asker's name for its kind.
    pub query_type: String,
    /// Over which time, at most 8,760 hours.
    pub time_range: TimeRange,
    /// The length of a step of the charts.
    #[schema(value_type = DurationText)]
    pub aggregation_window: String,
    /// Only agents of these environments; all if empty.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Only agents at these locations; all if empty.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Only these agents (and `system_ids`); all if both are empty.
    #[serde(default)]
    #[schema(value_type = Vec<Id>)]
    pub agent_ids: Vec<String>,
    /// Only these systems (and `agent_ids`); all if both are empty.
    #[serde(default)]
    #[schema(value_type = Vec<Id>)]
    pub system_ids: Vec<String>,
    /// Only series of these kinds; all if empty.
    #[serde(default)]
    pub metric_types: Vec<MetricType>,
    /// Only agents of this health; all if empty.
    #[serde(default)]
    pub health_statuses: Vec<Health>,
    /// Whether to list open alerts.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub include_alerts: bool,
    /// Whether to compute trends.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub include_trends: bool,
    /// Most points of all series together.
    #[serde(default = "data_points")]
    #[schema(value_type = u64, minimum = 1, maximum = 10000, default = 1000)]
    pub max_data_points: f64,
}

fn data_points() -> f64 {
    1_000.0
}

static CONTRACT: Contract<DashboardQuery> = Contract::new();

/// What a dashboard shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TelemetryDashboardData {
    /// The asker's id for it.
    pub query_id: String,
    /// When it was computed.
    pub query_executed_at: Time,
    /// The time of the newest thing in it; the range's start when there is none.
    pub data_freshness: Time,
    /// The range asked for.
    pub time_range: TimeRange,
    /// The window asked for.
    pub aggregation_window: String,
    /// Points in `time_series_data`.
    pub total_data_points: usize,
    /// Those that show life: `total`, `by_health`, `average_health_score`, `late`.
    #[schema(value_type = Object)]
    pub agent_summary: BTreeMap<String, Value>,
    /// Those that only report metrics: `total`, `series`.
    #[schema(value_type = Object)]
    pub system_summary: BTreeMap<String, Value>,
    /// By series.
    pub time_series_data: Vec<Chart>,
    /// Alerts that are open.
    pub active_alerts: Vec<AlertInfo>,
    /// Open alerts by severity.
    pub alert_summary: BTreeMap<String, u64>,
    /// By agent and series.
    pub trends: BTreeMap<String, SeriesTrend>,
    /// Outliers in the range, newest first.
    pub anomalies: Vec<Anomaly>,
    /// Milliseconds by part of the query.
    #[schema(value_type = Object)]
    pub query_performance: BTreeMap<String, Value>,
    /// Share of the agents whose state was in memory, not known from the catalogue alone; 1 when there are none.
    #[schema(minimum = 0, maximum = 1)]
    pub cache_hit_ratio: f64,
}

/// A series over time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chart {
    /// Its agent or system.
    pub agent_id: String,
    /// Its number.
    pub series_id: u32,
    /// The metric's name.
    pub metric_name: String,
    /// Its typed kind.
    pub metric_type: String,
    /// The unit.
    pub unit: String,
    /// What tells it from the agent's others.
    pub label: String,
    /// What was made of the values in a step.
    pub aggregation: AggregationName,
    /// The step.
    pub step_seconds: f64,
    /// By time.
    pub points: Vec<SamplePoint>,
}

/// An outlier.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Anomaly {
    /// Its agent or system.
    pub agent_id: String,
    /// Its series.
    pub series_id: u32,
    /// The metric's name.
    pub metric_name: String,
    /// When.
    pub time: Time,
    /// The value; null for an infinite one.
    pub value: Option<f64>,
    /// The lower bound of what was expected; null when there is none.
    pub lower: Option<f64>,
    /// The upper bound; null when there is none.
    pub upper: Option<f64>,
    /// How far out of them: the larger, the stranger.
    pub score: Option<f64>,
    /// How many values the bounds were made of.
    pub window: u32,
    /// Who found it.
    pub plugin: String,
}

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
    let query: DashboardQuery = message(request, &CONTRACT).await?;
    let range = range_of(&query.time_range)?;
    let window = parse_duration(&query.aggregation_window).ok_or_else(|| {
        let msg = "Input should be a duration such as 30s, 5m, 1h or 1d";
        let input = Value::from(query.aggregation_window.as_str());
        ApiError::Invalid(vec![Problem::new("value_error", ["body", "aggregation_window"], msg, Some(&input))])
    })?;
    for id in query.agent_ids.iter().chain(&query.system_ids) {
        touchable(&caller, id)?;
    }
    let data = rest
        .query_store(move |rest| DashboardData { rest, caller: &caller, query: &query, range, window }.build())
        .await?;
    Ok(Json(data))
}

struct DashboardData<'a> {
    rest: &'a Rest,
    caller: &'a Caller,
    query: &'a DashboardQuery,
    range: (UnixNanos, UnixNanos),
    window: i64,
}

/// The charts and trends of the series.
#[derive(Default)]
struct Charts {
    data: Vec<Chart>,
    trends: BTreeMap<String, SeriesTrend>,
    points: usize,
    newest: Option<UnixNanos>,
    left_out: usize,
}

impl DashboardData<'_> {
    fn build(&self) -> Result<TelemetryDashboardData, StoreError> {
        let begun = Instant::now();
        let now = self.rest.now();
        let mut performance: BTreeMap<String, Value> = BTreeMap::new();
        let mut clock = Instant::now();
        let mut lap = |name: &str, performance: &mut BTreeMap<String, Value>| {
            performance.insert(format!("{name}_ms"), milliseconds_since(clock).into());
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
        performance.insert("total_ms".to_owned(), milliseconds_since(begun).into());
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
                let current_health = CurrentHealth::now(self.rest, &agent);
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
                && let Some(trend) = trend(self.rest, &one, &StepMeans { points: &points, step, end }, end, false)?
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
            agents: Some(keys.keys().copied().collect()),
            resolved: Some(false),
            end: self.range.1,
            limit: MOST_COUNTED,
            ..AlertQuery::of(self.caller.tenant.clone())
        };
        let alerts = self.rest.store.alerts(&query)?;
        Ok(alerts.iter().filter_map(|alert| Some(AlertInfo::of(alert, keys.get(&alert.agent)?))).collect())
    }

    fn anomalies(&self, keys: &HashMap<AgentId, &str>) -> Result<Vec<Anomaly>, StoreError> {
        let query = VerdictQuery {
            agents: Some(keys.keys().copied().collect()),
            kind: Some("outlier"),
            start: self.range.0,
            end: self.range.1,
            limit: MOST_LISTED,
            ..VerdictQuery::of(self.caller.tenant.clone())
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

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "request": {
    "query_id": "wall-1",
    "query_type": "overview",
    "time_range": {"start_time": "2026-03-01T11:50:00Z", "end_time": "2026-03-01T12:01:00Z", "timezone": "UTC"},
    "aggregation_window": "1m",
    "environments": ["production"],
    "max_data_points": 500
  },
  "200": {
    "query_id": "wall-1",
    "query_executed_at": "2026-03-01T12:00:00.226Z",
    "data_freshness": "2026-03-01T11:59:58.220Z",
    "time_range": {"start_time": "2026-03-01T11:50:00Z", "end_time": "2026-03-01T12:01:00Z", "timezone": "UTC"},
    "aggregation_window": "1m",
    "total_data_points": 66,
    "agent_summary": {
      "average_health_score": 85,
      "by_health": {"critical": 1, "healthy": 1},
      "by_liveness": {"on_time": 2},
      "late": [],
      "total": 2
    },
    "system_summary": {"series": 4, "total": 1},
    "time_series_data": [
      {
        "agent_id": "web-1",
        "series_id": 0,
        "metric_name": "cpu_usage_percent",
        "metric_type": "cpu_usage",
        "unit": "%",
        "label": "cpu_usage_percent",
        "aggregation": "mean",
        "step_seconds": 60,
        "points": [{"time": "2026-03-01T11:58:00Z", "value": 59}, {"time": "2026-03-01T11:59:00Z", "value": 97}]
      }
    ],
    "active_alerts": [
      {
        "alert_id": "837cbd8a3c9cc18c471aa598b82302d7",
        "severity": "warning",
        "message": "cpu_usage is 86.5 %, warning from 80.0 % (cpu.total)",
        "source": "db-1",
        "alert_type": "cpu_usage",
        "timestamp": "2026-03-01T11:59:58Z",
        "state": "open",
        "resolved": false,
        "agent_id": "db-1",
        "metric_name": "cpu.total",
        "attributes": {}
      },
      {
        "alert_id": "c31c742e39291c5c631ba9968ce4dbfa",
        "severity": "critical",
        "message": "cpu_usage is 97.0 %, critical from 95.0 %",
        "source": "web-1",
        "alert_type": "cpu_usage",
        "timestamp": "2026-03-01T11:59:58Z",
        "state": "open",
        "resolved": false,
        "agent_id": "web-1",
        "metric_name": "cpu_usage_percent",
        "attributes": {}
      }
    ],
    "alert_summary": {"critical": 1, "warning": 1},
    "trends": {
      "db-1: queue.length": {
        "metric_type": "custom",
        "unit": "{message}",
        "slope_per_hour": 0,
        "direction": "stable",
        "mean": 12.5,
        "last": 12.5,
        "points": 9
      }
    },
    "anomalies": [
      {
        "agent_id": "web-1",
        "series_id": 0,
        "metric_name": "cpu_usage_percent",
        "time": "2026-03-01T11:59:58Z",
        "value": 97,
        "lower": 28.562,
        "upper": 70.062,
        "score": 2.596,
        "window": 14,
        "plugin": "iqr-outlier"
      }
    ],
    "query_performance": {
      "agents_ms": 0.015,
      "alerts_ms": 0.101,
      "anomalies_ms": 0.032,
      "series_left_out": 0,
      "series_ms": 0.509,
      "series_shown": 16,
      "total_ms": 0.723
    },
    "cache_hit_ratio": 1
  }
}"#;
