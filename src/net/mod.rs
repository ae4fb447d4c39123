//! Serving over the network: what the listeners for OTLP/gRPC, OTLP/HTTP and REST share.
//!
//! - `listener`: the accept loop, with the limits of a listener and the end of its service
//! - `admission`: which connections are accepted, and which make room for them
//! - `activity`: the requests under way on a connection
//! - `peer`: what counts as one peer
//! - `workers`: threads for what a request costs before it is answered
//! - `host`: whether a request names a host that this service has
//! - `files`: the limit on open files, and what connections get of it
//! - `connection`: one connection from its first byte to its last, with its time limits
//! - `lingering`: ends a connection without cutting off the last answer
//! - `stalled`: ends a connection whose client does not read
//! - `head`: limits on the head of a request
//! - `budget`: the bytes of requests that may be in the process at once
//! - `refusal`: why a request is not served, and what that is in gRPC, in OTLP/HTTP and in REST
//! - `cors`: pages of other origins

mod activity;
mod admission;
mod budget;
mod connection;
mod cors;
mod files;
mod head;
mod host;
mod lingering;
mod listener;
mod peer;
mod refusal;
mod stalled;
mod workers;

pub use budget::{ByteBudget, Permit};
pub use connection::ConnectionFailure;
pub use cors::{CorsConfig, CorsError};
pub use files::{ConnectionLimits, raise_open_file_limit};
pub use head::{CORRELATION, MOST_HEAD_BYTES, head_bytes, waits_for_continue};
pub use host::HostCheck;
pub use listener::{ConnectionSlot, ListenerLimits, Protocols, RequestHandler, serve};
pub use refusal::{Refusal, RestAnswer};
pub use workers::{Length, Workers};
