//! The API on a port of its own, and a client of a few lines.

use super::evaluation::EvaluationStub;
use super::{NOW, SECRET};
use crate::auth::{Auth, TokenRequest};
use crate::expose::{ExposeConfig, Rest, ServiceStatus, serve};
use crate::testing::MemoryStore;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vitals_core::live_agents::LiveAgents;
use vitals_core::registry::{Quota, Registry};
use vitals_core::verdict::Alert;

pub struct Service {
    pub address: SocketAddr,
    pub auth: Arc<Auth>,
    pub store: Arc<MemoryStore>,
    pub evaluation: Arc<EvaluationStub>,
    pub registry: Arc<Registry>,
    /// The threads that asked how the service is, or for its metrics.
    pub asked_by: Arc<Mutex<Vec<ThreadId>>>,
    pub streams: Arc<crate::expose::stream::Hub>,
    pub rest: tokio::sync::watch::Sender<Arc<Rest>>,
    pub _stop: tokio::sync::oneshot::Sender<()>,
}

pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Service {
    pub async fn start() -> Self {
        Self::with(ExposeConfig::default()).await
    }

    pub async fn with(config: ExposeConfig) -> Self {
        let registry = Arc::new(Registry::new(Quota::default()));
        let store = Arc::new(MemoryStore::default());
        let live_agents = Arc::new(LiveAgents::default());
        let asked_by: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
        let auth = Arc::new(Auth::from_secret(SECRET).unwrap());
        let evaluation = Arc::new(EvaluationStub {
            store: store.clone(),
            live_agents: live_agents.clone(),
            refuse: Mutex::default(),
            stall: Mutex::default(),
            taken: Mutex::default(),
        });
        let rest = Rest {
            registry: registry.clone(),
            store: store.clone(),
            live_agents,
            auth: auth.clone(),
            submitter: evaluation.clone(),
            streams: crate::expose::stream::Hub::new(&config.stream, registry.clone()),
            plugins: Arc::new(|| vec![json!({"name": "health-score"})]),
            status: {
                let asked_by = asked_by.clone();
                Arc::new(move || {
                    asked_by.lock().push(std::thread::current().id());
                    ServiceStatus {
                        ready: true,
                        database_status: "connected".into(),
                        processing_queue_status: "healthy".into(),
                        queued: 0,
                    }
                })
            },
            metrics: {
                let asked_by = asked_by.clone();
                Arc::new(move || {
                    asked_by.lock().push(std::thread::current().id());
                    "vitals_up 1\n".into()
                })
            },
            page: Arc::default(),
            config,
            partitions: 2,
            clock: Arc::new(|| NOW),
        };
        let streams = rest.streams.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (rest, current) = tokio::sync::watch::channel(Arc::new(rest));
        tokio::spawn(serve(listener, 1_024, current, async {
            let _ = stopped.await;
        }));
        Self { address, auth, store, evaluation, registry, asked_by, streams, rest, _stop: stop }
    }

    /// The stored alert with the first id.
    pub fn first_alert(&self) -> Alert {
        self.store.contents().alerts.into_values().next().unwrap()
    }

    /// New settings, as a reload of the service gives them.
    pub fn reload(&self, config: ExposeConfig) {
        self.rest.send_modify(|rest| *rest = Arc::new(Rest { config, ..Rest::clone(rest) }));
    }

    pub fn token(&self, tenant: Option<&str>, agents: Option<&[&str]>, scope: Option<&str>) -> String {
        self.auth
            .issue(TokenRequest {
                subject: "ops".into(),
                email: "ops@example.com".into(),
                tenant: tenant.map(str::to_owned),
                agents: agents.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
                ttl: Duration::from_secs(60),
                scope: scope.map(str::to_owned),
            })
            .unwrap()
    }

    pub async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A refused request may be answered before it was read whole.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        Answer { status, headers: head.to_owned(), body }
    }

    pub async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes()).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("POST", &format!("/api/v1/telemetry/{path}"), token, &body.to_string()).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", &format!("/api/v1/telemetry/{path}"), token, "").await
    }
}
