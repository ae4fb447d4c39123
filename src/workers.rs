//! The threads and tasks of a service: one that dies of a panic is noticed, and so ends the service rather than its work alone.
//!
//! [`ServiceWorkers::within`] makes a set of workers that of the current thread; what is started there by [`spawn`] or [`spawn_task`], and
//! what those start in turn, belongs to it.

use parking_lot::Mutex;
use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;

thread_local! {
    static CURRENT: RefCell<Option<ServiceWorkers>> = const { RefCell::new(None) };
}

/// The threads and tasks of one service.
#[derive(Clone)]
pub struct ServiceWorkers {
    died: Arc<Mutex<Option<String>>>,
    changed: watch::Sender<bool>,
}

impl Default for ServiceWorkers {
    fn default() -> Self {
        Self { died: Arc::default(), changed: watch::Sender::new(false) }
    }
}

impl ServiceWorkers {
    /// What is started while `f` runs belongs to these workers.
    pub fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let result = f();
        CURRENT.set(before);
        result
    }

    /// Which worker died first, and of what; `None` while all live.
    #[must_use]
    pub fn death(&self) -> Option<String> {
        self.died.lock().clone()
    }

    /// Resolves when a worker has died, with which and of what.
    pub async fn wait_for_death(&self) -> String {
        let mut changed = self.changed.subscribe();
        // An error would mean that the sender is gone, which `self` has.
        let _ = changed.wait_for(|died| *died).await;
        self.death().unwrap_or_default()
    }

    fn note_death(&self, name: &str, panic: &(dyn Any + Send)) {
        let why = message(panic);
        tracing::error!(worker = name, why, "a part of the service ended in a panic; the service stops");
        self.died.lock().get_or_insert_with(|| format!("the worker {name} ended in a panic: {why}"));
        self.changed.send_replace(true);
    }
}

/// The words of a panic.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "of no known reason".to_owned())
}

/// The workers that the current thread belongs to.
#[must_use]
pub fn current() -> Option<ServiceWorkers> {
    CURRENT.with_borrow(Clone::clone)
}

/// Starts a thread of the current workers. Its panic is noted there, and found by who joins it, too.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    let (workers, worker) = (current(), name.to_owned());
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        CURRENT.set(workers.clone());
        catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
            if let Some(workers) = workers {
                workers.note_death(&worker, panic.as_ref());
            }
            resume_unwind(panic)
        })
    })
}

/// Starts a task of the current workers; as [`spawn`].
pub fn spawn_task<T: Send + 'static>(
    name: &'static str,
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let workers = current();
    let mut task = Box::pin(task);
    tokio::spawn(poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))).unwrap_or_else(|panic| {
            if let Some(workers) = &workers {
                workers.note_death(name, panic.as_ref());
            }
            resume_unwind(panic)
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_dies_is_noted_and_so_is_one_that_it_started() {
        for is_nested in [false, true] {
            let workers = ServiceWorkers::default();
            let good = workers.within(|| spawn("good", || 7)).expect("a thread");
            assert_eq!(good.join().expect("it lives"), 7);
            assert_eq!(workers.death(), None);
            let dies = workers.within(|| {
                spawn("outer", move || {
                    if is_nested {
                        spawn("inner", || panic!("on purpose")).expect("a thread").join().expect("it panics");
                    }
                    panic!("{}", "of itself");
                })
            });
            assert!(dies.expect("a thread").join().is_err());
            let expect = if is_nested { ("inner", "on purpose") } else { ("outer", "of itself") };
            assert_eq!(workers.death(), Some(format!("the worker {} ended in a panic: {}", expect.0, expect.1)));
        }
        assert!(current().is_none());
    }

    #[tokio::test]
    async fn a_task_that_dies_is_noted() {
        let workers = ServiceWorkers::default();
        let task = workers.within(|| spawn_task("listener", async { panic!("on purpose") }));
        let task: tokio::task::JoinHandle<()> = task;
        assert!(task.await.is_err());
        assert_eq!(workers.wait_for_death().await, "the worker listener ended in a panic: on purpose");
    }
}
