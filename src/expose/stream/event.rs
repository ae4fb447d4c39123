//! One event of the stream: serialised once, for every client and both transports.

use bytes::Bytes;
use serde::Serialize;
use std::ops::Range;
use vitals_core::ids::{AgentId, SeriesId};
use vitals_core::verdict::Severity;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An agent appeared, is gone, or stands otherwise than before.
    Liveness,
    /// A health score.
    Health,
    /// An outlier.
    Outlier,
    /// An SLA report.
    Sla,
    /// An alert began, changed or ended, or someone acted on it.
    Alert,
    /// A maintenance window was planned, changed or cancelled.
    Maintenance,
    /// Samples of a chosen series.
    Sample,
}

impl Kind {
    /// All kinds but samples: what a client hears of without choosing.
    pub const STATES: [Self; 6] =
        [Self::Liveness, Self::Health, Self::Outlier, Self::Sla, Self::Alert, Self::Maintenance];

    /// The name of its messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Health => "health",
            Self::Outlier => "outlier",
            Self::Sla => "sla",
            Self::Alert => "alert",
            Self::Maintenance => "maintenance",
            Self::Sample => "sample",
        }
    }

    /// The kind of this name, of those that clients choose by name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::STATES.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a filter looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// The agent; `None` for what is about several.
    pub agent: Option<AgentId>,
    /// The agent's id, or patterns of the ids of several agents.
    pub names: Vec<String>,
    /// The series of samples.
    pub series: Option<SeriesId>,
    /// The severity of an alert.
    pub severity: Option<Severity>,
}

/// A message, as SSE and WebSocket send it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The frame of SSE: `id`, `event` and `data` lines and the empty one behind them.
    frame: Bytes,
    /// Where the JSON stands in it.
    json: Range<usize>,
}

impl Message {
    /// A message with the JSON object `body`, which gets `id` and `event` as its first fields.
    #[must_use]
    pub fn new(id: Option<u64>, name: &str, body: &str) -> Self {
        debug_assert!(body.starts_with('{') && body.ends_with('}') && !body.contains(['\n', '\r']));
        let mut text = String::with_capacity(body.len() + 3 * name.len() + 96);
        let mut json = String::new();
        if let Some(id) = id {
            text += &format!("id: {id}\n");
            json += &format!("\"id\":{id},");
        }
        text += &format!("event: {name}\ndata: ");
        let from = text.len();
        text += &format!("{{{json}\"event\":\"{name}\"");
        let fields = &body[1..];
        if fields != "}" {
            text.push(',');
        }
        text += fields;
        let to = text.len();
        text += "\n\n";
        Self { frame: Bytes::from(text), json: from..to }
    }

    /// A message made of what can be serialised.
    #[must_use]
    pub fn of(id: Option<u64>, name: &str, body: &impl Serialize) -> Self {
        Self::new(id, name, &json(body))
    }

    /// A message behind other lines of SSE, which WebSocket does not send.
    #[must_use]
    pub fn behind(self, lines: &str) -> Self {
        let frame = Bytes::from([lines.as_bytes(), &self.frame].concat());
        Self { frame, json: self.json.start + lines.len()..self.json.end + lines.len() }
    }

    /// The bytes for SSE.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.frame.clone()
    }

    /// The JSON alone, for WebSocket.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.frame.slice(self.json.clone())
    }
}

/// The JSON of `body`, which is an object.
pub fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an event of the stream cannot be serialised");
        "{}".to_owned()
    })
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    id: Option<u64>,
    kind: Kind,
    subject: Subject,
    message: Message,
}

impl Event {
    /// An event; `body` is the JSON of its fields.
    #[must_use]
    pub fn new(id: Option<u64>, kind: Kind, subject: Subject, body: &str) -> Self {
        Self { id, kind, subject, message: Message::new(id, kind.name(), body) }
    }

    /// Its number; none for samples, which are not resumed.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What filters look at.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What is sent.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names: usize = self.subject.names.iter().map(|name| name.len() + size_of::<String>()).sum();
        self.message.frame.len() + names + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_serialisation_serves_both_transports() {
        let message = Message::new(Some(7), "health", "{\"agent_id\":\"a\"}");
        let expect = "id: 7\nevent: health\ndata: {\"id\":7,\"event\":\"health\",\"agent_id\":\"a\"}\n\n";
        assert_eq!(&message.frame()[..], expect.as_bytes());
        assert_eq!(&message.json()[..], b"{\"id\":7,\"event\":\"health\",\"agent_id\":\"a\"}");
        let message = Message::new(None, "sample", "{}").behind(": comment\n");
        assert_eq!(&message.frame()[..], b": comment\nevent: sample\ndata: {\"event\":\"sample\"}\n\n");
        assert_eq!(&message.json()[..], b"{\"event\":\"sample\"}");
    }

    #[test]
    fn hostile_text_stays_within_its_line() {
        #[derive(Serialize)]
        struct Body {
            text: &'static str,
        }
        let message = Message::of(Some(1), "alert", &Body { text: "\n\ndata: x\r\nevent: y\n\n</script>" });
        let frame = String::from_utf8(message.frame().to_vec()).unwrap();
        assert_eq!(frame.lines().count(), 4, "{frame}");
    }
}
