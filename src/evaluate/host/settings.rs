//! A plugin's configuration: checked against its schema, with what is set for some agents.

use super::config::{AgentSettings, PluginConfig};
use super::error::Failure;
use super::selection::matches;
use serde_json::{Map, Value};

/// Marks the properties of a schema that can be set for some agents.
const PER_AGENT: &str = "x-per-agent";

/// The configuration of one plugin.
#[derive(Default)]
pub(super) struct Settings {
    config: Map<String, Value>,
    /// `config` as JSON.
    text: String,
    per_agent: Vec<AgentSettings>,
    /// What else is set, for the evidence; empty when nothing is.
    narrowed: String,
}

impl Settings {
    /// The settings in `config`, if they fit `schema`.
    pub(super) fn new(config: &PluginConfig, schema: &Value) -> Result<Self, Failure> {
        let validator = jsonschema::validator_for(schema)
            .map_err(|error| Failure::Contract(format!("its configuration schema is none: {error}")))?;
        let fits = |config: &Map<String, Value>| -> Result<(), Failure> {
            let value = Value::Object(config.clone());
            let wrong: Vec<String> = validator.iter_errors(&value).take(8).map(|error| problem(&error)).collect();
            if wrong.is_empty() { Ok(()) } else { Err(Failure::Configuration(wrong.join("; "))) }
        };
        fits(&config.config)?;
        for group in &config.per_agent {
            let marked = |name: &String| schema["properties"][name.as_str()][PER_AGENT] == Value::Bool(true);
            if let Some(name) = group.config.keys().find(|name| !marked(name)) {
                return Err(Failure::Configuration(format!("{name} cannot be set for some agents only")));
            }
            fits(&merged(&config.config, [group]))?;
        }
        let text = Value::Object(config.config.clone()).to_string();
        let rest =
            PluginConfig { name: String::new(), path: None, disabled: false, config: Map::new(), ..config.clone() };
        let is_set = rest != PluginConfig::default();
        let narrowed = if is_set { serde_json::to_string(&rest).unwrap_or_default() } else { String::new() };
        Ok(Self { config: config.config.clone(), text, per_agent: config.per_agent.clone(), narrowed })
    }

    /// The configuration as JSON.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// All that an answer may depend on.
    pub(super) fn evidence(&self) -> String {
        format!("{}{}", self.text, self.narrowed)
    }

    /// The whole configuration of an agent as JSON, if something is set for it.
    pub(super) fn of_agent(&self, key: &str) -> Option<String> {
        let is_meant = |group: &&AgentSettings| group.agents.iter().any(|pattern| matches(pattern, key));
        let mut groups = self.per_agent.iter().filter(is_meant).peekable();
        groups.peek()?;
        Some(Value::Object(merged(&self.config, groups)).to_string())
    }
}

fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
}

fn merged<'a>(config: &Map<String, Value>, groups: impl IntoIterator<Item = &'a AgentSettings>) -> Map<String, Value> {
    let mut config = config.clone();
    groups.into_iter().for_each(|group| config.extend(group.config.clone()));
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(config: Value, per_agent: &[(&str, Value)]) -> PluginConfig {
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let group = |(agents, config): &(&str, Value)| AgentSettings {
            agents: vec![(*agents).to_owned()],
            config: object(config),
        };
        let per_agent = per_agent.iter().map(group).collect();
        PluginConfig { config: object(&config), per_agent, ..PluginConfig::default() }
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "limit": { "type": "number", "minimum": 0, "x-per-agent": true },
                "window": { "type": "integer" },
            },
            "additionalProperties": false,
        })
    }

    fn refused(config: &PluginConfig, schema: &Value) -> String {
        Settings::new(config, schema).err().expect("it is refused").to_string()
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (given, named) in [
            (json!({ "limt": 5 }), "limt"),
            (json!({ "limit": -1 }), "/limit"),
            (json!({ "limit": "5" }), "/limit"),
            (json!({ "window": 1.5 }), "/window"),
        ] {
            let error = refused(&config(given, &[]), &schema());
            assert!(error.contains(named), "{error}");
        }
        assert!(Settings::new(&config(json!({ "limit": 5, "window": 3 }), &[]), &schema()).is_ok());
        assert!(refused(&config(json!({}), &[]), &json!({ "type": "nothing" })).contains("schema is none"));
    }

    #[test]
    fn agents_have_what_is_set_for_them() {
        let groups = [("web-*", json!({ "limit": 7 })), ("*-1", json!({ "limit": 9 }))];
        let settings = Settings::new(&config(json!({ "limit": 5, "window": 3 }), &groups), &schema()).expect("it fits");
        let limit = |key: &str| {
            let config: Value = serde_json::from_str(&settings.of_agent(key)?).expect("JSON");
            assert_eq!(config["window"], 3);
            config["limit"].as_f64()
        };
        assert_eq!(
            (limit("db-2"), limit("web-2"), limit("web-1"), limit("db-1")),
            (None, Some(7.0), Some(9.0), Some(9.0))
        );
        // What is not marked, and what does not fit.
        assert!(refused(&config(json!({}), &[("*", json!({ "window": 3 }))]), &schema()).contains("window"));
        assert!(refused(&config(json!({}), &[("*", json!({ "limit": -3 }))]), &schema()).contains("/limit"));
    }

    #[test]
    fn evidence_tells_what_is_set_for_some_agents() {
        let plain = Settings::new(&config(json!({}), &[]), &schema()).expect("it fits").evidence();
        let some = Settings::new(&config(json!({}), &[("a", json!({ "limit": 3 }))]), &schema()).expect("it fits");
        assert_eq!(plain, "{}");
        assert_ne!(some.evidence(), plain);
    }
}
