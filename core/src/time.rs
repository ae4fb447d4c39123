//! Durations: nanoseconds as `i64`, and their conversion from and to seconds.

use crate::ids::UnixNanos;

/// One second, in nanoseconds.
pub const SECOND: i64 = UnixNanos::SECOND;
/// One hour, in nanoseconds.
pub const HOUR: i64 = 3_600 * SECOND;
/// One day, in nanoseconds.
pub const DAY: i64 = 24 * HOUR;

/// Nanoseconds of a number of seconds; the largest duration when there is no such number of nanoseconds.
#[must_use]
pub fn nanos(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND)
}

/// Seconds of a number of nanoseconds.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn seconds(nanos: i64) -> f64 {
    nanos as f64 / SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_nanoseconds() {
        for (duration, expect) in [
            (0, 0),
            (1, 1_000_000_000),
            (86_400, DAY),
            (9_223_372_036, 9_223_372_036_000_000_000),
            (9_223_372_037, i64::MAX),
            (u64::MAX, i64::MAX),
        ] {
            assert_eq!(nanos(duration), expect, "{duration}");
        }
        assert_eq!([seconds(0), seconds(HOUR), seconds(-SECOND / 2)], [0.0, 3_600.0, -0.5]);
    }
}
