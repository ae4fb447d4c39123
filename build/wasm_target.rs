//! Makes sure that the compiler can build for WebAssembly, so that a first `cargo` command in a fresh clone is enough.
//!
//! rustup installs the targets of `rust-toolchain.toml` together with a toolchain, but not always into one that is
//! already there (`RUSTUP_AUTO_INSTALL=0`, a `+toolchain`, an override).

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The target that plugins are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// Fetches the standard library for [`TARGET`] with rustup if `rustc` has none.
///
/// # Errors
/// One line that says what to type, when it is missing and cannot be fetched.
pub fn ensure(rustc: &OsStr, rustup: &OsStr) -> Result<(), String> {
    if is_installed(rustc)? {
        return Ok(());
    }
    // A cargo that rustup has started names the toolchain in RUSTUP_TOOLCHAIN, so the target goes to the one in use.
    let why = match Command::new(rustup).args(["target", "add", TARGET]).output() {
        Ok(done) if done.status.success() && is_installed(rustc)? => return Ok(()),
        Ok(done) => reason(&done.stderr),
        Err(error) => format!("rustup cannot be run: {error}"),
    };
    Err(format!("the plugins need the target {TARGET}: run `rustup target add {TARGET}` ({why})"))
}

/// Whether `rustc` has a standard library for [`TARGET`].
fn is_installed(rustc: &OsStr) -> Result<bool, String> {
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let answer = asked.map_err(|error| format!("cannot run {}: {error}", rustc.to_string_lossy()))?;
    if !answer.status.success() {
        return Err(format!("this rustc does not know the target {TARGET}: {}", reason(&answer.stderr)));
    }
    Ok(Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir())
}

/// Why a program failed: the first line that says so, else the last one that is not empty.
fn reason(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("error"));
    error.or_else(|| lines.next_back()).unwrap_or("no reason was given").to_owned()
}
