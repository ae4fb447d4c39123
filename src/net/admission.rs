//! Decides which connections are accepted: a limit for the listener, a limit for each peer address, and who makes room.

use super::activity::Activity;
use super::listener::ListenerLimits;
use super::peer::peer_key;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The connections of one listener, and the limits on their number.
pub struct Admission {
    open: Arc<OpenConnections>,
    max_connections: usize,
    max_per_peer: usize,
}

struct OpenConnections {
    table: Mutex<Table>,
    /// Signalled when a connection ends or becomes idle. The accept loop is the only one that waits for it.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, Entry>,
}

struct Entry {
    peer: IpAddr,
    activity: Arc<Activity>,
}

impl Table {
    /// The number of connections of `peer` that were not told to close.
    fn count_of(&self, peer: IpAddr) -> usize {
        self.connections.values().filter(|entry| entry.peer == peer && !entry.activity.is_closing()).count()
    }

    /// Tells the connection that is idle for the longest time to close, of `peer` or of all; false when none is idle.
    fn shed(&self, peer: Option<IpAddr>) -> bool {
        let candidates = self.connections.values().filter(|entry| peer.is_none_or(|peer| entry.peer == peer));
        let idle = candidates.filter_map(|entry| Some((entry.activity.idle_since()?, entry)));
        let oldest = idle.filter(|(_, entry)| !entry.activity.is_closing()).min_by_key(|(idle, _)| idle.since);
        oldest.is_some_and(|(_, entry)| entry.activity.close())
    }
}

impl Admission {
    /// Admission with the limits on connections in `limits`.
    pub fn new(limits: &ListenerLimits) -> Self {
        let open = OpenConnections { table: Mutex::default(), changed: Arc::default() };
        let max_per_peer =
            if limits.max_connections_per_peer == 0 { usize::MAX } else { limits.max_connections_per_peer };
        Self { open: Arc::new(open), max_connections: limits.max_connections.max(1), max_per_peer }
    }

    /// The next connection that is admitted, its peer, and its place among the open connections.
    ///
    /// When the listener is full, the connection that is idle for the longest time is closed; when all are busy, the new one
    /// waits, and further ones wait in the kernel's queue.
    pub async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Place)> {
        loop {
            let (stream, peer) = listener.accept().await?;
            if let Some(place) = self.place(peer.ip()).await {
                return Ok((stream, peer, place));
            }
            metrics::counter!("vitals_connections_refused_total", "reason" => "peer_limit").increment(1);
            tracing::debug!(%peer, limit = self.max_per_peer, "a peer has too many connections; a further one is closed");
        }
    }

    /// A place for a connection of `peer`; `None` when the peer has all that it may have, and all are busy.
    async fn place(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer_key(peer);
        // Whether somebody was told to make room for this connection: one is enough.
        let mut shed = false;
        loop {
            {
                let mut table = self.open.table.lock();
                if table.count_of(peer) >= self.max_per_peer {
                    if !table.shed(Some(peer)) {
                        return None;
                    }
                    shed = true;
                    metrics::counter!("vitals_connections_shed_total", "reason" => "peer_limit").increment(1);
                }
                if table.connections.len() < self.max_connections {
                    return Some(self.open.enter(&mut table, peer));
                }
                if !shed && table.shed(None) {
                    shed = true;
                    metrics::counter!("vitals_connections_shed_total", "reason" => "listener_full").increment(1);
                }
            }
            self.open.changed.notified().await;
        }
    }

    /// Resolves when no connection is open.
    pub async fn all_closed(&self) {
        while !self.open.table.lock().connections.is_empty() {
            self.open.changed.notified().await;
        }
    }
}

impl OpenConnections {
    fn enter(self: &Arc<Self>, table: &mut Table, peer: IpAddr) -> Place {
        let id = table.next;
        table.next += 1;
        let activity = Arc::new(Activity::new(self.changed.clone()));
        table.connections.insert(id, Entry { peer, activity: activity.clone() });
        Place { id, activity, open: self.clone() }
    }
}

/// A connection's place among the open connections of its listener; dropping it gives the place back.
pub struct Place {
    /// A number that no other connection of the listener has.
    pub id: u64,
    /// What the connection does.
    pub activity: Arc<Activity>,
    open: Arc<OpenConnections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.table.lock().connections.remove(&self.id);
        self.open.changed.notify_one();
    }
}
