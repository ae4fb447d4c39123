//! Verdicts, intervals and alerts as lines.
//!
//! A verdict's fields are what a dashboard needs; what does not fit a field (lists, infinities, nothing known) is in `body`,
//! the whole verdict as it is in the embedded store, in base64. From that verdicts are read back.

use super::layout::{AGENT, Place, SERIES, TENANT};
use super::line::{self, EARLIEST, LATEST};
use super::names::Names;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use vitals_core::availability::Interval;
use vitals_core::ids::{AgentId, UnixNanos};
use vitals_core::store::StoreError;
use vitals_core::verdict::{Alert, Verdict, VerdictBody};

/// The field that a verdict is read back from.
pub(super) const BODY: &str = "body";

/// The measurement of a kind of verdict.
pub(super) fn measurement(kind: &str) -> String {
    format!("vitals_{kind}")
}

/// One line under construction. InfluxDB takes tags first, so they are added first.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    fields: usize,
}

impl<'a> Line<'a> {
    fn new(out: &'a mut Vec<u8>, measurement: &str) -> Self {
        line::measurement(out, measurement);
        Self { out, fields: 0 }
    }

    fn tag(&mut self, key: &str, value: &str) -> &mut Self {
        line::tag(self.out, key, &line::clean(value));
        self
    }

    fn key(&mut self, key: &str) {
        self.out.push(if self.fields == 0 { b' ' } else { b',' });
        self.fields += 1;
        line::field_key(self.out, key);
        self.out.push(b'=');
    }

    /// A number; left out when there is no word for it.
    fn float(&mut self, key: &str, value: f64) -> &mut Self {
        if value.is_finite() {
            self.key(key);
            line::float(self.out, value);
        }
        self
    }

    fn integer(&mut self, key: &str, value: i64) -> &mut Self {
        self.key(key);
        line::integer(self.out, value);
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        line::text(self.out, &line::clean(value));
        self
    }

    fn end(&mut self, time: UnixNanos) {
        line::Times::new().end(self.out, time.0);
    }
}

/// Whether InfluxDB takes something of this time.
pub(super) fn in_range(time: UnixNanos) -> bool {
    (EARLIEST..LATEST).contains(&time.0)
}

/// Writes a verdict to `vitals_health`, `vitals_outlier` or `vitals_sla`.
pub(super) fn verdict(out: &mut Vec<u8>, names: &Names, verdict: &Verdict) -> Result<(), StoreError> {
    let Verdict { tenant, agent, time, evidence, body } = verdict;
    let (_, key) = names.agent(*agent);
    let bytes = postcard::to_stdvec(verdict).map_err(|error| StoreError::Io(error.to_string()))?;
    let mut line = Line::new(out, &measurement(body.kind()));
    if let VerdictBody::Outlier(outlier) = body {
        let place = Place::of(names, outlier.series.0);
        line.tag("field", &place.field).tag("metric", &place.measurement);
        line.tag("plugin", &evidence.plugin).tag(AGENT, &key).tag(SERIES, &place.digest);
    } else {
        line.tag("plugin", &evidence.plugin).tag(AGENT, &key);
    }
    line.tag(TENANT, &tenant.0);
    match body {
        VerdictBody::Health(health) => {
            line.float("score", health.score).text("status", health.status.name());
            line.text("reasons", &health.reasons.join("; "));
            line.text("recommendations", &health.recommendations.join("; "));
        }
        VerdictBody::Outlier(outlier) => {
            line.float("value", outlier.value).float("lower", outlier.lower).float("upper", outlier.upper);
            line.float("score", outlier.score).integer("window", outlier.window.into());
        }
        VerdictBody::Sla(sla) => {
            line.float("target", sla.target).float("availability", sla.availability);
            line.float("budget_left", sla.budget_left).float("burn_1h", sla.burn[0]);
            line.float("burn_6h", sla.burn[1]).float("burn_3d", sla.burn[2]).text("risk", sla.risk.name());
        }
    }
    line.text("version", &evidence.version).text("digest", &evidence.digest).text("config", &evidence.config);
    line.text(BODY, &STANDARD_NO_PAD.encode(bytes)).end(*time);
    Ok(())
}

/// A verdict from its field `body`.
pub(super) fn read_verdict(body: &str) -> Result<Verdict, StoreError> {
    let damaged = |error: String| StoreError::Damaged(format!("a verdict in InfluxDB cannot be decoded: {error}"));
    let bytes = STANDARD_NO_PAD.decode(body).map_err(|error| damaged(error.to_string()))?;
    postcard::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))
}

/// Writes a session or an outage to `vitals_heartbeat`, at its start; once it has ended, again with its end.
pub(super) fn interval(out: &mut Vec<u8>, names: &Names, agent: AgentId, interval: &Interval) {
    let (tenant, key) = names.agent(agent);
    let mut line = Line::new(out, "vitals_heartbeat");
    line.tag(AGENT, &key).tag(TENANT, &tenant);
    line.text("state", interval.state.name()).integer("down", interval.state.is_down().into());
    if let Some(end) = interval.end {
        line.float("duration_seconds", end.since(interval.start) as f64 / UnixNanos::SECOND as f64);
    }
    line.integer("open", interval.end.is_none().into()).end(interval.start);
}

/// Writes an alert to `vitals_alert`, at its start; again whenever it changes.
pub(super) fn alert(out: &mut Vec<u8>, names: &Names, alert: &Alert) {
    let (_, key) = names.agent(alert.agent);
    let mut line = Line::new(out, "vitals_alert");
    line.tag("source", &alert.source).tag(AGENT, &key).tag(TENANT, &alert.tenant.0);
    line.text("id", &alert.id).text("severity", alert.severity.name()).text("message", &alert.message);
    line.integer("open", alert.resolved.is_none().into());
    if let Some(resolved) = alert.resolved {
        line.float("duration_seconds", resolved.since(alert.started) as f64 / UnixNanos::SECOND as f64);
    }
    if let Some((by, _)) = &alert.acknowledged {
        line.text("acknowledged_by", by);
    }
    line.end(alert.started);
}
