//! The timeline of beats, whatever happens to them on the way.

use super::*;
use crate::live_agents::Liveness;
use proptest::prelude::*;

const S: i64 = UnixNanos::SECOND;
/// A time of day well past the epoch, so that no time is negative.
const T0: i64 = 1_000_000;

fn at(seconds: i64) -> UnixNanos {
    UnixNanos((T0 + seconds) * S)
}

/// A heartbeat whose own time this is.
fn beat(seconds: i64) -> Beat {
    let own = Own { time: at(seconds), content: 0 };
    Beat { own: Some(own), interval: Some(30 * S), says: Some(State::Up) }
}

/// The published intervals of one agent, as a store would keep them.
#[derive(Default)]
struct Agent {
    tracker: Option<Tracker>,
    kept: Vec<Interval>,
    changes: Vec<Interval>,
    timing: Timing,
    /// Whether an outage was ever published, even if it was taken back.
    was_silent: bool,
}

impl Agent {
    fn beat(&mut self, beat: Beat, received: i64) {
        let received = at(received);
        match &mut self.tracker {
            Some(tracker) => tracker.beat(beat, received, &self.timing, &mut self.changes),
            None => self.tracker = Some(Tracker::new(beat, received, &self.timing, &mut self.changes)),
        }
        self.keep();
    }

    fn tick(&mut self, now: i64) -> Option<Liveness> {
        let moved = self.tracker.as_mut()?.tick(at(now), &self.timing, &mut self.changes);
        self.keep();
        moved
    }

    fn tracker(&mut self) -> &mut Tracker {
        self.tracker.as_mut().unwrap()
    }

    fn maintain(&mut self, start: i64, end: i64, now: i64) {
        let tracker = self.tracker.as_mut().unwrap();
        tracker.maintain(at(start), at(end), at(now), &self.timing, &mut self.changes);
        self.keep();
    }

    fn keep(&mut self) {
        for change in self.changes.drain(..) {
            self.was_silent |= change.state == State::Silent && change.end != Some(change.start);
            self.kept.retain(|i| i.start != change.start);
            self.kept.push(change);
        }
    }

    /// (start, end, state) in seconds, joined; -1 is an open end.
    fn line(&self) -> Vec<(i64, i64, State)> {
        let seconds = |time: UnixNanos| time.0 / S - T0;
        merged(&self.kept).iter().map(|i| (seconds(i.start), i.end.map_or(-1, seconds), i.state)).collect()
    }
}

#[test]
fn silence_is_late_then_an_outage_from_the_first_missed_beat() {
    let mut agent = Agent::default();
    for second in [0, 30, 60] {
        agent.beat(beat(second), second);
    }
    assert_eq!(agent.tick(90), None);
    assert_eq!(agent.tick(91), Some(Liveness::Late));
    assert_eq!(agent.tick(120), None);
    assert_eq!(agent.line(), [(0, -1, State::Up)]);
    // Two intervals after the last beat.
    assert_eq!(agent.tick(121), Some(Liveness::Offline));
    assert_eq!(agent.line(), [(0, 90, State::Up), (90, -1, State::Silent)]);
    agent.beat(beat(200), 200);
    assert_eq!(agent.tracker().liveness(), Liveness::OnTime);
    assert_eq!(agent.line(), [(0, 90, State::Up), (90, 200, State::Silent), (200, -1, State::Up)]);
}

#[test]
fn a_beat_within_the_timeout_is_no_outage() {
    let mut agent = Agent::default();
    for second in [0, 30, 60, 119] {
        agent.beat(beat(second), second);
    }
    assert_eq!(agent.line(), [(0, -1, State::Up)]);
}

#[test]
fn a_beat_that_was_held_up_takes_the_outage_back() {
    let mut agent = Agent::default();
    for second in [0, 30, 60] {
        agent.beat(beat(second), second);
    }
    agent.tick(150);
    assert_eq!(agent.line(), [(0, 90, State::Up), (90, -1, State::Silent)]);
    for second in [90, 120, 150] {
        agent.beat(beat(second), 151);
    }
    assert_eq!(agent.line(), [(0, -1, State::Up)]);
}

#[test]
fn critical_health_is_downtime_and_maintenance_is_neither() {
    let mut agent = Agent::default();
    agent.beat(beat(0), 0);
    agent.beat(Beat { says: Some(State::Unhealthy), ..beat(30) }, 30);
    // An export says nothing of health.
    agent.beat(Beat::EXPORT, 45);
    agent.beat(Beat { says: Some(State::Maintenance), ..beat(60) }, 60);
    agent.tick(600);
    assert_eq!(agent.tracker().liveness(), Liveness::Maintenance);
    agent.beat(beat(900), 900);
    let expect = [(0, 30, State::Up), (30, 60, State::Unhealthy), (60, 900, State::Maintenance), (900, -1, State::Up)];
    assert_eq!(agent.line(), expect);
}

#[test]
fn a_window_covers_silence() {
    let mut agent = Agent::default();
    agent.beat(beat(0), 0);
    agent.maintain(20, 300, 1);
    for second in 2..600 {
        agent.tick(second);
    }
    assert_eq!(agent.line(), [(0, 20, State::Up), (20, 300, State::Maintenance), (300, -1, State::Silent)]);
    let mut ahead = Agent::default();
    ahead.beat(beat(0), 0);
    ahead.maintain(20, 300, 1);
    ahead.tick(21);
    assert_eq!(ahead.tracker().liveness(), Liveness::Maintenance);
}

#[test]
fn silence_while_nobody_listened_proves_nothing() {
    let mut agent = Agent::default();
    for second in [0, 30, 60] {
        agent.beat(beat(second), second);
    }
    let mut changes = Vec::new();
    let timing = agent.timing;
    agent.tracker().was_blind(at(70), at(500), &timing, &mut changes);
    agent.changes = changes;
    agent.keep();
    assert_eq!(agent.line(), [(0, 70, State::Up), (500, -1, State::Up)]);
    agent.tick(520);
    assert_eq!(agent.line(), [(0, 70, State::Up), (500, -1, State::Up)]);
    // Still nothing, a timeout after someone listens again.
    agent.tick(561);
    assert_eq!(agent.tracker().liveness(), Liveness::Offline);
    assert_eq!(agent.line(), [(0, 70, State::Up), (500, -1, State::Silent)]);
}

#[test]
fn a_short_restart_leaves_no_trace() {
    let mut agent = Agent::default();
    agent.beat(beat(0), 0);
    let mut changes = Vec::new();
    let timing = agent.timing;
    agent.tracker().was_blind(at(10), at(25), &timing, &mut changes);
    agent.beat(beat(30), 30);
    assert!(changes.is_empty());
    assert_eq!(agent.line(), [(0, -1, State::Up)]);
}

#[test]
fn a_summary_adds_up() {
    let interval = |start, end, state| Interval { start: at(start), end: (end >= 0).then(|| at(end)), state };
    let intervals = [
        interval(100, 200, State::Up),
        interval(200, 260, State::Silent),
        interval(260, 300, State::Unhealthy),
        interval(300, 350, State::Maintenance),
        interval(350, 350, State::Silent),
        interval(350, 400, State::Up),
        interval(400, 420, State::Silent),
        interval(420, -1, State::Up),
    ];
    let summary = summary(&intervals, at(0), at(1_000), at(500));
    assert_eq!(summary.end, at(500));
    assert_eq!(summary.tally, Tally { up: 230 * S, down: 120 * S, maintenance: 50 * S });
    assert_eq!(summary.confidence, 0.8);
    assert_eq!(summary.outages.len(), 2);
    assert_eq!(summary.outages[0], Outage { start: at(200), end: Some(at(300)), cause: State::Silent });
    assert_eq!(summary.mttr, Some(60.0));
    assert_eq!(summary.mtbf, Some(115.0));
    assert_eq!(summary.sessions.len(), 3);
    assert_eq!(summary.downtime.len(), 4);
    // 100 up of 150, against 130 up of 200.
    assert_eq!(summary.trend, Some(Trend::Declining));
    assert_eq!(summary.days.iter().map(|d| d.tally.up).sum::<i64>(), summary.tally.up);
    let nothing = super::summary(&[], at(0), at(100), at(100));
    assert_eq!((nothing.tally.percent(), nothing.mttr, nothing.trend, nothing.confidence), (None, None, None, 0.0));
}

#[test]
fn an_open_outage_counts_up_to_now() {
    let intervals = [
        Interval { start: at(0), end: Some(at(50)), state: State::Up },
        Interval { start: at(50), end: None, state: State::Silent },
    ];
    let summary = summary(&intervals, at(0), at(500), at(100));
    assert_eq!(summary.tally.percent(), Some(50.0));
    assert_eq!(summary.outages, [Outage { start: at(50), end: None, cause: State::Silent }]);
    assert_eq!((summary.mttr, summary.mtbf), (None, Some(50.0)));
}

#[test]
fn days_are_split_at_midnight() {
    let midnight = UnixNanos(20_000 * 86_400 * S);
    let intervals = [Interval { start: midnight.plus(-3_600 * S), end: None, state: State::Up }];
    let summary = summary(&intervals, midnight.plus(-7_200 * S), midnight.plus(1_800 * S), midnight.plus(1_800 * S));
    let up: Vec<i64> = summary.days.iter().map(|d| d.tally.up / S).collect();
    assert_eq!(up, [3_600, 1_800]);
}

/// Gaps of a life: mostly on time, sometimes an outage; and what each beat says.
fn life() -> impl Strategy<Value = Vec<(i64, State)>> {
    let gap = prop_oneof![6 => 25_i64..35, 2 => 35_i64..100, 1 => 100_i64..2_000];
    let says = prop_oneof![6 => Just(State::Up), 1 => Just(State::Unhealthy), 1 => Just(State::Maintenance)];
    prop::collection::vec((gap, says), 1..80).prop_map(|gaps| {
        let mut time = 0;
        gaps.into_iter()
            .map(|(gap, says)| {
                time += gap;
                (time, says)
            })
            .collect()
    })
}

fn live(beats: &[(i64, i64, State)], ticks: bool, restart: Option<usize>) -> Agent {
    let mut agent = Agent::default();
    for (n, &(time, received, says)) in beats.iter().enumerate() {
        if ticks {
            for now in (received - 300..received).step_by(20) {
                agent.tick(now);
            }
        }
        if restart == Some(n) && agent.tracker.is_some() {
            let tracker = agent.tracker().clone();
            let bytes = serde_value(&tracker);
            assert_eq!(bytes, tracker);
            agent.tracker = Some(bytes);
        }
        agent.beat(Beat { says: Some(says), ..beat(time) }, received);
    }
    agent
}

/// There and back through serde.
fn serde_value(tracker: &Tracker) -> Tracker {
    serde_json::from_str(&serde_json::to_string(tracker).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn minutes_add_up_without_overlap(life in life()) {
        let beats: Vec<_> = life.iter().map(|&(time, says)| (time, time, says)).collect();
        let agent = live(&beats, true, None);
        let line = merged(&agent.kept);
        for pair in line.windows(2) {
            prop_assert!(pair[0].end.is_some_and(|end| end <= pair[1].start), "{:?}", agent.line());
        }
        let (first, last) = (life[0].0, life[life.len() - 1].0);
        let tally = Tally::of(&line, at(first), at(last));
        prop_assert_eq!(tally.known(), (last - first) * S, "{:?}", agent.line());
    }

    #[test]
    fn ticks_do_not_change_the_answer(life in life()) {
        let beats: Vec<_> = life.iter().map(|&(time, says)| (time, time, says)).collect();
        prop_assert_eq!(live(&beats, true, None).line(), live(&beats, false, None).line());
    }

    #[test]
    fn a_restart_in_the_middle_does_not_either(life in life(), place in 0_usize..80) {
        let beats: Vec<_> = life.iter().map(|&(time, says)| (time, time, says)).collect();
        let restarted = live(&beats, true, Some(place % life.len()));
        prop_assert_eq!(restarted.line(), live(&beats, true, None).line());
    }
}

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

#[test]
fn a_window_changes_the_past_whatever_it_meets() {
    use State::{Maintenance as M, Silent as D, Up as U};
    let past = [(0, 100, U), (100, 200, D), (200, 300, U), (400, 500, D), (500, -1, U)];
    for (start, end, expect) in [
        (100, 200, &[(0, 100, U), (100, 200, M), (200, 300, U), (400, 500, D), (500, -1, U)][..]),
        (
            150,
            160,
            &[(0, 100, U), (100, 150, D), (150, 160, M), (160, 200, D), (200, 300, U), (400, 500, D), (500, -1, U)],
        ),
        // What is unknown stays so.
        (
            250,
            450,
            &[(0, 100, U), (100, 200, D), (200, 250, U), (250, 300, M), (400, 450, M), (450, 500, D), (500, -1, U)],
        ),
        (-50, 600, &[(0, 300, M), (400, 600, M), (600, -1, U)]),
        (310, 390, &past),
        (700, 700, &past),
    ] {
        let interval = |&(start, end, state): &(i64, i64, State)| Interval {
            start: at(start),
            end: (end >= 0).then(|| at(end)),
            state,
        };
        let mut agent = Agent { kept: past.iter().map(interval).collect(), ..Agent::default() };
        agent.changes = planned_over(&agent.kept, at(start), at(end));
        agent.keep();
        assert_eq!(agent.line(), expect, "{start} {end}");
        assert!(planned_over(&agent.kept, at(start), at(end)).is_empty(), "again it changes nothing");
    }
}

#[test]
fn the_timeout_follows_the_gaps_between_heartbeats_as_they_were_made() {
    for (made, expect) in [
        (&[0.0][..], 3_000),
        (&[0.0, 1.0][..], 2_000),
        (&[0.0, 3.5][..], 3_500),
        (&[0.0, 5.1][..], 5_000),
        (&[0.0, 1.0, 3.0][..], 2_914),
    ] {
        // As they were made, or buffered for a minute and sent together, in either order.
        for (delay, step) in [(0.0_f64, 0.0_f64), (60.0, 0.02), (60.0, -0.02)] {
            let mut agent = Agent::default();
            let moment = |seconds: f64| UnixNanos(T0 * S + (seconds * S as f64) as i64);
            let mut beats: Vec<f64> = made.to_vec();
            if step < 0.0 {
                beats.reverse();
            }
            for (n, &own) in beats.iter().enumerate() {
                let received = if delay > 0.0 { moment(delay + n as f64 * step.abs()) } else { moment(own) };
                let own = Own { time: moment(own), content: 0 };
                let beat = Beat { own: Some(own), interval: Some(S), says: Some(State::Up) };
                match &mut agent.tracker {
                    Some(tracker) => tracker.beat(beat, received, &agent.timing, &mut agent.changes),
                    None => {
                        agent.tracker = Some(Tracker::new(beat, received, &agent.timing, &mut agent.changes));
                    }
                }
                // Exports between them are no heartbeats.
                agent.tracker().beat(Beat::EXPORT, received.plus(1), &Timing::default(), &mut Vec::new());
            }
            let timing = agent.timing;
            assert_eq!(agent.tracker().adaptive_timeout(&timing) / 1_000_000, expect, "{made:?} {delay} {step}");
        }
    }
}
