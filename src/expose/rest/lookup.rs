//! What handlers ask of the stage: the time, agents within the reach of a caller, and the store.

use super::contract;
use super::error::{ApiError, none_wrong};
use super::extract::Query;
use crate::expose::{Rest, ServiceStatus};
use crate::net::Refusal;
use std::sync::Arc;
use vitals_core::caller::Caller;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::series::{AgentDesc, SeriesDesc};
use vitals_core::store::StoreError;

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|error| {
        tracing::error!(%error, "work on a blocking thread panicked");
        ApiError::from(Refusal::Internal)
    })
}

impl Rest {
    /// The time.
    pub(super) fn now(&self) -> UnixNanos {
        (self.clock)()
    }

    /// The agent `key` for a caller: 403 when the token may not touch it (whether or not it exists), 404 when it
    /// does not exist in the caller's tenant.
    pub(super) fn agent(&self, caller: &Caller, key: &str) -> Result<Arc<AgentDesc>, ApiError> {
        touchable(caller, key)?;
        self.registry
            .agent_by_key(&caller.tenant, key)
            .ok_or_else(|| ApiError::not_found(format!("there is no telemetry for {key}")))
    }

    /// All agents of the caller's tenant that the token may touch.
    pub(super) fn agents(&self, caller: &Caller) -> Vec<Arc<AgentDesc>> {
        let mut agents = self.registry.agents_of(&caller.tenant);
        agents.retain(|agent| caller.may_touch(&agent.key));
        agents
    }

    /// The agents that a list is about: the one that `agent` names, or all that the token covers (`None` when that is the
    /// whole tenant).
    pub(super) fn agents_asked_for(&self, caller: &Caller, query: &Query) -> Result<Option<Vec<AgentId>>, ApiError> {
        match query.get("agent") {
            Some(key) => Ok(Some(vec![self.agent(caller, key)?.id])),
            None if caller.agents.is_none() => Ok(None),
            None => Ok(Some(self.agents(caller).iter().map(|agent| agent.id).collect())),
        }
    }

    /// The series of this number, if the caller may read it. A number says nothing of whose it is, and the answer must not
    /// either.
    pub(super) fn series(&self, caller: &Caller, id: &str) -> Result<Arc<SeriesDesc>, ApiError> {
        let missing = || ApiError::not_found(format!("there is no series {id}"));
        let series = id.parse().ok().and_then(|id| self.registry.series(SeriesId(id))).ok_or_else(missing)?;
        let owner = self.registry.agent(series.agent).ok_or_else(missing)?;
        if owner.tenant != caller.tenant || !caller.may_touch(&owner.key) {
            return Err(missing());
        }
        Ok(series)
    }

    /// The state of the service, read on a thread that may block: log and store look at the disk.
    pub(super) async fn status(&self) -> Result<ServiceStatus, ApiError> {
        let status = self.status.clone();
        blocking(move || status()).await
    }

    /// Queries the store on a thread that may block.
    pub(super) async fn query_store<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let rest = self.clone();
        blocking(move || query(&rest)).await?.map_err(ApiError::from)
    }
}

/// Refuses an agent or system that the token does not cover, whether or not it exists.
pub fn touchable(caller: &Caller, key: &str) -> Result<(), ApiError> {
    if caller.may_touch(key) { Ok(()) } else { Err(Refusal::AgentForbidden(key.to_owned()).into()) }
}

/// Checks the id of an agent or system in the path, whose variable is `name`.
pub fn check_id(id: &str, name: &str) -> Result<(), ApiError> {
    none_wrong(contract::id(&id.into(), &["path".into(), name.into()]))
}
