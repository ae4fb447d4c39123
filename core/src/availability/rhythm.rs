//! The interval of evidence that declares none, learned from the gaps.
//!
//! An agent may have several exporters, so that gaps of several lengths come again and again: the longest length that
//! recurs is the interval, since nothing shorter says that something is missing. A length that was seen once may have been
//! an outage.

/// Most gaps that are looked at.
pub(super) const MOST: usize = 21;
/// Fewest gaps from which an interval is learned.
const LEARN_FROM: usize = 3;
/// With fewer gaps than this a long one may be part of a rhythm that has not come again yet.
const YOUNG: usize = 8;
/// Gaps are of one length when the shorter one is at least this many hundredths of the longer one.
const ALIKE: i64 = 75;

/// How many gaps of one length make it recur, among so many.
fn enough(gaps: usize) -> usize {
    let share = gaps.div_ceil(6);
    if gaps < 9 { share.max(2) } else { share.max(3) }
}

fn alike(one: i64, other: i64) -> bool {
    one.min(other) >= one.max(other) / 100 * ALIKE
}

fn mean(gaps: impl Iterator<Item = i64>) -> i64 {
    let (sum, count) = gaps.fold((0_i128, 0_i128), |(sum, count), gap| (sum + i128::from(gap), count + 1));
    i64::try_from(sum / count.max(1)).unwrap_or(i64::MAX)
}

/// The interval that `gaps` (in order of time) show; `None` until they show one.
pub(super) fn interval(gaps: &[i64]) -> Option<i64> {
    if gaps.len() < LEARN_FROM {
        return None;
    }
    let last = &gaps[gaps.len() - LEARN_FROM..];
    let steady = last.iter().all(|gap| last.iter().all(|other| alike(*gap, *other)));
    let steady = steady.then(|| mean(last.iter().copied()));
    let mut sorted = [0; MOST];
    let sorted = &mut sorted[..gaps.len().min(MOST)];
    sorted.copy_from_slice(&gaps[gaps.len() - sorted.len()..]);
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    let of_length = |longest: i64| gaps.iter().copied().filter(move |gap| *gap <= longest && alike(*gap, longest));
    let recurring = sorted.iter().find(|longest| of_length(**longest).count() >= enough(gaps.len()));
    steady.max(recurring.map(|longest| mean(of_length(*longest))))
}

/// The silence that may be part of a rhythm not yet known: half as long again as the longest gap; 0 once there are gaps
/// enough to know.
pub(super) fn doubt(gaps: &[i64]) -> i64 {
    if gaps.len() >= YOUNG {
        return 0;
    }
    gaps.iter().copied().max().map_or(0, |longest| longest.saturating_add(longest / 2))
}

/// Whether the gap at `at` is one of many of its length, so that it was no outage.
pub(super) fn recurs(gaps: &[i64], at: usize) -> bool {
    let gap = gaps[at];
    if gaps.len() < LEARN_FROM {
        return false;
    }
    let in_a_row =
        |from: usize| gaps.get(from..from + LEARN_FROM).is_some_and(|run| run.iter().all(|g| alike(*g, gap)));
    let all = gaps.iter().filter(|other| alike(**other, gap)).count();
    all >= enough(gaps.len()) || (at.saturating_sub(LEARN_FROM - 1)..=at).any(in_a_row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_length_that_recurs() {
        for (gaps, expect) in [
            (&[][..], None),
            (&[300, 300][..], None),
            (&[300, 310, 290][..], Some(300)),
            (&[10, 10, 10, 800, 10, 10][..], Some(10)),
            // Two exporters, twenty seconds apart.
            (&[20, 280, 20, 280][..], Some(280)),
            // Five exporters, one after the other.
            (&[10, 10, 10, 10, 260, 10, 10, 10, 10, 260, 10, 10, 10, 10, 260, 10, 10, 10][..], Some(260)),
            // A new interval, by its third time, in either direction as soon as it is the usual one.
            (&[10, 10, 10, 10, 10, 10, 10, 10, 10, 300, 300][..], Some(10)),
            (&[10, 10, 10, 10, 10, 10, 10, 10, 10, 300, 300, 300][..], Some(300)),
            (&[300, 300, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10][..], Some(10)),
            // Two outages in twenty minutes are no rhythm.
            (&[10, 10, 10, 10, 10, 10, 10, 700, 10, 10, 10, 750, 10, 10][..], Some(10)),
        ] {
            assert_eq!(interval(gaps), expect, "{gaps:?}");
        }
    }

    #[test]
    fn a_gap_among_its_like_was_no_outage() {
        let changed = [10, 10, 10, 10, 10, 10, 10, 10, 10, 100, 10, 300, 310, 290];
        let recurring: Vec<usize> = (0..changed.len()).filter(|at| recurs(&changed, *at)).collect();
        assert_eq!(recurring, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13], "the 100 seconds stay an outage");
        assert!(!recurs(&[600, 10], 0));
    }
}
