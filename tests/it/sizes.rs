//! Files and functions stay small enough to be read.

use crate::modules::rust_files;
use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES_OF_A_FILE: usize = 600;
const MOST_LINES_OF_A_FUNCTION: usize = 80;

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "core", "tests", "benches", "plugins/sdk", "plugins/hostile", "examples"];
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| rust_files(&root.join(folder))).collect();
    files.retain(|file| !file.components().any(|part| part.as_os_str() == "target"));
    files
}

/// The functions of formatted code: first line (from 1), name, how many lines. A body ends with the first `}` at the
/// indentation of its `fn`.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let Some(name) = function_name(text) else { continue };
        let indentation = line.len() - text.len();
        let is_end =
            |line: &&str| line.len() - line.trim_start().len() == indentation && line.trim_start().starts_with('}');
        let is_declaration = lines[at..].iter().take_while(|line| !line.contains('{')).any(|line| line.ends_with(';'));
        if is_declaration || line.ends_with('}') {
            continue;
        }
        let length = lines[at + 1..].iter().position(is_end).map_or(lines.len() - at, |end| end + 2);
        found.push((at + 1, name, length));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    let is_modifier = |word: &&str| matches!(*word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub(");
    let first = words.find(|word| !is_modifier(word) && *word != "super)" && *word != "crate)")?;
    if first != "fn" {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

#[test]
fn files_and_functions_are_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut large, mut seen) = (Vec::new(), 0);
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root).unwrap().display().to_string();
        let lines = text.lines().count();
        if lines > MOST_LINES_OF_A_FILE {
            large.push(format!("{name}: {lines} lines"));
        }
        for (at, function, length) in functions(&text) {
            seen += 1;
            if length > MOST_LINES_OF_A_FUNCTION {
                large.push(format!("{name}:{at}: {function} has {length} lines"));
            }
        }
    }
    assert!(seen > 2_000, "only {seen} functions were found");
    assert!(large.is_empty(), "larger than a reader can hold:\n{}", large.join("\n"));
}

#[test]
fn functions_are_measured() {
    let code = "impl X {\n    pub(super) async fn a<T>(\n        x: u8,\n    ) -> u8 {\n        x\n    }\n\n    fn b();\n    fn c() {}\n}\n\nfn d() {\n}\n";
    assert_eq!(functions(code), [(2, "a", 5), (12, "d", 2)]);
}
