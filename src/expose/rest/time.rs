//! Times and durations as the contract writes them.

use crate::clock::{moment_in, rfc3339};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Instant;
use utoipa::ToSchema;
use vitals_core::ids::UnixNanos;

/// An hour in nanoseconds.
pub const HOUR: i64 = 3_600 * UnixNanos::SECOND;

/// A moment: RFC 3339 with any offset or none (which is UTC) on the way in, UTC with `Z` on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T12:00:00Z")]
pub struct Time(pub UnixNanos);

impl Time {
    /// As [`Time::parse`], where a time without an offset is of `zone`.
    #[must_use]
    pub fn in_zone(text: &str, zone: Option<&TimeZone>) -> Option<Self> {
        let utc = Self::parse(text)?;
        // What is a time of a clock on the wall has no offset.
        match (zone, text.replace(' ', "T").parse::<DateTime>()) {
            (Some(zone), Ok(local)) if text.parse::<Timestamp>().is_err() => moment_in(zone, local).map(Self),
            _ => Some(utc),
        }
    }

    /// `None` when the text is no such moment. What lies outside the years 1678..=2261 becomes their first or last
    /// moment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The parser would take `[Europe/Berlin]` behind the offset, RFC 3339 has no such thing.
        if text.contains('[') {
            return None;
        }
        // The parser ends a day before the year 9999 does; that year has the days of the one before.
        let text = match text.strip_prefix("9999-") {
            Some(rest) => &format!("9998-{rest}"),
            None => text,
        };
        let moment = match text.parse::<jiff::Timestamp>() {
            Ok(moment) => moment,
            Err(_) => {
                let naive = text.parse::<jiff::civil::DateTime>().ok()?;
                jiff::tz::TimeZone::UTC.to_timestamp(naive).ok()?
            }
        };
        let nanos = moment.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
        i64::try_from(nanos).ok().map(|nanos| Self(UnixNanos(nanos)))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&rfc3339(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// Longer durations count as this one: a hundred years.
const LONGEST: i64 = 100 * 365 * 86_400 * UnixNanos::SECOND;

/// Nanoseconds of `30s`, `5m`, `1h`, `1d`, `250ms`, or a plain number of seconds. `None` for anything else, and for
/// what is not positive.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.strip_prefix(' ').unwrap_or(unit) {
        "ms" => 1_000_000,
        "" | "s" | "sec" | "second" | "seconds" => UnixNanos::SECOND,
        "m" | "min" | "minute" | "minutes" => 60 * UnixNanos::SECOND,
        "h" | "hour" | "hours" => 3_600 * UnixNanos::SECOND,
        "d" | "day" | "days" => 86_400 * UnixNanos::SECOND,
        _ => return None,
    };
    let number = number.trim_start_matches('0');
    (1..=9).contains(&number.len()).then_some(())?;
    Some(number.parse::<i64>().ok()?.saturating_mul(unit).min(LONGEST))
}

/// An ISO 8601 duration of whole seconds: `P2DT3H4M5S`, `PT0S`.
#[must_use]
pub fn iso_duration(nanos: i64) -> String {
    let seconds = nanos.max(0) / UnixNanos::SECOND;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut out = String::from("P");
    if days > 0 {
        out += &format!("{days}D");
    }
    if rest == 0 && days > 0 {
        return out;
    }
    out.push('T');
    for (amount, unit) in [(rest / 3_600, 'H'), (rest % 3_600 / 60, 'M')] {
        if amount > 0 {
            out += &format!("{amount}{unit}");
        }
    }
    if rest % 60 > 0 || rest == 0 {
        out += &format!("{}S", rest % 60);
    }
    out
}

/// Nanoseconds as seconds.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn seconds(nanos: i64) -> f64 {
    nanos as f64 / UnixNanos::SECOND as f64
}

/// Nanoseconds as minutes.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn minutes(nanos: i64) -> f64 {
    nanos as f64 / (60 * UnixNanos::SECOND) as f64
}

/// Seconds of a setting as nanoseconds; as many as there can be when they are more.
#[must_use]
pub fn nanos_of_seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(UnixNanos::SECOND)
}

/// What is said of a time that is too far ahead.
#[must_use]
pub fn ahead_of_clock(seconds: u64) -> String {
    format!("Input should be at most {seconds} seconds ahead of the server's clock")
}

/// Milliseconds since `begun`.
#[must_use]
pub fn milliseconds_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(Time::parse(text).map(|time| time.to_string()).as_deref(), expect, "{text}");
        };
        check("2026-03-01T12:00:00Z", Some("2026-03-01T12:00:00Z"));
        check("2026-03-01T12:00:00", Some("2026-03-01T12:00:00Z"));
        check("2026-03-01t12:00:00z", Some("2026-03-01T12:00:00Z"));
        check("2026-03-01T12:00:00-0330", Some("2026-03-01T15:30:00Z"));
        check("2026-03-01T25:00:00Z", None);
        check("1772366400", None);
        check(" 2026-03-01T12:00:00Z", None);
        check("2026-03-01 12:00:00.25", Some("2026-03-01T12:00:00.25Z"));
        check("2026-03-01T12:00:00+05:30", Some("2026-03-01T06:30:00Z"));
        check("2026-03-01T12:00:00-00:00", Some("2026-03-01T12:00:00Z"));
        check("2026-03-01T12:00:00.123456789Z", Some("2026-03-01T12:00:00.123456789Z"));
        check("2026-03-01T12:00:00+01:00[Europe/Berlin]", None);
        check("2026-02-30T12:00:00Z", None);
        check("2300-01-01T00:00:00Z", Some("2262-04-11T23:47:16.854775807Z"));
        check("9999-12-31T23:59:59.999Z", Some("2262-04-11T23:47:16.854775807Z"));
        check("9999-02-29T00:00:00Z", None);
        check("0001-01-01T00:00:00Z", Some("1677-09-21T00:12:43.145224192Z"));
        check("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z"));
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn durations() {
        for (text, expect) in [
            ("30s", Some(30_000_000_000)),
            ("5m", Some(300_000_000_000)),
            ("60", Some(60_000_000_000)),
            ("250ms", Some(250_000_000)),
            ("1d", Some(86_400_000_000_000)),
            ("0s", None),
            ("-1s", None),
            ("1w", None),
            ("", None),
            ("5 minutes", Some(300_000_000_000)),
            ("5  minutes", None),
            (" 5m", None),
            ("000000000007s", Some(7_000_000_000)),
            ("999999999d", Some(LONGEST)),
            ("9999999999d", None),
        ] {
            assert_eq!(parse_duration(text), expect, "{text}");
        }
        for (seconds, expect) in
            [(0, "PT0S"), (59, "PT59S"), (60, "PT1M"), (3_661, "PT1H1M1S"), (86_400, "P1D"), (90_000, "P1DT1H")]
        {
            assert_eq!(iso_duration(seconds * UnixNanos::SECOND), expect);
        }
    }
}
