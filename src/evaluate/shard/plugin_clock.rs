//! The time that plugins are told: the arrival of records, in steps. What arrived before a step is judged before it, so that
//! no answer depends on how records are put together into batches. At a step plugins are called without data, if they ask for it.

use super::Shard;
use super::derived::DeriverInput;
use super::outliers;
use super::replies::BatchProgress;
use std::sync::Arc;
use vitals_core::ids::UnixNanos;

/// One step.
const STEP: i64 = 10 * UnixNanos::SECOND;

/// The latest step that is not after `now`.
fn step_at(now: UnixNanos) -> UnixNanos {
    UnixNanos(now.0.div_euclid(STEP) * STEP)
}

impl Shard {
    /// Takes the step that the arrival of a record asks for, after all that arrived before.
    pub(super) fn step_before(&mut self, received: UnixNanos, progress: &mut BatchProgress) {
        let now = step_at(received);
        if now <= self.plugins.clock() {
            return;
        }
        self.apply_scores(progress);
        for tenant in 0..self.tenants.len() {
            self.judge_rows(tenant, &mut progress.outliers);
        }
        self.step_to(now);
    }

    /// Takes the step that the passing of time asks for.
    pub(super) fn step_at_tick(&mut self, now: UnixNanos) {
        // Before the first record there is no time: a replay begins with it too.
        if self.plugins.clock().0 > 0 {
            self.step_to(step_at(now));
        }
    }

    /// Calls the plugins at each tick that is due until `now`.
    pub(super) fn step_to(&mut self, now: UnixNanos) {
        if now <= self.plugins.clock() {
            return;
        }
        for tenant in 0..self.tenants.len() {
            while let Some(due) = self.next_tick(tenant).filter(|due| *due <= now) {
                self.tick_plugins(tenant, due);
            }
        }
        self.plugins.advance(now);
    }

    fn next_tick(&mut self, tenant: usize) -> Option<UnixNanos> {
        self.plugins.load_for_tick(tenant, &mut self.series)?.plugins.next_tick()
    }

    /// Calls a tenant's plugins without data: the derivers, the detectors about what these made, then the detectors.
    fn tick_plugins(&mut self, tenant: usize, now: UnixNanos) {
        let Self { rows_by_tenant, series, derived, incidents, plugins, tenants, shared, .. } = self;
        let tenant = tenants.at(tenant);
        let mut loaded = plugins.load(tenant.index);
        let input = DeriverInput::Tick(now);
        let made = derived.derive(&tenant.id, input, &mut loaded, (series, rows_by_tenant.sorter()), shared);
        let mut standing = Vec::new();
        if !made.is_empty() {
            let findings = loaded.plugins.detect(&made);
            // Nobody waits for an answer about what was made at a tick.
            let mut answers = Vec::new();
            standing = outliers::verdicts_of(findings, &made, (&tenant, series), (incidents, &mut answers), shared);
            shared.out.samples.push(Arc::new(made));
        }
        let findings = loaded.plugins.tick_detectors(now);
        standing.extend(outliers::verdicts_of_tick(findings, now, &tenant, shared));
        if !standing.is_empty() {
            self.alert_on_outliers(&tenant, &standing);
        }
    }
}
