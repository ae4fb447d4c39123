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

    fn load(&mut self, factory: &PluginFactory) -> LoadedPlugins<'_> {
        let Self { tenant, plugins, snapshot, opened, .. } = self;
        let plugins = plugins.get_or_insert_with(|| {
            let mut plugins = factory(tenant);
            if !snapshot.is_empty() {
                plugins.restore(&mem::take(snapshot));
            }
            plugins
        });
        LoadedPlugins { plugins: plugins.as_mut(), opened }
    }
}

impl PluginInstances {
    pub(super) fn new(factory: PluginFactory) -> Self {
        Self { factory, by_tenant: Vec::new() }
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
        });
    }

    /// A tenant's plugins, resumed if they were suspended.
    pub(super) fn load(&mut self, tenant: usize) -> LoadedPlugins<'_> {
        self.by_tenant[tenant].load(&self.factory)
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
        Some(instances.load(&self.factory))
    }

    /// Suspends all plugins, so that their next use makes them anew.
    pub(super) fn suspend_all(&mut self, series: &mut SeriesTracker) {
        for instances in &mut self.by_tenant {
            instances.suspend(series);
        }
    }

    /// Suspends plugins that had no samples for long.
    pub(super) fn suspend_idle(&mut self, now: UnixNanos, series: &mut SeriesTracker, shared: &Shared) {
        let idle = nanos(shared.config.idle_seconds);
        for instances in &mut self.by_tenant {
            if now.since(instances.last_used) > idle && instances.suspend(series) {
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
        instances.load(&self.factory).plugins.close(&closed.into_iter().collect::<Vec<_>>());
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
