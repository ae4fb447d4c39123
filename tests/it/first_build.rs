//! The first build on a new machine: the build script fetches the target for plugins, or says what to type.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

#[path = "../../build/wasm_target.rs"]
mod wasm_target;

/// A shell script in `folder` that can be run.
fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("test set-up");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("test set-up");
    path
}

/// A rustc whose library folder for the target is `folder/lib`, which is not there.
fn compiler_without_target(folder: &Path) -> PathBuf {
    let lib = folder.join("lib");
    let script = format!("[ \"$*\" = '--print target-libdir --target wasm32-wasip2' ] && echo {}", lib.display());
    program(folder, "rustc", &script)
}

#[test]
fn a_target_that_is_there_is_not_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let rustc = compiler_without_target(folder.path());
    fs::create_dir(folder.path().join("lib")).unwrap();
    let rustup = program(folder.path(), "rustup", &format!("touch {}/asked", folder.path().display()));
    wasm_target::ensure(rustc.as_os_str(), rustup.as_os_str()).unwrap();
    assert!(!folder.path().join("asked").exists(), "rustup was asked for nothing");
}

#[test]
fn a_missing_target_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let rustc = compiler_without_target(folder.path());
    let script = format!("[ \"$*\" = 'target add wasm32-wasip2' ] && mkdir {}/lib", folder.path().display());
    let rustup = program(folder.path(), "rustup", &script);
    wasm_target::ensure(rustc.as_os_str(), rustup.as_os_str()).unwrap();
    assert!(folder.path().join("lib").exists());
}

#[test]
fn a_target_that_cannot_be_fetched_is_one_line_with_what_to_type() {
    let folder = tempfile::tempdir().unwrap();
    let rustc = compiler_without_target(folder.path());
    let failing = program(
        folder.path(),
        "rustup",
        "printf 'info: downloading\\nerror: no network\\n  at some.c:1\\n' >&2; exit 1",
    );
    let absent = folder.path().join("no-such-rustup");
    let lying = program(folder.path(), "rustup-that-does-nothing", "exit 0");
    for (rustup, reason) in [(failing, "error: no network"), (absent, "cannot be run"), (lying, "no reason was given")]
    {
        let told = wasm_target::ensure(rustc.as_os_str(), rustup.as_os_str()).unwrap_err();
        assert!(told.contains("run `rustup target add wasm32-wasip2`"), "{told}");
        assert!(told.contains(reason), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_compiler_that_does_not_know_the_target_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let rustc = program(folder.path(), "rustc", "echo 'error: could not find specification for target' >&2; exit 1");
    let told = wasm_target::ensure(rustc.as_os_str(), "rustup".as_ref()).unwrap_err();
    assert!(told.contains("could not find specification"), "{told}");
}
