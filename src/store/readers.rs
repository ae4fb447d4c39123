//! Connections for reading.

use super::schema::{self, io};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use vitals_core::store::StoreError;

/// Connections that are kept for the next question.
const IDLE_READERS: usize = 8;

/// Connections for reading.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// What `read` says of each connection that waits for a question.
    #[cfg(test)]
    pub(super) fn idle<T>(&self, read: fn(&Connection) -> T) -> Vec<T> {
        self.idle.lock().iter().map(read).collect()
    }

    /// A read transaction that sees the file as it is now.
    pub(super) fn begin(&self) -> Result<Snapshot<'_>, StoreError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::connect(&self.path)?,
        };
        let snapshot = Snapshot { readers: self, connection: Some(connection) };
        snapshot.get()?.execute_batch("BEGIN").map_err(io)?;
        // The first read is what fixes the view.
        snapshot.get()?.query_row("SELECT count(*) FROM checkpoint", [], |_| Ok(())).map_err(io)?;
        Ok(snapshot)
    }
}

/// A view of the file that does not change.
pub(super) struct Snapshot<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Snapshot<'_> {
    pub(super) fn get(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or_else(|| StoreError::Io("the connection is gone".into()))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // A connection that cannot end its transaction is closed instead of kept.
        if connection.execute_batch("COMMIT").is_ok() {
            let mut idle = self.readers.idle.lock();
            if idle.len() < IDLE_READERS {
                idle.push(connection);
            }
        }
    }
}
