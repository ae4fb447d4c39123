//! OTLP/JSON becomes protobuf bytes, so that everything behind this room knows one form.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

/// Why a body is not an OTLP/JSON metrics request.
#[derive(Debug, thiserror::Error)]
#[error("the JSON is not an OTLP metrics request: {0}")]
pub struct NotOtlpJson(#[from] serde_json::Error);

/// The protobuf bytes of an OTLP/JSON metrics request.
///
/// # Errors
/// When it is not JSON, or not such a request.
pub fn otlp_json(body: &[u8]) -> Result<Vec<u8>, NotOtlpJson> {
    let request: ExportMetricsServiceRequest = serde_json::from_slice(body)?;
    Ok(request.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_example() {
        let example = include_bytes!("../../tests/data/otlp-examples/metrics.json");
        let bytes = otlp_json(example).unwrap();
        let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
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
}
