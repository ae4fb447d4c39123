//! What a browser asks for: the document, its files, its session; and how a session's cookie becomes a token.

use super::assets::{Asset, Assets};
use super::session::{Full, Session, Token};
use super::status;
use crate::auth::{Denied, scope_name};
use crate::expose::Rest;
use crate::expose::rest::error::{ApiError, ErrorBody};
use crate::expose::rest::{prefix, time::Time};
use crate::net::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use vitals_core::caller::{Caller, Scope};
use vitals_core::ids::UnixNanos;

/// The cookie that holds a session's secret.
const COOKIE: &str = "vitals_session";
/// What a request that changes something carries beside the cookie.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
/// What browsers say of where a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The views; each is the same document.
const VIEWS: [&str; 6] = ["/", "/agent", "/alerts", "/objectives", "/plugins", "/service"];
/// Most bytes of a request that signs in: a token is a line of text.
const MOST_SIGN_IN_BYTES: usize = 64 * 1024;

/// When to try again after too many have signed in.
const FULL_RETRY: Duration = Duration::from_secs(60);

/// Nothing but our own files, nothing inline, nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The routes of the page; none when it is switched off.
pub fn routes(rest: &Rest) -> Router<Arc<Rest>> {
    let mut routes = status::routes(&rest.config);
    if !rest.config.page {
        return routes;
    }
    for view in VIEWS {
        routes = routes.route(view, get(document));
    }
    routes
        .route("/assets/{hash}/{file}", get(file))
        .route("/favicon.ico", get(icon))
        .route("/session", get(session).post(sign_in).delete(sign_out))
        .route("/session/link", post(link))
}

/// The headers that everything of the page has.
pub fn guarded(headers: &mut HeaderMap) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether the client takes gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = matches!(weight.trim().trim_start_matches("q="), "0" | "0.0" | "0.00" | "0.000");
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

fn sent(asset: &Asset, headers: &HeaderMap, kept: &'static str) -> Response {
    let gzip = !asset.gzip.is_empty() && takes_gzip(headers);
    let mut response = Response::new(Body::from(if gzip { asset.gzip.clone() } else { asset.plain.clone() }));
    let answer = response.headers_mut();
    guarded(answer);
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

async fn document(headers: HeaderMap) -> Response {
    let assets = Assets::get();
    let tag = format!("\"{}\"", assets.hash);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        guarded(response.headers_mut());
        response
    } else {
        sent(&assets.document, &headers, "no-cache")
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn file(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let assets = Assets::get();
    match assets.file(&name).filter(|_| hash == assets.hash) {
        Some(asset) => sent(asset, &headers, "public, max-age=31536000, immutable"),
        None => ApiError::not_found("there is no such file").into_response(),
    }
}

async fn icon(headers: HeaderMap) -> Response {
    match Assets::get().file("icon.svg") {
        Some(asset) => sent(asset, &headers, "public, max-age=86400"),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Who is signed in, for the page itself.
#[derive(Serialize)]
struct Who {
    subject: String,
    tenant: String,
    /// Which agents may be seen; all when `None`.
    agents: Option<Vec<String>>,
    scopes: Vec<&'static str>,
    ends: Time,
    csrf: String,
}

fn who(session: &Session, caller: &Caller) -> Who {
    let scopes = caller.scopes.iter().map(|scope| scope_name(*scope));
    Who {
        subject: caller.subject.clone().unwrap_or_default(),
        tenant: caller.tenant.to_string(),
        agents: caller.agents.clone(),
        scopes: scopes.collect(),
        ends: Time(session.token.ends),
        csrf: session.csrf.clone(),
    }
}

fn told(rest: &Rest, who: Option<Who>) -> Response {
    let body = json!({"session": who, "version": env!("CARGO_PKG_VERSION"), "page": Assets::get().hash, "time": Time((rest.clock)())});
    let mut response = axum::Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn session(State(rest): State<Arc<Rest>>, headers: HeaderMap) -> Response {
    let found = of_cookie(&rest, &headers).filter(|_| is_own(&headers));
    let who = found.and_then(|(_, session)| {
        let (caller, _) = rest.auth.caller_until(Some(&bearer(&session.token.text))).ok()?;
        Some(who(&session, &caller))
    });
    told(&rest, who)
}

/// Either is enough.
#[derive(Deserialize)]
struct SignIn {
    token: Option<String>,
    code: Option<String>,
}

async fn sign_in(State(rest): State<Arc<Rest>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/json"));
    if !json || !is_own(&headers) {
        // A form of another site could sign somebody in as somebody else.
        return Ok(forbidden("signing in is for the page itself"));
    }
    let too_large = |_| ApiError::from(Refusal::BodyTooLarge { limit: MOST_SIGN_IN_BYTES });
    let bytes = axum::body::to_bytes(body, MOST_SIGN_IN_BYTES).await.map_err(too_large)?;
    let asked: SignIn = serde_json::from_slice(&bytes).map_err(|_| denied(Denied::Invalid))?;
    let now = (rest.clock)();
    let text = match (asked.token, asked.code) {
        (Some(token), _) => token.trim().trim_start_matches("Bearer ").trim().to_owned(),
        (None, Some(code)) => rest.page.sessions.follow(&code, now).ok_or_else(|| denied(Denied::Invalid))?.text,
        (None, None) => return Err(denied(Denied::Missing)),
    };
    let (caller, token) = checked(&rest, text)?;
    if !caller.may(Scope::Read) {
        return Err(Refusal::MissingScope(Scope::Read).into());
    }
    if let Some((old, _)) = of_cookie(&rest, &headers) {
        rest.page.sessions.end(&old);
    }
    let (secret, session) = rest.page.sessions.begin(token, now).map_err(full)?;
    let seconds = session.token.ends.since(now) / UnixNanos::SECOND;
    let mut response = told(&rest, Some(who(&session, &caller)));
    set_cookie(&rest, &headers, &mut response, &secret, seconds.max(1));
    Ok(response)
}

async fn sign_out(State(rest): State<Arc<Rest>>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some((secret, session)) = of_cookie(&rest, &headers) {
        if !may_change(&headers, &session) {
            return Ok(not_from_the_page());
        }
        rest.page.sessions.end(&secret);
    }
    let mut response = told(&rest, None);
    set_cookie(&rest, &headers, &mut response, "", 0);
    Ok(response)
}

/// A one-time link for who sends a token; a session cannot make one.
async fn link(State(rest): State<Arc<Rest>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.to_str().map_err(|_| Denied::NotBearer));
    let given = given.transpose().map_err(denied)?;
    if headers.contains_key(header::COOKIE) {
        return Ok(forbidden("a link is made with a token, not with a session"));
    }
    let text = given
        .ok_or(Denied::Missing)
        .and_then(|given| given.split_once(' ').ok_or(Denied::NotBearer))
        .map_err(denied)?
        .1
        .trim()
        .to_owned();
    let (_, token) = checked(&rest, text)?;
    let code = rest.page.sessions.link(token, (rest.clock)()).map_err(full)?;
    let body = json!({"path": format!("#open={code}"), "expires_in_seconds": super::session::LINK_SECONDS});
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

/// The token, if it is good.
fn checked(rest: &Rest, text: String) -> Result<(Caller, Token), ApiError> {
    let (caller, ends) = rest.auth.caller_until(Some(&bearer(&text))).map_err(denied)?;
    let owner = (caller.tenant.to_string(), caller.subject.clone().unwrap_or_default());
    Ok((caller, Token { text, owner, ends }))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn full(full: Full) -> ApiError {
    match full {
        Full::Many => Refusal::Overloaded { retry_after: FULL_RETRY }.into(),
        Full::Random => Refusal::Internal.into(),
    }
}

/// Turns the cookie of a session into its token, for the routes behind this. A request with a token of its own is left as it
/// is, and so is one that another site made.
pub async fn admit(State(rest): State<Arc<Rest>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !rest.config.page || headers.contains_key(header::AUTHORIZATION) || is_of_the_session(&request) {
        return next.run(request).await;
    }
    let Some((_, session)) = of_cookie(&rest, headers) else { return next.run(request).await };
    let trusted = if headers.contains_key(header::UPGRADE) {
        // A WebSocket has no token of ours to show; its origin is always told.
        is_same_origin(headers)
    } else {
        is_own(headers)
    };
    if !trusted {
        return next.run(request).await;
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && !may_change(headers, &session) {
        return not_from_the_page();
    }
    if let Ok(value) = HeaderValue::try_from(bearer(&session.token.text)) {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    next.run(request).await
}

/// Whether the route is one of the session's own, which look at the cookie themselves.
fn is_of_the_session(request: &Request) -> bool {
    // The route, not the path: there may be an agent that is called `session`.
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    route.ends_with("/session") || route.ends_with("/session/link")
}

fn not_from_the_page() -> Response {
    forbidden(&format!("a session may change something with the header {CSRF} of the page only"))
}

fn forbidden(detail: &str) -> Response {
    (StatusCode::FORBIDDEN, axum::Json(ErrorBody { detail: detail.to_owned() })).into_response()
}

fn denied(denied: Denied) -> ApiError {
    Refusal::from(denied).into()
}

/// Whether a request that changes something comes from our own page.
fn may_change(headers: &HeaderMap, session: &Session) -> bool {
    let given = headers.get(&CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
    is_own(headers) && super::session::are_same(given, session.csrf.as_bytes())
}

/// Whether the browser says that the request comes from our own origin, or says nothing.
fn is_own(headers: &HeaderMap) -> bool {
    headers.get(&SITE).is_none_or(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether the request's origin is told, and is the host that it asks.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = HeaderName::from_static("x-forwarded-host");
    let origin = text(&header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    origin.is_some_and(|origin| [&header::HOST, &forwarded].iter().any(|name| text(name) == Some(origin)))
}

/// The secret in the cookie and its session.
fn of_cookie(rest: &Rest, headers: &HeaderMap) -> Option<(String, Session)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let now = (rest.clock)();
    pairs
        .filter(|(name, _)| *name == COOKIE)
        .find_map(|(_, secret)| Some((secret.to_owned(), rest.page.sessions.find(secret, now)?)))
}

fn set_cookie(rest: &Rest, headers: &HeaderMap, response: &mut Response, secret: &str, seconds: i64) {
    let prefix = prefix::of(rest, headers);
    let over_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
        || headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if over_tls { "; Secure" } else { "" };
    let text = format!("{COOKIE}={secret}; Path={prefix}/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}
