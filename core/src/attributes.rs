//! Attributes, and the instrumentation scope that has some.

use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::sync::Arc;

/// Attributes, sorted by key, each key once; values in their text form.
///
/// `1` the integer and `"1"` the string are different values with one text, so the types are kept beside the text, for
/// all attributes together. Most attributes are strings; when all are, the types take no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attributes {
    pairs: Vec<(String, String)>,
    types: Box<str>,
    mended: u64,
}

impl Attributes {
    /// `pairs`, sorted and each key once, with the type codes of their values (see [`Attributes::codes`]) in the same order.
    /// `mended` tells apart what has the same text: a digest of the strings that were not UTF-8, 0 when all were.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>, types: &str, mended: u64) -> Self {
        let types = if types.bytes().all(|code| code == b's') { "" } else { types };
        Self { pairs, types: types.into(), mended }
    }

    /// The type of each value, as a code: `s`tring, `b`oolean, `i`nteger, `d`ouble, b`y`tes, `x` (an index), `e`mpty,
    /// `[...]` an array and `{...}` a map with the codes of what is in it, `.` for what is nested too deep to be kept.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        let mut all = codes(&self.types);
        self.pairs.iter().map(move |_| all.next().unwrap_or("s"))
    }

    /// Each attribute that is no string: its key, and its type's name.
    pub fn types(&self) -> impl Iterator<Item = (&str, String)> {
        let typed = self.pairs.iter().zip(self.codes()).filter(|(_, code)| *code != "s");
        typed.map(|((key, _), code)| (key.as_str(), type_name(code)))
    }

    /// A digest of the strings that were not UTF-8; 0 when all were.
    #[must_use]
    pub fn mended(&self) -> u64 {
        self.mended
    }

    /// The value of `key`, unless it is empty.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        self.pairs.get(at).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Hands what identifies to `feed`: the pairs with their number, their types, and what was mended.
    pub(crate) fn feed(&self, feed: &mut impl FnMut(&[u8])) {
        feed(&(self.pairs.len() as u64).to_le_bytes());
        for text in self.pairs.iter().flat_map(|(key, value)| [key.as_str(), value]).chain([&*self.types]) {
            feed_text(feed, text);
        }
        feed(&self.mended.to_le_bytes());
    }
}

/// Hands a text to `feed`, with its length, so that no two lists of texts are the same bytes.
pub(crate) fn feed_text(feed: &mut impl FnMut(&[u8]), text: &str) {
    feed(&(text.len() as u64).to_le_bytes());
    feed(text.as_bytes());
}

/// The codes of values side by side, each with what is in it.
pub fn codes(types: &str) -> impl Iterator<Item = &str> {
    let mut rest = types;
    std::iter::from_fn(move || {
        let mut open = 0_usize;
        let end = rest.bytes().position(|byte| {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            open == 0
        });
        let (code, left) = rest.split_at_checked(end? + 1)?;
        rest = left;
        Some(code)
    })
}

fn type_name(code: &str) -> String {
    let inner = || {
        let within = code.get(1..code.len().saturating_sub(1)).unwrap_or_default();
        codes(within).map(type_name).collect::<Vec<_>>().join(", ")
    };
    match code.as_bytes().first() {
        Some(b's') => "string".to_owned(),
        Some(b'b') => "boolean".to_owned(),
        Some(b'i') => "int".to_owned(),
        Some(b'd') => "double".to_owned(),
        Some(b'y') => "bytes".to_owned(),
        Some(b'x') => "index".to_owned(),
        Some(b'[') => format!("array({})", inner()),
        Some(b'{') => format!("map({})", inner()),
        Some(b'.') => "cut".to_owned(),
        _ => "empty".to_owned(),
    }
}

impl Deref for Attributes {
    type Target = [(String, String)];

    fn deref(&self) -> &Self::Target {
        &self.pairs
    }
}

impl From<Vec<(String, String)>> for Attributes {
    /// Strings, sorted; of equal keys the last stays.
    fn from(mut pairs: Vec<(String, String)>) -> Self {
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        Self::new(pairs, "", 0)
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        pairs.into_iter().collect::<Vec<_>>().into()
    }
}

/// What made a series, as OpenTelemetry has it: a library, with its version, and attributes of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The instrumentation scope's name, or the component of a REST metric; empty when there was none.
    pub name: String,
    /// Its version; empty when there was none.
    pub version: String,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Scope {
    /// A scope with a name and nothing else.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn each_value_has_its_type() {
        let pairs = vec![pair("a", "[1]"), pair("b", "x"), pair("c", "{}"), pair("d", "1"), pair("e", "")];
        let all = Attributes::new(pairs, "[i[bd]]s{}ie", 0);
        assert_eq!(all.codes().collect::<Vec<_>>(), ["[i[bd]]", "s", "{}", "i", "e"]);
        let names: Vec<_> = all.types().map(|(key, name)| format!("{key}={name}")).collect();
        assert_eq!(names, ["a=array(int, array(boolean, double))", "c=map()", "d=int", "e=empty"]);
    }

    #[test]
    fn strings_have_no_types() {
        let plain = Attributes::from(vec![pair("b", "1"), pair("a", "2"), pair("b", "3")]);
        assert_eq!(plain, Attributes::new(vec![pair("a", "2"), pair("b", "3")], "ss", 0));
        assert_eq!(plain.codes().collect::<Vec<_>>(), ["s", "s"]);
        assert_eq!(plain.types().count(), 0);
        assert_eq!((plain.value("b"), plain.value("c")), (Some("3"), None));
    }

    #[test]
    fn damaged_types_are_survived() {
        for types in ["", "[", "]]", "[[i]", "é", "sé", "}{"] {
            let all = Attributes::new(vec![pair("a", "1"), pair("b", "2")], types, 0);
            assert_eq!(all.codes().count(), 2, "{types}");
            assert!(all.types().count() <= 2, "{types}");
        }
    }
}
