//! `cargo xtask`: what developers and CI run, so that both run the same.

mod ci;
mod mutants;
mod run;
mod tools;

use std::process::ExitCode;

use run::{Failed, Sections};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check                  formatting, clippy, unit tests, documentation, links: the inner loop
  ci                     everything that must pass before a change lands; installs what is missing
  deny                   licences, sources and duplicates of the dependencies (cargo-deny)
  mutants [--changed]    mutation tests of core (cargo-mutants); --changed: of the lines that this branch changes
          [--base REF]     what --changed compares with, default: where the branch left main
          [--minutes N]    stop after so many minutes; what was found by then counts
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut sections = Sections::new();
    let result = match words.as_slice() {
        ["check"] => ci::check(&mut sections),
        ["ci"] => ci::everything(&mut sections),
        ["deny"] => tools::deny(&mut sections),
        ["mutants", options @ ..] => mutants::Options::parse(options).and_then(|options| mutants::test(&options)),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => Err(Failed::new(USAGE)),
    };
    sections.summary();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}
