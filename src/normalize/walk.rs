//! The walk over an `ExportMetricsServiceRequest` in wire bytes: known series go straight into columns.
//!
//! Protobuf allows fields in any order, and a metric's name after its data. So each message is gone over
//! twice: once for what its children need (children are passed by their length), once for the children. Per
//! point nothing is allocated: the identity of its series is a hash of the attribute bytes as they
//! came, mixed with a hash of everything above it that identifies.

mod describe;
mod distributions;
mod identity;

use super::agents::entities;
use super::attributes::{Parsed, check_run, parse, text};
use super::buckets::{Bucket, Exponential, QUANTILES, Side, explicit, quantile};
use super::memory::{Memory, NEW_SERIES_BYTES, ROW_BYTES};
use super::tally::{Reason, Tally};
use super::wire::{
    BUCKETS, DEPTH, EXEMPLAR, KEY_VALUE, Malformed, QUANTILE, REQUEST, RESOURCE, Reader, SCOPE, check, data_schema,
};
use super::{Normalizer, Resource};
use hashbrown::HashMap;
use identity::{PointRun, identity, salted};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;
use vitals_core::caller::Caller;
use vitals_core::columns::{Columns, Starts};
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::registry::IdentityHash;
use vitals_core::series::{Attributes, MetricKind, Origin, Part, Scope, SeriesSpec, Shape};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Stands in a row until its series has an id.
pub const UNKNOWN: u32 = u32::MAX;

const DAY: i64 = 86_400 * UnixNanos::SECOND;

// How many levels may follow below each message, as a decoder that counts from the request has it.
const IN_RESOURCE_METRICS: u32 = DEPTH - 1;
const IN_SCOPE_METRICS: u32 = DEPTH - 2;
const IN_METRIC: u32 = DEPTH - 3;
const IN_DATA: u32 = DEPTH - 4;
const IN_POINT: u32 = DEPTH - 5;

/// Rows of one partition, and who was alive in it.
#[derive(Default)]
pub struct ColumnBatch {
    pub alive: Vec<AgentId>,
    pub columns: Columns,
    pub starts: Starts,
}

/// A series seen for the first time.
pub struct NewSeries {
    pub hash: IdentityHash,
    pub agent: AgentId,
    pub spec: SeriesSpec,
}

/// A row that waits for its series.
pub struct UnresolvedRow {
    pub partition: usize,
    pub row: usize,
    pub miss: usize,
    pub point: u64,
}

/// One request being walked.
pub struct Walk<'a> {
    normalizer: &'a Normalizer,
    caller: &'a Caller,
    fallback: &'a str,
    now: UnixNanos,
    body: &'a [u8],
    known: &'a HashMap<IdentityHash, SeriesId>,
    /// The earliest time that is taken, at least 1.
    earliest: u64,
    /// The latest time that is taken.
    latest: u64,
    /// Hash of tenant and fallback name: the same resource bytes may be another agent elsewhere.
    whose: IdentityHash,
    /// Whether the whole request was checked, which is done before an agent is registered.
    vetted: bool,
    pub batches: Vec<ColumnBatch>,
    pub new_series: Vec<NewSeries>,
    pub unresolved: Vec<UnresolvedRow>,
    pub tally: Tally,
    missed: HashMap<IdentityHash, usize>,
    parsed: Option<(IdentityHash, Attributes)>,
    /// Since when the numbers of the present point were counted; 0 is unknown.
    start: UnixNanos,
    scratch: Scratch,
    pub memory: Memory<'a>,
}

/// Memory that is used again for each metric and point.
#[derive(Default)]
struct Scratch {
    identity: Vec<u8>,
    scattered: Vec<u8>,
    counts: Vec<u64>,
    bounds: Vec<f64>,
    buckets: Vec<Bucket>,
    exponential: Exponential,
    quantiles: Vec<(f64, f64)>,
}

/// What all metrics of one scope share.
struct InScope<'m> {
    /// `InstrumentationScope`, checked.
    bytes: &'m [u8],
    hash: IdentityHash,
    /// What the rules table may ask for.
    name: Cow<'m, str>,
    /// Read when a series of it is seen for the first time.
    read: OnceCell<Result<Arc<Scope>, Reason>>,
}

/// What all points of one metric share.
struct Metric<'m> {
    resource: &'m Resource,
    partition: usize,
    scope: &'m InScope<'m>,
    name: &'m str,
    unit: &'m str,
    /// A digest of name and unit as far as they were not UTF-8.
    mended: u64,
    shape: Shape,
    prefix: IdentityHash,
    factor: f64,
    scaled: bool,
    reject: Option<Reason>,
}

/// Sets a message field that may come once; when it comes again the two are one message, which is what their
/// bytes in a row mean.
fn merge<'b>(
    field: &mut Option<Cow<'b, [u8]>>,
    more: &'b [u8],
    check: impl Fn(&[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    match field {
        None => *field = Some(Cow::Borrowed(more)),
        Some(first) => {
            if matches!(first, Cow::Borrowed(_)) {
                check(first)?;
            }
            check(more)?;
            first.to_mut().extend_from_slice(more);
        }
    }
    Ok(())
}

/// A number as it came.
#[derive(Clone, Copy)]
enum Number {
    Missing,
    Double(u64),
    Int(i64),
}

impl<'a> Walk<'a> {
    pub fn new(
        normalizer: &'a Normalizer,
        caller: &'a Caller,
        fallback: &'a str,
        now: UnixNanos,
        body: &'a [u8],
        known: &'a HashMap<IdentityHash, SeriesId>,
        memory: Memory<'a>,
    ) -> Self {
        let ahead =
            i64::try_from(normalizer.config.max_future_seconds).unwrap_or(i64::MAX).saturating_mul(UnixNanos::SECOND);
        let latest = u64::try_from(now.plus(ahead).0).unwrap_or(0);
        // As the store deletes: whole days (UTC), those that the moment so many days ago is past.
        let kept = now.plus(-i64::from(normalizer.config.sample_retention_days).saturating_mul(DAY));
        let earliest = u64::try_from(kept.0.div_euclid(DAY).saturating_mul(DAY)).unwrap_or(0).max(1);
        let mut whose = caller.tenant.0.as_bytes().to_vec();
        whose.push(0xff);
        whose.extend_from_slice(fallback.as_bytes());
        Self {
            normalizer,
            caller,
            fallback,
            now,
            body,
            known,
            earliest,
            latest,
            whose: xxh3_128_with_seed(&whose, normalizer.seed),
            vetted: false,
            batches: (0..normalizer.partitions).map(|_| ColumnBatch::default()).collect(),
            new_series: Vec::new(),
            unresolved: Vec::new(),
            tally: Tally::default(),
            missed: HashMap::new(),
            parsed: None,
            start: UnixNanos(0),
            scratch: Scratch::default(),
            memory,
        }
    }

    /// Walks the request.
    pub fn request(&mut self) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.body);
        while !reader.is_empty() {
            match reader.key()? {
                0x0a => self.resource_metrics(reader.bytes()?)?,
                key => reader.other(key, &[1], DEPTH)?,
            }
        }
        Ok(())
    }

    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        let mut resource = None;
        let mut scopes = false;
        while !reader.is_empty() {
            match reader.key()? {
                0x0a => {
                    merge(&mut resource, reader.bytes()?, |bytes| check(&RESOURCE, bytes, IN_RESOURCE_METRICS - 1))?
                }
                0x12 => {
                    reader.bytes()?;
                    scopes = true;
                }
                0x1a => drop(reader.bytes()?),
                key => reader.other(key, &[1, 2, 3], IN_RESOURCE_METRICS)?,
            }
        }
        let resource = self.resource(resource.as_deref().unwrap_or_default())?;
        let partition = resource.partition.0 as usize;
        if let (true, None, Some(batch)) = (scopes, resource.reject, self.batches.get_mut(partition))
            && batch.alive.last() != Some(&resource.agent)
        {
            batch.alive.push(resource.agent);
        }
        let mut reader = Reader::new(message);
        while !reader.is_empty() {
            match reader.key()? {
                0x12 => self.scope_metrics(&resource, reader.bytes()?)?,
                0x0a | 0x1a => drop(reader.bytes()?),
                key => reader.other(key, &[1, 2, 3], IN_RESOURCE_METRICS)?,
            }
        }
        Ok(())
    }

    /// Which agent the resource is: remembered by its bytes, worked out when they are new.
    fn resource(&mut self, bytes: &[u8]) -> Result<Arc<Resource>, Malformed> {
        let key = xxh3_128_with_seed(bytes, self.whose as u64) ^ self.whose;
        if let Some(known) = self.normalizer.resource(key) {
            return Ok(self.permitted(known));
        }
        if !self.vetted {
            check(&REQUEST, self.body, DEPTH)?;
            self.vetted = true;
        }
        let resource = match parse(bytes, 1, IN_RESOURCE_METRICS - 1, self.normalizer.limits(), 0) {
            Err(malformed) => return Err(malformed),
            Ok(Parsed::TooMany) => Err(Reason::TooManyAttributes),
            Ok(Parsed::TooLarge) => Err(Reason::AttributesTooLarge),
            Ok(Parsed::Attributes { attributes, duplicates }) => {
                self.tally.duplicates += duplicates;
                let entities = entities(bytes)?;
                self.normalizer.identify(self.caller, self.fallback, self.now, key, attributes, &entities)
            }
        };
        Ok(match resource {
            Ok(resource) => self.permitted(resource),
            Err(reason) => Arc::new(Resource::rejected(reason)),
        })
    }

    fn permitted(&self, resource: Arc<Resource>) -> Arc<Resource> {
        if self.caller.agents.is_none() || self.caller.may_touch(&resource.key) {
            resource
        } else {
            Arc::new(Resource::rejected(Reason::ForeignAgent))
        }
    }

    fn scope_metrics(&mut self, resource: &Resource, message: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        let mut scope = None;
        while !reader.is_empty() {
            match reader.key()? {
                0x0a => merge(&mut scope, reader.bytes()?, |bytes| check(&SCOPE, bytes, IN_SCOPE_METRICS - 1))?,
                0x12 | 0x1a => drop(reader.bytes()?),
                key => reader.other(key, &[1, 2, 3], IN_SCOPE_METRICS)?,
            }
        }
        let bytes = scope.unwrap_or_default();
        check(&SCOPE, &bytes, IN_SCOPE_METRICS - 1)?;
        let hash = xxh3_128_with_seed(&bytes, self.normalizer.seed);
        let name = String::from_utf8_lossy(scope_name(&bytes)?);
        let scope = InScope { bytes: &bytes, hash, name, read: OnceCell::new() };
        let mut reader = Reader::new(message);
        while !reader.is_empty() {
            match reader.key()? {
                0x12 => self.metric(resource, &scope, reader.bytes()?)?,
                0x0a | 0x1a => drop(reader.bytes()?),
                key => reader.other(key, &[1, 2, 3], IN_SCOPE_METRICS)?,
            }
        }
        Ok(())
    }

    fn metric(&mut self, resource: &Resource, scope: &InScope<'_>, message: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        let (mut name, mut unit): (&[u8], &[u8]) = (b"", b"");
        let mut data: Option<(u32, Option<Cow<'_, [u8]>>)> = None;
        while !reader.is_empty() {
            match reader.key()? {
                0x0a => name = reader.bytes()?,
                0x12 => drop(reader.bytes()?),
                0x1a => unit = reader.bytes()?,
                key @ (0x2a | 0x3a | 0x4a | 0x52 | 0x5a) => {
                    let (field, bytes) = (key >> 3, reader.bytes()?);
                    let vet = |field: u32, bytes: &[u8]| check(data_schema(field), bytes, IN_DATA);
                    match &mut data {
                        Some((same, message)) if *same == field => merge(message, bytes, |bytes| vet(field, bytes))?,
                        other => {
                            // A oneof: the last one counts, but the one before must have been sound.
                            if let Some((field, Some(bytes))) = other {
                                vet(*field, bytes)?;
                            }
                            data = Some((field, Some(Cow::Borrowed(bytes))));
                        }
                    }
                }
                0x62 => check(&KEY_VALUE, reader.bytes()?, IN_METRIC - 1)?,
                key => reader.other(key, &[1, 2, 3, 5, 7, 9, 10, 11, 12], IN_METRIC)?,
            }
        }
        let Some((field, Some(data))) = data else {
            self.tally.without_data += 1;
            return Ok(());
        };
        let (temporality, monotonic) = match field {
            7 => flow(&data, &[1, 2, 3], true)?,
            9 | 10 => flow(&data, &[1, 2], false)?,
            11 => (Temporality::Cumulative, false),
            _ => (Temporality::Gauge, false),
        };
        // A histogram's counts only grow.
        let monotonic = monotonic || field >= 9;
        let shape = match temporality {
            Temporality::Gauge | Temporality::Unspecified => Shape::Gauge,
            Temporality::Delta => Shape::Delta { monotonic },
            Temporality::Cumulative => Shape::Cumulative { monotonic },
        };
        let reject = resource.reject.or_else(|| self.refusal(name, unit, temporality));
        let prefix = self.prefix(resource, scope, name, unit, [field as u8, temporality as u8, u8::from(monotonic)]);
        let mut mended = 0;
        let (name, unit) = (text(name, 1, &mut mended), text(unit, 2, &mut mended));
        let factor = self.normalizer.rules.factor(&name, &unit, &scope.name);
        let metric = Metric {
            resource,
            partition: resource.partition.0 as usize,
            scope,
            name: &name,
            unit: &unit,
            mended,
            shape,
            prefix,
            factor,
            scaled: factor.to_bits() != 1.0_f64.to_bits(),
            reject,
        };
        let mut reader = Reader::new(&data);
        while !reader.is_empty() {
            match (reader.key()?, field) {
                (0x0a, 5 | 7) => self.number(&metric, reader.bytes()?)?,
                (0x0a, 9) => self.histogram(&metric, reader.bytes()?)?,
                (0x0a, 10) => self.exponential(&metric, reader.bytes()?)?,
                (0x0a, _) => self.summary(&metric, reader.bytes()?)?,
                (0x10, 7 | 9 | 10) | (0x18, 7) => drop(reader.varint()?),
                (key, 7) => reader.other(key, &[1, 2, 3], IN_DATA)?,
                (key, 9 | 10) => reader.other(key, &[1, 2], IN_DATA)?,
                (key, _) => reader.other(key, &[1], IN_DATA)?,
            }
        }
        Ok(())
    }

    /// Why no point of a metric can be taken, if so.
    fn refusal(&self, name: &[u8], unit: &[u8], temporality: Temporality) -> Option<Reason> {
        let most = self.normalizer.config.max_name_bytes;
        if name.is_empty() {
            Some(Reason::NoName)
        } else if name.len() > most || unit.len() > most {
            Some(Reason::NameTooLong)
        } else if temporality == Temporality::Unspecified {
            Some(Reason::NoTemporality)
        } else {
            None
        }
    }

    fn prefix(
        &mut self,
        resource: &Resource,
        scope: &InScope<'_>,
        name: &[u8],
        unit: &[u8],
        kind: [u8; 3],
    ) -> IdentityHash {
        let bytes = &mut self.scratch.identity;
        bytes.clear();
        bytes.extend_from_slice(&resource.hash.to_le_bytes());
        bytes.extend_from_slice(&scope.hash.to_le_bytes());
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&kind);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(unit);
        xxh3_128_with_seed(bytes, self.normalizer.seed)
    }

    fn number(&mut self, metric: &Metric<'_>, point: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(point);
        let (mut start, mut time, mut flags) = (0, 0, 0);
        let mut value = Number::Missing;
        let mut run = PointRun::new();
        while !reader.is_empty() {
            let before = reader.left();
            match reader.key()? {
                0x3a => {
                    reader.bytes()?;
                    run.add(point, before, reader.left(), &mut self.scratch.scattered);
                }
                0x19 => time = reader.fixed64()?,
                0x11 => start = reader.fixed64()?,
                0x21 => value = Number::Double(reader.fixed64()?),
                0x31 => value = Number::Int(reader.fixed64()?.cast_signed()),
                0x2a => check(&EXEMPLAR, reader.bytes()?, IN_POINT - 1)?,
                0x40 => flags = reader.varint()?,
                key => reader.other(key, &[2, 3, 4, 5, 6, 7, 8], IN_POINT)?,
            }
        }
        self.started(start);
        let copy = std::mem::take(&mut self.scratch.scattered);
        let run = run.bytes(point, &copy);
        let missing = matches!(value, Number::Missing).then_some(Reason::NoValue);
        let done = if self.taken(metric, time, flags, missing, run)? {
            let (value, integer) = match value {
                Number::Double(bits) => (f64::from_bits(bits), false),
                Number::Int(int) => (self.nearest(int), true),
                Number::Missing => (f64::NAN, false),
            };
            let value = if metric.scaled { value * metric.factor } else { value };
            let hash = identity(metric, run);
            if self.cannot_hold(value) {
                check_run(run, IN_POINT)?;
                self.tally.reject(Reason::NotFinite);
                Ok(())
            } else if let Some(&series) = self.known.get(&hash) {
                // `taken` left no time past `i64::MAX`.
                self.push(metric, series.0, time.cast_signed(), value);
                Ok(())
            } else {
                self.unknown(metric, hash, run, 7, Part::Value, integer, time.cast_signed(), value)
            }
        } else {
            Ok(())
        };
        self.scratch.scattered = copy;
        done
    }

    /// Whether a point has a sample; counts it when not. Attributes of a point that is not looked at further are checked.
    #[inline]
    fn taken(
        &mut self,
        metric: &Metric<'_>,
        time: u64,
        flags: u64,
        wrong: Option<Reason>,
        run: &[u8],
    ) -> Result<bool, Malformed> {
        self.tally.points += 1;
        // One comparison for what is too early, 0 among it, and for what is too late.
        if time.wrapping_sub(self.earliest) <= self.latest.saturating_sub(self.earliest)
            && flags & 1 == 0
            && metric.reject.is_none()
            && wrong.is_none()
        {
            return Ok(true);
        }
        self.not_taken(metric, time, flags, wrong, run)?;
        Ok(false)
    }

    #[cold]
    fn not_taken(
        &mut self,
        metric: &Metric<'_>,
        time: u64,
        flags: u64,
        wrong: Option<Reason>,
        run: &[u8],
    ) -> Result<(), Malformed> {
        check_run(run, IN_POINT)?;
        if let Some(reason) = metric.reject {
            self.tally.reject(reason);
        } else if time == 0 {
            self.tally.reject(Reason::NoTime);
        } else if time > self.latest {
            self.tally.reject(Reason::Future);
        } else if time < self.earliest {
            self.tally.reject(Reason::Retention);
        } else if flags & 1 != 0 {
            self.tally.no_recorded_value += 1;
        } else if let Some(reason) = wrong {
            self.tally.reject(reason);
        }
        Ok(())
    }

    /// Whether the store has no room for such a value.
    #[inline]
    fn cannot_hold(&self, value: f64) -> bool {
        !value.is_finite() && self.normalizer.config.finite_only
    }

    /// The nearest number with 53 bits; counted when it is another one.
    #[inline]
    fn nearest(&mut self, int: i64) -> f64 {
        if int.unsigned_abs() > 1 << 53 && (int as f64) as i128 != i128::from(int) {
            self.tally.rounded += 1;
        }
        int as f64
    }

    #[inline]
    fn started(&mut self, start: u64) {
        self.start = UnixNanos(i64::try_from(start).unwrap_or(0));
    }

    #[inline]
    fn push(&mut self, metric: &Metric<'_>, series: u32, time: i64, value: f64) {
        if !self.memory.take(ROW_BYTES) {
            return;
        }
        if let Some(batch) = self.batches.get_mut(metric.partition) {
            if metric.shape != Shape::Gauge {
                batch.starts.note(batch.columns.len(), self.start);
            }
            batch.columns.push(SeriesId(series), UnixNanos(time), value);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Gauge,
    Unspecified,
    Delta,
    Cumulative,
}

/// The bytes of a scope's name.
fn scope_name(scope: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(scope);
    let mut name: &[u8] = b"";
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => name = reader.bytes()?,
            0x12 | 0x1a => drop(reader.bytes()?),
            0x20 => drop(reader.varint()?),
            key => reader.other(key, &[1, 2, 3, 4], IN_SCOPE_METRICS - 1)?,
        }
    }
    Ok(name)
}

/// Temporality and monotonicity, which encoders write behind the points.
fn flow(data: &[u8], known: &[u32], sum: bool) -> Result<(Temporality, bool), Malformed> {
    let mut reader = Reader::new(data);
    let (mut temporality, mut monotonic) = (0, 0);
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => drop(reader.bytes()?),
            0x10 => temporality = reader.varint()?,
            0x18 if sum => monotonic = reader.varint()?,
            key => reader.other(key, known, IN_DATA)?,
        }
    }
    // An enum is 32 bits of the varint.
    let temporality = match temporality as u32 {
        1 => Temporality::Delta,
        2 => Temporality::Cumulative,
        _ => Temporality::Unspecified,
    };
    Ok((temporality, monotonic != 0))
}
