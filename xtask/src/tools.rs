//! Programs that are not part of Rust: found, or installed.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{Failed, Sections, command, output, root, run, run_command, target_dir};

/// A cargo command from crates.io, in the version that the checks were made with.
pub struct CargoTool {
    name: &'static str,
    version: &'static str,
}

/// Looks into the licences, sources and versions of dependencies.
pub const DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2" };

/// Changes code and runs the tests, which must notice.
pub const MUTANTS: CargoTool = CargoTool { name: "cargo-mutants", version: "27.1.0" };

impl CargoTool {
    /// The program: the one on the PATH, else one in the target folder, installed there the first time.
    pub fn find(&self) -> Result<PathBuf, Failed> {
        if output(&format!("{} --version", self.name)).is_some() {
            return Ok(PathBuf::from(self.name));
        }
        let folder = target_dir().join("tools");
        let program = folder.join("bin").join(self.name);
        let version = Command::new(&program).arg("--version").output();
        if !version.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains(self.version)) {
            let line = format!("cargo install --locked --quiet {}@{} --root", self.name, self.version);
            // Of its own target folder nothing is kept: it is needed once.
            run_command(command(&line).arg(&folder).env_remove("CARGO_TARGET_DIR"))?;
        }
        Ok(program)
    }
}

/// Holds the dependencies of all workspaces to deny.toml.
pub fn deny(sections: &mut Sections) -> Result<(), Failed> {
    sections.begin("dependencies: licences, sources, duplicates");
    let deny = DENY.find()?;
    // The list of duplicates is that of the service; the other workspaces have only some of them.
    for (manifest, unused) in
        [("Cargo.toml", "--deny"), ("plugins/Cargo.toml", "--allow"), ("examples/Cargo.toml", "--allow")]
    {
        let mut check = Command::new(&deny);
        check.current_dir(root()).args(["--locked", "--manifest-path", manifest, "--config", "deny.toml", "check"]);
        check.args([unused, "unmatched-skip", "--allow", "unmatched-skip-root", "--allow", "unnecessary-skip"]);
        check.args(["--allow", "license-exception-not-encountered", "licenses", "sources", "bans"]);
        run_command(&mut check)?;
    }
    if !can_reach("github.com:443") {
        println!("advisories are not checked: their database (on github.com) cannot be reached from here");
        return Ok(());
    }
    run_command(Command::new(&deny).current_dir(root()).args(["--locked", "check", "advisories"]))
}

/// Whether a TCP connection to `address` is possible at all.
fn can_reach(address: &str) -> bool {
    use std::net::{TcpStream, ToSocketAddrs as _};
    let limit = std::time::Duration::from_secs(5);
    address.to_socket_addrs().is_ok_and(|mut found| found.any(|one| TcpStream::connect_timeout(&one, limit).is_ok()))
}

/// Installs Debian packages whose programs are missing.
pub fn debian_packages(needed: &[(&str, &[&str])]) -> Result<(), Failed> {
    let on_path = |program: &str| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    };
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !on_path(program))
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    run("apt-get update -qq")?;
    let install = format!("apt-get install -y -qq --no-install-recommends {}", missing.join(" "));
    run_command(command(&install).env("DEBIAN_FRONTEND", "noninteractive"))
}
