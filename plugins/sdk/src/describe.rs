//! What a plugin asks for: its configuration's schema, and what it wants to be shown.

use crate::{Origin, Part, Shape};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a plugin wants to be shown. The default is everything, and no ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Keys of agents, with `*` for any characters; empty is all.
    pub agents: Vec<String>,
    /// Series that one of these chooses; empty is all. Only for derivers and detectors.
    pub selects: Vec<Select>,
    /// Seconds between two ticks, a multiple of 10; 0 is none. Only for derivers and detectors.
    pub interval_seconds: u32,
}

/// Chooses series: those for which each field that is not empty holds. In texts `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// The metric's name is one of these.
    pub metrics: Vec<String>,
    /// The typed kind is one of these.
    pub kinds: Vec<String>,
    /// The shape is one of these.
    pub shapes: Vec<Shape>,
    /// The part is one of these.
    pub parts: Vec<Part>,
    /// It comes from one of these.
    pub origins: Vec<Origin>,
    /// The point has each of these attributes, with such a value.
    pub attributes: Vec<(String, String)>,
    /// The resource has each of these attributes, with such a value.
    pub resource_attributes: Vec<(String, String)>,
}

impl Select {
    /// The series of one metric.
    #[must_use]
    pub fn metric(name: &str) -> Self {
        Self { metrics: vec![name.to_owned()], ..Self::default() }
    }

    /// Levels, which stand alone from value to value: gauges and totals that may fall, but not the uptime, which only rises.
    #[must_use]
    pub fn levels() -> Self {
        let kinds = [
            "cpu_usage",
            "memory_usage",
            "disk_usage",
            "disk_io",
            "network_io",
            "response_time",
            "throughput",
            "error_rate",
            "custom",
        ];
        Self {
            kinds: kinds.map(str::to_owned).to_vec(),
            shapes: vec![Shape::Gauge, Shape::Cumulative],
            ..Self::default()
        }
    }
}

/// A JSON Schema with the properties of `defaults`, their types and defaults, and no others. With `per_agent` each can be set
/// for groups of agents.
#[must_use]
pub fn config_schema<C: Serialize>(defaults: &C, per_agent: bool) -> String {
    let fields = match serde_json::to_value(defaults) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let properties: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| {
            let mut property = type_of(&value);
            property.insert("default".to_owned(), value);
            if per_agent {
                property.insert("x-per-agent".to_owned(), Value::Bool(true));
            }
            (name, Value::Object(property))
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false }).to_string()
}

/// The type of a value as a schema. Of `null` nothing is known.
fn type_of(value: &Value) -> Map<String, Value> {
    let name = match value {
        Value::Null => return Map::new(),
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Map::from_iter([("type".to_owned(), Value::from(name))])
}

/// A number that depends on nothing but `seed` (that of a plugin or of a series) and `time`: the same in a replay, another for each
/// row.
#[must_use]
pub fn random(seed: u64, time: i64) -> u64 {
    // SplitMix64.
    let mut bits = seed ^ (time as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
