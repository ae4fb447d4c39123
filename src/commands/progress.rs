//! One line on the terminal that says how far something is; a log line when there is no terminal.

use parking_lot::Mutex;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What is under way, in the words of whoever does it.
static STAGE: Mutex<String> = Mutex::new(String::new());
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Without a terminal, a line this often is enough.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Says what is under way, e.g. `replaying the log: 3 of 8 partitions`. Shown only while [`during`] watches and it
/// takes longer than a second.
pub fn stage(text: impl Into<String>) {
    *STAGE.lock() = text.into();
}

/// Replaces the line on the terminal.
pub fn show(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        SHOWN.store(true, Ordering::Relaxed);
        // A terminal that cannot be written to has nobody to tell.
        let _ = write!(stderr, "\r\x1b[K{text}");
        let _ = stderr.flush();
    }
}

/// Removes the line, so that something else can be written.
pub fn clear() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// Runs `work`, and shows the stage once it has taken a second. A thread of its own watches, as start-up may keep
/// every other thread busy.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    stage(what);
    let (done, is_done) = mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || watch(&is_done));
    let result = work.await;
    drop(done);
    // It ends at once: its channel is closed.
    let _ = watcher.join();
    clear();
    result
}

fn watch(is_done: &mpsc::Receiver<()>) {
    let begun = Instant::now();
    let mut logged = begun;
    while is_done.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
        let stage = STAGE.lock().clone();
        show(&format!("{stage} ({} s)", begun.elapsed().as_secs()));
        if !std::io::stderr().is_terminal() && logged.elapsed() >= LOG_EVERY {
            logged = Instant::now();
            tracing::info!(seconds = begun.elapsed().as_secs(), "{stage}");
        }
    }
}
