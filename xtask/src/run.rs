//! Runs commands in the repository, in sections whose times are told at the end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Why a run ends with a failure.
#[derive(Debug)]
pub struct Failed(String);

impl Failed {
    /// A failure with what to tell the user.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder that cargo builds into.
pub fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Names each section as it begins, and tells at the end how long each took.
pub struct Sections {
    began: Instant,
    open: Option<(String, Instant)>,
    done: Vec<(String, Duration)>,
}

impl Sections {
    /// No section yet; the clock of the whole runs from now on.
    pub fn new() -> Self {
        Self { began: Instant::now(), open: None, done: Vec::new() }
    }

    /// Ends the section before and begins this one.
    pub fn begin(&mut self, title: &str) {
        self.end();
        println!("\n==== {title}   (at {} s)", self.began.elapsed().as_secs());
        self.open = Some((title.to_owned(), Instant::now()));
    }

    fn end(&mut self) {
        if let Some((title, began)) = self.open.take() {
            self.done.push((title, began.elapsed()));
        }
    }

    /// Prints the time of each section; the last one is where a failed run stopped.
    pub fn summary(&mut self) {
        self.end();
        if self.done.is_empty() {
            return;
        }
        println!("\n==== times");
        for (title, took) in &self.done {
            println!("{:>6} s  {title}", took.as_secs());
        }
        println!("{:>6} s  in all", self.began.elapsed().as_secs());
    }
}

/// A command in the root of the repository, its program and arguments apart by spaces.
pub fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(root());
    command
}

/// Runs a command line and fails if it does.
pub fn run(line: &str) -> Result<(), Failed> {
    run_command(&mut command(line))
}

/// Runs a command line with environment variables and fails if it does.
pub fn run_with(line: &str, variables: &[(&str, &str)]) -> Result<(), Failed> {
    run_command(command(line).envs(variables.iter().copied()))
}

/// Runs a command and fails if it does.
pub fn run_command(command: &mut Command) -> Result<(), Failed> {
    let told = shown(command);
    println!("$ {told}");
    let status = command.status().map_err(|error| Failed::new(format!("cannot run {told}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failed::new(format!("failed ({status}): {told}"))) }
}

/// What a command prints on stdout, if it succeeds.
pub fn output(line: &str) -> Option<String> {
    let done = command(line).output().ok().filter(|done| done.status.success())?;
    Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
    let mut words: Vec<String> =
        variables.map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy())).collect();
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}
