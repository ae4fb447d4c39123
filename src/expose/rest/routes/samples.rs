//! `GET /series/{id}/samples`: samples of a series, or aggregates over steps.

use super::Route;
use crate::expose::Rest;
use crate::expose::rest::csv::{Cell, Format};
use crate::expose::rest::error::{AnyErrors, ApiError, MissingError, ParameterErrors, TokenErrors, none_wrong};
use crate::expose::rest::extract::{PathVariable, Query, Reader};
use crate::expose::rest::ranges::parameter_range;
use crate::expose::rest::shapes::{AggregationName, DurationText, SamplePoint};
use crate::expose::rest::time::{HOUR, Time, parse_duration, seconds};
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};
use vitals_core::store::{Aggregation, SampleQuery};

const DEFAULT_POINTS: u32 = 10_000;

const MOST_POINTS: u32 = 100_000;

#[derive(OpenApi)]
#[openapi(paths(samples))]
struct Operation;

/// The route.
pub const ROUTE: Route = Route { methods: || get(samples), document: Operation::openapi, examples: EXAMPLES };

/// Samples of a series, by time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SampleList {
    /// The series.
    pub series_id: u32,
    /// The range.
    pub start: Time,
    /// The range.
    pub end: Time,
    /// The step; null for the samples themselves.
    pub step_seconds: Option<f64>,
    /// What was made of the values in a step.
    pub aggregation: Option<AggregationName>,
    /// The points.
    pub samples: Vec<SamplePoint>,
}

/// Samples of a series, or aggregates over steps
#[utoipa::path(
    get, path = "/api/v1/telemetry/series/{id}/samples", tag = "query", security(("token" = [])),
    params(
        ("id" = u32, Path, description = "the series' number", example = 1),
        ("start" = Option<Time>, Query, description = "inclusive; an hour before `end`"),
        ("end" = Option<Time>, Query, description = "exclusive; now"),
        ("step" = Option<DurationText>, Query, description = "the samples themselves without it, unless there is an `aggregation`"),
        ("aggregation" = Option<AggregationName>, Query, description = "`mean` by default; over the whole range without `step`"),
        ("limit" = Option<u32>, Query, description = "most points", minimum = 1, maximum = 100_000),
        ("format" = Option<Format>, Query, description = "`csv` for a file with a line for each; else what `Accept` prefers, and JSON"),
    ),
    responses(
        (status = 200, content((SampleList = "application/json"), (String = "text/csv")), description = "by time"),
        MissingError,
        TokenErrors, ParameterErrors, AnyErrors
    )
)]
pub async fn samples(
    State(rest): State<Arc<Rest>>,
    Reader(caller): Reader,
    PathVariable(id): PathVariable,
    query: Query,
) -> Result<Response, ApiError> {
    let series = rest.series(&caller, &id)?;
    let mut problems = Vec::new();
    let (start, end) = parameter_range(&query, rest.now(), HOUR, &mut problems);
    let limit = query.whole("limit", 1..=MOST_POINTS, &mut problems).unwrap_or(DEFAULT_POINTS);
    let expect = "Input should be a duration such as 30s, 5m or 1h";
    let step = query.parsed("step", &mut problems, "value_error", expect, parse_duration);
    let how = query.named::<AggregationName>("aggregation", &mut problems).map(Aggregation::from);
    let format = Format::of(&query, &mut problems);
    none_wrong(problems)?;
    let step = match (step, how) {
        (None, None) => None,
        (None, Some(how)) => Some((end.since(start), how)),
        (Some(step), how) => Some((step, how.unwrap_or(Aggregation::Mean))),
    };
    let question = SampleQuery { series: series.id, start, end, step, limit: limit as usize };
    let points = rest.query_store(move |rest| rest.store.samples(&question)).await?;
    let list = SampleList {
        series_id: series.id.0,
        start: Time(start),
        end: Time(end),
        step_seconds: step.map(|(nanos, _)| seconds(nanos)),
        aggregation: step.map(|(_, how)| how.into()),
        samples: points.into_iter().map(SamplePoint::from).collect(),
    };
    format.answer(list, &format!("series-{id}"), None, |list, table| {
        table.line(["time", "value"].map(Cell::from));
        list.samples.iter().for_each(|one| table.line([one.time.into(), one.value.into()]));
    })
}

/// A request, and the answers to it by status, as the document shows them.
const EXAMPLES: &str = r#"{
  "csv": "time,value\r\n2026-01-05T11:58:00.229Z,2048\r\n2026-01-05T11:59:00.229Z,2048\r\n",
  "200": {
    "series_id": 1,
    "start": "2026-03-01T11:00:00.229Z",
    "end": "2026-03-01T12:00:00.229Z",
    "step_seconds": 60,
    "aggregation": "max",
    "samples": [
      {"time": "2026-03-01T11:58:00.229Z", "value": 2048},
      {"time": "2026-03-01T11:59:00.229Z", "value": 2048}
    ]
  }
}"#;
