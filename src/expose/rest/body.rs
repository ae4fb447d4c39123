//! The body of a request: read within the limits, as JSON, checked against the contract.

use super::contract::{self, Contract, Problem};
use super::error::ApiError;
use super::lookup::blocking;
use crate::net::{ByteBudget, Permit, Refusal};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Most bytes of a body.
pub const LARGEST_BODY: usize = 10 * 1024 * 1024;
/// JSON longer than this is parsed on a thread that may block.
const LONG_JSON: usize = 64 * 1024;

/// What a value or a key takes when it is parsed, with the share of the list or object that it is in.
const BYTES_OF_A_VALUE: usize = 48;

/// The budget of bytes of bodies. They are held until the answer is made.
#[derive(Clone)]
pub struct BodyBudget(pub Arc<ByteBudget>);

/// A body, with its share of the budget.
struct ReadBody {
    bytes: Bytes,
    permit: Option<Permit>,
}

/// Reads the whole body, within the limits.
async fn read_body(request: Request<Body>) -> Result<ReadBody, ApiError> {
    let headers = request.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::UnsupportedMediaType("send the JSON without Content-Encoding").into());
    }
    if headers.get(header::CONTENT_TYPE).is_some_and(|media| !is_json(media)) {
        let msg = "The body should be JSON: send `Content-Type: application/json`";
        return Err(ApiError::Invalid(vec![Problem::new("json_invalid", ["body"], msg, None)]));
    }
    let too_large = || ApiError::from(Refusal::BodyTooLarge { limit: LARGEST_BODY });
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST_BODY) {
        return Err(too_large());
    }
    // A body that does not say how long it is may be as long as one can be.
    let length = announced.unwrap_or(LARGEST_BODY);
    let mut permit = request.extensions().get::<BodyBudget>().map(|BodyBudget(budget)| budget.permit());
    if permit.as_mut().is_some_and(|permit| !permit.reserve(length)) {
        return Err(Refusal::BytesInFlight.into());
    }
    let bytes = axum::body::to_bytes(request.into_body(), LARGEST_BODY).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(cause) = source {
            if cause.is::<http_body_util::LengthLimitError>() {
                return too_large();
            }
            source = cause.source();
        }
        // The client went away or stalled; nobody reads this, but the log tells it from a bug.
        Refusal::BodyTimeout.into()
    })?;
    Ok(ReadBody { bytes, permit })
}

/// Whether a `Content-Type` says JSON, in whatever dialect.
fn is_json(media: &HeaderValue) -> bool {
    let essence = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// A JSON body.
pub struct JsonBody {
    pub value: Value,
    /// Its bytes as they were sent.
    pub length: usize,
    /// Kept until the answer is made.
    _permit: Option<Permit>,
}

/// About how much memory JSON takes when it is parsed: two bytes of it can be a value.
fn parsed_bytes(json: &[u8]) -> usize {
    json.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count().saturating_mul(BYTES_OF_A_VALUE)
}

/// Reads the body as JSON.
pub async fn json_body(request: Request<Body>) -> Result<JsonBody, ApiError> {
    let ReadBody { bytes, mut permit } = read_body(request).await?;
    let length = bytes.len();
    let memory = length.saturating_add(parsed_bytes(&bytes));
    if let Some(permit) = &mut permit
        && !permit.reserve(memory)
    {
        let refusal = if permit.is_beyond(memory) { Refusal::TooMuchToRead } else { Refusal::BytesInFlight };
        return Err(refusal.into());
    }
    let value =
        if length > LONG_JSON { blocking(move || contract::json(&bytes)).await? } else { contract::json(&bytes) };
    Ok(JsonBody { value: value.map_err(ApiError::Invalid)?, length, _permit: permit })
}

/// Reads the body as the message of `contract`.
pub async fn message<T: serde::de::DeserializeOwned + utoipa::ToSchema>(
    request: Request<Body>,
    contract: &Contract<T>,
) -> Result<T, ApiError> {
    let body = json_body(request).await?;
    contract.read(body.value, &["body".into()]).map_err(ApiError::Invalid)
}

/// As [`message`], where the body may be left out or be null: then it is the default.
pub async fn optional_message<T: serde::de::DeserializeOwned + utoipa::ToSchema + Default>(
    request: Request<Body>,
    contract: &Contract<T>,
) -> Result<T, ApiError> {
    let body = read_body(request).await?;
    if body.bytes.is_empty() {
        return Ok(T::default());
    }
    let value = contract::json(&body.bytes).map_err(ApiError::Invalid)?;
    if value.is_null() {
        return Ok(T::default());
    }
    contract.read(value, &["body".into()]).map_err(ApiError::Invalid)
}
