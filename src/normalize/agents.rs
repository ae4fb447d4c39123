//! Which agent a resource is.

use vitals_core::series::{AgentProfile, Attributes};
use xxhash_rust::xxh3::xxh3_64;

/// The longest agent key, in characters.
const MAX_KEY: usize = 100;

fn get<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    let at = attributes.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
    attributes.get(at).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// The agent's key by the first of `rules` whose attributes are all there; a rule joins attribute names by `@`.
///
/// `service.instance.id` does not count when it is a random (version 4) UUID: that names one process and
/// changes with every restart.
pub fn key(rules: &[String], attributes: &Attributes) -> Option<String> {
    rules.iter().find_map(|rule| {
        let mut parts = Vec::new();
        for name in rule.split('@') {
            let value = get(attributes, name.trim())?;
            if name.trim() == "service.instance.id" && is_random(value) {
                return None;
            }
            parts.push(value);
        }
        Some(parts.join("@"))
    })
}

fn is_random(id: &str) -> bool {
    uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 4)
}

/// `key` within the length that a key may have: a longer one keeps its start and gets a hash of the whole.
pub fn bounded(key: &str) -> String {
    if key.chars().count() <= MAX_KEY {
        return key.to_owned();
    }
    let start: String = key.chars().take(MAX_KEY - 17).collect();
    format!("{start}-{:016x}", xxh3_64(key.as_bytes()))
}

/// What a resource says of its agent.
pub fn profile(attributes: &Attributes) -> AgentProfile {
    let first = |keys: &[&str]| keys.iter().find_map(|key| get(attributes, key)).map(str::to_owned);
    AgentProfile {
        name: first(&["service.name", "host.name", "k8s.pod.name", "container.name"]),
        version: first(&["service.version"]),
        environment: first(&["deployment.environment.name", "deployment.environment"]),
        location: first(&["cloud.region"]),
        zone: first(&["cloud.availability_zone"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        let mut all: Attributes = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.sort();
        all
    }

    #[test]
    fn keys_by_rule() {
        let rules = super::super::NormalizeConfig::default().agent_identity;
        for (pairs, expect) in [
            (&[("service.instance.id", "web-1"), ("host.name", "h")][..], Some("web-1")),
            (
                &[
                    ("service.instance.id", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"),
                    ("service.name", "s"),
                    ("host.name", "h"),
                ],
                Some("s@h"),
            ),
            // A time-based UUID is stable.
            (
                &[("service.instance.id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"), ("host.name", "h")],
                Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ),
            (&[("host.name", "h")], Some("h")),
            (&[("service.name", "s")], Some("s")),
            (&[("host.id", "i"), ("service.name", "s")], Some("s")),
            (&[("host.id", "i")], Some("i")),
            (&[("host.name", "")], None),
            (&[("os.type", "linux")], None),
        ] {
            assert_eq!(key(&rules, &attributes(pairs)).as_deref(), expect, "{pairs:?}");
        }
    }

    #[test]
    fn long_keys_stay_distinct() {
        let (a, b) = (bounded(&format!("{}a", "ä".repeat(200))), bounded(&format!("{}b", "ä".repeat(200))));
        assert_ne!(a, b);
        assert_eq!(a.chars().count(), 100);
    }
}
