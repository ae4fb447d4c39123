//! Takes alerts by webhook, verifies their signatures (Standard Webhooks) and prints them.
//!
//!     ON_CALL_SECRET=whsec_... cargo run -p webhook-receiver -- 127.0.0.1:9000
//!
//! The service needs a channel with the same secret:
//!
//!     [[channels]]
//!     name = "on-call"
//!     kind = "webhook"
//!     url = "http://127.0.0.1:9000/"
//!     secret_env = "ON_CALL_SECRET"

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

struct Receiver {
    webhook: Webhook,
    /// A notification may come twice; its id is the same then.
    seen: Mutex<HashSet<String>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let secret = env::var("ON_CALL_SECRET").map_err(|_| "ON_CALL_SECRET is not set")?;
    // Text without the prefix is the key itself.
    let webhook = match secret.starts_with("whsec_") {
        true => Webhook::new(&secret)?,
        false => Webhook::from_bytes(secret.into_bytes())?,
    };
    let receiver = Arc::new(Receiver { webhook, seen: Mutex::default() });
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/", post(receive)).with_state(receiver)).await?;
    Ok(())
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Err(error) = receiver.webhook.verify(&body, &headers) {
        eprintln!("refused: {error}");
        return StatusCode::UNAUTHORIZED;
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    if !receiver.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
        return StatusCode::OK;
    }
    let Ok(alert) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
    println!("{} {} {}: {}", text("event"), text("severity"), text("agent"), text("message"));
    StatusCode::OK
}
