//! What a series says of its agent's vitals, from its description alone.
//!
//! A Collector's hostmetrics receiver reports CPU seconds and bytes by state, not percentages; the roles
//! say which series have to be put together for one. Values are meant after [`SeriesSpec::factor`].

use crate::series::{MetricKind, Origin, Part, SeriesSpec, Shape};

/// How a series contributes to [`crate::record::Measurements`].
///
/// CPU and memory are taken from the widest thing that an agent reports of: the machine, else its container, else its
/// process. So the readings of a process never stand for the machine on which it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeasurementRole {
    /// CPU in use of a machine, percent; the mean over the agent's series is `cpu_percent`.
    CpuPercent,
    /// CPU in use, percent, by core and state. `cpu_percent` = 100 * busy / (busy + idle + wait).
    CpuBusyPercent,
    /// CPU idle, percent, one series a core; without the busy states `cpu_percent` is 100 minus the mean.
    CpuIdlePercent,
    /// CPU idle while a disk is busy, percent, one series a core.
    CpuWaitPercent,
    /// CPU seconds in use, a running total by core and state. With the increases of all of them since
    /// the last look: `cpu_percent` = 100 * busy / (busy + idle + wait).
    CpuBusySeconds,
    /// CPU seconds idle, a running total by core.
    CpuIdleSeconds,
    /// CPU seconds idle while a disk is busy, a running total by core. A CPU that waits for a disk is free for
    /// other work, so this is not busy time; `top`, `psutil` and `gopsutil` say the same.
    CpuWaitSeconds,
    /// Number of CPUs of the machine.
    CpuCount,
    /// CPU that a container or pod uses, percent of what it may use; `cpu_percent` of an agent that has none of the
    /// above and reports of one container or pod only.
    ContainerCpuPercent,
    /// The same in percent of one CPU, so that it may pass 100; counts when [`Self::ContainerCpuCount`] is known.
    ContainerCpuOfOne,
    /// Number of CPUs that a container may use; the smallest counts.
    ContainerCpuCount,
    /// CPU that a process uses, percent of all CPUs that it may use, by state; their sum is `cpu_percent` of an agent
    /// that is a process and has none of the above. A sum above 100 was not divided by the number of CPUs: it is
    /// divided by [`Self::CpuCount`], or unknown.
    ProcessCpuPercent,
    /// The same in percent of one CPU; counts when [`Self::CpuCount`] is known.
    ProcessCpuOfOne,
    /// Memory in use, percent; the largest is `memory_percent`.
    MemoryPercent,
    /// Memory in use, bytes; `memory_mb` = the sum / 10^6, `memory_percent` = 100 * used / (used + other).
    MemoryUsedBytes,
    /// Memory in another state (free, buffered, cached, inactive), bytes.
    MemoryOtherBytes,
    /// All memory, bytes; where it is known it stands for used + other.
    MemoryTotalBytes,
    /// Memory that can be had without swapping, bytes (Linux). With the total: `memory_percent` = 100 * (total -
    /// available) / total, which comes before everything else.
    MemoryAvailableBytes,
    /// Memory that a container or pod uses, percent of its limit; as [`Self::ContainerCpuPercent`].
    ContainerMemoryPercent,
    /// Memory that a process uses, percent of the machine's; the sum is `memory_percent` of an agent that is a process
    /// and has none of the above.
    ProcessMemoryPercent,
    /// Memory of a process, bytes; counts as memory in use when the total is known and no state of memory is.
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

/// The name of the instrumentation scope of a series.
#[must_use]
pub fn scope_name(spec: &SeriesSpec) -> &str {
    &spec.scope.name
}

/// The state attribute of a series, whichever of its names it has.
#[must_use]
pub fn state(spec: &SeriesSpec) -> Option<&str> {
    attribute(spec, &STATE_KEYS)
}

fn attribute<'s>(spec: &'s SeriesSpec, keys: &[&str]) -> Option<&'s str> {
    spec.attributes.iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| value.as_str())
}

fn of_resource<'s>(spec: &'s SeriesSpec, keys: &[&str]) -> Option<&'s (String, String)> {
    keys.iter().find_map(|key| spec.resource.iter().find(|(known, _)| known == key))
}

/// What all series of one thing (one file system, one core) share and no other has: the attributes other
/// than the state.
pub fn group(spec: &SeriesSpec) -> impl Iterator<Item = &(String, String)> {
    spec.attributes.iter().filter(|(key, _)| !STATE_KEYS.contains(&key.as_str()))
}

/// The resource attributes that tell one container or pod from another: the pod's id, else the container's, else all.
pub fn container(spec: &SeriesSpec) -> impl Iterator<Item = &(String, String)> {
    let by = of_resource(spec, &["k8s.pod.uid", "k8s.pod.name", "container.id", "container.name"]);
    let all = if by.is_some() { &[][..] } else { &spec.resource[..] };
    by.into_iter().chain(all)
}

/// A percentage as it may be judged: 0 to 100. Sampling may carry a ratio a little past its limit; what is further
/// away has another scale than its name and unit say, and is no reading.
#[must_use]
pub fn plausible_percent(value: f64) -> Option<f64> {
    (-1.0 < value && value <= 110.0).then(|| value.clamp(0.0, 100.0))
}

/// The role of a series, `None` for most. Series received over REST have none: a heartbeat carries its
/// vitals itself.
#[must_use]
pub fn role(spec: &SeriesSpec) -> Option<MeasurementRole> {
    if spec.origin != Origin::Otlp {
        return None;
    }
    if spec.part == Part::Value { named(spec).or_else(|| typed(spec)) } else { of_distribution(spec) }
}

fn running_total(spec: &SeriesSpec) -> bool {
    spec.shape != Shape::Gauge
}

/// Roles of well-known metrics whose meaning depends on their attributes.
fn named(spec: &SeriesSpec) -> Option<MeasurementRole> {
    let state = state(spec);
    match (spec.metric.as_str(), state) {
        ("system.cpu.time", Some(state)) if running_total(spec) => match cpu_state(state)? {
            CpuState::Busy => Some(MeasurementRole::CpuBusySeconds),
            CpuState::Idle => Some(MeasurementRole::CpuIdleSeconds),
            CpuState::Wait => Some(MeasurementRole::CpuWaitSeconds),
        },
        ("system.cpu.utilization", Some(state)) if spec.unit == "%" => match cpu_state(state)? {
            CpuState::Busy => Some(MeasurementRole::CpuBusyPercent),
            CpuState::Idle => Some(MeasurementRole::CpuIdlePercent),
            CpuState::Wait => Some(MeasurementRole::CpuWaitPercent),
        },
        ("process.cpu.utilization", state @ Some(_)) if spec.unit == "%" => cpu_percent(spec, state),
        ("system.cpu.logical.count", None) => Some(MeasurementRole::CpuCount),
        ("container.cpu.logical.count" | "container.cpu.limit", None) if is_container(spec) => {
            Some(MeasurementRole::ContainerCpuCount)
        }
        ("system.memory.usage", Some("used")) => Some(MeasurementRole::MemoryUsedBytes),
        // The states slab_* overlap with cached and used.
        ("system.memory.usage", Some("free" | "buffered" | "buffers" | "cached" | "inactive")) => {
            Some(MeasurementRole::MemoryOtherBytes)
        }
        ("system.memory.limit", _) => Some(MeasurementRole::MemoryTotalBytes),
        ("system.linux.memory.available" | "system.memory.linux.available", None) => {
            Some(MeasurementRole::MemoryAvailableBytes)
        }
        ("process.memory.usage" | "process.memory.physical_usage", None) if is_process(spec) => {
            Some(MeasurementRole::ProcessMemoryBytes)
        }
        ("system.filesystem.usage", Some("used")) if is_disk(spec) => Some(MeasurementRole::DiskUsedBytes),
        ("system.filesystem.usage", Some("free")) if is_disk(spec) => Some(MeasurementRole::DiskFreeBytes),
        ("system.network.io", _) if running_total(spec) && !is_loopback(spec) => Some(MeasurementRole::NetworkBytes),
        ("system.network.packets" | "system.network.packet.count", _) if running_total(spec) && !is_loopback(spec) => {
            Some(MeasurementRole::Packets)
        }
        ("system.network.dropped" | "system.network.packet.dropped", _)
            if running_total(spec) && !is_loopback(spec) =>
        {
            Some(MeasurementRole::PacketsLost)
        }
        ("system.network.connections" | "system.network.connection.count", Some(s))
            if s.eq_ignore_ascii_case("established") =>
        {
            Some(MeasurementRole::Connections)
        }
        ("network.latency" | "icmp.rtt" | "ping.rtt", None) if spec.unit == "ms" => Some(MeasurementRole::LatencyMs),
        _ => None,
    }
}

enum CpuState {
    Busy,
    Idle,
    Wait,
}

/// What a CPU does in a state. Time that a hypervisor gave to others (steal) is busy: this machine wanted to run and could not.
/// `guest` and `guest_nice` are part of `user` and `nice` on Linux, so they are none.
fn cpu_state(state: &str) -> Option<CpuState> {
    match state {
        "user" | "system" | "kernel" | "nice" | "interrupt" | "irq" | "softirq" | "steal" => Some(CpuState::Busy),
        "idle" => Some(CpuState::Idle),
        "wait" | "iowait" => Some(CpuState::Wait),
        _ => None,
    }
}

/// Roles that follow from the typed kind and its unit, so that a new line of the rules table is enough.
fn typed(spec: &SeriesSpec) -> Option<MeasurementRole> {
    if running_total(spec) && spec.unit != "%" {
        return None;
    }
    match (spec.kind, spec.unit.as_str(), state(spec)) {
        (MetricKind::CpuUsage, "%", state) => cpu_percent(spec, state),
        (MetricKind::MemoryUsage, "%", None | Some("used")) => memory_percent(spec),
        (MetricKind::DiskUsage, "%", None | Some("used")) if is_disk(spec) => Some(MeasurementRole::DiskPercent),
        (MetricKind::ResponseTime, "ms", _) => Some(MeasurementRole::ResponseMs),
        (MetricKind::ErrorRate, "%", _) => Some(MeasurementRole::ErrorPercent),
        _ => None,
    }
}

/// Metrics in percent of one CPU: a process that keeps two busy has 200.
const OF_ONE_CPU: [&str; 3] =
    ["container.cpu.utilization", "container.cpu.percent", "process.runtime.cpython.cpu.utilization"];

fn cpu_percent(spec: &SeriesSpec, state: Option<&str>) -> Option<MeasurementRole> {
    let of_one = OF_ONE_CPU.contains(&spec.metric.as_str());
    match (Entity::of(&spec.metric), state) {
        (Entity::Machine, None) => Some(MeasurementRole::CpuPercent),
        (Entity::Container, _) if !is_container(spec) => None,
        (Entity::Container, None) if of_one => Some(MeasurementRole::ContainerCpuOfOne),
        (Entity::Container, None) => Some(MeasurementRole::ContainerCpuPercent),
        (Entity::Process, _) if !is_process(spec) => None,
        (Entity::Process, state) if !state.is_none_or(|s| matches!(cpu_state(s), Some(CpuState::Busy))) => None,
        (Entity::Process, _) if of_one => Some(MeasurementRole::ProcessCpuOfOne),
        (Entity::Process, _) => Some(MeasurementRole::ProcessCpuPercent),
        _ => None,
    }
}

fn memory_percent(spec: &SeriesSpec) -> Option<MeasurementRole> {
    match Entity::of(&spec.metric) {
        Entity::Machine => Some(MeasurementRole::MemoryPercent),
        // The kubelet counts the page cache, which fills a limit by nature and is given back before it is enforced.
        Entity::Container if spec.metric.starts_with("k8s.") => None,
        Entity::Container => is_container(spec).then_some(MeasurementRole::ContainerMemoryPercent),
        Entity::Process => is_process(spec).then_some(MeasurementRole::ProcessMemoryPercent),
    }
}

/// What a metric speaks of, by its name.
enum Entity {
    Machine,
    Container,
    Process,
}

impl Entity {
    fn of(metric: &str) -> Self {
        let begins = |with: &[&str]| with.iter().any(|start| metric.starts_with(start));
        if begins(&["process.runtime.jvm.system."]) {
            Self::Machine
        } else if begins(&["process.", "jvm.cpu.", "jvm.memory.", "cpython.", "dotnet.", "nodejs.", "go."]) {
            Self::Process
        } else if begins(&["container.", "k8s.pod.", "k8s.container."]) {
            Self::Container
        } else {
            Self::Machine
        }
    }
}

/// Whether the agent of a series is the container or pod that it speaks of, or a service in it, and not a host of containers.
fn is_container(spec: &SeriesSpec) -> bool {
    const WITHIN: [&str; 6] =
        ["container.id", "container.name", "k8s.pod.uid", "k8s.pod.name", "service.name", "service.instance.id"];
    of_resource(spec, &WITHIN).is_some()
}

/// Whether the agent of a series is the process that it speaks of: its resource is a service, and the series does not
/// come from a receiver that reads the processes of a host.
fn is_process(spec: &SeriesSpec) -> bool {
    const SERVICE: [&str; 3] = ["service.name", "service.instance.id", "telemetry.sdk.name"];
    of_resource(spec, &SERVICE).is_some() && !scope_name(spec).contains("hostmetricsreceiver")
}

/// File systems that are read-only, or that no disk is behind; some of them are full by nature.
const NO_DISK: [&str; 38] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cd9660",
    "cdfs",
    "cgroup",
    "cgroup2",
    "configfs",
    "cramfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fdescfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "linprocfs",
    "linsysfs",
    "mqueue",
    "nsfs",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "romfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Whether a file system can fill up. A read-only one cannot, and an image is full from the start. A tmpfs can, and so can an
/// overlay, which has the numbers of the file system that it writes to. As the fullest counts, it does not
/// matter how often a device is mounted.
fn is_disk(spec: &SeriesSpec) -> bool {
    let kind = attribute(spec, &["type", "system.filesystem.type"]);
    let device = attribute(spec, &["device", "system.device"]).unwrap_or_default();
    let at = attribute(spec, &["mountpoint", "system.filesystem.mountpoint"]).unwrap_or_default();
    let below = |roots: [&str; 2]| {
        let mut rests = roots.iter().filter_map(|root| at.strip_prefix(root));
        rests.any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if attribute(spec, &["mode", "system.filesystem.mode"]) == Some("ro") || below(["/proc", "/sys"]) {
        return false;
    }
    match kind {
        Some(kind) => !NO_DISK.iter().any(|known| kind.eq_ignore_ascii_case(known)),
        // Packages of snapd are read-only images, each on a loop device.
        None => !device.starts_with("/dev/loop") && !below(["/snap", "/var/lib/snapd/snap"]),
    }
}

/// Whether a network device leads to no network.
fn is_loopback(spec: &SeriesSpec) -> bool {
    attribute(spec, &["device", "network.interface.name", "system.device"])
        .is_some_and(|name| name == "lo" || name == "lo0" || name.starts_with("Loopback"))
}

/// Roles of the numbers of a histogram or summary.
fn of_distribution(spec: &SeriesSpec) -> Option<MeasurementRole> {
    match spec.part {
        Part::Quantile(q) if spec.kind == MetricKind::ResponseTime && spec.unit == "ms" && q.to_bits() == P95 => {
            Some(MeasurementRole::ResponseMs)
        }
        Part::Count if SERVER_DURATIONS.contains(&spec.metric.as_str()) => {
            Some(if failed(spec) { MeasurementRole::FailedRequests } else { MeasurementRole::Requests })
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
mod tests;
