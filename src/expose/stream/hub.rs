//! Where evaluation leaves what it made, and clients pick it up.
//!
//! Evaluation serialises an event once, puts it into its tenant's ring and rings one bell; it never waits for a client, and what it
//! does does not grow with their number. A task wakes the clients a few times a second, so that many events cost a client one
//! wake.

use super::StreamConfig;
use super::event::{Event, Kind, Subject};
use super::produce::Seen;
use super::ring::Ring;
use crate::workers;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use vitals_core::ids::{AgentId, SeriesId, TenantId};
use vitals_core::registry::Registry;

/// How long events gather before clients are woken.
const GATHER: Duration = Duration::from_millis(25);
/// Most series that all clients together may follow.
const MOST_SERIES: usize = 20_000;

/// One tenant's events.
pub(super) struct Channel {
    pub(super) events: RwLock<Ring>,
    /// Apart, so that they do not push the others out.
    pub(super) samples: RwLock<Ring>,
    /// Wakes the clients.
    pub(super) wake: Notify,
    has_news: AtomicBool,
}

impl Channel {
    /// Adds an event with the next id.
    pub(super) fn publish(&self, kind: Kind, subject: Subject, body: &str) {
        {
            let mut ring = self.events.write();
            let event = Event::new(Some(ring.next_id()), kind, subject, body);
            ring.push(Arc::new(event));
        }
        self.has_news.store(true, Ordering::Release);
    }

    pub(super) fn publish_samples(&self, subject: Subject, body: &str) {
        let event = Event::new(None, Kind::Sample, subject, body);
        self.samples.write().push(Arc::new(event));
        self.has_news.store(true, Ordering::Release);
    }
}

/// A series that somebody follows.
#[derive(Clone)]
pub(super) struct Followed {
    clients: usize,
    pub(super) channel: Arc<Channel>,
    pub(super) agent: AgentId,
    pub(super) agent_id: String,
}

/// Why there is no stream for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// All places are taken.
    #[error("there are as many streams as there may be ({0}); try again later, or raise expose.stream.max_streams")]
    Streams(usize),
    /// This tenant has its share, and few places are left for the others.
    #[error("the tenant has {0} streams, its share of those that are left; close some, or try again later")]
    Share(usize),
    /// So many series cannot be followed.
    #[error("all streams together follow {MOST_SERIES} series, which is the most; choose fewer, or try again later")]
    Series,
    /// The service stops.
    #[error("the service is stopping")]
    Stopping,
}

#[derive(Default)]
struct Places {
    taken: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// All streams of the service.
pub struct Hub {
    config: StreamConfig,
    pub(super) registry: Arc<Registry>,
    /// Ids begin behind this: later than those of any run before.
    start: u64,
    channels: RwLock<HashMap<TenantId, Arc<Channel>>>,
    followed: RwLock<HashMap<u32, Followed>>,
    /// How many series are followed, to be asked without a lock.
    follows: AtomicUsize,
    places: Mutex<Places>,
    pub(super) seen: Mutex<Seen>,
    bell: Notify,
    closing: AtomicBool,
    /// Rings when a place becomes free.
    freed: Notify,
}

/// Microseconds since 1970: below 2^53 for two more centuries, and no run makes a million events a second for all its time.
fn first_id() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

impl Hub {
    /// No streams yet. Must be called inside a tokio runtime, which runs what wakes clients.
    #[must_use]
    pub fn new(config: &StreamConfig, registry: Arc<Registry>) -> Arc<Self> {
        let hub = Arc::new(Self {
            config: config.clone(),
            registry,
            start: first_id(),
            channels: RwLock::default(),
            followed: RwLock::default(),
            follows: AtomicUsize::new(0),
            places: Mutex::default(),
            seen: Mutex::default(),
            bell: Notify::new(),
            closing: AtomicBool::new(false),
            freed: Notify::new(),
        });
        workers::spawn_task("streams", wake_clients(Arc::downgrade(&hub)));
        hub
    }

    pub(super) fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The id before the first one of this run.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The events of `tenant`, made at its first use. Each tenant has the same share of the memory.
    pub(super) fn channel(&self, tenant: &TenantId) -> Arc<Channel> {
        if let Some(found) = self.channels.read().get(tenant) {
            return found.clone();
        }
        let mut channels = self.channels.write();
        if let Some(found) = channels.get(tenant) {
            return found.clone();
        }
        let share = self.config.buffer_bytes / (channels.len() + 1) / 2;
        for channel in channels.values() {
            channel.events.write().set_most_bytes(share);
            channel.samples.write().set_most_bytes(share);
        }
        let channel = Arc::new(Channel {
            events: RwLock::new(Ring::new(self.start, share)),
            samples: RwLock::new(Ring::new(self.start, share)),
            wake: Notify::new(),
            has_news: AtomicBool::new(false),
        });
        channels.insert(tenant.clone(), channel.clone());
        channel
    }

    /// Says that there are news.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Takes a place for a stream of `tenant`.
    pub(super) fn take_place(self: &Arc<Self>, tenant: &TenantId) -> Result<Place, Refusal> {
        let most = self.config.max_streams;
        let mut places = self.places.lock();
        if self.is_closing() {
            return Err(Refusal::Stopping);
        }
        let own = places.by_tenant.get(tenant).copied().unwrap_or(0);
        let refusal = if places.taken >= most {
            Some(Refusal::Streams(most))
        } else if places.taken >= most - most / 4 && own >= most / 4 && own < places.taken {
            // The last quarter is for those who have little of the rest.
            Some(Refusal::Share(own))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            metrics::counter!("vitals_streams_refused_total").increment(1);
            return Err(refusal);
        }
        places.taken += 1;
        *places.by_tenant.entry(tenant.clone()).or_default() += 1;
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("vitals_streams").set(places.taken as f64);
        Ok(Place { hub: self.clone(), tenant: tenant.clone() })
    }

    fn give_back(&self, tenant: &TenantId) {
        let mut places = self.places.lock();
        places.taken -= 1;
        if let Some(own) = places.by_tenant.get_mut(tenant) {
            *own -= 1;
            if *own == 0 {
                places.by_tenant.remove(tenant);
            }
        }
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!("vitals_streams").set(places.taken as f64);
        drop(places);
        self.freed.notify_waiters();
    }

    /// Follows series, which exist, until the answer is dropped.
    pub(super) fn follow(self: &Arc<Self>, channel: &Arc<Channel>, series: &[SeriesId]) -> Result<Following, Refusal> {
        let mut followed = self.followed.write();
        let new = series.iter().filter(|id| !followed.contains_key(&id.0)).count();
        if followed.len() + new > MOST_SERIES {
            return Err(Refusal::Series);
        }
        let mut own = Vec::with_capacity(series.len());
        for id in series {
            let Some(desc) = self.registry.series(*id) else { continue };
            let agent_id = self.registry.agent(desc.agent).map(|agent| agent.key.clone()).unwrap_or_default();
            let entry = followed.entry(id.0).or_insert_with(|| Followed {
                clients: 0,
                channel: channel.clone(),
                agent: desc.agent,
                agent_id,
            });
            entry.clients += 1;
            own.push(id.0);
        }
        self.follows.store(followed.len(), Ordering::Release);
        drop(followed);
        Ok(Following { hub: self.clone(), series: own })
    }

    /// Whether any series is followed.
    pub(super) fn follows_any(&self) -> bool {
        self.follows.load(Ordering::Acquire) > 0
    }

    /// Shows the series that are followed.
    pub(super) fn with_followed<T>(&self, show: impl FnOnce(&HashMap<u32, Followed>) -> T) -> T {
        show(&self.followed.read())
    }

    /// Whether the service stops.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Ends all streams, and gives no more.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for channel in self.channels.read().values() {
            channel.wake.notify_waiters();
        }
        self.bell.notify_one();
    }

    /// Resolves when no stream is open.
    pub async fn idle(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.places.lock().taken == 0 {
                return;
            }
            freed.await;
        }
    }

    /// How many streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.places.lock().taken
    }
}

/// Wakes the clients of tenants that have news, until the hub is gone.
async fn wake_clients(hub: Weak<Hub>) {
    loop {
        // No reference is held over the sleep, so that the hub can go.
        let Some(alive) = hub.upgrade() else { return };
        if alive.is_closing() {
            return;
        }
        // A bell that nobody rings must not keep the hub for ever.
        let _ = tokio::time::timeout(Duration::from_secs(1), alive.bell.notified()).await;
        for channel in alive.channels.read().values() {
            if channel.has_news.swap(false, Ordering::AcqRel) {
                channel.wake.notify_waiters();
            }
        }
        drop(alive);
        tokio::time::sleep(GATHER).await;
    }
}

/// A place for a stream, given back when it is dropped.
pub(super) struct Place {
    hub: Arc<Hub>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.give_back(&self.tenant);
    }
}

/// Series that a client follows.
pub(super) struct Following {
    hub: Arc<Hub>,
    series: Vec<u32>,
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self.hub.followed.write();
        for id in &self.series {
            if let Some(entry) = followed.get_mut(id) {
                entry.clients -= 1;
                if entry.clients == 0 {
                    followed.remove(id);
                }
            }
        }
        self.hub.follows.store(followed.len(), Ordering::Release);
    }
}
