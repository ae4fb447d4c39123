//! OTLP/gRPC, and the health of the service.

use super::*;

#[tokio::test]
async fn grpc_with_every_compression_on_one_connection() {
    let ports = start(small()).await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", ports.grpc)).unwrap().connect().await.unwrap();
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = MetricsServiceClient::new(channel.clone());
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        for _ in 0..20 {
            client.export(request(500)).await.unwrap();
        }
    }
    let bodies = ports.ingest.bodies.lock().clone();
    assert_eq!(bodies.len(), 60);
    assert!(bodies.iter().all(|body| *body == request(500).encode_to_vec()));
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn grpc_says_what_was_wrong() {
    let ports = start(small()).await;
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(200_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{}", status.message());
    let mut zipped = client.clone().send_compressed(CompressionEncoding::Gzip);
    let status = zipped.export(request(5_000_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "a bomb: {}", status.message());
    // Raw frames: a message that ends early, one that is not gzip, one that is not UTF-8.
    let with_length = |flag: u8, len: u32, bytes: &[u8]| [&[flag][..], &len.to_be_bytes(), bytes].concat();
    for (name, encoding, body, code) in [
        ("truncated frame", "identity", with_length(0, 100, b"x"), "3"),
        ("truncated message", "identity", with_length(0, 2, &[0x0a, 0x05]), "3"),
        ("not gzip", "gzip", with_length(1, 4, b"nope"), "3"),
        ("not UTF-8", "identity", with_length(0, 6, &[0x0a, 0x04, 0x1a, 0x02, 0xff, 0xfe]), "3"),
        ("wrong compression", "br", with_length(1, 4, b"nope"), "12"),
        ("nothing", "identity", Vec::new(), "3"),
    ] {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let url = format!("http://{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", ports.grpc);
        let request = client.post(url).header("content-type", "application/grpc").header("grpc-encoding", encoding);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.headers()["grpc-status"], code, "{name}: {:?}", response.headers());
    }
    client.export(request(1)).await.unwrap();
    assert_eq!(ports.budget.used(), 0);
}

#[tokio::test]
async fn a_unary_call_has_one_message() {
    let ports = start(small()).await;
    let message = request(50).encode_to_vec();
    let one = framed(0, &message);
    for (name, headers, body, code) in [
        ("two messages", vec![], [&one[..], &one].concat(), "12"),
        ("an empty one behind", vec![], [&one[..], &framed(0, b"")].concat(), "12"),
        ("an empty one before", vec![], [&framed(0, b"")[..], &one].concat(), "12"),
        ("half a head behind", vec![], [&one[..], &[0, 0]].concat(), "12"),
        ("compressed, and nobody says how", vec![], framed(1, &gzip(&message)), "13"),
        ("compressed as identity", vec![("grpc-encoding", "identity")], framed(1, &message), "13"),
        ("a flag that does not exist", vec![], framed(2, &message), "13"),
        ("nothing", vec![], Vec::new(), "3"),
        ("half a head", vec![], vec![0, 0], "3"),
    ] {
        let (status, headers) = call(ports.grpc, &headers, body).await;
        assert_eq!((status, &headers["grpc-status"]), (200, &code.parse().unwrap()), "{name}");
        assert!(!headers["grpc-message"].is_empty(), "{name}");
    }
    assert!(ports.ingest.bodies.lock().is_empty(), "nothing of them is taken");
    assert_eq!(ports.budget.used(), 0);
    // Not compressed although a compression is agreed on: each message says for itself.
    let (_, headers) = call(ports.grpc, &[("grpc-encoding", "gzip")], one).await;
    assert_eq!(headers.get("grpc-status"), None, "success is in the trailers");
    assert_eq!(*ports.ingest.bodies.lock(), [Bytes::from(message)]);
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_in_http() {
    let ports = start(small()).await;
    let url = format!("http://{}/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", ports.grpc);
    for (method, content, status, told) in [
        ("POST", Some("application/grpc-web"), 415, "gRPC-Web is not taken here"),
        ("POST", Some("application/grpc-web-text+proto"), 415, "gRPC-Web is not taken here"),
        ("POST", Some("application/grpc+json"), 415, "gRPC with protobuf"),
        ("POST", Some("application/x-protobuf"), 415, "OTLP/HTTP goes to the other port"),
        ("POST", None, 415, "OTLP/HTTP goes to the other port"),
        ("GET", None, 405, "POST only"),
        ("OPTIONS", None, 405, "POST only"),
    ] {
        for http2 in [false, true] {
            let mut client = reqwest::Client::builder();
            if http2 {
                client = client.http2_prior_knowledge();
            }
            let mut request = client.build().unwrap().request(method.parse().unwrap(), &url);
            if let Some(content) = content {
                request = request.header("content-type", content);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {content:?}");
            assert_eq!(response.headers().get("allow").is_some(), status == 405, "{method} {content:?}");
            assert!(response.text().await.unwrap().contains(told), "{method} {content:?}");
        }
    }
    let web = post(ports.http, "/v1/metrics", &[("content-type", "application/grpc-web+proto")], "").await;
    assert_eq!(web.status, 415);
    assert!(tonic_code(&web.body).1.contains("gRPC-Web is not taken"));
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let answer = reqwest::Client::new()
            .request(method.parse().unwrap(), format!("http://{}/v1/metrics", ports.http))
            .send()
            .await
            .unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()), "{method}");
    }
    assert!(ports.ingest.bodies.lock().is_empty());
}

#[tokio::test]
async fn health_follows_the_service() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let auth = Arc::new(Auth::from_secret(b"a secret of thirty-two bytes or more").unwrap());
    let mut ports = start_with(small(), Ok(Accepted::default()), Some(auth), false).await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", ports.grpc)).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "opentelemetry.proto.collector.metrics.v1.MetricsService"] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}, without a token");
    }
    assert_eq!(client.check(of("other")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = client.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    for (ready, expect) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        ports.ingest.ready.store(ready, std::sync::atomic::Ordering::Relaxed);
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), watch.message()).await;
            let status = next.expect("it is told").unwrap().unwrap().status();
            if status == expect {
                break;
            }
        }
        assert_eq!(client.check(of("")).await.unwrap().into_inner().status(), expect);
    }
    // A watch does not hold the service up when it stops.
    let begun = std::time::Instant::now();
    assert!(ports.stop.take().is_some_and(|stop| stop.send(true).is_ok()));
    let mut last = None;
    while let Ok(Some(answer)) = watch.message().await {
        last = Some(answer.status());
    }
    assert!(last.is_none_or(|status| status == ServingStatus::NotServing));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
