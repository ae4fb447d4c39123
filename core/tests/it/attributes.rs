//! Attributes with their types, times at the ends of their range, and partitions.

use vitals_core::attributes::{Attributes, codes};
use vitals_core::ids::{AgentId, Partition, UnixNanos};

fn attributes(pairs: &[(&str, &str)], types: &str, mended: u64) -> Attributes {
    Attributes::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), types, mended)
}

#[test]
fn every_type_has_a_name() {
    for (code, name) in [
        ("b", "boolean"),
        ("i", "int"),
        ("d", "double"),
        ("y", "bytes"),
        ("x", "index"),
        ("e", "empty"),
        (".", "cut"),
        ("[]", "array()"),
        ("{}", "map()"),
        ("[si]", "array(string, int)"),
        ("{s[b]{d}}", "map(string, array(boolean), map(double))"),
    ] {
        let found: Vec<_> = attributes(&[("k", "v")], code, 0).types().map(|(k, n)| (k.to_owned(), n)).collect();
        assert_eq!(found, [("k".to_owned(), name.to_owned())], "{code}");
    }
    assert_eq!(attributes(&[("k", "v")], "s", 0).types().count(), 0);
}

#[test]
fn codes_side_by_side_are_told_apart() {
    for (types, expect) in [
        ("", &[][..]),
        ("sid", &["s", "i", "d"]),
        ("[si]b", &["[si]", "b"]),
        ("{[i][d]}{}s", &["{[i][d]}", "{}", "s"]),
        // What is not closed is none.
        ("s[i", &["s"]),
    ] {
        assert_eq!(codes(types).collect::<Vec<_>>(), expect, "{types}");
    }
}

#[test]
fn a_value_is_found_by_its_key_unless_it_is_empty() {
    let all = attributes(&[("a", "1"), ("b", ""), ("c", "3")], "", 0);
    assert_eq!((all.value("a"), all.value("b"), all.value("c"), all.value("d")), (Some("1"), None, Some("3"), None));
    assert_eq!(all.len(), 3);
}

#[test]
fn strings_that_were_no_utf_8_are_kept_apart() {
    let (first, second) = (attributes(&[("a", "\u{FFFD}")], "", 7), attributes(&[("a", "\u{FFFD}")], "", 8));
    assert_eq!((first.mended(), second.mended(), attributes(&[], "", 0).mended()), (7, 8, 0));
    assert_ne!(first, second);
}

#[test]
fn moments_stop_at_the_ends_of_their_range() {
    let (first, last) = (UnixNanos(i64::MIN), UnixNanos(i64::MAX));
    assert_eq!((last.plus(1), first.plus(-1), UnixNanos(5).plus(-7)), (last, first, UnixNanos(-2)));
    assert_eq!((UnixNanos(5).since(UnixNanos(7)), UnixNanos(7).since(UnixNanos(5))), (-2, 2));
    assert_eq!((last.since(first), first.since(last)), (i64::MAX, i64::MIN));
}

/// A log that is on disk is read by the partitions that it was written with.
#[test]
fn agents_spread_over_partitions_and_stay_there() {
    for count in 1..=16 {
        let mut agents = vec![0; count as usize];
        for agent in 0..4_000 {
            agents[Partition::of(AgentId(agent), count).0 as usize] += 1;
        }
        let fair = 4_000 / count;
        assert!(agents.iter().all(|&found| found > fair / 2 && found < fair * 2), "{count}: {agents:?}");
    }
    assert_eq!(Partition::of(AgentId(7), 0), Partition(0));
    let places: Vec<u32> = (0..8).map(|agent| Partition::of(AgentId(agent), 4).0).collect();
    assert_eq!(places, [0, 3, 2, 2, 1, 1, 0, 0]);
}
