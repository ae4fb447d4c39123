use super::*;
use proptest::prelude::*;

/// Feeds (time, start, value) in order; the totals.
fn totals(rows: &[(i64, i64, f64)]) -> Vec<f64> {
    let (mut counter, mut last) = (Counter::NEW, i64::MIN);
    let mut out = Vec::new();
    for &(time, start, value) in rows {
        out.push(counter.step(last, start, time, value));
        last = time;
    }
    out
}

#[test]
fn resets_are_told_by_the_start() {
    for (name, rows, expect) in [
        ("goes on", vec![(10, 1, 5.0), (20, 1, 7.0)], vec![5.0, 7.0]),
        ("same start, falls: no reset", vec![(10, 1, 5.0), (20, 1, 4.0), (30, 1, 6.0)], vec![5.0, 5.0, 7.0]),
        (
            "falls far, same start",
            vec![(10, 1, 62_218.0), (20, 1, 58_733.0), (30, 1, 58_743.0)],
            vec![62_218.0, 62_218.0, 62_228.0],
        ),
        (
            "started anew above the old value",
            vec![(10, 1, 100.0), (20, 1, 110.0), (30, 21, 120.0)],
            vec![100.0, 110.0, 230.0],
        ),
        ("started anew below", vec![(10, 1, 100.0), (20, 15, 3.0)], vec![100.0, 103.0]),
        ("started anew at the last point", vec![(10, 1, 100.0), (20, 10, 100.0)], vec![100.0, 200.0]),
        ("start corrected, goes on", vec![(10, 1, 5.0), (20, 2, 7.0), (30, 1, 8.0)], vec![5.0, 7.0, 8.0]),
        ("start jitters, falls: no reset", vec![(10, 1, 5.0), (20, 2, 4.0), (30, 1, 6.0)], vec![5.0, 5.0, 7.0]),
        ("suspended, falls: no reset", vec![(100, 1, 50.0), (200, 90, 40.0), (300, 90, 45.0)], vec![50.0, 50.0, 55.0]),
        ("start moved back, falls: no reset", vec![(100, 50, 50.0), (200, 1, 40.0)], vec![50.0, 50.0]),
        ("started anew a moment before the last point, falls", vec![(100, 1, 50.0), (200, 96, 4.0)], vec![50.0, 54.0]),
        ("started anew a moment before the last point, rises", vec![(100, 1, 5.0), (200, 96, 6.0)], vec![5.0, 6.0]),
        ("suspended, boot time moves", vec![(100, 10, 50.0), (200, 90, 60.0)], vec![50.0, 60.0]),
        ("unknown, falls: reset", vec![(10, 0, 5.0), (20, 0, 4.0), (30, 0, 6.0)], vec![5.0, 9.0, 11.0]),
        ("unknown now", vec![(10, 1, 5.0), (20, 0, 4.0)], vec![5.0, 9.0]),
        ("unknown before, started since", vec![(10, 0, 5.0), (20, 15, 6.0)], vec![5.0, 11.0]),
        ("start after its point is none", vec![(10, 1, 5.0), (20, 25, 6.0), (30, 99, 2.0)], vec![5.0, 6.0, 8.0]),
        ("start before 1970 is none", vec![(10, -5, 5.0), (20, -5, 4.0)], vec![5.0, 9.0]),
        // "True reset point": the start is the point's own time because the true one is unknown.
        ("start at each point's time", vec![(10, 10, 5.0), (20, 20, 7.0), (30, 30, 9.0)], vec![5.0, 7.0, 9.0]),
        (
            "first seen there, then kept",
            vec![(10, 10, 5.0), (20, 10, 7.0), (30, 30, 2.0), (40, 30, 4.0)],
            vec![5.0, 7.0, 9.0, 11.0],
        ),
        (
            "no count",
            vec![(10, 1, 5.0), (20, 1, f64::NAN), (30, 1, -1.0), (40, 1, 8.0)],
            vec![5.0, f64::NAN, f64::NAN, 8.0],
        ),
        ("nothing yet", vec![(10, 1, f64::INFINITY), (20, 1, 4.0)], vec![f64::NAN, 4.0]),
    ] {
        // In seconds.
        let rows: Vec<_> =
            rows.iter().map(|&(time, start, value)| (time * 1_000_000_000, start * 1_000_000_000, value)).collect();
        let bits = |all: &[f64]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&totals(&rows)), bits(&expect), "{name}: {:?}", totals(&rows));
    }
}

proptest! {
    #[test]
    fn totals_never_fall_and_honest_starts_miss_nothing(
        runs in prop::collection::vec(prop::collection::vec((0.0..1e6_f64, 1..50_i64), 1..6), 1..6),
        honest in any::<bool>(),
    ) {
        let (mut rows, mut time, mut increases) = (Vec::new(), 1_000, Vec::new());
        for run in &runs {
            let start = if honest { time } else { 0 };
            let mut value = 0.0;
            for &(more, after) in run {
                (time, value) = (time + after, value + more);
                rows.push((time, start, value));
                increases.push(more);
            }
        }
        let found = totals(&rows);
        prop_assert!(found.is_sorted(), "{found:?}");
        let all: f64 = increases.iter().sum();
        let last = found.last().copied().unwrap_or(0.0);
        if honest {
            prop_assert!((last - all).abs() <= 1e-9 * all, "{last} of {all}");
        }
    }

    #[test]
    fn whatever_comes_totals_never_fall(rows in prop::collection::vec(
        (0..40_i64, prop_oneof![0.0..1e3_f64, 0.0..1e-3_f64, 1e12..1e15_f64]), 1..60,
    )) {
        let rows: Vec<_> = rows.iter().zip(1..).map(|(&(start, value), time)| (time, start, value)).collect();
        prop_assert!(totals(&rows).is_sorted());
    }

    /// Increments of consecutive intervals, delivered in any order, some again and again: each counts once.
    #[test]
    fn each_increment_counts_once(
        lengths in prop::collection::vec((1..9_i64, any::<bool>()), 1..14),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        instants in any::<bool>(),
    ) {
        let mut at = 1_000_000_000;
        let mut points = Vec::new();
        for &(length, adjacent) in &lengths {
            let from = if adjacent { at } else { at + 5_000_000_000 };
            at = from + length * 1_000_000_000;
            points.push(if instants { (at, at) } else { (from, at) });
        }
        let (mut gaps, mut counted) = (Gaps::default(), Counted::NOTHING);
        let mut times = vec![0; points.len()];
        let mut deliver = |n: usize, gaps: &mut Gaps, counted: &mut Counted| {
            let (start, time) = points[n];
            if matches!(gaps.take(7, counted, start, time), Increment::Next | Increment::Late) {
                times[n] += 1;
            }
        };
        for index in &order {
            deliver(index.index(points.len()), &mut gaps, &mut counted);
            // Over a restart.
            let saved = gaps.save();
            gaps.restore(saved);
        }
        // In the end all of them come, newest first.
        (0..points.len()).rev().for_each(|n| deliver(n, &mut gaps, &mut counted));
        prop_assert_eq!(times, vec![1; points.len()]);
    }
}

#[test]
fn late_increments() {
    use Increment::{Again, Late, Next, Untold};
    const S: i64 = 1_000_000_000;
    for (name, rows, expect) in [
        ("a retry", vec![(1, 10), (10, 20), (1, 10), (10, 20)], vec![Next, Next, Again, Again]),
        ("one was left out", vec![(1, 10), (20, 30), (10, 20), (10, 20)], vec![Next, Next, Late, Again]),
        ("older than the first", vec![(10, 20), (1, 10), (1, 10)], vec![Next, Late, Again]),
        ("half of it counted", vec![(1, 10), (20, 30), (5, 15), (10, 20)], vec![Next, Next, Untold, Late]),
        ("no start", vec![(1, 10), (20, 30), (-1, 15)], vec![Next, Next, Untold]),
        ("a longer one covers the gap", vec![(1, 10), (20, 30), (10, 40), (10, 20)], vec![Next, Next, Next, Again]),
        ("first without start", vec![(-1, 10), (1, 5), (20, 30), (10, 20)], vec![Next, Again, Next, Late]),
    ] {
        let (mut gaps, mut counted) = (Gaps::default(), Counted::NOTHING);
        let found: Vec<_> = rows.iter().map(|&(a, b)| gaps.take(1, &mut counted, a * S, b * S)).collect();
        assert_eq!(found, expect, "{name}");
    }
}

#[test]
fn rounded_starts_leave_no_gap_and_old_gaps_are_forgotten() {
    const S: i64 = 1_000_000_000;
    let (mut gaps, mut counted) = (Gaps::default(), Counted::NOTHING);
    for second in 1..100 {
        gaps.take(1, &mut counted, (second - 1) * S + 999_999, second * S);
    }
    assert!(gaps.save().is_empty());
    for second in 100..200 {
        gaps.take(1, &mut counted, second * S - S / 2, second * S);
    }
    assert_eq!(gaps.save()[0].1.between.len(), MOST);
    let early = 110 * S;
    assert_eq!(gaps.take(1, &mut counted, early + S / 8, early + S / 4), Increment::Untold);
    assert_eq!(gaps.take(1, &mut counted, 190 * S + S / 8, 190 * S + S / 4), Increment::Late);
}

#[test]
fn what_was_ahead_is_taken_once() {
    let mut ahead = Ahead::default();
    assert!(!ahead.had(1, 500));
    assert_eq!(ahead.take(1, 500), Increment::Next);
    assert_eq!(ahead.take(1, 500), Increment::Again);
    assert_eq!(ahead.take(1, 400), Increment::Next);
    let saved = ahead.save();
    ahead.restore(saved);
    assert!(!ahead.had(1, 100), "its time has not come");
    assert!(ahead.had(1, 500) && ahead.had(1, 400) && !ahead.had(2, 400));
    assert!(!ahead.had(1, 501));
    assert!(ahead.save().is_empty(), "its time is past");
    for time in 0..100 {
        ahead.take(1, time);
    }
    assert_eq!((ahead.save()[0].1.len(), ahead.take(1, 3)), (MOST, Increment::Untold));
}
