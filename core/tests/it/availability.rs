//! What intervals say of a window of time.

use proptest::prelude::*;
use vitals_core::availability::{Day, Interval, Outage, State, Tally, Trend, merged, planned_over, summary};
use vitals_core::ids::UnixNanos;

const S: i64 = UnixNanos::SECOND;
const DAY: i64 = 86_400;
/// A midnight; times are seconds after it.
const MIDNIGHT: i64 = 20_000 * DAY;

fn at(second: i64) -> UnixNanos {
    UnixNanos((MIDNIGHT + second) * S)
}

/// An interval in seconds; -1 is an open end.
fn interval(start: i64, end: i64, state: State) -> Interval {
    Interval { start: at(start), end: (end != OPEN).then(|| at(end)), state }
}

const OPEN: i64 = i64::MAX;

#[test]
fn silence_and_bad_health_are_downtime() {
    for (state, is_down) in
        [(State::Up, false), (State::Silent, true), (State::Unhealthy, true), (State::Maintenance, false)]
    {
        assert_eq!(state.is_down(), is_down, "{state:?}");
        let tally = Tally::of(&[interval(0, 10, state)], at(0), at(10));
        assert_eq!(tally.down > 0, is_down, "{state:?}");
    }
}

#[test]
fn an_interval_counts_within_the_window_only() {
    for (start, end, expect) in [
        (0, 10, 10),
        (-5, 15, 10),
        (5, 15, 5),
        (-5, 5, 5),
        (3, 4, 1),
        (10, 20, 0),
        (-10, 0, 0),
        (20, 30, 0),
        (4, OPEN, 6),
    ] {
        assert_eq!(interval(start, end, State::Up).overlap(at(0), at(10)), expect * S, "{start}..{end}");
    }
}

#[test]
fn maintenance_is_known_time_but_counts_neither_as_up_nor_as_down() {
    let tally = Tally { up: 60, down: 20, maintenance: 100 };
    assert_eq!((tally.counted(), tally.known(), tally.percent()), (80, 180, Some(75.0)));
    let planned = Tally { up: 0, down: 0, maintenance: 100 };
    assert_eq!((planned.counted(), planned.known(), planned.percent()), (0, 100, None));
}

#[test]
fn neighbours_of_one_state_are_one_interval() {
    use State::{Silent, Up};
    for (intervals, expect) in [
        (vec![(0, 10, Up), (10, 20, Up)], vec![(0, 20, Up)]),
        (vec![(10, OPEN, Up), (0, 10, Up)], vec![(0, OPEN, Up)]),
        (vec![(0, 10, Up), (10, 20, Silent)], vec![(0, 10, Up), (10, 20, Silent)]),
        (vec![(0, 10, Up), (11, 20, Up)], vec![(0, 10, Up), (11, 20, Up)]),
        // An empty interval takes back what was said of its start.
        (vec![(0, 10, Up), (10, 10, Silent), (10, 20, Up)], vec![(0, 20, Up)]),
    ] {
        let of = |all: &[(i64, i64, State)]| {
            all.iter().map(|&(from, to, state)| interval(from, to, state)).collect::<Vec<_>>()
        };
        assert_eq!(merged(&of(&intervals)), of(&expect), "{intervals:?}");
    }
}

#[test]
fn halves_of_a_window_that_differ_by_a_tenth_of_a_point_have_a_trend() {
    // Seconds up at the start of each half, of 1,000.
    for (before, after, expect) in [
        (500, 500, Trend::Stable),
        (0, 1, Trend::Improving),
        (1, 0, Trend::Declining),
        (1_000, 999, Trend::Stable),
        (1_000, 998, Trend::Declining),
        (0, 1_000, Trend::Improving),
    ] {
        let intervals = [
            interval(0, before, State::Up),
            interval(before, 1_000, State::Silent),
            interval(1_000, 1_000 + after, State::Up),
            interval(1_000 + after, 2_000, State::Silent),
        ];
        let found = summary(&intervals, at(0), at(2_000), at(2_000)).trend;
        assert_eq!(found, Some(expect), "{before} {after}");
    }
    // An interval over the middle counts in both halves.
    let over = [interval(0, 1_500, State::Up), interval(1_500, 2_000, State::Silent)];
    assert_eq!(summary(&over, at(0), at(2_000), at(2_000)).trend, Some(Trend::Declining));
    // The halves are those of the time that has passed.
    let halfway = [interval(0, 500, State::Silent), interval(500, OPEN, State::Up)];
    assert_eq!(summary(&halfway, at(0), at(2_000), at(1_000)).trend, Some(Trend::Improving));
    let one_half = [interval(0, 1_000, State::Up)];
    assert_eq!(summary(&one_half, at(0), at(2_000), at(2_000)).trend, None);
}

#[test]
fn an_outage_is_a_run_of_downtime_whatever_its_causes() {
    use State::{Maintenance, Silent, Unhealthy, Up};
    let outage = |start, end, cause| Outage { start: at(start), end: (end != OPEN).then(|| at(end)), cause };
    for (intervals, outages, mttr, mtbf) in [
        (vec![(0, 100, Up)], vec![], None, None),
        (
            vec![(0, 40, Up), (40, 50, Silent), (50, 60, Unhealthy), (60, 100, Up)],
            vec![outage(40, 60, Silent)],
            Some(20.0),
            Some(80.0),
        ),
        (
            vec![(0, 40, Up), (40, 50, Unhealthy), (50, 55, Maintenance), (55, 85, Silent), (85, 100, Up)],
            vec![outage(40, 50, Unhealthy), outage(55, 85, Silent)],
            Some(20.0),
            Some(27.5),
        ),
        // One that lasts has no time to repair yet.
        (
            vec![(0, 10, Silent), (10, 90, Up), (90, OPEN, Silent)],
            vec![outage(0, 10, Silent), outage(90, OPEN, Silent)],
            Some(10.0),
            Some(40.0),
        ),
        (vec![(0, 90, Up), (90, OPEN, Silent)], vec![outage(90, OPEN, Silent)], None, Some(90.0)),
        // It keeps its length where the window cuts it.
        (vec![(-50, 10, Silent), (10, 100, Up)], vec![outage(-50, 10, Silent)], Some(60.0), Some(90.0)),
    ] {
        let all: Vec<_> = intervals.iter().map(|&(from, to, state)| interval(from, to, state)).collect();
        let found = summary(&all, at(0), at(100), at(100));
        assert_eq!(found.outages, outages, "{intervals:?}");
        assert_eq!((found.mttr, found.mtbf), (mttr, mtbf), "{intervals:?}");
    }
}

#[test]
fn a_window_without_length_knows_nothing() {
    let up = [interval(0, OPEN, State::Up)];
    for (start, end, now) in [(10, 10, 20), (10, 5, 20), (30, 40, 20)] {
        let found = summary(&up, at(start), at(end), at(now));
        assert_eq!((found.start, found.end, found.confidence), (at(start), at(start), 0.0), "{start} {end} {now}");
        assert_eq!((found.tally, found.sessions.len(), found.downtime.len()), (Tally::default(), 0, 0));
    }
}

#[test]
fn days_begin_at_midnight_utc_and_cover_the_window() {
    let up = [interval(-3 * DAY, OPEN, State::Up)];
    let days = |start: i64, end: i64| {
        let found = summary(&up, at(start), at(end), at(end)).days;
        let seconds = |day: &Day| (day.date.0 / S - MIDNIGHT, day.tally.up / S);
        found.iter().map(seconds).collect::<Vec<_>>()
    };
    assert_eq!(days(0, DAY), [(0, DAY)]);
    assert_eq!(days(-1, DAY + 1), [(-DAY, 1), (0, DAY), (DAY, 1)]);
    assert_eq!(days(10, 20), [(0, 10)]);
    // Before 1970.
    let ancient = Interval { start: UnixNanos(-3 * DAY * S), end: None, state: State::Up };
    let found = summary(&[ancient], UnixNanos(-DAY * S / 2), UnixNanos(0), UnixNanos(0)).days;
    assert_eq!(found.iter().map(|day| day.date.0 / S).collect::<Vec<_>>(), [-DAY]);
}

/// Seconds of a timeline, each in one state or unknown, and the intervals that say so, cut anywhere and in any order.
fn timeline() -> impl Strategy<Value = (Vec<Option<State>>, Vec<Interval>)> {
    let state = prop::sample::select(vec![
        None,
        Some(State::Up),
        Some(State::Silent),
        Some(State::Unhealthy),
        Some(State::Maintenance),
    ]);
    let pieces = prop::collection::vec((1_usize..9, state, any::<u8>()), 0..9);
    pieces.prop_map(|pieces| {
        let (mut seconds, mut intervals) = (Vec::new(), Vec::new());
        for (length, state, place) in pieces {
            let from = i64::try_from(seconds.len()).unwrap();
            seconds.extend(std::iter::repeat_n(state, length));
            let to = i64::try_from(seconds.len()).unwrap();
            if let Some(state) = state {
                let place = usize::from(place) % (intervals.len() + 1);
                intervals.insert(place, interval(from, to, state));
            }
        }
        (seconds, intervals)
    })
}

/// Seconds of `from..to` in each state.
fn count(seconds: &[Option<State>], from: i64, to: i64) -> Tally {
    let mut tally = Tally::default();
    for second in from..to {
        let state = usize::try_from(second).ok().and_then(|second| *seconds.get(second)?);
        match state {
            Some(State::Up) => tally.up += S,
            Some(State::Silent | State::Unhealthy) => tally.down += S,
            Some(State::Maintenance) => tally.maintenance += S,
            None => {}
        }
    }
    tally
}

proptest! {
    /// A summary is what counting second by second gives.
    #[test]
    fn a_summary_counts_seconds((seconds, intervals) in timeline(), start in -10_i64..60, length in 1_i64..60, now in 0_i64..90) {
        let found = summary(&intervals, at(start), at(start + length), at(now));
        let end = (start + length).min(now).max(start);
        prop_assert_eq!((found.start, found.end), (at(start), at(end)));
        let tally = count(&seconds, start, end);
        prop_assert_eq!(found.tally, tally);
        let known = (tally.up + tally.down + tally.maintenance) as f64;
        let share = if end > start { known / ((end - start) * S) as f64 } else { 0.0 };
        prop_assert!((found.confidence - share).abs() < 1e-12);
        // A window on both sides of midnight has two days.
        if end > start {
            let halves = [(-DAY, start, end.min(0)), (0, start.max(0), end)];
            let days: Vec<_> = halves
                .into_iter()
                .filter(|(_, from, to)| from < to)
                .map(|(date, from, to)| Day { date: at(date), tally: count(&seconds, from, to) })
                .collect();
            prop_assert_eq!(&found.days, &days);
        }
        let touches = |i: &&Interval| i.start < at(end) && i.end.is_none_or(|to| to > at(start)) && end > start;
        let joined = merged(&intervals);
        let of = |up: bool| joined.iter().filter(touches).filter(|i| (i.state == State::Up) == up).copied().collect::<Vec<_>>();
        prop_assert_eq!(&found.sessions, &of(true));
        prop_assert_eq!(&found.downtime, &of(false));
    }

    /// Joining neighbours moves no second to another state, and leaves none that could be joined.
    #[test]
    fn joined_intervals_say_the_same((seconds, intervals) in timeline()) {
        let joined = merged(&intervals);
        for second in 0..100 {
            prop_assert_eq!(Tally::of(&joined, at(second), at(second + 1)), count(&seconds, second, second + 1));
        }
        for pair in joined.windows(2) {
            prop_assert!(pair[0].start < pair[1].start);
            prop_assert!(pair[0].state != pair[1].state || pair[0].end != Some(pair[1].start), "{:?}", pair);
        }
    }

    /// Maintenance after the fact covers what was known in its time and leaves everything else as it was.
    #[test]
    fn planned_time_covers_what_was_known((seconds, intervals) in timeline(), start in -5_i64..60, length in 0_i64..40) {
        let mut kept = intervals;
        for change in planned_over(&kept, at(start), at(start + length)) {
            prop_assert!(change.end.is_none_or(|end| end > change.start), "{:?} says nothing", change);
            kept.retain(|known| known.start != change.start);
            kept.push(change);
        }
        for second in 0..100_i64 {
            let expect = match usize::try_from(second).ok().and_then(|second| *seconds.get(second)?) {
                Some(_) if (start..start + length).contains(&second) => Some(State::Maintenance),
                known => known,
            };
            prop_assert_eq!(Tally::of(&kept, at(second), at(second + 1)), count(&[expect], 0, 1), "{}", second);
        }
    }
}

#[test]
fn planned_time_over_an_interval_that_lasts_ends() {
    let lasting = [interval(0, OPEN, State::Silent)];
    let expect =
        [interval(0, 10, State::Silent), interval(10, 20, State::Maintenance), interval(20, OPEN, State::Silent)];
    assert_eq!(planned_over(&lasting, at(10), at(20)), expect);
    assert_eq!(planned_over(&[interval(5, 5, State::Silent)], at(0), at(20)), []);
}
