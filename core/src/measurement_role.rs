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
mod tests {
    use super::*;
    use crate::series::Scope;
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
        use MeasurementRole as R;
        let total = Shape::Cumulative { monotonic: true };
        for (metric, attribute, shape, expect) in [
            ("system.cpu.time", Some(("state", "idle")), total, Some(R::CpuIdleSeconds)),
            ("system.cpu.time", Some(("cpu.mode", "user")), total, Some(R::CpuBusySeconds)),
            ("system.cpu.time", Some(("cpu.mode", "kernel")), total, Some(R::CpuBusySeconds)),
            ("system.cpu.time", Some(("state", "softirq")), total, Some(R::CpuBusySeconds)),
            ("system.cpu.time", Some(("state", "steal")), total, Some(R::CpuBusySeconds)),
            ("system.cpu.time", Some(("state", "wait")), total, Some(R::CpuWaitSeconds)),
            ("system.cpu.time", Some(("cpu.mode", "iowait")), total, Some(R::CpuWaitSeconds)),
            ("system.cpu.time", Some(("state", "guest")), total, None),
            ("system.cpu.time", Some(("state", "guest_nice")), total, None),
            ("system.cpu.time", None, total, None),
            ("system.cpu.logical.count", None, total, Some(R::CpuCount)),
            ("system.memory.usage", Some(("state", "used")), total, Some(R::MemoryUsedBytes)),
            ("system.memory.usage", Some(("state", "cached")), total, Some(R::MemoryOtherBytes)),
            ("system.memory.usage", Some(("state", "slab_reclaimable")), total, None),
            ("system.memory.usage", Some(("state", "slab_unreclaimable")), total, None),
            ("system.linux.memory.available", None, total, Some(R::MemoryAvailableBytes)),
            ("system.paging.usage", Some(("state", "used")), total, None),
            ("system.filesystem.usage", Some(("state", "free")), total, Some(R::DiskFreeBytes)),
            ("system.filesystem.usage", Some(("state", "reserved")), total, None),
            ("system.filesystem.inodes.usage", Some(("state", "used")), total, None),
            ("system.network.connections", Some(("state", "ESTABLISHED")), total, Some(R::Connections)),
            ("system.network.io", Some(("direction", "receive")), total, Some(R::NetworkBytes)),
            ("system.network.io", Some(("device", "lo")), total, None),
            ("system.network.packet.dropped", Some(("network.interface.name", "lo0")), total, None),
            ("system.network.packets", Some(("device", "eth0")), total, Some(R::Packets)),
            ("system.cpu.load_average.1m", None, Shape::Gauge, None),
            ("container.memory.usage", None, total, None),
            ("my.metric", None, Shape::Gauge, None),
        ] {
            let spec = SeriesSpec { shape, ..spec(metric, attribute) };
            assert_eq!(role(&spec), expect, "{metric} {attribute:?}");
        }
    }

    #[test]
    fn by_kind_and_unit() {
        use MeasurementRole as R;
        use MetricKind as K;
        for (kind, unit, attribute, expect) in [
            (K::CpuUsage, "%", None, Some(R::CpuPercent)),
            (K::CpuUsage, "%", Some(("state", "user")), None),
            (K::MemoryUsage, "%", Some(("state", "used")), Some(R::MemoryPercent)),
            (K::MemoryUsage, "%", Some(("state", "free")), None),
            (K::MemoryUsage, "By", None, None),
            (K::DiskUsage, "%", None, Some(R::DiskPercent)),
            (K::DiskUsage, "%", Some(("type", "squashfs")), None),
            (K::ErrorRate, "%", None, Some(R::ErrorPercent)),
            (K::ResponseTime, "ms", None, Some(R::ResponseMs)),
            (K::ResponseTime, "s", None, None),
        ] {
            let spec = SeriesSpec { kind, unit: unit.to_owned(), ..spec("anything", attribute) };
            assert_eq!(role(&spec), expect, "{kind:?} {unit} {attribute:?}");
            assert_eq!(role(&SeriesSpec { origin: Origin::Rest, ..spec }), None);
        }
    }

    /// What a percentage speaks of: a machine, a container, a process that is the agent, or one that is not.
    #[test]
    fn a_percentage_is_of_its_own_thing() {
        use MeasurementRole as R;
        use MetricKind::{CpuUsage, Custom, MemoryUsage};
        let service = [("service.name", "shop"), ("process.pid", "7")];
        let host = [("host.name", "a"), ("process.pid", "7")];
        let pod = [("host.name", "a"), ("k8s.pod.uid", "p")];
        let receiver = "github.com/x/receiver/hostmetricsreceiver/internal/scraper/processscraper";
        for (metric, kind, state, scope, resource, expect) in [
            ("system.cpu.utilization", Custom, Some("idle"), "", &host, Some(R::CpuIdlePercent)),
            ("system.cpu.utilization", Custom, Some("user"), "", &host, Some(R::CpuBusyPercent)),
            ("system.cpu.utilization", Custom, Some("wait"), "", &host, Some(R::CpuWaitPercent)),
            ("system.cpu.utilization", Custom, Some("guest"), "", &host, None),
            ("system.cpu.utilization", CpuUsage, None, "", &host, Some(R::CpuPercent)),
            ("jvm.system.cpu.utilization", CpuUsage, None, "", &service, Some(R::CpuPercent)),
            ("jvm.cpu.recent_utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuPercent)),
            ("process.cpu.utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuPercent)),
            ("process.cpu.utilization", Custom, Some("user"), "", &service, Some(R::ProcessCpuPercent)),
            ("process.cpu.utilization", Custom, Some("wait"), "", &service, None),
            ("process.cpu.utilization", CpuUsage, None, "", &host, None),
            ("process.cpu.utilization", CpuUsage, None, receiver, &service, None),
            ("process.runtime.cpython.cpu.utilization", CpuUsage, None, "", &service, Some(R::ProcessCpuOfOne)),
            ("container.cpu.utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuOfOne)),
            ("container.cpu.limit.utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuPercent)),
            ("container.cpu.limit.utilization", CpuUsage, None, "", &service, Some(R::ContainerCpuPercent)),
            ("container.cpu.limit.utilization", CpuUsage, None, "", &host, None),
            ("container.memory.percent", MemoryUsage, None, "", &host, None),
            ("k8s.pod.cpu_limit_utilization", CpuUsage, None, "", &pod, Some(R::ContainerCpuPercent)),
            ("process.memory.utilization", MemoryUsage, None, "", &host, None),
            ("process.memory.utilization", MemoryUsage, None, receiver, &service, None),
            ("process.memory.utilization", MemoryUsage, None, "", &service, Some(R::ProcessMemoryPercent)),
            ("container.memory.percent", MemoryUsage, None, "", &pod, Some(R::ContainerMemoryPercent)),
            ("k8s.pod.memory_limit_utilization", MemoryUsage, None, "", &pod, None),
            ("system.memory.utilization", MemoryUsage, Some("used"), "", &host, Some(R::MemoryPercent)),
        ] {
            let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let spec = SeriesSpec {
                kind,
                unit: "%".to_owned(),
                scope: Scope::named(scope),
                resource: Arc::new(resource.into_iter().collect()),
                ..spec(metric, state.map(|state| ("state", state)))
            };
            assert_eq!(role(&spec), expect, "{metric} {state:?} {scope} {:?}", spec.resource);
        }
    }

    #[test]
    fn what_cannot_fill_up_is_no_disk() {
        for (attributes, expect) in [
            ([("device", "/dev/sda1"), ("mode", "rw"), ("mountpoint", "/"), ("type", "ext4")], true),
            ([("device", "overlay"), ("mode", "rw"), ("mountpoint", "/"), ("type", "overlay")], true),
            ([("device", "tmpfs"), ("mode", "rw"), ("mountpoint", "/run"), ("type", "tmpfs")], true),
            ([("device", "C:"), ("mode", "rw"), ("mountpoint", "C:"), ("type", "NTFS")], true),
            ([("device", "/dev/loop9"), ("mode", "rw"), ("mountpoint", "/data"), ("type", "ext4")], true),
            ([("device", "/dev/sda1"), ("mode", "ro"), ("mountpoint", "/usr"), ("type", "ext4")], false),
            ([("device", "/dev/loop1"), ("mode", "rw"), ("mountpoint", "/snap/core/1"), ("type", "squashfs")], false),
            ([("device", "/dev/sr0"), ("mode", "rw"), ("mountpoint", "/media"), ("type", "iso9660")], false),
            ([("device", "D:"), ("mode", "rw"), ("mountpoint", "D:"), ("type", "CDFS")], false),
            ([("device", "devfs"), ("mode", "rw"), ("mountpoint", "/dev"), ("type", "devfs")], false),
            ([("device", "tmpfs"), ("mode", "rw"), ("mountpoint", "/sys/fs/cgroup"), ("type", "tmpfs")], false),
            ([("device", "efivarfs"), ("mode", "rw"), ("mountpoint", "/efi"), ("type", "efivarfs")], false),
            ([("device", "/dev/loop1"), ("mode", "unknown"), ("mountpoint", "/x"), ("", "")], false),
            ([("device", "/dev/sdb"), ("mode", "unknown"), ("mountpoint", "/snap/core/1"), ("", "")], false),
            ([("device", "/dev/sdb"), ("mode", "unknown"), ("mountpoint", "/snapshots"), ("", "")], true),
        ] {
            let semantic = attributes.map(|(key, value)| match key {
                "device" => ("system.device".to_owned(), value.to_owned()),
                key => (format!("system.filesystem.{key}"), value.to_owned()),
            });
            let received = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
            for names in [received, semantic] {
                let known = names.into_iter().filter(|(_, value)| !value.is_empty());
                let mut spec = spec("system.filesystem.usage", Some(("state", "used")));
                spec.attributes = spec.attributes.iter().cloned().chain(known).collect();
                assert_eq!(role(&spec).is_some(), expect, "{:?}", spec.attributes);
            }
        }
    }

    #[test]
    fn a_container_is_told_apart_by_its_pod_or_id() {
        let with = |resource: &[(&str, &str)]| {
            let resource = resource.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let spec = SeriesSpec { resource: Arc::new(resource), ..spec("m", None) };
            container(&spec).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(with(&[("container.id", "c"), ("host.name", "h"), ("k8s.pod.uid", "p")]), ["k8s.pod.uid"]);
        assert_eq!(with(&[("container.id", "c"), ("host.name", "h")]), ["container.id"]);
        assert_eq!(with(&[("host.name", "h"), ("service.name", "s")]), ["host.name", "service.name"]);
    }

    #[test]
    fn a_percentage_far_outside_is_none() {
        for (value, expect) in [
            (0.0, Some(0.0)),
            (50.0, Some(50.0)),
            (100.0, Some(100.0)),
            (104.0, Some(100.0)),
            (-0.01, Some(0.0)),
            (273.0, None),
            (-100.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(plausible_percent(value), expect, "{value}");
        }
    }

    #[test]
    fn requests_and_failures() {
        let total = Shape::Cumulative { monotonic: true };
        for (status, expect) in [
            ("200", MeasurementRole::Requests),
            ("404", MeasurementRole::Requests),
            ("503", MeasurementRole::FailedRequests),
        ] {
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
