//! Mutation tests of `core`: each small change of the code must be noticed by core's own tests.
//!
//! What survives is told, unless core/mutants.md names it with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::run::{Failed, command, output, root, run, shown, target_dir};
use crate::tools::MUTANTS;

/// Survivors with the reason why each may live.
const EXPLAINED: &str = "core/mutants.md";

/// cargo-mutants ends with these when it has found mutants that no test noticed, or that made a test hang.
const FOUND_MISSED: i32 = 2;
const FOUND_TIMEOUTS: i32 = 3;

/// How many of a hundred mutants must be noticed in a run that had no time to try all. Which ones it tries is chance, so
/// that a few survivors say little; code without any test fails.
const LEAST_NOTICED_PERCENT: usize = 50;

/// Which mutants to try, and for how long.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only lines that differ from `base`.
    pub changed: bool,
    /// A git revision; none: where this branch left main.
    pub base: Option<String>,
    /// When to stop; none: when all are tried.
    pub minutes: Option<u64>,
}

impl Options {
    /// Reads the words behind `mutants`.
    pub fn parse(words: &[&str]) -> Result<Self, Failed> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match *word {
                "--changed" => options.changed = true,
                "--base" => {
                    let base = rest.next().ok_or_else(|| Failed::new("--base needs a git revision"))?;
                    options.base = Some((*base).to_owned());
                }
                "--minutes" => {
                    let minutes = rest.next().and_then(|number| number.parse().ok());
                    options.minutes = Some(minutes.ok_or_else(|| Failed::new("--minutes needs a whole number"))?);
                }
                other => return Err(Failed::new(format!("mutants has no option {other}"))),
            }
        }
        Ok(options)
    }
}

/// Tries the mutants; fails if one survives that is not explained.
pub fn test(options: &Options) -> Result<(), Failed> {
    let folder = target_dir().join("mutants");
    fs::create_dir_all(&folder).map_err(|error| Failed::new(format!("{}: {error}", folder.display())))?;
    let mut arguments = vec!["mutants".to_owned(), "--package=vitals-core".to_owned()];
    arguments.push(format!("--output={}", folder.display()));
    if options.minutes.is_some() {
        arguments.push("--shuffle".to_owned());
    }
    if options.changed {
        let Some(diff) = changed_lines(options.base.as_deref())? else {
            println!("no line of core/src is changed");
            return Ok(());
        };
        let file = folder.join("changed.diff");
        fs::write(&file, diff).map_err(|error| Failed::new(format!("{}: {error}", file.display())))?;
        arguments.push(format!("--in-diff={}", file.display()));
    }
    // Where no mutant is made of the changed lines, nothing is written: what an earlier run wrote must not count.
    let found = folder.join("mutants.out");
    if found.exists() {
        fs::remove_dir_all(&found).map_err(|error| Failed::new(format!("{}: {error}", found.display())))?;
    }
    let mut tool = Command::new(MUTANTS.find()?);
    tool.args(&arguments).current_dir(root());
    println!("$ {}", shown(&tool));
    let child = tool.spawn().map_err(|error| Failed::new(format!("cannot run cargo-mutants: {error}")))?;
    let status = wait(child, options.minutes)?;
    if let Some(status) = status
        && !status.success()
        && !matches!(status.code(), Some(FOUND_MISSED | FOUND_TIMEOUTS))
    {
        return Err(Failed::new(format!("cargo-mutants failed ({status})")));
    }
    judge(&found, status.is_some())
}

/// How the child ended; `None` if its time was up.
fn wait(mut child: Child, minutes: Option<u64>) -> Result<Option<ExitStatus>, Failed> {
    let lost = |error: std::io::Error| Failed::new(format!("cargo-mutants is lost: {error}"));
    let Some(minutes) = minutes else { return child.wait().map(Some).map_err(lost) };
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().map_err(lost)? {
            return Ok(Some(status));
        }
        sleep(Duration::from_millis(200));
    }
    // It ends what it has started, which a kill would leave behind.
    run(&format!("kill -INT {}", child.id()))?;
    child.wait().map_err(lost)?;
    Ok(None)
}

/// Compares the survivors in cargo-mutants' folder with those that are explained.
fn judge(found: &Path, all: bool) -> Result<(), Failed> {
    let lines = |name: &str| fs::read_to_string(found.join(name)).unwrap_or_default();
    let count = |name: &str| lines(name).lines().count();
    let explained = explained(&fs::read_to_string(root().join(EXPLAINED)).unwrap_or_default());
    let survivors: Vec<String> = lines("missed.txt").lines().map(str::to_owned).collect();
    let unexplained: Vec<&String> =
        survivors.iter().filter(|one| !explained.contains(&without_position(one))).collect();
    println!(
        "{} mutants were noticed by a test, {} by a test that hung, {} survived ({} of them explained in {EXPLAINED}){}",
        count("caught.txt"),
        count("timeout.txt"),
        survivors.len(),
        survivors.len() - unexplained.len(),
        if all { "" } else { "; the time was up before all were tried" },
    );
    if unexplained.is_empty() {
        return Ok(());
    }
    let noticed = count("caught.txt") + count("timeout.txt");
    let tried = noticed + unexplained.len();
    if !all && 100 * noticed >= LEAST_NOTICED_PERCENT * tried {
        println!("no test of core notices these changes; explain them in {EXPLAINED} or write a test:");
        unexplained.iter().for_each(|one| println!("  {one}"));
        return Ok(());
    }
    let list: Vec<String> = unexplained.iter().map(|one| format!("  {one}")).collect();
    let advice = format!("write a test of core that notices, or explain it in {EXPLAINED}");
    Err(Failed::new(format!("no test of core notices these changes:\n{}\n{advice}", list.join("\n"))))
}

/// `core/src/a.rs:30:14: replace < with > in f` without line and column, which move with every edit.
fn without_position(mutant: &str) -> String {
    let Some((place, change)) = mutant.split_once(": ") else { return mutant.to_owned() };
    format!("{}: {change}", place.split(':').next().unwrap_or(place))
}

/// The mutants that a document names in backticks, one or more a line, with or without their positions.
fn explained(document: &str) -> BTreeSet<String> {
    let named = document.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    named.filter(|name| name.contains(".rs")).map(without_position).collect()
}

/// The difference of core's sources to `base` or to where this branch left main; `None` if there is none.
fn changed_lines(base: Option<&str>) -> Result<Option<String>, Failed> {
    let base = match base {
        Some(base) => base.to_owned(),
        None => left_main().ok_or_else(|| Failed::new("git knows no commit to compare with: name one with --base"))?,
    };
    let diff = command(&format!("git diff {base} -- core/src")).output();
    let diff = diff.map_err(|error| Failed::new(format!("cannot run git: {error}")))?;
    if !diff.status.success() {
        return Err(Failed::new(format!("git diff {base}: {}", String::from_utf8_lossy(&diff.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    Ok(if text.trim().is_empty() { None } else { Some(text) })
}

/// Where this branch left main; on main itself, the commit before (of a merge: main before it).
fn left_main() -> Option<String> {
    let head = output("git rev-parse HEAD")?;
    let common = ["origin/main", "main"].iter().find_map(|main| output(&format!("git merge-base HEAD {main}")));
    match common {
        Some(common) if common != head => Some(common),
        _ => output("git rev-parse HEAD^"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let read = Options::parse(&["--changed", "--base", "v1", "--minutes", "7"]).unwrap();
        assert_eq!(read, Options { changed: true, base: Some("v1".into()), minutes: Some(7) });
        for wrong in [&["--minutes"][..], &["--minutes", "soon"], &["--base"], &["--all"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_survivor_is_explained_wherever_it_moved() {
        let document = "# Survivors\n\n- `core/src/a.rs:3:9: replace < with <= in low`: equal is the same here.\n\
                        - `core/src/b.rs: replace Board::len -> usize with 0`\n- `len` is no mutant.\n";
        let explained = explained(document);
        assert_eq!(explained.len(), 2, "{explained:?}");
        assert!(explained.contains(&without_position("core/src/a.rs:120:33: replace < with <= in low")));
        assert!(explained.contains(&without_position("core/src/b.rs:1:1: replace Board::len -> usize with 0")));
        assert!(!explained.contains(&without_position("core/src/a.rs:3:9: replace < with == in low")));
    }

    #[test]
    fn what_survives_without_a_reason_fails() {
        let found = std::env::temp_dir().join(format!("vitals-xtask-{}", std::process::id()));
        fs::create_dir_all(&found).unwrap();
        fs::write(found.join("missed.txt"), "core/src/no.rs:1:1: replace nothing with something in nowhere\n").unwrap();
        let told = judge(&found, true).unwrap_err().to_string();
        // One of one that a run without time tried; then one of six.
        let hasty = judge(&found, false);
        fs::write(found.join("caught.txt"), "a\nb\nc\nd\ne\n").unwrap();
        let good = judge(&found, false);
        fs::remove_file(found.join("caught.txt")).unwrap();
        fs::write(found.join("missed.txt"), "").unwrap();
        let passed = judge(&found, true);
        fs::remove_dir_all(&found).unwrap();
        assert!(told.contains("replace nothing with something in nowhere"), "{told}");
        assert!(passed.is_ok(), "{passed:?}");
        assert!(hasty.is_err() && good.is_ok(), "{hasty:?} {good:?}");
    }
}
