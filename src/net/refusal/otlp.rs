//! `google.rpc.Status`, in which OTLP says over both protocols what went wrong.

use super::Refusal;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Refusal {
    fn rpc_status(&self) -> RpcStatus {
        let retry = self.retry_after().map(|delay| {
            let retry_delay = ProtoDuration {
                seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                nanos: delay.subsec_nanos().cast_signed(),
            };
            Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: RetryInfo { retry_delay: Some(retry_delay) }.encode_to_vec(),
            }
        });
        RpcStatus { code: self.code() as i32, message: self.to_string(), details: retry.into_iter().collect() }
    }

    /// The body of the answer over OTLP/HTTP, as protobuf.
    pub fn otlp_protobuf(&self) -> Vec<u8> {
        self.rpc_status().encode_to_vec()
    }

    /// The body of the answer over OTLP/HTTP, as JSON.
    pub fn otlp_json(&self) -> Vec<u8> {
        let details: Vec<_> = self
            .retry_after()
            .iter()
            .map(|delay| {
                serde_json::json!({
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": format!("{}s", delay.as_secs_f64()),
                })
            })
            .collect();
        serde_json::json!({ "code": self.code() as i32, "message": self.to_string(), "details": details })
            .to_string()
            .into_bytes()
    }

    /// The status over gRPC, with `RetryInfo` in its details.
    pub fn grpc_status(&self) -> tonic::Status {
        if self.retry_after().is_none() {
            return tonic::Status::new(self.code(), self.to_string());
        }
        tonic::Status::with_details(self.code(), self.to_string(), self.otlp_protobuf().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn retry_info_travels_in_the_details() {
        let refusal = Refusal::Overloaded { retry_after: Duration::from_millis(1500) };
        let status = RpcStatus::decode(refusal.grpc_status().details()).unwrap();
        assert_eq!(
            (status.code, status.message.as_str()),
            (8, "more arrives than can be processed; try again in 1.5 s")
        );
        let info = RetryInfo::decode(&status.details[0].value[..]).unwrap();
        assert_eq!(info.retry_delay, Some(ProtoDuration { seconds: 1, nanos: 500_000_000 }));
        let json: serde_json::Value = serde_json::from_slice(&refusal.otlp_json()).unwrap();
        assert_eq!(json["details"][0]["retryDelay"], "1.5s");
    }
}
