//! The page and its sessions, as a browser sees them.

use super::*;
use crate::expose::page::status::{ComponentConfig, StatusConfig};

/// A request with headers of its own and a JSON body.
async fn asked(
    service: &Service,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> super::service::Answer {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    service.raw(format!("{request}\r\n{body}").as_bytes()).await
}

/// Signs in; the cookie as it is sent back, and the CSRF token.
async fn signed_in(service: &Service, body: &Value) -> (String, String) {
    let answer = asked(service, "POST", "/session", &[], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && cookie.contains("Path=/;"), "{cookie}");
    let csrf = answer.body["session"]["csrf"].as_str().unwrap().to_owned();
    (cookie.split(';').next().unwrap().to_owned(), csrf)
}

const AGENTS: &str = "/api/v1/telemetry/agents";
const WINDOW: &str = "/api/v1/telemetry/maintenance";

#[tokio::test]
async fn a_session_reads_as_its_token_does_and_changes_only_with_its_csrf_token() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    assert_eq!(service.post("heartbeat", &token, &beat("web-1")).await.status, 201);
    let (cookie, csrf) = signed_in(&service, &json!({ "token": token })).await;
    let own = [("cookie", cookie.as_str())];
    let listed = asked(&service, "GET", AGENTS, &own, "").await;
    assert_eq!((listed.status, &listed.body["agents"][0]["agent_id"]), (200, &json!("web-1")));
    assert_eq!(asked(&service, "GET", AGENTS, &[], "").await.status, 401);
    assert_eq!(asked(&service, "GET", AGENTS, &[("cookie", "vitals_session=else")], "").await.status, 401);
    // A token of its own comes first, even a bad one.
    let bad = [("cookie", cookie.as_str()), ("authorization", "Bearer x")];
    assert_eq!(asked(&service, "GET", AGENTS, &bad, "").await.status, 401);

    let window = json!({"agent_id": "web-1", "start_time": at(HOUR), "end_time": at(2 * HOUR)}).to_string();
    assert_eq!(asked(&service, "POST", WINDOW, &own, &window).await.status, 403);
    let wrong = [("cookie", cookie.as_str()), ("x-csrf-token", "wrong")];
    assert_eq!(asked(&service, "POST", WINDOW, &wrong, &window).await.status, 403);
    let right = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    assert_eq!(asked(&service, "POST", WINDOW, &right, &window).await.status, 201);
    for site in ["cross-site", "same-site"] {
        let foreign = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str()), ("sec-fetch-site", site)];
        assert_eq!(asked(&service, "POST", WINDOW, &foreign, &window).await.status, 401, "{site}");
        assert_eq!(asked(&service, "GET", AGENTS, &foreign, "").await.status, 401, "{site}");
    }
    // A WebSocket of another origin would come with the cookie, and has no token to show.
    for (origin, status) in [(None, 401), (Some("http://elsewhere"), 401), (Some("http://x"), 200)] {
        let mut headers = vec![("cookie", cookie.as_str()), ("upgrade", "websocket")];
        headers.extend(origin.map(|origin| ("origin", origin)));
        assert_eq!(asked(&service, "GET", AGENTS, &headers, "").await.status, status, "{origin:?}");
    }

    assert_eq!(asked(&service, "DELETE", "/session", &own, "").await.status, 403);
    assert_eq!(asked(&service, "DELETE", "/session", &right, "").await.status, 200);
    assert_eq!(asked(&service, "GET", AGENTS, &own, "").await.status, 401);
}

#[tokio::test]
async fn a_session_may_no_more_than_its_token() {
    let service = Service::start().await;
    for id in ["web-1", "db-1"] {
        service.post("heartbeat", &service.token(None, None, None), &beat(id)).await;
    }
    let narrow = service.token(None, Some(&["web-*"]), Some("telemetry:read"));
    let (cookie, csrf) = signed_in(&service, &json!({ "token": narrow })).await;
    let own = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let listed = asked(&service, "GET", AGENTS, &own, "").await;
    assert_eq!(listed.body["total"], 1, "{}", listed.body);
    assert_eq!(asked(&service, "POST", WINDOW, &own, "{}").await.status, 403);
    let other = service.token(Some("acme"), None, None);
    let (cookie, _) = signed_in(&service, &json!({ "token": other })).await;
    assert_eq!(asked(&service, "GET", AGENTS, &[("cookie", &cookie)], "").await.body["total"], 0);
    for refused in [json!({"token": "x"}), json!({}), json!({"code": "x"}), json!([])] {
        assert_eq!(asked(&service, "POST", "/session", &[], &refused.to_string()).await.status, 401, "{refused}");
    }
    let writes = service.token(None, None, Some("telemetry:write"));
    let body = json!({ "token": writes }).to_string();
    assert_eq!(asked(&service, "POST", "/session", &[], &body).await.status, 403);
    let body = json!({ "token": narrow }).to_string();
    assert_eq!(asked(&service, "POST", "/session", &[("sec-fetch-site", "cross-site")], &body).await.status, 403);
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    assert_eq!(asked(&service, "POST", "/session/link", &[], "").await.status, 401);
    let made = asked(&service, "POST", "/session/link", &[("authorization", &format!("Bearer {token}"))], "").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let code = made.body["path"].as_str().unwrap().strip_prefix("#open=").unwrap().to_owned();
    let (cookie, _) = signed_in(&service, &json!({ "code": code })).await;
    assert_eq!(asked(&service, "GET", AGENTS, &[("cookie", &cookie)], "").await.status, 200);
    let again = json!({ "code": code }).to_string();
    assert_eq!(asked(&service, "POST", "/session", &[], &again).await.status, 401);
    // A stolen cookie makes no link that outlives it.
    assert_eq!(asked(&service, "POST", "/session/link", &[("cookie", &cookie)], "").await.status, 403);
}

#[tokio::test]
async fn pages_are_guarded_and_their_files_are_kept_for_ever() {
    let service = Service::start().await;
    for view in ["/", "/agent?id=web-1", "/alerts", "/objectives", "/plugins", "/service"] {
        let page = asked(&service, "GET", view, &[], "").await;
        assert_eq!((page.status, page.header("cache-control")), (200, Some("no-cache")), "{view}");
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let html = page.body.as_str().unwrap();
        assert!(!html.contains("src=\"/") && !html.contains("href=\"/"), "all paths are relative: {html}");
        let script = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        let file = asked(&service, "GET", &format!("/{script}"), &[], "").await;
        assert_eq!(file.status, 200, "{script}");
        assert!(file.header("cache-control").unwrap().contains("immutable"));
        assert_eq!(file.header("content-type"), Some("text/javascript; charset=utf-8"));
        let packed = asked(&service, "GET", &format!("/{script}"), &[("accept-encoding", "br, gzip")], "").await;
        assert_eq!((packed.header("content-encoding"), packed.header("vary")), (Some("gzip"), Some("accept-encoding")));
        let old = asked(&service, "GET", "/assets/0123456789abcdef/main.js", &[], "").await;
        assert_eq!(old.status, 404);
    }
    let first = asked(&service, "GET", "/", &[], "").await;
    let tag = first.header("etag").unwrap();
    assert_eq!(asked(&service, "GET", "/", &[("if-none-match", tag)], "").await.status, 304);
}

#[tokio::test]
async fn a_page_that_is_switched_off_is_not_there_at_once() {
    let service = Service::start().await;
    let (cookie, _) = signed_in(&service, &json!({ "token": service.token(None, None, None) })).await;
    service.reload(ExposeConfig { page: false, ..ExposeConfig::default() });
    // The listener takes new settings over on its own.
    let gone = async {
        while asked(&service, "GET", "/session", &[], "").await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(asked(&service, "GET", AGENTS, &[("cookie", &cookie)], "").await.status, 401);
    assert_eq!(asked(&service, "GET", "/", &[], "").await.header("location"), Some("docs/"));
    assert_eq!(asked(&service, "GET", "/alerts", &[], "").await.status, 404);
}

#[tokio::test]
async fn the_status_page_is_there_when_asked_for_and_names_no_agent() {
    let plain = Service::start().await;
    for path in ["/status", "/status.json", "/badge/state/Web%20shop.svg"] {
        assert_eq!(asked(&plain, "GET", path, &[], "").await.status, 404, "{path}");
    }
    let component = ComponentConfig { name: "Web shop".into(), group: "Shop".into(), agents: vec!["secret-*".into()] };
    let status_page = StatusConfig { title: "Example".into(), components: vec![component], ..StatusConfig::default() };
    let service = Service::with(ExposeConfig { status_page, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    assert_eq!(service.post("heartbeat", &token, &beat("secret-host")).await.status, 201);
    for path in ["/status", "/status.json", "/badge/state/Web%20shop.svg", "/badge/uptime/Web%20shop.svg"] {
        let answer = asked(&service, "GET", path, &[], "").await;
        let text = answer.body.to_string();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert!(!text.contains("secret"), "{path}: {text}");
        assert!(answer.header("cache-control").unwrap().starts_with("public, max-age="), "{path}");
    }
    assert_eq!(asked(&service, "GET", "/badge/state/secret-host.svg", &[], "").await.status, 404);
    let json = asked(&service, "GET", "/status.json", &[], "").await.body;
    assert_eq!((&json["title"], &json["components"][0]["name"]), (&json!("Example"), &json!("Web shop")));
    assert_eq!(json["components"][0]["daily"].as_array().unwrap().len(), 90);
}

/// The document of a service, as it answers it.
async fn described(service: &Service) -> Value {
    let answer = asked(service, "GET", "/openapi.json", &[], "").await;
    assert_eq!(answer.status, 200);
    answer.body
}

#[tokio::test]
async fn the_document_describes_the_routes_of_the_page_that_are_on() {
    let component = ComponentConfig { name: "Web shop".into(), group: String::new(), agents: vec!["web-*".into()] };
    let status_page = StatusConfig { components: vec![component], ..StatusConfig::default() };
    let sessions = ["/session", "/session/link"];
    let public = ["/status", "/status.json", "/badge/state/{file}", "/badge/uptime/{file}"];
    for (config, expect) in [
        (ExposeConfig { page: false, status_page: status_page.clone(), ..ExposeConfig::default() }, [false, false]),
        (ExposeConfig::default(), [true, false]),
        (ExposeConfig { status_page, ..ExposeConfig::default() }, [true, true]),
    ] {
        let service = Service::with(config).await;
        let document = described(&service).await;
        for (paths, is_on) in [(&sessions[..], expect[0]), (&public[..], expect[1])] {
            for path in paths {
                assert_eq!(document["paths"].get(*path).is_some(), is_on, "{path}");
                // What is described is there, and what is not is not.
                let asked_path = path.replace("{file}", "Web%20shop.svg");
                let method = if *path == "/session/link" { "POST" } else { "GET" };
                assert_eq!(asked(&service, method, &asked_path, &[], "").await.status != 404, is_on, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_answers_of_the_page_and_their_examples_fit_the_document() {
    let component = ComponentConfig { name: "Web shop".into(), group: "Shop".into(), agents: vec!["web-*".into()] };
    let status_page = StatusConfig { components: vec![component], ..StatusConfig::default() };
    let service = Service::with(ExposeConfig { status_page, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    assert_eq!(service.post("heartbeat", &token, &beat("web-1")).await.status, 201);
    let document = described(&service).await;
    let fits = |path: &str, method: &str, status: &str, value: &Value| {
        let media = &document["paths"][path][method]["responses"][status]["content"]["application/json"];
        let schema = schemas::within(&document, &media["schema"]);
        assert!(schema["$ref"].is_string(), "{method} {path} {status}");
        assert_eq!(schemas::violations(&schema, value), Vec::<String>::new(), "{method} {path}: {value}");
        if !media["example"].is_null() {
            assert_eq!(
                schemas::violations(&schema, &media["example"]),
                Vec::<String>::new(),
                "{method} {path}, example"
            );
            let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(value), keys(&media["example"]), "{method} {path}");
        }
    };
    let bearer = format!("Bearer {token}");
    let link = asked(&service, "POST", "/session/link", &[("authorization", &bearer)], "").await;
    fits("/session/link", "post", "201", &link.body);
    let code = link.body["path"].as_str().unwrap().trim_start_matches("#open=").to_owned();
    let signed_in = asked(&service, "POST", "/session", &[], &json!({"code": code}).to_string()).await;
    assert_eq!(signed_in.status, 200);
    fits("/session", "post", "200", &signed_in.body);
    fits("/session", "get", "200", &asked(&service, "GET", "/session", &[], "").await.body);
    fits("/session", "delete", "200", &asked(&service, "DELETE", "/session", &[], "").await.body);
    fits("/session", "post", "401", &asked(&service, "POST", "/session", &[], "{}").await.body);
    fits("/status.json", "get", "200", &asked(&service, "GET", "/status.json", &[], "").await.body);
    fits("/badge/state/{file}", "get", "404", &asked(&service, "GET", "/badge/state/No.svg", &[], "").await.body);
}
