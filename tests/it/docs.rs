//! The documents: short enough to be read, every link leads somewhere, and every block of code is run, compiled or parsed.
//!
//! A block begins with its language and, for some, a word that says what becomes of it:
//!
//! - `toml`: read as a configuration; `json`: parsed; `line-protocol`: compared with what is written. Here.
//! - `sh`: run, by tests/docs, against a service; `starts=demo` and `starts=serve` go on running. `in=ci`: `cargo xtask
//!   ci` runs it. `not-run=REASON`: nothing runs it, for this reason.
//! - `rust for=PLUGIN`: compiled as that plugin; `yaml for=collector`: the configuration of a Collector that is run. By
//!   tests/docs.
//! - `text`: a picture, or what a command prints.
//!
//! No other block passes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vitals::config::Config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [".", "docs", "dashboards"] {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found
}

/// A block of code between fences.
#[derive(Debug)]
struct Block {
    /// Where it stands, for messages.
    place: String,
    /// The words behind the fence.
    info: String,
    text: String,
}

/// The fenced blocks of a document.
///
/// # Errors
/// Code that is indented instead, and a fence that is not closed.
fn blocks(name: &str, text: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut open, mut blank) = (Vec::new(), None::<Block>, true);
    for (line, number) in text.lines().zip(1..) {
        let place = || format!("{name}:{number}");
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { place: place(), info: info.trim().to_owned(), text: String::new() });
            }
            (Some(block), Some(_)) => found.push(block),
            (Some(mut block), None) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) if blank && line.starts_with("    ") => {
                return Err(format!("{}: code without a fence", place()));
            }
            (None, None) => {}
        }
        blank = line.trim().is_empty();
    }
    open.map_or(Ok(found), |block| Err(format!("{}: a fence that is not closed", block.place)))
}

fn all_blocks() -> Vec<Block> {
    let of_one = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        blocks(&name, &fs::read_to_string(&path).expect("test set-up")).expect("test set-up")
    };
    documents().into_iter().flat_map(of_one).collect()
}

/// The first block of a document with these words behind its fence.
pub fn block(document: &str, info: &str) -> String {
    let text = fs::read_to_string(root().join(document)).expect("test set-up");
    let found = blocks(document, &text).expect("test set-up").into_iter().find(|block| block.info == info);
    found.unwrap_or_else(|| panic!("{document} has no block of {info}")).text
}

/// Whether a block is of a kind that a test takes care of; its content, as far as that is done here.
fn check(block: &Block) -> Result<(), String> {
    let told = |reason: String| Err(format!("{} ({}): {reason}", block.place, block.info));
    match block.info.split_once(' ').unwrap_or((&block.info, "")) {
        ("toml", "") => configuration(&block.text).or_else(told),
        ("json", "") => match serde_json::from_str::<serde_json::Value>(&block.text) {
            Ok(_) => Ok(()),
            Err(error) => told(error.to_string()),
        },
        ("line-protocol", "") => block.text.lines().try_for_each(line_protocol).or_else(told),
        ("text", "") => no_command(&block.text).or_else(told),
        ("sh", "in=ci") => block.text.lines().try_for_each(run_in_ci).or_else(told),
        ("sh", "" | "starts=demo" | "starts=serve") | ("rust", "for=too-hot") | ("yaml", "for=collector") => Ok(()),
        ("sh", how) if how.strip_prefix("not-run=").is_some_and(|reason| !reason.is_empty()) => Ok(()),
        _ => told("no test takes care of blocks like this one; see tests/it/docs.rs".to_owned()),
    }
}

fn configuration(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("test set-up");
    let file = folder.path().join("vitals.toml");
    fs::write(&file, text).expect("test set-up");
    Config::read(Some(&file)).map(|_| ()).map_err(|error| error.to_string())
}

/// Measurement and tags of a line, and the names of its fields.
fn parts(line: &str) -> Option<(String, BTreeSet<&str>)> {
    let (head, rest) = line.split_once(' ')?;
    let (fields, _time) = rest.rsplit_once(' ')?;
    let mut words = head.split(',');
    let measurement = words.next()?;
    let tags: Vec<&str> = words.filter_map(|tag| tag.split('=').next()).collect();
    // A value in quotation marks may hold commas; every second piece is outside of them.
    let outside: String = fields.replace("\\\"", "").split('"').step_by(2).collect();
    let names = fields_of(fields, &outside);
    Some((format!("{measurement} {}", tags.join(" ")), names))
}

/// The names in `outside`, a list of `name=value` without what is in quotation marks, as parts of `fields`.
fn fields_of<'a>(fields: &'a str, outside: &str) -> BTreeSet<&'a str> {
    let names = outside.split(',').filter_map(|field| field.split_once('=').map(|(name, _)| name.to_owned()));
    names.filter_map(|name| fields.find(&format!("{name}=")).map(|at| &fields[at..at + name.len()])).collect()
}

/// The line has the measurement and tags of one in the golden file, and fields that the document names for it.
fn line_protocol(line: &str) -> Result<(), String> {
    let golden = fs::read_to_string(root().join("tests/golden/line-protocol.txt")).expect("test set-up");
    let (head, fields) = parts(line).ok_or_else(|| format!("no line protocol: {line}"))?;
    if !golden.lines().filter_map(parts).any(|(written, _)| written == head) {
        return Err(format!("nothing like this is written: {head}"));
    }
    let document = fs::read_to_string(root().join("docs/influxdb.md")).expect("test set-up");
    match fields.iter().find(|field| !document.contains(&format!("`{field}`"))) {
        Some(field) => Err(format!("the document says nothing of the field `{field}`")),
        None => Ok(()),
    }
}

/// What is to be typed does not hide among what is printed.
fn no_command(text: &str) -> Result<(), String> {
    let commands = ["cargo ", "curl ", "vitals ", "bash ", "$ ", "tests/", "benches/"];
    match text.lines().find(|line| commands.iter().any(|command| line.trim_start().starts_with(command))) {
        Some(line) => Err(format!("a command: {line}")),
        None => Ok(()),
    }
}

/// `cargo xtask ci` runs the command of this line, whatever its arguments behind a path or `--locked`.
fn run_in_ci(line: &str) -> Result<(), String> {
    let ci = fs::read_to_string(root().join("xtask/src/ci.rs"))
        .expect("test set-up")
        .replace("--locked ", "")
        .replace(" --locked", "");
    let command = line.split('#').next().unwrap_or_default().trim();
    let (variables, words): (Vec<&str>, Vec<&str>) = command.split_whitespace().partition(|word| word.contains('='));
    let program = *words.first().ok_or("no command")?;
    let what = if program == "cargo" { words.join(" ") } else { program.to_owned() };
    let mut needed = variables.iter().filter_map(|variable| variable.split('=').next()).chain([what.as_str()]);
    match needed.find(|text| !ci.contains(*text)) {
        Some(text) => Err(format!("`cargo xtask ci` has no {text}")),
        None => Ok(()),
    }
}

#[test]
fn every_block_is_run_compiled_or_parsed() {
    let blocks = all_blocks();
    let wrong: Vec<String> = blocks.iter().filter_map(|block| check(block).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(blocks.len() > 15, "only {} blocks were found", blocks.len());
}

#[test]
fn wrong_blocks_are_found() {
    for (info, text, reason) in [
        ("", "vitals serve", "no test takes care"),
        ("console", "vitals serve", "no test takes care"),
        ("sh not-run=", "vitals serve", "no test takes care"),
        ("sh in=ci", "cargo test --only-mine", "has no cargo test --only-mine"),
        ("sh in=ci", "NO_SUCH=1 cargo test --workspace", "has no NO_SUCH"),
        ("toml", "[store]\nkind = \"paper\"", "paper"),
        ("toml", "[evaluate]\nno_such_setting = 1", "no_such_setting"),
        ("json", "{\"a\": 1,}", "trailing comma"),
        ("line-protocol", "vitals_health,agent=web-1 score=1.0 1", "nothing like this is written"),
        ("line-protocol", "vitals_heartbeat,vitals_agent=a,vitals_tenant=b no_such=1i 1", "`no_such`"),
        ("text", "  curl localhost", "a command"),
    ] {
        let block = Block { place: "x.md:1".to_owned(), info: info.to_owned(), text: text.to_owned() };
        let told = check(&block).expect_err(info);
        assert!(told.contains(reason), "{info}: {told}");
    }
    assert!(blocks("x.md", "Then\n\n    vitals serve\n").unwrap_err().contains("without a fence"));
    assert!(blocks("x.md", "```sh\nvitals serve\n").unwrap_err().contains("not closed"));
}

/// The targets of `[text](target)`, outside of code.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let after = prose.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text).iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = document.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{} links to {link}", document.display());
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links were found");
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines <= 150, "the README has {lines} lines; details belong into docs/");
}
