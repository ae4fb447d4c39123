//! When something that fills up is full: a robust trend with the season of the day, and an interval.
//!
//! The trend is the median of the slopes between points that are far apart (Theil and Sen), over whole days where the season
//! is known (Hirsch and Slack's seasonal slope). The interval comes from the tenth and the ninetieth percentile of these slopes and
//! of what is left of the points around the line: so noise that hangs together from hour to hour widens it too. What was
//! there before the last reset (a restart, a clean-up) is another story and is left out.

use crate::ids::UnixNanos;
use std::fmt;

/// Fewest points, and shortest time that they span, hours.
const LEAST_POINTS: usize = 12;
const LEAST_SPAN: f64 = 1.0;
/// From so many hours on the season of the day is known.
const SEASON_SPAN: f64 = 72.0;
/// How far ahead anything is said: so many times the span without a known season, and with one; hours at most.
const AHEAD_WITHOUT_SEASON: f64 = 0.5;
const AHEAD_WITH_SEASON: f64 = 4.0;
const MOST_AHEAD: f64 = 90.0 * 24.0;
/// An interval whose end is more than so many times as far as the likely moment says nothing.
const WIDEST_INTERVAL: f64 = 4.0;
/// Points that the slope is taken between are at least this share of the span apart.
const LEAST_LAG: f64 = 1.0 / 3.0;
/// A fall of more than this share of the range, and of so many usual steps, is a reset.
const RESET_SHARE: f64 = 0.25;
const RESET_STEPS: f64 = 8.0;
/// The last point is at most this old: hours, and usual steps.
const STALE_HOURS: f64 = 3.0;
const STALE_STEPS: f64 = 3.0;
const HOUR: f64 = 3600.0 * UnixNanos::SECOND as f64;

/// When a limit is reached, hours from now; all 0 when it is already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeToLimit {
    /// Rather not before.
    pub earliest: f64,
    /// By the trend itself.
    pub likely: f64,
    /// Rather not after.
    pub latest: f64,
}

impl fmt::Display for TimeToLimit {
    /// `in 3 to 5 days`, `in about 7 hours`, `within 20 minutes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hours) = match self.latest {
            latest if latest >= 48.0 => ("days", 24.0),
            latest if latest >= 2.0 => ("hours", 1.0),
            _ => ("minutes", 1.0 / 60.0),
        };
        let (from, to) = ((self.earliest / hours).floor(), (self.latest / hours).ceil());
        if from < 1.0 {
            write!(f, "within {to} {name}")
        } else if from + 1.0 >= to {
            let likely = (self.likely / hours).round().max(1.0);
            write!(f, "in about {likely} {}", if likely > 1.0 { name } else { &name[..name.len() - 1] })
        } else {
            write!(f, "in {from} to {to} {name}")
        }
    }
}

/// When a series reaches `limit` from below, by its means over equal steps, sorted by time; `None` when that cannot be said: too
/// few or too old points, no trend that stands out, or one that leads there too far away.
#[must_use]
pub fn time_to_limit(points: &[(UnixNanos, f64)], now: UnixNanos, limit: f64) -> Option<TimeToLimit> {
    let points: Vec<Point> = points
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|&(time, value)| Point { hours: time.since(now) as f64 / HOUR, value })
        .collect();
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1].hours - pair[0].hours).collect();
    let step = median(steps)?;
    if -points.last()?.hours > STALE_HOURS.max(STALE_STEPS * step) || !limit.is_finite() {
        return None;
    }
    // One reset is an event; more may be the season.
    let points = match resets(&points)?[..] {
        [only] => &points[only..],
        _ => &points[..],
    };
    let season = Season::of(points, now);
    let points: Vec<Point> = points.iter().map(|p| Point { value: p.value - season.at(p.hours), ..*p }).collect();
    let points = since_last_reset(&points)?;
    let line = Line::through(points, season.is_known)?;
    if line.level + season.at(0.0) >= limit {
        return Some(TimeToLimit { earliest: 0.0, likely: 0.0, latest: 0.0 });
    }
    let ahead = if season.is_known { AHEAD_WITH_SEASON } else { AHEAD_WITHOUT_SEASON } * line.span;
    let ahead = ahead.min(MOST_AHEAD);
    let reached = |slope: f64, level: f64| season.reaches(limit, level, slope);
    let likely = reached(line.slope, line.level).filter(|hours| *hours <= ahead)?;
    let latest = reached(line.least_slope, line.level + line.least_rest)?;
    let earliest = reached(line.most_slope, line.level + line.most_rest)?;
    (latest <= WIDEST_INTERVAL * likely.max(step)).then(|| TimeToLimit {
        earliest: earliest.min(likely),
        likely,
        latest: latest.max(likely),
    })
}

#[derive(Clone, Copy, Debug)]
struct Point {
    /// From now on; negative.
    hours: f64,
    value: f64,
}

/// The `share` quantile of some numbers, by the nearest rank; none of no numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get((share * (sorted.len().saturating_sub(1)) as f64).round() as usize).copied()
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    quantile(&numbers, 0.5)
}

/// The slopes between points at least `least` apart, and for which `is_like` holds of the distance; sorted.
fn slopes(points: &[Point], least: f64, is_like: impl Fn(f64) -> bool) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (at, first) in points.iter().enumerate() {
        for second in &points[at + 1..] {
            let lag = second.hours - first.hours;
            if lag > 0.0 && lag >= least && is_like(lag) {
                slopes.push((second.value - first.value) / lag);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

fn span(points: &[Point]) -> f64 {
    points.first().zip(points.last()).map_or(0.0, |(first, last)| last.hours - first.hours)
}

/// Whole days, to half an hour.
fn is_whole_days(lag: f64) -> bool {
    (lag - 24.0 * (lag / 24.0).round()).abs() <= 0.5
}

/// What the hour of the day adds.
struct Season {
    is_known: bool,
    of_hour: [f64; 24],
    /// The hour of the day, now.
    now: f64,
}

impl Season {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // hours of a day
    fn of(points: &[Point], now: UnixNanos) -> Self {
        let now = now.0.rem_euclid(24 * 3600 * UnixNanos::SECOND) as f64 / HOUR;
        let mut season = Self { is_known: false, of_hour: [0.0; 24], now };
        let Some(slope) = quantile(&slopes(points, 12.0, is_whole_days), 0.5) else { return season };
        if span(points) < SEASON_SPAN {
            return season;
        }
        let level = |point: &Point| point.value - slope * point.hours;
        let Some(usual) = median(points.iter().map(level).collect()) else { return season };
        season.is_known = true;
        for hour in 0..24 {
            let of_hour = points.iter().filter(|point| season.hour(point.hours) == hour).map(level);
            season.of_hour[hour] = median(of_hour.collect()).map_or(0.0, |level| level - usual);
        }
        season
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // hours of a day
    fn hour(&self, hours: f64) -> usize {
        (self.now + hours).rem_euclid(24.0) as usize % 24
    }

    fn at(&self, hours: f64) -> f64 {
        self.of_hour[self.hour(hours)]
    }

    /// How many hours from now a line from `level` with `slope` reaches `limit`; none within a year.
    fn reaches(&self, limit: f64, level: f64, slope: f64) -> Option<f64> {
        if !self.is_known {
            return Some(((limit - level) / slope).max(0.0)).filter(|hours| hours.is_finite());
        }
        // An hour of the day is one value, so the line is looked at where one ends, and exactly within it.
        let mut hours = 0.0;
        while hours < 4.0 * MOST_AHEAD {
            let end = hours + 1.0 - (self.now + hours).fract();
            let within = (limit - self.at(hours) - level) / slope;
            if within < end {
                return Some(within.max(hours));
            }
            hours = end;
        }
        None
    }
}

/// The places of the first points after resets; none of fewer than two points.
fn resets(points: &[Point]) -> Option<Vec<usize>> {
    let falls: Vec<f64> = points.windows(2).map(|pair| pair[0].value - pair[1].value).collect();
    let usual = median(falls.iter().map(|fall| fall.abs()).collect())?;
    let least = points.iter().map(|point| point.value).reduce(f64::min)?;
    let most = points.iter().map(|point| point.value).reduce(f64::max)?;
    let reset = (RESET_SHARE * (most - least)).max(RESET_STEPS * usual);
    Some(falls.iter().zip(1..).filter(|(fall, _)| **fall > reset).map(|(_, first_after)| first_after).collect())
}

/// The points since the last reset. None where there were several and the values are no higher now than they were before:
/// whatever resets them will do so again.
fn since_last_reset(points: &[Point]) -> Option<&[Point]> {
    let resets = resets(points)?;
    let Some(&last) = resets.last() else { return Some(points) };
    let now = points.last()?.value;
    let highest = points[..last].iter().map(|point| point.value).reduce(f64::max)?;
    (resets.len() < 2 || now > highest).then(|| &points[last..])
}

/// A rising line through points without their season.
struct Line {
    span: f64,
    slope: f64,
    least_slope: f64,
    most_slope: f64,
    /// The line now.
    level: f64,
    /// The points around it.
    least_rest: f64,
    most_rest: f64,
}

impl Line {
    /// None where not even nine of ten slopes rise.
    fn through(points: &[Point], has_season: bool) -> Option<Self> {
        let span = span(points);
        if points.len() < LEAST_POINTS || span < LEAST_SPAN {
            return None;
        }
        let is_like = |lag: f64| !has_season || span < SEASON_SPAN || is_whole_days(lag);
        let slopes = slopes(points, LEAST_LAG * span, is_like);
        let [least_slope, slope, most_slope] =
            [quantile(&slopes, 0.1)?, quantile(&slopes, 0.5)?, quantile(&slopes, 0.9)?];
        if least_slope <= 0.0 {
            return None;
        }
        let rest = |point: &Point| point.value - slope * point.hours;
        // Where it is now is said best by the newest points.
        let newest = points.iter().filter(|point| point.hours >= points[0].hours + 0.75 * span);
        let level = median(newest.map(rest).collect())?;
        let mut rests: Vec<f64> = points.iter().map(|point| rest(point) - level).collect();
        rests.sort_by(f64::total_cmp);
        let least_rest = quantile(&rests, 0.1)?.min(0.0);
        let most_rest = quantile(&rests, 0.9)?.max(0.0);
        let all = [slope, most_slope, level, least_rest, most_rest];
        let line = Self { span, slope, least_slope, most_slope, level, least_rest, most_rest };
        all.iter().all(|part| part.is_finite()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: f64 = 24.0;

    fn now() -> UnixNanos {
        UnixNanos(1_700_000_000 * UnixNanos::SECOND)
    }

    /// SplitMix64, as a normal number.
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-17
        }

        fn normal(&mut self) -> f64 {
            (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
        }
    }

    /// `hours` of hourly points up to now; `value` is given the hours from now, which are negative, and a normal number.
    fn hourly(hours: i64, seed: u64, value: impl Fn(f64, f64) -> f64) -> Vec<(UnixNanos, f64)> {
        let mut random = Random(seed);
        let at = |hour: i64| now().plus(hour * 3600 * UnixNanos::SECOND);
        (-hours..0).map(|hour| (at(hour), value(hour as f64, random.normal()))).collect()
    }

    fn full(points: &[(UnixNanos, f64)]) -> Option<TimeToLimit> {
        time_to_limit(points, now(), 100.0)
    }

    fn daily(hours: f64) -> f64 {
        (std::f64::consts::TAU * hours / 24.0).sin()
    }

    #[test]
    fn what_fills_steadily_is_full_when_the_line_says() {
        // 60 % now, 10 % a day: full in four days.
        let found = full(&hourly(14 * 24, 1, |t, _| 60.0 + t * 10.0 / DAY)).expect("a trend");
        assert!((found.likely - 96.0).abs() < 1.0 && (found.earliest - found.latest).abs() < 2.0, "{found:?}");
        // Six hours are enough for what comes within three.
        let found = full(&hourly(24, 1, |t, _| 95.0 + t)).expect("a trend");
        assert!((found.likely - 5.0).abs() < 0.5, "{found:?}");
        assert_eq!(full(&hourly(24, 1, |t, _| 50.0 + t)), None, "50 hours from 24");
        // What is full is full.
        let found = full(&hourly(48, 1, |t, _| 101.0 + t)).expect("full");
        assert_eq!((found.earliest, found.likely, found.latest), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_interval_holds_what_happens_nine_times_of_ten() {
        let mut held = 0;
        let (mut said, mut widest) = (0, 0.0_f64);
        for seed in 0..60 {
            // Full in 100 hours, with noise and a season.
            let slope = 0.3;
            let points =
                hourly(10 * 24, seed, |t, noise| 100.0 - 100.0 * slope + slope * t + 2.0 * noise + 6.0 * daily(t));
            let Some(found) = full(&points) else { continue };
            said += 1;
            // The season's peak reaches it up to 6 / 0.3 = 20 hours before the line does.
            held += usize::from(found.earliest <= 100.0 && found.latest >= 80.0);
            widest = widest.max(found.latest / found.earliest);
            assert!(found.earliest <= found.likely && found.likely <= found.latest, "{found:?}");
            assert!((70.0..=110.0).contains(&found.likely), "{found:?}");
        }
        assert!(said >= 55 && held * 10 >= said * 9, "{held} of {said}");
        assert!(widest < 3.0, "{widest}");
    }

    #[test]
    fn nothing_is_said_of_what_does_not_fill() {
        type Value = fn(f64, f64) -> f64;
        let stories: [(&str, Value); 10] = [
            ("constant", |_, _| 61.0),
            ("noise", |_, n| 90.0 + 3.0 * n),
            ("a season", |t, n| 60.0 + 35.0 * daily(t) + n),
            ("it empties", |t, n| 60.0 - t / 10.0 + n),
            ("log rotation each night", |t, n| 40.0 + 50.0 * (t / 24.0 + 0.3).rem_euclid(1.0) + 0.2 * n),
            ("clean-up every 31 hours", |t, n| 40.0 + 50.0 * (t / 31.0 + 0.7).rem_euclid(1.0) + 0.2 * n),
            ("a nightly job's files", |t, n| if (t / 24.0).rem_euclid(1.0) < 0.1 { 95.0 } else { 50.0 } + 0.2 * n),
            ("one step up", |t, n| if t > -100.0 { 80.0 } else { 50.0 } + 0.5 * n),
            ("far too slow", |t, n| 60.0 + t / 1000.0 + 0.01 * n),
            ("no numbers", |t, _| if t > -200.0 { f64::NAN } else { f64::INFINITY }),
        ];
        for (name, value) in stories {
            for seed in 0..5 {
                let found = full(&hourly(14 * 24, seed, value));
                assert_eq!(found, None, "{name}");
            }
        }
        // A morning's rise, of which nobody knows whether it is each day's.
        assert_eq!(full(&hourly(8, 1, |t, n| 60.0 + 2.0 * t + 0.5 * n)), None);
        assert_eq!(full(&[]), None);
        assert_eq!(full(&hourly(5, 1, |t, _| 99.0 + t)), None, "too few");
        let old: Vec<_> = hourly(14 * 24, 1, |t, _| 90.0 + t / 10.0).into_iter().take(12 * 24).collect();
        assert_eq!(full(&old), None, "two days old");
    }

    #[test]
    fn what_was_before_a_reset_is_left_out() {
        // A process that leaks half a percent an hour was restarted 80 hours ago, and ran up to 70 % again.
        let found = full(&hourly(160, 1, |t, n| 70.0 + 0.5 * if t < -80.0 { t + 65.0 } else { t } + 0.1 * n));
        let found = found.expect("the leak goes on");
        assert!((found.likely - 60.0).abs() < 4.0, "{found:?}");
        // A disk that was cleaned once.
        let found = full(&hourly(14 * 24, 1, |t, n| 80.0 + 0.1 * t + if t < -200.0 { 30.0 } else { 0.0 } + 0.1 * n));
        assert!((found.expect("it fills").likely - 200.0).abs() < 15.0, "{found:?}");
    }

    #[test]
    fn a_walk_without_direction_is_rarely_taken_for_a_trend() {
        let said = (0..100).filter(|&seed| {
            let mut random = Random(1_000 + seed);
            let mut level = 60.0_f64;
            let walk: Vec<f64> = (0..14 * 24)
                .map(|_| {
                    level = (level + 0.3 * random.normal()).clamp(5.0, 95.0);
                    level
                })
                .collect();
            let points = hourly(14 * 24, 1, |t, _| walk[(t + 14.0 * 24.0) as usize]);
            full(&points).is_some()
        });
        let said = said.count();
        assert!(said <= 20, "{said} of 100");
    }

    #[test]
    fn an_interval_is_said_in_words() {
        for (earliest, likely, latest, expect) in [
            (73.0, 96.0, 119.0, "in 3 to 5 days"),
            (95.0, 96.0, 97.0, "in 3 to 5 days"),
            (96.5, 98.0, 99.0, "in about 4 days"),
            (5.0, 24.0, 60.0, "within 3 days"),
            (6.5, 7.0, 7.4, "in 6 to 8 hours"),
            (7.1, 7.2, 7.4, "in about 7 hours"),
            (1.1, 1.2, 2.0, "in about 1 hour"),
            (0.1, 0.2, 0.3, "in 6 to 18 minutes"),
            (0.0, 0.0, 0.0, "within 0 minutes"),
        ] {
            assert_eq!(TimeToLimit { earliest, likely, latest }.to_string(), expect, "{earliest} {likely} {latest}");
        }
    }

    proptest! {
        #[test]
        fn any_points_do_no_harm(points in prop::collection::vec((any::<i64>(), any::<f64>()), 0..60), limit in any::<f64>()) {
            let mut points: Vec<_> = points.into_iter().map(|(time, value)| (UnixNanos(time), value)).collect();
            points.sort_by_key(|point| point.0);
            for now in [now(), points.last().map_or(now(), |point| point.0)] {
                if let Some(found) = time_to_limit(&points, now, limit) {
                    prop_assert!(0.0 <= found.earliest && found.earliest <= found.likely && found.likely <= found.latest);
                    prop_assert!(found.latest.is_finite());
                }
            }
        }

        #[test]
        fn a_line_reaches_its_limit_whatever_the_scale(scale in 1e-6..1e6_f64, slope in 0.05..2.0_f64, left in 5.0..40.0_f64) {
            let points = hourly(7 * 24, 1, |t, n| scale * (1000.0 - left * slope + slope * t + 0.01 * slope * n));
            let found = time_to_limit(&points, now(), scale * 1000.0).expect("a line");
            prop_assert!((found.likely - left).abs() < 2.0, "{:?}", found);
        }
    }
}
