//! The tracker one call at a time: what is handed out, and when something is due.

use super::*;

/// A tracker, the intervals it has handed out, and whether the last call handed out any.
struct Line {
    tracker: Tracker,
    kept: Vec<Interval>,
    handed_out: usize,
    timing: Timing,
}

impl Line {
    fn new(first: Beat) -> Self {
        let (timing, mut changes) = (Timing::default(), Vec::new());
        let tracker = Tracker::new(first, at(0), &timing, &mut changes);
        let mut line = Self { tracker, kept: Vec::new(), handed_out: 0, timing };
        line.keep(changes);
        line
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Tracker, &Timing, &mut Vec<Interval>) -> T) -> T {
        let mut changes = Vec::new();
        let result = act(&mut self.tracker, &self.timing, &mut changes);
        self.keep(changes);
        result
    }

    fn keep(&mut self, changes: Vec<Interval>) {
        self.handed_out = changes.len();
        for change in changes {
            self.kept.retain(|known| known.start != change.start);
            self.kept.push(change);
        }
    }

    fn beat(&mut self, beat: Beat, second: i64) {
        self.act(|tracker, timing, changes| tracker.beat(beat, at(second), timing, changes));
    }

    fn tick(&mut self, second: i64) -> Option<Liveness> {
        self.act(|tracker, timing, changes| tracker.tick(at(second), timing, changes))
    }

    fn maintain(&mut self, from: i64, to: i64, now: i64) {
        self.act(|tracker, timing, changes| tracker.maintain(at(from), at(to), at(now), timing, changes));
    }

    fn cut_short(&mut self, from: i64, to: i64, now: i64) {
        self.act(|tracker, timing, changes| tracker.cut_short(at(from), at(to), at(now), timing, changes));
    }

    fn was_blind(&mut self, from: i64, to: i64) {
        self.act(|tracker, timing, changes| tracker.was_blind(at(from), at(to), timing, changes));
    }

    /// (start, end, state) in seconds, joined; -1 is an open end.
    fn line(&self) -> Vec<(i64, i64, State)> {
        let seconds = |time: UnixNanos| time.0 / S - T0;
        merged(&self.kept).iter().map(|i| (seconds(i.start), i.end.map_or(-1, seconds), i.state)).collect()
    }
}

/// A beat without a clock, each 30 seconds.
fn plain(says: State) -> Beat {
    Beat { own: None, interval: Some(30 * S), says: Some(says) }
}

#[test]
fn a_beat_that_changes_nothing_hands_out_nothing() {
    let mut line = Line::new(plain(State::Up));
    assert_eq!(line.handed_out, 1);
    for second in [30, 60, 60, 90] {
        line.beat(plain(State::Up), second);
        assert_eq!(line.handed_out, 0, "{second}");
    }
    line.beat(plain(State::Unhealthy), 120);
    assert!(line.handed_out > 0);
    assert_eq!(line.line(), [(0, 120, State::Up), (120, -1, State::Unhealthy)]);
}

#[test]
fn a_beat_out_of_order_is_put_where_it_belongs() {
    let mut line = Line::new(plain(State::Up));
    line.beat(plain(State::Up), 60);
    line.beat(plain(State::Unhealthy), 30);
    assert_eq!(line.line(), [(0, 30, State::Up), (30, 60, State::Unhealthy), (60, -1, State::Up)]);
    // Of one moment the later word holds; the same word again changes nothing.
    line.beat(plain(State::Maintenance), 30);
    assert_eq!(line.line(), [(0, 30, State::Up), (30, 60, State::Maintenance), (60, -1, State::Up)]);
    line.beat(plain(State::Maintenance), 30);
    assert_eq!(line.handed_out, 0);
    line.beat(Beat { says: None, ..plain(State::Up) }, 30);
    assert_eq!((line.handed_out, line.tracker.last_contact()), (0, at(60)));
}

#[test]
fn what_is_settled_is_not_changed_by_a_beat_out_of_order() {
    let mut line = Line::new(plain(State::Up));
    for n in 1..60 {
        line.beat(plain(State::Up), n * 30);
    }
    let settled = line.tracker.unsettled_from();
    assert_eq!(settled, at(0), "the piece that runs began there");
    line.beat(plain(State::Unhealthy), 45);
    assert_eq!((line.handed_out, line.line()), (0, vec![(0, -1, State::Up)]));
    // Among the beats that are remembered it counts.
    line.beat(plain(State::Unhealthy), 58 * 30 + 15);
    assert_eq!(line.line().len(), 3, "{:?}", line.line());
}

#[test]
fn the_settled_part_moves_on_and_memory_stays_bounded() {
    let mut line = Line::new(plain(State::Up));
    let mut longest = 0;
    for n in 1..200 {
        line.beat(plain(if n % 2 == 0 { State::Up } else { State::Unhealthy }), n * 30);
        longest = longest.max(serde_json::to_string(&line.tracker).unwrap().len());
    }
    let settled = line.tracker.unsettled_from();
    assert!(settled > at(170 * 30) && settled < at(199 * 30), "{settled:?}");
    let now = serde_json::to_string(&line.tracker).unwrap().len();
    assert!(now <= longest && longest < 10_000, "{now} of {longest}");
    assert_eq!(line.line().len(), 200);
}

#[test]
fn windows_and_times_without_a_listener_are_forgotten_when_they_are_settled() {
    let mut line = Line::new(plain(State::Up));
    let size = |line: &Line| serde_json::to_value(&line.tracker).unwrap();
    line.maintain(10, 20, 1);
    line.was_blind(22, 25);
    line.maintain(100_000, 100_010, 26);
    for n in 1..60 {
        line.beat(plain(State::Up), n * 30);
    }
    let state = size(&line);
    let to_come = serde_json::to_value(vec![(at(100_000), at(100_010))]).unwrap();
    assert_eq!(state["windows"], to_come, "the one that is to come stays");
    assert_eq!(state["blind"].as_array().map(Vec::len), Some(0));
    assert_eq!(line.line()[..2], [(0, 10, State::Up), (10, 20, State::Maintenance)]);
}

#[test]
fn a_window_taken_back_ends_now_or_never_was() {
    let mut over = Line::new(plain(State::Up));
    over.maintain(10, 1_000, 1);
    over.tick(11);
    assert_eq!(over.tracker.liveness(), Liveness::Maintenance);
    over.beat(plain(State::Up), 30);
    over.cut_short(10, 1_000, 40);
    assert_eq!(over.line(), [(0, 10, State::Up), (10, 40, State::Maintenance), (40, -1, State::Up)]);
    assert_eq!(over.tracker.liveness(), Liveness::OnTime);
    // Before it began nothing is left of it; at its very beginning neither.
    for now in [5, 10] {
        let mut ahead = Line::new(plain(State::Up));
        ahead.maintain(10, 1_000, 1);
        ahead.cut_short(10, 1_000, now);
        ahead.beat(plain(State::Up), 30);
        ahead.tick(31);
        assert_eq!(ahead.line(), [(0, -1, State::Up)], "{now}");
        assert_eq!(serde_json::to_value(&ahead.tracker).unwrap()["windows"].as_array().map(Vec::len), Some(0), "{now}");
    }
    // One that is over stays as long as it was, and one that is not known changes nothing.
    let mut past = Line::new(plain(State::Up));
    past.maintain(10, 20, 1);
    past.beat(plain(State::Up), 30);
    past.cut_short(10, 20, 40);
    past.cut_short(11, 20, 40);
    assert_eq!(past.handed_out, 0);
    assert_eq!(past.line(), [(0, 10, State::Up), (10, 20, State::Maintenance), (20, -1, State::Up)]);
    past.cut_short(10, 30, 40);
    assert_eq!(past.line()[1], (10, 20, State::Maintenance), "another window of the same start");
}

#[test]
fn empty_windows_and_windows_twice_change_nothing() {
    let mut line = Line::new(plain(State::Up));
    line.maintain(50, 50, 1);
    line.maintain(60, 50, 1);
    line.was_blind(50, 50);
    let state = serde_json::to_value(&line.tracker).unwrap();
    assert_eq!(
        (state["windows"].as_array().map(Vec::len), state["blind"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
    line.maintain(50, 60, 1);
    line.maintain(50, 60, 1);
    let state = serde_json::to_value(&line.tracker).unwrap();
    assert_eq!(state["windows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn nothing_is_due_before_something_can_change() {
    let mut line = Line::new(plain(State::Up));
    for (now, due) in [(0, false), (30, false), (31, true)] {
        assert_eq!(line.tracker.is_due(at(now)), due, "{now}: a beat is overdue after its interval");
    }
    assert_eq!(line.tick(31), Some(Liveness::Late));
    // The timeout of a single beat is three intervals.
    for (now, due) in [(90, false), (91, true)] {
        assert_eq!(line.tracker.is_due(at(now)), due, "{now}: silence after the timeout");
    }
    assert_eq!(line.tick(91), Some(Liveness::Offline));
    assert!(!line.tracker.is_due(at(1_000_000)), "what is offline stays so until a beat comes");
    // A window is due at its beginning and at its end.
    line.maintain(2_000, 3_000, 100);
    for (now, due) in [(1_999, false), (2_000, true)] {
        assert_eq!(line.tracker.is_due(at(now)), due, "{now}");
    }
    assert_eq!(line.tick(2_000), Some(Liveness::Maintenance));
    assert!(line.tracker.is_due(at(3_000)));
    assert_eq!(line.tick(3_000), Some(Liveness::Offline));
}

#[test]
fn evidence_close_together_is_one_beat() {
    // An export within a second of the last one, and a heartbeat within half of a short interval.
    for (interval, second_beat, is_one) in [
        (None, S - 1, true),
        (None, S, false),
        (Some(S), S / 2 - 1, true),
        (Some(S), S / 2, false),
        (Some(30 * S), S - 1, true),
    ] {
        let beat = Beat { own: None, interval, says: None };
        let mut line = Line::new(beat);
        line.act(|tracker, timing, changes| tracker.beat(beat, at(0).plus(second_beat), timing, changes));
        let beats = serde_json::to_value(&line.tracker).unwrap()["beats"].as_array().map(Vec::len);
        assert_eq!(beats, Some(if is_one { 1 } else { 2 }), "{interval:?} {second_beat}");
        assert_eq!(line.tracker.last_contact(), at(0).plus(second_beat), "it is heard of all the same");
    }
    // News is a beat of its own, however close: another word, or another interval.
    for news in [plain(State::Unhealthy), Beat { interval: Some(60 * S), ..plain(State::Up) }] {
        let mut line = Line::new(plain(State::Up));
        line.act(|tracker, timing, changes| tracker.beat(news, at(0).plus(1), timing, changes));
        assert_eq!(serde_json::to_value(&line.tracker).unwrap()["beats"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn a_retry_is_evidence_of_life_and_a_beat_when_one_was_due() {
    let mut line = Line::new(beat(0));
    line.beat(beat(30), 30);
    for (second, beats) in [(44, 2), (45, 3)] {
        let mut one = Line { tracker: line.tracker.clone(), kept: line.kept.clone(), ..Line::new(beat(0)) };
        one.beat(beat(30), second);
        let found = serde_json::to_value(&one.tracker).unwrap()["beats"].as_array().map(Vec::len);
        assert_eq!((found, one.handed_out), (Some(beats), 0), "{second}");
        assert_eq!(one.tracker.last_contact(), at(second));
    }
    // It ends an outage, from its arrival on.
    line.tick(200);
    line.beat(beat(30), 210);
    assert_eq!(line.line(), [(0, 60, State::Up), (60, 210, State::Silent), (210, -1, State::Up)]);
}

#[test]
fn the_agents_clock_is_told_by_heartbeats_and_by_exports() {
    let mut beats = Line::new(beat(90));
    assert_eq!(beats.tracker.skew(), Some(90 * S));
    beats.beat(beat(121), 30);
    beats.beat(beat(152), 60);
    assert_eq!(beats.tracker.skew(), Some(91 * S));
    let mut exports = Line::new(Beat::EXPORT);
    assert_eq!(exports.tracker.skew(), None);
    exports.tracker.exported(7 * S);
    assert_eq!(exports.tracker.skew(), Some(7 * S));
}

#[test]
fn the_first_heartbeat_far_ahead_stands_alone() {
    let mut line = Line::new(beat(0));
    let ahead = |line: &Line, own: i64, received: i64| line.tracker.is_ahead_alone(at(own), at(received), 60 * S);
    assert!(!ahead(&line, 90, 30), "as far as the bound is not beyond it");
    assert!(ahead(&line, 91, 30));
    assert!(!ahead(&line, 30, 30));
    line.beat(beat(90), 30);
    assert!(ahead(&line, 200, 60), "the one before was at the bound");
    line.beat(beat(200), 60);
    assert!(!ahead(&line, 300, 90), "the second one in a row says something of the clock");
    assert!(Clock::default().is_ahead_alone(at(61), at(0), 60 * S));
}
