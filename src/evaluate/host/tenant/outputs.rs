//! The series that derivers declare, and the rows of their answers.

use super::input::{CallInput, SeriesNumbers};
use crate::evaluate::host::abi;
use crate::evaluate::host::error::{Failure, InvalidAnswer};
use crate::evaluate::tenant_plugins::DerivedSeries;
use std::collections::BTreeSet;
use vitals_core::ids::UnixNanos;

/// Stands for the place of a series that the answer has not used yet, and for the source of one whose source was closed.
const NOT_USED: u32 = u32::MAX;

/// The series that a deriver's instance has declared.
#[derive(Default)]
pub(super) struct DerivedOutputs {
    declared: Vec<DerivedOutput>,
    /// By series number: how many were declared.
    of_source: Vec<u16>,
}

struct DerivedOutput {
    source: u32,
    series: DerivedSeries,
    /// Its index among the series of the answer that is being read, and its last row there.
    place: u32,
    row: u32,
}

/// The series of an answer, and its rows: the index of a series, time, value.
type DerivedRows = (Vec<DerivedSeries>, Vec<(u32, UnixNanos, f64)>);

impl DerivedOutputs {
    /// Takes the series that an answer declares, checks each row against what is declared, and returns the rows with the series
    /// that they use.
    pub(super) fn take(
        &mut self,
        answer: abi::Derived,
        input: &CallInput,
        series: &SeriesNumbers,
        per_series: usize,
    ) -> Result<DerivedRows, Failure> {
        for new in answer.series {
            self.declare(new, series, per_series)?;
        }
        let (mut used, mut rows) = (Vec::new(), Vec::with_capacity(answer.rows.len()));
        let mut touched = Vec::new();
        let mut result = Ok(());
        for ((&row, &number), &value) in answer.rows.iter().zip(&answer.outputs).zip(&answer.values) {
            let Some(output) = self.declared.get_mut(number as usize) else {
                result = Err(InvalidAnswer::Output(number));
                break;
            };
            if output.source != input.series[row as usize] {
                result = Err(InvalidAnswer::Source(output.source));
                break;
            }
            if output.place == NOT_USED {
                output.place = u32::try_from(used.len()).unwrap_or(NOT_USED);
                used.push(output.series.clone());
                touched.push(number);
            } else if output.row == row {
                result = Err(InvalidAnswer::Order(row));
                break;
            }
            output.row = row;
            rows.push((output.place, UnixNanos(input.times[row as usize]), value));
        }
        touched.iter().for_each(|&number| self.declared[number as usize].place = NOT_USED);
        result?;
        Ok((used, rows))
    }

    /// Forgets what was declared of these series, so that as much may be declared of them again.
    pub(super) fn close(&mut self, numbers: &BTreeSet<u32>) {
        for output in self.declared.iter_mut().filter(|output| numbers.contains(&output.source)) {
            output.source = NOT_USED;
        }
        for &number in numbers {
            if let Some(count) = self.of_source.get_mut(number as usize) {
                *count = 0;
            }
        }
    }

    fn declare(
        &mut self,
        new: abi::OutputSeries,
        series: &SeriesNumbers,
        per_series: usize,
    ) -> Result<(), InvalidAnswer> {
        let at = new.source as usize;
        let source = series.description(new.source).ok_or(InvalidAnswer::Source(new.source))?;
        if !(1..=255).contains(&new.metric.len()) {
            return Err(InvalidAnswer::Name(new.metric.len()));
        }
        if new.unit.len() > 63 {
            return Err(InvalidAnswer::Name(new.unit.len()));
        }
        if at >= self.of_source.len() {
            self.of_source.resize(at + 1, 0);
        }
        if usize::from(self.of_source[at]) >= per_series.min(usize::from(u16::MAX)) {
            return Err(InvalidAnswer::Outputs(per_series));
        }
        self.of_source[at] += 1;
        let derived = DerivedSeries { from: source.id, metric: new.metric, unit: new.unit };
        self.declared.push(DerivedOutput { source: new.source, series: derived, place: NOT_USED, row: NOT_USED });
        Ok(())
    }
}
