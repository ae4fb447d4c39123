//! Whether a request names a host that this service has.
//!
//! A page in somebody's browser can let its own name point at this machine, and then send requests to a listener on loopback as if it
//! were its own server (DNS rebinding). Where no token is asked, the name in the request is what tells it from a client of this machine.

use http::header::HOST;
use http::{HeaderMap, Uri};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The names by which a listener may be asked.
#[derive(Clone, Debug)]
pub struct HostCheck {
    names: Vec<String>,
    needed: bool,
}

impl HostCheck {
    /// The check of a listener at `address`: on loopback, addresses, `localhost` and the `allowed` names; elsewhere, and with `*` among
    /// them, all.
    #[must_use]
    pub fn new(address: Option<SocketAddr>, allowed: &[String]) -> Self {
        let needed = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        let names = allowed.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>();
        Self { needed: needed && !names.iter().any(|name| name == "*"), names }
    }

    /// Whether a request with this URI and head may be answered. One that names no host is: browsers always name it.
    #[must_use]
    pub fn admits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if !self.needed {
            return true;
        }
        let named = headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        uri.authority()
            .map(http::uri::Authority::as_str)
            .into_iter()
            .chain(named)
            .all(|authority| self.is_ours(authority))
    }

    fn is_ours(&self, authority: &str) -> bool {
        let host = without_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inside.parse::<Ipv6Addr>().is_ok();
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name.is_empty()
            || name.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.names.contains(&name)
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_names_of_this_machine_are_taken_on_loopback() {
        let loopback = HostCheck::new(Some(([127, 0, 0, 1], 4318).into()), &["Metrics.example.com".to_owned()]);
        let elsewhere = HostCheck::new(Some(([0, 0, 0, 0], 4318).into()), &[]);
        let all = HostCheck::new(Some(([127, 0, 0, 1], 4318).into()), &["*".to_owned()]);
        for (host, ours) in [
            ("localhost:4318", true),
            ("LOCALHOST.", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("192.0.2.1:80", true),
            ("[::1]:4318", true),
            ("metrics.example.com:4318", true),
            ("attacker.example", false),
            ("attacker.example:4318", false),
            ("localhost.attacker.example", false),
            ("notlocalhost", false),
            ("127.0.0.1.attacker.example", false),
            ("localhost@attacker.example", false),
            ("[attacker.example]", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            let path = Uri::from_static("/v1/metrics");
            assert_eq!(loopback.admits(&path, &headers), ours, "{host}");
            assert!(elsewhere.admits(&path, &headers) && all.admits(&path, &headers), "{host}");
        }
        let http2 = Uri::from_static("http://attacker.example/v1/metrics");
        assert!(!loopback.admits(&http2, &HeaderMap::new()));
        assert!(loopback.admits(&Uri::from_static("/"), &HeaderMap::new()));
    }
}
