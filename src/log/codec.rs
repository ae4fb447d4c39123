//! A record as bytes, and back.
//!
//! `checksum u64 | version u8 | kind u8 | payload`, integers little-endian, the checksum XXH3 over all that
//! follows it. Samples are laid out by columns, each in the smallest of a few layouts that one pass can
//! choose among; an ordinary request takes 9 to 12 bytes a row. Everything else is small or rare, and is
//! postcard. A description's resource attributes and scope are written once in a record, and shared again when read.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::leb128::{self, Leb128Error};
use vitals_core::record::{Record, Samples};
use vitals_core::series::{AgentDesc, Attributes, Scope, SeriesDesc};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 4;
const SUM_BYTES: usize = 8;

const KIND_OTHER: u8 = 0;
const KIND_SAMPLES: u8 = 1;
const KIND_DESCRIBE: u8 = 2;

/// The value follows as it is, row by row.
const RAW: u8 = 0;
/// Runs: of equal times, or of series that count up by one.
const RUNS: u8 = 1;
/// The smallest value, then what each row adds to it, in a narrower integer.
const OFFSETS: u8 = 2;
/// As [`OFFSETS`], in milliseconds.
const OFFSETS_MS: u8 = 3;

const MILLISECOND: i64 = 1_000_000;

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("it ends early")]
    Short,
    #[error("its checksum does not match")]
    Checksum,
    #[error("its format version is {0}, this program knows {VERSION}")]
    Version(u8),
    #[error("it has the unknown kind {0}")]
    Kind(u8),
    #[error("its {0} cannot be understood")]
    Content(&'static str),
    #[error("postcard: {0}")]
    Postcard(#[from] postcard::Error),
}

#[derive(Serialize, Deserialize)]
struct Described {
    agents: Vec<Arc<AgentDesc>>,
    resources: Vec<Arc<Attributes>>,
    scopes: Vec<Arc<Scope>>,
    /// Each with an index into `resources` and one into `scopes`; its own resource and scope are left empty.
    series: Vec<(u32, u32, SeriesDesc)>,
}

/// The bytes of `record`.
pub(super) fn encode(record: &Record) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![0; SUM_BYTES];
    out.push(VERSION);
    match record {
        Record::Samples(samples) => {
            out.push(KIND_SAMPLES);
            encode_samples(&mut out, samples);
        }
        Record::Describe { agents, series } => {
            out.push(KIND_DESCRIBE);
            out = postcard::to_extend(&described(agents, series), out)?;
        }
        _ => {
            out.push(KIND_OTHER);
            out = postcard::to_extend(record, out)?;
        }
    }
    let sum = xxh3_64(&out[SUM_BYTES..]).to_le_bytes();
    out[..SUM_BYTES].copy_from_slice(&sum);
    Ok(out)
}

/// The record that `bytes` hold. Any bytes are survived.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let (sum, rest) = bytes.split_first_chunk::<SUM_BYTES>().ok_or(CodecError::Short)?;
    if xxh3_64(rest) != u64::from_le_bytes(*sum) {
        return Err(CodecError::Checksum);
    }
    decode_checked(rest)
}

fn decode_checked(bytes: &[u8]) -> Result<Record, CodecError> {
    let ([version, kind], payload) = bytes.split_first_chunk::<2>().ok_or(CodecError::Short)?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    match *kind {
        KIND_SAMPLES => decode_samples(&mut Input(payload)).map(Record::Samples),
        KIND_DESCRIBE => restore(postcard::from_bytes(payload)?),
        KIND_OTHER => Ok(postcard::from_bytes(payload)?),
        other => Err(CodecError::Kind(other)),
    }
}

fn described(agents: &[Arc<AgentDesc>], series: &[Arc<SeriesDesc>]) -> Described {
    let (mut resources, mut scopes) = (Once::default(), Once::default());
    let (no_resource, no_scope) = (Arc::default(), Arc::default());
    let series = series
        .iter()
        .map(|desc| {
            let (resource, scope) = (resources.place(&desc.spec.resource), scopes.place(&desc.spec.scope));
            let mut desc = (**desc).clone();
            (desc.spec.resource, desc.spec.scope) = (Arc::clone(&no_resource), Arc::clone(&no_scope));
            (resource, scope, desc)
        })
        .collect();
    Described { agents: agents.to_vec(), resources: resources.all, scopes: scopes.all, series }
}

/// What many descriptions share, each once.
struct Once<T> {
    all: Vec<Arc<T>>,
    index: HashMap<Arc<T>, u32>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { all: Vec::new(), index: HashMap::new() }
    }
}

impl<T: Eq + std::hash::Hash> Once<T> {
    fn place(&mut self, one: &Arc<T>) -> u32 {
        *self.index.entry_ref(one).or_insert_with(|| {
            self.all.push(one.clone());
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn restore(described: Described) -> Result<Record, CodecError> {
    let Described { agents, resources, scopes, series } = described;
    let series = series
        .into_iter()
        .map(|(resource, scope, mut desc)| {
            desc.spec.resource = resources.get(resource as usize).ok_or(CodecError::Content("resource"))?.clone();
            desc.spec.scope = scopes.get(scope as usize).ok_or(CodecError::Content("scope"))?.clone();
            Ok(Arc::new(desc))
        })
        .collect::<Result<_, CodecError>>()?;
    Ok(Record::Describe { agents, series })
}

fn encode_samples(out: &mut Vec<u8>, samples: &Samples) {
    let Samples { tenant, received_at, alive, columns, starts } = samples;
    // Columns have equal length; should a caller break that, the rows that are whole are kept.
    let rows = columns.series.len().min(columns.times.len()).min(columns.values.len());
    out.reserve(tenant.0.len() + alive.len() * 4 + rows * 12 + 64);
    put_len(out, tenant.0.len());
    out.extend_from_slice(tenant.0.as_bytes());
    out.extend_from_slice(&received_at.0.to_le_bytes());
    put_len(out, alive.len());
    for agent in alive {
        out.extend_from_slice(&agent.0.to_le_bytes());
    }
    put_len(out, rows);
    encode_series(out, &columns.series[..rows]);
    encode_times(out, &columns.times[..rows]);
    put_all(out, &columns.values[..rows], |v| v.to_le_bytes());
    encode_starts(out, starts);
}

fn decode_samples(input: &mut Input<'_>) -> Result<Samples, CodecError> {
    let name = input.len()?;
    let tenant = std::str::from_utf8(input.take(name)?).map_err(|_| CodecError::Content("tenant"))?;
    let received_at = UnixNanos(i64::from_le_bytes(input.array()?));
    let agents = input.len()?;
    let alive = input.all::<4>(agents)?.map(|b| AgentId(u32::from_le_bytes(b))).collect();
    let rows = input.len()?;
    // Every row has 8 bytes of its own, which bounds what a lie about the number can allocate.
    if rows > input.0.len() / 8 {
        return Err(CodecError::Short);
    }
    let series = decode_series(input, rows)?;
    let times = decode_times(input, rows)?;
    let values = input.all::<8>(rows)?.map(f64::from_le_bytes).collect();
    let starts = decode_starts(input)?;
    if !input.0.is_empty() {
        return Err(CodecError::Content("end"));
    }
    let columns = Columns { series, times, values };
    Ok(Samples { tenant: TenantId::from(tenant), received_at, alive, columns, starts })
}

/// Runs as (rows since the run before, start).
fn encode_starts(out: &mut Vec<u8>, starts: &Starts) {
    put_len(out, starts.rows.len().min(starts.times.len()));
    let mut before = 0;
    for (&row, start) in starts.rows.iter().zip(&starts.times) {
        put_len(out, row.saturating_sub(before) as usize);
        out.extend_from_slice(&start.to_le_bytes());
        before = row;
    }
}

fn decode_starts(input: &mut Input<'_>) -> Result<Starts, CodecError> {
    let runs = input.len()?;
    // A run has 9 bytes or more.
    if runs > input.0.len() / 9 {
        return Err(CodecError::Short);
    }
    let mut starts = Starts { rows: Vec::with_capacity(runs), times: Vec::with_capacity(runs) };
    let mut row = 0_u32;
    for _ in 0..runs {
        let step = u32::try_from(input.len()?).ok();
        row = step.and_then(|step| row.checked_add(step)).ok_or(CodecError::Content("start"))?;
        starts.rows.push(row);
        starts.times.push(i64::from_le_bytes(input.array()?));
    }
    Ok(starts)
}

fn encode_series(out: &mut Vec<u8>, series: &[u32]) {
    let breaks = series.windows(2).filter(|w| w[1] != w[0].wrapping_add(1)).count();
    if breaks < series.len() / 4 {
        out.push(RUNS);
        put_runs(out, series, |from, at| from.wrapping_add(at), u32::to_le_bytes);
        return;
    }
    let low = series.iter().copied().min().unwrap_or(0);
    let high = series.iter().copied().max().unwrap_or(0);
    if high - low <= u32::from(u16::MAX) {
        out.push(OFFSETS);
        out.extend_from_slice(&low.to_le_bytes());
        // The difference was just checked to fit.
        put_all(out, series, |s| ((s - low) as u16).to_le_bytes());
    } else {
        out.push(RAW);
        put_all(out, series, |s| s.to_le_bytes());
    }
}

fn decode_series(input: &mut Input<'_>, rows: usize) -> Result<Vec<u32>, CodecError> {
    match input.byte()? {
        RAW => Ok(input.all::<4>(rows)?.map(u32::from_le_bytes).collect()),
        RUNS => take_runs(input, rows, u32::from_le_bytes, |from, at| from.wrapping_add(at)),
        OFFSETS => {
            let low = u32::from_le_bytes(input.array()?);
            Ok(input.all::<2>(rows)?.map(|b| low.wrapping_add(u16::from_le_bytes(b).into())).collect())
        }
        _ => Err(CodecError::Content("series layout")),
    }
}

fn encode_times(out: &mut Vec<u8>, times: &[i64]) {
    let breaks = times.windows(2).filter(|w| w[1] != w[0]).count();
    if breaks < times.len() / 4 {
        out.push(RUNS);
        put_runs(out, times, |from, _| from, i64::to_le_bytes);
        return;
    }
    let low = times.iter().copied().min().unwrap_or(0);
    let high = times.iter().copied().max().unwrap_or(0);
    let span = high.abs_diff(low);
    if span <= u64::from(u32::MAX) {
        out.push(OFFSETS);
        out.extend_from_slice(&low.to_le_bytes());
        put_all(out, times, |t| (t.abs_diff(low) as u32).to_le_bytes());
    } else if span / MILLISECOND.unsigned_abs() <= u64::from(u32::MAX)
        && times.iter().all(|t| t.abs_diff(low).is_multiple_of(MILLISECOND.unsigned_abs()))
    {
        out.push(OFFSETS_MS);
        out.extend_from_slice(&low.to_le_bytes());
        put_all(out, times, |t| ((t.abs_diff(low) / MILLISECOND.unsigned_abs()) as u32).to_le_bytes());
    } else {
        out.push(RAW);
        put_all(out, times, |t| t.to_le_bytes());
    }
}

fn decode_times(input: &mut Input<'_>, rows: usize) -> Result<Vec<i64>, CodecError> {
    match input.byte()? {
        RAW => Ok(input.all::<8>(rows)?.map(i64::from_le_bytes).collect()),
        RUNS => take_runs(input, rows, i64::from_le_bytes, |from, _| from),
        layout @ (OFFSETS | OFFSETS_MS) => {
            let low = i64::from_le_bytes(input.array()?);
            let unit = if layout == OFFSETS { 1 } else { MILLISECOND };
            let offsets = input.all::<4>(rows)?.map(|b| i64::from(u32::from_le_bytes(b)));
            Ok(offsets.map(|offset| low.wrapping_add(offset * unit)).collect())
        }
        _ => Err(CodecError::Content("times layout")),
    }
}

/// Writes each row in `N` bytes.
fn put_all<T: Copy, const N: usize>(out: &mut Vec<u8>, rows: &[T], bytes: impl Fn(T) -> [u8; N]) {
    let from = out.len();
    out.resize(from + rows.len() * N, 0);
    for (place, &row) in out[from..].as_chunks_mut::<N>().0.iter_mut().zip(rows) {
        *place = bytes(row);
    }
}

/// Writes runs as (length, first); `next(first, i)` is row `i` of a run.
fn put_runs<T: Copy + PartialEq, const N: usize>(
    out: &mut Vec<u8>,
    rows: &[T],
    next: impl Fn(T, u32) -> T,
    bytes: impl Fn(T) -> [u8; N],
) {
    let mut rest = rows;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(0_u32..).take_while(|&(&row, at)| row == next(first, at)).count();
        put_len(out, run);
        out.extend_from_slice(&bytes(first));
        rest = &rest[run..];
    }
}

fn take_runs<T: Copy, const N: usize>(
    input: &mut Input<'_>,
    rows: usize,
    value: impl Fn([u8; N]) -> T,
    next: impl Fn(T, u32) -> T,
) -> Result<Vec<T>, CodecError> {
    let mut out = Vec::with_capacity(rows);
    while out.len() < rows {
        let run = input.len()?;
        let first = value(input.array()?);
        if run == 0 || run > rows - out.len() {
            return Err(CodecError::Content("run"));
        }
        out.extend((0..u32::try_from(run).map_err(|_| CodecError::Content("run"))?).map(|at| next(first, at)));
    }
    Ok(out)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    leb128::put(out, len as u64);
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(CodecError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(CodecError::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    fn all<const N: usize>(&mut self, rows: usize) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, CodecError> {
        let bytes = self.take(rows.checked_mul(N).ok_or(CodecError::Short)?)?;
        Ok(bytes.as_chunks::<N>().0.iter().copied())
    }

    fn len(&mut self) -> Result<usize, CodecError> {
        let len = leb128::take(&mut self.0).map_err(|error| match error {
            Leb128Error::Truncated => CodecError::Short,
            Leb128Error::TooLong => CodecError::Content("length"),
        })?;
        usize::try_from(len).map_err(|_| CodecError::Content("length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns() -> impl Strategy<Value = Columns> {
        let series = prop_oneof![
            Just(prop_oneof![0_u32..5].boxed()),
            Just(prop_oneof![1000_u32..40_000].boxed()),
            Just(any::<u32>().boxed())
        ]
        .prop_flat_map(|each| proptest::collection::vec((each, 0_usize..40), 0..20))
        .prop_map(|runs| {
            runs.into_iter().flat_map(|(from, n)| (0..n as u32).map(move |i| from.wrapping_add(i))).collect::<Vec<_>>()
        });
        let time = prop_oneof![
            Just((0_i64..3).boxed()),
            Just((1_700_000_000_000_000_000_i64..1_700_000_004_000_000_000).boxed()),
            Just((0_i64..4_000_000_000).prop_map(|ms| ms * MILLISECOND).boxed()),
            Just(any::<i64>().boxed())
        ];
        (series, time).prop_flat_map(|(series, time)| {
            let rows = series.len();
            (
                Just(series),
                proptest::collection::vec(time, rows),
                proptest::collection::vec(any::<u64>().prop_map(f64::from_bits), rows),
            )
                .prop_map(|(series, times, values)| Columns { series, times, values })
        })
    }

    fn bits(columns: &Columns) -> (Vec<u32>, Vec<i64>, Vec<u64>) {
        (columns.series.clone(), columns.times.clone(), columns.values.iter().map(|v| v.to_bits()).collect())
    }

    proptest! {
        #[test]
        fn samples_come_back(
            columns in columns(),
            tenant in ".{0,8}",
            at in any::<i64>(),
            alive in proptest::collection::vec(any::<u32>().prop_map(AgentId), 0..5),
            starts in proptest::collection::vec(prop_oneof![Just(0_i64), Just(5), any::<i64>()], 0..30),
        ) {
            let mut runs = Starts::default();
            starts.iter().enumerate().for_each(|(row, &start)| runs.note(row * 100, UnixNanos(start)));
            let starts = runs;
            let samples = Samples { tenant: tenant.as_str().into(), received_at: UnixNanos(at), alive, columns, starts };
            let bytes = encode(&Record::Samples(samples.clone())).unwrap();
            let Record::Samples(back) = decode(&bytes).unwrap() else { panic!("another kind") };
            prop_assert_eq!(bits(&back.columns), bits(&samples.columns));
            prop_assert_eq!((back.tenant, back.received_at, back.alive), (samples.tenant, samples.received_at, samples.alive));
            prop_assert_eq!(back.starts, samples.starts);
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..4) {
            let _ = decode(&bytes);
            if let [version, k, ..] = bytes.as_mut_slice() {
                (*version, *k) = (VERSION, kind);
            }
            // Behind the checksum too: it guards against rot, not against a wrong writer.
            let _ = decode_checked(&bytes);
        }

        #[test]
        fn a_cut_or_flipped_record_is_damaged(columns in columns(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let starts = Starts { rows: vec![1, 7], times: vec![5, -6] };
            let samples = Samples { tenant: "t".into(), received_at: UnixNanos(1), alive: vec![], columns, starts };
            let mut bytes = encode(&Record::Samples(samples)).unwrap();
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
            prop_assert!(decode_checked(&bytes[SUM_BYTES.min(at)..at]).is_err() || at < SUM_BYTES);
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_usual_request_is_small() {
        // 100 agents of 80 series, each agent with a time of its own.
        let mut columns = Columns::default();
        for row in 0..8000_u32 {
            columns.series.push(row);
            columns.times.push(1_700_000_000_000_000_000 + i64::from(row / 80) * 12_345_678);
            columns.values.push(f64::from(row) * 0.1);
        }
        let starts = Starts { rows: vec![0, 900], times: vec![1_600_000_000_000_000_000, 1_650_000_000_000_000_000] };
        let alive = vec![AgentId(1)];
        let samples = Samples { tenant: "default".into(), received_at: UnixNanos(1), alive, columns, starts };
        let bytes = encode(&Record::Samples(samples)).unwrap();
        assert!(bytes.len() < 8000 * 9, "{} bytes", bytes.len());
    }
}
