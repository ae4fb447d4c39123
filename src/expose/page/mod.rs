//! The page: static files, and the sessions of those who look at it.
//!
//! - [`assets`]: HTML, style sheets and modules, hashed and compressed once
//! - [`document`]: the OpenAPI description of the routes here
//! - [`session`]: who is signed in, and one-time links; in memory, so a restart signs everybody out
//! - [`mod@routes`]: what a browser asks for, and how a session's cookie becomes a token
//! - [`status`]: the page and the badges for people without a token
//!
//! What the page shows comes from the same routes as for everybody else, with the token of the session.

pub mod assets;
pub mod document;
pub mod routes;
pub mod session;
pub mod status;

pub use routes::{admit, routes};

/// What the page keeps between requests.
#[derive(Debug, Default)]
pub struct Page {
    /// Who is signed in.
    pub sessions: session::Sessions,
    /// The status page as it was made last.
    pub status: status::Cache,
}
