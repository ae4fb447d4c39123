//! What is checked before an answer is believed.

use super::abi;
use super::error::InvalidAnswer;

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
    same_length(answer.rows.len(), lengths)?;
    rising(&answer.rows, count)?;
    if let Some(&score) = answer.scores.iter().find(|score| score.is_nan() || **score < 0.0) {
        return Err(InvalidAnswer::Score(score));
    }
    let mut bounds = answer.lower.iter().zip(&answer.upper);
    match bounds.find(|(lower, upper)| !matches!(lower.partial_cmp(upper), Some(order) if order.is_le())) {
        Some((&lower, &upper)) => Err(InvalidAnswer::Bounds(lower, upper)),
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

/// Rows may come again for another derived series, but never fall.
pub(super) fn derived(answer: &abi::Derived, count: usize) -> Result<(), InvalidAnswer> {
    same_length(answer.rows.len(), [answer.outputs.len(), answer.values.len()])?;
    if let Some(pair) = answer.rows.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(InvalidAnswer::Order(pair[1]));
    }
    in_batch(&answer.rows, count)?;
    if answer.values.iter().any(|value| value.is_nan()) {
        return Err(InvalidAnswer::Value);
    }
    Ok(())
}

pub(super) fn metadata(answer: &abi::Metadata) -> Result<(), InvalidAnswer> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=64).contains(&answer.name.len())
        && answer.name.chars().all(allowed)
        && (1..=64).contains(&answer.version.len())
        && answer.version.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(()) } else { Err(InvalidAnswer::Metadata(answer.name.chars().take(100).collect())) }
}
