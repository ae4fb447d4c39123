//! The page for people without a token: how chosen agents are, under names of their own.
//!
//! - [`compute`]: from intervals of agents to what a component was
//! - [`html`]: the page; [`badge`]: pictures of a state or an uptime
//!
//! What is shown is made at most once in [`FRESH`] however many ask, and holds the configured names only.

pub mod badge;
pub mod compute;
pub mod html;

use super::routes::guarded;
use crate::expose::rest::error::ApiError;
use crate::expose::{ExposeConfig, Rest};
use crate::net::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use compute::Shown;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use vitals_core::ids::UnixNanos;

/// How long an answer is given again, nanoseconds.
const FRESH: i64 = 15 * UnixNanos::SECOND;
/// The same for those who keep copies.
const KEPT: &str = "public, max-age=15";
/// Requests in a second, from all together; more is refused.
const MOST_A_SECOND: u32 = 200;
/// Most components.
const MOST_COMPONENTS: usize = 200;
/// The longest name, characters.
const LONGEST_NAME: usize = 100;

/// What people without a token see. Off without a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusConfig {
    /// Whose status it is.
    pub title: String,
    /// The tenant whose agents are shown.
    pub tenant: String,
    /// How many days back the bars go.
    pub days: u32,
    /// What is shown.
    pub components: Vec<ComponentConfig>,
}

/// One line of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComponentConfig {
    /// What people know it as.
    pub name: String,
    /// The heading that it stands under; none if empty.
    pub group: String,
    /// Patterns of the agents behind it.
    pub agents: Vec<String>,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self { title: "Status".to_owned(), tenant: "default".to_owned(), days: 90, components: Vec::new() }
    }
}

impl StatusConfig {
    /// Whether it can be shown.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=365).contains(&self.days) {
            return Err(format!("days is {}, must be 1 to 365", self.days));
        }
        if self.components.len() > MOST_COMPONENTS {
            return Err(format!("there are {} components, at most {MOST_COMPONENTS}", self.components.len()));
        }
        for (at, component) in self.components.iter().enumerate() {
            let name = &component.name;
            let sane = |text: &str| text.chars().count() <= LONGEST_NAME && !text.contains(['/', '\n']);
            if name.trim().is_empty() || !sane(name) || !sane(&component.group) {
                return Err(format!("component {} needs a name of 1 to {LONGEST_NAME} characters, without /", at + 1));
            }
            if component.agents.is_empty() {
                return Err(format!("{name:?} names no agents"));
            }
            if self.components[..at].iter().any(|other| other.name == *name) {
                return Err(format!("two components are named {name:?}"));
            }
        }
        Ok(())
    }
}

/// What was shown last, and how many asked.
#[derive(Debug, Default)]
pub struct Cache {
    /// Held while it is made, so that it is made once.
    made: tokio::sync::Mutex<Option<Made>>,
    /// A second, and requests in it.
    asked: Mutex<(i64, u32)>,
}

#[derive(Debug)]
struct Made {
    at: UnixNanos,
    of: StatusConfig,
    shown: Arc<Shown>,
}

impl Cache {
    fn allows(&self, now: UnixNanos) -> bool {
        let mut asked = self.asked.lock();
        let second = now.0 / UnixNanos::SECOND;
        if asked.0 != second {
            *asked = (second, 0);
        }
        asked.1 = asked.1.saturating_add(1);
        asked.1 <= MOST_A_SECOND
    }
}

/// The routes; none without a component.
pub fn routes(config: &ExposeConfig) -> Router<Arc<Rest>> {
    if !config.page || config.status_page.components.is_empty() {
        return Router::new();
    }
    Router::new()
        .route("/status", get(page))
        .route("/status.json", get(json))
        .route("/badge/{what}/{file}", get(picture))
}

async fn shown(rest: &Arc<Rest>) -> Result<Arc<Shown>, ApiError> {
    let now = (rest.clock)();
    if !rest.page.status.allows(now) {
        return Err(Refusal::Overloaded { retry_after: Duration::from_secs(1) }.into());
    }
    let config = &rest.config.status_page;
    let mut made = rest.page.status.made.lock().await;
    if let Some(made) = made.as_ref().filter(|made| made.of == *config && now.since(made.at).abs() < FRESH) {
        return Ok(made.shown.clone());
    }
    let asked = rest.clone();
    let computed = tokio::task::spawn_blocking(move || compute::shown(&asked, now)).await;
    let shown = Arc::new(computed.map_err(|_| ApiError::from(Refusal::Internal))??);
    *made = Some(Made { at: now, of: config.clone(), shown: shown.clone() });
    Ok(shown)
}

fn answer(media: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    guarded(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
    response
}

async fn page(State(rest): State<Arc<Rest>>) -> Result<Response, ApiError> {
    let shown = shown(&rest).await?;
    Ok(answer("text/html; charset=utf-8", html::page(&shown)))
}

async fn json(State(rest): State<Arc<Rest>>) -> Result<Response, ApiError> {
    let shown = shown(&rest).await?;
    let text = serde_json::to_string(&*shown).map_err(|_| ApiError::from(Refusal::Internal))?;
    Ok(answer("application/json", text))
}

async fn picture(
    State(rest): State<Arc<Rest>>,
    Path((what, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("there is no such badge");
    let name = file.strip_suffix(".svg").ok_or_else(missing)?;
    let shown = shown(&rest).await?;
    let component = shown.components.iter().find(|component| component.name == name).ok_or_else(missing)?;
    let picture = match what.as_str() {
        "state" => badge::state(component),
        "uptime" => badge::uptime(component, shown.days),
        _ => return Err(missing()),
    };
    let tag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(picture.as_bytes()));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut response = answer("image/svg+xml", picture);
    // A badge is for other pages to show.
    response.headers_mut().insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, agents: &[&str]) -> ComponentConfig {
        let agents = agents.iter().map(|&glob| glob.to_owned()).collect();
        ComponentConfig { name: name.to_owned(), group: String::new(), agents }
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        let with = |components: Vec<ComponentConfig>| StatusConfig { components, ..StatusConfig::default() }.check();
        assert_eq!(with(vec![]), Ok(()));
        assert_eq!(with(vec![component("Shop", &["web-*"]), component("Mail", &["*"])]), Ok(()));
        for (wrong, expect) in [
            (vec![component("", &["a"])], "needs a name"),
            (vec![component("a/b", &["a"])], "needs a name"),
            (vec![component("Shop", &[])], "names no agents"),
            (vec![component("Shop", &["a"]), component("Shop", &["b"])], "two components"),
            (vec![component(&"x".repeat(101), &["a"])], "needs a name"),
        ] {
            assert!(with(wrong).unwrap_err().contains(expect), "{expect}");
        }
        assert!(StatusConfig { days: 0, ..StatusConfig::default() }.check().is_err());
    }

    #[test]
    fn more_than_enough_requests_are_refused_until_the_next_second() {
        let cache = Cache::default();
        let now = UnixNanos(5 * UnixNanos::SECOND);
        let allowed = (0..MOST_A_SECOND * 2).filter(|_| cache.allows(now)).count();
        assert_eq!(allowed, MOST_A_SECOND as usize);
        assert!(cache.allows(now.plus(UnixNanos::SECOND)));
    }
}
