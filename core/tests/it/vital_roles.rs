//! Which series make up an agent's vitals: by name, state, unit, kind and resource.

use std::sync::Arc;
use vitals_core::attributes::{Attributes, Scope};
use vitals_core::measurement_role::{MeasurementRole, container, group, plausible_percent, role, scope_name, state};
use vitals_core::series::{MetricKind, Origin, Part, SeriesSpec, Shape};

const TOTAL: Shape = Shape::Cumulative { monotonic: true };
const INCREMENTS: Shape = Shape::Delta { monotonic: true };
const HOST: &[(&str, &str)] = &[("host.name", "a")];
const SERVICE: &[(&str, &str)] = &[("service.name", "shop")];
const POD: &[(&str, &str)] = &[("k8s.pod.uid", "p")];

fn pairs(all: &[(&str, &str)]) -> Attributes {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A gauge of a host, without unit and kind.
fn spec(metric: &str, attributes: &[(&str, &str)]) -> SeriesSpec {
    SeriesSpec {
        metric: metric.to_owned(),
        unit: String::new(),
        kind: MetricKind::Custom,
        shape: Shape::Gauge,
        part: Part::Value,
        integer: false,
        factor: 1.0,
        origin: Origin::Otlp,
        scope: Scope::named("otelcol/test"),
        attributes: pairs(attributes),
        resource: Arc::new(pairs(HOST)),
    }
}

fn of(spec: SeriesSpec, resource: &[(&str, &str)]) -> SeriesSpec {
    SeriesSpec { resource: Arc::new(pairs(resource)), ..spec }
}

#[test]
fn cpu_seconds_are_a_running_total() {
    for (shape, expect) in [
        (TOTAL, Some(MeasurementRole::CpuBusySeconds)),
        (INCREMENTS, Some(MeasurementRole::CpuBusySeconds)),
        (Shape::Gauge, None),
    ] {
        assert_eq!(role(&SeriesSpec { shape, ..spec("system.cpu.time", &[("state", "user")]) }), expect, "{shape:?}");
    }
}

#[test]
fn every_state_of_a_cpu_is_busy_idle_or_waiting() {
    use MeasurementRole::{CpuBusyPercent, CpuIdlePercent, CpuWaitPercent};
    for (states, expect) in [
        (&["user", "system", "kernel", "nice", "interrupt", "irq", "softirq", "steal"][..], Some(CpuBusyPercent)),
        (&["idle"], Some(CpuIdlePercent)),
        (&["wait", "iowait"], Some(CpuWaitPercent)),
        (&["guest", "guest_nice", "USER", ""], None),
    ] {
        for state in states {
            let percent = SeriesSpec { unit: "%".to_owned(), ..spec("system.cpu.utilization", &[("state", state)]) };
            assert_eq!(role(&percent), expect, "{state}");
            // Without its unit nobody knows the scale.
            assert_eq!(role(&SeriesSpec { unit: "1".to_owned(), ..percent }), None, "{state}");
        }
    }
}

#[test]
fn a_state_has_many_keys_and_belongs_to_no_group() {
    for key in [
        "state",
        "cpu.mode",
        "system.cpu.state",
        "system.memory.state",
        "system.filesystem.state",
        "process.cpu.state",
        "network.connection.state",
    ] {
        let spec = spec("m", &[("cpu", "3"), (key, "idle")]);
        assert_eq!(state(&spec), Some("idle"), "{key}");
        assert_eq!(group(&spec).cloned().collect::<Vec<_>>(), [("cpu".to_owned(), "3".to_owned())], "{key}");
    }
    assert_eq!(state(&spec("m", &[("direction", "read")])), None);
    assert_eq!(scope_name(&spec("m", &[])), "otelcol/test");
}

#[test]
fn amounts_of_memory_by_state() {
    use MeasurementRole::{MemoryAvailableBytes, MemoryOtherBytes, MemoryTotalBytes, MemoryUsedBytes};
    for (metric, attributes, expect) in [
        ("system.memory.usage", &[("state", "used")][..], Some(MemoryUsedBytes)),
        ("system.memory.usage", &[("state", "free")], Some(MemoryOtherBytes)),
        ("system.memory.usage", &[("state", "buffered")], Some(MemoryOtherBytes)),
        ("system.memory.usage", &[("state", "buffers")], Some(MemoryOtherBytes)),
        ("system.memory.usage", &[("state", "cached")], Some(MemoryOtherBytes)),
        ("system.memory.usage", &[("state", "inactive")], Some(MemoryOtherBytes)),
        ("system.memory.usage", &[("state", "slab_reclaimable")], None),
        ("system.memory.usage", &[], None),
        ("system.memory.limit", &[], Some(MemoryTotalBytes)),
        ("system.linux.memory.available", &[], Some(MemoryAvailableBytes)),
        ("system.memory.linux.available", &[], Some(MemoryAvailableBytes)),
    ] {
        assert_eq!(role(&spec(metric, attributes)), expect, "{metric} {attributes:?}");
    }
}

#[test]
fn what_a_container_or_process_reports_counts_when_it_is_the_agent() {
    use MeasurementRole::{ContainerCpuCount, CpuCount, ProcessCpuPercent, ProcessMemoryBytes};
    for (metric, attributes, resource, expect) in [
        ("system.cpu.logical.count", &[][..], HOST, Some(CpuCount)),
        ("container.cpu.logical.count", &[], POD, Some(ContainerCpuCount)),
        ("container.cpu.limit", &[], SERVICE, Some(ContainerCpuCount)),
        ("container.cpu.limit", &[], HOST, None),
        ("process.memory.usage", &[], SERVICE, Some(ProcessMemoryBytes)),
        ("process.memory.physical_usage", &[], SERVICE, Some(ProcessMemoryBytes)),
        ("process.memory.usage", &[], HOST, None),
        ("process.memory.usage", &[], POD, None),
        ("process.cpu.utilization", &[("state", "user")], SERVICE, Some(ProcessCpuPercent)),
        ("process.cpu.utilization", &[("state", "idle")], SERVICE, None),
        ("process.cpu.utilization", &[("state", "user")], HOST, None),
    ] {
        let spec = SeriesSpec { unit: "%".to_owned(), ..spec(metric, attributes) };
        assert_eq!(role(&of(spec, resource)), expect, "{metric} {attributes:?} {resource:?}");
    }
    let unscaled = SeriesSpec { unit: "1".to_owned(), ..spec("process.cpu.utilization", &[("state", "user")]) };
    assert_eq!(role(&of(unscaled, SERVICE)), None);
    // A container's CPU by state has no meaning that is known.
    let by_state = SeriesSpec {
        kind: MetricKind::CpuUsage,
        unit: "%".to_owned(),
        ..spec("container.cpu.usage", &[("state", "user")])
    };
    assert_eq!(role(&of(by_state, POD)), None);
}

#[test]
fn the_metrics_name_says_what_a_percentage_speaks_of() {
    use MeasurementRole::{ContainerCpuPercent, CpuPercent, ProcessCpuPercent};
    for (metrics, expect) in [
        (
            &["jvm.cpu.x", "jvm.memory.x", "cpython.x", "dotnet.x", "nodejs.x", "go.x", "process.x"][..],
            Some(ProcessCpuPercent),
        ),
        (&["container.x", "k8s.pod.x", "k8s.container.x"], Some(ContainerCpuPercent)),
        (&["system.x", "k8s.node.x", "jvm.system.x", "process.runtime.jvm.system.x", "x"], Some(CpuPercent)),
    ] {
        for metric in metrics {
            let spec = SeriesSpec { kind: MetricKind::CpuUsage, unit: "%".to_owned(), ..spec(metric, &[]) };
            assert_eq!(role(&of(spec, SERVICE)), expect, "{metric}");
        }
    }
    // Of one CPU: there may be several in use.
    for (metric, resource, expect) in [
        ("container.cpu.utilization", POD, MeasurementRole::ContainerCpuOfOne),
        ("container.cpu.percent", POD, MeasurementRole::ContainerCpuOfOne),
        ("process.runtime.cpython.cpu.utilization", SERVICE, MeasurementRole::ProcessCpuOfOne),
    ] {
        let spec = SeriesSpec { kind: MetricKind::CpuUsage, unit: "%".to_owned(), ..spec(metric, &[]) };
        assert_eq!(role(&of(spec, resource)), Some(expect), "{metric}");
    }
}

#[test]
fn traffic_counts_as_a_running_total_over_a_device_that_leads_somewhere() {
    use MeasurementRole::{NetworkBytes, Packets, PacketsLost};
    for (metrics, role_of) in [
        (&["system.network.io"][..], NetworkBytes),
        (&["system.network.packets", "system.network.packet.count"], Packets),
        (&["system.network.dropped", "system.network.packet.dropped"], PacketsLost),
    ] {
        for metric in metrics {
            for key in ["device", "network.interface.name", "system.device"] {
                for (device, leads) in [
                    ("eth0", true),
                    ("lo", false),
                    ("lo0", false),
                    ("Loopback Pseudo-Interface 1", false),
                    ("lo1", true),
                ] {
                    let total = SeriesSpec { shape: TOTAL, ..spec(metric, &[(key, device)]) };
                    assert_eq!(role(&total), leads.then_some(role_of), "{metric} {key} {device}");
                }
            }
            assert_eq!(role(&SeriesSpec { shape: TOTAL, ..spec(metric, &[]) }), Some(role_of), "{metric}");
            assert_eq!(role(&spec(metric, &[])), None, "{metric} as a gauge");
        }
    }
}

#[test]
fn connections_that_are_established_count() {
    for (state, expect) in [
        ("ESTABLISHED", Some(MeasurementRole::Connections)),
        ("established", Some(MeasurementRole::Connections)),
        ("CLOSE_WAIT", None),
        ("LISTEN", None),
    ] {
        for metric in ["system.network.connections", "system.network.connection.count"] {
            assert_eq!(role(&spec(metric, &[("state", state)])), expect, "{metric} {state}");
        }
    }
}

#[test]
fn times_are_taken_in_milliseconds() {
    for (unit, expect) in [("ms", true), ("s", false), ("", false)] {
        for metric in ["network.latency", "icmp.rtt", "ping.rtt"] {
            let spec = SeriesSpec { unit: unit.to_owned(), ..spec(metric, &[]) };
            assert_eq!(role(&spec), expect.then_some(MeasurementRole::LatencyMs), "{metric} {unit}");
        }
        let answer = SeriesSpec { kind: MetricKind::ResponseTime, unit: unit.to_owned(), ..spec("answer", &[]) };
        assert_eq!(role(&answer), expect.then_some(MeasurementRole::ResponseMs), "{unit}");
    }
}

#[test]
fn a_running_total_is_no_reading_unless_it_is_a_percentage() {
    use MetricKind::{CpuUsage, DiskUsage, ErrorRate, MemoryUsage, ResponseTime};
    for (kind, unit, gauge, total) in [
        (ResponseTime, "ms", Some(MeasurementRole::ResponseMs), None),
        (CpuUsage, "%", Some(MeasurementRole::CpuPercent), Some(MeasurementRole::CpuPercent)),
        (MemoryUsage, "%", Some(MeasurementRole::MemoryPercent), Some(MeasurementRole::MemoryPercent)),
        (DiskUsage, "%", Some(MeasurementRole::DiskPercent), Some(MeasurementRole::DiskPercent)),
        (ErrorRate, "%", Some(MeasurementRole::ErrorPercent), Some(MeasurementRole::ErrorPercent)),
        (ErrorRate, "1", None, None),
    ] {
        let spec = SeriesSpec { kind, unit: unit.to_owned(), ..spec("anything", &[]) };
        assert_eq!(role(&spec), gauge, "{kind:?} {unit}");
        assert_eq!(role(&SeriesSpec { shape: TOTAL, ..spec }), total, "{kind:?} {unit} as a total");
    }
}

#[test]
fn bytes_of_a_file_system_that_can_fill_up_count() {
    for (state, used) in
        [("used", Some(MeasurementRole::DiskUsedBytes)), ("free", Some(MeasurementRole::DiskFreeBytes))]
    {
        for (more, fills) in [
            (&[("type", "ext4")][..], true),
            (&[("type", "ext4"), ("mode", "rw")], true),
            (&[("type", "ext4"), ("mode", "ro")], false),
            (&[("type", "SquashFS")], false),
            (&[("mountpoint", "/proc")], false),
            (&[("mountpoint", "/sys/kernel")], false),
            (&[("mountpoint", "/system")], true),
            (&[("mountpoint", "/snap")], false),
            (&[("mountpoint", "/var/lib/snapd/snap/x")], false),
            (&[("device", "/dev/loop3")], false),
            // Where the type is known it tells more than the device.
            (&[("device", "/dev/loop3"), ("type", "ext4")], true),
        ] {
            let spec = spec("system.filesystem.usage", &[&[("state", state)], more].concat());
            assert_eq!(role(&spec), used.filter(|_| fills), "{state} {more:?}");
            let percent =
                SeriesSpec { kind: MetricKind::DiskUsage, unit: "%".to_owned(), metric: "x".to_owned(), ..spec };
            let percent_role = (fills && state == "used").then_some(MeasurementRole::DiskPercent);
            assert_eq!(role(&percent), percent_role, "{state} {more:?}");
        }
    }
}

#[test]
fn of_a_distribution_the_95th_percentile_and_the_count_of_a_servers_durations_are_used() {
    use MetricKind::{Custom, ResponseTime};
    for (part, kind, unit, expect) in [
        (Part::Quantile(0.95), ResponseTime, "ms", Some(MeasurementRole::ResponseMs)),
        (Part::Quantile(0.95), ResponseTime, "s", None),
        (Part::Quantile(0.95), Custom, "ms", None),
        (Part::Quantile(0.99), ResponseTime, "ms", None),
        (Part::Sum, ResponseTime, "ms", None),
        (Part::Count, ResponseTime, "ms", None),
    ] {
        let spec = SeriesSpec { part, kind, unit: unit.to_owned(), shape: TOTAL, ..spec("answer.time", &[]) };
        assert_eq!(role(&spec), expect, "{part:?} {kind:?} {unit}");
    }
    for metric in [
        "http.server.request.duration",
        "http.server.duration",
        "rpc.server.duration",
        "rpc.server.call.duration",
        "http_server_duration",
        "http_server_request_duration_seconds",
    ] {
        let count = SeriesSpec { part: Part::Count, shape: TOTAL, ..spec(metric, &[]) };
        assert_eq!(role(&count), Some(MeasurementRole::Requests), "{metric}");
    }
    let of_client = SeriesSpec { part: Part::Count, shape: TOTAL, ..spec("http.client.request.duration", &[]) };
    assert_eq!(role(&of_client), None);
}

#[test]
fn a_request_failed_when_its_status_blames_the_server() {
    let cases = [
        ("http.response.status_code", &["500", "503", "599"][..], &["200", "404", "50", "5000", "5"][..]),
        ("http.status_code", &["500"], &["200"]),
        (
            "rpc.grpc.status_code",
            &["2", "4", "12", "13", "14", "15"],
            &["0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "16", "500"],
        ),
        ("error.type", &[], &["500", "2"]),
    ];
    for (key, failures, successes) in cases {
        let all = failures.iter().map(|status| (status, MeasurementRole::FailedRequests));
        for (status, expect) in all.chain(successes.iter().map(|status| (status, MeasurementRole::Requests))) {
            let attributes = [("a.route", "/x"), (key, status)];
            let count = SeriesSpec { part: Part::Count, ..spec("http.server.request.duration", &attributes) };
            assert_eq!(role(&count), Some(expect), "{key} {status}");
        }
    }
}

#[test]
fn percentages_a_little_outside_are_taken_for_the_limit() {
    for (value, expect) in [
        (-1.0, None),
        (-0.99, Some(0.0)),
        (0.0, Some(0.0)),
        (37.5, Some(37.5)),
        (100.0, Some(100.0)),
        (110.0, Some(100.0)),
        (110.1, None),
        (-1.1, None),
        (f64::NEG_INFINITY, None),
    ] {
        assert_eq!(plausible_percent(value), expect, "{value}");
    }
}

#[test]
fn a_container_is_told_by_the_narrowest_of_its_names_else_by_its_whole_resource() {
    for (resource, expect) in [
        (&[("container.id", "c"), ("k8s.pod.name", "n"), ("k8s.pod.uid", "p")][..], &[("k8s.pod.uid", "p")][..]),
        (&[("container.id", "c"), ("k8s.pod.name", "n")], &[("k8s.pod.name", "n")]),
        (&[("container.id", "c"), ("container.name", "n")], &[("container.id", "c")]),
        (&[("container.name", "n"), ("host.name", "h")], &[("container.name", "n")]),
        (&[("host.name", "h"), ("os.type", "linux")], &[("host.name", "h"), ("os.type", "linux")]),
        (&[], &[]),
    ] {
        let spec = of(spec("m", &[]), resource);
        let found: Vec<_> = container(&spec).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expect, "{resource:?}");
    }
}
