//! The hub with its clients, without a network.

use super::*;
use crate::expose::rest::{asyncapi, docs};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vitals_core::alert_command::{Handling, PersonAct, Silence};
use vitals_core::caller::{Caller, Scope};
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, TenantId, UnixNanos};
use vitals_core::live_agents::{CurrentHealth, Liveness, Shown, StandingChange};
use vitals_core::registry::{Quota, Registry};
use vitals_core::series::{AgentProfile, Attributes, MetricKind, Origin, Part, SeriesSpec, Shape};
use vitals_core::store::EvaluationOutput;
use vitals_core::verdict::{
    AgentHealth, Alert, Evidence, HealthStatus, OutlierVerdict, Risk, Severity, SlaVerdict, Verdict, VerdictBody,
};

/// Longest that anything here may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
}

fn world(config: StreamConfig) -> World {
    let registry = Arc::new(Registry::new(Quota::default()));
    World { hub: Hub::new(&config, registry.clone()), registry }
}

impl World {
    fn agent(&self, tenant: &str, key: &str) -> AgentId {
        self.registry.intern_agent(&tenant.into(), key, UnixNanos(1), &AgentProfile::default()).unwrap()
    }

    fn series(&self, tenant: &str, agent: AgentId, metric: &str) -> SeriesId {
        let spec = SeriesSpec {
            metric: metric.to_owned(),
            unit: "1".to_owned(),
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
        self.registry.intern_series(&tenant.into(), agent, vec![spec]).pop().unwrap().unwrap()
    }

    /// A health verdict of `agent` with this score.
    fn judge(&self, tenant: &str, agent: AgentId, score: f64) {
        let health = AgentHealth { score, status: HealthStatus::Healthy, reasons: vec![], recommendations: vec![] };
        self.found(tenant, agent, VerdictBody::Health(health));
    }

    fn found(&self, tenant: &str, agent: AgentId, body: VerdictBody) {
        let evidence = Evidence { plugin: "p".into(), version: "1".into(), digest: "d".into(), config: "c".into() };
        let verdict = Verdict { tenant: tenant.into(), agent, time: UnixNanos(1), evidence: Arc::new(evidence), body };
        self.hub.observe(&EvaluationOutput { verdicts: vec![verdict], ..EvaluationOutput::default() });
    }

    fn open(&self, tenant: &str, wanted: Wanted, last: Option<&str>) -> Result<Client, Refusal> {
        let token = Token { lifetime: Duration::from_secs(3_600), check: Box::new(|| true) };
        self.open_by(tenant, wanted, last, token)
    }

    fn open_by(&self, tenant: &str, wanted: Wanted, last: Option<&str>, token: Token) -> Result<Client, Refusal> {
        let caller = Caller { tenant: tenant.into(), subject: None, agents: None, scopes: vec![Scope::Read] };
        let opening = Opening {
            tenant: tenant.into(),
            filter: Filter::new(wanted, &caller),
            last_event_id: last.map(str::to_owned),
            token,
            clock: Arc::new(|| UnixNanos(0)),
        };
        Client::open(&self.hub, opening)
    }
}

fn all() -> Wanted {
    Wanted { kinds: Kind::STATES.to_vec(), ..Wanted::default() }
}

async fn next(client: &mut Client) -> Option<Value> {
    let message = tokio::time::timeout(PATIENCE, client.next()).await.expect("a message")?;
    let message: Value = serde_json::from_slice(&message.json()).expect("JSON");
    assert_eq!(violations(&message), [] as [String; 0], "{message}");
    Some(message)
}

/// What in a message is not as the AsyncAPI document says.
fn violations(message: &Value) -> Vec<String> {
    let documented = &asyncapi::DOCUMENT["components"]["messages"][message["event"].as_str().expect("a name")];
    let mut schema = documented["payload"].clone();
    assert!(schema.is_object(), "{message} is not documented");
    let openapi = docs::document(UnixNanos(0)).0;
    schema["components"] = openapi["components"].clone();
    let text = schema.to_string().replace("openapi.json#/components", "#/components");
    let schema = serde_json::from_str(&text).expect("JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    validator.iter_errors(message).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_message_is_documented_with_an_example_that_fits() {
    let messages = asyncapi::DOCUMENT["components"]["messages"].as_object().expect("messages");
    for name in Kind::STATES.map(Kind::name).into_iter().chain(["sample", "hello", "heartbeat", "gap", "end"]) {
        let example = &messages[name]["examples"][0]["payload"];
        assert_eq!(example["event"], name);
        assert_eq!(violations(example), [] as [String; 0], "{name}");
        for channel in ["stream", "ws"] {
            assert!(asyncapi::DOCUMENT["channels"][channel]["messages"][name].is_object(), "{name} in {channel}");
        }
    }
    assert_eq!(messages.len(), 11);
}

/// The next message that is none of the stream's own beats.
async fn event(client: &mut Client) -> Value {
    loop {
        let message = next(client).await.expect("the stream lives");
        if !["hello", "heartbeat"].contains(&message["event"].as_str().unwrap()) {
            return message;
        }
    }
}

#[tokio::test]
async fn events_come_in_order_and_only_those_of_the_tenant() {
    let world = world(StreamConfig::default());
    let (red, blue) = (world.agent("red", "a"), world.agent("blue", "b"));
    let mut client = world.open("red", all(), None).unwrap();
    for score in 0..100 {
        world.judge("blue", blue, 1_000.0);
        world.judge("red", red, f64::from(score));
    }
    let mut last = 0;
    for score in 0..100 {
        let message = event(&mut client).await;
        assert_eq!(message["body"]["score"], f64::from(score));
        assert_eq!(message["agent_id"], "a");
        let id = message["id"].as_u64().unwrap();
        assert!(last == 0 || id == last + 1, "{last} {id}");
        last = id;
    }
    assert!(last < 1 << 53);
}

#[tokio::test]
async fn a_slow_client_is_told_how_many_it_missed_and_goes_on() {
    let world = world(StreamConfig { buffer_bytes: 64 * 1024, ..StreamConfig::default() });
    let agent = world.agent("t", "a");
    let mut client = world.open("t", all(), None).unwrap();
    let hello = next(&mut client).await.unwrap();
    assert_eq!(hello["event"], "hello");
    for score in 0..1_000 {
        world.judge("t", agent, f64::from(score));
    }
    let gap = event(&mut client).await;
    assert_eq!((&gap["event"], &gap["reason"]), (&"gap".into(), &"slow".into()), "{gap}");
    let skipped = gap["skipped"].as_u64().unwrap();
    assert!(skipped > 0 && skipped < 1_000, "{skipped}");
    assert_eq!(gap["id"].as_u64().unwrap(), hello["id"].as_u64().unwrap() + skipped);
    for score in skipped..1_000 {
        assert_eq!(event(&mut client).await["body"]["score"], score as f64);
    }
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let world = world(StreamConfig { buffer_bytes: 64 * 1024, ..StreamConfig::default() });
    let agent = world.agent("t", "a");
    let mut client = world.open("t", all(), None).unwrap();
    world.judge("t", agent, 1.0);
    let id = event(&mut client).await["id"].as_u64().unwrap();
    drop(client);
    world.judge("t", agent, 2.0);
    let mut client = world.open("t", all(), Some(&id.to_string())).unwrap();
    assert_eq!(event(&mut client).await["body"]["score"], 2.0);
    // Ids of another run, from the future, and none at all: the client must read everything anew.
    for (last, reason) in [("17", "restarted"), ("9007199254740991", "unknown_id"), ("x", "unknown_id")] {
        let mut client = world.open("t", all(), Some(last)).unwrap();
        let gap = event(&mut client).await;
        assert_eq!((&gap["event"], &gap["reason"], &gap["skipped"]), (&"gap".into(), &reason.into(), &Value::Null));
    }
    for score in 0..1_000 {
        world.judge("t", agent, f64::from(score));
    }
    let mut client = world.open("t", all(), Some(&id.to_string())).unwrap();
    let gap = event(&mut client).await;
    assert_eq!((&gap["event"], &gap["reason"]), (&"gap".into(), &"too_old".into()), "{gap}");
    let skipped = gap["skipped"].as_u64().unwrap();
    // The one with score 2, and so many of the thousand.
    assert_eq!(event(&mut client).await["body"]["score"], (skipped - 1) as f64);
}

#[tokio::test]
async fn places_are_bounded_shared_and_given_back() {
    let world = world(StreamConfig { max_streams: 8, ..StreamConfig::default() });
    let mut red: Vec<Client> = (0..5).map(|_| world.open("red", all(), None).unwrap()).collect();
    let _blue = world.open("blue", all(), None).unwrap();
    // Six of eight: the last two are for those who have fewer than two.
    assert_eq!(world.open("red", all(), None).err(), Some(Refusal::Share(5)));
    let _green = [world.open("green", all(), None).unwrap(), world.open("green", all(), None).unwrap()];
    assert_eq!(world.open("blue", all(), None).err(), Some(Refusal::Streams(8)));
    red.pop();
    red.pop();
    red.pop();
    assert_eq!(world.hub.open(), 5);
    assert!(world.open("blue", all(), None).is_ok());
}

#[tokio::test]
async fn one_tenant_alone_may_have_all_places() {
    let world = world(StreamConfig { max_streams: 8, ..StreamConfig::default() });
    let _all: Vec<Client> = (0..8).map(|_| world.open("red", all(), None).unwrap()).collect();
    assert_eq!(world.open("red", all(), None).err(), Some(Refusal::Streams(8)));
}

fn alert(agent: AgentId) -> Alert {
    Alert {
        id: "1f".into(),
        tenant: "t".into(),
        agent,
        severity: Severity::Warning,
        message: "m".into(),
        source: "health".into(),
        series: None,
        started: UnixNanos(1),
        resolved: None,
        acknowledged: None,
        handling: Handling::default(),
    }
}

#[tokio::test]
async fn what_happened_to_an_alert_is_named() {
    let world = world(StreamConfig::default());
    let raised = alert(world.agent("t", "a"));
    let worse = Alert { severity: Severity::Critical, ..raised.clone() };
    let seen = Alert { acknowledged: Some(("ops".into(), UnixNanos(2))), ..worse.clone() };
    let over = Alert { resolved: Some(UnixNanos(3)), ..seen.clone() };
    let act = PersonAct { by: "ops".into(), at: UnixNanos(2), comment: None };
    let silence = Some(Silence { set: act.clone(), until: UnixNanos(9) });
    let quiet = Alert { handling: Handling { silence, ..Handling::default() }, ..worse.clone() };
    let closed = Alert { handling: Handling { closed: Some(act), ..Handling::default() }, ..over.clone() };
    let mut client = world.open("t", all(), None).unwrap();
    for (one, expect) in [
        (&raised, "raised"),
        (&worse, "changed"),
        (&seen, "acknowledged"),
        (&worse, "unacknowledged"),
        (&quiet, "silenced"),
        (&worse, "unsilenced"),
        (&closed, "closed"),
        (&raised, "raised"),
        (&over, "resolved"),
        (&raised, "raised"),
    ] {
        world.hub.observe(&EvaluationOutput { alerts: vec![one.clone()], ..EvaluationOutput::default() });
        let message = event(&mut client).await;
        assert_eq!((&message["change"], &message["alert"]["alert_id"]), (&expect.into(), &"1f".into()), "{message}");
    }
    world.hub.remember_open([&Alert { id: "2a".into(), ..raised.clone() }]);
    world
        .hub
        .observe(&EvaluationOutput { alerts: vec![Alert { id: "2a".into(), ..worse }], ..EvaluationOutput::default() });
    assert_eq!(event(&mut client).await["change"], "changed");
}

#[tokio::test]
async fn samples_come_of_chosen_series_only() {
    let world = world(StreamConfig::default());
    let agent = world.agent("t", "a");
    let ids = ["x", "y", "z"].map(|name| world.series("t", agent, name));
    let mut columns = Columns::default();
    for &id in &ids {
        for time in 0..3 {
            columns.push(id, UnixNanos(time), if time == 1 { f64::NAN } else { f64::from(id.0) });
        }
    }
    let output = EvaluationOutput { samples: vec![Arc::new(columns)], ..EvaluationOutput::default() };
    let mut other = world.open("t", all(), None).unwrap();
    world.hub.observe(&output);
    let mut client = world.open("t", Wanted { series: vec![ids[1]], ..Wanted::default() }, None).unwrap();
    world.hub.observe(&output);
    let message = event(&mut client).await;
    assert_eq!((&message["event"], &message["series_id"]), (&"sample".into(), &ids[1].0.into()), "{message}");
    let values: Vec<Value> =
        message["samples"].as_array().unwrap().iter().map(|point| point["value"].clone()).collect();
    assert_eq!(values, [Value::from(f64::from(ids[1].0)), Value::Null, Value::from(f64::from(ids[1].0))]);
    assert_eq!(message["id"], Value::Null, "samples are not resumed");
    // Of so many rows that looking each series up is quicker.
    let mut many = Columns::default();
    for row in 0..200 {
        many.push(ids[1], UnixNanos(100 + row), 1.0);
    }
    world.hub.observe(&EvaluationOutput { samples: vec![Arc::new(many)], ..EvaluationOutput::default() });
    assert_eq!(event(&mut client).await["samples"].as_array().unwrap().len(), 200);
    // Who chose none got none: the verdict comes first.
    world.judge("t", agent, 5.0);
    assert_eq!(event(&mut other).await["event"], "health");
    drop(client);
    assert!(!world.hub.follows_any());
}

#[tokio::test]
async fn samples_that_are_missed_are_told_apart() {
    let world = world(StreamConfig { buffer_bytes: 64 * 1024, ..StreamConfig::default() });
    let agent = world.agent("t", "a");
    let id = world.series("t", agent, "x");
    let mut client =
        world.open("t", Wanted { series: vec![id], kinds: vec![Kind::Health], ..Wanted::default() }, None).unwrap();
    world.judge("t", agent, 5.0);
    for time in 0..500 {
        let mut columns = Columns::default();
        columns.push(id, UnixNanos(time), 1.0);
        world.hub.observe(&EvaluationOutput { samples: vec![Arc::new(columns)], ..EvaluationOutput::default() });
    }
    assert_eq!(event(&mut client).await["event"], "health", "samples push no verdict out");
    let gap = event(&mut client).await;
    assert_eq!((&gap["event"], &gap["of"], &gap["id"]), (&"gap".into(), &"samples".into(), &Value::Null), "{gap}");
    let skipped = gap["skipped"].as_u64().unwrap();
    for _ in skipped..500 {
        assert_eq!(event(&mut client).await["event"], "sample");
    }
}

#[tokio::test]
async fn a_token_that_ends_ends_the_stream() {
    let world = world(StreamConfig { heartbeat_seconds: 1, ..StreamConfig::default() });
    let agent = world.agent("t", "a");
    let token = Token { lifetime: Duration::from_millis(300), check: Box::new(|| true) };
    let mut client = world.open_by("t", all(), None, token).unwrap();
    let valid = Arc::new(AtomicBool::new(true));
    let token = Token {
        lifetime: Duration::from_secs(3_600),
        check: {
            let valid = valid.clone();
            Box::new(move || valid.load(Ordering::Relaxed))
        },
    };
    let mut other = world.open_by("t", all(), None, token).unwrap();
    let end = event(&mut client).await;
    assert_eq!((&end["event"], &end["reason"]), (&"end".into(), &"token_expired".into()));
    assert_eq!(next(&mut client).await, None);
    assert_eq!(client.ended(), Some(End::TokenExpired));
    // A key that is withdrawn, though events keep coming.
    valid.store(false, Ordering::Relaxed);
    let end = loop {
        world.judge("t", agent, 1.0);
        let message = event(&mut other).await;
        if message["event"] != "health" {
            break message;
        }
    };
    assert_eq!((&end["event"], &end["reason"]), (&"end".into(), &"token_refused".into()));
}

#[tokio::test]
async fn heartbeats_move_the_place_to_resume_from() {
    let world = world(StreamConfig { heartbeat_seconds: 1, ..StreamConfig::default() });
    let agent = world.agent("t", "a");
    let mut client = world.open("t", Wanted { kinds: vec![Kind::Sla], ..Wanted::default() }, None).unwrap();
    let hello = next(&mut client).await.unwrap();
    world.judge("t", agent, 1.0);
    let beat = loop {
        let beat = next(&mut client).await.unwrap();
        assert_eq!(beat["event"], "heartbeat");
        if beat["id"] != hello["id"] {
            break beat;
        }
    };
    assert_eq!(beat["id"].as_u64(), hello["id"].as_u64().map(|id| id + 1));
}

#[tokio::test]
async fn a_hub_that_closes_ends_its_streams() {
    let world = world(StreamConfig::default());
    let mut client = world.open("t", all(), None).unwrap();
    let waits = tokio::spawn(async move { event(&mut client).await });
    world.hub.close();
    let end = tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap();
    assert_eq!((&end["event"], &end["reason"]), (&"end".into(), &"shutdown".into()));
    tokio::time::timeout(PATIENCE, world.hub.idle()).await.expect("nobody is left");
    assert_eq!(world.open("t", all(), None).err(), Some(Refusal::Stopping));
}

#[tokio::test]
async fn memory_is_shared_by_the_tenants() {
    let world = world(StreamConfig { buffer_bytes: 64 * 1024, ..StreamConfig::default() });
    let tenants: Vec<String> = (0..16).map(|at| format!("t{at}")).collect();
    for tenant in &tenants {
        let agent = world.agent(tenant, "a");
        for score in 0..200 {
            world.judge(tenant, agent, f64::from(score));
        }
    }
    let held: usize = tenants
        .iter()
        .map(|tenant| {
            let channel = world.hub.channel(&TenantId::from(tenant.as_str()));
            let ring = channel.events.read();
            ring.read(0, usize::MAX, usize::MAX, |_| true).events.iter().map(|event| event.weight()).sum::<usize>()
        })
        .sum();
    assert!(held <= 64 * 1024, "{held}");
}

#[tokio::test]
async fn each_kind_of_verdict_and_standing_is_sent() {
    let world = world(StreamConfig::default());
    let agent = world.agent("t", "a");
    let series = world.series("t", agent, "queue.length");
    let mut client = world.open("t", all(), None).unwrap();
    let change = StandingChange {
        agent,
        at: UnixNanos(1),
        liveness: Some(Liveness::OnTime),
        standing: CurrentHealth { status: HealthStatus::Healthy, score: Some(100.0) },
        before: None,
        since: UnixNanos(1),
        last_evidence: Some(UnixNanos(1)),
        reported: None,
        reasons: vec!["x".into()],
        is_gone: false,
    };
    let shown = Shown::of(change.standing, change.liveness, None, UnixNanos(1));
    let silent = StandingChange {
        liveness: Some(Liveness::Offline),
        standing: CurrentHealth { status: HealthStatus::Offline, score: Some(0.0) },
        before: Some(shown),
        ..change.clone()
    };
    let gone = StandingChange { liveness: None, standing: CurrentHealth::UNKNOWN, is_gone: true, ..silent.clone() };
    world.hub.observe(&EvaluationOutput { standings: vec![change, silent, gone], ..EvaluationOutput::default() });
    for (what, health, before) in
        [("appeared", "healthy", None), ("changed", "offline", Some("healthy")), ("gone", "unknown", Some("healthy"))]
    {
        let message = event(&mut client).await;
        assert_eq!((&message["change"], &message["health"]), (&what.into(), &health.into()), "{message}");
        assert_eq!(message["health_before"], before.map_or(Value::Null, Value::from));
    }
    let outlier = OutlierVerdict { series, value: 9.0, lower: 1.0, upper: 2.0, score: f64::INFINITY, window: 10 };
    world.found("t", agent, VerdictBody::Outlier(outlier));
    let message = event(&mut client).await;
    assert_eq!((&message["event"], &message["body"]["metric_name"]), (&"outlier".into(), &"queue.length".into()));
    assert_eq!(message["body"]["score"], Value::Null, "JSON has no infinity");
    let sla =
        SlaVerdict { target: 99.9, availability: f64::NAN, budget_left: 1.0, burn: [f64::NAN; 3], risk: Risk::Low };
    world.found("t", agent, VerdictBody::Sla(sla));
    assert_eq!(event(&mut client).await["body"]["risk"], "low");
}
