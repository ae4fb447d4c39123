//! The path under which clients see this API, when a proxy before it has one of its own.
//!
//! A proxy that takes the prefix off may say so in `X-Forwarded-Prefix`; `expose.prefix` says it for one that does not, and
//! then paths with the prefix are taken as well. When nobody says, all that is told to clients is relative, which is
//! right behind any prefix.

use crate::expose::Rest;
use axum::http::HeaderMap;

/// What is accepted of a prefix, bytes.
const LONGEST: usize = 256;

/// Whether a prefix can be used: empty, or segments like `/vitals/api` without a slash behind.
#[must_use]
pub fn is_sane(prefix: &str) -> bool {
    // No empty segment: what begins with two slashes is another host.
    let segment = |text: &str| {
        !matches!(text, "" | "." | "..")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    prefix.len() <= LONGEST
        && (prefix.is_empty() || prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment)))
}

/// The prefix of a request, as configured or as the proxy says; empty when none is known.
pub fn of(rest: &Rest, headers: &HeaderMap) -> String {
    if !rest.config.prefix.is_empty() {
        return rest.config.prefix.clone();
    }
    // Several proxies add theirs in a row.
    let values = headers.get_all("x-forwarded-prefix").iter().filter_map(|value| value.to_str().ok());
    let parts = values.flat_map(|value| value.split(',')).map(|part| part.trim().trim_end_matches('/'));
    let prefix: String = parts.collect();
    if is_sane(&prefix) { prefix } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::is_sane;

    #[test]
    fn prefixes_are_paths_and_nothing_else() {
        for good in ["", "/vitals", "/a/b-c/d.e~f_1"] {
            assert!(is_sane(good), "{good}");
        }
        for bad in
            ["/", "vitals", "/a/", "//evil.example", "/a//b", "/a b", "/..", "/a/../b", "/a?b", "/a\r\nb", "/<x>"]
        {
            assert!(!is_sane(bad), "{bad}");
        }
        assert!(!is_sane(&format!("/{}", "a".repeat(300))));
    }
}
