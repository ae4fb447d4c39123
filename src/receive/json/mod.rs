//! OTLP/JSON becomes protobuf bytes, so that everything behind this stage knows one form.
//!
//! - `schema`: the messages and their fields
//! - `cursor`: reading JSON in place
//! - `number`: numbers, which may be strings
//! - `room`: the bounds on what is written
//!
//! The reader follows ProtoJSON and OTLP's deviations from it (ids are hexadecimal), and takes what a Collector takes.
//! It makes no tree: bytes are written as the text is read. What cannot be read costs the point that it belongs to, or
//! all points below it; each is counted. A syntax error costs the whole request, as nobody knows what was meant.

mod cursor;
mod number;
mod room;
mod schema;
#[cfg(test)]
mod tests;

use super::compression::MayUse;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cursor::{Cursor, Token};
use room::Room;
use schema::{Field, Kind, Message, REQUEST, Role};
use serde::de::IgnoredAny;
use std::borrow::Cow;
use vitals_core::leb128;

/// How deep messages may nest, the request itself not counted, as in protobuf.
const DEPTH: u32 = 100;
/// Most different reasons that are told.
const MOST_REASONS: usize = 5;
/// Most characters of a name or value that are told.
const MOST_TOLD: usize = 80;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a body is not an OTLP/JSON metrics request.
#[derive(Debug, thiserror::Error)]
pub enum NotOtlpJson {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is other JSON.
    #[error("the JSON is not an OTLP metrics request: {0}")]
    Other(String),
    /// What was read of it has more bytes than a request may have.
    #[error("the request is too large")]
    TooLarge,
    /// There is no memory to read it in.
    #[error("there is no memory to read the request in")]
    NoMemory,
}

/// A request read from JSON.
#[derive(Debug, Default)]
pub struct Decoded {
    /// `ExportMetricsServiceRequest` as protobuf.
    pub bytes: Vec<u8>,
    /// Points that are not in it because they, or something that they belong to, could not be read.
    pub rejected: u64,
    /// Why, with metric and field; without any rejected, what was passed over. Empty when all was read.
    pub reason: String,
}

/// Reads an OTLP/JSON metrics request of at most `limit` bytes as protobuf. `may_use` is asked before memory is allocated.
///
/// # Errors
/// When it is not JSON, or not such a request, or too large; nothing of it is taken then.
pub fn otlp_json(body: &[u8], limit: usize, may_use: &mut MayUse<'_>) -> Result<Decoded, NotOtlpJson> {
    // Invalid UTF-8 is mended here: outside of strings it is a syntax error either way.
    let mended = mended_bytes(body);
    if mended > 0 && !may_use(mended) {
        return Err(NotOtlpJson::NoMemory);
    }
    let text = String::from_utf8_lossy(body);
    serde_json::from_str::<IgnoredAny>(&text)?;
    let mut json = Cursor::new(&text);
    let found = json.token();
    if found != Token::Object {
        return Err(NotOtlpJson::Other(format!("it is {}, not an object", said(found))));
    }
    other_signal(json)?;
    let mut decoder = Decoder::new(Room::new(limit, mended, may_use));
    decoder.make_room((text.len() / 2).min(limit));
    let read = decoder.message(&mut json, &REQUEST, DEPTH);
    let reason = decoder.sentence();
    let Decoder { out, room, rejected, .. } = decoder;
    room.outcome(out.len())?;
    read.map_err(|fault| NotOtlpJson::Other(fault.to_string()))?;
    Ok(Decoded { reason, bytes: out, rejected })
}

/// The bytes that `body` has when what is not UTF-8 in it is replaced; 0 when nothing has to be.
fn mended_bytes(body: &[u8]) -> usize {
    if std::str::from_utf8(body).is_ok() {
        return 0;
    }
    let replacement = char::REPLACEMENT_CHARACTER.len_utf8();
    body.utf8_chunks().map(|part| part.valid().len() + if part.invalid().is_empty() { 0 } else { replacement }).sum()
}

/// Refuses requests of other signals: their fields are unknown here, and passing them over would lose all they hold.
fn other_signal(mut json: Cursor<'_>) -> Result<(), NotOtlpJson> {
    const OTHERS: [&str; 6] =
        ["resourceSpans", "resource_spans", "resourceLogs", "resource_logs", "resourceProfiles", "resource_profiles"];
    json.enter();
    while json.more() {
        let name = json.name();
        if OTHERS.contains(&&*name) && json.count() > 0 {
            return Err(NotOtlpJson::Other(format!("only metrics are taken here, and it has {name}")));
        }
        json.skip();
    }
    Ok(())
}

/// What is wrong, and where.
#[derive(Debug)]
struct Fault {
    path: String,
    why: String,
    /// Whether it stands where points would be, so that nobody can say how many.
    uncounted: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.why) } else { write!(f, "{} {}", self.path, self.why) }
    }
}

impl Fault {
    fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into(), uncounted: false }
    }

    fn within(mut self, field: &Field) -> Self {
        if !self.path.is_empty() {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, field.camel);
        self
    }

    fn in_place_of(mut self, message: &Message) -> Self {
        self.uncounted = !matches!(message.role, Role::Part | Role::Extra);
        self
    }

    fn is_not(found: Token, expected: &str) -> Self {
        Self::new(format!("is {}, not {expected}", said(found)))
    }
}

fn said(token: Token) -> &'static str {
    match token {
        Token::Object => "an object",
        Token::Array => "an array",
        Token::Text => "a string",
        Token::Number => "a number",
        Token::Bool => "a boolean",
        Token::Null => "null",
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(MOST_TOLD).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

struct Decoder<'a, 'm> {
    out: Vec<u8>,
    room: Room<'m>,
    /// Points written so far.
    taken: u64,
    rejected: u64,
    /// What was rejected and why, as told, and how many points each.
    reasons: Vec<(String, u64)>,
    /// Unknown fields that held something.
    unknown: Vec<String>,
    /// The metric being read, and its name once it was looked for.
    metric: Option<Cursor<'a>>,
    name: Option<String>,
}

/// Where things stood before a message.
struct Mark {
    len: usize,
    taken: u64,
}

impl<'a, 'm> Decoder<'a, 'm> {
    fn new(room: Room<'m>) -> Self {
        Self {
            out: Vec::new(),
            room,
            taken: 0,
            rejected: 0,
            reasons: Vec::new(),
            unknown: Vec::new(),
            metric: None,
            name: None,
        }
    }

    /// Makes room for `bytes` more; false when there is none, and reading ends.
    fn make_room(&mut self, bytes: usize) -> bool {
        self.room.make(&mut self.out, bytes)
    }

    fn mark(&self) -> Mark {
        Mark { len: self.out.len(), taken: self.taken }
    }

    /// Reads an object's members into fields of `message`. On an error the cursor is anywhere in it; what containers hold
    /// is read and counted to the end first.
    fn message(&mut self, json: &mut Cursor<'a>, message: &'static Message, depth: u32) -> Result<(), Fault> {
        match json.token() {
            Token::Object => json.enter(),
            Token::Null => {
                json.skip();
                return Ok(());
            }
            found => return Err(Fault::is_not(found, "an object").in_place_of(message)),
        }
        let holds_points = matches!(message.role, Role::Container | Role::Metric);
        let mut first_fault = None;
        let mut data = None;
        while !self.room.is_used_up() && json.more() {
            let name = json.name();
            let value = *json;
            let Some(field) = message.field(&name) else {
                if holds_points {
                    self.unknown_field(message, &name, value);
                }
                json.skip();
                continue;
            };
            let read = if is_data(message, field)
                && json.token() != Token::Null
                && *data.get_or_insert(field.number) != field.number
            {
                self.second_data(json, field, depth)
            } else {
                self.field(json, field, depth)
            };
            match read {
                Ok(()) => {}
                Err(fault) if holds_points => {
                    let uncounted = fault.uncounted;
                    first_fault.get_or_insert(fault.within(field)).uncounted |= uncounted;
                    *json = value;
                    json.skip();
                }
                Err(fault) => return Err(fault.within(field)),
            }
        }
        first_fault.map_or(Ok(()), Err)
    }

    fn field(&mut self, json: &mut Cursor<'a>, field: &'static Field, depth: u32) -> Result<(), Fault> {
        let found = json.token();
        if found == Token::Null {
            // As if it were not there.
            json.skip();
            return Ok(());
        }
        if !field.many {
            return self.value(json, field, depth);
        }
        if found != Token::Array {
            let fault = Fault::is_not(found, "an array");
            return Err(if let Kind::Nested(message) = field.kind { fault.in_place_of(message) } else { fault });
        }
        json.enter();
        if matches!(field.kind, Kind::Nested(_) | Kind::Text) {
            while !self.room.is_used_up() && json.more() {
                self.value(json, field, depth)?;
            }
            return Ok(());
        }
        let start = self.open(field);
        while !self.room.is_used_up() && json.more() {
            self.number(json, &field.kind)?;
        }
        self.close(start);
        Ok(())
    }

    /// One value with its key.
    fn value(&mut self, json: &mut Cursor<'a>, field: &'static Field, depth: u32) -> Result<(), Fault> {
        match &field.kind {
            Kind::Nested(message) => self.nested(json, field, message, depth),
            Kind::Text => {
                let text = text(json)?;
                self.bytes(field, text.as_bytes());
                Ok(())
            }
            Kind::Base64 => {
                let text = text(json)?;
                if !self.make_room(text.len()) {
                    return Err(Fault::new("is too much"));
                }
                let standard =
                    if text.contains(['-', '_']) { Cow::Owned(text.replace('-', "+").replace('_', "/")) } else { text };
                let bytes = BASE64.decode(&*standard).map_err(|_| Fault::new("is not base64"))?;
                self.bytes(field, &bytes);
                Ok(())
            }
            Kind::Hex => {
                let text = text(json)?;
                let bytes = hexadecimal(&text).ok_or_else(|| Fault::new("is not hexadecimal"))?;
                self.bytes(field, &bytes);
                Ok(())
            }
            kind => {
                self.varint(u64::from(field.number << 3 | wire_type(kind)));
                self.number(json, kind)
            }
        }
    }

    /// A message with its key and length. One that is a point, or holds some, never fails: what cannot be read is rejected.
    fn nested(
        &mut self,
        json: &mut Cursor<'a>,
        field: &'static Field,
        message: &'static Message,
        depth: u32,
    ) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or_else(|| Fault::new("is nested too deeply"))?;
        if !self.make_room(0) {
            return Err(Fault::new("is too much"));
        }
        let (mark, value) = (self.mark(), *json);
        if message.role == Role::Metric {
            (self.metric, self.name) = (Some(value), None);
        }
        let start = self.open(field);
        let read = self.message(json, message, depth);
        let outcome = match read {
            Ok(()) => {
                self.close(start);
                self.taken += u64::from(message.role == Role::Point);
                Ok(())
            }
            Err(fault) if message.role == Role::Part => Err(fault),
            Err(fault) => {
                *json = value;
                json.skip();
                match message.role {
                    Role::Extra => self.out.truncate(mark.len),
                    Role::Point => self.give_up(&mark, 1, fault.within(field)),
                    _ => self.give_up(&mark, 0, fault.within(field)),
                }
                Ok(())
            }
        };
        if message.role == Role::Metric {
            (self.metric, self.name) = (None, None);
        }
        outcome
    }

    /// A metric's data of another kind than before: only one can be meant.
    fn second_data(&mut self, json: &mut Cursor<'a>, field: &'static Field, depth: u32) -> Result<(), Fault> {
        let mark = self.mark();
        self.field(json, field, depth)?;
        self.give_up(&mark, 0, Fault::new("is one kind of data more than a metric has").within(field));
        Ok(())
    }

    /// Takes back what was written since `mark`, and counts its points and `more` as rejected; at least one, if they cannot all
    /// be counted.
    fn give_up(&mut self, mark: &Mark, more: u64, fault: Fault) {
        self.out.truncate(mark.len);
        let mut points = self.taken - mark.taken + more;
        self.taken = mark.taken;
        if fault.uncounted {
            points = points.max(1);
        }
        self.reject(points, &fault);
    }

    #[cold]
    fn reject(&mut self, points: u64, fault: &Fault) {
        if points == 0 {
            return;
        }
        self.rejected += points;
        if self.name.is_none() {
            self.name = self.metric.map(name_of);
        }
        let whose = self.name.as_ref().map_or_else(String::new, |name| format!("of metric {name:?}: "));
        let told = format!("{whose}{fault}");
        if let Some((_, count)) = self.reasons.iter_mut().find(|(reason, _)| *reason == told) {
            *count += points;
        } else if self.reasons.len() < MOST_REASONS {
            self.reasons.push((told, points));
        }
    }

    /// A field that nobody here knows. Readers ignore those; but one that holds points under a name of its own is data that
    /// is not taken, and one that holds something is worth a word.
    #[cold]
    fn unknown_field(&mut self, message: &'static Message, name: &str, value: Cursor<'a>) {
        let points = if message.role == Role::Metric { points_of(value) } else { 0 };
        if points > 0 {
            let fault = Fault::new(format!("{} is no kind of data that is known", shortened(name)));
            return self.reject(points, &fault);
        }
        let name = shortened(name);
        if value.count() > 0 && self.unknown.len() < MOST_REASONS && !self.unknown.contains(&name) {
            self.unknown.push(name);
        }
    }

    /// A sentence for the sender.
    fn sentence(&self) -> String {
        let mut parts: Vec<String> =
            self.reasons.iter().map(|(told, count)| format!("{count} points {told}")).collect();
        let told: u64 = self.reasons.iter().map(|(_, count)| count).sum();
        if self.rejected > told {
            parts.push(format!("{} points for other reasons", self.rejected - told));
        }
        if !self.unknown.is_empty() {
            parts.push(format!("unknown fields were passed over: {}", self.unknown.join(", ")));
        }
        parts.join("; ")
    }

    /// A number without its key.
    fn number(&mut self, json: &mut Cursor<'a>, kind: &Kind) -> Result<(), Fault> {
        if !self.make_room(0) {
            return Err(Fault::new("is too much"));
        }
        let found = json.token();
        match (kind, found) {
            (Kind::Bool, Token::Bool) => {
                let set = json.word() == "true";
                self.varint(u64::from(set));
                return Ok(());
            }
            (Kind::Bool, _) => return Err(Fault::is_not(found, "a boolean")),
            (_, Token::Number | Token::Text) => {}
            _ => return Err(Fault::is_not(found, "a number")),
        }
        let written = if found == Token::Number { Cow::Borrowed(json.word()) } else { json.string() };
        let wrong = |what: &str| Fault::new(format!("is {:?}, not {what}", shortened(&written)));
        if matches!(kind, Kind::Double) {
            let double = number::double(&written).ok_or_else(|| wrong("a double"))?;
            self.out.extend_from_slice(&double.to_bits().to_le_bytes());
            return Ok(());
        }
        if let (Kind::Temporality, Some(value)) = (kind, temporality(&written)) {
            self.varint(value);
            return Ok(());
        }
        let whole = number::whole(&written).ok_or_else(|| wrong("a whole number"))?;
        let range = |_| wrong("within its range");
        match kind {
            Kind::Fixed64 => self.out.extend_from_slice(&u64::try_from(whole).map_err(range)?.to_le_bytes()),
            Kind::Sfixed64 => self.out.extend_from_slice(&i64::try_from(whole).map_err(range)?.to_le_bytes()),
            Kind::Uint64 => self.varint(u64::try_from(whole).map_err(range)?),
            Kind::Uint32 => self.varint(u32::try_from(whole).map_err(range)?.into()),
            Kind::Int64 => self.varint(i64::try_from(whole).map_err(range)?.cast_unsigned()),
            Kind::Sint32 => {
                let value = i32::try_from(whole).map_err(range)?;
                self.varint(((value << 1) ^ (value >> 31)).cast_unsigned().into());
            }
            _ => self.varint(i64::from(i32::try_from(whole).map_err(range)?).cast_unsigned()),
        }
        Ok(())
    }

    fn varint(&mut self, value: u64) {
        leb128::put(&mut self.out, value);
    }

    fn bytes(&mut self, field: &Field, bytes: &[u8]) {
        if !self.make_room(bytes.len()) {
            return;
        }
        self.varint(u64::from(field.number << 3 | 2));
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a key and space for a short length; what follows is the field's content up to [`Self::close`].
    fn open(&mut self, field: &Field) -> usize {
        self.varint(u64::from(field.number << 3 | 2));
        self.out.push(0);
        self.out.len()
    }

    /// Writes the length of what was written since `start`.
    fn close(&mut self, start: usize) {
        let len = self.out.len() - start;
        let more = varint_len(len) - 1;
        if more > 0 {
            self.out.resize(self.out.len() + more, 0);
            self.out.copy_within(start..start + len, start + more);
        }
        let mut rest = len;
        for at in 0..=more {
            let last = if at < more { 0x80 } else { 0 };
            if let Some(byte) = self.out.get_mut(start - 1 + at) {
                *byte = (rest as u8 & 0x7f) | last;
            }
            rest >>= 7;
        }
    }
}

fn varint_len(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn wire_type(kind: &Kind) -> u32 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
        _ => 0,
    }
}

/// Whether `field` is one of a metric's alternatives.
fn is_data(message: &Message, field: &Field) -> bool {
    message.role == Role::Metric && matches!(field.kind, Kind::Nested(_)) && !field.many
}

/// How many points an object holds as a metric's data does.
fn points_of(mut json: Cursor<'_>) -> u64 {
    if json.token() != Token::Object {
        return 0;
    }
    json.enter();
    let mut points = 0;
    while json.more() {
        if matches!(&*json.name(), "dataPoints" | "data_points") {
            points += json.count();
        }
        json.skip();
    }
    points
}

/// The name in a metric, shortened; it may stand behind the data.
fn name_of(mut json: Cursor<'_>) -> String {
    let mut name = String::new();
    if json.token() != Token::Object {
        return name;
    }
    json.enter();
    while json.more() {
        if json.name() == "name" && json.token() == Token::Text {
            name = shortened(&json.string());
        } else {
            json.skip();
        }
    }
    name
}

fn text<'a>(json: &mut Cursor<'a>) -> Result<Cow<'a, str>, Fault> {
    match json.token() {
        Token::Text => Ok(json.string()),
        found => Err(Fault::is_not(found, "a string")),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}

fn temporality(name: &str) -> Option<u64> {
    match name {
        "AGGREGATION_TEMPORALITY_UNSPECIFIED" => Some(0),
        "AGGREGATION_TEMPORALITY_DELTA" => Some(1),
        "AGGREGATION_TEMPORALITY_CUMULATIVE" => Some(2),
        _ => None,
    }
}
