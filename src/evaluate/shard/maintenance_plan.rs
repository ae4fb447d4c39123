//! The maintenance windows of the configuration: which are under way, and which are over already.

use super::shared::Shared;
use crate::evaluate::maintenance::{MaintenanceWindow, Planned};
use vitals_core::ids::{TenantId, UnixNanos};

/// A window that is under way: its index in the configuration, and from when to when.
type CurrentWindow = (usize, UnixNanos, UnixNanos);

/// Follows the configured maintenance windows as time goes on.
pub(super) struct MaintenancePlan {
    windows: Vec<Planned>,
    under_way: Vec<CurrentWindow>,
    /// Windows that come once and are over, by index: they were applied to the past.
    applied: Vec<usize>,
}

impl MaintenancePlan {
    pub(super) fn new(windows: &[MaintenanceWindow]) -> Self {
        Self { windows: Planned::all(windows), under_way: Vec::new(), applied: Vec::new() }
    }

    /// Forgets which windows the agents know.
    pub(super) fn restart(&mut self) {
        self.under_way.clear();
        self.applied.clear();
    }

    /// Whether other windows are under way at `now` than before.
    pub(super) fn advance(&mut self, now: UnixNanos) -> bool {
        let current = |(index, window): (usize, &Planned)| window.current(now).map(|(start, end)| (index, start, end));
        let under_way: Vec<CurrentWindow> = self.windows.iter().enumerate().filter_map(current).collect();
        let is_changed = under_way != self.under_way;
        self.under_way = under_way;
        is_changed
    }

    /// Windows that are over at `now` and have not been returned before. One that began before the objective's period is
    /// left out: so far back nothing can be changed.
    pub(super) fn take_passed(&mut self, now: UnixNanos, shared: &Shared) -> Vec<CurrentWindow> {
        let objective = &shared.config.objective;
        let mut passed = Vec::new();
        for (index, window) in self.windows.iter().enumerate() {
            let Some((start, end)) = window.passed(now).filter(|_| !self.applied.contains(&index)) else { continue };
            self.applied.push(index);
            if start < now.plus(-objective.period()) {
                tracing::info!(
                    planned = index,
                    days = objective.period_days,
                    "a maintenance window began before the objective's period; it changes nothing"
                );
                continue;
            }
            passed.push((index, start, end));
        }
        passed
    }

    /// Whether a window is meant for an agent.
    pub(super) fn covers(&self, index: usize, tenant: &TenantId, agent: &str) -> bool {
        self.windows[index].covers(tenant, agent)
    }

    /// The windows of an agent that are under way.
    pub(super) fn current_windows(&self, tenant: &TenantId, agent: &str) -> Vec<(UnixNanos, UnixNanos)> {
        let own = self.under_way.iter().filter(|(index, ..)| self.covers(*index, tenant, agent));
        own.map(|&(_, start, end)| (start, end)).collect()
    }
}
