//! Reads the outliers of the last hour from InfluxDB, when `vitals` stores there.
//!
//!     INFLUX_URL=http://127.0.0.1:8086 INFLUX_ORG=ops INFLUX_BUCKET=vitals INFLUX_TOKEN=... \
//!         cargo run -p influxdb-verdicts

use influxdb2::models::Query;
use influxdb2::{Client, FromDataPoint};
use std::env;
use std::error::Error;

/// One row of the answer: an outlier with the bounds that it broke.
#[derive(Debug, Default, FromDataPoint)]
struct Outlier {
    time: chrono::DateTime<chrono::FixedOffset>,
    vitals_agent: String,
    metric: String,
    plugin: String,
    value: f64,
    lower: f64,
    upper: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let set = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let bucket = set("INFLUX_BUCKET")?;
    let client = Client::new(set("INFLUX_URL")?, set("INFLUX_ORG")?, set("INFLUX_TOKEN")?);
    // The client puts the fields of one point together. Flux takes a string in JSON's form.
    let flux = format!(
        r#"from(bucket: {bucket:?})
            |> range(start: -1h)
            |> filter(fn: (r) => r._measurement == "vitals_outlier")
            |> filter(fn: (r) => r._field == "value" or r._field == "lower" or r._field == "upper")"#
    );
    let outliers = client.query::<Outlier>(Some(Query::new(flux))).await?;
    for found in &outliers {
        println!(
            "{}  {}  {} = {} (expected {} to {}, says {})",
            found.time.to_rfc3339(),
            found.vitals_agent,
            found.metric,
            found.value,
            found.lower,
            found.upper,
            found.plugin
        );
    }
    println!("{} outliers in the last hour", outliers.len());
    Ok(())
}
