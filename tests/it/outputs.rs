//! What a plugin answers and prints is bounded for each tenant, whatever restarts; and what it says when it fails is told.

use crate::hostile::{Stage, config, limits};
use crate::service::{Client, eventually, export_http, local, now};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Sum, metric};
use serde_json::Value;
use vitals::evaluate::host::PluginLimits;
use vitals::evaluate::tenant_plugins::AgentView;
use vitals::pipeline::Service;
use vitals_core::columns::Columns;
use vitals_core::ids::{AgentId, SeriesId, UnixNanos};
use vitals_core::record::Measurements;

/// One point of a counter of the host `web-1`.
fn count(value: u32) -> ExportMetricsServiceRequest {
    let mut request = crate::service::gauge("web-1", "requests", &[(now(), value.into())]);
    for metric in request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics) {
        for metric in &mut metric.metrics {
            let Some(metric::Data::Gauge(gauge)) = metric.data.take() else { continue };
            let sum = Sum { data_points: gauge.data_points, aggregation_temporality: 2, is_monotonic: true };
            metric.data = Some(metric::Data::Sum(sum));
        }
    }
    request
}

/// Sends the values of a counter, waits until all are stored, and returns the names that the guest `many-series` made.
async fn made(service: &Service, values: std::ops::Range<u32>) -> Vec<String> {
    let client = Client::of(service, None, None);
    for value in values.clone() {
        export_http(service, &count(value)).await;
    }
    let last = f64::from(values.end - 1);
    eventually(async || client.values("web-1", "requests").await, |stored| stored.last() == Some(&last)).await;
    let (_, list) = client.get("/series?agent=web-1").await;
    let all = list["series"].as_array().cloned().unwrap_or_default();
    let names = all.iter().filter_map(|series| series["metric_name"].as_str());
    names.filter(|name| name.starts_with("made.")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deriver_makes_no_more_series_than_it_may_whatever_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = local();
    settings.plugins = vec![config("many-series")];
    settings.plugin_limits = PluginLimits { outputs_per_series: 8, failures: u32::MAX, cpu_percent: 1e9, ..limits() };
    let service = Service::start(settings.clone(), folder.path()).await.expect("the service starts");
    let names = made(&service, 0..60).await;
    assert_eq!(names.len(), 8, "{names:?}");
    let metrics = reqwest::get(format!("http://{}/metrics", service.addresses().rest)).await.expect("an answer");
    let text = metrics.text().await.expect("text");
    let dropped = text.lines().find(|line| {
        let is = |part| line.contains(part);
        is("vitals_plugin_outputs_dropped_total") && is("many-series") && is("derived series")
    });
    let dropped = dropped.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    // How often it was asked depends on how the points were cut into batches.
    assert!(dropped.is_some_and(|dropped| dropped > 0), "{dropped:?}");
    service.stop().await;
    let service = Service::start(settings, folder.path()).await.expect("the service starts");
    assert_eq!(made(&service, 60..90).await, names);
    service.stop().await;
}

#[test]
fn findings_are_taken_at_a_rate_and_the_rest_is_counted() {
    let limits = PluginLimits { findings_per_second: 1, quarantine_seconds: 3600, ..limits() };
    let mut stage = Stage { value: 0.0, ..Stage::new("state", &limits) };
    assert_eq!(stage.turn(), 1, "the first ones are taken");
    let mut batch = Columns::default();
    (0..1_000).for_each(|row| batch.push(SeriesId(3), UnixNanos(stage.time + row), 0.0));
    let found = stage.plugins.detect(&batch).into_iter().find(|found| found.evidence.plugin == "state");
    let taken = found.map_or(0, |found| found.rows.len());
    // Ten at once, two of which are taken already, and one more for each second that this took.
    assert!((1..900).contains(&taken), "{taken}");
    let info = stage.info();
    assert_eq!((info.verdicts, info.dropped_outputs, info.failures), (taken as u64 + 2, 1_000 - taken as u64, 0));
}

#[test]
fn reasons_and_printed_text_are_cut() {
    let limits = PluginLimits { log_bytes_per_second: 100, reason_bytes: 2_000, ..limits() };
    let mut stage = Stage::new("long-reasons", &limits);
    let view = AgentView {
        agent: AgentId(1),
        time: UnixNanos(1),
        measurements: Measurements::default(),
        uptime_percent: None,
    };
    let scores = stage.plugins.assess(&[view]);
    let (_, _, health) = scores.iter().find(|(evidence, ..)| evidence.plugin == "long-reasons").expect("a score");
    let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    assert_eq!((bytes(&health.reasons), bytes(&health.recommendations)), (2_000, 0));
    assert_eq!(health.reasons.iter().map(String::len).collect::<Vec<_>>(), [1_300, 700]);
    // 24,000 bytes of texts, and at least most of 60,001 that were printed.
    let dropped = stage.info().dropped_outputs;
    assert!((24_000 + 50_000..=24_000 + 60_001).contains(&dropped), "{dropped}");
}

/// The last error of a guest after one turn.
fn error_of(name: &str) -> String {
    let mut stage = Stage::new(name, &limits());
    assert_eq!(stage.turn(), 0);
    stage.info().last_error.expect("an error")
}

#[test]
fn a_panic_is_told_with_the_guests_own_words_and_the_names_of_its_functions() {
    let error = error_of("trap");
    assert!(error.contains("panicked at") && error.contains("trap.rs") && error.contains("on purpose"), "{error}");
    assert!(error.contains("called by") && error.contains("detect"), "{error}");
    assert!(!error.contains("RUST_BACKTRACE") && !error.contains("core::panicking"), "{error}");
}

#[test]
fn recursion_is_called_that() {
    let error = error_of("recurse");
    assert!(error.contains("recursion is too deep") && error.contains("recurse::deeper"), "{error}");
}

/// What the page and `GET /plugins` show of a plugin is what is counted.
#[test]
fn what_is_counted_is_listed() {
    let mut stage = Stage { value: 0.0, ..Stage::new("state", &limits()) };
    stage.turn();
    let listed: Value = serde_json::to_value(stage.info()).expect("JSON");
    for (field, least) in [("verdicts", 2), ("calls", 1), ("memory_bytes", 65_536)] {
        assert!(listed[field].as_u64().is_some_and(|count| count >= least), "{field}: {listed}");
    }
}
