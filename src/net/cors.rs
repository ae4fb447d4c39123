//! CORS: which pages of other origins may call a listener.

use super::CORRELATION;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Which pages of other origins may call (`receive.cors`, `expose.cors`). Off without an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsConfig {
    /// Origins as browsers send them, `https://app.example.com`, or `*` alone for all.
    pub allowed_origins: Vec<String>,
    /// Request headers that pages may send beside those that requests here need.
    pub allowed_headers: Vec<String>,
    /// How long a browser may remember what it was allowed.
    pub max_age_seconds: u64,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self { allowed_origins: Vec::new(), allowed_headers: Vec::new(), max_age_seconds: 600 }
    }
}

/// Why CORS cannot be as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// Not an origin.
    #[error(
        "{key}.allowed_origins has {origin:?}; an origin is scheme://host or scheme://host:port and nothing behind it, e.g. https://app.example.com"
    )]
    Origin {
        /// The section.
        key: &'static str,
        /// What was given.
        origin: String,
    },
    /// `*` beside others.
    #[error("{key}.allowed_origins has \"*\" and others; leave \"*\" alone for all origins, or take it out")]
    All {
        /// The section.
        key: &'static str,
    },
    /// Not the name of a header.
    #[error("{key}.allowed_headers has {name:?}, which is no name of a header")]
    Header {
        /// The section.
        key: &'static str,
        /// What was given.
        name: String,
    },
}

impl CorsConfig {
    /// Whether the lists can be used; `key` is the section's name.
    ///
    /// # Errors
    /// The first entry that cannot.
    pub fn check(&self, key: &'static str) -> Result<(), CorsError> {
        self.build(key).map(drop)
    }

    /// What answers preflights and marks answers; `None` when no origin is allowed.
    ///
    /// # Errors
    /// The first entry of a list that cannot be used.
    fn build(&self, key: &'static str) -> Result<Option<CorsLayer>, CorsError> {
        let origins = match self.allowed_origins.as_slice() {
            [] => return Ok(None),
            [all] if all == "*" => AllowOrigin::any(),
            several => {
                if several.iter().any(|origin| origin == "*") {
                    return Err(CorsError::All { key });
                }
                let wrong = |origin: &String| CorsError::Origin { key, origin: origin.clone() };
                let values = several.iter().map(|origin| origin_value(origin).ok_or_else(|| wrong(origin)));
                AllowOrigin::list(values.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let wrong = |name: &String| CorsError::Header { key, name: name.clone() };
        let own = self.allowed_headers.iter().map(|name| HeaderName::try_from(name).map_err(|_| wrong(name)));
        let mut headers = own.collect::<Result<Vec<_>, _>>()?;
        let trace = ["traceparent", "tracestate", "baggage"].map(HeaderName::from_static);
        headers.extend([AUTHORIZATION, CONTENT_TYPE, CONTENT_ENCODING, CORRELATION].into_iter().chain(trace));
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(headers)
            .expose_headers([CORRELATION, RETRY_AFTER, WWW_AUTHENTICATE])
            .max_age(Duration::from_secs(self.max_age_seconds));
        Ok(Some(layer))
    }

    /// The layer for a configuration that was checked; `None` when no origin is allowed.
    #[must_use]
    pub fn layer(&self, key: &'static str) -> Option<CorsLayer> {
        self.build(key).unwrap_or_else(|error| {
            tracing::error!(%error, "no page of another origin is allowed");
            None
        })
    }
}

/// An origin as a browser writes it: lower case, no path, not even a slash.
fn origin_value(origin: &str) -> Option<HeaderValue> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase() || b"+-.0123456789".contains(&b));
    let is_authority = authority.parse::<http::uri::Authority>().is_ok_and(|parsed| !parsed.host().is_empty())
        && !authority.contains('@')
        && !authority.bytes().any(|b| b.is_ascii_uppercase());
    (is_scheme && is_authority).then(|| HeaderValue::from_str(origin).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(origins: &[&str], headers: &[&str]) -> Result<(), CorsError> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let config =
            CorsConfig { allowed_origins: owned(origins), allowed_headers: owned(headers), ..CorsConfig::default() };
        config.check("expose.cors")
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for good in ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080", "capacitor://localhost"] {
            assert_eq!(checked(&[good], &[]), Ok(()), "{good}");
        }
        for bad in [
            "",
            "app.example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://A.example.com",
            "null",
            "https://a b",
        ] {
            assert!(matches!(checked(&[bad], &[]), Err(CorsError::Origin { .. })), "{bad}");
        }
        assert_eq!(checked(&["*"], &[]), Ok(()));
        assert!(matches!(checked(&["*", "https://a"], &[]), Err(CorsError::All { .. })));
        assert_eq!(checked(&["*"], &["x-api-key"]), Ok(()));
        assert!(matches!(checked(&["*"], &["no name"]), Err(CorsError::Header { .. })));
        assert_eq!(checked(&[], &[]), Ok(()));
        assert!(CorsConfig::default().layer("expose.cors").is_none());
    }
}
