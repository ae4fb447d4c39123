//! Validation of what clients send: a table of fields for each message, and all problems at once.
//!
//! The tables follow the JSON Schemas of the contract; the problems are named as pydantic names them, because
//! clients of the API match on those names.

use super::time::Time;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use vitals_core::ids::{LONGEST_NAME as LONGEST_NAME_OF_AGENT, NameFlaw, is_hidden, name_flaw};

/// Most problems named in one answer.
pub const MOST_PROBLEMS: usize = 100;
/// Most bytes of an input that are sent back.
const LONGEST_INPUT: usize = 1_000;
/// Longest name of a metric, in characters.
const LONGEST_NAME: usize = 1_000;

/// What is said of a name with a control character in it.
const NO_CONTROL: &str = "String should have no control characters";

/// What is said of an id that nobody could ask for, or that looks like another one.
const NO_ID: &str = "String should not be blank, begin or end with white space, or be . or ..";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// `missing`, `string_type`, `float_type`, `int_type`, `int_from_float`, `int_parsing`, `bool_type`, `bool_parsing`,
    /// `dict_type`, `list_type`, `enum`, `greater_than_equal`, `less_than_equal`, `too_short`, `too_long`,
    /// `string_too_short`, `string_too_long`, `string_pattern_mismatch`, `string_unicode`, `datetime_type`,
    /// `datetime_parsing`, `json_invalid`, `extra_forbidden`, `value_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where: `body`, `query` or `path`, then fields and positions.
    #[schema(value_type = Vec<Place>)]
    pub loc: Vec<Value>,
    /// One sentence.
    pub msg: String,
    /// What was there, cut if it is long; null if nothing was.
    pub input: Value,
}

/// A field's name or a position in a list.
#[derive(ToSchema)]
#[schema(as = Place)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described, never made")]
enum Place {
    /// A field.
    Field(String),
    /// A position.
    Position(u32),
}

impl Problem {
    /// A problem of type `kind` at `loc`.
    pub fn new<L: Into<Value>>(
        kind: &str,
        loc: impl IntoIterator<Item = L>,
        msg: impl Into<String>,
        input: Option<&Value>,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            loc: loc.into_iter().map(Into::into).collect(),
            msg: msg.into(),
            input: input.map_or(Value::Null, shortened),
        }
    }

    /// The problem as one line, for the errors of a batch.
    #[must_use]
    pub fn line(&self) -> String {
        let place: Vec<String> = self
            .loc
            .iter()
            .filter(|part| *part != "body")
            .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
            .collect();
        if place.is_empty() { self.msg.clone() } else { format!("{}: {}", place.join("."), self.msg) }
    }
}

/// The input, or the beginning of its text if it is long.
fn shortened(input: &Value) -> Value {
    let cut = |text: &str| Value::from(text.chars().take(LONGEST_INPUT / 4).collect::<String>() + "...");
    match input {
        Value::String(text) if text.len() > LONGEST_INPUT => cut(text),
        Value::Array(_) | Value::Object(_) => {
            let text = input.to_string();
            if text.len() > LONGEST_INPUT { cut(&text) } else { input.clone() }
        }
        _ => input.clone(),
    }
}

/// What a value must be.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Text of a length in characters.
    Text(usize, usize),
    /// The same, without control characters.
    Name(usize, usize),
    /// The id of an agent or system: the rule is [`vitals_core::ids::name_flaw`].
    Id,
    /// An RFC 3339 time.
    Time,
    /// A number within bounds, inclusive.
    Number(f64, f64),
    /// A whole number within bounds, inclusive; `5.0` is one.
    Integer(f64, f64),
    /// `true` or `false`.
    Bool,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// An object with these fields; others are ignored.
    Object(&'static [Field]),
    /// Any object.
    AnyObject,
    /// A list of at least so many.
    List(usize, &'static Rule),
    /// A list whose items are checked one by one elsewhere.
    AnyList,
}

/// A field of an object.
#[derive(Clone, Copy)]
pub struct Field {
    name: &'static str,
    required: bool,
    nullable: bool,
    rule: Rule,
}

const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, nullable: false, rule }
}

const fn optional(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, nullable: false, rule }
}

const fn nullable(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, nullable: true, rule }
}

const TEXT: Rule = Rule::Text(0, usize::MAX);
const ID: Rule = Rule::Id;
const PERCENT: Rule = Rule::Number(0.0, 100.0);
const NOT_NEGATIVE: Rule = Rule::Number(0.0, f64::MAX);
const COUNT: Rule = Rule::Integer(0.0, f64::MAX);
const INTERVAL: Rule = Rule::Integer(1_000.0, f64::MAX);
const HEALTH: Rule = Rule::OneOf(&["healthy", "degraded", "critical", "unknown", "offline", "maintenance"]);
/// The names of the typed kinds.
const KINDS: &[&str] = &[
    "cpu_usage",
    "memory_usage",
    "disk_usage",
    "disk_io",
    "network_io",
    "response_time",
    "throughput",
    "error_rate",
    "uptime",
    "custom",
];
const KIND: Rule = Rule::OneOf(KINDS);
const RANGE: &[Field] =
    &[required("start_time", Rule::Time), required("end_time", Rule::Time), optional("timezone", TEXT)];

/// `HeartbeatRequest`.
pub const HEARTBEAT: &[Field] = &[
    required(
        "agent_info",
        Rule::Object(&[
            required("agent_id", ID),
            nullable("agent_name", TEXT),
            required("agent_version", TEXT),
            required("environment", TEXT),
            nullable("geographic_location", TEXT),
            nullable("availability_zone", TEXT),
        ]),
    ),
    required("health_status", HEALTH),
    required("timestamp", Rule::Time),
    nullable("cpu_usage_percent", PERCENT),
    nullable("memory_usage_mb", NOT_NEGATIVE),
    nullable("disk_usage_percent", PERCENT),
    nullable("network_latency_ms", NOT_NEGATIVE),
    nullable("bandwidth_usage_mbps", NOT_NEGATIVE),
    nullable("packet_loss_percent", PERCENT),
    nullable("active_connections", COUNT),
    nullable("request_count", COUNT),
    nullable("error_count", COUNT),
    nullable("response_time_ms", NOT_NEGATIVE),
    optional("status_details", Rule::AnyObject),
    optional("heartbeat_interval_ms", INTERVAL),
];

const METRIC: &[Field] = &[
    required("metric_name", Rule::Name(1, LONGEST_NAME)),
    required("metric_type", KIND),
    required("value", Rule::Number(f64::MIN, f64::MAX)),
    required("unit", Rule::Name(0, LONGEST_NAME)),
    nullable("timestamp", Rule::Time),
    optional("dimensions", Rule::AnyObject),
    optional("tags", Rule::List(0, &TEXT)),
];

/// `SystemMetricsRequest`.
pub const SYSTEM_METRICS: &[Field] = &[
    required("system_id", ID),
    required("timestamp", Rule::Time),
    required("environment", TEXT),
    required("metrics", Rule::List(1, &Rule::Object(METRIC))),
    required("collection_method", TEXT),
    optional("collection_interval_ms", INTERVAL),
    nullable("service_name", TEXT),
    nullable("component_name", Rule::Name(0, LONGEST_NAME)),
    nullable("region", TEXT),
];

/// `TelemetryIngestionBatch`, without its items.
pub const BATCH: &[Field] = &[
    required("batch_id", TEXT),
    required("batch_timestamp", Rule::Time),
    required("source_system", TEXT),
    optional("heartbeats", Rule::AnyList),
    optional("metrics", Rule::AnyList),
    optional("compression_used", Rule::Bool),
    nullable("checksum", TEXT),
];

/// The types of assessment that the contract names.
pub const ASSESSMENTS: &[&str] = &["full", "quick", "component", "basic", "comprehensive", "predictive"];

/// `HealthCheckRequest`.
pub const HEALTH_CHECK: &[Field] = &[
    required("target_id", ID),
    required("target_type", TEXT),
    optional("assessment_type", Rule::OneOf(ASSESSMENTS)),
    nullable("time_range", Rule::Object(RANGE)),
    optional("components", Rule::List(0, &TEXT)),
    optional("include_historical", Rule::Bool),
];

/// `DashboardQuery`.
pub const DASHBOARD: &[Field] = &[
    required("query_id", TEXT),
    required("query_type", TEXT),
    required("time_range", Rule::Object(RANGE)),
    required("aggregation_window", TEXT),
    optional("environments", Rule::List(0, &TEXT)),
    optional("regions", Rule::List(0, &TEXT)),
    optional("agent_ids", Rule::List(0, &ID)),
    optional("system_ids", Rule::List(0, &ID)),
    optional("metric_types", Rule::List(0, &KIND)),
    optional("health_statuses", Rule::List(0, &HEALTH)),
    optional("include_alerts", Rule::Bool),
    optional("include_trends", Rule::Bool),
    optional("max_data_points", Rule::Integer(1.0, 10_000.0)),
];

/// A maintenance window.
pub const MAINTENANCE: &[Field] =
    &[required("agent_id", ID), required("start_time", Rule::Time), required("end_time", Rule::Time)];

/// The JSON of a body.
///
/// # Errors
/// One problem when it is none.
pub fn json(body: &[u8]) -> Result<Value, Vec<Problem>> {
    serde_json::from_slice(body).map_err(|error| {
        let place = [Value::from("body"), Value::from(error.column())];
        vec![Problem::new("json_invalid", place, format!("JSON decode error: {error}"), None)]
    })
}

/// Everything that is wrong with `value` at `loc`, which must be an object of `fields`.
#[must_use]
pub fn problems(value: &Value, fields: &'static [Field], loc: &[Value]) -> Vec<Problem> {
    let mut checker = Checker { loc: loc.to_vec(), found: Vec::new() };
    checker.value(value, &Rule::Object(fields));
    checker.found
}

/// Everything that is wrong with `value` as the id of an agent or system.
#[must_use]
pub fn id(value: &Value, loc: &[Value]) -> Vec<Problem> {
    let mut checker = Checker { loc: loc.to_vec(), found: Vec::new() };
    checker.value(value, &ID);
    checker.found
}

/// The message in `value`, checked by its table.
///
/// # Errors
/// Everything that is wrong.
pub fn message<T: serde::de::DeserializeOwned>(
    value: Value,
    fields: &'static [Field],
    loc: &[Value],
) -> Result<T, Vec<Problem>> {
    let found = problems(&value, fields, loc);
    if !found.is_empty() {
        return Err(found);
    }
    serde_json::from_value(value)
        .map_err(|error| vec![Problem::new("value_error", loc.to_vec(), error.to_string(), None)])
}

struct Checker {
    loc: Vec<Value>,
    found: Vec<Problem>,
}

impl Checker {
    fn report(&mut self, kind: &str, msg: impl Into<String>, input: &Value) {
        if self.found.len() < MOST_PROBLEMS {
            self.found.push(Problem::new(kind, self.loc.clone(), msg, Some(input)));
        }
    }

    fn value(&mut self, value: &Value, rule: &Rule) {
        match rule {
            Rule::Text(least, most) => self.text(value, *least, *most),
            Rule::Name(least, most) => {
                self.text(value, *least, *most);
                if value.as_str().is_some_and(|text| text.contains(is_hidden)) {
                    self.report("string_pattern_mismatch", NO_CONTROL, value);
                }
            }
            Rule::Id => self.id(value),
            Rule::Time => self.time(value),
            Rule::Number(least, most) => match value.as_f64().filter(|_| value.is_number()) {
                Some(number) => self.bounds(number, *least, *most, value),
                None => self.report("float_type", "Input should be a valid number", value),
            },
            Rule::Integer(least, most) => match value.as_f64().filter(|_| value.is_number()) {
                Some(number) if number.fract() == 0.0 => self.bounds(number, *least, *most, value),
                Some(_) => self.report(
                    "int_from_float",
                    "Input should be a valid integer, got a number with a fractional part",
                    value,
                ),
                None => self.report("int_type", "Input should be a valid integer", value),
            },
            Rule::Bool if value.is_boolean() => {}
            Rule::Bool => self.report("bool_type", "Input should be a valid boolean", value),
            Rule::OneOf(names) if value.as_str().is_some_and(|text| names.contains(&text)) => {}
            Rule::OneOf(names) => {
                let msg = format!("Input should be one of: {}", names.join(", "));
                self.report("enum", msg, value);
            }
            Rule::AnyObject if value.is_object() => {}
            Rule::Object(fields) if value.is_object() => self.fields(value, fields),
            Rule::AnyObject | Rule::Object(_) => {
                self.report("dict_type", "Input should be a valid object", value);
            }
            Rule::AnyList if value.is_array() => {}
            Rule::AnyList => self.report("list_type", "Input should be a valid list", value),
            Rule::List(least, item) => self.list(value, *least, item),
        }
    }

    fn text(&mut self, value: &Value, least: usize, most: usize) {
        let Some(text) = value.as_str() else {
            return self.report("string_type", "Input should be a valid string", value);
        };
        let length = text.chars().count();
        if length < least {
            self.report("string_too_short", format!("String should have at least {least} character"), value);
        } else if length > most {
            self.report("string_too_long", format!("String should have at most {most} characters"), value);
        }
    }

    fn id(&mut self, value: &Value) {
        self.text(value, 1, LONGEST_NAME_OF_AGENT);
        match value.as_str().and_then(name_flaw) {
            None | Some(NameFlaw::TooLong) => {}
            Some(NameFlaw::Blank) if value == "" => {}
            Some(NameFlaw::Hidden) => self.report("string_pattern_mismatch", NO_CONTROL, value),
            Some(NameFlaw::Blank | NameFlaw::Edge | NameFlaw::Dots) => {
                self.report("string_pattern_mismatch", NO_ID, value);
            }
        }
    }

    fn time(&mut self, value: &Value) {
        match value.as_str().map(Time::parse) {
            Some(Some(_)) => {}
            Some(None) => self.report("datetime_parsing", "Input should be a valid RFC 3339 time", value),
            None => self.report("datetime_type", "Input should be a time as a string", value),
        }
    }

    fn bounds(&mut self, number: f64, least: f64, most: f64, value: &Value) {
        if number < least {
            self.report("greater_than_equal", format!("Input should be greater than or equal to {least}"), value);
        } else if number > most {
            self.report("less_than_equal", format!("Input should be less than or equal to {most}"), value);
        }
    }

    fn fields(&mut self, value: &Value, fields: &[Field]) {
        for field in fields {
            self.loc.push(field.name.into());
            match value.get(field.name) {
                None if field.required => self.report("missing", "Field required", value),
                None => {}
                Some(Value::Null) if field.nullable => {}
                Some(inner) => self.value(inner, &field.rule),
            }
            self.loc.pop();
        }
    }

    fn list(&mut self, value: &Value, least: usize, item: &Rule) {
        let Some(items) = value.as_array() else {
            return self.report("list_type", "Input should be a valid list", value);
        };
        if items.len() < least {
            let msg = format!("List should have at least {least} item after validation, not {}", items.len());
            self.report("too_short", msg, value);
        }
        for (at, inner) in items.iter().enumerate() {
            if self.found.len() >= MOST_PROBLEMS {
                return;
            }
            self.loc.push(at.into());
            self.value(inner, item);
            self.loc.pop();
        }
    }
}
