//! Properties of the detector: fixed room, finite scores, and nothing that depends on where the state was saved.

use super::situations::Random;
use super::{BYTES_PER_SERIES, Incident, SeasonalConfig, SeasonalDetector};
use proptest::prelude::*;

const S: i64 = 1_000_000_000;

fn detector() -> SeasonalDetector {
    SeasonalDetector::new(SeasonalConfig::default())
}

/// Rows of three series with spikes, shifts, standstills, gaps and values that are no numbers, five minutes apart.
fn rows(seed: u64, count: i64) -> Vec<(u32, i64, f64)> {
    let mut random = Random(seed);
    let mut rows = Vec::new();
    for i in 0..count {
        for series in 0..3 {
            let value = match (random.uniform() * 300.0) as u32 {
                0 => 1e3 * random.uniform(),
                1 => f64::NAN,
                2 => f64::INFINITY,
                3 => continue,
                _ if i % 900 > 850 => 7.0,
                _ => 10.0 + random.normal() + if i % 1300 > 1100 { 20.0 } else { 0.0 },
            };
            rows.push((series, 1_700_000_000 * S + i * 300 * S, value));
        }
    }
    rows
}

fn judge(detector: &mut SeasonalDetector, rows: &[(u32, i64, f64)]) -> Vec<(u32, i64, Incident)> {
    let judged = rows.iter().map(|&(series, time, value)| (series, time, detector.judge(series, time, value)));
    judged.filter_map(|(series, time, found)| Some((series, time, found?))).collect()
}

#[test]
fn a_series_takes_four_kilobytes_in_memory_and_as_much_in_a_snapshot() {
    const { assert!(BYTES_PER_SERIES <= 4096) };
    let mut one = detector();
    let mut random = Random(3);
    for i in 0..30_000 {
        one.judge(0, i * 300 * S, random.normal());
    }
    assert!(one.snapshot().len() <= 4096, "{}", one.snapshot().len());
}

#[test]
fn a_spike_is_one_finding_with_what_was_expected() {
    let mut one = detector();
    let mut random = Random(5);
    // Two weeks of noise may hold two findings, the budget of one a week.
    let noise = (0..4000).filter_map(|i| one.judge(0, i * 300 * S, 50.0 + random.normal())).count();
    assert!(noise <= 2, "{noise}");
    let found = one.judge(0, 4000 * 300 * S, 90.0).expect("a spike");
    assert!(found.lower > 40.0 && found.lower < 50.0 && found.upper > 50.0 && found.upper < 60.0, "{found:?}");
    assert!(found.score > 23.0 && found.score < 1e4 && found.values == 4000, "{found:?}");
    // What goes on is the same incident.
    for i in 4001..4050 {
        assert_eq!(one.judge(0, i * 300 * S, 90.0 + random.normal()), None, "{i}");
    }
    // Something much stranger is not.
    assert!(one.judge(0, 4050 * 300 * S, 1e6).is_some());
}

#[test]
fn nan_and_infinities_are_neither_judged_nor_kept() {
    let mut one = detector();
    let before = one.snapshot();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(one.judge(0, 0, value), None);
    }
    assert_eq!(one.snapshot(), before);
}

#[test]
fn closing_forgets() {
    let mut one = detector();
    judge(&mut one, &rows(1, 50));
    (0..3).for_each(|series| one.close(series));
    one.close(99);
    assert_eq!(one.snapshot(), detector().snapshot());
}

#[test]
fn a_smaller_budget_says_less() {
    let count = |alarms_per_series_week| {
        let mut one = SeasonalDetector::new(SeasonalConfig { alarms_per_series_week });
        judge(&mut one, &rows(11, 8000)).len()
    };
    let (few, usual, many) = (count(0.05), count(1.0), count(20.0));
    assert!(few < usual && usual < many, "{few} {usual} {many}");
}

#[test]
fn impossible_configurations_are_named() {
    for bad in [0.0, -1.0, 101.0, f64::NAN, f64::INFINITY] {
        let error = SeasonalConfig { alarms_per_series_week: bad }.check().expect_err("bad");
        assert!(error.contains("alarms_per_series_week"), "{error}");
    }
    assert_eq!(SeasonalConfig::default().check(), Ok(()));
}

#[test]
fn damaged_states_are_refused() {
    let mut one = detector();
    judge(&mut one, &rows(2, 3000));
    let state = one.snapshot();
    let restore = |state: &[u8]| SeasonalDetector::restore(SeasonalConfig::default(), state);
    assert!(restore(&[]).is_ok());
    assert!(restore(&[9]).is_err());
    // Where one series ends, a shorter state is whole.
    let whole = (1..state.len()).filter(|&end| restore(&state[..end]).is_ok()).count();
    assert!(whole <= 3, "{whole}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_restart_anywhere_changes_nothing(seed in any::<u64>(), cuts in prop::collection::vec(0_usize..9000, 0..4)) {
        let rows = rows(seed, 3000);
        let mut whole = detector();
        let expected = judge(&mut whole, &rows);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.sort_unstable();
        cuts.push(rows.len());
        let (mut from, mut found, mut restarted) = (0, Vec::new(), detector());
        for cut in cuts {
            found.extend(judge(&mut restarted, &rows[from..cut]));
            from = cut;
            let state = restarted.snapshot();
            restarted = SeasonalDetector::restore(SeasonalConfig::default(), &state).expect("its own snapshot");
            prop_assert_eq!(restarted.snapshot(), state);
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_values_and_times_give_finite_scores(
        rows in prop::collection::vec((any::<i64>(), any::<f64>()), 0..400), small in prop::collection::vec(-5_i32..5, 0..400),
    ) {
        let mut one = detector();
        for (time, value) in rows {
            if let Some(found) = one.judge(0, time, value) {
                prop_assert!(found.score.is_finite() && found.score >= 0.0);
            }
        }
        for (value, i) in small.into_iter().zip(0..) {
            if let Some(found) = one.judge(1, i * 600 * S, f64::from(value) * 1e300) {
                prop_assert!(found.score.is_finite() && found.lower.is_finite() && found.upper.is_finite());
            }
        }
        let state = one.snapshot();
        prop_assert!(SeasonalDetector::restore(SeasonalConfig::default(), &state).is_ok());
    }
}
