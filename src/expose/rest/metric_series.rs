//! The series that a metric of a REST request belongs to.

use super::routes::system_metrics::MetricData;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use vitals_core::rules::units::canonical;
use vitals_core::series::{Attributes, MetricKind, Origin, Part, Scope, SeriesSpec, Shape};

/// The series that a REST metric belongs to, and what its value is multiplied by for the series' unit: its system, name,
/// dimensions, and its component, so that two components of a system that report the same name stay apart.
pub fn spec_of(metric: &MetricData, component: &Arc<Scope>, resource: &Arc<Attributes>) -> (SeriesSpec, f64) {
    let attributes = dimensions(&metric.dimensions);
    let kind: MetricKind = metric.metric_type.into();
    let (unit, factor) = canonical(kind, &metric.unit);
    let spec = SeriesSpec {
        metric: metric.metric_name.clone(),
        unit: unit.into_owned(),
        kind,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        // Several spellings with different factors are one series, so the factor is none of its properties.
        factor: 1.0,
        origin: Origin::Rest,
        scope: component.clone(),
        attributes,
        resource: resource.clone(),
    };
    (spec, factor)
}

/// A metric's dimensions as attributes: the number 80 and the string "80" stay two values.
fn dimensions(dimensions: &serde_json::Map<String, Value>) -> Attributes {
    let dimensions: BTreeMap<&String, &Value> = dimensions.iter().collect();
    let pairs = dimensions.iter().map(|(key, value)| ((*key).clone(), dimension(value))).collect();
    let types: String = dimensions.values().map(|value| type_code(value)).collect();
    Attributes::new(pairs, &types, 0)
}

/// As [`Attributes::codes`] has it.
fn type_code(value: &Value) -> String {
    match value {
        Value::Null => "e".to_owned(),
        Value::Bool(_) => "b".to_owned(),
        Value::Number(number) if whole(number).is_none() && number.is_f64() => "d".to_owned(),
        Value::Number(_) => "i".to_owned(),
        Value::String(_) => "s".to_owned(),
        Value::Array(all) => format!("[{}]", all.iter().map(type_code).collect::<String>()),
        Value::Object(all) => format!("{{{}}}", all.values().map(type_code).collect::<String>()),
    }
}

/// The text of a dimension's value.
fn dimension(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string()),
        other => other.to_string(),
    }
}

/// A number without a fraction. JSON does not tell `1.0` from `1`, so both are the whole number 1.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: &serde_json::Number) -> Option<i64> {
    /// Up to here every whole number is a double.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
    number.as_i64().or_else(|| float.map(|float| float as i64))
}
