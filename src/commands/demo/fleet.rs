//! What the simulated agents send: functions of the agent and the number of the interval, so that it can be repeated.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric::Data, number_data_point::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::json;
use std::ops::Range;
use std::time::Duration;

/// How often each agent sends.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Intervals of the past in the first export.
pub const PAST: u64 = 150;
/// A spike once in so many intervals.
const SPIKE_EVERY: u64 = 30;
/// The flapping agent beats for so many intervals, then is silent for as many: longer than its timeout.
const FLAP: u64 = 12;
/// The leaking agent is started anew after so many intervals.
const LEAK: u64 = 60;

/// The agent with too much CPU and too many errors.
pub const FAILING: &str = "payments-eu-1";
/// The agent that comes and goes.
pub const FLAPPING: &str = "search-us-1";
/// The agent whose memory leaks until it is started anew.
pub const LEAKING: &str = "cache-us-1";
/// The agent that is worked on, as planned.
pub const MAINTAINED: &str = "shop-eu-2";
/// The agent whose queue jumps.
pub const SPIKING: &str = "orders-ap-1";
/// The name by which it is known: its service and its instance.
pub const SPIKING_AGENT: &str = "orders:orders-ap-1";

/// One simulated agent.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    /// Its id: of a heartbeat, or `service.instance.id`.
    pub id: &'static str,
    service: &'static str,
    region: &'static str,
    zone: &'static str,
    speaks: Speaks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Rest,
    Otlp,
}

const fn agent(
    id: &'static str,
    service: &'static str,
    region: &'static str,
    zone: &'static str,
    speaks: Speaks,
) -> Agent {
    Agent { id, service, region, zone, speaks }
}

/// The fleet.
pub const AGENTS: &[Agent] = &[
    agent("shop-eu-1", "shop", "eu-central-1", "eu-central-1a", Speaks::Rest),
    agent(MAINTAINED, "shop", "eu-central-1", "eu-central-1b", Speaks::Rest),
    agent("shop-us-1", "shop", "us-east-1", "us-east-1a", Speaks::Rest),
    agent(FAILING, "payments", "eu-central-1", "eu-central-1a", Speaks::Rest),
    agent(FLAPPING, "search", "us-east-1", "us-east-1b", Speaks::Rest),
    agent(LEAKING, "cache", "us-east-1", "us-east-1c", Speaks::Rest),
    agent("orders-eu-1", "orders", "eu-central-1", "eu-central-1b", Speaks::Otlp),
    agent("orders-us-1", "orders", "us-east-1", "us-east-1a", Speaks::Otlp),
    agent(SPIKING, "orders", "ap-south-1", "ap-south-1a", Speaks::Otlp),
];

/// Between -1 and 1, another one for each agent, subject and interval.
fn noise(agent: &Agent, subject: &str, tick: u64) -> f64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64 ^ tick.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for byte in agent.id.bytes().chain(subject.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 29;
    f64::from(u32::try_from(hash >> 40).unwrap_or(0)) / f64::from(1_u32 << 23) - 1.0
}

/// A slow wave with noise around `middle`, within `swing` of it.
#[allow(clippy::cast_precision_loss)] // A tick takes seconds: it never comes near 2^53.
fn wave(agent: &Agent, subject: &str, tick: u64, middle: f64, swing: f64) -> f64 {
    let slow = (tick as f64 / 40.0 + noise(agent, subject, 0) * 3.0).sin();
    ((middle + swing * (0.6 * slow + 0.4 * noise(agent, subject, tick))) * 100.0).round() / 100.0
}

/// What an agent holds in memory, megabytes; the leak goes from three quarters of 8 GB to nearly all of it, in two minutes.
#[allow(clippy::cast_precision_loss)] // Less than 60.
fn memory_mb(agent: &Agent, tick: u64) -> f64 {
    if agent.id == LEAKING {
        let leaked = 30.0 * (tick % LEAK) as f64;
        return ((6_200.0 + leaked + 10.0 * noise(agent, "memory", tick)) * 100.0).round() / 100.0;
    }
    wave(agent, "memory", tick, 3_100.0, 300.0)
}

/// The heartbeat of a REST agent in an interval, if it sends one.
#[must_use]
pub fn heartbeat(agent: &Agent, tick: u64, now: i64) -> Option<serde_json::Value> {
    if agent.speaks != Speaks::Rest || agent.id == FLAPPING && (tick / FLAP) % 2 == 1 {
        return None;
    }
    let failing = agent.id == FAILING;
    let (status, cpu, errors, response) =
        if failing { ("degraded", 97.0, 24, 2_600.0) } else { ("healthy", 38.0, 1, 120.0) };
    let timestamp = jiff::Timestamp::from_nanosecond(now.into()).ok()?.to_string();
    Some(json!({
        "agent_info": {
            "agent_id": agent.id,
            "agent_name": agent.service,
            "agent_version": "1.4.2",
            "environment": "demo",
            "geographic_location": agent.region,
            "availability_zone": agent.zone,
        },
        "health_status": status,
        "timestamp": timestamp,
        "cpu_usage_percent": wave(agent, "cpu", tick, cpu, if failing { 1.5 } else { 12.0 }),
        "memory_usage_mb": memory_mb(agent, tick),
        "disk_usage_percent": wave(agent, "disk", tick, 54.0, 0.5),
        "network_latency_ms": wave(agent, "latency", tick, 24.0, 6.0),
        "bandwidth_usage_mbps": wave(agent, "bandwidth", tick, 80.0, 20.0),
        "packet_loss_percent": 0.0,
        "active_connections": 120,
        "request_count": 200,
        "error_count": errors,
        "response_time_ms": wave(agent, "response", tick, response, response / 5.0),
        "heartbeat_interval_ms": u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// The metrics of all OTLP agents in the intervals `ticks`; interval 0 was at `begun`.
#[must_use]
pub fn metrics(ticks: Range<u64>, begun: i64, step: i64) -> ExportMetricsServiceRequest {
    let at = |tick: u64| begun.saturating_add(i64::try_from(tick).unwrap_or(i64::MAX).saturating_mul(step));
    let otlp = AGENTS.iter().filter(|agent| agent.speaks == Speaks::Otlp);
    ExportMetricsServiceRequest {
        resource_metrics: otlp.map(|agent| resource_metrics(agent, ticks.clone(), begun, at)).collect(),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn resource_metrics(agent: &Agent, ticks: Range<u64>, begun: i64, at: impl Fn(u64) -> i64) -> ResourceMetrics {
    let time = |tick| u64::try_from(at(tick)).unwrap_or(0);
    let start = u64::try_from(begun).unwrap_or(0);
    let gauge = |name: &str, unit: &str, value: &dyn Fn(u64) -> f64| {
        let point = |tick| NumberDataPoint {
            time_unix_nano: time(tick),
            value: Some(Value::AsDouble(value(tick))),
            ..NumberDataPoint::default()
        };
        metric(name, unit, Data::Gauge(Gauge { data_points: ticks.clone().map(point).collect() }))
    };
    // 40 requests in each interval, since interval 0.
    let requests = |tick: u64| 40 * (tick + 1);
    let sum = Sum {
        data_points: ticks
            .clone()
            .map(|tick| NumberDataPoint {
                start_time_unix_nano: start,
                time_unix_nano: time(tick),
                value: Some(Value::AsInt(i64::try_from(requests(tick)).unwrap_or(i64::MAX))),
                ..NumberDataPoint::default()
            })
            .collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    };
    let histogram = Histogram {
        data_points: ticks.clone().map(|tick| durations(requests(tick), start, time(tick))).collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
    };
    let queue = |tick: u64| {
        let spike = agent.id == SPIKING && tick % SPIKE_EVERY == SPIKE_EVERY - 5;
        wave(agent, "queue", tick, 40.0, 8.0) * if spike { 20.0 } else { 1.0 }
    };
    ResourceMetrics {
        resource: Some(Resource {
            attributes: vec![
                text("service.name", agent.service),
                text("service.instance.id", agent.id),
                text("service.version", "2.0.1"),
                text("deployment.environment.name", "demo"),
                text("cloud.region", agent.region),
                text("cloud.availability_zone", agent.zone),
            ],
            ..Resource::default()
        }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(InstrumentationScope { name: "vitals.demo".to_owned(), ..InstrumentationScope::default() }),
            metrics: vec![
                gauge("system.cpu.utilization", "1", &|tick| wave(agent, "cpu", tick, 35.0, 10.0) / 100.0),
                gauge("system.memory.utilization", "1", &|tick| wave(agent, "memory", tick, 52.0, 6.0) / 100.0),
                gauge("orders.queue.length", "{order}", &queue),
                metric("orders.requests", "{request}", Data::Sum(sum)),
                metric("http.server.request.duration", "s", Data::Histogram(histogram)),
            ],
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}

/// Of `requests` so far, 70 in 100 took under 50 ms, 95 under 200 ms, all under a second.
#[allow(clippy::cast_precision_loss)] // Counts of a demo.
fn durations(requests: u64, start: u64, time: u64) -> HistogramDataPoint {
    let (fast, fair) = (requests * 70 / 100, requests * 95 / 100 - requests * 70 / 100);
    HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: requests,
        sum: Some(requests as f64 * 0.075),
        bucket_counts: vec![fast, fair, requests - fast - fair, 0],
        explicit_bounds: vec![0.05, 0.2, 1.0],
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_does_what_it_says() {
        let beats = |id: &str, ticks: Range<u64>| {
            let agent = AGENTS.iter().find(|agent| agent.id == id).unwrap();
            ticks.filter_map(|tick| heartbeat(agent, tick, 1_800_000_000_000_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(beats("shop-eu-1", 0..48).len(), 48);
        assert_eq!(beats(FLAPPING, 0..48).len(), 24);
        assert!(beats(SPIKING, 0..48).is_empty());
        for beat in beats(FAILING, 0..100) {
            assert!(beat["cpu_usage_percent"].as_f64().unwrap() > 95.0, "{beat}");
            assert!(beat["cpu_usage_percent"].as_f64().unwrap() <= 100.0, "{beat}");
        }
        let leak = beats(LEAKING, 0..LEAK + 1);
        let held = |at: usize| leak[at]["memory_usage_mb"].as_f64().unwrap();
        assert!((1..60).all(|at| held(at) > held(at - 1)), "it leaks");
        assert!(held(30) > 0.85 * 8_192.0 && held(59) < 8_192.0, "{} {}", held(30), held(59));
        assert!(held(60) < 0.8 * 8_192.0, "started anew: {}", held(60));
        for beat in beats("shop-us-1", 0..500) {
            assert!((20.0..60.0).contains(&beat["cpu_usage_percent"].as_f64().unwrap()), "{beat}");
            assert_eq!(beat["timestamp"], "2027-01-15T08:00:00Z");
        }
    }

    #[test]
    fn the_past_holds_a_spike_of_one_agent_alone() {
        let request = metrics(0..PAST + 1, 0, 1_000);
        assert_eq!(request.resource_metrics.len(), 3);
        for resource in &request.resource_metrics {
            let id = &resource.resource.as_ref().unwrap().attributes[1];
            let Some(Data::Gauge(queue)) = &resource.scope_metrics[0].metrics[2].data else { panic!("no queue") };
            let high = queue.data_points.iter().filter(|p| matches!(p.value, Some(Value::AsDouble(v)) if v > 100.0));
            assert_eq!(high.count() > 2, *id == text("service.instance.id", SPIKING));
            assert_eq!(queue.data_points.len() as u64, PAST + 1);
        }
    }
}
