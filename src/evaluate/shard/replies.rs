//! Senders that wait for what their records led to.

use vitals_core::columns::Columns;
use vitals_core::ids::UnixNanos;
use vitals_core::record::Outcome;
use vitals_core::verdict::OutlierVerdict;

pub(super) type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// A sender that waits for the outliers among its rows.
struct PendingReply {
    columns: Columns,
    outcome: Outcome,
    reply: Reply,
}

/// What a batch has led to so far: outliers, and the senders that are answered when all of it is written.
#[derive(Default)]
pub(super) struct BatchProgress {
    /// Outliers found so far, with their times.
    pub(super) outliers: Vec<(UnixNanos, OutlierVerdict)>,
    replies: Vec<PendingReply>,
    /// Senders of what is no data, with what it led to.
    confirmations: Vec<(Reply, Outcome)>,
}

impl BatchProgress {
    /// Answers with `outcome` and the outliers among `columns` when the batch ends.
    pub(super) fn reply_later(&mut self, reply: Option<Reply>, columns: Columns, outcome: Outcome) {
        self.replies.extend(reply.map(|reply| PendingReply { columns, outcome, reply }));
    }

    /// Answers with `outcome` when the batch ends.
    pub(super) fn confirm_later(&mut self, reply: Option<Reply>, outcome: Outcome) {
        self.confirmations.extend(reply.map(|reply| (reply, outcome)));
    }

    /// Answers everyone who waits.
    pub(super) fn answer(self) {
        for PendingReply { columns, mut outcome, reply } in self.replies {
            outcome.outliers = outliers_among(&self.outliers, &columns);
            reply(outcome);
        }
        for (reply, outcome) in self.confirmations {
            reply(outcome);
        }
    }
}

/// The outliers that are about some rows.
fn outliers_among(outliers: &[(UnixNanos, OutlierVerdict)], columns: &Columns) -> Vec<OutlierVerdict> {
    let is_among = |time: UnixNanos, outlier: &OutlierVerdict| {
        columns.rows().any(|(series, row_time, _)| series == outlier.series && row_time == time)
    };
    outliers.iter().filter(|(time, outlier)| is_among(*time, outlier)).map(|(_, outlier)| outlier.clone()).collect()
}
