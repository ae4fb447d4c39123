//! Everything that is not a success.

use super::check::Problem;
use crate::auth::Denied;
use crate::expose::SubmitError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};
use vitals_core::registry::RegistryError;
use vitals_core::store::StoreError;

/// Why a request got no answer of its own kind.
#[derive(Debug)]
pub enum ApiError {
    /// No token, or a bad one.
    Denied(Denied),
    /// The token may not do or touch that.
    Forbidden(String),
    /// No such thing for this caller.
    NotFound(String),
    /// The route exists, not with this method.
    Method,
    /// The body did not come in time.
    SlowBody,
    /// More than a request may hold.
    TooLarge(String),
    /// A compressed body.
    Encoding,
    /// What was sent does not fit the contract.
    Invalid(Vec<Problem>),
    /// The intake refused.
    RecordSubmitter(SubmitError),
    /// A quota is used up.
    Quota(String),
    /// The store refused; the reason goes to the log.
    Store(StoreError),
    /// It took too long.
    Timeout,
    /// A bug; the reason is in the log.
    Internal,
}

/// The body of every error but 422.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// One sentence.
    pub detail: String,
}

/// The body of 422.
#[derive(Serialize, ToSchema)]
pub struct InvalidBody {
    /// Everything that is wrong.
    pub detail: Vec<Problem>,
}

/// The errors that any route can answer, for the documentation.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum AnyErrors {
    /// A bug here.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Not available now, or it took too long; with `Retry-After`.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// The errors that a route with a token can answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum TokenErrors {
    /// No token or a bad one.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The token may not touch that agent or system, or lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

/// The errors that a route without a body can answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum ParameterErrors {
    /// A parameter does not fit the contract, is unknown or comes twice.
    #[response(status = 422)]
    Invalid(InvalidBody),
}

/// The errors that a route with a body can answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum BodyErrors {
    /// The body did not come in time.
    #[response(status = 408)]
    Slow(ErrorBody),
    /// The request holds more than it may.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// A compressed body.
    #[response(status = 415)]
    Encoding(ErrorBody),
    /// The request does not fit the contract.
    #[response(status = 422)]
    Invalid(InvalidBody),
    /// Too much is in flight, or a quota is used up; with `Retry-After`.
    #[response(status = 429)]
    TooMany(ErrorBody),
}

/// The error of a route about one thing.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum MissingError {
    /// There is no such thing.
    #[response(status = 404)]
    Missing(ErrorBody),
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        Self::RecordSubmitter(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooMuch { .. } => {
                Self::Invalid(vec![Problem::new("too_long", ["query", "step"], error.to_string(), None)])
            }
            other => Self::Store(other),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        Self::Quota(error.to_string())
    }
}

impl ApiError {
    /// Seconds after which a quota may have changed.
    const QUOTA_RETRY: u64 = 60;

    /// The status, the sentence, and after how many seconds to try again.
    fn parts(self) -> (StatusCode, String, Option<u64>) {
        let plain = |status, text: &str| (status, text.to_owned(), None);
        match self {
            Self::Denied(denied) => (StatusCode::UNAUTHORIZED, denied.to_string(), None),
            Self::Forbidden(what) => (StatusCode::FORBIDDEN, what, None),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, what, None),
            Self::Method => plain(StatusCode::METHOD_NOT_ALLOWED, "the route does not take this method"),
            Self::SlowBody => plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::TooLarge(what) => (StatusCode::PAYLOAD_TOO_LARGE, what, None),
            Self::Encoding => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the JSON without Content-Encoding"),
            Self::RecordSubmitter(SubmitError::Overloaded { retry_after }) => {
                let seconds = retry_after.as_secs().max(1);
                let text = format!("overloaded, try again in {seconds} s");
                (StatusCode::TOO_MANY_REQUESTS, text, Some(seconds))
            }
            Self::RecordSubmitter(SubmitError::Unavailable(reason)) => {
                tracing::error!(reason, "a record was not taken");
                (StatusCode::SERVICE_UNAVAILABLE, "telemetry cannot be taken now, try again".to_owned(), Some(1))
            }
            Self::Quota(what) => (StatusCode::TOO_MANY_REQUESTS, what, Some(Self::QUOTA_RETRY)),
            Self::Store(error) => {
                tracing::error!(%error, "the store did not answer");
                (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read now, try again".to_owned(), Some(1))
            }
            Self::Timeout => {
                (StatusCode::SERVICE_UNAVAILABLE, "the request took too long, try again".to_owned(), Some(1))
            }
            Self::Internal => plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here"),
            Self::Invalid(_) => plain(StatusCode::UNPROCESSABLE_ENTITY, "the request does not fit the contract"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Invalid(detail) = self {
            return (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(InvalidBody { detail })).into_response();
        }
        let (status, detail, retry) = self.parts();
        let mut response = (status, axum::Json(ErrorBody { detail })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
