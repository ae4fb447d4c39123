//! The plugins of a shard's tenants: opened, suspended with their state, resumed.

use super::PluginFactory;
use super::shared::Shared;
use crate::evaluate::series_tracker::SeriesTracker;
use crate::evaluate::tenant_plugins::TenantPlugins;
use hashbrown::HashSet;
use std::mem;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::registry::Registry;
use vitals_core::time::nanos;

/// After which time without samples a report may resume plugins that were suspended to make room, nanoseconds.
const REPORT_PAUSE: i64 = 300 * UnixNanos::SECOND;

/// The plugins of each tenant of a shard.
pub(super) struct PluginInstances {
    factory: PluginFactory,
    by_tenant: Vec<TenantInstances>,
    /// How far time has come, as plugins are told it.
    clock: UnixNanos,
    uses: u64,
}

/// One tenant's plugins, in memory or suspended.
struct TenantInstances {
    tenant: TenantId,
    /// `None` while they are suspended.
    plugins: Option<Box<dyn TenantPlugins>>,
    /// Their state while they are suspended.
    snapshot: Vec<u8>,
    last_used: UnixNanos,
    /// When they were used last, by the number of uses of all tenants.
    use_number: u64,
    /// While they are suspended, no SLA report before this.
    report_from: UnixNanos,
    /// The series that they were told of.
    opened: Vec<SeriesId>,
    /// Whether one of them asks to be called without data; `None` before they were loaded.
    wants_ticks: Option<bool>,
}

/// One tenant's plugins in memory.
pub(super) struct LoadedPlugins<'a> {
    pub(super) plugins: &'a mut dyn TenantPlugins,
    opened: &'a mut Vec<SeriesId>,
}

impl LoadedPlugins<'_> {
    /// Tells the plugins of a series before its first row.
    pub(super) fn open(&mut self, series: SeriesId, registry: &Registry) {
        self.opened.push(series);
        if let Some(desc) = registry.series(series) {
            self.plugins.open(&desc);
        }
    }
}

impl TenantInstances {
    fn suspend(&mut self, series: &mut SeriesTracker) -> bool {
        let Some(mut plugins) = self.plugins.take() else { return false };
        self.snapshot = plugins.snapshot();
        self.opened.drain(..).for_each(|id| series.mark_closed(id));
        true
    }

    fn load(&mut self, factory: &PluginFactory, clock: UnixNanos) -> LoadedPlugins<'_> {
        let Self { tenant, plugins, snapshot, opened, wants_ticks, .. } = self;
        let plugins = plugins.get_or_insert_with(|| {
            let mut plugins = factory(tenant);
            if !snapshot.is_empty() {
                plugins.restore(&mem::take(snapshot));
            }
            plugins.advance(clock);
            *wants_ticks = Some(plugins.wants_ticks());
            plugins
        });
        LoadedPlugins { plugins: plugins.as_mut(), opened }
    }
}

impl PluginInstances {
    pub(super) fn new(factory: PluginFactory) -> Self {
        Self { factory, by_tenant: Vec::new(), clock: UnixNanos(0), uses: 0 }
    }

    /// Adds a tenant behind the others, without plugins so far.
    pub(super) fn add_tenant(&mut self, tenant: TenantId, now: UnixNanos) {
        self.by_tenant.push(TenantInstances {
            tenant,
            plugins: None,
            snapshot: Vec::new(),
            last_used: now,
            use_number: 0,
            report_from: UnixNanos(0),
            opened: Vec::new(),
            wants_ticks: None,
        });
    }

    /// How far time has come, as plugins are told it.
    pub(super) fn clock(&self) -> UnixNanos {
        self.clock
    }

    /// Time has come to `now`.
    pub(super) fn advance(&mut self, now: UnixNanos) {
        self.clock = now;
        for plugins in self.by_tenant.iter_mut().filter_map(|instances| instances.plugins.as_mut()) {
            plugins.advance(now);
        }
    }

    /// A tenant's plugins, if a call without data may be due. Those that ask for none are not loaded for this.
    pub(super) fn load_for_tick(&mut self, tenant: usize, series: &mut SeriesTracker) -> Option<LoadedPlugins<'_>> {
        let instances = &self.by_tenant[tenant];
        let is_nothing = instances.plugins.is_none() && instances.snapshot.is_empty();
        if is_nothing || instances.wants_ticks == Some(false) {
            return None;
        }
        self.make_room(tenant, series);
        Some(self.by_tenant[tenant].load(&self.factory, self.clock))
    }

    /// Suspends the plugins of tenants that were used longest ago, until there is room for those of `tenant`.
    pub(super) fn make_room(&mut self, tenant: usize, series: &mut SeriesTracker) {
        if self.by_tenant[tenant].plugins.is_some() {
            return;
        }
        loop {
            let loaded = self.by_tenant.iter_mut().filter(|instances| instances.plugins.is_some());
            let Some(oldest) = loaded.min_by_key(|instances| instances.use_number) else { return };
            if !oldest.plugins.as_ref().is_some_and(|plugins| plugins.are_too_many()) {
                return;
            }
            metrics::counter!("vitals_plugin_evictions_total").increment(1);
            // Not resumed for a report alone before this: others would be suspended for it.
            oldest.report_from = oldest.last_used.plus(REPORT_PAUSE);
            oldest.suspend(series);
        }
    }

    /// A tenant's plugins, resumed if they were suspended.
    pub(super) fn load(&mut self, tenant: usize) -> LoadedPlugins<'_> {
        self.uses += 1;
        self.by_tenant[tenant].use_number = self.uses;
        self.by_tenant[tenant].load(&self.factory, self.clock)
    }

    /// A tenant's plugins for its samples, whose arrival at `now` keeps them in memory.
    pub(super) fn load_for_samples(&mut self, tenant: usize, now: UnixNanos) -> LoadedPlugins<'_> {
        self.by_tenant[tenant].last_used = now;
        let loaded = self.load(tenant);
        loaded.plugins.arrived(now);
        loaded
    }

    /// A tenant's plugins for an SLA report; `None` when they are suspended and reported a short while ago.
    pub(super) fn load_for_report(
        &mut self,
        tenant: usize,
        now: UnixNanos,
        series: &mut SeriesTracker,
        shared: &Shared,
    ) -> Option<LoadedPlugins<'_>> {
        let instances = &mut self.by_tenant[tenant];
        if instances.plugins.is_none() {
            if now < instances.report_from {
                return None;
            }
            // Resumed for this alone, they stay for two rounds of reports.
            let rounds = nanos(2 * shared.config.sla_seconds);
            instances.last_used = now.plus(rounds - nanos(shared.config.idle_seconds));
        }
        self.make_room(tenant, series);
        Some(self.load(tenant))
    }

    /// Suspends all plugins, so that their next use makes them anew.
    pub(super) fn suspend_all(&mut self, series: &mut SeriesTracker) {
        for instances in &mut self.by_tenant {
            instances.suspend(series);
            // The next ones may be others.
            instances.wants_ticks = None;
        }
    }

    /// Suspends plugins that had no samples for long.
    pub(super) fn suspend_idle(&mut self, now: UnixNanos, series: &mut SeriesTracker, shared: &Shared) {
        let idle = nanos(shared.config.idle_seconds);
        for instances in &mut self.by_tenant {
            // Those that are called without data are never idle.
            let is_idle = instances.wants_ticks != Some(true) && now.since(instances.last_used) > idle;
            if is_idle && instances.suspend(series) {
                instances.report_from = now.plus(nanos(shared.config.repeat_seconds));
            }
        }
    }

    /// Has a tenant's plugins forget the series of agents. Suspended ones are resumed for that: their state has to forget
    /// too. Rows that come later open these series again.
    pub(super) fn close(&mut self, tenant: usize, agents: &[AgentId], series: &mut SeriesTracker, shared: &Shared) {
        let mut closed = HashSet::new();
        for desc in agents.iter().flat_map(|&agent| shared.registry.series_of(agent)) {
            series.mark_closed(desc.id);
            closed.insert(desc.id);
        }
        let instances = &mut self.by_tenant[tenant];
        instances.opened.retain(|id| !closed.contains(id));
        let are_suspended = instances.plugins.is_none();
        if are_suspended && instances.snapshot.is_empty() {
            return;
        }
        let loaded = instances.load(&self.factory, self.clock);
        loaded.plugins.close(&closed.into_iter().collect::<Vec<_>>());
        loaded.plugins.close_agents(agents);
        if are_suspended {
            instances.suspend(series);
        }
    }

    /// The state of all plugins, for a checkpoint.
    pub(super) fn snapshots(&mut self) -> Vec<(TenantId, Vec<u8>)> {
        let snapshot_of = |instances: &mut TenantInstances| {
            let snapshot = match &mut instances.plugins {
                Some(plugins) => plugins.snapshot(),
                None => instances.snapshot.clone(),
            };
            (instances.tenant.clone(), snapshot)
        };
        self.by_tenant.iter_mut().map(snapshot_of).collect()
    }

    /// Takes the state of a checkpoint.
    pub(super) fn restore(&mut self, tenant: usize, snapshot: Vec<u8>) {
        self.by_tenant[tenant].snapshot = snapshot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tenant_plugins::{AgentView, Derived, Findings, SlaView};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use vitals_core::columns::Columns;
    use vitals_core::registry::Quota;
    use vitals_core::series::SeriesDesc;
    use vitals_core::verdict::{AgentHealth, Evidence, SlaVerdict};

    /// Plugins that are too many when more than three tenants have some; their state is how often they were restored.
    struct Counted(Arc<AtomicUsize>, u8);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl TenantPlugins for Counted {
        fn open(&mut self, _: &Arc<SeriesDesc>) {}
        fn close(&mut self, _: &[SeriesId]) {}
        fn derive_with(&mut self, _: usize, _: &Columns) -> Option<Derived> {
            None
        }
        fn detect(&mut self, _: &Columns) -> Vec<Findings> {
            Vec::new()
        }
        fn assess(&mut self, _: &[AgentView]) -> Vec<(Arc<Evidence>, usize, AgentHealth)> {
            Vec::new()
        }
        fn report(&mut self, _: &[SlaView]) -> Vec<(Arc<Evidence>, AgentId, SlaVerdict)> {
            Vec::new()
        }
        fn snapshot(&mut self) -> Vec<u8> {
            vec![self.1 + 1]
        }
        fn restore(&mut self, state: &[u8]) {
            self.1 = state.first().copied().unwrap_or_default();
        }
        fn are_too_many(&self) -> bool {
            self.0.load(Ordering::Relaxed) >= 3
        }
    }

    #[test]
    fn who_was_used_longest_ago_makes_room_and_keeps_its_state() {
        let live = Arc::new(AtomicUsize::new(0));
        let counter = live.clone();
        let factory: PluginFactory = Arc::new(move |_: &TenantId| {
            counter.fetch_add(1, Ordering::Relaxed);
            Box::new(Counted(counter.clone(), 0))
        });
        let mut series = SeriesTracker::new(Arc::new(Registry::new(Quota::default())));
        let mut plugins = PluginInstances::new(factory);
        (0..5).for_each(|name| plugins.add_tenant(TenantId::from(format!("t{name}").as_str()), UnixNanos(0)));
        let loaded = |plugins: &PluginInstances| {
            let all = plugins.by_tenant.iter().enumerate();
            all.filter(|(_, one)| one.plugins.is_some()).map(|(tenant, _)| tenant).collect::<Vec<_>>()
        };
        for (tenant, expect) in [
            (0, vec![0]),
            (1, vec![0, 1]),
            (2, vec![0, 1, 2]),
            (0, vec![0, 1, 2]),
            (3, vec![0, 2, 3]),
            (4, vec![0, 3, 4]),
            (1, vec![1, 3, 4]),
        ] {
            plugins.make_room(tenant, &mut series);
            plugins.load(tenant);
            assert_eq!(loaded(&plugins), expect, "after {tenant}");
            assert!(live.load(Ordering::Relaxed) <= 3);
        }
        // Tenant 1 was put away once, with its state, and tenant 0, too.
        assert_eq!(plugins.by_tenant[1].plugins.as_mut().map(|plugins| plugins.snapshot()), Some(vec![2]));
        assert_eq!(plugins.by_tenant[0].snapshot, [1]);
    }
}
