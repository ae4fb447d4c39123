//! What became of the load.

use super::template::Stamp;
use super::wire::Answer;
use crate::expose::otlp::Protocol;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counted while sending, by one connection.
#[derive(Default)]
pub struct Tally {
    points: Points,
    requests: Requests,
    refused_by: BTreeMap<String, u64>,
    unanswered_by: BTreeMap<String, u64>,
    rejected_by: BTreeMap<String, u64>,
    /// Microseconds, of answered requests.
    latencies: Vec<u32>,
}

/// Points, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Points {
    /// Left this side: the sum of the next four.
    pub sent: u64,
    /// Accepted.
    pub acknowledged: u64,
    /// In requests that were refused.
    pub refused: u64,
    /// Rejected by `partial_success`.
    pub rejected: u64,
    /// In requests without an answer.
    pub unanswered: u64,
    /// Due, but never sent, because no connection was free.
    pub behind: u64,
}

/// Requests, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Left this side.
    pub sent: u64,
    /// Accepted, at least in part.
    pub acknowledged: u64,
    /// Refused.
    pub refused: u64,
    /// Without an answer.
    pub unanswered: u64,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where to.
    pub target: String,
    /// `grpc` or `http`.
    pub protocol: Protocol,
    /// How long it took.
    pub seconds: f64,
    /// Points.
    pub points: Points,
    /// Requests.
    pub requests: Requests,
    /// Refused requests by status.
    pub refused_by_status: BTreeMap<String, u64>,
    /// Unanswered requests by cause.
    pub unanswered_by_cause: BTreeMap<String, u64>,
    /// Rejected points by reason.
    pub rejected_by_reason: BTreeMap<String, u64>,
    /// Points a second.
    pub rate: Rate,
    /// Milliseconds from when a request was due to its answer.
    pub latency_ms: Latency,
}

/// Points a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    /// `--rate`; 0 is as fast as answers come.
    pub asked: u64,
    /// Sent.
    pub sent: f64,
    /// Acknowledged.
    pub acknowledged: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// Nine in ten are.
    pub p90: f64,
    /// 99 in 100 are.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Tally {
    /// Counts one answer.
    pub fn count(&mut self, stamp: &Stamp, answer: &Answer, latency: Duration) {
        let points = stamp.points();
        self.points.sent += points;
        self.requests.sent += 1;
        match answer {
            Answer::Acknowledged { rejected, reason } => {
                let rejected = (*rejected).min(points);
                self.points.acknowledged += points - rejected;
                self.points.rejected += rejected;
                self.requests.acknowledged += 1;
                if rejected > 0 {
                    *self.rejected_by.entry(reason.clone()).or_default() += rejected;
                }
            }
            Answer::Refused(status) => {
                self.points.refused += points;
                self.requests.refused += 1;
                *self.refused_by.entry(status.clone()).or_default() += 1;
            }
            Answer::Unanswered(cause) => {
                self.points.unanswered += points;
                self.requests.unanswered += 1;
                *self.unanswered_by.entry(cause.clone()).or_default() += 1;
                return;
            }
        }
        self.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts points that were due but never sent.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positive, and far below 2^53.
    pub fn behind(&mut self, points: f64) {
        self.points.behind += points.max(0.0) as u64;
    }

    /// Adds another connection's.
    pub fn add(&mut self, other: Self) {
        let (a, b) = (&mut self.points, other.points);
        a.sent += b.sent;
        a.acknowledged += b.acknowledged;
        a.refused += b.refused;
        a.rejected += b.rejected;
        a.unanswered += b.unanswered;
        a.behind += b.behind;
        let (a, b) = (&mut self.requests, other.requests);
        a.sent += b.sent;
        a.acknowledged += b.acknowledged;
        a.refused += b.refused;
        a.unanswered += b.unanswered;
        for (mine, theirs) in [
            (&mut self.refused_by, other.refused_by),
            (&mut self.unanswered_by, other.unanswered_by),
            (&mut self.rejected_by, other.rejected_by),
        ] {
            for (key, count) in theirs {
                *mine.entry(key).or_default() += count;
            }
        }
        self.latencies.extend(other.latencies);
    }

    /// The report on it all.
    #[must_use]
    pub fn report(mut self, target: &str, protocol: Protocol, asked: u64, took: Duration) -> Report {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let rank = (self.latencies.len() as f64 * share).ceil() as usize;
            let micros = self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or(0);
            f64::from(micros) / 1000.0
        };
        let seconds = took.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Far below 2^53.
        let per_second = |points: u64| points as f64 / seconds.max(f64::MIN_POSITIVE);
        Report {
            target: target.to_owned(),
            protocol,
            seconds,
            points: self.points,
            requests: self.requests,
            rate: Rate {
                asked,
                sent: per_second(self.points.sent),
                acknowledged: per_second(self.points.acknowledged),
            },
            latency_ms: Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) },
            refused_by_status: self.refused_by,
            unanswered_by_cause: self.unanswered_by,
            rejected_by_reason: self.rejected_by,
        }
    }
}

impl Report {
    /// The most frequent reason why nothing was acknowledged, as the end of a sentence.
    #[must_use]
    pub fn why(&self) -> String {
        let causes = self.refused_by_status.iter().chain(&self.unanswered_by_cause);
        causes.max_by_key(|(_, count)| **count).map(|(cause, _)| format!(": {cause}")).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.points;
        writeln!(f, "{} for {:.1} s", self.target, self.seconds)?;
        writeln!(
            f,
            "  points      sent {}, acknowledged {}, refused {}, rejected {}, unanswered {}, behind {}",
            p.sent, p.acknowledged, p.refused, p.rejected, p.unanswered, p.behind
        )?;
        let r = &self.requests;
        writeln!(
            f,
            "  requests    sent {}, acknowledged {}, refused {}, unanswered {}",
            r.sent, r.acknowledged, r.refused, r.unanswered
        )?;
        let asked = if self.rate.asked == 0 {
            "as fast as answers came".to_owned()
        } else {
            format!("asked {}", self.rate.asked)
        };
        writeln!(f, "  points/s    {asked}, sent {:.0}, acknowledged {:.0}", self.rate.sent, self.rate.acknowledged)?;
        let l = &self.latency_ms;
        write!(f, "  latency ms  p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2}", l.p50, l.p90, l.p99, l.max)?;
        for (title, unit, counts) in [
            ("refused", "requests", &self.refused_by_status),
            ("unanswered", "requests", &self.unanswered_by_cause),
            ("rejected", "points", &self.rejected_by_reason),
        ] {
            for (why, count) in counts {
                write!(f, "\n  {title:<11} {count} {unit}: {why}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_accounted_for() {
        let stamp = Stamp { first: 0, series: 10, start: 0, step: 1, rounds: 2 };
        let mut tally = Tally::default();
        for (answer, millis) in [
            (Answer::Acknowledged { rejected: 0, reason: String::new() }, 1),
            (Answer::Acknowledged { rejected: 3, reason: "old".to_owned() }, 2),
            (Answer::Refused("429".to_owned()), 3),
            (Answer::Unanswered("reset".to_owned()), 900),
        ] {
            tally.count(&stamp, &answer, Duration::from_millis(millis));
        }
        let mut all = Tally::default();
        all.behind(7.9);
        all.behind(-7.0);
        all.add(tally);
        let report = all.report("t", Protocol::Http, 100, Duration::from_secs(2));
        let expect = Points { sent: 80, acknowledged: 37, refused: 20, rejected: 3, unanswered: 20, behind: 7 };
        assert_eq!(report.points, expect);
        assert_eq!(report.latency_ms, Latency { p50: 2.0, p90: 3.0, p99: 3.0, max: 3.0 });
        assert_eq!(report.refused_by_status["429"], 1);
        assert!((report.rate.acknowledged - 18.5).abs() < 1e-9);
        assert!(report.to_string().contains("3 points: old"), "{report}");
    }
}
