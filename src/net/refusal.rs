//! Why a request is not served: one type for all listeners, with what it is in HTTP and gRPC, and how REST says it.

mod otlp;

use super::MOST_HEAD_BYTES;
use crate::auth::{Denied, scope_name};
use http::StatusCode;
use std::time::Duration;
use tonic::Code;
use vitals_core::caller::Scope;
use vitals_core::log::LogError;
use vitals_core::registry::RegistryError;
use vitals_core::store::StoreError;

/// When to try again after the bytes in flight were used up.
const BYTES_IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);
/// When to try again after the log had no space left.
const LOG_FULL_RETRY: Duration = Duration::from_secs(1);
/// When an OTLP sender may try again after the disk, or something else that is needed, failed.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);
/// When a REST client may try again after such a failure.
const REST_UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);
/// When a quota may have changed.
const QUOTA_RETRY: Duration = Duration::from_secs(60);

/// A reason for which nothing of a request was taken. Its text is for OTLP senders; [`Refusal::rest`] has the text for REST.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or one that is not valid.
    #[error(transparent)]
    Unauthenticated(#[from] Denied),
    /// The token does not allow this kind of request.
    #[error("the token lacks the scope {}", scope_name(*.0))]
    MissingScope(Scope),
    /// The token does not cover this agent or system.
    #[error("the token may not touch {0}")]
    AgentForbidden(String),
    /// The request names a host that is not this one.
    #[error("the request is for the host {0:?}, which this listener on loopback does not have; add it to {1}")]
    ForeignHost(String, &'static str),
    /// There is no such path, or no such thing for this caller.
    #[error("{0}")]
    NotFound(String),
    /// A signal other than metrics, or another gRPC method than those that are served.
    #[error("{0}")]
    UnsupportedSignal(&'static str),
    /// The path exists, but not with this method.
    #[error("{0}")]
    MethodNotAllowed(&'static str),
    /// The head has more bytes than a head may have.
    #[error("the head of the request has more than {MOST_HEAD_BYTES} bytes")]
    HeadTooLarge,
    /// The body did not arrive within its time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body, or what it decompresses to, has more bytes than a request may have.
    #[error("the request is larger than {limit} bytes; send smaller batches")]
    BodyTooLarge {
        /// The most that it may have.
        limit: usize,
    },
    /// Reading the request takes more memory than any request may have.
    #[error("reading the request takes more memory than a request may have; send smaller batches")]
    TooMuchToRead,
    /// The request holds more items of one kind than it may.
    #[error("{count} {items}, at most {limit} are taken at once")]
    TooManyItems {
        /// The number that it holds.
        count: usize,
        /// The name of the items.
        items: &'static str,
        /// The number that it may hold.
        limit: usize,
    },
    /// A content type or content encoding that the listener does not take.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// A `grpc-encoding` that is not taken.
    #[error("{0}")]
    UnsupportedCompression(&'static str),
    /// The request is not what its content type says, or its body cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The frame of a gRPC message breaks the protocol.
    #[error("{0}")]
    InvalidFrame(String),
    /// A unary gRPC call with more than one message.
    #[error("there is more than one message in a unary call; nothing was taken, send one message a call")]
    SeveralMessages,
    /// The bytes of requests in flight are used up.
    #[error("too many bytes are in flight; try again later")]
    BytesInFlight,
    /// More arrives than can be processed.
    #[error("more arrives than can be processed; try again in {} s", retry_after.as_secs_f64())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The tenant has as many agents or series as it may have.
    #[error(transparent)]
    QuotaExceeded(#[from] RegistryError),
    /// The same, for the metrics of one request, of which none could be registered.
    #[error("{metric}: {source}")]
    MetricQuotaExceeded {
        /// The last of them.
        metric: String,
        /// The quota.
        source: RegistryError,
    },
    /// The log did not take a record. REST clients are not told the reason.
    #[error(transparent)]
    LogUnavailable(LogError),
    /// A record is in the log, but was not evaluated within the time for it. It will be.
    #[error("not evaluated within {processing_timeout_ms} ms")]
    NotEvaluated {
        /// The time for it, in milliseconds.
        processing_timeout_ms: u64,
    },
    /// The service stops before it can answer.
    #[error("the service is stopping")]
    Stopping,
    /// The store did not answer. REST clients are not told the reason.
    #[error(transparent)]
    StoreUnavailable(#[from] StoreError),
    /// The request was not answered within its time.
    #[error("the request took too long, try again")]
    RequestTimeout,
    /// A bug; the reason is in the log.
    #[error("something went wrong here")]
    Internal,
}

/// The answer of REST to a request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAnswer {
    /// The status.
    pub status: StatusCode,
    /// One sentence.
    pub detail: String,
    /// `Retry-After`: whole seconds, at least one.
    pub retry_after_seconds: Option<u64>,
}

impl Refusal {
    /// The status over HTTP and the code over gRPC, which OTLP/HTTP has in its body too.
    fn status_and_code(&self) -> (StatusCode, Code) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::InvalidFrame(_) => (StatusCode::BAD_REQUEST, Code::Internal),
            // gRPC's table of codes has this one for a call with another number of messages than its method takes.
            Self::SeveralMessages => (StatusCode::BAD_REQUEST, Code::Unimplemented),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::MissingScope(_) | Self::AgentForbidden(_) => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            Self::ForeignHost(..) => (StatusCode::MISDIRECTED_REQUEST, Code::PermissionDenied),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::UnsupportedSignal(_) => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::BodyTooLarge { .. } | Self::TooMuchToRead | Self::TooManyItems { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted)
            }
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::UnsupportedCompression(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::InvalidArgument),
            Self::BytesInFlight
            | Self::Overloaded { .. }
            | Self::QuotaExceeded(_)
            | Self::MetricQuotaExceeded { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            Self::LogUnavailable(_) | Self::NotEvaluated { .. } | Self::Stopping | Self::StoreUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::RequestTimeout => (StatusCode::SERVICE_UNAVAILABLE, Code::DeadlineExceeded),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        }
    }

    /// The status over HTTP.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    /// The code over gRPC.
    #[must_use]
    pub fn code(&self) -> Code {
        self.status_and_code().1
    }

    /// When an OTLP sender should try again; `None` when trying again is no use, or its own back-off will do.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BytesInFlight => Some(BYTES_IN_FLIGHT_RETRY),
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::LogUnavailable(_)
            | Self::NotEvaluated { .. }
            | Self::Stopping
            | Self::StoreUnavailable(_)
            | Self::RequestTimeout => Some(UNAVAILABLE_RETRY),
            _ => None,
        }
    }

    /// Makes the answer of REST. A reason that is for the operator only goes to the log.
    #[must_use]
    pub fn rest(&self) -> RestAnswer {
        let whole_seconds = |delay: Duration| delay.as_secs().max(1);
        let retry_after_seconds = match self {
            Self::QuotaExceeded(_) | Self::MetricQuotaExceeded { .. } => Some(QUOTA_RETRY),
            Self::LogUnavailable(_)
            | Self::NotEvaluated { .. }
            | Self::Stopping
            | Self::StoreUnavailable(_)
            | Self::RequestTimeout => Some(REST_UNAVAILABLE_RETRY),
            other => other.retry_after(),
        }
        .map(whole_seconds);
        let detail = match self {
            Self::BodyTimeout => "the body did not come in time".to_owned(),
            Self::BodyTooLarge { limit } => format!("the body is larger than {limit} bytes"),
            Self::BytesInFlight => overloaded(BYTES_IN_FLIGHT_RETRY),
            Self::Overloaded { retry_after } => overloaded(*retry_after),
            Self::LogUnavailable(_) | Self::NotEvaluated { .. } | Self::Stopping => {
                tracing::error!(reason = %self, "a record was not taken");
                "telemetry cannot be taken now, try again".to_owned()
            }
            Self::StoreUnavailable(error) => {
                tracing::error!(%error, "the store did not answer");
                "the store cannot be read now, try again".to_owned()
            }
            other => other.to_string(),
        };
        RestAnswer { status: self.status(), detail, retry_after_seconds }
    }
}

/// The one way from an error of the log to an answer: a full log is overload, which passes; anything else is an outage.
impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full { .. } => Self::Overloaded { retry_after: LOG_FULL_RETRY },
            LogError::Io(_) | LogError::Damaged { .. } | LogError::Closed => Self::LogUnavailable(error),
        }
    }
}

fn overloaded(retry_after: Duration) -> String {
    format!("overloaded, try again in {} s", retry_after.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_keeps_reasons_to_itself_and_says_when_to_come_back() {
        let seconds = Duration::from_secs;
        for (refusal, status, retry) in [
            (Refusal::Overloaded { retry_after: seconds(7) }, 429, Some(7)),
            (Refusal::Overloaded { retry_after: Duration::ZERO }, 429, Some(1)),
            (Refusal::BytesInFlight, 429, Some(1)),
            (Refusal::QuotaExceeded(RegistryError::TooManySeries { tenant: "a".into(), limit: 5 }), 429, Some(60)),
            (Refusal::LogUnavailable(LogError::Io("/secret is full".to_owned())), 503, Some(1)),
            (Refusal::NotEvaluated { processing_timeout_ms: 20 }, 503, Some(1)),
            (Refusal::Stopping, 503, Some(1)),
            (Refusal::StoreUnavailable(StoreError::Io("/secret".to_owned())), 503, Some(1)),
            (Refusal::RequestTimeout, 503, Some(1)),
            (Refusal::Internal, 500, None),
            (Refusal::BodyTimeout, 408, None),
            (Refusal::BodyTooLarge { limit: 10 }, 413, None),
            (Refusal::Unauthenticated(Denied::Missing), 401, None),
            (Refusal::MissingScope(Scope::Write), 403, None),
        ] {
            let answer = refusal.rest();
            assert_eq!((answer.status.as_u16(), answer.retry_after_seconds), (status, retry), "{refusal:?}");
            assert!(!answer.detail.contains("secret"), "{answer:?}");
        }
        assert!(Refusal::LogUnavailable(LogError::Closed).to_string().contains("closed"));
        assert_eq!(Refusal::MissingScope(Scope::Read).to_string(), "the token lacks the scope telemetry:read");
    }

    #[test]
    fn a_full_log_is_overload_and_any_other_error_of_it_an_outage() {
        let retry = Duration::from_secs(1);
        let damaged = LogError::Damaged { partition: 1, position: 2, reason: "r".to_owned() };
        for (error, expect) in [
            (LogError::Full { held: 2, limit: 1 }, Refusal::Overloaded { retry_after: retry }),
            (LogError::Io("disk".to_owned()), Refusal::LogUnavailable(LogError::Io("disk".to_owned()))),
            (damaged.clone(), Refusal::LogUnavailable(damaged)),
            (LogError::Closed, Refusal::LogUnavailable(LogError::Closed)),
        ] {
            let (status, retry) =
                if matches!(error, LogError::Full { .. }) { (429, retry) } else { (503, UNAVAILABLE_RETRY) };
            let refusal = Refusal::from(error);
            assert_eq!((refusal.status().as_u16(), refusal.retry_after()), (status, Some(retry)));
            assert_eq!(refusal, expect);
        }
    }
}
