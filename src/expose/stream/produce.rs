//! Events of what evaluation gives to its observers.
//!
//! This runs on the threads of evaluation: it waits for nobody, and serialises each event once.

use super::event::{Kind, Subject, json};
use super::hub::{Channel, Followed, Hub};
use crate::expose::rest::alert_info::AlertInfo;
use crate::expose::rest::current_health::liveness_name;
use crate::expose::rest::shapes::{Health, SamplePoint};
use crate::expose::rest::time::Time;
use hashbrown::HashMap;
use serde::Serialize;
use std::sync::Arc;
use vitals_core::columns::Columns;
use vitals_core::ids::{SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{Liveness, StandingChange};
use vitals_core::series::AgentDesc;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{Alert, Evidence, OutlierVerdict, Severity, Verdict, VerdictBody};

/// Most rows of a series in one message.
const MOST_ROWS: usize = 1_000;

/// What was last said of the alerts that are open, so that a change can be named.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, SeenAlert>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct SeenAlert {
    severity: Severity,
    acknowledged: bool,
    silenced: bool,
}

impl Seen {
    /// What happened to an alert since it was seen last.
    fn change(&mut self, alert: &Alert) -> &'static str {
        let now = SeenAlert {
            severity: alert.severity,
            acknowledged: alert.acknowledged.is_some(),
            silenced: alert.handling.silence.is_some(),
        };
        if alert.resolved.is_some() {
            self.0.remove(&alert.id);
            return if alert.handling.closed.is_some() { "closed" } else { "resolved" };
        }
        match self.0.insert(alert.id.clone(), now) {
            None => "raised",
            Some(before) if before.acknowledged != now.acknowledged => {
                if now.acknowledged {
                    "acknowledged"
                } else {
                    "unacknowledged"
                }
            }
            Some(before) if before.silenced != now.silenced => {
                if now.silenced {
                    "silenced"
                } else {
                    "unsilenced"
                }
            }
            Some(_) => "changed",
        }
    }
}

#[derive(Serialize)]
struct StandingBody<'a> {
    time: Time,
    agent_id: &'a str,
    change: &'static str,
    liveness: Option<&'static str>,
    before: Option<&'static str>,
    health: Health,
    health_before: Option<Health>,
    health_score: Option<f64>,
    since: Time,
    last_evidence: Option<Time>,
    reported_status: Option<Health>,
    reasons: &'a [String],
}

#[derive(Serialize)]
struct VerdictMessage<'a, B> {
    time: Time,
    agent_id: &'a str,
    kind: &'static str,
    body: &'a B,
    evidence: &'a Evidence,
}

#[derive(Serialize)]
struct OutlierBody<'a> {
    #[serde(flatten)]
    outlier: &'a OutlierVerdict,
    metric_name: Option<&'a str>,
}

#[derive(Serialize)]
struct AlertBody<'a> {
    time: Time,
    change: &'a str,
    agent_id: &'a str,
    severity: &'static str,
    alert: AlertInfo,
}

#[derive(Serialize)]
struct SampleBody<'a> {
    agent_id: &'a str,
    series_id: u32,
    samples: Vec<SamplePoint>,
}

fn about(agent: &AgentDesc) -> Subject {
    Subject { agent: Some(agent.id), names: vec![agent.key.clone()], ..Subject::default() }
}

impl Hub {
    /// Takes over which alerts are open, before there are clients.
    pub fn remember_open<'a>(&self, alerts: impl IntoIterator<Item = &'a Alert>) {
        let mut seen = self.seen.lock();
        alerts.into_iter().filter(|alert| alert.resolved.is_none()).for_each(|alert| {
            seen.change(alert);
        });
    }

    /// Hears of what evaluation made. Never waits for a client.
    pub fn observe(&self, output: &EvaluationOutput) {
        let quiet = output.verdicts.is_empty() && output.alerts.is_empty() && output.standings.is_empty();
        let samples = self.follows_any() && !output.samples.is_empty();
        if quiet && !samples {
            return;
        }
        for change in &output.standings {
            self.standing(change);
        }
        for verdict in &output.verdicts {
            self.verdict(verdict);
        }
        for alert in &output.alerts {
            let change = self.seen.lock().change(alert);
            self.alert(alert, change, alert.resolved.unwrap_or(alert.started));
        }
        if samples {
            self.with_followed(|followed| output.samples.iter().for_each(|columns| samples_of(followed, columns)));
        }
        self.ring();
    }

    /// Says that someone did something to an alert that evaluation does not hold any more.
    pub fn alert_changed(&self, alert: &Alert, change: &str, at: UnixNanos) {
        self.alert(alert, change, at);
        self.ring();
    }

    /// Says that something about several agents changed; `patterns` are globs of their ids.
    pub fn maintenance_changed(&self, tenant: &TenantId, patterns: &[String], body: &impl Serialize) {
        let subject = Subject { names: patterns.to_vec(), ..Subject::default() };
        self.channel(tenant).publish(Kind::Maintenance, subject, &json(body));
        self.ring();
    }

    fn standing(&self, change: &StandingChange) {
        let Some(agent) = self.registry.agent(change.agent) else { return };
        let name = |liveness: Option<Liveness>| liveness.map(liveness_name);
        let body = StandingBody {
            time: Time(change.at),
            agent_id: &agent.key,
            change: match change.before {
                _ if change.is_gone => "gone",
                None => "appeared",
                Some(_) => "changed",
            },
            liveness: name(change.liveness),
            before: name(change.before.and_then(|before| before.liveness)),
            health: change.standing.status.into(),
            health_before: change.before.map(|before| before.status.into()),
            health_score: change.standing.score,
            since: Time(change.since),
            last_evidence: change.last_evidence.map(Time),
            reported_status: change.reported.map(Health::from),
            reasons: &change.reasons,
        };
        self.channel(&agent.tenant).publish(Kind::Liveness, about(&agent), &json(&body));
    }

    fn verdict(&self, verdict: &Verdict) {
        let Some(agent) = self.registry.agent(verdict.agent) else { return };
        let (agent_id, time, evidence) = (agent.key.as_str(), Time(verdict.time), &*verdict.evidence);
        let kind = verdict.body.kind();
        let (of, body) = match &verdict.body {
            VerdictBody::Health(body) => (Kind::Health, json(&VerdictMessage { time, agent_id, kind, body, evidence })),
            VerdictBody::Sla(body) => (Kind::Sla, json(&VerdictMessage { time, agent_id, kind, body, evidence })),
            VerdictBody::Outlier(outlier) => {
                let series = self.registry.series(outlier.series);
                let metric_name = series.as_ref().map(|series| series.spec.metric.as_str());
                let body = &OutlierBody { outlier, metric_name };
                (Kind::Outlier, json(&VerdictMessage { time, agent_id, kind, body, evidence }))
            }
        };
        self.channel(&verdict.tenant).publish(of, about(&agent), &body);
    }

    fn alert(&self, alert: &Alert, change: &str, at: UnixNanos) {
        let Some(agent) = self.registry.agent(alert.agent) else { return };
        let body = AlertBody {
            time: Time(at),
            change,
            agent_id: &agent.key,
            severity: alert.severity.name(),
            alert: AlertInfo::of(alert, &agent.key),
        };
        let subject = Subject { severity: Some(alert.severity), ..about(&agent) };
        self.channel(&alert.tenant).publish(Kind::Alert, subject, &json(&body));
    }
}

/// Sends on the rows of the series that are followed. `columns` are sorted by series.
fn samples_of(followed: &HashMap<u32, Followed>, columns: &Arc<Columns>) {
    let series = columns.series.as_slice();
    if followed.len() < series.len() / 16 {
        for (&id, one) in followed {
            let from = series.partition_point(|&other| other < id);
            let to = from + series[from..].partition_point(|&other| other == id);
            rows(one, id, columns, from, to);
        }
        return;
    }
    let mut from = 0;
    for run in series.chunk_by(|one, other| one == other) {
        let to = from + run.len();
        if let Some(one) = followed.get(&run[0]) {
            rows(one, run[0], columns, from, to);
        }
        from = to;
    }
}

fn rows(followed: &Followed, id: u32, columns: &Columns, from: usize, to: usize) {
    let channel: &Channel = &followed.channel;
    let all: Vec<SamplePoint> = columns.times[from..to]
        .iter()
        .zip(&columns.values[from..to])
        .map(|(&time, &value)| SamplePoint::from((UnixNanos(time), value)))
        .collect();
    for part in all.chunks(MOST_ROWS) {
        let body = SampleBody { agent_id: &followed.agent_id, series_id: id, samples: part.to_vec() };
        let subject = Subject {
            agent: Some(followed.agent),
            names: vec![followed.agent_id.clone()],
            series: Some(SeriesId(id)),
            severity: None,
        };
        channel.publish_samples(subject, &json(&body));
    }
}
