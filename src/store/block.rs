//! Sorted rows as compressed bytes, and back.
//!
//! `checksum u64 | version u8 | runs | times | values`, the checksum XXH3 over all that follows it.
//! - runs: their number, then for each the series (less the one before it), the number of rows, and where its
//!   times are: 0, or n for "the same as the n-th last that were written". Integers are LEB128.
//! - times: the length in bytes, then pco of the times of every run that has its own.
//! - values: pco, to the end.
//!
//! The series of one agent are sampled together, so most runs have the times of a run before them.

use super::sorted::{Sorted, SortedRun};
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};
use std::ops::Range;
use vitals_core::columns::Columns;
use vitals_core::leb128::{self, Leb128Error};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
const SUM_BYTES: usize = 8;
/// How far back a run looks for its times.
const RECENT: usize = 8;
/// More rows than any block has; what claims more is damaged.
const MOST_ROWS: usize = 1 << 28;
const TIME_LEVEL: usize = 4;

/// How hard values are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// For a block that will be merged soon.
    Quick,
    /// For a block that will be merged once more.
    Fair,
    /// For a block that stays.
    Thorough,
}

impl Effort {
    /// pco's level. Measured on rounded random walks: 0.037 us and 2.27 bytes a value, 0.055 us and 1.92,
    /// 0.060 us and 1.84.
    fn level(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Fair => 4,
            Self::Thorough => 6,
        }
    }
}

/// Why bytes are no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    #[error("a block ends early")]
    Short,
    #[error("a block's checksum does not match")]
    Checksum,
    #[error("a block has format version {0}, this program knows {VERSION}")]
    Version(u8),
    #[error("a block's directory makes no sense")]
    Directory,
    #[error("pco: {0}")]
    Pco(String),
}

/// The bytes of some runs of `sorted`.
pub(super) fn encode(sorted: &Sorted, runs: Range<usize>, effort: Effort) -> Result<Vec<u8>, BlockError> {
    let runs = &sorted.runs[runs];
    let rows = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => first.rows.start..last.rows.end,
        _ => 0..0,
    };
    let mut out = vec![0; SUM_BYTES];
    out.push(VERSION);
    put(&mut out, runs.len());
    let mut recent: Vec<&[i64]> = Vec::with_capacity(RECENT + 1);
    let mut own: Vec<i64> = Vec::new();
    let mut before = 0;
    for SortedRun { series, rows } in runs {
        let times = &sorted.times[rows.clone()];
        put(&mut out, (series - before) as usize);
        put(&mut out, times.len());
        before = *series;
        match recent.iter().rev().position(|known| *known == times) {
            Some(back) => put(&mut out, back + 1),
            None => {
                put(&mut out, 0);
                own.extend_from_slice(times);
                recent.push(times);
                if recent.len() > RECENT {
                    recent.remove(0);
                }
            }
        }
    }
    let config =
        ChunkConfig::default().with_compression_level(TIME_LEVEL).with_delta_spec(DeltaSpec::TryConsecutive(1));
    let times = simple_compress(&own, &config).map_err(pco_error)?;
    put(&mut out, times.len());
    out.extend_from_slice(&times);
    let config = ChunkConfig::default().with_compression_level(effort.level());
    out.extend(simple_compress(&sorted.values[rows], &config).map_err(pco_error)?);
    let sum = xxh3_64(&out[SUM_BYTES..]).to_le_bytes();
    out[..SUM_BYTES].copy_from_slice(&sum);
    Ok(out)
}

/// All rows of a block, sorted. Any bytes are survived.
pub(super) fn decode(bytes: &[u8]) -> Result<Columns, BlockError> {
    let block = Directory::parse(bytes)?;
    let times = block.own_times(block.own_rows)?;
    let mut columns = Columns {
        series: Vec::with_capacity(block.rows),
        times: Vec::with_capacity(block.rows),
        values: block.values(block.rows)?,
    };
    for entry in &block.entries {
        columns.series.resize(columns.series.len() + entry.rows.len(), entry.series);
        columns.times.extend_from_slice(&times[entry.times.clone()]);
    }
    Ok(columns)
}

/// The rows of one series, sorted; empty when it has none here.
pub(super) fn decode_series(bytes: &[u8], series: u32) -> Result<(Vec<i64>, Vec<f64>), BlockError> {
    let block = Directory::parse(bytes)?;
    let Ok(at) = block.entries.binary_search_by_key(&series, |entry| entry.series) else {
        return Ok((Vec::new(), Vec::new()));
    };
    // What comes behind the wanted rows need not be decompressed.
    let Entry { rows, times, .. } = block.entries[at].clone();
    let mut own = block.own_times(times.end)?;
    let mut values = block.values(rows.end)?;
    own.truncate(times.end);
    values.truncate(rows.end);
    Ok((own.split_off(times.start), values.split_off(rows.start)))
}

#[derive(Clone)]
struct Entry {
    series: u32,
    rows: Range<usize>,
    /// Among the times that were written.
    times: Range<usize>,
}

struct Directory<'a> {
    entries: Vec<Entry>,
    rows: usize,
    own_rows: usize,
    times: &'a [u8],
    values: &'a [u8],
}

impl<'a> Directory<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let (sum, rest) = bytes.split_first_chunk::<SUM_BYTES>().ok_or(BlockError::Short)?;
        if xxh3_64(rest) != u64::from_le_bytes(*sum) {
            return Err(BlockError::Checksum);
        }
        Self::parse_checked(rest)
    }

    fn parse_checked(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let (&version, mut rest) = bytes.split_first().ok_or(BlockError::Short)?;
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let input = &mut rest;
        let runs = take(input)?;
        // A run takes at least three bytes, which bounds what a lie about the number can allocate.
        if runs > input.len() / 3 {
            return Err(BlockError::Short);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(runs);
        let mut own: Vec<Range<usize>> = Vec::new();
        let (mut series, mut rows, mut own_rows) = (0_u32, 0_usize, 0_usize);
        for _ in 0..runs {
            let step = u32::try_from(take(input)?).map_err(|_| BlockError::Directory)?;
            series = series.checked_add(step).ok_or(BlockError::Directory)?;
            let len = take(input)?;
            if len == 0 || len > MOST_ROWS - rows || (step == 0 && !entries.is_empty()) {
                return Err(BlockError::Directory);
            }
            let times = match take(input)? {
                0 => {
                    own.push(own_rows..own_rows + len);
                    own_rows += len;
                    own_rows - len..own_rows
                }
                back => own.iter().rev().nth(back - 1).cloned().ok_or(BlockError::Directory)?,
            };
            if times.len() != len {
                return Err(BlockError::Directory);
            }
            entries.push(Entry { series, rows: rows..rows + len, times });
            rows += len;
        }
        let len = take(input)?;
        let (times, values) = input.split_at_checked(len).ok_or(BlockError::Short)?;
        Ok(Self { entries, rows, own_rows, times, values })
    }

    fn own_times(&self, rows: usize) -> Result<Vec<i64>, BlockError> {
        let mut times = vec![0; rows];
        let done = simple_decompress_into(self.times, &mut times).map_err(pco_error)?;
        if done.n_processed == rows { Ok(times) } else { Err(BlockError::Short) }
    }

    fn values(&self, rows: usize) -> Result<Vec<f64>, BlockError> {
        let mut values = vec![0.0; rows];
        let done = simple_decompress_into(self.values, &mut values).map_err(pco_error)?;
        if done.n_processed == rows { Ok(values) } else { Err(BlockError::Short) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn pco_error(error: pco::errors::PcoError) -> BlockError {
    BlockError::Pco(error.to_string())
}

fn put(out: &mut Vec<u8>, number: usize) {
    leb128::put(out, number as u64);
}

fn take(input: &mut &[u8]) -> Result<usize, BlockError> {
    let number = leb128::take(input).map_err(|error| match error {
        Leb128Error::Truncated => BlockError::Short,
        Leb128Error::TooLong => BlockError::Directory,
    })?;
    usize::try_from(number).map_err(|_| BlockError::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(rows: Vec<(u32, i64, u64)>) -> Sorted {
        let mut columns = Columns::default();
        for (series, time, value) in rows {
            columns.series.push(series);
            columns.times.push(time);
            columns.values.push(f64::from_bits(value));
        }
        Sorted::from_chunks(&[columns])
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn blocks_come_back(
            rows in proptest::collection::vec(
                (prop_oneof![0_u32..6, any::<u32>()], prop_oneof![0_i64..8, any::<i64>()], any::<u64>()), 1..200
            ),
            thorough in any::<bool>(),
        ) {
            let sorted = sorted(rows);
            let effort = if thorough { Effort::Thorough } else { Effort::Quick };
            let bytes = encode(&sorted, 0..sorted.runs.len(), effort).unwrap();
            let columns = decode(&bytes).unwrap();
            prop_assert_eq!(&columns.times, &sorted.times);
            prop_assert_eq!(bits(&columns.values), bits(&sorted.values));
            for SortedRun { series, rows } in &sorted.runs {
                prop_assert!(columns.series[rows.clone()].iter().all(|s| s == series));
                let (times, values) = decode_series(&bytes, *series).unwrap();
                prop_assert_eq!(&times, &sorted.times[rows.clone()]);
                prop_assert_eq!(bits(&values), bits(&sorted.values[rows.clone()]));
            }
        }

        #[test]
        fn a_flipped_or_cut_block_is_damaged(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let sorted = sorted((0..100).map(|row| (row / 10, i64::from(row % 10), u64::from(row))).collect());
            let mut bytes = encode(&sorted, 0..sorted.runs.len(), Effort::Quick).unwrap();
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes).is_err());
            prop_assert!(decode_series(&bytes, 3).is_err());
        }

        #[test]
        fn any_directory_is_survived(mut bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
            bytes[0] = VERSION;
            let _ = Directory::parse_checked(&bytes);
        }
    }

    #[test]
    fn shared_times_are_written_once() {
        let at = |agent: u32, n: i64| n * 1_000_000_007 + (i64::from(agent) + 1) * (n + 3) * 7_919 % 104_729;
        let rows = |shared: bool| {
            let rows = (0..400_u32).flat_map(|series| (0..50).map(move |n| (series, n)));
            sorted(rows.map(|(series, n)| (series, at(if shared { series / 100 } else { series }, n), 1)).collect())
        };
        let size = |sorted: Sorted| encode(&sorted, 0..sorted.runs.len(), Effort::Quick).unwrap().len();
        let (shared, apart) = (size(rows(true)), size(rows(false)));
        assert!(shared * 2 < apart, "{shared} {apart}");
    }
}
