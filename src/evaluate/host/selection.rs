//! Which agents and series a plugin is shown.

use super::abi::{Manifest, Part, Selector, SeriesOrigin, Shape};
use super::config::PluginConfig;
use vitals_core::series::SeriesDesc;

/// What a plugin's manifest selects, narrowed by what the operator says.
#[derive(Default)]
pub(super) struct Selection {
    /// A key must match one of each; empty lists match all.
    agents: [Vec<String>; 2],
    metrics: Vec<String>,
    selects: Vec<Selector>,
}

impl Selection {
    pub(super) fn new(manifest: &Manifest, config: &PluginConfig) -> Self {
        Self {
            agents: [manifest.agents.clone(), config.agents.clone()],
            metrics: config.metrics.clone(),
            selects: manifest.selects.clone(),
        }
    }

    /// Whether all agents are shown.
    pub(super) fn takes_all_agents(&self) -> bool {
        self.agents.iter().all(Vec::is_empty)
    }

    /// Whether the agent with this key is shown.
    pub(super) fn takes_agent(&self, key: &str) -> bool {
        self.agents.iter().all(|patterns| fits(patterns, key))
    }

    /// Whether the series is shown, if its agent is.
    pub(super) fn takes_series(&self, desc: &SeriesDesc) -> bool {
        let is_selected = self.selects.is_empty() || self.selects.iter().any(|selector| selects(selector, desc));
        is_selected && fits(&self.metrics, &desc.spec.metric)
    }
}

fn selects(selector: &Selector, desc: &SeriesDesc) -> bool {
    let spec = &desc.spec;
    let (part, _) = Part::of(spec.part);
    let has = |wanted: &[(String, String)], given: &[(String, String)]| {
        wanted.iter().all(|(key, pattern)| given.iter().any(|(name, value)| name == key && matches(pattern, value)))
    };
    fits(&selector.metrics, &spec.metric)
        && (selector.kinds.is_empty() || selector.kinds.iter().any(|kind| kind == spec.kind.name()))
        && (selector.shapes.is_empty() || selector.shapes.contains(&Shape::from(spec.shape)))
        && (selector.parts.is_empty() || selector.parts.contains(&part))
        && (selector.origins.is_empty() || selector.origins.contains(&SeriesOrigin::from(&spec.origin)))
        && has(&selector.attributes, &spec.attributes)
        && has(&selector.resource_attributes, &spec.resource)
}

/// Whether a text matches one of the patterns, or there are none.
fn fits(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether a text matches a pattern, in which `*` stands for any characters, also none.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The first place leaves the most for the pieces after it.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_characters() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("web-1", "web-1", true),
            ("web-1", "web-12", false),
            ("web-*", "web-", true),
            ("web-*", "web-12", true),
            ("web-*", "a-web-12", false),
            ("*.rate", "requests.rate", true),
            ("*.rate", "requests.rates", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("**", "x", true),
            ("*ab*ab*", "ab", false),
            ("*é*", "caféine", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }
}
