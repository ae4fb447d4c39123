//! What is checked before an answer is believed.

use super::abi;
use super::component::PluginKind;
use super::error::InvalidAnswer;
use vitals_core::series::MetricKind;

/// That all columns have as many rows as the first.
fn same_length<const N: usize>(rows: usize, columns: [usize; N]) -> Result<(), InvalidAnswer> {
    columns.into_iter().find(|&len| len != rows).map_or(Ok(()), |len| Err(InvalidAnswer::Lengths(rows, len)))
}

/// That row numbers rise and stay below `count`. An answer is then no longer than the batch.
fn rising(rows: &[u32], count: usize) -> Result<(), InvalidAnswer> {
    if let Some(pair) = rows.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(InvalidAnswer::Order(pair[1]));
    }
    in_batch(rows, count)
}

/// That the last row, the largest, is one of `count`.
fn in_batch(rows: &[u32], count: usize) -> Result<(), InvalidAnswer> {
    match rows.last() {
        Some(&row) if row as usize >= count => Err(InvalidAnswer::Row { row, rows: count }),
        _ => Ok(()),
    }
}

pub(super) fn findings(answer: &abi::Findings, count: usize) -> Result<(), InvalidAnswer> {
    let lengths = [answer.lower.len(), answer.upper.len(), answer.scores.len(), answer.windows.len()];
    same_length(answer.subjects.len(), lengths)?;
    rising(&answer.subjects, count)?;
    if let Some(&score) = answer.scores.iter().find(|score| score.is_nan() || **score < 0.0) {
        return Err(InvalidAnswer::Score(score));
    }
    let mut bounds = answer.lower.iter().zip(&answer.upper);
    match bounds.find(|(lower, upper)| !matches!(lower.partial_cmp(upper), Some(order) if order.is_le())) {
        Some((&lower, &upper)) => Err(InvalidAnswer::Bounds(lower, upper)),
        None => Ok(()),
    }
}

/// Findings of a tick, about the series for which `is_open` holds.
pub(super) fn findings_of_tick(answer: &abi::Findings, is_open: impl Fn(u32) -> bool) -> Result<(), InvalidAnswer> {
    findings(answer, usize::MAX)?;
    match answer.subjects.iter().find(|&&series| !is_open(series)) {
        Some(&series) => Err(InvalidAnswer::Source(series)),
        None => Ok(()),
    }
}

pub(super) fn scores(answer: &abi::Scores, count: usize) -> Result<(), InvalidAnswer> {
    let lengths = [answer.scores.len(), answer.statuses.len(), answer.reasons.len(), answer.recommendations.len()];
    same_length(answer.rows.len(), lengths)?;
    rising(&answer.rows, count)?;
    match answer.scores.iter().find(|score| !(0.0..=100.0).contains(*score)) {
        Some(&score) => Err(InvalidAnswer::Score(score)),
        None => Ok(()),
    }
}

pub(super) fn reports(answer: &abi::Reports, count: usize) -> Result<(), InvalidAnswer> {
    let lengths = [
        answer.availability.len(),
        answer.budget_left.len(),
        answer.burn_hour.len(),
        answer.burn_six_hours.len(),
        answer.burn_three_days.len(),
        answer.risks.len(),
    ];
    same_length(answer.rows.len(), lengths)?;
    rising(&answer.rows, count)?;
    if answer.budget_left.iter().any(|left| left.is_nan() || *left > 1.0) {
        return Err(InvalidAnswer::Value);
    }
    match answer.availability.iter().find(|percent| !percent.is_nan() && !(0.0..=100.0).contains(*percent)) {
        Some(&percent) => Err(InvalidAnswer::Score(percent)),
        None => Ok(()),
    }
}

/// Times are looked at where the outputs are known.
pub(super) fn derived(answer: &abi::Derived) -> Result<(), InvalidAnswer> {
    same_length(answer.series.len(), [answer.times.len(), answer.values.len()])?;
    if answer.values.iter().any(|value| value.is_nan()) {
        return Err(InvalidAnswer::Value);
    }
    Ok(())
}

/// Most patterns and selectors of a manifest.
const MOST_PATTERNS: usize = 64;
/// Longest text of a pattern.
const LONGEST_PATTERN: usize = 1024;

pub(super) fn manifest(answer: &abi::Manifest, kind: PluginKind) -> Result<(), InvalidAnswer> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=64).contains(&answer.name.len())
        && answer.name.chars().all(allowed)
        && (1..=64).contains(&answer.version.len())
        && answer.version.chars().all(|c| c.is_ascii_graphic());
    if !good {
        return Err(InvalidAnswer::Metadata(answer.name.chars().take(100).collect()));
    }
    let texts = answer.selects.iter().flat_map(|select| {
        let pairs = select.attributes.iter().chain(&select.resource_attributes);
        let pairs = pairs.flat_map(|(key, value)| [key, value]);
        select.metrics.iter().chain(&select.kinds).chain(pairs)
    });
    let patterns = answer.agents.iter().chain(texts);
    if answer.selects.len() > MOST_PATTERNS || patterns.clone().count() > MOST_PATTERNS * MOST_PATTERNS {
        return Err(InvalidAnswer::Manifest("more than 64 selectors".to_owned()));
    }
    if patterns.clone().any(|text| text.len() > LONGEST_PATTERN) {
        return Err(InvalidAnswer::Manifest("a pattern of more than 1,024 bytes".to_owned()));
    }
    let unknown = |name: &&String| MetricKind::ALL.iter().all(|kind| kind.name() != name.as_str());
    if let Some(kind) = answer.selects.iter().flat_map(|select| &select.kinds).find(unknown) {
        return Err(InvalidAnswer::Manifest(format!("a selector for the kind {kind:?}, which is none")));
    }
    if !answer.interval_seconds.is_multiple_of(10) {
        let seconds = answer.interval_seconds;
        return Err(InvalidAnswer::Manifest(format!("an interval of {seconds} seconds, no multiple of 10")));
    }
    if !kind.watches() && (answer.interval_seconds > 0 || !answer.selects.is_empty()) {
        return Err(InvalidAnswer::Manifest("selectors or an interval, which this world does not have".to_owned()));
    }
    Ok(())
}
