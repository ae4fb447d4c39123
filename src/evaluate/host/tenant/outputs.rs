//! The series that derivers declare, and the rows of their answers.

use super::input::SeriesNumbers;
use crate::evaluate::host::abi;
use crate::evaluate::host::error::{Failure, InvalidAnswer};
use crate::evaluate::tenant_plugins::DerivedSeries;
use std::collections::BTreeSet;
use vitals_core::ids::UnixNanos;

/// Stands for the place of a series that the answer has not used yet.
const NOT_USED: u32 = u32::MAX;

/// The series that a deriver's instance has declared.
#[derive(Default)]
pub(super) struct DerivedOutputs {
    declared: Vec<DerivedOutput>,
    /// By series number: how many were declared.
    of_source: Vec<u16>,
}

struct DerivedOutput {
    /// Those that are open; empty when the output has ended.
    sources: Vec<u32>,
    series: DerivedSeries,
    /// Its index among the series of the answer that is being read.
    place: u32,
    /// The time of its last sample.
    last: i64,
}

/// The series of an answer, and its rows: the index of a series, time, value.
pub(super) type DerivedRows = (Vec<DerivedSeries>, Vec<(u32, UnixNanos, f64)>);

impl DerivedOutputs {
    /// Takes the series that an answer declares, checks each sample against what is declared, and returns the samples with the
    /// series that they use. `plugin` is the plugin's place, `newest` the latest time that a sample can have.
    pub(super) fn take(
        &mut self,
        answer: abi::Derived,
        newest: i64,
        (series, plugin): (&SeriesNumbers, usize),
        per_series: usize,
    ) -> Result<DerivedRows, Failure> {
        for new in answer.outputs {
            self.declare(new, (series, plugin), per_series)?;
        }
        let (mut used, mut rows) = (Vec::new(), Vec::with_capacity(answer.series.len()));
        let mut touched = Vec::new();
        let mut result = Ok(());
        for ((&number, &time), &value) in answer.series.iter().zip(&answer.times).zip(&answer.values) {
            let output = match self.declared.get_mut(number as usize) {
                Some(output) if !output.sources.is_empty() => output,
                _ => {
                    result = Err(InvalidAnswer::Output(number));
                    break;
                }
            };
            if time <= output.last || time > newest {
                result = Err(InvalidAnswer::Time { time, after: output.last, newest });
                break;
            }
            if output.place == NOT_USED {
                output.place = u32::try_from(used.len()).unwrap_or(NOT_USED);
                used.push(output.series.clone());
                touched.push(number);
            }
            output.last = time;
            rows.push((output.place, UnixNanos(time), value));
        }
        touched.iter().for_each(|&number| self.declared[number as usize].place = NOT_USED);
        result?;
        Ok((used, rows))
    }

    /// Forgets what was declared of these series, so that as much may be declared of them again.
    pub(super) fn close(&mut self, numbers: &BTreeSet<u32>) {
        for output in &mut self.declared {
            output.sources.retain(|source| !numbers.contains(source));
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
        (series, plugin): (&SeriesNumbers, usize),
        per_series: usize,
    ) -> Result<(), InvalidAnswer> {
        if !(1..=255).contains(&new.metric.len()) {
            return Err(InvalidAnswer::Name(new.metric.len()));
        }
        if new.unit.len() > 63 {
            return Err(InvalidAnswer::Name(new.unit.len()));
        }
        let mut sources = new.sources;
        sources.sort_unstable();
        sources.dedup();
        let mut described = Vec::with_capacity(sources.len());
        for &source in &sources {
            let desc = series.description(source).filter(|_| series.is_shown(source, plugin));
            described.push(desc.ok_or(InvalidAnswer::Source(source))?);
        }
        let Some((first, others)) = described.split_first() else { return Err(InvalidAnswer::NoSource) };
        if others.iter().any(|other| other.agent != first.agent) {
            return Err(InvalidAnswer::Agents);
        }
        for &source in &sources {
            let at = source as usize;
            if at >= self.of_source.len() {
                self.of_source.resize(at + 1, 0);
            }
            if usize::from(self.of_source[at]) >= per_series.min(usize::from(u16::MAX)) {
                return Err(InvalidAnswer::Outputs(per_series));
            }
            self.of_source[at] += 1;
        }
        let series = DerivedSeries {
            from: first.id,
            also: others.iter().map(|other| other.id).collect(),
            metric: new.metric,
            unit: new.unit,
        };
        self.declared.push(DerivedOutput { sources, series, place: NOT_USED, last: i64::MIN });
        Ok(())
    }
}
