//! Attributes from wire bytes to sorted text with types, for series, scopes and resources seen for the first time.

use super::wire::{DEPTH, KEY_VALUE, Malformed, Reader, check};
use base64::Engine as _;
use std::borrow::Cow;
use std::fmt::Write as _;
use vitals_core::series::Attributes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How deep a value may nest; below that it is cut. Three messages a level, so less than [`DEPTH`] allows everywhere.
const DEEPEST: u32 = 30;
/// Stands for what is nested too deep.
const CUT: &str = "...";

/// How large attributes may be.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How many.
    pub count: usize,
    /// All keys and values together, in text form.
    pub bytes: usize,
}

/// What the attributes of one point or resource turned out to be.
pub enum Parsed {
    /// Sorted, each key once.
    Attributes {
        /// The attributes.
        attributes: Attributes,
        /// How many were dropped because their key came again later.
        duplicates: u64,
    },
    /// More than may be.
    TooMany,
    /// Larger than may be.
    TooLarge,
}

/// One attribute: its text, and what the text does not say.
#[derive(Default)]
struct Entry {
    key: String,
    /// A digest of the key's bytes if they were not UTF-8, else 0.
    raw_key: u64,
    value: Written,
}

/// A value while it is written.
#[derive(Default)]
struct Written {
    text: String,
    /// [`Attributes::codes`]
    types: String,
    /// The sum of the digests of all that was mended or cut, 0 when nothing was. A sum, because the order of a map's entries
    /// means nothing.
    mended: u64,
}

/// The text of bytes that should be UTF-8: U+FFFD stands for what is not, and a digest of the bytes is added to `mended`, so
/// that two different ones stay two.
pub fn text<'a>(bytes: &'a [u8], seed: u64, mended: &mut u64) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Owned(_)) {
        *mended = mended.wrapping_add(xxh3_64_with_seed(bytes, seed).max(1));
    }
    text
}

/// The attributes among the fields of `message` that have the number `field`; the other fields are passed. `mended` is of what
/// else belongs to them.
///
/// The specification demands unique keys; when one comes twice the last wins, as in most SDKs' maps.
///
/// # Errors
/// When one is malformed; all are checked even when there are too many.
pub fn parse(message: &[u8], field: u32, depth: u32, limits: Limits, mended: u64) -> Result<Parsed, Malformed> {
    let mut reader = Reader::new(message);
    let inner = depth.checked_sub(1).ok_or(Malformed::Depth)?;
    let mut entries = Vec::new();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    while !reader.is_empty() {
        let key = reader.key()?;
        if key != field << 3 | 2 {
            reader.other(key, &[field], depth)?;
            continue;
        }
        let entry = reader.bytes()?;
        check(&KEY_VALUE, entry, inner)?;
        count += 1;
        if count <= limits.count && bytes <= limits.bytes {
            let entry = key_value(entry, limits.bytes)?;
            bytes += entry.key.len() + entry.value.text.len();
            entries.push(entry);
        }
    }
    if count > limits.count {
        return Ok(Parsed::TooMany);
    }
    if bytes > limits.bytes {
        return Ok(Parsed::TooLarge);
    }
    let attributes = sorted(entries, mended);
    let duplicates = (count - attributes.len()) as u64;
    Ok(Parsed::Attributes { attributes, duplicates })
}

fn sorted(mut entries: Vec<Entry>, mut mended: u64) -> Attributes {
    // Reversed, so that of equal keys the last comes first and stays.
    entries.reverse();
    entries.sort_by(|a, b| (&a.key, a.raw_key).cmp(&(&b.key, b.raw_key)));
    entries.dedup_by(|later, kept| later.key == kept.key && later.raw_key == kept.raw_key);
    // Keys that only have the same text now get names of their own.
    for at in 1..entries.len() {
        if entries[at - 1].key == entries[at].key {
            entries[at].key = format!("{}-{:016x}", entries[at].key, entries[at].raw_key);
        }
    }
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let mut types = String::with_capacity(entries.len());
    let mut pairs = Vec::with_capacity(entries.len());
    for Entry { key, raw_key, value } in entries {
        types.push_str(&value.types);
        mended = mended.wrapping_add(raw_key).wrapping_add(value.mended);
        pairs.push((key, value.text));
    }
    Attributes::new(pairs, &types, mended)
}

fn key_value(entry: &[u8], limit: usize) -> Result<Entry, Malformed> {
    let (name, any) = name_and_value(entry)?;
    let mut out = Entry::default();
    out.key = text(name, 0, &mut out.raw_key).into_owned();
    // The same bytes under another key are another identity.
    write_value(&mut out.value, &any, 0, xxh3_64(name), limit)?;
    Ok(out)
}

fn name_and_value(entry: &[u8]) -> Result<(&[u8], Cow<'_, [u8]>), Malformed> {
    let mut reader = Reader::new(entry);
    let mut name: &[u8] = b"";
    let mut value: Vec<&[u8]> = Vec::new();
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => name = reader.bytes()?,
            0x12 => value.push(reader.bytes()?),
            key => reader.other(key, &[1, 2], DEPTH)?,
        }
    }
    Ok((name, if let [one] = value[..] { Cow::Borrowed(one) } else { Cow::Owned(value.concat()) }))
}

/// An `AnyValue` in the text form that the specification gives for protocols without types: strings as
/// they are, the rest as JSON, bytes in base64. Stops writing soon after `limit` bytes. `level` is 0 for an attribute's own value.
fn write_value(out: &mut Written, any: &[u8], level: u32, seed: u64, limit: usize) -> Result<(), Malformed> {
    if level > DEEPEST {
        out.mended = out.mended.wrapping_add(xxh3_64_with_seed(any, seed).max(1));
        out.types.push('.');
        write_text(&mut out.text, CUT, true);
        return Ok(());
    }
    let mut reader = Reader::new(any);
    // Fields of a oneof: the last one counts; of messages, equal ones in a row are merged.
    let mut last: Option<(u32, Vec<&[u8]>, u64)> = None;
    while !reader.is_empty() {
        let key = reader.key()?;
        let (field, bytes, number) = match key {
            0x0a | 0x2a | 0x32 | 0x3a => (key >> 3, Some(reader.bytes()?), 0),
            0x10 | 0x18 | 0x40 => (key >> 3, None, reader.varint()?),
            0x21 => (4, None, reader.fixed64()?),
            _ => {
                reader.other(key, &[1, 2, 3, 4, 5, 6, 7, 8], DEPTH)?;
                continue;
            }
        };
        match (&mut last, bytes) {
            (Some((same, parts, _)), Some(bytes)) if *same == field && (field == 5 || field == 6) => parts.push(bytes),
            _ => last = Some((field, bytes.into_iter().collect(), number)),
        }
    }
    let nested = level > 0;
    let Some((field, parts, number)) = last else {
        out.types.push('e');
        if nested {
            out.text.push_str("null");
        }
        return Ok(());
    };
    if out.text.len() > limit {
        return Ok(());
    }
    let bytes = parts.concat();
    out.types.push_str(match field {
        1 => "s",
        2 => "b",
        3 => "i",
        4 => "d",
        5 => "[",
        6 => "{",
        7 => "y",
        _ => "x",
    });
    match field {
        1 => write_text(&mut out.text, &text(&bytes, seed, &mut out.mended), nested),
        2 => out.text.push_str(if number == 0 { "false" } else { "true" }),
        3 => out.text.push_str(&number.cast_signed().to_string()),
        4 => write_double(&mut out.text, f64::from_bits(number), nested),
        5 => write_array(out, &bytes, level, seed, limit)?,
        6 => write_map(out, &bytes, level, seed, limit)?,
        7 => write_text(&mut out.text, &base64::engine::general_purpose::STANDARD.encode(&bytes), nested),
        // A reference into a dictionary that metrics do not have.
        _ => out.text.push_str(&(number as u32).cast_signed().to_string()),
    }
    Ok(())
}

fn write_text(out: &mut String, text: &str, quoted: bool) {
    if quoted {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push_str(text);
    }
}

fn write_double(out: &mut String, number: f64, quoted: bool) {
    let special = match number {
        n if n.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        n => {
            let _ = write!(out, "{n}");
            return;
        }
    };
    write_text(out, special, quoted);
}

fn write_array(out: &mut Written, array: &[u8], level: u32, seed: u64, limit: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(array);
    out.text.push('[');
    let mut first = true;
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => {
                if !std::mem::take(&mut first) {
                    out.text.push(',');
                }
                write_value(out, reader.bytes()?, level + 1, seed, limit)?;
                if out.text.len() > limit {
                    break;
                }
            }
            key => reader.other(key, &[1], DEPTH)?,
        }
    }
    out.text.push(']');
    out.types.push(']');
    Ok(())
}

fn write_map(out: &mut Written, map: &[u8], level: u32, seed: u64, limit: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(map);
    // Sorted, because a map's order means nothing.
    let mut entries = std::collections::BTreeMap::new();
    let mut bytes = out.text.len();
    while !reader.is_empty() && bytes <= limit {
        match reader.key()? {
            0x0a => {
                let (name, any) = name_and_value(reader.bytes()?)?;
                let mut value = Written::default();
                let key = text(name, seed, &mut value.mended);
                write_value(&mut value, &any, level + 1, seed ^ xxh3_64(name), limit)?;
                bytes += name.len() + value.text.len();
                entries.insert(key.into_owned(), value);
            }
            key => reader.other(key, &[1], DEPTH)?,
        }
    }
    out.text.push('{');
    for (at, (name, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.text.push(',');
        }
        write_text(&mut out.text, &name, true);
        out.text.push(':');
        out.text.push_str(&value.text);
        out.types.push_str(&value.types);
        out.mended = out.mended.wrapping_add(value.mended);
    }
    out.text.push('}');
    out.types.push('}');
    Ok(())
}

/// Whether every attribute field in `run` (which has only those) is well-formed.
pub fn check_run(run: &[u8], depth: u32) -> Result<(), Malformed> {
    let mut reader = Reader::new(run);
    let inner = depth.checked_sub(1).ok_or(Malformed::Depth)?;
    while !reader.is_empty() {
        reader.key()?;
        check(&KEY_VALUE, reader.bytes()?, inner)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::wire::ANY_VALUE;
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use prost::Message as _;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn text_forms() {
        let list = Value::KvlistValue(KeyValueList {
            values: vec![
                KeyValue { key: "b".into(), value: None, ..Default::default() },
                KeyValue { key: "a\"".into(), value: Some(any(Value::IntValue(-1))), ..Default::default() },
            ],
        });
        for (value, expect, types) in [
            (Value::StringValue("a\"b".into()), "a\"b", "s"),
            (Value::BoolValue(true), "true", "b"),
            (Value::BoolValue(false), "false", "b"),
            (Value::IntValue(i64::MIN), "-9223372036854775808", "i"),
            (Value::DoubleValue(0.5), "0.5", "d"),
            (Value::DoubleValue(f64::NAN), "NaN", "d"),
            (Value::DoubleValue(f64::NEG_INFINITY), "-Infinity", "d"),
            (Value::BytesValue(vec![0, 255]), "AP8=", "y"),
            (
                Value::ArrayValue(ArrayValue {
                    values: vec![
                        any(Value::StringValue("x\n".into())),
                        any(Value::DoubleValue(f64::NAN)),
                        AnyValue { value: None },
                    ],
                }),
                r#"["x\n","NaN",null]"#,
                "[sde]",
            ),
            (list, r#"{"a\"":-1,"b":null}"#, "{ie}"),
        ] {
            let mut out = Written::default();
            let bytes = any(value.clone()).encode_to_vec();
            assert_eq!(check(&ANY_VALUE, &bytes, 9), Ok(()));
            write_value(&mut out, &bytes, 0, 0, 1000).unwrap();
            assert_eq!((out.text.as_str(), out.types.as_str(), out.mended), (expect, types, 0), "{value:?}");
        }
    }

    /// A field of a message, with its length.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    }

    fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, key), field(2, value)].concat())
    }

    fn parsed(entries: &[Vec<u8>]) -> Attributes {
        let limits = Limits { count: 9, bytes: 1000 };
        match parse(&entries.concat(), 1, DEPTH, limits, 0).unwrap() {
            Parsed::Attributes { attributes, .. } => attributes,
            _ => panic!("over the limits"),
        }
    }

    #[test]
    fn what_is_not_utf8_is_mended_and_told_apart() {
        let one = |bytes: &[u8]| parsed(&[entry(b"k", &field(1, bytes)), entry(b"l", &field(1, b"x"))]);
        let (a, b, plain) = (one(b"caf\xe9"), one(b"caf\xe8"), one("caf\u{FFFD}".as_bytes()));
        for attributes in [&a, &b, &plain] {
            assert_eq!(attributes.value("k"), Some("caf\u{FFFD}"));
        }
        assert!(a != b && a != plain && b != plain && plain.mended() == 0);
        assert_eq!(a, one(b"caf\xe9"));
        // The order of attributes means nothing, whose bytes they are does.
        let two = |first: &[u8], second: &[u8]| [entry(b"k", &field(1, first)), entry(b"l", &field(1, second))];
        let [k, l] = two(b"\xe9", b"\xe8");
        assert_eq!(parsed(&[l.clone(), k.clone()]), parsed(&[k, l]));
        assert_ne!(parsed(&two(b"\xe9", b"\xe8")), parsed(&two(b"\xe8", b"\xe9")));
    }

    #[test]
    fn keys_that_are_not_utf8_stay_two() {
        let x = field(1, b"x");
        let both = parsed(&[entry(b"k\xe9", &x), entry(b"k\xe8", &x), entry(b"k\xe9", &field(1, b"y"))]);
        assert_eq!(both.len(), 2);
        assert!(both.iter().all(|(key, _)| key.starts_with("k\u{FFFD}")), "{both:?}");
        assert_ne!(parsed(&[entry(b"k\xe9", &x)]), parsed(&[entry(b"k\xe8", &x)]));
        let inner = |key: &[u8]| parsed(&[entry(b"m", &field(6, &entry(key, &x)))]);
        assert_ne!(inner(b"\xe9"), inner(b"\xe8"));
    }

    #[test]
    fn what_is_nested_too_deep_is_cut_and_told_apart() {
        let deep = |levels: usize, core: &[u8]| {
            let value = (0..levels).fold(field(1, core), |value, _| field(6, &entry(b"x", &value)));
            parsed(&[entry(b"k", &value)])
        };
        let kept = deep(30, b"y");
        assert!(kept[0].1.contains("\"y\"") && kept.mended() == 0, "{kept:?}");
        for levels in [31, 40, 400] {
            let cut = deep(levels, b"y");
            assert!(cut[0].1.contains(CUT) && !cut[0].1.contains('y'), "{cut:?}");
            assert_ne!(cut, deep(levels, b"z"), "{levels}");
        }
    }
}
