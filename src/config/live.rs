//! Which settings take effect in a running service.

use super::Config;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the names of settings begin with that take effect in a running service.
const LIVE: [&str; 18] = [
    "channels",
    "evaluate.",
    "expose.cors.",
    "expose.heartbeat_",
    "expose.max_body_bytes",
    "expose.metric_",
    "expose.page",
    "expose.prefix",
    "expose.quality.",
    "expose.request_seconds",
    "expose.status_page.",
    "expose.thresholds.",
    "maintenance",
    "plugin",
    "telemetry.alert_configs",
    "telemetry.batch_size",
    "telemetry.default_",
    "telemetry.processing_timeout_ms",
];

/// The settings that differ between two configurations and take effect at the next start only.
#[must_use]
pub fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let mut differing = changed(before, after);
    differing.retain(|name| !LIVE.iter().any(|live| name.starts_with(live)));
    differing
}

/// The names of the settings that differ between two configurations.
#[must_use]
pub fn changed(before: &Config, after: &Config) -> Vec<String> {
    let (before, after) = (leaves(before), leaves(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Every setting by its name; a list is one.
fn leaves(config: &Config) -> BTreeMap<String, Value> {
    fn add(name: &str, value: Value, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    add(&if name.is_empty() { key } else { format!("{name}.{key}") }, value, into);
                }
            }
            // Not set is as good as not there.
            Value::Null => {}
            value => drop(into.insert(name.to_owned(), value)),
        }
    }
    let mut found = BTreeMap::new();
    // A configuration is made of maps with names, and what TOML can hold.
    add("", serde_json::to_value(config).unwrap_or_default(), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::ExposeConfig;

    #[test]
    fn what_needs_a_restart_is_named() {
        type Change = fn(&mut Config);
        let cases: [(Change, &[&str]); 8] = [
            (|_| {}, &[]),
            (|c| c.receive.grpc = "127.0.0.1:1".into(), &["receive.grpc"]),
            (|c| c.auth.jwks_url = Some("https://x/".into()), &["auth.jwks_url"]),
            (|c| c.telemetry.metrics_retention_days = 1, &["telemetry.metrics_retention_days"]),
            (|c| c.telemetry.default_thresholds.clear(), &[]),
            (|c| c.evaluate.objective.target = 90.0, &[]),
            (|c| c.plugin_limits.deadline_ms = 1, &[]),
            (|c| (c.expose.rest, c.expose.request_seconds) = ("127.0.0.1:1".into(), 1), &["expose.rest"]),
        ];
        for (change, expect) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(needs_restart(&Config::default(), &config), expect);
        }
        let mut config = Config::default();
        config.receive.grpc = "127.0.0.1:1".into();
        config.evaluate.objective.target = 90.0;
        assert_eq!(changed(&Config::default(), &config), ["evaluate.objective.target", "receive.grpc"]);
    }

    #[test]
    fn what_needs_a_restart_is_in_force_nowhere_before() {
        let first = Config::default();
        let settings = serde_json::to_value(&first).unwrap();
        // The listener reads these once, when it starts.
        let read_later = |expose: ExposeConfig| ExposeConfig {
            max_connections: 0,
            max_connections_per_peer: 0,
            first_byte_seconds: 0,
            max_connection_age_seconds: 0,
            header_seconds: 0,
            shutdown_seconds: 0,
            write_seconds: 0,
            ..expose
        };
        let mut tried = 0;
        for (name, value) in leaves(&first) {
            let other = match &value {
                Value::Bool(is) => Value::from(!is),
                Value::Number(number) => {
                    number.as_u64().map_or_else(|| Value::from(number.as_f64().unwrap() + 1.0), |n| Value::from(n + 1))
                }
                _ => continue,
            };
            let mut changed = settings.clone();
            *changed.pointer_mut(&format!("/{}", name.replace('.', "/"))).unwrap() = other;
            let changed: Config = serde_json::from_value(changed).unwrap();
            if needs_restart(&first, &changed).is_empty() {
                continue;
            }
            tried += 1;
            assert_eq!(changed.evaluate(), first.evaluate(), "{name}");
            assert_eq!(read_later(changed.live_expose(&first)), read_later(first.expose()), "{name}");
        }
        assert!(tried > 20, "{tried}");
    }

    #[test]
    fn every_live_name_is_one() {
        let config = Config { plugin_folder: Some("x".into()), ..Config::default() };
        let known = leaves(&config);
        for live in LIVE {
            // The REST stage may name more than it has now.
            assert!(live == "expose.metric_" || known.keys().any(|name| name.starts_with(live)), "{live}");
        }
    }
}
