//! The texts by which lists go on where the page before ended: `next` in an answer, `after` in the next request.

use super::extract::Query;
use super::problem::Problem;
use std::cmp::Reverse;
use vitals_core::audit::AuditKey;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::store::{AlertKey, VerdictKey};

const EXPECT: &str = "Input should be the `next` of the page before";

/// A moment in nanoseconds; the first or the last one for what is past these.
fn moment(text: &str) -> Option<UnixNanos> {
    let nanos = text.parse::<i128>().ok()?.clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanos).ok().map(UnixNanos)
}

/// The place of an alert in a list.
pub fn of_alert(key: &AlertKey) -> String {
    format!("{}_{}", key.started.0.0, key.id)
}

/// The alert that `after` names.
pub fn alert_after(query: &Query, problems: &mut Vec<Problem>) -> Option<AlertKey> {
    query.parsed("after", problems, "value_error", EXPECT, |text| {
        let (started, id) = text.split_once('_')?;
        Some(AlertKey { started: Reverse(moment(started)?), id: id.to_owned() })
    })
}

/// The place of a verdict in a list.
pub fn of_verdict(key: &VerdictKey) -> String {
    let series = key.series.map(|series| series.0.to_string()).unwrap_or_default();
    // The plugin's name comes last: it may hold whatever separates the others.
    format!("{}_{}_{}_{series}_{}", key.time.0.0, key.agent.0, key.kind, key.plugin)
}

/// The verdict that `after` names.
pub fn verdict_after(query: &Query, problems: &mut Vec<Problem>) -> Option<VerdictKey> {
    query.parsed("after", problems, "value_error", EXPECT, |text| {
        let mut parts = text.splitn(5, '_');
        let time = Reverse(moment(parts.next()?)?);
        let agent = AgentId(parts.next()?.parse().ok()?);
        let kind = parts.next()?.to_owned();
        let series = match parts.next()? {
            "" => None,
            number => Some(SeriesId(number.parse().ok()?)),
        };
        Some(VerdictKey { time, agent, kind, plugin: parts.next()?.to_owned(), series })
    })
}

/// The place of an entry of the audit log.
pub fn of_audit(key: &AuditKey) -> String {
    format!("{}_{}", key.at.0.0, key.id)
}

/// The entry of the audit log that `after` names.
pub fn audit_after(query: &Query, problems: &mut Vec<Problem>) -> Option<AuditKey> {
    query.parsed("after", problems, "value_error", EXPECT, |text| {
        let (at, id) = text.split_once('_')?;
        Some(AuditKey { at: Reverse(moment(at)?), id: id.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let read = |text: String| {
            let (query, mut problems) = (Query::of(&[("after", &text)]), Vec::new());
            (verdict_after(&query, &mut problems), alert_after(&query, &mut problems), problems.len())
        };
        for (series, plugin) in [(None, "sla"), (Some(SeriesId(7)), "iqr_outlier_2"), (Some(SeriesId(0)), "")] {
            let key = VerdictKey {
                time: Reverse(UnixNanos(-5)),
                agent: AgentId(3),
                kind: "outlier".to_owned(),
                plugin: plugin.to_owned(),
                series,
            };
            assert_eq!(read(of_verdict(&key)).0, Some(key));
        }
        let key = AlertKey { started: Reverse(UnixNanos(1_700)), id: "0a".to_owned() };
        assert_eq!(read(of_alert(&key)).1, Some(key));
        for wrong in ["", "_", "x_y", "1", "1_2", "1_2_outlier_x_p"] {
            let (verdict, _, problems) = read(wrong.to_owned());
            assert_eq!(verdict, None, "{wrong}");
            assert!(problems > 0, "{wrong}");
        }
    }
}
