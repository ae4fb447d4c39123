//! Reports CPU and memory of this machine (Linux) as heartbeats.
//!
//!     VITALS_TOKEN=... cargo run -p heartbeat-agent -- web-1
//!
//! VITALS_URL is http://127.0.0.1:8080 unless set. A second argument is how many heartbeats to send; without it the
//! program goes on until it is stopped.

use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;
use std::{env, fs, thread};

const INTERVAL: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let agent = env::args().nth(1).ok_or("the name of the agent is missing: heartbeat-agent NAME [COUNT]")?;
    let count: usize = env::args().nth(2).map_or(Ok(usize::MAX), |text| text.parse())?;
    let url = env::var("VITALS_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let token = env::var("VITALS_TOKEN").map_err(|_| "VITALS_TOKEN is not set: `vitals token` makes one")?;
    let mut before = cpu_times()?;
    for sent in 0..count {
        if sent > 0 {
            thread::sleep(INTERVAL);
        }
        let now = cpu_times()?;
        let heartbeat = json!({
            "agent_info": {"agent_id": agent, "agent_version": env!("CARGO_PKG_VERSION"), "environment": "example"},
            "health_status": "healthy",
            "timestamp": jiff::Timestamp::now().to_string(),
            "heartbeat_interval_ms": INTERVAL.as_millis() as u64,
            "cpu_usage_percent": busy_percent(before, now),
            "memory_usage_mb": memory_used_mb()?,
        });
        before = now;
        match beat(&url, &token, &heartbeat) {
            Ok(answer) => println!("{} (score {})", answer["calculated_health"], answer["health_score"]),
            // A heartbeat that did not get through is followed by the next one.
            Err(error) => eprintln!("not sent: {error}"),
        }
    }
    Ok(())
}

fn beat(url: &str, token: &str, heartbeat: &Value) -> Result<Value, ureq::Error> {
    ureq::post(format!("{url}/api/v1/telemetry/heartbeat"))
        .header("authorization", format!("Bearer {token}"))
        .send_json(heartbeat)?
        .body_mut()
        .read_json()
}

/// Busy and idle time of all cores since boot, in ticks.
fn cpu_times() -> Result<(f64, f64), Box<dyn Error>> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().ok_or("/proc/stat is empty")?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<f64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
    let [user, nice, system, idle, wait, irq, softirq, steal] = ticks[..] else {
        return Err("/proc/stat has an unknown form".into());
    };
    Ok((user + nice + system + irq + softirq + steal, idle + wait))
}

/// Null for the first heartbeat, when nothing has been measured yet.
fn busy_percent(before: (f64, f64), now: (f64, f64)) -> Option<f64> {
    let (busy, idle) = (now.0 - before.0, now.1 - before.1);
    (busy + idle > 0.0).then(|| (100.0 * busy / (busy + idle)).clamp(0.0, 100.0))
}

fn memory_used_mb() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kilobytes = |name: &str| -> Result<f64, Box<dyn Error>> {
        let line = text.lines().find(|line| line.starts_with(name)).ok_or("/proc/meminfo lacks a line")?;
        Ok(line.split_whitespace().nth(1).ok_or("/proc/meminfo has an unknown form")?.parse()?)
    };
    Ok((kilobytes("MemTotal:")? - kilobytes("MemAvailable:")?) * 1024.0 / 1e6)
}
