//! The plugin contract in `wit/`: what plugins are compiled against never changes under the same version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// What stands in `wit/versions.toml` ahead of the list.
const HEAD: &str = "\
# Each version of the plugin contract with the SHA-256 of its text, without comments and white space. A plugin is compiled
# against a version, so a version that is listed never changes: a change of wit/ raises the version of the package, and
# `VITALS_BLESS=1 cargo test --test it wit` adds it here.
";

/// The package of a WIT text, and the digest of what the text means: comments and white space do not count.
///
/// # Errors
/// When no package is named.
fn package(text: &str) -> Result<(String, String), String> {
    let code = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
    let at = words.iter().position(|word| *word == "package").ok_or("no package is named")?;
    let name = words.get(at + 1).and_then(|word| word.strip_suffix(';')).ok_or("the package has no version")?;
    let digest: String = Sha256::digest(words.join(" ")).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((name.to_owned(), digest))
}

/// The numbers of `vitals:plugin@1.2.3`.
fn version(package: &str) -> Option<Vec<u64>> {
    package.rsplit_once('@')?.1.split('.').map(|number| number.parse().ok()).collect()
}

/// Whether the contract may be what it is, given what its versions were; the versions with it.
///
/// # Errors
/// When it changed without a new version, or its version is not the newest.
fn noted(text: &str, versions: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let (name, digest) = package(text)?;
    match versions.get(&name) {
        Some(known) if *known != digest => Err(format!("wit/ is not what {name} was: give the package a new version")),
        known => {
            let number = version(&name).ok_or_else(|| format!("{name} has no version of numbers"))?;
            match versions.keys().find(|other| version(other).is_none_or(|other| other > number)) {
                Some(newer) => Err(format!("{name} is older than {newer}, which is listed")),
                None if known.is_some() => Ok(versions.clone()),
                None => Ok(versions.iter().map(|(k, v)| (k.clone(), v.clone())).chain([(name, digest)]).collect()),
            }
        }
    }
}

#[test]
fn a_changed_contract_has_a_new_version() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
    let file = folder.join("versions.toml");
    let texts: Vec<String> = {
        let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == "wit")).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    };
    let versions: BTreeMap<String, String> = toml::from_str(&fs::read_to_string(&file).unwrap_or_default()).unwrap();
    let after = noted(&texts.join("\n"), &versions).unwrap_or_else(|reason| panic!("{reason}"));
    if after == versions {
        return;
    }
    let list: String = after.iter().map(|(name, digest)| format!("{name:?} = {digest:?}\n")).collect();
    assert!(std::env::var_os("VITALS_BLESS").is_some(), "wit/versions.toml does not have the new version yet:\n{list}");
    fs::write(file, format!("{HEAD}{list}")).unwrap();
}

#[test]
fn changes_without_a_new_version_are_found() {
    let first = "package a:b@0.1.0;\ninterface i { f: func(); }\n";
    let versions = noted(first, &BTreeMap::new()).unwrap();
    assert_eq!(versions.len(), 1);
    // What does not change the meaning.
    for same in [first.replace('\n', "\n\n  // a comment\n"), first.replace("{ f", "{\n    /// Calls it.\n    f")] {
        assert_eq!(noted(&same, &versions), Ok(versions.clone()));
    }
    // A change, and the change under a new version.
    let changed = first.replace("f: func()", "f: func(a: u32)");
    assert!(noted(&changed, &versions).unwrap_err().contains("new version"));
    let after = noted(&changed.replace("0.1.0", "0.10.0"), &versions).unwrap();
    assert_eq!(after.len(), 2);
    // A version between, and back to the first.
    assert!(noted(&first.replace("0.1.0", "0.2.0"), &after).unwrap_err().contains("older"));
    assert!(noted(first, &after).unwrap_err().contains("older"));
    assert!(noted("interface i {}", &versions).is_err());
}
