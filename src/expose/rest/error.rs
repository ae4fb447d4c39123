//! Errors of the API: what handlers return, how it is answered, and what the document says of it.

use super::contract::Problem;
use crate::net::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};
use vitals_core::registry::RegistryError;
use vitals_core::store::StoreError;

/// Why a handler did not answer with success.
#[derive(Debug)]
pub enum ApiError {
    /// The request does not fit the contract: everything that is wrong with it.
    Invalid(Vec<Problem>),
    /// What is asked for cannot be done to the thing as it is.
    Conflict(String),
    /// The request was refused.
    Refused(Refusal),
}

impl ApiError {
    /// The refusal of a path, or of a thing that does not exist for this caller.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::Refused(Refusal::NotFound(detail.into()))
    }
}

/// Succeeds when there are no problems.
pub fn none_wrong(problems: Vec<Problem>) -> Result<(), ApiError> {
    if problems.is_empty() { Ok(()) } else { Err(ApiError::Invalid(problems)) }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooMuch { .. } => {
                Self::Invalid(vec![Problem::new("too_long", ["query", "step"], error.to_string(), None)])
            }
            other => Self::Refused(other.into()),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = match self {
            Self::Invalid(detail) => {
                return (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(InvalidBody { detail })).into_response();
            }
            Self::Conflict(detail) => return (StatusCode::CONFLICT, axum::Json(ErrorBody { detail })).into_response(),
            Self::Refused(refusal) => refusal.rest(),
        };
        let mut response = (answer.status, axum::Json(ErrorBody { detail: answer.detail })).into_response();
        if answer.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = answer.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
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

/// The error of a route that depends on how a thing is.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described, never made")]
pub enum ConflictError {
    /// What is asked for cannot be done to the thing as it is.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// The answers of errors by status, as the document shows them.
pub const ERROR_EXAMPLES: &str = r#"{
  "401": {"detail": "the token has expired"},
  "403": {"detail": "the token may not touch web-1"},
  "404": {"detail": "there is no telemetry for web-1"},
  "408": {"detail": "the body did not come in time"},
  "409": {"detail": "the alert is over: there is nothing to silence"},
  "413": {"detail": "1001 heartbeats, at most 1000 are taken at once"},
  "415": {"detail": "send the JSON without Content-Encoding"},
  "422": {
    "detail": [
      {
        "type": "less_than_equal",
        "loc": ["body", "cpu_usage_percent"],
        "msg": "Input should be less than or equal to 100",
        "input": 101
      }
    ]
  },
  "429": {"detail": "overloaded, try again in 1 s"},
  "500": {"detail": "something went wrong here"},
  "503": {"detail": "the store cannot be read now, try again"}
}"#;
