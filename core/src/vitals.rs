//! What a series says of its agent's vitals, from its description alone.
//!
//! A Collector's hostmetrics receiver reports CPU seconds and bytes by state, not percentages; the roles
//! say which series have to be put together for one. Values are meant after [`SeriesSpec::factor`].

use crate::series::{MetricKind, Origin, Part, SeriesSpec, Shape};

/// How a series contributes to [`crate::record::Vitals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VitalRole {
    /// CPU in use, percent; the mean over the agent's series is `cpu_percent`.
    CpuPercent,
    /// CPU idle, percent, one series a core; `cpu_percent` is 100 minus the mean.
    CpuIdlePercent,
    /// CPU seconds in use, a running total by core and state. With the increases of all of them since
    /// the last look: `cpu_percent` = 100 * busy / (busy + idle).
    CpuBusySeconds,
    /// CPU seconds idle, a running total by core.
    CpuIdleSeconds,
    /// CPU that one process uses, percent of one core, by state; their sum is `cpu_percent` of an agent that has
    /// none of the above.
    ProcessCpuPercent,
    /// Memory in use, percent; the largest is `memory_percent`.
    MemoryPercent,
    /// Memory in use, bytes; `memory_mb` = the sum / 10^6, `memory_percent` = 100 * used / (used + other).
    MemoryUsedBytes,
    /// Memory in another state (free, buffered, cached, inactive), bytes.
    MemoryOtherBytes,
    /// All memory, bytes; where it is known it stands for used + other.
    MemoryTotalBytes,
    /// Memory of one process, bytes; `memory_mb` of an agent that has none of the above.
    ProcessMemoryBytes,
    /// A file system in use, percent; the largest is `disk_percent`.
    DiskPercent,
    /// A file system in use, bytes. Within one [`group`]: percent = 100 * used / (used + free).
    DiskUsedBytes,
    /// Free bytes of a file system; what is reserved for root counts as neither.
    DiskFreeBytes,
    /// Network latency, milliseconds; the largest is `latency_ms`.
    LatencyMs,
    /// Time to answer, milliseconds; the largest is `response_ms`.
    ResponseMs,
    /// Share of requests that failed, percent; the largest is `error_percent`.
    ErrorPercent,
    /// Requests that went well, a running total.
    Requests,
    /// Requests that failed, a running total. `requests` is the increase of this and of [`Self::Requests`].
    FailedRequests,
    /// Bytes over the network, a running total by device and direction; 8e-6 * its rate adds to `bandwidth_mbps`.
    NetworkBytes,
    /// Packets over the network, a running total.
    Packets,
    /// Packets lost, a running total; `packet_loss_percent` = 100 * lost / (lost + packets), of the increases.
    PacketsLost,
    /// Open connections; the sum is `connections`.
    Connections,
}

/// Keys under which instrumentations of several ages give the state that an amount is in.
const STATE_KEYS: [&str; 7] = [
    "state",
    "cpu.mode",
    "system.cpu.state",
    "system.memory.state",
    "system.filesystem.state",
    "process.cpu.state",
    "network.connection.state",
];

/// The state attribute of a series, whichever of its names it has.
#[must_use]
pub fn state(spec: &SeriesSpec) -> Option<&str> {
    spec.attributes.iter().find(|(key, _)| STATE_KEYS.contains(&key.as_str())).map(|(_, value)| value.as_str())
}

/// What all series of one thing (one file system, one core) share and no other has: the attributes other
/// than the state.
pub fn group(spec: &SeriesSpec) -> impl Iterator<Item = &(String, String)> {
    spec.attributes.iter().filter(|(key, _)| !STATE_KEYS.contains(&key.as_str()))
}

/// The role of a series, `None` for most. Series received over REST have none: a heartbeat carries its
/// vitals itself.
#[must_use]
pub fn role(spec: &SeriesSpec) -> Option<VitalRole> {
    if spec.origin != Origin::Otlp {
        return None;
    }
    if spec.part == Part::Value { named(spec).or_else(|| typed(spec)) } else { of_distribution(spec) }
}

fn running_total(spec: &SeriesSpec) -> bool {
    spec.shape != Shape::Gauge
}

/// Roles of well-known metrics whose meaning hangs on their attributes.
fn named(spec: &SeriesSpec) -> Option<VitalRole> {
    let state = state(spec);
    match (spec.metric.as_str(), state) {
        ("system.cpu.time", Some("idle")) if running_total(spec) => Some(VitalRole::CpuIdleSeconds),
        ("system.cpu.time", Some(_)) if running_total(spec) => Some(VitalRole::CpuBusySeconds),
        ("system.cpu.utilization", Some("idle")) => Some(VitalRole::CpuIdlePercent),
        ("process.cpu.utilization" | "jvm.cpu.recent_utilization", _) => Some(VitalRole::ProcessCpuPercent),
        ("system.memory.usage", Some("used")) => Some(VitalRole::MemoryUsedBytes),
        // The states slab_* overlap with cached and used.
        ("system.memory.usage", Some("free" | "buffered" | "buffers" | "cached" | "inactive")) => {
            Some(VitalRole::MemoryOtherBytes)
        }
        ("system.memory.limit", _) => Some(VitalRole::MemoryTotalBytes),
        ("process.memory.usage" | "process.memory.physical_usage" | "container.memory.usage", None) => {
            Some(VitalRole::ProcessMemoryBytes)
        }
        ("system.filesystem.usage", Some("used")) => Some(VitalRole::DiskUsedBytes),
        ("system.filesystem.usage", Some("free")) => Some(VitalRole::DiskFreeBytes),
        ("system.network.io", _) if running_total(spec) => Some(VitalRole::NetworkBytes),
        ("system.network.packets" | "system.network.packet.count", _) if running_total(spec) => {
            Some(VitalRole::Packets)
        }
        ("system.network.dropped" | "system.network.packet.dropped", _) if running_total(spec) => {
            Some(VitalRole::PacketsLost)
        }
        ("system.network.connections" | "system.network.connection.count", Some(s))
            if s.eq_ignore_ascii_case("established") =>
        {
            Some(VitalRole::Connections)
        }
        ("network.latency" | "icmp.rtt" | "ping.rtt", None) if spec.unit == "ms" => Some(VitalRole::LatencyMs),
        _ => None,
    }
}

/// Roles that follow from the typed kind and its unit, so that a new line of the rules table is enough.
fn typed(spec: &SeriesSpec) -> Option<VitalRole> {
    if running_total(spec) && spec.unit != "%" {
        return None;
    }
    match (spec.kind, spec.unit.as_str(), state(spec)) {
        (MetricKind::CpuUsage, "%", None) => Some(VitalRole::CpuPercent),
        (MetricKind::MemoryUsage, "%", None | Some("used")) => Some(VitalRole::MemoryPercent),
        (MetricKind::DiskUsage, "%", None | Some("used")) => Some(VitalRole::DiskPercent),
        (MetricKind::ResponseTime, "ms", _) => Some(VitalRole::ResponseMs),
        (MetricKind::ErrorRate, "%", _) => Some(VitalRole::ErrorPercent),
        _ => None,
    }
}

/// Roles of the numbers of a histogram or summary.
fn of_distribution(spec: &SeriesSpec) -> Option<VitalRole> {
    match spec.part {
        Part::Quantile(q) if spec.kind == MetricKind::ResponseTime && spec.unit == "ms" && q.to_bits() == P95 => {
            Some(VitalRole::ResponseMs)
        }
        Part::Count if SERVER_DURATIONS.contains(&spec.metric.as_str()) => {
            Some(if failed(spec) { VitalRole::FailedRequests } else { VitalRole::Requests })
        }
        _ => None,
    }
}

const P95: u64 = 0.95_f64.to_bits();

/// Durations of requests that the agent answered; their counts are its requests.
const SERVER_DURATIONS: [&str; 6] = [
    "http.server.request.duration",
    "http.server.duration",
    "rpc.server.duration",
    "rpc.server.call.duration",
    "http_server_duration",
    "http_server_request_duration_seconds",
];

/// Whether the requests of a series failed by the server's fault: status 5xx, or a gRPC status that the
/// semantic conventions count as a server's error.
fn failed(spec: &SeriesSpec) -> bool {
    spec.attributes.iter().any(|(key, value)| match key.as_str() {
        "http.response.status_code" | "http.status_code" => value.len() == 3 && value.starts_with('5'),
        "rpc.grpc.status_code" => ["2", "4", "12", "13", "14", "15"].contains(&value.as_str()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn spec(metric: &str, attribute: Option<(&str, &str)>) -> SeriesSpec {
        SeriesSpec {
            metric: metric.to_owned(),
            unit: String::new(),
            kind: MetricKind::Custom,
            shape: Shape::Gauge,
            part: Part::Value,
            integer: false,
            factor: 1.0,
            origin: Origin::Otlp,
            scope: Arc::default(),
            attributes: attribute.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect(),
            resource: Arc::default(),
        }
    }

    #[test]
    fn by_name_and_state() {
        use VitalRole as R;
        let total = Shape::Cumulative { monotonic: true };
        for (metric, attribute, shape, expect) in [
            ("system.cpu.time", Some(("state", "idle")), total, Some(R::CpuIdleSeconds)),
            ("system.cpu.time", Some(("cpu.mode", "user")), total, Some(R::CpuBusySeconds)),
            ("system.cpu.time", None, total, None),
            ("system.cpu.utilization", Some(("system.cpu.state", "idle")), Shape::Gauge, Some(R::CpuIdlePercent)),
            ("system.cpu.utilization", Some(("state", "user")), Shape::Gauge, None),
            ("system.memory.usage", Some(("state", "used")), total, Some(R::MemoryUsedBytes)),
            ("system.memory.usage", Some(("state", "cached")), total, Some(R::MemoryOtherBytes)),
            ("system.memory.usage", Some(("state", "slab_reclaimable")), total, None),
            ("system.filesystem.usage", Some(("state", "free")), total, Some(R::DiskFreeBytes)),
            ("system.filesystem.usage", Some(("state", "reserved")), total, None),
            ("system.network.connections", Some(("state", "ESTABLISHED")), total, Some(R::Connections)),
            ("system.network.io", Some(("direction", "receive")), total, Some(R::NetworkBytes)),
            ("my.metric", None, Shape::Gauge, None),
        ] {
            let spec = SeriesSpec { shape, ..spec(metric, attribute) };
            assert_eq!(role(&spec), expect, "{metric} {attribute:?}");
        }
    }

    #[test]
    fn by_kind_and_unit() {
        use MetricKind as K;
        use VitalRole as R;
        for (kind, unit, attribute, expect) in [
            (K::CpuUsage, "%", None, Some(R::CpuPercent)),
            (K::CpuUsage, "%", Some(("state", "user")), None),
            (K::MemoryUsage, "%", Some(("state", "used")), Some(R::MemoryPercent)),
            (K::MemoryUsage, "%", Some(("state", "free")), None),
            (K::MemoryUsage, "By", None, None),
            (K::DiskUsage, "%", None, Some(R::DiskPercent)),
            (K::ErrorRate, "%", None, Some(R::ErrorPercent)),
            (K::ResponseTime, "ms", None, Some(R::ResponseMs)),
            (K::ResponseTime, "s", None, None),
        ] {
            let spec = SeriesSpec { kind, unit: unit.to_owned(), ..spec("anything", attribute) };
            assert_eq!(role(&spec), expect, "{kind:?} {unit} {attribute:?}");
            assert_eq!(role(&SeriesSpec { origin: Origin::Rest, ..spec }), None);
        }
    }

    #[test]
    fn requests_and_failures() {
        let total = Shape::Cumulative { monotonic: true };
        for (status, expect) in
            [("200", VitalRole::Requests), ("404", VitalRole::Requests), ("503", VitalRole::FailedRequests)]
        {
            let attribute = Some(("http.response.status_code", status));
            let count =
                SeriesSpec { part: Part::Count, shape: total, ..spec("http.server.request.duration", attribute) };
            assert_eq!(role(&count), Some(expect), "{status}");
        }
    }

    #[test]
    fn the_group_leaves_the_state_out() {
        let mut spec = spec("system.filesystem.usage", Some(("device", "/dev/sda1")));
        spec.attributes = [spec.attributes.to_vec(), vec![("state".to_owned(), "used".to_owned())]].concat().into();
        assert_eq!(state(&spec), Some("used"));
        assert_eq!(group(&spec).count(), 1);
    }
}
