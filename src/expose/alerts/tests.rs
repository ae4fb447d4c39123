//! Channels against a receiver of our own, over real sockets.

use super::{ChannelConfig, ChannelError, ChannelKind, Notifier};
use crate::expose::otlp::send::Backoff;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use vitals_core::alert_command::Handling;
use vitals_core::ids::{AgentId, TenantId, UnixNanos};
use vitals_core::registry::{Quota, Registry};
use vitals_core::series::AgentProfile;
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{Alert, AlertSeries, Event, Notice, Severity};

const SECRET: &str = "a secret of thirty-two characters";
const QUICK: Backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_millis(20) };
const DEADLINE: Duration = Duration::from_secs(10);

/// What a receiver got, and what it answers next; 200 when nothing is left.
#[derive(Default)]
struct Got {
    requests: Mutex<Vec<(HeaderMap, String)>>,
    answers: Mutex<VecDeque<u16>>,
    /// What it answers to messages about these alerts.
    of: Mutex<HashMap<&'static str, Answer>>,
    /// How many requests were told to come back later.
    postponed: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// 503, and when to come back.
    Later(&'static str),
    /// None, ever.
    Silence,
}

impl Got {
    async fn start(answers: &[u16]) -> (Arc<Self>, SocketAddr) {
        let got = Arc::new(Self { answers: Mutex::new(answers.iter().copied().collect()), ..Self::default() });
        let router = Router::new().fallback(receive).with_state(got.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (got, address)
    }

    fn answers(&self, alert: &'static str, answer: Answer) {
        self.of.lock().insert(alert, answer);
    }

    /// The ids of all messages, in the order in which they came.
    fn ids(&self) -> Vec<String> {
        self.requests.lock().iter().map(|(headers, _)| headers["webhook-id"].to_str().unwrap().to_owned()).collect()
    }

    /// Waits until `holds` of the ids.
    async fn until(&self, holds: impl Fn(&[String]) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !holds(&self.ids()) {
            assert!(tokio::time::Instant::now() < deadline, "still {:?}", self.ids());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The bodies, once there are `count` of them.
    async fn bodies(&self, count: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let bodies: Vec<Value> =
                self.requests.lock().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
            if bodies.len() >= count {
                return bodies;
            }
            assert!(tokio::time::Instant::now() < deadline, "{count} requests wanted, still {bodies:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn receive(State(got): State<Arc<Got>>, headers: HeaderMap, body: String) -> Response {
    let about: Value = serde_json::from_str(&body).unwrap();
    got.requests.lock().push((headers, body));
    let answer = got.of.lock().get(about["alert_id"].as_str().unwrap_or("")).copied();
    let status = match answer {
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Later(when)) => {
            got.postponed.fetch_add(1, Ordering::SeqCst);
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, when)]).into_response();
        }
        Some(Answer::Status(status)) => status,
        None => got.answers.lock().pop_front().unwrap_or(200),
    };
    let status = StatusCode::from_u16(status).unwrap();
    // Followed, a redirect would come back here.
    (status, [(header::LOCATION, "/elsewhere")]).into_response()
}

/// A registry whose agent 0 is `web-1`.
fn registry() -> Arc<Registry> {
    let registry = Registry::new(Quota::default());
    let tenant = TenantId::default_tenant();
    registry.intern_agent(&tenant, "web-1", UnixNanos(0), &AgentProfile::default()).unwrap();
    Arc::new(registry)
}

fn channel(kind: ChannelKind, to: SocketAddr, secret: &tempfile::NamedTempFile) -> ChannelConfig {
    ChannelConfig {
        name: "x".into(),
        kind,
        url: format!("http://{to}/hook"),
        secret_env: None,
        secret_file: (kind == ChannelKind::Webhook).then(|| secret.path().to_owned()),
        timeout_seconds: 5,
        retry_seconds: 5,
        queue: 100,
        requests_in_flight: 4,
        repeat_seconds: 60,
    }
}

fn secret() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    file
}

fn alert(id: &str, severity: Severity) -> Alert {
    Alert {
        id: id.into(),
        tenant: TenantId::default_tenant(),
        agent: AgentId(0),
        severity,
        message: "cpu_usage is 97.0 %".into(),
        source: "threshold:cpu_usage".into(),
        series: Some(AlertSeries {
            metric: "system.cpu.utilization".into(),
            attributes: vec![("cpu".into(), "0".into())],
        }),
        started: UnixNanos(1_000_000_000_000_000_000),
        resolved: None,
        acknowledged: None,
        handling: Handling::default(),
    }
}

/// The sum of a metric over the channel `x`, once `holds` of it.
async fn metric_when(
    recorder: &metrics_exporter_prometheus::PrometheusHandle,
    name: &str,
    holds: impl Fn(f64) -> bool,
) -> f64 {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds(metric(recorder, name)) {
        assert!(tokio::time::Instant::now() < deadline, "{name} is {}", metric(recorder, name));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    metric(recorder, name)
}

fn say(notifier: &Arc<Notifier>, event: Event, alert: Alert) {
    let notice = Notice { event, at: UnixNanos(7), alert, channels: vec!["x".into(), "gone".into()] };
    notifier.observer()(&Arc::new(EvaluationOutput { notices: vec![notice], ..EvaluationOutput::default() }));
}

/// The sum of a metric over the channel `x`, as it is told to Prometheus.
fn metric(recorder: &metrics_exporter_prometheus::PrometheusHandle, name: &str) -> f64 {
    let line = format!("{name}{{channel=\"x\"}} ");
    recorder.render().lines().find_map(|l| l.strip_prefix(&line)).map_or(0.0, |value| value.parse().unwrap())
}

/// A recorder for this thread, on which everything in a test runs.
fn recorder() -> (metrics_exporter_prometheus::PrometheusHandle, impl Drop) {
    let recorder = Box::leak(Box::new(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder()));
    let handle = recorder.handle();
    (handle, metrics::set_default_local_recorder(recorder))
}

#[tokio::test]
async fn a_webhook_is_signed_and_says_all_of_it() {
    let (got, address) = Got::start(&[]).await;
    let file = secret();
    let notifier = Notifier::start(&[channel(ChannelKind::Webhook, address, &file)], registry(), None).unwrap();
    say(&notifier, Event::Raised, alert("a", Severity::Critical));
    let mut over = alert("a", Severity::Critical);
    over.resolved = Some(UnixNanos(1_000_000_060_000_000_000));
    over.acknowledged = Some(("ops".into(), UnixNanos(1_000_000_030_000_000_000)));
    say(&notifier, Event::Resolved, over);
    // Neither is said to webhooks.
    say(&notifier, Event::StillOpen, alert("a", Severity::Critical));
    say(&notifier, Event::Suppressed, alert("a", Severity::Critical));
    notifier.stop().await;
    let bodies = got.bodies(2).await;
    let expect = serde_json::json!({
        "event": "raised", "alert_id": "a", "severity": "critical", "message": "cpu_usage is 97.0 %",
        "source": "threshold:cpu_usage", "timestamp": "2001-09-09T01:46:40Z", "resolved": false, "state": "open",
        "agent": "web-1", "tenant": "default", "metric_name": "system.cpu.utilization", "attributes": {"cpu": "0"},
        "resolved_at": null, "acknowledged_by": null, "acknowledged_at": null, "acknowledge_comment": null,
        "closed_by": null, "close_comment": null,
    });
    assert_eq!((bodies.len(), &bodies[0]), (2, &expect));
    assert_eq!(
        (&bodies[1]["event"], &bodies[1]["state"], &bodies[1]["resolved"]),
        (&"resolved".into(), &"resolved".into(), &true.into())
    );
    assert_eq!(
        (&bodies[1]["acknowledged_by"], &bodies[1]["resolved_at"]),
        (&"ops".into(), &"2001-09-09T01:47:40Z".into())
    );
    for (headers, body) in &*got.requests.lock() {
        let text = |name: &str| headers[name].to_str().unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{}.{}.{body}", text("webhook-id"), text("webhook-timestamp")).as_bytes());
        let signed = text("webhook-signature").strip_prefix("v1,").unwrap();
        mac.verify_slice(&base64::engine::general_purpose::STANDARD.decode(signed).unwrap()).unwrap();
        let age = jiff::Timestamp::now().as_second() - text("webhook-timestamp").parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
        assert_eq!(text("content-type"), "application/json");
    }
    assert_eq!(got.requests.lock()[0].0["webhook-id"], "a-raised-7");
}

#[tokio::test]
async fn what_may_succeed_later_is_tried_again_with_the_same_id() {
    let (recorder, _guard) = recorder();
    let (got, address) = Got::start(&[503, 429, 500]).await;
    let file = secret();
    let channels = [channel(ChannelKind::Webhook, address, &file)];
    let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
    say(&notifier, Event::Raised, alert("a", Severity::Warning));
    say(&notifier, Event::Raised, alert("b", Severity::Warning));
    got.bodies(5).await;
    notifier.stop().await;
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    got.ids().into_iter().for_each(|id| *ids.entry(id).or_default() += 1);
    assert_eq!(ids.keys().collect::<Vec<_>>(), ["a-raised-7", "b-raised-7"]);
    assert_eq!(ids.values().sum::<usize>(), 5);
    assert!((metric(&recorder, "vitals_alerts_sent_total") - 2.0).abs() < 0.1);
    assert!((metric(&recorder, "vitals_alerts_retries_total") - 3.0).abs() < 0.1);
    assert!(metric(&recorder, "vitals_alerts_dead_total") < 0.1);
}

#[tokio::test]
async fn what_is_refused_or_too_late_is_given_up_and_counted() {
    for (status, least, most) in [(400, 1, 1), (404, 1, 1), (410, 1, 1), (302, 1, 1), (503, 2, 200)] {
        let (recorder, _guard) = recorder();
        let (got, address) = Got::start(&[status; 200]).await;
        let file = secret();
        let channels = [ChannelConfig { retry_seconds: 1, ..channel(ChannelKind::Webhook, address, &file) }];
        let quick = Backoff { most: Duration::from_millis(200), ..QUICK };
        let notifier = Notifier::start_with(&channels, registry(), None, quick).unwrap();
        say(&notifier, Event::Raised, alert("a", Severity::Warning));
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while metric(&recorder, "vitals_alerts_dead_total") < 0.9 {
            assert!(tokio::time::Instant::now() < deadline, "{status} is not given up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let attempts = got.requests.lock().len();
        assert!((least..=most).contains(&attempts), "{status}: {attempts} attempts");
        notifier.stop().await;
    }
}

#[tokio::test]
async fn a_full_queue_holds_nobody_up() {
    let (recorder, _guard) = recorder();
    // Nobody answers there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = secret();
    let channel = channel(ChannelKind::Webhook, listener.local_addr().unwrap(), &file);
    let channels = [ChannelConfig { queue: 3, timeout_seconds: 1, ..channel }];
    let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
    let begun = std::time::Instant::now();
    for number in 0..50 {
        say(&notifier, Event::Raised, alert(&format!("a{number}"), Severity::Warning));
    }
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!(metric(&recorder, "vitals_alerts_dead_total") > 45.0);
    assert!(metric(&recorder, "vitals_alerts_queued") > 2.0);
    notifier.stop().await;
}

/// (severity, whether it is over) of each alert in a request to Alertmanager.
fn states(body: &Value) -> Vec<(String, bool)> {
    let state = |alert: &Value| {
        let ends: jiff::Timestamp = alert["endsAt"].as_str().unwrap().parse().unwrap();
        (alert["labels"]["severity"].as_str().unwrap().to_owned(), ends <= jiff::Timestamp::now())
    };
    body.as_array().unwrap().iter().map(state).collect()
}

#[tokio::test]
async fn an_alertmanager_is_told_what_is_open_and_what_is_over() {
    let (got, address) = Got::start(&[200, 503]).await;
    let file = secret();
    let channels = [ChannelConfig { repeat_seconds: 1, ..channel(ChannelKind::Alertmanager, address, &file) }];
    let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
    say(&notifier, Event::StillOpen, alert("a", Severity::Warning));
    let bodies = got.bodies(1).await;
    let labels = serde_json::json!({
        "alertname": "cpu_usage", "severity": "warning", "agent": "web-1", "tenant": "default",
        "source": "threshold:cpu_usage", "alert_id": "a",
    });
    assert_eq!(bodies[0][0]["labels"], labels);
    assert_eq!(bodies[0][0]["annotations"]["description"], "cpu_usage is 97.0 %");
    assert_eq!(bodies[0][0]["startsAt"], "2001-09-09T01:46:40Z");
    assert_eq!(states(&bodies[0]), [("warning".to_owned(), false)]);
    // A severity that changed is another alert: the one before is over. It was not taken, so it is said again.
    say(&notifier, Event::Escalated, alert("a", Severity::Error));
    let bodies = got.bodies(3).await;
    let expect = [("warning".to_owned(), true), ("error".to_owned(), false)];
    assert_eq!((states(&bodies[1]), states(&bodies[2])), (expect.to_vec(), expect.to_vec()));
    // Again, unasked.
    assert_eq!(states(&got.bodies(4).await[3]), [("error".to_owned(), false)]);
    let resolved = Some(UnixNanos(1_000_000_060_000_000_000));
    say(&notifier, Event::Resolved, Alert { resolved, ..alert("a", Severity::Error) });
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let last = loop {
        let bodies = got.bodies(5).await;
        if bodies.last().is_some_and(|body| states(body) == [("error".to_owned(), true)]) {
            break bodies.len();
        }
        assert!(tokio::time::Instant::now() < deadline, "{bodies:?}");
    };
    assert_eq!(got.bodies(1).await[last - 1][0]["endsAt"], "2001-09-09T01:47:40Z");
    // Then there is nothing more to say.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(got.requests.lock().len(), last);
    notifier.stop().await;
}

#[tokio::test]
async fn channels_change_while_notices_come() {
    let (first, one) = Got::start(&[]).await;
    let (second, other) = Got::start(&[]).await;
    let file = secret();
    let notifier = Notifier::start(&[channel(ChannelKind::Webhook, one, &file)], registry(), None).unwrap();
    say(&notifier, Event::Raised, alert("a", Severity::Warning));
    first.bodies(1).await;
    // One that cannot be used changes nothing.
    let bad = ChannelConfig { secret_file: Some("/nonexistent".into()), ..channel(ChannelKind::Webhook, other, &file) };
    let worse = ChannelConfig { name: "other".into(), ..bad.clone() };
    let errors = notifier.prepare(&[bad.clone(), worse]).err().unwrap();
    assert!(matches!(&errors[..], [ChannelError::Secret { .. }, ChannelError::Secret { name, .. }] if name == "other"));
    // Those with a wrong entry of the table are named with those whose secret is missing.
    let nameless = ChannelConfig { name: String::new(), ..channel(ChannelKind::Webhook, other, &file) };
    let errors = notifier.prepare(&[bad, nameless]).err().unwrap();
    assert!(matches!(&errors[..], [ChannelError::Nameless, ChannelError::Secret { .. }]), "{errors:?}");
    say(&notifier, Event::Raised, alert("b", Severity::Warning));
    first.bodies(2).await;
    notifier.reload(notifier.prepare(&[channel(ChannelKind::Webhook, other, &file)]).unwrap());
    say(&notifier, Event::Raised, alert("c", Severity::Warning));
    assert_eq!(second.bodies(1).await[0]["alert_id"], "c");
    assert_eq!(first.requests.lock().len(), 2);
    notifier.stop().await;
}

#[tokio::test]
async fn one_that_its_receiver_refuses_holds_up_no_other() {
    for answer in [Answer::Status(500), Answer::Later("7200"), Answer::Silence] {
        let (recorder, _guard) = recorder();
        let (got, address) = Got::start(&[]).await;
        let poisons = ["p0", "p1", "p2", "p3", "p4", "p5"];
        poisons.into_iter().for_each(|alert| got.answers(alert, answer));
        let file = secret();
        let channels =
            [ChannelConfig { timeout_seconds: 2, retry_seconds: 60, ..channel(ChannelKind::Webhook, address, &file) }];
        let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
        poisons.into_iter().for_each(|alert| say(&notifier, Event::Raised, alert_of(alert)));
        got.until(|ids| ids.iter().any(|id| id.starts_with("p3"))).await;
        // Four places, all taken by requests that get no answer: their time is up after two seconds.
        let begun = std::time::Instant::now();
        for alert in ["a", "b", "c"] {
            say(&notifier, Event::Raised, alert_of(alert));
        }
        got.until(|ids| ["a", "b", "c"].iter().all(|alert| ids.contains(&format!("{alert}-raised-7")))).await;
        assert!(begun.elapsed() < Duration::from_millis(4_500), "{:?}", begun.elapsed());
        metric_when(&recorder, "vitals_alerts_queued", |left| left < 6.1).await;
        assert!(metric(&recorder, "vitals_alerts_dead_total") < 0.1);
    }
}

fn alert_of(id: &str) -> Alert {
    alert(id, Severity::Warning)
}

#[tokio::test]
async fn notices_of_one_alert_keep_their_order() {
    let (got, address) = Got::start(&[]).await;
    got.answers("a", Answer::Status(503));
    let file = secret();
    let channels = [channel(ChannelKind::Webhook, address, &file)];
    let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
    say(&notifier, Event::Raised, alert_of("a"));
    say(&notifier, Event::Resolved, alert_of("a"));
    say(&notifier, Event::Raised, alert_of("b"));
    got.until(|ids| ids.len() > 6).await;
    assert!(!got.ids().contains(&"a-resolved-7".to_owned()), "{:?}", got.ids());
    got.answers("a", Answer::Status(200));
    got.until(|ids| ids.last().is_some_and(|id| id == "a-resolved-7")).await;
    notifier.stop().await;
}

#[tokio::test]
async fn a_pause_longer_than_the_time_to_retry_is_cut_short() {
    let (recorder, _guard) = recorder();
    for (pause, before) in [("7200", 0), ("18446744073709551615", 1), ("Thu, 06 Nov 2194 08:49:37 GMT", 2)] {
        let (got, address) = Got::start(&[]).await;
        got.answers("a", Answer::Later(pause));
        let file = secret();
        let channels = [ChannelConfig { retry_seconds: 1, ..channel(ChannelKind::Webhook, address, &file) }];
        let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
        let begun = std::time::Instant::now();
        say(&notifier, Event::Raised, alert_of("a"));
        got.until(|ids| ids.len() == 2).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        metric_when(&recorder, "vitals_alerts_dead_total", |dead| dead > f64::from(before) + 0.9).await;
        assert_eq!(got.ids().len(), 2);
    }
}

/// A notifier on a runtime of its own that can be ended as a kill ends a process: nothing is stopped or written.
fn until_killed(channels: &[ChannelConfig], data: &Path, during: impl AsyncFnOnce(Arc<Notifier>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let notifier = Notifier::start_with(channels, registry(), Some(data), QUICK).unwrap();
        during(notifier.clone()).await;
        notifier.settle();
        std::mem::forget(notifier);
    });
    runtime.shutdown_timeout(DEADLINE);
}

#[test]
fn what_waits_survives_a_kill_and_what_was_delivered_is_not_sent_again() {
    let receivers = tokio::runtime::Runtime::new().unwrap();
    let (got, address) = receivers.block_on(Got::start(&[]));
    got.answers("waits", Answer::Status(503));
    let (file, data) = (secret(), tempfile::tempdir().unwrap());
    let channels = [ChannelConfig { retry_seconds: 3600, ..channel(ChannelKind::Webhook, address, &file) }];
    until_killed(&channels, data.path(), async |notifier| {
        for (event, of) in [(Event::Raised, "told"), (Event::Raised, "waits"), (Event::Resolved, "waits")] {
            say(&notifier, event, alert_of(of));
        }
        got.until(|ids| ids.iter().filter(|id| id.starts_with("waits")).count() > 2).await;
        got.until(|ids| ids.contains(&"told-raised-7".to_owned())).await;
        // The messages of one alert go one by one, so behind this answer none is on its way when the kill comes.
        got.answers("waits", Answer::Later("3600"));
        got.until(|_| got.postponed.load(Ordering::SeqCst) > 0).await;
        // The other answer is on its way back.
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    got.answers("waits", Answer::Status(200));
    got.requests.lock().clear();
    until_killed(&channels, data.path(), async |notifier| {
        // What waited is delivered before the replay comes to it.
        got.until(|ids| ids.contains(&"waits-resolved-7".to_owned())).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (event, of) in [(Event::Raised, "told"), (Event::Raised, "waits"), (Event::Resolved, "waits")] {
            say(&notifier, event, alert_of(of));
        }
        notifier.caught_up();
        say(&notifier, Event::Raised, alert_of("new"));
        got.until(|ids| ids.len() >= 3).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    let ids = got.ids();
    let of = |alert: &str| ids.iter().filter(|id| id.starts_with(alert)).cloned().collect::<Vec<_>>();
    assert_eq!(of("waits"), ["waits-raised-7", "waits-resolved-7"]);
    assert_eq!((of("new"), ids.len()), (vec!["new-raised-7".to_owned()], 3), "{ids:?}");
    // All of it is delivered: there is nothing left for a third run.
    got.requests.lock().clear();
    until_killed(&channels, data.path(), async |_| tokio::time::sleep(Duration::from_millis(200)).await);
    assert_eq!(got.ids(), [""; 0]);
}

#[tokio::test]
async fn a_stop_keeps_what_waits_and_a_channel_that_is_gone_does_not() {
    let (recorder, _guard) = recorder();
    let (got, address) = Got::start(&[]).await;
    let (file, data) = (secret(), tempfile::tempdir().unwrap());
    let channels = [channel(ChannelKind::Webhook, address, &file)];
    let start =
        |channels: &[ChannelConfig]| Notifier::start_with(channels, registry(), Some(data.path()), QUICK).unwrap();
    for alert in ["a", "b"] {
        got.answers(alert, Answer::Later("3600"));
    }
    let notifier = start(&channels);
    say(&notifier, Event::Raised, alert_of("a"));
    got.until(|ids| ids.len() == 1).await;
    // Never tried: it gets its attempt.
    say(&notifier, Event::Raised, alert_of("b"));
    let begun = std::time::Instant::now();
    notifier.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4) && got.ids().len() == 2);
    got.answers("a", Answer::Status(200));
    let notifier = start(&channels);
    got.until(|ids| ids.iter().filter(|id| *id == "a-raised-7").count() == 2).await;
    metric_when(&recorder, "vitals_alerts_queued", |left| left < 1.1).await;
    assert!(metric(&recorder, "vitals_alerts_dead_total") < 0.1);
    // Without the channel nobody would ever send what waits for it.
    notifier.reload(notifier.prepare(&[]).unwrap());
    metric_when(&recorder, "vitals_alerts_dead_total", |dead| dead > 0.9).await;
    assert!(metric(&recorder, "vitals_alerts_queued") < 0.1);
    notifier.reload(notifier.prepare(&channels).unwrap());
    say(&notifier, Event::Raised, alert_of("c"));
    got.until(|ids| ids.contains(&"c-raised-7".to_owned())).await;
    say(&notifier, Event::Raised, alert_of("b"));
    got.until(|ids| ids.iter().filter(|id| *id == "b-raised-7").count() == 3).await;
    notifier.stop().await;
    // Nor when it was taken out while nothing ran.
    start(&[]).stop().await;
    assert!(metric(&recorder, "vitals_alerts_dead_total") > 1.9);
    let requests = got.ids().len();
    let notifier = start(&channels);
    tokio::time::sleep(Duration::from_millis(200)).await;
    notifier.stop().await;
    assert_eq!(got.ids().len(), requests);
}

#[tokio::test]
async fn what_waits_is_tried_with_new_settings_at_once() {
    let (first, one) = Got::start(&[]).await;
    let (second, other) = Got::start(&[]).await;
    first.answers("a", Answer::Later("3600"));
    let (file, new) = (secret(), secret());
    std::fs::write(new.path(), "another secret of thirty-two chars").unwrap();
    let notifier = Notifier::start(&[channel(ChannelKind::Webhook, one, &file)], registry(), None).unwrap();
    say(&notifier, Event::Raised, alert_of("a"));
    first.until(|ids| ids.len() == 1).await;
    // The same settings change nothing.
    notifier.reload(notifier.prepare(&[channel(ChannelKind::Webhook, one, &file)]).unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(first.ids().len(), 1);
    notifier.reload(notifier.prepare(&[channel(ChannelKind::Webhook, other, &new)]).unwrap());
    second.until(|ids| ids == ["a-raised-7"]).await;
    let (headers, body) = second.requests.lock()[0].clone();
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"another secret of thirty-two chars").unwrap();
    mac.update(format!("{}.{}.{body}", text("webhook-id"), text("webhook-timestamp")).as_bytes());
    let signed = text("webhook-signature").strip_prefix("v1,").unwrap().to_owned();
    mac.verify_slice(&base64::engine::general_purpose::STANDARD.decode(signed).unwrap()).unwrap();
    notifier.stop().await;
}

#[tokio::test]
async fn a_damaged_outbox_is_no_reason_not_to_notify() {
    let (got, address) = Got::start(&[]).await;
    let (file, data) = (secret(), tempfile::tempdir().unwrap());
    std::fs::write(data.path().join("notices.db"), "no database".repeat(500)).unwrap();
    let channels = [channel(ChannelKind::Webhook, address, &file)];
    let notifier = Notifier::start_with(&channels, registry(), Some(data.path()), QUICK).unwrap();
    say(&notifier, Event::Raised, alert_of("a"));
    got.until(|ids| ids == ["a-raised-7"]).await;
    notifier.stop().await;
}

#[tokio::test]
async fn an_alertmanager_is_told_before_it_takes_what_is_open_for_over() {
    let (got, address) = Got::start(&[]).await;
    got.answers("", Answer::Later("7200"));
    let file = secret();
    let channels = [ChannelConfig { repeat_seconds: 1, ..channel(ChannelKind::Alertmanager, address, &file) }];
    let notifier = Notifier::start_with(&channels, registry(), None, QUICK).unwrap();
    say(&notifier, Event::StillOpen, alert_of("a"));
    let begun = std::time::Instant::now();
    got.bodies(2).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
