//! Planned maintenance windows of the configuration: once, or again each day or week.

use serde::{Deserialize, Serialize};
use vitals_core::caller::matches;
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::time::DAY;

/// When which agents are down on purpose: either `start` and `end`, or `from` and `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// Glob patterns of agents' ids.
    pub agents: Vec<String>,
    /// Whose agents; the default tenant's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// From when, once; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Until when; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// On which days it begins, again and again; every day if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From when on such a day, `HH:MM` in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, `HH:MM` in UTC; of the next day if that is not after `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A day of the week, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

const WEEK: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

impl MaintenanceWindow {
    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        Planned::new(self).map(drop)
    }
}

/// A window that was understood.
pub(super) struct Planned {
    tenant: TenantId,
    agents: Vec<String>,
    when: When,
}

enum When {
    Once(UnixNanos, UnixNanos),
    /// Days, nanoseconds after midnight, length in nanoseconds.
    Again(Vec<Day>, i64, i64),
}

impl Planned {
    /// All windows; they were checked.
    pub(super) fn all(windows: &[MaintenanceWindow]) -> Vec<Self> {
        windows.iter().filter_map(|window| Self::new(window).ok()).collect()
    }

    fn new(window: &MaintenanceWindow) -> Result<Self, String> {
        if window.agents.is_empty() {
            return Err("agents names nobody; write agents = [\"web-*\"]".to_owned());
        }
        let when = match (&window.start, &window.end, &window.from, &window.to) {
            (Some(start), Some(end), None, None) if window.days.is_empty() => {
                let (first, last) = (instant("start", start)?, instant("end", end)?);
                if last <= first {
                    return Err(format!("end = {end:?} must be after start = {start:?}"));
                }
                When::Once(first, last)
            }
            (None, None, Some(from), Some(to)) => {
                let (from, to) = (clock("from", from)?, clock("to", to)?);
                let length = (to - from).rem_euclid(DAY);
                let days = if window.days.is_empty() { WEEK.to_vec() } else { window.days.clone() };
                When::Again(days, from, if length == 0 { DAY } else { length })
            }
            _ => return Err("a window has either start and end, or from and to (and days)".to_owned()),
        };
        let tenant =
            window.tenant.as_ref().map_or_else(TenantId::default_tenant, |name| TenantId(name.as_str().into()));
        Ok(Self { tenant, agents: window.agents.clone(), when })
    }

    pub(super) fn covers(&self, tenant: &TenantId, agent: &str) -> bool {
        self.tenant == *tenant && self.agents.iter().any(|glob| matches(glob, agent))
    }

    /// The window that is over at `now`, of one that comes once.
    pub(super) fn passed(&self, now: UnixNanos) -> Option<(UnixNanos, UnixNanos)> {
        match self.when {
            When::Once(start, end) => Some((start, end)).filter(|_| end <= now),
            When::Again(..) => None,
        }
    }

    /// The window that holds at `now`, if one does: inclusive start, exclusive end.
    pub(super) fn current(&self, now: UnixNanos) -> Option<(UnixNanos, UnixNanos)> {
        let holds = |(start, end): &(UnixNanos, UnixNanos)| *start <= now && now < *end;
        match &self.when {
            When::Once(start, end) => Some((*start, *end)).filter(holds),
            When::Again(days, from, length) => {
                let today = now.0.div_euclid(DAY);
                // One that began yesterday may go on past midnight.
                [today, today - 1].into_iter().find_map(|day| {
                    let start = UnixNanos(day * DAY + from);
                    let begins = days.contains(&weekday(day));
                    Some((start, start.plus(*length))).filter(|window| begins && holds(window))
                })
            }
        }
    }
}

/// The day of the week of a day since the epoch, which was a Thursday.
fn weekday(day: i64) -> Day {
    WEEK[usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)]
}

fn instant(key: &str, text: &str) -> Result<UnixNanos, String> {
    let wrong = |_| format!("{key} = {text:?} is no time; write \"2026-03-01T22:00:00Z\"");
    let time: jiff::Timestamp = text.parse().map_err(wrong)?;
    i64::try_from(time.as_nanosecond()).map(UnixNanos).map_err(|_| format!("{key} = {text:?} is out of range"))
}

/// Nanoseconds after midnight.
fn clock(key: &str, text: &str) -> Result<i64, String> {
    let parts = text.split_once(':').and_then(|(hour, minute)| {
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten();
        Some((two(hour).filter(|hour| *hour < 24)?, two(minute).filter(|minute| *minute < 60)?))
    });
    let (hour, minute) = parts.ok_or_else(|| format!("{key} = {text:?} is no time of day; write \"02:00\""))?;
    Ok((i64::from(hour) * 3_600 + i64::from(minute) * 60) * UnixNanos::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(toml: &str) -> MaintenanceWindow {
        toml::from_str(toml).unwrap()
    }

    fn at(text: &str) -> UnixNanos {
        instant("at", text).unwrap()
    }

    #[test]
    fn windows_hold_from_their_start_up_to_their_end() {
        let once = "agents = [\"*\"]\nstart = \"2026-03-01T22:00:00Z\"\nend = \"2026-03-02T00:30:00+01:00\"";
        // 2026-03-07 is a Saturday.
        let weekly = "agents = [\"*\"]\ndays = [\"sat\"]\nfrom = \"23:00\"\nto = \"01:00\"";
        let daily = "agents = [\"*\"]\nfrom = \"02:00\"\nto = \"04:00\"";
        let always = "agents = [\"*\"]\nfrom = \"02:00\"\nto = \"02:00\"";
        for (toml, time, expect) in [
            (once, "2026-03-01T21:59:59.999Z", None),
            (once, "2026-03-01T22:00:00Z", Some(("2026-03-01T22:00:00Z", "2026-03-01T23:30:00Z"))),
            (once, "2026-03-01T23:30:00Z", None),
            (weekly, "2026-03-07T22:59:59Z", None),
            (weekly, "2026-03-07T23:00:00Z", Some(("2026-03-07T23:00:00Z", "2026-03-08T01:00:00Z"))),
            (weekly, "2026-03-08T00:59:59Z", Some(("2026-03-07T23:00:00Z", "2026-03-08T01:00:00Z"))),
            (weekly, "2026-03-08T01:00:00Z", None),
            (weekly, "2026-03-08T23:00:00Z", None),
            (weekly, "2026-03-07T00:30:00Z", None),
            (daily, "2026-03-07T03:00:00Z", Some(("2026-03-07T02:00:00Z", "2026-03-07T04:00:00Z"))),
            (daily, "2026-03-07T04:00:00Z", None),
            (always, "2026-03-07T01:59:59Z", Some(("2026-03-06T02:00:00Z", "2026-03-07T02:00:00Z"))),
        ] {
            let planned = Planned::new(&window(toml)).unwrap();
            assert_eq!(planned.current(at(time)), expect.map(|(from, to)| (at(from), at(to))), "{toml} {time}");
        }
    }

    #[test]
    fn who_is_meant() {
        let planned =
            Planned::new(&window("agents = [\"web-*\", \"db\"]\ntenant = \"a\"\nfrom = \"02:00\"\nto = \"03:00\""));
        let planned = planned.unwrap();
        let tenant = |name: &str| TenantId(name.into());
        for (name, agent, expect) in [("a", "web-1", true), ("a", "db", true), ("a", "db-1", false), ("b", "db", false)]
        {
            assert_eq!(planned.covers(&tenant(name), agent), expect, "{name} {agent}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (toml, word) in [
            ("agents = []\nfrom = \"02:00\"\nto = \"03:00\"", "agents"),
            ("agents = [\"*\"]", "either start and end"),
            ("agents = [\"*\"]\nstart = \"2026-03-01T22:00:00Z\"", "either start and end"),
            (
                "agents = [\"*\"]\nfrom = \"02:00\"\nto = \"03:00\"\nend = \"2026-03-01T22:00:00Z\"",
                "either start and end",
            ),
            ("agents = [\"*\"]\nstart = \"soon\"\nend = \"2026-03-01T22:00:00Z\"", "start = \"soon\""),
            ("agents = [\"*\"]\nstart = \"2026-03-01T22:00:00Z\"\nend = \"2026-03-01T22:00:00Z\"", "must be after"),
            ("agents = [\"*\"]\nfrom = \"2:00\"\nto = \"03:00\"", "from = \"2:00\""),
            ("agents = [\"*\"]\nfrom = \"02:00\"\nto = \"24:00\"", "to = \"24:00\""),
        ] {
            let said = window(toml).check().unwrap_err();
            assert!(said.contains(word), "{said} does not say {word}");
        }
    }
}
