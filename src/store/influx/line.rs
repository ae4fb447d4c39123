//! Line protocol, written from columns.
//!
//! A line is `measurement,tag=value field=value time`. All of it but value and time is the same for every row of a
//! series, so it is made once ([`super::layout`]) and copied; nothing is allocated for a row.
//!
//! Line protocol can escape the characters that end a name, and nothing else: [`clean`] replaces what it cannot carry.

use std::borrow::Cow;

/// Largest integer up to which every one is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The first time that InfluxDB takes, nanoseconds.
pub(super) const EARLIEST: i64 = i64::MIN + 2;
/// The first time that is not stored, 2262-01-01: InfluxDB takes a little more, but does not find it again.
pub(super) const LATEST: i64 = 9_214_646_400_000_000_000;

/// The text as line protocol can carry it: control characters are written as `\n`, `\r`, `\t` or U+FFFD, and backslashes at
/// the end go, because they would escape what follows.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches('\\');
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => cleaned.push_str("\\n"),
            '\r' => cleaned.push_str("\\r"),
            '\t' => cleaned.push_str("\\t"),
            c if c.is_control() => cleaned.push('\u{FFFD}'),
            c => cleaned.push(c),
        }
    }
    Cow::Owned(cleaned)
}

/// The name of a measurement: cleaned, not empty, and no comment.
pub(super) fn measurement_name(metric: &str) -> Cow<'_, str> {
    let name = clean(metric);
    if name.is_empty() || name.starts_with('#') { Cow::Owned(format!("_{name}")) } else { name }
}

/// Writes a measurement, cleaned already.
pub(super) fn measurement(out: &mut Vec<u8>, name: &str) {
    escaped(out, name, b", ");
}

/// Writes `,key=value`, both cleaned already; nothing when one of them is empty.
pub(super) fn tag(out: &mut Vec<u8>, key: &str, value: &str) {
    if key.is_empty() || value.is_empty() {
        return;
    }
    out.push(b',');
    field_key(out, key);
    out.push(b'=');
    escaped(out, value, b",= ");
}

/// Writes the name of a field, cleaned already.
pub(super) fn field_key(out: &mut Vec<u8>, key: &str) {
    escaped(out, key, b",= ");
}

fn escaped(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    for &byte in text.as_bytes() {
        if special.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Writes a string as a field's value.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Writes a finite number as a field's value.
pub(super) fn float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// Writes an integer as a field's value.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'i');
}

/// The integer that a double is, if it comes back the same.
pub(super) fn as_integer(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    let integer = (value.abs() <= EXACT).then_some(value as i64)?;
    ((integer as f64).to_bits() == value.to_bits()).then_some(integer)
}

/// Writes times; the one before is kept as text, because the series of an agent are sampled together.
pub struct Times {
    time: i64,
    text: [u8; 20],
    len: usize,
}

impl Times {
    /// Nothing is written yet.
    #[must_use]
    pub fn new() -> Self {
        Self { time: 0, text: [0; 20], len: 0 }
    }

    /// Writes ` time` and the end of the line.
    pub fn end(&mut self, out: &mut Vec<u8>, time: i64) {
        if self.len == 0 || self.time != time {
            let mut buffer = itoa::Buffer::new();
            let text = buffer.format(time).as_bytes();
            self.text[..text.len()].copy_from_slice(text);
            (self.time, self.len) = (time, text.len());
        }
        out.push(b' ');
        out.extend_from_slice(&self.text[..self.len]);
        out.push(b'\n');
    }
}

/// Everything of a series' lines but values and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `measurement,tag=value field=`
    pub text: Box<[u8]>,
    /// Set when the column holds integers: the same for the column beside it, for values that are none.
    pub beside: Option<Box<[u8]>>,
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A line was written.
    Written,
    /// Nothing was written: the value belongs to the column beside.
    Beside,
    /// Nothing was written: line protocol has no word for the value.
    NotFinite,
    /// Nothing was written: InfluxDB takes no such time.
    Time,
}

impl Row {
    /// Counts a row that has no line.
    pub(super) fn count_left_out(self) {
        let reason = match self {
            Self::NotFinite => "not_finite",
            Self::Time => "time",
            Self::Written | Self::Beside => return,
        };
        metrics::counter!("vitals_influx_left_out_total", "reason" => reason).increment(1);
    }
}

/// Whether a sample can be a line.
pub(super) fn can_hold(time: i64, value: f64) -> Row {
    if !value.is_finite() {
        Row::NotFinite
    } else if (EARLIEST..LATEST).contains(&time) {
        Row::Written
    } else {
        Row::Time
    }
}

/// Writes one row; `beside` says that the column beside may be used.
pub fn row(out: &mut Vec<u8>, head: &Head, beside: bool, times: &mut Times, time: i64, value: f64) -> Row {
    let able = can_hold(time, value);
    if able != Row::Written {
        return able;
    }
    match (&head.beside, as_integer(value)) {
        (None, _) => {
            out.extend_from_slice(&head.text);
            float(out, value);
        }
        (Some(_), Some(whole)) => {
            out.extend_from_slice(&head.text);
            integer(out, whole);
        }
        (Some(other), None) if beside => {
            out.extend_from_slice(other);
            float(out, value);
        }
        (Some(_), None) => return Row::Beside,
    }
    times.end(out, time);
    Row::Written
}
