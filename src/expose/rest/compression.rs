//! Answers compressed with gzip, for clients that take it.

use super::lookup::blocking;
use crate::expose::page::routes::takes_gzip;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// What is shorter is sent as it is.
const LEAST_BYTES: u64 = 1_024;
/// What is longer is compressed on a thread that may block.
const LONG_BYTES: usize = 64 * 1024;

/// Compresses the answer if its client takes that. A body whose length is not known is a stream, and goes out as it comes.
pub async fn compress(request: Request, next: Next) -> Response {
    let takes = takes_gzip(request.headers()) && request.method() != Method::HEAD;
    let mut response = next.run(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !takes {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // It is in memory already: its length is known.
    let Ok(plain) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let compressed = if plain.len() > LONG_BYTES {
        let plain = plain.clone();
        blocking(move || gzip(&plain)).await.ok().flatten()
    } else {
        gzip(&plain)
    };
    match compressed {
        Some(body) => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(header::CONTENT_LENGTH);
            weaken_tag(&mut head.headers);
            Response::from_parts(head, Body::from(body))
        }
        None => Response::from_parts(head, Body::from(plain)),
    }
}

/// Whether an answer is text of some length that nobody has compressed yet.
fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = media.starts_with("text/") || media.starts_with("application/json") || media.starts_with("image/svg");
    let length = response.body().size_hint().exact();
    // A route that chooses by itself says so.
    let chooses =
        headers.get_all(header::VARY).iter().any(|vary| vary.as_bytes().eq_ignore_ascii_case(b"accept-encoding"));
    is_text
        && !chooses
        && !headers.contains_key(header::CONTENT_ENCODING)
        && length.is_some_and(|bytes| bytes >= LEAST_BYTES)
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The bytes are others than those that a strong tag names.
fn weaken_tag(headers: &mut HeaderMap) {
    let strong = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
    if let Some(weak) = strong.and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok()) {
        headers.insert(header::ETAG, weak);
    }
}
