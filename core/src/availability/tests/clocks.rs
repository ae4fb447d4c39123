//! Wrong clocks, retries and buffered heartbeats: what they change and what not.

use super::*;

/// What an agent's clock says at a time, by the number of the beat.
type Dial = Box<dyn Fn(usize, i64) -> i64>;

/// Clocks that are wrong in every way: off, drifting, set once, jumping at each beat.
fn dials(off: i64, set_at: usize, jumps: Vec<i64>) -> Vec<(&'static str, Dial)> {
    vec![
        ("off", Box::new(move |_, time| time + off)),
        ("drifting", Box::new(move |_, time| time + time * off / 2_000)),
        ("set", Box::new(move |n, time| if n < set_at { time } else { time + off })),
        ("corrected", Box::new(move |n, time| if n < set_at { time + off } else { time })),
        ("jumping", Box::new(move |n, time| time + jumps[n % jumps.len()])),
    ]
}

/// Beats that all say the same, at the times of a life, by a clock.
fn by_clock(life: &[(i64, State)], dial: &Dial) -> Agent {
    let mut agent = Agent::default();
    for (n, &(time, _)) in life.iter().enumerate() {
        for now in (time - 300..time).step_by(20) {
            agent.tick(now);
        }
        let own = Own { time: at(dial(n, time)), content: n as u64 };
        agent.beat(Beat { own: Some(own), ..beat(time) }, time);
    }
    agent
}

proptest! {
    #[test]
    fn a_wrong_clock_makes_no_outage_and_hides_none(
        life in life(),
        off in -599_i64..599,
        set_at in 0_usize..80,
        jumps in prop::collection::vec(-599_i64..599, 1..20),
    ) {
        let right: Dial = Box::new(|_, time| time);
        let expect = by_clock(&life, &right).line();
        for (name, dial) in dials(off, set_at, jumps) {
            prop_assert_eq!(&by_clock(&life, &dial).line(), &expect, "{}", name);
        }
    }

    #[test]
    fn a_retry_makes_no_outage_and_hides_none(life in life(), again in prop::collection::vec(0_i64..6, 80)) {
        let beats: Vec<_> = life.iter().map(|&(time, says)| (time, time, says)).collect();
        let expect = live(&beats, true, None).line();
        let twice: Vec<_> = beats.iter().flat_map(|beat| [*beat, *beat]).collect();
        prop_assert_eq!(&live(&twice, true, None).line(), &expect);
        // One that comes seconds later is evidence of then, and may make an outage shorter or none.
        let later: Vec<_> = beats
            .iter()
            .zip(&again)
            .flat_map(|(&(time, received, says), &delay)| [(time, received, says), (time, received + delay, says)])
            .collect();
        let outages = |line: Vec<(i64, i64, State)>| line.into_iter().filter(|one| one.2 == State::Silent);
        for one in outages(live(&later, true, None).line()) {
            prop_assert!(outages(expect.clone()).any(|known| known.1 == one.1), "{:?} is none of {:?}", one, expect);
        }
    }

    #[test]
    fn beats_that_were_buffered_show_that_nothing_was_wrong(
        jitter in prop::collection::vec(-4_i64..5, 60),
        lost in 2_usize..20,
        off in -300_i64..300,
        order in prop_oneof![Just("in order"), Just("newest first"), Just("in two halves")],
    ) {
        let times: Vec<i64> = jitter.iter().zip(0_i64..).map(|(jitter, n)| n * 30 + jitter).collect();
        let send = |agent: &mut Agent, n: usize, received: i64| {
            let own = Own { time: at(times[n] + off), content: n as u64 };
            agent.beat(Beat { own: Some(own), ..beat(0) }, received);
        };
        let mut agent = Agent::default();
        for (n, &time) in times.iter().enumerate().take(25) {
            send(&mut agent, n, time);
        }
        let back = times[25 + lost - 1];
        for now in times[24]..back {
            agent.tick(now);
        }
        let mut buffered: Vec<usize> = (25..25 + lost).collect();
        match order {
            "newest first" => buffered.reverse(),
            "in two halves" => buffered.rotate_left(lost / 2),
            _ => {}
        }
        for n in buffered {
            send(&mut agent, n, back);
        }
        for (n, &time) in times.iter().enumerate().skip(25 + lost) {
            send(&mut agent, n, time);
            agent.tick(time);
        }
        prop_assert_eq!(agent.line(), [(times[0], -1, State::Up)]);
    }
}

#[test]
fn a_clock_set_back_before_the_agent_was_known_makes_no_history() {
    // Declared or not, beaten as declared or faster.
    for (interval, pace) in [(1, 1), (30, 1), (30, 30), (300, 1)] {
        let mut agent = Agent::default();
        for n in 0..12 {
            let time = n * pace;
            let own = Own { time: at(if n < 6 { time } else { time - 300 }), content: 7 };
            agent.beat(Beat { own: Some(own), interval: Some(interval * S), says: Some(State::Up) }, time);
        }
        agent.tick(12 * pace);
        assert_eq!(agent.line(), [(0, -1, State::Up)], "{interval} {pace}");
        assert!(!agent.was_silent);
    }
}

#[test]
fn a_clock_that_stands_still_is_alive_all_the_same() {
    for content in [|_| 0, |second: i64| second as u64] {
        let mut agent = Agent::default();
        for second in (0..900).step_by(30) {
            let own = Own { time: at(0), content: content(second) };
            agent.beat(Beat { own: Some(own), ..beat(0) }, second);
            agent.tick(second + 29);
        }
        assert_eq!(agent.line(), [(0, -1, State::Up)]);
        // And falls silent like any other.
        agent.tick(870 + 151);
        assert_eq!(agent.line(), [(0, 900, State::Up), (900, -1, State::Silent)]);
    }
}

#[test]
fn a_batch_at_the_first_contact_tells_of_the_time_before() {
    let mut agent = Agent::default();
    for second in [-120, -90, -60, -30, 0] {
        agent.beat(beat(second), 1);
    }
    assert_eq!(agent.line(), [(-119, -1, State::Up)]);
    // One beat of long before says nothing of the time between.
    let mut lone = Agent::default();
    lone.beat(beat(0), 0);
    lone.beat(beat(-300), 0);
    assert_eq!(lone.line(), [(0, -1, State::Up)]);
}

#[test]
fn a_buffer_that_covers_part_of_a_silence_leaves_the_rest() {
    let mut agent = Agent::default();
    for second in [0, 30, 60] {
        agent.beat(beat(second), second);
    }
    agent.tick(600);
    let critical = Beat { says: Some(State::Unhealthy), ..beat(480) };
    for one in [beat(450), critical, beat(510), beat(540), beat(570), beat(600)] {
        agent.beat(one, 600);
    }
    let expect = [
        (0, 90, State::Up),
        (90, 450, State::Silent),
        (450, 480, State::Up),
        (480, 510, State::Unhealthy),
        (510, -1, State::Up),
    ];
    assert_eq!(agent.line(), expect);
}

/// How heartbeats (own time, arrival, content) of an agent that declares 30 seconds are judged.
fn judged(beats: &[(f64, f64, u64)]) -> String {
    let mut agent = Agent::default();
    let moment = |seconds: f64| UnixNanos(T0 * S + (seconds * S as f64) as i64);
    let mut word = String::new();
    for &(own, received, content) in beats {
        let own = Own { time: moment(own), content };
        let known = agent.tracker.as_ref();
        let standing = known.map_or(HeartbeatOrder::Newest, |known| known.judge(own, moment(received), 30 * S));
        word.push(match standing {
            HeartbeatOrder::Newest => 'n',
            HeartbeatOrder::Repeated => 'r',
            HeartbeatOrder::Late => 'l',
        });
        let beat = Beat { own: Some(own), ..beat(0) };
        match &mut agent.tracker {
            Some(tracker) => tracker.beat(beat, moment(received), &agent.timing, &mut agent.changes),
            None => {
                agent.tracker = Some(Tracker::new(beat, moment(received), &agent.timing, &mut agent.changes));
            }
        }
    }
    word
}

#[test]
fn which_heartbeat_is_the_newest() {
    for (what, beats, expect) in [
        ("in order", &[(0.0, 0.1, 1), (30.0, 30.1, 2), (60.0, 60.4, 3)][..], "nnn"),
        ("a retry", &[(0.0, 0.1, 1), (30.0, 30.1, 2), (30.0, 35.0, 2), (0.0, 36.0, 1)], "nnrr"),
        ("the same time with other content", &[(0.0, 0.1, 1), (0.0, 0.2, 2)], "nn"),
        ("nine minutes ahead, then right", &[(540.0, 0.0, 1), (0.4, 0.4, 2), (0.8, 0.8, 3), (1.2, 1.2, 4)], "nnnn"),
        ("ahead, then less ahead", &[(540.0, 0.0, 1), (200.0, 0.4, 2), (200.4, 0.8, 3)], "nnn"),
        ("ahead, then behind", &[(540.0, 0.0, 1), (-270.0, 30.0, 2), (-240.0, 60.0, 3)], "nnn"),
        ("set back, as declared", &[(0.0, 0.0, 1), (30.0, 30.0, 2), (-240.0, 60.0, 3), (-210.0, 90.0, 4)], "nnnn"),
        ("set back, faster than declared", &[(0.0, 0.0, 1), (1.0, 1.0, 2), (-298.0, 2.0, 3), (-297.0, 3.0, 4)], "nnln"),
        ("set right", &[(-300.0, 0.0, 1), (-270.0, 30.0, 2), (60.0, 60.0, 3)], "nnn"),
        ("overtaken", &[(0.0, 0.1, 1), (60.0, 60.1, 2), (30.0, 60.2, 3), (90.0, 90.1, 4)], "nnln"),
        ("overtaken, between two", &[(0.0, 0.0, 1), (30.0, 30.0, 2), (90.0, 90.0, 3), (60.0, 110.0, 4)], "nnnl"),
        (
            "buffered, and sent behind the newest",
            &[(0.0, 0.0, 1), (300.0, 300.0, 2), (30.0, 300.1, 3), (60.0, 300.2, 4), (330.0, 330.0, 5)],
            "nnlln",
        ),
        ("buffered, in order", &[(0.0, 0.0, 1), (30.0, 300.0, 2), (60.0, 300.1, 3), (300.0, 300.2, 4)], "nnnn"),
        (
            "jumping",
            &[(0.0, 0.0, 1), (-200.0, 30.0, 2), (400.0, 60.0, 3), (-100.0, 90.0, 4), (120.0, 120.0, 5)],
            "nnnnn",
        ),
    ] {
        assert_eq!(judged(beats), expect, "{what}");
    }
}

#[test]
fn skew_is_robust_and_an_export_proves_only_that_a_clock_is_ahead() {
    let skew = |offsets: &[i64]| {
        let mut clock = Clock::default();
        for (&offset, n) in offsets.iter().zip(0..) {
            let own = Own { time: at(n * 30 + offset), content: n as u64 };
            clock.take(own, at(n * 30), 30 * S, HeartbeatOrder::Newest, None);
        }
        clock.skew().map(|nanos| nanos / S)
    };
    for (offsets, expect) in [
        (&[][..], None),
        (&[-300][..], Some(-300)),
        (&[0, 0, 540, 0, 0][..], Some(0)),
        // One slow way.
        (&[120, 120, -200, 120][..], Some(120)),
        (&[0, 0, 0, 0, 0, 0, -300, -300, -300, -300, -300][..], Some(-300)),
    ] {
        assert_eq!(skew(offsets), expect, "{offsets:?}");
    }
    let mut exporter = Clock::default();
    exporter.exported(0);
    assert_eq!(exporter.skew(), None, "a point may be an interval old");
    for ahead in [90 * S, 0, 90 * S, 95 * S] {
        exporter.exported(ahead);
    }
    assert_eq!(exporter.skew(), Some(90 * S));
    (0..9).for_each(|_| exporter.exported(0));
    assert_eq!(exporter.skew(), None);
}

#[test]
fn alerts_are_judged_at_a_time_that_no_clock_moves() {
    let bound = 60 * S;
    for (own, expect) in [(100, 100), (95, 95), (41, 41), (39, 100), (-500, 100), (101, 100), (700, 100)] {
        assert_eq!(Clock::judged_time(at(own), at(100), bound), at(expect), "{own}");
    }
    assert_eq!((judged_time(at(5), at(9)), judged_time(at(50), at(9))), (at(5), at(9)));
}
