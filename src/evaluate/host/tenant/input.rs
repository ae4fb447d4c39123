//! What a call shows of a batch: the numbers of series, and rows.

use crate::evaluate::host::abi;
use crate::evaluate::tenant_plugins::Findings;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::SeriesId;
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::{Evidence, OutlierVerdict};

/// Stands for the number of a series that has none.
const NO_NUMBER: u32 = u32::MAX;

/// Series by small dense numbers, the same for all plugins of the tenant.
#[derive(Default)]
pub(super) struct SeriesNumbers {
    /// By `SeriesId`.
    numbers: Vec<u32>,
    /// By number.
    known: Vec<KnownSeries>,
}

struct KnownSeries {
    id: SeriesId,
    /// `None` for a series of a restored state until the shard opens it again.
    desc: Option<Arc<SeriesDesc>>,
}

impl SeriesNumbers {
    pub(super) fn restored(ids: Vec<u32>) -> Self {
        let mut numbers = Self::default();
        for id in ids {
            numbers.add(SeriesId(id));
        }
        numbers
    }

    pub(super) fn open(&mut self, desc: &Arc<SeriesDesc>) {
        let number = match self.get(desc.id) {
            Some(number) => number,
            None => self.add(desc.id),
        };
        self.known[number as usize].desc = Some(desc.clone());
    }

    /// Hides a series from plugins until it is opened again; its number, if it has one. The series keeps its number, so that no
    /// state that a plugin may still have of it becomes the state of another series.
    pub(super) fn close(&mut self, id: SeriesId) -> Option<u32> {
        let number = self.get(id)?;
        self.known[number as usize].desc = None;
        Some(number)
    }

    fn add(&mut self, id: SeriesId) -> u32 {
        let at = id.0 as usize;
        if at >= self.numbers.len() {
            self.numbers.resize(at + 1, NO_NUMBER);
        }
        // Ids are drawn from one counter of 32 bits.
        let number = u32::try_from(self.known.len()).unwrap_or(NO_NUMBER);
        self.numbers[at] = number;
        self.known.push(KnownSeries { id, desc: None });
        number
    }

    fn get(&self, id: SeriesId) -> Option<u32> {
        self.numbers.get(id.0 as usize).copied().filter(|&number| number != NO_NUMBER)
    }

    /// The number of a series that can be shown to plugins.
    fn shown(&self, id: SeriesId) -> Option<u32> {
        self.get(id).filter(|&number| self.known[number as usize].desc.is_some())
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The series of each number.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.known.iter().map(|known| known.id.0).collect()
    }

    /// The description of an open series.
    pub(super) fn description(&self, number: u32) -> Option<&Arc<SeriesDesc>> {
        self.known.get(number as usize)?.desc.as_ref()
    }
}

/// The rows of a batch as plugins see them: with numbers for series, without rows of series that are not open.
#[derive(Default)]
pub(super) struct CallInput {
    pub(super) series: Vec<u32>,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    /// The row of the shard's batch for each row here; empty when they are the same.
    rows: Vec<u32>,
}

impl CallInput {
    /// Takes the rows of `batch`.
    pub(super) fn number(&mut self, numbers: &SeriesNumbers, batch: &Columns) {
        self.series.clear();
        self.rows.clear();
        self.times.clone_from(&batch.times);
        self.values.clone_from(&batch.values);
        // Rows of one series stand together.
        let mut last = None;
        for &id in &batch.series {
            let number = match last {
                Some((known, number)) if known == id => number,
                _ => numbers.shown(SeriesId(id)).unwrap_or(NO_NUMBER),
            };
            last = Some((id, number));
            self.series.push(number);
        }
        if self.series.contains(&NO_NUMBER) {
            self.remove_rows_without_number();
        }
    }

    fn remove_rows_without_number(&mut self) {
        let kept: Vec<usize> = (0..self.series.len()).filter(|&row| self.series[row] != NO_NUMBER).collect();
        let skipped = self.series.len() - kept.len();
        metrics::counter!("vitals_plugin_rows_skipped_total").increment(skipped as u64);
        self.times = kept.iter().map(|&row| self.times[row]).collect();
        self.values = kept.iter().map(|&row| self.values[row]).collect();
        self.series = kept.iter().map(|&row| self.series[row]).collect();
        self.rows = kept.into_iter().map(|row| u32::try_from(row).unwrap_or(NO_NUMBER)).collect();
    }

    /// The row of the shard's batch.
    fn row(&self, row: u32) -> usize {
        self.rows.get(row as usize).map_or(row as usize, |&row| row as usize)
    }

    /// The findings of a detector, by the rows of `batch`, from which this input was made.
    pub(super) fn findings(&self, evidence: Arc<Evidence>, answer: &abi::Findings, batch: &Columns) -> Findings {
        let finding = |at: usize| {
            let row = self.row(answer.rows[at]);
            let verdict = OutlierVerdict {
                series: SeriesId(batch.series[row]),
                value: batch.values[row],
                lower: answer.lower[at],
                upper: answer.upper[at],
                score: answer.scores[at],
                window: answer.windows[at],
            };
            (row, verdict)
        };
        Findings { evidence, rows: (0..answer.rows.len()).map(finding).collect() }
    }
}
