//! Over real sockets, with the store and the intake in memory: shapes against the contract's schemas, walls between
//! tenants, validation at its bounds.

mod answers;

use super::{LARGEST_BODY, serve};
use crate::auth::{Auth, TokenRequest};
use crate::expose::{ExposeConfig, Intake, IntakeError, Rest, ServiceStatus, Submitted};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vitals_core::availability::{Interval, State};
use vitals_core::board::{AgentLive, Board, Liveness, Observed};
use vitals_core::ids::{AgentId, Partition, Position, TenantId, UnixNanos};
use vitals_core::record::{Outcome, Record, Vitals};
use vitals_core::registry::{Quota, Registry};
use vitals_core::rules::health::{HealthConfig, score};
use vitals_core::rules::quality::QualityRules;
use vitals_core::rules::sla::SlaConfig;
use vitals_core::seam::{
    Aggregation, AlertQuery, Catalogue, Checkpoint, Output, SampleQuery, Store, StoreError, StoreStats, VerdictQuery,
};
use vitals_core::series::{AgentProfile, MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Severity, Verdict, VerdictBody,
};

const NOW: UnixNanos = UnixNanos(1_770_000_000_000_000_000);
const MINUTE: i64 = 60 * UnixNanos::SECOND;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn at(offset: i64) -> String {
    super::time::Time(NOW.plus(offset)).to_string()
}

/// Keeps everything in lists.
#[derive(Default)]
struct Memory {
    samples: Mutex<Vec<(u32, UnixNanos, f64)>>,
    verdicts: Mutex<Vec<Verdict>>,
    intervals: Mutex<Vec<(AgentId, Interval)>>,
    alerts: Mutex<Vec<Alert>>,
    /// Alerts that were handed out.
    alerts_read: AtomicUsize,
    /// The threads that asked how the service is, or for its metrics.
    asked_by: Mutex<Vec<ThreadId>>,
}

impl Store for Memory {
    fn catalogue(&self) -> Result<Catalogue, StoreError> {
        Ok(Catalogue::default())
    }

    fn checkpoint(&self, _: Partition) -> Result<Checkpoint, StoreError> {
        Ok(Checkpoint::default())
    }

    fn stored(&self, _: Partition) -> Result<Position, StoreError> {
        Ok(Position(0))
    }

    fn write(&self, _: Partition, output: Output) {
        self.verdicts.lock().extend(output.verdicts);
        self.intervals.lock().extend(output.intervals);
        self.alerts.lock().extend(output.alerts);
    }

    fn seal(&self, _: Partition, _: Checkpoint, done: Box<dyn FnOnce() + Send>) {
        done();
    }

    fn samples(&self, query: &SampleQuery) -> Result<Vec<(UnixNanos, f64)>, StoreError> {
        let mut rows: Vec<(UnixNanos, f64)> = self
            .samples
            .lock()
            .iter()
            .filter(|(series, time, _)| *series == query.series.0 && (query.start..query.end).contains(time))
            .map(|&(_, time, value)| (time, value))
            .collect();
        rows.sort_by_key(|&(time, _)| time);
        if let Some((step, how)) = query.step {
            let mut steps: Vec<(UnixNanos, Vec<f64>)> = Vec::new();
            for (time, value) in rows {
                let begin = query.start.plus(time.since(query.start) / step * step);
                match steps.last_mut() {
                    Some((last, values)) if *last == begin => values.push(value),
                    _ => steps.push((begin, vec![value])),
                }
            }
            rows = steps.into_iter().map(|(time, values)| (time, aggregate(&values, how))).collect();
        }
        if rows.len() > query.limit {
            return Err(StoreError::TooMuch { limit: query.limit });
        }
        Ok(rows)
    }

    fn verdicts(&self, query: &VerdictQuery) -> Result<Vec<Verdict>, StoreError> {
        let mut found = self.verdicts.lock().clone();
        found.retain(|one| {
            one.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&one.agent))
                && query.kind.is_none_or(|kind| one.body.kind() == kind)
                && (query.start..query.end).contains(&one.time)
        });
        found.sort_by_key(|one| std::cmp::Reverse(one.time));
        found.truncate(query.limit);
        Ok(found)
    }

    fn intervals(&self, agent: AgentId, start: UnixNanos, end: UnixNanos) -> Result<Vec<Interval>, StoreError> {
        let mut found: Vec<Interval> =
            self.intervals.lock().iter().filter(|(id, _)| *id == agent).map(|&(_, interval)| interval).collect();
        found.retain(|one| one.start < end && one.end.is_none_or(|end| end > start));
        found.sort_by_key(|one| one.start);
        Ok(found)
    }

    fn alerts(&self, query: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        let mut found = self.alerts.lock().clone();
        found.retain(|one| {
            one.tenant == query.tenant
                && query.agents.as_ref().is_none_or(|agents| agents.contains(&one.agent))
                && query.resolved.is_none_or(|resolved| resolved == one.resolved.is_some())
                && (query.start..query.end).contains(&one.started)
        });
        found.truncate(query.limit);
        self.alerts_read.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    fn alert(&self, tenant: &TenantId, id: &str) -> Result<Option<Alert>, StoreError> {
        let found = self.alerts.lock().iter().find(|one| one.tenant == *tenant && one.id == id).cloned();
        self.alerts_read.fetch_add(found.iter().len(), Ordering::Relaxed);
        Ok(found)
    }

    fn maintain(&self, _: UnixNanos) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn close(&self) {}
}

fn aggregate(values: &[f64], how: Aggregation) -> f64 {
    match how {
        Aggregation::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregation::Max | Aggregation::P95 => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Aggregation::Count => values.len() as f64,
        Aggregation::Last => *values.last().unwrap(),
    }
}

/// Judges as evaluation does, in a few lines.
struct Judge {
    store: Arc<Memory>,
    board: Arc<Board>,
    refuse: Mutex<Option<IntakeError>>,
    /// Measurements are never done.
    stall: Mutex<bool>,
    taken: Mutex<Vec<Record>>,
}

impl Intake for Judge {
    fn submit(&self, _: Partition, record: Record, _: usize) -> Submitted {
        if let Some(error) = self.refuse.lock().clone() {
            return Box::pin(async { Err(error) });
        }
        let mut outcome = Outcome::default();
        match &record {
            Record::Heartbeat(beat) => {
                self.store.samples.lock().extend(beat.columns.rows().map(|(s, t, v)| (s.0, t, v)));
                let health = score(&HealthConfig::default(), &beat.vitals, None);
                outcome.health = Some(health.clone());
                outcome.next_expected = Some(beat.timestamp.plus(beat.interval));
                outcome.adaptive_timeout = Some(3 * beat.interval);
                if beat.vitals.cpu_percent.is_some_and(|cpu| cpu >= 95.0) {
                    let alert = Alert {
                        id: format!("alert{}", beat.agent.0),
                        tenant: beat.tenant.clone(),
                        agent: beat.agent,
                        severity: Severity::Critical,
                        message: "cpu_usage is 97.0 %, critical from 95.0 %".into(),
                        source: "threshold:cpu_usage".into(),
                        series: None,
                        started: beat.timestamp,
                        resolved: None,
                        acknowledged: None,
                    };
                    self.store.alerts.lock().push(alert.clone());
                    outcome.alerts.push(alert);
                }
                self.store.verdicts.lock().push(Verdict {
                    tenant: beat.tenant.clone(),
                    agent: beat.agent,
                    time: beat.timestamp,
                    evidence: Arc::new(Evidence {
                        plugin: "health-score".into(),
                        version: "0.1.0".into(),
                        digest: "d".into(),
                        config: "c".into(),
                    }),
                    body: VerdictBody::Health(health.clone()),
                });
                let live = AgentLive {
                    liveness: Liveness::OnTime,
                    last_evidence: beat.timestamp,
                    clock_skew: None,
                    interval: beat.interval,
                    timeout: 3 * beat.interval,
                    vitals: beat.vitals,
                    reported: Some(beat.reported),
                    recent: Vec::new(),
                    health: Some(health),
                    sla: None,
                };
                self.board.put([(beat.agent, live)]);
            }
            Record::Samples(_) if *self.stall.lock() => return Box::pin(std::future::pending()),
            Record::Samples(samples) => {
                self.store.samples.lock().extend(samples.columns.rows().map(|(s, t, v)| (s.0, t, v)));
                outcome.outliers = samples
                    .columns
                    .rows()
                    .filter(|(_, _, value)| *value > 1e6)
                    .map(|(series, _, value)| OutlierVerdict {
                        series,
                        value,
                        lower: 0.0,
                        upper: 1.0,
                        score: 1e6,
                        window: 100,
                    })
                    .collect();
            }
            _ => {}
        }
        self.taken.lock().push(record);
        Box::pin(async { Ok(outcome) })
    }
}

struct Service {
    address: SocketAddr,
    auth: Arc<Auth>,
    store: Arc<Memory>,
    judge: Arc<Judge>,
    registry: Arc<Registry>,
    rest: tokio::sync::watch::Sender<Arc<Rest>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Answer {
    status: u16,
    headers: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Service {
    async fn start() -> Self {
        Self::with(ExposeConfig::default()).await
    }

    async fn with(config: ExposeConfig) -> Self {
        let registry = Arc::new(Registry::new(Quota::default(), Box::new(|_| {})));
        let store = Arc::new(Memory::default());
        let board = Arc::new(Board::default());
        let auth = Arc::new(Auth::from_secret(SECRET).unwrap());
        let judge = Arc::new(Judge {
            store: store.clone(),
            board: board.clone(),
            refuse: Mutex::default(),
            stall: Mutex::default(),
            taken: Mutex::default(),
        });
        let rest = Rest {
            registry: registry.clone(),
            store: store.clone(),
            board,
            auth: auth.clone(),
            intake: judge.clone(),
            plugins: Arc::new(|| vec![json!({"name": "health-score"})]),
            status: {
                let store = store.clone();
                Arc::new(move || {
                    store.asked_by.lock().push(std::thread::current().id());
                    ServiceStatus {
                        ready: true,
                        database_status: "connected".into(),
                        processing_queue_status: "healthy".into(),
                        queued: 0,
                    }
                })
            },
            metrics: {
                let store = store.clone();
                Arc::new(move || {
                    store.asked_by.lock().push(std::thread::current().id());
                    "vitals_up 1\n".into()
                })
            },
            page: Arc::default(),
            config,
            partitions: 2,
            clock: Arc::new(|| NOW),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (rest, current) = tokio::sync::watch::channel(Arc::new(rest));
        tokio::spawn(serve(listener, current, async {
            let _ = stopped.await;
        }));
        Self { address, auth, store, judge, registry, rest, _stop: stop }
    }

    /// New settings, as a reload of the service gives them.
    fn reload(&self, config: ExposeConfig) {
        self.rest.send_modify(|rest| *rest = Arc::new(Rest { config, ..Rest::clone(rest) }));
    }

    fn token(&self, tenant: Option<&str>, agents: Option<&[&str]>, scope: Option<&str>) -> String {
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

    async fn raw(&self, request: &[u8]) -> Answer {
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

    async fn send(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes()).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("POST", &format!("/api/v1/telemetry/{path}"), token, &body.to_string()).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", &format!("/api/v1/telemetry/{path}"), token, "").await
    }
}

fn beat(id: &str) -> Value {
    json!({
        "agent_info": {
            "agent_id": id, "agent_version": "1.0", "environment": "test", "geographic_location": "eu"
        },
        "health_status": "healthy",
        "timestamp": at(0),
        "cpu_usage_percent": 97.0,
        "memory_usage_mb": 1024,
        "response_time_ms": 1500,
        "unknown_field": {"is": "ignored"},
    })
}

fn system(id: &str) -> Value {
    json!({
        "system_id": id,
        "timestamp": at(0),
        "environment": "test",
        "collection_method": "push",
        "component_name": "pool",
        "metrics": [
            {"metric_name": "cpu", "metric_type": "cpu_usage", "value": 90.0, "unit": "percent"},
            {"metric_name": "rows", "metric_type": "custom", "value": 2e6, "unit": "1", "dimensions": {"b": 1, "a": "x"}},
        ],
    })
}

/// Everything in which `value` does not fit `schema`, formats included.
fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Every time must be in UTC.
fn not_in_utc(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) if super::time::Time::parse(text).is_some() && text.len() >= 19 && !text.ends_with('Z') => {
            out.push(format!("{text} is not in UTC"));
        }
        Value::Array(items) => items.iter().for_each(|item| not_in_utc(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| not_in_utc(field, out)),
        _ => {}
    }
}

fn contract(name: &str) -> Value {
    let path = format!("{}/tests/data/contract/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every property of the schema is there too: clients rely on the optional ones.
fn fits(name: &str, value: &Value) {
    let schema = contract(name);
    let mut out = violations(&schema, value);
    not_in_utc(value, &mut out);
    for property in schema["properties"].as_object().unwrap().keys() {
        if value.get(property).is_none() {
            out.push(format!("{property} is not answered"));
        }
    }
    assert!(out.is_empty(), "{name}: {out:#?}\n{value:#}");
}

#[tokio::test]
async fn every_answer_fits_the_contract() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    fits("HeartbeatResponse", &answer.body);
    assert_eq!(answer.body["calculated_health"], "critical");
    assert_eq!(answer.body["health_score"], 70.0);
    assert_eq!(answer.body["data_quality_score"], 4.0 / 12.0);
    assert_eq!(answer.body["next_expected_heartbeat"], at(30 * UnixNanos::SECOND));
    assert_eq!(answer.body["adaptive_timeout_ms"], 90_000);
    assert_eq!(answer.body["alerts_generated"].as_array().unwrap().len(), 1);
    assert!(answer.header("x-correlation-id").is_some());

    let answer = service.post("system-metrics", &token, &system("db-1")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    fits("SystemMetricsResponse", &answer.body);
    assert_eq!(answer.body["outliers_detected"], json!(["rows"]));
    assert_eq!(answer.body["metrics_processed"], 2);

    let agent = service.registry.agent_by_key(&"default".into(), "web-1").unwrap().id;
    let up = |start: i64, end: Option<i64>, state| {
        (agent, Interval { start: NOW.plus(start), end: end.map(|end| NOW.plus(end)), state })
    };
    service.store.intervals.lock().extend([
        up(-60 * MINUTE, Some(-30 * MINUTE), State::Up),
        up(-30 * MINUTE, Some(-24 * MINUTE), State::Silent),
        up(-24 * MINUTE, None, State::Up),
    ]);
    let answer = service.get("uptime-status/web-1?time_range_hours=2", &token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    fits("UptimeStatusResponse", &answer.body);
    assert_eq!(answer.body["uptime_percentage"], 90.0);
    assert_eq!(answer.body["total_downtime_minutes"], 6.0);
    assert_eq!(answer.body["confidence_level"], 0.5);
    assert_eq!(answer.body["mttr_minutes"], 6.0);
    assert_eq!(answer.body["sla_breach_risk"], "breached");
    assert_eq!(answer.body["health_assessment"]["components"]["cpu"], "critical");
    assert_eq!(answer.body["downtime_periods"][0]["cause"], "silent");

    let answer = service.get("uptime-summary/web-1?time_range_hours=48", &token).await;
    fits("UptimeSummaryResponse", &answer.body);
    assert_eq!(answer.body["total_downtime_duration"], "PT6M");
    assert_eq!(answer.body["incident_breakdown"], json!({"silent": 1}));

    for kind in ["full", "quick", "component", "basic", "comprehensive", "predictive"] {
        let body = json!({"target_id": "web-1", "target_type": "agent", "assessment_type": kind});
        let answer = service.post("health-check", &token, &body).await;
        assert_eq!(answer.status, 200, "{kind} {}", answer.body);
        fits("HealthStatusResponse", &answer.body);
    }
    let body = json!({"target_id": "db-1", "target_type": "system", "components": ["pool", "tape"]});
    let answer = service.post("health-check", &token, &body).await;
    fits("HealthStatusResponse", &answer.body);
    assert_eq!(answer.body["health_assessment"]["components"], json!({"pool": "degraded", "tape": "unknown"}));

    let body = json!({
        "query_id": "q", "query_type": "overview", "aggregation_window": "1m",
        "time_range": {"start_time": at(-60 * MINUTE), "end_time": at(MINUTE)},
    });
    let answer = service.post("dashboard", &token, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    fits("TelemetryDashboardData", &answer.body);
    assert_eq!(answer.body["total_data_points"], 5);
    assert_eq!(answer.body["alert_summary"], json!({"critical": 1}));
    assert_eq!(answer.body["agent_summary"]["total"], 1);
    assert_eq!(answer.body["system_summary"]["total"], 1);
    assert_eq!(answer.body["cache_hit_ratio"], 0.5, "nobody evaluates the system");

    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1"), {"agent_info": 1}, beat("web-2")],
        "metrics": [system("db-1"), {"system_id": "db-2"}],
    });
    let answer = service.post("batch", &token, &batch).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    fits("TelemetryIngestionResult", &answer.body);
    assert_eq!([&answer.body["processed_heartbeats"], &answer.body["failed_heartbeats"]], [&json!(2), &json!(1)]);
    assert_eq!([&answer.body["processed_metrics"], &answer.body["failed_metrics"]], [&json!(2), &json!(1)]);
    let errors = answer.body["validation_errors"].to_string();
    assert!(errors.contains("heartbeats.1: health_status: Field required"), "{errors}");
    assert!(errors.contains("metrics.1 (db-2): timestamp: Field required"), "{errors}");

    let answer = service.get("health", &token).await;
    for field in ["service", "status", "version", "timestamp", "database_status", "processing_queue_status"] {
        assert!(answer.body[field].is_string(), "{field}");
    }
}

#[tokio::test]
async fn what_is_known_can_be_queried() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let answer = service.get("agents", &token).await;
    assert_eq!(answer.body["agents"][0]["agent_id"], "web-1");
    let answer = service.get("series?agent=web-1", &token).await;
    let all = answer.body["series"].as_array().unwrap().clone();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all[0]["metric_name"], "cpu_usage_percent");
    let id = &all[0]["series_id"];
    let answer = service.get(&format!("series/{id}/samples?end={}", at(1)), &token).await;
    assert_eq!(answer.body["samples"], json!([{"time": at(0), "value": 97.0}]), "{}", answer.body);
    let path = format!("series/{id}/samples?start={}&end={}&step=1m&aggregation=count", at(0), at(MINUTE));
    let answer = service.get(&path, &token).await;
    assert_eq!(answer.body["samples"][0]["value"], 1.0, "{}", answer.body);
    assert_eq!(answer.body["step_seconds"], 60.0);
    let answer = service.get("verdicts?kind=health", &token).await;
    assert_eq!(answer.body["verdicts"][0]["body"]["score"], 70.0, "{}", answer.body);
    let answer = service.get("plugins", &token).await;
    assert_eq!(answer.body["plugins"][0]["name"], "health-score");
    let answer = service.get("alerts?open=true", &token).await;
    let alert = answer.body["alerts"][0]["alert_id"].as_str().unwrap().to_owned();
    let answer = service.post(&format!("alerts/{alert}/acknowledge"), &token, &json!(null)).await;
    assert_eq!((answer.status, &answer.body["acknowledged_by"]), (200, &json!("ops")));
    let window = json!({"agent_id": "web-1", "start_time": at(0), "end_time": at(MINUTE)});
    assert_eq!(service.post("maintenance", &token, &window).await.status, 201);
    let old = json!({"agent_id": "web-1", "start_time": at(-31 * 24 * 60 * MINUTE), "end_time": at(MINUTE)});
    let refused = service.post("maintenance", &token, &old).await;
    assert_eq!((refused.status, &refused.body["detail"][0]["loc"]), (422, &json!(["body", "start_time"])));
    assert!(refused.body["detail"][0]["msg"].as_str().unwrap().contains("30 days"), "{}", refused.body);
    let taken = service.judge.taken.lock();
    assert!(matches!(&taken[1], Record::Acknowledge { by, .. } if by == "ops"));
    assert!(matches!(&taken[2], Record::Maintenance { by, .. } if by == "ops"));
}

#[tokio::test]
async fn no_more_alerts_are_read_than_are_asked_for() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    service.post("heartbeat", &token, &beat("web-1")).await;
    let raised = service.store.alerts.lock()[0].clone();
    let others = (0..1_000).map(|n| Alert { id: format!("other{n}"), resolved: Some(NOW), ..raised.clone() });
    service.store.alerts.lock().extend(others);
    for (id, status) in [("other999", 200), (&*raised.id, 200), ("none", 404)] {
        let answer = service.post(&format!("alerts/{id}/acknowledge"), &token, &json!(null)).await;
        assert_eq!(answer.status, status, "{id}: {}", answer.body);
    }
    assert_eq!(service.store.alerts_read.swap(0, Ordering::Relaxed), 2);
    let answer = service.get("alerts?state=resolved&limit=3", &token).await;
    assert_eq!(answer.body["alerts"].as_array().unwrap().len(), 3, "{}", answer.body);
    assert_eq!(service.store.alerts_read.load(Ordering::Relaxed), 3);
}

/// This test's own thread is the only worker.
#[tokio::test]
async fn no_async_worker_looks_at_the_disk_for_probes() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    assert_eq!(service.get("health", &token).await.status, 200);
    let probe = service.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(probe.status, 200, "{}", probe.body);
    let metrics = service.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((metrics.status, &metrics.body), (200, &json!("vitals_up 1\n")));
    let asked = service.store.asked_by.lock();
    assert_eq!(asked.len(), 3);
    assert!(!asked.contains(&std::thread::current().id()));
}

#[tokio::test]
async fn tenants_and_agents_are_walls() {
    let service = Service::start().await;
    let owner = service.token(Some("a"), None, None);
    service.post("heartbeat", &owner, &beat("web-1")).await;
    service.post("system-metrics", &owner, &system("db-1")).await;
    let series = service.registry.series_of(service.registry.agent_by_key(&"a".into(), "web-1").unwrap().id)[0].id.0;
    let alert = service.store.alerts.lock()[0].id.clone();
    let stranger = service.token(Some("b"), None, None);
    let narrow = service.token(Some("a"), Some(&["db-*"]), None);
    let range = json!({"start_time": at(-MINUTE), "end_time": at(MINUTE)});
    let window = json!({"agent_id": "web-1", "start_time": at(0), "end_time": at(MINUTE)});
    let check = json!({"target_id": "web-1", "target_type": "agent"});
    let one = |method: &str, path: String, body: &Value| {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        (method.to_owned(), format!("/api/v1/telemetry/{path}"), body)
    };
    for (method, path, body) in [
        one("GET", "uptime-status/web-1".into(), &Value::Null),
        one("GET", "uptime-summary/web-1".into(), &Value::Null),
        one("POST", "health-check".into(), &check),
        one("GET", "series?agent=web-1".into(), &Value::Null),
        one("GET", format!("series/{series}/samples"), &Value::Null),
        one("GET", "verdicts?agent=web-1".into(), &Value::Null),
        one("GET", "alerts?agent=web-1".into(), &Value::Null),
        one("POST", format!("alerts/{alert}/acknowledge"), &Value::Null),
        one("POST", "maintenance".into(), &window),
    ] {
        assert_eq!(service.send(&method, &path, &stranger, &body).await.status, 404, "another tenant: {path}");
        // What is asked for by a number of ours is not there; what is asked for by its name may not be touched.
        let hidden = if path.contains("/series/") || path.contains("/alerts/") { 404 } else { 403 };
        assert_eq!(service.send(&method, &path, &narrow, &body).await.status, hidden, "another agent: {path}");
        let mine = service.send(&method, &path, &owner, &body).await;
        assert!(mine.status < 300, "{path}: {} {}", mine.status, mine.body);
    }
    for list in ["agents", "verdicts", "alerts"] {
        for token in [&stranger, &narrow] {
            let answer = service.get(list, token).await;
            assert!(!answer.body.to_string().contains("web-1"), "{list}: {}", answer.body);
        }
    }
    let query = json!({"query_id": "q", "query_type": "t", "aggregation_window": "1m", "time_range": range});
    for token in [&stranger, &narrow] {
        let answer = service.post("dashboard", token, &query).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.body.to_string().contains("web-1"), "{}", answer.body);
    }
    let mut named = query.clone();
    named["agent_ids"] = json!(["web-1"]);
    assert_eq!(service.post("dashboard", &narrow, &named).await.status, 403);
    assert_eq!(service.post("heartbeat", &narrow, &beat("web-1")).await.status, 403);
    assert_eq!(service.post("system-metrics", &narrow, &system("web-1")).await.status, 403);
    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s",
        "heartbeats": [beat("web-1"), beat("db-2")],
    });
    let answer = service.post("batch", &narrow, &batch).await;
    assert_eq!(answer.body["failed_heartbeats"], 1);
    assert_eq!(answer.body["processing_errors"], json!(["heartbeats.0 (web-1): the token may not touch web-1"]));
    // The same name in another tenant is another agent.
    service.post("heartbeat", &stranger, &beat("web-1")).await;
    assert_ne!(
        service.registry.agent_by_key(&"a".into(), "web-1").unwrap().id,
        service.registry.agent_by_key(&"b".into(), "web-1").unwrap().id
    );
    let reader = service.token(None, None, Some("telemetry:read"));
    assert_eq!(service.post("heartbeat", &reader, &beat("x")).await.status, 403);
    let writer = service.token(None, None, Some("telemetry:write"));
    assert_eq!(service.get("agents", &writer).await.status, 403);
}

#[tokio::test]
async fn no_route_answers_without_a_token() {
    let service = Service::start().await;
    let document = service.raw(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.body;
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let path = path.replace("{agent_id}", "x").replace("{target_id}", "x").replace("{id}", "1");
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let answer = service.raw(request.as_bytes()).await;
            if path.starts_with("/api/") {
                seen += 1;
                assert_eq!(answer.status, 401, "{method} {path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert!(answer.body["detail"].is_string());
            } else {
                assert_eq!(answer.status, 200, "{method} {path}");
            }
        }
    }
    assert_eq!(seen, 16);
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() { &mut value } else { value.pointer_mut(parent).unwrap() };
    match new {
        Value::String(text) if text == "<absent>" => {
            parent.as_object_mut().unwrap().remove(key);
        }
        new => parent[key] = new,
    }
    value
}

#[tokio::test]
async fn validation_at_its_bounds() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let absent = || json!("<absent>");
    let long = |length: usize| json!("é".repeat(length));
    for (pointer, value, expect) in [
        ("/cpu_usage_percent", json!(0), None),
        ("/cpu_usage_percent", json!(100), None),
        ("/cpu_usage_percent", json!(100.1), Some("less_than_equal")),
        ("/cpu_usage_percent", json!(-0.1), Some("greater_than_equal")),
        ("/cpu_usage_percent", json!("50"), Some("float_type")),
        ("/cpu_usage_percent", json!(true), Some("float_type")),
        ("/cpu_usage_percent", json!(null), None),
        ("/cpu_usage_percent", absent(), None),
        ("/memory_usage_mb", json!(1e300), None),
        ("/request_count", json!(5.0), None),
        ("/request_count", json!(5.5), Some("int_from_float")),
        ("/request_count", json!(-1), Some("greater_than_equal")),
        ("/heartbeat_interval_ms", json!(1000), None),
        ("/heartbeat_interval_ms", json!(999), Some("greater_than_equal")),
        ("/heartbeat_interval_ms", json!(null), Some("int_type")),
        ("/heartbeat_interval_ms", json!(u64::MAX), None),
        ("/health_status", json!("maintenance"), None),
        ("/health_status", json!("fine"), Some("enum")),
        ("/health_status", absent(), Some("missing")),
        ("/timestamp", json!(at(-10 * MINUTE)), None),
        ("/timestamp", json!(at(-10 * MINUTE - 1)), Some("value_error")),
        ("/timestamp", json!(at(11 * MINUTE)), Some("value_error")),
        ("/timestamp", json!(at(10 * MINUTE)), None),
        ("/timestamp", json!(at(10 * MINUTE + 1)), Some("value_error")),
        ("/timestamp", json!("9999-12-31T23:59:59Z"), Some("value_error")),
        ("/timestamp", json!("0001-01-01T00:00:00Z"), Some("value_error")),
        ("/timestamp", json!("yesterday"), Some("datetime_parsing")),
        ("/timestamp", json!(1_770_000_000), Some("datetime_type")),
        ("/timestamp", absent(), Some("missing")),
        ("/agent_info/agent_id", json!(""), Some("string_too_short")),
        ("/agent_info/agent_id", long(100), None),
        ("/agent_info/agent_id", long(101), Some("string_too_long")),
        ("/agent_info/agent_id", json!(5), Some("string_type")),
        ("/agent_info/agent_id", json!("web-1\u{0}"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("web-1\n"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("\u{202e}1-bew"), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!(" "), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("web-1 "), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!(".."), Some("string_pattern_mismatch")),
        ("/agent_info/agent_id", json!("Übung 7/b"), None),
        ("/agent_info/agent_id", json!("../%2e?#"), None),
        ("/agent_info/agent_name", json!(null), None),
        ("/agent_info/agent_version", json!(null), Some("string_type")),
        ("/agent_info", json!([]), Some("dict_type")),
        ("/status_details", json!({"any": [1]}), None),
        ("/status_details", json!([]), Some("dict_type")),
    ] {
        let body = with(beat("bounds"), pointer, value.clone());
        let answer = service.post("heartbeat", &token, &body).await;
        match expect {
            None => assert_eq!(answer.status, 201, "{pointer} {value}: {}", answer.body),
            Some(kind) => {
                assert_eq!(answer.status, 422, "{pointer} {value}");
                let problem = &answer.body["detail"][0];
                assert_eq!(problem["type"], kind, "{pointer} {value}: {problem}");
                let mut loc = vec![json!("body")];
                loc.extend(pointer.split('/').skip(1).map(Value::from));
                assert_eq!(problem["loc"], Value::from(loc));
                assert!(problem["msg"].is_string() && problem.get("input").is_some());
            }
        }
    }
    for (pointer, value, expect) in [
        ("/metrics", json!([]), "too_short"),
        ("/metrics", json!({}), "list_type"),
        ("/metrics/0/metric_type", json!("cpu"), "enum"),
        ("/metrics/0/value", json!("1"), "float_type"),
        ("/metrics/0/unit", absent(), "missing"),
        ("/metrics/0/tags", json!([1]), "string_type"),
        ("/metrics/1/metric_name", json!("cpu"), "value_error"),
        ("/metrics/0/metric_name", json!("cpu\u{7}"), "string_pattern_mismatch"),
        ("/collection_interval_ms", json!(0), "greater_than_equal"),
        ("/collection_interval_ms", json!(999), "greater_than_equal"),
        ("/timestamp", json!(at(24 * 60 * MINUTE + 1)), "value_error"),
        ("/timestamp", json!("9999-12-31T23:59:59Z"), "value_error"),
        ("/timestamp", json!("1969-12-31T23:59:59Z"), "value_error"),
        // Past the retention of samples: 90 days, and what is left of the day.
        ("/timestamp", json!(at(-91 * 24 * 60 * MINUTE)), "value_error"),
        ("/metrics/0/timestamp", json!(at(24 * 60 * MINUTE + 1)), "value_error"),
    ] {
        let answer = service.post("system-metrics", &token, &with(system("b"), pointer, value)).await;
        assert_eq!((answer.status, &answer.body["detail"][0]["type"]), (422, &json!(expect)), "{pointer}");
    }
    for (pointer, value) in [
        ("/timestamp", json!(at(24 * 60 * MINUTE))),
        ("/timestamp", json!(at(-90 * 24 * 60 * MINUTE))),
        ("/metrics/0/timestamp", json!(null)),
        ("/collection_interval_ms", json!(1000)),
    ] {
        let answer = service.post("system-metrics", &token, &with(system("b"), pointer, value)).await;
        assert_eq!(answer.status, 201, "{pointer}: {}", answer.body);
    }
    // One metric that is too old fails alone.
    let old = with(system("b"), "/metrics/0/timestamp", json!(at(-91 * 24 * 60 * MINUTE)));
    let answer = service.post("system-metrics", &token, &old).await;
    assert_eq!((answer.status, &answer.body["metrics_processed"]), (201, &json!(1)), "{}", answer.body);
    assert!(answer.body["validation_errors"].to_string().contains("retention"), "{}", answer.body);
    // What the schemas leave open is taken: any text is a time zone, a type of target, a checksum.
    let range = json!({"start_time": at(-MINUTE), "end_time": at(0), "timezone": "Mars/Olympus"});
    let check = json!({"target_id": "bounds", "target_type": "robot", "time_range": range});
    assert_eq!(service.post("health-check", &token, &check).await.status, 200);
    let batch = json!({"batch_id": "b", "batch_timestamp": at(0), "source_system": "s", "checksum": "md5:none of this", "heartbeats": [beat("b")]});
    assert_eq!(service.post("batch", &token, &batch).await.status, 202);
    // Everything that is wrong, at once.
    let answer = service.post("heartbeat", &token, &json!({"agent_info": {}, "cpu_usage_percent": 200})).await;
    assert_eq!(answer.body["detail"].as_array().unwrap().len(), 6, "{}", answer.body);
    for (path, expect) in [
        ("uptime-status/bounds?time_range_hours=1", 200),
        ("uptime-status/bounds?time_range_hours=8760", 200),
        ("uptime-status/bounds?time_range_hours=0", 422),
        ("uptime-status/bounds?time_range_hours=8761", 422),
        ("uptime-status/bounds?time_range_hours=day", 422),
        ("uptime-status/nobody", 404),
        ("uptime-status/..%2F%252e%3F%23", 200),
        ("uptime-status/%20", 422),
        ("uptime-status/%2E%2E", 422),
        ("uptime-status/%ff", 422),
        ("uptime-status/a%00b", 422),
        ("uptime-summary/%E2%80%AEb", 422),
        ("series", 422),
        ("series/99999/samples", 404),
        ("series/x/samples", 404),
        ("series/0/samples?step=0s", 422),
        ("series/0/samples?aggregation=mean", 200),
        ("series/0/samples?aggregation=median&step=1m", 422),
        ("series/0/samples?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", 422),
        ("verdicts?kind=guess", 422),
        ("alerts?limit=0", 422),
        ("nothing", 404),
    ] {
        let answer = service.get(path, &token).await;
        assert_eq!(answer.status, expect, "{path}: {}", answer.body);
        assert!(expect == 200 || answer.body.get("detail").is_some(), "{path}: {}", answer.body);
    }
    let long = format!("uptime-status/{}", "a".repeat(101));
    assert_eq!(service.get(&long, &token).await.body["detail"][0]["loc"], json!(["path", "agent_id"]));
    assert_eq!(service.send("DELETE", "/api/v1/telemetry/agents", &token, "").await.status, 405);
    let check = json!({"target_id": "bounds", "target_type": "agent", "assessment_type": "guess"});
    assert_eq!(service.post("health-check", &token, &check).await.status, 422);
}

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
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        LARGEST_BODY + 1
    );
    assert_eq!(service.raw(announced.as_bytes()).await.status, 413);
    let mut chunked = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n",
        LARGEST_BODY + 1
    )
    .into_bytes();
    chunked.resize(chunked.len() + LARGEST_BODY + 1, b' ');
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(service.raw(&chunked).await.status, 413);
    let packed = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
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
            "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
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
    *service.judge.refuse.lock() = Some(IntakeError::Overloaded { retry_after: Duration::from_secs(7) });
    let answer = service.post("heartbeat", &token, &beat("web-1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    let batch = json!({
        "batch_id": "b", "batch_timestamp": at(0), "source_system": "s", "heartbeats": [beat("web-1")],
    });
    assert_eq!(service.post("batch", &token, &batch).await.status, 429);
    *service.judge.refuse.lock() = Some(IntakeError::Unavailable("disk at /secret is full".into()));
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

/// A request with a body as long as one can be, of which only the first byte is sent.
async fn half_sent(service: &Service, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/v1/telemetry/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
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
        service.raw(b"GET /health HTTP/1.1\r\nhost: x\r\nx-correlation-id: abc-1\r\nconnection: close\r\n\r\n"),
    );
    let answer = asked.await.expect("a place becomes free");
    assert_eq!((answer.status, answer.header("x-correlation-id")), (200, Some("abc-1")));
    assert_eq!(answer.body, json!({"live": true, "ready": true}));
    let odd = b"GET / HTTP/1.1\r\nhost: x\r\nx-correlation-id: a b<c>\r\nconnection: close\r\n\r\n";
    let answer = service.raw(odd).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("docs/")));
    assert_eq!(answer.header("x-correlation-id").map(str::len), Some(36));
    let answer = service.raw(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.body, "vitals_up 1\n");
    let answer = service.raw(b"GET /docs/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn behind_a_prefix_the_documentation_leads_to_itself() {
    let plain = Service::start().await;
    let set = Service::with(ExposeConfig { prefix: "/vitals".into(), ..ExposeConfig::default() }).await;
    let ask = async |service: &Service, path: &str, forwarded: &str| {
        let header = if forwarded.is_empty() { String::new() } else { format!("x-forwarded-prefix: {forwarded}\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
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
    let cors = crate::web::CorsConfig { allowed_origins: vec!["https://app.example.com".into()], ..Default::default() };
    let service = Service::with(ExposeConfig { cors, ..ExposeConfig::default() }).await;
    let ask = async |service: &Service, method: &str, path: &str, origin: &str, more: &str| {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {origin}\r\n{more}\r\n");
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

#[tokio::test]
async fn heads_are_large_and_bounded() {
    let service = Service::start().await;
    let ask = async |more: &str| {
        let request = format!("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
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
            "POST /api/v1/telemetry/{path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nauthorization: Bearer {token}\r\n\
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

/// When the examples were written.
fn written() -> UnixNanos {
    super::time::Time::parse("2026-03-01T12:00:00Z").unwrap().0
}

fn document() -> Value {
    super::docs::document(written()).0
}

/// (path, method, operation) of the document.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

/// A schema of the document, with what it refers to.
fn within(document: &Value, schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    schema
}

#[test]
fn every_example_fits_its_own_schema() {
    let document = document();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let mut examples = 0;
        let check = |what: &str, media: &Value| {
            let example = media.get("example").unwrap_or_else(|| panic!("{place}: {what} has no example"));
            let wrong = violations(&within(&document, &media["schema"]), example);
            assert!(wrong.is_empty(), "{place}: {what}: {wrong:#?}");
        };
        if let Some(body) = operation.get("requestBody") {
            check("the request", &body["content"]["application/json"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            for media in response["content"].as_object().unwrap().values() {
                check(status, media);
                examples += usize::from(status.starts_with('2'));
            }
        }
        assert_eq!(examples, 1, "{place} has one kind of success");
    }
}

#[test]
fn the_examples_fit_the_contract() {
    let document = document();
    let example = |path: &str, method: &str, status: Option<&str>| {
        let operation = &document["paths"][format!("/api/v1/telemetry/{path}")][method];
        let holder = status.map_or(&operation["requestBody"], |status| &operation["responses"][status]);
        holder["content"]["application/json"]["example"].clone()
    };
    for (path, status, request, response) in [
        ("heartbeat", "201", "HeartbeatRequest", "HeartbeatResponse"),
        ("system-metrics", "201", "SystemMetricsRequest", "SystemMetricsResponse"),
        ("batch", "202", "TelemetryIngestionBatch", "TelemetryIngestionResult"),
        ("health-check", "200", "HealthCheckRequest", "HealthStatusResponse"),
        ("dashboard", "200", "DashboardQuery", "TelemetryDashboardData"),
    ] {
        assert_eq!(violations(&contract(request), &example(path, "post", None)), [] as [&str; 0], "{path}");
        fits(response, &example(path, "post", Some(status)));
    }
    fits("UptimeStatusResponse", &example("uptime-status/{agent_id}", "get", Some("200")));
    fits("UptimeSummaryResponse", &example("uptime-summary/{target_id}", "get", Some("200")));
}

/// The document asks for no more and no less than the contract's schemas do, but for what it says of names.
#[test]
fn the_document_has_the_fields_of_the_contract() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for name in [
        "AgentInfo",
        "AlertInfo",
        "DashboardQuery",
        "HealthAssessment",
        "HealthCheckRequest",
        "HealthStatusResponse",
        "HeartbeatRequest",
        "HeartbeatResponse",
        "MetricData",
        "SystemMetricsRequest",
        "SystemMetricsResponse",
        "TelemetryDashboardData",
        "TelemetryIngestionBatch",
        "TelemetryIngestionResult",
        "TimeRange",
        "UptimeStatusResponse",
        "UptimeSummaryResponse",
    ] {
        let theirs = contract(name);
        let ours = &schemas[name];
        for (field, theirs) in theirs["properties"].as_object().unwrap() {
            let ours = ours["properties"].get(field).unwrap_or_else(|| panic!("{name}.{field} is not documented"));
            for bound in ["minimum", "maximum", "minItems"] {
                let theirs = theirs.get(bound).or_else(|| theirs["anyOf"][0].get(bound));
                let ours = ours.get(bound).or_else(|| ours["oneOf"][1].get(bound));
                if let Some(theirs) = theirs {
                    assert_eq!(ours.and_then(Value::as_f64), theirs.as_f64(), "{name}.{field} {bound}");
                }
            }
            if let Some(default) =
                theirs.get("default").filter(|default| !default.is_null() && name.ends_with("Request"))
            {
                assert_eq!(ours.get("default"), Some(default), "{name}.{field} default");
            }
        }
        let required = |schema: &Value| -> Vec<String> {
            let names = schema["required"].as_array().into_iter().flatten();
            names.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let asked = name.ends_with("Request") || name.ends_with("Query") || name.ends_with("Batch");
        for field in required(&theirs) {
            assert!(required(ours).contains(&field), "{name}.{field} is required");
        }
        for field in required(ours).iter().filter(|_| asked) {
            assert!(required(&theirs).contains(field), "{name}.{field} is not required");
        }
    }
}

#[test]
fn every_operation_says_what_it_answers() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{place}: its id is another's");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place} says nothing of itself");
        let responses = operation["responses"].as_object().unwrap();
        let mut expect = vec!["422", "500", "503"];
        if path.starts_with("/api/") {
            expect.extend(["401", "403"]);
            assert!(operation["security"].is_array(), "{place}");
        }
        if operation.get("requestBody").is_some() {
            expect.extend(["408", "413", "415", "429"]);
        }
        for status in expect {
            assert!(responses.contains_key(status), "{place}: {status}");
        }
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
            assert!(response["headers"].get("x-correlation-id").is_some(), "{place} {status}");
        }
    }
}

#[test]
fn the_patterns_of_the_document_are_those_of_the_checks() {
    let document = document();
    let schema = |name: &str| within(&document, &document["components"]["schemas"][name]);
    let (id, span) = (schema("Id"), schema("Span"));
    let long = |length: usize| "é".repeat(length);
    for text in [
        "web-1",
        "",
        " ",
        "é\u{1F980}",
        "a\u{0}",
        "a\nb",
        "\u{7f}",
        "\u{9b}",
        "a\u{202e}b",
        "\u{2066}",
        "\u{200d}",
        " a",
        "a ",
        "a b",
        "\u{a0}a",
        "a\u{feff}",
        "\u{3000}",
        ".",
        "..",
        "...",
        ".a",
        "..a",
        "a..",
        "../a/?#%",
        &long(100),
        &long(101),
    ] {
        let taken = super::check::id(&json!(text), &[]).is_empty();
        assert_eq!(taken, violations(&id, &json!(text)).is_empty(), "{text:?}");
    }
    for text in [
        "30s",
        "5m",
        "5 m",
        "5  m",
        "0",
        "00",
        "007",
        "1000000000",
        "999999999 days",
        "1w",
        "",
        "s",
        "-1s",
        "5m ",
        "1.5h",
    ] {
        let taken = super::time::parse_duration(text).is_some();
        assert_eq!(taken, violations(&span, &json!(text)).is_empty(), "{text:?}");
    }
}

#[test]
fn the_document_names_nothing_that_it_lacks() {
    let document = document();
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if let (true, Some(target)) = (name == "$ref", inner.as_str()) {
                        assert!(document.pointer(&target[1..]).is_some(), "{target}");
                    }
                    walk(inner, document);
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, document)),
            _ => {}
        }
    }
    walk(&document, &document);
}

/// `VITALS_BLESS=1` writes the file anew.
#[test]
fn the_document_is_the_golden_one() {
    let mut text = serde_json::to_string_pretty(&super::docs::document(written())).unwrap();
    text.push('\n');
    let path = format!("{}/tests/golden/openapi.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VITALS_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API's document changed; look at it, then run with VITALS_BLESS=1");
}

/// An agent known to the registry, by no heartbeat.
fn known(service: &Service, key: &str, location: Option<&str>) -> AgentId {
    let profile = AgentProfile { location: location.map(str::to_owned), ..AgentProfile::default() };
    service.registry.intern_agent(&"default".into(), key, NOW.plus(-400 * DAY), &profile).unwrap()
}

/// Intervals in minutes before now, each up to the next one's start; the last one lasts.
fn lived(service: &Service, agent: AgentId, parts: &[(i64, State)]) {
    let mut recent = Vec::new();
    for (at, &(start, state)) in parts.iter().enumerate() {
        let end = parts.get(at + 1).map(|&(end, _)| NOW.plus(-end * MINUTE));
        let interval = Interval { start: NOW.plus(-start * MINUTE), end, state };
        service.store.intervals.lock().push((agent, interval));
        recent.push(interval);
    }
    let liveness = match parts.last() {
        Some((_, State::Silent)) => Liveness::Offline,
        Some((_, State::Maintenance)) => Liveness::Maintenance,
        _ => Liveness::OnTime,
    };
    service.judge.board.put([(agent, AgentLive { recent, ..live(liveness) })]);
}

/// An agent that was heard of just now, and of which nothing else is known.
fn live(liveness: Liveness) -> AgentLive {
    AgentLive {
        liveness,
        last_evidence: NOW,
        interval: MINUTE,
        timeout: 3 * MINUTE,
        vitals: Vitals::default(),
        reported: None,
        health: None,
        recent: Vec::new(),
        clock_skew: None,
        sla: None,
    }
}

/// One question a target, of each route that says something of its health.
async fn standings(service: &Service, token: &str, key: &str) -> Vec<(String, Value)> {
    let body = json!({"target_id": key, "target_type": "agent"});
    let mut found = Vec::new();
    for answer in [
        service.post("health-check", token, &body).await,
        service.get(&format!("uptime-status/{key}?time_range_hours=3"), token).await,
    ] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let health = &answer.body["health_assessment"];
        found.push((health["overall_health"].as_str().unwrap().to_owned(), health["health_score"].clone()));
        assert!(health["health_score"].is_number(), "the contract wants one: {health}");
    }
    found
}

/// What the dashboard says of one target: its status, if it shows life, and its score.
async fn on_the_dashboard(service: &Service, token: &str, key: &str) -> Option<(String, Value)> {
    let body = json!({
        "query_id": "q", "query_type": "overview", "aggregation_window": "1m", "agent_ids": [key],
        "time_range": {"start_time": at(-60 * MINUTE), "end_time": at(MINUTE)},
    });
    let answer = service.post("dashboard", token, &body).await.body;
    let by_health = answer["agent_summary"]["by_health"].as_object().unwrap().clone();
    by_health.into_iter().next().map(|(name, _)| (name, answer["agent_summary"]["average_health_score"].clone()))
}

fn any_health() -> impl Strategy<Value = Option<AgentHealth>> {
    let status = prop_oneof![
        Just(HealthStatus::Healthy),
        Just(HealthStatus::Degraded),
        Just(HealthStatus::Critical),
        Just(HealthStatus::Unknown)
    ];
    let health = (status, 0..=100_u8).prop_map(|(status, score)| AgentHealth {
        score: f64::from(score),
        status,
        reasons: Vec::new(),
        recommendations: Vec::new(),
    });
    prop::option::of(health)
}

fn any_live() -> impl Strategy<Value = AgentLive> {
    let liveness = prop_oneof![
        2 => Just(Liveness::OnTime),
        2 => Just(Liveness::Late),
        1 => Just(Liveness::Offline),
        1 => Just(Liveness::Maintenance)
    ];
    let reported = prop::option::of(prop_oneof![
        Just(HealthStatus::Healthy),
        Just(HealthStatus::Degraded),
        Just(HealthStatus::Critical),
        Just(HealthStatus::Unknown),
        Just(HealthStatus::Offline),
        Just(HealthStatus::Maintenance)
    ]);
    let recent = prop::option::of(0..60_i64).prop_map(|down| match down {
        None => Vec::new(),
        Some(down) => vec![
            Interval { start: NOW.plus(-60 * MINUTE), end: Some(NOW.plus(-down * MINUTE)), state: State::Up },
            Interval { start: NOW.plus(-down * MINUTE), end: None, state: State::Unhealthy },
        ],
    });
    (liveness, any_health(), reported, recent).prop_map(|(liveness, health, reported, recent)| AgentLive {
        health,
        reported,
        recent,
        ..live(liveness)
    })
}

/// Whatever evaluation knows, every answer says the same of it.
#[test]
fn all_answers_agree_on_status_and_score() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::start());
    let token = service.token(None, None, None);
    let count = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let targets = (prop::option::of(any_live()), prop::option::of((any_health(), 0..120_i64)));
    let outcome = TestRunner::new(config).run(&targets, |(live, observed)| {
        count.set(count.get() + 1);
        let key = format!("target-{}", count.get());
        let agent = known(&service, &key, None);
        service.judge.board.put(live.clone().map(|live| (agent, live)));
        let observed = observed.and_then(|(health, age)| Some((health?, age))).map(|(health, age)| {
            (agent, Observed { health, time: NOW.plus(-age * MINUTE), vitals: Vitals::default() })
        });
        service.judge.board.put_observed(observed);
        runtime.block_on(async {
            let listed = service.get("agents?limit=10000", &token).await.body;
            let all = listed["agents"].as_array().unwrap();
            let one = all.iter().find(|one| one["agent_id"] == key.as_str()).unwrap();
            let (status, score) = (one["health"].as_str().unwrap().to_owned(), one["health_score"].clone());
            prop_assert!(status != "unknown" || score.is_null(), "what is unknown has no score: {one}");
            prop_assert!(
                !(status == "healthy"
                    && matches!(one["reported_status"].as_str(), Some("critical" | "offline"))
                    && live.as_ref().is_some_and(|live| live.health.is_none())),
                "{one}"
            );
            let number = if score.is_null() { json!(100.0) } else { score.clone() };
            for (said, points) in standings(&service, &token, &key).await {
                prop_assert_eq!((&said, &points), (&status, &number));
            }
            if let Some(shown) = on_the_dashboard(&service, &token, &key).await {
                prop_assert_eq!(shown, (status.clone(), score));
            } else {
                prop_assert!(live.is_none());
            }
            let same = service.get(&format!("agents?status={status}&limit=10000"), &token).await.body;
            let same = same["agents"].as_array().unwrap().iter().any(|one| one["agent_id"] == key.as_str());
            prop_assert!(same, "it is among those of its status");
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn answers_follow_the_settings_in_force() {
    // Down for 10 of 1,000 minutes, all of them in the last hour.
    let parts = [(1_000, State::Up), (30, State::Unhealthy), (20, State::Up)];
    let answer = async |config: ExposeConfig| {
        let service = Service::with(config).await;
        let token = service.token(None, None, None);
        lived(&service, known(&service, "web-1", None), &parts);
        let mut metric = system("db-1");
        metric["metrics"][0]["value"] = json!(120.0);
        let quality = service.post("system-metrics", &token, &metric).await.body["data_quality_scores"]["cpu"].clone();
        let answer = service.get("uptime-status/web-1?time_range_hours=1", &token).await.body;
        let advised = answer["health_recommendations"].to_string().contains("Uptime is 83.33 %");
        (answer["sla_breach_risk"].clone(), answer["sla_target"].clone(), advised, quality)
    };
    let with = |target: f64| ExposeConfig { sla_target: target, ..ExposeConfig::default() };
    assert_eq!(answer(with(99.9)).await, (json!("breached"), json!(99.9), true, json!(0.5)));
    assert_eq!(answer(with(90.0)).await, (json!("low"), json!(90.0), true, json!(0.5)));
    let own = ExposeConfig {
        sla: Some(SlaConfig { hour_factor: 1.0, ..SlaConfig::default() }),
        advise_uptime_percent: Some([80.0, 70.0, 60.0]),
        quality: QualityRules { cpu_out_of_range: 0.75, ..QualityRules::default() },
        ..with(90.0)
    };
    assert_eq!(answer(own).await, (json!("high"), json!(90.0), false, json!(0.25)));
    // Plugins that the operator replaced or took out: nothing is answered in their place.
    let none = ExposeConfig { sla: None, advise_uptime_percent: None, ..with(90.0) };
    assert_eq!(answer(none).await, (Value::Null, json!(90.0), false, json!(0.5)));
}

const DAY: i64 = 24 * 60 * MINUTE;

#[tokio::test]
async fn uptime_says_how_an_unjudged_target_is() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (down, health, compliant, advice) in [
        (0, "healthy", true, None),
        (1, "healthy", true, None),
        (2, "healthy", false, None),
        (10, "healthy", false, None),
        (11, "degraded", false, Some("review restarts")),
        (50, "degraded", false, Some("review restarts")),
        (51, "critical", false, Some("look at the downtime periods")),
        (100, "critical", false, Some("look at the downtime periods")),
        (101, "critical", false, Some("check its host")),
        (200, "critical", false, Some("check its host")),
        (201, "offline", false, Some("check its host")),
    ] {
        // 1,000 minutes are known, so a minute is 0.1 %.
        let key = format!("target-{down}");
        let agent = known(&service, &key, None);
        lived(&service, agent, &[(1_000, State::Silent), (1_000 - down, State::Up)]);
        let body = json!({
            "target_id": key, "target_type": "agent",
            "time_range": {"start_time": at(-1_000 * MINUTE), "end_time": at(0)},
        });
        let answer = service.post("health-check", &token, &body).await.body;
        assert_eq!(answer["health_assessment"]["overall_health"], health, "{down}");
        assert_eq!(answer["sla_compliance"], compliant, "the target is 99.9 %: {down}");
        let found = answer["health_recommendations"][0].as_str().unwrap_or_default().to_owned();
        assert!(found.contains(advice.unwrap_or_default()) && found.is_empty() == advice.is_none(), "{down}: {found}");
    }
    // An hour must be known before an agent is said to fail.
    let agent = known(&service, "brief", None);
    lived(&service, agent, &[(59, State::Unhealthy), (49, State::Up)]);
    let answer = service.get("uptime-status/brief", &token).await.body;
    let advice = answer["health_recommendations"][0].as_str().unwrap().to_owned();
    assert!(advice.contains("only 59 min are known"), "{advice}");
}

#[tokio::test]
async fn availability_changes_with_what_happened() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let nothing = known(&service, "nothing", None);
    assert!(service.store.intervals.lock().iter().all(|(agent, _)| *agent != nothing));
    let answer = service.get("uptime-status/nothing", &token).await.body;
    for field in ["sla_compliance", "availability_trend", "mttr_minutes", "mtbf_hours"] {
        assert_eq!(answer[field], Value::Null, "nothing is known of {field}");
    }
    assert_eq!((&answer["confidence_level"], &answer["uptime_percentage"]), (&json!(0.0), &json!(100.0)));

    // Two outages of 12 and 6 minutes in the first half of 20 hours, and maintenance.
    let agent = known(&service, "web-1", None);
    let parts = [
        (1_800, State::Up),
        (900, State::Silent),
        (888, State::Up),
        (780, State::Unhealthy),
        (774, State::Up),
        (600, State::Maintenance),
        (540, State::Up),
    ];
    lived(&service, agent, &parts);
    let answer = service.get("uptime-status/web-1?time_range_hours=20", &token).await.body;
    assert_eq!(answer["total_downtime_minutes"], 18.0);
    assert_eq!(answer["total_uptime_minutes"], 1_200.0 - 18.0 - 60.0);
    assert_eq!((&answer["mttr_minutes"], &answer["mtbf_hours"]), (&json!(9.0), &json!(1_122.0 / 60.0 / 2.0)));
    assert_eq!((&answer["availability_trend"], &answer["confidence_level"]), (&json!("improving"), &json!(1.0)));
    let listed = |field: &str| answer[field].as_array().unwrap().clone();
    let minutes = |periods: &[Value]| periods.iter().map(|one| one["duration_minutes"].as_f64().unwrap()).sum::<f64>();
    let (up, down) = (listed("uptime_sessions"), listed("downtime_periods"));
    assert!((minutes(&up) + minutes(&down) - 1_200.0).abs() < 1.0 / 60.0, "the minutes add up");
    assert_eq!(
        (up.len(), up[0]["start"].clone(), up[0]["began_at"].clone()),
        (4, json!(at(-1_200 * MINUTE)), json!(at(-1_800 * MINUTE)))
    );
    assert_eq!(up[3]["end"], Value::Null, "it lasts");
    let causes: Vec<&str> = down.iter().map(|one| one["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["silent", "unhealthy", "maintenance"]);

    // A shorter window knows nothing of them.
    let answer = service.get("uptime-status/web-1?time_range_hours=5", &token).await.body;
    assert_eq!((&answer["uptime_percentage"], &answer["mttr_minutes"]), (&json!(100.0), &Value::Null));
    assert_eq!(answer["sla_compliance"], true);
    // A longer one knows less of itself.
    let answer = service.get("uptime-status/web-1?time_range_hours=60", &token).await.body;
    assert_eq!(answer["confidence_level"], 0.5);

    let answer = service.get("uptime-summary/web-1?time_range_hours=48", &token).await.body;
    assert_eq!(answer["total_incidents"], 2);
    assert_eq!(answer["incident_breakdown"], json!({"silent": 1, "unhealthy": 1}));
    assert_eq!(answer["total_downtime_duration"], "PT18M");
    let days = answer["daily_uptime"].as_array().unwrap();
    let down: f64 = days.iter().map(|day| day["downtime_minutes"].as_f64().unwrap()).sum();
    assert_eq!((days.len(), down), (3, 18.0), "{days:?}");
    let of = |day: usize| (days[day]["date"].clone(), days[day]["uptime_minutes"].clone());
    assert_eq!(of(0), (json!("2026-01-31"), json!(200.0)), "known since 20:40");
    assert_eq!(of(1), (json!("2026-02-01"), json!(1_440.0 - 18.0 - 60.0)));
    // An outage that lasts counts up to now, and its end is not made up.
    let agent = known(&service, "gone", None);
    lived(&service, agent, &[(600, State::Up), (60, State::Silent)]);
    let answer = service.get("uptime-status/gone?time_range_hours=10", &token).await.body;
    assert_eq!((&answer["total_downtime_minutes"], &answer["mttr_minutes"]), (&json!(60.0), &Value::Null));
    assert_eq!((&answer["mtbf_hours"], &answer["availability_trend"]), (&json!(9.0), &json!("declining")));
    assert_eq!(answer["health_assessment"]["overall_health"], "offline");
}

#[tokio::test]
async fn failure_patterns_change_with_what_happened() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let outages = |starts: &[i64]| {
        let mut parts = vec![(starts[0] + 600, State::Up)];
        for start in starts {
            parts.extend([(*start, State::Silent), (start - 5, State::Up)]);
        }
        parts
    };
    let day = 24 * 60;
    let agents = [
        ("calm", None, vec![700], vec![]),
        ("nightly", None, vec![3 * day, 2 * day, day, 0], vec!["recurring_hour"]),
        ("six-hourly", None, vec![1_500, 1_140, 780, 420], vec!["recurring_period"]),
        ("flapping", None, vec![100, 80, 73, 60], vec!["flapping"]),
        ("eu-1", Some("eu"), vec![500], vec!["location"]),
        ("eu-2", Some("eu"), vec![500], vec!["location"]),
        ("eu-3", Some("eu"), vec![500], vec!["location"]),
        ("eu-4", Some("eu"), vec![300], vec![]),
        ("us-1", Some("us"), vec![500], vec![]),
    ];
    for (key, location, starts, _) in &agents {
        let agent = known(&service, key, *location);
        lived(&service, agent, &outages(&starts.iter().map(|start| start + 10).collect::<Vec<_>>()));
    }
    for (key, _, _, kinds) in agents {
        let body = json!({
            "target_id": key, "target_type": "agent",
            "time_range": {"start_time": at(-5 * DAY), "end_time": at(0)},
        });
        let answer = service.post("health-check", &token, &body).await.body;
        let found: Vec<&str> =
            answer["failure_patterns"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{key}: {answer:#}");
        let advised = answer["health_recommendations"].as_array().unwrap();
        for pattern in answer["failure_patterns"].as_array().unwrap() {
            assert!(advised.contains(&pattern["recommendation"]), "{key}");
        }
        let planned = answer["maintenance_suggestions"].to_string().contains("plan a maintenance window");
        assert_eq!(planned, key == "nightly", "{key}");
    }
}

#[tokio::test]
async fn trends_and_components_change_with_the_measurements() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    // Ten hours; CPU rises by 5 % an hour to 75 %, the disk stays, the pool was critical in the first hour.
    for hour in 0..=10 {
        let value = |name: &str, kind: &str, value: f64| {
            json!({
                "metric_name": name, "metric_type": kind, "value": value, "unit": "%",
                "timestamp": at(-(10 - hour) * 60 * MINUTE),
            })
        };
        let mut body = system("db-1");
        body["component_name"] = Value::Null;
        body["metrics"] =
            json!([value("cpu", "cpu_usage", 25.0 + 5.0 * hour as f64), value("disk", "disk_usage", 50.0),]);
        assert_eq!(service.post("system-metrics", &token, &body).await.status, 201);
        body["component_name"] = "pool".into();
        body["metrics"] = json!([value("load", "cpu_usage", if hour == 0 { 99.0 } else { 81.0 })]);
        assert_eq!(service.post("system-metrics", &token, &body).await.status, 201);
    }
    // As the scorers judge what others report of it.
    let vitals = Vitals { cpu_percent: Some(81.0), disk_percent: Some(50.0), ..Vitals::default() };
    let health = score(&HealthConfig::default(), &vitals, None);
    let db = service.registry.agent_by_key(&"default".into(), "db-1").unwrap().id;
    service.judge.board.put_observed([(db, Observed { health, time: NOW, vitals })]);
    let check = |kind: &str| {
        json!({
            "target_id": "db-1", "target_type": "system", "assessment_type": kind,
            "time_range": {"start_time": at(-11 * 60 * MINUTE), "end_time": at(1)},
        })
    };
    let answer = service.post("health-check", &token, &check("predictive")).await.body;
    let trends = &answer["performance_trends"];
    let close = |value: &Value, expect: f64| value.as_f64().is_some_and(|value| (value - expect).abs() < 0.2);
    assert!(close(&trends["cpu"]["slope_per_hour"], 5.0), "{trends:#}");
    assert_eq!((&trends["cpu"]["direction"], &trends["disk"]["direction"]), (&json!("increasing"), &json!("stable")));
    // 75 % now: 80 % in an hour, 95 % in four.
    assert!(
        close(&trends["cpu"]["hours_to_warning"], 1.0) && close(&trends["cpu"]["hours_to_critical"], 4.0),
        "{trends:#}"
    );
    assert_eq!(trends["disk"]["hours_to_critical"], Value::Null);
    let plans = answer["maintenance_suggestions"].to_string();
    assert!(plans.contains("cpu reaches its critical threshold in about 4 h"), "{plans}");
    assert_eq!(
        answer["health_assessment"]["components"],
        json!({"cpu": "healthy", "disk": "healthy", "pool": "degraded"})
    );
    assert!(plans.contains("pool is degraded"), "{plans}");
    // What never beats is as the scorers judge it.
    let health = &answer["health_assessment"];
    assert_eq!((&health["overall_health"], &health["health_score"]), (&json!("degraded"), &json!(85.0)), "{health}");
    assert!(answer["health_recommendations"][0].as_str().unwrap().starts_with("CPU is at 81.0 %"), "{answer:#}");
    let full = service.post("health-check", &token, &check("full")).await.body;
    assert!(full["performance_trends"]["cpu"].get("hours_to_warning").is_none(), "only when asked for");
    let quick = service.post("health-check", &token, &check("quick")).await.body;
    assert_eq!(quick["performance_trends"], json!({}));
    let answer = service.get("uptime-summary/db-1?time_range_hours=24", &token).await.body;
    let parts = &answer["uptime_by_component"];
    assert_eq!((&parts["cpu"], &parts["disk"]), (&json!(100.0), &json!(100.0)));
    // The last of the eleven is now, which a window ends before.
    assert_eq!(parts["pool"], 90.0, "critical in one of ten");

    // A heartbeat's own measurements are its components.
    let mut calm = beat("web-1");
    calm["cpu_usage_percent"] = json!(10);
    service.post("heartbeat", &token, &calm).await;
    let of = async |name: &str| {
        let answer = service.get("uptime-status/web-1", &token).await.body;
        (answer["health_assessment"]["components"][name].clone(), answer["data_quality_score"].clone())
    };
    assert_eq!(of("cpu").await, (json!("healthy"), json!(4.0 / 12.0)));
    calm["cpu_usage_percent"] = json!(96);
    calm["packet_loss_percent"] = json!(7);
    service.post("heartbeat", &token, &calm).await;
    assert_eq!(of("cpu").await, (json!("critical"), json!(5.0 / 12.0)));
    assert_eq!(of("network").await.0, "degraded");
}

/// As a Collector's hostmetrics receiver reports them: seconds and bytes by state.
#[tokio::test]
async fn components_are_put_together_from_their_states() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    let agent = known(&service, "host-1", None);
    let total = Shape::Cumulative { monotonic: true };
    let amount = Shape::Cumulative { monotonic: false };
    let spec = |metric: &str, state: &str, device: Option<&str>, shape: Shape| {
        let mut attributes = vec![("state".to_owned(), state.to_owned())];
        attributes.extend(device.map(|device| ("device".to_owned(), device.to_owned())));
        attributes.sort();
        SeriesSpec {
            metric: metric.to_owned(),
            unit: String::new(),
            kind: MetricKind::Custom,
            shape,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: attributes.into(),
            resource: Arc::default(),
        }
    };
    let plain =
        |metric: &str| SeriesSpec { attributes: std::iter::empty().collect(), ..spec(metric, "", None, amount) };
    // Ten hours; in the last two the CPU is busy for 99 % of the time, and from the sixth on disk b is full. In the
    // third the CPU waits for a disk, and before the first hardly any memory can be had.
    let hour = |at: i64, early: f64, late: f64, from: i64| if at > from { late } else { early };
    type At<'a> = &'a dyn Fn(i64) -> f64;
    let busy = |at: i64| (1..=at).map(|one| hour(one, 36.0, 3_564.0, 8)).sum();
    let idle = |at: i64| (1..=at).map(|one| if one == 3 { 0.0 } else { hour(one, 3_564.0, 36.0, 8) }).sum();
    let rows: [(SeriesSpec, At); 13] = [
        (spec("system.cpu.time", "user", None, total), &busy),
        (spec("system.cpu.time", "idle", None, total), &idle),
        (spec("system.cpu.time", "wait", None, total), &|at| hour(at, 0.0, 3_564.0, 2)),
        (spec("system.memory.usage", "used", None, amount), &|_| 6e9),
        (spec("system.memory.usage", "free", None, amount), &|_| 2e9),
        (plain("system.memory.limit"), &|_| 8e9),
        (plain("system.linux.memory.available"), &|at| hour(at, 0.1e9, 2e9, 0)),
        (spec("system.filesystem.usage", "used", Some("/dev/loop1"), amount), &|_| 1e9),
        (spec("system.filesystem.usage", "free", Some("/dev/loop1"), amount), &|_| 0.0),
        (spec("system.filesystem.usage", "used", Some("a"), amount), &|_| 1e9),
        (spec("system.filesystem.usage", "free", Some("a"), amount), &|_| 9e9),
        (spec("system.filesystem.usage", "used", Some("b"), amount), &|at| hour(at, 5e9, 9.9e9, 5)),
        (spec("system.filesystem.usage", "free", Some("b"), amount), &|at| hour(at, 5e9, 0.1e9, 5)),
    ];
    for (spec, value) in rows {
        let id = service.registry.intern_series(&"default".into(), agent, vec![spec]).remove(0).unwrap();
        let samples = (0..=10).map(|at| (id.0, NOW.plus((at - 10) * 60 * MINUTE - 1), value(at)));
        service.store.samples.lock().extend(samples);
    }
    let answer = service.get("uptime-summary/host-1?time_range_hours=24", &token).await.body;
    let share = |good: f64, all: f64| 100.0 * good / all;
    let parts = &answer["uptime_by_component"];
    assert_eq!(
        parts,
        &json!({"cpu": share(8.0, 10.0), "memory": share(10.0, 11.0), "disk": share(6.0, 11.0)}),
        "{parts}"
    );
}

#[tokio::test]
async fn agents_by_page_and_filter() {
    let service = Service::start().await;
    let token = service.token(None, None, None);
    for (id, environment, location, cpu) in [
        ("c", "production", "eu", 10),
        ("a", "production", "us", 97),
        ("d", "test", "eu", 10),
        ("b", "production", "eu", 97),
    ] {
        let mut body = beat(id);
        body["agent_info"]["environment"] = environment.into();
        body["agent_info"]["geographic_location"] = location.into();
        body["cpu_usage_percent"] = cpu.into();
        assert_eq!(service.post("heartbeat", &token, &body).await.status, 201);
    }
    for (query, ids, total, next) in [
        ("", &["a", "b", "c", "d"][..], 4, Value::Null),
        ("?environment=production", &["a", "b", "c"], 3, Value::Null),
        ("?location=eu", &["b", "c", "d"], 3, Value::Null),
        ("?status=critical", &["a", "b"], 2, Value::Null),
        ("?status=offline", &[], 0, Value::Null),
        ("?environment=production&location=eu&status=healthy", &["c"], 1, Value::Null),
        ("?environment=nowhere", &[], 0, Value::Null),
        ("?limit=2", &["a", "b"], 4, json!("b")),
        ("?limit=2&after=b", &["c", "d"], 4, Value::Null),
        ("?limit=1&after=b&environment=production", &["c"], 3, Value::Null),
        ("?after=zzz", &[], 4, Value::Null),
    ] {
        let answer = service.get(&format!("agents{query}"), &token).await.body;
        let found: Vec<&str> =
            answer["agents"].as_array().unwrap().iter().map(|one| one["agent_id"].as_str().unwrap()).collect();
        assert_eq!((&found[..], &answer["total"], &answer["next"]), (ids, &json!(total), &next), "{query}");
    }
    for query in ["?status=fine", "?limit=0", "?limit=10001"] {
        assert_eq!(service.get(&format!("agents{query}"), &token).await.status, 422, "{query}");
    }
}
