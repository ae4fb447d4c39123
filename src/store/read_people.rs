//! What people did: maintenance windows and the audit log, from the file and the tails together.

use super::read::tenant_id;
use super::schema::{decode, io};
use super::shared::Shared;
use hashbrown::HashMap;
use vitals_core::audit::{AuditEntry, AuditKey, AuditQuery};
use vitals_core::ids::TenantId;
use vitals_core::maintenance::PersonWindow;
use vitals_core::store::StoreError;

impl Shared {
    pub(super) fn windows(&self, tenant: &TenantId) -> Result<Vec<PersonWindow>, StoreError> {
        let mut late: Vec<PersonWindow> = Vec::new();
        let snapshot = self.view(|tail| {
            late.extend(tail.windows.iter().filter(|window| window.tenant == *tenant).cloned());
        })?;
        let connection = snapshot.get()?;
        let mut found: HashMap<String, PersonWindow> = HashMap::new();
        if let Some(tenant) = tenant_id(connection, tenant)? {
            let mut statement = connection.prepare_cached("SELECT body FROM window WHERE tenant = ?1").map_err(io)?;
            let mut rows = statement.query([tenant]).map_err(io)?;
            while let Some(row) = rows.next().map_err(io)? {
                let window: PersonWindow = decode(row, 0)?;
                found.insert(window.id.clone(), window);
            }
        }
        for window in late {
            if found.get(&window.id).is_none_or(|known| known.changed < window.changed) {
                found.insert(window.id.clone(), window);
            }
        }
        Ok(found.into_values().collect())
    }

    pub(super) fn audit(
        &self,
        query: &AuditQuery,
        visit: &mut dyn FnMut(&AuditEntry) -> bool,
    ) -> Result<(), StoreError> {
        let mut late: Vec<AuditEntry> = Vec::new();
        let snapshot = self.view(|tail| late.extend(tail.audit.iter().filter(|entry| query.fits(entry)).cloned()))?;
        late.sort_by_key(AuditKey::of);
        let mut late = late.into_iter().peekable();
        let connection = snapshot.get()?;
        if let Some(tenant) = tenant_id(connection, &query.tenant)? {
            let end = query.after.as_ref().map_or(query.end, |after| query.end.min(after.at.0.plus(1)));
            let sql = "SELECT body FROM audit WHERE tenant = ?1 AND at >= ?2 AND at < ?3 ORDER BY at DESC, id";
            let mut statement = connection.prepare_cached(sql).map_err(io)?;
            let mut rows = statement.query((tenant, query.start.0, end.0)).map_err(io)?;
            while let Some(row) = rows.next().map_err(io)? {
                let entry: AuditEntry = decode(row, 0)?;
                let key = AuditKey::of(&entry);
                while let Some(newer) = late.next_if(|late| AuditKey::of(late) <= key) {
                    // A replay's copy of what is there already falls out.
                    if newer.id != entry.id && !visit(&newer) {
                        return Ok(());
                    }
                }
                if query.fits(&entry) && !visit(&entry) {
                    return Ok(());
                }
            }
        }
        late.all(|entry| visit(&entry));
        Ok(())
    }
}
