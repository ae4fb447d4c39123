//! Requests on their way: one attempt over gRPC or HTTP, and when to try again.
//!
//! What may be tried again, and how the receiver says when, is the OTLP specification's ("Failures" under OTLP/gRPC
//! and OTLP/HTTP): a request that was refused for what it says is dropped and counted, never repeated.

use super::grpc::GrpcClient;
use super::ring::Ring;
use super::{Compression, ExportConfig, ExportError, Protocol};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The longest pause that a receiver can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// How long before its time ends a request is tried for the last time.
const LAST_MARGIN: Duration = Duration::from_secs(10);

/// How the pauses between attempts grow.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the second attempt.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), most: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause after `failures` attempts: doubled each time, somewhere between half and all of it, so that many
    /// senders do not come back together. What the receiver asked for is the least.
    pub fn pause(self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let jitter = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        let own = doubled.min(self.most).mul_f64(0.5 + jitter / 2.0);
        asked.map_or(own, |asked| own.max(asked))
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failed {
    /// Worth trying again, not before `after`.
    Retry {
        /// What the receiver or the network said.
        reason: String,
        /// What the receiver asked for.
        after: Option<Duration>,
    },
    /// The same request would be refused again.
    Refused(String),
}

/// Sends one request after the other.
pub struct Sender {
    wire: Wire,
    backoff: Backoff,
    give_up: Duration,
}

// Boxed: the two clients differ much in size.
enum Wire {
    Grpc(Box<GrpcClient>),
    Http(Box<HttpClient>),
}

struct HttpClient {
    client: reqwest::Client,
    url: reqwest::Url,
    headers: HeaderMap,
    compression: Compression,
}

impl Sender {
    /// A sender to `endpoint`.
    pub fn new(endpoint: &str, config: &ExportConfig, backoff: Backoff) -> Result<Self, ExportError> {
        let timeout = Duration::from_secs(config.timeout_seconds.max(1));
        let headers = headers(config)?;
        let wrong = |reason: String| ExportError::Endpoint { endpoint: endpoint.to_owned(), reason };
        let url = reqwest::Url::parse(endpoint).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("the scheme {} is not http or https", url.scheme())));
        }
        let wire = match config.protocol {
            Protocol::Grpc => {
                let metadata = MetadataMap::from_headers(headers);
                let client = GrpcClient::new(endpoint, config.compression, metadata, timeout);
                Wire::Grpc(Box::new(client.map_err(|error| wrong(error.to_string()))?))
            }
            Protocol::Http => {
                let client =
                    reqwest::Client::builder().timeout(timeout).build().map_err(|error| wrong(error.to_string()))?;
                Wire::Http(Box::new(HttpClient {
                    client,
                    url: metrics_url(url),
                    headers,
                    compression: config.compression,
                }))
            }
        };
        Ok(Self { wire, backoff, give_up: Duration::from_secs(config.retry_seconds) })
    }

    /// Sends what comes until `requests` is closed and empty.
    pub async fn run(mut self, requests: Arc<Ring<ExportMetricsServiceRequest>>) {
        while let Some(request) = requests.next().await {
            let points = count(&request);
            match self.deliver(&request, &requests).await {
                Ok(answer) => accepted(points, &answer),
                Err(reason) => {
                    metrics::counter!("vitals_export_failed_points").increment(points);
                    tracing::warn!(points, reason, "an export was given up");
                }
            }
        }
    }

    /// One request, until it is accepted, refused for good, or too old.
    async fn deliver(
        &mut self,
        request: &ExportMetricsServiceRequest,
        requests: &Ring<ExportMetricsServiceRequest>,
    ) -> Result<ExportMetricsServiceResponse, String> {
        let message = Bytes::from(request.encode_to_vec());
        let begun = Instant::now();
        let mut failures = 0;
        loop {
            let (reason, after) = match self.attempt(message.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Refused(reason)) => return Err(reason),
                Err(Failed::Retry { reason, after }) => (reason, after),
            };
            failures += 1;
            metrics::counter!("vitals_export_retries").increment(1);
            // What the receiver asks for may be later than the time ends: the last attempt comes before that.
            let left = self.give_up.saturating_sub(LAST_MARGIN.min(self.give_up / 10)).saturating_sub(begun.elapsed());
            let pause = self.backoff.pause(failures, after).min(left);
            // When the service stops, each request left gets one attempt: stopping must not take minutes.
            if requests.is_closed() || left.is_zero() {
                return Err(format!("{reason} ({failures} attempts)"));
            }
            if failures == 1 {
                tracing::warn!(reason, "the export endpoint does not accept; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = requests.closed() => {}
            }
        }
    }

    async fn attempt(&mut self, message: Bytes) -> Result<ExportMetricsServiceResponse, Failed> {
        let answer = match &mut self.wire {
            Wire::Grpc(client) => client.export(message).await.map_err(|status| from_status(&status))?,
            Wire::Http(client) => client.export(message).await?,
        };
        // An answer that cannot be read came with a success: the points are there.
        Ok(ExportMetricsServiceResponse::decode(answer).unwrap_or_default())
    }
}

impl HttpClient {
    async fn export(&self, message: Bytes) -> Result<Bytes, Failed> {
        let body = compress(self.compression, message).map_err(|error| Failed::Refused(error.to_string()))?;
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(http::header::CONTENT_TYPE, "application/x-protobuf");
        request = match self.compression {
            Compression::None => request,
            Compression::Gzip => request.header(http::header::CONTENT_ENCODING, "gzip"),
            Compression::Zstd => request.header(http::header::CONTENT_ENCODING, "zstd"),
        };
        let network = |error: reqwest::Error| Failed::Retry { reason: chain(&error), after: None };
        let answer = request.body(body).send().await.map_err(network)?;
        let status = answer.status();
        if status.is_success() {
            return answer.bytes().await.map_err(network);
        }
        let reason = format!("the endpoint answered {status}");
        if may_retry(status) {
            return Err(Failed::Retry { reason, after: retry_after(answer.headers()) });
        }
        Err(Failed::Refused(reason))
    }
}

/// An error with its causes: the outermost alone rarely says what happened.
pub(in crate::expose) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

fn headers(config: &ExportConfig) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let wrong = |reason: String| ExportError::Header { name: name.clone(), reason };
        let key: HeaderName = name.to_lowercase().parse().map_err(|error| wrong(format!("{error}")))?;
        let mut value = HeaderValue::from_str(value).map_err(|error| wrong(error.to_string()))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// The endpoint with `/v1/metrics` behind it, unless it is there.
pub fn metrics_url(mut url: reqwest::Url) -> reqwest::Url {
    let path = url.path().trim_end_matches('/');
    if !path.ends_with("/v1/metrics") {
        url.set_path(&format!("{path}/v1/metrics"));
    }
    url
}

/// Compresses `message`.
///
/// # Errors
/// When the encoder fails, which it does only without memory.
pub fn compress(compression: Compression, message: Bytes) -> std::io::Result<Bytes> {
    Ok(match compression {
        Compression::None => message,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&message)?;
            encoder.finish()?.into()
        }
        Compression::Zstd => zstd::encode_all(&message[..], 1)?.into(),
    })
}

/// The statuses that OTLP/HTTP names as retryable.
fn may_retry(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// `Retry-After`, in seconds or as a date; a day at most, so that it can be added to any time.
pub(in crate::expose) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = said.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(said).ok()?;
    let left = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)).min(LONGEST_PAUSE))
}

/// A gRPC status as OTLP/gRPC reads it.
pub fn from_status(status: &Status) -> Failed {
    let reason = format!("the endpoint answered {:?}: {}", status.code(), status.message());
    let after = retry_info(status.details());
    let retry = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Only with RetryInfo does the receiver say that it can recover.
        Code::ResourceExhausted => after.is_some(),
        // A connection that broke midway is reported as UNKNOWN, with its cause.
        Code::Unknown => std::error::Error::source(status).is_some(),
        _ => false,
    };
    if retry { Failed::Retry { reason, after } } else { Failed::Refused(reason) }
}

/// `google.rpc.Status`, as `grpc-status-details-bin` carries it.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcDetail {
    /// `type.googleapis.com/` and the message's name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcDuration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)).min(LONGEST_PAUSE))
}

/// How many points a request holds.
fn count(request: &ExportMetricsServiceRequest) -> u64 {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let metrics =
        request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        _ => 0,
    });
    points.sum::<usize>() as u64
}

fn accepted(points: u64, answer: &ExportMetricsServiceResponse) {
    let partial = answer.partial_success.clone().unwrap_or_default();
    let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0).min(points);
    metrics::counter!("vitals_export_points").increment(points - rejected);
    if rejected > 0 {
        metrics::counter!("vitals_export_rejected_points").increment(rejected);
        tracing::warn!(rejected, points, reason = partial.error_message, "the export endpoint rejected points");
    } else if !partial.error_message.is_empty() {
        tracing::warn!(points, warning = partial.error_message, "the export endpoint warns");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_get_the_path_of_the_signal() {
        for (endpoint, expect) in [
            ("http://host:4318", "http://host:4318/v1/metrics"),
            ("http://host:4318/", "http://host:4318/v1/metrics"),
            ("https://host/otlp", "https://host/otlp/v1/metrics"),
            ("https://host/otlp/v1/metrics", "https://host/otlp/v1/metrics"),
        ] {
            let url = reqwest::Url::parse(endpoint).unwrap();
            assert_eq!(metrics_url(url).as_str(), expect);
        }
    }

    #[test]
    fn the_receiver_says_when() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert("retry-after", HeaderValue::from_static("7"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert("retry-after", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(retry_after(&headers), Some(Duration::ZERO));
        for huge in ["18446744073709551615", "99999999999999999999999", "Sun, 06 Nov 9994 08:49:37 GMT"] {
            headers.insert("retry-after", HeaderValue::from_static(huge));
            assert!(retry_after(&headers).is_none_or(|pause| pause <= LONGEST_PAUSE), "{huge}");
            // An instant can be that far ahead.
            let _ = Instant::now() + Backoff::default().pause(1, retry_after(&headers));
        }
        for none in ["", "soon", "-5"] {
            headers.insert("retry-after", HeaderValue::from_static(none));
            assert_eq!(retry_after(&headers), None, "{none}");
        }
    }

    #[test]
    fn statuses_are_retried_as_the_specification_says() {
        let retried = |status: &Status| matches!(from_status(status), Failed::Retry { .. });
        for code in 1..=16 {
            let code = Code::from_i32(code);
            let expect = matches!(
                code,
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            );
            assert_eq!(retried(&Status::new(code, "")), expect, "{code:?}");
        }
        let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: 2, nanos: 500_000_000 }) };
        let details = RpcStatus {
            code: 8,
            message: String::new(),
            details: vec![RpcDetail {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        let status = Status::with_details(Code::ResourceExhausted, "", details.encode_to_vec().into());
        match from_status(&status) {
            Failed::Retry { after, .. } => assert_eq!(after, Some(Duration::from_millis(2500))),
            Failed::Refused(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn pauses_grow_to_a_limit_and_respect_the_receiver() {
        let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };
        for (failures, least, most) in [(1, 500, 1000), (3, 2000, 4000), (40, 15_000, 30_000)] {
            let pause = backoff.pause(failures, None).as_millis();
            assert!((least..=most).contains(&pause), "{failures}: {pause}");
        }
        assert!(backoff.pause(1, Some(Duration::from_secs(60))) >= Duration::from_secs(60));
    }
}
