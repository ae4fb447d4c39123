//! What can be said of a trap: the guest's own message, and where it happened.

use super::error::Failure;
use std::collections::BTreeSet;
use wasmtime::{FrameInfo, Trap, WasmBacktrace};

/// Functions of a backtrace that are named.
const MOST_FUNCTIONS: usize = 12;
/// Bytes of the guest's message that are kept.
const MOST_MESSAGE_BYTES: usize = 2048;

/// The failure that a trap is, with the last that the guest printed and the functions that were under way.
pub(super) fn failure(trap: Trap, error: &wasmtime::Error, printed: &[u8]) -> Failure {
    let names = functions(error);
    // Rust and C keep a stack of their own in memory, which may end first.
    let is_recursion = trap == Trap::StackOverflow || (trap == Trap::MemoryOutOfBounds && is_repetition(&names));
    let mut functions: Vec<String> = names.into_iter().filter(|name| !is_machinery(name)).collect();
    // Recursion shows one function again and again.
    functions.dedup();
    functions.truncate(MOST_FUNCTIONS);
    if is_recursion {
        return Failure::Recursion { functions };
    }
    Failure::Trap { message: message(printed).unwrap_or_else(|| trap.to_string()), functions }
}

/// The message of a panic, or whatever the guest printed at last.
fn message(printed: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_advice(line));
    // Rust prints "thread '<unnamed>' panicked at src/lib.rs:7:9:" and the message below; others print what they like.
    let panic = lines().position(|line| line.starts_with("thread '") && line.contains("panicked at"));
    let said: Vec<&str> = match panic {
        Some(at) => lines().skip(at).collect(),
        None => lines().next_back().into_iter().collect(),
    };
    if said.is_empty() {
        return None;
    }
    let mut said = said.join(" ");
    let end = (0..=MOST_MESSAGE_BYTES.min(said.len())).rev().find(|&at| said.is_char_boundary(at));
    said.truncate(end.unwrap_or_default());
    Some(said)
}

/// Whether a line only says how to get a backtrace, which a plugin's author cannot follow here.
fn is_advice(line: &str) -> bool {
    line.starts_with("note: run with `RUST_BACKTRACE")
}

/// The functions that were under way, the innermost first.
fn functions(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name =
        |frame: &FrameInfo| frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), readable);
    backtrace.frames().iter().map(name).collect()
}

/// Whether a backtrace, of which the engine keeps the innermost twenty functions, shows the same few again and again.
fn is_repetition(names: &[String]) -> bool {
    names.len() >= 16 && names.iter().collect::<BTreeSet<_>>().len() <= 4
}

/// A name as its author wrote it. Other languages than Rust have names that need no change.
fn readable(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"))
}

fn is_machinery(name: &str) -> bool {
    const OF_A_PANIC: [&str; 8] = [
        "std::panicking",
        "core::panicking",
        "std::process::abort",
        "std::sys",
        "__rustc",
        "abort",
        "std::rt",
        "rust_panic",
    ];
    OF_A_PANIC.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_that_of_the_panic_or_the_last_line() {
        let panic = "working\n\nthread '<unnamed>' (1) panicked at src/lib.rs:7:9:\nindex 3 of 2\nnote: run with \
                     `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        for (printed, expect) in [
            (panic, Some("thread '<unnamed>' (1) panicked at src/lib.rs:7:9: index 3 of 2")),
            ("one\ntwo\n\n", Some("two")),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(message(printed.as_bytes()).as_deref(), expect, "{printed:?}");
        }
        let long = "\u{fc}".repeat(5000);
        assert_eq!(message(long.as_bytes()).map(|said| said.len()), Some(MOST_MESSAGE_BYTES));
    }

    #[test]
    fn a_few_functions_again_and_again_are_recursion() {
        let names =
            |of: &[&str], count: usize| of.iter().cycle().take(count).map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(is_repetition(&names(&["a"], 20)) && is_repetition(&names(&["a", "b", "c"], 20)));
        assert!(!is_repetition(&names(&["a"], 5)) && !is_repetition(&names(&["a", "b", "c", "d", "e", "f"], 20)));
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(readable("_ZN7too_hot5judge17h0123456789abcdefE"), "too_hot::judge");
        assert_eq!(readable("PyEval_EvalFrame"), "PyEval_EvalFrame");
    }
}
