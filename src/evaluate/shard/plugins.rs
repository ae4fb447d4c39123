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

/// The plugins of each tenant of a shard.
pub(super) struct PluginInstances {
    factory: PluginFactory,
    by_tenant: Vec<TenantInstances>,
    /// How far time has come, as plugins are told it.
    clock: UnixNanos,
}

/// One tenant's plugins, in memory or suspended.
struct TenantInstances {
    tenant: TenantId,
    /// `None` while they are suspended.
    plugins: Option<Box<dyn TenantPlugins>>,
    /// Their state while they are suspended.
    snapshot: Vec<u8>,
    last_used: UnixNanos,
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
        Self { factory, by_tenant: Vec::new(), clock: UnixNanos(0) }
    }

    /// Adds a tenant behind the others, without plugins so far.
    pub(super) fn add_tenant(&mut self, tenant: TenantId, now: UnixNanos) {
        self.by_tenant.push(TenantInstances {
            tenant,
            plugins: None,
            snapshot: Vec::new(),
            last_used: now,
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
    pub(super) fn load_for_tick(&mut self, tenant: usize) -> Option<LoadedPlugins<'_>> {
        let instances = &mut self.by_tenant[tenant];
        let is_nothing = instances.plugins.is_none() && instances.snapshot.is_empty();
        if is_nothing || instances.wants_ticks == Some(false) {
            return None;
        }
        Some(instances.load(&self.factory, self.clock))
    }

    /// A tenant's plugins, resumed if they were suspended.
    pub(super) fn load(&mut self, tenant: usize) -> LoadedPlugins<'_> {
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
        Some(instances.load(&self.factory, self.clock))
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
