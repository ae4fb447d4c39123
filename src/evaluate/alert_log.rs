//! What evaluation says in the service's log: alerts that begin and end, and what people did.

use crate::clock::rfc3339_seconds;
use std::collections::HashSet;
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::maintenance::PersonWindow;
use vitals_core::registry::Registry;
use vitals_core::rules::alerts::type_of;
use vitals_core::series::AgentDesc;
use vitals_core::verdict::Alert;

/// The alerts that are known to be open: what is written of an alert does not say whether it is new.
#[derive(Default)]
pub(super) struct AlertLog {
    open: HashSet<String>,
}

impl AlertLog {
    /// Takes what was open before, of which nothing is to be said.
    pub(super) fn restore<'a>(&mut self, open: impl Iterator<Item = &'a Alert>) {
        self.open = open.map(|alert| alert.id.clone()).collect();
    }

    /// Says which alerts began and ended.
    pub(super) fn alerts(&mut self, changed: &[Alert], registry: &Registry) {
        for alert in changed {
            let name = || registry.agent(alert.agent).map_or_else(String::new, |agent| agent.key.clone());
            let (kind, severity) = (type_of(&alert.source), alert.severity.name());
            match alert.resolved {
                None if self.open.insert(alert.id.clone()) => tracing::info!(
                    alert = alert.id,
                    agent = name(),
                    tenant = &*alert.tenant.0,
                    kind,
                    severity,
                    since = rfc3339_seconds(alert.started),
                    reason = alert.message,
                    "an alert was raised"
                ),
                Some(ended) if self.open.remove(&alert.id) => tracing::info!(
                    alert = alert.id,
                    agent = name(),
                    tenant = &*alert.tenant.0,
                    kind,
                    severity,
                    since = rfc3339_seconds(alert.started),
                    until = rfc3339_seconds(ended),
                    "an alert was resolved"
                ),
                _ => {}
            }
        }
    }
}

/// Says what a person did to an alert.
pub(super) fn commanded(command: &AlertCommand, registry: &Registry) {
    let desc = registry.agent(command.agent);
    let agent = desc.as_deref().map_or("", |desc| desc.key.as_str());
    let AlertCommand { alert, by, action, comment, .. } = command;
    let why = comment.as_deref().unwrap_or_default();
    match action {
        AlertAction::Silence { until } => {
            let until = rfc3339_seconds(*until);
            tracing::info!(alert, agent, by, why, until, "an alert was silenced");
        }
        other => tracing::info!(alert, agent, by, why, "an alert was {}", other.done()),
    }
}

/// Says that an agent was retired.
pub(super) fn retired(agent: &AgentDesc, by: &str) {
    tracing::info!(agent = agent.key, tenant = &*agent.tenant.0, by, "an agent was retired");
}

/// Says that a maintenance window was planned, changed or called off.
pub(super) fn window(window: &PersonWindow) {
    let PersonWindow { id, tenant, agents, start, end, by, changed_by, reason, cancelled, .. } = window;
    let (from, to) = (rfc3339_seconds(*start), rfc3339_seconds(*end));
    let (by, why) = (changed_by.as_ref().unwrap_or(by), reason.as_deref().unwrap_or_default());
    let (agents, tenant) = (agents.join(", "), &*tenant.0);
    let done = match changed_by {
        _ if *cancelled => "called off",
        Some(_) => "changed",
        None => "planned",
    };
    tracing::info!(window = id, agents, tenant, by, why, from, to, "a maintenance window was {done}");
}
