//! What handlers take from the head of a request: the caller, the variable of the path, and the parameters.

use super::contract::{self, Problem};
use super::docs;
use super::error::{ApiError, none_wrong};
use super::time::Time;
use crate::auth::Denied;
use crate::expose::Rest;
use crate::net::Refusal;
use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use vitals_core::caller::{Caller, Scope};
use vitals_core::ids::UnixNanos;

/// The longest part of an unknown parameter's name that is sent back, in characters.
const LONGEST_PARAMETER: usize = 100;

/// A caller with `telemetry:read`.
pub struct Reader(pub Caller);
/// A caller with `telemetry:write`.
pub struct Writer(pub Caller);

/// A caller with `telemetry:operate`.
pub struct Operator(pub Caller);

fn caller(rest: &Rest, headers: &HeaderMap, scope: Scope) -> Result<Caller, ApiError> {
    let header = match headers.get(header::AUTHORIZATION) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| Refusal::from(Denied::NotBearer))?),
    };
    let caller = rest.auth.caller(header).map_err(Refusal::from)?;
    if caller.may(scope) { Ok(caller) } else { Err(Refusal::MissingScope(scope).into()) }
}

impl FromRequestParts<Arc<Rest>> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let caller = caller(rest, &parts.headers, Scope::Read)?;
        parameters(parts)?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<Rest>> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let caller = caller(rest, &parts.headers, Scope::Write)?;
        parameters(parts)?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<Rest>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let caller = caller(rest, &parts.headers, Scope::Operate)?;
        parameters(parts)?;
        Ok(Self(caller))
    }
}

/// The one variable of a path, decoded.
pub struct PathVariable(pub String);

impl FromRequestParts<Arc<Rest>> for PathVariable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, rest: &Arc<Rest>) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, rest).await;
        // The router takes a second slash for a variable without a text.
        if path.as_ref().is_ok_and(|axum::extract::Path(text)| text.is_empty()) {
            return Err(ApiError::not_found("there is no such route"));
        }
        path.map(|axum::extract::Path(text)| Self(text)).map_err(|_| {
            ApiError::Invalid(vec![Problem::new("string_unicode", ["path"], "Input should be UTF-8", None)])
        })
    }
}

/// Anyone, on a route that asks for no token.
pub struct Anyone;

impl FromRequestParts<Arc<Rest>> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Rest>) -> Result<Self, ApiError> {
        parameters(parts).map(|_| Self)
    }
}

/// Reads the parameters behind `?`. A name that the document does not give to the route is refused, and so is one that comes twice:
/// a filter that is misspelt and ignored gives a wrong answer.
fn parameters(parts: &Parts) -> Result<Vec<(String, String)>, ApiError> {
    let Ok(axum::extract::Query(pairs)) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
    else {
        return Err(ApiError::Invalid(vec![Problem::new("string_unicode", ["query"], "Input should be UTF-8", None)]));
    };
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let known = docs::parameters(path.strip_suffix('/').unwrap_or(path));
    let problem = |(at, (name, value)): (usize, &(String, String))| {
        let (kind, msg) = if !known.contains(&name.as_str()) {
            ("extra_forbidden", format!("The route has no such parameter; it has: {}", listed(known)))
        } else if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
            ("value_error", "The parameter should be given once".to_owned())
        } else {
            return None;
        };
        let name: String = name.chars().take(LONGEST_PARAMETER).collect();
        Some(Problem::new(kind, ["query", &name], msg, Some(&value.as_str().into())))
    };
    let problems: Vec<Problem> = pairs.iter().enumerate().filter_map(problem).take(contract::MOST_PROBLEMS).collect();
    none_wrong(problems)?;
    Ok(pairs)
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The parameters behind `?`, each once, and what the client accepts.
pub struct Query {
    pairs: Vec<(String, String)>,
    accept: String,
}

impl FromRequestParts<Arc<Rest>> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Rest>) -> Result<Self, ApiError> {
        let accepted = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accept = accepted.collect::<Vec<_>>().join(", ");
        Ok(Self { pairs: parameters(parts)?, accept })
    }
}

impl Query {
    /// These parameters.
    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { pairs, accept: String::new() }
    }

    /// The header `Accept`; empty without it.
    pub fn accept(&self) -> &str {
        &self.accept
    }

    /// The text of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter read by `parse`; what it cannot read is one more problem.
    pub fn parsed<T>(
        &self,
        name: &str,
        problems: &mut Vec<Problem>,
        kind: &str,
        expect: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.get(name)?;
        let value = parse(text);
        if value.is_none() {
            problems.push(Problem::new(kind, ["query", name], expect, Some(&text.into())));
        }
        value
    }

    /// One of the names of an enumeration.
    pub fn named<T: serde::de::DeserializeOwned>(&self, name: &str, problems: &mut Vec<Problem>) -> Option<T> {
        let text = self.get(name)?;
        let value = T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text));
        value
            .map_err(|error| {
                let msg = format!("Input should be another name: {error}");
                problems.push(Problem::new("enum", ["query", name], msg, Some(&text.into())));
            })
            .ok()
    }

    /// A whole number within bounds.
    pub fn whole(&self, name: &str, bounds: RangeInclusive<u32>, problems: &mut Vec<Problem>) -> Option<u32> {
        let text = self.get(name)?;
        let input = Value::from(text);
        let location = ["query", name];
        let (least, most) = (*bounds.start(), *bounds.end());
        match text.parse::<i64>() {
            Err(_) => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                problems.push(Problem::new("int_parsing", location, msg, Some(&input)));
            }
            Ok(number) if number < i64::from(least) => {
                let msg = format!("Input should be greater than or equal to {least}");
                problems.push(Problem::new("greater_than_equal", location, msg, Some(&input)));
            }
            Ok(number) if number > i64::from(most) => {
                let msg = format!("Input should be less than or equal to {most}");
                problems.push(Problem::new("less_than_equal", location, msg, Some(&input)));
            }
            Ok(number) => return u32::try_from(number).ok(),
        }
        None
    }

    /// The id of an agent or system, which need not be known.
    pub fn id(&self, name: &str, problems: &mut Vec<Problem>) -> Option<&str> {
        let text = self.get(name)?;
        problems.extend(contract::id(&text.into(), &["query".into(), name.into()]));
        Some(text)
    }

    /// A time; a `+` that was not escaped came as a space.
    pub fn time(&self, name: &str, problems: &mut Vec<Problem>) -> Option<UnixNanos> {
        let expect = "Input should be a valid RFC 3339 time";
        self.parsed(name, problems, "datetime_parsing", expect, |text| {
            Time::parse(text).or_else(|| Time::parse(&text.replace(' ', "+"))).map(|time| time.0)
        })
    }
}
