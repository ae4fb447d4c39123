//! Entries of the audit log, of the records that people make.

use super::Shard;
use crate::clock::rfc3339_seconds;
use vitals_core::alert_command::{AlertAction, AlertCommand};
use vitals_core::audit::AuditEntry;
use vitals_core::ids::UnixNanos;
use vitals_core::maintenance::PersonWindow;
use vitals_core::series::AgentDesc;

impl Shard {
    /// Keeps an entry, under the number of the record that is taken.
    pub(super) fn note(&mut self, entry: AuditEntry) {
        if !self.shared.is_rebuilding {
            let id = format!("{:08x}{:016x}", self.partition.0, self.position.0);
            self.shared.out.audit.push(AuditEntry { id, ..entry });
        }
    }

    pub(super) fn note_command(&mut self, command: &AlertCommand) {
        let Some(agent) = self.shared.registry.agent(command.agent) else { return };
        let AlertCommand { alert, action, by, at, comment, .. } = command;
        let detail = match action {
            AlertAction::Silence { until } => Some(format!("until {}", rfc3339_seconds(*until))),
            _ => None,
        };
        let entry = of_agent(&agent, by, *at, format!("alert {}", action.done()));
        self.note(AuditEntry { target: Some(alert.clone()), comment: comment.clone(), detail, ..entry });
    }

    pub(super) fn note_window(&mut self, window: &PersonWindow) {
        let action = match &window.changed_by {
            _ if window.cancelled => "maintenance cancelled",
            Some(_) => "maintenance changed",
            None => "maintenance planned",
        };
        let (start, end) = (rfc3339_seconds(window.start), rfc3339_seconds(window.end));
        self.note(AuditEntry {
            id: String::new(),
            tenant: window.tenant.clone(),
            at: window.changed,
            by: window.changed_by.as_ref().unwrap_or(&window.by).clone(),
            action: action.to_owned(),
            agents: window.agents.clone(),
            target: Some(window.id.clone()),
            comment: window.reason.clone(),
            detail: Some(format!("from {start} until {end}")),
        });
    }

    pub(super) fn note_retired(&mut self, agent: &AgentDesc, series: usize, by: &str, at: UnixNanos) {
        let entry = of_agent(agent, by, at, "agent retired".to_owned());
        self.note(AuditEntry { detail: Some(format!("{series} series")), ..entry });
    }
}

fn of_agent(agent: &AgentDesc, by: &str, at: UnixNanos, action: String) -> AuditEntry {
    AuditEntry {
        id: String::new(),
        tenant: agent.tenant.clone(),
        at,
        by: by.to_owned(),
        action,
        agents: vec![agent.key.clone()],
        target: None,
        comment: None,
        detail: None,
    }
}
