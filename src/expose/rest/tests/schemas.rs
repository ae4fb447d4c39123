//! The schemas of the contract and of the document.

use serde_json::Value;
use vitals_core::ids::UnixNanos;

/// Everything in which `value` does not fit `schema`, formats included.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Every time must be in UTC.
fn not_in_utc(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text)
            if super::super::time::Time::parse(text).is_some() && text.len() >= 19 && !text.ends_with('Z') =>
        {
            out.push(format!("{text} is not in UTC"));
        }
        Value::Array(items) => items.iter().for_each(|item| not_in_utc(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| not_in_utc(field, out)),
        _ => {}
    }
}

pub fn contract(name: &str) -> Value {
    let path = format!("{}/tests/data/contract/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every property of the schema is there too: clients rely on the optional ones.
pub fn fits(name: &str, value: &Value) {
    let schema = contract(name);
    let mut out = violations(&schema, value);
    not_in_utc(value, &mut out);
    for property in schema["properties"].as_object().unwrap().keys() {
        if value.get(property).is_none() {
            out.push(format!("{property} is not answered"));
        }
    }
    assert!(out.is_empty(), "{name}: {out:#?}\n{value:#}");
}

/// When the examples were written.
pub fn written() -> UnixNanos {
    super::super::time::Time::parse("2026-03-01T12:00:00Z").unwrap().0
}

pub fn document() -> Value {
    super::super::docs::document(written()).0
}

/// (path, method, operation) of the document.
pub fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

/// A schema of the document, with what it refers to.
pub fn within(document: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    schema
}
