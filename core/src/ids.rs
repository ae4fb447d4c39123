//! Newtypes for times and identities.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Nanoseconds since the Unix epoch, UTC. Range: 1677-09-21 to 2262-04-11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// One second, in nanoseconds.
    pub const SECOND: i64 = 1_000_000_000;

    /// This moment moved by `nanos`; stops at the ends of the range.
    #[must_use]
    pub fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this moment; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A series, unique over all tenants of one data folder, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesId(pub u32);

/// An agent (or system), unique over all tenants of one data folder, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentId(pub u32);

/// A tenant's name, as the token gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub Arc<str>);

impl TenantId {
    /// The tenant of a token that names none.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl From<&str> for TenantId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One part of the log and the shard that evaluates it. Agents are hashed onto partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub u32);

impl Partition {
    /// The partition of `agent` among `count` (at least 1).
    #[must_use]
    pub fn of(agent: AgentId, count: u32) -> Self {
        // Fibonacci hashing: consecutive ids land on different partitions.
        Self((agent.0.wrapping_mul(0x9E37_79B9) >> 16) % count.max(1))
    }
}

/// A record's place in its partition of the log; the first is 1, 0 means "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

/// The longest name of an agent or system, in characters.
pub const LONGEST_NAME: usize = 100;
/// How much of a name is kept when a digest of the whole stands behind it.
const KEPT: usize = LONGEST_NAME - 17;

/// Why a text cannot be the name by which clients know an agent or system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFlaw {
    /// Nothing, or nothing that can be seen.
    Blank,
    /// More than [`LONGEST_NAME`] characters.
    TooLong,
    /// A character that is not seen but changes how the text is shown.
    Hidden,
    /// White space at an end.
    Edge,
    /// `.` and `..`, which clients take out of a path even when they are escaped.
    Dots,
}

/// Control characters, and those that turn the direction of text: a name with one can pass for another.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space, with the kinds that have no width.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// What is wrong with the name of an agent or system; `None` when it can be one. The one rule for every way in: what can be
/// registered can be asked for.
#[must_use]
pub fn name_flaw(name: &str) -> Option<NameFlaw> {
    if name.chars().all(|c| is_space(c) || is_hidden(c)) {
        Some(NameFlaw::Blank)
    } else if name.contains(is_hidden) {
        Some(NameFlaw::Hidden)
    } else if name.starts_with(is_space) || name.ends_with(is_space) {
        Some(NameFlaw::Edge)
    } else if matches!(name, "." | "..") {
        Some(NameFlaw::Dots)
    } else if name.chars().count() > LONGEST_NAME {
        Some(NameFlaw::TooLong)
    } else {
        None
    }
}

/// The nearest name that an agent may have; `None` when nothing of it can be seen. White space and control characters at the
/// ends go; a name with another flaw keeps its start, U+FFFD stands for what is hidden, and a digest of the whole tells
/// it from others with the same start.
#[must_use]
pub fn mended_name(name: &str) -> Option<Cow<'_, str>> {
    let name = name.trim_matches(|c: char| is_space(c) || c.is_control());
    match name_flaw(name) {
        None => Some(Cow::Borrowed(name)),
        Some(NameFlaw::Blank) => None,
        Some(_) => Some(Cow::Owned(with_digest(name, xxh3_64(name.as_bytes())))),
    }
}

/// The start of a name, without what is hidden, and a digest behind it.
#[must_use]
pub fn with_digest(name: &str, digest: u64) -> String {
    let start: String = name.chars().take(KEPT).map(|c| if is_hidden(c) { '\u{FFFD}' } else { c }).collect();
    format!("{start}-{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for (name, flaw) in [
            ("web-1", None),
            ("web 1", None),
            ("../x", None),
            ("a/b?c#d%e", None),
            ("ключ\u{200d}", None),
            ("", Some(NameFlaw::Blank)),
            (" \t\u{feff}", Some(NameFlaw::Blank)),
            ("\u{202e}", Some(NameFlaw::Blank)),
            ("\u{a0}", Some(NameFlaw::Blank)),
            ("a\tb", Some(NameFlaw::Hidden)),
            ("a\n", Some(NameFlaw::Hidden)),
            ("\u{202e}abc", Some(NameFlaw::Hidden)),
            (" a", Some(NameFlaw::Edge)),
            ("a\u{3000}", Some(NameFlaw::Edge)),
            ("\u{feff}a", Some(NameFlaw::Edge)),
            ("..", Some(NameFlaw::Dots)),
            (&"ä".repeat(100), None),
            (&"ä".repeat(101), Some(NameFlaw::TooLong)),
        ] {
            assert_eq!(name_flaw(name), flaw, "{name:?}");
        }
    }

    #[test]
    fn what_is_mended_stays_readable_and_distinct() {
        for (name, mended) in [("web-1", "web-1"), ("web-1\n", "web-1"), (" web 1 ", "web 1"), ("\u{feff}a\0", "a")] {
            assert_eq!(mended_name(name).as_deref(), Some(mended));
        }
        assert_eq!(mended_name(" \r\n"), None);
        let of = |name: &str| mended_name(name).unwrap().into_owned();
        assert!(of("a\tb").starts_with("a\u{FFFD}b-"), "{}", of("a\tb"));
        assert_ne!(of("a\tb"), of("a\nb"));
        assert_ne!(of("."), of(".."));
        let long = "ä".repeat(200);
        assert_ne!(of(&format!("{long}a")), of(&format!("{long}b")));
        assert_eq!(of(&long).chars().count(), LONGEST_NAME);
    }

    proptest! {
        #[test]
        fn every_mended_name_is_a_name(name in "(\\PC|[ .\t\r\n\u{202e}\u{feff}\u{0}]){0,110}") {
            if let Some(mended) = mended_name(&name) {
                prop_assert_eq!(name_flaw(&mended), None);
                prop_assert_eq!(mended_name(&mended), Some(mended.clone()));
            }
        }
    }
}
