//! OTLP/JSON becomes protobuf bytes, so that there is one walk.

use super::wire::Malformed;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

/// The protobuf bytes of an OTLP/JSON metrics request.
///
/// # Errors
/// When it is not JSON, or not such a request.
pub fn otlp_json(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let request: ExportMetricsServiceRequest =
        serde_json::from_slice(body).map_err(|e| Malformed::Json(e.to_string()))?;
    Ok(request.encode_to_vec())
}
