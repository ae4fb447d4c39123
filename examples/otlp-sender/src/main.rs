//! Sends metrics with the OpenTelemetry SDK for half a minute.
//!
//!     OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p otlp-sender
//!
//! The resource names the service and its instance: that is the agent that `vitals` shows.

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(30), |text| text.parse())?;
    // The endpoint comes from OTEL_EXPORTER_OTLP_ENDPOINT; without it http://localhost:4318.
    let exporter = MetricExporter::builder().with_http().build()?;
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_secs(5)).build();
    let resource = Resource::builder()
        .with_service_name("checkout")
        .with_attribute(KeyValue::new("service.instance.id", "checkout-1"))
        .with_attribute(KeyValue::new("deployment.environment.name", "example"))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();

    let meter = provider.meter("otlp-sender");
    let orders = meter.u64_counter("orders").with_unit("{order}").build();
    let queue = meter.f64_gauge("queue.length").with_unit("{order}").build();
    let duration = meter.f64_histogram("http.server.request.duration").with_unit("s").build();
    for second in 0..seconds {
        let busy = (second as f64 / 5.0).sin().abs();
        orders.add(1 + (10.0 * busy) as u64, &[KeyValue::new("payment", "card")]);
        queue.record(20.0 * busy, &[]);
        duration.record(0.02 + 0.1 * busy, &[KeyValue::new("http.response.status_code", 200)]);
        std::thread::sleep(Duration::from_secs(1));
    }
    // Sends what has not been sent yet; an error here is an error of the export.
    provider.shutdown()?;
    println!("sent {seconds} s of metrics as checkout-1");
    Ok(())
}
