//! What a component was, from what the agents behind it were.

use super::ComponentConfig;
use crate::expose::Rest;
use crate::expose::rest::time::Time;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use vitals_core::availability::{Interval, State};
use vitals_core::caller::matches;
use vitals_core::ids::{TenantId, UnixNanos};
use vitals_core::series::AgentDesc;
use vitals_core::store::StoreError;

const DAY: i64 = 24 * 3_600 * UnixNanos::SECOND;
/// An incident is listed from this length on.
const LEAST_INCIDENT: i64 = 60 * UnixNanos::SECOND;
/// How far back incidents are listed.
const INCIDENT_DAYS: i64 = 14;
/// Most incidents listed.
const MOST_INCIDENTS: usize = 20;

/// What a component is to people; better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Public {
    /// Nothing is known.
    Unknown,
    /// All is well.
    Works,
    /// Planned work.
    Planned,
    /// Some of it does not work, or not well.
    Impaired,
    /// Nothing of it is heard of.
    Down,
}

impl Public {
    /// The word that people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Works => "works",
            Self::Planned => "planned work",
            Self::Impaired => "impaired",
            Self::Down => "down",
        }
    }
}

/// A day of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Day {
    /// When it began (UTC).
    pub start: Time,
    /// The worst that it was.
    pub worst: Public,
    /// Seconds down.
    pub down_seconds: f64,
    /// Seconds impaired.
    pub impaired_seconds: f64,
}

/// One line of the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// The heading that it stands under.
    pub group: String,
    /// What it is now.
    pub state: Public,
    /// Percent of the known time that it was not down.
    pub uptime_percentage: Option<f64>,
    /// Oldest first.
    pub daily: Vec<Day>,
}

/// A stretch of time in which a component did not work as it should, or was worked on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Which component.
    pub component: String,
    /// The worst that it was.
    pub state: Public,
    /// From when.
    pub start: Time,
    /// Until when; `None` while it lasts.
    pub end: Option<Time>,
}

/// All that is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Whose status it is.
    pub title: String,
    /// When it was made.
    pub time: Time,
    /// How many days the bars show.
    pub days: u32,
    /// In the order of the configuration.
    pub components: Vec<Component>,
    /// Newest first.
    pub incidents: Vec<Incident>,
}

/// A stretch of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    start: UnixNanos,
    end: UnixNanos,
    state: Public,
}

/// What is shown now. Asks the store and may block.
///
/// # Errors
/// When the store cannot be read.
pub fn shown(rest: &Rest, now: UnixNanos) -> Result<Shown, StoreError> {
    let config = &rest.config.status_page;
    let agents = rest.registry.agents_of(&TenantId::from(config.tenant.as_str()));
    let first = UnixNanos(now.0.div_euclid(DAY) * DAY).plus(-i64::from(config.days - 1) * DAY);
    let (mut components, mut incidents) = (Vec::new(), Vec::new());
    for component in &config.components {
        let own = behind(component, &agents);
        let mut intervals = Vec::new();
        for agent in own {
            intervals.push(rest.store.intervals(agent.id, first, now)?);
        }
        let stretches = merged(&intervals, first, now);
        incidents.extend(incidents_of(&component.name, &stretches, now));
        components.push(Component {
            name: component.name.clone(),
            group: component.group.clone(),
            state: stretches.last().filter(|last| last.end == now).map_or(Public::Unknown, |last| last.state),
            uptime_percentage: uptime(&stretches),
            daily: days(&stretches, first, config.days),
        });
    }
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.start.0));
    incidents.truncate(MOST_INCIDENTS);
    Ok(Shown { title: config.title.clone(), time: Time(now), days: config.days, components, incidents })
}

fn behind<'a>(component: &ComponentConfig, agents: &'a [Arc<AgentDesc>]) -> Vec<&'a AgentDesc> {
    let fits = |agent: &&Arc<AgentDesc>| component.agents.iter().any(|glob| matches(glob, &agent.key));
    agents.iter().filter(fits).map(|agent| &**agent).collect()
}

/// Cuts the time where anything changes, and says what the component was in each piece; neighbours that are the same are one.
/// Time of which nothing is known is left out.
fn merged(agents: &[Vec<Interval>], start: UnixNanos, end: UnixNanos) -> Vec<Stretch> {
    let ends = |interval: &Interval| interval.end.unwrap_or(end).min(end);
    let mut cuts: BTreeSet<UnixNanos> = BTreeSet::new();
    for interval in agents.iter().flatten() {
        cuts.extend([interval.start.max(start), ends(interval)].into_iter().filter(|cut| (start..=end).contains(cut)));
    }
    let cuts: Vec<UnixNanos> = cuts.into_iter().collect();
    let mut next = vec![0; agents.len()];
    let mut stretches: Vec<Stretch> = Vec::new();
    for piece in cuts.windows(2) {
        let [from, to] = [piece[0], piece[1]];
        let mut states = Vec::new();
        for (intervals, next) in agents.iter().zip(&mut next) {
            // Intervals of an agent are in order and do not overlap.
            while intervals.get(*next).is_some_and(|interval| ends(interval) <= from) {
                *next += 1;
            }
            states
                .extend(intervals.get(*next).filter(|interval| interval.start <= from).map(|interval| interval.state));
        }
        let Some(state) = together(&states) else { continue };
        match stretches.last_mut().filter(|last| last.end == from && last.state == state) {
            Some(last) => last.end = to,
            None => stretches.push(Stretch { start: from, end: to, state }),
        }
    }
    stretches
}

/// What a component is whose agents are so.
fn together(states: &[State]) -> Option<Public> {
    let working: Vec<&State> = states.iter().filter(|state| **state != State::Maintenance).collect();
    if working.is_empty() {
        return (!states.is_empty()).then_some(Public::Planned);
    }
    Some(if working.iter().all(|state| **state == State::Silent) {
        Public::Down
    } else if working.iter().any(|state| state.is_down()) {
        Public::Impaired
    } else {
        Public::Works
    })
}

#[allow(clippy::cast_precision_loss)] // Nanoseconds of a year: the error is far below what is shown.
fn uptime(stretches: &[Stretch]) -> Option<f64> {
    let long = |which: &dyn Fn(Public) -> bool| -> i64 {
        stretches.iter().filter(|one| which(one.state)).map(|one| one.end.since(one.start)).sum()
    };
    let (up, down) =
        (long(&|state| matches!(state, Public::Works | Public::Impaired)), long(&|state| state == Public::Down));
    (up + down > 0).then(|| 100.0 * up as f64 / (up + down) as f64)
}

#[allow(clippy::cast_precision_loss)]
fn days(stretches: &[Stretch], first: UnixNanos, count: u32) -> Vec<Day> {
    let day = |number: u32| {
        let start = first.plus(i64::from(number) * DAY);
        let end = start.plus(DAY);
        let mut day = Day { start: Time(start), worst: Public::Unknown, down_seconds: 0.0, impaired_seconds: 0.0 };
        for one in stretches.iter().filter(|one| one.start < end && one.end > start) {
            let seconds = one.end.min(end).since(one.start.max(start)) as f64 / UnixNanos::SECOND as f64;
            day.worst = day.worst.max(one.state);
            match one.state {
                Public::Down => day.down_seconds += seconds,
                Public::Impaired => day.impaired_seconds += seconds,
                _ => {}
            }
        }
        day
    };
    (0..count).map(day).collect()
}

/// Neighbouring stretches of trouble are one incident.
fn incidents_of(name: &str, stretches: &[Stretch], now: UnixNanos) -> Vec<Incident> {
    let since = now.plus(-INCIDENT_DAYS * DAY);
    let mut found: Vec<(Stretch, Public)> = Vec::new();
    for one in stretches.iter().filter(|one| one.state >= Public::Planned && one.end > since) {
        match found.last_mut().filter(|(last, _)| {
            last.end == one.start && (last.state == Public::Planned) == (one.state == Public::Planned)
        }) {
            Some((last, worst)) => {
                last.end = one.end;
                *worst = (*worst).max(one.state);
            }
            None => found.push((*one, one.state)),
        }
    }
    let lasts = |one: &Stretch| one.end == now;
    found
        .into_iter()
        .filter(|(one, _)| lasts(one) || one.end.since(one.start) >= LEAST_INCIDENT)
        .map(|(one, state)| Incident {
            component: name.to_owned(),
            state,
            start: Time(one.start),
            end: (!lasts(&one)).then_some(Time(one.end)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * UnixNanos::SECOND)
    }

    fn interval(start: i64, end: Option<i64>, state: State) -> Interval {
        Interval { start: at(start), end: end.map(at), state }
    }

    fn told(stretches: &[Stretch]) -> Vec<(i64, i64, Public)> {
        let seconds = |time: UnixNanos| time.0 / UnixNanos::SECOND;
        stretches.iter().map(|one| (seconds(one.start), seconds(one.end), one.state)).collect()
    }

    #[test]
    fn a_component_is_down_when_all_behind_it_are_silent() {
        let one = vec![interval(0, Some(100), State::Up), interval(100, None, State::Silent)];
        let two = vec![
            interval(0, Some(200), State::Up),
            interval(200, Some(250), State::Silent),
            interval(250, None, State::Up),
        ];
        let stretches = merged(&[one, two], at(0), at(300));
        assert_eq!(
            told(&stretches),
            [
                (0, 100, Public::Works),
                (100, 200, Public::Impaired),
                (200, 250, Public::Down),
                (250, 300, Public::Impaired)
            ]
        );
        assert_eq!(uptime(&stretches), Some(100.0 * 250.0 / 300.0));
    }

    #[test]
    fn planned_work_counts_neither_way_and_hides_no_outage_of_the_others() {
        let planned = vec![interval(0, None, State::Maintenance)];
        assert_eq!(told(&merged(std::slice::from_ref(&planned), at(0), at(10))), [(0, 10, Public::Planned)]);
        assert_eq!(uptime(&merged(std::slice::from_ref(&planned), at(0), at(10))), None);
        let silent = vec![interval(0, None, State::Silent)];
        assert_eq!(told(&merged(&[planned, silent], at(0), at(10))), [(0, 10, Public::Down)]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let gap = vec![interval(0, Some(10), State::Up), interval(20, Some(30), State::Unhealthy)];
        let stretches = merged(&[gap], at(0), at(100));
        assert_eq!(told(&stretches), [(0, 10, Public::Works), (20, 30, Public::Impaired)]);
        assert_eq!(merged(&[], at(0), at(10)), []);
        assert_eq!(uptime(&[]), None);
    }

    #[test]
    fn days_show_the_worst_and_incidents_what_lasted() {
        let day = DAY / UnixNanos::SECOND;
        let intervals = vec![
            interval(0, Some(day + 100), State::Up),
            interval(day + 100, Some(day + 400), State::Silent),
            interval(day + 400, Some(day + 430), State::Unhealthy),
            interval(day + 430, Some(day + 440), State::Up),
            interval(day + 440, Some(day + 450), State::Silent),
            interval(day + 450, None, State::Up),
        ];
        let now = at(2 * day + 50);
        let stretches = merged(&[intervals], at(0), now);
        let days = days(&stretches, at(0), 3);
        let worst: Vec<(Public, f64)> = days.iter().map(|day| (day.worst, day.down_seconds)).collect();
        assert_eq!(worst, [(Public::Works, 0.0), (Public::Down, 310.0), (Public::Works, 0.0)]);
        let incidents = incidents_of("Shop", &stretches, now);
        assert_eq!(incidents.len(), 1, "ten seconds are no incident: {incidents:?}");
        assert_eq!((incidents[0].state, incidents[0].start), (Public::Down, Time(at(day + 100))));
        assert_eq!(incidents[0].end, Some(Time(at(day + 430))), "the impaired end belongs to it");
    }
}
