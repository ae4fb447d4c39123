//! The two lists: what is run while one works, and everything.

use std::fs;

use crate::mutants;
use crate::run::{Failed, Sections, output, root, run, run_with, target_dir};
use crate::tools;

/// Workspaces of this repository beside its own.
const PLUGINS: &str = "--manifest-path plugins/Cargo.toml";
const EXAMPLES: &str = "--manifest-path examples/Cargo.toml";

/// The target that plugins are compiled for.
const WASM: &str = "wasm32-wasip2";

/// Minutes that the mutation tests of changed lines may take in CI.
const MUTANTS_MINUTES: u64 = 10;

/// What a developer runs before each commit: under three minutes when little was changed.
pub fn check(sections: &mut Sections) -> Result<(), Failed> {
    formatting(sections)?;
    clippy(sections)?;
    documentation(sections)?;
    sections.begin("unit tests");
    run("cargo test --workspace --lib --bins --locked --quiet")?;
    sections.begin("links and code blocks of the documents");
    run("cargo test --test it --locked --quiet -- docs:: wit::")
}

/// Everything that must pass before a change lands, on a machine that may be new.
pub fn everything(sections: &mut Sections) -> Result<(), Failed> {
    sections.begin("what must be installed");
    tools::debian_packages(&[
        ("cc", &["gcc", "libc6-dev"]),
        ("python3", &["python3", "python3-venv"]),
        ("chromium", &["chromium"]),
        ("chromedriver", &["chromium-driver"]),
    ])?;
    // For clippy of the plugins; the build script of the service fetches it by itself.
    if !output("rustup target list --installed").is_some_and(|list| list.lines().any(|line| line == WASM)) {
        run(&format!("rustup target add {WASM}"))?;
    }
    run("rustc --version")?;
    run("cc --version")?;
    formatting(sections)?;
    tools::deny(sections)?;
    clippy(sections)?;
    sections.begin("clippy of plugins and examples");
    run(&format!(
        "cargo clippy {PLUGINS} --workspace --lib --bins --examples --locked --target {WASM} -- -D warnings"
    ))?;
    let examples = target_dir().join("examples").display().to_string();
    let line = format!("cargo clippy {EXAMPLES} --workspace --locked -- -D warnings");
    run_with(&line, &[("CARGO_TARGET_DIR", &examples)])?;
    documentation(sections)?;
    sections.begin("tests");
    run("cargo test --workspace --locked")?;
    sections.begin("release build");
    run("cargo build --release --locked")?;
    on_the_program(sections)?;
    sections.begin("mutation tests of the changed lines of core");
    mutants::test(&mutants::Options { changed: true, base: None, minutes: Some(MUTANTS_MINUTES) })
}

/// Tests from outside, on the built program.
fn on_the_program(sections: &mut Sections) -> Result<(), Failed> {
    let vitals = target_dir().join("release/vitals").display().to_string();
    let influxd = std::env::var("VITALS_PEERS").unwrap_or_else(|_| target_dir().join("peers").display().to_string());
    let influxd = format!("{influxd}/influxd");
    let kills = std::env::var("KILLS").unwrap_or_else(|_| "10".to_owned());
    let on_vitals = |script: &str, variables: &[(&str, &str)]| run_with(&format!("{script} {vitals}"), variables);

    sections.begin("interoperability");
    on_vitals("tests/interop/run.sh", &[])?;
    sections.begin("the page in a browser");
    on_vitals("tests/page/run.sh", &[])?;
    sections.begin("the commands of README and docs");
    on_vitals("tests/docs/run.sh", &[])?;
    sections.begin("inputs that once got a wrong answer");
    on_vitals("tests/reports/run.sh", &[])?;
    sections.begin("the API document, held to by a fuzzer");
    on_vitals("tests/schemathesis/run.sh", &[("SCHEMATHESIS_SECONDS", "30")])?;
    sections.begin("InfluxDB as the store, killed during load");
    on_vitals("tests/influxdb/run.sh", &[])?;
    sections.begin("the detectors on labelled series, through the service");
    on_vitals("benches/detection/run.sh", &[])?;
    sections.begin("the programs of examples/");
    on_vitals("tests/examples/run.sh", &[])?;
    sections.begin("the store's contract on a real InfluxDB, and the same answers as the embedded store's");
    run_with("cargo test --locked --lib store::", &[("VITALS_TEST_INFLUXD", &influxd)])?;
    sections.begin("interoperability with InfluxDB as the store");
    on_vitals("tests/interop/run.sh", &[("INTEROP_STORE", "influxdb")])?;
    sections.begin("kill -9 during load");
    on_vitals("tests/crash/run.sh", &[("KILLS", &kills), ("SECONDS_OF_LOAD", "3")])?;
    sections.begin("power cuts");
    on_vitals("tests/powercut/run.sh", &[])?;
    sections.begin("disks that fail");
    on_vitals("tests/faults/run.sh", &[])?;
    sections.begin("steady load, shorter than the full minute");
    on_vitals("tests/load/run.sh", &[("SECONDS_OF_LOAD", "20")])
}

fn formatting(sections: &mut Sections) -> Result<(), Failed> {
    sections.begin("formatting");
    run("cargo fmt --all --check")?;
    run(&format!("cargo fmt --all --check {PLUGINS}"))?;
    run(&format!("cargo fmt --all --check {EXAMPLES}"))?;
    for script in scripts()? {
        run(&format!("bash -n {script}"))?;
    }
    Ok(())
}

/// The shell scripts of the repository, by their paths in it.
fn scripts() -> Result<Vec<String>, Failed> {
    let tracked = output("git ls-files --cached --others --exclude-standard .ci *.sh");
    let list = tracked.ok_or_else(|| Failed::new("`git ls-files` does not list the shell scripts"))?;
    let found: Vec<String> = list.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect();
    if found.is_empty() { Err(Failed::new("no shell script was found")) } else { Ok(found) }
}

fn clippy(sections: &mut Sections) -> Result<(), Failed> {
    sections.begin("clippy");
    run("cargo clippy --workspace --all-targets --locked -- -D warnings")
}

fn documentation(sections: &mut Sections) -> Result<(), Failed> {
    sections.begin("documentation");
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    run_with("cargo doc --workspace --no-deps --document-private-items --locked --quiet", &strict)?;
    run_with(&format!("cargo doc {PLUGINS} --package vitals-plugin --no-deps --locked --quiet"), &strict)?;
    // Its presence says that something was written at all.
    let index = target_dir().join("doc/vitals/index.html");
    fs::metadata(&index).map(|_| ()).map_err(|error| Failed::new(format!("{}: {error}", index.display())))
}
