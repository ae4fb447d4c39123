//! Limits on connections, heads, bodies and work in flight.

use super::*;
use vitals_core::log::LogError;

#[tokio::test]
async fn sizes_and_bad_bodies() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for body in ["", "{", "[]", "\"x\"", "{\"a\": 1e999}", "\u{0}"] {
        let answer = service.send("POST", "/api/v1/telemetry/heartbeat", &token, body).await;
        assert_eq!(answer.status, 422, "{body:?}: {}", answer.body);
    }
    let batch = |heartbeats: usize, points: usize| {
        let mut metrics = system("db-1");
        metrics["metrics"] = Value::from(
            (0..points)
                .map(|n| json!({"metric_name": format!("m{n}"), "metric_type": "custom", "value": 1, "unit": "1"}))
                .collect::<Vec<_>>(),
        );
        json!({
            "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
            "heartbeats": vec![beat("web-1"); heartbeats], "metrics": [metrics],
        })
    };
    for (heartbeats, points, expect) in [(1_000, 5_000, 202), (1_001, 1, 413), (0, 5_001, 413)] {
        let answer = service.post("batch", &token, &batch(heartbeats, points)).await;
        assert_eq!(answer.status, expect, "{heartbeats} {points}: {}", answer.body);
    }
    let announced = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        LARGEST_BODY + 1
    );
    assert_eq!(service.raw(announced.as_bytes()).await.status, 413);
    let mut chunked = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n",
        LARGEST_BODY + 1
    )
    .into_bytes();
    chunked.resize(chunked.len() + LARGEST_BODY + 1, b' ');
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(service.raw(&chunked).await.status, 413);
    let packed = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-encoding: gzip\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(service.raw(packed.as_bytes()).await.status, 415);
}

/// A client that sends its whole body before it reads gets the answer, although nobody read the body.
#[tokio::test]
async fn a_refusal_is_read_by_who_is_still_sending() {
    let service = Service::with(ExposeConfig { max_body_bytes: LARGEST_BODY, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    let whole = |token: &str, length: usize| {
        let mut request = format!(
            "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + length, b' ');
        request
    };
    assert_eq!(service.raw(&whole(&token, LARGEST_BODY + 1)).await.status, 413);
    assert_eq!(service.raw(&whole("no token", LARGEST_BODY)).await.status, 401);
    let mut half_sent = TcpStream::connect(service.address).await.unwrap();
    half_sent.write_all(&whole(&token, LARGEST_BODY)[..500]).await.unwrap();
    for _ in 0..50 {
        let answer = service.raw(&whole(&token, LARGEST_BODY)).await;
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            return;
        }
        // The half-sent request had not been seen yet, and this one was read and found to be no JSON.
        assert_eq!(answer.status, 422);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the room was never full");
}

#[tokio::test]
async fn overload_is_refused_with_a_time_to_come_back() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    *service.evaluation.refuse.lock() = Some(Refusal::Overloaded { retry_after: Duration::from_secs(7) });
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s", "heartbeats": [beat("web-1")],
    });
    assert_eq!(service.post("batch", &token, &batch).await.status, 429);
    *service.evaluation.refuse.lock() = Some(Refusal::LogUnavailable(LogError::Io("disk at /secret is full".into())));
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(!answer.body.to_string().contains("secret"));
}

#[tokio::test]
async fn bodies_have_bounded_room() {
    let service = Service::with(ExposeConfig { max_body_bytes: LARGEST_BODY, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    let half_sent = half_sent(&service, &token).await;
    assert_eq!(beat_until(&service, &token, 429).await, 429);
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    drop(half_sent);
    assert_eq!(beat_until(&service, &token, 201).await, 201, "the room was not given back");
}

#[tokio::test]
async fn a_body_that_takes_more_memory_than_all_may_have_is_refused_before_it_is_parsed() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let zeros = format!("{{\"heartbeats\": [{}0]}}", "0,".repeat(4 << 20));
    let answer = service.send("POST", "/api/v1/telemetry/batch", &token, &zeros).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body.to_string().contains("memory"), "{}", answer.body);
    // As long, and of few values.
    let text = format!("{{\"heartbeats\": \"{}\"}}", "0 ".repeat(4 << 20));
    assert_eq!(service.send("POST", "/api/v1/telemetry/batch", &token, &text).await.status, 422);
}

/// A request with a body as long as one can be, of which only the first byte is sent.
async fn half_sent(service: &Service, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: {LARGEST_BODY}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It must not meet the bytes of the next request, or it would be the one that is refused.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream
}

/// Sends heartbeats until one is answered with `status`; the status of the last.
async fn beat_until(service: &Service, token: &str, status: u16) -> u16 {
    for _ in 0..50 {
        if service.post("heartbeat", token, &beat("web-1")).await.status == status {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.post("heartbeat", token, &beat("web-1")).await.status
}

#[tokio::test]
async fn bodies_in_flight_count_over_a_reload() {
    let with = |max_body_bytes: usize, request_seconds: u64| ExposeConfig {
        max_body_bytes,
        request_seconds,
        ..ExposeConfig::default()
    };
    let service = Service::with(with(LARGEST_BODY, 30)).await;
    let token = service.token(None, None, None);
    let first = half_sent(&service, &token).await;
    assert_eq!(beat_until(&service, &token, 429).await, 429);

    // Another setting changes: the body of before is held all the same.
    service.reload(with(LARGEST_BODY, 29));
    assert_eq!(beat_until(&service, &token, 201).await, 429);

    // A larger budget is there at once, and only the difference of it.
    service.reload(with(2 * LARGEST_BODY, 29));
    assert_eq!(beat_until(&service, &token, 201).await, 201);
    let second = half_sent(&service, &token).await;
    assert_eq!(beat_until(&service, &token, 429).await, 429);

    // A smaller one interrupts nobody, and takes nothing new until enough has come back.
    service.reload(with(LARGEST_BODY, 29));
    drop(first);
    assert_eq!(beat_until(&service, &token, 201).await, 429);
    drop(second);
    assert_eq!(beat_until(&service, &token, 201).await, 201);
}

#[tokio::test]
async fn connections() {
    let config = ExposeConfig { header_seconds: 1, max_connections: 2, ..ExposeConfig::default() };
    let service = Service::with(config).await;
    // Slow heads do not hold places for ever.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(b"GET /health HT").await.unwrap();
        slow.push(stream);
    }
    let asked = tokio::time::timeout(
        Duration::from_secs(10),
        service.raw(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-correlation-id: abc-1\r\nconnection: close\r\n\r\n"),
    );
    let answer = asked.await.expect("a place becomes free");
    assert_eq!((answer.status, answer.header("x-correlation-id")), (200, Some("abc-1")));
    assert_eq!(answer.body, json!({"live": true, "ready": true}));
    let odd = b"GET /docs HTTP/1.1\r\nhost: localhost\r\nx-correlation-id: a b<c>\r\nconnection: close\r\n\r\n";
    let answer = service.raw(odd).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("docs/")));
    assert_eq!(answer.header("x-correlation-id").map(str::len), Some(36));
    let answer = service.raw(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.body, "vitals_up 1\n");
    let answer = service.raw(b"GET /docs/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn heads_are_large_and_bounded() {
    let service = Service::start().await;
    let ask = async |more: &str| {
        let request = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
        service.raw(request.as_bytes()).await.status
    };
    let many = |count: usize| (0..count).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    assert_eq!(ask(&many(900)).await, 200);
    assert_eq!(ask(&many(1_100)).await, 431);
    assert_eq!(ask(&format!("x-long: {}\r\n", "m".repeat(100 * 1024))).await, 200);
    assert_eq!(ask(&format!("x-long: {}\r\n", "m".repeat(140 * 1024))).await, 431);
}

#[tokio::test]
async fn who_waits_for_continue_gets_the_final_answer_without_a_body() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (path, token, status) in
        [("no/such/route", token.as_str(), 404), ("heartbeat", "none", 401), ("agents", &token, 405)]
    {
        let head = format!(
            "POST /api/v1/telemetry/{path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 500000\r\n\r\n"
        );
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{path}");
        // A client that sends the body all the same reads its answer to the end, and is not reset.
        stream.write_all(&vec![b'x'; 500_000]).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.to_lowercase().contains("connection: close"), "{path}: {rest}");
    }
}

#[tokio::test]
async fn what_is_no_json_and_what_is_too_long_is_refused() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let good = beat("web-1").to_string();
    for (media, body, status) in [
        ("application/json", &*good, 201),
        ("application/json; charset=utf-8", &*good, 201),
        ("text/plain", &*good, 422),
        ("application/x-www-form-urlencoded", "a=b", 422),
        ("application/json", "a=b", 422),
        ("application/json", "", 422),
        ("application/json", "{\"a\": NaN}", 422),
    ] {
        let request = format!(
            "POST /api/v1/telemetry/heartbeat HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {media}\r\n\
             authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = service.raw(request.as_bytes()).await;
        assert_eq!(answer.status, status, "{media} {body}: {}", answer.body);
        assert!(status == 201 || answer.body["detail"][0]["type"] == "json_invalid", "{media}: {}", answer.body);
    }
    for (hours, status) in [(8_760, 200), (8_761, 422)] {
        let range = json!({"start_time": at(-hours * HOUR), "end_time": at(0)});
        let body = json!({"target_id": "web-1", "target_type": "agent", "time_range": range});
        assert_eq!(service.post("health-check", &token, &body).await.status, status, "{hours}");
        let body = json!({"query_id": "q", "query_type": "t", "aggregation_window": "1d", "time_range": range});
        assert_eq!(service.post("dashboard", &token, &body).await.status, status, "{hours}");
        assert_eq!(service.get(&format!("uptime-summary/web-1?time_range_hours={hours}"), &token).await.status, status);
    }
    let range = json!({"start_time": "0001-01-01T00:00:00Z", "end_time": "9999-12-31T23:59:59Z"});
    let body = json!({"target_id": "web-1", "target_type": "agent", "time_range": range});
    assert_eq!(service.post("health-check", &token, &body).await.status, 422);
}

#[tokio::test]
async fn what_is_not_done_in_time_fails_with_a_reason() {
    let service = Service::with(ExposeConfig { request_seconds: 1, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    *service.evaluation.stall.lock() = true;
    let mut batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1")], "metrics": [system("db-1")],
    });
    let answer = service.post("batch", &token, &batch).await;
    assert_eq!((answer.status, &answer.body["success"]), (202, &json!(true)), "{}", answer.body);
    assert_eq!((&answer.body["processed_heartbeats"], &answer.body["failed_metrics"]), (&json!(1), &json!(2)));
    assert_eq!(answer.body["processing_errors"], json!(["metrics.0 (db-1): it was not done in time, send it again"]));
    batch["heartbeats"] = json!([]);
    assert_eq!(service.post("batch", &token, &batch).await.status, 503, "all of it may be sent again");
    // One that is refused for overload is no reason to refuse the others.
    *service.evaluation.stall.lock() = false;
    *service.evaluation.refuse.lock() = Some(Refusal::Overloaded { retry_after: Duration::from_secs(7) });
    assert_eq!(service.post("batch", &token, &batch).await.status, 429);
}

#[tokio::test]
async fn answers_say_that_nobody_may_frame_guess_or_keep_them() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (path, policy) in [
        ("/health", "default-src 'none'; frame-ancestors 'none'"),
        ("/metrics", "default-src 'none'; frame-ancestors 'none'"),
        ("/openapi.json", "default-src 'none'; frame-ancestors 'none'"),
        ("/docs/", "frame-ancestors 'none'"),
        ("/nothing", "default-src 'none'; frame-ancestors 'none'"),
        ("/api/v1/telemetry/agents", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        let answer = service.send("GET", path, &token, "").await;
        let header = |name: &str| answer.header(name);
        assert_eq!(header("content-security-policy"), Some(policy), "{path}");
        assert_eq!(header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(header("cache-control").is_some(), "{path}");
    }
}

#[tokio::test]
async fn metrics_are_not_told_to_a_page_that_points_its_name_here() {
    let service = Service::start().await;
    for (host, status) in [("localhost", 200), ("127.0.0.1:8080", 200), ("attacker.example", 421)] {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(service.raw(request.as_bytes()).await.status, status, "{host}");
    }
    // A probe tells nothing, and a balancer may call it by any name.
    let probe = service.raw(b"GET /health HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n").await;
    assert_ne!(probe.status, 421);
}
