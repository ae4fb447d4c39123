//! Time ranges of requests, in parameters and in bodies.

use super::contract::Problem;
use super::error::{ApiError, none_wrong};
use super::extract::Query;
use super::shapes::TimeRange;
use super::time::HOUR;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use vitals_core::ids::UnixNanos;

/// The longest range that is looked at, a year.
pub const MOST_HOURS: u32 = 8_760;

const DEFAULT_HOURS: u32 = 24;

/// How long to look back.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes parameters, which are read one by one")]
pub struct HoursParams {
    /// Hours to look back, 1..=8760.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 8760, default = 24, example = 24)]
    pub time_range_hours: Option<String>,
}

/// Reads `time_range_hours`.
pub fn hours(query: &Query) -> Result<u32, ApiError> {
    let mut problems = Vec::new();
    let hours = query.whole("time_range_hours", 1..=MOST_HOURS, &mut problems);
    none_wrong(problems)?;
    Ok(hours.unwrap_or(DEFAULT_HOURS))
}

/// The range of a request, which must neither be empty nor longer than a year.
pub fn range_of(range: &TimeRange) -> Result<(UnixNanos, UnixNanos), ApiError> {
    let (start, end) = (range.start_time.0, range.end_time.0);
    let msg = if start >= end {
        "end_time should be after start_time".to_owned()
    } else if i128::from(end.0) - i128::from(start.0) > i128::from(MOST_HOURS) * i128::from(HOUR) {
        format!("end_time should be at most {MOST_HOURS} hours after start_time")
    } else {
        return Ok((start, end));
    };
    let input = Value::from(range.end_time.to_string());
    Err(ApiError::Invalid(vec![Problem::new("value_error", ["body", "time_range", "end_time"], msg, Some(&input))]))
}

/// `start` (an hour before `end`) and `end` (now); the range must not be empty.
pub fn parameter_range(
    query: &Query,
    now: UnixNanos,
    back: i64,
    problems: &mut Vec<Problem>,
) -> (UnixNanos, UnixNanos) {
    let end = query.time("end", problems).unwrap_or(now);
    let start = query.time("start", problems).unwrap_or(end.plus(-back));
    not_empty(start, end, problems);
    (start, end)
}

pub fn not_empty(start: UnixNanos, end: UnixNanos, problems: &mut Vec<Problem>) {
    if start >= end {
        problems.push(Problem::new("value_error", ["query", "end"], "end should be after start", None));
    }
}
