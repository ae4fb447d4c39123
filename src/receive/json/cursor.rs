//! A cursor over text that is known to be valid JSON, so that nothing of the grammar has to be checked again: it reads
//! tokens in place, and passes a value of any depth without recursion.

use memchr::memchr2;
use std::borrow::Cow;

/// What kind of value stands at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// A place in valid JSON.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `text`, which must be one valid JSON value.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// What comes next.
    pub fn token(&mut self) -> Token {
        match self.byte() {
            b'{' => Token::Object,
            b'[' => Token::Array,
            b'"' => Token::Text,
            b't' | b'f' => Token::Bool,
            b'n' | 0 => Token::Null,
            _ => Token::Number,
        }
    }

    /// Steps into the object or array at the cursor.
    pub fn enter(&mut self) {
        self.byte();
        self.at += 1;
    }

    /// Whether one more member or element follows; if not, the cursor is behind the object or array.
    pub fn more(&mut self) -> bool {
        match self.byte() {
            b',' => {
                self.at += 1;
                true
            }
            b'}' | b']' => {
                self.at += 1;
                false
            }
            byte => byte != 0,
        }
    }

    /// The name of a member; the cursor is at its value then.
    pub fn name(&mut self) -> Cow<'a, str> {
        let name = self.string();
        // The colon.
        self.byte();
        self.at += 1;
        name
    }

    /// The string at the cursor. Half of a surrogate pair becomes U+FFFD.
    pub fn string(&mut self) -> Cow<'a, str> {
        unescaped(self.quoted())
    }

    /// The string at the cursor as it is written, without its quotes.
    fn quoted(&mut self) -> &'a str {
        self.byte();
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut end = start;
        while let Some(found) = bytes.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            end += found;
            if bytes.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        self.at = end + 1;
        self.text.get(start..end).unwrap_or_default()
    }

    /// The number or word at the cursor.
    pub fn word(&mut self) -> &'a str {
        self.byte();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.bytes().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += word.len();
        word
    }

    /// Passes the value at the cursor.
    pub fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.byte() {
                0 => return,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                b'"' => drop(self.quoted()),
                _ => drop(self.word_or_name()),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn word_or_name(&mut self) -> &'a str {
        let before = self.at;
        let word = self.word();
        // Never stays where it is.
        self.at = self.at.max(before + 1);
        word
    }

    /// How many elements the array at the cursor has; 0 of anything else. The cursor stays.
    pub fn count(mut self) -> u64 {
        if self.token() != Token::Array {
            return 0;
        }
        self.enter();
        let mut count = 0;
        while self.more() {
            self.skip();
            count += 1;
        }
        count
    }
}

fn unescaped(raw: &str) -> Cow<'_, str> {
    let Some(first) = raw.find('\\') else { return Cow::Borrowed(raw) };
    let (plain, mut rest) = raw.split_at(first);
    let mut text = String::with_capacity(raw.len());
    text.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        let (character, after) = escaped(escape);
        text.push(character);
        let next = after.find('\\').unwrap_or(after.len());
        let (plain, behind) = after.split_at(next);
        text.push_str(plain);
        rest = behind;
    }
    Cow::Owned(text)
}

/// The character of an escape sequence, of which `escape` begins behind the backslash, and what follows it.
fn escaped(escape: &str) -> (char, &str) {
    let mut characters = escape.chars();
    let kind = characters.next().unwrap_or(char::REPLACEMENT_CHARACTER);
    let after = characters.as_str();
    let character = match kind {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return code_point(after),
        other => other,
    };
    (character, after)
}

/// The character of `XXXX`, or of `XXXX\uXXXX` if that is a surrogate pair.
fn code_point(digits: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let after = digits.get(4..).unwrap_or_default();
    let Some(first) = unit(digits) else { return (char::REPLACEMENT_CHARACTER, after) };
    if (0xd800..0xdc00).contains(&first) {
        let low = after.strip_prefix("\\u");
        if let Some(second @ 0xdc00..0xe000) = low.and_then(unit) {
            let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            let behind = low.and_then(|low| low.get(4..)).unwrap_or_default();
            return (char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), behind);
        }
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_and_mended() {
        for (json, expect) in [
            (r#""plain""#, "plain"),
            (r#""""#, ""),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u00e9\u4e2d.""#, "aé中."),
            (r#""\ud83d\ude00!""#, "😀!"),
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00\ud83d\ud83d\ude00""#, "\u{fffd}\u{fffd}😀"),
            (r#""\ud83dA""#, "\u{fffd}A"),
            (r#""\\ud83d""#, "\\ud83d"),
        ] {
            assert_eq!(Cursor::new(json).string(), expect, "{json}");
        }
    }

    #[test]
    fn values_are_passed_whole() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        for value in
            ["1", "-1.5e+3", "true", "null", r#""a,]}\"""#, "[]", "{}", r#"{"a": [1, {"b": "}"}], "c": {}}"#, &deep]
        {
            let text = format!("[ {value} , 7 ]");
            let mut cursor = Cursor::new(&text);
            assert_eq!(cursor.count(), 2, "{value:.40}");
            cursor.enter();
            assert!(cursor.more());
            cursor.skip();
            assert!(cursor.more());
            assert_eq!(cursor.word(), "7");
            assert!(!cursor.more());
        }
    }
}
