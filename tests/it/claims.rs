//! ARCHITECTURE.md names the tests that hold its claims: each must exist where it is said to be.

use std::fs;
use std::path::Path;

/// A test, or a function of that name, and the file or folder that is said to have it.
#[derive(Debug, PartialEq)]
struct Named<'a> {
    place: &'a str,
    function: &'a str,
}

/// Reads lists such as "`src/log/tests.rs`: `one_test`, `another`" and "`tests/it/hostile.rs` (`spin`, `sleep`)".
fn named(text: &str) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    let mut place = None;
    let mut parts = text.split('`');
    let mut before = parts.next().unwrap_or_default();
    while let (Some(token), after) = (parts.next(), parts.next()) {
        let is_function =
            !token.is_empty() && token.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if token.contains('/') {
            place = Some(token);
        } else if let (true, Some(place), ":" | "," | "(") = (is_function, place, before.trim()) {
            found.push(Named { place, function: token });
        } else {
            place = None;
        }
        before = after.unwrap_or_default();
    }
    found
}

/// Whether a file, or a file of a folder, has a function of that name.
fn has_function(place: &Path, function: &str) -> bool {
    if place.is_dir() {
        let entries = fs::read_dir(place).expect("a folder").map(|entry| entry.expect("an entry of it").path());
        return entries.into_iter().any(|entry| has_function(&entry, function));
    }
    let text = fs::read_to_string(place).unwrap_or_default();
    text.contains(&format!("fn {function}("))
}

#[test]
fn every_test_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named = named(&text);
    assert!(named.len() > 80, "read: {}", named.len());
    let missing: Vec<_> = named.iter().filter(|one| !has_function(&root.join(one.place), one.function)).collect();
    assert!(missing.is_empty(), "named in ARCHITECTURE.md, and not there: {missing:#?}");
}

#[test]
fn lists_of_tests_are_read() {
    let text =
        "a `word_here`. -- `src/a.rs`: `one_x`,\n  `two`; `src/b` (`three`, `four`), and `no_list`; `cargo x`, `five`";
    let of = |place, function| Named { place, function };
    let expect = [of("src/a.rs", "one_x"), of("src/a.rs", "two"), of("src/b", "three"), of("src/b", "four")];
    assert_eq!(named(text), expect);
}
