//! Attributes from wire bytes to sorted text, for series and resources seen for the first time.

use super::wire::{DEPTH, KEY_VALUE, Malformed, Reader, check};
use base64::Engine as _;
use std::fmt::Write as _;
use vitals_core::series::Attributes;

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

/// The attributes among the fields of `message` that have the number `field`; the other fields are passed.
///
/// The specification demands unique keys; when one comes twice the last wins, as in most SDKs' maps.
///
/// # Errors
/// When one is malformed; all are checked even when there are too many.
pub fn parse(message: &[u8], field: u32, depth: u32, limits: Limits) -> Result<Parsed, Malformed> {
    let mut reader = Reader::new(message);
    let inner = depth.checked_sub(1).ok_or(Malformed::Depth)?;
    let mut attributes = Attributes::new();
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
            let (key, value) = key_value(entry, limits.bytes)?;
            bytes += key.len() + value.len();
            attributes.push((key, value));
        }
    }
    if count > limits.count {
        return Ok(Parsed::TooMany);
    }
    if bytes > limits.bytes {
        return Ok(Parsed::TooLarge);
    }
    // Reversed, so that of equal keys the last comes first and stays.
    attributes.reverse();
    attributes.sort_by(|a, b| a.0.cmp(&b.0));
    attributes.dedup_by(|later, kept| later.0 == kept.0);
    let duplicates = (count - attributes.len()) as u64;
    Ok(Parsed::Attributes { attributes, duplicates })
}

fn key_value(entry: &[u8], limit: usize) -> Result<(String, String), Malformed> {
    let mut reader = Reader::new(entry);
    let mut name = "";
    let mut value: Vec<&[u8]> = Vec::new();
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => name = reader.string()?,
            0x12 => value.push(reader.bytes()?),
            key => reader.other(key, &[1, 2], DEPTH)?,
        }
    }
    let mut text = String::new();
    write_value(&mut text, &value.concat(), false, limit)?;
    Ok((name.to_owned(), text))
}

/// An `AnyValue` in the text form that the specification gives for protocols without types: strings as
/// they are, the rest as JSON, bytes in base64. Stops writing soon after `limit` bytes.
fn write_value(out: &mut String, any: &[u8], nested: bool, limit: usize) -> Result<(), Malformed> {
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
    let Some((field, parts, number)) = last else {
        if nested {
            out.push_str("null");
        }
        return Ok(());
    };
    if out.len() > limit {
        return Ok(());
    }
    let bytes = parts.concat();
    match field {
        1 => {
            let text = std::str::from_utf8(&bytes).map_err(|_| Malformed::Utf8)?;
            write_text(out, text, nested);
        }
        2 => out.push_str(if number == 0 { "false" } else { "true" }),
        3 => out.push_str(&number.cast_signed().to_string()),
        4 => write_double(out, f64::from_bits(number), nested),
        5 => write_array(out, &bytes, limit)?,
        6 => write_map(out, &bytes, limit)?,
        7 => write_text(out, &base64::engine::general_purpose::STANDARD.encode(&bytes), nested),
        // A reference into a dictionary that metrics do not have.
        _ => out.push_str(&(number as u32).cast_signed().to_string()),
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

fn write_array(out: &mut String, array: &[u8], limit: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(array);
    out.push('[');
    let mut first = true;
    while !reader.is_empty() {
        match reader.key()? {
            0x0a => {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_value(out, reader.bytes()?, true, limit)?;
                if out.len() > limit {
                    break;
                }
            }
            key => reader.other(key, &[1], DEPTH)?,
        }
    }
    out.push(']');
    Ok(())
}

fn write_map(out: &mut String, map: &[u8], limit: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(map);
    // Sorted, because a map's order means nothing.
    let mut entries = std::collections::BTreeMap::new();
    let mut bytes = out.len();
    while !reader.is_empty() && bytes <= limit {
        match reader.key()? {
            0x0a => {
                let mut entry = Reader::new(reader.bytes()?);
                let mut name = "";
                let mut parts: Vec<&[u8]> = Vec::new();
                while !entry.is_empty() {
                    match entry.key()? {
                        0x0a => name = entry.string()?,
                        0x12 => parts.push(entry.bytes()?),
                        key => entry.other(key, &[1, 2], DEPTH)?,
                    }
                }
                let mut text = String::new();
                write_value(&mut text, &parts.concat(), true, limit)?;
                bytes += name.len() + text.len();
                entries.insert(name, text);
            }
            key => reader.other(key, &[1], DEPTH)?,
        }
    }
    out.push('{');
    for (at, (name, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, name, true);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
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
        for (value, expect) in [
            (Value::StringValue("a\"b".into()), "a\"b"),
            (Value::BoolValue(true), "true"),
            (Value::BoolValue(false), "false"),
            (Value::IntValue(i64::MIN), "-9223372036854775808"),
            (Value::DoubleValue(0.5), "0.5"),
            (Value::DoubleValue(f64::NAN), "NaN"),
            (Value::DoubleValue(f64::NEG_INFINITY), "-Infinity"),
            (Value::BytesValue(vec![0, 255]), "AP8="),
            (
                Value::ArrayValue(ArrayValue {
                    values: vec![
                        any(Value::StringValue("x\n".into())),
                        any(Value::DoubleValue(f64::NAN)),
                        AnyValue { value: None },
                    ],
                }),
                r#"["x\n","NaN",null]"#,
            ),
            (list, r#"{"a\"":-1,"b":null}"#),
        ] {
            let mut text = String::new();
            let bytes = any(value.clone()).encode_to_vec();
            assert_eq!(check(&ANY_VALUE, &bytes, 9), Ok(()));
            write_value(&mut text, &bytes, false, 1000).unwrap();
            assert_eq!(text, expect, "{value:?}");
        }
    }
}
