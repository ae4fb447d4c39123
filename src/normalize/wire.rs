//! Reading protobuf's wire format in place, and refusing what no decoder can read.
//!
//! Strict decoders also refuse strings that are not UTF-8, and messages nested too deep. Senders pass both on (a Collector
//! among them), and one string must not cost a request, so both are taken here and mended where they become text.

use vitals_core::leb128::{self, Leb128Error};

/// Why a request cannot be understood at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("the protobuf message ends inside a field")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("the protobuf message has a varint of more than 64 bits")]
    Varint,
    /// A field key with number 0, a number too large, or a wire type that does not exist.
    #[error("the protobuf message has the invalid field key {0}")]
    Key(u64),
    /// A known field in an encoding that is not its type's.
    #[error("field {field} of the protobuf message has wire type {wire}, which is not its type's")]
    WireType {
        /// The field's number.
        field: u32,
        /// The wire type found.
        wire: u32,
    },
    /// Groups nested too deeply.
    #[error("the protobuf message is nested more than {DEPTH} levels deep")]
    Depth,
    /// An end of group without its start.
    #[error("the protobuf message ends a group that it did not start")]
    Group,
}

/// How deep messages may nest, the request itself not counted.
pub const DEPTH: u32 = 100;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LEN: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// What is left to read of a message.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether the message ends here.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's key: number << 3 | wire type.
    #[inline]
    pub fn key(&mut self) -> Result<u32, Malformed> {
        match self.rest.split_first() {
            // Numbers 1..=15, wire types 0..=5, minimally encoded: all that OTLP metrics have.
            Some((&byte, rest)) if (8..0x80).contains(&byte) && byte & 7 < 6 => {
                self.rest = rest;
                Ok(u32::from(byte))
            }
            _ => self.long_key(),
        }
    }

    #[cold]
    fn long_key(&mut self) -> Result<u32, Malformed> {
        let raw = self.varint()?;
        match u32::try_from(raw) {
            Ok(key) if key >> 3 != 0 && key & 7 < 6 => Ok(key),
            _ => Err(Malformed::Key(raw)),
        }
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        leb128::take(&mut self.rest).map_err(|error| match error {
            Leb128Error::Truncated => Malformed::Truncated,
            Leb128Error::TooLong => Malformed::Varint,
        })
    }

    /// Eight bytes.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// Bytes behind their length.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Passes a field that is not read; `known` are the numbers that a field of another wire type may not have.
    #[cold]
    pub fn other(&mut self, key: u32, known: &[u32], depth: u32) -> Result<(), Malformed> {
        let (field, wire) = (key >> 3, key & 7);
        if known.contains(&field) {
            return Err(Malformed::WireType { field, wire });
        }
        self.skip(field, wire, depth)
    }

    fn skip(&mut self, field: u32, wire: u32, depth: u32) -> Result<(), Malformed> {
        let inner = depth.checked_sub(1).ok_or(Malformed::Depth)?;
        match wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LEN => self.bytes().map(drop),
            FIXED32 => {
                self.rest = self.rest.get(4..).ok_or(Malformed::Truncated)?;
                Ok(())
            }
            START_GROUP => loop {
                let key = self.key()?;
                if key & 7 == END_GROUP {
                    return if key >> 3 == field { Ok(()) } else { Err(Malformed::Group) };
                }
                self.skip(key >> 3, key & 7, inner)?;
            },
            _ => Err(Malformed::Group),
        }
    }
}

/// The type of a field.
pub enum Type {
    /// Any integer, bool or enum that travels as a varint.
    Varint,
    /// A repeated one of those, packed or not.
    Varints,
    /// `double`, `fixed64`, `sfixed64`.
    Fixed64,
    /// A repeated one of those, packed or not.
    Fixed64s,
    /// Should be UTF-8; any bytes are taken.
    Text,
    /// Anything.
    Bytes,
    /// A message.
    Message(&'static Schema),
}

/// A message's fields.
pub struct Schema(pub &'static [(u32, Type)]);

/// Whether `bytes` are a well-formed message of this schema, `depth` levels down; what is below is not looked at.
pub fn check(schema: &Schema, bytes: &[u8], depth: u32) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let key = reader.key()?;
        let (field, wire) = (key >> 3, key & 7);
        let Some((_, kind)) = schema.0.iter().find(|(number, _)| *number == field) else {
            reader.skip(field, wire, depth)?;
            continue;
        };
        match (kind, wire) {
            (Type::Varint | Type::Varints, VARINT) => drop(reader.varint()?),
            (Type::Fixed64 | Type::Fixed64s, FIXED64) => drop(reader.fixed64()?),
            (Type::Varints, LEN) => {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.is_empty() {
                    packed.varint()?;
                }
            }
            (Type::Fixed64s, LEN) => {
                if !reader.bytes()?.len().is_multiple_of(8) {
                    return Err(Malformed::Truncated);
                }
            }
            (Type::Text | Type::Bytes, LEN) => drop(reader.bytes()?),
            (Type::Message(inner), LEN) => {
                let message = reader.bytes()?;
                // Only the values of attributes nest without end.
                if let Some(left) = depth.checked_sub(1) {
                    check(inner, message, left)?;
                }
            }
            _ => return Err(Malformed::WireType { field, wire }),
        }
    }
    Ok(())
}

use Type::{Bytes, Fixed64, Fixed64s, Message, Text, Varint, Varints};

/// `AnyValue`
pub static ANY_VALUE: Schema = Schema(&[
    (1, Text),
    (2, Varint),
    (3, Varint),
    (4, Fixed64),
    (5, Message(&ARRAY_VALUE)),
    (6, Message(&KEY_VALUE_LIST)),
    (7, Bytes),
    (8, Varint),
]);
static ARRAY_VALUE: Schema = Schema(&[(1, Message(&ANY_VALUE))]);
static KEY_VALUE_LIST: Schema = Schema(&[(1, Message(&KEY_VALUE))]);
/// `KeyValue`
pub static KEY_VALUE: Schema = Schema(&[(1, Text), (2, Message(&ANY_VALUE)), (3, Varint)]);
static ENTITY_REF: Schema = Schema(&[(1, Text), (2, Text), (3, Text), (4, Text)]);
/// `Resource`
pub static RESOURCE: Schema = Schema(&[(1, Message(&KEY_VALUE)), (2, Varint), (3, Message(&ENTITY_REF))]);
/// `InstrumentationScope`
pub static SCOPE: Schema = Schema(&[(1, Text), (2, Text), (3, Message(&KEY_VALUE)), (4, Varint)]);
/// `Exemplar`
pub static EXEMPLAR: Schema =
    Schema(&[(2, Fixed64), (3, Fixed64), (4, Bytes), (5, Bytes), (6, Fixed64), (7, Message(&KEY_VALUE))]);
static NUMBER_POINT: Schema = Schema(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Message(&EXEMPLAR)),
    (6, Fixed64),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static HISTOGRAM_POINT: Schema = Schema(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Fixed64s),
    (7, Fixed64s),
    (8, Message(&EXEMPLAR)),
    (9, Message(&KEY_VALUE)),
    (10, Varint),
    (11, Fixed64),
    (12, Fixed64),
]);
/// `ExponentialHistogramDataPoint.Buckets`
pub static BUCKETS: Schema = Schema(&[(1, Varint), (2, Varints)]);
static EXPONENTIAL_POINT: Schema = Schema(&[
    (1, Message(&KEY_VALUE)),
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Varint),
    (7, Fixed64),
    (8, Message(&BUCKETS)),
    (9, Message(&BUCKETS)),
    (10, Varint),
    (11, Message(&EXEMPLAR)),
    (12, Fixed64),
    (13, Fixed64),
    (14, Fixed64),
]);
/// `SummaryDataPoint.ValueAtQuantile`
pub static QUANTILE: Schema = Schema(&[(1, Fixed64), (2, Fixed64)]);
static SUMMARY_POINT: Schema = Schema(&[
    (2, Fixed64),
    (3, Fixed64),
    (4, Fixed64),
    (5, Fixed64),
    (6, Message(&QUANTILE)),
    (7, Message(&KEY_VALUE)),
    (8, Varint),
]);
static GAUGE: Schema = Schema(&[(1, Message(&NUMBER_POINT))]);
static SUM: Schema = Schema(&[(1, Message(&NUMBER_POINT)), (2, Varint), (3, Varint)]);
static HISTOGRAM: Schema = Schema(&[(1, Message(&HISTOGRAM_POINT)), (2, Varint)]);
static EXPONENTIAL: Schema = Schema(&[(1, Message(&EXPONENTIAL_POINT)), (2, Varint)]);
static SUMMARY: Schema = Schema(&[(1, Message(&SUMMARY_POINT))]);
static METRIC: Schema = Schema(&[
    (1, Text),
    (2, Text),
    (3, Text),
    (5, Message(&GAUGE)),
    (7, Message(&SUM)),
    (9, Message(&HISTOGRAM)),
    (10, Message(&EXPONENTIAL)),
    (11, Message(&SUMMARY)),
    (12, Message(&KEY_VALUE)),
]);
static SCOPE_METRICS: Schema = Schema(&[(1, Message(&SCOPE)), (2, Message(&METRIC)), (3, Text)]);
static RESOURCE_METRICS: Schema = Schema(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS)), (3, Text)]);
/// `ExportMetricsServiceRequest`
pub static REQUEST: Schema = Schema(&[(1, Message(&RESOURCE_METRICS))]);

/// The schema of a metric's data, by its field in `Metric`.
pub fn data_schema(field: u32) -> &'static Schema {
    match field {
        5 => &GAUGE,
        7 => &SUM,
        9 => &HISTOGRAM,
        10 => &EXPONENTIAL,
        _ => &SUMMARY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        for (bytes, expect) in [
            (&[0x01][..], Ok(1)),
            (&[0x80, 0x00], Ok(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Err(Malformed::Varint)),
            (&[0x80; 11], Err(Malformed::Varint)),
            (&[0x80], Err(Malformed::Truncated)),
            (&[], Err(Malformed::Truncated)),
        ] {
            assert_eq!(Reader::new(bytes).varint(), expect, "{bytes:x?}");
        }
    }

    #[test]
    fn keys() {
        for (bytes, expect) in [
            (&[0x0a][..], Ok(0x0a)),
            (&[0x8a, 0x00], Ok(0x0a)),
            (&[0x02], Err(Malformed::Key(2))),
            (&[0x0e], Err(Malformed::Key(14))),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Err(Malformed::Key(0xf_ffff_ffff))),
        ] {
            assert_eq!(Reader::new(bytes).key(), expect, "{bytes:x?}");
        }
    }

    #[test]
    fn groups_are_passed_and_must_close() {
        let mut inside = Reader::new(&[0x7b, 0x08, 0x01, 0x7c, 0x10]);
        let key = inside.key().unwrap();
        assert_eq!(inside.other(key, &[1], 5), Ok(()));
        assert_eq!(inside.left(), 1);
        let mut open = Reader::new(&[0x7b, 0x08, 0x01]);
        let key = open.key().unwrap();
        assert_eq!(open.other(key, &[1], 5), Err(Malformed::Truncated));
    }
}
