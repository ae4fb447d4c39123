//! The head of a request: its limits, and what it says of the body.

use http::header::EXPECT;
use http::{HeaderMap, HeaderName};

/// Most bytes of a request's head: the request line and all headers, or what HTTP/2 counts for them. More is
/// answered with 431.
pub const MOST_HEAD_BYTES: usize = 128 * 1024;
/// Most headers of an HTTP/1 request; more is answered with 431.
pub const MOST_HEADERS: usize = 1_000;

/// Names a request, in both directions.
pub const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

/// About how many bytes the head of an HTTP/1 request had.
#[must_use]
pub fn head_bytes(head: &http::request::Parts) -> usize {
    // Method, version and the ends of lines.
    let line = head.uri.to_string().len() + 20;
    head.headers.iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

/// Whether the client waits for `100 Continue` before it sends the body.
#[must_use]
pub fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
