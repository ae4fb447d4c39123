//! What one client wants to hear, and may.

use super::event::{Event, Kind};
use hashbrown::HashMap;
use vitals_core::caller::{Caller, matches};
use vitals_core::ids::{AgentId, SeriesId};
use vitals_core::verdict::Severity;

/// Most agents whose match is remembered.
const MOST_REMEMBERED: usize = 16_384;

/// What one client wants to hear.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Glob patterns of agents' ids; `None` is all.
    pub agents: Option<Vec<String>>,
    /// Kinds of events beside samples.
    pub kinds: Vec<Kind>,
    /// The series whose samples are sent.
    pub series: Vec<SeriesId>,
    /// The least severity of an alert.
    pub severity: Option<Severity>,
}

/// A filter over events: what the client wants, within what its token allows.
pub struct Filter {
    wanted: Wanted,
    /// The token's glob patterns.
    allowed: Option<Vec<String>>,
    /// Globs are matched once for each agent.
    known: HashMap<AgentId, bool>,
}

impl Filter {
    /// The events that `wanted` names and `caller` may see.
    pub fn new(wanted: Wanted, caller: &Caller) -> Self {
        Self { wanted, allowed: caller.agents.clone(), known: HashMap::new() }
    }

    /// The series whose samples are wanted.
    pub fn series(&self) -> &[SeriesId] {
        &self.wanted.series
    }

    /// Whether the client hears of `event`.
    pub fn takes(&mut self, event: &Event) -> bool {
        if event.kind() == Kind::Sample {
            return event.subject().series.is_some_and(|series| self.wanted.series.contains(&series));
        }
        if !self.wanted.kinds.contains(&event.kind()) {
            return false;
        }
        let subject = event.subject();
        if let (Some(least), Some(severity)) = (self.wanted.severity, subject.severity)
            && severity < least
        {
            return false;
        }
        match subject.agent {
            Some(agent) => self.takes_agent(agent, &subject.names),
            None => self.takes_globs(&subject.names),
        }
    }

    /// Of one agent, known by the first name.
    fn takes_agent(&mut self, agent: AgentId, names: &[String]) -> bool {
        if self.wanted.agents.is_none() && self.allowed.is_none() {
            return true;
        }
        if let Some(&known) = self.known.get(&agent) {
            return known;
        }
        let fits = |globs: &Option<Vec<String>>| {
            let name = names.first().map_or("", String::as_str);
            globs.as_ref().is_none_or(|globs| globs.iter().any(|glob| matches(glob, name)))
        };
        let takes = fits(&self.wanted.agents) && fits(&self.allowed);
        if self.known.len() >= MOST_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(agent, takes);
        takes
    }

    /// Of several agents, given by patterns: all of them must be within the token, and one within what is wanted.
    fn takes_globs(&self, patterns: &[String]) -> bool {
        let allowed = self.allowed.as_ref();
        let wanted = self.wanted.agents.as_ref();
        allowed.is_none_or(|globs| patterns.iter().all(|pattern| globs.iter().any(|glob| is_within(pattern, glob))))
            && wanted.is_none_or(|globs| {
                patterns
                    .iter()
                    .any(|pattern| globs.iter().any(|glob| is_within(pattern, glob) || is_within(glob, pattern)))
            })
    }
}

/// Whether everything that `pattern` matches is matched by `glob` too; false when that is not plain to see.
#[must_use]
pub fn is_within(pattern: &str, glob: &str) -> bool {
    if pattern == glob {
        return true;
    }
    if !pattern.contains(['*', '?']) {
        return matches(glob, pattern);
    }
    // A prefix and nothing else.
    glob.strip_suffix('*').is_some_and(|prefix| !prefix.contains(['*', '?']) && pattern.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::stream::event::Subject;
    use proptest::prelude::*;
    use vitals_core::caller::Scope;
    use vitals_core::ids::TenantId;

    fn caller(agents: Option<&[&str]>) -> Caller {
        Caller {
            tenant: TenantId::default_tenant(),
            subject: None,
            agents: agents.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
            scopes: vec![Scope::Read],
        }
    }

    fn of(agent: u32, name: &str) -> Subject {
        Subject { agent: Some(AgentId(agent)), names: vec![name.to_owned()], ..Subject::default() }
    }

    fn takes(wanted: Wanted, allowed: Option<&[&str]>, kind: Kind, subject: Subject) -> bool {
        Filter::new(wanted, &caller(allowed)).takes(&Event::new(Some(1), kind, subject, "{\"a\":1}"))
    }

    fn wanted(agents: Option<&[&str]>) -> Wanted {
        Wanted {
            agents: agents.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
            kinds: Kind::STATES.to_vec(),
            ..Wanted::default()
        }
    }

    #[test]
    fn an_agent_must_be_wanted_and_allowed() {
        for (asked, allowed, name, expect) in [
            (None, None, "web-1", true),
            (Some(&["web-*"][..]), None, "web-1", true),
            (Some(&["web-*"][..]), None, "db-1", false),
            (None, Some(&["db-*"][..]), "web-1", false),
            (Some(&["*"][..]), Some(&["db-*"][..]), "web-1", false),
            (Some(&["web-*", "db-1"][..]), Some(&["db-*"][..]), "db-1", true),
        ] {
            assert_eq!(
                takes(wanted(asked), allowed, Kind::Health, of(1, name)),
                expect,
                "{asked:?} {allowed:?} {name}"
            );
        }
    }

    #[test]
    fn kinds_severities_and_series_are_chosen() {
        let only = |kind| Wanted { kinds: vec![kind], ..wanted(None) };
        assert!(takes(only(Kind::Sla), None, Kind::Sla, of(1, "a")));
        assert!(!takes(only(Kind::Sla), None, Kind::Health, of(1, "a")));
        let alert = |severity| Subject { severity: Some(severity), ..of(1, "a") };
        let severe = || Wanted { severity: Some(Severity::Error), ..wanted(None) };
        assert!(!takes(severe(), None, Kind::Alert, alert(Severity::Warning)));
        assert!(takes(severe(), None, Kind::Alert, alert(Severity::Error)));
        assert!(takes(severe(), None, Kind::Health, of(1, "a")));
        let sample = |id| Subject { series: Some(SeriesId(id)), ..of(1, "a") };
        let chosen = || Wanted { series: vec![SeriesId(7)], ..Wanted::default() };
        assert!(takes(chosen(), None, Kind::Sample, sample(7)));
        assert!(!takes(chosen(), None, Kind::Sample, sample(8)));
        assert!(!takes(wanted(None), None, Kind::Sample, sample(7)), "samples are sent of chosen series only");
    }

    #[test]
    fn a_window_over_globs_is_seen_only_within_the_token() {
        let window = |globs: &[&str]| Subject {
            names: globs.iter().map(|&glob| glob.to_owned()).collect(),
            ..Subject::default()
        };
        for (allowed, globs, expect) in [
            (None, &["*"][..], true),
            (Some(&["web-*"][..]), &["web-1"][..], true),
            (Some(&["web-*"][..]), &["web-eu-*"][..], true),
            (Some(&["web-*"][..]), &["*"][..], false),
            (Some(&["web-*"][..]), &["web-1", "db-1"][..], false),
            (Some(&["web-?"][..]), &["web-*"][..], false),
        ] {
            assert_eq!(takes(wanted(None), allowed, Kind::Maintenance, window(globs)), expect, "{allowed:?} {globs:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_within_matches_no_more(pattern in "[ab*?]{0,5}", glob in "[ab*?]{0,5}", text in "[ab]{0,6}") {
            if is_within(&pattern, &glob) && matches(&pattern, &text) {
                prop_assert!(matches(&glob, &text), "{} is not within {}: {}", pattern, glob, text);
            }
        }
    }
}
