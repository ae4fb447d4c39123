//! The live stream over real sockets.

use super::*;
use crate::auth::TokenRequest;
use crate::expose::stream::StreamConfig;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use vitals_core::series::Attributes;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{Evidence, Verdict, VerdictBody};

/// Longest that anything here may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of Server-Sent Events.
pub(super) struct Events {
    socket: TcpStream,
    text: String,
    head: String,
}

impl Events {
    pub(super) async fn open(service: &Service, query: &str, token: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(service.address).await.unwrap();
        let request = format!(
            "GET /api/v1/telemetry/stream{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{headers}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { socket, text: String::new(), head: String::new() };
        while !events.text.contains("\r\n\r\n") {
            assert!(events.more().await, "{}", events.text);
        }
        let (head, rest) = events.text.split_once("\r\n\r\n").unwrap();
        (events.head, events.text) = (head.to_owned(), rest.to_owned());
        events
    }

    /// Whether there was more.
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut bytes)).await.expect("news").unwrap_or(0);
        self.text += &String::from_utf8_lossy(&bytes[..read]);
        read > 0
    }

    /// The lines of the next message; `None` at the end.
    async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                // Without the lengths of chunks.
                let lines = message.lines().filter(|line| line.contains(':')).map(str::to_owned).collect();
                self.text = rest.to_owned();
                return Some(lines);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The JSON of the next message of this name.
    pub(super) async fn named(&mut self, name: &str) -> Value {
        loop {
            let lines = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if lines.iter().any(|line| line == &format!("event: {name}")) {
                let data = lines.iter().find_map(|line| line.strip_prefix("data: ")).expect("data");
                return serde_json::from_str(data).expect("JSON in one line");
            }
        }
    }
}

impl Service {
    /// A health verdict of an agent, as evaluation makes it.
    fn judge(&self, tenant: &str, key: &str, score: f64) {
        let agent = self.registry.intern_agent(&tenant.into(), key, NOW, &AgentProfile::default()).unwrap();
        let health = AgentHealth { score, status: HealthStatus::Healthy, reasons: vec![], recommendations: vec![] };
        let evidence = Evidence { plugin: "p".into(), version: "1".into(), digest: "d".into(), config: "c".into() };
        let body = VerdictBody::Health(health);
        let verdict = Verdict { tenant: tenant.into(), agent, time: NOW, evidence: Arc::new(evidence), body };
        self.streams.observe(&EvaluationOutput { verdicts: vec![verdict], ..EvaluationOutput::default() });
    }
}

#[tokio::test]
async fn events_are_sent_and_resumed() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let mut events = Events::open(&service, "?kind=health&agent=web-*", &token, "").await;
    assert!(events.head.starts_with("HTTP/1.1 200"), "{}", events.head);
    for header in ["content-type: text/event-stream", "cache-control: no-store", "connection: close"] {
        assert!(events.head.to_ascii_lowercase().contains(header), "{}", events.head);
    }
    let hello = events.next().await.unwrap();
    assert!(hello.contains(&"retry: 2000".to_owned()) && hello.contains(&"event: hello".to_owned()), "{hello:?}");
    service.judge("default", "db-1", 1.0);
    service.judge("other", "web-9", 2.0);
    service.judge("default", "web-1", 3.0);
    let first = events.named("health").await;
    assert_eq!((&first["agent_id"], &first["body"]["score"]), (&json!("web-1"), &json!(3.0)));
    drop(events);
    service.judge("default", "web-1", 4.0);
    for (query, headers) in [
        ("?kind=health".to_owned(), format!("last-event-id: {}\r\n", first["id"])),
        (format!("?kind=health&last_event_id={}", first["id"]), String::new()),
    ] {
        let mut events = Events::open(&service, &query, &token, &headers).await;
        assert_eq!(events.named("health").await["body"]["score"], 4.0);
    }
}

#[tokio::test]
async fn what_makes_no_sense_or_is_not_allowed_is_refused() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = service.registry.intern_agent(&"other".into(), "a", NOW, &AgentProfile::default()).unwrap();
    let spec = SeriesSpec {
        metric: "x".into(),
        unit: "1".into(),
        kind: MetricKind::Custom,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Arc::default(),
        attributes: Attributes::default(),
        resource: Arc::default(),
    };
    let foreign = service.registry.intern_series(&"other".into(), agent, vec![spec]).pop().unwrap().unwrap();
    let many = (0..201).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    for (query, status) in [
        ("kind=healthy".to_owned(), 422),
        ("kind=".to_owned(), 422),
        ("kind=sample".to_owned(), 422),
        ("severity=bad".to_owned(), 422),
        ("series=1,x".to_owned(), 422),
        (format!("series={many}"), 422),
        ("agent=".to_owned(), 422),
        ("agents=a".to_owned(), 422),
        (format!("series={}", foreign.0), 404),
        ("series=4000000000".to_owned(), 404),
    ] {
        for route in ["stream", "ws"] {
            let answer = service.get(&format!("{route}?{query}"), &token).await;
            assert_eq!(answer.status, status, "{route} {query}: {}", answer.body);
        }
    }
    for route in ["stream", "ws"] {
        assert_eq!(service.get(route, "x").await.status, 401);
        let writer = service.token(None, None, Some("telemetry:write"));
        assert_eq!(service.get(route, &writer).await.status, 403);
    }
    let answer = service.get("ws", &token).await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")));
}

#[tokio::test]
async fn streams_take_no_connections_from_others() {
    let stream = StreamConfig { max_streams: 3, ..StreamConfig::default() };
    let service = Service::with(ExposeConfig { max_connections: 1, stream, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Events::open(&service, "", &token, "").await);
    }
    let answer = tokio::time::timeout(PATIENCE, service.get("agents", &token)).await.expect("there is a place");
    assert_eq!(answer.status, 200);
    let refused = service.get("stream", &token).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")), "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("(3)"), "{}", refused.body);
    service.judge("default", "a", 1.0);
    for events in &mut open {
        events.named("health").await;
    }
    // Whoever leaves makes room, as soon as that is noticed.
    open.pop();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while Events::open(&service, "", &token, "").await.head.starts_with("HTTP/1.1 429") {
        assert!(tokio::time::Instant::now() < deadline, "the place is not given back");
        service.judge("default", "a", 1.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A client that never reads: its connection is given up, and others hear everything meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_slows_nobody_and_is_given_up() {
    let stream = StreamConfig { buffer_bytes: 1 << 20, heartbeat_seconds: 1, ..StreamConfig::default() };
    let service = Service::with(ExposeConfig { write_seconds: 1, stream, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    let _deaf = Events::open(&service, "", &token, "").await;
    let mut hears = Events::open(&service, "", &token, "").await;
    let key = "long-".repeat(400);
    let deadline = tokio::time::Instant::now() + 2 * PATIENCE;
    let mut score = 0.0;
    while service.streams.open() > 1 {
        assert!(tokio::time::Instant::now() < deadline, "the deaf client is still served");
        for _ in 0..50 {
            score += 1.0;
            service.judge("default", &key, score);
        }
        while hears.named("health").await["body"]["score"] != score {}
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams_in_good_order() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let mut events = Events::open(&service, "", &token, "").await;
    let mut socket = websocket(&service, "", &token).await;
    let Service { _stop, streams, .. } = service;
    drop(_stop);
    assert_eq!(events.named("end").await["reason"], "shutdown");
    assert_eq!(events.next().await, None);
    let close = loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("news") {
            Some(Ok(Message::Close(close))) => break close,
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(u16::from(close.expect("a reason").code), 1001);
    tokio::time::timeout(PATIENCE, streams.idle()).await.expect("nobody is left");
}

async fn websocket(service: &Service, query: &str, token: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let socket = TcpStream::connect(service.address).await.unwrap();
    let mut request = format!("ws://{}/api/v1/telemetry/ws{query}", service.address).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    tokio_tungstenite::client_async(request, socket).await.expect("a handshake").0
}

#[tokio::test]
async fn the_same_messages_come_over_websocket() {
    let service = Service::with(ExposeConfig { max_connections: 1, ..ExposeConfig::default() }).await;
    let token = service.token(None, None, None);
    let mut events = Events::open(&service, "", &token, "").await;
    let mut socket = websocket(&service, "?kind=health", &token).await;
    // What it says is ignored.
    socket.send(Message::text("{\"subscribe\": true}")).await.unwrap();
    service.judge("default", "a", 7.0);
    let expect = events.named("health").await;
    let found = loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("news").unwrap().unwrap();
        if let Message::Text(text) = message {
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["event"] != "hello" {
                break message;
            }
        }
    };
    assert_eq!(found, expect);
    // Too long a message ends it.
    socket.send(Message::text("x".repeat(64 * 1024))).await.unwrap();
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("news") {
            None | Some(Err(_)) => break,
            Some(Ok(Message::Close(close))) => {
                assert_eq!(u16::from(close.expect("a reason").code), 1008);
                break;
            }
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_its_streams() {
    let service = Service::start().await;
    let token = service
        .auth
        .issue(TokenRequest {
            subject: "ops".into(),
            email: "ops@example.com".into(),
            tenant: None,
            agents: None,
            ttl: Duration::from_secs(1),
            scope: None,
        })
        .unwrap();
    let mut events = Events::open(&service, "", &token, "").await;
    let mut socket = websocket(&service, "", &token).await;
    assert_eq!(events.named("end").await["reason"], "token_expired");
    assert_eq!(events.next().await, None);
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("news") {
            Some(Ok(Message::Close(close))) => {
                assert_eq!(u16::from(close.expect("a reason").code), 4401);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    // It ended with the leeway, which is told in whole seconds.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while service.get("agents", &token).await.status != 401 {
        assert!(tokio::time::Instant::now() < deadline, "the token is taken for ever");
    }
}
