//! The examples of the OpenAPI document, sent as they stand and in its order to a service that knows nothing.

use crate::service::{Client, start};
use serde_json::Value;

/// The path with its parameters' examples; parameters of the query that have no example are left out.
fn target(path: &str, operation: &Value) -> String {
    let mut target = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().expect("a name");
        let example = parameter.get("example").or_else(|| parameter["schema"].get("example"));
        let text = example.map(|example| example.as_str().map_or_else(|| example.to_string(), str::to_owned));
        match (parameter["in"].as_str(), text) {
            (Some("path"), text) => {
                let text = text.unwrap_or_else(|| panic!("{path}: {name} has no example"));
                target = target.replace(&format!("{{{name}}}"), &text);
            }
            (_, Some(text)) => query.push(format!("{name}={text}")),
            (_, None) => assert_ne!(parameter["required"], true, "{path}: {name} has no example"),
        }
    }
    if query.is_empty() { target } else { format!("{target}?{}", query.join("&")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_document_run_on_an_empty_service() {
    let data = tempfile::tempdir().expect("a folder");
    let service = start(data.path()).await;
    let client = Client::of(&service, None, None);
    let root = client.base.strip_suffix("/api/v1/telemetry").expect("the prefix").to_owned();
    let text = client.http.get(format!("{root}/openapi.json")).send().await.expect("the document").text().await;
    let text = text.expect("text");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut paths: Vec<(&String, &Value)> = document["paths"].as_object().expect("paths").iter().collect();
    // Swagger UI shows the paths in the order of the text, which a parsed object does not keep.
    paths.sort_by_key(|(path, _)| text.find(&format!("\"{path}\":")).expect("the path"));
    assert_eq!(paths.len(), 29);
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let target = target(path, operation);
            let mut request = client.http.request(method.clone(), format!("{root}{target}")).bearer_auth(&client.token);
            if let Some(example) = operation["requestBody"]["content"]["application/json"].get("example") {
                request = request.json(example);
            }
            let answer = request.send().await.expect("an answer");
            let status = answer.status();
            if target.contains("/stream") {
                assert_eq!(answer.headers()["content-type"], "text/event-stream", "it does not end by itself");
                continue;
            }
            let body = answer.text().await.expect("text");
            if target.contains("/ws") {
                assert_eq!(status, 426, "{body}");
                continue;
            }
            // The sessions of the page need a secret that no example can hold.
            assert!(status.is_success() || target.starts_with("/session"), "{method} {target}: {status} {body}");
            let documented = operation["responses"].get(status.as_str()).is_some();
            assert!(documented, "{method} {target}: {status} is not documented");
        }
    }
    service.stop().await;
}
