//! The OpenAPI document.

use super::*;

#[test]
fn every_example_fits_its_own_schema() {
    let document = document();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let mut examples = 0;
        let check = |what: &str, media: &Value| {
            let example = media.get("example").unwrap_or_else(|| panic!("{place}: {what} has no example"));
            let wrong = violations(&within(&document, &media["schema"]), example);
            assert!(wrong.is_empty(), "{place}: {what}: {wrong:#?}");
        };
        if let Some(body) = operation.get("requestBody") {
            check("the request", &body["content"]["application/json"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            // What follows an upgrade is described elsewhere.
            examples += usize::from(status == "101");
            for (name, media) in response["content"].as_object().into_iter().flatten() {
                check(status, media);
                examples += usize::from(status.starts_with('2') && name != "text/csv");
            }
        }
        assert_eq!(examples, 1, "{place} has one kind of success");
    }
}

#[test]
fn the_examples_fit_the_contract() {
    let document = document();
    let example = |path: &str, method: &str, status: Option<&str>| {
        let operation = &document["paths"][format!("/api/v1/telemetry/{path}")][method];
        let holder = status.map_or(&operation["requestBody"], |status| &operation["responses"][status]);
        holder["content"]["application/json"]["example"].clone()
    };
    for (path, status, request, response) in [
        ("heartbeat", "201", "HeartbeatRequest", "HeartbeatResponse"),
        ("system-metrics", "201", "SystemMetricsRequest", "SystemMetricsResponse"),
        ("batch", "202", "TelemetryIngestionBatch", "TelemetryIngestionResult"),
        ("health-check", "200", "HealthCheckRequest", "HealthStatusResponse"),
        ("dashboard", "200", "DashboardQuery", "TelemetryDashboardData"),
    ] {
        assert_eq!(violations(&contract(request), &example(path, "post", None)), [] as [&str; 0], "{path}");
        fits(response, &example(path, "post", Some(status)));
    }
    fits("UptimeStatusResponse", &example("uptime-status/{agent_id}", "get", Some("200")));
    fits("UptimeSummaryResponse", &example("uptime-summary/{target_id}", "get", Some("200")));
}

/// The document asks for no more and no less than the contract's schemas do, but for what it says of names.
#[test]
fn the_document_has_the_fields_of_the_contract() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for name in [
        "AgentInfo",
        "AlertInfo",
        "DashboardQuery",
        "HealthAssessment",
        "HealthCheckRequest",
        "HealthStatusResponse",
        "HeartbeatRequest",
        "HeartbeatResponse",
        "MetricData",
        "SystemMetricsRequest",
        "SystemMetricsResponse",
        "TelemetryDashboardData",
        "TelemetryIngestionBatch",
        "TelemetryIngestionResult",
        "TimeRange",
        "UptimeStatusResponse",
        "UptimeSummaryResponse",
    ] {
        let theirs = contract(name);
        let ours = &schemas[name];
        for (field, theirs) in theirs["properties"].as_object().unwrap() {
            let ours = ours["properties"].get(field).unwrap_or_else(|| panic!("{name}.{field} is not documented"));
            for bound in ["minimum", "maximum", "minItems"] {
                let theirs = theirs.get(bound).or_else(|| theirs["anyOf"][0].get(bound));
                let ours = ours.get(bound).or_else(|| ours["oneOf"][1].get(bound));
                if let Some(theirs) = theirs {
                    assert_eq!(ours.and_then(Value::as_f64), theirs.as_f64(), "{name}.{field} {bound}");
                }
            }
            if let Some(default) =
                theirs.get("default").filter(|default| !default.is_null() && name.ends_with("Request"))
            {
                assert_eq!(ours.get("default"), Some(default), "{name}.{field} default");
            }
        }
        let required = |schema: &Value| -> Vec<String> {
            let names = schema["required"].as_array().into_iter().flatten();
            names.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let asked = name.ends_with("Request") || name.ends_with("Query") || name.ends_with("Batch");
        for field in required(&theirs) {
            assert!(required(ours).contains(&field), "{name}.{field} is required");
        }
        for field in required(ours).iter().filter(|_| asked) {
            assert!(required(&theirs).contains(field), "{name}.{field} is not required");
        }
    }
}

#[test]
fn every_operation_says_what_it_answers() {
    let document = document();
    let mut ids = std::collections::BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{place}: its id is another's");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place} says nothing of itself");
        let responses = operation["responses"].as_object().unwrap();
        let mut expect = vec!["422", "500", "503"];
        if path.starts_with("/api/") {
            expect.extend(["401", "403"]);
            assert!(operation["security"].is_array(), "{place}");
        }
        if operation.get("requestBody").is_some() {
            expect.extend(["408", "413", "415", "429"]);
        }
        for status in expect {
            assert!(responses.contains_key(status), "{place}: {status}");
        }
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
            assert!(response["headers"].get("x-correlation-id").is_some(), "{place} {status}");
        }
    }
}

#[test]
fn the_patterns_of_the_document_are_those_of_the_checks() {
    let document = document();
    let schema = |name: &str| within(&document, &document["components"]["schemas"][name]);
    let (id, span) = (schema("Id"), schema("Span"));
    let long = |length: usize| "é".repeat(length);
    for text in [
        "web-1",
        "",
        " ",
        "é\u{1F980}",
        "a\u{0}",
        "a\nb",
        "\u{7f}",
        "\u{9b}",
        "a\u{202e}b",
        "\u{2066}",
        "\u{200d}",
        " a",
        "a ",
        "a b",
        "\u{a0}a",
        "a\u{feff}",
        "\u{3000}",
        ".",
        "..",
        "...",
        ".a",
        "..a",
        "a..",
        "../a/?#%",
        &long(100),
        &long(101),
    ] {
        let taken = super::super::contract::id(&json!(text), &[]).is_empty();
        assert_eq!(taken, violations(&id, &json!(text)).is_empty(), "{text:?}");
    }
    for text in [
        "30s",
        "5m",
        "5 m",
        "5  m",
        "0",
        "00",
        "007",
        "1000000000",
        "999999999 days",
        "1w",
        "",
        "s",
        "-1s",
        "5m ",
        "1.5h",
    ] {
        let taken = super::super::time::parse_duration(text).is_some();
        assert_eq!(taken, violations(&span, &json!(text)).is_empty(), "{text:?}");
    }
}

#[test]
fn the_document_names_nothing_that_it_lacks() {
    let document = document();
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if let (true, Some(target)) = (name == "$ref", inner.as_str()) {
                        assert!(document.pointer(&target[1..]).is_some(), "{target}");
                    }
                    walk(inner, document);
                }
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, document)),
            _ => {}
        }
    }
    walk(&document, &document);
}

/// `VITALS_BLESS=1` writes the file anew.
#[test]
fn the_document_is_the_golden_one() {
    let mut text = serde_json::to_string_pretty(&super::super::docs::document(written())).unwrap();
    text.push('\n');
    let path = format!("{}/tests/golden/openapi.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VITALS_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API's document changed; look at it, then run with VITALS_BLESS=1");
}

#[test]
fn the_examples_have_the_times_of_now() {
    let later = 40 * DAY + 13 * HOUR + 5 * UnixNanos::SECOND;
    let (then, now) = (document(), super::super::docs::document(written().plus(later)).0);
    let example = |document: &Value, path: &str, status: &str| {
        document["paths"][format!("/api/v1/telemetry/{path}")]["get"]["responses"][status]["content"]["application/json"]["example"]
            .clone()
    };
    let beat = |document: &Value| {
        let post = &document["paths"]["/api/v1/telemetry/heartbeat"]["post"];
        post["requestBody"]["content"]["application/json"]["example"]["timestamp"].clone()
    };
    assert_eq!((beat(&then), beat(&now)), (json!("2026-03-01T11:59:58Z"), json!("2026-04-11T01:00:03Z")));
    let days = |document: &Value| {
        let summary = example(document, "uptime-summary/{target_id}", "200");
        summary["daily_uptime"].as_array().unwrap().iter().map(|day| day["date"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (days(&then), days(&now)),
        (vec![json!("2026-02-28"), json!("2026-03-01")], vec![json!("2026-04-10"), json!("2026-04-11")])
    );
    assert!(!now.to_string().contains("2026-03-01"), "a time that stayed behind");
    // Everything else is as it was.
    assert_eq!(then.to_string().len(), now.to_string().len());
}

/// The checks of a request are read from its schema: a keyword that they do not know would be said and not held.
#[test]
fn the_schemas_of_requests_have_no_keyword_that_is_not_checked() {
    const CHECKED: [&str; 11] = [
        "$ref",
        "enum",
        "items",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "oneOf",
        "required",
        "type",
    ];
    /// What says nothing of values, or is checked by a rule of its own for the schema's name.
    const OTHERS: [&str; 6] = ["default", "description", "example", "format", "pattern", "properties"];
    fn walk(schema: &Value, document: &Value, place: &str) {
        for (keyword, value) in schema.as_object().unwrap() {
            assert!(CHECKED.contains(&&**keyword) || OTHERS.contains(&&**keyword), "{place}: {keyword}");
            match keyword.as_str() {
                "$ref" => {
                    let target = &value.as_str().unwrap()[1..];
                    walk(document.pointer(target).unwrap(), document, target);
                }
                "pattern" => {
                    let name = place.rsplit('/').next().unwrap();
                    assert!(["Id", "Name", "MetricName", "Span"].contains(&name), "{place} has a pattern");
                }
                "items" => walk(value, document, &format!("{place}[]")),
                "oneOf" => value.as_array().unwrap().iter().for_each(|one| walk(one, document, place)),
                "properties" => {
                    value
                        .as_object()
                        .unwrap()
                        .iter()
                        .for_each(|(name, one)| walk(one, document, &format!("{place}.{name}")));
                }
                _ => {}
            }
        }
    }
    let document = document();
    let requests = operations(&document).into_iter().filter_map(|(path, _, operation)| {
        Some((path, operation.pointer("/requestBody/content/application~1json/schema")?.clone()))
    });
    assert_eq!(requests.map(|(path, schema)| walk(&schema, &document, &path)).count(), 12);
}
