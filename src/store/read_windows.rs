//! The maintenance windows that people set, from the file and the tails together.

use super::read::tenant_id;
use super::schema::{decode, io};
use super::shared::Shared;
use hashbrown::HashMap;
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
}
