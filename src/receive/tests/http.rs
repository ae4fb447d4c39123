//! OTLP/HTTP.

use super::*;
use vitals_core::log::LogError;

#[tokio::test]
async fn http_takes_both_forms_and_all_encodings() {
    let ports = start(small()).await;
    let message = request(50).encode_to_vec();
    for (encoding, body) in
        [("identity", message.clone()), ("gzip", gzip(&message)), ("zstd", zstd::encode_all(&message[..], 1).unwrap())]
    {
        let answered = post(ports.http, "/v1/metrics", &[PROTOBUF, ("content-encoding", encoding)], body).await;
        assert_eq!(answered.status, 200, "{encoding}");
        assert_eq!(answered.headers["content-type"], "application/x-protobuf");
        assert_eq!(
            ExportMetricsServiceResponse::decode(answered.body).unwrap(),
            ExportMetricsServiceResponse::default()
        );
    }
    let json = r#"{"resourceMetrics":[{"schemaUrl":"s"}]}"#;
    let answered = post(ports.http, "/v1/metrics", &[JSON], json).await;
    assert_eq!((answered.status, &answered.body[..]), (200, &b"{}"[..]));
    assert_eq!(answered.headers["content-type"], "application/json");
    let bodies = ports.ingest.bodies.lock().clone();
    assert_eq!(bodies.len(), 4);
    assert!(bodies[..3].iter().all(|body| *body == message));
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn http_says_what_was_wrong() {
    let ports = start(small()).await;
    let bomb = vec![0_u8; 5_000_000];
    let message = request(50).encode_to_vec();
    let zip = ("content-encoding", "gzip");
    let zstandard = ("content-encoding", "zstd");
    let invalid_utf8 = [0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe];
    type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, u16, i32);
    let cases: [Case; 11] = [
        ("truncated", vec![PROTOBUF], message[..message.len() - 1].to_vec(), 400, 3),
        ("not UTF-8", vec![PROTOBUF], invalid_utf8.to_vec(), 400, 3),
        ("cut gzip", vec![PROTOBUF, zip], gzip(&message)[..20].to_vec(), 400, 3),
        ("not gzip", vec![PROTOBUF, zip], message.clone(), 400, 3),
        ("not zstd", vec![PROTOBUF, zstandard], message.clone(), 400, 3),
        ("gzip bomb", vec![PROTOBUF, zip], gzip(&bomb), 413, 8),
        ("zstd bomb", vec![PROTOBUF, zstandard], zstd::encode_all(&bomb[..], 1).unwrap(), 413, 8),
        ("too large", vec![PROTOBUF], request(200_000).encode_to_vec(), 413, 8),
        ("no content type", Vec::new(), message.clone(), 415, 3),
        ("wrong content type", vec![("content-type", "text/plain")], message.clone(), 415, 3),
        ("wrong compression", vec![PROTOBUF, ("content-encoding", "br")], message.clone(), 415, 3),
    ];
    for (name, headers, body, status, code) in cases {
        let answered = post(ports.http, "/v1/metrics", &headers, body).await;
        assert_eq!(answered.status, status, "{name}");
        assert_eq!(answered.headers["content-type"], "application/x-protobuf", "{name}");
        let message = tonic_code(&answered.body);
        assert_eq!(message.0, code, "{name}");
        assert!(!message.1.is_empty(), "{name}");
    }
    let answered = post(ports.http, "/v1/metrics", &[JSON], "{").await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!((answered.status, &json["code"]), (400, &3.into()));
    assert!(ports.ingest.bodies.lock().is_empty());
    assert_eq!(ports.budget.used(), 0, "refused requests give their bytes back");
}

/// A sender that reads nothing before it has sent all would see a reset, and no reason, if the connection ended first.
#[tokio::test]
async fn a_refusal_waits_for_the_rest_of_the_body() {
    let ports = start(small()).await;
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let body = vec![b'x'; 8 << 20];
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        let head = format!(
            "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for part in body.chunks(2 << 20) {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(pause).await;
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}

#[tokio::test]
async fn partial_success_and_refusals_in_both_forms() {
    let rejected = Accepted { rejected: 3, reason: "3 points without a time".into() };
    let ports = start_with(small(), Ok(rejected), None, false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    let partial = ExportMetricsServiceResponse::decode(answered.body).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (3, "3 points without a time"));
    let answered = post(ports.http, "/v1/metrics", &[JSON], "{}").await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "3");
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let response = client.export(request(1)).await.unwrap().into_inner();
    assert_eq!(response.partial_success.unwrap().rejected_data_points, 3);

    let overloaded = Refusal::Overloaded { retry_after: Duration::from_millis(2500) };
    let ports = start_with(small(), Err(overloaded), None, false).await;
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], "").await;
    assert_eq!((answered.status, &answered.headers["retry-after"]), (429, &"3".parse().unwrap()));
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));

    let ports =
        start_with(small(), Err(Refusal::LogUnavailable(LogError::Io("the disk is full".into()))), None, false).await;
    assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], "").await.status, 503);
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    assert_eq!(client.export(request(1)).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn points_that_json_cannot_say_are_in_the_answer() {
    let rejected = Accepted { rejected: 3, reason: "3 points without a time".into() };
    let ports = start_with(small(), Ok(rejected), None, false).await;
    let body = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [
        {"asInt": 1}, {"asDouble": "x"}]}}]}]}]}"#;
    let answered = post(ports.http, "/v1/metrics", &[JSON], body).await;
    let json: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!((answered.status, &json["partialSuccess"]["rejectedDataPoints"]), (200, &"4".into()));
    let expect = "1 points of metric \"m\": dataPoints.asDouble is \"x\", not a double; 3 points without a time";
    assert_eq!(json["partialSuccess"]["errorMessage"], expect);
    // Many bytes out of few characters count as what they become.
    let zeros = "0,".repeat(40_000);
    let point = format!(r#"{{"bucketCounts": [{zeros}0]}}"#);
    let large = format!(
        r#"{{"resourceMetrics": [{{"scopeMetrics": [{{"metrics": [{{"histogram": {{"dataPoints": [{point}]}}}}]}}]}}]}}"#
    );
    assert!(large.len() < 100_000);
    assert_eq!(post(ports.http, "/v1/metrics", &[JSON], large).await.status, 413);
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send() {
    let auth = Arc::new(Auth::from_secret(b"a secret of thirty-two bytes or more").unwrap());
    let cors = crate::net::CorsConfig {
        allowed_origins: vec!["https://app.example.com".into(), "http://localhost:3000".into()],
        allowed_headers: vec!["x-api-key".into()],
        ..Default::default()
    };
    let with_cors = start_with(ReceiveConfig { cors, ..small() }, Ok(Accepted::default()), Some(auth), false).await;
    let without = start(small()).await;
    let ask = |to: SocketAddr, method: &'static str, origin: &'static str| async move {
        reqwest::Client::new()
            .request(method.parse().unwrap(), format!("http://{to}/v1/metrics"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .header("content-type", "application/json")
            .body(if method == "POST" { "{}" } else { "" })
            .send()
            .await
            .unwrap()
    };
    let preflight = ask(with_cors.http, "OPTIONS", "http://localhost:3000").await;
    assert!(preflight.status().is_success(), "without a token: {}", preflight.status());
    assert_eq!(preflight.headers()["access-control-allow-origin"], "http://localhost:3000");
    let headers = preflight.headers()["access-control-allow-headers"].to_str().unwrap();
    for name in ["authorization", "content-type", "content-encoding", "x-correlation-id", "x-api-key", "traceparent"] {
        assert!(headers.split(',').any(|one| one.trim() == name), "{name}: {headers}");
    }
    assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert_eq!(preflight.headers()["access-control-max-age"], "600");
    // An error is marked too, or the page could not read it.
    let refused = ask(with_cors.http, "POST", "https://app.example.com").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(refused.headers()["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    assert!(refused.headers()["vary"].to_str().unwrap().contains("origin"));
    for method in ["OPTIONS", "POST"] {
        let other = ask(with_cors.http, method, "https://evil.example").await;
        assert_eq!(other.headers().get("access-control-allow-origin"), None, "{method}");
        assert!(other.headers()["vary"].to_str().unwrap().contains("origin"), "{method}");
    }
    let off = ask(without.http, "OPTIONS", "https://app.example.com").await;
    assert_eq!((off.status().as_u16(), off.headers().get("access-control-allow-origin")), (405, None));
}

#[tokio::test]
async fn a_page_that_points_its_name_here_is_refused_where_no_token_is_asked() {
    let posted = |host: &str| {
        format!(
            "POST /v1/metrics HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        )
    };
    let called = |host: &str| {
        format!(
            "POST /opentelemetry.proto.collector.metrics.v1.MetricsService/Export HTTP/1.1\r\nhost: {host}\r\n\
             content-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"
        )
    };
    let ports = start(ReceiveConfig { allowed_hosts: vec!["vitals.internal".to_owned()], ..small() }).await;
    for (host, taken) in [("localhost", true), ("vitals.internal:4318", true), ("attacker.example:4318", false)] {
        let answer = raw(ports.http, &[posted(host).as_bytes()]).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), taken, "{host}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 421") && answer.contains("receive.allowed_hosts"), !taken, "{answer}");
        let answer = raw(ports.grpc, &[called(host).as_bytes()]).await;
        assert_eq!(answer.to_lowercase().contains("grpc-status: 7"), !taken, "{host}: {answer}");
    }
    assert_eq!(ports.ingest.bodies.lock().len(), 4);
    // A token is something that such a page does not have.
    let folder = tempfile::tempdir().unwrap();
    let auth = Arc::new(Auth::load(&crate::auth::AuthConfig::default(), folder.path()).unwrap());
    let guarded = start_with(small(), Ok(Accepted::default()), Some(auth), false).await;
    let answer = raw(guarded.http, &[posted("vitals.example.com").as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
