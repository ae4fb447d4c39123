//! What a call shows of a batch: the numbers of series, and the rows that a plugin selects.

use super::selected::Selected;
use crate::evaluate::host::abi;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::SeriesId;
use vitals_core::series::SeriesDesc;
use vitals_core::verdict::OutlierVerdict;

/// Stands for the number of a series that has none.
const NO_NUMBER: u32 = u32::MAX;

/// Series by small dense numbers, the same for all plugins of the tenant.
pub(super) struct SeriesNumbers {
    /// By `SeriesId`.
    numbers: Vec<u32>,
    /// By number.
    known: Vec<KnownSeries>,
    /// Which plugins select each of them.
    selected: Selected,
}

struct KnownSeries {
    id: SeriesId,
    /// `None` for a series of a restored state until the shard opens it again.
    desc: Option<Arc<SeriesDesc>>,
}

impl SeriesNumbers {
    /// No series so far, for so many plugins.
    pub(super) fn new(plugins: usize) -> Self {
        Self { numbers: Vec::new(), known: Vec::new(), selected: Selected::new(plugins) }
    }

    /// Gives the series of a restored state the numbers that they had.
    pub(super) fn restore(&mut self, ids: Vec<u32>) {
        for id in ids {
            self.add(SeriesId(id));
        }
    }

    /// Opens a series, which is shown to the plugins (by their place) for which `is_selected` holds.
    pub(super) fn open(&mut self, desc: &Arc<SeriesDesc>, is_selected: impl FnMut(usize) -> bool) {
        let number = match self.get(desc.id) {
            Some(number) => number,
            None => self.add(desc.id),
        };
        self.known[number as usize].desc = Some(desc.clone());
        self.selected.set(number, is_selected);
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
        self.selected.add();
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

    /// The series that are not open.
    pub(super) fn closed(&self) -> Vec<u32> {
        self.known.iter().filter(|known| known.desc.is_none()).map(|known| known.id.0).collect()
    }

    /// The description of an open series.
    pub(super) fn description(&self, number: u32) -> Option<&Arc<SeriesDesc>> {
        self.known.get(number as usize)?.desc.as_ref()
    }

    /// The open series that a plugin selects.
    pub(super) fn of_plugin(&self, plugin: usize) -> Vec<u32> {
        let numbers = (0..).take(self.known.len());
        numbers.filter(|&number| self.description(number).is_some() && self.selected.has(number, plugin)).collect()
    }

    /// The number of an open series that a plugin selects.
    pub(super) fn is_shown(&self, number: u32, plugin: usize) -> bool {
        self.description(number).is_some() && self.selected.has(number, plugin)
    }
}

/// Rows with numbers for series.
#[derive(Default)]
pub(super) struct NumberedRows {
    pub(super) series: Vec<u32>,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    /// The row of the shard's batch for each row here; empty when they are the same.
    rows: Vec<u32>,
}

impl NumberedRows {
    /// The row of the shard's batch.
    fn row(&self, row: u32) -> usize {
        self.rows.get(row as usize).map_or(row as usize, |&row| row as usize)
    }

    /// The newest time.
    pub(super) fn newest(&self) -> i64 {
        self.times.iter().copied().max().unwrap_or(i64::MIN)
    }

    /// Replaces these rows by those of `all` for which `is_kept` holds.
    fn pick(&mut self, all: &Self, is_kept: impl Fn(u32) -> bool) {
        self.series.clear();
        self.times.clear();
        self.values.clear();
        self.rows.clear();
        let rows = all.series.iter().zip(&all.times).zip(&all.values);
        for (row, ((&series, &time), &value)) in (0..).zip(rows) {
            if is_kept(series) {
                self.series.push(series);
                self.times.push(time);
                self.values.push(value);
                self.rows.push(u32::try_from(all.row(row)).unwrap_or(NO_NUMBER));
            }
        }
    }

    /// The findings of a detector in these rows, by the rows of `batch`, from which they come.
    pub(super) fn findings(&self, answer: &abi::Findings, batch: &Columns) -> Vec<(usize, OutlierVerdict)> {
        let finding = |at: usize| {
            let row = self.row(answer.subjects[at]);
            (row, outlier(answer, at, SeriesId(batch.series[row]), batch.values[row]))
        };
        (0..answer.subjects.len()).map(finding).collect()
    }
}

/// Finding `at` of an answer, about a value of a series.
pub(super) fn outlier(answer: &abi::Findings, at: usize, series: SeriesId, value: f64) -> OutlierVerdict {
    OutlierVerdict {
        series,
        value,
        lower: answer.lower[at],
        upper: answer.upper[at],
        score: answer.scores[at],
        window: answer.windows[at],
    }
}

/// The rows of a batch as plugins see them: without rows of series that are not open.
#[derive(Default)]
pub(super) struct CallInput {
    all: NumberedRows,
    /// Sets of plugins: who selects a row, who selects each row.
    any: Vec<u64>,
    each: Vec<u64>,
    some: NumberedRows,
}

impl CallInput {
    /// Takes the rows of `batch`.
    pub(super) fn number(&mut self, numbers: &SeriesNumbers, batch: &Columns) {
        let Self { all, any, each, .. } = self;
        all.series.clear();
        all.rows.clear();
        all.times.clone_from(&batch.times);
        all.values.clone_from(&batch.values);
        numbers.selected.begin(any, each);
        // Rows of one series stand together.
        let mut last = None;
        let mut has_unknown = false;
        for &id in &batch.series {
            let number = match last {
                Some((known, number)) if known == id => number,
                _ => {
                    let number = numbers.shown(SeriesId(id)).unwrap_or(NO_NUMBER);
                    if number == NO_NUMBER {
                        has_unknown = true;
                    } else {
                        numbers.selected.join(number, any, each);
                    }
                    number
                }
            };
            last = Some((id, number));
            all.series.push(number);
        }
        if has_unknown {
            let whole = std::mem::take(all);
            all.pick(&whole, |number| number != NO_NUMBER);
            let skipped = whole.series.len() - all.series.len();
            metrics::counter!("vitals_plugin_rows_skipped_total").increment(skipped as u64);
        }
    }

    /// The rows that a plugin selects; `None` if there are none.
    pub(super) fn of_plugin(&mut self, plugin: usize, numbers: &SeriesNumbers) -> Option<&NumberedRows> {
        if !Selected::contains(&self.any, plugin) {
            return None;
        }
        if Selected::contains(&self.each, plugin) {
            return Some(&self.all).filter(|rows| !rows.series.is_empty());
        }
        self.some.pick(&self.all, |number| numbers.selected.has(number, plugin));
        Some(&self.some)
    }
}
