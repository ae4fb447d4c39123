//! The log that plugins write to: under the plugin's name, capped.

use super::abi;
use super::guest::Guest;
use std::time::{Duration, Instant};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// Longest entry, bytes.
const LONGEST_ENTRY: usize = 4096;
/// Most entries of one instance in a second.
const MOST_ENTRIES: u32 = 100;

/// What one instance may still write.
pub(super) struct LogRoom {
    since: Instant,
    entries: u32,
}

impl Default for LogRoom {
    fn default() -> Self {
        Self { since: Instant::now(), entries: 0 }
    }
}

impl LogRoom {
    /// Whether one more entry may be written.
    fn take(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::default();
        }
        self.entries = self.entries.saturating_add(1);
        self.entries <= MOST_ENTRIES
    }
}

/// Offers the log.
pub(super) fn add_log(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut log = linker.instance(abi::LOG)?;
    log.func_wrap("write", |mut caller: StoreContextMut<'_, Guest>, (level, message): (abi::Level, String)| {
        let guest = caller.data_mut();
        let plugin = guest.name.clone();
        if !guest.log_room.take() {
            metrics::counter!("vitals_plugin_log_dropped_total", "plugin" => plugin).increment(1);
            return Ok(());
        }
        let text = cut(&message);
        if text.len() < message.len() {
            metrics::counter!("vitals_plugin_log_cut_total", "plugin" => plugin.clone()).increment(1);
        }
        match level {
            abi::Level::Debug => tracing::debug!(plugin, "{text}"),
            abi::Level::Info => tracing::info!(plugin, "{text}"),
            abi::Level::Warn => tracing::warn!(plugin, "{text}"),
            abi::Level::Error => tracing::error!(plugin, "{text}"),
        }
        Ok(())
    })
}

/// The beginning of a text, as long as an entry may be.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_ENTRY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}é{}", "a".repeat(LONGEST_ENTRY - 1), "b".repeat(10));
        assert_eq!(cut(&long), "a".repeat(LONGEST_ENTRY - 1));
    }

    #[test]
    fn there_are_not_too_many_entries() {
        let mut room = LogRoom::default();
        assert_eq!((0..1000).filter(|_| room.take()).count(), MOST_ENTRIES as usize);
        room.since = Instant::now().checked_sub(Duration::from_secs(2)).expect("the machine has run for two seconds");
        assert!(room.take());
    }
}
