//! Limits on bytes in flight, connections, heads and bodies.

use super::*;

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let config = ReceiveConfig { max_in_flight_bytes: 50_000, ..small() };
    let ports = start_with(config, Ok(Accepted::default()), None, true).await;
    let body = request(10_000).encode_to_vec();
    for _ in 0..2 {
        assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], body.clone()).await.status, 200);
    }
    let answered = post(ports.http, "/v1/metrics", &[PROTOBUF], body.clone()).await;
    assert_eq!((answered.status, &answered.headers["retry-after"]), (429, &"1".parse().unwrap()));
    let zipped = post(ports.http, "/v1/metrics", &[PROTOBUF, ("content-encoding", "gzip")], gzip(&body)).await;
    assert_eq!(zipped.status, 429);
    let mut client = MetricsServiceClient::connect(format!("http://{}", ports.grpc)).await.unwrap();
    let status = client.export(request(10_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo"));
    // What is evaluated gives its bytes back.
    ports.ingest.permits.lock().clear();
    assert_eq!(ports.budget.used(), 0);
    assert_eq!(post(ports.http, "/v1/metrics", &[PROTOBUF], body).await.status, 200);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let config = ReceiveConfig { header_timeout_seconds: 1, body_timeout_seconds: 1, ..small() };
    let ports = start(config).await;
    let mut head = TcpStream::connect(ports.http).await.unwrap();
    head.write_all(b"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    let mut body = TcpStream::connect(ports.http).await.unwrap();
    let start =
        b"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nabc";
    body.write_all(start).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), body.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    text.clear();
    let _ = tokio::time::timeout(Duration::from_secs(5), head.read_to_string(&mut text)).await.unwrap();
}

#[tokio::test]
async fn many_requests_on_one_connection_and_a_graceful_end() {
    let mut ports = start(small()).await;
    let mut stream = TcpStream::connect(ports.http).await.unwrap();
    let one = b"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    for _ in 0..10 {
        stream.write_all(one).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"{}") {
            let mut part = [0; 1024];
            let n = stream.read(&mut part).await.unwrap();
            assert!(n > 0);
            seen.extend_from_slice(&part[..n]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
    }
    assert!(ports.stop.take().is_some_and(|stop| stop.send(true).is_ok()));
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0);
    assert!(TcpStream::connect(ports.http).await.is_err());
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_not_taken() {
    let ports = start(small()).await;
    let begin = "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for rest in ["transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "content-length: 3\r\n\r\n{}"] {
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(format!("{begin}{rest}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{rest}: {answer}");
    }
    let answer =
        raw(ports.http, &[format!("{begin}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "whole: {answer}");
    assert_eq!(ports.ingest.bodies.lock().len(), 1);
}

#[tokio::test]
async fn who_waits_for_continue_gets_the_final_answer_without_a_body() {
    let config = ReceiveConfig { body_timeout_seconds: 1, ..small() };
    let ports = start(config).await;
    let head = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n{more}\r\n")
    };
    let json = "content-type: application/json\r\n";
    for (path, more, status) in [
        ("/wrong", format!("{json}content-length: 2\r\n"), 404),
        ("/v1/traces", format!("{json}transfer-encoding: chunked\r\n"), 404),
        ("/v1/metrics", "content-type: text/plain\r\ncontent-length: 2\r\n".to_owned(), 415),
        ("/v1/metrics", format!("{json}content-length: 200000\r\n"), 413),
    ] {
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(head(path, &more).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{path}");
        assert!(begun.elapsed() < Duration::from_millis(900), "{path}");
        // A client that sends the body all the same reads its answer to the end, and is not reset.
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.to_lowercase().contains("connection: close"), "{path}: {rest}");
    }
    // To the right place it is told to go on.
    let whole =
        raw(ports.http, &[head("/v1/metrics", &format!("{json}content-length: 2\r\n")).as_bytes(), b"{}"]).await;
    assert!(whole.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{whole}");
}

#[tokio::test]
async fn heads_are_large_and_bounded() {
    let ports = start(small()).await;
    let body = framed(0, b"");
    let long = "m".repeat(20 * 1024);
    assert_eq!(call(ports.grpc, &[("x-metadata", &long)], body.clone()).await.1.get("grpc-status"), None);
    let answered = post(ports.http, "/v1/metrics", &[JSON, ("x-long", &long)], "{}").await;
    assert_eq!(answered.status, 200);
    let names: Vec<String> = (0..900).map(|at| format!("x-{at}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(JSON);
    assert_eq!(post(ports.http, "/v1/metrics", &many, "{}").await.status, 200);
    many.pop();
    assert_eq!(call(ports.grpc, &many, body.clone()).await.1.get("grpc-status"), None);
    // Beyond the bounds it is said.
    let names: Vec<String> = (0..1_100).map(|at| format!("x-{at}")).collect();
    let mut more: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    more.push(JSON);
    assert_eq!(post(ports.http, "/v1/metrics", &more, "{}").await.status, 431);
    let longer = "m".repeat(160 * 1024);
    assert_eq!(post(ports.http, "/v1/metrics", &[JSON, ("x-long", &longer)], "{}").await.status, 431);
    assert_eq!(call(ports.grpc, &[("x-metadata", &longer)], body).await.0, 431);
}

#[tokio::test]
async fn slow_bodies_give_their_bytes_back_when_others_need_them() {
    let half = vec![0x0a; 100_000];
    let head = b"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 200000\r\n\r\n";
    let start_of_body = async |ports: &Ports| {
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(head).await.unwrap();
        stream.write_all(&half).await.unwrap();
        while ports.budget.used() < half.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream
    };
    // With room for others it may take its time.
    let calm = start(ReceiveConfig::default()).await;
    let mut patient = start_of_body(&calm).await;
    let needed = start(ReceiveConfig { max_in_flight_bytes: 300_000, ..ReceiveConfig::default() }).await;
    let mut slow = start_of_body(&needed).await;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(25), slow.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 1"), "{answer}");
    while needed.budget.used() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The other body was there for as long.
    patient.write_all(&half).await.unwrap();
    let mut status = [0; 12];
    patient.read_exact(&mut status).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 400", "it was read to its end");
}

#[tokio::test]
async fn one_peer_does_not_hold_all_bytes_in_flight() {
    let config = ReceiveConfig { max_in_flight_bytes: 400_000, ..ReceiveConfig::default() };
    let ports = start(config).await;
    let head = b"POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: 60000\r\n\r\n";
    let mut holding = Vec::new();
    // As many as it can, none of which ends.
    for _ in 0..17 {
        let mut stream = TcpStream::connect(ports.http).await.unwrap();
        stream.write_all(head).await.unwrap();
        stream.write_all(&[0x0a; 50_000]).await.unwrap();
        holding.push(stream);
    }
    while ports.budget.used() < 150_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ports.budget.used() <= 200_000, "{}", ports.budget.used());
    // Another address of this machine is another peer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(ports.http).await.unwrap();
    let body = request(50_000).encode_to_vec();
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    other.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut status = [0; 12];
    other.read_exact(&mut status).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 200");
}
