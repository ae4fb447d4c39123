//! The wall clock, and moments as text.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::SystemTime;
use vitals_core::ids::UnixNanos;

/// The time by this machine's clock. A clock before 1970 is taken for 1970.
#[must_use]
pub fn now() -> UnixNanos {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixNanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

/// The time by this machine's clock, in whole seconds since the Unix epoch.
#[must_use]
pub fn now_seconds() -> i64 {
    seconds(now())
}

/// RFC 3339 in UTC, as precise as the moment.
#[must_use]
pub fn rfc3339(moment: UnixNanos) -> String {
    // Every i64 of nanoseconds lies within the years that jiff knows.
    jiff::Timestamp::from_nanosecond(i128::from(moment.0)).unwrap_or_default().to_string()
}

/// RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339_seconds(moment: UnixNanos) -> String {
    rfc3339(UnixNanos(seconds(moment).saturating_mul(UnixNanos::SECOND)))
}

/// The time zone of this IANA name, by the data that is part of the program.
///
/// # Errors
/// One sentence when there is none.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("{name:?} is no time zone; write an IANA name such as \"Europe/Berlin\""))
}

/// The moment of a time without an offset in a zone. What is skipped when clocks go forward is as long after the gap, what
/// comes twice when they go back is the first.
#[must_use]
pub fn moment_in(zone: &TimeZone, local: DateTime) -> Option<UnixNanos> {
    let moment = zone.to_timestamp(local).ok()?;
    i64::try_from(moment.as_nanosecond()).ok().map(UnixNanos)
}

fn seconds(moment: UnixNanos) -> i64 {
    moment.0.div_euclid(UnixNanos::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_zone() {
        let berlin = time_zone("Europe/Berlin").unwrap();
        for (local, expect) in [
            ("2026-03-01T22:00", "2026-03-01T21:00:00Z"),
            ("2026-07-01T22:00", "2026-07-01T20:00:00Z"),
            // Clocks go from 2 to 3, and back from 3 to 2.
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(moment_in(&berlin, local.parse().unwrap()).map(rfc3339).as_deref(), Some(expect), "{local}");
        }
        assert!(time_zone("Europe/Nowhere").unwrap_err().contains("Europe/Berlin"));
    }

    #[test]
    fn moments_are_rfc3339_in_utc() {
        for (nanos, precise, to_the_second) in [
            (0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (1_700_000_000_123_000_000, "2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UnixNanos(nanos)), precise);
            assert_eq!(rfc3339_seconds(UnixNanos(nanos)), to_the_second);
        }
        assert!(rfc3339(UnixNanos(i64::MAX)).starts_with("2262-04-11T23:47:16.854775807"));
        assert!(rfc3339(UnixNanos(i64::MIN)).starts_with("1677-09-21T00:12:43.145224192"));
    }
}
