//! Requests to InfluxDB, and what their answers mean.
//!
//! The client has a runtime of its own: whoever asks may be inside another one, or in none.

use super::config::{InfluxConfig, Secret};
use bytes::Bytes;
use crossbeam_channel::Sender;
use hashbrown::HashSet;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use std::time::Duration;
use tokio::runtime::Runtime;
use vitals_core::store::StoreError;

/// Bytes of an answer to a write that are looked at.
const ANSWER_BYTES: usize = 1 << 20;
const CONNECT: Duration = Duration::from_secs(5);

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All lines are stored.
    All,
    /// All lines but these are stored; sent again they would be refused again.
    But {
        /// How many are not.
        refused: u64,
        /// Why.
        reason: String,
    },
    /// Nothing is stored, because of some lines.
    None {
        /// Those that the answer names.
        named: HashSet<String>,
        /// Why.
        reason: String,
    },
    /// Nothing is stored, because it is too much at once.
    TooLarge,
    /// Nothing is stored; the same may be taken later.
    Later {
        /// Why.
        reason: String,
        /// When, as the server says.
        after: Option<Duration>,
    },
}

/// The connection to one organisation and bucket.
pub(super) struct Client {
    config: InfluxConfig,
    base: Url,
    http: reqwest::Client,
    token: Mutex<Secret>,
    runtime: Option<Runtime>,
}

impl Client {
    pub(super) fn new(config: &InfluxConfig) -> Result<Self, StoreError> {
        config.check().map_err(StoreError::Io)?;
        let wrong = |error: String| StoreError::Io(format!("store.influxdb: {error}"));
        let base = Url::parse(&config.url).map_err(|error| wrong(error.to_string()))?;
        let timeout = Duration::from_secs(config.timeout_seconds);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("influxdb")
            .enable_all()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT.min(timeout))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        // A file that is not there yet may come.
        let token = config.read_token().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Secret::default()
        });
        Ok(Self { config: config.clone(), base, http, token: Mutex::new(token), runtime: Some(runtime) })
    }

    /// The server's address, without a name and a password that it may hold.
    pub(super) fn server(&self) -> String {
        let mut url = self.base.clone();
        // Neither can fail for a URL that has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.to_string()
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url.query_pairs_mut().extend_pairs(query);
        let request = self.http.request(method, url);
        let token = self.token.lock().0.clone();
        if token.is_empty() { request } else { request.header(AUTHORIZATION, format!("Token {token}")) }
    }

    /// Reads the token again: it may have been changed.
    pub(super) fn refresh_token(&self) {
        if let Ok(token) = self.config.read_token() {
            *self.token.lock() = token;
        }
    }

    /// Sends a gzip body of line protocol; what became of it goes to `done`, together with `of`.
    pub(super) fn write<T: Send + 'static>(&self, body: Bytes, of: T, done: Sender<(T, Written)>) {
        let query = [("org", &*self.config.org), ("bucket", &*self.config.bucket), ("precision", "ns")];
        let request = self
            .request(Method::POST, "api/v2/write", &query)
            .header(CONTENT_ENCODING, "gzip")
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(body);
        let send = async move {
            let written = match request.send().await {
                Err(error) => Written::Later { reason: reason(&error), after: None },
                Ok(answer) => read_answer(answer).await,
            };
            // Whoever waited is gone only when the store closes; then it is sent again at the next start.
            let _ = done.send((of, written));
        };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(send);
        }
    }

    /// Sends a request and waits for the whole answer, wherever it is called.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<serde_json::Value>,
    ) -> Result<(StatusCode, String), String> {
        let mut request = self.request(method, path, query);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (sender, answer) = crossbeam_channel::bounded(1);
        let send = async move {
            let answer = match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    answer.text().await.map(|text| (status, text))
                }
                Err(error) => Err(error),
            };
            // Fails only when nobody waits any more.
            let _ = sender.send(answer.map_err(|error| reason(&error)));
        };
        let Some(runtime) = &self.runtime else { return Err("the store is closed".into()) };
        runtime.spawn(send);
        answer.recv().unwrap_or_else(|_| Err("the store is closed".into()))
    }

    /// The answer to a Flux script, as CSV.
    pub(super) fn query(&self, flux: &str) -> Result<String, StoreError> {
        let body = serde_json::json!({
            "query": flux, "type": "flux",
            "dialect": {"header": true, "annotations": [], "dateTimeFormat": "RFC3339Nano"},
        });
        let failed = |reason: String| StoreError::Io(format!("InfluxDB at {}: {reason}", self.server()));
        let query = [("org", &*self.config.org)];
        let (status, text) = self.ask(Method::POST, "api/v2/query", &query, Some(body)).map_err(failed)?;
        if status == StatusCode::UNAUTHORIZED {
            self.refresh_token();
        }
        if status.is_success() { Ok(text) } else { Err(failed(message(status, &text))) }
    }

    pub(super) fn config(&self) -> &InfluxConfig {
        &self.config
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Dropped like anything else it would wait for its threads, which is forbidden inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An error with its causes.
fn reason(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        cause = error.source();
        // The outer ones repeat the address and say nothing else.
        if cause.is_none() && !text.ends_with("in time") {
            text = error.to_string();
        }
    }
    text
}

/// The message of an answer that is no success.
pub(super) fn message(status: StatusCode, body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    // 2.x says `message`, 1.x and 3.x say `error`.
    let text = parsed.as_ref().and_then(|json| json.get("message").or_else(|| json.get("error")));
    match text.and_then(|text| text.as_str()) {
        Some(text) => format!("{status}: {text}"),
        None => format!("{status}: {}", body.chars().take(200).collect::<String>().trim()),
    }
}

async fn read_answer(mut answer: reqwest::Response) -> Written {
    let status = answer.status();
    if status.is_success() {
        return Written::All;
    }
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            break;
        }
    }
    interpret(status, after.map(Duration::from_secs), &String::from_utf8_lossy(&body))
}

/// What an answer that is no success means. Whatever is not known to be the lines' fault is tried again, so that a
/// mistake in the configuration costs nothing.
fn interpret(status: StatusCode, after: Option<Duration>, body: &str) -> Written {
    let reason = message(status, body);
    let of_lines = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if of_lines && reason.contains("partial write") {
        // 2.x counts in the text, 3.x lists the lines.
        let listed = || {
            let json: serde_json::Value = serde_json::from_str(body).ok()?;
            Some(json.get("data")?.as_array()?.len() as u64)
        };
        let refused = dropped(&reason).or_else(listed).unwrap_or(1);
        return Written::But { refused, reason };
    }
    if of_lines && reason.contains("unable to parse") {
        return Written::None { named: named(&reason), reason };
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Written::TooLarge;
    }
    Written::Later { reason, after }
}

/// The number in `dropped=3`.
fn dropped(text: &str) -> Option<u64> {
    let digits = text.rsplit_once("dropped=")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// The lines of `unable to parse '...': why`, one a line of text.
fn named(text: &str) -> HashSet<String> {
    let lines = text.split("unable to parse '").skip(1);
    lines.filter_map(|rest| Some(rest.rsplit_once("': ")?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_they_were_seen() {
        let later = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(matches!(interpret(status, None, body), Written::Later { .. }), "{status} {body}");
        };
        later(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#);
        later(404, r#"{"code":"not found","message":"bucket \"nope\" not found"}"#);
        later(429, "");
        later(500, "<html>");
        later(503, r#"{"code":"unavailable"}"#);
        later(400, r#"{"code":"invalid","message":"invalid precision"}"#);
        let conflict = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"gauge\" on measurement \"m\" is type integer, already exists as type float dropped=12"}"#;
        let found = interpret(StatusCode::UNPROCESSABLE_ENTITY, None, conflict);
        assert!(matches!(found, Written::But { refused: 12, .. }), "{found:?}");
        let v3 = r#"{"error":"partial write of line protocol occurred","data":[{"line_number":2},{"line_number":5}]}"#;
        let found = interpret(StatusCode::BAD_REQUEST, None, v3);
        assert!(matches!(found, Written::But { refused: 2, .. }), "{found:?}");
        let parse = r#"{"code":"invalid","message":"unable to parse 'bad line': invalid field format\nunable to parse 'm a='b': x': missing value"}"#;
        let Written::None { named, .. } = interpret(StatusCode::BAD_REQUEST, None, parse) else { panic!() };
        assert_eq!(named, ["bad line", "m a='b': x"].map(String::from).into_iter().collect());
        assert_eq!(interpret(StatusCode::PAYLOAD_TOO_LARGE, None, "{}"), Written::TooLarge);
    }
}
