//! Proxies before the service, and pages of other origins.

use super::*;

#[tokio::test]
async fn behind_a_prefix_the_documentation_leads_to_itself() {
    let plain = Service::with(ExposeConfig { page: false, ..ExposeConfig::default() }).await;
    let set = Service::with(ExposeConfig { prefix: "/vitals".into(), page: false, ..ExposeConfig::default() }).await;
    let ask = async |service: &Service, path: &str, forwarded: &str| {
        let header = if forwarded.is_empty() { String::new() } else { format!("x-forwarded-prefix: {forwarded}\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
        service.raw(request.as_bytes()).await
    };
    // What is said is relative unless the prefix is known; what is no path is not repeated.
    for (service, forwarded, server, docs) in [
        (&plain, "", ".", "docs/"),
        (&plain, "/proxy", "/proxy", "/proxy/docs/"),
        (&plain, "/outer/, /inner", "/outer/inner", "/outer/inner/docs/"),
        (&plain, "//evil.example", ".", "docs/"),
        (&plain, "/a?b", ".", "docs/"),
        (&set, "", "/vitals", "/vitals/docs/"),
        (&set, "/other", "/vitals", "/vitals/docs/"),
    ] {
        let document = ask(service, "/openapi.json", forwarded).await;
        assert_eq!(document.body["servers"], json!([{"url": server}]), "{forwarded:?}");
        assert!(document.body["paths"]["/api/v1/telemetry/heartbeat"].is_object());
        for path in ["/", "/docs"] {
            let answer = ask(service, path, forwarded).await;
            assert_eq!((answer.status, answer.header("location")), (303, Some(docs)), "{path} {forwarded:?}");
        }
    }
    // The page and its files name each other relative to themselves.
    let page = ask(&plain, "/docs/", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    let html = page.body.as_str().unwrap();
    assert!(
        html.contains("swagger-initializer.js") && !html.contains("src=\"/") && !html.contains("href=\"/"),
        "{html}"
    );
    let script = ask(&plain, "/docs/swagger-initializer.js", "").await;
    assert!(script.body.as_str().unwrap().contains("\"../openapi.json\""), "{:?}", script.body);
    assert!(script.header("content-type").unwrap().contains("javascript"));
    let css = ask(&plain, "/docs/swagger-ui.css", "").await;
    assert_eq!((css.status, css.header("content-type")), (200, Some("text/css")));
    assert_eq!(ask(&plain, "/docs/no-such-file.js", "").await.status, 404);
    // A proxy may leave the prefix on.
    let token = set.token(None, None, None);
    for path in ["/api/v1/telemetry/agents", "/vitals/api/v1/telemetry/agents"] {
        assert_eq!(set.send("GET", path, &token, "").await.status, 200, "{path}");
    }
    for (path, status) in [("/vitals/docs/", 200), ("/vitals", 303), ("/vitals/health", 200), ("/vitalsx/health", 404)]
    {
        assert_eq!(ask(&set, path, "").await.status, status, "{path}");
    }
    assert_eq!(ask(&plain, "/vitals/health", "").await.status, 404);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call() {
    let cors = crate::net::CorsConfig { allowed_origins: vec!["https://app.example.com".into()], ..Default::default() };
    let service = Service::with(ExposeConfig { cors, ..ExposeConfig::default() }).await;
    let ask = async |service: &Service, method: &str, path: &str, origin: &str, more: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: {origin}\r\n{more}\r\n"
        );
        service.raw(request.as_bytes()).await
    };
    let wants = "access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type,x-correlation-id\r\n";
    let app = "https://app.example.com";
    for path in ["/api/v1/telemetry/heartbeat", "/api/v1/telemetry/uptime-status/x", "/no/such/route"] {
        let preflight = ask(&service, "OPTIONS", path, app, wants).await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some(app)), "{path}");
        let headers = preflight.header("access-control-allow-headers").unwrap();
        for name in ["authorization", "content-type", "x-correlation-id"] {
            assert!(headers.contains(name), "{name}: {headers}");
        }
        assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"), "{path}");
    }
    let token = service.token(None, None, None);
    let bearer = format!("authorization: Bearer {token}\r\n");
    for (path, more, status) in [
        ("/api/v1/telemetry/agents", bearer.as_str(), 200),
        ("/api/v1/telemetry/agents", "", 401),
        ("/api/v1/telemetry/agents?limit=x", &bearer, 422),
        ("/no/such/route", &bearer, 404),
        ("/api/v1/telemetry/heartbeat", &bearer, 405),
    ] {
        let answer = ask(&service, "GET", path, app, more).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(app)), "{path}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-correlation-id") && exposed.contains("retry-after"), "{exposed}");
        assert!(answer.header("vary").unwrap().contains("origin"));
        assert_eq!(answer.header("allow").is_some(), status == 405, "{path}");
    }
    let other = ask(&service, "GET", "/api/v1/telemetry/agents", "https://evil.example", &bearer).await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    let off = Service::start().await;
    let preflight = ask(&off, "OPTIONS", "/api/v1/telemetry/heartbeat", app, wants).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
}
