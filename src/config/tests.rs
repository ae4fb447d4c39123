//! Layers of configuration, what is refused, and what is shown.

use super::*;
use std::collections::BTreeSet;
use vitals_core::rules::sla::SlaConfig;

fn layered(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Config::layered(Some((Path::new("vitals.toml"), file)), variables)
}

#[test]
fn the_default_file_says_what_the_code_does() {
    let file: serde_json::Value = serde_json::to_value(layered("", &[]).unwrap()).unwrap();
    assert_eq!(file, serde_json::to_value(Config::default()).unwrap());
    Config::default().check().unwrap();
}

#[test]
fn rest_follows_what_the_plugins_are_given() {
    let expose = |file: &str| layered(file, &[]).unwrap().expose();
    let plugin = |name: &str, rest: &str| format!("[[plugins]]\nname = \"{name}\"\n{rest}\n");
    assert_eq!(expose("").sla, Some(SlaConfig::default()));
    let own = expose(&plugin("sla", "config = { hour_factor = 2.0 }"));
    assert_eq!(own.sla.map(|sla| (sla.hour_factor, sla.six_hours_factor)), Some((2.0, 6.0)));
    assert_eq!(expose(&plugin("sla", "disabled = true")).sla, None);
    let own = expose(&plugin("health-score", "config = { advise_uptime_percent = [90.0, 80.0, 70.0] }"));
    assert_eq!(own.advise_uptime_percent, Some([90.0, 80.0, 70.0]));
    assert_eq!(expose(&plugin("health-score", "disabled = true")).advise_uptime_percent, None);
    assert_eq!(expose("[expose.quality]\nold = 0.1\n").quality.old, 0.1);
}

/// The keys of `value`, with their sections; a list of tables is one key.
fn keys(at: &str, value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() || at.is_empty() => {
            for (key, value) in map {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                keys(&path, value, into);
            }
        }
        _ => {
            into.insert(at.to_owned());
        }
    }
}

#[test]
fn every_key_is_documented() {
    let mut known = BTreeSet::new();
    keys("", &serde_json::to_value(Config::default()).unwrap(), &mut known);
    let mut documented = BTreeSet::new();
    let (mut section, mut before) = (String::new(), "");
    for line in DEFAULT.lines() {
        // A key without a default stands in a comment.
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_name =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
        if let Some(name) = bare.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            section = name.to_owned();
            documented.insert(section.clone());
        } else if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            documented.insert(section.clone());
        } else if let Some((key, _)) = bare.split_once(" = ").filter(|(key, _)| is_name(key)) {
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            assert!(before.starts_with("# ") || !known.contains(&path), "{path} has no comment above it");
            documented.insert(path);
        }
        before = line;
    }
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in default.toml: {missing:?}");
}

#[test]
fn later_layers_win() {
    let file = "[receive]\ngrpc = \"127.0.0.1:1\"\n[auth]\notlp = true\n[export.headers]\nAPI-Key = \"a\"";
    let variables = [
        ("VITALS__RECEIVE__HTTP", "127.0.0.1:2"),
        ("VITALS__AUTH__OTLP", "false"),
        ("VITALS__EXPORT__INTERVAL_SECONDS", "7"),
        ("VITALS__EXPORT__PROTOCOL", "http"),
        ("VITALS__EXPORT__HEADERS__AUTHORIZATION", "0123"),
        ("VITALS__NORMALIZE__AGENT_IDENTITY", "host.name, service.name"),
        ("VITALS_LOG", "debug"),
    ];
    let config = layered(file, &variables).unwrap();
    assert_eq!((config.receive.grpc.as_str(), config.receive.http.as_str()), ("127.0.0.1:1", "127.0.0.1:2"));
    assert_eq!(config.expose.rest, "127.0.0.1:8080");
    assert!(!config.auth.otlp);
    assert_eq!(config.export.interval_seconds, 7);
    assert_eq!(config.export.headers["authorization"], "0123");
    assert_eq!(config.export.headers["API-Key"], "a");
    assert_eq!(config.normalize.agent_identity, ["host.name", "service.name"]);
}

#[test]
fn what_nobody_knows_is_named_with_its_place() {
    for (file, variables, expect) in [
        ("[receive]\ngrcp = \"x\"", vec![], vec!["vitals.toml", "grcp", "line 2"]),
        ("[recieve]\ngrpc = \"x\"", vec![], vec!["vitals.toml", "recieve"]),
        ("[export]\ninterval_seconds = \"soon\"", vec![], vec!["vitals.toml", "line 2", "interval_seconds"]),
        ("", vec![("VITALS__AUTH__OTPL", "true")], vec!["VITALS__AUTH__OTPL", "otpl"]),
        ("", vec![("VITALS__AUTH__OTLP", "perhaps")], vec!["VITALS__AUTH__OTLP"]),
        ("", vec![("VITALS__", "x")], vec!["VITALS__"]),
    ] {
        let error = layered(file, &variables).unwrap_err().to_string();
        for word in expect {
            assert!(error.contains(word), "{error} does not say {word}");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (file, expect) in [
        ("[receive]\ngrpc = \"0.0.0.0:4317\"", Some("auth.insecure = true")),
        ("[receive]\nhttp = \"[::]:4318\"", Some("auth.otlp = true")),
        ("[receive]\ngrpc = \"10.1.2.3:4317\"", Some("auth.otlp = true")),
        ("[receive]\ngrpc = \"example.com:4317\"", Some("auth.otlp = true")),
        ("[receive]\ngrpc = \"0.0.0.0:4317\"\n[auth]\notlp = true", None),
        ("[receive]\ngrpc = \"0.0.0.0:4317\"\n[auth]\ninsecure = true", None),
        ("[receive]\ngrpc = \"[::1]:4317\"\nhttp = \"localhost:4318\"", None),
        ("[expose]\nrest = \"0.0.0.0:8080\"", None),
        ("[receive]\nhttp = \"127.0.0.1:4317\"", Some("receive.grpc and receive.http")),
        ("[receive]\nhttp = \"127.0.0.1:0\"\ngrpc = \"127.0.0.1:0\"", None),
        ("[receive]\nhttp = \"4318\"", Some("127.0.0.1:4318")),
        ("[export]\nendpoint = \"http://localhost:4317\"", Some("receive.grpc")),
        ("[export]\nendpoint = \"http://localhost:5317\"", None),
        ("[export]\ntimeout_seconds = 0", Some("export.timeout_seconds")),
        ("[expose]\nmax_body_bytes = 10485759", Some("expose.max_body_bytes is 10485759, must be at least 10485760")),
        ("[evaluate.objective]\ntarget = 0", Some("evaluate.objective.target")),
        ("[telemetry]\nbatch_size = 0", Some("telemetry.batch_size is 0")),
        ("[telemetry]\nprocessing_timeout_ms = 10", Some("telemetry.processing_timeout_ms is 10")),
        (
            "[[telemetry.default_thresholds]]\nmetric_type = \"cpu_usage\"\nwarning_threshold = 9\n\
             critical_threshold = 8",
            Some("critical_threshold for cpu_usage"),
        ),
        ("[[telemetry.alert_configs]]\nalert_type = \"cpu\"\nseverity = \"info\"", Some("alert_type \"cpu\"")),
        (
            "[[telemetry.alert_configs]]\nalert_type = \"*\"\nseverity = \"info\"\nnotification_channels = [\"x\"]",
            Some("the channel \"x\""),
        ),
        ("[[channels]]\nname = \"x\"\nkind = \"webhook\"\nurl = \"http://h/\"", Some("needs a secret")),
        ("[[channels]]\nname = \"x\"\nkind = \"alertmanager\"\nurl = \"h:9093\"", Some("url of \"x\"")),
        ("[[channels]]\nname = \"x\"\nkind = \"alertmanager\"\nurl = \"http://h:9093\"", None),
        (
            "[[evaluate.outlier_alerts]]\nname = \"x\"\nplugin = \"iqr-outlier\"\nseries = 0",
            Some("evaluate.outlier_alerts: series"),
        ),
        ("[[evaluate.outlier_alerts]]\nname = \"x\"\nplugin = \"iqr-outlier\"\nmetric_types = [\"cpu_usage\"]", None),
        ("[[maintenance]]\nagents = [\"*\"]\nfrom = \"2\"\nto = \"03:00\"", Some("maintenance: from")),
    ] {
        let found = layered(file, &[]).unwrap().check();
        match (expect, found) {
            (None, Ok(())) => {}
            (Some(word), Err(error)) => assert!(error.to_string().contains(word), "{file}: {error}"),
            (_, found) => panic!("{file}: {found:?}"),
        }
    }
}

#[test]
fn each_room_is_told_its_part() {
    let file = "[telemetry]\ndefault_heartbeat_interval_ms = 7000\ndefault_metrics_interval_ms = 9000\n\
        heartbeat_retention_days = 3\nmetrics_retention_days = 4\nsnapshot_retention_days = 5\nbatch_size = 6\n\
        [[telemetry.default_thresholds]]\nmetric_type = \"cpu_usage\"\nwarning_threshold = 50\n\
        critical_threshold = 60\nevaluation_window = \"90s\"\n\
        [[telemetry.default_thresholds]]\nmetric_type = \"response_time\"\nwarning_threshold = 2\n\
        critical_threshold = 1\nthreshold_operator = \"less_than\"\n\
        [[telemetry.alert_configs]]\nalert_type = \"*\"\nseverity = \"warning\"\n\
        [evaluate]\nmemory_total_mb = 100.0\n[evaluate.objective]\ntarget = 99.0\nperiod_days = 7\n\
        [expose.thresholds]\nerror_rate = [1.0, 2.0]\n\
        [[maintenance]]\nagents = [\"web-*\"]\ndays = [\"sat\"]\nfrom = \"02:00\"\nto = \"04:00\"";
    let config = layered(file, &[]).unwrap();
    config.check().unwrap();
    let (evaluate, expose, store) = (config.evaluate(), config.expose(), config.store());
    assert_eq!(evaluate.liveness.default_interval_ms, 9_000);
    assert_eq!(evaluate.thresholds.len(), 2);
    assert_eq!((evaluate.alerts.len(), evaluate.maintenance.len()), (1, 1));
    assert_eq!((expose.heartbeat_interval_ms, expose.most_heartbeats), (7_000, 6));
    assert!((expose.sla_target - 99.0).abs() < f64::EPSILON);
    assert_eq!(expose.sla_period_days, 7);
    let limits = expose.thresholds;
    assert_eq!((limits.cpu, limits.error_rate), ([50.0, 60.0], [1.0, 2.0]));
    assert_eq!((limits.memory, limits.response_ms), (NEVER, NEVER));
    assert!((limits.memory_total_mb - 100.0).abs() < f64::EPSILON);
    assert_eq!((config.normalize().sample_retention_days, expose.sample_retention_days), (4, 4));
    let days = (store.verdict_retention_days, store.sample_retention_days, store.session_retention_days);
    assert_eq!(days, (3, 4, 5));
    // Unless told otherwise each stage is as it would be alone.
    let config = Config::default();
    assert_eq!((config.evaluate(), config.expose()), (EvaluateConfig::default(), ExposeConfig::default()));
}

#[test]
fn secrets_are_not_shown() {
    let file = "[export]\nendpoint = \"http://me:secret@host:4317\"\n[export.headers]\nauthorization = \"secret\"\n\
        [[channels]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://me:secret@hooks/secret?secret\"\n\
        secret_env = \"X\"\n[[channels]]\nname = \"b\"\nkind = \"alertmanager\"\nurl = \"http://me:secret@am/x\"";
    let shown = layered(file, &[]).unwrap().shown();
    let shown = shown.replace("secret_env", "named");
    assert!(
        !shown.contains("secret")
            && shown.contains("@am/x")
            && shown.contains("authorization")
            && shown.contains("@host:4317"),
        "{shown}"
    );
    // What is shown can be used as a file.
    layered(&shown.replace("named", "secret_env"), &[]).unwrap();
}

#[test]
fn the_token_of_influxdb_is_taken_and_not_shown() {
    let file = "[store]\nkind = \"influxdb\"\n[store.influxdb]\nurl = \"http://me:secret@host:8086\"";
    let config = layered(file, &[("VITALS__STORE__INFLUXDB__TOKEN", "secret")]).unwrap();
    config.check().unwrap();
    assert!(config.store.influxdb.token.is_some());
    let shown = config.shown();
    assert!(!shown.contains("secret") && shown.contains("@host:8086"), "{shown}");
    assert!(!format!("{:?}", config.store.influxdb.token).contains("secret"));
    for wrong in ["url = \"host:8086\"", "org = \"\"", "batch_lines = 0"] {
        let file = format!("[store]\nkind = \"influxdb\"\n[store.influxdb]\n{wrong}");
        let key = wrong.split(' ').next().unwrap();
        let error = layered(&file, &[]).unwrap().check().unwrap_err().to_string();
        assert!(error.contains(&format!("store.influxdb.{key}")), "{error}");
    }
}

#[test]
fn free_ports() {
    let mut config = Config::default();
    config.take_free_ports();
    assert_eq!(config.receive.grpc, "127.0.0.1:0");
    config.check().unwrap();
}
