//! The state of rules as bytes: every number comes back, and damaged bytes are refused.

use proptest::prelude::*;
use vitals_core::rules::pack::{MAX_SERIES, Reader, StateError, Writer};
use vitals_core::rules::rate::{RateConfig, Rates};

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(1);
    write(&mut writer);
    writer.finish()
}

#[test]
fn seven_bits_a_byte_least_significant_first() {
    for (number, bytes) in [
        (0, &[0][..]),
        (1, &[1]),
        (127, &[127]),
        (128, &[0x80, 1]),
        (300, &[0xAC, 2]),
        (16_384, &[0x80, 0x80, 1]),
        (u64::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
    ] {
        assert_eq!(written(|w| w.unsigned(number)), [&[1], bytes].concat(), "{number}");
    }
    // Small numbers of either sign take one byte.
    for (number, byte) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (63, 126), (-64, 127)] {
        assert_eq!(written(|w| w.signed(number)), [1, byte], "{number}");
    }
}

#[test]
fn numbers_at_a_limit_are_refused() {
    for (number, limit, expect) in [(4, 5, Ok(4)), (5, 5, Err(())), (6, 5, Err(())), (0, 0, Err(())), (0, 1, Ok(0))] {
        let bytes = written(|w| w.unsigned(number));
        let found = Reader::new(&bytes, 1).unwrap().below(limit, "count");
        assert_eq!(found.map_err(|said| assert_eq!(said, StateError::Impossible("count"))), expect, "{number} {limit}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(numbers in prop::collection::vec((any::<u64>(), 0_u32..64, any::<i64>(), any::<f64>()), 0..20)) {
        let bytes = written(|w| {
            for &(unsigned, shift, signed, float) in &numbers {
                w.unsigned(unsigned >> shift);
                w.signed(signed >> shift);
                w.float(float);
            }
        });
        let mut reader = Reader::new(&bytes, 1).unwrap();
        for &(unsigned, shift, signed, float) in &numbers {
            prop_assert!(!reader.is_done());
            prop_assert_eq!(reader.unsigned(), Ok(unsigned >> shift));
            prop_assert_eq!(reader.signed(), Ok(signed >> shift));
            prop_assert_eq!(reader.float().map(f64::to_bits), Ok(float.to_bits()));
        }
        prop_assert!(reader.is_done());
        prop_assert_eq!(reader.float(), Err(StateError::Truncated));
    }
}

/// The state of counters: number, time and value of each.
fn counters(rows: &[(u64, i64, f64)]) -> Vec<u8> {
    written(|w| {
        for &(number, time, value) in rows {
            w.unsigned(number);
            w.signed(time);
            w.float(value);
        }
    })
}

#[test]
fn counters_go_on_where_their_state_was_written() {
    let second = 1_000_000_000;
    let mut rates = Rates::new(RateConfig::default());
    for (series, time, value) in [(0, 5, 1.0), (3, 9, 10.0), (2, 4, 100.0)] {
        assert_eq!(rates.step(series, time * second, value), None);
    }
    let mut rates = Rates::restore(RateConfig::default(), &rates.snapshot()).unwrap();
    for (series, time, value, expect) in
        [(2, 14, 120.0, Some(2.0)), (0, 6, 2.5, Some(1.5)), (3, 11, 30.0, Some(10.0)), (1, 6, 1.0, None)]
    {
        assert_eq!(rates.step(series, time * second, value), expect, "{series}");
    }
    assert_eq!(Rates::restore(RateConfig::default(), &[]).unwrap().snapshot(), [1]);
}

#[test]
fn impossible_counters_are_refused() {
    let restore = |state: &[u8]| Rates::restore(RateConfig::default(), state).map(|rates| rates.snapshot());
    assert_eq!(restore(&counters(&[(1, 5, 2.0)])), Ok(counters(&[(1, 5, 2.0)])));
    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(restore(&counters(&[(1, 5, value)])), Err(StateError::Impossible("value")));
    }
    // The largest series number that one may have takes room for all before it, so it is not tried.
    let past = MAX_SERIES as u64;
    assert_eq!(past, 16_777_216);
    assert_eq!(restore(&counters(&[(past, 5, 2.0)])), Err(StateError::Impossible("series number")));
}

#[test]
fn a_gap_is_too_long_above_the_configured_one() {
    for (gap, expect) in [(9, Some(1.0)), (10, Some(1.0)), (11, None)] {
        let mut rates = Rates::new(RateConfig { max_gap_seconds: 10 });
        assert_eq!(rates.step(0, 0, 0.0), None);
        assert_eq!(rates.step(0, gap * 1_000_000_000, gap as f64), expect, "{gap}");
    }
}
