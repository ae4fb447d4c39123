//! What was not taken, and why: nothing is dropped without being counted.

/// Why a point was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `time_unix_nano` is 0.
    NoTime,
    /// Too far ahead of the clock.
    Future,
    /// Older than the retention of samples.
    Retention,
    /// Not finite, for a store that takes finite numbers only.
    NotFinite,
    /// Neither a number nor the flag that there is none.
    NoValue,
    /// A metric without a name.
    NoName,
    /// A name, unit or scope's name over the limit.
    NameTooLong,
    /// A sum or histogram that is neither delta nor cumulative.
    NoTemporality,
    /// Counts that do not fit the bounds, or bounds that do not rise.
    Buckets,
    /// A quantile outside 0..=1.
    Quantile,
    /// More buckets or quantiles than a point may have.
    TooManyNumbers,
    /// More attributes than the limit.
    TooManyAttributes,
    /// Attributes over the limit in bytes.
    AttributesTooLarge,
    /// The token is not for this agent.
    ForeignAgent,
    /// The tenant's limit of agents.
    AgentQuota,
    /// The tenant's limit of series.
    SeriesQuota,
    /// The agent's limit of series.
    AgentSeriesQuota,
}

const REASONS: [(Reason, &str, &str); 17] = [
    (Reason::NoTime, "no_time", "without a time (time_unix_nano is 0)"),
    (Reason::Future, "future", "too far in the future; check the sender's clock"),
    (Reason::Retention, "retention", "older than the retention of samples (telemetry.metrics_retention_days)"),
    (Reason::NotFinite, "not_finite", "with a value that is not finite, which InfluxDB does not take"),
    (Reason::NoValue, "no_value", "without a value"),
    (Reason::NoName, "no_name", "of a metric without a name"),
    (Reason::NameTooLong, "name_too_long", "with a metric name, unit, scope name or scope version over the limit"),
    (Reason::NoTemporality, "no_temporality", "of a sum or histogram without aggregation temporality"),
    (Reason::Buckets, "buckets", "whose bucket counts do not fit their bounds"),
    (Reason::Quantile, "quantile", "with a quantile outside 0..1"),
    (Reason::TooManyNumbers, "too_many_numbers", "with more than 16384 buckets or quantiles"),
    (
        Reason::TooManyAttributes,
        "too_many_attributes",
        "with more attributes than the limit, or of such a scope or resource",
    ),
    (
        Reason::AttributesTooLarge,
        "attributes_too_large",
        "with attributes over the limit in bytes, or of such a scope or resource",
    ),
    (Reason::ForeignAgent, "foreign_agent", "of agents that the token may not touch"),
    (Reason::AgentQuota, "agent_quota", "of new agents past the tenant's limit"),
    (Reason::SeriesQuota, "series_quota", "of new series past the tenant's limit"),
    (Reason::AgentSeriesQuota, "agent_series_quota", "of new series past the agent's limit (quota.series_per_agent)"),
];

/// Counts of one request.
#[derive(Default)]
pub struct Tally {
    rejected: [u64; REASONS.len()],
    /// All points, taken or not.
    pub points: u64,
    /// Points that say that there is no value.
    pub no_recorded_value: u64,
    /// Metrics without data.
    pub without_data: u64,
    /// Attributes whose key came again.
    pub duplicates: u64,
    /// Numbers of points that were left out because they are not finite, while the rest of the point was taken.
    pub left_out: u64,
    /// Integers that 53 bits do not hold.
    pub rounded: u64,
}

impl Tally {
    /// Counts a point.
    #[cold]
    pub fn reject(&mut self, reason: Reason) {
        if let Some(count) = self.rejected.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// All points rejected.
    pub fn total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// A sentence for the sender: what was rejected, and what was taken otherwise than it came; empty when nothing was.
    pub fn sentence(&self) -> String {
        let rejected = self.reasons().map(|(_, text, count)| format!("{count} points {text}"));
        let notes = [
            (self.without_data, "metrics had no data of a type that is known"),
            (self.duplicates, "attributes had a key that came again; the last one counts"),
            (self.left_out, "numbers of points are not finite, which InfluxDB does not take; they were left out"),
        ];
        let notes = notes.into_iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}"));
        rejected.chain(notes).collect::<Vec<_>>().join("; ")
    }

    fn reasons(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        REASONS
            .iter()
            .zip(self.rejected)
            .filter(|(_, count)| *count > 0)
            .map(|(&(_, label, text), count)| (label, text, count))
    }

    /// Adds the counts to the process's counters.
    pub fn publish(&self) {
        for (label, _, count) in self.reasons() {
            metrics::counter!("vitals_normalize_rejected_points_total", "reason" => label).increment(count);
        }
        let add = |name: &'static str, count: u64| {
            if count > 0 {
                metrics::counter!(name).increment(count);
            }
        };
        add("vitals_normalize_points_total", self.points);
        add("vitals_normalize_no_recorded_value_total", self.no_recorded_value);
        add("vitals_normalize_metrics_without_data_total", self.without_data);
        add("vitals_normalize_duplicate_attributes_total", self.duplicates);
        add("vitals_normalize_left_out_numbers_total", self.left_out);
        add("vitals_normalize_rounded_integers_total", self.rounded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_line() {
        for (at, (reason, ..)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }

    #[test]
    fn a_sentence_names_each_reason() {
        let mut tally = Tally::default();
        tally.reject(Reason::NoTime);
        tally.reject(Reason::NoTime);
        tally.reject(Reason::SeriesQuota);
        assert_eq!(tally.total(), 3);
        assert_eq!(
            tally.sentence(),
            "2 points without a time (time_unix_nano is 0); 1 points of new series past the tenant's limit"
        );
        (tally.without_data, tally.duplicates) = (1, 2);
        assert!(tally.sentence().ends_with(
            "1 metrics had no data of a type that is known; 2 attributes had a key that came again; the last one counts"
        ));
        assert_eq!(tally.total(), 3);
    }
}
