//! InfluxDB as the store: the suite against a real server, the same answers as the embedded store, and a server that fails.

mod differential;
mod failing;
mod lines;
mod server;

use super::super::conformance::{self, Subject};
use super::line::{EARLIEST, LATEST};

fn subject() -> Option<Subject> {
    let server = server::server()?;
    let open = Box::new(move |folder: &std::path::Path| server.open(folder));
    Some(Subject { open, nan: false, times: EARLIEST..=LATEST - 1, cases: 4, counts: false })
}

conformance::suite!(subject);
