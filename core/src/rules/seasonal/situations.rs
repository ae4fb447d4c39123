//! Made situations, each with what is expected of it: the incident found in its window, or no more findings than the budget.

use super::{SeasonalConfig, SeasonalDetector};

const DAY: i64 = 86_400;
/// Midnight, a Saturday.
const START: i64 = 1_700_006_400 - 3 * DAY;

/// SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform, above 0 and below 1.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A day's rise and fall, -1 at midnight to 1 at noon.
fn sine(day: f64) -> f64 {
    (std::f64::consts::TAU * (day - 0.25)).sin()
}

/// The days, since the start, at which something is found in `days` of values every `step` seconds.
fn found(seed: u64, step: i64, days: f64, value: impl Fn(&mut Random, f64, i64) -> Option<f64>) -> Vec<f64> {
    let mut random = Random(seed);
    let mut detector = SeasonalDetector::new(SeasonalConfig::default());
    let mut found = Vec::new();
    for i in 0..(days * DAY as f64) as i64 / step {
        let (time, day) = (START + i * step, (i * step) as f64 / DAY as f64);
        let Some(value) = value(&mut random, day, time) else { continue };
        if let Some(incident) = detector.judge(0, time * 1_000_000_000, value) {
            assert!(incident.score.is_finite() && incident.score >= 0.0, "{incident:?}");
            assert!(incident.lower <= incident.upper, "{incident:?}");
            found.push(day);
        }
    }
    found
}

type Value = fn(&mut Random, f64, i64) -> Option<f64>;

/// Nothing is wrong: over several series the findings stay within one a series and week.
fn assert_quiet(name: &str, step: i64, days: f64, value: Value) {
    assert_at_most(1.0, name, (step, days), value);
}

fn assert_at_most(a_week: f64, name: &str, (step, days): (i64, f64), value: Value) {
    let series = 4;
    let count: usize = (1..=series).map(|seed| found(seed, step, days, value).len()).sum();
    let weeks = series as f64 * days / 7.0;
    assert!(count as f64 <= a_week * weeks, "{name} every {step} s: {count} findings in {weeks} series-weeks");
}

/// Steps in seconds, and days of values.
const STEPS: [(i64, f64); 8] =
    [(1, 2.0), (10, 7.0), (30, 14.0), (60, 14.0), (300, 28.0), (900, 42.0), (3600, 84.0), (21_600, 280.0)];

/// Something goes wrong at `from`: each of several series finds it before `to`.
fn assert_found(name: &str, step: i64, (from, to): (f64, f64), value: Value) {
    for seed in 1..=3 {
        let days = found(seed, step, to, value);
        assert!(days.iter().any(|&day| day >= from), "{name} every {step} s, seed {seed}: found at {days:?}");
    }
}

#[test]
fn noise_of_any_step_stays_within_the_budget() {
    let noises: [(&str, Value); 6] = [
        ("Gaussian", |r, _, _| Some(50.0 + 5.0 * r.normal())),
        ("Gaussian on a high level", |r, _, _| Some(1e9 + r.normal())),
        ("lognormal", |r, _, _| Some((0.5 * r.normal()).exp())),
        ("uniform", |r, _, _| Some(r.uniform())),
        ("exponential", |r, _, _| Some(-r.uniform().ln())),
        ("two levels", |r, _, _| Some(if r.uniform() < 0.3 { 20.0 } else { 60.0 } + 3.0 * r.normal())),
    ];
    for (step, days) in STEPS {
        for (name, value) in noises {
            assert_quiet(name, step, days, value);
        }
    }
}

#[test]
fn noise_with_heavy_tails_has_at_most_twice_the_budget() {
    // Without a fourth moment, records are broken again and again, and by far.
    let noises: [(&str, Value); 3] = [
        ("lognormal, a factor e for each deviation", |r, _, _| Some(r.normal().exp())),
        ("Pareto, index 3", |r, _, _| Some(r.uniform().powf(-1.0 / 3.0))),
        ("Student t, 3 degrees of freedom", |r, _, _| {
            let squares: f64 = (0..3).map(|_| r.normal().powi(2)).sum();
            Some(20.0 + r.normal() / (squares / 3.0).sqrt())
        }),
    ];
    for (step, days) in STEPS {
        for (name, value) in noises {
            assert_at_most(2.0, name, (step, days), value);
        }
    }
}

#[test]
fn what_is_usual_for_a_series_stays_within_the_budget() {
    let usual: [(&str, Value); 10] = [
        ("daily", |r, d, _| Some(100.0 + 40.0 * sine(d) + 4.0 * r.normal())),
        ("weekly", |r, d, t| {
            let load = if t.rem_euclid(7 * DAY) / DAY < 2 { 0.3 } else { 1.0 };
            Some(20.0 + load * (60.0 + 50.0 * sine(d)) + 4.0 * r.normal())
        }),
        ("nightly job", |r, d, _| Some(if (d.fract() - 0.083).abs() < 0.02 { 80.0 } else { 5.0 } + r.normal())),
        ("job each hour", |r, d, _| Some(if (d * 24.0).fract() < 0.2 { 80.0 } else { 5.0 } + r.normal())),
        ("sawtooth", |r, d, _| Some(30.0 + 40.0 * (d * 3.7).fract() + r.normal())),
        ("constant", |_, _, _| Some(42.0)),
        ("last bit", |r, _, _| Some(42.0 * (1.0 + 4e-16 * (r.uniform() * 3.0).floor()))),
        ("whole numbers", |r, _, _| Some((40.0 + 0.7 * r.normal()).round())),
        ("percent at its limit", |r, d, _| Some((90.0 + 15.0 * sine(d) + 3.0 * r.normal()).min(100.0))),
        ("gaps of a day and a half", |r, d, _| {
            ((d / 5.0).fract() <= 0.7).then(|| 50.0 + 30.0 * sine(d) + 3.0 * r.normal())
        }),
    ];
    for step in [300, 3600] {
        for (name, value) in usual {
            assert_quiet(name, step, 28.0, value);
        }
    }
}

#[test]
fn spikes_and_rare_events_by_nature_fall_silent() {
    // The first ones are news: what counts is that they end.
    let natures: [(&str, Value); 3] = [
        ("spikes", |r, _, _| {
            let spike = if r.uniform() < 0.01 { 20.0 - 20.0 * r.uniform().ln() } else { 0.0 };
            Some(10.0 + r.normal() + spike)
        }),
        ("rare counter", |r, _, _| Some(if r.uniform() < 0.007 { 1.0 + (3.0 * r.uniform()).floor() } else { 0.0 })),
        ("weekly job", |r, _, t| {
            let runs = t.rem_euclid(7 * DAY) / 3600 == 30;
            Some(if runs { 80.0 } else { 5.0 } + r.normal())
        }),
    ];
    for step in [300, 3600] {
        for (name, value) in natures {
            for seed in 1..=3 {
                let count = found(seed, step, 42.0, value).iter().filter(|&&day| day >= 14.0).count();
                assert!(count <= 6, "{name} every {step} s, seed {seed}: {count} findings in four weeks");
            }
        }
    }
}

#[test]
fn levels_that_shift_and_leaks_are_found() {
    let shifts: [(&str, (f64, f64), Value); 5] = [
        ("level", (17.3, 17.6), |r, d, _| Some(if d >= 17.3 { 68.0 } else { 50.0 } + 3.0 * r.normal())),
        ("level of a daily series", (17.3, 17.8), |r, d, _| {
            Some(if d >= 17.3 { 80.0 } else { 50.0 } + 20.0 * sine(d) + 3.0 * r.normal())
        }),
        ("leak", (17.0, 20.0), |r, d, _| Some(50.0 + (d - 17.0).max(0.0) * 15.0 + 3.0 * r.normal())),
        ("outage to zero", (17.3, 17.6), |r, d, _| {
            Some(if d >= 17.3 { 0.0 } else { 100.0 + 40.0 * sine(d) + 4.0 * r.normal() })
        }),
        ("return at ten times the level after a day and a half", (18.5, 18.8), |r, d, _| match d {
            d if d < 17.0 => Some(50.0 + 3.0 * r.normal()),
            d if d < 18.5 => None,
            _ => Some(500.0 + 3.0 * r.normal()),
        }),
    ];
    for (name, window, value) in shifts {
        for step in [60, 300, 3600] {
            assert_found(name, step, window, value);
        }
    }
    let shift: Value = |r, d, _| Some(if d >= 80.0 { 75.0 } else { 50.0 } + 3.0 * r.normal());
    assert_found("level", 21_600, (80.0, 83.0), shift);
    let leak: Value = |r, d, _| Some(50.0 + (d - 80.0).max(0.0) * 8.0 + 3.0 * r.normal());
    assert_found("leak", 21_600, (80.0, 88.0), leak);
}

#[test]
fn what_did_not_happen_is_found() {
    let absences: [(&str, (f64, f64), Value); 3] = [
        ("absent peak", (17.2, 18.1), |r, d, _| {
            let load = if (17.0..18.0).contains(&d) { sine(d).min(-0.2) } else { sine(d) };
            Some(100.0 + 40.0 * load + 4.0 * r.normal())
        }),
        ("job that did not run", (17.05, 17.5), |r, d, _| {
            let runs = (d.fract() - 0.083).abs() < 0.03 && d.floor() != 17.0;
            Some(if runs { 80.0 } else { 5.0 } + r.normal())
        }),
        ("hourly job that did not run", (17.2, 17.5), |r, d, _| {
            let runs = (d * 24.0).fract() < 0.2 && d < 17.2;
            Some(if runs { 80.0 } else { 5.0 } + r.normal())
        }),
    ];
    for (name, window, value) in absences {
        assert_found(name, 300, window, value);
    }
    assert_found(absences[1].0, 60, absences[1].1, absences[1].2);
    // A working day on which it is as on a Sunday.
    assert_found("wrong weekday", 300, (30.2, 31.2), |r, d, t| {
        let weekend = t.rem_euclid(7 * DAY) / DAY < 2 || d.floor() == 30.0;
        Some(20.0 + if weekend { 0.3 } else { 1.0 } * (60.0 + 50.0 * sine(d)) + 4.0 * r.normal())
    });
}

#[test]
fn a_sensor_that_is_stuck_is_found() {
    let stuck: [(&str, Value); 3] = [
        ("noise", |r, d, _| Some(if d >= 17.1 { 51.0 } else { 50.0 + 3.0 * r.normal() })),
        ("daily", |r, d, _| Some(if d >= 17.1 { 40.0 } else { 50.0 + 20.0 * sine(d) + 3.0 * r.normal() })),
        ("whole numbers", |r, d, _| Some(if d >= 17.1 { 50.0 } else { (50.0 + 2.0 * r.normal()).round() })),
    ];
    for (name, value) in stuck {
        assert_found(name, 60, (17.1, 18.0), value);
        assert_found(name, 300, (17.1, 18.1), value);
    }
}

#[test]
fn spikes_and_bursts_beyond_the_usual_are_found() {
    assert_found("burst in a rare counter", 300, (17.3, 17.6), |r, d, _| {
        Some(if r.uniform() < 0.007 { 1.0 } else { 0.0 } + if d >= 17.3 { 30.0 } else { 0.0 })
    });
    assert_found("change of a constant", 300, (17.3, 17.4), |_, d, _| Some(if d >= 17.3 { 43.0 } else { 42.0 }));
    assert_found("noise four times as wide", 300, (17.3, 18.3), |r, d, _| {
        Some(50.0 + if d >= 17.3 { 12.0 } else { 3.0 } * r.normal())
    });
    // Two weeks of an hourly series are 336 values.
    assert_found("spike in a short hourly series", 3600, (9.3, 9.7), |r, d, _| {
        Some(100.0 + 30.0 * sine(d) + 5.0 * r.normal() + if (d - 9.4).abs() < 0.05 { 100.0 } else { 0.0 })
    });
    assert_found("shift in a short hourly series", 3600, (9.3, 10.3), |r, d, _| {
        Some(if d >= 9.3 { 140.0 } else { 100.0 } + 5.0 * r.normal())
    });
}
