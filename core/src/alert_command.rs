//! What a person does to an alert, and what an alert keeps of it.

use crate::ids::{AgentId, UnixNanos};
use crate::verdict::Alert;
use serde::{Deserialize, Serialize};

/// What is done to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertAction {
    /// Someone sees to it.
    Acknowledge,
    /// Nobody sees to it after all.
    Unacknowledge,
    /// It is over because a person says so.
    Close,
    /// Nobody is notified of it, and it does not escalate, before this moment.
    Silence {
        /// Exclusive.
        until: UnixNanos,
    },
    /// Its silence ends now.
    Unsilence,
}

impl AlertAction {
    /// The name in the audit log, and of the change in the live stream.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledged",
            Self::Unacknowledge => "unacknowledged",
            Self::Close => "closed",
            Self::Silence { .. } => "silenced",
            Self::Unsilence => "unsilenced",
        }
    }
}

/// An action of a person on an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCommand {
    /// The alert's id.
    pub alert: String,
    /// Its agent.
    pub agent: AgentId,
    /// What is done.
    pub action: AlertAction,
    /// The token's subject.
    pub by: String,
    /// When.
    pub at: UnixNanos,
    /// Why, in the person's words.
    pub comment: Option<String>,
}

/// Who did something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonAct {
    /// The token's subject.
    pub by: String,
    /// When.
    pub at: UnixNanos,
    /// Why, in the person's words.
    pub comment: Option<String>,
}

/// A silence of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Who set it, when and why.
    pub set: PersonAct,
    /// When it ends.
    pub until: UnixNanos,
}

/// What people did to an alert, beside who acknowledged it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handling {
    /// Why it was acknowledged.
    pub acknowledged_because: Option<String>,
    /// Who closed it; `None` of one that is open or ended by itself.
    pub closed: Option<PersonAct>,
    /// The silence that holds, or held when the alert ended.
    pub silence: Option<Silence>,
}

impl AlertCommand {
    /// Who, when and why.
    #[must_use]
    pub fn act(&self) -> PersonAct {
        PersonAct { by: self.by.clone(), at: self.at, comment: self.comment.clone() }
    }

    /// Does this to `alert`, which nobody follows any more if it is over: then it can be acknowledged or not, and nothing
    /// else. Whether that changed it.
    pub fn apply(&self, alert: &mut Alert) -> bool {
        match self.action {
            AlertAction::Acknowledge if alert.acknowledged.is_none() => {
                alert.acknowledged = Some((self.by.clone(), self.at));
                alert.handling.acknowledged_because.clone_from(&self.comment);
            }
            AlertAction::Unacknowledge if alert.acknowledged.is_some() => {
                alert.acknowledged = None;
                alert.handling.acknowledged_because = None;
            }
            AlertAction::Close if alert.resolved.is_none() => {
                alert.resolved = Some(self.at.max(alert.started));
                alert.handling.closed = Some(self.act());
            }
            AlertAction::Silence { until } if alert.resolved.is_none() => {
                alert.handling.silence = Some(Silence { set: self.act(), until });
            }
            AlertAction::Unsilence if alert.resolved.is_none() && alert.handling.silence.is_some() => {
                alert.handling.silence = None;
            }
            _ => return false,
        }
        true
    }
}
