//! Numbers as ProtoJSON and the Collector write them: as JSON numbers or as strings.

/// A whole number within `i64` and `u64` together; with a fraction of zeros or an exponent too.
pub fn whole(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if integer.is_empty() && fraction.is_empty() || mantissa.ends_with('.') {
        return None;
    }
    // Where the point is after the exponent moved it, counted in digits from the first.
    let point = i64::try_from(integer.len()).ok()? + i64::from(exponent);
    let mut value = 0_i128;
    let mut place = 0_i64;
    for digit in integer.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        if place < point {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
        place += 1;
    }
    while place < point && value != 0 {
        value = value.checked_mul(10)?;
        place += 1;
    }
    Some(if negative { -value } else { value })
}

/// A double: a number within its range, or one of the names of what is not finite.
pub fn double(text: &str) -> Option<f64> {
    let number = text.parse::<f64>().ok()?;
    // The names have letters only; digits that come out as infinite are out of range.
    let written_out = text.bytes().any(|byte| byte.is_ascii_digit());
    (number.is_finite() || !written_out).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, expect) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("5.0", Some(5)),
            ("1e3", Some(1_000)),
            ("1.5E1", Some(15)),
            ("-25e-1", None),
            ("250e-1", Some(25)),
            ("0e999999999", Some(0)),
            ("1e999999999", None),
            ("1e-999999999", None),
            ("9223372036854775807", Some(i64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("1.8446744073709551615e19", Some(u64::MAX.into())),
            ("5.5", None),
            ("", None),
            (" 5", None),
            ("-", None),
            ("5.", None),
            ("0x10", None),
            ("five", None),
            ("--5", None),
        ] {
            assert_eq!(whole(text), expect, "{text:?}");
        }
    }

    #[test]
    fn doubles() {
        for (text, expect) in [
            ("NaN", Some(f64::NAN)),
            ("Infinity", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            // As Go writes and reads them.
            ("+Inf", Some(f64::INFINITY)),
            ("2.5e3", Some(2_500.0)),
            // Read to the last bit: a shorter way would take it for ...107.2.
            ("1952698373875107.0", Some(1_952_698_373_875_107.0)),
            ("1e400", None),
            ("-1e400", None),
            ("", None),
            (" 1", None),
            ("one", None),
        ] {
            assert_eq!(double(text).map(f64::to_bits), expect.map(f64::to_bits), "{text:?}");
        }
    }
}
