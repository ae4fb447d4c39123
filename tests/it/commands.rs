//! What commands find, and what they leave alone, on the built program.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `vitals` in `folder`, without variables of the outside.
fn vitals(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitals"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VITALS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder).output().expect("it runs")
}

/// What a command said on stderr, line by line.
fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A configuration with one mistake of each kind, and a word that its sentence has.
const MISTAKES: [(&str, &str); 13] = [
    ("plugin_folder = \"no-plugins\"", "no-plugins cannot be read"),
    ("[receive]\ngrpc = \"192.0.2.1:4317\"\ninsecure = true", "cannot listen on 192.0.2.1:4317 (receive.grpc)"),
    ("[auth]\nkey_file = \"no.key\"\njwks_file = \"no.jwks\"", "no.key: "),
    ("", "no.jwks: "),
    ("[normalize]\nrules = \"no-rules.toml\"", "no-rules.toml cannot be read"),
    ("[[plugins]]\nname = \"mine\"\npath = \"mine.wasm\"", "mine.wasm cannot be read"),
    ("[[plugins]]\nname = \"text\"\npath = \"text.wasm\"", "text.wasm is not a WebAssembly component"),
    ("[[plugins]]\nname = \"iqr-outlier\"\nconfig = { window = \"wide\" }", "refuses its configuration"),
    ("[[channels]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"http://h\"\nsecret_env = \"NOT_SET\"", "NOT_SET"),
    ("[[channels]]\nname = \"b\"\nkind = \"webhook\"\nurl = \"http://h\"\nsecret_file = \"no.secret\"", "no.secret"),
    ("[[channels]]\nname = \"c\"\nkind = \"webhook\"\nurl = \"http://h\"\nsecret_file = \"short\"", "has 5 bytes"),
    (
        "[[telemetry.alert_configs]]\nalert_type = \"*\"\nseverity = \"info\"\nnotification_channels = [\"nobody\"]",
        "names the channel \"nobody\"",
    ),
    ("[store]\nkind = \"influxdb\"", "store.influxdb has no token"),
];

#[test]
fn config_check_says_all_that_is_wrong_at_once_and_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vitals.toml");
    std::fs::write(&file, MISTAKES.map(|(text, _)| text).join("\n")).expect("written");
    std::fs::write(folder.path().join("short"), "short").expect("written");
    std::fs::write(folder.path().join("text.wasm"), "no component").expect("written");
    let before = names(folder.path());
    let output = vitals(folder.path(), &["config", "check", "--config", "vitals.toml"], &[]);
    let lines = said(&output);
    assert!(!output.status.success());
    for (_, word) in MISTAKES {
        let found = lines.iter().filter(|line| line.starts_with("vitals: ") && line.contains(word)).count();
        assert_eq!(found, 1, "{word}: {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("vitals: ")).count(), MISTAKES.len(), "{lines:#?}");
    assert_eq!(names(folder.path()), before);
    // The service says the same of what it looks at before it makes anything.
    std::fs::write(&file, MISTAKES.map(|(text, _)| text).join("\n").replace("\"nobody\"", "")).expect("written");
    let output = vitals(folder.path(), &["serve", "--config", "vitals.toml"], &[]);
    let refused = said(&output);
    assert!(!output.status.success());
    for word in ["(receive.grpc)", "no.key", "no.jwks", "no-rules.toml", "NOT_SET", "no.secret", "has 5 bytes"] {
        let of = |lines: &[String]| lines.iter().find(|line| line.contains(word)).cloned();
        assert!(of(&refused).is_some() && of(&refused) == of(&lines), "{word}: {refused:#?}");
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn config_check_takes_what_the_service_takes_also_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let grpc = taken.local_addr().expect("an address").to_string();
    let config = ["config", "check", "--data", "data"];
    let free = [("VITALS__RECEIVE__HTTP", "127.0.0.1:0"), ("VITALS__EXPOSE__REST", "127.0.0.1:0")];
    let variables = [&free[..], &[("VITALS__RECEIVE__GRPC", grpc.as_str())]].concat();
    let output = vitals(folder.path(), &config, &variables);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(folder.path()), [""; 0]);
    // A file where the folder should be; a key that is no key.
    std::fs::write(folder.path().join("data"), "").expect("written");
    let output = vitals(folder.path(), &config, &variables);
    assert!(!output.status.success() && said(&output)[0].contains("cannot use the data folder data"), "{output:?}");
    std::fs::remove_file(folder.path().join("data")).expect("removed");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    std::fs::write(folder.path().join("data/auth.key"), "short").expect("written");
    let output = vitals(folder.path(), &config, &variables);
    assert!(!output.status.success() && said(&output).iter().any(|line| line.contains("has 5 bytes")), "{output:?}");
    // What cannot be read is all named, too.
    std::fs::write(folder.path().join("vitals.toml"), "[receive]\ngrcp = \"x\"\n[export]\ninterval_seconds = \"soon\"")
        .expect("written");
    let variables = [("VITALS__AUTH__OTPL", "true")];
    let output = vitals(folder.path(), &["config", "check", "--config", "vitals.toml"], &variables);
    let text = said(&output).join("\n");
    assert!(!output.status.success());
    for word in ["grcp", "line 4", "interval_seconds", "VITALS__AUTH__OTPL"] {
        assert!(text.contains(word), "{text} does not say {word}");
    }
}

#[test]
fn a_token_is_never_signed_with_a_key_that_no_service_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = ["token", "--subject", "me", "--email", "me@example.com", "--data", "data"];
    let refused = |output: &Output| {
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        let said = said(output).join("\n");
        assert!(said.contains("data/auth.key") && said.contains("--data") && said.contains("vitals serve"), "{said}");
    };
    refused(&vitals(folder.path(), &token, &[]));
    assert_eq!(names(folder.path()), [""; 0]);
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    refused(&vitals(folder.path(), &token, &[]));
    assert_eq!(names(&data), [""; 0]);
    // With the service's key, from the folder or the environment.
    let key = "a key of thirty-two characters..";
    let output = vitals(folder.path(), &token, &[("VITALS_AUTH_KEY", key)]);
    assert!(output.status.success() && output.stdout.starts_with(b"ey"), "{output:?}");
    std::fs::write(data.join("auth.key"), key).expect("written");
    let output = vitals(folder.path(), &token, &[]);
    assert!(output.status.success() && output.stdout.starts_with(b"ey"), "{output:?}");
    assert_eq!(names(&data), ["auth.key"]);
}

#[test]
fn listing_plugins_makes_no_data_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = vitals(folder.path(), &["plugin", "list"], &[]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("iqr-outlier"), "{output:?}");
    assert_eq!(names(folder.path()), [""; 0]);
}
