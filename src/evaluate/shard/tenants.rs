//! The tenants of a shard.

use hashbrown::HashMap;
use vitals_core::ids::TenantId;

/// A tenant, and its index in the tables of the shard's parts.
#[derive(Clone)]
pub(super) struct ShardTenant {
    pub(super) index: usize,
    pub(super) id: TenantId,
}

/// All tenants of a shard, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Tenants {
    ids: Vec<TenantId>,
    by_id: HashMap<TenantId, usize>,
}

impl Tenants {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The index of a tenant that has come before.
    pub(super) fn get(&self, id: &TenantId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Adds a tenant that has not come before.
    pub(super) fn add(&mut self, id: TenantId) -> usize {
        self.ids.push(id.clone());
        let index = self.ids.len() - 1;
        self.by_id.insert(id, index);
        index
    }

    pub(super) fn at(&self, index: usize) -> ShardTenant {
        ShardTenant { index, id: self.ids[index].clone() }
    }
}
