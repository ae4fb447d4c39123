//! The contract of requests: one declaration of a message, its type, gives its schema in the document and its checks.
//!
//! The fields of a type, with their `serde` and `schema` attributes, become an OpenAPI schema by `utoipa`. A [`Contract`] reads
//! that same schema into the rules of the check, so that nothing is checked that the document does not say, and the other
//! way round. All problems of a request are named at once, in the order of the fields.

mod rule;

pub use super::problem::{MOST_PROBLEMS, Problem};

use super::time::Time;
use rule::{Field, Rule};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::LazyLock;
use utoipa::ToSchema;
use vitals_core::ids::{LONGEST_NAME, NameFlaw, is_hidden, name_flaw};

/// What is said of a name with a control character in it.
const NO_CONTROL: &str = "String should have no control characters";

/// What is said of an id that nobody could ask for, or that looks like another one.
const NO_ID: &str = "String should not be blank, begin or end with white space, or be . or ..";

/// Checks and reads messages of type `T`.
pub struct Contract<T> {
    rule: LazyLock<Rule>,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + ToSchema> Contract<T> {
    /// The contract that the schema of `T` states.
    pub const fn new() -> Self {
        Self { rule: LazyLock::new(Rule::of::<T>), message: PhantomData }
    }

    /// The same, but for the items of the lists in `T`, which are checked one by one elsewhere.
    pub const fn without_items() -> Self {
        Self { rule: LazyLock::new(Rule::without_items::<T>), message: PhantomData }
    }

    /// Reads the message in `value`, which stands at `loc`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self, value: Value, loc: &[Value]) -> Result<T, Vec<Problem>> {
        let problems = Checker::problems(&value, &self.rule, loc);
        if !problems.is_empty() {
            return Err(problems);
        }
        serde_json::from_value(value)
            .map_err(|error| vec![Problem::new("value_error", loc.to_vec(), error.to_string(), None)])
    }
}

/// Parses a body as JSON.
///
/// # Errors
/// One problem when it is none.
pub fn json(body: &[u8]) -> Result<Value, Vec<Problem>> {
    serde_json::from_slice(body).map_err(|error| {
        let place = [Value::from("body"), Value::from(error.column())];
        vec![Problem::new("json_invalid", place, format!("JSON decode error: {error}"), None)]
    })
}

/// Everything that is wrong with `value` as the id of an agent or system.
#[must_use]
pub fn id(value: &Value, loc: &[Value]) -> Vec<Problem> {
    Checker::problems(value, &Rule::Id, loc)
}

struct Checker {
    loc: Vec<Value>,
    found: Vec<Problem>,
}

impl Checker {
    fn problems(value: &Value, rule: &Rule, loc: &[Value]) -> Vec<Problem> {
        let mut checker = Self { loc: loc.to_vec(), found: Vec::new() };
        checker.value(value, rule);
        checker.found
    }

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
            Rule::OneOf(names) if value.as_str().is_some_and(|text| names.iter().any(|name| name == text)) => {}
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
        self.text(value, 1, LONGEST_NAME);
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
            self.loc.push(field.name.as_str().into());
            match value.get(&field.name) {
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
