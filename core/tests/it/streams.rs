//! Counters with their resets made good, and delta streams with their gaps, at the limits of the rules.

use vitals_core::rules::streams::{Ahead, Counted, Counter, Gaps, Increment, UNKNOWN};

const S: i64 = 1_000_000_000;

/// The total after values at (start, time), in seconds.
fn total(rows: &[(i64, i64, f64)]) -> f64 {
    let (mut counter, mut last, mut total) = (Counter::NEW, i64::MIN, f64::NAN);
    for &(start, time, value) in rows {
        total = counter.step(last, start * S, time * S, value);
        last = time * S;
    }
    total
}

#[test]
fn zero_is_a_count() {
    assert_eq!(total(&[(1, 10, 0.0)]), 0.0);
    assert_eq!(total(&[(1, 10, 0.0), (1, 20, 0.0)]), 0.0);
    assert!(total(&[(1, 10, -0.5)]).is_nan());
}

#[test]
fn a_start_of_zero_is_not_known() {
    // A value that fell was reset, when it cannot be told by its start.
    assert_eq!(total(&[(0, 10, 5.0), (0, 20, 4.0)]), 9.0);
    assert_eq!(total(&[(0, 10, 5.0), (1, 20, 4.0)]), 9.0);
    assert_eq!(total(&[(1, 10, 5.0), (1, 20, 4.0)]), 5.0);
    assert_eq!(UNKNOWN, 0);
}

#[test]
fn how_close_to_the_last_point_a_moved_start_makes_a_fall_a_reset() {
    // Up to five seconds before the last point, at 100, count as a restart.
    for (start, expect) in [(94, 50.0), (95, 54.0), (99, 54.0), (100, 54.0), (101, 54.0)] {
        assert_eq!(total(&[(1, 100, 50.0), (start, 200, 4.0)]), expect, "{start}");
    }
    // A start that moved by up to two seconds is the same one.
    for (start, expect) in [(97, 50.0), (98, 50.0), (99, 54.0)] {
        assert_eq!(total(&[(96, 100, 50.0), (start, 200, 4.0)]), expect, "{start}");
    }
}

#[test]
fn a_point_without_duration_tells_nothing_of_resets() {
    assert_eq!(total(&[(1, 10, 5.0), (20, 20, 7.0)]), 7.0);
    assert_eq!(total(&[(1, 10, 5.0), (19, 20, 7.0)]), 12.0);
}

#[test]
fn a_correction_by_a_hair_makes_no_total_fall() {
    for (before, after) in [(0.3, 0.1), (1e15, 0.3), (0.7, 0.1), (1.1, 0.9), (1e9 + 0.1, 0.1)] {
        let corrected = total(&[(1, 10, before), (1, 20, after)]);
        assert!(corrected >= before && corrected <= before * (1.0 + 1e-12), "{before} {after}: {corrected}");
    }
}

/// What increments (start, end) are, in units of half a millisecond after one second; -1 is no start.
fn judged(rows: &[(i64, i64)]) -> Vec<Increment> {
    let at = |half: i64| if half < 0 { UNKNOWN } else { S + half * 500_000 };
    let (mut gaps, mut counted) = (Gaps::default(), Counted::NOTHING);
    rows.iter().map(|&(start, time)| gaps.take(1, &mut counted, at(start), at(time))).collect()
}

#[test]
fn a_gap_of_more_than_a_millisecond_can_be_filled() {
    use Increment::{Again, Late, Next};
    for (gap, expect) in [(1, Again), (2, Again), (3, Late)] {
        let rows = [(0, 100), (100 + gap, 200), (100, 100 + gap)];
        assert_eq!(judged(&rows), [Next, Next, expect], "{gap} half milliseconds");
    }
}

#[test]
fn what_overlaps_a_gap_and_what_was_counted_is_not_known() {
    use Increment::{Again, Late, Next, Untold};
    // Counted: 0 to 100, and 200 to 300.
    let after = |late: (i64, i64)| judged(&[(0, 100), (200, 300), late])[2];
    for (late, expect) in [
        ((100, 200), Late),
        ((120, 180), Late),
        // A start may be rounded by a millisecond.
        ((98, 150), Late),
        ((97, 150), Untold),
        ((150, 200), Late),
        ((150, 201), Untold),
        ((0, 100), Again),
        ((50, 100), Again),
        ((200, 250), Again),
        ((150, 250), Untold),
        ((50, 250), Untold),
    ] {
        assert_eq!(after(late), expect, "{late:?}");
    }
    assert_eq!(judged(&[(0, 100), (200, 300), (100, 150), (150, 200), (100, 150)]), [Next, Next, Late, Late, Again]);
}

#[test]
fn a_longer_increment_covers_the_part_of_a_gap_that_it_spans() {
    use Increment::{Again, Late, Next};
    // A gap from 100 to 200; then an increment from 150 on.
    let rows = |late| judged(&[(0, 100), (200, 300), (150, 400), late])[2..].to_vec();
    assert_eq!(rows((100, 150)), [Next, Late]);
    assert_eq!(rows((150, 200)), [Next, Again]);
    // One from before the gap on leaves nothing of it.
    assert_eq!(judged(&[(0, 100), (200, 300), (100, 400), (100, 200)])[3], Again);
}

#[test]
fn gaps_are_kept_over_a_restart_and_given_up_when_they_are_filled() {
    let (mut gaps, mut counted) = (Gaps::default(), Counted::NOTHING);
    for (start, time) in [(1, 10), (20, 30)] {
        gaps.take(7, &mut counted, start * S, time * S);
    }
    let saved = gaps.save();
    assert_eq!(saved.len(), 1);
    let mut again = Gaps::default();
    again.restore(saved);
    assert_eq!(again, gaps);
    let mut after = counted;
    assert_eq!(again.take(7, &mut after, 10 * S, 20 * S), Increment::Late);
    assert!(again.save().is_empty(), "a stream without gaps takes no room");
    gaps.restore([]);
    assert_eq!(gaps.take(7, &mut counted, 10 * S, 20 * S), Increment::Again);
}

#[test]
fn points_ahead_are_kept_over_a_restart() {
    let mut ahead = Ahead::default();
    ahead.take(7, 500);
    let mut again = Ahead::default();
    again.restore(ahead.save());
    assert_eq!(again, ahead);
    assert_eq!(again.take(7, 500), Increment::Again);
    again.restore([]);
    assert_eq!(again.take(7, 500), Increment::Next);
}
