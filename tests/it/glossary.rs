//! The words of the code are those of `docs/glossary.md`.

use crate::modules::{code, rust_files};
use std::fs;
use std::path::{Path, PathBuf};

/// Identifiers that once stood here and that nobody could guess or search for.
const FORMER_WORDS: [&str; 24] = [
    "Ingest",
    "Intake",
    "OtlpIntake",
    "RestIntake",
    "seam",
    "Judges",
    "Surroundings",
    "Pulse",
    "Shelves",
    "Lie",
    "Told",
    "Ill",
    "Hole",
    "Miss",
    "Sifted",
    "sift",
    "sifted",
    "put_away",
    "put_down",
    "patience",
    "Vitals",
    "VitalRole",
    "Board",
    "Folder",
];

/// Words that several types shared: as the whole name of a type they do not say which one is meant.
const TOO_SHORT_FOR_A_TYPE: [&str; 10] =
    ["Run", "Window", "Batch", "Slot", "Standing", "Output", "Ask", "Several", "Round", "Child"];

/// Phrases of another language's grammar.
const FORMER_PHRASES: [&str; 4] = ["told anew", "hangs on", "asks for it", "nobody hears twice"];

/// All sources of this project, but for this file.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "core/src", "tests/it", "benches"];
    let plugins = ["sdk", "rate", "iqr-outlier", "seasonal-outlier", "health-score", "sla", "hostile"];
    let mut files: Vec<PathBuf> = folders.iter().flat_map(|folder| rust_files(&root.join(folder))).collect();
    files.extend(plugins.iter().flat_map(|plugin| rust_files(&root.join("plugins").join(plugin))));
    files.retain(|file| !file.ends_with("it/glossary.rs"));
    files
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The names of the types that a file defines.
fn defined_types(code: &str) -> Vec<&str> {
    let all: Vec<&str> = words(code).collect();
    let defines = |word: &str| matches!(word, "struct" | "enum" | "trait" | "type");
    all.windows(2).filter(|pair| defines(pair[0])).map(|pair| pair[1]).collect()
}

#[test]
fn words_that_nobody_could_guess_are_gone() {
    let mut found = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let code = code(&text);
        for word in words(&code).filter(|word| FORMER_WORDS.contains(word)) {
            found.push(format!("{}: {word}", file.display()));
        }
        for name in defined_types(&code).into_iter().filter(|name| TOO_SHORT_FOR_A_TYPE.contains(name)) {
            found.push(format!("{}: the type {name}", file.display()));
        }
        for phrase in FORMER_PHRASES.iter().filter(|phrase| text.contains(**phrase)) {
            found.push(format!("{}: {phrase:?}", file.display()));
        }
    }
    assert!(found.is_empty(), "words that docs/glossary.md replaced:\n{}", found.join("\n"));
}

#[test]
fn every_type_of_the_glossary_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glossary = fs::read_to_string(root.join("docs/glossary.md")).unwrap();
    let all: Vec<String> = sources().iter().map(|file| code(&fs::read_to_string(file).unwrap())).collect();
    let defined: Vec<&str> = all.iter().flat_map(|code| defined_types(code)).collect();
    let mut looked_for = 0;
    for line in glossary.lines().filter(|line| line.starts_with("| ")) {
        let column = line.split('|').nth(2).unwrap_or_default();
        for name in column.split('`').skip(1).step_by(2) {
            assert!(defined.contains(&name), "docs/glossary.md names the type {name}, which is not defined");
            looked_for += 1;
        }
    }
    assert!(looked_for > 30, "only {looked_for} types were found in the glossary");
}
