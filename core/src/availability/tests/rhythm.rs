//! The learned interval where few gaps are known.

use super::*;
use crate::availability::rhythm::{doubt, interval, recurs};

#[test]
fn a_rhythm_not_yet_known_is_waited_for_half_as_long_again() {
    for (gaps, expect) in [(&[][..], 0), (&[100], 150), (&[100, 40], 150), (&[10; 7], 15), (&[10; 8], 0)] {
        assert_eq!(doubt(gaps), expect, "{gaps:?}");
    }
}

#[test]
fn a_gap_recurs_among_three_or_more() {
    assert!(!recurs(&[10, 10], 0));
    assert!(recurs(&[10, 10, 10], 1));
    // Of eight gaps two of one length recur, of nine it takes three.
    let eight = [10, 90, 10, 10, 90, 10, 10, 10].map(|gap| gap * S);
    assert!(recurs(&eight, 1));
    assert_eq!(interval(&eight), Some(90 * S));
    let nine = [10, 90, 10, 10, 90, 10, 10, 10, 10].map(|gap| gap * S);
    assert!(!recurs(&nine, 1));
    assert_eq!(interval(&nine), Some(10 * S));
    // Three in a row are a new rhythm, wherever the gap stands among them.
    let mut many = vec![10 * S; 21];
    many[9..12].fill(90 * S);
    assert!((9..12).all(|at| recurs(&many, at)));
}

#[test]
fn a_time_at_the_bound_is_taken_as_it_is() {
    assert_eq!(Clock::judged_time(at(40), at(100), 60 * S), at(40));
}
