//! Builds the embedded plugins for `wasm32-wasip2` and writes the Rust that embeds them.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasm_target::TARGET;

#[path = "build/wasm_target.rs"]
mod wasm_target;

/// Crate name and the plugin's own name.
const PLUGINS: [(&str, &str); 5] = [
    ("rate", "rate"),
    ("iqr_outlier", "iqr-outlier"),
    ("seasonal_outlier", "seasonal-outlier"),
    ("health_score", "health-score"),
    ("sla", "sla"),
];

fn main() -> Result<(), Box<dyn Error>> {
    for watched in
        ["build", "wit", "core/src", "core/Cargo.toml", "plugins/Cargo.toml", "plugins/Cargo.lock", "plugins/sdk"]
    {
        println!("cargo::rerun-if-changed={watched}");
    }
    for (_, folder) in PLUGINS {
        println!("cargo::rerun-if-changed=plugins/{folder}");
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Err(reason) = wasm_target::ensure(&rustc, OsStr::new("rustup")) {
        println!("cargo::error={reason}");
        return Ok(());
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let built = build(&root.join("plugins"), &out.join("plugins"))?;
    let mut source = String::from("pub(super) const EMBEDDED: &[(&str, &[u8])] = &[\n");
    for (file, name) in PLUGINS {
        let path = built.join(format!("{file}.wasm"));
        writeln!(source, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())?;
    }
    source.push_str("];\n");
    fs::write(out.join("embedded.rs"), source)?;
    Ok(())
}

/// Runs cargo in `workspace`; returns the folder with the components.
fn build(workspace: &Path, target_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--target", TARGET])
        // A target folder of its own: the outer cargo holds the lock of its own one while this runs.
        .env("CARGO_TARGET_DIR", target_dir);
    for (file, _) in PLUGINS {
        cargo.args(["--package", &file.replace('_', "-")]);
    }
    // What the outer build was told (flags, clippy in place of rustc, a profile) is not meant for the guests.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let inherited =
            ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS"];
        let scoped = ["CARGO_BUILD_", "CARGO_FEATURE_", "CARGO_CFG_", "CARGO_PROFILE_", "CARGO_UNSTABLE_"];
        if inherited.contains(&&*name) || scoped.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&key);
        }
    }
    let output = cargo.output().map_err(|error| format!("cannot run cargo for the embedded plugins: {error}"))?;
    if output.status.success() {
        return Ok(target_dir.join(TARGET).join("release"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("the embedded plugins in {} do not build:\n{said}", workspace.display()).into())
}
