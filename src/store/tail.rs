//! What is written and not yet on disk.

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use vitals_core::alert_command::AlertCommand;
use vitals_core::audit::AuditEntry;
use vitals_core::availability::Interval;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::maintenance::PersonWindow;
use vitals_core::series::{AgentDesc, SeriesDesc};
use vitals_core::store::{EvaluationOutput, PastMaintenance, RetiredAgent};
use vitals_core::verdict::{Alert, Verdict};

/// All that was written to a partition between two seals.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) agents: Vec<Arc<AgentDesc>>,
    pub(super) series: Vec<Arc<SeriesDesc>>,
    pub(super) samples: Vec<Arc<Columns>>,
    pub(super) rows: usize,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) intervals: HashMap<(AgentId, UnixNanos), Interval>,
    pub(super) alerts: HashMap<String, Alert>,
    /// In their order. Applied to what the tails and the file say together.
    pub(super) alert_commands: Vec<AlertCommand>,
    /// Applied to what the tails and the file say together.
    pub(super) maintenance: Vec<PastMaintenance>,
    pub(super) windows: Vec<PersonWindow>,
    pub(super) retired: Vec<RetiredAgent>,
    pub(super) audit: Vec<AuditEntry>,
}

impl Tail {
    fn add(&mut self, output: EvaluationOutput) {
        let EvaluationOutput {
            agents,
            series,
            samples,
            verdicts,
            intervals,
            alerts,
            alert_commands,
            maintenance,
            windows,
            retired,
            audit,
            notices: _,
            standings: _,
        } = output;
        self.agents.extend(agents);
        self.series.extend(series);
        self.rows += samples.iter().map(|columns| columns.len()).sum::<usize>();
        self.samples.extend(samples.into_iter().filter(|columns| !columns.is_empty()));
        self.verdicts.extend(verdicts);
        self.intervals.extend(intervals.into_iter().map(|(agent, interval)| ((agent, interval.start), interval)));
        self.alerts.extend(alerts.into_iter().map(|alert| (alert.id.clone(), alert)));
        self.alert_commands.extend(alert_commands);
        self.maintenance.extend(maintenance);
        self.windows.extend(windows);
        self.audit.extend(audit);
        retired.into_iter().for_each(|one| self.forget(one));
    }

    /// Forgets what was written of a retired agent. Its rows stay, which nobody can ask for.
    fn forget(&mut self, retired: RetiredAgent) {
        let agent = retired.agent;
        self.agents.retain(|one| one.id != agent);
        self.series.retain(|one| one.agent != agent);
        self.verdicts.retain(|one| one.agent != agent);
        self.intervals.retain(|(of, _), _| *of != agent);
        self.alerts.retain(|_, one| one.agent != agent);
        self.alert_commands.retain(|one| one.agent != agent);
        self.maintenance.retain(|one| one.agent != agent);
        self.retired.push(retired);
    }

    /// Hands the rows of `series` in `start..end` to `row`, in the order of writing.
    pub(super) fn samples_of(&self, series: u32, start: i64, end: i64, mut row: impl FnMut(i64, f64)) {
        for columns in &self.samples {
            let from = columns.series.partition_point(|&s| s < series);
            let to = from + columns.series[from..].partition_point(|&s| s == series);
            for at in from..to {
                let time = columns.times[at];
                if start <= time && time < end {
                    row(time, columns.values[at]);
                }
            }
        }
    }
}

/// One partition: the tail that is open for writing, and the one that is being made durable.
#[derive(Default)]
pub(super) struct PartitionTail {
    tails: Mutex<Tails>,
    idle: Condvar,
}

#[derive(Default)]
struct Tails {
    open: Tail,
    sealing: Option<Arc<Tail>>,
}

impl PartitionTail {
    pub(super) fn write(&self, output: EvaluationOutput) {
        self.tails.lock().open.add(output);
    }

    /// Closes the open tail; waits while the one before it is not yet durable.
    pub(super) fn begin_seal(&self) -> Arc<Tail> {
        let mut tails = self.tails.lock();
        while tails.sealing.is_some() {
            self.idle.wait(&mut tails);
        }
        let tail = Arc::new(std::mem::take(&mut tails.open));
        tails.sealing = Some(tail.clone());
        tail
    }

    /// The closed tail is on disk: it is no longer shown from here.
    pub(super) fn end_seal(&self) {
        self.tails.lock().sealing = None;
        self.idle.notify_all();
    }

    /// Shows the tails, the older one first.
    pub(super) fn look(&self, mut visit: impl FnMut(&Tail)) {
        let tails = self.tails.lock();
        if let Some(sealing) = &tails.sealing {
            visit(sealing);
        }
        visit(&tails.open);
    }
}
