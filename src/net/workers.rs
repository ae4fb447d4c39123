//! Threads of their own for what a request costs before it can be answered: decompression, reading, registering.
//!
//! They are few, so that a flood of costly requests leaves the processor to those that answer, and their queue is fair: each
//! connection with work waiting gets its turn, whatever the others have queued. Short work and long work have threads of their own, so
//! that nothing short waits behind what takes long.

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// How long work takes, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Some milliseconds at most.
    Short,
    /// Longer.
    Long,
}

/// Threads that work for the connections of all listeners.
pub struct Workers {
    short: Lane,
    long: Lane,
}

impl Workers {
    /// As many threads for short work as the machine has processors, half as many for long work.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(processors, processors.div_ceil(2))
    }

    /// So many threads for short and for long work.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn with_threads(short: usize, long: usize) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { short: Lane::start("decode", short)?, long: Lane::start("decode-long", long)? }))
    }

    /// Does `work` for the connection from `peer`, in its turn; `None` when it panicked, or the service stops.
    /// When nobody waits for the answer any more, work that was not begun is not done.
    pub async fn run<T: Send + 'static>(
        &self,
        length: Length,
        peer: SocketAddr,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let job = Box::new(move || {
            if !done.is_closed() {
                // Who left meanwhile does not hear of it.
                drop(done.send(work()));
            }
        });
        let lane = match length {
            Length::Short => &self.short,
            Length::Long => &self.long,
        };
        lane.push(peer, job);
        answer.await.ok()
    }
}

/// A queue with threads that work it off; they end when it is dropped.
struct Lane(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<FairQueue>,
    changed: Condvar,
}

impl Lane {
    fn start(name: &str, threads: usize) -> std::io::Result<Self> {
        let lane = Self(Arc::default());
        for at in 0..threads.max(1) {
            let shared = lane.0.clone();
            std::thread::Builder::new().name(format!("{name}-{at}")).spawn(move || shared.work())?;
        }
        Ok(lane)
    }

    fn push(&self, peer: SocketAddr, job: Job) {
        self.0.queue.lock().push(peer, job);
        self.0.changed.notify_one();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.queue.lock().close();
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                if queue.closed {
                    return;
                }
                if let Some(job) = queue.pop() {
                    break job;
                }
                self.changed.wait(&mut queue);
            };
            drop(queue);
            // A bug in reading a request must not take the thread from all others. The requester sees that there is no answer.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("reading a request panicked");
            }
        }
    }
}

/// Jobs by connection, which take turns.
#[derive(Default)]
struct FairQueue {
    jobs: HashMap<SocketAddr, VecDeque<Job>>,
    /// Those that have jobs, each once.
    turns: VecDeque<SocketAddr>,
    closed: bool,
}

impl FairQueue {
    fn push(&mut self, peer: SocketAddr, job: Job) {
        if self.closed {
            return;
        }
        let jobs = self.jobs.entry(peer).or_default();
        if jobs.is_empty() {
            self.turns.push_back(peer);
        }
        jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let peer = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&peer)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        job
    }

    /// Drops all jobs, which tells those who wait for them.
    fn close(&mut self) {
        self.closed = true;
        self.jobs.clear();
        self.turns.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// Occupies the only thread of short work until what is returned is dropped.
    async fn occupied(workers: &Arc<Workers>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begin) = oneshot::channel();
        let busy = workers.clone();
        tokio::spawn(async move {
            let work = move || {
                let _ = begun.send(());
                let _ = released.recv();
            };
            busy.run(Length::Short, peer(1), work).await
        });
        begin.await.unwrap();
        release
    }

    #[tokio::test]
    async fn connections_take_turns_and_short_work_does_not_wait_for_long_work() {
        let workers = Workers::with_threads(1, 1).unwrap();
        let release = occupied(&workers).await;
        // Long work goes on meanwhile.
        assert_eq!(workers.run(Length::Long, peer(1), || 7).await, Some(7));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (port, name) in [(1, "flood 1"), (1, "flood 2"), (1, "flood 3"), (2, "other"), (3, "third")] {
            let (noted, workers) = (order.clone(), workers.clone());
            let job = async move { workers.run(Length::Short, peer(port), move || noted.lock().push(name)).await };
            let mut job = Box::pin(job);
            // The first poll puts it into the queue.
            assert!(futures_now(&mut job).await.is_none());
            waiting.push(job);
        }
        // Nobody waits for this one any more.
        drop(waiting.remove(2));
        drop(release);
        for job in waiting {
            assert_eq!(job.await, Some(()));
        }
        assert_eq!(*order.lock(), ["flood 1", "other", "third", "flood 2"]);
    }

    #[tokio::test]
    async fn work_that_panics_costs_its_own_request_only() {
        let workers = Workers::with_threads(1, 1).unwrap();
        assert_eq!(workers.run(Length::Short, peer(1), || panic!("on purpose")).await, None::<()>);
        assert_eq!(workers.run(Length::Short, peer(1), || 1).await, Some(1));
    }

    #[tokio::test]
    async fn who_waits_hears_that_the_workers_end() {
        let workers = Workers::with_threads(1, 1).unwrap();
        let release = occupied(&workers).await;
        let lane = Lane(workers.short.0.clone());
        let mut waiting = Box::pin(workers.run(Length::Short, peer(2), || ()));
        assert!(futures_now(&mut waiting).await.is_none());
        drop(lane);
        assert_eq!(waiting.await, None);
        drop(release);
    }

    /// What `future` gives without waiting.
    async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
