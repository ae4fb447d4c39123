//! One connection to a receiver.

use crate::commands::CommandError;
use crate::expose::otlp::grpc::GrpcClient;
use crate::expose::otlp::send::{compress, metrics_url};
use crate::expose::otlp::{Compression, Protocol};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use std::time::Duration;
use tonic::metadata::MetadataMap;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted, except for `rejected` points.
    Acknowledged {
        /// `partial_success.rejected_data_points`
        rejected: u64,
        /// `partial_success.error_message`
        reason: String,
    },
    /// Refused, with the gRPC status or the HTTP status.
    Refused(String),
    /// No answer: the points may be there or not.
    Unanswered(String),
}

/// One connection.
pub enum Wire {
    /// OTLP/gRPC.
    Grpc(Box<GrpcClient>),
    /// OTLP/HTTP.
    Http {
        /// Keeps one connection alive.
        client: reqwest::Client,
        /// With `/v1/metrics`.
        url: reqwest::Url,
        /// Sent with each request.
        headers: HeaderMap,
        /// How bodies are compressed.
        compression: Compression,
    },
}

impl Wire {
    /// A connection that is made with the first request.
    ///
    /// # Errors
    /// When the endpoint or the token cannot be used.
    pub fn new(
        endpoint: &str,
        protocol: Protocol,
        compression: Compression,
        token: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, CommandError> {
        let wrong = |error: &dyn std::fmt::Display| CommandError::Target {
            target: endpoint.to_owned(),
            reason: error.to_string(),
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| CommandError::Usage("the token holds characters that no header can".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        match protocol {
            Protocol::Grpc => GrpcClient::new(endpoint, compression, MetadataMap::from_headers(headers), timeout)
                .map(|client| Self::Grpc(Box::new(client)))
                .map_err(|error| wrong(&error)),
            Protocol::Http => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                match compression {
                    Compression::None => None,
                    Compression::Gzip => headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
                    Compression::Zstd => headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd")),
                };
                let client = reqwest::Client::builder()
                    .timeout(timeout)
                    .tcp_nodelay(true)
                    .pool_max_idle_per_host(1)
                    .http1_only()
                    .build()
                    .map_err(|error| wrong(&error))?;
                let url = reqwest::Url::parse(endpoint).map_err(|error| wrong(&error))?;
                Ok(Self::Http { client, url: metrics_url(url), headers, compression })
            }
        }
    }

    /// Sends one encoded request and waits for what becomes of it.
    pub async fn send(&mut self, message: Bytes) -> Answer {
        match self {
            Self::Grpc(client) => match client.export(message).await {
                Ok(answer) => acknowledged(&answer),
                // Without a cause the status came from the other side; with one, from the connection.
                Err(status) if std::error::Error::source(&status).is_some() || lost(&status) => {
                    Answer::Unanswered(format!("{:?}: {}", status.code(), status.message()))
                }
                Err(status) => Answer::Refused(format!("{:?}", status.code())),
            },
            Self::Http { client, url, headers, compression } => {
                let body = match compress(*compression, message) {
                    Ok(body) => body,
                    Err(error) => return Answer::Unanswered(error.to_string()),
                };
                let request = client.post(url.clone()).headers(headers.clone()).body(body);
                let answer = match request.send().await {
                    Ok(answer) => answer,
                    Err(error) => return Answer::Unanswered(chain(&error)),
                };
                let status = answer.status();
                match answer.bytes().await {
                    Ok(body) if status.is_success() => acknowledged(&body),
                    Ok(_) => Answer::Refused(status.as_u16().to_string()),
                    Err(error) => Answer::Unanswered(chain(&error)),
                }
            }
        }
    }
}

/// What this side says when there is no connection or no answer in time.
fn lost(status: &tonic::Status) -> bool {
    status.message().starts_with("no connection") || status.message() == "Timeout expired"
}

fn acknowledged(answer: &[u8]) -> Answer {
    let partial = ExportMetricsServiceResponse::decode(answer).unwrap_or_default().partial_success.unwrap_or_default();
    Answer::Acknowledged {
        rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0),
        reason: partial.error_message,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
