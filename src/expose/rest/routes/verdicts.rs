//! `GET /verdicts`: verdicts, newest first.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{Query, Reader};
use crate::expose::rest::ranges::parameter_range;
use crate::expose::rest::shapes::Id;
use crate::expose::rest::time::{HOUR, Time};
use crate::expose::rest::{DEFAULT_LISTED, MOST_LISTED};
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::store::VerdictQuery;
use vitals_core::verdict::{Verdict, VerdictBody};

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
    pub body: Value,
    /// Who judged: `plugin`, `version`, `digest`, `config`.
    #[schema(value_type = Object)]
    pub evidence: Value,
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
    none_wrong(problems)?;
    let agents = rest.agents_asked_for(&caller, &query)?;
    let question = VerdictQuery { tenant: caller.tenant.clone(), agents, kind, start, end, limit: limit as usize };
    let verdicts = rest
        .ask(move |rest| {
            let found = rest.store.verdicts(&question)?;
            Ok(found.iter().filter_map(|verdict| verdict_item(rest, verdict)).collect())
        })
        .await?;
    Ok(Json(VerdictList { verdicts }))
}

fn verdict_item(rest: &Rest, verdict: &Verdict) -> Option<VerdictItem> {
    let agent = rest.registry.agent(verdict.agent)?;
    let mut body = match &verdict.body {
        VerdictBody::Health(health) => json!(health),
        VerdictBody::Outlier(outlier) => json!(outlier),
        VerdictBody::Sla(report) => json!(report),
    };
    if let VerdictBody::Outlier(outlier) = &verdict.body
        && let Some(series) = rest.registry.series(outlier.series)
    {
        body["metric_name"] = Value::from(series.spec.metric.as_str());
    }
    Some(VerdictItem {
        agent_id: agent.key.clone(),
        time: Time(verdict.time),
        kind: match verdict.body {
            VerdictBody::Health(_) => VerdictKind::Health,
            VerdictBody::Outlier(_) => VerdictKind::Outlier,
            VerdictBody::Sla(_) => VerdictKind::Sla,
        },
        body,
        evidence: json!(*verdict.evidence),
    })
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
    ]
  }
}"#;
