//! Whether the server, the token, the organisation and the bucket can be used, one step after the other.

use super::client::{Client, message};
use super::flux;
use crate::store::StoreConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vitals_core::store::StoreError;

const DAY_SECONDS: u64 = 86_400;

/// One line of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `server`, `token`, `organisation`, `bucket`, `read` or `write`.
    pub what: &'static str,
    /// What is so, or what is wrong and what to do.
    pub found: Result<String, String>,
}

/// Looks at each thing that writing and reading need, and stops where the rest cannot work. With `create`, a bucket that is
/// not there is made, with the longer one of the two retentions.
///
/// # Errors
/// When the settings cannot be used.
pub fn check(config: &StoreConfig, create: bool) -> Result<Vec<Finding>, StoreError> {
    let client = Client::new(&config.influxdb)?;
    let days = u64::from(config.sample_retention_days.max(config.verdict_retention_days));
    let mut findings = Vec::new();
    // Each step says what it found, and hands on what the next ones need.
    let mut step = |what, found: Result<(String, Value), String>| {
        let (text, value) = match found {
            Ok((text, value)) => (Ok(text), Some(value)),
            Err(text) => (Err(text), None),
        };
        findings.push(Finding { what, found: text });
        value
    };
    if step("server", server(&client)).is_none() {
        return Ok(findings);
    }
    let Some(org) = step("token", token(&client)) else { return Ok(findings) };
    let Some(org) = step("organisation", organisation(&client, &org)) else { return Ok(findings) };
    let bucket = match bucket(&client, days) {
        Ok(None) if create => create_bucket(&client, &org, days),
        Ok(None) => Err(format!("{} is not there; make it with `vitals store check --create`", client.config().bucket)),
        Ok(Some(text)) => Ok(text),
        Err(text) => Err(text),
    };
    if step("bucket", bucket.map(|text| (text, Value::Null))).is_some() {
        step("read", read(&client));
        step("write", write(&client));
    }
    Ok(findings)
}

fn server(client: &Client) -> Result<(String, Value), String> {
    let server = client.server();
    let unreachable =
        |reason| format!("{server} does not answer: {reason}; is store.influxdb.url right, and does it run?");
    let (status, body) = client.ask(Method::GET, "health", &[], None).map_err(unreachable)?;
    let health: Value = serde_json::from_str(&body).unwrap_or_default();
    let version = health.get("version").and_then(Value::as_str).unwrap_or("of an unknown version");
    match health.get("status").and_then(Value::as_str) {
        Some("pass") => Ok((format!("InfluxDB {version} at {server}"), Value::Null)),
        _ => Err(format!("{server} says {}; is that InfluxDB 2?", message(status, &body))),
    }
}

fn token(client: &Client) -> Result<(String, Value), String> {
    let query = [("org", client.config().org.as_str())];
    let (status, body) = client.ask(Method::GET, "api/v2/orgs", &query, None)?;
    match status {
        StatusCode::UNAUTHORIZED => Err(format!(
            "refused ({}); set VITALS__STORE__INFLUXDB__TOKEN or store.influxdb.token_file to one that is valid",
            message(status, &body)
        )),
        // Known, but the organisation is not.
        status if status.is_success() || status == StatusCode::NOT_FOUND => {
            Ok(("accepted".into(), serde_json::from_str(&body).unwrap_or_default()))
        }
        status => Err(message(status, &body)),
    }
}

fn organisation(client: &Client, found: &Value) -> Result<(String, Value), String> {
    let org = &client.config().org;
    let id = found.pointer("/orgs/0/id").cloned();
    match id {
        Some(id) => Ok((org.clone(), id)),
        None => Err(format!("{org} is not there, or the token may not see it; is store.influxdb.org right?")),
    }
}

/// What is known of the bucket; `None` when it is not there.
fn bucket(client: &Client, days: u64) -> Result<Option<String>, String> {
    let config = client.config();
    let query = [("org", config.org.as_str()), ("name", config.bucket.as_str())];
    let (status, body) = client.ask(Method::GET, "api/v2/buckets", &query, None)?;
    if !status.is_success() && status != StatusCode::NOT_FOUND {
        return Err(message(status, &body));
    }
    let found: Value = serde_json::from_str(&body).unwrap_or_default();
    let Some(bucket) = found.pointer("/buckets/0") else { return Ok(None) };
    let kept = bucket.pointer("/retentionRules/0/everySeconds").and_then(Value::as_u64).unwrap_or(0);
    if kept != 0 && kept < days * DAY_SECONDS {
        return Err(format!(
            "{} keeps {} days, the configuration says {days}; lengthen one or shorten the other",
            config.bucket,
            kept / DAY_SECONDS
        ));
    }
    let kept = if kept == 0 { "everything for ever".into() } else { format!("{} days", kept / DAY_SECONDS) };
    Ok(Some(format!("{}, keeps {kept}", config.bucket)))
}

/// Makes the bucket; `days` of 0 keep everything.
fn create_bucket(client: &Client, org: &Value, days: u64) -> Result<String, String> {
    let name = &client.config().bucket;
    let rules = if days == 0 { json!([]) } else { json!([{"type": "expire", "everySeconds": days * DAY_SECONDS}]) };
    let bucket = json!({"orgID": org, "name": name, "retentionRules": rules});
    let (status, body) = client.ask(Method::POST, "api/v2/buckets", &[], Some(bucket))?;
    if status.is_success() {
        return Ok(format!("{name}, made now, keeps {days} days"));
    }
    Err(format!("{name} cannot be made: {}; the token must be allowed to write buckets", message(status, &body)))
}

fn read(client: &Client) -> Result<(String, Value), String> {
    let script = format!("{} |> limit(n: 1)", flux::from(&client.config().bucket, 0, 1));
    match client.query(&script) {
        Ok(_) => Ok(("allowed".into(), Value::Null)),
        Err(error) => Err(format!("{error}; the token must be allowed to read the bucket")),
    }
}

/// A comment is what can be written without leaving anything.
fn write(client: &Client) -> Result<(String, Value), String> {
    let batch = super::batch::LineBatch::of(b"# vitals store check\n", 1);
    let (done, answer) = crossbeam_channel::bounded(1);
    client.write(batch.body, (), done);
    match answer.recv() {
        Ok(((), super::client::Written::All)) => Ok(("allowed".into(), Value::Null)),
        Ok(((), super::client::Written::Later { reason, .. })) => {
            Err(format!("{reason}; the token must be allowed to write to the bucket"))
        }
        Ok(((), other)) => Err(format!("an unexpected answer: {other:?}")),
        Err(_) => Err("no answer".into()),
    }
}

/// Makes a bucket that keeps everything, for tests.
#[cfg(test)]
pub(super) fn make_bucket(config: &super::InfluxConfig) {
    let client = Client::new(config).unwrap();
    let (_, found) = token(&client).unwrap();
    let (_, org) = organisation(&client, &found).unwrap();
    create_bucket(&client, &org, 0).unwrap();
}
