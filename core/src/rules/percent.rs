//! Percentages that stay within 0..=100, whatever rounding does.

/// `part` of `all` in percent, 0..=100; `None` when `all` is not above 0 or one of them is NaN.
///
/// The whole is exactly 100: `100 * x / x` may round to 100.00000000000001 or to just below 100.
#[must_use]
pub fn percent(part: f64, all: f64) -> Option<f64> {
    if part.is_nan() || all.is_nan() || all <= 0.0 {
        return None;
    }
    if part >= all {
        return Some(100.0);
    }
    let scaled = 100.0 * part;
    Some(bounded(if scaled.is_finite() { scaled / all } else { part / all * 100.0 }))
}

/// The nearest percentage in 0..=100; 0 for -0 and NaN.
#[must_use]
pub fn bounded(percent: f64) -> f64 {
    if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) + 0.0 }
}

#[cfg(test)]
mod tests {
    use super::{bounded, percent};
    use proptest::prelude::*;

    #[test]
    fn at_the_bounds() {
        for (part, all, expect) in [
            (0.0, 0.0, None),
            (1.0, 0.0, None),
            (1.0, -1.0, None),
            (f64::NAN, 1.0, None),
            (1.0, f64::NAN, None),
            (0.0, 10.0, Some(0.0)),
            (-0.0, 10.0, Some(0.0)),
            (-1.0, 10.0, Some(0.0)),
            (11.0, 10.0, Some(100.0)),
            (6.0, 11.0, Some(600.0 / 11.0)),
            (f64::MAX / 2.0, f64::MAX, Some(50.0)),
            (1.0, f64::INFINITY, Some(0.0)),
        ] {
            let found = percent(part, all);
            assert_eq!(found, expect, "{part} of {all}");
            assert!(found.is_none_or(f64::is_sign_positive), "{part} of {all}");
        }
        assert!(bounded(-0.0).is_sign_positive());
        assert_eq!([bounded(100.000_000_000_000_01), bounded(-1.0), bounded(f64::NAN)], [100.0, 0.0, 0.0]);
    }

    proptest! {
        /// Also at the lengths where `100 * x / x` is not 100.
        #[test]
        fn never_outside(all in 1_i64..i64::MAX, lack in 0_i64..1_000) {
            #[allow(clippy::cast_precision_loss)]
            let (part, all) = ((all - lack.min(all)) as f64, all as f64);
            let found = percent(part, all).unwrap();
            prop_assert!((0.0..=100.0).contains(&found), "{part} of {all} is {found}");
            prop_assert_eq!(percent(all, all), Some(100.0));
        }
    }
}
