//! The stages know the domain and themselves, never each other: only `pipeline` wires them together.

use std::fs;
use std::path::{Path, PathBuf};

const STAGES: [&str; 6] = ["receive", "normalize", "log", "evaluate", "store", "expose"];

/// What a stage may name of this crate beside itself: whose request it serves is told by the token, and what all
/// listeners have in common, the clock, the lock on a file, and for tests the store and the log in memory.
const SHARED: [&str; 5] = ["auth", "clock", "file_lock", "net", "testing"];

#[test]
fn modules_do_not_import_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for stage in STAGES {
        for file in rust_files(&src.join(stage)) {
            let code = code(&fs::read_to_string(&file).unwrap());
            for name in names_after_crate(&code) {
                if name != stage && !SHARED.contains(&name) {
                    wrong.push(format!("{}: crate::{name}", file.display()));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "stages import vitals_core, the shared modules and themselves only:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn core_does_no_io() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/src");
    let outside = ["std::fs", "std::net", "std::io", "std::process", "std::thread", "SystemTime", "Instant", "tokio"];
    let mut wrong = Vec::new();
    for file in rust_files(&core) {
        let code = code(&fs::read_to_string(&file).unwrap());
        for name in outside.iter().filter(|name| code.contains(**name)) {
            wrong.push(format!("{}: {name}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "core does no I/O and asks no clock:\n{}", wrong.join("\n"));
}

#[test]
fn the_names_after_crate_are_found() {
    for (text, expect) in [
        ("use crate::store::EmbeddedStore;", vec!["store"]),
        ("use crate::{log, store::Block};\nuse crate::auth;", vec!["log", "store", "auth"]),
        ("use crate::{\n    log::{Log, Other},\n    store, // where it ends\n};", vec!["log", "store"]),
        ("    crate::auth::Auth::new(crate::log::X)", vec!["auth", "log"]),
        ("use crate::evaluate::{host, run::Evaluator};", vec!["evaluate"]),
        ("use vitals_core::store::Store; // crate::store", vec![]),
    ] {
        assert_eq!(names_after_crate(&code(text)), expect, "{text}");
    }
}

/// Every `.rs` file below `folder`.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no source in {}", folder.display());
    found
}

/// The text without its line comments: documentation may link to other stages.
pub fn code(text: &str) -> String {
    text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// The first name of each path that begins with `crate::`, of each path in braces if it is a list.
fn names_after_crate(code: &str) -> Vec<&str> {
    code.split("crate::").skip(1).flat_map(first_names).collect()
}

fn first_names(path: &str) -> Vec<&str> {
    let Some(list) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(name(list[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The identifier at the beginning of `path`.
fn name(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}
