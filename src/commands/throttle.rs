//! Holds back lines of the log that come again and again, and says how many: a client that fails thousands of times a second
//! must not fill the disk with that, or hide what else is wrong.

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::subscriber::Subscriber;
use tracing::{Event, Level, Metadata, callsite};
use tracing_subscriber::layer::{Context, Filter};

/// Most lines from one place in the code in a [`WINDOW`].
const MOST_LINES: u32 = 20;
/// How long lines are counted before they are written again.
const WINDOW: Duration = Duration::from_secs(10);

/// Lets through the first lines of each place in the code, and counts those that follow. Lines that are there for debugging are
/// all let through.
#[derive(Clone, Default)]
pub struct Throttle(Arc<Mutex<HashMap<callsite::Identifier, Repetition>>>);

struct Repetition {
    since: Instant,
    lines: u32,
    held_back: u64,
    /// Of the first line that was held back.
    message: String,
    target: &'static str,
}

/// Lines of one place in the code that were held back.
#[derive(Debug, PartialEq, Eq)]
pub struct HeldBack {
    pub message: String,
    pub target: &'static str,
    pub lines: u64,
}

impl Throttle {
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut places = self.0.lock();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Repetition {
            since: now,
            lines: 0,
            held_back: 0,
            message: String::new(),
            target: metadata.target(),
        });
        if now.duration_since(place.since) >= WINDOW {
            (place.since, place.lines) = (now, 0);
        }
        if place.lines < MOST_LINES {
            place.lines += 1;
            return true;
        }
        if place.held_back == 0 {
            place.message.clear();
            event.record(&mut MessageOf(&mut place.message));
        }
        place.held_back += 1;
        false
    }

    /// What was held back since this was asked before.
    fn held_back(&self) -> Vec<HeldBack> {
        let mut places = self.0.lock();
        let counted = places.values_mut().filter(|place| place.held_back > 0);
        counted
            .map(|place| HeldBack {
                message: std::mem::take(&mut place.message),
                target: place.target,
                lines: std::mem::take(&mut place.held_back),
            })
            .collect()
    }

    /// Writes a line for each place whose lines were held back.
    fn report(&self) {
        for HeldBack { message, target, lines } in self.held_back() {
            tracing::warn!(lines, from = target, "repeated lines were left out, the first of them: {message}");
        }
    }

    /// Reports from now on, as long as the process lives.
    pub fn report_regularly(&self) {
        let throttle = self.clone();
        let report = move || {
            loop {
                std::thread::sleep(WINDOW);
                throttle.report();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("log-counts".to_owned()).spawn(report) {
            tracing::warn!(%error, "lines of the log that are held back will not be counted");
        }
    }
}

impl<S: Subscriber> Filter<S> for Throttle {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

/// Keeps the message of an event.
struct MessageOf<'m>(&'m mut String);

impl Visit for MessageOf<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, Registry};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn repeated_lines_are_counted_and_others_written() {
        let (written, throttle) = (Written::default(), Throttle::default());
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(written.clone());
        let subscriber = Registry::default().with(lines.with_filter(throttle.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for connection in 0..1_000 {
                tracing::warn!(connection, "a reset");
                tracing::debug!(connection, "looked at");
            }
            tracing::warn!("something else");
            throttle.report();
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let count = |word: &str| text.lines().filter(|line| line.contains(word)).count();
        assert_eq!(count("WARN") - count("left out"), MOST_LINES as usize + 1, "{text}");
        assert_eq!((count("looked at"), count("something else")), (1_000, 1));
        assert!(text.contains("the first of them: a reset lines=980"), "{text}");
        assert_eq!(throttle.held_back(), []);
    }

    #[test]
    fn a_line_is_written_again_after_a_while() {
        let throttle = Throttle::default();
        let places = Arc::new(Mutex::new(Vec::new()));
        // Asks the throttle at moments of the test's own.
        struct Asking(Throttle, Arc<Mutex<Vec<bool>>>, Arc<Mutex<Instant>>);
        impl<S: Subscriber> tracing_subscriber::Layer<S> for Asking {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.1.lock().push(self.0.admits(event, *self.2.lock()));
            }
        }
        let now = Arc::new(Mutex::new(Instant::now()));
        let asking = Asking(throttle.clone(), places.clone(), now.clone());
        tracing::subscriber::with_default(Registry::default().with(asking), || {
            for window in 0..2 {
                for _ in 0..MOST_LINES + 5 {
                    tracing::error!(window, "the same");
                }
                *now.lock() += WINDOW;
            }
        });
        let admitted = places.lock().iter().filter(|admitted| **admitted).count();
        assert_eq!(admitted, 2 * MOST_LINES as usize);
        assert_eq!(throttle.held_back().iter().map(|held| held.lines).sum::<u64>(), 10);
    }
}
