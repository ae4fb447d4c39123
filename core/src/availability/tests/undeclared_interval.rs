//! Agents that declare no interval: it is learned from the gaps between their exports.

use super::*;

/// Exports at these times, with ticks in between, and a restart after every one.
fn exports(times: &[i64]) -> Agent {
    let mut agent = Agent::default();
    for (n, &time) in times.iter().enumerate() {
        if n > 0 {
            for now in (times[n - 1]..time).step_by(10) {
                agent.tick(now);
            }
            let again = serde_value(agent.tracker());
            agent.tracker = Some(again);
        }
        agent.beat(Beat::EXPORT, time);
    }
    agent
}

#[test]
fn an_undeclared_interval_is_learned_and_silence_waited_for_until_then() {
    for interval in [10_i64, 60, 120, 300, 600, 900, 3_600] {
        // Up to a tenth early or late.
        let times: Vec<i64> = (0..40).map(|n| n * interval + (n * 7 % 21 - 10) * interval / 100).collect();
        let mut agent = exports(&times);
        assert!(!agent.was_silent, "{interval}");
        let (last, timing) = (times[39], agent.timing);
        let learned = agent.tracker().interval(&timing) / S;
        assert!((learned - interval).abs() <= interval / 10, "{interval} {learned}");
        // Real silence is noticed soon.
        assert_eq!(agent.tick(last + interval * 3), Some(Liveness::Offline), "{interval}");
        let missed = agent.line()[1].0 - last;
        assert!((missed - interval).abs() <= interval / 10, "{interval} {missed}");
    }
}

#[test]
fn the_wait_for_an_interval_has_an_end() {
    for (times, missed) in [(&[0][..], 60), (&[0, 300][..], 600)] {
        let mut agent = exports(times);
        let last = times[times.len() - 1];
        assert_eq!(agent.tick(last + 7_200), None);
        assert_eq!(agent.tracker().liveness(), Liveness::OnTime);
        assert_eq!(agent.tick(last + 7_201), Some(Liveness::Offline));
        assert_eq!(agent.line(), [(0, missed, State::Up), (missed, -1, State::Silent)]);
    }
}

#[test]
fn several_exporters_are_one_rhythm() {
    // Seconds within a round of five minutes.
    for round in [&[0, 20][..], &[0, 100], &[0, 0, 290], &[0, 10, 20, 30, 40]] {
        let times: Vec<i64> = (0..20).flat_map(|n| round.iter().map(move |second| n * 300 + second)).collect();
        let agent = exports(&times);
        assert_eq!(agent.line(), [(0, -1, State::Up)], "{round:?}");
        // Four equal gaps are an interval, until the fifth is another one.
        assert_eq!(agent.was_silent, round.len() == 5, "{round:?}");
    }
    // One of them each ten seconds.
    let mut times: Vec<i64> = (0..200).map(|n| n * 10).chain((0..7).map(|n| n * 300 + 3)).collect();
    times.sort_unstable();
    let mut agent = exports(&times);
    assert!(!agent.was_silent);
    assert_eq!(agent.tick(1_990 + 60), Some(Liveness::Offline), "who exports each ten seconds is missed soon");
}

#[test]
fn an_interval_that_changes_takes_its_outages_back() {
    let times: Vec<i64> = (0..30).map(|n| n * 10).chain((1..20).map(|n| 290 + n * 300)).collect();
    let agent = exports(&times);
    assert!(agent.was_silent, "the first long gap might have been one");
    assert_eq!(agent.line(), [(0, -1, State::Up)]);
    // A single one is one.
    let times: Vec<i64> = (0..30).map(|n| n * 10).chain((0..30).map(|n| 590 + n * 10)).collect();
    assert_eq!(exports(&times).line(), [(0, 300, State::Up), (300, 590, State::Silent), (590, -1, State::Up)]);
}
