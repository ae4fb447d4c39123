//! Logarithm and exponential that give the same bits on every platform: the standard library's differ between the host and
//! WebAssembly in the last place, and a verdict must not depend on where it is made.

const LN_2: f64 = std::f64::consts::LN_2;

/// The natural logarithm of a positive, finite number, to about 1e-14.
pub(super) fn ln(x: f64) -> f64 {
    // A subnormal number is made normal first.
    let (x, scaled) = if x < f64::MIN_POSITIVE { (x * 18_014_398_509_481_984.0, 54.0) } else { (x, 0.0) };
    let bits = x.to_bits();
    let mut exponent = f64::from(u32::try_from((bits >> 52) & 0x7FF).unwrap_or(0)) - 1023.0 - scaled;
    let mut mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); |s| is at most 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    2.0 * s * sum + exponent * LN_2
}

/// `e` to the power `-x` for `x` of 0 or more, to about 1e-14.
pub(super) fn decay(x: f64) -> f64 {
    if x > 700.0 {
        return 0.0;
    }
    let halvings = (x / LN_2).floor();
    let rest = halvings * LN_2 - x;
    let mut sum = 1.0;
    for divisor in [14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + rest / divisor * sum;
    }
    let mut halved = sum;
    let mut left = halvings;
    while left >= 1.0 {
        halved *= 0.5;
        left -= 1.0;
    }
    halved
}

#[cfg(test)]
mod tests {
    use super::{decay, ln};

    #[test]
    fn they_agree_with_the_standard_library() {
        for x in [1e-310, 1e-12, 0.1, 0.5, 0.999, 1.0, 1.0001, 1.4143, 2.0, 10.0, 12_345.678, 1e300] {
            assert!((ln(x) - f64::ln(x)).abs() <= 1e-12 * (1.0 + f64::ln(x).abs()), "ln {x}");
        }
        for x in [0.0_f64, 1e-9, 0.3, 0.7, 1.0, 5.5, 60.0, 699.0] {
            let expected = (-x).exp();
            assert!((decay(x) - expected).abs() <= 1e-12 * expected, "decay {x}");
        }
        assert_eq!(decay(1e9), 0.0);
    }
}
