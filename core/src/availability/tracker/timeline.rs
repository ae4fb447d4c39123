//! The timeline that follows from the remembered beats, and its differences to what was handed out before.

use super::{FOREVER, HISTORY, REMEMBERED, Timing, Tracker};
use crate::availability::{Interval, State, rhythm};
use crate::ids::UnixNanos;

/// A part of the timeline; `None` is unknown.
#[derive(Clone, Copy)]
struct Piece {
    start: UnixNanos,
    end: UnixNanos,
    state: Option<State>,
}

impl Tracker {
    /// Whether there is, after `contact`, a stretch longer than `timeout` in which someone listened in vain.
    fn in_vain(&self, contact: UnixNanos, end: UnixNanos, timeout: i64) -> bool {
        let mut from = contact;
        for &(blind, until) in &self.blind {
            if until <= contact || blind >= end {
                continue;
            }
            if blind.since(from) > timeout {
                return true;
            }
            from = from.max(until);
        }
        end.since(from) > timeout
    }

    /// The pieces between the beat `at` and the next one, or `now`.
    fn segment(&self, at: usize, now: UnixNanos, timing: &Timing, out: &mut Vec<Piece>) {
        let start = self.beats[at].at;
        let next = self.beats.get(at + 1).map(|beat| beat.at);
        let contact = if next.is_none() { self.last_contact() } else { self.beats[at].heard };
        let end = next.unwrap_or(now);
        let says = self.says(at);
        let from = out.len();
        out.push(Piece { start, end: next.unwrap_or(FOREVER), state: Some(says) });
        let timeout = self.timeout(at, timing);
        if end.since(contact) <= timeout {
            return;
        }
        // What comes again and again is the interval of who declares none.
        let is_usual = || next.is_some() && self.declared_at(at).is_none() && self.recurs(at);
        if self.in_vain(contact, end, timeout) && !is_usual() {
            let planned = if says == State::Maintenance { timing.planned_silence } else { 0 };
            let missed = contact.plus(self.interval_at(at, timing).max(planned));
            if missed <= end {
                overlay(out, from, missed, next.unwrap_or(FOREVER), Some(State::Silent));
            }
        }
        for &(blind, until) in &self.blind {
            overlay(out, from, blind.max(contact), until.min(end), None);
        }
    }

    /// Whether the gap after the beat `at`, which is not the last one, is one of many of its length.
    fn recurs(&self, at: usize) -> bool {
        let last = self.beats.len() - 1;
        let from = last.saturating_sub(rhythm::MOST);
        at.checked_sub(from).is_some_and(|at| rhythm::recurs(&self.gaps(last), at))
    }

    /// The unsettled part of the timeline up to the beat `last`, maintenance windows laid over it.
    fn pieces(&self, last: usize, now: UnixNanos, timing: &Timing) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let first = self.first();
        if let (Some((start, state)), Some(beat)) = (self.base, self.beats.get(first)) {
            pieces.push(Piece { start, end: beat.at, state });
        }
        for at in first..=last {
            self.segment(at, now, timing, &mut pieces);
        }
        for &(start, end) in &self.windows {
            if start <= now {
                overlay(&mut pieces, 0, start, if end > now { FOREVER } else { end }, Some(State::Maintenance));
            }
        }
        pieces
    }

    /// Works out the unsettled part and adds the differences to `changes`.
    pub(super) fn publish(&mut self, now: UnixNanos, timing: &Timing, changes: &mut Vec<Interval>) {
        let Some(last) = self.beats.len().checked_sub(1) else { return };
        let fresh = intervals(&self.pieces(last, now, timing));
        for old in &self.published {
            if !fresh.iter().any(|new| new.start == old.start) {
                changes.push(Interval { end: Some(old.start), ..*old });
            }
        }
        changes.extend(fresh.iter().filter(|new| !self.published.contains(new)));
        self.published = fresh;
    }

    /// Forgets the oldest beats beyond what is remembered.
    pub(super) fn settle(&mut self, timing: &Timing) {
        while self.beats.len() > REMEMBERED {
            let boundary = self.beats[HISTORY + 1].at;
            let pieces = self.pieces(HISTORY, boundary, timing);
            // Only what runs up to the boundary can go on; everything before has been handed out.
            let state = pieces.iter().rev().find(|p| p.start < boundary).map(|p| p.state);
            if let Some(state) = state {
                let run = pieces.iter().rev().skip_while(|p| p.start >= boundary).take_while(|p| p.state == state);
                self.base = run.last().map(|p| (p.start, state));
            }
            if let Some((start, _)) = self.base {
                self.published.retain(|i| i.end.is_none_or(|end| end > start));
            }
            let oldest = self.beats.remove(0);
            self.said = oldest.says.unwrap_or(self.said);
            self.declared = oldest.interval.or(self.declared);
            self.paced = oldest.timeout.or(self.paced);
            self.trimmed = true;
            self.windows.retain(|&(_, end)| end > boundary);
            self.blind.retain(|&(_, until)| until > boundary);
        }
    }
}

/// Replaces what `pieces[from..]` say of `start..end`, as far as they say anything.
fn overlay(pieces: &mut Vec<Piece>, from: usize, start: UnixNanos, end: UnixNanos, state: Option<State>) {
    if end <= start {
        return;
    }
    let tail = pieces.split_off(from);
    for piece in tail {
        let (cut, rest) = (start.max(piece.start), end.min(piece.end));
        if cut >= rest {
            pieces.push(piece);
            continue;
        }
        if piece.start < cut {
            pieces.push(Piece { end: cut, ..piece });
        }
        pieces.push(Piece { start: cut, end: rest, state });
        if rest < piece.end {
            pieces.push(Piece { start: rest, ..piece });
        }
    }
}

/// Joins neighbours of one state and leaves out what is unknown or empty.
fn intervals(pieces: &[Piece]) -> Vec<Interval> {
    let mut out: Vec<Interval> = Vec::new();
    for piece in pieces.iter().filter(|p| p.end > p.start) {
        let Some(state) = piece.state else { continue };
        let end = (piece.end != FOREVER).then_some(piece.end);
        match out.last_mut() {
            Some(last) if last.state == state && last.end == Some(piece.start) => last.end = end,
            _ => out.push(Interval { start: piece.start, end, state }),
        }
    }
    out
}
