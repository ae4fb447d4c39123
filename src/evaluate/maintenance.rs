//! Planned maintenance windows of the configuration: once, or again each day or week.

use crate::clock::{moment_in, time_zone};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use vitals_core::caller::matches;
use vitals_core::ids::{TenantId, UnixNanos};

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
    /// The IANA name of the zone of `days`, `from`, `to`, and of a `start` or `end` without an offset; UTC if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// From when on such a day, `HH:MM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when, `HH:MM`; of the next day if that is not after `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A day of the week.
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
    /// On these days of a zone, from one time to another; of the next day if that is not after it.
    Again {
        days: Vec<Day>,
        from: Time,
        to: Time,
        zone: TimeZone,
    },
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
        let zone = window.time_zone.as_deref().map(time_zone).transpose()?;
        let when = match (&window.start, &window.end, &window.from, &window.to) {
            (Some(start), Some(end), None, None) if window.days.is_empty() => {
                let (first, last) = (instant("start", start, zone.as_ref())?, instant("end", end, zone.as_ref())?);
                if last <= first {
                    return Err(format!("end = {end:?} must be after start = {start:?}"));
                }
                When::Once(first, last)
            }
            (None, None, Some(from), Some(to)) => {
                let (from, to) = (clock("from", from)?, clock("to", to)?);
                let days = if window.days.is_empty() { WEEK.to_vec() } else { window.days.clone() };
                When::Again { days, from, to, zone: zone.unwrap_or(TimeZone::UTC) }
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
            When::Again { .. } => None,
        }
    }

    /// The window that holds at `now`, if one does: inclusive start, exclusive end.
    pub(super) fn current(&self, now: UnixNanos) -> Option<(UnixNanos, UnixNanos)> {
        let holds = |(start, end): &(UnixNanos, UnixNanos)| *start <= now && now < *end;
        match &self.when {
            When::Once(start, end) => Some((*start, *end)).filter(holds),
            When::Again { days, from, to, zone } => {
                let today = zone.to_datetime(Timestamp::from_nanosecond(now.0.into()).ok()?).date();
                // One that began yesterday may go on past midnight.
                [Some(today), today.yesterday().ok()].into_iter().flatten().find_map(|day| {
                    let last = if to > from { day } else { day.tomorrow().ok()? };
                    let window = (moment_in(zone, day.to_datetime(*from))?, moment_in(zone, last.to_datetime(*to))?);
                    Some(window).filter(|window| days.contains(&weekday(day)) && holds(window))
                })
            }
        }
    }
}

fn weekday(day: Date) -> Day {
    WEEK[usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or(0)]
}

fn instant(key: &str, text: &str, zone: Option<&TimeZone>) -> Result<UnixNanos, String> {
    let out_of_range = || format!("{key} = {text:?} is out of range");
    if let (Some(zone), Ok(local), Err(_)) = (zone, text.parse::<DateTime>(), text.parse::<Timestamp>()) {
        return moment_in(zone, local).ok_or_else(out_of_range);
    }
    let wrong = |_| format!("{key} = {text:?} is no time; write \"2026-03-01T22:00:00Z\", or add a time_zone");
    let time: Timestamp = text.parse().map_err(wrong)?;
    i64::try_from(time.as_nanosecond()).map(UnixNanos).map_err(|_| out_of_range())
}

/// A time of day.
fn clock(key: &str, text: &str) -> Result<Time, String> {
    let parts = text.split_once(':').and_then(|(hour, minute)| {
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
        Time::new(two(hour)?, two(minute)?, 0, 0).ok()
    });
    parts.ok_or_else(|| format!("{key} = {text:?} is no time of day; write \"02:00\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(toml: &str) -> MaintenanceWindow {
        toml::from_str(toml).unwrap()
    }

    fn at(text: &str) -> UnixNanos {
        instant("at", text, None).unwrap()
    }

    #[test]
    fn windows_hold_from_their_start_up_to_their_end() {
        let once = "agents = [\"*\"]\nstart = \"2026-03-01T22:00:00Z\"\nend = \"2026-03-02T00:30:00+01:00\"";
        // 2026-03-07 is a Saturday.
        let weekly = "agents = [\"*\"]\ndays = [\"sat\"]\nfrom = \"23:00\"\nto = \"01:00\"";
        let daily = "agents = [\"*\"]\nfrom = \"02:00\"\nto = \"04:00\"";
        let zoned = "agents = [\"*\"]\ntime_zone = \"Europe/Berlin\"\nfrom = \"02:00\"\nto = \"04:00\"";
        let once_there = "agents = [\"*\"]\ntime_zone = \"Europe/Berlin\"\nstart = \"2026-07-01T22:00\"\nend = \"2026-07-01T22:30:00Z\"";
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
            // Clocks in Berlin go forward on 2026-03-29 and back on 2026-10-25.
            (zoned, "2026-03-28T01:00:00Z", Some(("2026-03-28T01:00:00Z", "2026-03-28T03:00:00Z"))),
            (zoned, "2026-03-30T00:00:00Z", Some(("2026-03-30T00:00:00Z", "2026-03-30T02:00:00Z"))),
            (zoned, "2026-03-30T02:00:00Z", None),
            (zoned, "2026-10-25T02:59:59Z", Some(("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"))),
            (once_there, "2026-07-01T19:59:59Z", None),
            (once_there, "2026-07-01T20:00:00Z", Some(("2026-07-01T20:00:00Z", "2026-07-01T22:30:00Z"))),
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
            (
                "agents = [\"*\"]\ntime_zone = \"Berlin\"\nfrom = \"02:00\"\nto = \"03:00\"",
                "\"Berlin\" is no time zone",
            ),
            ("agents = [\"*\"]\nfrom = \"2:00\"\nto = \"03:00\"", "from = \"2:00\""),
            ("agents = [\"*\"]\nfrom = \"02:00\"\nto = \"24:00\"", "to = \"24:00\""),
        ] {
            let said = window(toml).check().unwrap_err();
            assert!(said.contains(word), "{said} does not say {word}");
        }
    }
}
