//! The wall clock, and moments as text.

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

fn seconds(moment: UnixNanos) -> i64 {
    moment.0.div_euclid(UnixNanos::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

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
