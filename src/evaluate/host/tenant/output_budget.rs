//! How much a plugin may answer and print for a tenant, whatever restarts.

use crate::evaluate::host::abi;
use crate::evaluate::host::config::PluginLimits;
use crate::evaluate::host::cpu_time::Moment;

/// Over so many seconds what was not used may be used at once.
const BURST_SECONDS: f64 = 10.0;

/// What a plugin may still answer and print now.
#[derive(Default)]
pub(super) struct OutputBudget {
    findings: Allowance,
    printed: Allowance,
}

impl OutputBudget {
    /// Of so many findings, how many are taken.
    pub(super) fn findings(&mut self, wanted: usize, limits: &PluginLimits, now: Moment) -> usize {
        self.findings.take(wanted, limits.findings_per_second, now)
    }

    /// Of so many printed bytes, how many go to the log.
    pub(super) fn printed(&mut self, wanted: usize, limits: &PluginLimits, now: Moment) -> usize {
        self.printed.take(wanted, limits.log_bytes_per_second, now)
    }
}

/// Something that may be taken at a rate.
#[derive(Default)]
struct Allowance {
    left: f64,
    at: Option<Moment>,
}

impl Allowance {
    fn take(&mut self, wanted: usize, per_second: usize, now: Moment) -> usize {
        let (rate, most) = (per_second as f64, per_second as f64 * BURST_SECONDS);
        self.left = match self.at.replace(now) {
            Some(at) => (self.left + now.since(at).as_secs_f64() * rate).min(most),
            None => most,
        };
        let taken = wanted.min(self.left as usize);
        self.left -= taken as f64;
        taken
    }
}

/// Cuts an answer of a detector down to its first `count` findings.
pub(super) fn cut_findings(findings: &mut abi::Findings, count: usize) {
    findings.subjects.truncate(count);
    findings.lower.truncate(count);
    findings.upper.truncate(count);
    findings.scores.truncate(count);
    findings.windows.truncate(count);
}

/// Cuts the texts of one score so that they have `most` bytes together; how many bytes were cut.
pub(super) fn cut_texts(reasons: &mut Vec<String>, advice: &mut Vec<String>, most: usize) -> usize {
    let mut left = most;
    let mut cut = 0;
    for texts in [reasons, advice] {
        texts.retain_mut(|text| {
            let end = (0..=left.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
            cut += text.len() - end;
            left -= end;
            let is_whole = end == text.len();
            text.truncate(end);
            is_whole || end > 0
        });
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use vitals_core::ids::UnixNanos;

    #[test]
    fn what_is_not_used_is_kept_for_ten_seconds() {
        let begin = Instant::now();
        let at = |seconds| Moment { machine: begin + Duration::from_secs(seconds), arrival: UnixNanos(0) };
        let mut allowance = Allowance::default();
        for (second, wanted, expect) in
            [(0, 5, 5), (0, 2000, 995), (0, 1, 0), (1, 500, 100), (2, 30, 30), (2, 200, 70), (1000, 5000, 1000)]
        {
            assert_eq!(allowance.take(wanted, 100, at(second)), expect, "{wanted} at {second} s");
        }
    }

    #[test]
    fn texts_are_cut_between_characters_and_empty_ones_are_left_out() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (most, expect, cut) in [
            (100, (vec!["CPU", "\u{e4}\u{e4}"], vec!["wait"]), 0),
            (8, (vec!["CPU", "\u{e4}\u{e4}"], vec!["w"]), 3),
            (6, (vec!["CPU", "\u{e4}"], vec!["w"]), 5),
            (3, (vec!["CPU"], vec![]), 8),
            (0, (vec![], vec![]), 11),
        ] {
            let (mut reasons, mut advice) = (texts(&["CPU", "\u{e4}\u{e4}"]), texts(&["wait"]));
            assert_eq!(cut_texts(&mut reasons, &mut advice, most), cut, "{most}");
            assert_eq!((reasons, advice), (texts(&expect.0), texts(&expect.1)), "{most}");
        }
    }
}
