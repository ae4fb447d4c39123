//! Questions in Flux, and answers in CSV.

use std::fmt::Write as _;
use vitals_core::ids::UnixNanos;
use vitals_core::store::StoreError;

/// A string literal. Everything but plain characters is written as bytes, so that no name can end it.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"_-. :/@".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// The rows of a bucket within a time range, from which a script begins.
pub(super) fn from(bucket: &str, start: i64, end: i64) -> String {
    format!("from(bucket: {}) |> range(start: time(v: {start}), stop: time(v: {end}))", literal(bucket))
}

/// `r.column == "a" or r.column == "b"`; false for none.
pub(super) fn any_of<'a>(column: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let each = values.into_iter().map(|value| format!("r[{}] == {}", literal(column), literal(value)));
    let all = each.collect::<Vec<_>>().join(" or ");
    if all.is_empty() { "false".into() } else { format!("({all})") }
}

/// Hands each row of an answer to `row`, as its columns in the order of `wanted`.
///
/// An answer is one or more tables, each with a header, apart by empty lines. An error that came up while the
/// server was answering is a table too.
pub(super) fn read<const N: usize>(
    csv: &str,
    wanted: [&str; N],
    mut row: impl FnMut([&str; N]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut places: Option<[usize; N]> = None;
    let mut error_at = None;
    let mut fields: Vec<String> = Vec::new();
    let mut rest = csv;
    while !rest.is_empty() {
        rest = record(rest, &mut fields);
        if fields.iter().all(String::is_empty) {
            (places, error_at) = (None, None);
        } else if let Some(at) = error_at {
            let text: &String = fields.get::<usize>(at).unwrap_or(&fields[0]);
            return Err(StoreError::Io(format!("InfluxDB could not finish its answer: {text}")));
        } else if let Some(places) = places {
            let mut values = [""; N];
            for (value, place) in values.iter_mut().zip(places) {
                *value = fields.get(place).ok_or_else(|| strange("a row is short"))?;
            }
            row(values)?;
        } else {
            let place = |name: &str| fields.iter().position(|field| field == name);
            error_at = place("error");
            if error_at.is_none() {
                let mut found = [0; N];
                for (found, name) in found.iter_mut().zip(wanted) {
                    *found = place(name).ok_or_else(|| strange(&format!("there is no column {name}")))?;
                }
                places = Some(found);
            }
        }
    }
    Ok(())
}

/// Takes one record off; quoted fields may hold commas, quotes and ends of lines.
fn record<'a>(text: &'a str, fields: &mut Vec<String>) -> &'a str {
    fields.clear();
    let mut field = String::new();
    let (mut quoted, mut bytes) = (false, text.char_indices().peekable());
    while let Some((at, c)) = bytes.next() {
        match c {
            '"' if quoted && bytes.peek().is_some_and(|(_, next)| *next == '"') => {
                bytes.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                fields.push(field);
                return &text[at + 1..];
            }
            c => field.push(c),
        }
    }
    fields.push(field);
    ""
}

/// A time as the answer writes it.
pub(super) fn time(text: &str) -> Result<UnixNanos, StoreError> {
    let time: jiff::Timestamp = text.parse().map_err(|_| strange(&format!("{text:?} is no time")))?;
    i64::try_from(time.as_nanosecond()).map(UnixNanos).map_err(|_| strange(&format!("{text} is too far away")))
}

/// A number as the answer writes it.
pub(super) fn number(text: &str) -> Result<f64, StoreError> {
    text.parse().map_err(|_| strange(&format!("{text:?} is no number")))
}

fn strange(what: &str) -> StoreError {
    StoreError::Io(format!("InfluxDB's answer cannot be read: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(csv: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut rows = Vec::new();
        read(csv, ["_value", "_time"], |[value, time]| {
            rows.push((value.to_owned(), time.to_owned()));
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn tables_with_headers_of_their_own() {
        let csv = ",result,table,_time,_value\r\n,a,0,t1,1\r\n,a,0,t2,\"2,\"\"x\"\"\r\n\"\r\n\r\n,result,table,_value,_time\r\n,b,1,3,t3\r\n\r\n";
        let expect = [("1", "t1"), ("2,\"x\"\r\n", "t2"), ("3", "t3")];
        assert_eq!(rows(csv).unwrap(), expect.map(|(value, time)| (value.to_owned(), time.to_owned())));
        assert_eq!(rows("").unwrap(), []);
        assert_eq!(rows("\r\n\r\n").unwrap(), []);
    }

    #[test]
    fn errors_are_seen() {
        let late = ",result,table,_time,_value\r\n,a,0,t1,1\r\n\r\nerror,reference\r\nengine: gone,897\r\n";
        let error = rows(late).unwrap_err().to_string();
        assert!(error.contains("engine: gone"), "{error}");
        assert!(rows(",result,table,_time\r\n,a,0,t\r\n").is_err());
        assert!(rows(",result,table,_time,_value\r\n,a\r\n").is_err());
    }

    #[test]
    fn names_cannot_leave_a_literal() {
        assert_eq!(literal("a b"), "\"a b\"");
        assert_eq!(literal("\"${x}\\\nä"), "\"\\x22\\x24\\x7bx\\x7d\\x5c\\x0a\\xc3\\xa4\"");
        assert_eq!(any_of("_field", []), "false");
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(time("2023-11-15T11:59:59.999999999Z").unwrap(), UnixNanos(1_700_049_599_999_999_999));
        assert_eq!(time("1677-09-21T00:12:43.145224194Z").unwrap().0, i64::MIN + 2);
        assert!(time("x").is_err() && number("x").is_err());
        assert_eq!(number("-0").unwrap().to_bits(), (-0.0_f64).to_bits());
    }
}
