//! Problems with a request. They are named as pydantic names them, because clients of the API match on those names.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Most problems named in one answer.
pub const MOST_PROBLEMS: usize = 100;
/// Most bytes of an input that are sent back.
const LONGEST_INPUT: usize = 1_000;

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
