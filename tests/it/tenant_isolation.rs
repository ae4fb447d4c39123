//! Two tenants, two agent scopes, read-only and write-only: through every route of the document, with nothing leaking.

use crate::service::{Client, eventually, start};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use vitals::auth::TokenRequest;
use vitals::pipeline::Service;

/// What one agent is made of. Its word is in its id, its names, its places and its metrics.
struct Agent {
    tenant: &'static str,
    word: &'static str,
    id: &'static str,
    series: Vec<u64>,
    alert: String,
}

/// Each tenant has an agent `web-...` that beats and a system `db-...` that reports.
const AGENTS: [(&str, &str, &str); 4] = [
    ("red", "crimson", "web-crimson"),
    ("red", "scarlet", "db-scarlet"),
    ("blue", "azure", "web-azure"),
    ("blue", "indigo", "db-indigo"),
];

/// A token, and what it may see and do.
struct Viewer {
    name: String,
    tenant: &'static str,
    globs: Option<&'static [&'static str]>,
    scope: Option<&'static str>,
    client: Client,
}

impl Viewer {
    fn of(
        service: &Service,
        tenant: &'static str,
        globs: Option<&'static [&'static str]>,
        scope: Option<&'static str>,
    ) -> Self {
        let mut client = Client::of(service, None, None);
        client.token = service
            .auth()
            .issue(TokenRequest {
                subject: "viewer".to_owned(),
                email: "viewer@example.com".to_owned(),
                tenant: Some(tenant.to_owned()),
                agents: globs.map(|globs| globs.iter().map(|&glob| glob.to_owned()).collect()),
                ttl: Duration::from_secs(600),
                scope: scope.map(str::to_owned),
            })
            .expect("a key of our own signs");
        Self { name: format!("{tenant} {globs:?} {scope:?}"), tenant, globs, scope, client }
    }

    fn may_touch(&self, id: &str) -> bool {
        self.globs.is_none_or(|globs| globs.iter().any(|glob| id.starts_with(glob.trim_end_matches('*'))))
    }

    fn sees(&self, agent: &Agent) -> bool {
        self.tenant == agent.tenant && self.may_touch(agent.id)
    }

    fn may(&self, scope: &str) -> bool {
        self.scope.is_none_or(|own| own == scope)
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// A body like the document's example, about `id`, with the word in whatever else names something.
fn body(example: &Value, id: &str, word: &str) -> Value {
    let mut body = example.clone();
    rewrite(&mut body, id, word);
    body
}

fn rewrite(value: &mut Value, id: &str, word: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "agent_id" | "system_id" | "target_id" => *field = id.into(),
                    "agent_name"
                    | "geographic_location"
                    | "availability_zone"
                    | "region"
                    | "environment"
                    | "metric_name"
                    | "component_name"
                    | "service_name" => *field = format!("{name} {word}").into(),
                    "timestamp" | "end_time" | "batch_timestamp" => *field = now().into(),
                    "start_time" => *field = (jiff::Timestamp::now() - Duration::from_secs(3600)).to_string().into(),
                    // Names are unique in a request, and these would all be the same.
                    "metrics" => {
                        if let Some(items) = field.as_array_mut() {
                            items.truncate(1);
                        }
                        rewrite(field, id, word);
                    }
                    "agents" => *field = json!([id]),
                    "environments" => *field = json!([]),
                    _ => rewrite(field, id, word),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, id, word)),
        _ => {}
    }
}

/// What of `agent` is in an answer, beside what the request itself said: `sent`, its path and body.
fn leaks(answer: &Value, agent: &Agent, sent: &str) -> Vec<String> {
    let mut text = answer.to_string();
    let mut sent = sent.to_owned();
    let mut found = Vec::new();
    for secret in [agent.id, agent.alert.as_str(), agent.word] {
        if sent.contains(secret) {
            text = text.replace(secret, "");
            sent = sent.replace(secret, "");
        }
        if text.contains(secret) {
            found.push(secret.to_owned());
        }
    }
    let mut series = BTreeSet::new();
    series_in(answer, &mut series);
    found.extend(agent.series.iter().filter(|id| series.contains(id)).map(|id| format!("series {id}")));
    found
}

/// Every series number in an answer.
fn series_in(value: &Value, out: &mut BTreeSet<u64>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let (true, Some(number)) = (name == "series_id", field.as_u64()) {
                    out.insert(number);
                }
                series_in(field, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| series_in(item, out)),
        _ => {}
    }
}

/// One route of the document.
struct Route {
    id: String,
    method: String,
    path: String,
    query: Vec<String>,
    example: Option<Value>,
    /// The statuses that the document gives.
    answers: Vec<u16>,
}

impl Route {
    fn writes(&self) -> bool {
        [
            "heartbeat",
            "system_metrics",
            "batch",
            "maintenance",
            "change_maintenance",
            "cancel_maintenance",
            "retire_agent",
        ]
        .contains(&self.id.as_str())
            || self.is_of_alert()
    }

    /// Whether it is about one alert.
    fn is_of_alert(&self) -> bool {
        self.path.contains("/alerts/{id}/")
    }

    /// Whether it makes what it speaks of: asked by another tenant, that is something of its own.
    fn makes(&self) -> bool {
        ["heartbeat", "system_metrics", "batch", "maintenance"].contains(&self.id.as_str())
    }

    /// Whether it would take away what the other requests are about.
    fn ends(&self, viewer: &Viewer, agent: &Agent) -> bool {
        self.id == "retire_agent" && viewer.may("telemetry:write") && viewer.sees(agent)
    }

    /// With what it may be answered when `viewer` asks about `agent`.
    fn expected(&self, viewer: &Viewer, agent: &Agent, named: bool) -> &'static [u16] {
        let scope = if self.writes() { "telemetry:write" } else { "telemetry:read" };
        if !viewer.may(scope) {
            &[403]
        } else if self.path.contains("/maintenance/") {
            // What is asked for there is the id of an alert.
            &[404]
        } else if self.id == "ws" {
            // It asks for no WebSocket.
            &[426]
        } else if ["stream", "windows", "audit"].contains(&self.id.as_str()) {
            // Agents are a filter there, of those that are not known too: of none there is nothing to hear.
            &[200]
        } else if self.id == "silence_alert" && viewer.sees(agent) {
            // Another viewer may have closed it.
            &[200, 409]
        } else if !named || viewer.sees(agent) {
            &[200, 201, 202]
        } else if self.id == "batch" {
            // Each of its items fails for itself.
            &[202]
        } else if self.id == "samples" || self.is_of_alert() {
            // What has no name but a number of ours is not there.
            &[404]
        } else if viewer.tenant == agent.tenant {
            &[403]
        } else if self.id == "dashboard" {
            // Names are filters there: none of its own fits.
            &[200, 403]
        } else {
            &[403, 404]
        }
    }

    /// The ways to ask it about `agent`, each with whether the agent is named.
    fn requests(&self, agent: &Agent) -> Vec<(String, Option<Value>, bool)> {
        let id = if self.path.contains("/series/") { agent.series[0].to_string() } else { agent.alert.clone() };
        let named = self.path.contains('{');
        let path = self.path.replace("{agent_id}", agent.id).replace("{target_id}", agent.id).replace("{id}", &id);
        let example = self.example.as_ref().map(|example| body(example, agent.id, agent.word));
        let about = example.as_ref().is_some_and(|body| body.to_string().contains(agent.id));
        let mut all = Vec::new();
        if self.query.iter().any(|name| name == "agent") {
            all.push((format!("{path}?agent={}", agent.id), None, true));
        }
        if self.id == "dashboard" {
            let mut body = example.clone().expect("the document has an example");
            body["agent_ids"] = json!([agent.id]);
            all.push((path.clone(), Some(body), true));
        }
        if self.id != "series" {
            all.push((path, example, named || about));
        }
        all
    }
}

fn routes(document: &Value) -> Vec<Route> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            all.push(Route {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                query: parameters.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect(),
                example: operation["requestBody"]["content"]["application/json"].get("example").cloned(),
                answers: operation["responses"]
                    .as_object()
                    .expect("answers")
                    .keys()
                    .filter_map(|key| key.parse().ok())
                    .collect(),
            });
        }
    }
    all
}

async fn ask(client: &Client, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let base = client.base.trim_end_matches("/api/v1/telemetry");
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.http.request(method, format!("{base}{path}")).bearer_auth(&client.token);
    if let Some(body) = body {
        request = request.json(body);
    }
    let mut answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    if answer.headers().get("content-type").is_some_and(|media| media == "text/event-stream") {
        // It does not end by itself; the walls of what comes later are those of `stream.rs`.
        let first = answer.chunk().await.expect("a message").unwrap_or_default();
        return (status, Value::from(String::from_utf8_lossy(&first)));
    }
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::from(text)))
}

/// Makes the agents, each with an alert, by its tenant's own token.
async fn settle(service: &Service, routes: &[Route]) -> Vec<Agent> {
    let example = |id: &str| {
        let route = routes.iter().find(|route| route.id == id).expect("a route");
        route.example.clone().expect("an example")
    };
    let mut agents = Vec::new();
    for (tenant, word, id) in AGENTS {
        let owner = Viewer::of(service, tenant, None, None);
        let (route, mut body) = if id.starts_with("web") {
            ("/heartbeat", body(&example("heartbeat"), id, word))
        } else {
            ("/system-metrics", body(&example("system_metrics"), id, word))
        };
        if route == "/heartbeat" {
            body["cpu_usage_percent"] = json!(97);
        } else {
            body["metrics"][0] = json!({
                "metric_name": format!("metric {word}"), "metric_type": "cpu_usage", "value": 97, "unit": "%",
            });
        }
        let (status, answer) = owner.client.post(route, &body).await;
        assert_eq!(status, 201, "{answer}");
        let alert = answer["alerts_generated"][0]["alert_id"].as_str().expect("an alert").to_owned();
        let (_, list) = owner.client.get(&format!("/series?agent={id}")).await;
        let series =
            list["series"].as_array().expect("a list").iter().map(|one| one["series_id"].as_u64().expect("a number"));
        agents.push(Agent { tenant, word, id, series: series.collect(), alert });
    }
    agents
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaks_through_any_route() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let anyone = Client::of(&service, None, None);
    let (_, document) = ask(&anyone, "GET", "/openapi.json", None).await;
    let routes = routes(&document);
    assert!(routes.len() >= 20, "the whole document: {}", routes.len());
    let agents = settle(&service, &routes).await;
    let mut viewers = Vec::new();
    for tenant in ["red", "blue"] {
        for globs in [None, Some(&["web-*"][..]), Some(&["db-*"][..])] {
            for scope in [None, Some("telemetry:read"), Some("telemetry:write")] {
                viewers.push(Viewer::of(&service, tenant, globs, scope));
            }
        }
    }
    let mut asked = 0;
    for route in &routes {
        for viewer in &viewers {
            for agent in &agents {
                for (path, body, named) in route.requests(agent) {
                    if route.makes() && viewer.tenant != agent.tenant || route.ends(viewer, agent) {
                        continue;
                    }
                    asked += 1;
                    let place = format!("{} {path} of {}", route.method, viewer.name);
                    let sent = format!("{path} {}", body.as_ref().map(Value::to_string).unwrap_or_default());
                    let (status, answer) = ask(&viewer.client, &route.method, &path, body.as_ref()).await;
                    for other in agents.iter().filter(|other| !viewer.sees(other)) {
                        let found = leaks(&answer, other, &sent);
                        assert!(found.is_empty(), "{place} shows {found:?} of {}: {answer}", other.id);
                    }
                    if path.starts_with("/session") {
                        // A bearer token makes no session, and the example's token is nobody's.
                        assert!(route.answers.contains(&status), "{place}: {status} {answer}");
                        continue;
                    }
                    if !path.starts_with("/api/") {
                        assert_eq!(status, 200, "{place}");
                        continue;
                    }
                    let expect = route.expected(viewer, agent, named);
                    assert!(expect.contains(&status), "{place} about {}: {status} {answer}", agent.id);
                    if route.id == "batch" && status == 202 && !viewer.sees(agent) {
                        assert_eq!(answer["processed_heartbeats"], 0, "{place}");
                        assert_eq!(answer["processed_metrics"], 0, "{place}");
                    }
                    counts(&place, &route.id, named, &answer, status, viewer, &agents);
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
    // Whoever asked, each tenant has what it had.
    for tenant in ["red", "blue"] {
        let owner = Viewer::of(&service, tenant, None, None);
        let (_, list) = owner.client.get("/agents").await;
        assert_eq!(list["total"], 2, "{list}");
    }
    service.stop().await;
}

/// Numbers are of what the viewer sees.
fn counts(place: &str, route: &str, named: bool, answer: &Value, status: u16, viewer: &Viewer, agents: &[Agent]) {
    if status != 200 || named {
        return;
    }
    let seen = agents.iter().filter(|agent| viewer.sees(agent)).count() as u64;
    match route {
        "agents" => assert_eq!(answer["total"], seen, "{place}: {answer}"),
        "dashboard" => {
            let total = |summary: &str| answer[summary]["total"].as_u64().expect("a number");
            assert_eq!(total("agent_summary") + total("system_summary"), seen, "{place}: {answer}");
        }
        _ => {}
    }
}

/// The same id in two tenants is two agents.
#[tokio::test(flavor = "multi_thread")]
async fn one_name_in_two_tenants_is_two_agents() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let beat = |cpu: f64| {
        json!({
            "agent_info": {"agent_id": "web-1", "agent_version": "1", "environment": format!("env {cpu}")},
            "health_status": "healthy", "timestamp": now(), "cpu_usage_percent": cpu,
        })
    };
    let viewers = ["red", "blue"].map(|tenant| Viewer::of(&service, tenant, None, None));
    for (viewer, cpu) in viewers.iter().zip([97.0, 12.0]) {
        assert_eq!(viewer.client.post("/heartbeat", &beat(cpu)).await.0, 201);
    }
    for (viewer, cpu, health) in [(&viewers[0], 97.0, "critical"), (&viewers[1], 12.0, "healthy")] {
        let values =
            eventually(async || viewer.client.values("web-1", "cpu_usage_percent").await, |found| !found.is_empty());
        assert_eq!(values.await, [cpu]);
        let (_, list) = viewer.client.get("/agents").await;
        assert_eq!((&list["agents"][0]["health"], &list["total"]), (&json!(health), &json!(1)));
        let (_, alerts) = viewer.client.get("/alerts").await;
        // One on the CPU, one on the health.
        assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(if cpu > 95.0 { 2 } else { 0 }), "{alerts}");
    }
    service.stop().await;
}
