//! OTLP/JSON becomes protobuf bytes, so that everything behind this room knows one form.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric};
use prost::Message as _;
use serde::{Deserialize, Deserializer};

/// Why a body is not an OTLP/JSON metrics request.
#[derive(Debug, thiserror::Error)]
#[error("the JSON is not an OTLP metrics request: {0}")]
pub struct NotOtlpJson(#[from] serde_json::Error);

/// The protobuf bytes of an OTLP/JSON metrics request.
///
/// # Errors
/// When it is not JSON, or not such a request.
pub fn otlp_json(body: &[u8]) -> Result<Vec<u8>, NotOtlpJson> {
    let mut request: ExportMetricsServiceRequest = serde_json::from_slice(body)?;
    if points(&mut request).any(|point| point.value.is_none()) {
        let doubles: Doubles = serde_json::from_slice(body)?;
        for (point, double) in points(&mut request).zip(doubles.points()) {
            point.value = point.value.or(double.map(Value::AsDouble));
        }
    }
    Ok(request.encode_to_vec())
}

/// The points of all gauges and sums, in order.
fn points(request: &mut ExportMetricsServiceRequest) -> impl Iterator<Item = &mut NumberDataPoint> {
    let scopes = request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics);
    scopes.flat_map(|scope| &mut scope.metrics).flat_map(|metric| match &mut metric.data {
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.iter_mut(),
        Some(metric::Data::Sum(sum)) => sum.data_points.iter_mut(),
        _ => [].iter_mut(),
    })
}

/// As much of a request as it takes to find each `asDouble`. The mapping of protobuf to JSON writes NaN and infinities
/// as strings, and takes any double as one; the generated types take such a point for one without a value.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Doubles {
    #[serde(default)]
    resource_metrics: Vec<ResourceDoubles>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDoubles {
    #[serde(default)]
    scope_metrics: Vec<ScopeDoubles>,
}

#[derive(Deserialize)]
struct ScopeDoubles {
    #[serde(default)]
    metrics: Vec<MetricDoubles>,
}

#[derive(Deserialize)]
struct MetricDoubles {
    gauge: Option<PointDoubles>,
    sum: Option<PointDoubles>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PointDoubles {
    #[serde(default)]
    data_points: Vec<PointDouble>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PointDouble {
    #[serde(default, deserialize_with = "double")]
    as_double: Option<f64>,
}

impl Doubles {
    /// One for each of [`points`], in the same order.
    fn points(&self) -> impl Iterator<Item = Option<f64>> {
        let scopes = self.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| &scope.metrics);
        let points = metrics.flat_map(|metric| metric.gauge.iter().chain(&metric.sum));
        points.flat_map(|points| &points.data_points).map(|point| point.as_double)
    }
}

/// A double, or a double as a string; `None` is neither.
fn double<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust also knows other spellings of those, which the mapping does not.
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest::decode(&otlp_json(json.as_bytes()).unwrap()[..]).unwrap()
    }

    #[test]
    fn the_specification_s_example() {
        let request = decoded(include_str!("../../tests/data/otlp-examples/metrics.json"));
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(metrics.len(), 4);
        assert!(metrics.iter().all(|metric| metric.data.is_some()));
    }

    #[test]
    fn other_json_is_refused() {
        for body in ["", "[", "[1]", "7", r#"{"resourceMetrics": 7}"#] {
            assert!(otlp_json(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_double_may_be_a_string() {
        let values = [
            (r#""NaN""#, Some(f64::NAN)),
            (r#""Infinity""#, Some(f64::INFINITY)),
            (r#""-Infinity""#, Some(f64::NEG_INFINITY)),
            (r#""2.5e3""#, Some(2_500.0)),
            ("1.5", Some(1.5)),
            // Read to the last bit: a shorter way would take it for ...107.2.
            ("1952698373875107.0", Some(1_952_698_373_875_107.0)),
            (r#""inf""#, None),
            (r#""""#, None),
            ("null", None),
            ("[1]", None),
        ];
        // One metric a point, gauges and sums by turns, so that the order across metrics counts too.
        let metrics: Vec<String> = (values.iter().enumerate())
            .map(|(at, (json, _))| {
                let kind = if at % 2 == 0 { "gauge" } else { "sum" };
                format!(r#"{{"name": "m", "{kind}": {{"dataPoints": [{{"asDouble": {json}}}, {{"asInt": "7"}}]}}}}"#)
            })
            .collect();
        let mut request = decoded(&format!(
            r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{}]}}]}}]}}"#,
            metrics.join(", ")
        ));
        let got: Vec<_> = points(&mut request).map(|point| point.value).collect();
        assert_eq!(got.len(), 2 * values.len());
        for ((json, expect), got) in values.iter().zip(got.chunks(2)) {
            match (got[0], expect) {
                (Some(Value::AsDouble(got)), Some(expect)) => assert_eq!(got.to_bits(), expect.to_bits(), "{json}"),
                (got, expect) => assert_eq!((got, *expect), (None, None), "{json}"),
            }
            assert_eq!(got[1], Some(Value::AsInt(7)), "{json}");
        }
    }
}
