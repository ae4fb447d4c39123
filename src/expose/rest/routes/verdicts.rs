//! `GET /verdicts`: verdicts, newest first.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::cursor;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::ranges::parameter_range;
use crate::expose::rest::shapes::{Id, VerdictCursor};
use crate::expose::rest::time::{HOUR, Time};
use crate::expose::rest::{DEFAULT_LISTED, MOST_LISTED};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::store::{VerdictKey, VerdictQuery};
use vitals_core::verdict::{AgentHealth, Evidence, OutlierVerdict, SlaVerdict, Verdict, VerdictBody};

#[derive(OpenApi)]
#[openapi(paths(verdicts))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(verdicts), document: Operation::openapi, examples: EXAMPLES };

/// Verdicts, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictList {
    /// The verdicts.
    pub verdicts: Vec<VerdictItem>,
    /// What `after` must be for the next page; null on the last one.
    pub next: Option<String>,
}

/// A verdict.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictItem {
    /// The agent judged.
    pub agent_id: String,
    /// The time of the data judged.
    pub time: Time,
    /// Of which kind it is.
    pub kind: VerdictKind,
    /// What was found.
    #[schema(value_type = Object)]
    pub body: VerdictShape,
    /// Who judged: `plugin`, `version`, `digest`, `config`.
    #[schema(value_type = Object)]
    pub evidence: Arc<Evidence>,
}

/// What was found, written as it is kept.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum VerdictShape {
    /// A health score.
    Health(AgentHealth),
    /// An outlier.
    Outlier {
        /// The finding.
        #[serde(flatten)]
        outlier: OutlierVerdict,
        /// The series' metric.
        #[serde(skip_serializing_if = "Option::is_none")]
        metric_name: Option<String>,
    },
    /// An SLA report.
    Sla(SlaVerdict),
}

/// The kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictKind {
    /// An agent's health score.
    Health,
    /// An outlier of a series.
    Outlier,
    /// How an agent stands against its objective.
    Sla,
}

impl VerdictKind {
    /// The name that the store knows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Outlier => "outlier",
            Self::Sla => "sla",
        }
    }
}

/// Verdicts, newest first
#[utoipa::path(
    get, path = "/api/v1/telemetry/verdicts", tag = "query", security(("token" = [])),
    params(
        ("agent" = Option<Id>, Query, description = "only of this agent"),
        ("kind" = Option<VerdictKind>, Query, description = "only of this kind"),
        ("start" = Option<Time>, Query, description = "inclusive; a day before `end`"),
        ("end" = Option<Time>, Query, description = "exclusive; now"),
        ("plugin" = Option<String>, Query, description = "only by this plugin"),
        ("metric" = Option<String>, Query, description = "only outliers of this metric's series"),
        ("series" = Option<u32>, Query, description = "only outliers of this series"),
        ("after" = Option<VerdictCursor>, Query, description = "only those behind this one: the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "most verdicts; 100 by default", minimum = 1, maximum = 10_000),
    ),
    responses(
        (status = 200, body = VerdictList, description = "newest first"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn verdicts(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    query: Query,
) -> Result<Json<VerdictList>, ApiError> {
    let mut problems = Vec::new();
    // Up to and including this moment.
    let (start, end) = parameter_range(&query, rest.now().plus(1), 24 * HOUR, &mut problems);
    let limit = query.whole("limit", 1..=MOST_LISTED, &mut problems).unwrap_or(DEFAULT_LISTED);
    let kind = query.named::<VerdictKind>("kind", &mut problems).map(VerdictKind::name);
    let after = cursor::verdict_after(&query, &mut problems);
    none_wrong(problems)?;
    let mut agents = rest.agents_asked_for(&caller, &query)?;
    let series = query.get("series").map(|id| rest.series(&caller, id)).transpose()?;
    if let Some(series) = &series {
        agents.get_or_insert_with(|| vec![series.agent]).retain(|agent| *agent == series.agent);
    }
    let question = VerdictQuery {
        agents,
        kind,
        start,
        end,
        plugin: query.get("plugin").map(str::to_owned),
        series: series.map(|series| HashSet::from([series.id])),
        after,
        // One more says whether there is a next page.
        limit: limit as usize + 1,
        ..VerdictQuery::of(caller.tenant.clone())
    };
    let metric = query.get("metric").map(str::to_owned);
    let list = rest
        .query_store(move |rest| {
            let mut question = question;
            if let Some(metric) = &metric {
                of_metric(rest, &mut question, metric);
            }
            let mut found = rest.store.verdicts(&question)?;
            let is_more = found.len() > limit as usize;
            found.truncate(limit as usize);
            let next = found.last().filter(|_| is_more).map(|last| cursor::of_verdict(&VerdictKey::of(last)));
            Ok(VerdictList {
                verdicts: found.into_iter().filter_map(|verdict| verdict_item(rest, verdict)).collect(),
                next,
            })
        })
        .await?;
    Ok(Json(list))
}

/// Narrows a question to the series of a metric.
fn of_metric(rest: &Rest, question: &mut VerdictQuery, metric: &str) {
    let agents = match &question.agents {
        Some(agents) => agents.clone(),
        None => rest.registry.agents_of(&question.tenant).iter().map(|agent| agent.id).collect(),
    };
    let of_metric = agents
        .into_iter()
        .flat_map(|agent| rest.registry.series_of(agent))
        .filter(|series| series.spec.metric == metric)
        .map(|series| series.id)
        .filter(|id| question.series.as_ref().is_none_or(|wanted| wanted.contains(id)));
    question.series = Some(of_metric.collect());
}

fn verdict_item(rest: &Rest, verdict: Verdict) -> Option<VerdictItem> {
    let agent = rest.registry.agent(verdict.agent)?;
    let (kind, body) = match verdict.body {
        VerdictBody::Health(health) => (VerdictKind::Health, VerdictShape::Health(health)),
        VerdictBody::Sla(report) => (VerdictKind::Sla, VerdictShape::Sla(report)),
        VerdictBody::Outlier(outlier) => {
            let metric_name = rest.registry.series(outlier.series).map(|series| series.spec.metric.clone());
            (VerdictKind::Outlier, VerdictShape::Outlier { outlier, metric_name })
        }
    };
    let (time, evidence) = (Time(verdict.time), verdict.evidence);
    Some(VerdictItem { agent_id: agent.key.clone(), time, kind, body, evidence })
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "200": {
    "verdicts": [
      {
        "agent_id": "web-2",
        "time": "2026-03-01T11:59:59.159Z",
        "kind": "sla",
        "body": {"availability": 100, "budget_left": 1, "burn": [0, 0, 0], "risk": "low", "target": 99.9},
        "evidence": {
          "config": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
          "digest": "507ef81d9d938d3db1e334fefef02e161698f7b08bd3685803026a93565340cb",
          "plugin": "sla",
          "version": "0.1.0"
        }
      },
      {
        "agent_id": "web-1",
        "time": "2026-03-01T11:59:58Z",
        "kind": "health",
        "body": {
          "reasons": ["CPU 97.0 % > 95 %: -30"],
          "recommendations": ["CPU is at 97.0 %: find the busiest process, spread its load or add CPUs."],
          "score": 70,
          "status": "critical"
        },
        "evidence": {
          "config": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
          "digest": "4531331b4c44748e346bce6404ab21a39579414397b4d9bea9783531aca09b99",
          "plugin": "health-score",
          "version": "0.1.0"
        }
      },
      {
        "agent_id": "web-1",
        "time": "2026-03-01T11:59:58Z",
        "kind": "outlier",
        "body": {
          "lower": 28.562,
          "metric_name": "cpu_usage_percent",
          "score": 2.596,
          "series": 0,
          "upper": 70.062,
          "value": 97,
          "window": 14
        },
        "evidence": {
          "config": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
          "digest": "11a4a3e07ee007c782704ed962d096d9f4a9d4e151a3a81897a11f2ab2a33371",
          "plugin": "iqr-outlier",
          "version": "0.1.0"
        }
      }
    ],
    "next": null
  }
}"#;
