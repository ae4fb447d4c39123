//! The timeline of beats, whatever happens to them on the way.

use super::*;
use crate::live_agents::Liveness;
use proptest::prelude::*;

mod clocks;
mod rhythm;
mod tracker;
mod undeclared_interval;

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
